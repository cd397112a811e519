//! The control side of growth: memory for more entries and heads, the doubling driven to its end, what is left behind
//! given back. `grow` has the protocol.

use super::grow::{GROWING, SIZE};
use super::{Core, Entry, Error, Local};
use crate::sync::{Ordering, passing};

/// Heads that the control call moves before it leaves and enters again.
const STEP: u64 = 64;

/// Steps between reclamations.
const RECLAIM: u32 = 16;

/// Steps without a success (there was no overflow bucket, which cannot be) until the control call gives up.
const PATIENCE: u32 = 1000;

/// Rounds in which the control call waits for the epoch to release the old array.
const PASSING: u32 = 256;

/// Heads whose memory is given back at a time: 4 MB.
const SLICE: u64 = 1 << 16;

impl<E: Entry> Core<E> {
    /// Room for so many entries. One caller at a time. An error: there are as many as before.
    pub(crate) fn extend(&self, entries: u32) -> Result<(), Error> {
        if entries > self.geometry.most_entries {
            return Err(Error::Geometry);
        }
        self.entries.commit(entries as usize)?;
        passing("extend-committed");
        self.growth.entries.raise(entries.into());
        Ok(())
    }

    /// Doubles the heads. One caller at a time; it takes its time, and nobody waits for it. After an error it can be called
    /// again, and goes on where it stood.
    pub(crate) fn double(&self, local: &mut Local<E>) -> Result<(), Error> {
        let size = self.begin()?;
        let (mut steps, mut vain) = (0_u32, 0);
        while self.size() == size {
            local.enter();
            vain = if self.advance(local, STEP) { 0 } else { vain + 1 };
            steps = steps.wrapping_add(1);
            if vain > 0 || steps.is_multiple_of(RECLAIM) {
                self.reclaim(local);
            } else {
                local.leave();
            }
            if vain > PATIENCE {
                return Err(Error::Overflow);
            }
        }
        Ok(())
    }

    /// Begins to grow, if that has not begun; the number of heads.
    pub(super) fn begin(&self) -> Result<u64, Error> {
        let root = self.root();
        let size = root & SIZE;
        if root & GROWING == 0 {
            let doublings = (2 * size / u64::from(self.geometry.buckets)).trailing_zeros();
            if doublings > self.geometry.doublings {
                return Err(Error::Geometry);
            }
            let overflow = self.overflow_for(2 * size);
            self.over_link.commit(overflow as usize)?;
            self.overflow.commit(overflow as usize)?;
            self.heads.commit((self.start(2 * size) + 2 * size) as usize)?;
            self.growth.overflow.raise(overflow.into());
            passing("grow-committed");
            // Release: who knows that growth goes on may write to the next array.
            self.root.0.store(root | GROWING, Ordering::Release);
            passing("grow-begun");
        }
        Ok(size)
    }

    /// Where the array in use begins: what is before it has been left behind.
    pub(super) fn left_behind(&self) -> u64 {
        self.start(self.size())
    }

    /// Whether the epoch knows of all that growth has left behind.
    pub(super) fn all_handed_over(&self) -> bool {
        self.growth.handed.get() >= self.left_behind()
    }

    /// Gives back a bounded piece of what growth has left behind, once the epoch has released it.
    pub(super) fn give_heads_back(&self) {
        let free = self.growth.free.get();
        if free == 0 {
            return;
        }
        let from = self.growth.given.load(Ordering::Relaxed);
        let to = free.min(from + SLICE);
        // Relaxed: the count gives each piece to one thread, and that is all.
        let (ok, err) = (Ordering::Relaxed, Ordering::Relaxed);
        if from < to && self.growth.given.compare_exchange(from, to, ok, err).is_ok() {
            passing("heads-claimed");
            self.heads.release(from as usize..to as usize);
        }
    }

    /// Gives back what growth has left behind, as far as the epoch releases it while this waits a moment; the rest goes
    /// with later reclamations.
    pub(crate) fn settle_growth(&self, local: &mut Local<E>) {
        for _ in 0..PASSING {
            self.reclaim(local);
            while self.growth.given.load(Ordering::Relaxed) < self.growth.free.get() {
                self.give_heads_back();
            }
            if self.growth.given.load(Ordering::Relaxed) >= self.left_behind() {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Whether growth was begun and has not ended.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn is_growing(&self) -> bool {
        self.root() & GROWING != 0
    }

    /// Heads of the array in use.
    pub(crate) fn buckets(&self) -> u32 {
        self.size() as u32
    }

    /// Bytes that have memory at present.
    pub(crate) fn committed(&self) -> u64 {
        let buckets = self.heads.committed() + self.overflow.committed() + self.over_link.committed();
        buckets + self.entries.committed() + self.retired.committed()
    }
}
