//! conntab's own table, through its feature `internals`.
//!
//! `conntab` stores both keys of a flow and is asked for either; `onekey` stores one. Entries are the product's connections
//! (128 bytes, key and expiry in the first line). A hit stores a word into that line, as it does for every structure;
//! `conntab_word` is the same table, refreshed as the packet path does it: by compare-exchange of the word that holds life and
//! expiry.
//!
//! In `insert-grow` the table is made for 1024 flows, and addresses are reserved for all. Growth is a control call
//! (`Table::set_max`), which a host would make in a thread that has time. Here the inserting thread that first sees three quarters of
//! `max` in use makes it, between two bursts: memory is taken (and touched), `max` doubles. A second thread goes on inserting
//! meanwhile, and helps. All of that is in the row.

use std::time::Duration;

use ::conntab::bench::{Chains, Table, Touch, Worker};

use crate::{BURST, Hands, Key, Name, Peer, Size};

struct Ours<const KEYS: u32> {
    table: Table<KEYS>,
    grows: bool,
}

/// Flows that a growing table is made for: about the least it can be.
const BEGIN: u32 = 1024;

fn make<const KEYS: u32>(size: Size) -> Result<Box<dyn Peer>, String> {
    let begin = if size.grow { BEGIN.min(size.flows as u32) } else { size.flows as u32 };
    let table = Table::growing(begin, size.flows as u32, size.threads as u32).ok_or("no memory")?;
    Ok(Box::new(Ours::<KEYS> { table, grows: size.grow }))
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
        Box::new(self.ourselves(n, Touch::Store))
    }

    fn other_hands(&self, n: usize, _: &str) -> Option<Box<dyn Hands + '_>> {
        Some(Box::new(self.ourselves(n, Touch::Refresh)))
    }

    fn chains(&self) -> Option<Chains> {
        Some(self.table.chains())
    }
}

impl<const KEYS: u32> Ours<KEYS> {
    fn ourselves(&self, n: usize, touch: fn(u32) -> Touch) -> Ourselves<'_, KEYS> {
        Ourselves { of: self, worker: self.table.worker(n as u32).expect("each thread once"), touch }
    }
}

/// Bursts in a tick of 1 ms, at 20 million packets a second.
const BURSTS_PER_TICK: usize = 640;

/// Another thread is waited for in such pauses, so often.
const PAUSE: Duration = Duration::from_micros(100);
const TRIES: usize = 10_000;

struct Ourselves<'t, const KEYS: u32> {
    of: &'t Ours<KEYS>,
    worker: Worker<'t, KEYS>,
    touch: fn(u32) -> Touch,
}

impl<const KEYS: u32> Ourselves<'_, KEYS> {
    /// What a host does that lets its table grow: whoever sees first that three quarters of `max` are in use doubles it, in his
    /// own thread; the others go on inserting meanwhile, up to `max`. (Who has to wait sleeps: it is no CPU time.)
    fn make_room(&mut self) {
        let table = &self.of.table;
        for _ in 0..TRIES {
            let ((max, most), used) = (table.max(), table.used());
            if max == most || used < u64::from(max / 4 * 3) {
                return;
            }
            if !table.is_growing() {
                self.worker.leave();
                table.set_max(most.min(2 * max));
            } else if used < u64::from(max) {
                return;
            } else {
                self.worker.leave();
                std::thread::sleep(PAUSE);
            }
        }
    }
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
            if self.of.grows {
                self.make_room();
            }
            self.worker.enter();
            let mut done = self.worker.insert_burst(keys, now, names);
            // Another thread that is not running holds back what was deleted: not a matter of this thread's CPU time.
            for _ in 0..TRIES {
                if done == keys.len() {
                    break;
                }
                self.worker.reclaim();
                std::thread::sleep(PAUSE);
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
