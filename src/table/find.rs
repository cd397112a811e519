//! From a key to its entry: the walk along a chain, lookup, lookup of a burst.

use std::ops::ControlFlow;

use super::bucket::{self, Bucket, SLOTS, meta};
use super::word::{LIVE, life};
use super::{Core, Entry, Hit, Local, MAX_BURST};
use crate::memory::prefetch;
use crate::sync::{Ordering, mutated, order};

impl<E: Entry> Core<E> {
    /// Visits the buckets of a chain in order, head first.
    ///
    /// A CLOSED bucket is walked through like any other: its link is final (I4) and leads to every bucket that was
    /// behind it and still is. The caller is entered, so no bucket comes back during the walk, and the walk ends
    /// after at most one visit to each.
    #[inline(always)]
    pub(super) fn walk<B>(
        &self,
        hash: u64,
        mut visit: impl FnMut(&Bucket, Option<u32>) -> ControlFlow<B>,
    ) -> Option<B> {
        let mut bucket = self.head(hash);
        let mut over = None;
        for _ in 0..=self.overflow.len() {
            if let ControlFlow::Break(found) = visit(bucket, over) {
                return Some(found);
            }
            // Acquire: pairs with the Release that linked the next bucket, for the contents of that bucket.
            over = meta::link(bucket.meta.load(Ordering::Acquire));
            bucket = self.over(over?);
        }
        None
    }

    /// Visits every slot word along the chain that carries the hash's tag: all of them, since tags collide.
    #[inline(always)]
    pub(super) fn tagged<B>(&self, hash: u64, mut visit: impl FnMut(u64) -> ControlFlow<B>) -> Option<B> {
        let tag = self.tag(hash);
        self.walk(hash, |bucket, _| {
            for slot in &bucket.slots {
                // Acquire: pairs with the Release of `place`, for the key and the word of the entry.
                let word = slot.load(order("slot-acquire", Ordering::Acquire));
                if bucket::matches(word, tag) {
                    let flow = visit(word);
                    if flow.is_break() || mutated("first-tag-only") {
                        return flow;
                    }
                }
            }
            ControlFlow::Continue(())
        })
    }

    /// Is the entry of this slot word LIVE, with this key? The key first: it is stable as long as the slot can be
    /// seen; the word last, as the proof.
    #[inline(always)]
    fn accept(&self, slot: u64, key: &E::Key) -> Option<Hit> {
        let (index, dir) = (bucket::index(slot), bucket::dir(slot));
        let entry = self.entry(index);
        if !self.key_eq(index, dir, key) {
            return None;
        }
        // Acquire: pairs with the Release of the change to LIVE and of the owner's own later changes.
        let word = entry.word().load(Ordering::Acquire);
        (life(word) == LIVE || mutated("reader-any-life")).then_some(Hit { index, dir, word })
    }

    /// The LIVE entry with this key, expired or not: the caller judges that from `Hit::word`.
    #[inline]
    pub(crate) fn lookup(&self, local: &Local<E>, hash: u64, key: &E::Key) -> Option<Hit> {
        debug_assert!(local.of(self) && local.is_entered());
        self.tagged(hash, |slot| self.accept(slot, key).map_or(ControlFlow::Continue(()), ControlFlow::Break))
    }

    /// [`Core::lookup`] for a burst of at most [`MAX_BURST`], in stages, so that the memory latencies overlap: bucket
    /// lines, then tags and entry lines (or the first overflow line, then its entry line), then keys. What does not fit the
    /// stages (a tag collision, a second overflow bucket) takes the plain lookup.
    ///
    /// The slices must have equal lengths; beyond the shortest, or the burst limit, nothing is looked up.
    #[inline]
    pub(crate) fn lookup_burst(
        &self,
        local: &Local<E>,
        hashes: &[u64],
        keys: &[E::Key],
        out: &mut [Option<Hit>],
    ) {
        debug_assert!(local.of(self) && local.is_entered());
        debug_assert!(hashes.len() == keys.len() && keys.len() == out.len() && keys.len() <= MAX_BURST);
        let n = hashes.len().min(keys.len()).min(out.len()).min(MAX_BURST);
        let (hashes, keys, out) = (&hashes[..n], &keys[..n], &mut out[..n]);
        for &hash in hashes {
            self.prefetch(hash);
        }
        // A slot word to compare; 0: none; or an overflow bucket to visit first.
        let mut slots = [0_u64; MAX_BURST];
        let mut overs = [0_u32; MAX_BURST];
        let mut any_over = false;
        for (i, &hash) in hashes.iter().enumerate() {
            let bucket = self.head(hash);
            slots[i] = self.first_match(bucket, self.tag(hash));
            if slots[i] != 0 {
                self.prefetch_entry(slots[i]);
            } else if let Some(over) = meta::link(bucket.meta.load(Ordering::Acquire)) {
                overs[i] = over + 1;
                any_over = true;
                prefetch(self.over(over));
            }
        }
        // 1: look further than the stages do, should the key not be found.
        let mut further = [false; MAX_BURST];
        if any_over {
            for (i, &hash) in hashes.iter().enumerate() {
                let Some(over) = overs[i].checked_sub(1) else { continue };
                let bucket = self.over(over);
                slots[i] = self.first_match(bucket, self.tag(hash));
                if slots[i] != 0 {
                    self.prefetch_entry(slots[i]);
                } else {
                    further[i] = meta::link(bucket.meta.load(Ordering::Acquire)).is_some();
                }
            }
        }
        for i in 0..n {
            let slot = slots[i];
            out[i] = if slot != 0 {
                // Not this one: another slot of the same tag, perhaps further along.
                self.accept(slot, &keys[i]).or_else(|| self.lookup(local, hashes[i], &keys[i]))
            } else if further[i] {
                self.lookup(local, hashes[i], &keys[i])
            } else {
                None
            };
        }
    }

    /// The first slot word of this bucket with this tag, or 0.
    #[inline(always)]
    fn first_match(&self, bucket: &Bucket, tag: u64) -> u64 {
        let mut found = 0;
        // Downwards and without an early end: seven compares, no branch to guess.
        for i in (0..SLOTS).rev() {
            // Acquire: as in `tagged`.
            let word = bucket.slots[i].load(Ordering::Acquire);
            found = if bucket::matches(word, tag) { word } else { found };
        }
        found
    }

    #[inline(always)]
    fn prefetch_entry(&self, slot: u64) {
        prefetch(self.entry(bucket::index(slot)));
    }

    /// The entry of a handle, if it is still LIVE.
    ///
    /// The word before the generation: a word read LIVE belongs to a life that cannot end in a new allocation while we
    /// are entered. Either it is the handle's life, and the generation stays; or it is a later one, whose generation
    /// was raised before the change to LIVE that we read with Acquire, and does not match.
    #[inline]
    pub(crate) fn get(&self, local: &Local<E>, index: u32, generation: u32) -> Option<&E> {
        debug_assert!(local.of(self) && local.is_entered());
        let entry = self.entries.get(index as usize)?;
        let word = entry.word().load(Ordering::Acquire);
        (life(word) == LIVE && entry.generation().load(Ordering::Relaxed) == generation).then_some(entry)
    }

    /// The LIVE entries of one bucket's chain, once for each slot.
    pub(crate) fn bucket_scan(&self, local: &Local<E>, bucket: u32, mut f: impl FnMut(Hit)) {
        debug_assert!(local.of(self) && local.is_entered());
        // The head is chosen by the low bits of a hash; any hash with these will do.
        self.walk(u64::from(bucket), |bucket, _| {
            for slot in &bucket.slots {
                let slot = slot.load(Ordering::Acquire);
                if bucket::occupied(slot) {
                    let (index, dir) = (bucket::index(slot), bucket::dir(slot));
                    let word = self.entry(index).word().load(Ordering::Acquire);
                    if life(word) == LIVE {
                        f(Hit { index, dir, word });
                    }
                }
            }
            ControlFlow::<()>::Continue(())
        });
    }
}
