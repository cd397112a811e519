//! Exhaustion (F): whoever finds no room is told so, leaves nothing behind, and takes nothing from others.

use super::*;
use crate::table::insert::Failure;

fn pair(mut workers: Vec<Local<Item>>) -> [Local<Item>; 2] {
    workers.iter_mut().for_each(Local::leave);
    workers.try_into().ok().expect("two")
}

fn insert_it(index: u32) -> impl FnOnce(&Shared, &mut Local<Item>) -> Insert + 'static {
    move |table, local| insert_index(table, local, index)
}

/// A table of two heads, with these keys in it.
fn filled(overflow: u32, entries: u32, keys: &[u64]) -> (Shared, Vec<Local<Item>>) {
    let table = shared(2, overflow, entries, 2);
    let mut workers: Vec<_> = (0..2).map(|worker| local(&table, worker)).collect();
    for key in keys {
        live(&table, &mut workers[0], [*key, *key]);
    }
    (table, workers)
}

#[test]
fn the_last_bucket_goes_to_one() {
    // Two full heads, one overflow bucket for both.
    model(|| {
        let (table, mut workers) = filled(1, 8, &[0, 1, 2, 3]);
        let new = [4, 5].map(|key| prepared(&table, &mut workers[key as usize & 1], [key, key]));
        let (mut workers, a, b) = both(&table, pair(workers), insert_it(new[0]), insert_it(new[1]));
        let refused = Insert::Failed(Failure::Overflow);
        assert!([(Insert::Inserted, refused), (refused, Insert::Inserted)].contains(&(a, b)), "{a:?}, {b:?}");
        assert_eq!(table.stats().overflow_exhausted, 1);
        assert_eq!(settle(&table, &mut workers).live, 5);
    });
}

#[test]
fn what_is_refused_leaves_nothing() {
    // Its first key finds room where another inserts at the same time; its second key's head is full.
    model(|| {
        let (table, mut workers) = filled(0, 8, &[1, 3]);
        let (refused, other) =
            (prepared(&table, &mut workers[0], [0, 5]), prepared(&table, &mut workers[1], [2, 2]));
        let insert_and_look = move |table: &Shared, local: &mut Local<Item>| {
            assert_eq!(insert_index(table, local, other), Insert::Inserted);
            assert_eq!(find(table, local, 0), None, "half an entry");
        };
        let (mut workers, result, ()) = both(&table, pair(workers), insert_it(refused), insert_and_look);
        assert_eq!(result, Insert::Failed(Failure::Overflow));
        assert_eq!(settle(&table, &mut workers).live, 3);
        assert_eq!(insert(&table, &mut workers[0], [4, 4]).1, Insert::Inserted, "its slot is free again");
    });
}

#[test]
fn the_last_entry_goes_to_one() {
    model(|| {
        let (table, workers) = filled(0, 1, &[]);
        let alloc = |table: &Shared, local: &mut Local<Item>| {
            table.alloc(local).inspect(|index| table.release(local, *index))
        };
        let (mut workers, a, b) = both(&table, pair(workers), alloc, alloc);
        assert_eq!(u32::from(a.is_some()) + u32::from(b.is_some()), 1, "those in a cache are no one else's");
        settle(&table, &mut workers);
    });
}
