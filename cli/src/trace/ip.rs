//! IP packets as the router sees them: what it refuses before anything else, and where rules find their fields.

use std::net::IpAddr;

use conntab::tuple::L3;

use super::{hopopts, ipv4, ipv6};

/// A packet that passed the router's first look, without the bytes behind the length its header names.
#[derive(Clone, Debug)]
pub(super) struct Ip {
    pub l3: L3,
    pub bytes: Vec<u8>,
    pub src: IpAddr,
    pub dst: IpAddr,
    /// Transport protocol, and where its header begins, as rules see them; `None` if IPv6's headers make no sense.
    pub transport: Option<(u8, usize)>,
}

/// Why a packet gets no further than the network interface.
pub(super) enum Refused {
    /// Without a word.
    Silently,
    /// Its sender is told (type, code, and the four bytes behind the checksum).
    ParameterProblem(Ip, u8, u32),
}

impl Ip {
    /// Takes a packet from the wire.
    pub fn receive(bytes: &[u8]) -> Result<Self, Refused> {
        match bytes.first().map(|first| first >> 4) {
            Some(4) => ipv4::receive(bytes).ok_or(Refused::Silently),
            Some(6) => {
                let ip = ipv6::receive(bytes).ok_or(Refused::Silently)?;
                match hopopts::judge(&ip) {
                    hopopts::Judged::Good => Ok(ip),
                    hopopts::Judged::Bad => Err(Refused::Silently),
                    hopopts::Judged::Problem(code, pointer) => {
                        Err(Refused::ParameterProblem(ip, code, pointer))
                    }
                }
            }
            _ => Err(Refused::Silently),
        }
    }

    /// Takes one that was put together of fragments, each of which has passed.
    pub fn reassembled(bytes: &[u8]) -> Option<Self> {
        match bytes.first().map(|first| first >> 4) {
            Some(4) => ipv4::receive(bytes),
            Some(6) => ipv6::receive(bytes),
            _ => None,
        }
    }

    /// What reassembly makes of one that is its own only fragment (RFC 6946).
    pub fn without_atomic_fragment(&self) -> Option<Self> {
        if self.l3 == L3::V4 { None } else { ipv6::receive(&ipv6::without_atomic_fragment(&self.bytes)?) }
    }

    /// Some bytes, counted from the transport header.
    pub fn transport_bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let (_, start) = self.transport?;
        self.bytes.get(start + at..)?.first_chunk().copied()
    }

    /// The transport header and all behind it.
    pub fn payload(&self) -> &[u8] {
        self.transport.and_then(|(_, start)| self.bytes.get(start..)).unwrap_or(&[])
    }

    pub fn protocol(&self) -> Option<u8> {
        self.transport.map(|(protocol, _)| protocol)
    }

    pub fn dscp(&self) -> u8 {
        self.traffic_class() >> 2
    }

    /// TOS, or traffic class.
    pub fn traffic_class(&self) -> u8 {
        match (self.l3, self.bytes.as_slice()) {
            (L3::V4, [_, tos, ..]) => *tos,
            (L3::V6, [a, b, ..]) => a << 4 | b >> 4,
            _ => 0,
        }
    }

    pub fn hop_limit(&self) -> u8 {
        let at = if self.l3 == L3::V4 { 8 } else { 7 };
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// One hop further.
    pub fn decrement(&mut self) {
        match self.l3 {
            L3::V4 => ipv4::decrement(&mut self.bytes),
            L3::V6 => {
                if let Some(limit) = self.bytes.get_mut(7) {
                    *limit = limit.saturating_sub(1);
                }
            }
        }
    }
}

/// The one's complement sum of some bytes, the last one padded with 0 (RFC 1071), on top of another.
pub(super) fn sum(bytes: &[u8], begin: u32) -> u32 {
    let mut total = begin;
    for pair in bytes.chunks(2) {
        let word = u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
        total += u32::from(word);
        total = (total & 0xffff) + (total >> 16);
    }
    total
}

/// The checksum that goes with a sum.
pub(super) fn fold(total: u32) -> [u8; 2] {
    (!((total & 0xffff) + (total >> 16)) as u16).to_be_bytes()
}

/// The sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1).
pub(super) fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> u32 {
    let address = |ip, total| match ip {
        IpAddr::V4(ip) => sum(&ip.octets(), total),
        IpAddr::V6(ip) => sum(&ip.octets(), total),
    };
    sum(&(len as u32).to_be_bytes(), address(src, address(dst, protocol.into())))
}

/// Writes a checksum into its two bytes, which are 0.
pub(super) fn put(bytes: &mut [u8], at: usize, checksum: [u8; 2]) {
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.copy_from_slice(&checksum);
    }
}
