//! L0: what every layer knows of networks: the two families, their addresses, protocol numbers.

/// Network layer of a packet.
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
