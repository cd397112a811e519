//! What the router says of its own accord: ICMP errors, resets, echo replies.

use std::net::IpAddr;

use conntab::tuple::{L3, protocol};

use super::ip::{self, Ip};
use super::{ipv4, ipv6, route};

/// The most of an IPv4 packet that an error carries: RFC 1812 section 4.3.2.3 makes the whole 576 bytes long.
const QUOTED_V4: usize = 576 - 20 - 8;

/// The same for IPv6 (RFC 4443 section 2.4 c).
const QUOTED_V6: usize = 1280 - 40 - 8;

/// Precedence "internetwork control" (RFC 1812 section 4.3.2.5), kept beside the TOS of the packet.
const CONTROL: u8 = 0xc0;

/// An ICMP error about a packet: type, code, and the four bytes behind the checksum.
#[derive(Clone, Copy)]
pub(super) struct Fault {
    pub kind: u8,
    pub code: u8,
    pub rest: u32,
}

impl Fault {
    pub const fn new(kind: u8, code: u8) -> Self {
        Self { kind, code, rest: 0 }
    }
}

/// A packet from the router with this payload.
fn from_router(class: u8, l4: u8, src: IpAddr, dst: IpAddr, id: u16, payload: &[u8]) -> Option<Vec<u8>> {
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let dont_fragment = l4 == protocol::TCP;
            let header = ipv4::Header { tos: class, id, dont_fragment, protocol: l4, src, dst };
            Some(header.packet(payload))
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => Some(ipv6::packet(class, l4, src, dst, payload)),
        _ => None,
    }
}

/// An ICMP message with its checksum, from `src`.
fn icmp(class: u8, src: IpAddr, dst: IpAddr, id: u16, mut message: Vec<u8>) -> Option<Vec<u8>> {
    let (l4, begin) = match src {
        IpAddr::V4(_) => (protocol::ICMP, 0),
        IpAddr::V6(_) => (protocol::ICMPV6, ip::pseudo(src, dst, protocol::ICMPV6, message.len())),
    };
    let checksum = ip::fold(ip::sum(&message, begin));
    ip::put(&mut message, 2, checksum);
    from_router(class, l4, src, dst, id, &message)
}

/// An error about `cause` to its sender, unless it is one of those about which nothing may be said (RFC 1812 section
/// 4.3.2.7, RFC 4443 section 2.4 e).
pub(super) fn error(cause: &Ip, fault: Fault, src: IpAddr, id: u16) -> Option<Vec<u8>> {
    if !may_be_told(cause) {
        return None;
    }
    let quoted = if cause.l3 == L3::V4 { QUOTED_V4 } else { QUOTED_V6 };
    let mut message = vec![fault.kind, fault.code, 0, 0];
    message.extend(fault.rest.to_be_bytes());
    message.extend(cause.bytes.iter().take(quoted));
    let class = if cause.l3 == L3::V4 { cause.traffic_class() & 0x1e | CONTROL } else { 0 };
    icmp(class, src, cause.src, id, message)
}

fn may_be_told(cause: &Ip) -> bool {
    let kind = cause.transport_bytes(0).map(|[kind]| kind);
    match (cause.src, cause.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let one = |a: std::net::Ipv4Addr| !a.is_multicast() && !a.is_broadcast() && !a.is_unspecified();
            let query = matches!(kind, Some(0 | 8 | 13..=18));
            one(src) && one(dst) && (cause.protocol() != Some(protocol::ICMP) || query)
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            // Of a fragment that does not hold the type nobody knows that it is an error.
            let query = match (ipv6::fragment_field(&cause.bytes), kind) {
                (Some(field), _) if field >> 3 != 0 => true,
                (Some(field), None) => field != 0,
                (_, kind) => kind.is_some_and(|kind| kind >= 128),
            };
            !src.is_unspecified()
                && !src.is_multicast()
                && !dst.is_multicast()
                && (cause.protocol() != Some(protocol::ICMPV6) || query)
        }
        _ => false,
    }
}

/// The answer to an echo request.
pub(super) fn echo_reply(request: &Ip, src: IpAddr, id: u16) -> Option<Vec<u8>> {
    let mut message = request.payload().to_vec();
    let first = message.first_mut()?;
    *first = if request.l3 == L3::V4 { 0 } else { 129 };
    ip::put(&mut message, 2, [0, 0]);
    icmp(request.traffic_class(), src, request.src, id, message)
}

/// The answer to a neighbour solicitation (RFC 4861 section 4.4). `addressed`: with the router's link-layer address.
pub(super) fn advertisement(solicitation: &Ip, side: u8, addressed: bool) -> Option<Vec<u8>> {
    let (IpAddr::V6(dst), own) = (solicitation.src, route::own_v6(side)) else { return None };
    // Router, solicited, and override.
    let mut message = vec![136, 0, 0, 0, if addressed { 0xe0 } else { 0xc0 }, 0, 0, 0];
    message.extend(own.octets());
    if addressed {
        message.extend([2, 1, 2, 0, 0, 0, 0, 0x10 * (side + 1)]);
    }
    let sum = ip::sum(&message, ip::pseudo(own.into(), dst.into(), protocol::ICMPV6, message.len()));
    ip::put(&mut message, 2, ip::fold(sum));
    let mut packet = ipv6::packet(0, protocol::ICMPV6, own, dst, &message);
    *packet.get_mut(7)? = 255;
    Some(packet)
}

/// Protocols whose checksum is not that of all bytes: GRE, ESP, AH, SCTP, UDP-Lite.
const OTHER_CHECKSUMS: [u8; 5] = [protocol::GRE, 50, 51, protocol::SCTP, protocol::UDPLITE];

/// Whether a rule must not answer: the packet's bytes do not sum up, so nobody vouches for where it came from. As
/// recorded, every protocol is taken to have a checksum like ICMP's (over IPv6: like TCP's).
pub(super) fn broken(ip: &Ip) -> bool {
    let (Some(l4), payload) = (ip.protocol(), ip.payload()) else { return true };
    if ip.l3 == L3::V6 && ipv6::fragment_field(&ip.bytes).is_some_and(|field| field > 7) {
        // Of a later fragment nobody knows (scenario random-fragments-5001-0299).
        return true;
    }
    let absent = l4 == protocol::UDP && matches!(payload, [_, _, _, _, _, _, 0, 0, ..]);
    if absent || OTHER_CHECKSUMS.contains(&l4) {
        return false;
    }
    let covers_addresses = ip.l3 == L3::V6 || matches!(l4, protocol::TCP | protocol::UDP);
    let begin = if covers_addresses { ip::pseudo(ip.src, ip.dst, l4, payload.len()) } else { 0 };
    // Both are 0 in one's complement.
    !matches!(ip::fold(ip::sum(payload, begin)), [0, 0] | [255, 255])
}

mod flag {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
}

/// Who sends a reset.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Resetting {
    /// The router, on which nobody listens.
    Host,
    /// A rule, in the name of an end.
    Rule,
}

impl Resetting {
    /// Whether the kernel leaves the checksum to the network card, with only the pseudo header summed up (as recorded).
    fn leaves_checksum(self, l3: L3) -> bool {
        matches!((self, l3), (Self::Rule, L3::V4) | (Self::Host, L3::V6))
    }
}

/// The reset that answers a segment (RFC 9293 section 3.10.7.1); none answers a reset.
pub(super) fn reset(cause: &Ip, by: Resetting) -> Option<Vec<u8>> {
    let segment = cause.payload();
    let header = segment.first_chunk::<20>()?;
    let [a, b, c, d, s0, s1, s2, s3, k0, k1, k2, k3, offset, flags, ..] = *header;
    if flags & flag::RST != 0 {
        return None;
    }
    // Where the header claims more than there is, this wraps: so it was recorded.
    let data = (segment.len() as u32).wrapping_sub(u32::from(offset >> 4) * 4);
    let (seq, ack, control) = if flags & flag::ACK != 0 {
        ([k0, k1, k2, k3], [0; 4], flag::RST)
    } else {
        let control = u32::from(flags & flag::SYN != 0) + u32::from(flags & flag::FIN != 0);
        let next = u32::from_be_bytes([s0, s1, s2, s3]).wrapping_add(control).wrapping_add(data);
        ([0; 4], next.to_be_bytes(), flag::RST | flag::ACK)
    };
    let mut reset = vec![c, d, a, b];
    reset.extend(seq);
    reset.extend(ack);
    reset.extend([0x50, control, 0, 0, 0, 0, 0, 0]);
    let begin = ip::pseudo(cause.dst, cause.src, protocol::TCP, reset.len());
    let checksum = if by.leaves_checksum(cause.l3) {
        ip::fold(begin).map(|byte| !byte)
    } else {
        ip::fold(ip::sum(&reset, begin))
    };
    ip::put(&mut reset, 16, checksum);
    // Without the marks of congestion.
    let class = if by == Resetting::Host { cause.dscp() << 2 } else { 0 };
    from_router(class, protocol::TCP, cause.dst, cause.src, 0, &reset)
}
