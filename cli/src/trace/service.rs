//! What a packet for the router itself meets there: nobody listens on any port.

use std::net::Ipv6Addr;

use conntab::tuple::{L3, protocol};
use conntab::wire::{self, Checksum, L4};

use super::answer::Fault;
use super::hopopts::{self, Judged};
use super::ip::{self, Ip};
use super::ipv6;

pub(super) enum Answer {
    Nothing,
    Reset,
    EchoReply,
    /// A neighbour advertisement. `addressed`: it names the router's link-layer address; `told`: the solicitation named
    /// that of its sender.
    Advertisement {
        addressed: bool,
        told: bool,
    },
    Fault(Fault),
}

/// What a multicast router listens to.
const IGMP: u8 = 2;
const PIM: u8 = 103;

/// `alone`: the packet was sent to the router alone. `own`: the router's address on that side.
pub(super) fn answer(ip: &Ip, alone: bool, own: Ipv6Addr) -> Answer {
    let v4 = ip.l3 == L3::V4;
    if !v4 {
        let mut before = 6;
        for (protocol, at) in ipv6::extensions(&ip.bytes) {
            let judged = match protocol {
                // Unknown but in front of all others.
                ipv6::next::HOP_BY_HOP if at != 40 => Judged::Problem(1, before),
                // There is one.
                ipv6::next::FRAGMENT if before != 6 && ip.bytes.get(6) == Some(&ipv6::next::FRAGMENT) => {
                    Judged::Problem(0, 40)
                }
                _ => extension(ip, protocol, at),
            };
            match judged {
                Judged::Good => {}
                Judged::Bad => return Answer::Nothing,
                Judged::Problem(code, rest) => return Answer::Fault(Fault { kind: 4, code, rest }),
            }
            before = at as u32;
        }
    }
    let Some(l4) = ip.protocol() else { return Answer::Nothing };
    let named_at = ipv6::walk(&ip.bytes).map_or(6, |found| found.named_at as u32);
    let port_unreachable = if v4 { Fault::new(3, 3) } else { Fault::new(1, 4) };
    match l4 {
        protocol::TCP if alone && sound(ip) => Answer::Reset,
        protocol::UDP if alone && datagram(ip) => Answer::Fault(port_unreachable),
        protocol::ICMP if v4 && !alone => Answer::Nothing,
        protocol::ICMPV6 if !alone && ip.src.is_unspecified() => Answer::Nothing,
        protocol::ICMPV6 if !v4 && ip.payload().first() == Some(&135) => match solicited(ip, own) {
            Some(told) => Answer::Advertisement { addressed: !alone, told },
            None => Answer::Nothing,
        },
        protocol::ICMP if v4 => echo(ip, 8),
        protocol::ICMPV6 if !v4 => echo(ip, 128),
        protocol::UDPLITE if alone && lite(ip) => Answer::Fault(port_unreachable),
        protocol::TCP | protocol::UDP | protocol::UDPLITE | PIM => Answer::Nothing,
        IGMP if v4 => Answer::Nothing,
        ipv6::next::NONE if !v4 => Answer::Nothing,
        _ if !alone => Answer::Nothing,
        _ if v4 => Answer::Fault(Fault::new(3, 2)),
        _ => Answer::Fault(Fault { kind: 4, code: 1, rest: named_at }),
    }
}

/// What the destination of a packet makes of an extension header.
fn extension(ip: &Ip, protocol: u8, at: usize) -> Judged {
    let segments_left = ip.bytes.get(at + 3).copied().unwrap_or(0);
    match protocol {
        ipv6::next::FRAGMENT => fragment(ip, at),
        // It is cut.
        ipv6::next::ROUTING if at + (usize::from(ip.bytes[at + 1]) + 1) * 8 > ip.bytes.len() => Judged::Bad,
        ipv6::next::DESTINATION => hopopts::options(ip, at, false),
        // No type of routing header is known here (RFC 8200 section 4.4).
        ipv6::next::ROUTING if segments_left != 0 => Judged::Problem(0, at as u32 + 2),
        _ => Judged::Good,
    }
}

/// What it makes of a fragment that reassembly has let go on (tests/recorded: frag-own-v6).
fn fragment(ip: &Ip, at: usize) -> Judged {
    let field =
        ip.bytes.get(at + 2..).and_then(<[u8]>::first_chunk).map_or(0, |field| u16::from_be_bytes(*field));
    match wire::fragment(&ip.bytes, ip.bytes.len() as u32) {
        // RFC 7112: the first of several has all headers.
        Ok(None) if field & 1 != 0 => Judged::Problem(3, 0),
        // RFC 8200 section 4.5, which points to the payload length.
        Ok(Some(piece)) if piece.more && !piece.piece_len.is_multiple_of(8) => Judged::Problem(0, 4),
        _ if field & !6 == 0 => Judged::Good,
        _ => Judged::Bad,
    }
}

/// Whether the headers are whole and the checksum is right.
fn sound(ip: &Ip) -> bool {
    let headers = wire::parse(&ip.bytes, ip.bytes.len() as u32);
    headers.is_ok_and(|headers| wire::checksum(&ip.bytes, &headers) != Checksum::Bad)
}

/// Of a valid neighbour solicitation for an address (RFC 4861 section 7.1.1): whether it names the link-layer address of
/// its sender.
fn solicited(ip: &Ip, own: Ipv6Addr) -> Option<bool> {
    const SOURCE: u8 = 1;
    let (message, mut options) = ip.payload().split_at_checked(24)?;
    let mut told = false;
    while !options.is_empty() {
        let len = usize::from(*options.get(1)?) * 8;
        let (option, rest) = options.split_at_checked(len).filter(|_| len != 0)?;
        told |= option.first() == Some(&SOURCE);
        options = rest;
    }
    let valid =
        message.starts_with(&[135, 0]) && message[8..] == own.octets() && ip.hop_limit() == 255 && sound(ip);
    valid.then_some(told)
}

fn echo(ip: &Ip, request: u8) -> Answer {
    let headers = wire::parse(&ip.bytes, ip.bytes.len() as u32);
    let asked = headers.is_ok_and(|headers| match headers.l4 {
        L4::Icmp { kind, .. } => kind == request,
        L4::Icmpv6 { kind, .. } => kind == request,
        _ => false,
    });
    if asked && sound(ip) { Answer::EchoReply } else { Answer::Nothing }
}

/// Whether the datagram is one: here its checksum is that of its own length (RFC 768), and over IPv6 there must be one
/// (RFC 8200 section 8.1).
fn datagram(ip: &Ip) -> bool {
    let Some([_, _, _, _, a, b, c, d]) = ip.transport_bytes(0) else { return false };
    let len = usize::from(u16::from_be_bytes([a, b]));
    let Some(datagram) = ip.payload().get(..len).filter(|_| len >= 8) else { return false };
    if [c, d] == [0, 0] {
        return ip.l3 == L3::V4;
    }
    ip::fold(ip::sum(datagram, ip::pseudo(ip.src, ip.dst, protocol::UDP, len))) == [0, 0]
}

/// What an error about a packet quotes of it: of a datagram that nobody takes, what it claims to be.
pub(super) fn read(ip: &Ip, fault: Fault) -> Ip {
    let mut read = ip.clone();
    let unreachable = matches!((ip.l3, fault.kind, fault.code), (L3::V4, 3, 3) | (L3::V6, 1, 4));
    if let (true, Some((protocol::UDP, at))) = (unreachable, ip.transport)
        && let Some([_, _, _, _, a, b, _, _]) = ip.transport_bytes(0)
    {
        read.bytes.truncate(at + usize::from(u16::from_be_bytes([a, b])));
    }
    read
}

/// The same for UDP-Lite (RFC 3828 section 3.1).
fn lite(ip: &Ip) -> bool {
    let Some([_, _, _, _, a, b, c, d]) = ip.transport_bytes(0) else { return false };
    let payload = ip.payload();
    let coverage = match u16::from_be_bytes([a, b]) {
        0 => payload.len(),
        bytes => bytes.into(),
    };
    let Some(covered) = payload.get(..coverage).filter(|_| coverage >= 8 && [c, d] != [0, 0]) else {
        return false;
    };
    ip::fold(ip::sum(covered, ip::pseudo(ip.src, ip.dst, protocol::UDPLITE, payload.len()))) == [0, 0]
}
