//! When it is safe to reuse an index: the epoch. The only file that names crossbeam-epoch.
//!
//! The packet path never defers anything. What it retires joins the retire chain of its worker, intrusively; any
//! thread's [`Core::reclaim`] takes *every* worker's chains (a stopped worker's too) and hands each over with one
//! deferred call, which hangs the chain into the free list with one compare-exchange.
//!
//! crossbeam collects garbage inside `pin`, once every 128 pins of a handle, which would put a burst of frees into
//! the middle of a packet burst. [`Local`] counts its pins and makes the collecting one itself, in `leave`, off the
//! packet path: see [`Local::enter`].
//!
//! Deferred calls own an `Arc` of the table's core, so a collector kept alive by a forgotten `Local` is harmless;
//! the core does not own the collector, or a pending call would keep both alive for ever.

use std::sync::Arc;

use crossbeam_epoch::{Collector, Guard, LocalHandle};

use super::grow::{GROWING, HELP, Spares};
use super::stack::{Chain, List};
use super::{Core, Entry, Error, Table};
use crate::memory::Zeroed;
#[cfg(any(conntab_loom, not(any(target_arch = "x86", target_arch = "x86_64"))))]
use crate::sync::fence;
use crate::sync::{AtomicU32, Counter, Ordering, mutated, passing};

/// Indices kept by a worker, so that the shared free list is met once per many allocations.
pub(super) const CACHE: usize = if cfg!(conntab_loom) { 2 } else { 64 };
/// Indices fetched at once.
const REFILL: usize = CACHE / 2;

/// No more is handed to the epoch while so many calls wait for it: together with those of one `reclaim` they are what its three
/// flushes can run (crossbeam opens eight bags in each).
const BACKLOG: u64 = 16;

/// crossbeam's `PINNINGS_BETWEEN_COLLECT`; `tests::pins` fails if it changes.
const PINS_PER_COLLECT: u64 = 128;

/// The epoch of one table.
pub(super) struct Epoch(Collector);

impl Epoch {
    pub(super) fn new() -> Self {
        Self(Collector::new())
    }
}

/// A retire chain and how many it ever got and gave.
#[derive(Default)]
pub(super) struct Pile {
    pub(super) chain: Chain,
    /// Counted just after the push, so that what is counted is there, or was taken.
    pushed: Counter,
    taken: Counter,
}

impl Pile {
    /// All that is there, and how many more were counted since the last time: over time the sum is exact.
    fn take(&self) -> (Option<List>, u64) {
        let n = self.newly_counted();
        (self.chain.take(), n)
    }

    fn newly_counted(&self) -> u64 {
        self.taken.raise(self.pushed.get())
    }
}

/// What one worker has retired and nobody has taken yet. Invariant (R1): whatever is in a chain was unreachable from
/// every bucket before it was pushed. Models: `retired_means_unreachable`, `retired_bucket_is_unlinked`.
#[cfg_attr(not(conntab_loom), repr(align(64)))]
#[derive(Default)]
pub(super) struct Retired {
    pub(super) indices: Pile,
    pub(super) buckets: Pile,
    /// A `Local` for this worker exists.
    claimed: AtomicU32,
}

// SAFETY: atomics alone, each Zeroed; a `Counter` is one too.
unsafe impl Zeroed for Retired {}

/// One thread's access to a table: its epoch handle, its cache of free indices, the name of its retire chain.
///
/// Any thread may hold it, one at a time. While *entered* (between `enter` and `leave`), nothing that a lookup returned
/// is reused; `enter` again, and it may be.
pub(crate) struct Local<E: Entry> {
    // `guard` before `handle`: dropped first.
    guard: Option<Guard>,
    handle: LocalHandle,
    core: Arc<Core<E>>,
    /// Which of `core.retired`; the last one is shared by all control threads.
    chain: usize,
    /// Pins of `handle` so far.
    pins: u64,
    pub(super) cache: [u32; CACHE],
    pub(super) cached: usize,
    /// Overflow buckets for growth: taken from the pool, never linked.
    pub(super) spares: Spares,
    /// Chains that it will still help to move before it enters again, and how many it has.
    pub(super) help: u32,
    pub(super) helped: u32,
}

// SAFETY: what is not Send by itself is crossbeam's handle and guard: pointers to a heap-allocated participant that
// is linked into its collector and not into any thread-local (only crossbeam's default collector uses those). Its
// non-atomic fields (counts, bag) are touched through the handle and its guards alone. Both are private to this
// struct, never cloned and never lent out, so whoever owns or mutably borrows the `Local` is the only one to touch
// them, and sending it to a thread orders the accesses. The closures in the bag are Send (`Guard::defer` demands it).
unsafe impl<E: Entry> Send for Local<E> {}

impl<E: Entry> Local<E> {
    fn new(table: &Table<E>, chain: usize) -> Self {
        let handle = table.epoch.0.register();
        let core = table.core.clone();
        let mut local = Self {
            guard: None,
            handle,
            core,
            chain,
            pins: 0,
            cache: [0; CACHE],
            cached: 0,
            spares: Spares::default(),
            help: HELP,
            helped: 0,
        };
        // The very first pin collects.
        local.collecting_pin();
        local
    }

    /// Enters, or renews: from here to the next `enter` or `leave`, whatever is found stays what it is.
    ///
    /// The first call pins, later ones repin, which costs a fraction. Neither collects, allocates or frees.
    #[inline]
    pub(crate) fn enter(&mut self) {
        #[cfg(conntab_loom)]
        self.core.epoch_step();
        self.help = HELP;
        let Some(guard) = &mut self.guard else {
            self.guard = Some(self.handle.pin());
            self.pins += 1;
            passing("epoch-entered");
            return;
        };
        guard.repin();
        // `repin` may move us to a newer epoch with a Release store and no fence. A load of ours that was performed
        // before we read the new epoch could then return what was retired in the old one, and be used under the new
        // one, which does not protect it. So: the order that a fresh pin would give. x86 gives it for free: loads
        // stay in order, and the retirer's unlinking is visible before the epoch that we read was.
        #[cfg(any(conntab_loom, not(any(target_arch = "x86", target_arch = "x86_64"))))]
        fence(Ordering::SeqCst);
        #[cfg(not(any(conntab_loom, not(any(target_arch = "x86", target_arch = "x86_64")))))]
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
        passing("epoch-renewed");
    }

    /// Leaves: nothing found before may be used any more. Off the packet path: now and then it collects garbage.
    pub(crate) fn leave(&mut self) {
        self.guard = None;
        passing("epoch-left");
        if self.pins.is_multiple_of(PINS_PER_COLLECT) {
            self.collecting_pin();
        }
    }

    #[inline(always)]
    pub(crate) fn is_entered(&self) -> bool {
        self.guard.is_some()
    }

    /// A pin which may collect.
    fn collecting_pin(&mut self) {
        drop(self.handle.pin());
        self.pins += 1;
    }

    pub(super) fn of(&self, core: &Core<E>) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.core), core)
    }
}

impl<E: Entry> Drop for Local<E> {
    fn drop(&mut self) {
        self.guard = None;
        let core = &*self.core;
        // Cached indices were never reachable since they came back, or not at all: no epoch needed.
        core.flush_cache(&mut self.cache, &mut self.cached);
        core.flush_spares(&mut self.spares);
        // Release: the next holder of this chain sees our counters (they have one writer at a time).
        core.retired[self.chain].claimed.store(0, Ordering::Release);
    }
}

impl<E: Entry> Table<E> {
    /// The access of worker `worker`, below the bound of the geometry; one at a time.
    pub(crate) fn local(&self, worker: u32) -> Result<Local<E>, Error> {
        if worker >= self.geometry.workers {
            return Err(Error::Worker);
        }
        // Acquire: pairs with the Release of the last holder's drop.
        let claimed = &self.retired[worker as usize].claimed;
        if claimed.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(Error::Worker);
        }
        Ok(Local::new(self, worker as usize))
    }

    /// A temporary access for a control thread. Any number may exist; they share one retire chain.
    pub(crate) fn control(&self) -> Local<E> {
        Local::new(self, self.geometry.workers as usize)
    }
}

impl<E: Entry> Core<E> {
    /// Index `index` awaits the epoch. It must be unreachable: both slots cleared (R1).
    pub(super) fn retire(&self, local: &Local<E>, index: u32) {
        self.retire_all(local, std::iter::once(index));
    }

    /// [`Core::retire`] for several, in one piece.
    pub(super) fn retire_all(&self, local: &Local<E>, indices: impl Iterator<Item = u32>) {
        let link = |i: u32| self.entries[i as usize].link();
        let mut list: Option<List> = None;
        let mut n = 0;
        for index in indices {
            #[cfg(conntab_loom)]
            self.assert_unreachable(index);
            let last = match list {
                // Relaxed: published by the push.
                Some(List { first, last }) => {
                    link(index).store(first + 1, Ordering::Relaxed);
                    last
                }
                None => index,
            };
            list = Some(List { first: index, last });
            n += 1;
        }
        let Some(list) = list else { return };
        if mutated("skip-epoch") {
            self.free.push(list, link);
            return;
        }
        self.pile_up(local, &self.retired[local.chain].indices, list, n, link);
    }

    #[cfg(conntab_loom)]
    fn assert_unreachable(&self, index: u32) {
        if self.epoch_matters.load(Ordering::Relaxed) && !mutated("skip-epoch") {
            for dir in 0..2 {
                let hash = self.hash(&self.key(index, dir));
                let slot = self.walk(hash, |bucket, _| {
                    let words = bucket.slots.iter().map(|slot| slot.load(Ordering::Acquire));
                    match words.map(super::bucket::index).any(|other| other == index) {
                        true => std::ops::ControlFlow::Break(()),
                        false => std::ops::ControlFlow::Continue(()),
                    }
                });
                assert!(slot.is_none(), "retired while it can be reached (R1)");
            }
        }
    }

    /// Overflow bucket `over` awaits the epoch. It must be unlinked (R1), or never have been linked.
    pub(super) fn retire_bucket(&self, local: &Local<E>, over: u32) {
        if mutated("bucket-skip-epoch") {
            self.pool.push(List { first: over, last: over }, |o| &self.over_link[o as usize]);
            self.pool_returned.add(1);
            return;
        }
        let pile = &self.retired[local.chain].buckets;
        self.pile_up(local, pile, List { first: over, last: over }, 1, |o| &self.over_link[o as usize]);
    }

    fn pile_up<'a>(
        &self,
        local: &Local<E>,
        pile: &Pile,
        list: List,
        n: u64,
        link: impl Fn(u32) -> &'a AtomicU32,
    ) {
        // A worker's chain has one writer at a time; the control threads share theirs.
        let alone = (local.chain as u32) < self.geometry.workers;
        pile.chain.push(list, link);
        passing("retire-pushed");
        if alone { pile.pushed.add_alone(n) } else { pile.pushed.add(n) }
    }

    /// Entries retired and not yet free again; exact when nobody is retiring.
    pub(crate) fn waiting(&self) -> u64 {
        let retired: u64 = self.retired.iter().map(|retired| retired.indices.pushed.get()).sum();
        retired.saturating_sub(self.recycled.get())
    }

    /// Hands everything retired, by whichever worker, to the epoch, and frees what the epoch has released: all of
    /// it, if no other thread stays entered (at the second call, if one was for long). Leaves first. Returns how many chains
    /// were handed over.
    pub(crate) fn reclaim(&self, local: &mut Local<E>) -> usize {
        local.leave();
        // While growth goes on they are what it was given: inserts may not take them.
        if self.root() & GROWING == 0 {
            self.flush_spares(&mut local.spares);
        }
        self.give_heads_back();
        let empty = |pile: &Pile| pile.chain.peek().is_none();
        let idle = self.retired.iter().all(|retired| empty(&retired.indices) && empty(&retired.buckets));
        if idle && self.all_handed_over() && self.deferred.get() == self.called.get() {
            // Nothing of ours; garbage of crossbeam's own can wait. What was counted only after its list had gone is free.
            for retired in self.retired.iter() {
                self.recycled.add(retired.indices.newly_counted());
                self.pool_returned.add(retired.buckets.newly_counted());
            }
            return 0;
        }
        let mut chains = 0;
        // One step of the epoch per round; a chain is free after two more steps than the one that sealed it.
        for round in 0..3 {
            let guard = local.handle.pin();
            local.pins += 1;
            passing("reclaim-entered");
            // While a thread stays entered, what is retired waits in the chains, which have no end, rather than in as many bags as
            // there are calls of this: afterwards each `flush` would open only eight of them.
            if round == 0 && self.deferred.get().saturating_sub(self.called.get()) <= BACKLOG {
                chains = self.hand_over(&local.core, &guard);
                passing("reclaim-handed");
            }
            #[cfg(conntab_loom)]
            self.epoch_step();
            guard.flush();
            passing("reclaim-flushed");
        }
        local.leave();
        chains
    }

    #[cfg(conntab_loom)]
    fn epoch_step(&self) {
        if self.epoch_matters.load(Ordering::Relaxed) {
            self.epoch_steps.load(Ordering::Relaxed);
        }
    }

    fn hand_over(&self, core: &Arc<Core<E>>, guard: &Guard) -> usize {
        let mut chains = 0;
        for retired in self.retired.iter() {
            // A count without a list: its list went the last time, between the push and the count.
            let (list, n) = retired.indices.take();
            if let Some(list) = list {
                passing("reclaim-taken");
                let core = core.clone();
                guard.defer(move || {
                    passing("reclaim-called");
                    core.free.push(list, |i| core.entries[i as usize].link());
                    passing("reclaim-freed");
                    core.recycled.add(n);
                    core.called.add(1);
                });
                chains += 1;
            } else {
                self.recycled.add(n);
            }
            let (list, n) = retired.buckets.take();
            if let Some(list) = list {
                passing("reclaim-buckets-taken");
                let core = core.clone();
                guard.defer(move || {
                    core.pool.push(list, |o| &core.over_link[o as usize]);
                    core.pool_returned.add(n);
                    core.called.add(1);
                });
                chains += 1;
            } else {
                self.pool_returned.add(n);
            }
        }
        self.deferred.add(chains as u64 + self.hand_over_heads(core, guard));
        chains
    }

    /// Hands what growth has left behind to the epoch: of what is before the array in use, nobody who enters from now on
    /// will read. Returns the number of calls deferred.
    fn hand_over_heads(&self, core: &Arc<Core<E>>, guard: &Guard) -> u64 {
        let left = self.left_behind();
        if self.growth.handed.raise(left) == 0 {
            return 0;
        }
        passing("heads-handed");
        if mutated("array-skip-epoch") {
            self.growth.free.raise(left);
            return 0;
        }
        let core = core.clone();
        guard.defer(move || {
            core.growth.free.raise(left);
            core.called.add(1);
        });
        1
    }

    /// A free entry, private to the caller: UNCONF, generation + 1, its own bits of the word 0.
    ///
    /// None: all are in use, or wait for the epoch ([`Core::waiting`] tells), or sit in other workers' caches.
    pub(crate) fn alloc(&self, local: &mut Local<E>) -> Option<u32> {
        debug_assert!(local.of(self));
        if local.cached == 0 {
            let link = |i: u32| self.entries[i as usize].link();
            local.cached = self.free.pop(self.entries(), &mut local.cache[..REFILL], link);
            passing("alloc-fetched");
            self.popped.add(local.cached as u64);
        }
        local.cached = local.cached.checked_sub(1)?;
        let index = local.cache[local.cached];
        let entry = &self.entries[index as usize];
        // Relaxed, all: the entry is ours, and its publication (the slots) will release.
        let generation = entry.generation().load(Ordering::Relaxed).wrapping_add(1).max(1);
        entry.generation().store(generation, Ordering::Relaxed);
        entry.word().store(super::word::UNCONF, Ordering::Relaxed);
        passing("alloc-taken");
        Some(index)
    }

    /// Takes back an entry from `alloc` that was never given to an insert: at once, for nobody else knows it.
    pub(crate) fn release(&self, local: &mut Local<E>, index: u32) {
        use super::word::{FREE, UNCONF, life, with_life};
        let word = self.entries[index as usize].word();
        // Relaxed: still private.
        let now = word.load(Ordering::Relaxed);
        debug_assert_eq!(life(now), UNCONF);
        if life(now) != UNCONF {
            return;
        }
        word.store(with_life(now, FREE), Ordering::Relaxed);
        if local.cached < CACHE {
            local.cache[local.cached] = index;
            local.cached += 1;
        } else {
            // The detour through the epoch is not needed, but it is the road whose every step is bounded.
            self.retire(local, index);
        }
    }

    fn flush_cache(&self, cache: &mut [u32; CACHE], cached: &mut usize) {
        let link = |i: u32| self.entries[i as usize].link();
        for &index in &cache[..*cached] {
            self.free.push(List { first: index, last: index }, link);
            self.recycled_unused.add(1);
        }
        *cached = 0;
    }
}
