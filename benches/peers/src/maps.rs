//! The maps of Rust: papaya, scc's `HashMap` and `HashIndex`, dashmap.
//!
//! Set up for their best at this work:
//! - **Hash**: ahash with fixed seeds, called as conntab calls it: two addresses and a word.
//! - **Entry**: inline in the map, 128 bytes on two lines of its own. The word that a hit stores stands beside the key, in the
//!   key's line, as an atomic that neither hash nor equality looks at: a hit touches one line of the entry. (A map from keys
//!   to indices of an array would touch a line more.)
//! - **Guards** (papaya, scc): held for 32 calls. dashmap and scc's `HashMap` lock a shard or a bucket in each call, and scc's
//!   `HashIndex` takes its guard where the key is to be reached (`peek_with`; nested in ours, it is a counter).
//! - **Size**: capacity for all flows from the beginning; in `insert-grow`, none. dashmap has 64 shards: with fewer, two threads
//!   meet more often.
//! - **Memory**: mimalloc, told to use huge pages and to give nothing back (`main.rs`).
//!
//! None has a call for many keys: a burst is 32 calls under one guard, and `burst32` can only differ from `single` by chance.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use ahash::RandomState;

use crate::{BURST, Hands, Key, Name, Peer, Size};

/// The key alone: what is looked up.
#[derive(PartialEq, Eq)]
#[repr(transparent)]
struct Bare(Key);

impl Bare {
    #[inline(always)]
    fn of(key: &Key) -> &Self {
        // SAFETY: `Bare` is transparent over `Key`.
        unsafe { &*std::ptr::from_ref(key).cast() }
    }
}

impl Hash for Bare {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let key = &self.0;
        state.write_u128(u128::from(key[0]) | u128::from(key[1]) << 64);
        state.write_u128(u128::from(key[2]) | u128::from(key[3]) << 64);
        state.write_u64(key[4]);
    }
}

/// First line of an entry.
#[repr(C, align(64))]
struct First {
    key: Bare,
    expires: AtomicU32,
}

/// Second line.
#[repr(C, align(64))]
struct Second([u64; 8]);

const _: () = assert!(size_of::<(First, Second)>() == 128);

impl First {
    fn new(key: &Key, now: u32) -> Self {
        Self { key: Bare(*key), expires: AtomicU32::new(now) }
    }
}

impl Borrow<Bare> for First {
    #[inline]
    fn borrow(&self) -> &Bare {
        &self.key
    }
}

impl Hash for First {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl PartialEq for First {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for First {}

fn hasher() -> RandomState {
    RandomState::with_seeds(1, 2, 3, 4)
}

/// What the maps have in common; `burst` is at most [`BURST`] calls under one guard.
trait Map: Sync {
    fn burst(&self, keys: &[Key], now: u32) -> usize;
    fn insert(&self, keys: &[Key], now: u32) -> usize;
    fn delete(&self, keys: &[Key]) -> usize;
}

type Papaya = papaya::HashMap<First, Second, RandomState>;

impl Map for Papaya {
    #[inline(always)]
    fn burst(&self, keys: &[Key], now: u32) -> usize {
        let map = self.pin();
        let visit =
            |key| map.get_key_value(Bare::of(key)).map(|(first, _)| first.expires.store(now, Relaxed));
        keys.iter().filter_map(visit).count()
    }

    fn insert(&self, keys: &[Key], now: u32) -> usize {
        let map = self.pin();
        keys.iter().filter(|key| map.try_insert(First::new(key, now), Second([0; 8])).is_ok()).count()
    }

    fn delete(&self, keys: &[Key]) -> usize {
        let map = self.pin();
        keys.iter().filter(|key| map.remove(Bare::of(key)).is_some()).count()
    }
}

type SccMap = scc::HashMap<First, Second, RandomState>;

impl Map for SccMap {
    #[inline(always)]
    fn burst(&self, keys: &[Key], now: u32) -> usize {
        let _guard = scc::Guard::new();
        let visit = |key| self.read_sync(Bare::of(key), |first, _| first.expires.store(now, Relaxed));
        keys.iter().filter_map(visit).count()
    }

    fn insert(&self, keys: &[Key], now: u32) -> usize {
        let _guard = scc::Guard::new();
        keys.iter().filter(|key| self.insert_sync(First::new(key, now), Second([0; 8])).is_ok()).count()
    }

    fn delete(&self, keys: &[Key]) -> usize {
        let _guard = scc::Guard::new();
        keys.iter().filter(|key| self.remove_sync(Bare::of(key)).is_some()).count()
    }
}

type SccIndex = scc::HashIndex<First, Second, RandomState>;

impl Map for SccIndex {
    #[inline(always)]
    fn burst(&self, keys: &[Key], now: u32) -> usize {
        let _guard = scc::Guard::new();
        let visit = |key| self.peek_with(Bare::of(key), |first, _| first.expires.store(now, Relaxed));
        keys.iter().filter_map(visit).count()
    }

    fn insert(&self, keys: &[Key], now: u32) -> usize {
        let _guard = scc::Guard::new();
        keys.iter().filter(|key| self.insert_sync(First::new(key, now), Second([0; 8])).is_ok()).count()
    }

    fn delete(&self, keys: &[Key]) -> usize {
        let _guard = scc::Guard::new();
        keys.iter().filter(|key| self.remove_sync(Bare::of(key))).count()
    }
}

type Dash = dashmap::DashMap<First, Second, RandomState>;

impl Map for Dash {
    #[inline(always)]
    fn burst(&self, keys: &[Key], now: u32) -> usize {
        let visit = |key| self.get(Bare::of(key)).map(|entry| entry.key().expires.store(now, Relaxed));
        keys.iter().filter_map(visit).count()
    }

    fn insert(&self, keys: &[Key], now: u32) -> usize {
        keys.iter().filter(|key| self.insert(First::new(key, now), Second([0; 8])).is_none()).count()
    }

    fn delete(&self, keys: &[Key]) -> usize {
        keys.iter().filter(|key| self.remove(Bare::of(key)).is_some()).count()
    }
}

fn capacity(size: Size) -> usize {
    if size.grow { 0 } else { size.flows }
}

/// papaya's map.
pub fn papaya(size: Size) -> Result<Box<dyn Peer>, String> {
    Ok(Box::new(Of(Papaya::with_capacity_and_hasher(capacity(size), hasher()))))
}

/// scc's map: a lock in each bucket.
pub fn scc_map(size: Size) -> Result<Box<dyn Peer>, String> {
    Ok(Box::new(Of(SccMap::with_capacity_and_hasher(capacity(size), hasher()))))
}

/// scc's index: readers take no lock.
pub fn scc_index(size: Size) -> Result<Box<dyn Peer>, String> {
    Ok(Box::new(Of(SccIndex::with_capacity_and_hasher(capacity(size), hasher()))))
}

/// dashmap: a lock in each shard.
pub fn dashmap(size: Size) -> Result<Box<dyn Peer>, String> {
    let map = Dash::with_capacity_and_hasher_and_shard_amount(capacity(size), hasher(), 64);
    Ok(Box::new(Of(map)))
}

struct Of<M>(M);

impl<M: Map> Peer for Of<M> {
    fn hands(&self, _: usize) -> Box<dyn Hands + '_> {
        Box::new(On(&self.0))
    }
}

struct On<'m, M>(&'m M);

impl<M: Map> Hands for On<'_, M> {
    fn single(&mut self, keys: &[Key], flows: &[u32], now: u32) -> usize {
        self.burst(keys, flows, now)
    }

    fn burst(&mut self, keys: &[Key], _: &[u32], now: u32) -> usize {
        keys.chunks(BURST).map(|keys| self.0.burst(keys, now)).sum()
    }

    fn insert(&mut self, keys: &[Key], _: &mut [Name], now: u32) -> usize {
        keys.chunks(BURST).map(|keys| self.0.insert(keys, now)).sum()
    }

    fn delete(&mut self, keys: &[Key], _: &[Name]) -> usize {
        keys.chunks(BURST).map(|keys| self.0.delete(keys)).sum()
    }
}
