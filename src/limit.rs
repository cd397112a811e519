//! L4: `max`. The limit counts from allocation, unconfirmed connections included, as in the kernel.
//!
//! Workers take permits in lots and keep a few while they are busy, so that the shared counter is touched once in many
//! connections. A lot is small enough that all workers together keep no more than an eighth of `max`.
//!
//! **Invariant.** `granted` is the number of connections allocated plus the permits that workers keep; it never exceeds
//! `max`. Hence `max` is never exceeded, and is undershot by at most a lot (64 or fewer) per worker that is not idle. Where
//! `max` was lowered below `granted`, no permit is handed out until enough came back; what a worker keeps it still spends,
//! once. Models: `max_is_never_exceeded`.

use crate::sync::{AtomicU32, Ordering::Relaxed, mutated, passing};

/// The largest lot.
const LOT: u32 = 64;

pub(crate) struct Limit {
    max: AtomicU32,
    /// How many permits a worker takes at a time, and the most it keeps.
    lot: AtomicU32,
    workers: u32,
    granted: AtomicU32,
}

impl Limit {
    pub fn new(max: u32, workers: u32) -> Self {
        let lot = Self::lot_of(max, workers);
        Self { max: AtomicU32::new(max), lot: AtomicU32::new(lot), workers, granted: AtomicU32::new(0) }
    }

    fn lot_of(max: u32, workers: u32) -> u32 {
        (max / 8 / workers).clamp(1, LOT)
    }

    pub fn max(&self) -> u32 {
        self.max.load(Relaxed)
    }

    /// Another `max`. Relaxed, as all here: whoever takes permits by the old one did so a moment before.
    pub fn set_max(&self, max: u32) {
        self.lot.store(Self::lot_of(max, self.workers), Relaxed);
        self.max.store(max, Relaxed);
    }

    /// Whether more was granted than there may be: `max` was lowered.
    fn is_over(&self) -> bool {
        self.granted() > self.max()
    }

    /// Takes up to a lot of permits; 0: there are none. Relaxed: the count orders nothing, it only has to be exact.
    fn take(&self) -> u32 {
        let mut granted = self.granted.load(Relaxed);
        // Each failure is another worker's success; after a few the caller is better off with early_drop.
        for _ in 0..8 {
            let lot = self.lot.load(Relaxed).min(self.max().saturating_sub(granted));
            #[cfg(conntab_mutate)]
            let lot = if mutated("limit-plus-one") { lot + 1 } else { lot };
            if lot == 0 {
                return 0;
            }
            match self.granted.compare_exchange_weak(granted, granted + lot, Relaxed, Relaxed) {
                Ok(_) => {
                    passing("permits-granted");
                    return lot;
                }
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

/// A worker's permits, and whether the last time it asked there were none.
#[derive(Default)]
pub(crate) struct Permits(u32, bool);

impl Permits {
    /// Spends a permit on a connection; `false`: the table is full.
    #[inline]
    pub fn spend(&mut self, limit: &Limit) -> bool {
        if self.0 == 0 {
            self.0 = limit.take();
            self.1 = self.0 == 0;
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
        let lot = limit.lot.load(Relaxed);
        // Kept, it would be spent again, and a lowered `max` never be reached.
        if self.1 && limit.is_over() {
            self.give_all(limit);
        } else if self.0 > lot {
            let back = self.0 - lot.div_ceil(2);
            if !mutated("permit-lost") {
                limit.give(back);
            }
            passing("permits-given");
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
            assert!(permits.kept() <= limit.lot.load(Relaxed));
        }
        permits.give_all(&limit);
        assert_eq!((permits.kept(), limit.granted()), (0, 0));
    }

    #[test]
    fn a_lowered_max_is_reached() {
        let limit = Limit::new(1000, 1);
        let mut permits = Permits::default();
        assert_eq!((0..1000).filter(|_| permits.spend(&limit)).count(), 1000);
        limit.set_max(600);
        assert!(!permits.spend(&limit));
        // One goes and one comes, as in a busy table: it empties, and never fills beyond.
        let mut live = 1000;
        for _ in 0..2000 {
            permits.regain(&limit);
            live -= 1;
            live += u32::from(permits.spend(&limit));
            assert!(live >= 599);
        }
        assert!((599..=600).contains(&live), "{live}");
        limit.set_max(800);
        while permits.spend(&limit) {
            live += 1;
        }
        assert_eq!((live, limit.granted()), (800, 800));
    }
}
