//! L4: the table alone, for the project's own benches (`benches/peers`; feature `internals`): no promise.
//!
//! It is the product's very own table with its own entry, key and hash, without the tracker, the limits and the clock. It
//! comes with both keys of a flow, as in the product, and with one, like the tables of others.

use crate::config::Config;
use crate::conn::{Conn, Context, Word};
use crate::hash::TupleHash;
use crate::memory::{Huge, Options, Zeroed};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
pub use crate::table::Chains;
use crate::table::{self, Entry, Geometry, Hit, Insert};
use crate::tuple::{Key, Zone};

/// The words of a key: source, destination, ports with protocol and family.
pub type Words = [u64; 5];

/// The tuned size of a burst.
pub const BURST: usize = 32;

/// Milliseconds that an entry lives: it does not expire in a bench.
const LIFETIME: u32 = 1 << 30;

/// The key of a TCP flow over IPv6.
pub fn key(src: [u64; 2], dst: [u64; 2], sport: u16, dport: u16) -> Words {
    let meta = Key::meta(sport, dport, crate::net::protocol::TCP, crate::net::L3::V6, 0);
    [src[0], src[1], dst[0], dst[1], meta]
}

/// The key of the other direction.
pub fn inverse(words: &Words) -> Words {
    let Key { src, dst, meta } = as_key(words).inverse(0);
    [src[0], src[1], dst[0], dst[1], meta]
}

#[inline(always)]
fn as_key(&[a, b, c, d, meta]: &Words) -> Key {
    Key { src: [a, b], dst: [c, d], meta }
}

#[inline(always)]
fn as_keys(words: &[Words]) -> &[Key] {
    const {
        assert!(size_of::<Key>() == size_of::<Words>() && align_of::<Key>() == align_of::<Words>());
        assert!(std::mem::offset_of!(Key, dst) == 16 && std::mem::offset_of!(Key, meta) == 32);
    }
    // SAFETY: both are five u64 in the same order (`Key` is repr(C), asserted above): any bits are valid for either.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), words.len()) }
}

/// A connection with as many keys: 2, one of each direction, as in the product; or 1, that of the original direction, to which
/// one slot leads.
#[derive(Default)]
#[repr(transparent)]
pub struct Flow<const KEYS: u32>(Conn);

// SAFETY: a `Conn`, which is Zeroed.
unsafe impl<const KEYS: u32> Zeroed for Flow<KEYS> {}

impl<const KEYS: u32> Entry for Flow<KEYS> {
    const KEYS: usize = KEYS as usize;
    type Key = Key;
    type Hasher = Context;

    #[inline]
    fn word(&self) -> &AtomicU64 {
        self.0.word()
    }

    #[inline]
    fn generation(&self) -> &AtomicU32 {
        self.0.generation()
    }

    #[inline]
    fn link(&self) -> &AtomicU32 {
        self.0.link()
    }

    #[inline]
    fn key(&self, context: &Context, index: u32, dir: u32) -> Key {
        self.0.key(context, index, if KEYS == 1 { 0 } else { dir })
    }

    #[inline]
    fn key_eq(&self, context: &Context, index: u32, dir: u32, key: &Key) -> bool {
        self.0.key_eq(context, index, if KEYS == 1 { 0 } else { dir }, key)
    }

    #[inline]
    fn expired(word: u64, now: u32) -> bool {
        Conn::expired(word, now)
    }
}

/// A table of connections.
pub struct Table<const KEYS: u32> {
    table: table::Table<Flow<KEYS>>,
    config: Config,
    /// Flows that it is meant for at present.
    max: AtomicU32,
    /// Not 0: a call that sets `max` is at work.
    setting: AtomicU32,
}

/// As many entries, for so many flows, as a product's table has.
fn entries(flows: u32, workers: u32) -> u32 {
    flows + flows / 32 + 4096 + 64 * workers
}

/// The product's, with half the buckets for one key per flow.
fn geometry<const KEYS: u32>(config: &Config) -> Geometry {
    let buckets = config.buckets() / 2 * KEYS;
    let (overflow, doublings) = (Geometry::default_overflow(buckets), config.doublings(config.most()));
    Geometry {
        buckets,
        overflow,
        entries: entries(config.max, config.workers),
        workers: config.workers,
        tag_shift: 8,
        doublings,
        most_overflow: Geometry::overflow_after(overflow, doublings, config.workers),
        most_entries: entries(config.most(), config.workers),
    }
}

impl<const KEYS: u32> Table<KEYS> {
    /// A table for so many flows, on huge pages. `None`: out of memory.
    pub fn new(flows: u32, workers: u32) -> Option<Self> {
        Self::growing(flows, flows, workers)
    }

    /// A table for `flows` flows at first, 1024 or more, and up to `most` when [`Self::set_max`] asks for them.
    pub fn growing(flows: u32, most: u32, workers: u32) -> Option<Self> {
        let config = Config { max: flows, max_reserve: most, workers, ..Config::default() };
        let hash = TupleHash::new(Some([1, 2, 3, 4])).ok()?;
        let memory = Options { huge: Huge::Madvise, prefault: true, ..Options::default() };
        let context = Context { hash, nat6: None };
        let table = table::Table::new(geometry::<KEYS>(&config), context, memory).ok()?;
        Some(Self { table, config, max: AtomicU32::new(flows), setting: AtomicU32::new(0) })
    }

    /// The flows that it is meant for at present, and the most it can be told to hold.
    pub fn max(&self) -> (u32, u32) {
        (self.max.load(Ordering::Relaxed), self.config.most())
    }

    /// Entries in use or awaiting reclamation, those that workers keep at hand included.
    pub fn used(&self) -> u64 {
        let stats = self.table.stats();
        stats.entries - stats.free
    }

    /// Whether a call of [`Self::set_max`] is at work.
    pub fn is_growing(&self) -> bool {
        self.setting.load(Ordering::Relaxed) != 0
    }

    /// As the product's `Table::set_max` with a higher `max`, in the calling thread, which must not be within a read section.
    /// False: another call is at work, or there is no memory.
    pub fn set_max(&self, max: u32) -> bool {
        // Acquire: what the last call has done; pairs with the Release below.
        if self.setting.swap(1, Ordering::Acquire) != 0 {
            return false;
        }
        let done = self.grow(max).is_ok();
        if done {
            self.max.store(max, Ordering::Relaxed);
        }
        self.setting.store(0, Ordering::Release);
        done
    }

    fn grow(&self, max: u32) -> Result<(), table::Error> {
        let table = &self.table;
        table.extend(entries(max, self.config.workers))?;
        let buckets = (self.config.buckets() / 2 * KEYS) << self.config.doublings(max);
        if table.buckets() < buckets {
            let mut local = table.control();
            while table.buckets() < buckets {
                table.double(&mut local)?;
            }
            table.settle_growth(&mut local);
        }
        Ok(())
    }

    /// Where its slots stand, while nobody changes it.
    pub fn chains(&self) -> Chains {
        self.table.chains()
    }

    /// Bytes of the buckets of such a table, those for overflow included.
    pub fn index_bytes(flows: u32) -> u64 {
        let config = Config { max: flows, ..Config::default() };
        let Geometry { buckets, overflow, .. } = geometry::<KEYS>(&config);
        64 * (u64::from(buckets) + u64::from(overflow))
    }

    /// The access of worker `n`, one at a time; `None`: there is one.
    pub fn worker(&self, n: u32) -> Option<Worker<'_, KEYS>> {
        Some(Worker { table: &self.table, local: self.table.local(n).ok()? })
    }
}

/// One thread's access.
pub struct Worker<'t, const KEYS: u32> {
    table: &'t table::Table<Flow<KEYS>>,
    local: table::Local<Flow<KEYS>>,
}

/// What to do with an entry that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// Store a word into its first line.
    Store(u32),
    /// Refresh its expiry as the packet path does: by compare-exchange of the word, unless it is the same.
    Refresh(u32),
}

impl<const KEYS: u32> Worker<'_, KEYS> {
    /// Begins or renews a read section.
    #[inline]
    pub fn enter(&mut self) {
        self.local.enter();
    }

    /// Ends it.
    pub fn leave(&mut self) {
        self.local.leave();
    }

    /// Hands what was deleted to the epoch, and takes back what it has released.
    pub fn reclaim(&mut self) {
        self.table.reclaim(&mut self.local);
    }

    #[inline(always)]
    fn touch(&self, hit: Hit, touch: Touch) {
        let conn = &self.table.entry(hit.index).0;
        match touch {
            Touch::Store(value) => conn.set_mark(value),
            Touch::Refresh(tick) => {
                let mut word = Word::unpack(hit.word);
                word.time = tick.wrapping_add(LIFETIME);
                let new = word.pack();
                if new != hit.word {
                    let _ = conn.swap_word(hit.word, new);
                }
            }
        }
    }

    /// Looks one key up and touches what it finds.
    #[inline]
    pub fn single(&self, words: &Words, touch: Touch) -> bool {
        let key = as_key(words);
        let hit = self.table.lookup(&self.local, self.table.hash(&key), &key);
        if let Some(hit) = hit {
            self.touch(hit, touch);
        }
        hit.is_some()
    }

    /// The same for a burst; how many were found.
    #[inline]
    pub fn burst(&self, words: &[Words], touch: Touch) -> usize {
        let keys = as_keys(words);
        let n = keys.len().min(BURST);
        let mut hashes = [0; BURST];
        for (key, hash) in keys.iter().zip(&mut hashes) {
            *hash = self.table.hash(key);
            self.table.prefetch(*hash);
        }
        let mut hits = [None; BURST];
        self.table.lookup_burst(&self.local, &hashes[..n], &keys[..n], &mut hits[..n]);
        let mut found = 0;
        for hit in hits[..n].iter().flatten() {
            self.touch(*hit, touch);
            found += 1;
        }
        found
    }

    /// Inserts a burst of flows at tick `now`; writes their handles, 0 where it failed, and returns how many it inserted.
    pub fn insert_burst(&mut self, words: &[Words], now: u32, handles: &mut [u64]) -> usize {
        let mut burst = [(0, 0); BURST];
        let mut n = 0;
        for key in as_keys(words).iter().take(BURST) {
            let Some(index) = self.table.alloc(&mut self.local) else { break };
            let conn = &self.table.entry(index).0;
            conn.init(key, 0 as Zone, 0, false, &[0; 7]);
            let mut word = Word::fresh(conn.word_acquire());
            word.time = now.wrapping_add(LIFETIME);
            conn.set_private_word(word.pack());
            burst[n] = (index, self.table.hash(key));
            n += 1;
        }
        let mut results = [Insert::Inserted; BURST];
        let (burst, results) = (&burst[..n], &mut results[..n]);
        self.table.insert_burst(&mut self.local, burst, now, results, &mut |_, _| {});
        handles.fill(0);
        let mut inserted = 0;
        for ((handle, &(index, _)), result) in handles.iter_mut().zip(burst).zip(results) {
            if *result == Insert::Inserted {
                *handle = u64::from(self.table.generation(index)) << 32 | u64::from(index);
                inserted += 1;
            }
        }
        inserted
    }

    /// Deletes a burst of flows by their handles; how many there were.
    pub fn delete_burst(&mut self, handles: &[u64]) -> usize {
        let mut burst = [(0, 0); BURST];
        for (parts, handle) in burst.iter_mut().zip(handles) {
            *parts = (*handle as u32, (*handle >> 32) as u32);
        }
        let burst = &burst[..handles.len().min(BURST)];
        self.table.delete_burst(&mut self.local, burst).count_ones() as usize
    }
}
