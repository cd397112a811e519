//! The packet that an ICMP error quotes (RFC 792, RFC 4443 section 3, RFC 4861 section 4.5 for redirects).

use super::ip::{V4, V6, is_extension, skip_extensions};
use super::transport::{gre, icmp, ports};
use super::{Headers, L4, header};
use crate::net::{Addr, L3, protocol};
use crate::reason::Reason;

/// What identifies the packet quoted by an ICMP error. Its lengths and checksums are not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Network layer: that of the error.
    pub l3: L3,
    /// Transport protocol (IPv6: after the extension headers).
    pub protocol: u8,
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// What belongs to the tuple of the transport header.
    pub l4: InnerL4,
}

/// The part of a quoted transport header that belongs to a tuple, in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InnerL4 {
    /// TCP, UDP, UDP-Lite, SCTP.
    Ports {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
    },
    /// ICMP or ICMPv6.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier.
        id: u16,
    },
    /// GRE: as [`L4::Gre`].
    Gre {
        /// 1 for PPTP, else 0.
        version: u8,
        /// Call id of the receiver, else 0.
        call_id: u16,
    },
    /// A protocol whose tuple is its addresses.
    Other,
}

/// Reads the packet quoted by the ICMP or ICMPv6 error in `data`, which is what `headers` were parsed from. Whether
/// the message's type is that of an error is for the caller to know; only of ICMPv6 redirects (type 137) the quoted
/// packet is looked for in the redirected-header option, which must be the first.
///
/// Needed are the IP header, then 4 bytes of TCP, UDP, UDP-Lite or SCTP, 8 of ICMP or ICMPv6, nothing of the rest. A
/// first fragment will do, a later one will not. As in netfilter the version field of the quoted header is not looked
/// at: it is of the family of the error.
///
/// # Errors
/// [`Reason::IcmpInner`] if the quoted packet is cut short or makes no sense, or `headers` are not those of ICMP;
/// [`Reason::RedirectOption`] for a redirect without its option; [`Reason::NotCaptured`] if it is the capture that is
/// too short.
pub fn inner(data: &[u8], headers: &Headers) -> Result<Inner, Reason> {
    let message = headers.transport(data);
    let len = usize::from(headers.l4_len);
    let start = match headers.l4 {
        L4::Icmp { .. } => 8,
        L4::Icmpv6 { kind: 137, .. } => {
            redirected(message, len)?;
            48
        }
        L4::Icmpv6 { .. } => 8,
        _ => return Err(Reason::IcmpInner),
    };
    let quoted = message.get(start..).unwrap_or(&[]);
    let quoted_len = len.saturating_sub(start);
    let read = if headers.l3 == L3::V4 { v4(quoted, quoted_len) } else { v6(quoted, quoted_len) };
    read.map_err(|reason| if reason == Reason::NotCaptured { reason } else { Reason::IcmpInner })
}

/// Checks that a redirect's 40 bytes are followed by a redirected-header option (RFC 4861 section 4.6.3).
fn redirected(message: &[u8], len: usize) -> Result<(), Reason> {
    let h = header::<42>(message, len, Reason::RedirectOption)?;
    if h[40] == 4 && h[41] != 0 { Ok(()) } else { Err(Reason::RedirectOption) }
}

fn v4(quoted: &[u8], len: usize) -> Result<Inner, Reason> {
    // A header length below 20 is believed: the transport header then overlaps (tests/recorded: icmp-inner-header-length).
    let ip = V4::read(header::<20>(quoted, len, Reason::IcmpInner)?);
    if ip.later_fragment || ip.header_len > len {
        return Err(Reason::IcmpInner);
    }
    let l4 = quoted.get(ip.header_len..).unwrap_or(&[]);
    Ok(Inner {
        l3: L3::V4,
        protocol: ip.protocol,
        src: ip.src,
        dst: ip.dst,
        l4: transport(ip.protocol, protocol::ICMP, l4, len - ip.header_len)?,
    })
}

fn v6(quoted: &[u8], len: usize) -> Result<Inner, Reason> {
    let ip = V6::read(header::<40>(quoted, len, Reason::IcmpInner)?);
    let (protocol, offset) = if is_extension(ip.next) {
        let chain = skip_extensions(quoted, len, ip.next, true)?;
        (chain.protocol, chain.offset)
    } else {
        (ip.next, 40)
    };
    let l4 = quoted.get(offset..).unwrap_or(&[]);
    let l4 = transport(protocol, protocol::ICMPV6, l4, len - offset)?;
    Ok(Inner { l3: L3::V6, protocol, src: ip.src, dst: ip.dst, l4 })
}

fn transport(proto: u8, own_icmp: u8, captured: &[u8], len: usize) -> Result<InnerL4, Reason> {
    match proto {
        protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP => {
            let (sport, dport) = ports(header::<4>(captured, len, Reason::IcmpInner)?);
            Ok(InnerL4::Ports { sport, dport })
        }
        protocol::ICMP | protocol::ICMPV6 if proto == own_icmp => {
            let (kind, code, id) = icmp(captured, len)?;
            Ok(InnerL4::Icmp { kind, code, id })
        }
        protocol::ICMP | protocol::ICMPV6 => Err(Reason::IcmpInner),
        protocol::GRE => match gre(captured, len)? {
            L4::Gre { version, call_id } => Ok(InnerL4::Gre { version, call_id }),
            _ => Err(Reason::IcmpInner),
        },
        _ => Ok(InnerL4::Other),
    }
}
