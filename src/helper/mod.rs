//! L2: helpers: what a connection's payload says about connections to come.
//!
//! A parser is a pure function: (its state, direction, tuple, sequence number, payload) to [`Heard`]. It allocates nothing, looks at
//! each byte a fixed number of times at most, and panics on none. A [`Helper`] is what a table calls: those shipped wrap a parser
//! each; a host may bring its own.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod announce;
pub mod ftp;
mod inet6;
pub mod irc;
mod name;
mod shipped;
pub mod tftp;

use crate::net::L3;
use crate::tuple::{Direction, Tuple};

pub use announce::{Announce, Heard};
pub use name::Name;
pub use shipped::{Ftp, Irc, Tftp};

/// Words that a helper may remember of a connection. All 0 when it is attached.
pub const STATE_WORDS: usize = 8;

/// The most classes a helper has.
pub const MAX_CLASSES: usize = 4;

/// The most connections that one connection may expect at a time, of all classes together. Also the most that a helper
/// announces of one packet.
pub const MAX_EXPECTED: usize = 8;

/// What a helper remembers of a connection between two of its packets.
pub type State = [u64; STATE_WORDS];

/// A helper's number in the table that it was added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HelperId(pub(crate) u8);

impl HelperId {
    /// The number: 1 or more.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// From such a number. Any number is safe; one that no helper has is refused where it is used.
    pub const fn from_number(number: u8) -> Self {
        Self(number)
    }
}

/// A kind of connections that a helper announces, limited by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// What is shown behind the helper's name; empty: nothing.
    pub name: Name,
    /// How many of them one connection may expect at a time: 1 to [`MAX_EXPECTED`], and no more for all classes of a helper
    /// together. Where there are as many, the oldest makes room.
    pub max: u8,
    /// Seconds that they are expected: 1 to [`crate::timeout::MAX_TIMEOUT`].
    pub timeout: u32,
}

/// A packet's place in its connection, for a helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heading {
    /// The connection's tuple of the original direction.
    pub original: Tuple,
    /// That of the reply direction: where the answers come from, and where they go to.
    pub reply: Tuple,
    /// The way of this packet.
    pub dir: Direction,
    /// Its state is ESTABLISHED (not NEW, and not RELATED).
    pub established: bool,
    /// TCP: the sequence number of the segment; else 0.
    pub seq: u32,
}

impl Heading {
    /// The tuples by direction.
    pub const fn tuples(&self) -> [Tuple; 2] {
        [self.original, self.reply]
    }

    /// The connection's network layer.
    pub const fn l3(&self) -> L3 {
        self.original.l3
    }

    /// The tuple of this packet's direction.
    pub const fn tuple(&self) -> &Tuple {
        match self.dir {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        }
    }
}

/// A connection to be expected: what is announced, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expect {
    /// Its first packet.
    pub announce: Announce,
    /// It may come more than once: it is expected until the time is over.
    pub permanent: bool,
    /// The helper that it has from its beginning.
    pub helper: Option<HelperId>,
}

impl From<Announce> for Expect {
    fn from(announce: Announce) -> Self {
        Self { announce, permanent: false, helper: None }
    }
}

/// What a helper announces of one packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Announcements {
    list: [Option<Expect>; MAX_EXPECTED],
    len: usize,
}

impl Announcements {
    /// Announces a connection. `false`: there is no room for it ([`MAX_EXPECTED`] were announced).
    pub fn push(&mut self, expect: impl Into<Expect>) -> bool {
        let Some(place) = self.list.get_mut(self.len) else { return false };
        *place = Some(expect.into());
        self.len += 1;
        true
    }

    /// What was announced, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Expect> {
        self.list.iter().flatten()
    }
}

/// What becomes of a packet that a helper has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It passes.
    Pass,
    /// It must not leave.
    Drop,
}

/// Listens to the payload of those connections that it was attached to. One helper serves all workers at once.
///
/// It runs on the packet path: bounded work, no waiting, no allocation. It must not panic; if it does, the panic goes on to the
/// caller of `Worker::help`.
pub trait Helper: Send + Sync {
    /// Its name: 1 to 15 characters from `!` to `~` ([`Name`]); `/` apart.
    fn name(&self) -> Name;

    /// The protocol of the connections that it can be attached to (IANA number).
    fn protocol(&self) -> u8;

    /// Their network layer; `None`: either.
    fn family(&self) -> Option<L3> {
        None
    }

    /// Its classes: 1 to [`MAX_CLASSES`]. An [`Announce`] names one by its place here. Asked once, when it is added.
    fn classes(&self) -> &[Class];

    /// A packet of such a connection, which is about to leave. `payload`: what follows the transport header, up to the end of
    /// the IP packet, as far as it was captured. `state`: what the last call for this connection has left there; two calls for one
    /// connection never run at the same time.
    ///
    /// If what is announced cannot be expected (another connection expects the same, there is no room) the packet must not leave.
    fn help(
        &self,
        about: &Heading,
        payload: &[u8],
        state: &mut State,
        announcements: &mut Announcements,
    ) -> Answer;
}
