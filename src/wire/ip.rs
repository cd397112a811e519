//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers.

use super::transport::{Network, transport};
use super::{Headers, L4, header, up_to};
use crate::net::{Addr, L3, protocol};
use crate::reason::Reason;

/// How many IPv6 extension headers are skipped before a packet is refused ([`Reason::Ipv6Extension`]).
pub const MAX_EXTENSIONS: usize = 64;

/// IPv6 next-header values that are no transport (RFC 8200, RFC 4302).
pub(super) mod next {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const AUTHENTICATION: u8 = 51;
    pub const NONE: u8 = 59;
    pub const DESTINATION: u8 = 60;
}

/// The header's fixed part of an IPv4 packet, as far as both parsers need it.
pub(super) struct V4 {
    /// Header length in bytes, 0 to 60; unchecked.
    pub header_len: usize,
    /// Total length by the header; unchecked.
    pub total: usize,
    /// Offset of the fragment is not 0.
    pub later_fragment: bool,
    /// More fragments follow.
    pub more_fragments: bool,
    pub protocol: u8,
    pub hop_limit: u8,
    pub src: Addr,
    pub dst: Addr,
}

impl V4 {
    #[inline(always)]
    pub fn read(h: &[u8; 20]) -> Self {
        let fragment = u16::from_be_bytes([h[6], h[7]]);
        Self {
            header_len: usize::from(h[0] & 0x0f) * 4,
            total: usize::from(u16::from_be_bytes([h[2], h[3]])),
            later_fragment: fragment & 0x1fff != 0,
            more_fragments: fragment & 0x2000 != 0,
            protocol: h[9],
            hop_limit: h[8],
            src: v4_addr([h[12], h[13], h[14], h[15]]),
            dst: v4_addr([h[16], h[17], h[18], h[19]]),
        }
    }
}

#[inline(always)]
fn v4_addr(a: [u8; 4]) -> Addr {
    // One shift instead of a byte copy: the address lands in the first four bytes, the rest is 0.
    u128::from(u32::from_le_bytes(a)).to_le_bytes()
}

/// The header's fixed part of an IPv6 packet.
pub(super) struct V6 {
    pub payload_len: usize,
    pub next: u8,
    pub hop_limit: u8,
    pub src: Addr,
    pub dst: Addr,
}

impl V6 {
    #[inline(always)]
    pub fn read(h: &[u8; 40]) -> Self {
        let (mut src, mut dst): (Addr, Addr) = ([0; 16], [0; 16]);
        let (_, addresses) = h.split_at(8);
        let (from, to) = addresses.split_at(16);
        src.copy_from_slice(from);
        dst.copy_from_slice(to);
        Self {
            payload_len: usize::from(u16::from_be_bytes([h[4], h[5]])),
            next: h[6],
            hop_limit: h[7],
            src,
            dst,
        }
    }
}

#[inline(always)]
pub(super) fn v4(data: &[u8], len: u32, out: &mut Headers) -> Result<(), Reason> {
    let h = header::<20>(data, data.len().max(len as usize), Reason::IpTruncated)?;
    let ip = V4::read(h);
    if ip.header_len < 20 || ip.total < ip.header_len {
        return Err(Reason::IpHeaderLength);
    }
    if ip.total > data.len() && ip.total > len as usize {
        return Err(Reason::IpTruncated);
    }
    let net = Network {
        l3: L3::V4,
        protocol: ip.protocol,
        hop_limit: ip.hop_limit,
        src: ip.src,
        dst: ip.dst,
        len: ip.total,
        l4_offset: ip.header_len,
        l4_len: ip.total - ip.header_len,
    };
    if ip.later_fragment || ip.more_fragments {
        net.write(L4::Fragment, out);
        return Ok(());
    }
    transport(net, up_to(data.get(ip.header_len..).unwrap_or(&[]), net.l4_len), out)
}

/// `reassembled`: no fragment header in it is for reassembly any more.
#[inline(always)]
pub(super) fn v6(data: &[u8], len: u32, out: &mut Headers, reassembled: bool) -> Result<(), Reason> {
    let h = header::<40>(data, data.len().max(len as usize), Reason::IpTruncated)?;
    let ip = V6::read(h);
    if ip.payload_len == 0 && ip.next == next::HOP_BY_HOP {
        return Err(Reason::Ipv6Jumbogram);
    }
    let total = 40 + ip.payload_len;
    if total > data.len() && total > len as usize {
        return Err(Reason::IpTruncated);
    }
    let ip_data = up_to(data, total);
    let chain = if is_extension(ip.next) {
        skip_extensions(ip_data, total, ip.next, reassembled)?
    } else {
        Chain::begin(ip.next)
    };
    // Reassembly takes the fragment header away, so that an atomic fragment counts without it.
    let uncounted = if chain.atomic.is_some() { 8 } else { 0 };
    let net = Network {
        l3: L3::V6,
        protocol: chain.protocol,
        hop_limit: ip.hop_limit,
        src: ip.src,
        dst: ip.dst,
        len: total - uncounted,
        l4_offset: chain.offset,
        l4_len: total - chain.offset,
    };
    if chain.piece {
        net.write(L4::Fragment, out);
        return Ok(());
    }
    transport(net, ip_data.get(chain.offset..).unwrap_or(&[]), out)
}

/// Where a chain of extension headers led.
pub(super) struct Chain {
    pub protocol: u8,
    /// From the start of the IP header; never beyond the packet's own length.
    pub offset: usize,
    /// The chain ended at a fragment header: this is a piece of a packet.
    pub piece: bool,
    /// Where the byte stands that says `protocol`.
    pub named_at: usize,
    /// The first fragment header was that of an atomic fragment, and reassembly takes it away: where it was named, and
    /// where it stands.
    pub atomic: Option<(usize, usize)>,
}

impl Chain {
    /// Right behind the 40 bytes.
    #[inline(always)]
    fn begin(protocol: u8) -> Self {
        Self { protocol, offset: 40, piece: false, named_at: 6, atomic: None }
    }
}

#[inline(always)]
pub(super) fn is_extension(next: u8) -> bool {
    use next::*;
    matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | NONE | DESTINATION)
}

/// Walks the extension headers behind the 40 bytes of an IPv6 header; `total` is how many bytes the packet has, of
/// which `ip` was captured. Order and repetition are not judged. A header must be there as far as the walk reads it (two
/// bytes, four of a fragment header); one that claims to be longer than the packet leaves the transport nothing, which
/// protocols that are known by their addresses do not mind (tests/recorded: ipv6-extensions-cut).
///
/// A packet's first fragment header ends the walk, unless it is an atomic fragment's or reassembly leaves it alone. Any
/// other (and the first too where reassembly is `past`: in what it made, and in a packet that an ICMP error quotes) is skipped at
/// offset 0, as in netfilter, and an error elsewhere.
pub(super) fn skip_extensions(ip: &[u8], total: usize, first: u8, past: bool) -> Result<Chain, Reason> {
    let mut chain = Chain::begin(first);
    walk(ip, total, &mut chain, past)?;
    Ok(chain)
}

/// Where the fragment header of an atomic fragment (RFC 6946) stands that reassembly takes away from the IPv6 packet in
/// `data`, which is all of it: the offset of the byte that names it, and its own. What leaves the box is without it.
/// (Reassembly leaves alone what breaks off within its headers.)
pub fn atomic_fragment(data: &[u8]) -> Option<(usize, usize)> {
    let mut chain = Chain::begin(V6::read(data.first_chunk::<40>()?).next);
    // Whether the rest of the headers makes sense is another question.
    let _ = walk(data, data.len(), &mut chain, false);
    chain.atomic
}

#[inline(never)]
fn walk(ip: &[u8], total: usize, chain: &mut Chain, mut fragment_seen: bool) -> Result<(), Reason> {
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(chain.protocol) {
            break;
        }
        if chain.protocol == next::NONE {
            return Err(Reason::Ipv6NoNextHeader);
        }
        let captured = ip.get(chain.offset..).unwrap_or(&[]);
        let left = total - chain.offset;
        let h = header::<2>(captured, left, Reason::Ipv6Extension)?;
        let mut len = (usize::from(h[1]) + 1) * 8;
        match chain.protocol {
            next::AUTHENTICATION => len = (usize::from(h[1]) + 2) * 4,
            next::FRAGMENT => {
                len = 8;
                let h = header::<4>(captured, left, Reason::Ipv6Extension)?;
                let field = u16::from_be_bytes([h[2], h[3]]);
                let (later, more) = (field >> 3 != 0, field & 1 != 0);
                // Nor does it take a later one that more are to follow, of such a length; it leads nowhere then.
                if later && (fragment_seen || left < len || more && !left.is_multiple_of(8)) {
                    return Err(Reason::Ipv6Extension);
                }
                if !fragment_seen && (later || reassembled(ip, total, chain, h[0], more)?) {
                    // One with nothing in it is not whole either: reassembly refuses it.
                    chain.piece = later || more || left == len;
                    chain.atomic = (!chain.piece).then_some((chain.named_at, chain.offset));
                }
                fragment_seen = true;
            }
            _ => {}
        }
        chain.protocol = h[0];
        chain.named_at = chain.offset;
        chain.offset += len.min(left);
        if chain.piece {
            return Ok(());
        }
    }
    if is_extension(chain.protocol) { Err(Reason::Ipv6Extension) } else { Ok(()) }
}

/// Whether reassembly takes a fragment at offset 0 that begins where `chain` has led. It does not if the fragment breaks off
/// within its headers, nor if more are to follow a length that is not a multiple of 8: such a packet goes on as it is
/// (tests/recorded: ipv6-first-fragment-cut).
fn reassembled(ip: &[u8], total: usize, chain: &Chain, next: u8, more: bool) -> Result<bool, Reason> {
    let left = total - chain.offset;
    if left < 8 || more && !left.is_multiple_of(8) {
        return Ok(false);
    }
    has_all_headers(ip, total, chain.offset, next)
}

/// Whether a fragment at offset 0, whose header stands at `at`, has all headers (RFC 8200 section 4.5: all must be in the
/// first; of a transport without a parser one byte). An error: they were not captured.
pub(super) fn has_all_headers(ip: &[u8], total: usize, at: usize, next: u8) -> Result<bool, Reason> {
    let mut behind = Chain { protocol: next, offset: at + 8, ..Chain::begin(next) };
    match walk(ip, total, &mut behind, true) {
        Err(Reason::NotCaptured) => return Err(Reason::NotCaptured),
        // Headers that lead nowhere are no headers cut off.
        Err(_) => return Ok(true),
        Ok(()) => {}
    }
    let needed = match behind.protocol {
        protocol::TCP => 20,
        protocol::UDP | protocol::ICMPV6 => 8,
        _ => 1,
    };
    Ok(total - behind.offset >= needed)
}
