//! What the table means to one thread at a time.
//!
//! The state is the set of connections. Each has two tuples, original and reply, and a time at which it expires. The
//! operations, with what they may answer:
//!
//! | operation | answer | when, and what changes |
//! |---|---|---|
//! | `Track(t)` at `now` | `Found(c, direction)` | a connection has tuple t and has not expired at `now` |
//! | | `Nothing` | there is none |
//! | `Refresh(c)` at `now` | `Done` | the second half of a `Track` that has found c, at an instant of its own within the call: if c is still there, it expires a timeout after `now`, and not sooner than before |
//! | `Confirm(o, r)` at `now` | `Inserted(c)` | no connection has o or r, in whichever direction: c has them from now on |
//! | | `Adopted(c, direction)` | UDP alone: connection c has o or r, and its tuples are both of them, the same way round (original) or mirrored (reply) |
//! | | `Refused` | a connection has o or r, and the protocol is TCP, or its tuples are not both of them |
//! | `Lookup(t)` at `now` | as `Track` | changes nothing |
//! | `Delete(c)` | `Ended(true)` | c is there; it is no more |
//! | | `Ended(false)` | it is not there |
//! | `EndExpired(c)` at `now` | `Ended(true)` | c is there and has expired at `now`; it is no more |
//! | | `Ended(false)` | it is not there, or has time left, or somebody was changing it |
//!
//! A connection whose time is up for the latest clock of the history may vanish at any instant: whoever meets it with that
//! clock ends it, as a step of its own, before its operation takes effect. So a refresh may come too late, which is seen when somebody
//! does not find the connection; once it has been found again, it did not. A connection whose time is up at `now` is never found.
//!
//! Workers' clocks differ, by a second at most, and an older clock shortens no timeout: which holds for workers that were seen behind before
//! (`history::History::tell_clocks`).
//!
//! Both tuples of a connection appear and vanish at one instant, since they are one element of this state; and there is never more
//! than one connection for a tuple.

use conntab::{Handle, tuple::Direction};
use stateright::semantics::SequentialSpec;

/// Milliseconds that a connection lives after its last packet.
pub const TIMEOUT: u64 = 1000;

/// A tuple, by its number in the history.
pub type Tuple = u8;

/// An operation; times are milliseconds since the history began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `Worker::track` of one packet.
    Track(Tuple, u64),
    /// What that `track` did to the connection it had found.
    Refresh(Handle, u64),
    /// `Worker::confirm` of a connection with these tuples (original, reply).
    Confirm([Tuple; 2], u64),
    /// `Section::lookup`.
    Lookup(Tuple, u64),
    /// `Worker::delete`, or `Table::delete`.
    Delete(Handle),
    /// `Worker::end_expired`.
    EndExpired(Handle, u64),
}

/// What it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    Found(Handle, Direction),
    Nothing,
    Done,
    Inserted(Handle),
    Adopted(Handle, Direction),
    Refused,
    Ended(bool),
    /// What no operation may answer here; the text says what it was.
    Wrong(&'static str),
}

#[derive(Clone, Copy, Debug)]
struct Conn {
    handle: Handle,
    tuples: [Tuple; 2],
    expires: u64,
    /// Its last refresh may have come too late.
    doubtful: bool,
}

impl Conn {
    fn has(&self, tuple: Tuple) -> Option<Direction> {
        match self.tuples {
            [original, _] if original == tuple => Some(Direction::Original),
            [_, reply] if reply == tuple => Some(Direction::Reply),
            _ => None,
        }
    }
}

/// The table.
#[derive(Clone, Debug)]
pub struct Spec {
    conns: Vec<Conn>,
    /// Clashes of one and the same flow are resolved by adoption.
    adopts: bool,
    /// The latest time of any operation.
    latest: u64,
}

impl Spec {
    /// An empty table, for a history of UDP (it `adopts`) or TCP with this latest time.
    pub fn new(adopts: bool, latest: u64) -> Self {
        Self { conns: Vec::new(), adopts, latest }
    }

    /// Whatever matches is gone: it may be, if its time is up for somebody.
    fn vanish(&mut self, of: impl Fn(&Conn) -> bool) -> bool {
        let latest = self.latest;
        let lives = self.conns.iter().any(|conn| of(conn) && conn.expires > latest && !conn.doubtful);
        self.conns.retain(|conn| !of(conn));
        !lives
    }

    fn found(&mut self, tuple: Tuple, now: u64, handle: Handle, dir: Direction) -> Option<&mut Conn> {
        let conn = self.conns.iter_mut().find(|conn| conn.handle == handle)?;
        conn.doubtful = false;
        (conn.has(tuple) == Some(dir) && conn.expires > now).then_some(conn)
    }
}

impl SequentialSpec for Spec {
    type Op = Op;
    type Ret = Ret;

    /// The plain answer, where there is a choice the one without vanishing. (The checker asks `is_valid_step`.)
    fn invoke(&mut self, op: &Op) -> Ret {
        match *op {
            Op::Track(tuple, now) | Op::Lookup(tuple, now) => {
                let found = self.conns.iter().filter(|conn| conn.expires > now);
                found
                    .filter_map(|conn| Some(Ret::Found(conn.handle, conn.has(tuple)?)))
                    .next()
                    .unwrap_or(Ret::Nothing)
            }
            _ => Ret::Wrong("operations are complete before they are judged"),
        }
    }

    fn is_valid_step(&mut self, op: &Op, ret: &Ret) -> bool {
        match (*op, *ret) {
            (Op::Track(tuple, now) | Op::Lookup(tuple, now), Ret::Found(handle, dir)) => {
                self.found(tuple, now, handle, dir).is_some()
            }
            (Op::Refresh(handle, now), Ret::Done) => {
                let latest = self.latest;
                if let Some(conn) = self.conns.iter_mut().find(|conn| conn.handle == handle) {
                    conn.doubtful |= conn.expires <= latest;
                    conn.expires = conn.expires.max(now + TIMEOUT);
                }
                true
            }
            (Op::Lookup(tuple, now), Ret::Nothing) => {
                // A lookup ends nothing: to it, what has expired is not there.
                let there = self.conns.iter().any(|conn| conn.has(tuple).is_some() && conn.expires > now);
                !there || self.vanish(|conn| conn.has(tuple).is_some())
            }
            (Op::Track(tuple, _), Ret::Nothing) => self.vanish(|conn| conn.has(tuple).is_some()),
            (Op::Confirm(tuples, now), Ret::Inserted(handle)) => {
                let new = Conn { handle, tuples, expires: now + TIMEOUT, doubtful: false };
                let known = self.conns.iter().any(|conn| conn.handle == handle);
                let clash = |conn: &Conn| tuples.iter().any(|tuple| conn.has(*tuple).is_some());
                let free = !known && self.vanish(clash);
                self.conns.push(new);
                free
            }
            (Op::Confirm([original, reply], now), Ret::Adopted(handle, dir)) => {
                let winner = self.found(original, now, handle, dir).map(|conn| conn.tuples);
                self.adopts && winner.is_some_and(|tuples| tuples.contains(&reply))
            }
            (Op::Confirm(tuples, now), Ret::Refused) => self.conns.iter().any(|conn| {
                let clash = tuples.iter().any(|tuple| conn.has(*tuple).is_some());
                let one_flow = tuples.iter().all(|tuple| conn.has(*tuple).is_some());
                clash && conn.expires > now && !(self.adopts && one_flow)
            }),
            (Op::Delete(handle), Ret::Ended(ended)) => {
                let there = self.conns.iter().any(|conn| conn.handle == handle);
                let right = if ended { there } else { self.vanish(|conn| conn.handle == handle) };
                self.conns.retain(|conn| conn.handle != handle);
                right
            }
            (Op::EndExpired(handle, now), Ret::Ended(ended)) => {
                let up = |conn: &Conn| conn.handle == handle && conn.expires <= now;
                if ended {
                    let there = self.conns.iter().any(up);
                    self.conns.retain(|conn| !up(conn));
                    return there;
                }
                // Up, and not ended by us: somebody else was faster to end it, or to change it.
                self.conns.iter_mut().filter(|conn| up(conn)).for_each(|conn| conn.doubtful = true);
                true
            }
            _ => false,
        }
    }
}
