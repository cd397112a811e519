//! L0: the one switch between the machine's atomics and loom's, and the one place of the mutations.
//!
//! Everything that takes part in a concurrent protocol takes its atomics from here, so that the models of
//! `ci/loom.sh` run the very code that ships.

#[cfg(conntab_loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
#[cfg(not(conntab_loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, fence};

pub(crate) use std::sync::atomic::Ordering;

/// A statistic: takes part in no protocol, so the models need not explore it.
#[derive(Debug, Default)]
pub(crate) struct Counter(std::sync::atomic::AtomicU64);

impl Counter {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// `add` for a counter with a single writer: no locked instruction.
    pub(crate) fn add_alone(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Raises the counter to `to`; returns by how much.
    pub(crate) fn raise(&self, to: u64) -> u64 {
        to.saturating_sub(self.0.fetch_max(to, Ordering::Relaxed))
    }
}

/// Is this deliberate defect switched on? Compiled in with `--cfg conntab_mutate`, chosen at run time by the
/// variable CONNTAB_MUTATION (`ci/mutations.sh`); otherwise the constant `false`.
#[cfg(conntab_mutate)]
pub(crate) fn mutated(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("CONNTAB_MUTATION").ok()).as_deref() == Some(name)
}

#[cfg(not(conntab_mutate))]
#[inline(always)]
pub(crate) const fn mutated(_: &str) -> bool {
    false
}

/// `order`, or Relaxed when the named mutation is on.
#[inline(always)]
pub(crate) fn order(name: &str, order: Ordering) -> Ordering {
    if mutated(name) { Ordering::Relaxed } else { order }
}
