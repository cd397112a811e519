//! L4: `max`. The limit counts from allocation, unconfirmed connections included, as in the kernel.
//!
//! Workers take permits in lots and keep a few while they are busy, so that the shared counter is touched once in many
//! connections. A lot is small enough that all workers together keep no more than an eighth of `max`.
//!
//! **Invariant.** `granted` is the number of connections allocated plus the permits that workers keep; it never exceeds
//! `max`. Hence `max` is never exceeded, and is undershot by at most a lot (64 or fewer) per worker that is not idle.

use crate::sync::{AtomicU32, Ordering::Relaxed};

/// The largest lot.
const LOT: u32 = 64;

pub(crate) struct Limit {
    max: u32,
    /// How many permits a worker takes at a time, and the most it keeps.
    lot: u32,
    granted: AtomicU32,
}

impl Limit {
    pub fn new(max: u32, workers: u32) -> Self {
        Self { max, lot: (max / 8 / workers).clamp(1, LOT), granted: AtomicU32::new(0) }
    }

    /// Takes up to a lot of permits; 0: there are none. Relaxed: the count orders nothing, it only has to be exact.
    fn take(&self) -> u32 {
        let mut granted = self.granted.load(Relaxed);
        // Each failure is another worker's success; after a few the caller is better off with early_drop.
        for _ in 0..8 {
            let lot = self.lot.min(self.max - granted);
            #[cfg(conntab_mutate)]
            let lot = if crate::sync::mutated("limit-plus-one") { lot + 1 } else { lot };
            if lot == 0 {
                return 0;
            }
            match self.granted.compare_exchange_weak(granted, granted + lot, Relaxed, Relaxed) {
                Ok(_) => return lot,
                Err(now) => granted = now,
            }
        }
        0
    }

    /// Gives permits back.
    pub fn give(&self, permits: u32) {
        self.granted.fetch_sub(permits, Relaxed);
    }

    /// Connections allocated, plus the permits that workers keep.
    pub fn granted(&self) -> u32 {
        self.granted.load(Relaxed)
    }
}

/// A worker's permits.
#[derive(Default)]
pub(crate) struct Permits(u32);

impl Permits {
    /// Spends a permit on a connection; `false`: the table is full.
    #[inline]
    pub fn spend(&mut self, limit: &Limit) -> bool {
        if self.0 == 0 {
            self.0 = limit.take();
        }
        // (Not `let some = self.0 != 0; self.0 -= u32::from(some);`: rustc 1.95 loses the subtraction when optimising,
        // rust-lang/rust#158206. `permits_are_spent` below would tell.)
        let Some(left) = self.0.checked_sub(1) else { return false };
        self.0 = left;
        true
    }

    /// A connection is gone.
    #[inline]
    pub fn regain(&mut self, limit: &Limit) {
        self.0 += 1;
        if self.0 > limit.lot {
            let back = limit.lot.div_ceil(2);
            limit.give(back);
            self.0 -= back;
        }
    }

    /// Permits kept at present.
    pub fn kept(&self) -> u32 {
        self.0
    }

    pub fn give_all(&mut self, limit: &Limit) {
        limit.give(std::mem::take(&mut self.0));
    }
}

#[cfg(all(test, not(conntab_loom)))]
mod tests {
    use super::*;

    #[test]
    fn permits_are_spent() {
        let limit = Limit::new(100, 1);
        let mut permits = Permits::default();
        let spent = (0..200).filter(|_| permits.spend(&limit)).count();
        assert_eq!((spent, permits.kept(), limit.granted()), (100, 0, 100));
        for _ in 0..100 {
            permits.regain(&limit);
            assert!(permits.kept() <= limit.lot);
        }
        permits.give_all(&limit);
        assert_eq!((permits.kept(), limit.granted()), (0, 0));
    }
}
