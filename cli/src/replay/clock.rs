//! The table's clock, driven by the capture, and the reaping that passing time asks for.

use conntab::{Table, Worker};

use crate::time::Time;

/// The table wants a sweep over all entries within a day, since its 32-bit ticks wrap.
const STEP: u64 = 12 * 3_600_000;

/// A sweep of its own accord this often, so that what has expired does not take up room.
const SWEEP_EVERY: u64 = 60_000;

/// Deleted entries become free again only by reaping; there are a few thousand to spare.
const PACKETS_PER_SLICE: u32 = 256;
const SLICE: u32 = 1024;

/// All entries.
const SWEEP: u32 = u32::MAX;

/// Milliseconds since the epoch, never going back.
#[derive(Default)]
pub(super) struct Clock {
    now: Option<u64>,
    last_sweep: u64,
    packets: u32,
}

impl Clock {
    pub(super) fn now(&self) -> u64 {
        self.now.unwrap_or(0)
    }

    /// Lets time pass up to `time`. Long gaps pass in steps, so that all that expires in them is seen to expire.
    pub(super) fn advance(&mut self, time: Time, table: &Table, worker: &mut Worker) {
        let target = time.millis();
        let Some(mut now) = self.now else {
            self.now = Some(target);
            self.last_sweep = target;
            return;
        };
        while now + STEP < target && table.count() > 0 {
            now += STEP;
            worker.reap(now, SWEEP);
            self.last_sweep = now;
        }
        now = now.max(target);
        self.now = Some(now);
        self.packets += 1;
        if now - self.last_sweep >= SWEEP_EVERY {
            self.sweep(worker);
        } else if self.packets >= PACKETS_PER_SLICE {
            worker.reap(now, SLICE);
            self.packets = 0;
        }
    }

    /// Ends all that has expired by now.
    pub(super) fn sweep(&mut self, worker: &mut Worker) {
        worker.reap(self.now(), SWEEP);
        self.last_sweep = self.now();
        self.packets = 0;
    }
}
