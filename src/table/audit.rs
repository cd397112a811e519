//! What the table counts about itself, and the audit of a quiescent table.

#[cfg(any(test, fuzzing))]
use std::collections::HashMap;

#[cfg(any(test, fuzzing, feature = "internals"))]
use super::bucket::{self, meta};
#[cfg(any(test, fuzzing))]
use super::bucket::{CLOSED, EMPTY};
#[cfg(any(test, fuzzing))]
use super::word::{LIVE, life};
use super::{Core, Entry};
#[cfg(any(test, fuzzing))]
use super::{Local, MAX_CHAIN};
use crate::sync::Counter;
#[cfg(any(test, fuzzing, feature = "internals"))]
use crate::sync::Ordering;

/// Rare events, one counter each.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) chain_too_long: Counter,
    pub(super) overflow_exhausted: Counter,
    pub(super) attempts: Counter,
    pub(super) restarts: Counter,
    pub(super) bounds: Counter,
    pub(super) lost: Counter,
}

/// A glance at the table: approximate while others work, exact when they do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stats {
    pub entries: u64,
    /// Not allocated and not waiting for the epoch; those in the caches of workers do not count as free.
    pub free: u64,
    /// Retired, and not free before every thread entered meanwhile has left.
    pub waiting: u64,
    pub overflow: u64,
    /// Overflow buckets linked or waiting for the epoch.
    pub overflow_used: u64,
    /// Inserts that met a full chain.
    pub chain_too_long: u64,
    /// Inserts that found no overflow bucket.
    pub overflow_exhausted: u64,
    /// Inserts that lost too often.
    pub attempts_exhausted: u64,
    /// Attempts that lost.
    pub restarts: u64,
    /// Other loops that met their bound: harmless, and never seen.
    pub bounds: u64,
    /// Slots that were not where they must be: an error in the table.
    pub lost: u64,
}

impl<E: Entry> Core<E> {
    pub(crate) fn stats(&self) -> Stats {
        let back = self.recycled.get() + self.recycled_unused.get();
        let entries = u64::from(self.entries());
        Stats {
            entries,
            free: (entries + back).saturating_sub(self.popped.get()).min(entries),
            waiting: self.waiting(),
            overflow: self.growth.overflow.get(),
            overflow_used: self.pool_popped.get().saturating_sub(self.pool_returned.get()),
            chain_too_long: self.count.chain_too_long.get(),
            overflow_exhausted: self.count.overflow_exhausted.get(),
            attempts_exhausted: self.count.attempts.get(),
            restarts: self.count.restarts.get(),
            bounds: self.count.bounds.get(),
            lost: self.count.lost.get(),
        }
    }
}

/// Where the slots of a table stand.
#[cfg(feature = "internals")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chains {
    /// Head buckets, and how many of them have an overflow bucket behind them.
    pub heads: u64,
    /// See `heads`.
    pub linked: u64,
    /// Occupied slots: all, those of first overflow buckets, those of further ones.
    pub slots: u64,
    /// See `slots`.
    pub second: u64,
    /// See `slots`.
    pub further: u64,
}

#[cfg(feature = "internals")]
impl<E: Entry> Core<E> {
    /// Walks along all chains. Right while nobody changes them, and no growth goes on.
    pub(crate) fn chains(&self) -> Chains {
        let mut chains = Chains { heads: self.size(), ..Chains::default() };
        for head in 0..chains.heads {
            let mut bucket = self.head_in(chains.heads, head);
            for length in 0..super::MAX_CHAIN {
                let occupied =
                    |slot: &&crate::sync::AtomicU64| bucket::occupied(slot.load(Ordering::Acquire));
                let slots = bucket.slots.iter().filter(occupied).count() as u64;
                chains.slots += slots;
                match length {
                    0 => {}
                    1 => chains.second += slots,
                    _ => chains.further += slots,
                }
                let Some(over) = meta::link(bucket.meta.load(Ordering::Acquire)) else { break };
                chains.linked += u64::from(length == 0);
                bucket = self.over(over);
            }
        }
        chains
    }
}

#[cfg(any(test, fuzzing))]
impl<E: Entry> Core<E> {
    /// Accounts for every slot, overflow bucket and index exactly once. `locals` are all that exist; nobody may be at
    /// work, and everything retired must have been reclaimed. `unconfirmed` entries are in the caller's hands.
    pub(crate) fn audit(&self, locals: &[&Local<E>], unconfirmed: &[u32]) -> Result<Audit, String> {
        let mut audit = Audit::default();
        let mut index_at: HashMap<u32, &str> = HashMap::new();
        let mut bucket_at: HashMap<u32, &str> = HashMap::new();
        let mut put = |index, place| match index_at.insert(index, place) {
            Some(other) => Err(format!("entry {index}: {place} and {other}")),
            None => Ok(()),
        };
        let link = |i: u32| self.entries[i as usize].link();
        for index in follow(self.free.first(), self.entries() as usize, link)? {
            put(index, "free")?;
            audit.free += 1;
        }
        for index in self.free.used(self.entries())..self.entries() {
            put(index, "fresh")?;
            audit.free += 1;
        }
        for local in locals {
            for &index in &local.cache[..local.cached] {
                put(index, "cached")?;
                audit.cached += 1;
            }
        }
        for &index in unconfirmed {
            put(index, "unconfirmed")?;
        }
        for index in 0..self.entries() {
            if life(self.entry(index).word().load(Ordering::Acquire)) == LIVE {
                put(index, "live")?;
                audit.live += 1;
            }
        }
        if let Some(list) = self.retired.iter().find_map(|retired| retired.indices.chain.peek()) {
            return Err(format!("still retired: {list:?}"));
        }
        if index_at.len() != self.entries() as usize {
            return Err(format!("{} of {} entries accounted for", index_at.len(), self.entries()));
        }

        let mut put = |over, place| match bucket_at.insert(over, place) {
            Some(other) => Err(format!("overflow bucket {over}: {place} and {other}")),
            None => Ok(()),
        };
        let over_link = |o: u32| &self.over_link[o as usize];
        let overflow = self.growth.overflow.get() as u32;
        for over in follow(self.pool.first(), overflow as usize, over_link)? {
            put(over, "pool")?;
        }
        for over in self.pool.used(overflow)..overflow {
            put(over, "fresh")?;
        }
        let mut spares = 0;
        for local in locals {
            for &over in local.spares.all() {
                put(over, "spare")?;
                spares += 1;
            }
        }
        let mut slots = 0;
        self.audit_arrays()?;
        for head in 0..self.size() {
            let mut at = self.head_in(self.size(), head);
            let marks = at.meta.load(Ordering::Acquire);
            if marks != meta::INIT && meta::link(marks).is_none() {
                return Err(format!("head {head} has nothing behind it and {marks:#x}"));
            }
            let mut length = 1;
            loop {
                slots += self.audit_bucket(at, head, if length == 1 { u64::MAX } else { marks })?;
                let meta = at.meta.load(Ordering::Acquire);
                let Some(over) = meta::link(meta) else { break };
                put(over, "linked")?;
                audit.linked += 1;
                length += 1;
                at = self.over(over);
                if at.meta.load(Ordering::Acquire) & meta::CLOSED != 0 {
                    return Err(format!("closed overflow bucket {over} still linked"));
                }
                if at.slots.iter().all(|slot| !bucket::occupied(slot.load(Ordering::Acquire))) {
                    return Err(format!("empty overflow bucket {over} still linked"));
                }
            }
            audit.longest = audit.longest.max(length);
        }
        if audit.longest > MAX_CHAIN {
            return Err(format!("a chain of {} buckets", audit.longest));
        }
        if let Some(list) = self.retired.iter().find_map(|retired| retired.buckets.chain.peek()) {
            return Err(format!("buckets still retired: {list:?}"));
        }
        if bucket_at.len() != overflow as usize {
            return Err(format!("{} of {overflow} overflow buckets", bucket_at.len()));
        }

        let mut expected = 0;
        for index in 0..self.entries() {
            let entry = self.entry(index);
            if life(entry.word().load(Ordering::Acquire)) != LIVE {
                continue;
            }
            let dirs = if self.key(index, 0) == self.key(index, 1) { 1 } else { 2 };
            for dir in 0..dirs {
                let key = self.key(index, dir);
                let hit = self.lookup(locals.first().ok_or("no local")?, self.hash(&key), &key);
                if hit.is_none_or(|hit| (hit.index, hit.dir) != (index, dir)) {
                    return Err(format!("entry {index}: direction {dir} leads to {hit:?}"));
                }
                expected += 1;
            }
        }
        if slots != expected {
            return Err(format!("{slots} occupied slots, {expected} expected"));
        }
        match self.stats() {
            stats if stats.lost > 0 => Err(format!("lost slots: {stats:?}")),
            stats if stats.waiting > 0 => Err(format!("still waiting: {stats:?}")),
            stats if stats.free != audit.free => Err(format!("free miscounted: {stats:?}, {audit:?}")),
            stats if stats.overflow_used != audit.linked + spares => {
                Err(format!("overflow miscounted: {stats:?}, {audit:?}"))
            }
            _ => Ok(audit),
        }
    }

    /// Growth is over; nothing of it is left undone, and what is to come is untouched. (In models nothing is given back.)
    fn audit_arrays(&self) -> Result<(), String> {
        let (left, size) = (self.left_behind() as usize, self.size() as usize);
        if self.is_growing() {
            return Err("still growing".into());
        }
        if self.growth.free.get() as usize != left {
            return Err(format!("{left} heads left behind, {} released", self.growth.free.get()));
        }
        let metas = |heads: &[bucket::Bucket], meta| {
            heads.iter().all(|head| head.meta.load(Ordering::Acquire) & meta::MOVED == meta)
        };
        if cfg!(conntab_loom) && !metas(&self.heads[..left], meta::MOVED) {
            return Err("a chain that was left behind".into());
        }
        if !metas(&self.heads[left..left + size], 0) {
            return Err("a chain that has moved away".into());
        }
        let words = self.heads[left + size..].iter().flat_map(|head| head.slots.iter().chain([&head.meta]));
        match words.filter(|word| word.load(Ordering::Acquire) != bucket::UNINIT).count() {
            0 => Ok(()),
            n => Err(format!("{n} words of an array that is not in use")),
        }
    }

    /// The occupied slots of one bucket, each of which must belong here and have its mark (B1).
    fn audit_bucket(&self, bucket: &bucket::Bucket, head: u64, marks: u64) -> Result<u64, String> {
        let mut occupied = 0;
        for slot in &bucket.slots {
            let word = slot.load(Ordering::Acquire);
            if bucket::occupied(word) {
                let (index, dir) = (bucket::index(word), bucket::dir(word));
                let hash = self.hash(&self.key(index, dir));
                if hash & (self.size() - 1) != head || bucket::slot(index, dir, self.tag(hash)) != word {
                    return Err(format!("slot {word:#x} does not belong into bucket {head}"));
                }
                if marks & meta::mark(bucket::tag_of(word)) == 0 {
                    return Err(format!("slot {word:#x} behind bucket {head} has no mark: {marks:#x}"));
                }
                occupied += 1;
            } else if word != EMPTY && word != CLOSED {
                return Err(format!("slot word {word:#x}"));
            }
        }
        Ok(occupied)
    }
}

#[cfg(any(test, fuzzing))]
/// The indices of a list; an error if it does not end.
fn follow<'a>(
    first: Option<u32>,
    limit: usize,
    link: impl Fn(u32) -> &'a crate::sync::AtomicU32,
) -> Result<Vec<u32>, String> {
    let mut indices = Vec::new();
    let mut next = first;
    while let Some(index) = next {
        if indices.len() == limit {
            return Err("a list that does not end".into());
        }
        indices.push(index);
        next = link(index).load(Ordering::Acquire).checked_sub(1);
    }
    Ok(indices)
}

/// What an audit found, everything accounted for.
#[cfg(any(test, fuzzing))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    pub live: u64,
    pub free: u64,
    pub cached: u64,
    /// Overflow buckets in chains.
    pub linked: u64,
    /// Buckets of the longest chain.
    pub longest: usize,
}
