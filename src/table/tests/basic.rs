//! One thread, one thing at a time.

use super::*;
use crate::table::{Error, Failure, MAX_BURST, MAX_CHAIN, bucket::SLOTS, word};

#[test]
fn insert_find_delete() {
    let table = table(geometry(4, 4, 8, 1), Hasher::Mixed);
    let mut local = table.local(0).expect("worker");
    local.enter();
    let (index, result) = insert(&table, &mut local, [10, 20]);
    assert_eq!(result, Insert::Inserted);
    let generation = table.entry(index).generation().load(Ordering::Relaxed);
    for (dir, key) in [(0, 10), (1, 20)] {
        let hit = find(&table, &local, key).expect("found");
        assert_eq!((hit.index, hit.dir, word::life(hit.word)), (index, dir, word::LIVE));
    }
    assert!(find(&table, &local, 30).is_none());
    assert!(table.get(&local, index, generation).is_some());
    assert!(table.get(&local, index, generation + 1).is_none());
    assert!(table.get(&local, 1000, generation).is_none());
    assert!(!table.delete(&mut local, index, generation + 1));
    assert!(table.delete(&mut local, index, generation));
    assert!(!table.delete(&mut local, index, generation));
    assert!(find(&table, &local, 10).is_none() && find(&table, &local, 20).is_none());
    drain(&table, &mut local);
    local.enter();
    let audit = table.audit(&[&local], &[]).expect("audit");
    assert_eq!((audit.live, audit.free + audit.cached), (0, 8));
}

#[test]
fn equal_keys_take_one_slot() {
    let table = table(geometry(1, 0, 8, 1), Hasher::Mixed);
    let mut local = table.local(0).expect("worker");
    local.enter();
    for key in 0..SLOTS as u64 {
        assert_eq!(insert(&table, &mut local, [key, key]).1, Insert::Inserted);
    }
    table.audit(&[&local], &[]).expect("audit");
    let hit = find(&table, &local, 0).expect("found");
    assert!(table.kill(&mut local, hit.index, hit.word));
    assert!(!table.kill(&mut local, hit.index, hit.word));
    drain(&table, &mut local);
    local.enter();
    table.audit(&[&local], &[]).expect("audit");
}

#[test]
fn adopts_whoever_was_first() {
    let table = table(geometry(4, 4, 8, 1), Hasher::Mixed);
    let mut local = table.local(0).expect("worker");
    local.enter();
    let (first, _) = insert(&table, &mut local, [1, 2]);
    for (keys, dir) in [([1, 2], 0), ([2, 1], 1), ([9, 2], 1), ([2, 9], 1), ([1, 9], 0), ([9, 1], 0)] {
        let (_, result) = insert(&table, &mut local, keys);
        let Insert::Adopted(hit) = result else { panic!("{result:?}") };
        assert_eq!((hit.index, hit.dir), (first, dir), "{keys:?}");
    }
    table.audit(&[&local], &[]).expect("nothing left behind");
}

#[test]
fn expired_is_killed_and_reported() {
    let table = table(geometry(4, 4, 8, 1), Hasher::Mixed);
    let mut local = table.local(0).expect("worker");
    local.enter();
    let old =
        [prepare(&table, &mut local, [1, 2], 5), prepare(&table, &mut local, [3, 4], 5)].map(Option::unwrap);
    for index in old {
        assert_eq!(table.insert(&mut local, index, 0, &mut |_, _| panic!()), Insert::Inserted);
    }
    let young = prepare(&table, &mut local, [4, 1], 9).expect("an entry");
    let mut killed = Vec::new();
    let result = table.insert(&mut local, young, 7, &mut |index, word| killed.push((index, word >> 32)));
    assert_eq!(result, Insert::Inserted);
    // The caches hand out indices downwards; our key 0 is looked at first.
    assert_eq!(killed, [(old[1], 5), (old[0], 5)]);
    assert!(find(&table, &local, 2).is_none() && find(&table, &local, 3).is_none());
    drain(&table, &mut local);
    local.enter();
    assert_eq!(table.audit(&[&local], &[]).expect("audit").live, 1);
}

#[test]
fn exhaustion_is_a_value() {
    let table = table(geometry(1, 1, 64, 1), Hasher::Mixed);
    let mut local = table.local(0).expect("worker");
    local.enter();
    for n in 0..SLOTS as u64 {
        assert_eq!(insert(&table, &mut local, [2 * n, 2 * n + 1]).1, Insert::Inserted);
    }
    // Neither slot fits, then one does and the other does not.
    assert_eq!(insert(&table, &mut local, [1000, 1001]).1, Insert::Failed(Failure::Overflow));
    let hit = find(&table, &local, 0).expect("found");
    table.kill(&mut local, hit.index, hit.word);
    assert_eq!(insert(&table, &mut local, [1000, 1000]).1, Insert::Inserted);
    assert_eq!(insert(&table, &mut local, [1002, 1003]).1, Insert::Failed(Failure::Overflow));
    assert_eq!(table.stats().overflow_exhausted, 2);
    assert!(find(&table, &local, 1002).is_none());
    drain(&table, &mut local);
    local.enter();
    table.audit(&[&local], &[]).expect("audit");
    while table.alloc(&mut local).is_some() {}
    assert_eq!(table.stats().free, 0);
    assert_eq!(table.stats().waiting, 0);
}

#[test]
fn chains_are_capped() {
    let table = table(geometry(1, 100, 100, 1), Hasher::Mixed);
    let mut local = table.local(0).expect("worker");
    local.enter();
    let fits = (MAX_CHAIN * SLOTS) as u64;
    for key in 0..fits {
        assert_eq!(insert(&table, &mut local, [key, key]).1, Insert::Inserted);
    }
    assert_eq!(insert(&table, &mut local, [fits, fits]).1, Insert::Failed(Failure::ChainTooLong));
    assert_eq!(table.stats().chain_too_long, 1);
    let audit = table.audit(&[&local], &[]).expect("audit");
    assert_eq!((audit.longest, audit.linked), (MAX_CHAIN, MAX_CHAIN as u64 - 1));
    // Emptied from the front: every overflow bucket comes back.
    for key in 0..fits {
        let hit = find(&table, &local, key).expect("found");
        assert!(table.kill(&mut local, hit.index, hit.word));
    }
    drain(&table, &mut local);
    local.enter();
    assert_eq!(table.audit(&[&local], &[]).expect("audit").linked, 0);
}

#[test]
fn tags_collide() {
    // Identity: equal low 38 bits give equal bucket and tag.
    let table = table(geometry(2, 10, 40, 1), Hasher::Identity);
    let mut local = table.local(0).expect("worker");
    local.enter();
    let key = |n: u64| n << 40 | 0x101;
    for n in 0..20 {
        assert_eq!(insert(&table, &mut local, [key(n), key(n)]).1, Insert::Inserted);
    }
    let keys: Vec<u64> = (0..30).map(key).collect();
    let hashes: Vec<u64> = keys.iter().map(|key| table.hash(key)).collect();
    let mut out = vec![None; keys.len()];
    table.lookup_burst(&local, &hashes, &keys, &mut out);
    for (n, (hit, key)) in out.iter().zip(&keys).enumerate() {
        assert_eq!(*hit, find(&table, &local, *key));
        assert_eq!(hit.is_some(), n < 20);
    }
}

#[test]
fn bursts_agree_with_singles() {
    let table = table(geometry(32, 128, 2000, 1), Hasher::Mixed);
    let mut local = table.local(0).expect("worker");
    local.enter();
    for base in (0..6).map(|n| n * 64) {
        // The last of each burst clashes with its first, mirrored.
        let mut indices: Vec<u32> = (base..base + 63)
            .map(|n| prepare(&table, &mut local, [2 * n, 2 * n + 1], 0).expect("an entry"))
            .collect();
        indices.push(prepare(&table, &mut local, [2 * base + 1, 2 * base], 0).expect("an entry"));
        let mut results = [Insert::Inserted; MAX_BURST];
        insert_burst(&table, &mut local, &indices, 0, &mut results, &mut |_, _| panic!());
        let adopted = results.iter().filter(|result| matches!(result, Insert::Adopted(_))).count();
        assert_eq!(adopted, 1);
        assert!(results[1..63].iter().all(|result| *result == Insert::Inserted));
    }
    for base in (0..1200).step_by(MAX_BURST) {
        let keys: Vec<u64> = (base..base + MAX_BURST as u64).collect();
        let hashes: Vec<u64> = keys.iter().map(|key| table.hash(key)).collect();
        let mut out = [None; MAX_BURST];
        table.lookup_burst(&local, &hashes, &keys, &mut out);
        for (hit, key) in out.iter().zip(&keys) {
            assert_eq!(*hit, find(&table, &local, *key), "{key}");
        }
    }
    drain(&table, &mut local);
    local.enter();
    let audit = table.audit(&[&local], &[]).expect("audit");
    assert_eq!(audit.live, 6 * 63);
    let mut seen = 0;
    for bucket in 0..32 {
        table.bucket_scan(&local, bucket, |_| seen += 1);
    }
    assert_eq!(seen, 2 * 6 * 63);
}

#[test]
fn release_gives_back_at_once() {
    let table = table(geometry(4, 4, 3, 1), Hasher::Mixed);
    let mut local = table.local(0).expect("worker");
    local.enter();
    for _ in 0..1000 {
        let index = prepare(&table, &mut local, [1, 2], 0).expect("an entry");
        table.release(&mut local, index);
    }
    let held: Vec<u32> = std::iter::from_fn(|| table.alloc(&mut local)).collect();
    assert_eq!(held.len(), 3);
    table.audit(&[&local], &held).expect("audit");
    for index in held {
        table.release(&mut local, index);
    }
    drop(local);
    let local = table.local(0).expect("worker again");
    assert_eq!(table.audit(&[&local], &[]).expect("audit").free, 3);
}

#[test]
fn generations_rise_and_skip_zero() {
    let table = table(geometry(4, 4, 1, 1), Hasher::Mixed);
    let mut local = table.local(0).expect("worker");
    let index = table.alloc(&mut local).expect("an entry");
    assert_eq!(table.entry(index).generation().load(Ordering::Relaxed), 1);
    table.release(&mut local, index);
    table.entry(index).generation().store(u32::MAX, Ordering::Relaxed);
    table.alloc(&mut local).expect("an entry");
    assert_eq!(table.entry(index).generation().load(Ordering::Relaxed), 1);
}

#[test]
fn own_bits_survive() {
    let table = table(geometry(4, 4, 2, 1), Hasher::Mixed);
    let mut local = table.local(0).expect("worker");
    local.enter();
    let own = 0xfedc_ba98_7654_3800_u64;
    let index = prepare(&table, &mut local, [1, 2], 0).expect("an entry");
    table.entry(index).word.store(own | word::UNCONF, Ordering::Relaxed);
    table.insert(&mut local, index, 0, &mut |_, _| {});
    let hit = find(&table, &local, 2).expect("found");
    assert_eq!(hit.word >> word::TABLE_BITS, own >> word::TABLE_BITS);
    assert!(!table.kill(&mut local, index, hit.word ^ 1 << 20), "another word");
    assert!(table.kill(&mut local, index, hit.word));
    assert_eq!(table.entry(index).word.load(Ordering::Relaxed), hit.word - word::LIVE + word::DEAD);
}

#[test]
fn workers_are_bounded_and_single() {
    let table = table(geometry(4, 4, 2, 2), Hasher::Mixed);
    let first = table.local(0).expect("worker");
    assert_eq!(table.local(0).err(), Some(Error::Worker));
    assert_eq!(table.local(2).err(), Some(Error::Worker));
    let _controls = (table.control(), table.control());
    drop(first);
    table.local(0).expect("worker");
}

#[test]
fn one_reclaims_for_all() {
    let table = table(geometry(4, 4, 100, 3), Hasher::Mixed);
    let mut locals = [0, 1, 2].map(|worker| table.local(worker).expect("worker"));
    for (local, n) in locals.iter_mut().zip([100_u64, 200, 300]) {
        local.enter();
        for key in 0..5 {
            let (index, _) = insert(&table, local, [n + key, n + key]);
            let generation = table.entry(index).generation().load(Ordering::Relaxed);
            assert!(table.delete(local, index, generation));
        }
    }
    assert_eq!(table.stats().waiting, 15);
    // Worker 2 stays entered: nothing comes back.
    locals[0].leave();
    locals[1].leave();
    drain(&table, &mut locals[0]);
    assert_eq!(table.stats().waiting, 15);
    locals[2].leave();
    drain(&table, &mut locals[0]);
    assert_eq!(table.stats().waiting, 0);
    table.audit(&locals.each_ref(), &[]).expect("audit");
}

#[test]
fn geometry_and_memory() {
    let options = Options::default();
    let good = geometry(256, Geometry::default_overflow(256), 1000, 4);
    assert_eq!(
        Table::<Item>::memory(&good, options),
        Some(16384 + 1126 * 64 / 4096 * 4096 + 4096 + 131072 + 8192 + 4096)
    );
    for bad in [
        Geometry { buckets: 3, ..good },
        Geometry { buckets: 0, ..good },
        Geometry { buckets: 1 << 29, ..good },
        Geometry { entries: 0, ..good },
        Geometry { entries: u32::MAX, ..good },
        Geometry { workers: 0, ..good },
        Geometry { tag_shift: 35, ..good },
    ] {
        assert_eq!(Table::<Item>::memory(&bad, options), None);
        assert_eq!(Table::<Item>::new(bad, Hasher::Mixed, options).err(), Some(Error::Geometry));
    }
}

#[test]
fn a_forgotten_local_is_harmless() {
    let table = table(geometry(4, 4, 10, 1), Hasher::Mixed);
    let mut local = table.local(0).expect("worker");
    local.enter();
    let (index, _) = insert(&table, &mut local, [1, 2]);
    table.delete(&mut local, index, 1);
    let mut control = table.control();
    table.reclaim(&mut control);
    drop(table);
    drop(control);
    local.leave();
    drop(local);
}
