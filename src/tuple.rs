//! L2: the tuple, what identifies one direction of a connection, and the key under which the table keeps it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A 16-bit zone: part of a connection's identity, one for each direction (`ct zone`). 0 is the default zone.
pub type Zone = u16;

/// Network layer of a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum L3 {
    /// IPv4; shown as `ipv4 2`.
    V4 = 2,
    /// IPv6; shown as `ipv6 10`.
    V6 = 10,
}

/// An address of either family: IPv4 in the first four bytes, the other twelve 0. Network byte order.
pub type Addr = [u8; 16];

/// IANA protocol numbers that have a tracker or a name in the text line.
pub mod protocol {
    /// ICMP (RFC 792).
    pub const ICMP: u8 = 1;
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// UDP (RFC 768).
    pub const UDP: u8 = 17;
    /// GRE (RFC 2784, RFC 2637).
    pub const GRE: u8 = 47;
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// SCTP (RFC 9260).
    pub const SCTP: u8 = 132;
    /// UDP-Lite (RFC 3828).
    pub const UDPLITE: u8 = 136;
}

/// Direction of a packet, seen from the packet that opened its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Direction {
    /// The way the first packet went.
    Original = 0,
    /// The way back.
    Reply = 1,
}

impl Direction {
    /// The other direction.
    #[inline]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// What identifies one direction of a connection, zones apart.
///
/// `sport` and `dport` are in host byte order. What they hold depends on `l4`, as in netfilter:
///
/// | protocol | `sport` | `dport` |
/// |---|---|---|
/// | TCP, UDP, UDP-Lite, SCTP | source port | destination port |
/// | ICMP, ICMPv6 | identifier | type << 8 \| code |
/// | GRE | source key (call id) | destination key (call id) |
/// | any other | 0 | 0 |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tuple {
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Source port, or what stands for it.
    pub sport: u16,
    /// Destination port, or what stands for it.
    pub dport: u16,
    /// Transport protocol number.
    pub l4: u8,
    /// Network layer.
    pub l3: L3,
}
