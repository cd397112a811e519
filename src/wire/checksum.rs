//! The Internet checksum (RFC 1071) of transport and IPv4 headers, and SCTP's CRC32c (RFC 9260 appendix A).

use super::{Headers, L4};
use crate::net::{L3, protocol};

/// What [`checksum`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Right, or absent where it may be (UDP's 0, over IPv6 too as in netfilter).
    Good,
    /// Wrong.
    Bad,
    /// Not all covered bytes were captured, or the protocol has no checksum that is verified here (GRE, other protocols,
    /// fragments).
    NotVerified,
}

/// Verifies the transport checksum of the packet in `data`, which is what `headers` were parsed from.
///
/// Three things are as the kernel has them, not as the RFCs do:
/// - UDP is summed over the whole IP payload, whatever UDP's length field says (they differ only where a packet has
///   bytes behind the datagram, RFC 9868's surplus area);
/// - UDP-Lite's pseudo header names protocol 17, not 136 (its coverage is respected);
/// - behind a routing header the pseudo header has the destination of the IPv6 header, never the last one listed.
pub fn checksum(data: &[u8], headers: &Headers) -> Checksum {
    let len = usize::from(headers.l4_len);
    let transport = headers.transport(data);
    let (covered, pseudo) = match (&headers.l4, transport) {
        (L4::Tcp(_), _) => (len, Some(protocol::TCP)),
        (L4::Udp { .. }, [_, _, _, _, _, _, 0, 0, ..]) => return Checksum::Good,
        (L4::Udp { .. }, _) => (len, Some(protocol::UDP)),
        (L4::UdpLite { .. }, [_, _, _, _, 0, 0, ..]) => (len, Some(protocol::UDP)),
        (L4::UdpLite { .. }, [_, _, _, _, a, b, ..]) => {
            (usize::from(u16::from_be_bytes([*a, *b])), Some(protocol::UDP))
        }
        (L4::Icmp { .. }, _) => (len, None),
        (L4::Icmpv6 { .. }, _) => (len, Some(protocol::ICMPV6)),
        (L4::Sctp(_), _) => return crc32c(transport, len),
        _ => return Checksum::NotVerified,
    };
    let Some(bytes) = transport.get(..covered) else { return Checksum::NotVerified };
    let mut total = sum(bytes);
    if let Some(protocol) = pseudo {
        // All words are in the byte order of memory, so these two have to be put into it.
        total += u64::from(u16::from(protocol).to_be()) + u64::from(headers.l4_len.to_be());
        total += match headers.l3 {
            L3::V4 => sum(&headers.src[..4]) + sum(&headers.dst[..4]),
            L3::V6 => sum(&headers.src) + sum(&headers.dst),
        };
    }
    if folds_to_ones(total) { Checksum::Good } else { Checksum::Bad }
}

/// The CRC32c of `len` bytes, its own field taken for 0, sent with its lowest byte first. All of the packet is covered, whatever
/// its chunks are.
fn crc32c(transport: &[u8], len: usize) -> Checksum {
    match (transport.first_chunk::<12>(), transport.get(12..len)) {
        (Some([ports_and_tag @ .., a, b, c, d]), Some(chunks)) => {
            let crc = crc32c::crc32c_append(crc32c::crc32c(ports_and_tag), &[0; 4]);
            let right = crc32c::crc32c_append(crc, chunks) == u32::from_le_bytes([*a, *b, *c, *d]);
            if right { Checksum::Good } else { Checksum::Bad }
        }
        _ => Checksum::NotVerified,
    }
}

/// Whether the header checksum of the IPv4 packet in `data` is right. False too if `data` does not hold an IPv4
/// header in full.
pub fn ipv4_header_checksum_ok(data: &[u8]) -> bool {
    match data.first() {
        Some(first @ 0x45..=0x4f) => {
            data.get(..usize::from(first & 0x0f) * 4).is_some_and(|header| folds_to_ones(sum(header)))
        }
        _ => false,
    }
}

/// Sum of the 16-bit words in the byte order of memory, not folded; an odd last byte is padded with 0. The one's
/// complement sum is the same in either byte order but for a swap of its bytes (RFC 1071 section 2 B).
#[inline]
fn sum(bytes: &[u8]) -> u64 {
    // 2^32 words of 32 bits fit. Words of 32 bits and not 64: adding them up needs no carries, hence vectorizes.
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total: u64 = words.iter().map(|w| u64::from(u32::from_ne_bytes(*w))).sum();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    total += u64::from(u32::from_ne_bytes(last));
    total
}

/// Whether a sum that includes its checksum says "right".
#[inline]
fn folds_to_ones(mut total: u64) -> bool {
    total = (total & 0xffff_ffff) + (total >> 32);
    // At most 16,400 words were added: two more folds leave no carry.
    for _ in 0..2 {
        total = (total & 0xffff) + (total >> 16);
    }
    total == 0xffff
}
