//! IPv6 (RFC 8200).

use std::net::Ipv6Addr;

use conntab::tuple::L3;
use conntab::wire;

use super::ip::Ip;

pub(super) mod next {
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
    let transport = walk(&bytes).map(|found| (found.protocol, found.at));
    Some(Ip { l3: L3::V6, bytes, src: src.into(), dst: dst.into(), transport })
}

/// Where a chain of extension headers leads.
pub(super) struct Found {
    pub protocol: u8,
    pub at: usize,
    /// Where the byte stands that says the protocol.
    pub named_at: usize,
    /// The extension headers: protocol and place.
    pub extensions: Vec<(u8, usize)>,
}

/// The way to the transport header, as rules find it: behind the extension headers, AH not being one of them.
pub(super) fn walk(bytes: &[u8]) -> Option<Found> {
    let mut found = Found { protocol: *bytes.get(6)?, at: 40, named_at: 6, extensions: Vec::new() };
    walk_on(bytes, &mut found).map(|()| found)
}

/// The extension headers, up to where the way ends.
pub(super) fn extensions(bytes: &[u8]) -> Vec<(u8, usize)> {
    let first = bytes.get(6).copied().unwrap_or(next::NONE);
    let mut found = Found { protocol: first, at: 40, named_at: 6, extensions: Vec::new() };
    let _ = walk_on(bytes, &mut found);
    found.extensions
}

fn walk_on(bytes: &[u8], found: &mut Found) -> Option<()> {
    while matches!(found.protocol, next::HOP_BY_HOP | next::ROUTING | next::FRAGMENT | next::DESTINATION) {
        let header = bytes.get(found.at..)?.first_chunk::<8>()?;
        let len = if found.protocol == next::FRAGMENT { 8 } else { (usize::from(header[1]) + 1) * 8 };
        found.extensions.push((found.protocol, found.at));
        found.protocol = header[0];
        found.named_at = found.at;
        found.at += len;
    }
    Some(())
}

/// Offset and flags of a packet that is a fragment, or was.
pub(super) fn fragment_field(bytes: &[u8]) -> Option<u16> {
    let mut extensions = walk(bytes)?.extensions.into_iter();
    let (_, at) = extensions.find(|(protocol, _)| *protocol == next::FRAGMENT)?;
    Some(u16::from_be_bytes(*bytes.get(at + 2..)?.first_chunk()?))
}

/// What is left of a packet that is its own only fragment (RFC 6946) when it has been put together.
pub(super) fn without_atomic_fragment(bytes: &[u8]) -> Option<Vec<u8>> {
    let (named_at, at) = wire::atomic_fragment(bytes)?;
    let mut whole = [bytes.get(..at)?, bytes.get(at + 8..)?].concat();
    *whole.get_mut(named_at)? = *bytes.get(at)?;
    let payload = (whole.len() - 40) as u16;
    whole.get_mut(4..6)?.copy_from_slice(&payload.to_be_bytes());
    Some(whole)
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
