//! loom models: every interleaving of a few threads (up to the preemption bound), under the C11 memory model.
//!
//! Run by `ci/loom.sh`; `ci/mutants.sh` shows which defect each one catches. Tables have two slots a bucket; the
//! hash is the identity, so a key's low bits choose its bucket. Entries are prepared before the threads start, unless
//! the model is about that.

mod exhaustion;
mod growth;
mod insert;
mod marks;
mod overflow;
mod remove;
mod reuse;

use loom::thread;
use std::sync::Arc;

use super::*;
use crate::sync::fence;
use crate::table::bucket;
use crate::table::insert::Scan;
use crate::table::stack::{Chain, List, Stack};
use crate::table::word::{KILLED, LIVE, READY, life};

type Shared = Arc<Table<Item>>;

/// Explores `f` up to the bound of LOOM_MAX_PREEMPTIONS, else `bound`.
fn model_at(bound: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.map_or(Some(bound), |asked| Some(asked.max(bound)));
    builder.max_branches = 100_000;
    builder.check(f);
}

fn model(f: impl Fn() + Sync + Send + 'static) {
    model_at(2, f);
}

/// For the largest models: one preemption less than asked.
fn below(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.unwrap_or(2).saturating_sub(1));
    builder.max_branches = 100_000;
    builder.check(f);
}

fn shared(buckets: u32, overflow: u32, entries: u32, workers: u32) -> Shared {
    Arc::new(table(geometry(buckets, overflow, entries, workers), Hasher::Identity))
}

fn local(table: &Shared, worker: u32) -> Local<Item> {
    let mut local = table.local(worker).expect("worker");
    local.enter();
    local
}

/// A LIVE entry with these keys.
fn live(table: &Shared, local: &mut Local<Item>, keys: [u64; 2]) -> Hit {
    let (index, result) = insert(table, local, keys);
    assert_eq!(result, Insert::Inserted);
    Hit { index, dir: 0, word: table.entry(index).word.load(Ordering::Relaxed) }
}

/// Runs `f` with a worker's access in a thread of its own; gives the access back, left.
fn spawn<R: 'static>(
    table: &Shared,
    mut local: Local<Item>,
    f: impl FnOnce(&Shared, &mut Local<Item>) -> R + 'static,
) -> thread::JoinHandle<(Local<Item>, R)> {
    let table = table.clone();
    thread::spawn(move || {
        local.enter();
        let result = f(&table, &mut local);
        local.leave();
        (local, result)
    })
}

/// Runs two threads while this one waits: neither needs a preemption to start.
fn both<A: 'static, B: 'static>(
    table: &Shared,
    locals: [Local<Item>; 2],
    a: impl FnOnce(&Shared, &mut Local<Item>) -> A + 'static,
    b: impl FnOnce(&Shared, &mut Local<Item>) -> B + 'static,
) -> ([Local<Item>; 2], A, B) {
    let [zero, one] = locals;
    let (a, b) = (spawn(table, zero, a), spawn(table, one, b));
    let ((zero, a), (one, b)) = (a.join().unwrap(), b.join().unwrap());
    ([zero, one], a, b)
}

fn prepared(table: &Shared, local: &mut Local<Item>, keys: [u64; 2]) -> u32 {
    prepare(table, local, keys, 0).expect("an entry")
}

fn insert_index(table: &Shared, local: &mut Local<Item>, index: u32) -> Insert {
    table.insert(local, index, 0, &mut |_, _| {})
}

/// After the threads: reclaims, and accounts for everything. `workers` are all the accesses there are.
fn settle(table: &Shared, workers: &mut [Local<Item>]) -> crate::table::audit::Audit {
    for worker in workers.iter_mut() {
        worker.leave();
    }
    for _ in 0..2 {
        table.reclaim(&mut workers[0]);
    }
    workers[0].enter();
    let workers: Vec<&Local<Item>> = workers.iter().collect();
    table.audit(&workers, &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// Inserts each pair of keys in a thread of its own and returns how many are LIVE; whoever adopts must find its
/// winner under both of the winner's keys.
fn race(table: Shared, pairs: &[[u64; 2]]) -> u64 {
    let mut locals: Vec<_> = (0..pairs.len() as u32).map(|worker| local(&table, worker)).collect();
    let indices: Vec<_> =
        pairs.iter().zip(&mut locals).map(|(keys, local)| prepared(&table, local, *keys)).collect();
    locals.iter_mut().for_each(Local::leave);
    let mut threads = Vec::new();
    let mut jobs: Vec<_> = locals.into_iter().zip(indices).collect();
    let last = jobs.pop().expect("pairs");
    let job = move |index| {
        move |table: &Shared, local: &mut Local<Item>| {
            let result = insert_index(table, local, index);
            if let Insert::Adopted(hit) = result {
                for key in [0, 1].map(|dir| table.key(hit.index, dir)) {
                    assert_eq!(
                        find(table, local, key).map(|hit| hit.index),
                        Some(hit.index),
                        "half an entry"
                    );
                }
            } else {
                assert_eq!(result, Insert::Inserted);
            }
            result
        }
    };
    for (local, index) in jobs {
        threads.push(spawn(&table, local, job(index)));
    }
    let (mut local, index) = last;
    local.enter();
    let mut results = vec![job(index)(&table, &mut local)];
    local.leave();
    let mut locals = vec![local];
    for thread in threads {
        let (local, result) = thread.join().unwrap();
        locals.push(local);
        results.push(result);
    }
    let inserted = results.iter().filter(|result| **result == Insert::Inserted).count();
    let audit = settle(&table, &mut locals);
    assert_eq!(audit.live, inserted as u64);
    audit.live
}

/// A table of one bucket, full, with these keys (below 16) behind it in overflow buckets, two in each.
fn chained(overflow: u32, workers: u32, behind: &[u64]) -> (Shared, Vec<Local<Item>>, Vec<Hit>) {
    let table = shared(1, overflow, 12, workers);
    let mut locals: Vec<_> = (0..workers).map(|worker| local(&table, worker)).collect();
    for key in [100, 101] {
        live(&table, &mut locals[0], [key, key]);
    }
    let hits = behind.iter().map(|key| live(&table, &mut locals[0], [*key, *key])).collect();
    (table, locals, hits)
}

fn hit_generation(table: &Shared, hit: &Hit) -> u32 {
    table.entry(hit.index).generation.load(Ordering::Relaxed)
}
