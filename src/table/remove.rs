//! Delete: LIVE -> DEAD at one instant, both slots cleared, the index to the epoch; and the unlinking of overflow
//! buckets that have become empty.
//!
//! ```text
//! close(o)  all slots EMPTY -> CLOSED, one by one, for good; then CLOSED into its meta: the link is final
//! sweep     predecessor's link past it, by one compare-exchange; who succeeds retires the bucket
//! ```
//!
//! Why this loses nothing. "All slots CLOSED" is stable, whoever closed which, so nothing can be placed there any more. A
//! bucket leaves the chain only when its own meta is CLOSED, so its link is final: a walker inside it still reaches all
//! that was behind it. The exchange fails if the predecessor is CLOSED itself, so of two neighbours the front one goes
//! first. A link needs no version: for the same value to come back, a bucket would have to be reused while somebody holds
//! the old meta, and that thread is entered since before. A bucket closed in part holds an entry, whose cleaner will
//! come here and finish.

use std::ops::ControlFlow;

use super::bucket::{self, Bucket, CLOSED, EMPTY, meta};
use super::find::bits;
use super::insert::{Hashes, ROUNDS};
use super::word::{DEAD, LIVE, life, with_life};
use super::{Core, Entry, Local, MAX_BURST};
use crate::memory::{prefetch_nth, prefetch_to_write};
use crate::sync::{AtomicU64, Ordering, fence, mutated, passing};

/// What became of a slot to be cleared.
enum Cleared {
    /// Empty; it was in this overflow bucket, or in a head.
    Here(Option<u32>),
    /// Its chain is being copied.
    Frozen,
}

/// Tries of a delete whose entry is busy: each failure means that somebody else changed its own bits.
const DELETE_TRIES: usize = 1024;

impl<E: Entry> Core<E> {
    /// Kills an entry if its word is still exactly `expected` (LIVE): for whoever judged by that word. The winner has
    /// removed both keys when this returns true.
    pub(crate) fn kill(&self, local: &mut Local<E>, index: u32, expected: u64) -> bool {
        debug_assert!(local.of(self) && local.is_entered());
        let killed = life(expected) == LIVE && self.condemn(index, expected);
        if killed {
            self.bury(local, index);
        }
        killed
    }

    /// [`Core::kill`] for a burst of at most [`MAX_BURST`] indices and the words expected there, with overlapping memory
    /// latencies. Bit i of the result: number i was killed.
    pub(crate) fn kill_burst(&self, local: &mut Local<E>, burst: &[(u32, u64)]) -> u64 {
        debug_assert!(local.of(self) && local.is_entered() && burst.len() <= MAX_BURST);
        let mut killed = 0;
        for (i, (index, expected)) in burst.iter().enumerate().take(MAX_BURST) {
            killed |= u64::from(life(*expected) == LIVE && self.condemn(*index, *expected)) << i;
        }
        self.bury_burst(local, bits(killed).map(|i| burst[i].0));
        killed
    }

    /// [`Core::delete`] for a burst of at most [`MAX_BURST`] indices and their generations. Bit i of the result: number i was
    /// killed.
    pub(crate) fn delete_burst(&self, local: &mut Local<E>, burst: &[(u32, u32)]) -> u64 {
        debug_assert!(local.of(self) && local.is_entered() && burst.len() <= MAX_BURST);
        for (index, _) in burst {
            prefetch_nth(&self.entries, *index as usize);
        }
        let mut killed = 0;
        for (i, (index, generation)) in burst.iter().enumerate().take(MAX_BURST) {
            killed |= u64::from(self.condemn_any(local, *index, *generation)) << i;
        }
        self.bury_burst(local, bits(killed).map(|i| burst[i].0));
        killed
    }

    /// Kills the entry of a handle, whatever its own bits say. False: it is not LIVE any more.
    pub(crate) fn delete(&self, local: &mut Local<E>, index: u32, generation: u32) -> bool {
        let killed = self.condemn_any(local, index, generation);
        if killed {
            self.bury(local, index);
        }
        killed
    }

    /// LIVE -> DEAD, whatever the own bits. The winner must `bury`.
    fn condemn_any(&self, local: &Local<E>, index: u32, generation: u32) -> bool {
        if self.get(local, index, generation).is_none() {
            return false;
        }
        // From here on the index cannot be reused: it was LIVE while we were entered.
        let word = self.entry(index).word();
        for _ in 0..DELETE_TRIES {
            // Acquire: a stale value only costs a round.
            let now = word.load(Ordering::Acquire);
            if life(now) != LIVE {
                return false;
            }
            if self.condemn(index, now) {
                return true;
            }
        }
        self.count.bounds.add(1);
        false
    }

    /// LIVE -> DEAD. The winner must `bury`.
    pub(super) fn condemn(&self, index: u32, expected: u64) -> bool {
        let word = self.entry(index).word();
        let dead = with_life(expected, DEAD);
        if mutated("kill-blind") {
            word.store(dead, Ordering::Release);
            return true;
        }
        // AcqRel: the winner sees all that others did to the entry, and its clearing comes after.
        let condemned = word.compare_exchange(expected, dead, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if condemned {
            passing("delete-dead");
        }
        condemned
    }

    /// Removes a DEAD entry of ours (the winner's).
    pub(super) fn bury(&self, local: &mut Local<E>, index: u32) {
        self.bury_burst(local, std::iter::once(index));
    }

    /// Removes DEAD entries of ours, at most [`MAX_BURST`]: the lines of all buckets are fetched before the first is needed.
    #[inline]
    fn bury_burst(&self, local: &mut Local<E>, dead: impl Iterator<Item = u32>) {
        let mut all = [(0, Hashes::default()); MAX_BURST];
        let mut n = 0;
        for (slot, index) in all.iter_mut().zip(dead) {
            let hashes = self.hashes_of(index);
            prefetch_to_write(self.line(hashes.of[0]));
            prefetch_to_write(self.line(hashes.of[1]));
            *slot = (index, hashes);
            n += 1;
        }
        let all = &all[..n];
        if let Some((_, hashes)) = all.first() {
            self.help(local, hashes.of[0]);
        }
        // (Alone there is nothing to overlap with.)
        for (index, hashes) in all.iter().filter(|_| n > 1) {
            for d in 0..hashes.n {
                if self
                    .find_slot(hashes.of[d], bucket::slot(*index, d as u32, self.tag(hashes.of[d])))
                    .is_none()
                {
                    self.prefetch_behind(hashes.of[d]);
                }
            }
        }
        for (index, hashes) in all {
            if mutated("retire-early") {
                self.retire(local, *index);
            }
            let n = if mutated("clear-one") { 1 } else { hashes.n };
            for d in 0..n {
                self.clear(local, hashes.of[d], *index, d as u32);
                passing(if d == 0 { "delete-half-cleared" } else { "delete-cleared" });
            }
        }
        if !mutated("retire-early") {
            self.retire_all(local, all.iter().map(|(index, _)| *index));
        }
    }

    /// Where this slot word is in the head bucket of its hash.
    #[inline(always)]
    fn find_slot(&self, hash: u64, word: u64) -> Option<&AtomicU64> {
        let slots = &self.head(hash).slots;
        // Without a branch to guess: it may be anywhere.
        let at = slots.iter().enumerate().fold(slots.len(), |at, (i, slot)| {
            // Relaxed: as in `clear`.
            if bucket::thawed(slot.load(Ordering::Relaxed)) == word { i } else { at }
        });
        slots.get(at)
    }

    /// Empties the slot of `index` in direction `dir`: only its cleaner does so, and it is there exactly once (I2): in a
    /// chain that is being copied, too, until that has moved.
    pub(super) fn clear(&self, local: &mut Local<E>, hash: u64, index: u32, dir: u32) {
        let word = bucket::slot(index, dir, self.tag(hash));
        // Release: as below. A head bucket is never closed.
        if let Some(slot) = self.find_slot(hash, word)
            && slot.compare_exchange(word, EMPTY, Ordering::Release, Ordering::Relaxed).is_ok()
        {
            return;
        }
        for _ in 0..ROUNDS {
            match self.clear_in_chain(hash, word) {
                Some(Cleared::Here(over)) => {
                    if let Some(over) = over {
                        self.close(local, hash, over);
                    }
                    return;
                }
                // A frozen word is copied as it is: it has to go from the copy.
                Some(Cleared::Frozen) => {
                    passing("clear-frozen");
                    self.move_on(local, hash);
                }
                None => break,
            }
        }
        debug_assert!(cfg!(conntab_mutate), "slot of {index} not found");
        self.count.lost.add(1);
    }

    fn clear_in_chain(&self, hash: u64, word: u64) -> Option<Cleared> {
        self.walk(hash, |bucket, over| {
            for slot in &bucket.slots {
                // Acquire: with a frozen word comes that growth has begun. (Otherwise Relaxed would do: we placed it, or
                // have read with Acquire the word that its placer released.)
                let seen = slot.load(Ordering::Acquire);
                if bucket::thawed(seen) != word {
                    continue;
                }
                let (ok, err) = (Ordering::Release, Ordering::Acquire);
                if mutated("clear-frozen") {
                    slot.store(EMPTY, ok);
                    return ControlFlow::Break(Cleared::Here(over));
                }
                // Release: who places into this slot comes after our last use of it. A failure can only be a freeze.
                return ControlFlow::Break(match slot.compare_exchange(word, EMPTY, ok, err) {
                    Ok(_) => Cleared::Here(over),
                    Err(_) => Cleared::Frozen,
                });
            }
            ControlFlow::Continue(())
        })
    }

    /// Closes overflow bucket `over`, a slot of which we have just cleared, if it is empty.
    fn close(&self, local: &mut Local<E>, hash: u64, over: u32) {
        let bucket = self.over(over);
        // Two cleaners of the last two slots: without this each could still see the other's, and nobody would close.
        if !mutated("close-no-fence") {
            fence(Ordering::SeqCst);
        }
        if mutated("close-meta-first") && !close_meta(bucket) {
            return;
        }
        for slot in &bucket.slots {
            let word = slot.load(Ordering::Acquire);
            if word != EMPTY && word != CLOSED {
                return;
            }
        }
        passing("close-begun");
        for (i, slot) in bucket.slots.iter().enumerate() {
            // Relaxed, both: CLOSED carries no data, and what it shut out was never there.
            match slot.compare_exchange(EMPTY, CLOSED, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) | Err(CLOSED) => passing("close-slot"),
                Err(_) => {
                    // Occupied again. It stays closed in part: its new tenant's cleaner will finish. To reopen it would
                    // undo what another closer relies on.
                    if mutated("close-reopen") {
                        for slot in &bucket.slots[..i] {
                            let _ =
                                slot.compare_exchange(CLOSED, EMPTY, Ordering::Relaxed, Ordering::Relaxed);
                        }
                    }
                    return;
                }
            }
        }
        passing("close-slots");
        if close_meta(bucket) {
            passing("close-closed");
            self.sweep(local, hash);
        }
    }

    /// Unlinks every CLOSED bucket of a chain. Anybody may, any number at once.
    pub(super) fn sweep(&self, local: &mut Local<E>, hash: u64) {
        'restart: for _ in 0..ROUNDS {
            let mut bucket = self.head(hash);
            let mut seen = bucket.meta.load(Ordering::Acquire);
            // Each round passes a bucket or unlinks one; neither comes back while we are entered.
            for _ in 0..2 * self.overflow.len() + 1 {
                let Some(next) = meta::link(seen) else { return };
                if seen & meta::FROZEN != 0 {
                    return;
                }
                // Loaded here, after the link that led to it: a link read before CLOSED was set is not final.
                let early =
                    if mutated("link-stale") { self.over(next).meta.load(Ordering::Acquire) } else { 0 };
                let behind = self.over(next).meta.load(Ordering::Acquire);
                if behind & meta::CLOSED == 0 {
                    bucket = self.over(next);
                    seen = behind;
                    continue;
                }
                let behind_link = meta::link(if mutated("link-stale") { early } else { behind });
                // (B1): with the last link go the marks.
                let past = match mutated("unlink-unmarks") && behind_link.is_some() {
                    true => meta::with_link(meta::with_link(seen, None), behind_link),
                    false => meta::with_link(seen, behind_link),
                };
                if mutated("retire-before-unlink") {
                    self.retire_bucket(local, next);
                }
                // Release: passes on the contents of the bucket now linked, which we have from `behind` (Acquire).
                // `seen` has neither CLOSED nor FROZEN, so neither has the bucket if we succeed.
                match bucket.meta.compare_exchange(seen, past, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => {
                        passing("sweep-unlinked");
                        if mutated("unmark-late") && behind_link.is_none() {
                            bucket.meta.fetch_and(!u64::from(u32::MAX), Ordering::AcqRel);
                        }
                        if !mutated("retire-before-unlink") {
                            self.retire_bucket(local, next);
                        }
                        seen = past;
                    }
                    Err(now) => {
                        seen = now;
                        if seen & meta::CLOSED != 0 && !mutated("unlink-from-closed") {
                            continue 'restart;
                        }
                    }
                }
            }
            return;
        }
        // It stays in the chain, harmless, until the next sweep.
        self.count.bounds.add(1);
    }
}

/// CLOSED into the meta word of a bucket. False: frozen, then growth retires the bucket.
fn close_meta(bucket: &Bucket) -> bool {
    let mut seen = bucket.meta.load(Ordering::Acquire);
    // Fails only when an insert links a bucket behind this one, or a sweep unlinks one there: each time somebody else's
    // success. Past the bound the bucket stays: its slots are CLOSED, it costs room and nothing else.
    for _ in 0..ROUNDS {
        if seen & meta::FROZEN != 0 {
            return false;
        }
        if seen & meta::CLOSED != 0 {
            return true;
        }
        // Release: the slots closed before. Acquire: the bucket that was linked behind meanwhile.
        let (ok, err) = (Ordering::AcqRel, Ordering::Acquire);
        match bucket.meta.compare_exchange(seen, seen | meta::CLOSED, ok, err) {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
    false
}
