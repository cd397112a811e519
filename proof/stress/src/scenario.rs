//! What the table is like, and who is at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use conntab::helper::Tftp;
use conntab::{Config, Packet, Table, Verdict};
use conntab_bench::Random;

use crate::packets::packet;
use crate::work;

/// A table, and threads at it.
pub struct Scenario {
    pub name: &'static str,
    /// To begin with, and the most that it is raised to.
    max: [u32; 2],
    /// Events that a queue holds; 0: there are none.
    events: u32,
    /// Expectations that there may be.
    expect_max: u32,
    /// Fragments come, too.
    pub fragments: bool,
    /// A worker lasts for so many bursts, then its thread makes another.
    pub lasts: u64,
    /// How many flows there are: few, so that threads meet at them.
    pub flows: usize,
    /// Milliseconds by which a burst moves the clock, at most: with many, connections expire.
    pub pace: usize,
}

const PLAIN: Scenario = Scenario {
    name: "path",
    max: [1024, 1024],
    events: 0,
    expect_max: 0,
    fragments: false,
    lasts: u64::MAX,
    flows: 96,
    pace: 1,
};

pub static ALL: [Scenario; 9] = [
    PLAIN,
    // As full as its buckets may be: one in ten has an overflow bucket.
    Scenario { name: "chains", max: [614, 614], flows: 700, ..PLAIN },
    Scenario { name: "clash", flows: 4, ..PLAIN },
    Scenario { name: "expiry", pace: 20_000, events: 64, ..PLAIN },
    Scenario { name: "full", max: [64, 64], events: 16, ..PLAIN },
    Scenario { name: "growth", max: [64, 1 << 14], ..PLAIN },
    Scenario { name: "expect", expect_max: 32, events: 64, pace: 2000, ..PLAIN },
    Scenario { name: "fragments", fragments: true, flows: 24, ..PLAIN },
    Scenario { name: "workers", lasts: 20, events: 16, expect_max: 16, ..PLAIN },
];

/// What all threads of a scenario see.
pub struct Shared {
    pub table: Table,
    pub scenario: &'static Scenario,
    pub stop: AtomicBool,
    /// Milliseconds.
    pub clock: AtomicU64,
}

impl Scenario {
    fn config(&self, threads: usize) -> Config {
        let mut config = Config {
            max: self.max[0],
            max_reserve: self.max[1],
            workers: threads as u32,
            acct: true,
            timestamp: true,
            nat6: true,
            events: self.events,
            timeout_policies: 2,
            expect_max: self.expect_max,
            user_data: 8,
            prefault: false,
            ..Config::default()
        };
        config.tunables.checksum = 0;
        config.tunables.acct = 1;
        config.tunables.timestamp = 1;
        config
    }

    /// Runs for so long, again and again with a new table where it grows; how many bursts all workers had, or what was wrong.
    pub fn run(&'static self, seconds: f64, threads: usize, seed: u64) -> Result<u64, String> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let (mut bursts, mut round) = (0, 0);
        while round == 0 || Instant::now() < end {
            bursts += self.round(end, threads, seed.wrapping_add(round << 32))?;
            round += 1;
        }
        Ok(bursts)
    }

    fn round(&'static self, end: Instant, threads: usize, seed: u64) -> Result<u64, String> {
        let table = Table::new(self.config(threads)).map_err(|error| error.to_string())?;
        if self.expect_max > 0 {
            table.add_helper(Arc::new(Tftp)).map_err(|error| error.to_string())?;
        }
        // What the library, or std, does once is done before there are threads: std's part of it ThreadSanitizer does not see.
        let mut first = table.worker().map_err(|error| error.to_string())?;
        let packet = packet(0, false, &mut Random(1));
        let mut verdicts = [Verdict::default()];
        first.track(1, &[Packet::new(&packet)], &mut verdicts);
        first.confirm(1, &mut verdicts, 1);
        drop(first);
        let (stop, clock) = (AtomicBool::new(false), AtomicU64::new(1000));
        let shared = Arc::new(Shared { table, scenario: self, stop, clock });
        let spawn = |number: usize| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || work::work(&shared, seed.wrapping_add(number as u64 + 1)))
        };
        let workers: Vec<_> = (0..threads).map(spawn).collect();
        let control = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || work::control(&shared, seed))
        };
        let mut max = self.max[0];
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
            if self.max[1] > self.max[0] {
                if max == self.max[1] {
                    break;
                }
                max *= 2;
                shared.table.set_max(max).map_err(|error| error.to_string())?;
            }
        }
        shared.stop.store(true, Relaxed);
        let mut bursts = 0;
        for worker in workers {
            bursts += worker.join().map_err(|_| "a worker panicked")?;
        }
        control.join().map_err(|_| "the control thread panicked")?;
        settle(&shared.table, shared.clock.load(Relaxed))?;
        Ok(bursts)
    }
}

/// Everything ends, and everything must have come back.
fn settle(table: &Table, now: u64) -> Result<(), String> {
    table.flush();
    let mut worker = table.worker().map_err(|error| error.to_string())?;
    // What a busy machine held back was handed over in many pieces; a call frees some of them.
    for _ in 0..10_000 {
        worker.reap(now, u32::MAX);
        if table.usage().waiting == 0 {
            break;
        }
    }
    drop(worker);
    table.events().for_each(drop);
    let (stats, usage) = (table.stats(), table.usage());
    let left = [
        u64::from(usage.connections),
        u64::from(usage.expectations),
        u64::from(usage.helper_records),
        usage.waiting,
        usage.entries - usage.free,
        usage.lost,
        usage.bounds,
        table.dump(now).count() as u64,
        stats.expect_create - stats.expect_delete,
        stats.insert - stats.deleted - stats.expired - stats.early_drop,
    ];
    if left.iter().any(|left| *left != 0) {
        return Err(format!("{left:?} {stats:?} {usage:?}"));
    }
    Ok(())
}
