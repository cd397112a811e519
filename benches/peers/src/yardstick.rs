//! What memory allows: the access patterns of an ideal table, without what makes it a table.
//!
//! | name | per key |
//! |---|---|
//! | `z32` | hash the key; read one bucket line out of a region of the same bytes as conntab's index in that row (head and overflow buckets); then the entry line, whose index depends on what was read; compare the 40 bytes; store |
//! | `z32small` | the same with a region of half the size: that of conntab's index with one key per flow (`onekey`) |
//! | `y32` | the entry line alone, its index known; compare, store |
//!
//! In bursts each step is done for all 32 keys, the next line being prefetched, before the next step begins. `single` takes
//! the keys one by one (the processor overlaps what it can). The keys are found: each is compared with its own.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::memory::{Area, prefetch};
use crate::{BURST, Hands, Key, Name, Peer, Size, keys};

/// As conntab's: key and what is stored in the first of two lines.
#[repr(C, align(128))]
struct Entry {
    key: [AtomicU64; 5],
    expires: AtomicU32,
}

#[repr(C, align(64))]
struct Bucket([AtomicU32; 16]);

struct Yardstick {
    buckets: Option<Area>,
    lines: u64,
    entries: Area,
    flows: usize,
    hasher: ahash::RandomState,
}

/// ahash as conntab calls it.
#[inline(always)]
pub(crate) fn hash(state: &ahash::RandomState, key: &Key) -> u64 {
    let mut hasher = state.build_hasher();
    hasher.write_u128(u128::from(key[0]) | u128::from(key[1]) << 64);
    hasher.write_u128(u128::from(key[2]) | u128::from(key[3]) << 64);
    hasher.write_u64(key[4]);
    hasher.finish()
}

/// See the head of the file.
pub fn z32(size: Size) -> Result<Box<dyn Peer>, String> {
    make(size, Some(crate::conntab::index_bytes(size.flows, true)))
}

/// See the head of the file.
pub fn z32small(size: Size) -> Result<Box<dyn Peer>, String> {
    make(size, Some(crate::conntab::index_bytes(size.flows, false)))
}

/// See the head of the file.
pub fn y32(size: Size) -> Result<Box<dyn Peer>, String> {
    make(size, None)
}

fn make(size: Size, index: Option<usize>) -> Result<Box<dyn Peer>, String> {
    let entries = Area::new(size.flows * size_of::<Entry>());
    let yardstick = Yardstick {
        lines: (index.unwrap_or(0) / size_of::<Bucket>()) as u64,
        buckets: index.map(Area::new),
        entries,
        flows: size.flows,
        hasher: ahash::RandomState::with_seeds(1, 2, 3, 4),
    };
    for (id, entry) in yardstick.entries().iter().enumerate() {
        for (word, value) in entry.key.iter().zip(keys::key(id as u64)) {
            word.store(value, Relaxed);
        }
    }
    Ok(Box::new(yardstick))
}

impl Yardstick {
    fn entries(&self) -> &[Entry] {
        // SAFETY: the area holds so many, aligned to a page and zeroed, which is valid for atomics.
        unsafe { std::slice::from_raw_parts(self.entries.base().cast(), self.flows) }
    }

    fn buckets(&self) -> &[Bucket] {
        let Some(area) = &self.buckets else { return &[] };
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(area.base().cast(), self.lines as usize) }
    }
}

struct Run<'y> {
    yardstick: &'y Yardstick,
    buckets: &'y [Bucket],
    entries: &'y [Entry],
}

impl Peer for Yardstick {
    fn hands(&self, _: usize) -> Box<dyn Hands + '_> {
        Box::new(Run { yardstick: self, buckets: self.buckets(), entries: self.entries() })
    }
}

impl Run<'_> {
    /// The line of a hash, by its upper half: the region's length is no power of two.
    #[inline(always)]
    fn line(&self, hash: u64) -> usize {
        (((hash >> 32) * self.buckets.len() as u64) >> 32) as usize
    }

    /// What is read depends on the hash and is 0, which only memory knows: so the entry's index depends on it.
    #[inline(always)]
    fn read(&self, hash: u64, line: usize) -> usize {
        self.buckets[line].0[hash as usize & 15].load(Relaxed) as usize
    }

    #[inline(always)]
    fn visit(&self, index: usize, key: &Key, now: u32) -> usize {
        let entry = &self.entries[index];
        let differ = entry.key.iter().zip(key).fold(0, |differ, (a, b)| differ | (a.load(Relaxed) ^ b));
        if differ == 0 {
            entry.expires.store(now, Relaxed);
        }
        usize::from(differ == 0)
    }
}

impl Hands for Run<'_> {
    fn single(&mut self, keys: &[Key], flows: &[u32], now: u32) -> usize {
        let mut found = 0;
        for (key, &flow) in keys.iter().zip(flows) {
            let mut index = flow as usize;
            if !self.buckets.is_empty() {
                let hash = hash(&self.yardstick.hasher, key);
                index += self.read(hash, self.line(hash));
            }
            found += self.visit(index, key, now);
        }
        found
    }

    fn burst(&mut self, keys: &[Key], flows: &[u32], now: u32) -> usize {
        let mut found = 0;
        for (keys, flows) in keys.chunks(BURST).zip(flows.chunks(BURST)) {
            let mut index = [0; BURST];
            if self.buckets.is_empty() {
                for (index, flow) in index.iter_mut().zip(flows) {
                    *index = *flow as usize;
                    prefetch(self.entries.as_ptr().wrapping_add(*index));
                }
            } else {
                let mut hashes = [0; BURST];
                for (hashed, key) in hashes.iter_mut().zip(keys) {
                    *hashed = hash(&self.yardstick.hasher, key);
                    prefetch(self.buckets.as_ptr().wrapping_add(self.line(*hashed)));
                }
                for ((index, hash), flow) in index.iter_mut().zip(&hashes).zip(flows) {
                    *index = *flow as usize + self.read(*hash, self.line(*hash));
                    prefetch(self.entries.as_ptr().wrapping_add(*index));
                }
            }
            for (index, key) in index.iter().zip(keys) {
                found += self.visit(*index, key, now);
            }
        }
        found
    }

    fn insert(&mut self, keys: &[Key], _: &mut [Name], _: u32) -> usize {
        // Its flows are there from the beginning.
        keys.len()
    }

    fn delete(&mut self, _: &[Key], _: &[Name]) -> usize {
        unreachable!("a yardstick is no table")
    }
}
