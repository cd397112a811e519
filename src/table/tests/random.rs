//! Random operations, one thread, against a plain map: tiny tables, few keys, a weak hash, so that everything collides.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::table::{Failure, MAX_BURST, word};

#[derive(Clone, Debug)]
enum Op {
    Insert { keys: [u64; 2], expires: u32 },
    Burst(Vec<[u64; 2]>),
    Delete(u64),
    Kill(u64),
    Lookup(u64),
    LookupAll,
    Release,
    Tick(u32),
    Leave,
    Reclaim,
    Grow,
    Advance(u64),
}

const KEYS: u64 = 48;

fn op() -> impl Strategy<Value = Op> {
    let keys = || [0..KEYS, 0..KEYS];
    prop_oneof![
        8 => (keys(), prop_oneof![3 => Just(0), 1 => 1..200_u32])
            .prop_map(|(keys, expires)| Op::Insert { keys, expires }),
        2 => prop::collection::vec(keys(), 1..12).prop_map(Op::Burst),
        5 => (0..KEYS).prop_map(Op::Delete),
        3 => (0..KEYS).prop_map(Op::Kill),
        3 => (0..KEYS).prop_map(Op::Lookup),
        1 => Just(Op::LookupAll),
        1 => Just(Op::Release),
        1 => (1..30_u32).prop_map(Op::Tick),
        1 => Just(Op::Leave),
        1 => Just(Op::Reclaim),
        1 => Just(Op::Grow),
        2 => (1..5_u64).prop_map(Op::Advance),
    ]
}

/// The table as it should be.
#[derive(Default)]
struct Plain {
    /// Key to entry and direction.
    keys: HashMap<u64, (u32, u32)>,
    /// Entry to keys and expiry.
    entries: HashMap<u32, ([u64; 2], u32)>,
}

impl Plain {
    fn remove(&mut self, index: u32) {
        let (keys, _) = self.entries.remove(&index).expect("live");
        for key in keys {
            self.keys.remove(&key);
        }
    }

    fn expired(&self, index: u32, now: u32) -> bool {
        matches!(self.entries[&index].1, at if at != 0 && at <= now)
    }

    /// Expects what an insert must do at `now`; None: it goes in.
    fn clash(&mut self, keys: [u64; 2], now: u32) -> (Vec<u32>, Option<(u32, u32)>) {
        let mut killed = Vec::new();
        for key in keys {
            if let Some(&(index, dir)) = self.keys.get(&key) {
                if !self.expired(index, now) {
                    return (killed, Some((index, dir)));
                }
                self.remove(index);
                killed.push(index);
            }
        }
        (killed, None)
    }

    fn add(&mut self, index: u32, keys: [u64; 2], expires: u32) {
        self.keys.insert(keys[1], (index, 1));
        self.keys.insert(keys[0], (index, 0));
        assert!(self.entries.insert(index, (keys, expires)).is_none(), "index {index} is in use");
    }
}

struct World {
    table: Table<Item>,
    local: Local<Item>,
    plain: Plain,
    now: u32,
}

impl World {
    fn new(geometry: Geometry, hasher: Hasher) -> Self {
        let table = table(geometry, hasher);
        let mut local = table.local(0).expect("worker");
        local.enter();
        Self { table, local, plain: Plain::default(), now: 1 }
    }

    fn insert(&mut self, keys: [u64; 2], expires: u32) {
        let Some(index) = prepare(&self.table, &mut self.local, keys, expires) else { return };
        let mut killed = Vec::new();
        let result = self.table.insert(&mut self.local, index, self.now, &mut |index, _| killed.push(index));
        let (expected, adopt) = self.plain.clash(keys, self.now);
        assert_eq!(killed, expected);
        match (result, adopt) {
            (Insert::Inserted, None) => self.plain.add(index, keys, expires),
            (Insert::Adopted(hit), Some(winner)) => assert_eq!((hit.index, hit.dir), winner),
            (Insert::Failed(Failure::Overflow | Failure::ChainTooLong), None) => {}
            other => panic!("{keys:?}: {other:?}"),
        }
    }

    /// A burst has no order of its own: what it says must be consistent.
    fn burst(&mut self, pairs: &[[u64; 2]]) {
        let mut of = HashMap::new();
        let mut indices = Vec::new();
        for keys in pairs {
            if let Some(index) = prepare(&self.table, &mut self.local, *keys, 0) {
                indices.push(index);
                of.insert(index, *keys);
            }
        }
        let mut results = vec![Insert::Failed(Failure::Attempts); indices.len()];
        let mut killed = Vec::new();
        insert_burst(&self.table, &mut self.local, &indices, self.now, &mut results, &mut |index, _| {
            killed.push(index);
        });
        for index in killed {
            assert!(self.plain.expired(index, self.now));
            self.plain.remove(index);
        }
        for (index, result) in indices.iter().zip(&results) {
            if *result == Insert::Inserted {
                let (killed, clash) = self.plain.clash(of[index], self.now);
                assert!(killed.is_empty() && clash.is_none(), "{index}: {clash:?}");
                self.plain.add(*index, of[index], 0);
            }
        }
        for (index, result) in indices.iter().zip(&results) {
            match result {
                Insert::Adopted(hit) => {
                    let (keys, _) = self.plain.entries[&hit.index];
                    assert!(of[index].contains(&keys[hit.dir as usize]));
                }
                Insert::Failed(failure) => assert_ne!(*failure, Failure::Attempts),
                Insert::Inserted => {}
            }
        }
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Insert { keys, expires } => {
                self.insert(*keys, if *expires == 0 { 0 } else { self.now + expires });
            }
            Op::Burst(pairs) => self.burst(pairs),
            Op::Delete(key) => {
                if let Some(&(index, _)) = self.plain.keys.get(key) {
                    let generation = self.table.entry(index).generation.load(Ordering::Relaxed);
                    assert!(!self.table.delete(&mut self.local, index, generation.wrapping_sub(1)));
                    assert!(self.table.delete(&mut self.local, index, generation));
                    self.plain.remove(index);
                }
            }
            Op::Kill(key) => {
                if let Some(hit) = find(&self.table, &self.local, *key) {
                    assert!(!self.table.kill(&mut self.local, hit.index, hit.word ^ 1 << 40));
                    assert!(self.table.kill(&mut self.local, hit.index, hit.word));
                    self.plain.remove(hit.index);
                }
            }
            Op::Lookup(key) => self.look(*key, find(&self.table, &self.local, *key)),
            Op::LookupAll => {
                let keys: Vec<u64> = (0..KEYS).collect();
                let hashes: Vec<u64> = keys.iter().map(|key| self.table.hash(key)).collect();
                let mut out = [None; MAX_BURST];
                self.table.lookup_burst(&self.local, &hashes, &keys, &mut out[..keys.len()]);
                keys.iter().zip(out).for_each(|(key, hit)| self.look(*key, hit));
            }
            Op::Release => {
                if let Some(index) = self.table.alloc(&mut self.local) {
                    assert!(!self.plain.entries.contains_key(&index));
                    self.table.release(&mut self.local, index);
                }
            }
            Op::Tick(by) => self.now += by,
            Op::Leave => {
                self.local.leave();
                self.local.enter();
            }
            Op::Reclaim => {
                drain(&self.table, &mut self.local);
                self.local.enter();
                if self.table.is_growing() {
                    return;
                }
                let audit = self.table.audit(&[&self.local], &[]).expect("audit");
                assert_eq!(audit.live, self.plain.entries.len() as u64);
            }
            // In vain once the table is as large as it may be.
            Op::Grow => drop(self.table.begin()),
            Op::Advance(n) => {
                assert!(self.table.advance(&mut self.local, *n), "no overflow bucket");
            }
        }
    }

    fn look(&self, key: u64, hit: Option<Hit>) {
        let expected = self.plain.keys.get(&key).copied();
        assert_eq!(hit.map(|hit| (hit.index, hit.dir)), expected, "key {key}");
        assert!(hit.is_none_or(|hit| word::life(hit.word) == word::LIVE));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_plain_map(
        ops in prop::collection::vec(op(), 1..300),
        buckets in 0..4_u32,
        overflow in 0..12_u32,
        entries in 1..80_u32,
        weak in any::<bool>(),
    ) {
        let hasher = if weak { Hasher::Weak } else { Hasher::Mixed };
        let mut world = World::new(growing(geometry(1 << buckets, overflow, entries, 1), 3, entries, 0), hasher);
        for op in &ops {
            world.step(op);
        }
        world.step(&Op::Advance(u64::MAX));
        world.step(&Op::LookupAll);
        world.step(&Op::Reclaim);
    }
}
