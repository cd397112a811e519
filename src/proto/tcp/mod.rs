//! The TCP tracker: a pure state machine. A first segment goes to [`open`], a further one to [`step`].
//!
//! The transitions were recorded from a live kernel (`table.rs`), the window rules are van Rooij's (`window.rs`), and
//! what depends on the segments before is in `special.rs`.

mod kind;
mod record;
mod special;
mod table;
mod window;

pub use kind::Kind;
pub use record::{End, Last, Record, flags};

use super::{Outcome, Step};
use crate::reason::Reason;
use crate::timeout::Tunables;
use crate::tuple::Direction;
use crate::wire::tcp::Segment;
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
pub fn open(segment: &Segment, tunables: &Tunables) -> Result<(Record, Step), (Reason, u32)> {
    let kind = Kind::of(segment.flags).ok_or((Reason::TcpFlags, 0))?;
    let (record, step) = match table::next(State::None, Direction::Original, kind) {
        Next::To(State::SynSent) => open_syn(segment, tunables),
        Next::To(_) if tunables.tcp_loose != 0 => {
            let mut record = special::pick_up(segment);
            let seen = Seen::default();
            let step =
                special::go(&mut record, State::None, Direction::Original, seen, kind, segment, tunables);
            (record, step)
        }
        Next::To(_) => return Err((Reason::TcpMidstream, 0)),
        Next::Ignore | Next::Invalid => return Err((Reason::TcpNotOpening, 0)),
    };
    match step.outcome {
        Outcome::Invalid => Err((step.reason, step.excess)),
        _ => Ok((record, step)),
    }
}

/// Whether this is a SYN.
#[inline(always)]
pub(crate) fn is_syn(segment: &Segment) -> bool {
    Kind::of(segment.flags) == Some(Kind::Syn)
}

/// [`open`] for a SYN, whose step may yet be INVALID.
#[inline(always)]
pub(crate) fn open_syn(segment: &Segment, tunables: &Tunables) -> (Record, Step) {
    let mut record = special::begin(segment);
    let step = special::go_first(&mut record, segment, tunables);
    (record, step)
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

/// [`step`] for what makes nearly all of the traffic: an ACK, with data or without, of an ESTABLISHED connection, that fits.
/// `load` and `store` give at and take the words of the packed record. `None`: it is no such segment, and nothing was stored.
#[inline(always)]
pub(crate) fn steady(
    load: impl Fn(usize) -> u64,
    store: impl Fn(usize, u64),
    direction: Direction,
    seen: Seen,
    segment: &Segment,
    tunables: &Tunables,
) -> Option<Step> {
    if Kind::of(segment.flags) != Some(Kind::Ack) {
        return None;
    }
    let (mut ends, mut last) = record::load_facing(load, direction);
    let step = special::steady(&mut ends, &mut last, direction, seen, segment, tunables)?;
    record::store_facing(&ends, &last, direction, store);
    Some(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tcp::flag;
    use proptest::prelude::*;
    use std::cell::Cell;

    #[test]
    fn states_are_numbered_as_in_the_uapi() {
        for number in 0..State::COUNT as u8 {
            assert_eq!(State::from_u8(number).map(|s| s as u8), Some(number));
        }
        assert_eq!(State::from_u8(State::COUNT as u8), None);
        assert_eq!(State::Established as u8, 3);
        assert_eq!(State::SynSent2 as u8, 9);
        assert_eq!(State::TimeWait.as_str(), "TIME_WAIT");
    }

    fn segment() -> impl Strategy<Value = Segment> {
        let kinds = prop_oneof![
            any::<u8>(),
            Just(flag::SYN),
            Just(flag::SYN | flag::ACK),
            Just(flag::FIN | flag::ACK),
            Just(flag::ACK),
            Just(flag::RST),
            Just(flag::RST | flag::ACK),
        ];
        (kinds, any::<(u32, u32, u16, u32, bool, Option<u8>, bool, Option<u32>)>()).prop_map(
            |(flags, (seq, ack, window, payload, has_options, wscale, sack_permitted, sack_edge))| Segment {
                sport: 1,
                dport: 2,
                seq,
                ack,
                flags,
                window,
                payload,
                has_options,
                wscale,
                sack_permitted,
                sack_edge,
            },
        )
    }

    proptest! {
        /// The short way and the long one are the same way.
        #[test]
        fn steady_is_step(
            record in record::tests::record(),
            near in any::<bool>(),
            segment in segment(),
            offsets in any::<[i16; 6]>(),
            reply: bool, seen_reply: bool, assured: bool, be_liberal in 0_u32..2,
        ) {
            let direction = if reply { Direction::Reply } else { Direction::Original };
            let (mut record, mut segment) = (record, segment);
            if near {
                // Numbers at random hardly ever fit.
                let by = |n: u32, at: usize| n.wrapping_add_signed(offsets[at].into());
                let [there, back] = [direction, direction.opposite()].map(|d| d as usize);
                record.ends[there].max_end = by(record.ends[there].end, 0).wrapping_add(30_000);
                record.ends[back].max_end = by(record.ends[back].end, 1).wrapping_add(30_000);
                record.ends[there].max_win &= 0xffff;
                record.ends[back].max_win |= 0x4000;
                record.ends[there].max_ack = by(record.ends[back].end, 2);
                segment.seq = by(record.ends[there].end, 3);
                segment.ack = by(record.ends[back].end, 4);
                segment.payload %= 1500;
                segment.sack_edge = segment.sack_edge.map(|_| by(segment.ack, 5));
                segment.flags = flag::ACK | segment.flags & flag::PSH;
            }
            let seen = Seen { reply: seen_reply, assured };
            let tunables = Tunables { tcp_be_liberal: be_liberal, ..Tunables::default() };
            let words = record.pack().map(Cell::new);
            let short =
                steady(|at| words[at].get(), |at, word| words[at].set(word), direction, seen, &segment, &tunables);
            let stored = Record::unpack(&words.map(|word| word.get()));
            if let Some(short) = short {
                let long = step(&mut record, State::Established, direction, seen, &segment, &tunables);
                prop_assert_eq!((short, stored), (long, record));
            } else {
                prop_assert_eq!(stored, record);
                let mut after = record;
                let long = step(&mut after, State::Established, direction, seen, &segment, &tunables);
                let fits = long.outcome == Outcome::Accept && Kind::of(segment.flags) == Some(Kind::Ack);
                prop_assert!(!fits || record.ends[direction as usize].max_win == 0);
            }
        }

        /// Whatever the words of a record are and whatever comes: no panic (overflow checks are on in tests), a
        /// state that exists, a reason for everything but acceptance.
        #[test]
        fn takes_anything(
            words in any::<[u64; Record::WORDS]>(),
            state in 1..State::COUNT as u8,
            reply in any::<bool>(),
            seen in any::<(bool, bool)>(),
            segments in prop::collection::vec(segment(), 1..20),
        ) {
            let mut record = Record::unpack(&words);
            let mut state = State::from_u8(state).unwrap_or_default();
            let direction = if reply { Direction::Reply } else { Direction::Original };
            let tunables = Tunables::default();
            for s in &segments {
                let seen = Seen { reply: seen.0, assured: seen.1 };
                let step = step(&mut record, state, direction, seen, s, &tunables);
                prop_assert_eq!(step.reason == Reason::None, matches!(step.outcome, Outcome::Accept | Outcome::Reopen));
                state = State::from_u8(step.state).expect("a state");
                let _ = open(s, &tunables);
            }
        }
    }
}
