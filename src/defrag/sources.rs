//! How many fragments an IPv4 source has sent, counted while datagrams of it wait (`ipfrag_max_dist`).

use crate::memory::{Array, NoMemory, Options, Zeroed};

#[derive(Default)]
struct Source {
    address: u32,
    /// Fragments seen.
    count: u32,
    /// Datagrams that wait.
    users: u32,
    /// The next in its chain, or of those that are free.
    next: u32,
}

// SAFETY: integers.
unsafe impl Zeroed for Source {}

/// The most sources in a chain: a bound that random hashes do not meet.
const CHAIN: usize = 64;

/// The sources; number 0 is none. There are as many as datagrams may wait, so one is always free.
pub(super) struct Sources {
    all: Array<Source>,
    heads: Array<u32>,
    free: u32,
    fresh: u32,
}

impl Sources {
    fn heads(count: usize) -> usize {
        count.next_power_of_two() * 2
    }

    pub fn bytes(count: usize, options: Options<'_>) -> u64 {
        Array::<Source>::bytes(count + 1, options) + Array::<u32>::bytes(Self::heads(count), options)
    }

    pub fn new(count: usize, options: Options<'_>) -> Result<Self, NoMemory> {
        let all = Array::new(count + 1, options)?;
        let heads = Array::new(Self::heads(count), options)?;
        Ok(Self { all, heads, free: 0, fresh: 1 })
    }

    fn head(&mut self, hash: u64) -> &mut u32 {
        let mask = self.heads.len() - 1;
        &mut self.heads[hash as usize & mask]
    }

    /// The source with this address, one user more; 0: it is not counted. `hash` is its keyed hash.
    pub fn join(&mut self, address: u32, hash: u64) -> u32 {
        let mut at = *self.head(hash);
        let mut length = 0;
        while at != 0 {
            length += 1;
            if length > CHAIN {
                return 0;
            }
            let source = &mut self.all[at as usize];
            if source.address == address {
                source.users += 1;
                return at;
            }
            at = source.next;
        }
        let new = if self.free != 0 { self.free } else { self.fresh };
        let next = *self.head(hash);
        let Some(source) = self.all.get_mut(new as usize) else { return 0 };
        if new == self.free {
            self.free = source.next;
        } else {
            self.fresh += 1;
        }
        *source = Source { address, count: 0, users: 1, next };
        *self.head(hash) = new;
        new
    }

    /// One user less.
    pub fn leave(&mut self, source: u32, hash: u64) {
        if source == 0 {
            return;
        }
        let left = &mut self.all[source as usize];
        left.users -= 1;
        if left.users > 0 {
            return;
        }
        let after = std::mem::replace(&mut left.next, self.free);
        self.free = source;
        let head = self.head(hash);
        if *head == source {
            *head = after;
            return;
        }
        let mut at = *head;
        for _ in 0..CHAIN {
            let before = &mut self.all[at as usize];
            if before.next == source {
                before.next = after;
                return;
            }
            at = before.next;
        }
    }

    /// One fragment more of a source; how many there are now.
    pub fn count(&mut self, source: u32) -> u32 {
        let source = &mut self.all[source as usize];
        source.count = source.count.wrapping_add(1);
        source.count
    }
}
