//! L2: the tuple, what identifies one direction of a connection, and the key under which the table keeps it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use crate::net::{Addr, L3, protocol};

use crate::wire::tcp::Segment;
use crate::wire::{Headers, Inner, InnerL4, L4, sctp};

/// A 16-bit zone: part of a connection's identity, one for each direction (`ct zone`). 0 is the default zone.
pub type Zone = u16;

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

/// The type of the message that answers (or asks for) an ICMP query of this type; `None` for all others.
pub(crate) const fn icmp_inverse(kind: u8) -> Option<u8> {
    match kind {
        8 => Some(0),
        0 => Some(8),
        13 => Some(14),
        14 => Some(13),
        15 => Some(16),
        16 => Some(15),
        17 => Some(18),
        18 => Some(17),
        _ => None,
    }
}

/// The same for ICMPv6 (RFC 4443, RFC 4620).
pub(crate) const fn icmpv6_inverse(kind: u8) -> Option<u8> {
    match kind {
        128 => Some(129),
        129 => Some(128),
        139 => Some(140),
        140 => Some(139),
        _ => None,
    }
}

impl Tuple {
    /// The tuple of a packet with these headers.
    #[inline]
    pub fn of(headers: &Headers) -> Self {
        let (sport, dport) = match headers.l4 {
            L4::Tcp(Segment { sport, dport, .. })
            | L4::Udp { sport, dport }
            | L4::UdpLite { sport, dport }
            | L4::Sctp(sctp::Packet { sport, dport, .. }) => (sport, dport),
            L4::Icmp { kind, code, id } | L4::Icmpv6 { kind, code, id } => (id, Self::message(kind, code)),
            // RFC 2637 has only the receiver's call id in the header.
            L4::Gre { call_id, .. } => (0, call_id),
            L4::Other | L4::Fragment => (0, 0),
        };
        let Headers { src, dst, protocol: l4, l3, .. } = *headers;
        Self { src, dst, sport, dport, l4, l3 }
    }

    /// The tuple of the packet inside an ICMP error.
    pub fn of_inner(inner: &Inner) -> Self {
        let (sport, dport) = match inner.l4 {
            InnerL4::Ports { sport, dport } => (sport, dport),
            InnerL4::Icmp { kind, code, id } => (id, Self::message(kind, code)),
            InnerL4::Gre { call_id, .. } => (0, call_id),
            InnerL4::Other => (0, 0),
        };
        let Inner { src, dst, protocol: l4, l3, .. } = *inner;
        Self { src, dst, sport, dport, l4, l3 }
    }

    const fn message(kind: u8, code: u8) -> u16 {
        (kind as u16) << 8 | code as u16
    }

    /// The tuple of the other direction. ICMP types that are neither query nor reply stay as they are.
    #[must_use]
    pub fn inverse(&self) -> Self {
        Self::from_key(&self.key(0).inverse(0))
    }

    /// Source address.
    pub fn src_ip(&self) -> IpAddr {
        ip(self.l3, &self.src)
    }

    /// Destination address.
    pub fn dst_ip(&self) -> IpAddr {
        ip(self.l3, &self.dst)
    }

    /// A tuple of these ends; both addresses must be of one family, or there is none.
    pub fn new(l4: u8, (src, sport): (IpAddr, u16), (dst, dport): (IpAddr, u16)) -> Option<Self> {
        let l3 = if src.is_ipv4() { L3::V4 } else { L3::V6 };
        let same = src.is_ipv4() == dst.is_ipv4();
        same.then(|| Self { src: addr(src), dst: addr(dst), sport, dport, l4, l3 })
    }

    /// What stands behind an IPv4 address in [`Addr`] is left out.
    #[inline]
    pub(crate) fn key(&self, zone: Zone) -> Key {
        let address = |addr: &Addr| match (words(addr), self.l3) {
            ([first, _], L3::V4) => [first & 0xffff_ffff, 0],
            (both, L3::V6) => both,
        };
        Key {
            src: address(&self.src),
            dst: address(&self.dst),
            meta: Key::meta(self.sport, self.dport, self.l4, self.l3, zone),
        }
    }

    pub(crate) fn from_key(key: &Key) -> Self {
        Self {
            src: bytes(key.src),
            dst: bytes(key.dst),
            sport: key.sport(),
            dport: key.dport(),
            l4: key.l4(),
            l3: key.l3(),
        }
    }
}

fn ip(l3: L3, addr: &Addr) -> IpAddr {
    match l3 {
        L3::V4 => IpAddr::V4(Ipv4Addr::new(addr[0], addr[1], addr[2], addr[3])),
        L3::V6 => IpAddr::V6(Ipv6Addr::from(*addr)),
    }
}

/// An address as the table stores it.
pub fn addr(ip: IpAddr) -> Addr {
    match ip {
        IpAddr::V4(v4) => {
            let mut addr = [0; 16];
            addr[..4].copy_from_slice(&v4.octets());
            addr
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[inline]
fn words(addr: &Addr) -> [u64; 2] {
    let both = u128::from_le_bytes(*addr);
    [both as u64, (both >> 64) as u64]
}

#[inline]
fn bytes(words: [u64; 2]) -> Addr {
    (u128::from(words[0]) | u128::from(words[1]) << 64).to_le_bytes()
}

/// A tuple with the zone of its direction, as five words: what is hashed and compared.
///
/// `meta`: sport (bits 0-15), dport (16-31), l4 (32-39), l3 (40-47), zone (48-63).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Key {
    pub src: [u64; 2],
    pub dst: [u64; 2],
    pub meta: u64,
}

impl Key {
    /// [`Tuple::key`] of the tuple of a packet with these headers: TCP and UDP without a detour.
    #[inline(always)]
    pub fn of(headers: &Headers, zone: Zone) -> Self {
        let (sport, dport) = match headers.l4 {
            L4::Tcp(Segment { sport, dport, .. }) | L4::Udp { sport, dport } => (sport, dport),
            _ => return Tuple::of(headers).key(zone),
        };
        let Headers { src, dst, protocol: l4, l3, .. } = *headers;
        Tuple { src, dst, sport, dport, l4, l3 }.key(zone)
    }

    #[inline]
    pub fn new(src: &Addr, dst: &Addr, meta: u64) -> Self {
        Self { src: words(src), dst: words(dst), meta }
    }

    #[inline]
    pub const fn meta(sport: u16, dport: u16, l4: u8, l3: L3, zone: Zone) -> u64 {
        sport as u64 | (dport as u64) << 16 | (l4 as u64) << 32 | (l3 as u64) << 40 | (zone as u64) << 48
    }

    #[inline]
    pub const fn sport(&self) -> u16 {
        self.meta as u16
    }

    #[inline]
    pub const fn dport(&self) -> u16 {
        (self.meta >> 16) as u16
    }

    #[inline]
    pub const fn l4(&self) -> u8 {
        (self.meta >> 32) as u8
    }

    #[inline]
    pub const fn l3(&self) -> L3 {
        if self.is_v4() { L3::V4 } else { L3::V6 }
    }

    #[inline]
    pub const fn is_v4(&self) -> bool {
        (self.meta >> 40) as u8 == L3::V4 as u8
    }

    #[inline]
    pub const fn zone(&self) -> Zone {
        (self.meta >> 48) as u16
    }

    #[inline]
    pub const fn with_zone(mut self, zone: Zone) -> Self {
        self.meta = self.meta << 16 >> 16 | (zone as u64) << 48;
        self
    }

    /// 0 if both are equal. All words are compared: no early end to guess.
    #[inline]
    pub const fn differs(&self, other: &Self) -> u64 {
        (self.src[0] ^ other.src[0])
            | (self.src[1] ^ other.src[1])
            | (self.dst[0] ^ other.dst[0])
            | (self.dst[1] ^ other.dst[1])
            | (self.meta ^ other.meta)
    }

    /// The key of the other direction, in that direction's zone.
    #[inline]
    pub const fn inverse(&self, zone: Zone) -> Self {
        Self { src: self.dst, dst: self.src, meta: Self::inverse_meta(self.meta, zone) }
    }

    #[inline]
    pub(crate) const fn inverse_meta(meta: u64, zone: Zone) -> u64 {
        let l4 = (meta >> 32) as u8;
        let low = meta as u32;
        let ports = match l4 {
            // The identifier stays; the type, in the upper byte, becomes that of the answer.
            protocol::ICMP | protocol::ICMPV6 => {
                let kind = (low >> 24) as u8;
                let other = if l4 == protocol::ICMP { icmp_inverse(kind) } else { icmpv6_inverse(kind) };
                match other {
                    Some(other) => low & 0x00ff_ffff | (other as u32) << 24,
                    None => low,
                }
            }
            _ => low.rotate_left(16),
        };
        meta & 0x0000_ffff_0000_0000 | ports as u64 | (zone as u64) << 48
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_tuple() -> impl Strategy<Value = Tuple> {
        let l3 = prop_oneof![Just(L3::V4), Just(L3::V6)];
        (any::<Addr>(), any::<Addr>(), any::<u16>(), any::<u16>(), any::<u8>(), l3).prop_map(
            |(mut src, mut dst, sport, dport, l4, l3)| {
                if l3 == L3::V4 {
                    src[4..].fill(0);
                    dst[4..].fill(0);
                }
                Tuple { src, dst, sport, dport, l4, l3 }
            },
        )
    }

    proptest! {
        #[test]
        fn a_key_holds_the_whole_tuple(tuple in any_tuple(), zone: u16) {
            let key = tuple.key(zone);
            prop_assert_eq!(Tuple::from_key(&key), tuple);
            prop_assert_eq!(key.zone(), zone);
            prop_assert_eq!(key.with_zone(7).with_zone(zone), key);
        }

        #[test]
        fn inverting_twice_gives_the_tuple_back(tuple in any_tuple()) {
            prop_assert_eq!(tuple.inverse().inverse(), tuple);
        }
    }

    #[test]
    fn spare_bytes_have_no_say() {
        let ends = |port| (std::net::IpAddr::from([10, 1, 0, 1]), port);
        let tuple = Tuple::new(protocol::UDP, ends(1), ends(2)).unwrap();
        let mut other = tuple;
        (other.src[4], other.dst[15]) = (1, 2);
        assert_eq!(tuple.key(0), other.key(0));
        assert_eq!(Tuple::new(protocol::UDP, ends(1), ("::1".parse().unwrap(), 2)), None);
    }

    #[test]
    fn an_echo_request_is_answered_by_an_echo_reply() {
        let (src, dst) = (addr("10.1.0.1".parse().unwrap()), addr("10.2.0.1".parse().unwrap()));
        let request = Tuple { src, dst, sport: 5, dport: 8 << 8, l4: protocol::ICMP, l3: L3::V4 };
        assert_eq!(request.inverse(), Tuple { src: dst, dst: src, dport: 0, ..request });
    }
}
