//! Growth: the head buckets double while everybody goes on working.
//!
//! ```text
//! heads   | array 0: n | array 1: 2n     | array 2: 4n                     | ...   addresses for all, memory for what is in use
//!           ^ given back  ^ in use: root     ^ growing: chains move there, one by one
//!
//! move    freeze each slot and then the meta of each bucket of the chain: none of them changes any more
//!         copy every word into the bucket of the next array that the next bit of its tag names: UNINIT -> word or EMPTY,
//!         what does not fit into overflow buckets of our own: meta 0 -> INIT | link
//!         MOVED into the meta of the old head: from here on everybody goes on to the next array
//! end     when all have moved: root -> the next array; the old one goes through the epoch and back to the system
//! ```
//!
//! Each step can be done by anybody, by several at once, and by somebody who was asleep: a frozen word stays for good, so
//! all copy the same; a word of the next array leaves UNINIT once, so a late copy changes nothing. All words are copied,
//! those of entries that are DEAD or KILLED too: those who copy would disagree about them, and their cleaner, who meets a
//! frozen word, moves the chain himself and clears the copy.
//!
//! **Who does it.** [`Core::double`], a control call, drives it from one end to the other. Whoever is about to change a
//! chain while growth goes on moves it first, if it has a [`HELP`] left for this burst, and now and then one from the
//! frontier; who meets a frozen word must. So a control thread that is asleep delays growth and nothing else, and without it growth
//! comes to its end by those who insert and delete. The frontier `done` counts heads, not those who moved them: it
//! belongs to nobody.
//!
//! **Moving cannot fail.** Both copies of a chain take no more overflow buckets than it has (for if they took a and b,
//! they would have a + b full buckets and more than two words). No chain of the array in use is prolonged while growth goes on: it is
//! moved instead. So growth takes at most as many overflow buckets as there were when it began, one for each thread
//! that was about to prolong a chain, and what each thread has at hand (a chain's; what others were faster to link stays
//! with the thread for the next time). So many are added before it begins, beyond what inserts may take.

use super::bucket::{self, Bucket, EMPTY, FROZEN, SLOTS, TAG_BITS, UNINIT, meta};
use super::{Core, Entry, Geometry, Local, MAX_CHAIN, open};
use crate::sync::{AtomicU64, Counter, Ordering, ReadMostlyU64, mutated, order, passing, waits};

/// Chains that a writer moves, of those that it meets, each time that it enters.
pub(super) const HELP: u32 = 1;

/// So many of these later it moves one from the frontier, too: there it gets into the way of the control call, but without
/// that growth would come to no end.
const FRONTIER: u32 = 8;

/// Control threads for which overflow buckets are set aside.
const CONTROLS: u32 = 64;

/// The number of heads of the array in use, and whether its chains are moving. On a line of its own: everybody reads it
/// all the time, and growth alone writes it.
#[cfg_attr(not(conntab_loom), repr(align(64)))]
pub(super) struct Root(pub(super) ReadMostlyU64);

pub(super) const SIZE: u64 = u32::MAX as u64;
pub(super) const GROWING: u64 = 1 << 32;

impl Root {
    pub(super) fn new(heads: u32) -> Self {
        Self(ReadMostlyU64::new(heads.into()))
    }
}

/// How far growth has come. Positions are places in `heads`, so they rise from one array to the next.
pub(super) struct Growth {
    /// Entries and overflow buckets that have memory, and how many of the latter inserts may take: they only rise.
    pub(super) entries: Counter,
    pub(super) overflow: Counter,
    pub(super) open: Counter,
    /// All heads before this one have moved.
    done: AtomicU64,
    /// Heads before these were handed to the epoch; released by it; given back to the system.
    pub(super) handed: Counter,
    pub(super) free: Counter,
    pub(super) given: AtomicU64,
    /// Makes loom try every order of what reads `root` and what changes it, in models that are about it.
    #[cfg(conntab_loom)]
    root_reads: crate::sync::AtomicU32,
}

impl Growth {
    pub(super) fn new(geometry: &Geometry) -> Self {
        let count = |n: u32| {
            let counter = Counter::default();
            counter.add(n.into());
            counter
        };
        Self {
            entries: count(geometry.entries),
            overflow: count(geometry.overflow),
            open: count(geometry.overflow),
            done: AtomicU64::new(0),
            handed: Counter::default(),
            free: Counter::default(),
            given: AtomicU64::new(0),
            #[cfg(conntab_loom)]
            root_reads: Default::default(),
        }
    }
}

impl Geometry {
    /// Heads of all arrays.
    pub(super) fn heads(&self) -> usize {
        self.buckets as usize * ((2 << self.doublings) - 1)
    }

    /// Overflow buckets after so many doublings of a table that begins with `overflow` of them: why so many stands
    /// at the head of this file.
    pub(crate) fn overflow_after(overflow: u32, doublings: u32, workers: u32) -> u32 {
        let threads = workers.saturating_add(CONTROLS);
        (0..doublings).fold(overflow, |n, _| {
            n.saturating_mul(2).saturating_add(threads.saturating_mul(MAX_CHAIN as u32)).min(meta::LINKS)
        })
    }

    pub(super) fn valid_growth(&self) -> bool {
        let first = self.buckets.trailing_zeros();
        let last = first.saturating_add(self.doublings);
        let tagged = first >= self.tag_shift && last < self.tag_shift + TAG_BITS;
        last <= 28
            && (self.doublings == 0 || tagged)
            && (self.overflow..=meta::LINKS).contains(&self.most_overflow)
            && (self.entries..u32::MAX).contains(&self.most_entries)
    }
}

/// A thread's overflow buckets for copies: never linked, so they need no epoch.
#[derive(Default)]
pub(super) struct Spares {
    buckets: [u32; MAX_CHAIN - 1],
    n: usize,
}

impl Spares {
    /// For audits.
    #[cfg(any(test, fuzzing))]
    pub(super) fn all(&self) -> &[u32] {
        &self.buckets[..self.n]
    }
}

impl<E: Entry> Core<E> {
    #[inline(always)]
    pub(super) fn root(&self) -> u64 {
        // A table that cannot grow: nothing to explore.
        #[cfg(conntab_loom)]
        if self.geometry.doublings == 0 {
            return self.geometry.buckets.into();
        }
        #[cfg(conntab_loom)]
        if self.root_matters.load(Ordering::Relaxed) {
            self.growth.root_reads.load(Ordering::Relaxed);
        }
        // Acquire: pairs with the Release of `advance`, for the array it names.
        self.root.0.load(order("root-acquire", Ordering::Acquire))
    }

    /// The number of heads of the array in use: it names that array.
    #[inline(always)]
    pub(super) fn size(&self) -> u64 {
        self.root() & SIZE
    }

    /// Where the array of this size begins.
    #[inline(always)]
    pub(super) fn start(&self, size: u64) -> u64 {
        size - u64::from(self.geometry.buckets)
    }

    /// The head of a hash in the array of this size.
    #[inline(always)]
    pub(super) fn head_in(&self, size: u64, hash: u64) -> &Bucket {
        &self.heads[(self.start(size) + (hash & (size - 1))) as usize]
    }

    /// Where the head of a hash is likely to be: to be fetched.
    #[inline(always)]
    pub(super) fn line(&self, hash: u64) -> &Bucket {
        self.head_in(self.size(), hash)
    }

    /// Whether the chain of this head lives in the next array. To be asked before the slots are read: they are left as they
    /// were, and lead to entries that have been used again since. (To one who entered before it moved they do no harm.)
    ///
    /// Who has read `root` without GROWING since he entered need not ask: whatever has moved by then moved after that reading,
    /// and he entered before. (Had he entered after an entry was freed for reuse, the epoch would have let him see GROWING,
    /// which comes before the first chain moves.)
    #[inline(always)]
    pub(super) fn has_moved(&self, head: &Bucket) -> bool {
        // As in `root`.
        #[cfg(conntab_loom)]
        if self.geometry.doublings == 0 {
            return false;
        }
        // Acquire: pairs with the Release of `migrate`, for the copies.
        head.meta.load(order("moved-acquire", Ordering::Acquire)) & meta::MOVED != 0
    }

    /// The head bucket of a hash.
    #[inline(always)]
    pub(super) fn head(&self, hash: u64) -> &Bucket {
        let root = self.root();
        let head = self.head_in(root & SIZE, hash);
        if root & GROWING != 0 && self.has_moved(head) { self.moved_head(root & SIZE, hash) } else { head }
    }

    /// The head bucket of a hash while growth goes on from this size, and whether it has moved there. Without a branch to
    /// guess: half-way it is as good as random whether a chain has moved.
    #[inline(always)]
    pub(super) fn head_of_two(&self, size: u64, hash: u64) -> (&Bucket, bool) {
        let moved = self.has_moved(self.head_in(size, hash));
        let head = self.head_in(size << u32::from(moved), hash);
        // (It has moved at this moment; or growth has ended meanwhile, and begun again.)
        if self.has_moved(head) { (self.moved_head(size, hash), true) } else { (head, moved) }
    }

    #[cold]
    fn moved_head(&self, mut size: u64, hash: u64) -> &Bucket {
        let mut head = self.head_in(size, hash);
        // Once, or more often if growth has overtaken us. Heads of the largest array never move.
        for _ in 0..self.geometry.doublings {
            if !self.has_moved(head) {
                break;
            }
            size *= 2;
            head = self.head_in(size, hash);
        }
        head
    }

    /// Whether growth goes on and the chain of this hash has not moved yet.
    #[inline]
    pub(super) fn moves(&self, hash: u64) -> bool {
        let root = self.root();
        root & GROWING != 0 && !self.has_moved(self.head_in(root & SIZE, hash))
    }

    /// The chain of this hash has moved when this returns true, if growth goes on. False: there are no overflow buckets.
    #[cold]
    pub(super) fn move_on(&self, local: &mut Local<E>, hash: u64) -> bool {
        let root = self.root();
        let size = root & SIZE;
        waits("move-waits", || root & GROWING == 0 || self.has_moved(self.head_in(size, hash)));
        root & GROWING == 0 || self.migrate(local, size, hash & (size - 1))
    }

    /// Who changes the chain of this hash helps growth, if it goes on: a bounded piece of work for each burst.
    #[inline(always)]
    pub(super) fn help(&self, local: &mut Local<E>, hash: u64) {
        if self.root() & GROWING != 0 && local.help > 0 {
            local.help -= 1;
            local.helped = local.helped.wrapping_add(1);
            self.move_on(local, hash);
            if local.helped.is_multiple_of(FRONTIER) {
                self.advance(local, 1);
            }
        }
    }

    /// Moves the chain of head number `at` of the array of `size` heads, from which growth goes on. False: there are no
    /// overflow buckets.
    fn migrate(&self, local: &mut Local<E>, size: u64, at: u64) -> bool {
        let head = self.head_in(size, at);
        if self.has_moved(head) {
            return true;
        }
        let bit = size.trailing_zeros() - self.geometry.tag_shift;
        let mut words = [[0; MAX_CHAIN * SLOTS]; 2];
        let mut n = [0; 2];
        let mut chained = [0; MAX_CHAIN - 1];
        let mut length = 0;
        let mut bucket = head;
        loop {
            for slot in &bucket.slots {
                // Acquire: the entry, whose slot we publish again. Release: whoever meets the frozen word knows of growth.
                let freeze = order("freeze-relaxed", Ordering::AcqRel);
                let seen = match mutated("slot-not-frozen") {
                    true => slot.load(Ordering::Acquire),
                    false => slot.fetch_or(FROZEN, freeze),
                };
                passing("move-slot-frozen");
                let word = bucket::thawed(seen);
                if bucket::occupied(word) && !self.filtered(word) {
                    let side = (bucket::tag_of(word) >> bit & 1) as usize;
                    words[side][n[side]] = word;
                    n[side] += 1;
                }
            }
            // AcqRel: as above; with the link comes the bucket.
            let seen = match mutated("meta-not-frozen") {
                true => bucket.meta.load(Ordering::Acquire),
                false => bucket.meta.fetch_or(meta::FROZEN, Ordering::AcqRel),
            };
            passing("move-bucket-frozen");
            let Some(over) = meta::link(seen) else { break };
            // A chain has at most MAX_CHAIN buckets (I5).
            let Some(place) = chained.get_mut(length) else {
                self.count.bounds.add(1);
                return false;
            };
            *place = over;
            length += 1;
            bucket = self.over(over);
        }
        let early =
            mutated("moved-early") && head.meta.fetch_or(meta::MOVED, Ordering::Release) & meta::MOVED == 0;
        if mutated("moved-retires-early") {
            chained[..length].iter().for_each(|over| self.retire_bucket(local, *over));
        }
        for (side, words) in words.iter().enumerate() {
            if !self.fill(local, self.head_in(2 * size, at + side as u64 * size), &words[..n[side]]) {
                return false;
            }
            passing(if side == 0 { "move-half-copied" } else { "move-copied" });
        }
        // Release: the copies.
        let seen = head.meta.fetch_or(meta::MOVED, order("moved-relaxed", Ordering::Release));
        passing("move-moved");
        // The first to say so takes away the old chain: nobody who enters from now on walks along it.
        if (seen & meta::MOVED == 0 || early || mutated("moved-by-all")) && !mutated("moved-retires-early") {
            chained[..length].iter().for_each(|over| self.retire_bucket(local, *over));
        }
        true
    }

    /// A defect: not to copy what is dead already.
    fn filtered(&self, word: u64) -> bool {
        use super::word::{DEAD, life};
        mutated("move-no-dead")
            && life(self.entry(bucket::index(word)).word().load(Ordering::Acquire)) == DEAD
    }

    /// Fills a head of the next array with these words, if nobody has. False: there are no overflow buckets.
    fn fill(&self, local: &mut Local<E>, head: &Bucket, words: &[u64]) -> bool {
        for (i, slot) in head.slots.iter().enumerate() {
            let word = words.get(i).copied().unwrap_or(EMPTY);
            if mutated("fill-blind") {
                slot.store(word, Ordering::Release);
                continue;
            }
            // Release: pairs with the Acquire of `tagged`. A failure: somebody was faster, with the same word.
            let _ = slot.compare_exchange(UNINIT, word, Ordering::Release, Ordering::Relaxed);
            passing("fill-slot");
        }
        passing("fill-slots");
        // Acquire: with what another has linked comes its contents, which our MOVED will stand for.
        if head.meta.load(Ordering::Acquire) != 0 {
            return true;
        }
        let rest = words.get(SLOTS..).unwrap_or(&[]);
        let needed = rest.len().div_ceil(SLOTS);
        if !self.fetch_spares(local, needed) {
            return false;
        }
        let buckets = &local.spares.buckets[..local.spares.n];
        let buckets = &buckets[buckets.len() - needed..];
        for (i, words) in rest.chunks(SLOTS).enumerate() {
            open(self.over(buckets[i]), words, buckets.get(i + 1).copied());
            passing("fill-spare");
        }
        let marks = rest.iter().fold(0, |marks, word| marks | meta::mark(bucket::tag_of(*word)));
        let marks = if mutated("fill-unmarked") { 0 } else { marks };
        let ready = meta::with_link(meta::INIT, buckets.first().copied()) | marks;
        // Release: the contents of the overflow buckets; pairs with `walk`.
        let release = order("fill-link-relaxed", Ordering::Release);
        if head.meta.compare_exchange(0, ready, release, Ordering::Acquire).is_ok() {
            local.spares.n -= needed;
        }
        true
    }

    /// Makes sure of this many spare overflow buckets.
    fn fetch_spares(&self, local: &mut Local<E>, needed: usize) -> bool {
        let Spares { buckets, n } = &mut local.spares;
        while *n < needed {
            let link = |o: u32| &self.over_link[o as usize];
            let taken = self.pool.pop(self.growth.overflow.get() as u32, &mut buckets[*n..needed], link);
            if taken == 0 {
                self.count.overflow_exhausted.add(1);
                return false;
            }
            self.pool_popped.add(taken as u64);
            *n += taken;
        }
        true
    }

    /// Gives the spare overflow buckets back.
    pub(super) fn flush_spares(&self, spares: &mut Spares) {
        for &over in &spares.buckets[..spares.n] {
            let list = super::stack::List { first: over, last: over };
            self.pool.push(list, |o| &self.over_link[o as usize]);
            self.pool_returned.add(1);
        }
        spares.n = 0;
    }

    /// Overflow buckets that there are, at least, when this many heads are in use.
    pub(super) fn overflow_for(&self, size: u64) -> u32 {
        let Geometry { buckets, overflow, workers, most_overflow, .. } = self.geometry;
        let doublings = (size / u64::from(buckets)).trailing_zeros();
        Geometry::overflow_after(overflow, doublings, workers).min(most_overflow)
    }

    /// Moves the next `n` chains from the frontier on; when all have moved, growth ends. False: there are no overflow
    /// buckets.
    pub(super) fn advance(&self, local: &mut Local<E>, n: u64) -> bool {
        let root = self.root();
        if root & GROWING == 0 {
            return true;
        }
        let size = root & SIZE;
        let (start, end) = (self.start(size), self.start(size) + size);
        // Relaxed: a stale value costs a look at heads that have moved.
        let from = self.growth.done.load(Ordering::Relaxed).max(start);
        let to = from.saturating_add(n).min(end);
        for at in from..to {
            if !self.migrate(local, size, at - start) {
                return false;
            }
        }
        // Release: we know of the copies of all heads before. Acquire: so did who came before us.
        let done = self.growth.done.fetch_max(to, order("done-relaxed", Ordering::AcqRel)).max(to);
        passing("grow-advanced");
        if done >= end || mutated("end-early") {
            // Release: all copies. A failure: another was faster. An array is in use once, so no late helper succeeds.
            let release = order("root-relaxed", Ordering::Release);
            if mutated("end-blind") {
                self.root.0.store(2 * size, release);
            }
            // Before the exchange: who sleeps between the two must not keep them from inserts. Nobody needs them for copies any more.
            self.growth.open.raise(self.overflow_for(2 * size).into());
            passing("grow-opened");
            let _ = self.root.0.compare_exchange(root, 2 * size, release, Ordering::Relaxed);
            passing("grow-ended");
        }
        true
    }
}
