//! One bucket: a cache line of tagged slots and a meta word. Encodings only; the protocol is in the other files.
//!
//! ```text
//! slot     63          32 31    30     29          0        meta  63      36   35    34     33     32  31       0
//!         +--------------+---+--------+-------------+            +----------+------+-----+------+------+---------+
//!         |  index + 1   |dir| FROZEN |     tag     |            | link + 1 |CLOSED|MOVED|FROZEN| INIT |  marks  |
//!         +--------------+---+--------+-------------+            +----------+------+-----+------+------+---------+
//! UNINIT = 0, EMPTY = 1, CLOSED = 2: below every tag, whose highest bit is always set, so they match none.
//! ```
//!
//! FROZEN and MOVED belong to growth (`grow.rs`) and stay for good once set. Readers mask FROZEN; writers compare whole
//! words, so they never change a frozen one.
//!
//! **Marks.** Invariant (B1): for each slot in the overflow buckets of a chain the meta word of the head has the mark of its tag,
//! and none if there are no overflow buckets. So who only looks for a LIVE entry need not go on from a head without the mark. Who
//! is about to place a slot behind a head first makes sure of its mark there, in the very word whose link he follows, or in
//! the exchange that makes the link; the exchange that makes the link 0 takes all marks away, and nothing else takes one.
//!
//! Why the mark is still there when the slot has been placed. If the link has been 0 since, then each bucket that was in the
//! chain since is CLOSED, none comes back while he is entered (I3), and behind a CLOSED one nothing is linked (I4). So wherever
//! he may have come from there, neither a slot nor a link takes what he has, and he begins again at the head.
//! Models: `lookup_against_insert_behind`, `insert_against_unlink_and_insert`, `mark_of_another_against_unlink_and_insert`,
//! `lookup_against_unlink_and_insert`, `two_link_behind_one_head`, `two_mark_one_head`, `lookup_against_move_of_marks`,
//! `insert_against_move_of_marks`.

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
    /// Of the tags behind a head (B1). An overflow bucket has none.
    const MARKS: u64 = u32::MAX as u64;
    pub(crate) const INIT: u64 = 1 << 32;
    /// The chain is being copied.
    pub(crate) const FROZEN: u64 = 1 << 33;
    /// The chain lives in the next array.
    pub(crate) const MOVED: u64 = 1 << 34;
    /// An overflow bucket given up for good: its slots are all CLOSED and its link is final.
    pub(crate) const CLOSED: u64 = 1 << 35;
    const LINK_SHIFT: u32 = 36;

    /// Overflow buckets that a link can tell apart.
    pub(crate) const LINKS: u32 = (1 << (u64::BITS - LINK_SHIFT)) - 1;

    /// The overflow bucket behind this one.
    #[inline(always)]
    pub(crate) fn link(meta: u64) -> Option<u32> {
        ((meta >> LINK_SHIFT) as u32).checked_sub(1)
    }

    /// `meta` with another link. With none it has no marks either.
    #[inline(always)]
    pub(crate) fn with_link(meta: u64, link: Option<u32>) -> u64 {
        let rest = meta & ((1 << LINK_SHIFT) - 1);
        match link {
            Some(link) => rest | (u64::from(link) + 1) << LINK_SHIFT,
            None => rest & !MARKS,
        }
    }

    /// The mark of a tag: one of 32 bits, by the five below the highest of the tag, which choose no bucket, however many there are.
    #[inline(always)]
    pub(crate) fn mark(tag: u64) -> u64 {
        1 << (tag >> 24 & 31)
    }

    /// The overflow bucket behind this head, if something with this tag may be there or further along.
    #[inline(always)]
    pub(crate) fn behind(meta: u64, tag: u64) -> Option<u32> {
        if meta & mark(tag) != 0 { link(meta) } else { None }
    }
}
