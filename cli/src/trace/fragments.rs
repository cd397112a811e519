//! Packets in pieces: what came so leaves so, and what does not fit is made to.

use conntab::defrag::Whole;
use conntab::tuple::{L3, protocol};

use super::ip::Ip;
use super::ipv6::next;
use super::scenario::MTU;
use super::{ipv4, options};

/// What reassembly made of a packet.
pub(super) enum Defragmented {
    /// It waits for others, or is no more.
    Held,
    AsItIs,
    Whole(Vec<u8>, Pieces),
}

/// Of what a packet was put together.
pub(super) struct Pieces {
    lengths: Vec<usize>,
    /// The longest fragment.
    largest: usize,
    /// The header of the first one, and the shortest one.
    header: usize,
    least_header: usize,
}

impl Pieces {
    pub fn of(whole: &Whole<'_>) -> Self {
        Self {
            lengths: whole.pieces().collect(),
            largest: whole.largest as usize,
            header: whole.header_len(),
            least_header: whole.least_header.into(),
        }
    }
}

/// No router may fragment below this (RFC 8200 section 5).
const LEAST_MTU_V6: usize = 1280;

/// The packets in which a packet leaves. `verified`: its transport checksum was looked at.
pub(super) fn split(ip: &Ip, pieces: Option<&Pieces>, verified: bool) -> Vec<Vec<u8>> {
    let len = ip.bytes.len();
    let most = pieces.map_or(MTU, |pieces| pieces.largest.min(MTU));
    let whole = match (ip.l3, pieces) {
        // What was in pieces stays so.
        (L3::V4, pieces) => pieces.is_none() && len <= MTU,
        (L3::V6, _) => len <= most,
    };
    let head = match ip.l3 {
        L3::V4 => ip.transport.map_or(20, |(_, at)| at),
        L3::V6 => unfragmentable(&ip.bytes).1,
    };
    let (false, Some((header, mut rest))) = (whole, ip.bytes.split_at_checked(head)) else {
        return vec![ip.bytes.clone()];
    };
    let came = pieces.and_then(|pieces| as_they_came(ip, pieces, head, verified));
    // Made anew they keep the flag of the whole that asks not to fragment it.
    let flags = if came.is_none() { ip.bytes.get(6).map_or(0, |flags| flags & 0x40) } else { 0 };
    let lengths = came.unwrap_or_else(|| {
        let room = match ip.l3 {
            L3::V4 => most - head,
            L3::V6 => most.max(LEAST_MTU_V6) - head - 8,
        };
        // All but the last are multiples of eight; the last may fill the room.
        let size = (room & !7).max(8);
        let before = rest.len().saturating_sub(room.max(8)).div_ceil(size);
        let mut lengths = vec![size; before];
        lengths.push(rest.len() - before * size);
        lengths
    });
    let (mut out, mut offset) = (Vec::with_capacity(lengths.len()), 0);
    for len in lengths {
        let (piece, behind) = rest.split_at(len.min(rest.len()));
        out.push(match ip.l3 {
            L3::V4 => fragment_v4(header, offset, !behind.is_empty(), flags, piece),
            L3::V6 => fragment_v6(header, offset, !behind.is_empty(), piece),
        });
        (rest, offset) = (behind, offset + len);
    }
    out
}

/// The lengths in which the packet came, now behind a header of `head` bytes. The kernel sends fragments on in the buffers in
/// which they came, if there is room for this header in front of each (where recordings are made: if its own was as long), and
/// if nobody needed more than the first holds in one stretch: TCP's header is read when a packet is routed, SCTP's with its checksum.
fn as_they_came(ip: &Ip, pieces: &Pieces, head: usize, verified: bool) -> Option<Vec<usize>> {
    let mut lengths = pieces.lengths.clone();
    let first = lengths.first_mut()?;
    *first = (*first + pieces.header).checked_sub(head)?;
    let needed = match ip.transport {
        Some((protocol::TCP, at)) => at + 20,
        Some((protocol::SCTP, at)) if verified => at + 12,
        _ => 0,
    };
    let fits = pieces.least_header >= head && head + *first >= needed && first.is_multiple_of(8);
    fits.then_some(lengths)
}

fn fragment_v4(header: &[u8], offset: usize, more: bool, flags: u8, piece: &[u8]) -> Vec<u8> {
    let mut packet = header.to_vec();
    if offset > 0 {
        options::keep_copied(&mut packet);
    }
    let total = (packet.len() + piece.len()) as u16;
    let field = (offset / 8) as u16 | if more { 0x2000 } else { 0 } | u16::from(flags) << 8;
    if let Some(fixed) = packet.first_chunk_mut::<20>() {
        [fixed[2], fixed[3]] = total.to_be_bytes();
        [fixed[6], fixed[7]] = field.to_be_bytes();
    }
    ipv4::rewrite_checksum(&mut packet);
    packet.extend(piece);
    packet
}

/// With an identification of its own, as every packet that is fragmented on its way (the same for all: it is not compared).
const ID: [u8; 4] = [0, 0, 0, 1];

fn fragment_v6(header: &[u8], offset: usize, more: bool, piece: &[u8]) -> Vec<u8> {
    let mut packet = header.to_vec();
    let (named_at, _) = unfragmentable(header);
    let protocol = packet.get_mut(named_at).map_or(0, |name| std::mem::replace(name, next::FRAGMENT));
    packet.extend([protocol, 0]);
    packet.extend((offset as u16 | u16::from(more)).to_be_bytes());
    packet.extend(ID);
    packet.extend(piece);
    let payload = (packet.len() - 40) as u16;
    if let Some(field) = packet.get_mut(4..6) {
        field.copy_from_slice(&payload.to_be_bytes());
    }
    packet
}

/// Where the fragment header belongs in an IPv6 packet: where it is named, and where it stands (RFC 8200 section 4.1: behind what every
/// node on the way reads, destination options in front of a routing header included; the kernel takes those without one, too).
fn unfragmentable(bytes: &[u8]) -> (usize, usize) {
    let (mut named_at, mut at, mut routed) = (6, 40, false);
    while let (Some(next), Some(header)) = (bytes.get(named_at), bytes.get(at..)) {
        match *next {
            next::HOP_BY_HOP => {}
            next::ROUTING => routed = true,
            next::DESTINATION if !routed => {}
            _ => break,
        }
        let Some([_, len]) = header.first_chunk::<2>() else { break };
        (named_at, at) = (at, at + (usize::from(*len) + 1) * 8);
    }
    (named_at, at)
}
