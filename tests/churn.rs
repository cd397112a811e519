//! Two workers at once: the limit, dump and flush under churn, memory, an idle worker.

mod common;

use std::collections::HashSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::*;
use conntab::{Config, CtState, Handle, Reason, Table, Worker};

/// Tells the others to stop when the test is through, also where it fails: they would keep it from ending.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Opens and deletes flows of this worker's own range, a thousand at least, until told to stop.
fn churn(worker: &mut Worker, first: u32, stop: &AtomicBool) {
    let mut opened = 0u32;
    let mut conns = vec![Handle::NONE; 256];
    let mut state = first | 1;
    while !stop.load(Ordering::Relaxed) || opened < 1000 {
        // xorshift
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        let slot = (state >> 8) as usize % conns.len();
        if conns[slot].is_none() {
            let verdict = pass(worker, 0, &udp(host(first + slot as u32), SERVER, 1, 1));
            conns[slot] = verdict.conn;
            opened += u32::from(verdict.state == CtState::New);
        } else {
            worker.delete(std::mem::take(&mut conns[slot]));
        }
        if state.is_multiple_of(64) {
            worker.reap(0, 1024);
        }
    }
    worker.idle();
}

#[test]
fn max_is_never_exceeded_by_two_workers() {
    const MAX: u32 = 300;
    let table = table(MAX);
    // Both workers rest between rounds, so that what is in the table can be counted from outside.
    let (rest, go_on) = (Barrier::new(3), Barrier::new(3));
    thread::scope(|scope| {
        for first in [0u32, 1 << 20] {
            let (table, rest, go_on) = (&table, &rest, &go_on);
            scope.spawn(move || {
                let mut worker = table.worker().unwrap();
                for round in 0..100u32 {
                    // More than there is room for, in bursts, some of them let go.
                    let packets: Vec<Vec<u8>> =
                        (0..400).map(|i| udp(host(first + round * 400 + i), SERVER, 1, 1)).collect();
                    for burst in packets.chunks(32) {
                        let burst: Vec<&[u8]> = burst.iter().map(|p| &p[..]).collect();
                        let mut verdicts = judge(&mut worker, 0, &burst);
                        assert!(table.count() <= MAX);
                        worker.confirm(0, &mut verdicts, 0x7fff_7fff);
                        let full = |v: &conntab::Verdict| v.reason == Reason::TableFull;
                        assert!(verdicts.iter().all(|v| v.state == CtState::New || full(v)));
                    }
                    worker.reap(0, 0);
                    rest.wait();
                    go_on.wait();
                }
            });
        }
        for _ in 0..100 {
            rest.wait();
            let shown = table.dump(0).count() as u32;
            assert_eq!(shown, table.count());
            // Undershot by no more than the permits that the two workers keep.
            assert!((MAX - 2 * 64..=MAX).contains(&shown), "{shown}");
            go_on.wait();
        }
    });
    assert!(table.stats().early_drop > 1000);
}

#[test]
fn a_dump_under_churn_misses_nothing_that_lives_throughout() {
    let table = table(4096);
    let mut worker = table.worker().unwrap();
    let lasting: HashSet<Handle> =
        (0..500u32).map(|i| pass(&mut worker, 0, &udp(host(0x80_0000 + i), SERVER, 1, 1)).conn).collect();
    worker.idle();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| churn(&mut table.worker().unwrap(), 0, &stop));
        let _stop = Stop(&stop);
        for _ in 0..200 {
            let seen: Vec<Handle> = table.dump(0).map(|c| c.handle).collect();
            let unique: HashSet<Handle> = seen.iter().copied().collect();
            assert_eq!(unique.len(), seen.len(), "nothing twice");
            assert!(lasting.is_subset(&unique));
        }
    });
}

#[test]
fn a_flush_under_churn_ends_what_was_there() {
    let table = table(4096);
    let mut worker = table.worker().unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| churn(&mut table.worker().unwrap(), 0, &stop));
        let _stop = Stop(&stop);
        for round in 0..100u32 {
            // (While the other stands still, descheduled in a burst, some are refused.)
            let before: Vec<Handle> = (0..50)
                .map(|i| pass(&mut worker, 0, &udp(host(0x80_0000 + round * 50 + i), SERVER, 1, 1)).conn)
                .filter(|conn| !conn.is_none())
                .collect();
            worker.idle();
            assert!(table.flush() as usize >= before.len());
            assert!(before.iter().all(|conn| worker.section().get(*conn).is_none()));
        }
    });
    table.flush();
    assert_eq!((table.count(), table.dump(0).count()), (0, 0));
    let usage = table.usage();
    assert_eq!(
        (usage.bounds, usage.lost, usage.overflow_exhausted, usage.connections),
        (0, 0, 0, 0),
        "{usage:?}"
    );
}

#[test]
fn an_idle_worker_delays_reuse_and_a_stalled_one_is_reported() {
    let table = table(256);
    let [mut busy, mut other] = [table.worker().unwrap(), table.worker().unwrap()];
    let flood = |worker: &mut Worker, first: u32| {
        let mut refused = 0;
        for i in 0..20_000u32 {
            let verdict = pass(worker, 0, &udp(host(first + i), SERVER, 1, 1));
            refused += u32::from(verdict.reason == Reason::ReclaimStalled);
            if i % 256 == 0 {
                worker.reap(0, 0);
            }
        }
        refused
    };
    // It tracked and then stands still, as if descheduled.
    pass(&mut other, 0, &udp(CLIENT, SERVER, 1, 1));
    let refused = flood(&mut busy, 0);
    assert!(refused > 10_000, "{refused}");
    assert_eq!(table.stats().reclaim_stalled, u64::from(refused));
    assert!(table.usage().waiting > 4000 && table.usage().free == 0, "{:?}", table.usage());
    // Established flows go on meanwhile.
    assert_eq!(pass(&mut busy, 0, &udp(host(1), SERVER, 1, 1)).state, CtState::Drop);
    // It goes idle: all is well again.
    other.idle();
    busy.reap(0, 0);
    busy.reap(0, 0);
    assert_eq!(flood(&mut busy, 100_000), 0);
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("kB") * 1024
}

#[test]
fn the_memory_reserved_is_what_config_says() {
    let config = Config {
        max: 400_000,
        acct: true,
        timestamp: true,
        nat6: true,
        user_data: 16,
        events: 1 << 15,
        timeout_policies: 255,
        prefault: true,
        ..Config::default()
    };
    let bytes = config.memory().unwrap();
    let before = resident();
    let table = Table::new(config).unwrap();
    assert_eq!(table.memory(), bytes);
    let grown = resident() - before;
    // Other tests of this program run beside; they are small.
    assert!(grown.abs_diff(bytes) < 16 << 20, "{grown} {bytes}");
    assert!(bytes > 100 << 20);
}

#[test]
fn reaping_ends_the_expired_and_only_them() {
    let table = table(10_000);
    let mut worker = table.worker().unwrap();
    for i in 0..5000u32 {
        pass(&mut worker, u64::from(i) * 10, &udp(host(i), SERVER, 1, 1));
    }
    // Refreshed: their hints are stale, they live.
    for i in 0..100u32 {
        pass(&mut worker, 30_000 - 1, &udp(host(i), SERVER, 1, 1));
    }
    let mut expired = 0;
    for step in 0..200 {
        let reaped = worker.reap(50_000, 1024);
        expired += reaped.expired;
        if step > 20 && reaped.wrapped {
            break;
        }
    }
    // Flow i expires at 10 i + 30000; those below 100 at 59999.
    assert_eq!(expired, 2001 - 100);
    assert_eq!(table.count(), 5000 - expired);
    let mut all = 0;
    for _ in 0..40 {
        all += worker.reap(200_000, 1024).expired;
    }
    assert_eq!((all + expired, table.count()), (5000, 0));
}
