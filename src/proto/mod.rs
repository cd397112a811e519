//! L2: the trackers. Pure functions: what a connection was, a packet's headers, the direction and the tunables go
//! in, a [`Step`] comes out. No atomics, no table, no clock.

pub mod generic;
pub mod gre;
pub mod icmp;
pub mod sctp;
pub mod tcp;
pub mod udp;

use crate::reason::Reason;

/// What a tracker makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The packet belongs to the connection, and advances it: it is counted and refreshes the timeout.
    Accept,
    /// The packet is let through with its connection but is not counted and refreshes nothing. (In reply direction it
    /// still makes the connection replied. The state hardly ever changes: [`Step::state`] holds.)
    Ignore,
    /// The packet is INVALID: it is let through without a connection.
    Invalid,
    /// The connection is over and this packet opens a new one under the same tuple: the old entry dies, and the
    /// packet is judged again as a first packet.
    Reopen,
}

/// What a tracker wants done with the timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Nothing.
    Keep,
    /// That many seconds from now.
    Set(u32),
    /// Down to `to` seconds from now, if more are left, and at least `above`. (Also obeyed for an INVALID packet.)
    Shorten {
        /// Seconds from now.
        to: u32,
        /// Seconds that must be left.
        above: u32,
    },
}

/// A tracker's judgement of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What becomes of the packet.
    pub outcome: Outcome,
    /// The protocol's state afterwards (TCP: [`tcp::State`], SCTP: [`sctp::State`]; 0 for protocols without states).
    pub state: u8,
    /// The state is entered anew, though it may be the one there was: an event tells of it.
    pub anew: bool,
    /// What becomes of the timeout.
    pub timeout: Timeout,
    /// The connection is to become ASSURED. (Also obeyed for an INVALID packet, as the state is: SCTP.)
    pub assure: bool,
    /// The connection dies with this packet, which itself is let through (RST before any reply).
    pub destroy: bool,
    /// Why, for INVALID and ignored packets.
    pub reason: Reason,
    /// By how much a bound was broken, in the unit of that bound (TCP: sequence numbers); else 0.
    pub excess: u32,
}

impl Step {
    /// The packet advances the connection to `state` and sets its timeout.
    #[inline]
    pub const fn accept(state: u8, timeout: u32) -> Self {
        Self {
            outcome: Outcome::Accept,
            state,
            anew: false,
            timeout: Timeout::Set(timeout),
            assure: false,
            destroy: false,
            reason: Reason::None,
            excess: 0,
        }
    }

    /// The packet has another outcome, for a reason, and leaves state and timeout as they are.
    #[inline]
    pub const fn other(outcome: Outcome, state: u8, reason: Reason, excess: u32) -> Self {
        Self { outcome, reason, excess, timeout: Timeout::Keep, ..Self::accept(state, 0) }
    }

    /// The packet refreshes a connection whose protocol has no states.
    #[inline]
    pub(crate) const fn refresh(timeout: u32) -> Self {
        Self::accept(0, timeout)
    }
}
