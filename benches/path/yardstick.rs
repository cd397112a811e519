//! The yardstick Z32: what a hash table of connections cannot do without. In bursts of 32 with prefetch: hash a key of
//! 40 bytes, load a random bucket line out of a region as large as conntab's buckets, then the entry line that the
//! bucket names, compare the key, store. No tags, no overflow, no judgement: no table is faster, but for luck.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use conntab_bench::{Clock, Random, prefetch};

use crate::BURST;

/// A key as the table hashes it.
pub type Key = [u64; 5];

#[derive(Clone)]
#[repr(C, align(128))]
struct Entry {
    expires: u64,
    key: Key,
}

#[derive(Clone)]
#[repr(C, align(64))]
struct Bucket([u64; 8]);

pub struct Yardstick {
    buckets: Box<[Bucket]>,
    entries: Box<[Entry]>,
    hasher: ahash::RandomState,
    keys: Box<[Key]>,
    random: Random,
    /// Keeps the compiler from taking the comparisons away.
    equal: u64,
}

/// `n` clones on huge pages, where the system has them.
fn array<T: Clone>(n: usize, value: T) -> Box<[T]> {
    const HUGE: usize = 2 << 20;
    let mut items = Vec::with_capacity(n);
    let (start, bytes) = (items.as_mut_ptr() as usize, n * size_of::<T>());
    let first = start.next_multiple_of(4096);
    if bytes > HUGE {
        // SAFETY: advice about memory of our own, which nobody has touched yet; it changes no content.
        unsafe { libc::madvise(first as *mut _, bytes - (first - start), libc::MADV_HUGEPAGE) };
    }
    items.resize(n, value);
    items.into_boxed_slice()
}

impl Yardstick {
    /// As many buckets and entries as conntab has.
    pub fn new(buckets: usize, entries: usize) -> Self {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut yardstick = Self {
            buckets: array(buckets, Bucket([0; 8])),
            entries: array(entries, Entry { expires: 0, key: [0; 5] }),
            hasher: ahash::RandomState::with_seeds(
                random.word(),
                random.word(),
                random.word(),
                random.word(),
            ),
            keys: vec![[0; 5]; 64 * BURST].into(),
            random,
            equal: 0,
        };
        for bucket in &mut yardstick.buckets {
            bucket.0 = std::array::from_fn(|_| yardstick.random.below(entries) as u64);
        }
        yardstick
    }

    /// `bursts` bursts of random keys, rounded up to what fits: how many, and how long they took.
    pub fn measure(&mut self, bursts: u64) -> (u64, Duration) {
        let chunk = (self.keys.len() / BURST) as u64;
        let chunks = bursts.div_ceil(chunk);
        let mut time = Duration::ZERO;
        for now in 0..chunks {
            for key in &mut self.keys {
                // As of an IPv4 tuple: two words are 0.
                let random = &mut self.random;
                *key = [random.word() >> 32, 0, random.word() >> 32, 0, random.word()];
            }
            let clock = Clock::start();
            self.run(now);
            time += clock.stop();
        }
        (chunks * chunk, time)
    }

    /// The work, for every key.
    fn run(&mut self, now: u64) {
        let mask = self.buckets.len() as u64 - 1;
        let mut equal = 0;
        for keys in self.keys.as_chunks::<BURST>().0 {
            let mut hashes = [0; BURST];
            for (hash, key) in hashes.iter_mut().zip(keys) {
                let mut hasher = self.hasher.build_hasher();
                hasher.write_u128(u128::from(key[0]) | u128::from(key[1]) << 64);
                hasher.write_u128(u128::from(key[2]) | u128::from(key[3]) << 64);
                hasher.write_u64(key[4]);
                *hash = hasher.finish();
                prefetch(&self.buckets[(*hash & mask) as usize]);
            }
            let mut indices = [0; BURST];
            for (index, hash) in indices.iter_mut().zip(&hashes) {
                *index = self.buckets[(hash & mask) as usize].0[(hash >> 61) as usize] as usize;
                prefetch(&self.entries[*index]);
            }
            for (index, key) in indices.iter().zip(keys) {
                let entry = &mut self.entries[*index];
                let differ = entry.key.iter().zip(key).fold(0, |differ, (a, b)| differ | (a ^ b));
                equal += u64::from(differ == 0);
                entry.expires = now;
            }
        }
        self.equal = std::hint::black_box(equal);
    }
}
