//! IPv6 (RFC 8200).

use std::net::Ipv6Addr;

use conntab::tuple::L3;

use super::ip::Ip;

mod next {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const NONE: u8 = 59;
    pub const DESTINATION: u8 = 60;
}

pub(super) fn receive(bytes: &[u8]) -> Option<Ip> {
    let header = bytes.first_chunk::<40>()?;
    let total = 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
    let address = |at: usize| {
        let octets = header.get(at..)?.first_chunk::<16>()?;
        Some(Ipv6Addr::from(*octets))
    };
    let (src, dst) = (address(8)?, address(24)?);
    // RFC 4291 sections 2.5.3 and 2.7: what is never on a wire.
    if src.is_loopback() || dst.is_loopback() || src.is_multicast() {
        return None;
    }
    if dst.is_multicast() && matches!(dst.octets()[1] & 15, 0 | 1) {
        return None;
    }
    let bytes = bytes.get(..total)?.to_vec();
    let transport = transport(&bytes);
    Some(Ip { l3: L3::V6, bytes, src: src.into(), dst: dst.into(), transport })
}

/// Where rules find the transport header: behind the extension headers.
fn transport(bytes: &[u8]) -> Option<(u8, usize)> {
    let (mut protocol, mut at) = (*bytes.get(6)?, 40);
    while matches!(protocol, next::HOP_BY_HOP | next::ROUTING | next::FRAGMENT | next::DESTINATION) {
        let header = bytes.get(at..)?.first_chunk::<8>()?;
        let len = if protocol == next::FRAGMENT { 8 } else { (usize::from(header[1]) + 1) * 8 };
        protocol = header[0];
        at += len;
    }
    let _ = next::NONE;
    Some((protocol, at))
}

/// What the router sends itself starts with this hop limit.
const HOP_LIMIT: u8 = 64;

/// A header in front of a payload. The flow label, which the kernel makes of a secret of its own (RFC 6437), is 0.
pub(super) fn packet(class: u8, protocol: u8, src: Ipv6Addr, dst: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60 | class >> 4, class << 4, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([protocol, HOP_LIMIT]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend(payload);
    packet
}
