//! The TCP tracker: a pure state machine. A first segment goes to [`open`], a further one to [`step`].
//!
//! The transitions were recorded from a live kernel (`table.rs`), the window rules are van Rooij's (`window.rs`), and
//! what depends on the segments before is in `special.rs`.

mod kind;
mod record;
mod special;
mod table;
mod window;

pub use record::{End, Last, Record, flags};

use super::{Outcome, Step};
use crate::reason::Reason;
use crate::timeout::Tunables;
use crate::tuple::Direction;
use crate::wire::tcp::Segment;
use kind::Kind;
use table::Next;

/// The state of a connection, numbered as in the kernel's uapi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// No segment yet.
    #[default]
    None = 0,
    /// SYN seen.
    SynSent = 1,
    /// SYN and SYN/ACK seen.
    SynRecv = 2,
    /// The handshake is complete.
    Established = 3,
    /// A FIN was seen.
    FinWait = 4,
    /// The first FIN was acknowledged.
    CloseWait = 5,
    /// FINs of both ends were seen.
    LastAck = 6,
    /// The second FIN was acknowledged.
    TimeWait = 7,
    /// A RST was seen.
    Close = 8,
    /// SYNs of both ends were seen (simultaneous open).
    SynSent2 = 9,
}

impl State {
    /// How many there are.
    pub const COUNT: usize = 10;
    const ALL: [Self; Self::COUNT] = [
        Self::None,
        Self::SynSent,
        Self::SynRecv,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::LastAck,
        Self::TimeWait,
        Self::Close,
        Self::SynSent2,
    ];

    /// The name, as in `/proc/net/nf_conntrack`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::SynSent2 => "SYN_SENT2",
        }
    }

    /// The state with this number.
    #[inline]
    pub const fn from_u8(number: u8) -> Option<Self> {
        if (number as usize) < Self::COUNT { Some(Self::ALL[number as usize]) } else { None }
    }

    /// The seconds a connection may stay in this state unheard of.
    #[inline]
    pub const fn timeout(self, tunables: &Tunables) -> u32 {
        match self {
            Self::None | Self::SynSent => tunables.tcp_timeout_syn_sent,
            Self::SynRecv => tunables.tcp_timeout_syn_recv,
            Self::Established => tunables.tcp_timeout_established,
            Self::FinWait => tunables.tcp_timeout_fin_wait,
            Self::CloseWait => tunables.tcp_timeout_close_wait,
            Self::LastAck => tunables.tcp_timeout_last_ack,
            Self::TimeWait => tunables.tcp_timeout_time_wait,
            Self::Close => tunables.tcp_timeout_close,
            Self::SynSent2 => tunables.tcp_timeout_syn_sent2,
        }
    }
}

/// What the connection's status says, before the segment under judgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// A reply has been seen (SEEN_REPLY).
    pub reply: bool,
    /// The connection is ASSURED.
    pub assured: bool,
}

/// Judges the first segment of a flow: the record and the step to begin with, or why it is INVALID.
#[inline]
pub fn open(segment: &Segment, tunables: &Tunables) -> Result<(Record, Step), (Reason, u32)> {
    let kind = Kind::of(segment.flags).ok_or((Reason::TcpFlags, 0))?;
    let mut record = match table::next(State::None, Direction::Original, kind) {
        Next::To(State::SynSent) => special::begin(segment),
        Next::To(_) if tunables.tcp_loose != 0 => special::pick_up(segment),
        Next::To(_) => return Err((Reason::TcpMidstream, 0)),
        Next::Ignore | Next::Invalid => return Err((Reason::TcpNotOpening, 0)),
    };
    let step =
        special::go(&mut record, State::None, Direction::Original, Seen::default(), kind, segment, tunables);
    match step.outcome {
        Outcome::Invalid => Err((step.reason, step.excess)),
        _ => Ok((record, step)),
    }
}

/// Judges a further segment. Whatever the outcome, `record` is to be kept: it remembers ignored and INVALID segments
/// too.
#[inline]
pub fn step(
    record: &mut Record,
    state: State,
    direction: Direction,
    seen: Seen,
    segment: &Segment,
    tunables: &Tunables,
) -> Step {
    match Kind::of(segment.flags) {
        Some(kind) => special::go(record, state, direction, seen, kind, segment, tunables),
        None => Step::other(Outcome::Invalid, state as u8, Reason::TcpFlags, 0),
    }
}
