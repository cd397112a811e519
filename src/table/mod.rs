//! L1: a concurrent table of entry indices under two keys.
//!
//! An entry lives in a fixed slab and is known by its index. It has two keys (direction 0 and 1), and the table leads
//! from either key to it. The table knows nothing of what an entry is beyond [`Entry`]; in particular no packets.
//!
//! ```text
//!            hash of a key
//!  63 .. 38 | 37 .. 8: tag | .. 0: bucket (low bits)
//!
//!  bucket (64 bytes)                                              overflow bucket (same shape)
//! +------+------+------+------+------+------+------+------+      +------+-- ... --+------+
//! | slot | slot | slot | slot | slot | slot | slot | meta |----->| slot |         | meta |-----> ...
//! +------+------+------+------+------+------+------+------+ link +------+-- ... --+------+  at most 8 in a chain
//!    |
//!    | index, direction, tag
//!    v
//!  entry (128 bytes): word = own bits | attempt | life; generation; link; both keys; what its owner likes
//! ```
//!
//! # Guarantees
//! Of an *entered* thread ([`Local::enter`] .. [`Local::leave`]), each with the loom models that show it (`tests/models`):
//! - **(A)** At any instant at most one LIVE entry has a given key, in whichever direction.
//!   Models: `insert_insert_one_key`, `insert_insert_mirrored`, `insert_insert_half`, `insert_cycle`, `insert_cycle_whole`,
//!   `insert_insert_overflow`, `insert_burst_mirrored`,
//!   `insert_burst_inner_clash`, `late_helper`, `late_helper_of_a_former_life`, `helper_fences`, `ready_is_not_live`, `expiry_against_insert`.
//! - **(B)** Both keys of an entry appear at one instant (the change of its word to LIVE) and vanish at one instant
//!   (the change to DEAD). `lookup`, `insert` and `delete` are linearizable with these as their points; a lookup that
//!   finds nothing has a point, too, within its call.
//!   Models: `lookup_against_insert`, `lookup_against_delete`, `lookup_against_clash`, `insert_against_delete`, `delete_against_delete`,
//!   `kill_against_refresh`, `lookup_against_unlink`.
//! - **(C)** An index returned by a lookup is not reused while the thread stays entered; a handle (index, generation)
//!   fails safely at any time later.
//!   Models: `index_reuse`, `index_reuse_against_renewal`, `retired_means_unreachable`.
//! - **(D)** No index, slot or overflow bucket is ever lost; what is retired comes back when every thread that was
//!   entered meanwhile has left or re-entered. All models but those of one step alone end with an audit of this.
//!   Models: `lists`, `stack_against_stack`, `stack_publishes_links`, `retire_against_reclaim`, `bucket_reuse`,
//!   `retired_bucket_is_unlinked`, `two_link_behind_one_head`.
//! - **(E)** What was written to an entry before `insert` is visible to whoever finds it. Changes to it while LIVE
//!   are the caller's affair.
//!   Models: `lookup_against_insert_of_a_used_entry`, `helper_publishes`, `link_publishes_the_bucket`, `used_entry_across_growth`.
//! - **(F)** Exhaustion (entries, overflow buckets, chain length, attempts) is a value, counted, never a panic.
//!   Models: `the_last_bucket_goes_to_one`, `the_last_entry_goes_to_one`, `what_is_refused_leaves_nothing`; a full chain: `tests/basic.rs`.
//! - **(G)** All this holds while the table grows. Growth makes nobody wait: it moves chains one by one, and of each
//!   insert or delete it asks a bounded piece of work.
//!   Models: `lookup_against_migrate`, `lookup_against_begin`, `burst_against_migrate`, `insert_against_migrate`, `insert_against_begin`,
//!   `delete_against_migrate`, `two_migrate`, `clash_across_growth`, `unlink_against_migrate`, `moved_chain_is_unreachable`,
//!   `ends_whoever_comes_last`, `a_late_helper_ends_nothing`, `an_array_is_kept_for_those_inside`.
//!
//! # Invariants
//! Stated where they live: life and attempts in [`word`] (W1..W3), slots and chains here, the marks of what
//! is behind a head in [`bucket`] (B1), lists in [`stack`], what may be retired in [`reclaim`] (R1), growth in [`grow`].
//! - **(I1)** The word is the truth; slots are hints that lead to it. Readers accept only LIVE.
//! - **(I2)** An entry in INS has zero to two slots, in READY and LIVE exactly its two (one if its keys are equal),
//!   afterwards its one cleaner (the winner of the change to DEAD; for KILLED the inserter) removes each once.
//! - **(I3)** A slot goes EMPTY -> entry -> EMPTY, and in overflow buckets EMPTY -> CLOSED, for good. A bucket whose
//!   slots are all CLOSED never holds anything again until it has been through the epoch and the pool.
//!   Models: `unlink_against_insert`, `unlink_against_two_inserts`, `two_clean_one_bucket`, `closed_is_never_reopened`.
//! - **(I4)** An overflow bucket whose meta is CLOSED has a final link; only such a bucket is unlinked, by one
//!   compare-exchange on a predecessor that is not CLOSED itself. Head buckets are never closed.
//!   Models: `neighbours_unlink`, `sweep_against_close`.
//! - **(I5)** A chain has at most [`MAX_CHAIN`] buckets: buckets are added at its end alone.
//! - **(I6)** A slot or meta word that is FROZEN never changes but for MOVED, which the meta of a head gets once all of its
//!   chain has been copied, and keeps. Until then the chain is the one that counts, from then on its copy.
//! - **(I7)** A word of an array that is being filled leaves UNINIT once, for what everybody would put there. Nobody but
//!   those who fill it reads or writes a bucket of it before the MOVED of the head that it was copied from.
//!
//! # Progress
//! Lookups are wait-free but for the length of the chain, and a step for each doubling that overtakes them; a walker
//! meets each overflow bucket at most once, since none comes back while it is entered. Inserts and deletes are lock-free: a
//! loser helps the winner before it tries again, and who meets a chain that is being moved moves it. Nobody waits for a
//! descheduled thread; such a thread, entered, delays reuse and nothing else. Every loop has a bound, and the bounds that
//! can be met in practice have a counter in [`audit::Stats`].

mod audit;
mod bucket;
mod extend;
mod find;
mod grow;
mod insert;
mod reclaim;
mod remove;
mod stack;
#[cfg(any(test, fuzzing))]
pub(crate) mod tests;
pub(crate) mod word;

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "internals")]
pub use audit::Chains;
pub(crate) use insert::{Failure, Insert};
pub(crate) use reclaim::Local;

use crate::memory::{Array, NoMemory, Options, Zeroed, prefetch};
use crate::sync::{AtomicU32, AtomicU64, Counter, Ordered, Ordering};
use bucket::{Bucket, EMPTY, TAG_BITS, meta};
use stack::Stack;

/// Buckets of one chain, the head included.
pub(crate) const MAX_CHAIN: usize = 8;

/// The largest burst of [`Core::lookup_burst`] and [`Core::insert_burst`].
pub(crate) const MAX_BURST: usize = 64;

/// What the table needs of an entry. Every field is atomic; zeroed, it is a free entry.
pub(crate) trait Entry: Zeroed + Send + Sync + 'static {
    type Key: Copy + Eq;
    type Hasher: KeyHash<Self::Key>;

    /// 2, or 1 for entries whose two keys are always equal.
    const KEYS: usize = 2;

    /// Life (bits 0..=2) and attempt (3..=10) are the table's; the rest is the entry's own, and the table carries it
    /// along unchanged from allocation (0) to death.
    fn word(&self) -> &AtomicU64;
    /// Raised by the table at each allocation; never 0 in an allocated entry.
    fn generation(&self) -> &AtomicU32;
    /// The table's own: free list and retire chain.
    fn link(&self) -> &AtomicU32;
    /// A key. Must not change from the call of `insert` until the entry is allocated again.
    /// `index` is the entry's own, and `context` what [`Table::new`] was given: for what is kept beside the slab.
    fn key(&self, context: &Self::Hasher, index: u32, dir: u32) -> Self::Key;
    fn key_eq(&self, context: &Self::Hasher, index: u32, dir: u32, key: &Self::Key) -> bool;
    /// Has an entry with this word expired? Judged from its own bits.
    fn expired(word: u64, now: u32) -> bool;
}

/// A keyed hash: all 64 bits must be good (low bits choose the bucket, others make the tag).
pub(crate) trait KeyHash<K>: Send + Sync + 'static {
    fn hash(&self, key: &K) -> u64;
}

/// Sizes, fixed at creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Head buckets: a power of two.
    pub buckets: u32,
    /// Overflow buckets to begin with.
    pub overflow: u32,
    /// Entries to begin with.
    pub entries: u32,
    /// The bound of [`Table::local`].
    pub workers: u32,
    /// First bit of the hash that belongs to the tag.
    pub tag_shift: u32,
    /// The most it may grow to: so many doublings of the buckets, overflow buckets, entries.
    pub doublings: u32,
    pub most_overflow: u32,
    pub most_entries: u32,
}

impl Geometry {
    /// Overflow buckets that churn at the intended load never exhausts, those that await the epoch included.
    pub(crate) const fn default_overflow(buckets: u32) -> u32 {
        buckets / 5 * 2 + 1024
    }

    fn valid(&self) -> bool {
        self.buckets.is_power_of_two()
            && self.buckets <= 1 << 28
            && self.overflow <= meta::LINKS
            && (1..u32::MAX).contains(&self.entries)
            && (1..=1 << 16).contains(&self.workers)
            && self.tag_shift <= u64::BITS - TAG_BITS
            && self.valid_growth()
    }
}

/// Why a table, or a worker's access to it, could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// A size out of range.
    Geometry,
    Memory(NoMemory),
    /// No such worker, or it has its access already.
    Worker,
    /// Growth found no overflow bucket.
    Overflow,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Geometry => f.write_str("table size out of range"),
            Error::Memory(error) => error.fmt(f),
            Error::Worker => f.write_str("no such worker, or in use"),
            Error::Overflow => f.write_str("no overflow bucket for growth"),
        }
    }
}

impl From<NoMemory> for Error {
    fn from(error: NoMemory) -> Self {
        Error::Memory(error)
    }
}

/// An entry found LIVE: in which direction it has the key, and its word as read then (Acquire).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub index: u32,
    pub dir: u32,
    pub word: u64,
}

/// The table: its core and its epoch. Operations are methods of [`Core`].
pub(crate) struct Table<E: Entry> {
    core: Arc<Core<E>>,
    epoch: reclaim::Epoch,
}

/// All that the table's protocol works on.
pub(crate) struct Core<E: Entry> {
    geometry: Geometry,
    hasher: E::Hasher,
    /// Which array of head buckets is in use.
    root: grow::Root,
    /// All arrays of head buckets, one behind the other, each twice as large as the one before it: see `grow`.
    heads: Array<Bucket>,
    overflow: Array<Bucket>,
    entries: Array<E>,
    /// Links of `pool` and of the retired buckets; never the buckets' slots, which walkers may still read.
    over_link: Array<AtomicU32>,
    /// One per worker, and a last one for the control threads.
    retired: Array<reclaim::Retired>,
    /// Free entries.
    free: Stack,
    /// Free overflow buckets.
    pool: Stack,
    growth: grow::Growth,
    // Entries: out of `free`; back through the epoch; back without need of it.
    popped: Counter,
    recycled: Counter,
    recycled_unused: Counter,
    // Overflow buckets: out of `pool`, and back.
    pool_popped: Counter,
    pool_returned: Counter,
    // Calls deferred to the epoch, and run by it.
    deferred: Counter,
    called: Counter,
    count: audit::Counts,
    /// Makes loom try every order of what enters and what moves the epoch, in models that are about it: crossbeam's own
    /// atomics are loom's plain ones, with the gap described in `sync`.
    #[cfg(conntab_loom)]
    epoch_steps: AtomicU32,
    #[cfg(conntab_loom)]
    epoch_matters: std::sync::atomic::AtomicBool,
    /// The same for the change of `root`.
    #[cfg(conntab_loom)]
    root_matters: std::sync::atomic::AtomicBool,
}

impl<E: Entry> std::ops::Deref for Table<E> {
    type Target = Core<E>;

    #[inline(always)]
    fn deref(&self) -> &Core<E> {
        &self.core
    }
}

impl<E: Entry> Table<E> {
    /// A table of this geometry. Reserves everything it will ever use, but what growth commits.
    pub(crate) fn new(geometry: Geometry, hasher: E::Hasher, memory: Options<'_>) -> Result<Self, Error> {
        if !geometry.valid() {
            return Err(Error::Geometry);
        }
        let core = Core {
            geometry,
            hasher,
            root: grow::Root::new(geometry.buckets),
            heads: Array::reserve(geometry.buckets as usize, geometry.heads(), memory)?,
            overflow: Array::reserve(geometry.overflow as usize, geometry.most_overflow as usize, memory)?,
            entries: Array::reserve(geometry.entries as usize, geometry.most_entries as usize, memory)?,
            over_link: Array::reserve(geometry.overflow as usize, geometry.most_overflow as usize, memory)?,
            retired: Array::new(geometry.workers as usize + 1, memory)?,
            free: Stack::default(),
            pool: Stack::default(),
            growth: grow::Growth::new(&geometry),
            popped: Counter::default(),
            recycled: Counter::default(),
            recycled_unused: Counter::default(),
            pool_popped: Counter::default(),
            pool_returned: Counter::default(),
            deferred: Counter::default(),
            called: Counter::default(),
            count: audit::Counts::default(),
            #[cfg(conntab_loom)]
            epoch_steps: AtomicU32::default(),
            #[cfg(conntab_loom)]
            epoch_matters: Default::default(),
            #[cfg(conntab_loom)]
            root_matters: Default::default(),
        };
        for bucket in &core.heads[..geometry.buckets as usize] {
            open(bucket, &[], None);
        }
        Ok(Self { core: Arc::new(core), epoch: reclaim::Epoch::new() })
    }

    /// Exactly the bytes that `new` takes; None if the geometry is out of range.
    pub(crate) fn memory(geometry: &Geometry, memory: Options<'_>) -> Option<u64> {
        geometry.valid().then(|| {
            let [overflow, most] = [geometry.overflow as usize, geometry.most_overflow as usize];
            let [entries, most_entries] = [geometry.entries as usize, geometry.most_entries as usize];
            Array::<Bucket>::bytes_of(geometry.buckets as usize, geometry.heads(), memory)
                + Array::<Bucket>::bytes_of(overflow, most, memory)
                + Array::<E>::bytes_of(entries, most_entries, memory)
                + Array::<AtomicU32>::bytes_of(overflow, most, memory)
                + Array::<reclaim::Retired>::bytes(geometry.workers as usize + 1, memory)
        })
    }
}

/// Makes a bucket usable, with these words in its first slots. It must be private to the caller, who publishes it.
fn open(bucket: &Bucket, words: &[u64], link: Option<u32>) {
    // Published by the Release that links the bucket, or by handing the whole table to a thread.
    for (i, slot) in bucket.slots.iter().enumerate() {
        slot.write(words.get(i).copied().unwrap_or(EMPTY));
    }
    bucket.meta.write(meta::with_link(meta::INIT, link));
}

impl<E: Entry> Core<E> {
    /// Entries there are at present: never fewer than before. (Relaxed: their memory reads as free entries from the
    /// beginning; who knows of an index that is in use has been told of at least so many.)
    pub(crate) fn entries(&self) -> u32 {
        self.growth.entries.get() as u32
    }

    /// The entry of this index, whatever its life. `index` must be below [`Core::entries`].
    #[inline(always)]
    pub(crate) fn entry(&self, index: u32) -> &E {
        &self.entries[index as usize]
    }

    /// The hasher, and whatever else reading the entries' keys takes.
    #[inline(always)]
    pub(crate) fn context(&self) -> &E::Hasher {
        &self.hasher
    }

    /// The generation of this index, which must be below [`Core::entries`].
    #[inline(always)]
    pub(crate) fn generation(&self, index: u32) -> u32 {
        self.entry(index).generation().load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn key(&self, index: u32, dir: u32) -> E::Key {
        self.entry(index).key(&self.hasher, index, dir)
    }

    #[inline(always)]
    fn key_eq(&self, index: u32, dir: u32, key: &E::Key) -> bool {
        self.entry(index).key_eq(&self.hasher, index, dir, key)
    }

    #[inline(always)]
    pub(crate) fn hash(&self, key: &E::Key) -> u64 {
        self.hasher.hash(key)
    }

    /// Fetches the bucket of a hash: of both arrays while growth goes on.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) {
        let root = self.root();
        prefetch(self.head_in(root & grow::SIZE, hash));
        if root & grow::GROWING != 0 {
            prefetch(self.head_in(2 * (root & grow::SIZE), hash));
        }
    }

    #[inline(always)]
    fn tag(&self, hash: u64) -> u64 {
        bucket::tag(hash, self.geometry.tag_shift)
    }

    #[inline(always)]
    fn over(&self, over: u32) -> &Bucket {
        &self.overflow[over as usize]
    }
}

/// Whether an entry whose word was read like this is out of the table for good, or was never in it: it will not be
/// LIVE again before it is allocated again.
#[inline(always)]
pub(crate) fn is_gone(word: u64) -> bool {
    matches!(word::life(word), word::FREE | word::DEAD)
}

/// Whether an entry whose word was read like this is in the table.
#[inline(always)]
pub(crate) fn is_live(word: u64) -> bool {
    word::life(word) == word::LIVE
}
