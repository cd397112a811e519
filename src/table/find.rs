//! From a key to its entry: the walk along a chain, lookup, lookup of a burst.

use std::ops::ControlFlow;

use super::bucket::{self, Bucket, EMPTY, SLOTS, meta};
use super::grow::{GROWING, SIZE};
use super::word::{LIVE, life};
use super::{Core, Entry, Hit, Local, MAX_BURST};
use crate::memory::{prefetch, prefetch_nth};
use crate::sync::{Ordering, mutated, order};

/// The positions of the bits set.
#[inline(always)]
pub(super) fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let first = (set != 0).then(|| set.trailing_zeros() as usize);
        set &= set.wrapping_sub(1);
        first
    })
}

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
        visit: impl FnMut(&Bucket, Option<u32>) -> ControlFlow<B>,
    ) -> Option<B> {
        self.walk_marked(hash, 0, visit)
    }

    /// [`Core::walk`], beyond the head only if its meta word has a mark.
    #[inline(always)]
    fn walk_marked<B>(
        &self,
        hash: u64,
        mark: u64,
        mut visit: impl FnMut(&Bucket, Option<u32>) -> ControlFlow<B>,
    ) -> Option<B> {
        let mut bucket = self.head(hash);
        let mut over = None;
        for _ in 0..=self.overflow.len() {
            if let ControlFlow::Break(found) = visit(bucket, over) {
                return Some(found);
            }
            // Acquire: pairs with the Release that linked the next bucket, for the contents of that bucket.
            let seen = bucket.meta.load(Ordering::Acquire);
            // In whichever order with the slots: an entry stays where it was placed, so one that is LIVE all the while has its slot
            // in the head, or behind it and its mark here (B1): who knows that it is LIVE sees no older word.
            if over.is_none() && seen & mark != mark {
                break;
            }
            over = meta::link(seen);
            bucket = self.over(over?);
        }
        None
    }

    /// Visits the slot words along the chain that carry the hash's tag, those of all LIVE entries among them: each one, since
    /// tags collide.
    #[inline(always)]
    fn tagged<B>(&self, hash: u64, mut visit: impl FnMut(u64) -> ControlFlow<B>) -> Option<B> {
        let tag = self.tag(hash);
        self.walk_marked(hash, meta::mark(tag), |bucket, _| {
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
        // Nearly every key is found by the first tag that matches in its head bucket. Without a branch on where it stands there,
        // and so without waiting for the line, the processor goes on to the caller's next lookup.
        let slot = self.first_match(self.head(hash), self.tag(hash));
        if slot != 0 {
            let hit = self.accept(slot, key);
            if hit.is_some() || mutated("first-tag-only") {
                return hit;
            }
        }
        self.lookup_along(hash, key)
    }

    /// [`Core::lookup`] by every slot of the chain.
    #[inline(never)]
    fn lookup_along(&self, hash: u64, key: &E::Key) -> Option<Hit> {
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
        // One array for all stages: what has moved out of it is looked for in its head there, or takes the plain lookup.
        let root = self.root();
        let size = root & SIZE;
        // A slot word to compare, or 0; bit i of `absent`: none in the head bucket; of `further`: look beyond.
        let mut slots = [0_u64; MAX_BURST];
        let (mut absent, mut moved) = (0_u64, 0_u64);
        for (i, (&hash, slot)) in hashes.iter().zip(&mut slots).enumerate() {
            // Whether it has moved, before its slots.
            let bucket = if root & GROWING == 0 {
                self.head_in(size, hash)
            } else {
                let (bucket, there) = self.head_of_two(size, hash);
                moved |= u64::from(there) << i;
                bucket
            };
            *slot = self.first_match(bucket, self.tag(hash));
            absent |= u64::from(*slot == 0) << i;
            // Without a branch to guess: entry 0 if there is none.
            prefetch_nth(&self.entries, bucket::index(*slot) as usize * usize::from(*slot != 0));
        }
        // (What was behind a head that has moved may have moved on by then.)
        let mut further = absent & moved;
        // An overflow bucket to visit.
        let mut overs = [0_u32; MAX_BURST];
        let mut chained = 0_u64;
        for i in bits(absent & !further) {
            let seen = self.head_in(size, hashes[i]).meta.load(Ordering::Acquire);
            if let Some(over) = meta::behind(seen, self.tag(hashes[i])) {
                overs[i] = over;
                chained |= 1 << i;
                prefetch(self.over(over));
            }
        }
        for i in bits(chained) {
            let bucket = self.over(overs[i]);
            slots[i] = self.first_match(bucket, self.tag(hashes[i]));
            if slots[i] != 0 {
                prefetch(self.entry(bucket::index(slots[i])));
            } else if meta::link(bucket.meta.load(Ordering::Acquire)).is_some() {
                further |= 1 << i;
            }
        }
        for i in 0..n {
            let slot = slots[i];
            out[i] = None;
            if slot != 0
                && let Some(hit) = self.accept(slot, &keys[i])
            {
                out[i] = Some(hit);
            } else if slot != 0 || further >> i & 1 == 1 {
                // Another slot of the same tag, perhaps, or further along.
                out[i] = self.lookup_along(hashes[i], &keys[i]);
            }
        }
    }

    /// The first slot word of this bucket with this tag, or 0.
    #[inline(always)]
    fn first_match(&self, bucket: &Bucket, tag: u64) -> u64 {
        self.glance(bucket, tag).0
    }

    /// The first slot word of this bucket with this tag, or 0; and the place of its first EMPTY slot, or [`SLOTS`].
    #[inline(always)]
    pub(super) fn glance(&self, bucket: &Bucket, tag: u64) -> (u64, usize) {
        let (mut found, mut empty) = (0, SLOTS);
        // Downwards and without an early end: seven compares, no branch to guess.
        for i in (0..SLOTS).rev() {
            // Acquire: as in `tagged`.
            let word = bucket.slots[i].load(order("slot-acquire", Ordering::Acquire));
            found = if bucket::matches(word, tag) { word } else { found };
            empty = if word == EMPTY { i } else { empty };
        }
        (found, empty)
    }

    /// The entry of a handle, if it is still LIVE.
    ///
    /// The word before the generation: a word read LIVE belongs to a life that cannot end in a new allocation while we
    /// are entered. Either it is the handle's life, and the generation stays; or it is a later one, whose generation
    /// was raised before the change to LIVE that we read with Acquire, and does not match.
    #[inline]
    pub(crate) fn get(&self, local: &Local<E>, index: u32, generation: u32) -> Option<&E> {
        debug_assert!(local.of(self) && local.is_entered());
        // (Beyond these there may be addresses without memory.)
        if index >= self.entries() {
            return None;
        }
        let entry = self.entry(index);
        let word = entry.word().load(Ordering::Acquire);
        (life(word) == LIVE && entry.generation().load(Ordering::Relaxed) == generation).then_some(entry)
    }

    /// The LIVE entries of the chain of a hash, once for each slot.
    pub(crate) fn bucket_scan(&self, local: &Local<E>, hash: u64, mut f: impl FnMut(Hit)) {
        debug_assert!(local.of(self) && local.is_entered());
        self.walk(hash, |bucket, _| {
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
