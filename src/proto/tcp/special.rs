//! What depends on more than state, direction and kind: first segments, resets, reopening, ignored SYNs and what
//! answers them, and the timeout.

use super::kind::Kind;
use super::record::{End, Last, Record, flags};
use super::table::{self, Next};
use super::window::{self, Fit, after};
use super::{Seen, State};
use crate::proto::{Outcome, Step, Timeout};
use crate::reason::Reason;
use crate::timeout::Tunables;
use crate::tuple::Direction;
use crate::wire::tcp::{Segment, flag};

/// The record of a connection that a SYN opens.
#[inline(always)]
pub(super) fn begin(segment: &Segment) -> Record {
    Record { ends: [End::from_syn(segment), End::default()], ..Record::default() }
}

/// The record of a connection first seen in mid-stream. Scale and SACK were agreed on before: be liberal in both
/// directions (scenarios tcp-midstream-*).
pub(super) fn pick_up(segment: &Segment) -> Record {
    let end = window::end_of(segment);
    let max_win = u32::from(segment.window).max(1);
    let known = flags::SACK_PERMITTED | flags::LIBERAL;
    let original =
        End { end, max_end: end.wrapping_add(max_win), max_win, max_ack: 0, scale: 0, flags: known };
    Record { ends: [original, End { flags: known, ..End::default() }], ..Record::default() }
}

/// Judges a segment of a sane kind.
pub(super) fn go(
    record: &mut Record,
    state: State,
    direction: Direction,
    seen: Seen,
    kind: Kind,
    segment: &Segment,
    tunables: &Tunables,
) -> Step {
    go_on(record, state, direction, seen, kind, segment, tunables)
}

/// [`go`] for a SYN that opens a connection: the compiler leaves out what cannot be.
#[inline(always)]
pub(super) fn go_first(record: &mut Record, segment: &Segment, tunables: &Tunables) -> Step {
    // The bits that matter, by its kind.
    let segment = Segment { flags: flag::SYN, ..*segment };
    go_on(record, State::None, Direction::Original, Seen::default(), Kind::Syn, &segment, tunables)
}

#[inline(always)]
fn go_on(
    record: &mut Record,
    state: State,
    direction: Direction,
    seen: Seen,
    kind: Kind,
    segment: &Segment,
    tunables: &Tunables,
) -> Step {
    let other = |outcome, reason, excess| Step::other(outcome, state as u8, reason, excess);
    let mut anew = false;
    let mut to = match table::next(state, direction, kind) {
        Next::To(to) => to,
        Next::Invalid => return other(Outcome::Invalid, Reason::TcpState, 0),
        Next::Ignore => {
            if !answers_ignored_syn(record, direction, kind, segment) {
                return ignore(record, state, direction, kind, segment);
            }
            resynchronise(record, direction);
            // The handshake begins again: the kernel tells of SYN_RECV even where that was the state (scenario
            // tcp-synack-lost).
            anew = true;
            State::SynRecv
        }
    };
    let sender = direction as usize;

    let mut judged = false;
    match to {
        State::SynSent if matches!(state, State::TimeWait | State::Close) => {
            // Scenarios tcp-timewait-reopen-*, tcp-close-reopen*; tcp_states.txt: close, close-server, close-data.
            let closing = (record.ends[0].flags | record.ends[1].flags) & flags::CLOSE_INITIATED != 0;
            if closing || record.last.was(direction, Kind::Rst) {
                return other(Outcome::Reopen, Reason::None, 0);
            }
            return ignore(record, state, direction, kind, segment);
        }
        State::SynSent2 => record.last.flags |= flags::SIMULTANEOUS_OPEN,
        State::SynRecv
            if kind == Kind::Ack
                && direction == Direction::Reply
                && record.last.flags & flags::SIMULTANEOUS_OPEN != 0 =>
        {
            // The answer to the client's SYN/ACK (tcp_states.txt: syn-recv-crossed).
            to = State::Established;
        }
        State::TimeWait
            if kind == Kind::Ack
                && state == State::LastAck
                && record.last.flags & flags::CHALLENGE_ACK != 0
                && record.last.was(direction.opposite(), Kind::Syn) =>
        {
            // RFC 5961 4.2: the answer to an ignored SYN, not the last ACK (tcp_states.txt: last-ack-syn-ignored).
            record.last.flags &= !flags::CHALLENGE_ACK;
            return other(Outcome::Ignore, Reason::TcpChallengeAck, 0);
        }
        State::Close if kind == Kind::Rst => match reset(record, state, direction, seen, segment, tunables) {
            Reset::Sure => judged = true,
            Reset::ByWindow => {}
            Reset::Inexact => to = State::Established,
            Reset::Below(excess) => return other(Outcome::Invalid, Reason::TcpRstBelow, excess),
        },
        _ => {}
    }

    if !judged {
        let liberal = record.ends[sender].flags & flags::LIBERAL != 0 || tunables.tcp_be_liberal != 0;
        let [original, reply] = &mut record.ends;
        let ends = match direction {
            Direction::Original => (original, reply),
            Direction::Reply => (reply, original),
        };
        match window::judge(ends, &mut record.last, state, direction, kind, segment, liberal) {
            Fit::In => {}
            Fit::Ignored(reason, excess) => return other(Outcome::Ignore, reason, excess),
            Fit::Out(reason, excess) => {
                let mut step = other(Outcome::Invalid, reason, excess);
                if seen.assured && matches!(kind, Kind::Rst | Kind::Fin) {
                    step.timeout = suspect(&mut record.last, direction, kind, tunables);
                }
                return step;
            }
        }
    }

    record.last.note(direction, kind);
    if to == State::FinWait {
        record.ends[sender].flags |= flags::CLOSE_INITIATED;
    }
    let mut step = Step::accept(to as u8, timeout(&record.ends, &record.last, to, kind, seen, tunables));
    step.anew = anew;
    if !seen.reply {
        if kind == Kind::Rst {
            // Nobody answered: nothing to remember (scenarios tcp-rst-syn-sent-*). It ends with the time it had (the
            // DESTROY events of the captures).
            step.destroy = true;
            step.timeout = Timeout::Keep;
        } else if kind == Kind::Syn && state == State::SynSent {
            // Scenario tcp-syn-retransmit: or a client could keep its entry for ever.
            return Step::other(Outcome::Ignore, to as u8, Reason::TcpSynAgain, 0);
        }
    } else if !seen.assured && to == State::Established {
        step.assure = true;
    }
    step
}

/// [`go`] for an ACK of an ESTABLISHED connection that fits: all else about it is known beforehand, and the compiler leaves
/// it out. `ends`: its sender and its receiver. `None`: it does not fit, and what was learned from it is to be forgotten.
#[inline(always)]
pub(super) fn steady(
    ends: &mut [End; 2],
    last: &mut Last,
    direction: Direction,
    seen: Seen,
    segment: &Segment,
    tunables: &Tunables,
) -> Option<Step> {
    const STATE: State = State::Established;
    const KIND: Kind = Kind::Ack;
    // The bits that matter, by its kind.
    let segment = Segment { flags: flag::ACK, ..*segment };
    let [sender, receiver] = ends;
    let liberal = sender.flags & flags::LIBERAL != 0 || tunables.tcp_be_liberal != 0;
    if sender.max_win == 0
        || window::judge((sender, receiver), last, STATE, direction, KIND, &segment, liberal) != Fit::In
    {
        return None;
    }
    last.note(direction, KIND);
    let mut step = Step::accept(STATE as u8, timeout(ends, last, STATE, KIND, seen, tunables));
    step.assure = seen.reply && !seen.assured;
    Some(step)
}

/// What is to be made of a RST, before the window.
enum Reset {
    /// It closes, whatever the window says.
    Sure,
    /// It closes if the window allows.
    ByWindow,
    /// It closes nothing yet, but is let through if the window allows: the other end will ask (RFC 5961 3.2).
    Inexact,
    /// Its sequence number is so much below what the other end has acknowledged.
    Below(u32),
}

fn reset(
    record: &Record,
    state: State,
    direction: Direction,
    seen: Seen,
    segment: &Segment,
    tunables: &Tunables,
) -> Reset {
    if matches!(state, State::FinWait | State::CloseWait | State::LastAck | State::TimeWait | State::Close) {
        // On its way out: any RST will do (tcp_states.txt: fin-wait to close).
        return Reset::Sure;
    }
    let last = &record.last;
    let peer = &record.ends[direction.opposite() as usize];
    if peer.flags & flags::MAX_ACK_SET == 0 || last.kind() == Some(Kind::Syn) {
        let answers = answers_let_through(last, state, direction, seen, segment);
        return if answers { Reset::Sure } else { Reset::ByWindow };
    }
    let firm = state == State::Established && seen.assured;
    // Until the handshake is complete a RST may carry sequence number 0 (RFC 9293 3.10.7.1).
    let excused = tunables.tcp_ignore_invalid_rst != 0 || segment.seq == 0 && !firm;
    if after(peer.max_ack, segment.seq) && !excused {
        return Reset::Below(peer.max_ack.wrapping_sub(segment.seq));
    }
    // Exact is what the other end expects next, by its last ACK or by this end's last segment.
    let exact = segment.seq == peer.max_ack || last.was(direction, Kind::Ack) && segment.seq == last.end;
    if firm && !exact { Reset::Inexact } else { Reset::ByWindow }
}

/// The timeout that goes with a step (scenarios tcp-retransmit*, tcp-unacknowledged, tcp-zero-window,
/// tcp-rst-established-inwindow, tcp-midstream-*).
#[inline(always)]
fn timeout(ends: &[End; 2], last: &Last, to: State, kind: Kind, seen: Seen, tunables: &Tunables) -> u32 {
    let timeout = to.timeout(tunables);
    let unacknowledged = (ends[0].flags | ends[1].flags) & flags::DATA_UNACKNOWLEDGED != 0;
    let retransmitted = tunables.tcp_timeout_max_retrans;
    let timeout = if u32::from(last.repeats) >= tunables.tcp_max_retrans && timeout > retransmitted {
        retransmitted
    } else if kind == Kind::Rst {
        tunables.tcp_timeout_close
    } else if unacknowledged && timeout > tunables.tcp_timeout_unacknowledged {
        tunables.tcp_timeout_unacknowledged
    } else if last.window == 0 && timeout > retransmitted {
        retransmitted
    } else {
        timeout
    };
    if !seen.reply && to == State::Established {
        timeout.min(tunables.tcp_timeout_unacknowledged)
    } else {
        timeout
    }
}

/// Whether this RST answers the very SYN or ACK that we let through last: then the bounds, which may be at fault, do
/// not judge it (tcp_states.txt: syn-sent-acked; RFC 9293 3.10.7).
fn answers_let_through(
    last: &Last,
    state: State,
    direction: Direction,
    seen: Seen,
    segment: &Segment,
) -> bool {
    let acknowledges = segment.ack == last.end;
    match last.kind() {
        Some(Kind::Syn) => seen.reply && last.direction() != direction && acknowledges,
        Some(Kind::Ack) => {
            !seen.assured && (acknowledges || state == State::SynSent && segment.seq == last.ack)
        }
        _ => false,
    }
}

/// Whether this is the SYN/ACK to a SYN that we ignored: the ends know better than we do.
fn answers_ignored_syn(record: &Record, direction: Direction, kind: Kind, segment: &Segment) -> bool {
    kind == Kind::SynAck && record.last.was(direction.opposite(), Kind::Syn) && segment.ack == record.last.end
}

/// Begins anew with the SYN that was ignored (scenario tcp-synack-lost).
fn resynchronise(record: &mut Record, direction: Direction) {
    let last = &record.last;
    record.ends[direction.opposite() as usize] = End {
        end: last.end,
        max_end: last.end,
        max_win: u32::from(last.window).max(1),
        max_ack: 0,
        scale: last.scale,
        flags: last.flags & (flags::WINDOW_SCALE | flags::SACK_PERMITTED),
    };
    let liberal = record.ends[direction as usize].flags & flags::LIBERAL;
    record.ends[direction as usize] = End { flags: liberal, ..End::default() };
}

/// Less than so many seconds are not shortened any more (tried by experiment: 120 are, 119.9 are not).
const SUSPECT_FLOOR: u32 = 120;

/// An out-of-window RST or FIN. If both ends send such, they know something that we do not: the connection need not
/// stay long (scenario tcp-rst-ack-mismatch).
fn suspect(last: &mut Last, direction: Direction, kind: Kind, tunables: &Tunables) -> Timeout {
    if last.direction() != direction && matches!(last.kind(), Some(Kind::Rst | Kind::Fin)) {
        return Timeout::Shorten { to: tunables.tcp_timeout_unacknowledged, above: SUSPECT_FLOOR };
    }
    last.note(direction, kind);
    Timeout::Keep
}

/// Lets a segment through without effect, but remembers it: what answers it will make sense.
fn ignore(record: &mut Record, state: State, direction: Direction, kind: Kind, segment: &Segment) -> Step {
    let last: &mut Last = &mut record.last;
    last.note(direction, kind);
    last.seq = segment.seq;
    // What a SYN or SYN/ACK acknowledges is passed over (scenario random-tcp-1001-0985).
    if kind == Kind::Ack {
        last.ack = segment.ack;
    }
    last.end = window::end_of(segment);
    last.window = segment.window;
    if kind == Kind::Syn {
        let syn = End::from_syn(segment);
        last.scale = syn.scale;
        last.flags = syn.flags | flags::CHALLENGE_ACK;
    }
    Step::other(Outcome::Ignore, state as u8, Reason::TcpStateIgnored, 0)
}
