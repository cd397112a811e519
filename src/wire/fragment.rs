//! What reassembly has to know of a fragment: RFC 791 section 3.2, RFC 8200 section 4.5.

use super::ip::{self, MAX_EXTENSIONS, V4, V6, next};
use super::{header, up_to};
use crate::net::{Addr, L3};
use crate::reason::Reason;

/// A fragment: where it belongs, and where its parts stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Network layer.
    pub l3: L3,
    /// What its header says is fragmented: the protocol, or IPv6's next header.
    pub protocol: u8,
    /// Source address.
    pub src: Addr,
    /// Destination address.
    pub dst: Addr,
    /// Identification, in host byte order.
    pub id: u32,
    /// Where its piece belongs in the datagram, in bytes: a multiple of 8, at most 65528.
    pub offset: u32,
    /// More are to follow.
    pub more: bool,
    /// IPv4: it asks not to be fragmented further.
    pub dont_fragment: bool,
    /// The two bits of explicit congestion notification (RFC 3168).
    pub ecn: u8,
    /// Bytes that stand before the fragmented part in every fragment: the IPv4 header; the IPv6 header and the extension
    /// headers before the fragment header.
    pub header_len: u16,
    /// Where the byte stands that names the protocol: what a whole without its fragment header has to say there.
    pub named_at: u16,
    /// Where its piece begins, from the start of the IP header.
    pub piece_at: u16,
    /// Bytes of its piece.
    pub piece_len: u16,
}

impl Fragment {
    /// Whether it is its own only fragment (RFC 6946); IPv6 only.
    pub fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// Reads a fragment; `None`: the packet is none, or one that reassembly leaves alone because it breaks off within the headers
/// that the first fragment must hold. `data` and `len` as for [`super::parse`]. IPv6: it is the first fragment header that
/// counts, an atomic fragment's too, wherever in the chain of extension headers it stands.
///
/// # Errors
/// Reasons 1 to 3 and 8: the IP header is broken, or the packet was not captured whole.
pub fn fragment(data: &[u8], len: u32) -> Result<Option<Fragment>, Reason> {
    let wire = data.len().max(len as usize);
    let (found, total) = match data.first() {
        Some(first) if first >> 4 == 4 => v4(data, wire)?,
        Some(first) if first >> 4 == 6 => v6(data, wire)?,
        Some(_) => return Err(Reason::IpVersion),
        None if wire == 0 => return Err(Reason::IpTruncated),
        None => return Err(Reason::NotCaptured),
    };
    if found.is_some() && data.len() < total {
        return Err(Reason::NotCaptured);
    }
    Ok(found)
}

/// The fragment, and the packet's length.
type Found = (Option<Fragment>, usize);

fn v4(data: &[u8], wire: usize) -> Result<Found, Reason> {
    let h = header::<20>(data, wire, Reason::IpTruncated)?;
    let ip = V4::read(h);
    if ip.header_len < 20 || ip.total < ip.header_len {
        return Err(Reason::IpHeaderLength);
    }
    if ip.total > wire {
        return Err(Reason::IpTruncated);
    }
    if !ip.later_fragment && !ip.more_fragments {
        return Ok((None, ip.total));
    }
    let field = u16::from_be_bytes([h[6], h[7]]);
    let found = Fragment {
        l3: L3::V4,
        protocol: ip.protocol,
        src: ip.src,
        dst: ip.dst,
        id: u16::from_be_bytes([h[4], h[5]]).into(),
        offset: u32::from(field & 0x1fff) * 8,
        more: ip.more_fragments,
        dont_fragment: field & 0x4000 != 0,
        ecn: h[1] & 3,
        header_len: ip.header_len as u16,
        named_at: 9,
        piece_at: ip.header_len as u16,
        piece_len: (ip.total - ip.header_len) as u16,
    };
    Ok((Some(found), ip.total))
}

fn v6(data: &[u8], wire: usize) -> Result<Found, Reason> {
    let h = header::<40>(data, wire, Reason::IpTruncated)?;
    let ip = V6::read(h);
    let total = 40 + ip.payload_len;
    if total > wire {
        return Err(Reason::IpTruncated);
    }
    let bytes = up_to(data, total);
    let none = Ok((None, total));
    // A jumbogram is none.
    let Some((named_at, at)) = fragment_header(bytes, ip.next).filter(|_| ip.payload_len > 0) else {
        return none;
    };
    let Some([protocol, _, a, b, c, d, e, f]) = bytes.get(at..).and_then(<[u8]>::first_chunk).copied() else {
        return none;
    };
    let field = u16::from_be_bytes([a, b]);
    let (offset, more) = (u32::from(field & !7), field & 1 != 0);
    // What was not captured is no matter of headers: it is told of first.
    if offset == 0 && data.len() >= total && ip::has_all_headers(bytes, total, at, protocol) == Ok(false) {
        return none;
    }
    let (Ok(header_len), Ok(named_at)) = (u16::try_from(at), u16::try_from(named_at)) else { return none };
    let Ok(piece_at) = u16::try_from(at + 8) else { return none };
    let found = Fragment {
        l3: L3::V6,
        protocol,
        src: ip.src,
        dst: ip.dst,
        id: u32::from_be_bytes([c, d, e, f]),
        offset,
        more,
        dont_fragment: false,
        ecn: h[1] >> 4 & 3,
        header_len,
        named_at,
        piece_at,
        piece_len: (total - at - 8).min(usize::from(u16::MAX)) as u16,
    };
    Ok((Some(found), total))
}

/// Where the first fragment header behind an IPv6 header is named, and where it stands.
fn fragment_header(ip: &[u8], first: u8) -> Option<(usize, usize)> {
    let (mut next, mut named_at, mut at) = (first, 6, 40);
    for _ in 0..MAX_EXTENSIONS {
        if next == next::FRAGMENT {
            return Some((named_at, at));
        }
        if !ip::is_extension(next) || next == next::NONE {
            return None;
        }
        let [name, len] = ip.get(at..)?.first_chunk::<2>().copied()?;
        let len = usize::from(len);
        named_at = at;
        at += if next == next::AUTHENTICATION { (len + 2) * 4 } else { (len + 1) * 8 };
        next = name;
    }
    None
}
