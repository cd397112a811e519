//! Window tracking after G. van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2000), with window scaling
//! (RFC 7323) and SACK (RFC 2018), refined by what the kernel does with segments the paper leaves open.
//!
//! Of each end we know how far it has sent (`end`), how far it may send (`max_end`) and the greatest window it offered
//! (`max_win`). A segment belongs to the connection if, in sequence arithmetic (RFC 9293 3.4):
//!
//! | bound | rule | paper |
//! |---|---|---|
//! | I | it begins no further than its sender may send | data upper bound |
//! | II | it ends no more than one window below what its sender has sent | data lower bound |
//! | III | it acknowledges no more than the other end has sent | ACK upper bound |
//! | IV | it acknowledges no less than that minus a generous constant | ACK lower bound |

use super::State;
use super::kind::Kind;
use super::record::{End, Last, flags};
use crate::reason::Reason;
use crate::tuple::Direction;
use crate::wire::tcp::{Segment, flag};

/// RFC 7323 2.3: greater shift counts are taken as 14.
const MAX_SCALE: u8 = 14;
/// Bound IV: how much too old an ACK may be, at least (paper 3.4: 66000, the greatest unscaled window and a bit).
const ACK_SLACK: u32 = 66_000;

/// Whether `a` comes after `b` (RFC 9293 3.4).
#[inline]
pub(super) const fn after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

/// What the bounds make of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It fits, or it is excused.
    In,
    /// Let through without effect.
    Ignored(Reason, u32),
    /// Out of bounds.
    Out(Reason, u32),
}

/// A window as meant (RFC 7323 2.3). The mask only keeps a nonsensical scale from overflowing.
#[inline]
const fn scaled(window: u16, scale: u8) -> u32 {
    (window as u32) << (scale & 15)
}

/// The sequence number behind the segment.
#[inline]
pub(super) const fn end_of(segment: &Segment) -> u32 {
    let syn = (segment.flags & flag::SYN != 0) as u32;
    let fin = (segment.flags & flag::FIN != 0) as u32;
    segment.seq.wrapping_add(segment.payload).wrapping_add(syn).wrapping_add(fin)
}

impl End {
    /// What a SYN says of its sender.
    #[inline(always)]
    pub(super) fn from_syn(segment: &Segment) -> Self {
        let mut end = Self::default();
        end.learn_syn(segment);
        end
    }

    #[inline(always)]
    fn learn_syn(&mut self, segment: &Segment) {
        self.end = end_of(segment);
        self.max_end = self.end;
        self.max_win = u32::from(segment.window).max(1);
        // A repeated SYN without any option takes nothing back.
        if segment.has_options {
            self.flags &= flags::LIBERAL;
            self.scale = 0;
            if let Some(shift) = segment.wscale {
                self.flags |= flags::WINDOW_SCALE;
                self.scale = shift.min(MAX_SCALE);
            }
            if segment.sack_permitted {
                self.flags |= flags::SACK_PERMITTED;
            }
        }
    }
}

/// Judges a segment by the bounds and, if it fits, learns from it.
#[inline(always)]
pub(super) fn judge(
    (sender, receiver): (&mut End, &mut End),
    last: &mut Last,
    state: State,
    direction: Direction,
    kind: Kind,
    segment: &Segment,
    liberal: bool,
) -> Fit {
    let syn = segment.flags & flag::SYN != 0;
    let has_ack = segment.flags & flag::ACK != 0;
    let mut seq = segment.seq;
    let mut end = end_of(segment);
    let mut ack = segment.ack;
    // RFC 2018: blocks are sent only to an end that permitted them.
    let mut sack = match segment.sack_edge {
        Some(edge) if receiver.flags & flags::SACK_PERMITTED != 0 => edge,
        _ => ack,
    };

    // A SYN tells all about its sender. Another one with a higher ISN replaces the first, until it is answered
    // (tcp_states.txt: syn-recv > S. over; syn-sent2 > S. over does not).
    let first = sender.max_win == 0;
    let again = matches!(state, State::SynSent | State::SynRecv) && after(end, sender.end);
    if syn && (first || again) {
        sender.learn_syn(segment);
        let answer = first || direction == Direction::Reply;
        if answer && sender.flags & receiver.flags & flags::WINDOW_SCALE == 0 {
            // RFC 7323 2.2: windows are scaled only if both ends offered it.
            sender.scale = 0;
            receiver.scale = 0;
        }
        if answer && !has_ack {
            return Fit::In;
        }
    } else if first {
        // The first seen of this end is in mid-stream: take it for good.
        sender.end = end;
        sender.max_win = scaled(segment.window, sender.scale).max(1);
        sender.max_end = end.wrapping_add(sender.max_win);
        if sack == receiver.end.wrapping_add(1) {
            // The answer to a keep-alive probe: its byte is one the receiver has sent (RFC 9293 3.8.4).
            receiver.end = sack;
        }
    }

    if !has_ack || kind == Kind::Rst && ack == 0 {
        // A RST that acknowledges 0 acknowledges nothing.
        ack = receiver.end;
        sack = ack;
    }
    if kind == Kind::Rst && seq == 0 && state == State::SynSent {
        // RFC 9293 3.10.7.1: a refusal has sequence number 0.
        seq = sender.end;
        end = sender.end;
    }

    let window = if syn { u32::from(segment.window) } else { scaled(segment.window, sender.scale) };

    let lowest = sender.end.wrapping_sub(receiver.max_win).wrapping_sub(1);
    let oldest = receiver.end.wrapping_sub(sender.max_win.max(ACK_SLACK)).wrapping_sub(1);
    // Nothing bounds an end whose peer has not been seen.
    let not_below = receiver.max_win == 0 || after(end, lowest);
    let outside = if after(seq, sender.max_end) {
        // A window's worth too much is excused (the receiver will see to it), if all else is right: scenarios
        // tcp-wscale, tcp-outside-window-*.
        let excess = end.wrapping_sub(sender.max_end).wrapping_add(1);
        let excused = excess <= receiver.max_win;
        if excused && not_below && !after(sack, receiver.end) && after(sack, oldest) {
            sender.end = end;
            sender.flags |= flags::DATA_UNACKNOWLEDGED;
            Some(Fit::Ignored(Reason::TcpOvershoot, excess))
        } else {
            Some(Fit::Out(Reason::TcpSeqAbove, seq.wrapping_sub(sender.max_end)))
        }
    } else if after(sack, receiver.end) {
        Some(Fit::Out(Reason::TcpAckAbove, sack.wrapping_sub(receiver.end)))
    } else if !not_below {
        Some(Fit::Ignored(Reason::TcpSeqBelow, lowest.wrapping_sub(end).wrapping_add(1)))
    } else if !after(sack, oldest) {
        Some(Fit::Ignored(Reason::TcpAckBelow, oldest.wrapping_sub(sack).wrapping_add(1)))
    } else {
        None
    };
    if let Some(outside) = outside {
        return if liberal { Fit::In } else { outside };
    }

    // It fits: learn.
    let offered = window.wrapping_add(sack.wrapping_sub(ack));
    if sender.max_win < offered {
        sender.max_win = offered;
    }
    if after(end, sender.end) {
        sender.end = end;
        sender.flags |= flags::DATA_UNACKNOWLEDGED;
    }
    if has_ack {
        if sender.flags & flags::MAX_ACK_SET == 0 {
            sender.max_ack = ack;
            sender.flags |= flags::MAX_ACK_SET;
        } else if after(ack, sender.max_ack) {
            sender.max_ack = ack;
        }
    }
    if receiver.max_win != 0 && after(end, sender.max_end) {
        receiver.max_win = receiver.max_win.wrapping_add(end.wrapping_sub(sender.max_end));
    }
    let reach = sack.wrapping_add(window);
    if after(reach, receiver.max_end.wrapping_sub(1)) {
        receiver.max_end = reach;
        if window == 0 {
            receiver.max_end = receiver.max_end.wrapping_add(1);
        }
    }
    if ack == receiver.end {
        receiver.flags &= !flags::DATA_UNACKNOWLEDGED;
    }
    if kind == Kind::Ack {
        last.count_repeat(direction, seq, ack, end, segment.window);
    }
    Fit::In
}
