//! Insert of both keys of an entry, visible at one instant, or adoption of whoever holds one of them.
//!
//! ```text
//! find      a LIVE entry with one of the keys?  expired: kill it, look again; else ADOPTED
//! place     both slots, word INS                nobody accepts it, nobody kills it
//! READY     from here on anyone may decide about it
//! fence     of two that clash, at least one sees the other
//! resolve   scan both chains: a LIVE clash wins; of two READY the lower index wins and kills the other;
//!           the loser helps the winner, for the winner may be asleep; nobody left: READY -> LIVE
//! lost      clear both slots, next attempt
//! ```
//!
//! **The fence.** Let a and b be READY with an equal key. Each has, in its thread's order: both slots and READY
//! stored; fence(SeqCst); scan. One fence is first in the single order of such fences; the scan behind the other one
//! then sees its slots and its READY. This is so for whoever runs the scan behind a fence that follows (its own thread)
//! or follows the reading of (a helper, Acquire) READY. Therefore one fence serves a whole burst: all its READY stores
//! come before it and all its scans after, which is all that the argument uses; entries of one burst see each other in
//! any case. A helper's fence must come after it has read READY, so a loser who turns helper fences again.
//!
//! **One LIVE entry per key.** Of a and b above let b's scan see a. If a is LIVE, b dies. If a is READY, the lower
//! index kills the other, by compare-exchange on READY and the attempt that was seen. If a is KILLED or DEAD it has
//! no claim; its next attempt fences and scans anew. If a is still INS, b's fence was the first, and a's scan sees b.

use std::ops::ControlFlow;

use super::bucket::{self, EMPTY, SLOTS, meta};
use super::find::bits;
use super::word::{ATTEMPTS, INS, KILLED, LIVE, READY, attempt, life, with_attempt, with_life};
use super::{Core, Entry, Hit, Local, MAX_BURST, MAX_CHAIN, open};
use crate::memory::{prefetch, prefetch_to_write};
use crate::sync::{AtomicU64, Ordering, fence, mutated, order, passing, planted, waits};

/// Rounds of a loop that only another thread's success can prolong.
pub(super) const ROUNDS: usize = 64;

/// What became of an insert. In every case the index belongs to the table afterwards.
///
/// Until the caller's next `alloc`, `enter` or `leave`, the fields of an entry that was not inserted can still be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Insert {
    /// It is LIVE (or was, and somebody has deleted it since).
    Inserted,
    /// A LIVE, not expired entry has one of the keys: `dir` is its direction with our key 0 if it has that, else with
    /// our key 1.
    Adopted(Hit),
    Failed(Failure),
}

/// Why an insert failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No overflow bucket left.
    Overflow,
    /// Lost against too many others.
    Attempts,
    /// A chain has [`MAX_CHAIN`] full buckets.
    ChainTooLong,
}

/// The hashes of both keys of an entry under insertion.
#[derive(Clone, Copy, Default)]
pub(super) struct Hashes {
    pub(super) of: [u64; 2],
    /// 1 if both keys are equal: then one slot leads to the entry.
    pub(super) n: usize,
}

/// What a scan says about the entry it was made for.
pub(super) enum Scan {
    /// No other has a claim.
    Free,
    /// A LIVE entry has one of its keys.
    Lost,
    /// This READY entry, at this attempt, goes first.
    Yield(u32, u64),
}

/// Which entries of a burst have a hash like one of an earlier entry's. Twelve bits of each are compared, by marks: of 64
/// entries about 2 are suspected wrongly, of 32 one in two bursts, and such an insert costs a fence of its own.
fn waiting(burst: &[Hashes]) -> u64 {
    let mut marks = [0_u64; 64];
    let mut waiting = 0;
    for (i, hashes) in burst.iter().enumerate() {
        let mark = hashes.of.map(|hash| (hash as usize & 63, 1_u64 << (hash >> 6 & 63)));
        let met = mark.iter().any(|(word, bit)| marks[*word] & bit != 0);
        waiting |= u64::from(met) << i;
        for (word, bit) in mark {
            marks[word] |= bit;
        }
    }
    waiting
}

impl<E: Entry> Core<E> {
    /// [`Core::insert_burst`] for one: inserts an entry from `alloc` under its two keys, both or none. `expired(index, word)` is told of each expired
    /// entry that was in the way and has been killed (its fields can be read inside the call).
    #[cfg(any(test, fuzzing))]
    pub(crate) fn insert(
        &self,
        local: &mut Local<E>,
        index: u32,
        now: u32,
        expired: &mut impl FnMut(u32, u64),
    ) -> Insert {
        debug_assert!(local.of(self) && local.is_entered());
        let hashes = self.hashes_of(index);
        self.settle(local, index, &hashes, 0, now, expired)
    }

    /// Inserts entries from `alloc`, at most [`MAX_BURST`], each under its two keys, both or none: one fence, overlapping
    /// memory latencies. With each index comes the hash of its key 0. `expired(index, word)` is told of each expired
    /// entry that was in the way and has been killed (its fields can be read inside the call). Of entries that
    /// clash with each other the earlier goes first, as if they had come one by one. `results` must be as long as
    /// `burst`.
    pub(crate) fn insert_burst(
        &self,
        local: &mut Local<E>,
        burst: &[(u32, u64)],
        now: u32,
        results: &mut [Insert],
        expired: &mut impl FnMut(u32, u64),
    ) {
        debug_assert!(local.of(self) && local.is_entered());
        debug_assert!(burst.len() == results.len() && burst.len() <= MAX_BURST);
        let n = burst.len().min(results.len()).min(MAX_BURST);
        let (burst, results) = (&burst[..n], &mut results[..n]);
        let mut all = [Hashes::default(); MAX_BURST];
        let all = &mut all[..n];
        for (hashes, (index, hash)) in all.iter_mut().zip(burst) {
            *hashes = self.hashes(*index, *hash);
            prefetch_to_write(self.line(hashes.of[0]));
            prefetch_to_write(self.line(hashes.of[1]));
        }
        // Bit i: entry i may clash with an earlier one, and waits until that is decided.
        let waiting = waiting(all);
        for hashes in &*all {
            self.prefetch_behind(hashes.of[0]);
            self.prefetch_behind(hashes.of[1]);
        }
        // Bit i: entry i is placed and to be resolved.
        let mut placed = 0_u64;
        for (i, (hashes, (index, _))) in all.iter().zip(burst).enumerate() {
            if waiting >> i & 1 == 1 {
                continue;
            }
            match self.prepare(local, *index, hashes, 0, now, expired) {
                Ok(()) => placed |= 1 << i,
                Err(done) => results[i] = done,
            }
        }
        for i in bits(placed) {
            self.make_ready(burst[i].0, 0);
        }
        if !mutated("burst-no-fence") {
            fence(Ordering::SeqCst);
        }
        for i in bits(placed) {
            let index = burst[i].0;
            results[i] = if self.resolved(index, 0, &all[i]) {
                Insert::Inserted
            } else {
                self.clear_both(local, index, &all[i]);
                self.settle(local, index, &all[i], 1, now, expired)
            };
        }
        for i in bits(waiting) {
            results[i] = self.settle(local, burst[i].0, &all[i], 0, now, expired);
        }
    }

    /// Fetches what is behind the head bucket of a hash.
    #[inline(always)]
    pub(super) fn prefetch_behind(&self, hash: u64) {
        // Acquire: as in `walk`.
        #[cfg(not(conntab_loom))]
        if let Some(over) = meta::link(self.head(hash).meta.load(Ordering::Acquire)) {
            prefetch(self.over(over));
        }
        #[cfg(conntab_loom)]
        let _ = hash;
    }

    #[inline(always)]
    pub(super) fn hashes_of(&self, index: u32) -> Hashes {
        self.hashes(index, self.hash(&self.key(index, 0)))
    }

    /// `first`: the hash of key 0.
    #[inline(always)]
    fn hashes(&self, index: u32, first: u64) -> Hashes {
        if E::KEYS == 1 {
            return Hashes { of: [first; 2], n: 1 };
        }
        let second = self.key(index, 1);
        let of = [first, self.hash(&second)];
        let equal = of[0] == of[1] && self.key(index, 0) == second;
        Hashes { of, n: if equal { 1 } else { 2 } }
    }

    /// Attempts an insert until it is decided. The index stays the same through all attempts, and the thread stays
    /// entered: see [`ATTEMPTS`] for what that may hold back.
    pub(super) fn settle(
        &self,
        local: &mut Local<E>,
        index: u32,
        hashes: &Hashes,
        first: u64,
        now: u32,
        expired: &mut impl FnMut(u32, u64),
    ) -> Insert {
        for attempt in first..ATTEMPTS {
            if let Err(done) = self.prepare(local, index, hashes, attempt, now, expired) {
                return done;
            }
            self.make_ready(index, attempt);
            if !mutated("no-fence") {
                fence(Ordering::SeqCst);
            }
            if self.resolved(index, attempt, hashes) {
                return Insert::Inserted;
            }
            self.clear_both(local, index, hashes);
            self.count.restarts.add(1);
            if mutated("loser-no-restart") {
                break;
            }
        }
        self.count.attempts.add(1);
        self.retire(local, index);
        Insert::Failed(Failure::Attempts)
    }

    /// Up to INS with both slots placed; or the result, with the index given back.
    pub(super) fn prepare(
        &self,
        local: &mut Local<E>,
        index: u32,
        hashes: &Hashes,
        attempt: u64,
        now: u32,
        expired: &mut impl FnMut(u32, u64),
    ) -> Result<(), Insert> {
        self.help(local, hashes.of[0]);
        // Where no key's tag is in sight nobody needs to be looked for before: the scan behind the fence would find him.
        let glance =
            |hash| if attempt == 0 { self.glance(self.head(hash), self.tag(hash)) } else { (0, SLOTS) };
        let glances = hashes.of.map(glance);
        let search = attempt > 0 || glances[0].0 | glances[1].0 != 0;
        if search && let Some(done) = self.find_clash(local, index, hashes, now, expired) {
            self.give_back(local, index, attempt > 0);
            return Err(done);
        }
        let word = self.entry(index).word();
        let own = word.load(Ordering::Relaxed);
        let count = if mutated("attempt-not-counted") { 0 } else { attempt };
        // Relaxed: the owner alone writes a word that is UNCONF or KILLED (W1), and the slots publish it.
        word.store(with_attempt(own, INS, count), Ordering::Relaxed);
        passing("insert-begun");
        for (d, glance) in glances.iter().enumerate().take(hashes.n) {
            let (hash, dir) = (hashes.of[d], d as u32);
            let slot = bucket::slot(index, dir, self.tag(hash));
            // (Of the next array, if it has moved meanwhile: as good as any.)
            let there = self.head(hash).slots.get(glance.1);
            let placed = if there.is_some_and(|there| self.place_at(there, slot)) {
                Ok(())
            } else {
                self.place(local, hash, slot)
            };
            if let Err(failure) = placed {
                if d > 0 && !mutated("refused-keeps-slot") {
                    self.clear(local, hashes.of[0], index, 0);
                }
                // Relaxed: nobody acts upon an INS or a KILLED.
                word.store(with_attempt(own, KILLED, count), Ordering::Relaxed);
                let clash = if search { None } else { self.find_clash(local, index, hashes, now, expired) };
                self.give_back(local, index, d > 0 || attempt > 0);
                return Err(clash.unwrap_or(Insert::Failed(failure)));
            }
            passing(if d == 0 { "insert-half-placed" } else { "insert-placed" });
            if mutated("ready-early") {
                self.make_ready(index, attempt);
            }
        }
        Ok(())
    }

    /// An index whose insert came to nothing. Once its slots could be seen, others may still look at it.
    pub(super) fn give_back(&self, local: &mut Local<E>, index: u32, seen: bool) {
        if seen && !mutated("placed-skips-epoch") {
            if !planted("loser-lost") {
                self.retire(local, index);
            }
        } else {
            let word = self.entry(index).word();
            let unconfirmed = with_life(word.load(Ordering::Relaxed), super::word::UNCONF);
            word.store(unconfirmed, Ordering::Relaxed);
            self.release(local, index);
        }
    }

    /// A LIVE entry with one of the keys. Expired ones are killed: to skip one would let it win the clash later, again
    /// and again.
    fn find_clash(
        &self,
        local: &mut Local<E>,
        index: u32,
        hashes: &Hashes,
        now: u32,
        expired: &mut impl FnMut(u32, u64),
    ) -> Option<Insert> {
        for _ in 0..ROUNDS {
            let hit =
                (0..hashes.n).find_map(|d| self.lookup(local, hashes.of[d], &self.key(index, d as u32)));
            let hit = hit?;
            if !E::expired(hit.word, now) {
                return Some(Insert::Adopted(hit));
            }
            if mutated("expired-skip") {
                return None;
            }
            if self.condemn(hit.index, hit.word) {
                passing("insert-expired");
                expired(hit.index, hit.word);
                self.bury(local, hit.index);
            }
        }
        self.count.attempts.add(1);
        Some(Insert::Failed(Failure::Attempts))
    }

    /// Writes this slot word into the first EMPTY slot of the chain, which grows by a bucket if there is none.
    #[inline(never)]
    pub(super) fn place(&self, local: &mut Local<E>, hash: u64, word: u64) -> Result<(), Failure> {
        // An overflow bucket of ours, opened with `word` in it, not yet linked.
        let mut spare = None;
        let mark = meta::mark(bucket::tag_of(word));
        let mut result = Err(Failure::Overflow);
        'again: for round in 0..ROUNDS {
            let mut bucket = self.head(hash);
            for depth in 1.. {
                if self.place_in(bucket, word) {
                    result = Ok(());
                    break 'again;
                }
                // Acquire: as in `walk`.
                let mut seen = bucket.meta.load(Ordering::Acquire);
                if seen & meta::FROZEN != 0 {
                    passing("place-frozen");
                    // A copy of it is being made, which will not have what comes now.
                    match self.move_on(local, hash) {
                        true => continue 'again,
                        false => break 'again,
                    }
                }
                while meta::link(seen).is_none() {
                    if seen & meta::FROZEN != 0 || self.moves(hash) {
                        // Moved, the chain is half as long; and growth counts on it that none is prolonged (`grow`).
                        match self.move_on(local, hash) {
                            true => continue 'again,
                            false => break 'again,
                        }
                    }
                    if seen & meta::CLOSED != 0 {
                        // Nothing may be linked behind it any more; its closer may be asleep: unlink it for him.
                        passing("place-closed");
                        self.sweep(local, hash);
                        continue 'again;
                    }
                    if depth >= MAX_CHAIN {
                        self.count.chain_too_long.add(1);
                        result = Err(Failure::ChainTooLong);
                        break 'again;
                    }
                    let Some(over) = spare.or_else(|| self.take_overflow(word)) else {
                        // Has it moved meanwhile, or got a link? Then none is needed.
                        let now = bucket.meta.load(Ordering::Acquire);
                        if now != seen {
                            seen = now;
                            continue;
                        }
                        self.count.overflow_exhausted.add(1);
                        break 'again;
                    };
                    spare = Some(over);
                    passing("place-overflow-taken");
                    // (B1): the mark comes with the first link.
                    let mark = if depth == 1 && !mutated("link-unmarked") { mark } else { 0 };
                    let linked = meta::with_link(seen, Some(over)) | mark;
                    // Release: the contents of the new bucket, ours included; pairs with `walk`. Acquire: we go on to the
                    // bucket that was linked instead.
                    let release = order("link-relaxed", Ordering::Release);
                    match bucket.meta.compare_exchange(seen, linked, release, Ordering::Acquire) {
                        Ok(_) => {
                            passing("place-linked");
                            return Ok(());
                        }
                        Err(now) => seen = now,
                    }
                }
                // (B1), for what we place further along: once more in each round, and when another was faster to link.
                let marked = seen & mark != 0
                    || mutated("mark-never")
                    || mutated("mark-once") && round > 0
                    || mutated("mark-not-raced") && spare.is_some();
                if depth == 1 && !marked {
                    // Relaxed, both: our slot publishes it, and the link that came with `seen` (Acquire) keeps its own release.
                    let (ok, err) = (Ordering::Relaxed, Ordering::Relaxed);
                    let done = seen & meta::FROZEN == 0
                        && bucket.meta.compare_exchange(seen, seen | mark, ok, err).is_ok();
                    if !done && !mutated("mark-blind") {
                        continue 'again;
                    }
                    passing("place-marked");
                }
                let Some(next) = meta::link(seen) else { break };
                bucket = self.over(next);
            }
        }
        if let Some(over) = spare.filter(|_| !mutated("spare-lost")) {
            // Never linked; the epoch is a detour, but its every step is bounded.
            self.retire_bucket(local, over);
        }
        result
    }

    #[inline]
    pub(super) fn place_in(&self, bucket: &bucket::Bucket, word: u64) -> bool {
        bucket.slots.iter().any(|slot| self.place_at(slot, word))
    }

    #[inline(always)]
    fn place_at(&self, slot: &AtomicU64, word: u64) -> bool {
        // Relaxed: a stale value costs us a free slot, the exchange is what counts. Release: pairs with the Acquire
        // of `tagged`, for the entry's keys and its word (at least INS).
        let release = order("slot-relaxed", Ordering::Release);
        slot.load(Ordering::Relaxed) == EMPTY
            && slot.compare_exchange(EMPTY, word, release, Ordering::Relaxed).is_ok()
    }

    /// An overflow bucket from the pool, open, with `word` in its first slot.
    fn take_overflow(&self, word: u64) -> Option<u32> {
        let mut over = [0];
        let open_to_inserts = self.growth.open.get() as u32;
        if self.pool.pop(open_to_inserts, &mut over, |o| &self.over_link[o as usize]) == 0 {
            return None;
        }
        self.pool_popped.add(1);
        open(self.over(over[0]), &[word], None);
        Some(over[0])
    }

    pub(super) fn make_ready(&self, index: u32, attempt: u64) {
        let word = self.entry(index).word();
        let count = if mutated("attempt-not-counted") { 0 } else { attempt };
        let ready = with_attempt(word.load(Ordering::Relaxed), READY, count);
        // Release: both slots, for a helper who reads READY with Acquire. A plain store: nobody touches an INS (W1).
        word.store(ready, order("ready-relaxed", Ordering::Release));
        passing("insert-ready");
    }

    /// Resolves our own attempt, READY before the last fence. True: committed; false: lost, KILLED.
    pub(super) fn resolved(&self, index: u32, attempt: u64, hashes: &Hashes) -> bool {
        self.resolve(index, attempt, hashes);
        // DEAD is success, too: it was LIVE, and somebody has deleted it. Acquire: before we clear and reuse.
        let committed = life(self.entry(index).word().load(Ordering::Acquire)) != KILLED;
        passing(if committed { "insert-live" } else { "insert-lost" });
        committed
    }

    /// Decides about attempt `n` of entry `t`, and, if it must yield, about whom it yields to. A loop, not a recursion:
    /// it could go as deep as there are contenders. Each step goes to a lower index, so it ends.
    fn resolve(&self, mut t: u32, mut n: u64, hashes: &Hashes) {
        let mut hashes = *hashes;
        for _ in 0..ROUNDS {
            match self.scan(t, &hashes) {
                Scan::Free => {
                    passing("insert-scanned");
                    // AcqRel: release all we know of the entry to its readers; acquire before its owner reuses it.
                    self.decide(t, n, LIVE);
                    return;
                }
                Scan::Lost => {
                    self.decide(t, n, KILLED);
                    return;
                }
                Scan::Yield(x, its) => {
                    self.decide(t, n, KILLED);
                    if mutated("loser-no-help") {
                        return;
                    }
                    passing("insert-yielded");
                    (t, n) = (x, its);
                    hashes = self.hashes_of(x);
                    // The helper's own: after it has read READY, before it scans for that entry.
                    if !mutated("helper-no-fence") {
                        fence(Ordering::SeqCst);
                    }
                }
            }
        }
        // Our own attempt was decided in the first round; what we leave undone is help.
        self.count.bounds.add(1);
    }

    /// READY at attempt `n` -> `to`; nothing if it was decided already.
    pub(super) fn decide(&self, t: u32, n: u64, to: u64) {
        let word = self.entry(t).word();
        for _ in 0..ROUNDS {
            let now = word.load(Ordering::Acquire);
            let same = attempt(now) == n || mutated("attempt-ignored");
            if life(now) != READY || !same {
                return;
            }
            let (ok, err) = (Ordering::AcqRel, Ordering::Acquire);
            // Again only if the own bits changed, which (W3) rules out; the bound makes it certain that we end.
            if word.compare_exchange(now, with_life(now, to), ok, err).is_ok() {
                return;
            }
        }
        self.count.bounds.add(1);
    }

    /// Looks along both chains of `t` for others with one of its keys, and kills those that come after it.
    pub(super) fn scan(&self, t: u32, hashes: &Hashes) -> Scan {
        for d in 0..hashes.n {
            let hash = hashes.of[d];
            let tag = self.tag(hash);
            let clash = self.walk(hash, |bucket, _| {
                // Acquire: as in `tagged`.
                let words: [u64; SLOTS] = std::array::from_fn(|i| bucket.slots[i].load(Ordering::Acquire));
                // Without a branch to guess: our own slot may be anywhere, and others' hardly ever.
                let others = words.iter().enumerate().fold(0, |others, (i, word)| {
                    others | u64::from(bucket::matches(*word, tag) & (bucket::index(*word) != t)) << i
                });
                for i in bits(others) {
                    let (x, dir) = (bucket::index(words[i]), bucket::dir(words[i]));
                    // Our key is stable: `t` was READY when we learned of it, and we are entered.
                    if self.key_eq(x, dir, &self.key(t, d as u32)) {
                        self.against(t, x)?;
                    }
                }
                ControlFlow::Continue(())
            });
            if let Some(clash) = clash {
                return clash;
            }
        }
        Scan::Free
    }

    /// `t` against another with an equal key.
    fn against(&self, t: u32, x: u32) -> ControlFlow<Scan> {
        let word = self.entry(x).word();
        for _ in 0..ROUNDS {
            // Acquire: with READY come its slots (before we help), with LIVE its keys' claim.
            let now = word.load(Ordering::Acquire);
            match life(now) {
                LIVE => return ControlFlow::Break(Scan::Lost),
                READY if t < x => {
                    let killed = with_life(now, KILLED);
                    // The whole word, so its attempt, too (W2). Fails: look at what it is now.
                    if word.compare_exchange(now, killed, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                        passing("insert-killed-another");
                        return ControlFlow::Continue(());
                    }
                }
                READY => return ControlFlow::Break(Scan::Yield(x, attempt(now))),
                // INS: it will fence and scan, and see us. DEAD, KILLED: no claim.
                _ => {
                    waits("insert-waits", || life(word.load(Ordering::Acquire)) != INS);
                    return ControlFlow::Continue(());
                }
            }
        }
        // Each round it changed under us. To lose without need is safe; to win without proof is not.
        self.count.bounds.add(1);
        ControlFlow::Break(Scan::Lost)
    }

    pub(super) fn clear_both(&self, local: &mut Local<E>, index: u32, hashes: &Hashes) {
        for d in 0..hashes.n {
            self.clear(local, hashes.of[d], index, d as u32);
        }
        passing("insert-cleared");
    }
}
