//! Delete, expiry, and the unlinking of overflow buckets that have become empty.

use crate::memory::{CLOSED, EMPTY, Fault, Memory, Place, meta, over, slot, thawed, word};
use crate::thread::{Back, Point, Run, Step, Then};

impl Run<'_> {
    pub(super) fn delete(&mut self, entry: u8) -> Step<Point> {
        loop {
            let now = self.word(entry)?;
            if word::life(now) != word::LIVE {
                return self.answer(true);
            }
            if self.condemn(entry, now)? {
                return self.bury(entry);
            }
        }
    }

    pub(super) fn reap(&mut self, entry: u8, seen: u16) -> Step<Point> {
        if seen & word::EXPIRED != 0 && self.condemn(entry, seen)? {
            return self.bury(entry);
        }
        self.answer(true)
    }

    /// LIVE -> DEAD. The winner must bury.
    pub(super) fn condemn(&mut self, entry: u8, seen: u16) -> Step<bool> {
        let dead = word::with_life(seen, word::DEAD);
        if self.mutated("kill-blind") {
            self.change(|memory| {
                let word = &mut memory.entries[entry as usize].word;
                let refreshed = word::life(*word) == word::LIVE && (seen & !*word) & word::EXPIRED != 0;
                *word = dead;
                if refreshed {
                    memory.fail(Fault::RefreshLost);
                }
                0
            })?;
            return Ok(true);
        }
        self.exchange_word(entry, seen, dead)
    }

    fn bury(&mut self, entry: u8) -> Step<Point> {
        if self.mutated("retire-early") {
            self.retire(entry);
        }
        let clear = Point::Clear(entry, 0, Then::Retire);
        Ok(clear)
    }

    /// Where this slot word is in a bucket, frozen or not.
    fn position(&mut self, bucket: Place, word: u16) -> Step<Option<(usize, u16)>> {
        let found = self.section(|run| {
            for at in 0..run.scope.slots {
                let seen = run.slot(bucket, at)?;
                if thawed(seen) == word {
                    return Ok(seen << 1 | at as u16);
                }
            }
            Ok(0)
        })?;
        Ok((found != 0).then_some((found as usize & 1, found >> 1)))
    }

    fn empty(&mut self, bucket: Place, at: usize, word: u16) -> Step<bool> {
        let exchanged =
            self.exchange(|memory| &mut memory.buckets[bucket as usize].slots[at], word, EMPTY)?;
        Ok(exchanged.is_ok())
    }

    /// Empties the slot of `entry` in direction `d`: it is there exactly once, and only its cleaner does so.
    pub(super) fn clear(&mut self, entry: u8, d: u8, then: Then) -> Step<Point> {
        let hash = self.hashes(entry)[d as usize];
        let word = slot(entry, d, hash);
        if d == 0 && then != Then::Restart && then != Then::GiveUp && !self.thread.helped && self.growing()? {
            self.thread.helped = true;
            return self.move_on(hash, Back::Clear(entry, d, then));
        }
        let mut bucket = self.head(hash)?;
        if let Some((at, _)) = self.position(bucket, word)?
            && self.empty(bucket, at, word)?
        {
            return self.cleared(entry, d, then);
        }
        // By every slot of the chain.
        bucket = self.head(hash)?;
        loop {
            if let Some((at, seen)) = self.position(bucket, word)? {
                if self.mutated("clear-frozen") {
                    self.change(|memory| {
                        memory.buckets[bucket as usize].slots[at] = EMPTY;
                        0
                    })?;
                } else if seen != word || !self.empty(bucket, at, word)? {
                    // A frozen word is copied as it is: it has to go from the copy.
                    return self.move_on(hash, Back::Clear(entry, d, then));
                }
                return match bucket.checked_sub(over(0)) {
                    Some(bucket) => Ok(Point::Close(entry, d, then, bucket)),
                    None => self.cleared(entry, d, then),
                };
            }
            let Some(next) = self.next(bucket)? else { break };
            bucket = next;
        }
        self.memory.fail(Fault::SlotLost);
        self.answer(true)
    }

    pub(super) fn cleared(&mut self, entry: u8, d: u8, then: Then) -> Step<Point> {
        let more = d + 1 < self.keys(entry) && then != Then::GiveUp && !self.mutated("clear-one");
        if more { Ok(Point::Clear(entry, d + 1, then)) } else { self.cleaned(entry, then) }
    }

    /// Closes the overflow bucket that we have just cleared a slot of, if it is empty.
    pub(super) fn close(&mut self, entry: u8, d: u8, then: Then, bucket: u8) -> Step<Point> {
        let place = over(bucket);
        if self.mutated("close-meta-first") && !self.close_meta(place)? {
            return self.cleared(entry, d, then);
        }
        for at in 0..self.scope.slots {
            let seen = self.slot(place, at)?;
            if seen != EMPTY && seen != CLOSED {
                return self.cleared(entry, d, then);
            }
        }
        for at in 0..self.scope.slots {
            let slot = |memory: &mut Memory| -> bool {
                let slot = &mut memory.buckets[place as usize].slots[at];
                let free = *slot == EMPTY || *slot == CLOSED;
                if free {
                    *slot = CLOSED;
                }
                free
            };
            if self.change(|memory| u16::from(slot(memory)))? == 0 {
                // Occupied again: it stays closed in part.
                if self.mutated("close-reopen") {
                    for reopened in 0..at {
                        let _ = self.exchange(
                            |memory| &mut memory.buckets[place as usize].slots[reopened],
                            CLOSED,
                            EMPTY,
                        )?;
                    }
                }
                return self.cleared(entry, d, then);
            }
        }
        if self.close_meta(place)? {
            let hash = self.hashes(entry)[d as usize];
            return Ok(Point::Sweep(hash, Back::Cleared(entry, d, then)));
        }
        self.cleared(entry, d, then)
    }

    fn close_meta(&mut self, place: Place) -> Step<bool> {
        let mut seen = self.meta(place)?;
        loop {
            if seen & meta::FROZEN != 0 {
                return Ok(false);
            }
            if seen & meta::CLOSED != 0 {
                return Ok(true);
            }
            match self.exchange(
                |memory| &mut memory.buckets[place as usize].meta,
                seen,
                seen | meta::CLOSED,
            )? {
                Ok(()) => return Ok(true),
                Err(now) => seen = now,
            }
        }
    }

    /// Unlinks every CLOSED bucket of a chain.
    pub(super) fn sweep(&mut self, hash: u8, back: Back) -> Step<Point> {
        let mut bucket = self.head(hash)?;
        let mut seen = self.meta(bucket)?;
        loop {
            let Some(next) = meta::link(seen) else { return self.back(back) };
            if seen & meta::FROZEN != 0 {
                return self.back(back);
            }
            let stale = self.mutated("link-stale");
            let early = if stale { self.meta(over(next))? } else { 0 };
            let behind = self.meta(over(next))?;
            if behind & meta::CLOSED == 0 {
                bucket = over(next);
                seen = behind;
                continue;
            }
            let link = meta::link(if stale { early } else { behind });
            let unmarks = self.mutated("unlink-unmarks") && link.is_some();
            let past = meta::with_link(if unmarks { meta::with_link(seen, None) } else { seen }, link);
            let (first, at_once) = (self.scope.heads, self.mutated("bucket-skip-epoch"));
            let early = self.mutated("retire-before-unlink");
            if early {
                self.change(|memory| {
                    memory.retire_bucket(first, next, at_once);
                    0
                })?;
            }
            // (The retire chain is the thread's own: to retire is no access.)
            let now = self.change(|memory| {
                let meta = &mut memory.buckets[bucket as usize].meta;
                let now = *meta;
                if now == seen {
                    *meta = past;
                    if !early {
                        memory.retire_bucket(first, next, at_once);
                    }
                }
                now
            })?;
            if now == seen {
                if self.mutated("unmark-late") && link.is_none() {
                    self.change(|memory| {
                        memory.buckets[bucket as usize].meta &= !meta::MARKS;
                        0
                    })?;
                }
                seen = past;
                continue;
            }
            seen = now;
            if seen & meta::CLOSED != 0 && !self.mutated("unlink-from-closed") {
                self.again();
                return Ok(Point::Sweep(hash, back));
            }
        }
    }
}
