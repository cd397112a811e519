//! Growth: the heads double while everybody goes on working.

use crate::memory::{
    EMPTY, FROZEN, Fault, GROWING, OVERS, Place, SLOTS, UNINIT, entry_of, meta, occupied, over, tag_of,
    thawed, word,
};
use crate::thread::{Back, Point, Run, Step, Stop};

impl Run<'_> {
    pub(super) fn growing(&mut self) -> Step<bool> {
        Ok(self.root()? & GROWING != 0)
    }

    /// Growth goes on and the chain of this hash has not moved yet.
    pub(super) fn moves(&mut self, hash: u8) -> Step<bool> {
        let root = self.root()?;
        Ok(root & GROWING != 0 && !self.has_moved(self.head_in(root & !GROWING, hash))?)
    }

    /// Moves the chain of this hash, if growth goes on.
    pub(super) fn move_on(&mut self, hash: u8, back: Back) -> Step<Point> {
        let growing = self.growing()?;
        self.again();
        if growing { Ok(Point::Move(hash & (self.scope.heads - 1), back)) } else { self.back(back) }
    }

    pub(super) fn begin_to_grow(&mut self) -> Step<Point> {
        self.change(|memory| {
            memory.root |= GROWING;
            0
        })?;
        Err(Stop::End)
    }

    /// Freezes a word: what it was.
    fn freeze(&mut self, place: Place, at: usize) -> Step<u16> {
        let frozen = if self.mutated("slot-not-frozen") { 0 } else { FROZEN };
        self.change(|memory| {
            let slot = &mut memory.buckets[place as usize].slots[at];
            let seen = thawed(*slot);
            *slot |= frozen;
            seen
        })
    }

    fn freeze_meta(&mut self, place: Place) -> Step<u16> {
        let frozen = if self.mutated("meta-not-frozen") { 0 } else { meta::FROZEN };
        self.change(|memory| {
            let meta = &mut memory.buckets[place as usize].meta;
            let seen = *meta;
            *meta |= frozen;
            seen & meta::LINK
        })
    }

    /// Moves the chain of head `at` of the first array.
    pub(super) fn migrate(&mut self, at: u8, back: Back) -> Step<Point> {
        let first = self.scope.heads;
        if self.has_moved(at)? {
            return self.back(back);
        }
        let mut words = [Vec::new(), Vec::new()];
        let mut chained = Vec::new();
        let mut bucket = at;
        loop {
            for slot in 0..self.scope.slots {
                let word = self.freeze(bucket, slot)?;
                if occupied(word) && !self.filtered(word)? {
                    words[usize::from(tag_of(word) & first != 0)].push(word);
                }
            }
            let Some(next) = meta::link(self.freeze_meta(bucket)?) else { break };
            if chained.len() == OVERS {
                self.memory.fail(Fault::CannotMove);
                return self.answer(true);
            }
            chained.push(next);
            bucket = over(next);
        }
        let early = self.mutated("moved-early");
        if early {
            self.set_moved(at, &chained)?;
        }
        for (side, words) in words.iter().enumerate() {
            self.fill(first + at + side as u8 * first, words)?;
        }
        self.set_moved(at, if early { &[] } else { &chained })?;
        self.back(back)
    }

    /// MOVED into the old head; the first to say so takes away the old chain.
    fn set_moved(&mut self, at: Place, chained: &[u8]) -> Step<()> {
        let (first, all) = (self.scope.heads, self.mutated("moved-by-all"));
        self.change(|memory| {
            let meta = &mut memory.buckets[at as usize].meta;
            let seen = *meta;
            *meta |= meta::MOVED;
            if seen & meta::MOVED == 0 || all {
                chained.iter().for_each(|bucket| memory.retire_bucket(first, *bucket, false));
            }
            0
        })?;
        Ok(())
    }

    /// A defect: not to copy what is dead already.
    fn filtered(&mut self, slot: u16) -> Step<bool> {
        Ok(self.mutated("move-no-dead") && word::life(self.word(entry_of(slot))?) == word::DEAD)
    }

    /// Fills a head of the next array, if nobody has.
    fn fill(&mut self, head: Place, words: &[u16]) -> Step<()> {
        let slots = self.scope.slots;
        for at in 0..slots {
            let word = words.get(at).copied().unwrap_or(EMPTY);
            let blind = self.mutated("fill-blind");
            // (Whether it succeeds does not matter.)
            self.change(|memory| {
                let slot = &mut memory.buckets[head as usize].slots[at];
                if *slot == UNINIT || blind {
                    *slot = word;
                }
                0
            })?;
        }
        if self.load(|memory| u16::from(memory.buckets[head as usize].meta != 0))? != 0 {
            return Ok(());
        }
        let rest = words.get(slots..).unwrap_or(&[]);
        let needed = rest.len().div_ceil(slots);
        let marks = rest.iter().fold(0, |marks, word| marks | meta::mark(tag_of(*word)));
        let marks = if self.mutated("fill-unmarked") { 0 } else { marks };
        let mut buckets = self.spares(needed)?;
        buckets.truncate(needed);
        // What did not fit, into buckets of our own; if another was faster to link his, ours stay with us. (They are private: all
        // this is one access.)
        self.change_both(|memory, thread| {
            for (i, words) in rest.chunks(slots).enumerate() {
                let bucket = &mut memory.buckets[over(buckets[i]) as usize];
                bucket.slots = [UNINIT; SLOTS];
                bucket.slots[..slots].fill(EMPTY);
                bucket.slots[..words.len()].copy_from_slice(words);
                bucket.meta = meta::with_link(meta::INIT, buckets.get(i + 1).copied());
            }
            let meta = &mut memory.buckets[head as usize].meta;
            if *meta == 0 {
                *meta = meta::with_link(meta::INIT, buckets.first().copied()) | marks;
                buckets.iter().for_each(|bucket| thread.spares &= !(1 << bucket));
            }
            0
        })?;
        Ok(())
    }

    /// Makes sure of so many spare overflow buckets.
    fn spares(&mut self, needed: usize) -> Step<Vec<u8>> {
        if needed == 0 {
            return Ok(Vec::new());
        }
        let all = self.change_both(|memory, thread| {
            while (thread.spares.count_ones() as usize) < needed {
                let Some(taken) = (0..OVERS as u8).find(|bucket| memory.pool >> bucket & 1 == 1) else {
                    memory.fail(Fault::CannotMove);
                    break;
                };
                memory.pool &= !(1 << taken);
                thread.spares |= 1 << taken;
            }
            thread.spares.into()
        })?;
        Ok((0..OVERS as u8).filter(|bucket| all >> bucket & 1 == 1).collect())
    }

    /// Moves the next chain from the frontier on.
    pub(super) fn advance(&mut self) -> Step<Point> {
        if !self.growing()? {
            return Err(Stop::End);
        }
        let size = u16::from(self.scope.heads);
        let from = self.load(|memory| memory.done)?;
        let to = (from + 1).min(size);
        self.thread.frontier = from as u8;
        self.moved_so_far(to as u8)
    }

    /// The next chain up to `to`, or the end.
    pub(super) fn moved_so_far(&mut self, to: u8) -> Step<Point> {
        let at = self.thread.frontier;
        if at < to {
            self.thread.frontier += 1;
            return Ok(Point::Move(at, Back::Advance(to)));
        }
        Ok(Point::Done(to))
    }

    pub(super) fn done(&mut self, to: u8) -> Step<Point> {
        let size = u16::from(self.scope.heads);
        let done = self.change(|memory| {
            memory.done = memory.done.max(to.into());
            memory.done
        })?;
        if done >= size || self.mutated("end-early") {
            let _ = self.exchange(|memory| &mut memory.root, size | GROWING, 2 * size)?;
        }
        Err(Stop::End)
    }
}
