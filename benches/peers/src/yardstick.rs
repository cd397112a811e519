//! What memory allows: the access patterns of an ideal table, without what makes it a table.
//!
//! | name | per key |
//! |---|---|
//! | `z32` | hash the key; read one bucket line out of a region of the same bytes as conntab's index in that row (head and overflow buckets); then the entry line, whose index depends on what was read; compare the 40 bytes; store |
//! | `z32small` | the same with a region of half the size: that of conntab's index with one key per flow (`onekey`) |
//! | `y32` | the entry line alone, its index known; compare, store |
//!
//! | `z32over`, `z32smallover` | as `z32` and `z32small`, with the overflow buckets that conntab's aged table of the same size was found to have: the same share of the keys is behind a second bucket line, which the first one names. What an aged table of that geometry can reach at best |
//! | `z32serial` | as `z32over`, and no call begins before the one before it has ended (a key for `single`, else a burst): what is left where the processor, busy with other work between the calls, cannot reach from one into the next |
//!
//! A miss ends at the bucket line, or at the second one, where the head has an overflow bucket.
//!
//! In bursts each step is done for all 32 keys, the next line being prefetched, before the next step begins. `single` takes
//! the keys one by one (the processor overlaps what it can). The keys are found: each is compared with its own.
//!
//! All yardsticks with buckets of one size share their memory. What stands in a bucket line:
//!
//! | words | |
//! |---|---|
//! | 0..=3 | 0: what is added to the number of a flow to get its entry. Only memory knows that it is 0 |
//! | 4 | for a miss: number of the overflow bucket behind this head, and 1; or 0 |
//! | 8..=15 | for a hit, of keys with these bits of the hash: the same where the key is in the overflow bucket, else 0 |

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use ::conntab::bench::Chains;

use conntab_bench::prefetch;

use crate::memory::Area;
use crate::{BURST, Hands, Key, Peer, Size, keys};

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
    /// How many of the lines are heads once [`Peer::chain`] was called; the others are overflow buckets.
    heads: usize,
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
        heads: 0,
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

impl Peer for Yardstick {
    fn hands(&self, _: usize) -> Box<dyn Hands + '_> {
        Box::new(self.plain())
    }

    fn other_hands(&self, _: usize, name: &str) -> Option<Box<dyn Hands + '_>> {
        let (heads, overs) = self.buckets().split_at(self.heads);
        let plain = Plain { buckets: heads, ..self.plain() };
        match name {
            _ if self.heads == 0 => None,
            "z32serial" => Some(Box::new(Over::<true> { plain, overs })),
            _ => Some(Box::new(Over::<false> { plain, overs })),
        }
    }

    fn chain(&mut self, chains: &Chains) {
        let Chains { heads, linked, slots, second, further } = *chains;
        let (share, linked) = ((second + further) as f64 / slots as f64, linked as f64 / heads as f64);
        self.heads = heads as usize;
        let (heads, overs) = self.buckets().split_at(self.heads);
        let mut random = keys::random(7);
        let mut chance =
            |share: f64| (random.word() >> 11) as f64 / (1_u64 << 53) as f64 <= share && share > 0.0;
        for (n, head) in heads.iter().enumerate() {
            // Any of them: conntab takes them from a pool.
            let over = keys::scatter(n as u64, overs.len()) as u32 + 1;
            let is_linked = chance(linked);
            head.0[4].store(if is_linked { over } else { 0 }, Relaxed);
            for word in &head.0[8..] {
                word.store(if is_linked && chance(share / linked) { over } else { 0 }, Relaxed);
            }
        }
    }
}

/// The access of `z32`, `z32small`, `y32`.
#[derive(Clone, Copy)]
struct Plain<'y> {
    hasher: &'y ahash::RandomState,
    buckets: &'y [Bucket],
    entries: &'y [Entry],
}

impl Yardstick {
    fn plain(&self) -> Plain<'_> {
        Plain { hasher: &self.hasher, buckets: self.buckets(), entries: self.entries() }
    }
}

impl Bucket {
    /// 0, which only memory knows: so what is added to it depends on this line.
    #[inline(always)]
    fn zero(&self, hash: u64) -> usize {
        self.0[hash as usize & 3].load(Relaxed) as usize
    }

    /// The overflow bucket in which a key is that is there.
    #[inline(always)]
    fn over(&self, hash: u64) -> Option<usize> {
        self.0[8 + (hash as usize >> 2 & 7)].load(Relaxed).checked_sub(1).map(|over| over as usize)
    }

    /// The overflow bucket behind this one.
    #[inline(always)]
    fn link(&self) -> Option<usize> {
        self.0[4].load(Relaxed).checked_sub(1).map(|over| over as usize)
    }
}

impl Plain<'_> {
    /// `after`: 0, to be known before.
    #[inline(always)]
    fn hash(&self, key: &Key, after: u64) -> u64 {
        hash(self.hasher, &[key[0] ^ after, key[1], key[2], key[3], key[4]])
    }

    /// The line of a hash, by its upper half: the region's length is no power of two.
    #[inline(always)]
    fn line(&self, hash: u64) -> &Bucket {
        &self.buckets[(((hash >> 32) * self.buckets.len() as u64) >> 32) as usize]
    }

    /// The hashes of a burst, their bucket lines asked for.
    #[inline(always)]
    fn hashes(&self, keys: &[Key], after: u64) -> [u64; BURST] {
        let mut hashes = [0; BURST];
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = self.hash(key, after);
            prefetch(self.line(*hash));
        }
        hashes
    }

    #[inline(always)]
    fn fetch(&self, index: usize) {
        prefetch(self.entries.as_ptr().wrapping_add(index));
    }

    /// 0 if the entry has this key.
    #[inline(always)]
    fn visit(&self, index: usize, key: &Key, now: u32) -> u64 {
        let entry = &self.entries[index];
        let differ = entry.key.iter().zip(key).fold(0, |differ, (a, b)| differ | (a.load(Relaxed) ^ b));
        if differ == 0 {
            entry.expires.store(now, Relaxed);
        }
        differ
    }

    /// How many were found, and the same of all as [`Self::visit`] of one.
    #[inline(always)]
    fn visit_all(&self, indices: &[usize], keys: &[Key], now: u32) -> (usize, u64) {
        indices.iter().zip(keys).fold((0, 0), |(found, any), (index, key)| {
            let differ = self.visit(*index, key, now);
            (found + usize::from(differ == 0), any | differ)
        })
    }
}

impl Hands for Plain<'_> {
    fn single(&mut self, keys: &[Key], flows: &[u32], now: u32) -> usize {
        let mut found = 0;
        for (key, &flow) in keys.iter().zip(flows) {
            let mut index = flow as usize;
            if !self.buckets.is_empty() {
                let hash = self.hash(key, 0);
                index += self.line(hash).zero(hash);
            }
            found += usize::from(self.visit(index, key, now) == 0);
        }
        found
    }

    fn burst(&mut self, keys: &[Key], flows: &[u32], now: u32) -> usize {
        let mut found = 0;
        for (keys, flows) in keys.chunks(BURST).zip(flows.chunks(BURST)) {
            let mut indices = [0; BURST];
            if self.buckets.is_empty() {
                for (index, flow) in indices.iter_mut().zip(flows) {
                    *index = *flow as usize;
                    self.fetch(*index);
                }
            } else {
                let hashes = self.hashes(keys, 0);
                for ((index, hash), flow) in indices.iter_mut().zip(hashes).zip(flows) {
                    *index = *flow as usize + self.line(hash).zero(hash);
                    self.fetch(*index);
                }
            }
            found += self.visit_all(&indices, keys, now).0;
        }
        found
    }

    fn miss(&mut self, keys: &[Key], _: &[u32], _: u32) -> usize {
        let mut found = 0;
        for keys in keys.chunks(BURST) {
            let hashes = self.hashes(keys, 0);
            found += hashes.iter().take(keys.len()).map(|hash| self.line(*hash).zero(*hash)).sum::<usize>();
        }
        found
    }
}

/// The access of `z32over`, `z32smallover`, `z32serial`.
struct Over<'y, const SERIAL: bool> {
    plain: Plain<'y>,
    overs: &'y [Bucket],
}

/// The positions of the bits set.
#[inline(always)]
fn bits(mut set: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let first = (set != 0).then(|| set.trailing_zeros() as usize);
        set &= set.wrapping_sub(1);
        first
    })
}

impl<const SERIAL: bool> Over<'_, SERIAL> {
    /// What a call has to wait for: this 0, or nothing.
    #[inline(always)]
    fn after(zero: u64) -> u64 {
        if SERIAL { zero } else { 0 }
    }

    #[inline(always)]
    fn fetch(&self, over: usize) {
        prefetch(self.overs.as_ptr().wrapping_add(over));
    }
}

impl<const SERIAL: bool> Hands for Over<'_, SERIAL> {
    fn single(&mut self, keys: &[Key], flows: &[u32], now: u32) -> usize {
        let (mut found, mut differ) = (0, 0);
        for (key, &flow) in keys.iter().zip(flows) {
            let hash = self.plain.hash(key, Self::after(differ));
            let mut line = self.plain.line(hash);
            if let Some(over) = line.over(hash) {
                line = &self.overs[over];
            }
            differ = self.plain.visit(flow as usize + line.zero(hash), key, now);
            found += usize::from(differ == 0);
        }
        found
    }

    fn burst(&mut self, keys: &[Key], flows: &[u32], now: u32) -> usize {
        let (mut found, mut differ) = (0, 0);
        for (keys, flows) in keys.chunks(BURST).zip(flows.chunks(BURST)) {
            let hashes = self.plain.hashes(keys, Self::after(differ));
            let (mut indices, mut overs, mut further) = ([0; BURST], [0; BURST], 0_u32);
            for (i, flow) in flows.iter().enumerate() {
                let line = self.plain.line(hashes[i]);
                let over = line.over(hashes[i]);
                // Without a branch to guess, as in conntab: entry 0 for those of which nothing is known yet.
                indices[i] = (*flow as usize + line.zero(hashes[i])) * usize::from(over.is_none());
                self.plain.fetch(indices[i]);
                overs[i] = over.unwrap_or(0);
                further |= u32::from(over.is_some()) << i;
            }
            bits(further).for_each(|i| self.fetch(overs[i]));
            for i in bits(further) {
                indices[i] = flows[i] as usize + self.overs[overs[i]].zero(hashes[i]);
                self.plain.fetch(indices[i]);
            }
            let done = self.plain.visit_all(&indices, keys, now);
            (found, differ) = (found + done.0, done.1);
        }
        found
    }

    fn miss(&mut self, keys: &[Key], _: &[u32], _: u32) -> usize {
        let mut found = 0;
        for keys in keys.chunks(BURST) {
            let hashes = self.plain.hashes(keys, Self::after(found as u64));
            let (mut overs, mut further) = ([0; BURST], 0_u32);
            for i in 0..keys.len() {
                let line = self.plain.line(hashes[i]);
                found += line.zero(hashes[i]);
                let over = line.link();
                overs[i] = over.unwrap_or(0);
                further |= u32::from(over.is_some()) << i;
            }
            bits(further).for_each(|i| self.fetch(overs[i]));
            found += bits(further).map(|i| self.overs[overs[i]].zero(hashes[i])).sum::<usize>();
        }
        found
    }
}
