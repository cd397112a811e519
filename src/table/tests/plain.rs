//! The table beside a plain map: tiny tables, few keys, a weak hash, so that everything collides. One thread; what it does
//! is given by the proptest in `random`, or by an input of the fuzz target `table`.

use std::collections::HashMap;

use super::*;
use crate::table::{Failure, MAX_BURST, word};

#[derive(Clone, Debug)]
pub(super) enum Op {
    Insert {
        keys: [u64; 2],
        expires: u32,
    },
    Burst(Vec<[u64; 2]>),
    Delete(u64),
    /// By key, those that are there.
    DeleteBurst(Vec<u64>),
    /// What was deleted before, by its old name.
    DeleteAgain,
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

pub(super) const KEYS: u64 = 48;

/// The table as it should be.
#[derive(Default)]
struct Plain {
    /// Key to entry and direction.
    keys: HashMap<u64, (u32, u32)>,
    /// Entry to keys and expiry.
    entries: HashMap<u32, ([u64; 2], u32)>,
    /// A defect of this map, to see that it is found: entries expire one tick later.
    #[cfg(fuzzing)]
    late: u32,
}

impl Plain {
    fn remove(&mut self, index: u32) {
        let (keys, _) = self.entries.remove(&index).expect("live");
        for key in keys {
            self.keys.remove(&key);
        }
    }

    fn expired(&self, index: u32, now: u32) -> bool {
        #[cfg(fuzzing)]
        let now = now - self.late;
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

pub(super) struct World {
    table: Table<Item>,
    local: Local<Item>,
    plain: Plain,
    now: u32,
    /// Index and generation of what was deleted.
    dead: Vec<(u32, u32)>,
}

impl World {
    pub(super) fn new(geometry: Geometry, hasher: Hasher) -> Self {
        let table = table(geometry, hasher);
        let mut local = table.local(0).expect("worker");
        local.enter();
        Self { table, local, plain: Plain::default(), now: 1, dead: Vec::new() }
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

    pub(super) fn step(&mut self, op: &Op) {
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
                    self.dead.push((index, generation));
                }
            }
            Op::DeleteBurst(keys) => {
                let names = |key| {
                    let index = self.plain.keys.get(key)?.0;
                    Some((index, self.table.entry(index).generation.load(Ordering::Relaxed)))
                };
                let burst: Vec<_> = keys.iter().filter_map(names).collect();
                let deleted = self.table.delete_burst(&mut self.local, &burst);
                for (i, name) in burst.iter().enumerate() {
                    // Of two names of one entry the first has ended it.
                    let first = !burst[..i].contains(name);
                    assert_eq!(deleted >> i & 1 == 1, first);
                    if first {
                        self.plain.remove(name.0);
                    }
                }
                self.dead.extend(burst);
            }
            Op::DeleteAgain => {
                for (index, generation) in self.dead.drain(..) {
                    assert!(self.table.get(&self.local, index, generation).is_none());
                    assert!(!self.table.delete(&mut self.local, index, generation));
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

/// Plays what an input says: the sizes of the table, then operations, until it ends. `defect`: the map is to be wrong.
#[cfg(fuzzing)]
pub fn play(input: &[u8], defect: bool) {
    let mut bytes = input.iter().copied();
    let mut next = || bytes.next();
    let Some((shape, overflow, entries)) = next().zip(next()).zip(next()).map(|((a, b), c)| (a, b, c)) else {
        return;
    };
    let hasher = if shape & 4 == 0 { Hasher::Weak } else { Hasher::Mixed };
    let (overflow, entries) = (u32::from(overflow) % 12, u32::from(entries) % 80 + 1);
    let from = geometry(1 << (shape & 3), overflow, entries, 1);
    let mut world = World::new(growing(from, 3, entries, 0), hasher);
    world.plain.late = defect.into();
    while let Some(op) = op(&mut next) {
        world.step(&op);
    }
    for op in [Op::Advance(u64::MAX), Op::LookupAll, Op::DeleteAgain, Op::Reclaim] {
        world.step(&op);
    }
}

#[cfg(fuzzing)]
fn op(next: &mut impl FnMut() -> Option<u8>) -> Option<Op> {
    let kind = next()?;
    let mut key = || next().map(|byte| u64::from(byte) % KEYS);
    Some(match kind % 16 {
        0..3 => Op::Insert { keys: [key()?, key()?], expires: 0 },
        3 => Op::Insert { keys: [key()?, key()?], expires: 1 + u32::from(kind >> 4) * 12 },
        4 => {
            let keys = |_| Some([key()?, key()?]);
            Op::Burst((0..2 + (kind >> 4)).map(keys).collect::<Option<_>>()?)
        }
        5 => Op::Delete(key()?),
        6 => Op::DeleteBurst((0..2 + (kind >> 4)).map(|_| key()).collect::<Option<_>>()?),
        7 => Op::DeleteAgain,
        8 => Op::Kill(key()?),
        9 => Op::Lookup(key()?),
        10 => Op::LookupAll,
        11 => Op::Release,
        12 => Op::Tick(1 + u32::from(kind >> 4) * 2),
        13 => Op::Grow,
        14 => Op::Advance(1 + u64::from(kind >> 6)),
        _ => {
            if kind & 16 == 0 {
                Op::Leave
            } else {
                Op::Reclaim
            }
        }
    })
}
