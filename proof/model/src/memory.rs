//! What the threads share: the words of `src/table`, in miniature, and the epoch.
//!
//! Sequentially consistent: each access is one step. What weaker orders do is the business of the loom models, with one
//! exception: the store of READY may wait in its thread's store buffer (`thread`), as on x86.

/// Most heads of both arrays, overflow buckets, entries, slots of a bucket.
pub const HEADS: usize = 6;
pub const OVERS: usize = 4;
pub const ENTRIES: usize = 6;
pub const SLOTS: usize = 2;

/// A slot: one of these, or OCCUPIED | entry (3 bits) | direction | tag (2 bits); FROZEN beside either.
pub const UNINIT: u16 = 0;
pub const EMPTY: u16 = 1;
pub const CLOSED: u16 = 2;
const OCCUPIED: u16 = 0x100;
pub const FROZEN: u16 = 0x80;

pub fn slot(entry: u8, dir: u8, tag: u8) -> u16 {
    OCCUPIED | u16::from(entry) << 3 | u16::from(dir) << 2 | u16::from(tag)
}

pub fn thawed(slot: u16) -> u16 {
    slot & !FROZEN
}

pub fn occupied(slot: u16) -> bool {
    slot & OCCUPIED != 0
}

pub fn entry_of(slot: u16) -> u8 {
    (slot >> 3 & 7) as u8
}

pub fn dir_of(slot: u16) -> u8 {
    (slot >> 2 & 1) as u8
}

pub fn tag_of(slot: u16) -> u8 {
    (slot & 3) as u8
}

/// The meta word: these bits, link + 1 (bits 4..=6), and in heads the marks of what is behind (8..=10; tags 0 and 3 share one).
pub mod meta {
    pub const INIT: u16 = 1;
    pub const FROZEN: u16 = 2;
    pub const MOVED: u16 = 4;
    pub const CLOSED: u16 = 8;
    pub const LINK: u16 = 0x70;
    pub const MARKS: u16 = 0x700;

    pub fn link(meta: u16) -> Option<u8> {
        ((meta >> 4 & 7) as u8).checked_sub(1)
    }

    /// With none it has no marks either.
    pub fn with_link(meta: u16, link: Option<u8>) -> u16 {
        match link {
            Some(link) => meta & !LINK | (u16::from(link) + 1) << 4,
            None => meta & !(LINK | MARKS),
        }
    }

    pub fn mark(tag: u8) -> u16 {
        1 << (8 + tag % 3)
    }
}

/// The word of an entry: life (bits 0..=2; 0: free), attempt (3..=5), and one bit of its own.
pub mod word {
    pub const UNCONF: u16 = 1;
    pub const INS: u16 = 2;
    pub const READY: u16 = 3;
    pub const LIVE: u16 = 4;
    pub const DEAD: u16 = 5;
    pub const KILLED: u16 = 6;
    /// Its own bit: it has expired. A refresh takes it away.
    pub const EXPIRED: u16 = 1 << 6;
    /// Attempts that the field could count: no insert of a scope may need so many.
    pub const ATTEMPTS: u8 = 7;

    pub fn life(word: u16) -> u16 {
        word & 7
    }

    pub fn with_life(word: u16, life: u16) -> u16 {
        word & !7 | life
    }

    pub fn attempt(word: u16) -> u8 {
        (word >> 3 & 7) as u8
    }

    pub fn with_attempt(word: u16, life: u16, attempt: u8) -> u16 {
        word & !0x3f | u16::from(attempt) << 3 | life
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bucket {
    pub slots: [u16; SLOTS],
    pub meta: u16,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Entry {
    pub word: u16,
    pub keys: [u8; 2],
}

/// Growth goes on, beside the number of heads in `root`.
pub const GROWING: u16 = 0x80;

/// What must never happen, seen at the step that did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// What was retired had been retired, or was free already.
    FreedTwice,
    /// What was retired can still be reached (R1).
    RetiredWhileReachable,
    /// A slot was not where it must be.
    SlotLost,
    /// An answer that was right at no instant of its call.
    NotLinearizable,
    /// An entry that had been refreshed was reaped.
    RefreshLost,
    /// A loop went round more often than others' successes can explain: it might for ever.
    NoProgress,
    /// Moving a chain found no overflow bucket.
    CannotMove,
}

/// A name for a bucket: heads by their place, overflow buckets behind them.
pub type Place = u8;

pub fn over(over: u8) -> Place {
    HEADS as u8 + over
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    /// Heads of the array in use, and GROWING.
    pub root: u16,
    /// The frontier of growth.
    pub done: u16,
    pub buckets: [Bucket; HEADS + OVERS],
    pub entries: [Entry; ENTRIES],
    /// Bit i: entry i, overflow bucket i, is free.
    pub free: u8,
    pub pool: u8,
    /// The epoch: of entry i (overflow bucket i, behind them) the threads that were at work when it was retired and still
    /// are. With the last of them it is free. 0: it is not waiting.
    pub waiting: [u8; ENTRIES + OVERS],
    /// Threads at work.
    pub entered: u8,
    pub fault: Option<Fault>,
}

impl Memory {
    pub fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Of the entries that are LIVE with this key.
    pub fn live(&self, key: u8) -> impl Iterator<Item = u8> {
        (0..ENTRIES as u8).filter(move |entry| {
            let Entry { word, keys } = self.entries[*entry as usize];
            word::life(word) == word::LIVE && keys.contains(&key)
        })
    }

    /// The buckets of the chain that counts for this head of the array in use.
    pub fn chain(&self, first: u8, head: u8) -> impl Iterator<Item = Place> {
        let size = (self.root & !GROWING) as u8;
        let mut next = Some(size - first + (head & (size - 1)));
        if self.buckets[next.unwrap_or(0) as usize].meta & meta::MOVED != 0 {
            next = Some(2 * size - first + (head & (2 * size - 1)));
        }
        // (A ring would be a fault of its own: it ends.)
        let mut left = OVERS + 2;
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let place = next?;
            next = meta::link(self.buckets[place as usize].meta).map(over);
            Some(place)
        })
    }

    /// How often this slot word is in the chain of this hash.
    pub fn count(&self, first: u8, hash: u8, word: u16) -> usize {
        let slots = self.chain(first, hash).flat_map(|place| self.buckets[place as usize].slots);
        slots.filter(|slot| thawed(*slot) == word).count()
    }

    /// Whether this overflow bucket is in any chain that counts.
    fn linked(&self, first: u8, bucket: u8) -> bool {
        (0..4).any(|head| self.chain(first, head).any(|place| place == over(bucket)))
    }

    /// It awaits all threads that are at work; `at_once`: a defect.
    pub fn retire_entry(&mut self, first: u8, entry: u8, tags: [u8; 2], at_once: bool) {
        if self.waiting[entry as usize] != 0 || self.free >> entry & 1 == 1 {
            self.fail(Fault::FreedTwice);
        }
        let reachable =
            |dir: u8| self.count(first, tags[dir as usize], slot(entry, dir, tags[dir as usize])) > 0;
        if reachable(0) || reachable(1) {
            self.fail(Fault::RetiredWhileReachable);
        }
        self.waiting[entry as usize] = if at_once { 0 } else { self.entered };
        self.free |= u8::from(at_once) << entry;
    }

    pub fn retire_bucket(&mut self, first: u8, bucket: u8, at_once: bool) {
        let waiting = ENTRIES + bucket as usize;
        if self.waiting[waiting] != 0 || self.pool >> bucket & 1 == 1 {
            self.fail(Fault::FreedTwice);
        }
        if self.linked(first, bucket) {
            self.fail(Fault::RetiredWhileReachable);
        }
        self.waiting[waiting] = if at_once { 0 } else { self.entered };
        self.pool |= u8::from(at_once) << bucket;
    }

    /// A thread has left: what awaited nobody else is free.
    pub fn leave(&mut self, thread: u8) {
        self.entered &= !(1 << thread);
        for (i, waiting) in self.waiting.iter_mut().enumerate() {
            if *waiting == 1 << thread {
                // (What it holds nobody will read any more: equal states shall be equal.)
                match i.checked_sub(ENTRIES) {
                    None => {
                        self.free |= 1 << i;
                        self.entries[i] = Entry::default();
                    }
                    Some(bucket) => {
                        self.pool |= 1 << bucket;
                        self.buckets[HEADS + bucket] = Bucket::default();
                    }
                }
            }
            *waiting &= !(1 << thread);
        }
    }
}
