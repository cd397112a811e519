//! Growth with real threads: every key is looked for all the time, then everything must be there.
//!
//! How often it is repeated can be raised: CONNTAB_STRESS_GROWTHS.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::stress::{random, setting};
use super::*;
use crate::table::{Error, MAX_BURST};

const RELAXED: Ordering = Ordering::Relaxed;

fn settled(table: &Table<Item>, local: &mut Local<Item>) -> crate::table::audit::Audit {
    drain(table, local);
    local.enter();
    table.audit(&[local], &[]).expect("audit")
}

#[test]
fn doubles_one_by_one() {
    let table = table(growing(geometry(256, 500, 6000, 1), 3, 12_000, 8), Hasher::Mixed);
    let mut local = table.local(0).expect("worker");
    local.enter();
    let mut serial = 0;
    let mut fill = |table: &Table<Item>, local: &mut Local<Item>, n: u64| {
        for key in serial..serial + n {
            assert_eq!(insert(table, local, [key, !key]).1, Insert::Inserted);
        }
        serial += n;
        serial
    };
    // More than the heads hold: there are chains to be moved.
    let mut keys = fill(&table, &mut local, 1000);
    for size in [512, 1024, 2048] {
        assert!(table.stats().overflow_used > 0);
        table.double(&mut local).expect("room");
        table.settle_growth(&mut local);
        local.enter();
        assert_eq!(table.buckets(), size);
        for key in 0..keys {
            let [one, other] = [key, !key].map(|key| find(&table, &local, key).expect("a LIVE key"));
            assert_eq!((one.index, one.dir, other.dir), (other.index, 0, 1));
        }
        assert_eq!(settled(&table, &mut local).live, keys);
        keys = fill(&table, &mut local, u64::from(size) * 2);
        if size == 512 {
            table.extend(12_000).expect("room");
        }
    }
    assert_eq!(table.double(&mut local), Err(Error::Geometry));
    assert_eq!(table.extend(12_001), Err(Error::Geometry));
    assert_eq!(table.entries(), 12_000);
    local.enter();
    for key in 0..keys {
        let hit = find(&table, &local, key).expect("a LIVE key");
        assert!(table.kill(&mut local, hit.index, hit.word));
    }
    let audit = settled(&table, &mut local);
    assert_eq!((audit.live, audit.linked), (0, 0));
}

#[test]
fn the_last_overflow_buckets_are_for_growth() {
    // All are in use, and inserts take none of those added: the longest chains move all the same.
    let table = table(growing(geometry(2, 4, 64, 1), 1, 64, 1), Hasher::Identity);
    let mut local = table.local(0).expect("worker");
    local.enter();
    // Three chains' worth, all in bucket 0, and all but one for the same bucket of the next array.
    let keys: Vec<u64> = (0..35).map(|n| n << 32 | if n == 17 { 2 } else { 0 }).collect();
    for &key in &keys {
        assert_eq!(insert(&table, &mut local, [key, key]).1, Insert::Inserted);
    }
    assert_eq!((table.stats().overflow_used, table.stats().overflow), (4, 4));
    table.begin().expect("room");
    // Bucket 1 has room in its head and no more.
    for n in 0..7_u64 {
        assert_eq!(insert(&table, &mut local, [n << 32 | 1; 2]).1, Insert::Inserted);
    }
    table.double(&mut local).expect("room");
    table.settle_growth(&mut local);
    local.enter();
    for key in keys {
        assert!(find(&table, &local, key).is_some());
    }
    assert_eq!(settled(&table, &mut local).live, 42);
    assert_eq!(table.stats().overflow_exhausted, 0);
}

/// What all threads of a run share.
struct Run {
    table: Table<Item>,
    start: Barrier,
    /// Keys that each worker is to have LIVE.
    target: AtomicUsize,
    /// Those that have so many.
    full: AtomicUsize,
    stop: AtomicBool,
}

const CONTESTED: u64 = 32;

/// Inserts, deletes and looks for every key of its own, round and round. A few keys are wanted by both workers.
fn work(run: &Run, worker: u32) {
    let table = &run.table;
    let mut local = table.local(worker).expect("worker");
    let mut seed = 0x9e37_79b9_7f4a_7c15 ^ u64::from(worker + 1) << 32;
    let mut mine: Vec<(u32, u64)> = Vec::new();
    let (mut serial, mut at, mut checked, mut full) = (0_u64, 0, 0_u64, 0);
    run.start.wait();
    while !run.stop.load(RELAXED) {
        local.enter();
        let target = run.target.load(RELAXED);
        let mut gone = Vec::new();
        for _ in 0..8 {
            if mine.len() + 16 > target {
                let (index, key) = mine.swap_remove(random(&mut seed) as usize % mine.len());
                assert!(
                    table.delete(&mut local, index, table.generation(index)),
                    "an entry of our own was gone"
                );
                gone.push(key);
            }
        }
        let (mut burst, mut keys, mut n) = ([(0, 0); 16], [0; 16], 0);
        while n < burst.len() && mine.len() + n < target {
            serial += 1;
            let key = match random(&mut seed).is_multiple_of(16) {
                true => random(&mut seed) % CONTESTED,
                false => u64::from(worker + 1) << 60 | (serial + CONTESTED),
            };
            let pair = if worker == 0 { [key, !key] } else { [!key, key] };
            let Some(index) = prepare(table, &mut local, pair, 0) else { break };
            (burst[n], keys[n]) = ((index, table.hash(&pair[0])), key);
            n += 1;
        }
        let mut results = [Insert::Inserted; 16];
        table.insert_burst(&mut local, &burst[..n], 0, &mut results[..n], &mut |_, _| panic!("none expires"));
        for i in 0..n {
            match results[i] {
                Insert::Inserted => mine.push((burst[i].0, keys[i])),
                Insert::Adopted(_) => assert!(keys[i] < CONTESTED),
                Insert::Failed(failure) => panic!("{failure:?}: {:?}", table.stats()),
            }
        }
        for key in gone.into_iter().filter(|key| *key >= CONTESTED) {
            assert!(find(table, &local, key).is_none() && find(table, &local, !key).is_none(), "back again");
        }
        // Every key in turn, under both names, by both kinds of lookup.
        for _ in 0..2 {
            let n = mine.len().min(MAX_BURST / 2);
            let (mut keys, mut indices) = ([0; MAX_BURST], [0; MAX_BURST]);
            for i in 0..n {
                at = (at + 1) % mine.len();
                let (index, key) = mine[at];
                (keys[2 * i], keys[2 * i + 1]) = (key, !key);
                (indices[2 * i], indices[2 * i + 1]) = (index, index);
                checked += 1;
            }
            let hashes = keys.map(|key| table.hash(&key));
            let mut hits = [None; MAX_BURST];
            table.lookup_burst(&local, &hashes[..2 * n], &keys[..2 * n], &mut hits[..2 * n]);
            for i in 0..2 * n {
                assert_eq!(hits[i].map(|hit| hit.index), Some(indices[i]), "key {:#x} of a burst", keys[i]);
            }
            for i in 0..n {
                assert_eq!(find(table, &local, keys[i]).map(|hit| hit.index), Some(indices[i]));
            }
        }
        if mine.len() >= target && target > full {
            full = target;
            run.full.fetch_add(1, RELAXED);
        }
        if random(&mut seed).is_multiple_of(16) {
            table.reclaim(&mut local);
        }
    }
    local.enter();
    for (index, key) in &mine {
        assert_eq!(find(table, &local, *key).map(|hit| hit.index), Some(*index));
    }
    eprintln!("worker {worker}: {} keys, {serial} inserts, {checked} checked", mine.len());
}

/// Grows `doublings` times while two workers are at it, from half full to as full as it may be and on; `alone`: nobody but
/// the workers moves anything.
fn grow(first: u32, doublings: u32, alone: bool) {
    // 4.8 slots a bucket, at two a connection; each worker has half of them.
    let share = |buckets: u32| (buckets * 6 / 5) as usize;
    let entries = |buckets: u32| 2 * share(buckets) as u32 + 4096;
    let overflow = first / 5 * 2 + 1024;
    let most = entries(first << doublings);
    let shape = growing(geometry(first, overflow, entries(first), 2), doublings, most, 8);
    let run = Run {
        table: table(shape, Hasher::Mixed),
        start: Barrier::new(3),
        target: AtomicUsize::new(share(first)),
        full: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
    };
    let (table, wait) = (&run.table, |until: &dyn Fn() -> bool| {
        while !until() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let run = &run;
            scope.spawn(move || work(run, worker));
        }
        // If one of the workers panics, the other ends, and so does this.
        let mut control = table.control();
        run.start.wait();
        for n in 1..=doublings {
            wait(&|| run.full.load(RELAXED) == 2 * n as usize);
            let size = first << n;
            if alone {
                table.begin().expect("room");
                wait(&|| table.buckets() == size);
            }
            table.extend(entries(size)).expect("room");
            while table.buckets() < size {
                table.double(&mut control).expect("room");
            }
            run.target.store(share(size), RELAXED);
        }
        wait(&|| run.full.load(RELAXED) == 2 * (doublings as usize + 1));
        run.stop.store(true, RELAXED);
    });
    let mut local = table.local(0).expect("worker");
    table.settle_growth(&mut local);
    let audit = settled(table, &mut local);
    let stats = table.stats();
    eprintln!("{audit:?}\n{stats:?}");
    assert_eq!(table.buckets(), first << doublings);
    assert_eq!((stats.lost, stats.bounds, stats.attempts_exhausted, stats.overflow_exhausted), (0, 0, 0, 0));
    for index in 0..table.entries() {
        let word = table.entry(index).word().load(Ordering::Acquire);
        table.kill(&mut local, index, word);
    }
    let audit = settled(table, &mut local);
    assert_eq!((audit.live, audit.linked), (0, 0));
    assert_eq!(audit.free + audit.cached, u64::from(table.entries()));
}

#[test]
fn every_key_is_found_while_the_table_grows() {
    for _ in 0..setting("CONNTAB_STRESS_GROWTHS", 3) {
        grow(256, if cfg!(debug_assertions) { 3 } else { 8 }, false);
    }
}

#[test]
fn workers_alone_make_it_grow() {
    for _ in 0..setting("CONNTAB_STRESS_GROWTHS", 2) {
        grow(256, if cfg!(debug_assertions) { 2 } else { 5 }, true);
    }
}

#[test]
fn clashes_while_the_table_grows() {
    // From one head on, few keys, many entries that die: helpers, killed attempts, chains closed and frozen at once.
    for round in 0..30 * setting("CONNTAB_STRESS_GROWTHS", if cfg!(debug_assertions) { 1 } else { 2 }) {
        let table = table(growing(geometry(1, 1024, 4096, 2), 6, 4096, 0), Hasher::Mixed);
        let (start, grown) = (Barrier::new(3), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for worker in 0..2 {
                let (table, start, grown) = (&table, &start, &grown);
                scope.spawn(move || {
                    let mut local = table.local(worker).expect("worker");
                    let mut seed = 1 + u64::from(worker) + (u64::from(round) << 8);
                    let mut last = false;
                    start.wait();
                    for step in 0.. {
                        local.enter();
                        let pair = [random(&mut seed) % 24, random(&mut seed) % 24];
                        if let Some(index) = prepare(table, &mut local, pair, 0) {
                            match table.insert(&mut local, index, 0, &mut |_, _| {}) {
                                Insert::Inserted => {}
                                Insert::Adopted(hit) => {
                                    assert!(
                                        pair.contains(&table.key(hit.index, hit.dir)),
                                        "reused while held"
                                    );
                                    table.kill(&mut local, hit.index, hit.word);
                                }
                                Insert::Failed(failure) => panic!("{failure:?}: {:?}", table.stats()),
                            }
                        }
                        let key = random(&mut seed) % 24;
                        if let Some(hit) = find(table, &local, key) {
                            assert_eq!(table.key(hit.index, hit.dir), key, "reused while held");
                        }
                        if step % 64 == 0 {
                            table.reclaim(&mut local);
                        }
                        if last {
                            break;
                        }
                        last = grown.load(RELAXED);
                    }
                });
            }
            let mut control = table.control();
            start.wait();
            for _ in 0..6 {
                std::thread::sleep(std::time::Duration::from_micros(200));
                table.double(&mut control).expect("room");
            }
            grown.store(true, RELAXED);
        });
        let mut local = table.local(0).expect("worker");
        settled(&table, &mut local);
        assert_eq!((table.stats().lost, table.stats().bounds, table.stats().attempts_exhausted), (0, 0, 0));
    }
}
