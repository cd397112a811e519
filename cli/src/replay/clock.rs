//! The table's clock, driven by the capture, and the reaping that passing time asks for.

use conntab::event::Event;
use conntab::{Table, Worker};

use crate::time::Time;

/// The table wants a sweep over all entries within a day, since its 32-bit ticks wrap.
const STEP: u64 = 12 * 3_600_000;

/// A sweep of its own accord this often, so that what has expired does not take up room.
const SWEEP_EVERY: u64 = 60_000;

/// And this often where the ends of connections are to be told: then lines are out of order by this at most.
const SWEEP_FOR_EVENTS_EVERY: u64 = 100;

/// Deleted entries become free again only by reaping; there are a few thousand to spare.
const PACKETS_PER_SLICE: u32 = 256;
const SLICE: u32 = 1024;

/// A sweep goes in slices of so many entries, so that the events of one fit into the queue.
const SWEEP_SLICE: u32 = 4096;
pub(super) const QUEUE: u32 = 2 * SWEEP_SLICE;

/// Milliseconds since the epoch, never going back.
pub(super) struct Clock {
    now: Option<u64>,
    sweep_every: u64,
    last_sweep: u64,
    packets: u32,
    /// Entries of the table, once a sweep has counted them.
    entries: u32,
}

impl Clock {
    pub(super) fn new(events: bool) -> Self {
        let sweep_every = if events { SWEEP_FOR_EVENTS_EVERY } else { SWEEP_EVERY };
        Self { now: None, sweep_every, last_sweep: 0, packets: 0, entries: 0 }
    }

    pub(super) fn now(&self) -> u64 {
        self.now.unwrap_or(0)
    }

    /// Lets time pass up to `time`, and adds to `told` what ended by that. Long gaps pass in steps, so that all that
    /// expires in them is seen to expire.
    pub(super) fn advance(&mut self, time: Time, table: &Table, worker: &mut Worker, told: &mut Vec<Event>) {
        let target = time.millis();
        let Some(now) = self.now else {
            self.now = Some(target);
            self.last_sweep = target;
            // The table is empty still.
            self.entries = worker.reap(target, u32::MAX).examined;
            return;
        };
        let target = target.max(now);
        while self.now() + STEP < target && table.count() > 0 {
            self.now = Some(self.now() + STEP);
            self.sweep(table, worker, told);
        }
        self.now = Some(target);
        self.packets += 1;
        if target - self.last_sweep >= self.sweep_every {
            self.sweep(table, worker, told);
        } else if self.packets >= PACKETS_PER_SLICE {
            self.reap(SLICE, table, worker, told);
        }
    }

    /// Ends all that has expired by now.
    pub(super) fn sweep(&mut self, table: &Table, worker: &mut Worker, told: &mut Vec<Event>) {
        let mut examined = 0;
        while examined < self.entries {
            examined += self.reap(SWEEP_SLICE, table, worker, told);
        }
        self.last_sweep = self.now();
    }

    fn reap(&mut self, budget: u32, table: &Table, worker: &mut Worker, told: &mut Vec<Event>) -> u32 {
        self.packets = 0;
        let examined = worker.reap(self.now(), budget).examined;
        told.extend(table.events());
        examined
    }
}
