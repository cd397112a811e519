//! Tests of the table: a small entry and hashers for all of them, and one file for each kind of test. Of these `plain` is also
//! what `fuzz/` plays.
#![cfg_attr(not(test), allow(dead_code, reason = "the tests use the rest"))]

#[cfg(all(test, not(conntab_loom)))]
mod basic;
#[cfg(all(test, not(conntab_loom)))]
mod growth;
#[cfg(conntab_loom)]
mod models;
#[cfg(all(test, not(conntab_loom)))]
pub(super) mod pins;
#[cfg(not(conntab_loom))]
pub(crate) mod plain;
#[cfg(all(test, not(conntab_loom)))]
mod random;
#[cfg(all(test, not(conntab_loom)))]
mod stress;

use super::{Entry, Geometry, Hit, Insert, KeyHash, Local, Table};
use crate::memory::{Options, Zeroed};
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Keys are written once, before they can be seen: plain loom atomics, so that the models stay small.
#[cfg(conntab_loom)]
type KeyWord = loom::sync::atomic::AtomicU64;
#[cfg(not(conntab_loom))]
type KeyWord = AtomicU64;

/// An entry whose keys are numbers. Own bits of the word: an expiry tick in 32..=63, 0 for never.
#[derive(Default)]
#[cfg_attr(not(conntab_loom), repr(C, align(128)))]
pub(super) struct Item {
    word: AtomicU64,
    generation: AtomicU32,
    link: AtomicU32,
    keys: [KeyWord; 2],
}

// SAFETY: atomics alone.
unsafe impl Zeroed for Item {}

impl Entry for Item {
    type Key = u64;
    type Hasher = Hasher;

    fn word(&self) -> &AtomicU64 {
        &self.word
    }

    fn generation(&self) -> &AtomicU32 {
        &self.generation
    }

    fn link(&self) -> &AtomicU32 {
        &self.link
    }

    fn key(&self, _: &Self::Hasher, _: u32, dir: u32) -> u64 {
        self.keys[dir as usize].load(Ordering::Relaxed)
    }

    fn key_eq(&self, context: &Self::Hasher, index: u32, dir: u32, key: &u64) -> bool {
        self.key(context, index, dir) == *key
    }

    fn expired(word: u64, now: u32) -> bool {
        let at = (word >> 32) as u32;
        at != 0 && at <= now
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hasher {
    /// The key itself: a test chooses buckets and tags.
    Identity,
    /// A good hash.
    Mixed,
    /// Few buckets, few tags: collisions everywhere.
    Weak,
}

impl KeyHash<u64> for Hasher {
    fn hash(&self, key: &u64) -> u64 {
        let mixed = (key ^ key >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match self {
            Hasher::Identity => *key,
            Hasher::Mixed => (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(32),
            Hasher::Weak => (mixed >> 40 & 3) << 8 | mixed >> 50 & 7,
        }
    }
}

pub(super) fn geometry(buckets: u32, overflow: u32, entries: u32, workers: u32) -> Geometry {
    Geometry {
        buckets,
        overflow,
        entries,
        workers,
        tag_shift: 8,
        doublings: 0,
        most_overflow: overflow,
        most_entries: entries,
    }
}

/// One that doubles so often, with what each doubling adds to the overflow buckets.
pub(super) fn growing(from: Geometry, doublings: u32, most_entries: u32, tag_shift: u32) -> Geometry {
    let most_overflow = Geometry::overflow_after(from.overflow, doublings, from.workers);
    Geometry { doublings, most_overflow, most_entries, tag_shift, ..from }
}

pub(super) fn table(geometry: Geometry, hasher: Hasher) -> Table<Item> {
    Table::new(geometry, hasher, Options::default()).expect("memory")
}

/// Allocates an entry with these keys, expiring at `expires` (0: never).
pub(super) fn prepare(
    table: &Table<Item>,
    local: &mut Local<Item>,
    keys: [u64; 2],
    expires: u32,
) -> Option<u32> {
    let index = table.alloc(local)?;
    let item = table.entry(index);
    for (key, slot) in keys.iter().zip(&item.keys) {
        slot.store(*key, Ordering::Relaxed);
    }
    item.word.store(item.word.load(Ordering::Relaxed) | u64::from(expires) << 32, Ordering::Relaxed);
    Some(index)
}

/// Allocates and inserts; the index beside the result.
pub(super) fn insert(table: &Table<Item>, local: &mut Local<Item>, keys: [u64; 2]) -> (u32, Insert) {
    let index = prepare(table, local, keys, 0).expect("an entry");
    (index, table.insert(local, index, 0, &mut |_, _| {}))
}

/// [`super::Core::insert_burst`] of entries whose hashes nobody knows yet.
pub(super) fn insert_burst(
    table: &Table<Item>,
    local: &mut Local<Item>,
    indices: &[u32],
    now: u32,
    results: &mut [Insert],
    expired: &mut impl FnMut(u32, u64),
) {
    let mut burst = [(0, 0); super::MAX_BURST];
    for (place, index) in burst.iter_mut().zip(indices) {
        *place = (*index, table.hash(&table.entry(*index).key(table.context(), *index, 0)));
    }
    table.insert_burst(local, &burst[..indices.len()], now, results, expired);
}

pub(super) fn find(table: &Table<Item>, local: &Local<Item>, key: u64) -> Option<Hit> {
    table.lookup(local, table.hash(&key), &key)
}

/// Reclaims until nothing waits.
pub(super) fn drain(table: &Table<Item>, local: &mut Local<Item>) {
    for _ in 0..100 {
        table.reclaim(local);
    }
}
