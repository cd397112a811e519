//! rculfhash, liburcu's lock-free resizable hash table, in its fastest flavour (QSBR), in C (`c/rculfhash.c`).
//!
//! - **Size**: presized to the least power of two of buckets that is not below the number of flows, without resizing. In
//!   `insert-grow` it begins with 64, and whoever sees as many flows as buckets doubles it (`cds_lfht_resize`). The library's
//!   automatic resizing is not used: with liburcu 0.13.2 it was seen to stop for good at its first size, its thread idle, while
//!   chains grew to thousands.
//! - **Pages**: its memory backend for 64 bits is one contiguous array of bucket nodes, which is moved to huge pages when it
//!   has been made. Entries are 128 bytes from an array on huge pages and hold the node beside key and expiry.
//! - **`single`** is the public interface: one lookup per key. A quiescent state is reported every 32.
//! - **`burst32`** is a prefetch by hand, which the interface does not offer: where the array of bucket nodes lies is found out
//!   from the mappings of the process, and checked by following buckets to entries. For 32 keys the bucket nodes are asked
//!   for, then the first node of each chain, then the library looks each key up. Inserts and deletes profit likewise. If the
//!   array is not found, bursts are single lookups, and the run says so.
//! - **Deletes** take the node at hand. Entries come back by `call_rcu`, whose thread's time is not counted.
//! - **Hash**: two folded multiplications and a third, as ahash does without AES.

use std::ffi::c_void;
use std::sync::Mutex;

use crate::memory::{Area, anonymous, collapse, difference};
use crate::{Hands, Key, Name, Peer, Size};

#[repr(C)]
struct Table(c_void);
#[repr(C)]
struct RawHands(c_void);

unsafe extern "C" {
    fn peers_lfht_entry() -> usize;
    fn peers_lfht_new(entries: *mut u8, buckets: u64, grow: i32) -> *mut Table;
    fn peers_lfht_buckets(of: *mut Table, at: *mut c_void, n: u32) -> i32;
    fn peers_lfht_free(of: *mut Table);
    fn peers_lfht_hands(of: *mut Table, first: u32, last: u32, freed: u32) -> *mut RawHands;
    fn peers_lfht_hands_free(hands: *mut RawHands, first: *mut u32, freed: *mut u32);
    fn peers_lfht_single(hands: *mut RawHands, keys: *const Key, n: usize, now: u32) -> usize;
    fn peers_lfht_burst(hands: *mut RawHands, keys: *const Key, n: usize, now: u32) -> usize;
    fn peers_lfht_insert(
        hands: *mut RawHands,
        keys: *const Key,
        names: *mut Name,
        n: usize,
        now: u32,
    ) -> usize;
    fn peers_lfht_delete(hands: *mut RawHands, names: *const Name, n: usize) -> usize;
}

/// Entries that a thread may have waiting for the grace period.
const SLACK: usize = 1 << 16;

/// A thread's entries: those never used, and a list of those that came back.
#[derive(Clone, Copy)]
struct Share {
    first: u32,
    last: u32,
    freed: u32,
}

struct Rculfhash {
    table: *mut Table,
    shares: Mutex<Vec<Share>>,
    buckets: Buckets,
    _entries: Area,
}

/// Where the bucket nodes may be: mappings that appeared when the table was made.
struct Buckets {
    ranges: Vec<(usize, usize)>,
    /// They move, and are not looked for.
    grows: bool,
    /// Looked for once, by the first thread that finds the table filled.
    known: Mutex<Option<bool>>,
}

// SAFETY: the table is made for concurrent use by registered threads, which `hands` are; the rest is behind mutexes.
unsafe impl Sync for Rculfhash {}

/// See the head of the file.
pub fn make(size: Size) -> Result<Box<dyn Peer>, String> {
    let share = size.flows.div_ceil(size.threads) + SLACK;
    // SAFETY: it takes nothing and returns a constant.
    let entry = unsafe { peers_lfht_entry() };
    assert_eq!(entry, 128);
    let entries = Area::new(share * size.threads * entry);
    let buckets = size.flows.next_power_of_two();
    let before = anonymous();
    // SAFETY: as many entries as the shares have, zeroed, for as long as the table lives.
    let table = unsafe { peers_lfht_new(entries.base(), buckets as u64, size.grow.into()) };
    if table.is_null() {
        return Err("cds_lfht_new failed".to_owned());
    }
    let bytes = buckets * 16;
    let mut ranges = difference(&anonymous(), &before);
    ranges.retain(|(begin, end)| end - begin >= bytes);
    collapse(&ranges);
    let share = |t: usize| Share { first: (t * share) as u32, last: ((t + 1) * share) as u32, freed: 0 };
    Ok(Box::new(Rculfhash {
        table,
        shares: Mutex::new((0..size.threads).map(share).collect()),
        buckets: Buckets { ranges, grows: size.grow, known: Mutex::new(None) },
        _entries: entries,
    }))
}

impl Rculfhash {
    /// Tries the places where the array of nodes may begin.
    fn find_buckets(&self) {
        let mut known = self.buckets.known.lock().expect("no panic inside");
        // An empty table proves nothing.
        let filled = {
            let shares = self.shares.lock().expect("no panic inside");
            shares[0].first.min(1000)
        };
        if known.is_some() || filled == 0 || self.buckets.grows {
            return;
        }
        *known = Some(self.buckets.ranges.iter().any(|&(begin, _)| {
            // SAFETY: the array would lie wholly within mapped memory, and what is followed is followed by 8-byte loads from
            // there on; a wrong place holds zeroes or a neighbour's nodes, both of which end the chase.
            unsafe {
                peers_lfht_buckets(self.table, std::ptr::with_exposed_provenance_mut(begin), filled) == 1
            }
        }));
    }
}

impl Peer for Rculfhash {
    fn hands(&self, n: usize) -> Box<dyn Hands + '_> {
        self.find_buckets();
        let share = self.shares.lock().expect("no panic inside")[n];
        // SAFETY: the share is this thread's alone until it is dropped.
        let raw = unsafe { peers_lfht_hands(self.table, share.first, share.last, share.freed) };
        Box::new(Ours { of: self, raw, n })
    }

    fn remark(&self) -> Option<String> {
        let known = *self.buckets.known.lock().expect("no panic inside");
        (known == Some(false))
            .then(|| "its bucket nodes were not found: bursts are single lookups".to_owned())
    }
}

impl Drop for Rculfhash {
    fn drop(&mut self) {
        // SAFETY: nobody uses the table any more (`&mut self`).
        unsafe { peers_lfht_free(self.table) };
    }
}

struct Ours<'t> {
    of: &'t Rculfhash,
    raw: *mut RawHands,
    n: usize,
}

impl Drop for Ours<'_> {
    fn drop(&mut self) {
        let (mut first, mut freed) = (0, 0);
        // SAFETY: `raw` is alive, and this is its thread.
        unsafe { peers_lfht_hands_free(self.raw, &mut first, &mut freed) };
        let mut shares = self.of.shares.lock().expect("no panic inside");
        shares[self.n].first = first;
        shares[self.n].freed = freed;
    }
}

impl Hands for Ours<'_> {
    fn single(&mut self, keys: &[Key], _: &[u32], now: u32) -> usize {
        // SAFETY: `raw` is alive, and this is its thread; `keys` is read for its length.
        unsafe { peers_lfht_single(self.raw, keys.as_ptr(), keys.len(), now) }
    }

    fn burst(&mut self, keys: &[Key], _: &[u32], now: u32) -> usize {
        // SAFETY: as above.
        unsafe { peers_lfht_burst(self.raw, keys.as_ptr(), keys.len(), now) }
    }

    fn insert(&mut self, keys: &[Key], names: &mut [Name], now: u32) -> usize {
        let n = keys.len().min(names.len());
        // SAFETY: as above; `names` is as long.
        unsafe { peers_lfht_insert(self.raw, keys.as_ptr(), names.as_mut_ptr(), n, now) }
    }

    fn delete(&mut self, _: &[Key], names: &[Name]) -> usize {
        // SAFETY: as above; the names are those that `insert` wrote, each deleted once.
        unsafe { peers_lfht_delete(self.raw, names.as_ptr(), names.len()) }
    }
}
