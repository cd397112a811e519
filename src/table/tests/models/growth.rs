//! Growth: chains move while others look, insert, delete and unlink; the end of it; what is left behind.

use super::*;
use crate::table::bucket::meta;

/// One head bucket that may double, with so many overflow buckets for both arrays.
fn one_head(overflow: u32, entries: u32, workers: u32) -> Shared {
    heads(1, 1, overflow, entries, workers)
}

fn heads(buckets: u32, doublings: u32, overflow: u32, entries: u32, workers: u32) -> Shared {
    let from = geometry(buckets, overflow, entries, workers);
    let most_overflow = overflow;
    Arc::new(table(Geometry { doublings, most_overflow, tag_shift: 0, ..from }, Hasher::Identity))
}

/// A table with these keys (each an entry of its own), about to grow.
fn about_to_grow(table: Shared, workers: u32, keys: &[u64]) -> (Shared, Vec<Local<Item>>, Vec<Hit>) {
    let mut locals: Vec<_> = (0..workers).map(|worker| local(&table, worker)).collect();
    let hits = keys.iter().map(|key| live(&table, &mut locals[0], [*key, *key])).collect();
    (table, locals, hits)
}

fn leave(workers: &mut [Local<Item>]) {
    workers.iter_mut().for_each(Local::leave);
}

fn pair(mut workers: Vec<Local<Item>>) -> [Local<Item>; 2] {
    leave(&mut workers);
    workers.try_into().ok().expect("two")
}

/// Moves all that is left and accounts for everything. One more entered since the end of growth lets the arrays go.
fn end(table: &Shared, workers: &mut [Local<Item>]) -> crate::table::audit::Audit {
    let zero = &mut workers[0];
    zero.enter();
    if table.is_growing() {
        assert!(table.advance(zero, 8));
    }
    let audit = settle(table, workers);
    assert!(!table.is_growing());
    audit
}

fn all(table: &Shared, local: &mut Local<Item>) {
    assert!(table.advance(local, 8));
}

/// Moves the chain of head 0.
fn move_it(table: &Shared, local: &mut Local<Item>) {
    assert!(table.move_on(local, 0));
}

#[test]
fn lookup_against_migrate() {
    // What is there is never missed: neither the one that stays at its place, nor the other, nor the one in the overflow
    // bucket.
    model(|| {
        let (table, workers, hits) = about_to_grow(one_head(2, 3, 2), 2, &[0, 1, 3]);
        table.begin().unwrap();
        let (mut workers, (), ()) = both(&table, pair(workers), all, move |table, local| {
            for (key, hit) in [3, 1].into_iter().zip(hits.iter().rev()) {
                assert_eq!(find(table, local, key).map(|hit| hit.index), Some(hit.index));
            }
        });
        assert_eq!(end(&table, &mut workers).live, 3);
    });
}

#[test]
fn lookup_against_begin() {
    // Whoever has not heard of growth looks at what is left behind, and finds what was there.
    model(|| {
        let (table, workers, hits) = about_to_grow(one_head(0, 2, 2), 2, &[0, 1]);
        table.root_matters.store(true, Ordering::Relaxed);
        let [stays, goes] = [hits[0], hits[1]];
        let grow = move |table: &Shared, local: &mut Local<Item>| {
            table.begin().unwrap();
            move_it(table, local);
            local.help = 0;
            assert!(table.kill(local, goes.index, goes.word));
        };
        let (mut workers, (), ()) = both(&table, pair(workers), grow, move |table, local| {
            assert_eq!(find(table, local, 0).map(|hit| hit.index), Some(stays.index));
            let mut out = [None; 2];
            table.lookup_burst(local, &[0, 1], &[0, 1], &mut out);
            assert_eq!(out[0].map(|hit| hit.index), Some(stays.index));
            assert!(out[1].is_some() || find(table, local, 1).is_none(), "back again");
        });
        assert_eq!(end(&table, &mut workers).live, 1);
    });
}

#[test]
fn burst_against_migrate() {
    model(|| {
        let (table, workers, _) = about_to_grow(one_head(2, 3, 2), 2, &[0, 1, 3]);
        table.begin().unwrap();
        let (mut workers, (), ()) = both(&table, pair(workers), move_it, move |table, local| {
            let mut hits = [None; 3];
            table.lookup_burst(local, &[3, 1, 2], &[3, 1, 2], &mut hits);
            assert_eq!(hits.map(|hit| hit.is_some()), [true, true, false]);
        });
        assert_eq!(end(&table, &mut workers).live, 3);
    });
}

/// Makes an entry that was placed LIVE, without a look at others.
fn make_live(table: &Shared, index: u32) {
    let word = &table.entry(index).word;
    word.store(word.load(Ordering::Relaxed) & !7 | LIVE, Ordering::Release);
}

fn place(table: &Shared, local: &mut Local<Item>, index: u32) {
    local.help = 0;
    let hashes = table.hashes_of(index);
    assert!(table.prepare(local, index, &hashes, 0, 0, &mut |_, _| {}).is_ok());
    make_live(table, index);
}

#[test]
fn insert_against_migrate() {
    // It goes into the old chain and is copied, or into the new one.
    model(|| {
        let (table, mut workers, _) = about_to_grow(one_head(1, 3, 2), 2, &[1]);
        let new = prepared(&table, &mut workers[1], [3, 3]);
        table.begin().unwrap();
        let (mut workers, (), ()) =
            both(&table, pair(workers), move_it, move |table, local| place(table, local, new));
        assert_eq!(end(&table, &mut workers).live, 2);
    });
}

#[test]
fn insert_against_begin() {
    // An insert that has not heard of growth: it may link an overflow bucket to a chain that is being frozen.
    model(|| {
        let (table, mut workers, _) = about_to_grow(one_head(3, 4, 2), 2, &[1, 3]);
        table.root_matters.store(true, Ordering::Relaxed);
        let new = prepared(&table, &mut workers[1], [5, 5]);
        let grow = |table: &Shared, local: &mut Local<Item>| {
            table.begin().unwrap();
            move_it(table, local);
        };
        let (mut workers, (), ()) = both(&table, pair(workers), grow, move |table, local| {
            assert!(table.place(local, 5, bucket::slot(new, 0, table.tag(5))).is_ok());
            make_live(table, new);
        });
        assert_eq!(end(&table, &mut workers).live, 3);
    });
}

#[test]
fn delete_against_migrate() {
    // The cleaner finds its slot exactly once, wherever it is by now.
    model(|| {
        let (table, workers, hits) = about_to_grow(one_head(0, 4, 2), 2, &[0, 1]);
        table.begin().unwrap();
        let old = hits[1];
        let (mut workers, (), ()) = both(&table, pair(workers), move_it, move |table, local| {
            local.help = 0;
            assert!(table.kill(local, old.index, old.word));
        });
        assert_eq!(end(&table, &mut workers).live, 1);
    });
}

#[test]
fn two_migrate() {
    // Both move the same chain; each then relies on what the other has copied, the overflow bucket included, which had
    // other tenants before.
    model(|| {
        let (table, mut workers, _) = about_to_grow(one_head(3, 6, 2), 2, &[1, 3, 5]);
        for key in [7, 9] {
            let hit = live(&table, &mut workers[0], [key, key]);
            assert!(table.delete(&mut workers[0], hit.index, hit_generation(&table, &hit)));
        }
        leave(&mut workers);
        table.reclaim(&mut workers[0]);
        table.begin().unwrap();
        let job = |table: &Shared, local: &mut Local<Item>| {
            move_it(table, local);
            assert!(find(table, local, 5).is_some(), "lost on the way");
        };
        let (mut workers, (), ()) = both(&table, pair(workers), job, job);
        let audit = end(&table, &mut workers);
        assert_eq!((audit.live, audit.linked), (3, 1));
    });
}

#[test]
fn clash_across_growth() {
    // Of two that want one key, one in the old chain and READY, one in the new: one gets it.
    model(|| {
        let (table, mut workers, _) = about_to_grow(one_head(0, 4, 2), 2, &[]);
        let [one, other] = [0, 1].map(|worker: usize| prepared(&table, &mut workers[worker], [1, 1]));
        let hashes = table.hashes_of(one);
        assert!(table.prepare(&mut workers[0], one, &hashes, 0, 0, &mut |_, _| {}).is_ok());
        table.make_ready(one, 0);
        table.begin().unwrap();
        let resolve = move |table: &Shared, local: &mut Local<Item>| {
            fence(Ordering::SeqCst);
            let inserted = table.resolved(one, 0, &hashes);
            if !inserted {
                table.clear_both(local, one, &hashes);
                table.give_back(local, one, true);
            }
            inserted
        };
        let insert = move |table: &Shared, local: &mut Local<Item>| {
            assert!(table.move_on(local, 0));
            insert_index(table, local, other) == Insert::Inserted
        };
        let (mut workers, ours, theirs) = both(&table, pair(workers), resolve, insert);
        assert!(ours != theirs);
        assert_eq!(end(&table, &mut workers).live, 1);
    });
}

#[test]
fn unlink_against_migrate() {
    // A bucket closes and is unlinked while its chain is frozen: it is retired once, by one of them.
    model(|| {
        let (table, workers, hits) = about_to_grow(one_head(2, 6, 2), 2, &[0, 1, 3]);
        table.begin().unwrap();
        let old = hits[2];
        let (mut workers, (), ()) = both(&table, pair(workers), move_it, move |table, local| {
            local.help = 0;
            assert!(table.kill(local, old.index, old.word));
        });
        assert_eq!(end(&table, &mut workers).live, 2);
    });
}

#[test]
fn moved_chain_is_unreachable() {
    // As `retired_bucket_is_unlinked`: the overflow buckets of a chain that has moved.
    model(|| {
        let (table, mut workers, _) = about_to_grow(one_head(2, 4, 3), 3, &[1, 3, 0]);
        table.epoch_matters.store(true, Ordering::Relaxed);
        table.begin().unwrap();
        leave(&mut workers);
        let mut two = workers.pop().unwrap();
        let walk = move |table: &Shared, local: &mut Local<Item>| {
            table.reclaim(local);
            two.enter();
            let head = table.head_in(1, 0);
            let stands_in = match table.has_moved(head) {
                true => None,
                false => meta::link(head.meta.load(Ordering::Acquire)),
            };
            table.reclaim(local);
            let free = table.pool.first();
            assert!(free.is_none() || free != stands_in, "back in the pool while a walker is inside");
            two.leave();
            two
        };
        let ([zero, one], (), two) = both(&table, pair(workers), move_it, walk);
        assert_eq!(end(&table, &mut [zero, one, two]).live, 3);
    });
}

#[test]
fn ends_whoever_comes_last() {
    // Two move everything, one chain each time: one of them ends it, and both find all that the other has moved.
    model(|| {
        let (table, mut workers, _) = about_to_grow(heads(2, 1, 0, 4, 2), 2, &[2, 3]);
        table.root_matters.store(true, Ordering::Relaxed);
        workers[0].enter();
        table.begin().unwrap();
        let job = |table: &Shared, local: &mut Local<Item>| {
            assert!(table.advance(local, 1));
            for key in [2, 3] {
                assert!(find(table, local, key).is_some(), "lost on the way");
            }
        };
        let twice = move |table: &Shared, local: &mut Local<Item>| {
            assert!(table.advance(local, 1));
            job(table, local);
        };
        let (mut workers, (), ()) = both(&table, pair(workers), job, twice);
        assert!(!table.is_growing(), "it ends with the last chain");
        assert_eq!(end(&table, &mut workers).live, 2);
    });
}

#[test]
fn a_late_helper_ends_nothing() {
    // One is asleep before it ends a growth that is over; the next goes on meanwhile.
    model(|| {
        let (table, workers, _) = about_to_grow(heads(1, 2, 0, 2, 2), 2, &[3]);
        table.root_matters.store(true, Ordering::Relaxed);
        table.begin().unwrap();
        let twice = |table: &Shared, local: &mut Local<Item>| {
            all(table, local);
            table.begin().unwrap();
            all(table, local);
            assert_eq!(table.buckets(), 4);
            assert!(find(table, local, 3).is_some());
        };
        let (mut workers, (), ()) = both(&table, pair(workers), all, twice);
        assert_eq!((table.buckets(), table.is_growing()), (4, false));
        assert_eq!(end(&table, &mut workers).live, 1);
    });
}

#[test]
fn an_array_is_kept_for_those_inside() {
    // Whoever has entered while an array was in use may read it: it goes when all of them have left.
    model(|| {
        let (table, workers, _) = about_to_grow(one_head(0, 2, 2), 2, &[1]);
        table.epoch_matters.store(true, Ordering::Relaxed);
        table.root_matters.store(true, Ordering::Relaxed);
        table.begin().unwrap();
        let grow = |table: &Shared, local: &mut Local<Item>| {
            all(table, local);
            table.reclaim(local);
        };
        let (mut workers, (), ()) = both(&table, pair(workers), grow, |table, local| {
            let inside = table.left_behind();
            assert!(find(table, local, 1).is_some());
            assert!(table.growth.free.get() <= inside, "given back while somebody is inside");
        });
        assert_eq!(end(&table, &mut workers).live, 1);
    });
}

#[test]
fn used_entry_across_growth() {
    // A word of the new array leads to the entry as its slot in the old one did: to the keys of its present life.
    model(|| {
        let (table, mut workers, _) = about_to_grow(one_head(0, 1, 2), 2, &[]);
        let (old, new) = (1 << 40, 2 << 40);
        let index = prepared(&table, &mut workers[0], [old, old]);
        table.begin().unwrap();
        let insert = move |table: &Shared, local: &mut Local<Item>| {
            for key in &table.entry(index).keys {
                key.store(new, Ordering::Relaxed);
            }
            assert!(table.place(local, new, bucket::slot(index, 0, table.tag(new))).is_ok());
            make_live(table, index);
        };
        let (mut workers, (), ()) = both(&table, pair(workers), insert, move |table, local| {
            assert!(table.move_on(local, 0));
            assert_eq!(find(table, local, old), None);
        });
        assert_eq!(end(&table, &mut workers).live, 1);
    });
}
