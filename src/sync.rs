//! L0: the one switch between the machine's atomics and loom's, and the one place of the mutations.
//!
//! Everything that takes part in a concurrent protocol takes its atomics from here, so that the models of
//! `ci/loom.sh` run the very code that ships.

#[cfg(conntab_loom)]
pub(crate) use loom::sync::{Mutex, atomic::fence};
#[cfg(conntab_loom)]
pub(crate) use modelled::{AtomicU32, AtomicU64};
#[cfg(not(conntab_loom))]
pub(crate) use std::sync::{
    Mutex,
    atomic::{AtomicU32, AtomicU64, fence},
};

pub(crate) use std::sync::atomic::Ordering;

/// A word that everybody reads and hardly anybody ever writes: without the shadow word described below, which would make
/// all its readers depend on each other. Models in which it is written see to that themselves.
#[cfg(conntab_loom)]
pub(crate) use loom::sync::atomic::AtomicU64 as ReadMostlyU64;
#[cfg(not(conntab_loom))]
pub(crate) use std::sync::atomic::AtomicU64 as ReadMostlyU64;

/// loom's atomics, made to explore what they would miss.
///
/// loom remembers only the last access to an object. A thread that loads a word and then stores to it hides, with its
/// own load, the earlier load of another thread, and the order "my store, then its load" is never tried (loom issues
/// 166 and 392); nearly every compare-exchange here follows a load. So each load is preceded by a Relaxed store to a
/// word of its own: stores depend on each other, so loom orders all loads of the word among themselves, and
/// everything else follows. The store orders no other memory, and stale values are explored as before.
#[cfg(conntab_loom)]
mod modelled {
    use super::Ordering;

    macro_rules! modelled {
        ($name:ident, $value:ty) => {
            #[derive(Debug, Default)]
            pub(crate) struct $name {
                loads: loom::sync::atomic::AtomicU32,
                word: loom::sync::atomic::$name,
            }

            #[allow(dead_code)]
            impl $name {
                pub(crate) fn new(value: $value) -> Self {
                    Self { loads: Default::default(), word: loom::sync::atomic::$name::new(value) }
                }

                #[track_caller]
                pub(crate) fn load(&self, order: Ordering) -> $value {
                    self.loads.store(0, Ordering::Relaxed);
                    self.word.load(order)
                }

                #[track_caller]
                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    self.word.store(value, order);
                }

                #[track_caller]
                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    self.word.swap(value, order)
                }

                #[track_caller]
                pub(crate) fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.word.compare_exchange(current, new, success, failure)
                }

                #[track_caller]
                pub(crate) fn compare_exchange_weak(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.word.compare_exchange(current, new, success, failure)
                }

                #[track_caller]
                pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                    self.word.fetch_add(value, order)
                }

                #[track_caller]
                pub(crate) fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                    self.word.fetch_sub(value, order)
                }

                #[track_caller]
                pub(crate) fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                    self.word.fetch_or(value, order)
                }

                #[track_caller]
                pub(crate) fn fetch_and(&self, value: $value, order: Ordering) -> $value {
                    self.word.fetch_and(value, order)
                }

                #[track_caller]
                pub(crate) fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                    self.word.fetch_max(value, order)
                }
            }
        };
    }

    modelled!(AtomicU32, u32);
    modelled!(AtomicU64, u64);
}

/// Words that nobody writes while another may read them, since what leads to them orders the two: an entry's tuple, which is written
/// before the slot that publishes it, and again only when the epoch has passed; a queue's record, whose turn says whose it is.
///
/// They are loaded and stored Relaxed. Compiled with `--cfg conntab_tsan` they are plain memory: to ThreadSanitizer two atomic
/// accesses never race, so only thus can it see whether the two are ordered (`ci/sanitize.sh`).
pub(crate) trait Ordered<T> {
    /// Loads it: whoever stored it last did so before.
    fn read(&self) -> T;
    /// Stores it: whoever loads or stores it, has done so before, or will do so after.
    fn write(&self, value: T);
}

macro_rules! ordered {
    ($name:ident, $value:ty) => {
        #[cfg(not(conntab_tsan))]
        impl Ordered<$value> for $name {
            #[inline(always)]
            fn read(&self) -> $value {
                self.load(Ordering::Relaxed)
            }

            #[inline(always)]
            fn write(&self, value: $value) {
                self.store(value, Ordering::Relaxed);
            }
        }

        #[cfg(conntab_tsan)]
        impl Ordered<$value> for $name {
            #[inline(always)]
            fn read(&self) -> $value {
                // SAFETY: the address of an integer that lives as long as `self`. That nobody stores to it meanwhile is what
                // ThreadSanitizer is asked here, and all that this is compiled for.
                unsafe { *self.as_ptr() }
            }

            #[inline(always)]
            fn write(&self, value: $value) {
                // SAFETY: as above.
                unsafe { *self.as_ptr() = value };
            }
        }
    };
}

ordered!(AtomicU32, u32);
ordered!(AtomicU64, u64);

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
/// variable CONNTAB_MUTATION (`ci/mutants.sh`); otherwise the constant `false`.
///
/// So compiled, it is also where threads get into each other's way: if CONNTAB_PERTURB is set, a thread that asks gives its
/// turn away now and then, in the middle of what it does (`ci/linearize.sh`).
#[cfg(conntab_mutate)]
#[inline]
pub(crate) fn mutated(name: &str) -> bool {
    // Of nothing chosen next to nothing is felt: so compiled, too, it can be measured how fast the path is.
    static NOTHING: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    if NOTHING.load(Ordering::Relaxed) {
        return false;
    }
    #[cfg(not(conntab_loom))]
    let perturbed = perturb();
    #[cfg(conntab_loom)]
    let perturbed = false;
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("CONNTAB_MUTATION").ok()).as_deref();
    NOTHING.store(chosen.is_none() && !perturbed, Ordering::Relaxed);
    chosen == Some(name)
}

#[cfg(all(conntab_mutate, not(conntab_loom)))]
fn perturb() -> bool {
    use std::cell::Cell;
    static THREADS: Counter = Counter(std::sync::atomic::AtomicU64::new(1));
    // Each thread its own numbers.
    fn seed() -> Cell<u64> {
        THREADS.add(1);
        Cell::new(THREADS.get().wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
    thread_local!(static STATE: Cell<u64> = seed());
    static WANTED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let wanted = *WANTED.get_or_init(|| std::env::var_os("CONNTAB_PERTURB").is_some());
    if wanted {
        let mut state = STATE.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        STATE.set(state);
        // One in 64: every second operation or so is interrupted.
        if state >> 58 == 0 {
            std::thread::yield_now();
        }
    }
    wanted
}

#[cfg(not(conntab_mutate))]
#[inline(always)]
pub(crate) const fn mutated(_: &str) -> bool {
    false
}

/// What `ci/stall.sh` finds in the code when it is compiled with `--cfg conntab_mutate`: steps at which it stops threads, and defects
/// that a stopped thread brings out. Otherwise nothing.
#[cfg(all(conntab_mutate, not(conntab_loom)))]
mod stall {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    static HOOK: OnceLock<fn(&'static str)> = OnceLock::new();

    /// From now on this is called with the name of each step that a thread comes by, by that thread. The first hook stays.
    pub fn on_step(hook: fn(&'static str)) {
        let _ = HOOK.set(hook);
    }

    #[inline]
    pub(crate) fn passing(step: &'static str) {
        if let Some(hook) = HOOK.get() {
            hook(step);
        }
    }

    pub(crate) fn planted(name: &str) -> bool {
        super::mutated(name)
    }

    pub(crate) fn waits(name: &str, until: impl Fn() -> bool) {
        // Often enough to be found, and not for hours.
        static LEFT: AtomicU32 = AtomicU32::new(64);
        let one_less = |left: u32| left.checked_sub(1);
        if super::mutated(name) && !until() && LEFT.fetch_update(Relaxed, Relaxed, one_less).is_ok() {
            // Some 40 ms of CPU time, on however busy a machine.
            for _ in 0..1 << 20 {
                if until() {
                    break;
                }
                std::hint::spin_loop();
            }
        }
    }
}

#[cfg(not(all(conntab_mutate, not(conntab_loom))))]
mod stall {
    /// The thread comes by a named step: here a harness may stop it.
    #[inline(always)]
    pub(crate) const fn passing(_: &'static str) {}

    /// Is this defect switched on? As `mutated`, of one that no model shows: `ci/stall.sh`, `ci/attack.sh` and `ci/soak.sh` do.
    #[inline(always)]
    pub(crate) const fn planted(_: &str) -> bool {
        false
    }

    /// A defect: to wait here for what another thread does; some 40 ms at the most.
    #[inline(always)]
    pub(crate) fn waits(_: &str, _: impl Fn() -> bool) {}
}

#[cfg(all(conntab_mutate, not(conntab_loom)))]
pub use stall::on_step;
pub(crate) use stall::{passing, planted, waits};

/// `order`, or Relaxed when the named mutation is on.
#[inline(always)]
pub(crate) fn order(name: &str, order: Ordering) -> Ordering {
    if mutated(name) { Ordering::Relaxed } else { order }
}
