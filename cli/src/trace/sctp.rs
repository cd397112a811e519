//! What the kernel would have logged about an SCTP packet.

use conntab::Reason;
use conntab::connection::Tracked;
use conntab::proto::sctp::State;
use conntab::wire::sctp::{Chunk, Packet};

use super::words::Known;

/// `payload`: the packet from its ports on.
pub(super) fn words(
    reason: Reason,
    packet: &Packet,
    payload: &[u8],
    known: Option<&Known>,
) -> Option<String> {
    let dir = known.map_or(0, |known| known.dir as usize);
    let text = match reason {
        Reason::Checksum => "nf_ct_sctp: bad CRC".to_owned(),
        Reason::SctpChunks => broken(payload)?,
        // It speaks of the tag of the whole packet alone, not of what single chunks ask of it.
        Reason::SctpTag if packet.acting().all(is_plain) => {
            let expected = match known.map(|known| known.connection.tracked) {
                Some(Tracked::Sctp(_, Some(record))) => record.tags[dir],
                _ => 0,
            };
            // Both are printed as they stand in memory.
            let [given, expected] = [packet.vtag, expected].map(u32::swap_bytes);
            format!("verification tag check failed {given:x} vs {expected:x} for dir {dir}")
        }
        Reason::SctpState => {
            // There is but one such state, and HEARTBEAT does not leave it.
            let (kind, ..) = chunks(payload).find(|(kind, ..)| matches!(kind, 1 | 2 | 6..=11 | 14))?;
            format!("Invalid, old_state {}, dir {dir}, type {kind}", State::HeartbeatSent as u8)
        }
        _ => return None,
    };
    Some(text)
}

const fn is_plain(chunk: Chunk) -> bool {
    matches!(chunk, Chunk::InitAck | Chunk::Shutdown | Chunk::Error | Chunk::CookieAck)
}

/// Type and length of each chunk.
fn chunks(payload: &[u8]) -> impl Iterator<Item = (u8, u16)> {
    let mut at = 12;
    std::iter::from_fn(move || {
        let &[kind, _, a, b] = payload.get(at..)?.first_chunk()?;
        let length = u16::from_be_bytes([a, b]);
        at += usize::from(length).next_multiple_of(4);
        Some((kind, length))
    })
}

/// The chunk that breaks the list.
fn broken(payload: &[u8]) -> Option<String> {
    let mut alone = false;
    for (number, (kind, length)) in chunks(payload).enumerate() {
        alone |= matches!(kind, 1 | 2 | 14);
        if length == 0 || number > 0 && (alone || matches!(kind, 10 | 11)) {
            let (length, alone) = (length.swap_bytes(), u8::from(alone));
            return Some(format!(
                "do_basic_checks failed. chunk num {number}, type {kind}, len {length} flag {alone}"
            ));
        }
    }
    None
}
