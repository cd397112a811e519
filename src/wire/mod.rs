//! L1: bytes to header fields. No allocation, no unsafe, no panic whatever the bytes are.
//!
//! [`parse`] reads an IP packet, [`checksum()`] verifies its transport checksum, [`inner()`] reads the packet that an
//! ICMP error quotes, [`ethernet`] finds the IP packet in a frame.
//!
//! Three lengths meet here. *Captured* is what the slice holds; *on the wire* is what the caller says there was; the
//! IP header's own length is the one by which everything is judged. Bytes behind it (link padding) are never read.
//! Bytes that it promises and the wire did not have make the packet [`Reason::IpTruncated`]. Bytes that were only not
//! captured do no harm as long as the headers are there; then the checksum is [`Checksum::NotVerified`].

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod checksum;
mod fragment;
mod inner;
mod ip;
mod link;
pub mod sctp;
pub mod tcp;
mod transport;

#[cfg(test)]
mod tests;

use crate::net::{Addr, L3};
use crate::reason::Reason;

pub use checksum::{Checksum, checksum, ipv4_header_checksum_ok};
pub use fragment::{Fragment, fragment};
pub use inner::{Inner, InnerL4, inner};
pub use ip::{MAX_EXTENSIONS, atomic_fragment};
pub use link::{Link, ethernet};

/// What the headers of one packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Network layer.
    pub l3: L3,
    /// Transport protocol (IPv6: after the extension headers; of a fragment, what its fragment header names).
    pub protocol: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Length of the whole IP packet by its own header, in bytes: what accounting counts. The fragment header of an
    /// atomic fragment is not counted (as if it had been reassembled).
    pub len: u32,
    /// Where the transport header begins, from the start of the IP header (a fragment: where its piece begins).
    pub l4_offset: u16,
    /// Bytes of transport header and payload together, by the IP header; all may not be captured.
    pub l4_len: u16,
    /// The transport header's fields.
    pub l4: L4,
}

/// The fields of a transport header. Ports and identifiers are in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L4 {
    /// TCP.
    Tcp(tcp::Segment),
    /// UDP.
    Udp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
    },
    /// UDP-Lite.
    UdpLite {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
    },
    /// ICMP.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier: bytes 4 and 5 of the message, whatever the type.
        id: u16,
    },
    /// ICMPv6.
    Icmpv6 {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier: as above.
        id: u16,
    },
    /// SCTP.
    Sctp(sctp::Packet),
    /// GRE.
    Gre {
        /// 1 for PPTP's GRE (RFC 2637); 0 for all else (RFC 2784, an unknown version, a header cut below 8 bytes).
        version: u8,
        /// Version 1: the call id of the receiver; else 0.
        call_id: u16,
    },
    /// A protocol without a parser of its own.
    Other,
    /// A fragment, first or later: its transport header is not looked at. (An IPv6 *atomic* fragment, offset 0 and
    /// nothing to follow, is no fragment: RFC 6946.)
    Fragment,
}

/// Reads the headers of an IP packet. `data` begins with the IP header and holds what was captured; `len` is what was
/// on the wire from the IP header on (link-layer padding may be included), `len >= data.len()`. A smaller `len` is
/// taken for `data.len()`.
///
/// IPv6 hop-by-hop, routing, destination-options and authentication headers and atomic fragment headers are skipped,
/// in any order, up to [`MAX_EXTENSIONS`]; ESP, mobility, HIP and shim6 are protocols without a parser. IPv4 AH is
/// one too. The IPv4 header checksum is not looked at: see [`ipv4_header_checksum_ok`].
///
/// # Errors
/// Reasons 1 to 8 for the network layer, 10 to 17 for the transport header.
#[inline]
pub fn parse(data: &[u8], len: u32) -> Result<Headers, Reason> {
    let mut out = Headers::EMPTY;
    parse_into(data, len, &mut out)?;
    Ok(out)
}

/// [`parse`], with the headers written to where they are to stay; on an error `out` is left as it was. For bursts:
/// moving the headers costs as much as reading them.
///
/// # Errors
/// Those of [`parse`].
pub fn parse_into(data: &[u8], len: u32, out: &mut Headers) -> Result<(), Reason> {
    match data.first() {
        // Without IP options, as nearly all are: a length known beforehand.
        Some(0x45) => ip::v4(data, len, out),
        Some(first) if first >> 4 == 4 => ip::v4(data, len, out),
        Some(first) if first >> 4 == 6 => ip::v6(data, len, out, false),
        Some(_) => Err(Reason::IpVersion),
        None if len == 0 => Err(Reason::IpTruncated),
        None => Err(Reason::NotCaptured),
    }
}

/// [`parse_into`] of a packet that was put together of fragments: an IPv6 fragment header that is left in it is skipped if it
/// says offset 0, as in netfilter, and an error otherwise.
///
/// # Errors
/// Those of [`parse`].
#[cold]
#[inline(never)]
pub fn parse_reassembled_into(data: &[u8], len: u32, out: &mut Headers) -> Result<(), Reason> {
    match data.first() {
        Some(first) if first >> 4 == 6 => ip::v6(data, len, out, true),
        _ => parse_into(data, len, out),
    }
}

impl Headers {
    /// Headers of nothing: something to let [`parse_into`] write over.
    pub const EMPTY: Self = Self {
        l3: L3::V4,
        protocol: 0,
        hop_limit: 0,
        src: [0; 16],
        dst: [0; 16],
        len: 0,
        l4_offset: 0,
        l4_len: 0,
        l4: L4::Other,
    };

    /// Transport header and payload, as far as captured. `data` is what these headers were parsed from.
    #[inline]
    pub fn transport<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.l4_offset);
        let end = data.len().min(start + usize::from(self.l4_len));
        data.get(start..end).unwrap_or(&[])
    }

    /// The payload of TCP, UDP or UDP-Lite, as far as captured; empty for everything else. As in netfilter it ends
    /// where the IP packet does, whatever UDP's length field says.
    #[inline]
    pub fn payload<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        let header = match &self.l4 {
            L4::Tcp(segment) => usize::from(self.l4_len).saturating_sub(segment.payload as usize),
            L4::Udp { .. } | L4::UdpLite { .. } => 8,
            _ => return &[],
        };
        self.transport(data).get(header..).unwrap_or(&[])
    }
}

/// The header at the start of `captured`. `present` is how many bytes the packet has there by its own length; `short`
/// is the reason if the header does not fit in them.
#[inline]
fn header<const N: usize>(captured: &[u8], present: usize, short: Reason) -> Result<&[u8; N], Reason> {
    match captured.first_chunk::<N>() {
        Some(header) => Ok(header),
        None if present < N => Err(short),
        None => Err(Reason::NotCaptured),
    }
}

/// The first `n` bytes, or fewer if there are not that many.
#[inline]
fn up_to(bytes: &[u8], n: usize) -> &[u8] {
    bytes.get(..n).unwrap_or(bytes)
}
