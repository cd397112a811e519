//! The reaper's hints, while connections come into the table that are due at once: none stays behind.
mod common;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::*;
use conntab::{Table, Worker};

/// One round of it; returns how many connections are left 16 days and 400 sweeps after all have expired.
fn race(timeout: u32, skew: u64) -> u32 {
    let mut c = config(2000);
    c.tunables.udp_timeout = timeout;
    c.workers = 2;
    let table = Table::new(c).unwrap();
    let start = 1_000_000u64;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (table, stop) = (&table, &stop);
        scope.spawn(move || {
            let mut reaper = table.worker().unwrap();
            while !stop.load(Ordering::Relaxed) {
                // The reaper's clock is ahead by what is allowed.
                reaper.reap(start + skew, u32::MAX);
            }
        });
        let mut w: Worker = table.worker().unwrap();
        let packets: Vec<_> = (0..64u32).map(|n| udp(host(n), SERVER, 1, 1)).collect();
        for round in 0..300u32 {
            let mut packets = packets.clone();
            for p in &mut packets {
                p[16..20].copy_from_slice(&host(round));
            }
            let refs: Vec<&[u8]> = packets.iter().map(|p| &p[..]).collect();
            let mut v = judge(&mut w, start, &refs);
            w.confirm(start, &mut v, u64::MAX);
            w.idle();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut w = table.worker().unwrap();
    for hour in 1..400u64 {
        w.reap(start + skew + hour * 3_600_000, u32::MAX);
    }
    table.count()
}

fn never_left(timeout: u32, skew: u64) {
    for round in 0..3 {
        let left = race(timeout, skew);
        assert_eq!(left, 0, "round {round}: expired 16 days ago, swept 400 times, still there");
    }
}

#[test]
fn timeout_zero() {
    never_left(0, 0);
}

#[test]
fn timeout_of_one_second_and_clocks_a_second_apart() {
    never_left(1, 1000);
}
