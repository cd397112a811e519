//! Deletes, expiry and lookups against each other and against inserts.

use super::*;

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
        // Key 0 is placed first.
        if let Some(hit) = find(&table, &one, 0) {
            assert_eq!((hit.index, hit.dir), (index, 0));
            assert!(find(&table, &one, 1).is_some(), "half an entry");
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
        assert!(hit.is_none_or(|hit| table.key(hit.index, hit.dir) == new));
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
        // Key 0 is cleared first.
        if find(&table, &one, 0).is_none() {
            assert!(find(&table, &one, 1).is_none(), "half an entry");
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
