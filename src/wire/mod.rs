//! L1: bytes to header fields. No allocation, no unsafe, no panic whatever the bytes are.

pub mod tcp;

use crate::reason::Reason;
use crate::tuple::{Addr, L3};

/// What the headers of one packet say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Network layer.
    pub l3: L3,
    /// Transport protocol (IPv6: after the extension headers).
    pub protocol: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Length of the whole IP packet by its own header, in bytes: what accounting counts.
    pub len: u32,
    /// Where the transport header begins, from the start of the IP header.
    pub l4_offset: u16,
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
        /// Identifier: the second 16 bits of the body, whatever the type.
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
    Sctp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
        /// Verification tag.
        vtag: u32,
    },
    /// GRE.
    Gre {
        /// Version: 0 (RFC 2784) or 1 (RFC 2637).
        version: u8,
        /// Version 1: the call id of the receiver; else 0.
        call_id: u16,
    },
    /// A protocol without a parser of its own.
    Other,
    /// A fragment, first or later: its transport header is not looked at.
    Fragment,
}

/// Reads the headers of an IP packet. `data` begins with the IP header and holds what was captured; `len` is what was
/// on the wire from the IP header on (link-layer padding may be included), `len >= data.len()`.
pub fn parse(data: &[u8], len: u32) -> Result<Headers, Reason> {
    let _ = (data, len);
    Err(Reason::IpVersion)
}
