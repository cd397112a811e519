//! L4: a burst between its stages.

use crate::packet::MAX_BURST;
use crate::table::Hit;
use crate::tuple::{Direction, Key, Zone};
use crate::wire::Headers;

/// What is to be done with a packet once its connection is found or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// It belongs to a connection, or opens one.
    Track,
    /// It belongs to a connection, but opens none: the answer to an ICMP query.
    Answer,
    /// It is an ICMP error about a connection: RELATED.
    Error,
}

/// A packet that needs a lookup.
#[derive(Clone, Copy)]
pub(crate) struct Lane {
    /// Which packet of the burst.
    pub packet: usize,
    pub task: Task,
    /// Zone of the packet's tuple in either direction.
    pub zones: [Zone; 2],
    pub headers: Headers,
}

/// A burst's lanes, one array per stage. It is written before it is read in every burst.
pub(crate) struct Scratch {
    pub lanes: [Lane; MAX_BURST],
    /// Keys in the zone of the original direction.
    pub keys: [Key; MAX_BURST],
    pub hashes: [u64; MAX_BURST],
    pub hits: [Option<Hit>; MAX_BURST],
}

impl Default for Scratch {
    fn default() -> Self {
        let headers = Headers::EMPTY;
        Self {
            lanes: [Lane { packet: 0, task: Task::Track, zones: [0; 2], headers }; MAX_BURST],
            keys: [Key::default(); MAX_BURST],
            hashes: [0; MAX_BURST],
            hits: [None; MAX_BURST],
        }
    }
}

/// Which hashes the connections have that a burst has created: ten bits of each, by marks. Of 32 connections another's hash
/// seems to be one in 3 of 100 cases; without marks each new connection would be compared with all before it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Marks([u64; 16]);

impl Marks {
    #[inline]
    pub fn put(&mut self, hash: u64) {
        self.0[Self::word(hash)] |= Self::bit(hash);
    }

    /// `false`: no connection of this hash was created.
    #[inline]
    pub fn may_have(&self, hash: u64) -> bool {
        self.0[Self::word(hash)] & Self::bit(hash) != 0
    }

    const fn word(hash: u64) -> usize {
        hash as usize & 15
    }

    const fn bit(hash: u64) -> u64 {
        1 << (hash >> 4 & 63)
    }
}

impl Lane {
    /// Whether its tuple is in the same zone in both directions.
    #[inline(always)]
    pub fn one_zone(&self) -> bool {
        self.zones[0] == self.zones[1]
    }

    pub fn zone(&self, dir: Direction) -> Zone {
        self.zones[dir as usize]
    }
}
