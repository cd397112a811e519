//! The table of expectations: places in buckets of eight, found by what is expected.
//!
//! ```text
//! states   [ state state state state state state state state ]   one line a bucket
//!              |
//! records  [ master | key | deadline, info ]                      one line each, at the same place
//!
//! state    63 .. 32 tag of the hash | 31 .. 3 generation | 2 .. 0 life
//!
//! life     FREE -> BUSY -> PLACED -> LIVE -> TAKEN -> FREE
//!                             |               ^
//!                             +---------------+
//! ```
//!
//! An expectation is in one of the two buckets that its hash names. There are at least four times as many places as expectations
//! allowed, so both are full once in a million times (unless somebody expects one port from very many hosts, who finds no place then).
//!
//! **Invariants.**
//! - (X1) FREE is left by compare-exchange, to BUSY with the next generation. Who did it owns the place until it has made it
//!   PLACED or LIVE; PLACED is still its own. The record's fields are stored by that owner alone, while BUSY.
//!   Models: `a_place_is_used_again`, `what_is_new_is_not_over`.
//! - (X2) LIVE is left by compare-exchange alone, to TAKEN: whoever succeeds owns the place, has ended that expectation, and is
//!   the only one; it clears the master's slot of it, then makes the place FREE. So one packet alone takes what is to come
//!   once, and everything that was expected is told of as ended once. Models: `one_packet_takes_what_comes_once`, `what_is_expected_ends_once`.
//! - (X3) What was read of a record holds if its state, read before (Acquire), is the same after (behind an Acquire fence), or
//!   was LIVE and is made TAKEN by the reader. Models: `a_place_is_used_again`.
//! - (X4) Of two that expect the same, both PLACED, at least one sees the other: each is PLACED, then passes a SeqCst fence, then looks.
//!   Who sees another withdraws. (It may be that both do.) Models: `two_never_expect_the_same`.
//! - (X5) `count` is the number of places that are not FREE, plus those about to be taken or given back; it never exceeds
//!   `max` for longer than a refusal takes, or than what makes room for another needs to go.

use super::draft::{Draft, Fields};
use crate::memory::{Array, NoMemory, Options};
use crate::sync::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::sync::{AtomicU32, AtomicU64, fence, mutated, passing};
use crate::tuple::Key;

const FREE: u64 = 0;
const BUSY: u64 = 1;
const PLACED: u64 = 2;
const LIVE: u64 = 3;
const TAKEN: u64 = 4;

const LIFE: u64 = 7;
const GENERATION: u64 = 0xffff_fff8;
const ONE: u64 = 8;

/// Places of a bucket. (Two in models.)
const WIDE: usize = if cfg!(conntab_loom) { 2 } else { 8 };

/// Places for each expectation that is allowed.
const ROOM: usize = if cfg!(conntab_loom) { 1 } else { 4 };

/// Names an expectation: place + 1 (32, low) | generation. It fails when that expectation has ended. 0 names none.
pub(crate) type Name = u64;

fn name(place: usize, state: u64) -> Name {
    (place as u64 + 1) | (state & GENERATION) << 32
}

/// Why an expectation was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There are as many as there may be, or both buckets are full.
    Full,
    /// Another is expected that the same packet could be.
    Clash,
}

/// What an expectation is to whoever meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Holds,
    /// It is as if it were not there; another ends it.
    Ignored,
    /// Its time is over: it is to be ended on the way.
    Over,
}

/// What happens on the way through the places of a hash.
pub(crate) trait OnTheWay {
    /// What an expectation is to the caller that fits, or stands in the way.
    fn fate(&self, draft: &Draft) -> Fate;
    /// An expectation was over, or made room. The caller must `free` it.
    fn ended(&self, name: Name, draft: &Draft);
    /// The new one will have this name. It cannot be met yet; it may still be refused.
    fn named(&self, _: Name) {}
}

pub(crate) struct Arena {
    states: Array<AtomicU64>,
    records: Array<Fields>,
    /// On a line of its own: whether it is 0 is asked for each new connection.
    count: Line,
    /// The place that is swept next.
    cursor: AtomicU32,
    max: u32,
}

#[repr(align(64))]
#[derive(Default)]
struct Line(AtomicU32);

impl Arena {
    /// Places for so many expectations: a power of two of buckets.
    fn places(max: u32) -> usize {
        (max as usize * ROOM).div_ceil(WIDE).next_power_of_two() * WIDE
    }

    pub fn bytes(max: u32, options: Options<'_>) -> u64 {
        let places = Self::places(max);
        Array::<AtomicU64>::bytes(places, options) + Array::<Fields>::bytes(places, options)
    }

    pub fn new(max: u32, options: Options<'_>) -> Result<Self, NoMemory> {
        let places = Self::places(max);
        let (states, records) = (Array::new(places, options)?, Array::new(places, options)?);
        Ok(Self { states, records, count: Line::default(), cursor: AtomicU32::new(0), max })
    }

    /// How many there are.
    #[inline]
    pub fn count(&self) -> u32 {
        // Relaxed: it decides whether to look. Between the packet that announces and the one that was announced lies a way
        // through the network.
        self.count.0.load(Relaxed)
    }

    /// The first places of the two buckets of a hash: two different ones, if there are two.
    fn buckets(&self, hash: u64) -> [usize; 2] {
        let mask = self.states.len() / WIDE - 1;
        let first = hash as usize & mask;
        let second = (first ^ ((hash >> 16) as usize | 1)) & mask;
        [first * WIDE, second * WIDE]
    }

    fn tag(hash: u64) -> u64 {
        hash & !(GENERATION | LIFE)
    }

    /// The places of a hash, each once.
    fn around(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let [first, second] = self.buckets(hash);
        let both = if first == second { 0 } else { WIDE };
        (first..first + WIDE).chain(second..second + both)
    }

    /// Expects what `draft` says. `instead`: another that makes room for it, once nothing stands in its way.
    pub fn insert(
        &self,
        hash: u64,
        draft: &Draft,
        instead: Option<Name>,
        on_the_way: &impl OnTheWay,
    ) -> Result<Name, Refused> {
        // (What makes room may have been met meanwhile: then there is one place more.)
        let most = self.max + u32::from(instead.is_some());
        if self.count.0.fetch_add(1, Relaxed) >= most {
            self.count.0.fetch_sub(1, Relaxed);
            return Err(Refused::Full);
        }
        let Some((place, busy)) = self.occupy(hash) else {
            self.count.0.fetch_sub(1, Relaxed);
            return Err(Refused::Full);
        };
        passing("expect-occupied");
        // A reader that sees one of our fields must see BUSY as well; pairs with its Acquire fence.
        if !mutated("expect-write-no-fence") {
            fence(Release);
        }
        if mutated("expect-live-early") {
            self.states[place].store(busy & !LIFE | LIVE, Release);
        }
        self.records[place].store(draft);
        let name = name(place, busy);
        on_the_way.named(name);
        let placed = busy & !LIFE | PLACED;
        // Release: who sees it placed sees its fields.
        self.states[place].store(placed, Release);
        passing("expect-placed");
        // X4.
        if !mutated("expect-no-fence") {
            fence(SeqCst);
        }
        for other in self.around(hash).filter(|other| *other != place) {
            let Some((state, seen)) = self.neighbour(other, busy) else { continue };
            if !seen.clashes(draft) {
                continue;
            }
            match on_the_way.fate(&seen) {
                Fate::Ignored => {}
                Fate::Over if state & LIFE == LIVE => {
                    if let Some(seen) = self.take(other, state) {
                        on_the_way.ended(self::name(other, state), &seen);
                    }
                }
                Fate::Over | Fate::Holds => {
                    self.give_back(place, placed);
                    return Err(Refused::Clash);
                }
            }
        }
        if let Some(instead) = instead
            && let Some(seen) = self.end(instead)
        {
            on_the_way.ended(instead, &seen);
        }
        // Release: who sees it live sees its fields, and the slot. (PLACED is left by its owner alone: X1.)
        self.states[place].store(busy & !LIFE | LIVE, Release);
        passing("expect-live");
        Ok(name)
    }

    /// What is placed or live at another place, if it has the tag of `busy`, and its state.
    fn neighbour(&self, place: usize, busy: u64) -> Option<(u64, Draft)> {
        // It may go from PLACED to LIVE while it is read. Whatever comes there later sees us: X4.
        for _ in 0..if mutated("expect-look-once") { 1 } else { 2 } {
            let state = self.states[place].load(Acquire);
            if !matches!(state & LIFE, PLACED | LIVE) || (state ^ busy) & !(GENERATION | LIFE) != 0 {
                return None;
            }
            if let Some(seen) = self.read(place, state) {
                return Some((state, seen));
            }
        }
        None
    }

    /// A free place of this hash, made BUSY.
    fn occupy(&self, hash: u64) -> Option<(usize, u64)> {
        self.around(hash).find_map(|place| {
            let state = self.states[place].load(Relaxed);
            let generation =
                if mutated("expect-no-generation") { state } else { state.wrapping_add(ONE) } & GENERATION;
            let busy = Self::tag(hash) | generation | BUSY;
            let free = state & LIFE == FREE;
            // Acquire: pairs with the Release of `give_back`; what its last owner read is read.
            (free && self.states[place].compare_exchange(state, busy, Acquire, Relaxed).is_ok())
                .then_some((place, busy))
        })
    }

    /// The fields of a place whose state was `state`, if it still is (X3).
    fn read(&self, place: usize, state: u64) -> Option<Draft> {
        let draft = self.records[place].load();
        // The fields are read before the state is read again. Pairs with the fence in `insert`.
        if !mutated("expect-read-no-fence") {
            fence(Acquire);
        }
        (self.states[place].load(Relaxed) == state).then_some(draft)
    }

    /// Ends the expectation of a LIVE place, unless it has ended: the caller then owns the place until `give_back`.
    fn take(&self, place: usize, live: u64) -> Option<Draft> {
        let taken = live & !LIFE | TAKEN;
        if mutated("expect-take-blind") {
            self.states[place].store(taken, Relaxed);
        } else {
            // Acquire: its fields are read by us from now on.
            self.states[place].compare_exchange(live, taken, Acquire, Relaxed).ok()?;
        }
        passing("expect-taken");
        Some(self.records[place].load())
    }

    /// The owner of a place has no more use for it.
    fn give_back(&self, place: usize, state: u64) {
        // Release: pairs with the Acquire of who occupies it next.
        self.states[place].store(state & !LIFE | FREE, Release);
        self.count.0.fetch_sub(1, Relaxed);
    }

    /// The owner of what it took (`take`, `meet`, `end`) has cleared the master's slot.
    pub fn free(&self, name: Name) {
        let (place, generation) = parts(name);
        self.give_back(place, generation);
    }

    /// A packet with this key (source port 0) looks for what expects it. What comes but once is taken by the caller, who must
    /// `free` it.
    pub fn meet(&self, hash: u64, key: &Key, on_the_way: &impl OnTheWay) -> Option<(Name, Draft)> {
        for place in self.around(hash) {
            // Acquire: pairs with the Release in `insert`.
            let state = self.states[place].load(Acquire);
            if state & LIFE != LIVE || (state ^ hash) & !(GENERATION | LIFE) != 0 {
                continue;
            }
            let Some(seen) = self.read(place, state) else { continue };
            if !seen.meets(key) {
                continue;
            }
            let name = name(place, state);
            match on_the_way.fate(&seen) {
                Fate::Ignored => {}
                Fate::Over => {
                    if let Some(seen) = self.take(place, state) {
                        on_the_way.ended(name, &seen);
                    }
                }
                Fate::Holds if seen.permanent => return Some((name, seen)),
                Fate::Holds => {
                    let taken = self.take(place, state);
                    if let Some(taken) = taken {
                        return Some((name, taken));
                    }
                }
            }
        }
        None
    }

    /// Ends an expectation, unless it has ended. The caller then must `free` it.
    pub fn end(&self, name: Name) -> Option<Draft> {
        let (place, generation) = parts(name);
        let state = self.states.get(place)?.load(Relaxed);
        let live = state & GENERATION == generation && state & LIFE == LIVE;
        live.then(|| self.take(place, state)).flatten()
    }

    /// The expectation of this name, if it has not ended.
    pub fn get(&self, name: Name) -> Option<Draft> {
        let (place, generation) = parts(name);
        let state = self.states.get(place)?.load(Acquire);
        let live = state & GENERATION == generation && state & LIFE == LIVE;
        live.then(|| self.read(place, state)).flatten()
    }

    /// The next `n` places for a sweeper, none twice within one sweep.
    pub fn next_places(&self, n: u32) -> impl Iterator<Item = usize> + use<> {
        let len = self.states.len();
        let n = (n as usize).min(len);
        // Relaxed: it orders nothing. It wraps at a multiple of the length, which is a power of two.
        let first = self.cursor.fetch_add(n as u32, Relaxed) as usize;
        (first..first + n).map(move |place| place & (len - 1))
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// The expectation at a place, if there is one.
    pub fn at(&self, place: usize) -> Option<(Name, Draft)> {
        let state = self.states.get(place)?.load(Acquire);
        let draft = (state & LIFE == LIVE).then(|| self.read(place, state)).flatten()?;
        Some((name(place, state), draft))
    }
}

/// Place and generation of a name.
fn parts(name: Name) -> (usize, u64) {
    ((name as u32 as usize).wrapping_sub(1), name >> 32 & GENERATION)
}
