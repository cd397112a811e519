//! Two threads at a table that is full all the time: fifty turnovers, then everything must be there.
//!
//! The size and the number of turnovers can be raised: CONNTAB_STRESS_MAX, CONNTAB_STRESS_TURNOVERS.

use std::sync::Barrier;

use super::*;

pub(super) fn setting(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

pub(super) fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Shape of a run.
struct Shape {
    max: u32,
    turnovers: u32,
    /// Overflow buckets linked at the end, per head bucket, at most.
    linked: f64,
    load: f64,
}

/// Each worker owns half the keys, so it knows exactly which are LIVE; a tenth of its inserts, though, are for keys that
/// both fight for, whose outcome only the audit judges.
fn churn(table: &Table<Item>, worker: u32, shape: &Shape, start: &Barrier) {
    let mut local = table.local(worker).expect("worker");
    let mut seed = 0x9e37_79b9_7f4a_7c15 ^ u64::from(worker + 1) << 32;
    let share = shape.max / 2;
    let mut mine: Vec<(u32, u32, u64)> = Vec::new();
    let mut serial = 0_u64;
    start.wait();
    let mut inserts = 0_u64;
    let mut peak = 0;
    while inserts < u64::from(share) * u64::from(shape.turnovers) {
        local.enter();
        let mut burst = [0; 32];
        let mut keys = [0; 32];
        let mut n = 0;
        while n < burst.len() {
            if mine.len() + n >= share as usize {
                if mine.is_empty() {
                    break;
                }
                let (index, generation, _) = mine.swap_remove(random(&mut seed) as usize % mine.len());
                assert!(table.delete(&mut local, index, generation), "an entry of our own was gone");
            }
            serial += 1;
            let contested = random(&mut seed).is_multiple_of(10);
            let key = if contested {
                random(&mut seed) % CONTESTED
            } else {
                u64::from(worker + 1) << 60 | (serial + CONTESTED)
            };
            // Mirrored for the other worker, as a crossing pair of packets would be.
            let pair = if worker == 0 { [key, !key] } else { [!key, key] };
            let Some(index) = prepare(table, &mut local, pair, 0) else { break };
            (burst[n], keys[n]) = (index, key);
            n += 1;
        }
        let mut results = [Insert::Inserted; 32];
        insert_burst(table, &mut local, &burst[..n], 0, &mut results[..n], &mut |_, _| {
            panic!("none expires")
        });
        for i in 0..n {
            match results[i] {
                Insert::Inserted => {
                    inserts += 1;
                    let generation = table.entry(burst[i]).generation.load(Ordering::Relaxed);
                    mine.push((burst[i], generation, keys[i]));
                }
                Insert::Adopted(_) => assert!(keys[i] < CONTESTED),
                Insert::Failed(failure) => panic!("{failure:?}: {:?}", table.stats()),
            }
        }
        // A glance at some of our own.
        for _ in 0..8 {
            let Some(&(index, generation, key)) = mine.get(random(&mut seed) as usize % mine.len().max(1))
            else {
                break;
            };
            if key >= CONTESTED {
                let hit = find(table, &local, key).expect("a LIVE key");
                assert_eq!((hit.index, table.get(&local, index, generation).is_some()), (index, true));
                assert_eq!(find(table, &local, !key).map(|hit| hit.index), Some(index));
            }
        }
        peak = peak.max(table.stats().overflow_used);
        if random(&mut seed).is_multiple_of(16) {
            local.leave();
            table.reclaim(&mut local);
        }
    }
    local.enter();
    for (index, _, key) in mine {
        if key >= CONTESTED {
            assert_eq!(find(table, &local, key).map(|hit| hit.index), Some(index));
        }
    }
    eprintln!("worker {worker}: {inserts} inserts, at most {peak} overflow buckets in use");
}

const CONTESTED: u64 = 64;

fn run(shape: &Shape) {
    let heads = (f64::from(shape.max) * 2.0 / 7.0 / shape.load) as u32;
    let buckets = heads.next_power_of_two();
    let geometry =
        geometry(buckets, Geometry::default_overflow(buckets), shape.max + shape.max / 32 + 4096, 2);
    let table = table(geometry, Hasher::Mixed);
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (table, start) = (&table, &start);
            scope.spawn(move || churn(table, worker, shape, start));
        }
    });
    let mut local = table.local(0).expect("worker");
    drain(&table, &mut local);
    local.enter();
    let audit = table.audit(&[&local], &[]).expect("audit");
    let stats = table.stats();
    eprintln!("{audit:?}\n{stats:?}");
    assert!(audit.live <= u64::from(shape.max) && audit.live >= u64::from(shape.max) * 9 / 10);
    let linked = audit.linked as f64 / f64::from(buckets);
    assert!(linked <= shape.linked, "{linked:.3} overflow buckets per head: the pool drifts");
    assert_eq!((stats.lost, stats.bounds, stats.attempts_exhausted, stats.overflow_exhausted), (0, 0, 0, 0));
    // And empty again: every bucket and index comes back.
    for index in 0..table.entries() {
        let word = table.entry(index).word().load(Ordering::Acquire);
        table.kill(&mut local, index, word);
    }
    drain(&table, &mut local);
    local.enter();
    let audit = table.audit(&[&local], &[]).expect("audit");
    assert_eq!((audit.live, audit.linked), (0, 0));
    assert_eq!(audit.free + audit.cached, u64::from(table.entries()));
}

#[test]
fn fifty_turnovers_at_max() {
    // Load 0.55 to 0.69 of the head slots, by the rounding to a power of two.
    let max = setting("CONNTAB_STRESS_MAX", if cfg!(debug_assertions) { 5_000 } else { 80_000 });
    let turnovers = setting("CONNTAB_STRESS_TURNOVERS", 50);
    run(&Shape { max, turnovers, linked: 0.36, load: 0.70 });
}

#[test]
fn chains_everywhere() {
    // Twelve entries for each head bucket's seven slots: overflow is the rule.
    let max = if cfg!(debug_assertions) { 1_250 } else { 10_000 };
    let buckets = 1 << (max / 8_u32).ilog2();
    let geometry = geometry(buckets, 6 * buckets, max + 4096, 2);
    let table = table(geometry, Hasher::Mixed);
    let shape = Shape { max, turnovers: 50, linked: 6.0, load: 1.0 };
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (table, start, shape) = (&table, &start, &shape);
            scope.spawn(move || churn(table, worker, shape, start));
        }
    });
    let mut local = table.local(0).expect("worker");
    drain(&table, &mut local);
    local.enter();
    eprintln!("{:?}", table.audit(&[&local], &[]).expect("audit"));
}

#[test]
fn everybody_wants_the_same() {
    // Eight keys, both directions, insert and delete as fast as they go: clashes, helpers, adoptions, killed attempts.
    let rounds = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };
    let table = table(geometry(2, 256, 4096, 2), Hasher::Mixed);
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (table, start) = (&table, &start);
            scope.spawn(move || {
                let mut local = table.local(worker).expect("worker");
                let mut seed = 1 + u64::from(worker);
                start.wait();
                for round in 0..rounds {
                    local.enter();
                    let pair = [random(&mut seed) % 8, random(&mut seed) % 8];
                    if let Some(index) = prepare(table, &mut local, pair, 0) {
                        match table.insert(&mut local, index, 0, &mut |_, _| {}) {
                            Insert::Inserted => {}
                            Insert::Adopted(hit) => {
                                assert!(pair.contains(&table.key(hit.index, hit.dir)), "reused while held");
                                table.kill(&mut local, hit.index, hit.word);
                            }
                            Insert::Failed(failure) => panic!("{failure:?}: {:?}", table.stats()),
                        }
                    }
                    let key = random(&mut seed) % 8;
                    if let Some(hit) = find(table, &local, key) {
                        assert_eq!(table.key(hit.index, hit.dir), key, "reused while held");
                    }
                    if round % 64 == 0 {
                        local.leave();
                        table.reclaim(&mut local);
                    }
                }
            });
        }
    });
    let mut local = table.local(0).expect("worker");
    drain(&table, &mut local);
    local.enter();
    let audit = table.audit(&[&local], &[]).expect("audit");
    eprintln!("{audit:?}\n{:?}", table.stats());
    assert_eq!((table.stats().lost, table.stats().bounds, table.stats().attempts_exhausted), (0, 0, 0));
}
