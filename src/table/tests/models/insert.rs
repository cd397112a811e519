//! Inserts against inserts, helpers, bursts.

use super::*;

#[test]
fn insert_insert_one_key() {
    model(|| assert_eq!(race(shared(1, 0, 4, 2), &[[0, 0], [0, 0]]), 1));
}

#[test]
fn insert_insert_mirrored() {
    model(|| assert_eq!(race(shared(2, 0, 4, 2), &[[0, 1], [1, 0]]), 1));
}

#[test]
fn insert_insert_half() {
    // As NAT makes them: one key in common.
    model(|| assert_eq!(race(shared(4, 0, 4, 2), &[[1, 0], [1, 2]]), 1));
}

#[test]
fn insert_cycle() {
    // {a,b} {b,c} {c,a}, from where all three are READY: who yields to whom, who helps whom.
    model(|| {
        let table = shared(4, 0, 6, 3);
        let mut workers: Vec<_> = (0..3).map(|worker| local(&table, worker)).collect();
        let mut jobs = Vec::new();
        for (local, pair) in workers.iter_mut().zip([[0, 1], [1, 2], [2, 0]]) {
            let index = prepared(&table, local, pair);
            let keys = table.hashes_of(index);
            assert!(table.prepare(local, index, &keys, 0, 0, &mut |_, _| {}).is_ok());
            table.make_ready(index, 0);
            jobs.push(move |table: &Shared, local: &mut Local<Item>| {
                fence(Ordering::SeqCst);
                if table.resolved(index, 0, &keys) {
                    return true;
                }
                table.clear_both(local, index, &keys);
                match table.settle(local, index, &keys, 1, 0, &mut |_, _| {}) {
                    Insert::Failed(failure) => panic!("{failure:?}"),
                    result => result == Insert::Inserted,
                }
            });
        }
        workers.iter_mut().for_each(Local::leave);
        let (mut two, job) = (workers.pop().unwrap(), jobs.pop().unwrap());
        let threads: Vec<_> =
            workers.into_iter().zip(jobs).map(|(local, job)| spawn(&table, local, job)).collect();
        two.enter();
        let mut inserted = u64::from(job(&table, &mut two));
        let mut workers = vec![two];
        for thread in threads {
            let (local, one) = thread.join().unwrap();
            inserted += u64::from(one);
            workers.push(local);
        }
        assert_eq!((inserted, settle(&table, &mut workers).live), (1, 1));
    });
}

#[test]
fn insert_cycle_whole() {
    // From the start: three threads and thirty steps each, so one preemption less.
    below(|| assert_eq!(race(shared(4, 0, 6, 3), &[[0, 1], [1, 2], [2, 0]]), 1));
}

#[test]
fn insert_insert_overflow() {
    // One bucket: both link an overflow bucket, or share it.
    model(|| assert_eq!(race(shared(1, 3, 4, 2), &[[0, 1], [1, 0]]), 1));
}

#[test]
fn insert_burst_mirrored() {
    model(|| {
        let table = shared(2, 0, 8, 2);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let pairs = [[[0, 0], [1, 1]], [[1, 1], [0, 0]]];
        let indices = [0, 1].map(|w: usize| pairs[w].map(|keys| prepared(&table, &mut workers[w], keys)));
        let burst = |indices: [u32; 2]| {
            move |table: &Shared, local: &mut Local<Item>| {
                let mut results = [Insert::Inserted; 2];
                insert_burst(table, local, &indices, 0, &mut results, &mut |_, _| {});
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
            insert_burst(table, local, &pair, 0, &mut results, &mut |_, _| {});
            assert!(results.iter().all(|result| !matches!(result, Insert::Failed(_))));
        });
        one.enter();
        insert_index(&table, &mut one, single);
        let (zero, ()) = thread.join().unwrap();
        assert!((1..=2).contains(&settle(&table, &mut [zero, one]).live));
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
        let keys = table.hashes_of(t);
        assert!(table.prepare(&mut workers[0], t, &keys, 0, 0, &mut |_, _| {}).is_ok());
        table.make_ready(t, 0);
        fence(Ordering::SeqCst);
        workers.iter_mut().for_each(Local::leave);
        let help = move |table: &Shared, _: &mut Local<Item>| {
            if let Scan::Free = table.scan(t, &table.hashes_of(t)) {
                table.decide(t, 0, LIVE);
            }
        };
        let own = move |table: &Shared, local: &mut Local<Item>| {
            // As a rival would that has gone again.
            table.decide(t, 0, KILLED);
            if table.resolved(t, 0, &keys) {
                table.release(local, rival);
                return;
            }
            table.clear_both(local, t, &keys);
            assert!(table.prepare(local, t, &keys, 1, 0, &mut |_, _| {}).is_ok());
            assert_eq!(insert_index(table, local, rival), Insert::Inserted);
            table.make_ready(t, 1);
            fence(Ordering::SeqCst);
            if !table.resolved(t, 1, &keys) {
                table.clear_both(local, t, &keys);
                table.give_back(local, t, true);
            }
        };
        let (mut workers, (), ()) = both(&table, workers, own, help);
        assert_eq!(settle(&table, &mut workers).live, 1);
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
        let keys = table.hashes_of(t);
        assert!(table.prepare(&mut workers[0], t, &keys, 0, 0, &mut |_, _| {}).is_ok());
        table.make_ready(t, 0);
        fence(Ordering::SeqCst);
        workers.iter_mut().for_each(Local::leave);
        let help = move |table: &Shared, _: &mut Local<Item>| {
            if let Scan::Free = table.scan(t, &table.hashes_of(t)) {
                table.decide(t, 0, LIVE);
            }
        };
        let own = move |table: &Shared, local: &mut Local<Item>| {
            table.decide(t, 0, KILLED);
            let mut again = None;
            if !table.resolved(t, 0, &keys) {
                table.clear_both(local, t, &keys);
                table.give_back(local, t, true);
                // None unless the defect is there: the epoch cannot have passed.
                again = prepare(table, local, [1, 1], 0);
            }
            let Some(again) = again else {
                assert_eq!(insert_index(table, local, rival), Insert::Inserted);
                return;
            };
            let keys = table.hashes_of(again);
            assert!(table.prepare(local, again, &keys, 0, 0, &mut |_, _| {}).is_ok());
            assert_eq!(insert_index(table, local, rival), Insert::Inserted);
            table.make_ready(again, 0);
            fence(Ordering::SeqCst);
            if !table.resolved(again, 0, &keys) {
                table.clear_both(local, again, &keys);
                table.give_back(local, again, true);
            }
        };
        let (mut workers, (), ()) = both(&table, workers, own, help);
        let live = settle(&table, &mut workers).live;
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
            let keys = table.hashes_of(t);
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
            let keys = table.hashes_of(t);
            fence(Ordering::SeqCst);
            if !table.resolved(t, 0, &keys) {
                table.clear_both(&mut zero, t, &keys);
                table.give_back(&mut zero, t, true);
            }
        }
        settle(&table, &mut [zero, one, two]);
    });
}

#[test]
fn helper_publishes() {
    // t is READY, its owner asleep before it has fenced. Who helps it makes both slots visible, the second one, too.
    model(|| {
        let table = shared(4, 0, 4, 2);
        let mut workers = [local(&table, 0), local(&table, 1)];
        let t = prepared(&table, &mut workers[0], [1, 0]);
        let helper = prepared(&table, &mut workers[1], [1, 2]);
        assert!(t < helper);
        workers.iter_mut().for_each(Local::leave);
        let keys = table.hashes_of(t);
        let ready = move |table: &Shared, local: &mut Local<Item>| {
            let placed = table.prepare(local, t, &keys, 0, 0, &mut |_, _| {}).is_ok();
            if placed {
                table.make_ready(t, 0);
            }
            placed
        };
        let help = move |table: &Shared, local: &mut Local<Item>| {
            if let Insert::Adopted(hit) = insert_index(table, local, helper) {
                assert_eq!(hit.index, t);
                assert!(find(table, local, 0).is_some(), "half an entry");
            }
        };
        let (mut workers, placed, ()) = both(&table, workers, ready, help);
        if placed {
            workers[0].enter();
            fence(Ordering::SeqCst);
            if !table.resolved(t, 0, &keys) {
                table.clear_both(&mut workers[0], t, &keys);
                table.give_back(&mut workers[0], t, true);
            }
        }
        assert_eq!(settle(&table, &mut workers).live, 1);
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
        let keys = table.hashes_of(t);
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
