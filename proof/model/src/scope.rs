//! What is explored: small tables, a few threads and what each of them does.

use std::fmt;

use crate::memory::{Bucket, EMPTY, Entry, HEADS, Memory, OVERS, SLOTS, meta, word};
use crate::thread::{Run, Thread};

/// An operation of a thread. Keys are 0 to 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Insert of an entry under both keys, or adoption.
    Insert([u8; 2]),
    Lookup(u8),
    /// Delete of the entry that a lookup finds.
    Delete(u8),
    /// Kills the entry that a lookup finds, if it has expired.
    Reap(u8),
    /// The entry that a lookup finds has not expired any more.
    Refresh(u8),
    /// Begins growth: the control call, first half.
    Grow,
    /// Moves the next chain; with the last of them growth ends.
    Advance,
}

/// A table and what its threads do.
#[derive(Clone, Debug)]
pub struct Scope {
    pub name: &'static str,
    /// Heads: 1 or 2.
    pub heads: u8,
    pub slots: usize,
    /// Overflow buckets.
    pub overs: u8,
    /// Entries.
    pub entries: u8,
    /// Of each key: its low bits choose the bucket, all of them are the tag.
    pub hash: [u8; 4],
    /// What is there in the beginning, and which of it has expired: a bit each.
    pub there: &'static [[u8; 2]],
    pub expired: u8,
    /// Of each thread.
    pub programs: &'static [&'static [Op]],
    pub grows: bool,
    /// A planted one (`defects`).
    pub defect: Option<&'static str>,
}

/// The smallest: one head of two slots.
pub const PLAIN: Scope = Scope {
    name: "",
    heads: 1,
    slots: 2,
    overs: 2,
    entries: 3,
    hash: [0, 1, 2, 3],
    there: &[],
    expired: 0,
    programs: &[],
    grows: false,
    defect: None,
};

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Scope {
    pub fn op(&self, thread: u8, op: u8) -> Op {
        self.programs[thread as usize][op as usize]
    }

    pub fn over(&self, thread: &Thread, me: u8) -> bool {
        thread.op as usize == self.programs[me as usize].len()
    }

    /// The table in the beginning.
    pub fn memory(&self) -> Memory {
        let mut memory = Memory {
            root: self.heads.into(),
            done: 0,
            buckets: [Bucket::default(); HEADS + OVERS],
            entries: [Entry::default(); crate::memory::ENTRIES],
            free: (1 << self.entries) - 1,
            pool: (1 << self.overs) - 1,
            waiting: [0; crate::memory::ENTRIES + OVERS],
            entered: 0,
            fault: None,
        };
        for head in &mut memory.buckets[..self.heads as usize] {
            head.slots[..self.slots].copy_from_slice(&[EMPTY; SLOTS][..self.slots]);
            head.meta = meta::INIT;
        }
        // What is there was inserted by one thread after the other.
        let inserts: Vec<Op> = self.there.iter().map(|keys| Op::Insert(*keys)).collect();
        let programs: &'static [&'static [Op]] = vec![&*inserts.leak()].leak();
        let alone = Scope { programs, defect: None, grows: false, ..self.clone() };
        let mut thread = Thread::default();
        while !alone.over(&thread, 0) {
            Run::step(&alone, &mut memory, &mut thread, 0);
        }
        for (i, entry) in memory.entries.iter_mut().enumerate() {
            if self.expired >> i & 1 == 1 {
                entry.word |= word::EXPIRED;
            }
        }
        memory
    }
}
