//! L4: `max`. The limit counts from allocation, unconfirmed connections included, as in the kernel.
//!
//! Workers take permits in lots and keep a few, so that the shared counter is touched once in many connections.
//!
//! **Invariant.** `granted` is the number of connections allocated plus the permits that workers keep; it never exceeds
//! `max`. Hence `max` is never exceeded, and is undershot by at most `LOT` per worker.

use crate::sync::{AtomicU32, Ordering::Relaxed};

/// How many permits a worker takes at a time, and the most it keeps.
pub(crate) const LOT: u32 = 64;

pub(crate) struct Limit {
    max: u32,
    granted: AtomicU32,
}

impl Limit {
    pub fn new(max: u32) -> Self {
        Self { max, granted: AtomicU32::new(0) }
    }

    /// Takes up to `LOT` permits; 0: there are none. Relaxed: the count orders nothing, it only has to be exact.
    fn take(&self) -> u32 {
        let mut granted = self.granted.load(Relaxed);
        // Each failure is another worker's success; after a few the caller is better off with early_drop.
        for _ in 0..8 {
            let lot = LOT.min(self.max - granted);
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
        // Not `let some = self.0 != 0; self.0 -= u32::from(some); some`: rustc 1.95.0 loses the subtraction where that is
        // inlined into a branch on the result.
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => false,
        }
    }

    /// A connection is gone.
    #[inline]
    pub fn regain(&mut self, limit: &Limit) {
        self.0 += 1;
        if self.0 > LOT {
            limit.give(LOT / 2);
            self.0 -= LOT / 2;
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
