//! Marks (B1): whoever is behind a head is found there, whatever becomes of the chain meanwhile.

use super::*;

/// Keys of one bucket, with marks of their own, are told apart by these.
const A: u64 = 1 << 32;
const B: u64 = 2 << 32;
const C: u64 = 3 << 32;

fn pair(mut workers: Vec<Local<Item>>) -> [Local<Item>; 2] {
    workers.iter_mut().for_each(Local::leave);
    workers.try_into().ok().expect("two")
}

/// Inserts, and finds it.
fn insert_and_find(table: &Shared, local: &mut Local<Item>, index: u32) {
    assert_eq!(insert_index(table, local, index), Insert::Inserted);
    for dir in 0..2 {
        let hit = find(table, local, table.key(index, dir));
        assert_eq!(hit.map(|hit| hit.index), Some(index), "behind a head without its mark");
    }
}

#[test]
fn lookup_against_insert_behind() {
    // Both keys come to stand behind their heads, of which one has a link already: who finds one of them finds the other.
    model(|| {
        let table = shared(2, 2, 8, 2);
        let mut workers: Vec<_> = (0..2).map(|worker| local(&table, worker)).collect();
        for key in [100, 102, 101, 103, A] {
            live(&table, &mut workers[0], [key, key]);
        }
        let new = prepared(&table, &mut workers[0], [B, C | 1]);
        let look = |table: &Shared, local: &mut Local<Item>| {
            let mut hits = [None; 3];
            table.lookup_burst(local, &[A, B, C | 1], &[A, B, C | 1], &mut hits);
            assert!(hits[0].is_some());
            let (first, second) = (find(table, local, B), find(table, local, C | 1));
            assert!(hits[1].or(hits[2]).is_none() || first.is_some(), "gone again");
            assert!(first.is_none() || second.is_some(), "half an entry");
        };
        let insert = move |table: &Shared, local: &mut Local<Item>| insert_and_find(table, local, new);
        let (mut workers, (), ()) = both(&table, pair(workers), insert, look);
        assert_eq!(settle(&table, &mut workers).live, 6);
    });
}

/// The bucket goes, its marks with it, and another comes, while somebody is on his way to it with key B.
fn replaced(table: Shared, mut workers: Vec<Local<Item>>, old: Hit) {
    let (b, c) = (prepared(&table, &mut workers[1], [B, B]), prepared(&table, &mut workers[0], [C, C]));
    let replace = move |table: &Shared, local: &mut Local<Item>| {
        assert!(table.delete(local, old.index, 1));
        insert_and_find(table, local, c);
    };
    let insert = move |table: &Shared, local: &mut Local<Item>| insert_and_find(table, local, b);
    let (mut workers, (), ()) = both(&table, pair(workers), replace, insert);
    assert_eq!(settle(&table, &mut workers).live, 4);
}

#[test]
fn insert_against_unlink_and_insert() {
    model(|| {
        let (table, workers, hits) = chained(3, 2, &[A]);
        replaced(table, workers, hits[0]);
    });
}

#[test]
fn mark_of_another_against_unlink_and_insert() {
    // He finds his mark there, left by one that has gone.
    model(|| {
        let (table, mut workers, hits) = chained(3, 2, &[A, B]);
        assert!(table.delete(&mut workers[0], hits[1].index, 1));
        replaced(table, workers, hits[0]);
    });
}

#[test]
fn lookup_against_unlink_and_insert() {
    // What stays behind the bucket that goes keeps its mark, and what comes gets one.
    model(|| {
        let (table, mut workers, hits) = chained(4, 2, &[A, A | 1 << 8, B]);
        assert!(table.delete(&mut workers[0], hits[1].index, 1));
        let c = prepared(&table, &mut workers[0], [C, C]);
        let old = hits[0].index;
        let replace = move |table: &Shared, local: &mut Local<Item>| {
            assert!(table.delete(local, old, 1));
            insert_and_find(table, local, c);
        };
        let look = |table: &Shared, local: &mut Local<Item>| {
            assert!(find(table, local, B).is_some());
            assert!(find(table, local, C).is_none() || find(table, local, C).is_some(), "gone again");
        };
        let (mut workers, (), ()) = both(&table, pair(workers), replace, look);
        assert_eq!(settle(&table, &mut workers).live, 4);
    });
}

#[test]
fn two_link_behind_one_head() {
    // Who is slower to link the first bucket goes into that of the other.
    model(|| {
        let (table, mut workers, _) = chained(2, 2, &[]);
        let new =
            [(0, B), (1, C)].map(|(n, key): (usize, u64)| prepared(&table, &mut workers[n], [key, key]));
        let insert =
            |index| move |table: &Shared, local: &mut Local<Item>| insert_and_find(table, local, index);
        let (mut workers, (), ()) = both(&table, pair(workers), insert(new[0]), insert(new[1]));
        assert_eq!(settle(&table, &mut workers).live, 4);
    });
}

#[test]
fn two_mark_one_head() {
    model(|| {
        let (table, mut workers, _) = chained(3, 2, &[A]);
        let new =
            [(0, B), (1, C)].map(|(n, key): (usize, u64)| prepared(&table, &mut workers[n], [key, key]));
        let insert =
            |index| move |table: &Shared, local: &mut Local<Item>| insert_and_find(table, local, index);
        let (mut workers, (), ()) = both(&table, pair(workers), insert(new[0]), insert(new[1]));
        assert_eq!(settle(&table, &mut workers).live, 5);
    });
}

/// A table of one head that is about to double, with these keys.
fn about_to_grow(overflow: u32, entries: u32, keys: &[u64]) -> (Shared, Vec<Local<Item>>) {
    let from = geometry(1, overflow, entries, 2);
    let growing = Geometry { doublings: 1, most_overflow: overflow, tag_shift: 0, ..from };
    let table = Arc::new(table(growing, Hasher::Identity));
    let mut workers: Vec<_> = (0..2).map(|worker| local(&table, worker)).collect();
    for key in keys {
        live(&table, &mut workers[0], [*key, *key]);
    }
    (table, workers)
}

/// Keys that go to head 1 when the table doubles, with marks of their own.
const ODD: [u64; 4] = [1, 1 << 24 | 1, 2 << 24 | 1, 3 << 24 | 1];

#[test]
fn lookup_against_move_of_marks() {
    // The copy of a chain has the marks of what it has behind its own head.
    model(|| {
        let (table, mut workers) = about_to_grow(2, 3, &ODD[..3]);
        workers[0].enter();
        table.begin().unwrap();
        let grow = |table: &Shared, local: &mut Local<Item>| assert!(table.advance(local, 8));
        let look = |table: &Shared, local: &mut Local<Item>| {
            for key in &ODD[..3] {
                assert!(find(table, local, *key).is_some(), "lost on the way");
            }
        };
        let (mut workers, (), ()) = both(&table, pair(workers), grow, look);
        assert_eq!(settle(&table, &mut workers).live, 3);
    });
}

#[test]
fn insert_against_move_of_marks() {
    // It comes to stand behind the old head, with a mark of its own, or goes to the new one.
    model(|| {
        let (table, mut workers) = about_to_grow(3, 4, &ODD[..3]);
        let new = prepared(&table, &mut workers[1], [ODD[3]; 2]);
        workers[0].enter();
        table.begin().unwrap();
        let grow = |table: &Shared, local: &mut Local<Item>| assert!(table.advance(local, 8));
        let insert = move |table: &Shared, local: &mut Local<Item>| {
            local.help = 0;
            assert!(table.place(local, ODD[3], bucket::slot(new, 0, table.tag(ODD[3]))).is_ok());
            let word = &table.entry(new).word;
            word.store(word.load(Ordering::Relaxed) & !7 | LIVE, Ordering::Release);
            assert!(find(table, local, ODD[3]).is_some());
        };
        let (mut workers, (), ()) = both(&table, pair(workers), grow, insert);
        assert_eq!(settle(&table, &mut workers).live, 4);
    });
}
