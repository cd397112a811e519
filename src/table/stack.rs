//! Lists of indices without a lock: the free stack, and the retire chain. Both are intrusive: the links live beside
//! what the indices name, in words that the caller lends.
//!
//! Everywhere in a link word, 0 is the end and `n + 1` is index n: zeroed memory is a valid empty list.

use crate::memory::Zeroed;
use crate::sync::{AtomicU32, AtomicU64, Ordering, mutated, order, passing};

const INDEX: u64 = u32::MAX as u64;

/// Tries of one `pop` before it gives up: each failure means that another thread succeeded.
const TRIES: usize = 64;

/// A Treiber stack, and above it the range of indices never handed out: taken in order, so a new table touches
/// neither links nor entries before they are needed.
///
/// Invariant: an index below `fresh` is in the stack, or in the hands of whoever popped it, never both.
/// Models: `lists`, `stack_against_stack`, `stack_publishes_links`.
/// `head` = first + 1 (32) | version (32); the version rises at every change, so that a popper who was asleep while
/// the same index left and came back fails.
#[cfg_attr(not(conntab_loom), repr(align(64)))]
#[derive(Default)]
pub(crate) struct Stack {
    head: AtomicU64,
    fresh: AtomicU32,
}

impl Stack {
    /// Fills `out` from the stack, else from the fresh range; returns how many. 0: empty, or too contended.
    ///
    /// `limit` is the number of indices that exist.
    pub(crate) fn pop<'a>(&self, limit: u32, out: &mut [u32], link: impl Fn(u32) -> &'a AtomicU32) -> usize {
        for _ in 0..TRIES {
            // Acquire: pairs with the Release of the push that put `first` (and what hangs on it) there, directly or
            // through later changes, which are read-modify-writes and so continue its release sequence.
            let head = self.head.load(Ordering::Acquire);
            let mut next = (head & INDEX) as u32;
            let mut n = 0;
            while n < out.len()
                && let Some(index) = next.checked_sub(1)
            {
                out[n] = index;
                n += 1;
                // May belong to another popper by now and lead anywhere; then the version has moved on.
                next = link(index).load(Ordering::Relaxed);
            }
            if n == 0 {
                break;
            }
            let new = u64::from(next) | version(head);
            passing("pop-read");
            if self.head.compare_exchange(head, new, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return n;
            }
        }
        for _ in 0..TRIES {
            // Relaxed: what is fresh was never written by anyone.
            let fresh = self.fresh.load(Ordering::Relaxed);
            let n = out.len().min((limit - fresh.min(limit)) as usize);
            let new = fresh + n as u32;
            if n == 0 {
                break;
            }
            if self.fresh.compare_exchange(fresh, new, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                out.iter_mut().zip(fresh..new).for_each(|(slot, index)| *slot = index);
                return n;
            }
        }
        0
    }

    /// Puts a whole chain back. Lock-free: a failure means that another thread succeeded. Never called by the
    /// packet path.
    pub(crate) fn push<'a>(&self, list: List, link: impl Fn(u32) -> &'a AtomicU32) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            link(list.last).store((head & INDEX) as u32, Ordering::Relaxed);
            passing("push-linked");
            let new = (u64::from(list.first) + 1) | version(head);
            // Release: the links, and all that was done to what they name. What hangs below stays published: every
            // change of head is a read-modify-write, so ours continues the release sequences of earlier pushes.
            let release = order("stack-relaxed", Ordering::Release);
            match self.head.compare_exchange(head, new, release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => head = seen,
            }
        }
    }

    #[cfg(any(test, fuzzing))]
    /// For audits: the number of indices ever taken from the fresh range.
    pub(crate) fn used(&self, limit: u32) -> u32 {
        self.fresh.load(Ordering::Relaxed).min(limit)
    }

    #[cfg(any(test, fuzzing))]
    /// For audits, in a quiescent table: the first index.
    pub(crate) fn first(&self) -> Option<u32> {
        ((self.head.load(Ordering::Acquire) & INDEX) as u32).checked_sub(1)
    }
}

fn version(head: u64) -> u64 {
    if mutated("stack-no-version") { 0 } else { (head & !INDEX).wrapping_add(1 << 32) }
}

/// A non-empty chain of linked indices that belongs to the holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

/// A chain that grows at its head and is taken whole: first + 1 (32, low) | last + 1 (32), so that who takes it can
/// hang it in front of something else without walking it.
#[derive(Default)]
pub(crate) struct Chain(AtomicU64);

// SAFETY: one atomic, which is Zeroed.
unsafe impl Zeroed for Chain {}

impl Chain {
    /// Adds a list. With one pusher this fails at most once: only a taker interferes, and then the chain stays empty
    /// until we push. With several (control threads) it is lock-free.
    ///
    /// No version is needed: the head can come back only through the epoch, and the pusher is pinned.
    pub(crate) fn push<'a>(&self, list: List, link: impl Fn(u32) -> &'a AtomicU32) {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            link(list.last).store((seen & INDEX) as u32, Ordering::Relaxed);
            passing("retire-linked");
            let last = if seen == 0 { (u64::from(list.last) + 1) << 32 } else { seen & !INDEX };
            // Release: pairs with the Acquire of `take`, for this list; for what is below through the release sequence.
            let new = last | (u64::from(list.first) + 1);
            match self.0.compare_exchange(
                seen,
                new,
                order("chain-relaxed", Ordering::Release),
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Takes all.
    pub(crate) fn take(&self) -> Option<List> {
        if self.0.load(Ordering::Relaxed) == 0 {
            return None;
        }
        decode(self.0.swap(0, Ordering::Acquire))
    }

    /// For audits, in a quiescent table.
    pub(crate) fn peek(&self) -> Option<List> {
        decode(self.0.load(Ordering::Acquire))
    }
}

fn decode(word: u64) -> Option<List> {
    Some(List { first: ((word & INDEX) as u32).checked_sub(1)?, last: ((word >> 32) as u32).checked_sub(1)? })
}
