//! The operations, function for function as in `src/table`: `find`, `insert`, `remove`, `grow`.

mod find;
mod grow;
mod insert;
mod remove;

use crate::memory::{ENTRIES, Entry, word};
use crate::scope::Op;
use crate::thread::{Back, Point, Run, Step, Stop};

impl Run<'_> {
    /// From one point to the next.
    pub fn go_on(&mut self) -> Step<Point> {
        match self.thread.point {
            Point::Start => self.start(),
            Point::Prepare => self.prepare(),
            Point::Find => self.find_clash(),
            Point::Begin => self.begin(),
            Point::PlaceAt(d) => self.place_at_hint(d),
            Point::Place(d, spare) => self.place(d, spare),
            Point::Ready => self.make_ready(),
            Point::Resolve(entry, attempt) => self.resolve(entry, attempt),
            Point::Settled => self.settled(),
            Point::Clear(entry, d, then) => self.clear(entry, d, then),
            Point::Close(entry, d, then, over) => self.close(entry, d, then, over),
            Point::Sweep(hash, back) => self.sweep(hash, back),
            Point::Move(head, back) => self.migrate(head, back),
            Point::Advance => self.advance(),
            Point::Done(to) => self.done(to),
            Point::Look => self.look(),
        }
    }

    fn start(&mut self) -> Step<Point> {
        match self.op() {
            Op::Insert(keys) => {
                let free = (0..ENTRIES as u8).find(|entry| self.memory.free >> entry & 1 == 1);
                let Some(entry) = free else { return Err(Stop::End) };
                self.memory.free &= !(1 << entry);
                self.memory.entries[entry as usize] = Entry { word: word::UNCONF, keys };
                self.thread.entry = entry;
                Ok(Point::Prepare)
            }
            Op::Grow => self.begin_to_grow(),
            Op::Advance => Ok(Point::Advance),
            Op::Lookup(_) | Op::Delete(_) | Op::Reap(_) | Op::Refresh(_) => Ok(Point::Look),
        }
    }

    /// After a sweep or a move.
    fn back(&mut self, back: Back) -> Step<Point> {
        match back {
            Back::Prepare => Ok(Point::Prepare),
            Back::Place(d, spare) => Ok(Point::Place(d, spare)),
            Back::Clear(entry, d, then) => Ok(Point::Clear(entry, d, then)),
            Back::Cleared(entry, d, then) => self.cleared(entry, d, then),
            Back::Advance(to) => self.moved_so_far(to),
        }
    }

    /// The entry cannot be reached any more, and awaits the epoch.
    fn retire(&mut self, entry: u8) {
        let (hashes, at_once) = (self.hashes(entry), self.mutated("skip-epoch"));
        self.memory.retire_entry(self.scope.heads, entry, hashes, at_once);
    }

    pub fn hash(&self, key: u8) -> u8 {
        self.scope.hash[key as usize]
    }

    /// Hashes of an entry's keys. (Its keys do not change while we are entered.)
    fn hashes(&self, entry: u8) -> [u8; 2] {
        self.memory.entries[entry as usize].keys.map(|key| self.hash(key))
    }

    /// 1 if its keys are equal: then one slot leads to it.
    fn keys(&self, entry: u8) -> u8 {
        let [a, b] = self.memory.entries[entry as usize].keys;
        if a == b { 1 } else { 2 }
    }
}
