//! The kinds of segments a tracker tells apart, and which sets of control bits are sane.

use crate::wire::tcp::flag;

/// What a segment is to the state machine, by priority RST, SYN, FIN, ACK. (The numbers are those that the kernel logs as
/// `index`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// SYN without ACK.
    Syn = 0,
    /// SYN with ACK.
    SynAck = 1,
    /// FIN.
    Fin = 2,
    /// ACK, with data or without.
    Ack = 3,
    /// RST.
    Rst = 4,
}

impl Kind {
    /// The kind by its number in three bits; 7 stands for none.
    pub(super) const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Syn),
            1 => Some(Self::SynAck),
            2 => Some(Self::Fin),
            3 => Some(Self::Ack),
            4 => Some(Self::Rst),
            _ => None,
        }
    }

    /// The kind of a segment with these control bits; `None` if no sane segment carries them.
    ///
    /// PSH, ECE and CWR say nothing about the connection (RFC 9293 3.1, RFC 3168). All 256 sets were tried on the
    /// kernel: tests/kernel/tcp_states.txt, `flags`.
    #[inline]
    pub const fn of(flags: u8) -> Option<Self> {
        const SYN: u8 = flag::SYN;
        const SYN_URG: u8 = flag::SYN | flag::URG;
        const SYN_ACK: u8 = flag::SYN | flag::ACK;
        const FIN_ACK: u8 = flag::FIN | flag::ACK;
        const FIN_ACK_URG: u8 = flag::FIN | flag::ACK | flag::URG;
        const ACK: u8 = flag::ACK;
        const ACK_URG: u8 = flag::ACK | flag::URG;
        const RST: u8 = flag::RST;
        const RST_ACK: u8 = flag::RST | flag::ACK;
        match flags & !(flag::PSH | flag::ECE | flag::CWR) {
            ACK | ACK_URG => Some(Self::Ack),
            SYN | SYN_URG => Some(Self::Syn),
            SYN_ACK => Some(Self::SynAck),
            FIN_ACK | FIN_ACK_URG => Some(Self::Fin),
            RST | RST_ACK => Some(Self::Rst),
            _ => None,
        }
    }
}
