//! Overflow buckets: linked, closed, unlinked.

use super::*;

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
        let (table, mut workers, hits) = chained(3, 3, &[1]);
        let new = prepared(&table, &mut workers[1], [2, 2]);
        let stale = prepared(&table, &mut workers[2], [3, 3]);
        let over = bucket::meta::link(table.head(0).meta.load(Ordering::Acquire)).expect("a link");
        // The third stays entered.
        let mut two = workers.pop().unwrap();
        workers.iter_mut().for_each(Local::leave);
        let one = workers.pop().unwrap();
        let zero = workers.pop().unwrap();
        let first = hits[0].index;
        let ([zero, one], (), ()) = both(
            &table,
            [zero, one],
            move |table, local| assert!(table.delete(local, first, 1)),
            move |table, local| {
                assert_eq!(insert_index(table, local, new), Insert::Inserted);
                assert!(table.delete(local, new, 1));
            },
        );
        if table.place_in(table.over(over), bucket::slot(stale, 0, table.tag(3))) {
            let word = &table.entry(stale).word;
            word.store(word.load(Ordering::Relaxed) & !7 | LIVE, Ordering::Release);
            assert!(find(&table, &two, 3).is_some(), "placed in a bucket that is gone");
            assert!(table.delete(&mut two, stale, 1));
        } else {
            table.release(&mut two, stale);
        }
        assert_eq!(settle(&table, &mut [zero, one, two]).live, 2);
    });
}

#[test]
fn sweep_against_close() {
    // A third party sweeps while a bucket gets a successor and is then closed: its link counts as it is at the close.
    model(|| {
        let (table, mut workers, hits) = chained(3, 2, &[1, 2]);
        let new = prepared(&table, &mut workers[0], [3, 3]);
        workers.iter_mut().for_each(Local::leave);
        let one = workers.pop().unwrap();
        let zero = workers.pop().unwrap();
        let old = [hits[0].index, hits[1].index];
        let (mut workers, (), ()) = both(
            &table,
            [zero, one],
            move |table, local| {
                assert_eq!(insert_index(table, local, new), Insert::Inserted);
                for index in old {
                    assert!(table.delete(local, index, 1));
                }
            },
            |table, local| table.sweep(local, 0),
        );
        let audit = settle(&table, &mut workers);
        assert_eq!((audit.linked, audit.live), (1, 3));
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
