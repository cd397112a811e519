//! A datagram put together again, and what its headers say then.

use super::blocks::{BLOCK, SLOTS, UNIT, UNITS};
use crate::net::L3;
use crate::packet::Packet;

/// The most that a length field of IP says.
pub(super) const MOST: usize = 65_535;

/// The longest packet: IPv6's length field does not count its header.
pub(super) const LONGEST: usize = 40 + MOST;

/// A datagram that is complete. Its bytes lie in the [`super::Defrag`], and stay until its next call.
#[derive(Clone, Copy)]
pub struct Whole<'a> {
    pub(super) packet: Packet<'a>,
    /// The length of its longest fragment, headers included: what a router keeps to when it fragments the packet again.
    pub largest: u32,
    /// The length of the shortest header in front of a fragment other than the first (IPv6: without the fragment header). What is
    /// shorter than the whole's own header cannot be sent on in its own buffer.
    pub least_header: u16,
    pub(super) header_len: u16,
    pub(super) pieces: &'a [u128; SLOTS],
}

impl<'a> Whole<'a> {
    /// The packet, to be tracked: with the zones, the hook and NOTRACK of the fragment that completed it, and REASSEMBLED
    /// ([`crate::packet::packet_flag`]). The NIC has not seen its checksum.
    pub fn packet(&self) -> Packet<'a> {
        self.packet
    }

    /// Its bytes, from the IP header on.
    pub fn bytes(&self) -> &'a [u8] {
        self.packet.bytes()
    }

    /// The length of the header that stood in front of its first piece.
    pub fn header_len(&self) -> usize {
        self.header_len.into()
    }

    /// The lengths of the pieces of which it was made, in order; they are the lengths of all behind the header.
    pub fn pieces(&self) -> impl Iterator<Item = usize> + 'a {
        let len = self.bytes().len().saturating_sub(self.header_len());
        let starts = self.pieces.iter().enumerate().flat_map(|(part, marks)| {
            let of = move |unit| part * BLOCK + unit * UNIT;
            (0..UNITS).filter(move |unit| marks >> unit & 1 != 0).map(of)
        });
        let ends = starts.clone().skip(1).chain([len]);
        starts.take_while(move |start| *start < len).zip(ends).map(move |(start, end)| end.min(len) - start)
    }
}

/// What congestion marks say together (RFC 3168 section 5.3). `seen`: a bit for each of the four values. `None`: fragments
/// that cannot carry marks are beside others. `Some(true)`: the whole is marked.
pub(super) fn congestion(seen: u8) -> Option<bool> {
    const NOT_ECT: u8 = 1;
    const CE: u8 = 1 << 3;
    if seen & NOT_ECT != 0 { (seen == NOT_ECT).then_some(false) } else { Some(seen & CE != 0) }
}

/// Makes the first fragment's header that of the whole, which is in `packet`.
pub(super) fn settle(
    packet: &mut [u8],
    l3: L3,
    header_len: usize,
    named: (usize, u8),
    ce: bool,
    dont_fragment: bool,
) {
    let len = packet.len();
    let Some(header) = packet.get_mut(..header_len) else { return };
    match (l3, &mut *header) {
        (L3::V4, [_, tos, l0, l1, _, _, f0, f1, _, _, c0, c1, ..]) => {
            *tos |= if ce { 3 } else { 0 };
            [*l0, *l1] = (len as u16).to_be_bytes();
            [*f0, *f1] = [if dont_fragment { 0x40 } else { 0 }, 0];
            [*c0, *c1] = [0, 0];
            let sum = checksum(header);
            if let Some(field) = header.get_mut(10..12) {
                field.copy_from_slice(&sum);
            }
        }
        (L3::V6, [_, class, _, _, l0, l1, ..]) => {
            *class |= if ce { 0x30 } else { 0 };
            [*l0, *l1] = ((len - 40) as u16).to_be_bytes();
            if let Some(name) = header.get_mut(named.0) {
                *name = named.1;
            }
        }
        _ => {}
    }
}

/// The checksum of an IPv4 header whose field for it is 0 (RFC 1071).
fn checksum(header: &[u8]) -> [u8; 2] {
    let words = header.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes()
}
