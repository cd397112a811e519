//! Insert of both keys of an entry, or adoption of whoever holds one of them.

use super::find::Hit;
use crate::memory::{EMPTY, Fault, OVERS, Place, SLOTS, UNINIT, entry_of, meta, over, slot, word};
use crate::scope::Op;
use crate::thread::{Back, Point, Run, Step, Then};

/// What a scan says about the entry it was made for.
enum Scan {
    Free,
    Lost,
    Yield(u8, u8),
}

/// A scan, in what is kept of it.
const FREE: u16 = 0;
const LOST: u16 = 1;
const YIELD: u16 = 1 << 10;

impl Run<'_> {
    fn own_keys(&self) -> [u8; 2] {
        self.memory.entries[self.thread.entry as usize].keys
    }

    fn attempt(&self) -> u8 {
        if self.mutated("attempt-not-counted") { 0 } else { self.thread.attempt }
    }

    /// The beginning of an attempt: help for growth, and a glance whether anybody needs to be looked for.
    pub(super) fn prepare(&mut self) -> Step<Point> {
        let (entry, n) = (self.thread.entry, self.keys(self.thread.entry));
        if !self.thread.helped && self.growing()? {
            self.thread.helped = true;
            return Ok(Point::Move(self.hashes(entry)[0] & (self.scope.heads - 1), Back::Prepare));
        }
        if self.thread.attempt > 0 {
            self.thread.hints = [self.scope.slots as u8; 2];
            return Ok(Point::Find);
        }
        let hashes = self.hashes(entry);
        let mut glances = [(false, 0); 2];
        for d in 0..n as usize {
            glances[d] = self.glance(hashes[d])?;
        }
        self.thread.hints = glances.map(|glance| glance.1);
        let in_sight = glances.iter().any(|glance| glance.0);
        Ok(if in_sight { Point::Find } else { Point::Begin })
    }

    /// A LIVE entry with one of the keys is adopted; one that has expired is killed.
    pub(super) fn find_clash(&mut self) -> Step<Point> {
        let own = self.thread.entry;
        let mut hit = None;
        for key in &self.own_keys()[..self.keys(own) as usize] {
            hit = self.lookup(*key)?;
            if hit.is_some() {
                break;
            }
        }
        let Some(Hit { entry, word: seen }) = hit else {
            return if self.thread.no_room { self.give_back() } else { Ok(Point::Begin) };
        };
        if seen & word::EXPIRED == 0 {
            return self.give_back();
        }
        if self.mutated("expired-skip") {
            return Ok(Point::Begin);
        }
        let killed = self.condemn(entry, seen)?;
        if !killed {
            self.again();
        }
        Ok(if killed { Point::Clear(entry, 0, Then::FindAgain) } else { Point::Find })
    }

    /// An insert that came to nothing. Once its slots could be seen, others may still look at the entry.
    fn give_back<T>(&mut self) -> Step<T> {
        let own = self.thread.entry;
        if self.thread.placed && !self.mutated("placed-skips-epoch") {
            self.retire(own);
        } else {
            self.memory.free |= 1 << own;
        }
        self.answer(true)
    }

    pub(super) fn begin(&mut self) -> Step<Point> {
        self.store_word(word::with_attempt(0, word::INS, self.attempt()), false)?;
        Ok(Point::PlaceAt(0))
    }

    fn own_slot(&self, d: u8) -> u16 {
        slot(self.thread.entry, d, self.hashes(self.thread.entry)[d as usize])
    }

    /// One compare-exchange stands for the look and the exchange behind it: a slot seen to be occupied costs us a free one.
    fn place_in(&mut self, bucket: Place, slot: usize, word: u16) -> Step<bool> {
        let placed = self.change(|memory| {
            let slot = &mut memory.buckets[bucket as usize].slots[slot];
            let free = *slot == EMPTY;
            if free {
                *slot = word;
            }
            u16::from(free)
        })?;
        Ok(placed == 1)
    }

    pub(super) fn place_at_hint(&mut self, d: u8) -> Step<Point> {
        let hint = self.thread.hints[d as usize] as usize;
        if hint >= self.scope.slots {
            return Ok(Point::Place(d, 0));
        }
        let word = self.own_slot(d);
        let head = self.head(self.hashes(self.thread.entry)[d as usize])?;
        if self.place_in(head, hint, word)? { self.placed(d) } else { Ok(Point::Place(d, 0)) }
    }

    fn placed(&mut self, d: u8) -> Step<Point> {
        self.thread.placed = true;
        self.thread.rounds = 0;
        self.thread.hints[d as usize] = 0;
        let more = d + 1 < self.keys(self.thread.entry);
        if more && !self.mutated("ready-early") {
            return Ok(Point::PlaceAt(d + 1));
        }
        // (The defect: READY with the first slot, and the second one afterwards.)
        if more {
            let ready = word::with_attempt(0, word::READY, self.attempt());
            self.memory.entries[self.thread.entry as usize].word = ready;
            return Ok(Point::PlaceAt(d + 1));
        }
        Ok(Point::Ready)
    }

    /// Into the first EMPTY slot of the chain, which grows by a bucket if there is none. `spare`: a bucket of ours + 1.
    pub(super) fn place(&mut self, d: u8, spare: u8) -> Step<Point> {
        let word = self.own_slot(d);
        let hash = self.hashes(self.thread.entry)[d as usize];
        let head = self.head(hash)?;
        let (mut bucket, mark) = (head, meta::mark(hash));
        let mut spare = spare;
        loop {
            let placed = self.section(|run| {
                for slot in 0..run.scope.slots {
                    if run.place_in(bucket, slot, word)? {
                        return Ok(1);
                    }
                }
                Ok(0)
            })?;
            if placed == 1 {
                self.keep(spare);
                return self.placed(d);
            }
            let mut seen = self.meta(bucket)?;
            if seen & meta::FROZEN != 0 {
                return self.move_on(hash, Back::Place(d, spare));
            }
            while meta::link(seen).is_none() {
                if seen & meta::FROZEN != 0 || self.moves(hash)? {
                    return self.move_on(hash, Back::Place(d, spare));
                }
                if seen & meta::CLOSED != 0 {
                    self.again();
                    return Ok(Point::Sweep(hash, Back::Place(d, spare)));
                }
                if spare == 0 {
                    spare = self.take_overflow(word)? as u8;
                }
                if spare == 0 {
                    let now = self.meta(bucket)?;
                    if now != seen {
                        seen = now;
                        continue;
                    }
                    return self.no_room(d);
                }
                let mark = if bucket == head && !self.mutated("link-unmarked") { mark } else { 0 };
                let linked = meta::with_link(seen, Some(spare - 1)) | mark;
                match self.exchange(|memory| &mut memory.buckets[bucket as usize].meta, seen, linked)? {
                    Ok(()) if self.mutated("link-before-open") => {
                        self.change(|memory| {
                            memory.buckets[over(spare - 1) as usize].slots[0] = word;
                            0
                        })?;
                        return self.placed(d);
                    }
                    Ok(()) => return self.placed(d),
                    Err(now) => seen = now,
                }
            }
            // For what we place further along: once more in each round, and when another was faster to link.
            let marked = seen & mark != 0
                || self.mutated("mark-never")
                || self.mutated("mark-once") && self.thread.rounds > 0
                || self.mutated("mark-not-raced") && spare > 0;
            if bucket == head && !marked {
                let done = seen & meta::FROZEN == 0
                    && self
                        .exchange(|memory| &mut memory.buckets[head as usize].meta, seen, seen | mark)?
                        .is_ok();
                if !done && !self.mutated("mark-blind") {
                    self.again();
                    return Ok(Point::Place(d, spare));
                }
            }
            let Some(link) = meta::link(seen) else { break };
            bucket = over(link);
        }
        self.answer(false)
    }

    /// An overflow bucket from the pool + 1, open, with `word` in its first slot; 0: there is none.
    fn take_overflow(&mut self, word: u16) -> Step<u16> {
        let (slots, empty) = (self.scope.slots, self.mutated("link-before-open"));
        self.change(|memory| {
            let Some(taken) = (0..OVERS as u8).find(|bucket| memory.pool >> bucket & 1 == 1) else {
                return 0;
            };
            memory.pool &= !(1 << taken);
            let bucket = &mut memory.buckets[over(taken) as usize];
            bucket.slots = [EMPTY; SLOTS];
            if !empty {
                bucket.slots[0] = word;
            }
            bucket.slots[slots..].fill(UNINIT);
            bucket.meta = meta::INIT;
            u16::from(taken) + 1
        })
    }

    /// A bucket that was never linked goes back.
    fn keep(&mut self, spare: u8) {
        if let Some(bucket) = spare.checked_sub(1) {
            let at_once = self.mutated("bucket-skip-epoch");
            self.memory.retire_bucket(self.scope.heads, bucket, at_once);
        }
    }

    fn no_room(&mut self, d: u8) -> Step<Point> {
        let own = self.thread.entry;
        self.thread.no_room = true;
        let attempt = self.attempt();
        self.memory.entries[own as usize].word = word::with_attempt(0, word::KILLED, attempt);
        Ok(if d > 0 { Point::Clear(own, 0, Then::GiveUp) } else { Point::Find })
    }

    pub(super) fn make_ready(&mut self) -> Step<Point> {
        let (entry, attempt) = (self.thread.entry, self.attempt());
        self.store_word(word::with_attempt(0, word::READY, attempt), self.mutated("no-fence"))?;
        Ok(Point::Resolve(entry, self.thread.attempt))
    }

    /// Decides about attempt `n` of entry `t`, and, if it must yield, about whom it yields to.
    pub(super) fn resolve(&mut self, t: u8, n: u8) -> Step<Point> {
        let scan = if self.mutated("no-scan") { Scan::Free } else { self.scan(t)? };
        match scan {
            Scan::Free => {
                self.decide(t, n, word::LIVE)?;
                Ok(Point::Settled)
            }
            Scan::Lost => {
                self.decide(t, n, word::KILLED)?;
                Ok(Point::Settled)
            }
            Scan::Yield(x, its) => {
                self.decide(t, n, word::KILLED)?;
                if self.mutated("loser-no-help") {
                    return Ok(Point::Settled);
                }
                self.again();
                Ok(Point::Resolve(x, its))
            }
        }
    }

    fn decide(&mut self, t: u8, n: u8, to: u16) -> Step<()> {
        self.section(|run| {
            let now = run.word(t)?;
            let same = word::attempt(now) == n || run.mutated("attempt-ignored");
            if word::life(now) != word::READY || !same {
                return Ok(1);
            }
            let decided = word::with_life(now, to);
            if run.mutated("commit-by-store") {
                return run.change(|memory| {
                    memory.entries[t as usize].word = decided;
                    1
                });
            }
            // Its own bits do not change while it is READY: it fails only if it was decided.
            run.exchange_word(t, now, decided)?;
            Ok(1)
        })?;
        Ok(())
    }

    fn scan(&mut self, t: u8) -> Step<Scan> {
        let keys = self.memory.entries[t as usize].keys;
        for key in &keys[..self.keys(t) as usize] {
            let scan = self.section(|run| run.scan_chain(t, *key))?;
            if scan != FREE {
                return Ok(match scan {
                    LOST => Scan::Lost,
                    _ => Scan::Yield((scan >> 3 & 7) as u8, (scan & 7) as u8),
                });
            }
        }
        Ok(Scan::Free)
    }

    fn scan_chain(&mut self, t: u8, key: u8) -> Step<u16> {
        let mut bucket = Some(self.head(self.hash(key))?);
        while let Some(place) = bucket {
            let scan = self.section(|run| {
                let mut slots = [0; SLOTS];
                for (at, slot) in slots.iter_mut().enumerate().take(run.scope.slots) {
                    *slot = run.section(|run| {
                        let slot = run.tagged(place, at, key)?;
                        Ok(if slot > 1 && entry_of(slot) != t { slot } else { 0 })
                    })?;
                }
                for slot in slots.into_iter().filter(|slot| *slot != 0) {
                    let scan = run.section(|run| run.against(t, entry_of(slot)))?;
                    if scan != FREE {
                        return Ok(scan);
                    }
                }
                Ok(FREE)
            })?;
            if scan != FREE {
                return Ok(scan);
            }
            bucket = self.next(place)?;
        }
        Ok(FREE)
    }

    /// `t` against another with an equal key.
    fn against(&mut self, t: u8, x: u8) -> Step<u16> {
        loop {
            let now = self.word(x)?;
            match word::life(now) {
                word::LIVE => return Ok(LOST),
                word::READY if t < x || self.mutated("kill-without-order") => {
                    if self.exchange_word(x, now, word::with_life(now, word::KILLED))? {
                        return Ok(FREE);
                    }
                }
                word::READY => return Ok(YIELD | u16::from(x) << 3 | u16::from(word::attempt(now))),
                _ => return Ok(FREE),
            }
        }
    }

    /// Whether our attempt was committed.
    pub(super) fn settled(&mut self) -> Step<Point> {
        let own = self.thread.entry;
        let word = self.word(own)?;
        if word::life(word) == word::KILLED {
            self.thread.rounds = 0;
            return Ok(Point::Clear(own, 0, Then::Restart));
        }
        // DEAD: it was LIVE, and somebody has deleted it.
        self.answer(matches!(word::life(word), word::LIVE | word::DEAD))
    }

    /// A cleaner has removed both slots of this entry.
    pub(super) fn cleaned(&mut self, entry: u8, then: Then) -> Step<Point> {
        self.thread.rounds = 0;
        match then {
            Then::Restart => {
                self.thread.attempt += 1;
                if self.thread.attempt >= word::ATTEMPTS {
                    self.memory.fail(Fault::NoProgress);
                }
                Ok(Point::Prepare)
            }
            Then::GiveUp => Ok(Point::Find),
            Then::FindAgain | Then::Retire => {
                if !self.mutated("retire-early") {
                    self.retire(entry);
                }
                match self.op() {
                    Op::Insert(_) => Ok(Point::Find),
                    _ => self.answer(true),
                }
            }
        }
    }
}
