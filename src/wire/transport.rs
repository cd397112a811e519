//! The transport headers: what each must have for its packet to be tracked at all.

use super::{Headers, L4, header, sctp, tcp};
use crate::net::{Addr, L3, protocol};
use crate::reason::Reason;

/// What the network layer says, until the transport header completes it.
///
/// Each protocol writes its `Headers` in one go and in place: pieces built in memory and then copied cost more than
/// all of the parsing, as the wide loads of a copy wait for the narrow stores before them.
#[derive(Clone, Copy)]
pub(super) struct Network {
    pub l3: L3,
    pub protocol: u8,
    pub hop_limit: u8,
    pub src: Addr,
    pub dst: Addr,
    pub len: usize,
    pub l4_offset: usize,
    pub l4_len: usize,
}

impl Network {
    #[inline(always)]
    pub fn write(self, l4: L4, out: &mut Headers) {
        *out = Headers {
            l3: self.l3,
            protocol: self.protocol,
            hop_limit: self.hop_limit,
            src: self.src,
            dst: self.dst,
            len: self.len as u32,
            l4_offset: self.l4_offset as u16,
            l4_len: self.l4_len as u16,
            l4,
        };
    }
}

/// Reads the transport header. `captured` is what there is of its `l4_len` bytes.
#[inline(always)]
pub(super) fn transport(net: Network, captured: &[u8], out: &mut Headers) -> Result<(), Reason> {
    let len = net.l4_len;
    match net.protocol {
        protocol::TCP => net.write(L4::Tcp(tcp::segment(captured, len)?), out),
        protocol::UDP => {
            let (sport, dport) = udp(captured, len)?;
            net.write(L4::Udp { sport, dport }, out);
        }
        _ => net.write(rarer(net.l3, net.protocol, captured, len)?, out),
    }
    Ok(())
}

#[inline(never)]
fn rarer(l3: L3, proto: u8, captured: &[u8], len: usize) -> Result<L4, Reason> {
    match proto {
        protocol::UDPLITE => udplite(captured, len),
        // In the other family's packets, even what is too short is that first (tests/recorded: icmp-family).
        protocol::ICMP if l3 == L3::V4 => {
            let (kind, code, id) = icmp(captured, len)?;
            Ok(L4::Icmp { kind, code, id })
        }
        protocol::ICMPV6 if l3 == L3::V6 => {
            let (kind, code, id) = icmp(captured, len)?;
            Ok(L4::Icmpv6 { kind, code, id })
        }
        protocol::ICMP | protocol::ICMPV6 => Err(Reason::IcmpFamily),
        protocol::SCTP => Ok(L4::Sctp(sctp::packet(captured, len)?)),
        protocol::GRE => gre(captured, len),
        _ => Ok(L4::Other),
    }
}

/// Source and destination port, as every protocol with ports has them.
#[inline(always)]
pub(super) fn ports(h: &[u8; 4]) -> (u16, u16) {
    (u16::from_be_bytes([h[0], h[1]]), u16::from_be_bytes([h[2], h[3]]))
}

/// RFC 768. A length of 0 is refused over IPv6 too: there are no jumbograms here.
#[inline(always)]
fn udp(captured: &[u8], len: usize) -> Result<(u16, u16), Reason> {
    let h = header::<8>(captured, len, Reason::L4Truncated)?;
    let udp_len = usize::from(u16::from_be_bytes([h[4], h[5]]));
    if udp_len < 8 || udp_len > len {
        return Err(Reason::UdpLength);
    }
    Ok(ports(&[h[0], h[1], h[2], h[3]]))
}

/// RFC 3828 section 3.1: a coverage of 0 means all, and there is always a checksum.
fn udplite(captured: &[u8], len: usize) -> Result<L4, Reason> {
    let h = header::<8>(captured, len, Reason::L4Truncated)?;
    let coverage = usize::from(u16::from_be_bytes([h[4], h[5]]));
    if coverage != 0 && (coverage < 8 || coverage > len) {
        return Err(Reason::UdpliteCoverage);
    }
    if h[6] == 0 && h[7] == 0 {
        return Err(Reason::UdpliteNoChecksum);
    }
    let (sport, dport) = ports(&[h[0], h[1], h[2], h[3]]);
    Ok(L4::UdpLite { sport, dport })
}

/// RFC 792, RFC 4443: type, code, and the two bytes where an identifier is, if the type has one.
pub(super) fn icmp(captured: &[u8], len: usize) -> Result<(u8, u8, u16), Reason> {
    let h = header::<8>(captured, len, Reason::L4Truncated)?;
    Ok((h[0], h[1], u16::from_be_bytes([h[4], h[5]])))
}

/// RFC 2784, RFC 2637. No GRE packet is too short: netfilter takes what has not the 8 bytes of version 1 for
/// version 0, of which it needs nothing.
pub(super) fn gre(captured: &[u8], len: usize) -> Result<L4, Reason> {
    const PPP: u16 = 0x880b;
    let plain = L4::Gre { version: 0, call_id: 0 };
    if len < 8 {
        return Ok(plain);
    }
    let [_, version, ..] = header::<2>(captured, len, Reason::L4Truncated)?;
    if version & 7 != 1 {
        return Ok(plain);
    }
    let h = header::<8>(captured, len, Reason::L4Truncated)?;
    if u16::from_be_bytes([h[2], h[3]]) != PPP {
        return Err(Reason::GreProtocol);
    }
    Ok(L4::Gre { version: 1, call_id: u16::from_be_bytes([h[6], h[7]]) })
}
