//! Ethernet with up to two VLAN tags (IEEE 802.1Q).

use crate::net::L3;
use crate::reason::Reason;

/// Where the IP packet of a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Bytes before the IP header: 14, 18 or 22.
    pub l3_offset: usize,
    /// What the EtherType says. (`parse` goes by the packet's own version field.)
    pub l3: L3,
    /// Tag control information, the outer tag first. The VLAN id is its low 12 bits.
    pub vlan: [Option<u16>; 2],
}

/// Finds the IP packet in an Ethernet frame (without preamble). Tags are those of EtherType 0x8100, 0x88a8 and
/// 0x9100; a third one is [`Reason::LinkNotIp`].
///
/// # Errors
/// [`Reason::LinkTruncated`], [`Reason::LinkNotIp`].
#[inline]
pub fn ethernet(frame: &[u8]) -> Result<Link, Reason> {
    let mut vlan = [None; 2];
    let mut l3_offset = 14;
    let mut rest = frame.get(12..).ok_or(Reason::LinkTruncated)?;
    let mut free = vlan.iter_mut();
    loop {
        let (kind, after) = rest.split_first_chunk::<2>().ok_or(Reason::LinkTruncated)?;
        let l3 = match u16::from_be_bytes(*kind) {
            0x0800 => L3::V4,
            0x86dd => L3::V6,
            0x8100 | 0x88a8 | 0x9100 => {
                let tag = free.next().ok_or(Reason::LinkNotIp)?;
                let (tci, after) = after.split_first_chunk::<2>().ok_or(Reason::LinkTruncated)?;
                *tag = Some(u16::from_be_bytes(*tci));
                rest = after;
                l3_offset += 4;
                continue;
            }
            _ => return Err(Reason::LinkNotIp),
        };
        return Ok(Link { l3_offset, l3, vlan });
    }
}
