//! TCP header and the options that a tracker needs (RFC 9293, RFC 7323, RFC 2018).

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
    /// `ack`.
    pub sack_edge: Option<u32>,
}
