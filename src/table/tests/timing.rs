//! Is a burst lookup near the memory's limit? Not a benchmark: a glance, on demand.
//!
//! `cargo test --release --lib table::tests::timing -- --ignored --nocapture --test-threads 1`

use super::*;
use crate::memory::{Array, Huge, prefetch};

const BURST: usize = 32;
const BURSTS: usize = 60_000;

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Nanoseconds of this thread's CPU time.
fn cpu() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the call to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Nanoseconds for each of the `BURST` items of each job: the best of seven runs, taken in turns.
fn time<const N: usize>(mut jobs: [&mut dyn FnMut(&mut u64); N]) -> [f64; N] {
    let mut best = [f64::MAX; N];
    for run in 0..7 {
        for (job, best) in jobs.iter_mut().zip(&mut best) {
            let mut seed = 0x1234_5678_9abc_def0 + run;
            let start = cpu();
            for _ in 0..BURSTS {
                job(&mut seed);
            }
            *best = best.min((cpu() - start) / (BURSTS * BURST) as f64);
        }
    }
    best
}

fn glance(max: u32, turnovers: u64) {
    let options = Options { huge: Huge::Madvise, prefault: true };
    // As DESIGN has it: 2^22 head buckets for 10 M entries under two keys.
    let buckets = (u64::from(max) * 2 * 10 / 48).next_power_of_two() as u32;
    let entries = max + max / 32 + 4096;
    let geometry = geometry(buckets, Geometry::default_overflow(buckets), entries, 1);
    let table = Table::<Item>::new(geometry, Hasher::Mixed, options).expect("memory");
    let mut local = table.local(0).expect("worker");
    let key = |n: u64| (n << 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);

    // New connections in bursts; then turnovers: the oldest goes, a new one comes.
    let mut next = 0_u64;
    let insert_burst = |local: &mut Local<Item>, next: &mut u64| {
        local.enter();
        let mut indices = [0; BURST];
        for index in &mut indices {
            *index = prepare(&table, local, [key(*next), !key(*next)], 0).expect("an entry");
            *next += 1;
        }
        let mut results = [Insert::Inserted; BURST];
        table.insert_burst(local, &indices, 0, &mut results, &mut |_, _| {});
        assert_eq!(results, [Insert::Inserted; BURST]);
    };
    let start = cpu();
    while next < u64::from(max) {
        insert_burst(&mut local, &mut next);
    }
    let fill = (cpu() - start) / next as f64;
    let mut oldest = 0_u64;
    let start = cpu();
    while oldest < u64::from(max) * turnovers {
        local.enter();
        for _ in 0..BURST {
            let hit = find(&table, &local, key(oldest)).expect("LIVE");
            assert!(table.kill(&mut local, hit.index, hit.word));
            oldest += 1;
        }
        insert_burst(&mut local, &mut next);
        if oldest.is_multiple_of(2048) {
            table.reclaim(&mut local);
        }
    }
    let churn = (cpu() - start) / oldest.max(1) as f64;
    local.enter();

    let lookup = |local: &Local<Item>, seed: &mut u64, miss: u64| {
        let mut keys = [0; BURST];
        let mut hashes = [0; BURST];
        for (slot, hash) in keys.iter_mut().zip(&mut hashes) {
            let n = oldest + random(seed) % u64::from(max);
            *slot = if random(seed) & 1 == 0 { key(n) } else { !key(n) } ^ miss;
            *hash = table.hash(slot);
            table.prefetch(*hash);
        }
        let mut out = [None; BURST];
        table.lookup_burst(local, &hashes, &keys, &mut out);
        out
    };
    let mut hit = |seed: &mut u64| {
        for hit in lookup(&local, seed, 0).into_iter().flatten() {
            // What a tracker does: touch the entry.
            table.entry(hit.index).link().store(1, Ordering::Relaxed);
        }
    };
    let all = lookup(&local, &mut 99, 0).iter().flatten().count();
    assert_eq!(all, BURST);
    let mut miss = |seed: &mut u64| {
        assert!(lookup(&local, seed, 1 << 63 | 1).iter().flatten().count() < BURST);
    };
    let linked = table.stats().overflow_used as f64 / f64::from(buckets);

    // The yardstick: the same generator and hash, one line of a region as large as the index, one entry line chosen by
    // what is read there, compare, store.
    let index = Array::<crate::table::bucket::Bucket>::new(buckets as usize, options).expect("memory");
    let mut seed = 7;
    for bucket in index.iter() {
        bucket.meta.store(random(&mut seed), Ordering::Relaxed);
    }
    let mask = u64::from(buckets) - 1;
    let mut yardstick = |seed: &mut u64| {
        let mut keys = [0; BURST];
        let mut hashes = [0; BURST];
        for (slot, hash) in keys.iter_mut().zip(&mut hashes) {
            let n = oldest + random(seed) % u64::from(max);
            *slot = if random(seed) & 1 == 0 { key(n) } else { !key(n) };
            *hash = table.hash(slot);
            prefetch(&index[(*hash & mask) as usize]);
        }
        let mut at = [0; BURST];
        for (hash, at) in hashes.iter().zip(&mut at) {
            let word = index[(hash & mask) as usize].meta.load(Ordering::Acquire);
            *at = ((word ^ hash) % u64::from(entries)) as u32;
            prefetch(table.entry(*at));
        }
        for (at, key) in at.iter().zip(&keys) {
            let item = table.entry(*at);
            item.link().store(1 + u32::from(item.key_eq(0, key)), Ordering::Relaxed);
        }
    };
    let [hit, miss, yardstick] = time([&mut hit, &mut miss, &mut yardstick]);
    println!(
        "{max} entries, {turnovers} turnovers, {linked:.2} overflow buckets a head: ns per item: \
         hit {hit:.1}, miss {miss:.1}, yardstick {yardstick:.1} (hit at {:.2} x its rate); \
         insert of both keys {fill:.1}, lookup + kill + insert {churn:.1}",
        yardstick / hit
    );
}

#[test]
#[ignore = "a measurement"]
fn burst_lookup() {
    for max in [10_000, 1_000_000, 10_000_000] {
        glance(max, 2);
    }
}
