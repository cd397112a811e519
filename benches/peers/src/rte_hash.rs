//! DPDK's rte_hash, in C (`c/rte_hash.c`).
//!
//! - **Set up** with lock-free readers (`RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF`) and RCU by quiescent states attached, deletions
//!   waiting in its defer queue; with several writers, `MULTI_WRITER_ADD`. Keys of 40 bytes, hashed by `rte_hash_crc`, DPDK's default,
//!   by the processor's instruction.
//! - **`burst32`** is `rte_hash_lookup_bulk` of 32 keys; the position that it gives is the index of an entry of 128 bytes in an array
//!   of ours, as its documentation advises; the entries' lines are asked for before they are touched. The table compares
//!   the key in its own copy, so a hit stores into the entry and does not read it.
//! - **Size**: `entries` is the number of flows and 3% for what waits in the defer queue. It rounds its buckets up to a power of
//!   two; where that would leave them more than 80% full, when cuckoo hashing becomes slow and then fails, to the next. It does
//!   not grow.
//! - **Pages**: its memory comes from a heap of our own on huge pages (`rte_malloc_heap_memory_add`), so neither root nor reserved pages
//!   are needed; DPDK itself runs with `--no-huge --no-shconf`. Threads are registered with it, and report a quiescent state
//!   every 32 calls.

use std::ffi::c_void;
use std::sync::OnceLock;

use crate::memory::Area;
use crate::{Hands, Key, Name, Peer, Size};

#[repr(C)]
struct Table(c_void);
#[repr(C)]
struct RawHands(c_void);

unsafe extern "C" {
    fn peers_rte_init() -> i32;
    fn peers_rte_entries(flows: u32, writers: i32) -> usize;
    fn peers_rte_new(flows: u32, writers: i32, entries: *mut u8, area: *mut u8, bytes: usize) -> *mut Table;
    fn peers_rte_free(of: *mut Table);
    fn peers_rte_hands(of: *mut Table, thread: u32) -> *mut RawHands;
    fn peers_rte_hands_free(hands: *mut RawHands);
    fn peers_rte_rest(hands: *mut RawHands);
    fn peers_rte_single(hands: *mut RawHands, keys: *const Key, n: usize, now: u32) -> usize;
    fn peers_rte_burst(hands: *mut RawHands, keys: *const Key, n: usize, now: u32) -> usize;
    fn peers_rte_insert(hands: *mut RawHands, keys: *const Key, n: usize, now: u32) -> usize;
    fn peers_rte_delete(hands: *mut RawHands, keys: *const Key, n: usize) -> usize;
}

struct RteHash {
    table: *mut Table,
    // Dropped after the table.
    _entries: Area,
    _area: Area,
}

// SAFETY: made for concurrent use by registered threads, which `hands` are.
unsafe impl Sync for RteHash {}

/// See the head of the file.
pub fn make(size: Size) -> Result<Box<dyn Peer>, String> {
    static READY: OnceLock<i32> = OnceLock::new();
    if size.grow {
        return Err("rte_hash does not grow".to_owned());
    }
    // SAFETY: once in this process.
    match READY.get_or_init(|| unsafe { peers_rte_init() }) {
        0 => {}
        errno => return Err(format!("rte_eal_init: {}", std::io::Error::from_raw_os_error(*errno))),
    }
    let mut places = size.flows + size.flows / 32 + 1024;
    if size.flows * 5 > places.next_power_of_two() * 4 {
        places = places.next_power_of_two() + 1;
    }
    let (flows, writers) = (places as u32, size.threads as i32);
    // SAFETY: a computation.
    let entries = Area::new(unsafe { peers_rte_entries(flows, writers) });
    // A key slot of 48 bytes and a ring's word for each flow, buckets of 64 bytes for 8 of a power of two, counters.
    let bytes = places * 56 + places.next_power_of_two() * 12 + (32 << 20);
    let area = Area::new(bytes);
    // SAFETY: both areas live longer than the table, and nobody else uses them.
    let table = unsafe { peers_rte_new(flows, writers, entries.base(), area.base(), area.bytes()) };
    if table.is_null() {
        return Err("rte_hash_create failed".to_owned());
    }
    Ok(Box::new(RteHash { table, _entries: entries, _area: area }))
}

impl Peer for RteHash {
    fn hands(&self, n: usize) -> Box<dyn Hands + '_> {
        // SAFETY: in the thread that will use them, whose number no other has.
        let raw = unsafe { peers_rte_hands(self.table, n as u32) };
        Box::new(Ours { raw, _of: self })
    }
}

impl Drop for RteHash {
    fn drop(&mut self) {
        // SAFETY: nobody uses the table any more (`&mut self`).
        unsafe { peers_rte_free(self.table) };
    }
}

struct Ours<'t> {
    raw: *mut RawHands,
    _of: &'t RteHash,
}

impl Drop for Ours<'_> {
    fn drop(&mut self) {
        // SAFETY: alive, and this is its thread.
        unsafe { peers_rte_hands_free(self.raw) };
    }
}

impl Hands for Ours<'_> {
    fn single(&mut self, keys: &[Key], _: &[u32], now: u32) -> usize {
        // SAFETY: `raw` is alive, and this is its thread; `keys` is read for its length.
        unsafe { peers_rte_single(self.raw, keys.as_ptr(), keys.len(), now) }
    }

    fn burst(&mut self, keys: &[Key], _: &[u32], now: u32) -> usize {
        // SAFETY: as above.
        unsafe { peers_rte_burst(self.raw, keys.as_ptr(), keys.len(), now) }
    }

    fn insert(&mut self, keys: &[Key], _: &mut [Name], now: u32) -> usize {
        // SAFETY: as above.
        unsafe { peers_rte_insert(self.raw, keys.as_ptr(), keys.len(), now) }
    }

    fn delete(&mut self, keys: &[Key], _: &[Name]) -> usize {
        // SAFETY: as above.
        unsafe { peers_rte_delete(self.raw, keys.as_ptr(), keys.len()) }
    }

    fn reclaim(&mut self) {
        // SAFETY: as above. What waits in the defer queue is taken back by later deletions and insertions.
        unsafe { peers_rte_rest(self.raw) };
    }
}
