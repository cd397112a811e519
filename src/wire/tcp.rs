//! TCP header and the options that a tracker needs (RFC 9293, RFC 7323, RFC 2018).

use super::header;
use super::transport::ports;
use crate::reason::Reason;

/// The control bits, as in the header's fourteenth byte.
pub mod flag {
    /// FIN.
    pub const FIN: u8 = 0x01;
    /// SYN.
    pub const SYN: u8 = 0x02;
    /// RST.
    pub const RST: u8 = 0x04;
    /// PSH.
    pub const PSH: u8 = 0x08;
    /// ACK.
    pub const ACK: u8 = 0x10;
    /// URG.
    pub const URG: u8 = 0x20;
    /// ECE.
    pub const ECE: u8 = 0x40;
    /// CWR.
    pub const CWR: u8 = 0x80;
}

/// What a tracker needs of a TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number (whatever the ACK bit says).
    pub ack: u32,
    /// Control bits ([`flag`]).
    pub flags: u8,
    /// Window as in the header, unscaled.
    pub window: u16,
    /// Payload bytes by the IP header, SYN and FIN not counted.
    pub payload: u32,
    /// The header carries options, whatever they are (data offset above 5 words).
    pub has_options: bool,
    /// Window scale option, as sent (not clamped).
    pub wscale: Option<u8>,
    /// SACK-permitted option present.
    pub sack_permitted: bool,
    /// The highest right edge of the SACK blocks, by sequence comparison from `ack` on; `None` without a block above
    /// `ack`. Only the first SACK option counts.
    pub sack_edge: Option<u32>,
}

/// One TCP option, as [`options`] gives it. NOP is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opt<'a> {
    /// Maximum segment size, bytes (RFC 9293 section 3.2).
    Mss(u16),
    /// Window scale: a shift count as sent, 0 to 255 (RFC 7323 section 2.2 allows 14).
    WindowScale(u8),
    /// SACK permitted (RFC 2018 section 2).
    SackPermitted,
    /// SACK blocks (RFC 2018 section 3), one to four.
    Sack(SackBlocks<'a>),
    /// Timestamps (RFC 7323 section 3.2).
    Timestamps {
        /// TSval.
        value: u32,
        /// TSecr.
        echo: u32,
    },
    /// Any other kind, or one of the above with a length that is not its own.
    Other {
        /// Option kind.
        kind: u8,
        /// What follows kind and length: 0 to 38 bytes.
        data: &'a [u8],
    },
}

/// The blocks of a SACK option: left edge (first sequence number of the block) and right edge (the one behind it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SackBlocks<'a>(&'a [[u8; 8]]);

impl Iterator for SackBlocks<'_> {
    type Item = (u32, u32);

    #[inline]
    fn next(&mut self) -> Option<(u32, u32)> {
        let (b, rest) = self.0.split_first()?;
        self.0 = rest;
        Some((u32::from_be_bytes([b[0], b[1], b[2], b[3]]), u32::from_be_bytes([b[4], b[5], b[6], b[7]])))
    }
}

/// Iterator over the options of a TCP header: see [`options`].
#[derive(Clone, Copy, Debug)]
pub struct Options<'a>(&'a [u8]);

/// The options in `bytes`, which is the part of a TCP header behind its first 20 bytes. The iteration ends at the end
/// of the bytes, at EOL, at a length below 2, and at an option that is not there in full.
#[inline]
pub fn options(bytes: &[u8]) -> Options<'_> {
    Options(bytes)
}

impl<'a> Options<'a> {
    /// The next option's kind and what follows its length.
    #[inline(always)]
    fn raw(&mut self) -> Option<(u8, &'a [u8])> {
        const EOL: u8 = 0;
        const NOP: u8 = 1;
        let (kind, len) = loop {
            match *self.0 {
                [NOP, ref rest @ ..] => self.0 = rest,
                [EOL, ..] | [] | [_] => return None,
                [kind, len, ..] => break (kind, usize::from(len)),
            }
        };
        let data = self.0.get(2..len)?;
        self.0 = self.0.get(len..)?;
        Some((kind, data))
    }
}

/// The blocks of a SACK option with this content; `None`: its length is not its own.
#[inline]
fn sack_blocks(data: &[u8]) -> Option<SackBlocks<'_>> {
    match data.as_chunks::<8>() {
        (blocks @ [_, ..], []) => Some(SackBlocks(blocks)),
        _ => None,
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Opt<'a>;

    #[inline]
    fn next(&mut self) -> Option<Opt<'a>> {
        let (kind, data) = self.raw()?;
        Some(match (kind, data) {
            (2, &[a, b]) => Opt::Mss(u16::from_be_bytes([a, b])),
            (3, &[shift]) => Opt::WindowScale(shift),
            (4, []) => Opt::SackPermitted,
            (5, data) if let Some(blocks) = sack_blocks(data) => Opt::Sack(blocks),
            (8, &[a, b, c, d, e, f, g, h]) => Opt::Timestamps {
                value: u32::from_be_bytes([a, b, c, d]),
                echo: u32::from_be_bytes([e, f, g, h]),
            },
            (kind, data) => Opt::Other { kind, data },
        })
    }
}

/// Reads a TCP header, of which `captured` holds what there is of the segment's `len` bytes by the IP header. All of its
/// options must be there.
#[inline(always)]
pub(super) fn segment(captured: &[u8], len: usize) -> Result<Segment, Reason> {
    let h = header::<20>(captured, len, Reason::L4Truncated)?;
    let header_len = usize::from(h[12] >> 4) * 4;
    if header_len < 20 || header_len > len {
        return Err(Reason::TcpDataOffset);
    }
    let ack = u32::from_be_bytes([h[8], h[9], h[10], h[11]]);
    let found = if header_len == 20 {
        Found::default()
    } else {
        // Half the options would mislead: a lost window scale makes good segments look out of window.
        let bytes = captured.get(20..header_len).ok_or(Reason::NotCaptured)?;
        if only_timestamps(bytes) { Found::default() } else { read_options(ack, bytes) }
    };
    let (sport, dport) = ports(&[h[0], h[1], h[2], h[3]]);
    Ok(Segment {
        sport,
        dport,
        seq: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
        ack,
        flags: h[13],
        window: u16::from_be_bytes([h[14], h[15]]),
        payload: (len - header_len) as u32,
        has_options: header_len > 20,
        wscale: found.wscale,
        sack_permitted: found.sack_permitted,
        sack_edge: found.sack_edge,
    })
}

/// What a tracker needs of the options.
#[derive(Clone, Copy, Default)]
struct Found {
    wscale: Option<u8>,
    sack_permitted: bool,
    sack_edge: Option<u32>,
}

/// NOP NOP timestamps: what nearly every segment of an established connection has (RFC 7323 appendix A).
#[inline(always)]
fn only_timestamps(bytes: &[u8]) -> bool {
    bytes.len() == 12 && bytes.first_chunk() == Some(&[1, 1, 8, 10])
}

/// A repeated window scale replaces the one before; of several SACK options the first counts. Both as in netfilter.
#[inline(never)]
fn read_options(ack: u32, bytes: &[u8]) -> Found {
    let mut found = Found::default();
    let mut sack_seen = false;
    let mut options = options(bytes);
    while let Some((kind, data)) = options.raw() {
        match (kind, data) {
            (3, &[shift]) => found.wscale = Some(shift),
            (4, []) => found.sack_permitted = true,
            (5, data) if !sack_seen => {
                if let Some(blocks) = sack_blocks(data) {
                    sack_seen = true;
                    found.sack_edge = highest_edge(ack, blocks);
                }
            }
            _ => {}
        }
    }
    found
}

/// Each edge is compared with the highest so far, so that edges more than 2^31 above `ack` can be reached in steps.
fn highest_edge(ack: u32, blocks: SackBlocks<'_>) -> Option<u32> {
    let mut edge = ack;
    for (_, right) in blocks {
        if right.wrapping_sub(edge) as i32 > 0 {
            edge = right;
        }
    }
    (edge != ack).then_some(edge)
}
