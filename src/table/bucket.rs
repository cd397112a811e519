//! One bucket: a cache line of tagged slots and a meta word. Encodings only; the protocol is in the other files.
//!
//! ```text
//! slot     63          32 31    30     29          0        meta  63          32   3      2     1      0
//!         +--------------+---+--------+-------------+            +--------------+------+-----+------+------+
//!         |  index + 1   |dir| FROZEN |     tag     |            |   link + 1   |CLOSED|MOVED|FROZEN| INIT |
//!         +--------------+---+--------+-------------+            +--------------+------+-----+------+------+
//! UNINIT = 0, EMPTY = 1, CLOSED = 2: below every tag, whose highest bit is always set, so they match none.
//! ```
//!
//! FROZEN and MOVED belong to growth (`grow.rs`) and stay for good once set. Readers mask FROZEN; writers compare whole
//! words, so they never change a frozen one.

use crate::memory::Zeroed;
use crate::sync::AtomicU64;

/// Slots per bucket: a cache line less the meta word. The models have two, so that chains arise from a few entries.
pub(crate) const SLOTS: usize = if cfg!(conntab_loom) { 2 } else { 7 };

pub(crate) const UNINIT: u64 = 0;
pub(crate) const EMPTY: u64 = 1;
pub(crate) const CLOSED: u64 = 2;

pub(crate) const TAG_BITS: u32 = 30;
const TAG: u64 = (1 << TAG_BITS) - 1;
/// Set in every tag, so that comparing tags is enough to know that a slot is occupied.
const TAGGED: u64 = 1 << (TAG_BITS - 1);
pub(crate) const FROZEN: u64 = 1 << 30;
const DIR_SHIFT: u32 = 31;
const INDEX_SHIFT: u32 = 32;

/// A bucket. All-zero is UNINIT: not yet usable.
#[repr(C)]
#[cfg_attr(not(conntab_loom), repr(align(64)))]
#[derive(Default)]
pub(crate) struct Bucket {
    pub(crate) slots: [AtomicU64; SLOTS],
    pub(crate) meta: AtomicU64,
}

#[cfg(not(conntab_loom))]
const _: () = assert!(size_of::<Bucket>() == 64);

// SAFETY: an array of atomics and an atomic, each Zeroed.
unsafe impl Zeroed for Bucket {}

/// The slot word of `index` in direction `dir`.
#[inline(always)]
pub(crate) fn slot(index: u32, dir: u32, tag: u64) -> u64 {
    (u64::from(index) + 1) << INDEX_SHIFT | u64::from(dir) << DIR_SHIFT | tag
}

/// The tag of a hash: fixed bits, whatever the number of buckets, so that growth never needs the entry.
#[inline(always)]
pub(crate) fn tag(hash: u64, shift: u32) -> u64 {
    hash >> shift & TAG | TAGGED
}

#[inline(always)]
pub(crate) fn occupied(slot: u64) -> bool {
    slot >> INDEX_SHIFT != 0
}

#[inline(always)]
pub(crate) fn matches(slot: u64, tag: u64) -> bool {
    slot & TAG == tag
}

/// The tag of an occupied slot.
#[inline(always)]
pub(crate) fn tag_of(slot: u64) -> u64 {
    slot & TAG
}

/// The entry of an occupied slot.
#[inline(always)]
pub(crate) fn index(slot: u64) -> u32 {
    ((slot >> INDEX_SHIFT) as u32).wrapping_sub(1)
}

#[inline(always)]
pub(crate) fn dir(slot: u64) -> u32 {
    (slot >> DIR_SHIFT) as u32 & 1
}

/// The slot word without its FROZEN bit.
#[inline(always)]
pub(crate) fn thawed(slot: u64) -> u64 {
    slot & !FROZEN
}

/// The meta word and its bits.
pub(crate) mod meta {
    pub(crate) const INIT: u64 = 1;
    /// The chain is being copied.
    pub(crate) const FROZEN: u64 = 1 << 1;
    /// The chain lives in the next array.
    pub(crate) const MOVED: u64 = 1 << 2;
    /// An overflow bucket given up for good: its slots are all CLOSED and its link is final.
    pub(crate) const CLOSED: u64 = 1 << 3;
    const LINK_SHIFT: u32 = 32;

    /// The overflow bucket behind this one.
    #[inline(always)]
    pub(crate) fn link(meta: u64) -> Option<u32> {
        ((meta >> LINK_SHIFT) as u32).checked_sub(1)
    }

    /// `meta` with another link.
    #[inline(always)]
    pub(crate) fn with_link(meta: u64, link: Option<u32>) -> u64 {
        let plus_one = link.map_or(0, |link| u64::from(link) + 1);
        meta & ((1 << LINK_SHIFT) - 1) | plus_one << LINK_SHIFT
    }
}
