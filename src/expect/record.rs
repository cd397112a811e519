//! Help records: what a connection is beyond itself. Its helper and what that remembers, the connections it expects, the
//! connection that expected it.
//!
//! A record belongs to one connection from when it is made (the connection is unconfirmed then) until that has ended. An array beside
//! the slab leads to it; a bit in the connection's word tells that there is one.
//!
//! ```text
//! state    63 .. 32 generation | 3 MAKING | 2 DEAD | 1 ENTERED | 0 USED
//! ```
//!
//! **Invariants.**
//! - (H1) Of those who would have a free record one succeeds, by compare-exchange, with the next generation: it is MAKING. Owner, words
//!   and master are stored by that one, which then makes it USED, before the connection can be found; owner and master stay until
//!   the record is free. Models: `a_record_is_used_again`.
//! - (H2) While ENTERED only the thread that set it stores the words that the helper remembers, and names to slots. Nobody enters what is
//!   DEAD. Models: `helpers_take_turns`.
//! - (H3) DEAD is set once, by whoever ended the connection. If it is entered then, whoever is in it finds DEAD when leaving; so one of the
//!   two, and one alone, ends what the record's slots name and makes it free. Nobody waits for the other.
//!   Models: `the_last_to_leave_clears_up`.
//! - (H4) A slot gets a name while its record is entered, before that expectation can be met, and loses it to whoever has ended that
//!   expectation (X2), by compare-exchange. Names do not come back, so a late one clears nothing of another's.

use crate::helper::{HelperId, MAX_EXPECTED, State};
use crate::memory::{Array, NoMemory, Options, Zeroed};
use crate::packet::Handle;
use crate::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, AtomicU64, Ordered, fence, mutated, order, passing};
use crate::tuple::Key;

use super::arena::Name;

const USED: u64 = 1;
const ENTERED: u64 = 2;
const DEAD: u64 = 4;
const MAKING: u64 = 8;
const ONE: u64 = 1 << 32;

/// Tries to enter what another worker is in: about one packet's work there.
const TRIES: usize = 64;

/// Places tried for a new record. A quarter of them is free at least, so all are taken once in a hundred million times.
const PROBES: usize = 64;

/// The connection that expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub handle: Handle,
    /// Its original tuple.
    pub key: Key,
}

#[repr(C, align(64))]
#[derive(Default)]
pub(crate) struct Record {
    state: AtomicU64,
    owner: AtomicU64,
    /// Helper (8) | `RULED` | serial number of the next expectation (24 bits from 32 on).
    info: AtomicU64,
    /// The master: handle, and tuple. Handle 0: it was not expected.
    master: AtomicU64,
    key: [AtomicU64; 5],
    words: [AtomicU64; 8],
    /// What this connection expects.
    slots: [AtomicU64; SLOTS],
}

// SAFETY: integer atomics and arrays of them: zero is valid and is the default, nothing to drop.
unsafe impl Zeroed for Record {}

/// One more than may be expected: what is new is named before the oldest makes room.
const SLOTS: usize = MAX_EXPECTED + 1;

/// It expects something though it has no helper.
const RULED: u64 = 1 << 8;

/// A record that was entered. Leaving is the caller's duty: `Records::leave`.
pub(crate) struct Entered<'a> {
    pub record: &'a Record,
    pub place: u32,
}

impl Record {
    /// The number of its helper, 0 if it has none.
    pub fn helper(&self) -> u8 {
        self.info.load(Relaxed) as u8
    }

    /// Gives a private connection's record a helper. `false`: it has one, or expects something by a rule already.
    pub fn attach(&self, helper: HelperId) -> bool {
        let free = self.info.load(Relaxed) == 0;
        if free {
            self.info.store(helper.number().into(), Relaxed);
        }
        free
    }

    /// A rule expects something for a private connection.
    pub fn rule(&self) {
        if self.helper() == 0 {
            self.info.store(self.info.load(Relaxed) | RULED, Relaxed);
        }
    }

    /// A serial number for an expectation. For who has entered.
    pub fn next_serial(&self) -> u32 {
        let info = self.info.load(Relaxed);
        self.info.store(info.wrapping_add(1 << 32), Relaxed);
        (info >> 32) as u32 & 0xff_ffff
    }

    /// What expected this connection.
    fn origin(&self) -> Option<Origin> {
        let handle = Handle::from_u64(self.master.load(Relaxed));
        let [a, b, c, d, meta] = std::array::from_fn(|at| self.key[at].load(Relaxed));
        (!handle.is_none()).then_some(Origin { handle, key: Key { src: [a, b], dst: [c, d], meta } })
    }

    /// What the helper remembers. For who has entered.
    pub fn words(&self) -> State {
        std::array::from_fn(|at| self.words[at].read())
    }

    /// For who has entered.
    pub fn store_words(&self, words: &State) {
        for (to, word) in self.words.iter().zip(words) {
            to.write(*word);
        }
    }

    /// The names in its slots, and where.
    pub fn names(&self) -> impl Iterator<Item = (usize, Name)> {
        self.slots.iter().map(|slot| slot.load(Relaxed)).enumerate().filter(|(_, name)| *name != 0)
    }

    /// A slot without a name.
    pub fn free_slot(&self) -> Option<usize> {
        self.slots.iter().position(|slot| slot.load(Relaxed) == 0)
    }

    /// Names an expectation. For who has entered.
    pub fn put(&self, slot: usize, name: Name) {
        self.slots[slot].store(name, Relaxed);
    }

    /// That expectation has ended.
    pub fn clear(&self, slot: usize, name: Name) {
        // Relaxed: it is its own name that it clears, or nothing.
        let _ = self.slots[slot].compare_exchange(name, 0, Relaxed, Relaxed);
    }
}

pub(crate) struct Records {
    records: Array<Record>,
    count: AtomicU32,
    max: u32,
}

impl Records {
    fn places(max: u32) -> usize {
        max as usize + max as usize / 3 + 1
    }

    pub fn bytes(max: u32, options: Options<'_>) -> u64 {
        Array::<Record>::bytes(Self::places(max), options)
    }

    pub fn new(max: u32, options: Options<'_>) -> Result<Self, NoMemory> {
        Ok(Self { records: Array::new(Self::places(max), options)?, count: AtomicU32::new(0), max })
    }

    pub fn count(&self) -> u32 {
        self.count.load(Relaxed)
    }

    /// A record for this private connection; its place. `None`: there are as many as there may be.
    pub fn make(&self, owner: Handle, origin: Option<Origin>) -> Option<u32> {
        if self.count.fetch_add(1, Relaxed) >= self.max {
            self.count.fetch_sub(1, Relaxed);
            return None;
        }
        // Indices of connections that begin one after the other lie side by side; so do their records, mostly.
        let begin = (owner.index() as usize).wrapping_mul(7);
        let found = (0..PROBES).find_map(|probe| {
            let place = begin.wrapping_add(probe.wrapping_mul(probe + 1) / 2 * 31) % self.records.len();
            let record = &self.records[place];
            let state = record.state.load(Relaxed);
            let making = (state & !(ONE - 1)).wrapping_add(ONE) | MAKING;
            let free = state & (USED | MAKING) == 0;
            // Acquire: pairs with the Release of `free`.
            (free && record.state.compare_exchange(state, making, Acquire, Relaxed).is_ok())
                .then_some((place, record, making))
        });
        let Some((place, record, making)) = found else {
            self.count.fetch_sub(1, Relaxed);
            return None;
        };
        passing("help-making");
        // Who sees one of these sees MAKING as well; pairs with the Acquire fence of `look`.
        fence(Release);
        record.owner.store(owner.to_u64(), Relaxed);
        record.info.store(0, Relaxed);
        record.store_words(&State::default());
        record.master.store(origin.map_or(0, |origin| origin.handle.to_u64()), Relaxed);
        if let Some(Origin { key, .. }) = origin {
            let words = [key.src[0], key.src[1], key.dst[0], key.dst[1], key.meta];
            for (to, word) in record.key.iter().zip(words) {
                to.store(word, Relaxed);
            }
        }
        // Release: who sees it USED sees whose it is.
        record.state.store(making & !MAKING | USED, order("help-make-relaxed", Release));
        Some(place as u32)
    }

    /// The record at a place, if it is this connection's.
    pub fn of(&self, place: u32, owner: Handle) -> Option<&Record> {
        let record = self.records.get(place as usize)?;
        let used = record.state.load(Acquire) & USED != 0;
        (used && record.owner.load(Relaxed) == owner.to_u64()).then_some(record)
    }

    /// The record at a place, whoever's it is: for who has ended an expectation of its.
    pub fn at(&self, place: u32) -> Option<&Record> {
        self.records.get(place as usize)
    }

    /// Helper and master of a connection, as its record has them: those of one life of it.
    pub fn look(&self, place: u32, owner: Handle) -> Option<(u8, Option<Origin>)> {
        let record = self.records.get(place as usize)?;
        let life = |state: u64| state & !(ENTERED | DEAD);
        let before = record.state.load(Acquire);
        let same = before & USED != 0 && record.owner.load(Relaxed) == owner.to_u64();
        let seen = (record.helper(), record.origin());
        // They are read before the state is read again. Pairs with the fence in `make`.
        fence(Acquire);
        (same && life(record.state.load(Relaxed)) == life(before)).then_some(seen)
    }

    /// Enters a connection's record. `None`: it is not its own (any more), the connection has ended, or others were in it at every
    /// try.
    pub fn enter(&self, place: u32, owner: Handle) -> Option<Entered<'_>> {
        let record = self.records.get(place as usize)?;
        for _ in 0..TRIES {
            let state = record.state.load(Acquire);
            if state & (USED | DEAD) != USED || record.owner.load(Relaxed) != owner.to_u64() {
                return None;
            }
            let mine = state & ENTERED == 0 || mutated("help-enter-entered");
            // Acquire: pairs with the Release of the last to leave.
            let acquire = order("help-enter-relaxed", Acquire);
            if mine && record.state.compare_exchange(state, state | ENTERED, acquire, Relaxed).is_ok() {
                passing("help-entered");
                return Some(Entered { record, place });
            }
            std::hint::spin_loop();
        }
        None
    }

    /// Leaves a record. If the connection has ended meanwhile, what it expects is handed to `end`, and the record is free.
    pub fn leave(&self, entered: Entered<'_>, end: impl FnMut(&Record, usize, Name)) {
        // Release: who enters next sees the words. Acquire: pairs with `bury`.
        passing("help-leaving");
        let left = entered.record.state.fetch_and(!ENTERED, order("help-leave-relaxed", AcqRel));
        if left & DEAD != 0 && !mutated("help-leave-no-look") {
            self.free(entered.record, end);
        }
    }

    /// The connection of the record at this place has ended: what it expects is handed to `end`, by us or by who is in it.
    pub fn bury(&self, place: u32, end: impl FnMut(&Record, usize, Name)) {
        let Some(record) = self.records.get(place as usize) else { return };
        // Acquire: pairs with `leave`; its slots are read.
        let state = record.state.fetch_or(DEAD, AcqRel);
        passing("help-dead");
        if state & ENTERED == 0 || mutated("help-bury-entered") {
            self.free(record, end);
        }
    }

    fn free(&self, record: &Record, mut end: impl FnMut(&Record, usize, Name)) {
        for (slot, name) in record.names() {
            end(record, slot, name);
            // Of what another is ending, that one clears the slot later, of whoever has it then: nothing (H4).
            record.clear(slot, name);
        }
        let generation = record.state.load(Relaxed) & !(ONE - 1);
        // Release: pairs with `make`.
        record.state.store(generation, Release);
        self.count.fetch_sub(1, Relaxed);
    }
}
