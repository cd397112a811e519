//! IPv4 (RFC 791).

use std::net::Ipv4Addr;

use conntab::tuple::L3;
use conntab::wire;

use super::ip::{self, Ip};

/// RFC 1812 section 5.2.2: what a router checks first.
pub(super) fn receive(bytes: &[u8]) -> Option<Ip> {
    let header = bytes.first_chunk::<20>()?;
    let header_len = usize::from(header[0] & 15) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if !wire::ipv4_header_checksum_ok(bytes) || total < header_len {
        return None;
    }
    let [.., a, b, c, d, e, f, g, h] = *header;
    Some(Ip {
        l3: L3::V4,
        bytes: bytes.get(..total)?.to_vec(),
        src: Ipv4Addr::new(a, b, c, d).into(),
        dst: Ipv4Addr::new(e, f, g, h).into(),
        transport: Some((header[9], header_len)),
    })
}

/// The TTL, and the checksum with it (RFC 1141).
pub(super) fn decrement(bytes: &mut [u8]) {
    let Some(header) = bytes.first_chunk_mut::<20>() else { return };
    header[8] = header[8].saturating_sub(1);
    let sum = u32::from(u16::from_be_bytes([header[10], header[11]])) + 0x100;
    let sum = sum + u32::from(sum >= 0xffff);
    [header[10], header[11]] = (sum as u16).to_be_bytes();
}

/// The checksum of a header as it is now.
pub(super) fn rewrite_checksum(header: &mut [u8]) {
    ip::put(header, 10, [0, 0]);
    let checksum = ip::fold(ip::sum(header, 0));
    ip::put(header, 10, checksum);
}

/// A header without options in front of a payload.
pub(super) struct Header {
    pub tos: u8,
    pub id: u16,
    pub dont_fragment: bool,
    pub protocol: u8,
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
}

/// What the router sends itself starts with this TTL.
const TTL: u8 = 64;

impl Header {
    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, self.tos];
        packet.extend(((20 + payload.len()) as u16).to_be_bytes());
        packet.extend(self.id.to_be_bytes());
        packet.extend([if self.dont_fragment { 0x40 } else { 0 }, 0, TTL, self.protocol, 0, 0]);
        packet.extend(self.src.octets());
        packet.extend(self.dst.octets());
        let checksum = ip::fold(ip::sum(&packet, 0));
        ip::put(&mut packet, 10, checksum);
        packet.extend(payload);
        packet
    }
}
