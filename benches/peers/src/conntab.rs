//! conntab's own table, through its feature `internals`.
//!
//! `conntab` stores both keys of a flow and is asked for either; `onekey` stores one. Entries are the product's connections
//! (128 bytes, key and expiry in the first line). A hit stores a word into that line, as it does for every structure;
//! `conntab_word` is the same table, refreshed as the packet path does it: by compare-exchange of the word that holds life and
//! expiry.

use std::time::Duration;

use ::conntab::bench::{Table, Touch, Worker};

use crate::{BURST, Hands, Key, Name, Peer, Size};

struct Ours<const KEYS: u32>(Table<KEYS>);

fn make<const KEYS: u32>(size: Size) -> Result<Box<dyn Peer>, String> {
    if size.grow {
        return Err("the table's own growth is not reached by this bench".to_owned());
    }
    let table = Table::new(size.flows as u32, size.threads as u32).ok_or("no memory")?;
    Ok(Box::new(Ours::<KEYS>(table)))
}

/// Both directions stored.
pub fn both(size: Size) -> Result<Box<dyn Peer>, String> {
    make::<2>(size)
}

/// One key per flow.
pub fn one(size: Size) -> Result<Box<dyn Peer>, String> {
    make::<1>(size)
}

/// Bytes of the buckets, those for overflow included.
pub fn index_bytes(flows: usize, both: bool) -> usize {
    let bytes = if both { Table::<2>::index_bytes } else { Table::<1>::index_bytes };
    bytes(flows as u32) as usize
}

impl<const KEYS: u32> Peer for Ours<KEYS> {
    fn hands(&self, n: usize) -> Box<dyn Hands + '_> {
        Box::new(Ourselves { worker: self.worker(n), touch: Touch::Store })
    }

    fn other_hands(&self, n: usize) -> Option<Box<dyn Hands + '_>> {
        Some(Box::new(Ourselves { worker: self.worker(n), touch: Touch::Refresh }))
    }
}

impl<const KEYS: u32> Ours<KEYS> {
    fn worker(&self, n: usize) -> Worker<'_, KEYS> {
        self.0.worker(n as u32).expect("each thread once")
    }
}

/// Bursts in a tick of 1 ms, at 20 million packets a second.
const BURSTS_PER_TICK: usize = 640;

struct Ourselves<'t, const KEYS: u32> {
    worker: Worker<'t, KEYS>,
    touch: fn(u32) -> Touch,
}

impl<const KEYS: u32> Hands for Ourselves<'_, KEYS> {
    fn single(&mut self, keys: &[Key], _: &[u32], now: u32) -> usize {
        let mut found = 0;
        for (i, keys) in keys.chunks(BURST).enumerate() {
            let touch = (self.touch)(now + (i / BURSTS_PER_TICK) as u32);
            self.worker.enter();
            for key in keys {
                found += usize::from(self.worker.single(key, touch));
            }
        }
        found
    }

    fn burst(&mut self, keys: &[Key], _: &[u32], now: u32) -> usize {
        let mut found = 0;
        for (i, keys) in keys.chunks(BURST).enumerate() {
            self.worker.enter();
            found += self.worker.burst(keys, (self.touch)(now + (i / BURSTS_PER_TICK) as u32));
        }
        found
    }

    fn insert(&mut self, keys: &[Key], names: &mut [Name], now: u32) -> usize {
        let mut inserted = 0;
        for (keys, names) in keys.chunks(BURST).zip(names.chunks_mut(BURST)) {
            self.worker.enter();
            let mut done = self.worker.insert_burst(keys, now, names);
            // Another thread that is not running holds back what was deleted: not a matter of this thread's CPU time.
            for _ in 0..10_000 {
                if done == keys.len() {
                    break;
                }
                self.worker.reclaim();
                std::thread::sleep(Duration::from_micros(100));
                self.worker.enter();
                done += self.worker.insert_burst(&keys[done..], now, &mut names[done..]);
            }
            inserted += done;
        }
        inserted
    }

    fn delete(&mut self, _: &[Key], names: &[Name]) -> usize {
        let mut deleted = 0;
        for names in names.chunks(BURST) {
            self.worker.enter();
            deleted += self.worker.delete_burst(names);
        }
        deleted
    }

    fn reclaim(&mut self) {
        self.worker.reclaim();
    }
}

impl<const KEYS: u32> Drop for Ourselves<'_, KEYS> {
    fn drop(&mut self) {
        self.worker.leave();
    }
}
