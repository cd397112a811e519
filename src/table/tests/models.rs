//! loom models: every interleaving of a few threads (up to the preemption bound), under the C11 memory model.
//!
//! Run by `ci/loom.sh`; `ci/mutations.sh` shows which defect each one catches. Tables have two slots a bucket; the
//! hash is the identity, so a key's low bits choose its bucket. Entries are prepared before the threads start, unless
//! the model is about that.

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
/// winner under both keys if they are `mirrored`.
fn race(table: Shared, pairs: &[[u64; 2]], mirrored: bool) -> u64 {
    let mut locals: Vec<_> = (0..pairs.len() as u32).map(|worker| local(&table, worker)).collect();
    let indices: Vec<_> =
        pairs.iter().zip(&mut locals).map(|(keys, local)| prepared(&table, local, *keys)).collect();
    locals.iter_mut().for_each(Local::leave);
    let mut threads = Vec::new();
    let mut jobs: Vec<_> = locals.into_iter().zip(indices).zip(pairs.iter().copied()).collect();
    let last = jobs.pop().expect("pairs");
    let job = move |index, keys: [u64; 2]| {
        move |table: &Shared, local: &mut Local<Item>| {
            let result = insert_index(table, local, index);
            if let Insert::Adopted(hit) = result {
                for key in keys {
                    let found = find(table, local, key);
                    if mirrored {
                        assert_eq!(found.map(|hit| hit.index), Some(hit.index), "half an entry");
                    }
                }
            } else {
                assert_eq!(result, Insert::Inserted);
            }
            result
        }
    };
    for ((local, index), keys) in jobs {
        threads.push(spawn(&table, local, job(index, keys)));
    }
    let ((mut local, index), keys) = last;
    local.enter();
    let mut results = vec![job(index, keys)(&table, &mut local)];
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

#[test]
fn insert_insert_one_key() {
    model(|| assert_eq!(race(shared(1, 0, 4, 2), &[[0, 0], [0, 0]], true), 1));
}

#[test]
fn insert_insert_mirrored() {
    model(|| assert_eq!(race(shared(2, 0, 4, 2), &[[0, 1], [1, 0]], true), 1));
}

#[test]
fn insert_insert_half() {
    // As NAT makes them: one key in common.
    model(|| assert_eq!(race(shared(4, 0, 4, 2), &[[0, 1], [2, 1]], false), 1));
}

#[test]
fn insert_cycle() {
    model(|| assert_eq!(race(shared(4, 0, 6, 3), &[[0, 1], [1, 2], [2, 0]], false), 1));
}

#[test]
fn insert_insert_overflow() {
    // One bucket: both link an overflow bucket, or share it.
    model(|| assert_eq!(race(shared(1, 3, 4, 2), &[[0, 1], [1, 0]], true), 1));
}

#[test]
fn insert_burst_mirrored() {
    model(|| {
        let table = shared(4, 0, 8, 2);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let pairs = [[[0, 1], [2, 3]], [[1, 0], [3, 2]]];
        let indices = [0, 1].map(|w: usize| pairs[w].map(|keys| prepared(&table, &mut workers[w], keys)));
        let burst = |indices: [u32; 2]| {
            move |table: &Shared, local: &mut Local<Item>| {
                let mut results = [Insert::Inserted; 2];
                table.insert_burst(local, &indices, 0, &mut results, &mut |_, _| {});
                assert!(results.iter().all(|result| !matches!(result, Insert::Failed(_))));
                results.map(|result| result == Insert::Inserted)
            }
        };
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let thread = spawn(&table, zero, burst(indices[0]));
        one.enter();
        let ours = burst(indices[1])(&table, &mut one);
        let (zero, theirs) = thread.join().unwrap();
        assert_eq!(ours.iter().chain(&theirs).filter(|inserted| **inserted).count(), 2);
        assert_eq!(settle(&table, &mut [zero, one]).live, 2);
    });
}

#[test]
fn insert_burst_inner_clash() {
    // Two of one burst clash with each other, and one of them with the other thread's.
    model(|| {
        let table = shared(4, 0, 6, 2);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let pair = [[0, 1], [1, 2]].map(|keys| prepared(&table, &mut workers[0], keys));
        let single = prepared(&table, &mut workers[1], [0, 3]);
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let thread = spawn(&table, zero, move |table, local| {
            let mut results = [Insert::Inserted; 2];
            table.insert_burst(local, &pair, 0, &mut results, &mut |_, _| {});
            assert!(results.iter().all(|result| !matches!(result, Insert::Failed(_))));
        });
        one.enter();
        insert_index(&table, &mut one, single);
        let (zero, ()) = thread.join().unwrap();
        assert!((1..=2).contains(&settle(&table, &mut [zero, one]).live));
    });
}

#[test]
fn insert_against_delete() {
    model(|| {
        let table = shared(2, 0, 4, 2);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let old = live(&table, &mut workers[0], [0, 1]);
        let new = prepared(&table, &mut workers[1], [1, 0]);
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let thread = spawn(&table, zero, move |table, local| assert!(table.delete(local, old.index, 1)));
        one.enter();
        let result = insert_index(&table, &mut one, new);
        match result {
            Insert::Adopted(hit) => assert_eq!(hit.index, old.index),
            other => assert_eq!(other, Insert::Inserted),
        }
        let (zero, ()) = thread.join().unwrap();
        let audit = settle(&table, &mut [zero, one]);
        assert_eq!(audit.live, u64::from(result == Insert::Inserted));
    });
}

#[test]
fn delete_against_delete() {
    model(|| {
        let table = shared(2, 0, 4, 2);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let old = live(&table, &mut workers[0], [0, 1]);
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let thread = spawn(&table, zero, move |table, local| table.delete(local, old.index, 1));
        one.enter();
        let ours = table.kill(&mut one, old.index, old.word);
        let (zero, theirs) = thread.join().unwrap();
        assert!(ours != theirs);
        assert_eq!(settle(&table, &mut [zero, one]).live, 0);
    });
}

#[test]
fn kill_against_refresh() {
    // A reaper that judged by an old word must lose against a refresh, a delete by handle must not.
    model(|| {
        let table = shared(2, 0, 4, 2);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let old = live(&table, &mut workers[0], [0, 1]);
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let thread = spawn(&table, zero, move |table, _| {
            let word = &table.entry(old.index).word;
            let fresh = old.word | 7 << 32;
            word.compare_exchange(old.word, fresh, Ordering::AcqRel, Ordering::Acquire).is_ok()
        });
        one.enter();
        let killed = table.kill(&mut one, old.index, old.word);
        let (zero, refreshed) = thread.join().unwrap();
        assert!(killed != refreshed);
        if refreshed {
            assert!(table.delete(&mut one, old.index, 1));
        }
        assert_eq!(settle(&table, &mut [zero, one]).live, 0);
    });
}

#[test]
fn lookup_against_insert() {
    // Both keys appear at one instant, and the entry is complete.
    model(|| {
        let table = shared(2, 0, 4, 2);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let index = prepared(&table, &mut workers[0], [0, 1]);
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let thread = spawn(&table, zero, move |table, local| {
            assert_eq!(insert_index(table, local, index), Insert::Inserted);
        });
        one.enter();
        if let Some(hit) = find(&table, &one, 1) {
            assert_eq!((hit.index, hit.dir), (index, 1));
            assert!(find(&table, &one, 0).is_some(), "half an entry");
        }
        let (zero, ()) = thread.join().unwrap();
        assert_eq!(settle(&table, &mut [zero, one]).live, 1);
    });
}

#[test]
fn lookup_against_insert_of_a_used_entry() {
    // The entry had another key before, of the same bucket and tag: nobody may find it under that.
    model(|| {
        let table = shared(1, 0, 1, 2);
        let (old, new) = (1 << 40, 2 << 40);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let index = prepared(&table, &mut workers[0], [old, old]);
        table.release(&mut workers[0], index);
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let thread = spawn(&table, zero, move |table, local| {
            assert_eq!(insert(table, local, [new, new]).1, Insert::Inserted);
        });
        one.enter();
        assert_eq!(find(&table, &one, old), None);
        let hit = find(&table, &one, new);
        assert!(hit.is_none_or(|hit| table.entry(hit.index).key(hit.dir) == new));
        let (zero, ()) = thread.join().unwrap();
        assert_eq!(settle(&table, &mut [zero, one]).live, 1);
    });
}

#[test]
fn lookup_against_delete() {
    // Both keys vanish at one instant; a neighbour of the same tag stays.
    model(|| {
        let table = shared(2, 0, 4, 2);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let old = live(&table, &mut workers[0], [0, 1]);
        let stays = live(&table, &mut workers[0], [1 << 40, 1 << 40]);
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let thread = spawn(&table, zero, move |table, local| assert!(table.delete(local, old.index, 1)));
        one.enter();
        if find(&table, &one, 1).is_none() {
            assert!(find(&table, &one, 0).is_none(), "half an entry");
        }
        assert_eq!(find(&table, &one, 1 << 40).map(|hit| hit.index), Some(stays.index));
        let (zero, ()) = thread.join().unwrap();
        assert_eq!(settle(&table, &mut [zero, one]).live, 1);
    });
}

#[test]
fn lookup_against_clash() {
    // While two fight for a key, a reader sees at most one of them, and it stays.
    model(|| {
        let table = shared(1, 0, 4, 3);
        let mut workers = [0, 1, 2].map(|worker| local(&table, worker));
        let first = prepared(&table, &mut workers[0], [0, 0]);
        let second = prepared(&table, &mut workers[1], [0, 0]);
        workers.iter_mut().for_each(Local::leave);
        let [zero, one, mut two] = workers;
        let threads = [(zero, first), (one, second)].map(|(local, index)| {
            spawn(&table, local, move |table, local| {
                insert_index(table, local, index);
            })
        });
        two.enter();
        let seen = find(&table, &two, 0);
        if seen.is_some() {
            assert_eq!(find(&table, &two, 0).map(|hit| hit.index), seen.map(|hit| hit.index));
        }
        let mut workers = vec![two];
        workers.extend(threads.into_iter().map(|thread| thread.join().unwrap().0));
        assert_eq!(settle(&table, &mut workers).live, 1);
    });
}

#[test]
fn expiry_against_insert() {
    // Two that want the keys of an expired entry: it dies once, and one of them gets the keys.
    model(|| {
        let table = shared(2, 2, 6, 2);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let old = prepare(&table, &mut workers[0], [0, 1], 5).expect("an entry");
        assert_eq!(insert_index(&table, &mut workers[0], old), Insert::Inserted);
        let first = prepared(&table, &mut workers[0], [0, 1]);
        let second = prepared(&table, &mut workers[1], [1, 0]);
        workers.iter_mut().for_each(Local::leave);
        let job = |index| {
            move |table: &Shared, local: &mut Local<Item>| {
                let mut killed = 0;
                let result = table.insert(local, index, 9, &mut |index, _| {
                    assert_eq!(index, old);
                    killed += 1;
                });
                assert!(!matches!(result, Insert::Failed(_)), "{result:?}");
                killed
            }
        };
        let [zero, mut one] = workers;
        let thread = spawn(&table, zero, job(first));
        one.enter();
        let ours = job(second)(&table, &mut one);
        let (zero, theirs) = thread.join().unwrap();
        assert_eq!(ours + theirs, 1);
        assert_eq!(settle(&table, &mut [zero, one]).live, 1);
    });
}

#[test]
fn late_helper() {
    // A helper falls asleep between its scan for `t` and its commit. Meanwhile t is killed and tries again; the old
    // scan must not commit the new attempt, which has a rival.
    model(|| {
        let table = shared(4, 2, 4, 2);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let rival = prepared(&table, &mut workers[0], [1, 1]);
        let t = prepared(&table, &mut workers[0], [0, 1]);
        let keys = table.keys(t);
        assert!(table.prepare(&mut workers[0], t, &keys, 0, 0, &mut |_, _| {}).is_ok());
        table.make_ready(t, 0);
        fence(Ordering::SeqCst);
        workers.iter_mut().for_each(Local::leave);
        let [mut zero, one] = workers;
        let helper = spawn(&table, one, move |table, _| {
            if let Scan::Free = table.scan(t) {
                table.decide(t, 0, LIVE);
            }
        });
        zero.enter();
        // As a rival would that has gone again.
        table.decide(t, 0, KILLED);
        if !table.resolved(t, 0) {
            table.clear_both(&mut zero, t, &keys);
            assert!(table.prepare(&mut zero, t, &keys, 1, 0, &mut |_, _| {}).is_ok());
            assert_eq!(insert_index(&table, &mut zero, rival), Insert::Inserted);
            table.make_ready(t, 1);
            fence(Ordering::SeqCst);
            if !table.resolved(t, 1) {
                table.clear_both(&mut zero, t, &keys);
                table.give_back(&mut zero, t, true);
            }
        } else {
            table.release(&mut zero, rival);
        }
        let (one, ()) = helper.join().unwrap();
        assert_eq!(settle(&table, &mut [zero, one]).live, 1);
    });
}

#[test]
fn late_helper_of_a_former_life() {
    // The same, but t gives up and its index is wanted for something else at once.
    model(|| {
        let table = shared(4, 2, 2, 2);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let t = prepared(&table, &mut workers[0], [0, 0]);
        let rival = prepared(&table, &mut workers[0], [1, 1]);
        let keys = table.keys(t);
        assert!(table.prepare(&mut workers[0], t, &keys, 0, 0, &mut |_, _| {}).is_ok());
        table.make_ready(t, 0);
        fence(Ordering::SeqCst);
        workers.iter_mut().for_each(Local::leave);
        let [mut zero, one] = workers;
        let helper = spawn(&table, one, move |table, _| {
            if let Scan::Free = table.scan(t) {
                table.decide(t, 0, LIVE);
            }
        });
        zero.enter();
        table.decide(t, 0, KILLED);
        if !table.resolved(t, 0) {
            table.clear_both(&mut zero, t, &keys);
            table.give_back(&mut zero, t, true);
            // None unless the defect is there: the epoch cannot have passed.
            if let Some(again) = prepare(&table, &mut zero, [1, 1], 0) {
                let keys = table.keys(again);
                assert!(table.prepare(&mut zero, again, &keys, 0, 0, &mut |_, _| {}).is_ok());
                assert_eq!(insert_index(&table, &mut zero, rival), Insert::Inserted);
                table.make_ready(again, 0);
                fence(Ordering::SeqCst);
                if !table.resolved(again, 0) {
                    table.clear_both(&mut zero, again, &keys);
                    table.give_back(&mut zero, again, true);
                }
            } else {
                assert_eq!(insert_index(&table, &mut zero, rival), Insert::Inserted);
            }
        } else {
            assert_eq!(insert_index(&table, &mut zero, rival), Insert::Inserted);
        }
        let (one, ()) = helper.join().unwrap();
        let live = settle(&table, &mut [zero, one]).live;
        assert!(live == 1 || live == 2);
    });
}

#[test]
fn helper_fences() {
    // t is READY, but its owner has not fenced. A helper who commits it must see the LIVE rival that did not see t.
    model(|| {
        let table = shared(4, 2, 6, 3);
        let mut workers = [0, 1, 2].map(|worker| local(&table, worker));
        let t = prepared(&table, &mut workers[0], [0, 1]);
        let rival = prepared(&table, &mut workers[1], [1, 1]);
        let helper = prepared(&table, &mut workers[2], [0, 2]);
        assert!(t < helper);
        workers.iter_mut().for_each(Local::leave);
        let [zero, one, mut two] = workers;
        let owner = spawn(&table, zero, move |table, local| {
            let keys = table.keys(t);
            let placed = table.prepare(local, t, &keys, 0, 0, &mut |_, _| {});
            if placed.is_ok() {
                table.make_ready(t, 0);
            }
            placed.is_ok()
        });
        let rival = spawn(&table, one, move |table, local| insert_index(table, local, rival));
        two.enter();
        insert_index(&table, &mut two, helper);
        let (mut zero, placed) = owner.join().unwrap();
        let (one, _) = rival.join().unwrap();
        if placed {
            zero.enter();
            let keys = table.keys(t);
            fence(Ordering::SeqCst);
            if !table.resolved(t, 0) {
                table.clear_both(&mut zero, t, &keys);
                table.give_back(&mut zero, t, true);
            }
        }
        settle(&table, &mut [zero, one, two]);
    });
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

#[test]
fn unlink_against_insert() {
    model(|| {
        let (table, mut workers, hits) = chained(3, 2, &[1]);
        let new = prepared(&table, &mut workers[1], [2, 2]);
        workers.iter_mut().for_each(Local::leave);
        let mut one = workers.pop().unwrap();
        let zero = workers.pop().unwrap();
        let index = hits[0].index;
        let thread = spawn(&table, zero, move |table, local| assert!(table.delete(local, index, 1)));
        one.enter();
        assert_eq!(insert_index(&table, &mut one, new), Insert::Inserted);
        assert!(find(&table, &one, 2).is_some());
        let (zero, ()) = thread.join().unwrap();
        assert_eq!(settle(&table, &mut [zero, one]).live, 3);
    });
}

#[test]
fn unlink_against_two_inserts() {
    // The bucket is closed while its slot fills and another bucket is linked behind it.
    model(|| {
        let (table, mut workers, hits) = chained(4, 2, &[1]);
        let new = [2, 3].map(|key| prepared(&table, &mut workers[1], [key, key]));
        workers.iter_mut().for_each(Local::leave);
        let mut one = workers.pop().unwrap();
        let zero = workers.pop().unwrap();
        let index = hits[0].index;
        let thread = spawn(&table, zero, move |table, local| assert!(table.delete(local, index, 1)));
        one.enter();
        for index in new {
            assert_eq!(insert_index(&table, &mut one, index), Insert::Inserted);
        }
        let (zero, ()) = thread.join().unwrap();
        assert_eq!(settle(&table, &mut [zero, one]).live, 4);
    });
}

#[test]
fn two_clean_one_bucket() {
    // Whoever is last closes it.
    model(|| {
        let (table, mut workers, hits) = chained(2, 2, &[1, 2]);
        workers.iter_mut().for_each(Local::leave);
        let mut one = workers.pop().unwrap();
        let zero = workers.pop().unwrap();
        let first = hits[0].index;
        let thread = spawn(&table, zero, move |table, local| assert!(table.delete(local, first, 1)));
        one.enter();
        assert!(table.delete(&mut one, hits[1].index, 1));
        let (zero, ()) = thread.join().unwrap();
        assert_eq!(settle(&table, &mut [zero, one]).linked, 0);
    });
}

#[test]
fn neighbours_unlink() {
    // Two adjacent buckets close; whoever walks through them finds what is behind.
    model(|| {
        let (table, mut workers, hits) = chained(4, 2, &[1, 2, 3, 4, 5]);
        // One key left in each of the first two.
        for hit in [hits[1], hits[3]] {
            assert!(table.delete(&mut workers[0], hit.index, 1));
        }
        workers.iter_mut().for_each(Local::leave);
        let mut one = workers.pop().unwrap();
        let zero = workers.pop().unwrap();
        let first = hits[0].index;
        let thread = spawn(&table, zero, move |table, local| assert!(table.delete(local, first, 1)));
        one.enter();
        assert!(table.delete(&mut one, hits[2].index, 1));
        assert!(find(&table, &one, 5).is_some());
        let (zero, ()) = thread.join().unwrap();
        let audit = settle(&table, &mut [zero, one]);
        assert_eq!((audit.linked, audit.live), (1, 3));
    });
}

#[test]
fn lookup_against_unlink() {
    model(|| {
        let (table, mut workers, hits) = chained(4, 2, &[1, 2, 3]);
        assert!(table.delete(&mut workers[0], hits[1].index, 1));
        workers.iter_mut().for_each(Local::leave);
        let mut one = workers.pop().unwrap();
        let zero = workers.pop().unwrap();
        let first = hits[0].index;
        let thread = spawn(&table, zero, move |table, local| assert!(table.delete(local, first, 1)));
        one.enter();
        assert!(find(&table, &one, 3).is_some());
        let (zero, ()) = thread.join().unwrap();
        assert_eq!(settle(&table, &mut [zero, one]).linked, 1);
    });
}

#[test]
fn closed_is_never_reopened() {
    // Three preemptions make the case: a closer meets a newcomer; the newcomer's cleaner closes the rest; somebody who
    // stood in the bucket all the time must not get in.
    model_at(3, || {
        let (table, mut workers, hits) = chained(3, 2, &[1]);
        let new = prepared(&table, &mut workers[1], [2, 2]);
        let stale = prepared(&table, &mut workers[1], [3, 3]);
        let bucket::Bucket { meta, .. } = table.head(0);
        let over = bucket::meta::link(meta.load(Ordering::Acquire)).expect("a link");
        workers.iter_mut().for_each(Local::leave);
        let mut one = workers.pop().unwrap();
        let zero = workers.pop().unwrap();
        let first = hits[0].index;
        one.enter();
        let thread = spawn(&table, zero, move |table, local| assert!(table.delete(local, first, 1)));
        assert_eq!(insert_index(&table, &mut one, new), Insert::Inserted);
        assert!(table.delete(&mut one, new, 1));
        let (zero, ()) = thread.join().unwrap();
        if table.place_in(table.over(over), bucket::slot(stale, 0, table.tag(3))) {
            let word = &table.entry(stale).word;
            word.store(word.load(Ordering::Relaxed) & !7 | LIVE, Ordering::Release);
            assert!(find(&table, &one, 3).is_some(), "placed in a bucket that is gone");
            assert!(table.delete(&mut one, stale, 1));
        } else {
            table.release(&mut one, stale);
        }
        assert_eq!(settle(&table, &mut [zero, one]).live, 2);
    });
}

#[test]
fn link_publishes_the_bucket() {
    // An overflow bucket comes back from the pool with the meta of its former life, a link into what is now another
    // bucket's chain. Whoever finds it linked must not follow that.
    model(|| {
        let table = shared(2, 3, 12, 2);
        let mut workers = [local(&table, 0), local(&table, 1)];
        // Bucket 0: full, two overflow buckets behind it.
        let hits: Vec<_> = [0, 2, 4, 6, 8].map(|key| live(&table, &mut workers[0], [key, key])).into();
        // The first of them closed while the second is linked, so its meta keeps the link.
        for hit in [&hits[2], &hits[3], &hits[4]] {
            assert!(table.delete(&mut workers[0], hit.index, hit_generation(&table, hit)));
        }
        workers.iter_mut().for_each(Local::leave);
        for _ in 0..2 {
            table.reclaim(&mut workers[0]);
        }
        // The pool hands the second one out first: it goes to bucket 1.
        workers[0].enter();
        for key in [1, 3, 5] {
            live(&table, &mut workers[0], [key, key]);
        }
        let new = [prepared(&table, &mut workers[0], [10, 10]), prepared(&table, &mut workers[1], [12, 12])];
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let thread = spawn(&table, zero, move |table, local| {
            assert_eq!(insert_index(table, local, new[0]), Insert::Inserted);
        });
        one.enter();
        assert_eq!(insert_index(&table, &mut one, new[1]), Insert::Inserted);
        let (zero, ()) = thread.join().unwrap();
        assert_eq!(settle(&table, &mut [zero, one]).live, 7);
    });
}

fn hit_generation(table: &Shared, hit: &Hit) -> u32 {
    table.entry(hit.index).generation.load(Ordering::Relaxed)
}

#[test]
fn index_reuse() {
    // What a reader holds stays what it is, though it is deleted, reclaimed and wanted again.
    model(|| {
        let table = shared(2, 0, 1, 2);
        table.epoch_matters.store(true, Ordering::Relaxed);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let old = live(&table, &mut workers[0], [0, 0]);
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let thread = spawn(&table, zero, move |table, local| {
            assert!(table.delete(local, old.index, 1));
            table.reclaim(local);
            local.enter();
            if let Some(index) = prepare(table, local, [1, 1], 0) {
                assert_eq!(insert_index(table, local, index), Insert::Inserted);
            }
        });
        one.enter();
        if let Some(hit) = find(&table, &one, 0) {
            let item = table.entry(hit.index);
            assert_eq!((item.key(0), hit_generation(&table, &hit)), (0, 1), "reused while held");
        }
        if let Some(item) = table.get(&one, old.index, 1) {
            assert_eq!(item.key(0), 0, "a stale handle");
        }
        one.leave();
        let (zero, ()) = thread.join().unwrap();
        settle(&table, &mut [zero, one]);
    });
}

#[test]
fn index_reuse_against_renewal() {
    // The reader renews instead of leaving: from then on it may meet the next life, and never a mixture.
    model(|| {
        let table = shared(2, 0, 1, 3);
        table.epoch_matters.store(true, Ordering::Relaxed);
        let mut workers = [0, 1, 2].map(|worker| local(&table, worker));
        let old = live(&table, &mut workers[0], [0, 0]);
        let [mut zero, one, mut two] = workers;
        drop(one);
        zero.leave();
        two.leave();
        let thread = spawn(&table, zero, move |table, local| {
            assert!(table.delete(local, old.index, 1));
            table.reclaim(local);
            table.reclaim(local);
            local.enter();
            if let Some(index) = prepare(table, local, [1, 1], 0) {
                assert_eq!(insert_index(table, local, index), Insert::Inserted);
            }
        });
        two.enter();
        two.enter();
        if let Some(hit) = find(&table, &two, 0) {
            assert_eq!(table.entry(hit.index).key(0), 0, "reused while held");
        }
        two.leave();
        let (zero, ()) = thread.join().unwrap();
        settle(&table, &mut [zero, two]);
    });
}

#[test]
fn retired_means_unreachable() {
    // A reader that entered after the index was taken for the epoch must not be able to find it. One thread plays both
    // the reader and the one that reclaims.
    model(|| {
        let table = shared(2, 0, 1, 3);
        table.epoch_matters.store(true, Ordering::Relaxed);
        let mut workers = [0, 1, 2].map(|worker| local(&table, worker));
        let old = live(&table, &mut workers[0], [0, 0]);
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one, mut two] = workers;
        let thread = spawn(&table, zero, move |table, local| assert!(table.delete(local, old.index, 1)));
        table.reclaim(&mut one);
        two.enter();
        let hit = find(&table, &two, 0);
        table.reclaim(&mut one);
        one.enter();
        if let Some(index) = prepare(&table, &mut one, [1, 1], 0) {
            assert!(hit.is_none_or(|hit| hit.index != index), "reused while held");
            table.release(&mut one, index);
        }
        let (zero, ()) = thread.join().unwrap();
        settle(&table, &mut [zero, one, two]);
    });
}

#[test]
fn bucket_reuse() {
    // A walker inside an unlinked bucket still finds what is behind, though the bucket is wanted elsewhere.
    model(|| {
        let table = shared(2, 2, 10, 2);
        table.epoch_matters.store(true, Ordering::Relaxed);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let hits: Vec<_> = [0, 2, 4, 6, 8].map(|key| live(&table, &mut workers[0], [key, key])).into();
        assert!(table.delete(&mut workers[0], hits[3].index, 1));
        for key in [1, 3] {
            live(&table, &mut workers[0], [key, key]);
        }
        let new = prepared(&table, &mut workers[0], [5, 5]);
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let index = hits[2].index;
        let thread = spawn(&table, zero, move |table, local| {
            assert!(table.delete(local, index, 1));
            table.reclaim(local);
            local.enter();
            insert_index(table, local, new)
        });
        one.enter();
        assert!(find(&table, &one, 8).is_some(), "led astray");
        one.leave();
        let (zero, _) = thread.join().unwrap();
        settle(&table, &mut [zero, one]);
    });
}

#[test]
fn retired_bucket_is_unlinked() {
    // As `retired_means_unreachable`, for an overflow bucket.
    model(|| {
        let (table, mut workers, hits) = chained(1, 3, &[1]);
        table.epoch_matters.store(true, Ordering::Relaxed);
        workers.iter_mut().for_each(Local::leave);
        let mut two = workers.pop().unwrap();
        let mut one = workers.pop().unwrap();
        let zero = workers.pop().unwrap();
        let index = hits[0].index;
        let thread = spawn(&table, zero, move |table, local| assert!(table.delete(local, index, 1)));
        table.reclaim(&mut one);
        two.enter();
        let stands_in = bucket::meta::link(table.head(0).meta.load(Ordering::Acquire));
        table.reclaim(&mut one);
        let free = table.pool.first();
        assert!(free.is_none() || free != stands_in, "back in the pool while a walker is inside");
        let (zero, ()) = thread.join().unwrap();
        settle(&table, &mut [zero, one, two]);
    });
}

#[test]
fn lists() {
    // One retires two, another takes what there is, hangs it into the free stack and pops it: whole or not at all.
    model(|| {
        let links: Arc<[AtomicU32; 3]> = Arc::default();
        let (chain, stack) = (Arc::new(Chain::default()), Stack::default());
        // Nothing fresh.
        assert_eq!(stack.pop(3, &mut [0; 3], |i| &links[i as usize]), 3);
        // An old link, which nobody may follow.
        links[1].store(3, Ordering::Relaxed);
        let thread = {
            let (links, chain) = (links.clone(), chain.clone());
            thread::spawn(move || {
                chain.push(0, |i| &links[i as usize]);
                chain.push(1, |i| &links[i as usize]);
            })
        };
        let mut all = Vec::new();
        let mut take = || {
            if let Some(list) = chain.take() {
                stack.push(list, |i| &links[i as usize]);
                let mut out = [0; 3];
                let n = stack.pop(3, &mut out, |i| &links[i as usize]);
                all.extend_from_slice(&out[..n]);
            }
        };
        take();
        thread.join().unwrap();
        take();
        all.sort_unstable();
        assert_eq!(all, [0, 1]);
    });
}

#[test]
fn stack_against_stack() {
    // Two pop and push: nothing is handed out twice, nothing is lost.
    model(|| {
        let links: Arc<[AtomicU32; 3]> = Arc::default();
        let stack = Arc::new(Stack::default());
        assert_eq!(stack.pop(3, &mut [0; 3], |i| &links[i as usize]), 3);
        for i in 0..3 {
            stack.push(List { first: i, last: i }, |i| &links[i as usize]);
        }
        let pop = |stack: &Stack, links: &[AtomicU32; 3]| {
            let mut out = [0];
            (stack.pop(3, &mut out, |i| &links[i as usize]) == 1).then_some(out[0])
        };
        let thread = {
            let (links, stack) = (links.clone(), stack.clone());
            thread::spawn(move || pop(&stack, &links))
        };
        let (first, second) = (pop(&stack, &links), pop(&stack, &links));
        if let Some(first) = first {
            stack.push(List { first, last: first }, |i| &links[i as usize]);
        }
        let other = thread.join().unwrap();
        let mut all: Vec<u32> =
            std::iter::from_fn(|| pop(&stack, &links)).chain(second).chain(other).collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
    });
}

#[test]
fn stack_publishes_links() {
    // A list of two pushed by one thread, popped by another.
    model(|| {
        let links: Arc<[AtomicU32; 3]> = Arc::default();
        let stack = Arc::new(Stack::default());
        assert_eq!(stack.pop(3, &mut [0; 3], |i| &links[i as usize]), 3);
        links[1].store(3, Ordering::Relaxed);
        let thread = {
            let (links, stack) = (links.clone(), stack.clone());
            thread::spawn(move || {
                links[1].store(1, Ordering::Relaxed);
                stack.push(List { first: 1, last: 0 }, |i| &links[i as usize]);
            })
        };
        let mut out = [0; 3];
        let n = stack.pop(3, &mut out, |i| &links[i as usize]);
        assert!(n == 0 || out[..n] == [1, 0]);
        thread.join().unwrap();
    });
}

#[test]
fn retire_against_reclaim() {
    // Two workers delete while a third reclaims: nothing is lost between the chains.
    model(|| {
        let table = shared(2, 0, 4, 2);
        table.epoch_matters.store(true, Ordering::Relaxed);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let hits = [0, 1].map(|key| live(&table, &mut workers[0], [key, key]));
        workers.iter_mut().for_each(Local::leave);
        let [zero, mut one] = workers;
        let thread = spawn(&table, zero, move |table, local| {
            for hit in hits {
                assert!(table.delete(local, hit.index, 1));
            }
        });
        table.reclaim(&mut one);
        let (zero, ()) = thread.join().unwrap();
        let audit = settle(&table, &mut [zero, one]);
        assert_eq!(audit.live, 0);
    });
}

#[test]
fn ready_is_not_live() {
    // A stalled insert that is READY decides nothing for readers, and its keys go to whoever helps it.
    model(|| {
        let table = shared(2, 2, 4, 2);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let second = prepared(&table, &mut workers[0], [1, 0]);
        let t = prepared(&table, &mut workers[0], [0, 1]);
        let (t, second) = (t.min(second), t.max(second));
        let keys = table.keys(t);
        assert!(table.prepare(&mut workers[0], t, &keys, 0, 0, &mut |_, _| {}).is_ok());
        table.make_ready(t, 0);
        assert_eq!(life(table.entry(t).word.load(Ordering::Relaxed)), READY);
        assert!(find(&table, &workers[0], 0).is_none());
        // Never scheduled again; the other one goes on.
        let result = insert_index(&table, &mut workers[0], second);
        assert!(matches!(result, Insert::Adopted(hit) if hit.index == t), "{result:?}");
        assert_eq!(settle(&table, &mut workers).live, 1);
    });
}
