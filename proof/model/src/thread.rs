//! A thread at work: its operation, the point it has reached, and how it is put aside after each access.
//!
//! The operations (`table`) are plain functions that read like those of `src/table`. Each runs until it is about to make a
//! second access to what is shared; then it is put aside. What its accesses have returned since its point is kept, so that the next time
//! it comes to the same place by itself, and makes one access more. A point is where what has been read before does not
//! matter any more: there what was kept is forgotten, so that equal states are equal.

use crate::memory::{Fault, Memory, Place};
use crate::scope::{Op, Scope};

/// Accesses between two points, at most.
const LOG: usize = 24;

/// What is kept of a section.
const SECTION: u16 = 1 << 15;

/// Times a loop may go round within one operation. No scope has so many successes of others to explain more.
const ROUNDS: u8 = 8;

/// Where an operation continues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Point {
    /// It has not begun.
    #[default]
    Start,
    /// Insert: from the beginning of an attempt.
    Prepare,
    Find,
    Begin,
    /// At the slot that was seen EMPTY.
    PlaceAt(u8),
    /// Of this direction, with an overflow bucket of our own + 1.
    Place(u8, u8),
    Ready,
    /// This entry at this attempt.
    Resolve(u8, u8),
    Settled,
    /// Entry, direction: a cleaner at work, and what he does then.
    Clear(u8, u8, Then),
    /// The overflow bucket that he has cleared a slot of.
    Close(u8, u8, Then, u8),
    /// The chain of this hash; then on.
    Sweep(u8, Back),
    /// Moves the chain of this head of the first array; then on.
    Move(u8, Back),
    Advance,
    Done(u8),
    Look,
}

/// What a cleaner does when both slots are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Then {
    /// Our insert was killed: the next attempt.
    Restart,
    /// Our insert found no room.
    GiveUp,
    /// An expired entry was in the way: it is retired, and we look again.
    FindAgain,
    /// A delete.
    Retire,
}

/// Where to go on after a sweep or a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Back {
    Prepare,
    Place(u8, u8),
    Clear(u8, u8, Then),
    Cleared(u8, u8, Then),
    /// Chains from the frontier up to this one.
    Advance(u8),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Thread {
    /// Which of its program.
    pub op: u8,
    pub point: Point,
    log: [u16; LOG],
    logged: u8,
    /// The entry of its insert.
    pub entry: u8,
    pub attempt: u8,
    /// Where an EMPTY slot was seen in either head.
    pub hints: [u8; 2],
    /// A slot of that entry could be seen.
    pub placed: bool,
    pub no_room: bool,
    pub rounds: u8,
    /// It has given its help to growth.
    pub helped: bool,
    /// The next chain that it moves.
    pub frontier: u8,
    /// Overflow buckets at hand for moving.
    pub spares: u8,
    /// A store that nobody else sees yet: entry + 1, word.
    pub buffer: Option<(u8, u16)>,
    /// At some instant of the call there was no LIVE entry of the key that it looks for.
    pub absent: bool,
}

impl Default for Thread {
    fn default() -> Self {
        Self {
            op: 0,
            point: Point::Start,
            log: [0; LOG],
            logged: 0,
            entry: 0,
            attempt: 0,
            hints: [0; 2],
            placed: false,
            no_room: false,
            rounds: 0,
            helped: false,
            frontier: 0,
            spares: 0,
            buffer: None,
            absent: false,
        }
    }
}

impl Thread {
    /// The store that waited is seen by all.
    pub fn flush(&mut self, memory: &mut Memory) {
        if let Some((entry, word)) = self.buffer.take() {
            memory.entries[entry as usize].word = word;
        }
    }

    /// An instant of its call.
    pub fn observe(&mut self, memory: &Memory, op: Op) {
        if let Op::Lookup(key) | Op::Delete(key) = op {
            self.absent |= memory.live(key).next().is_none();
        }
    }
}

/// Why a function stops.
pub enum Stop {
    /// It has made its access.
    Pause,
    /// The operation is over.
    End,
}

pub type Step<T> = Result<T, Stop>;

/// A thread during one step.
pub struct Run<'a> {
    pub scope: &'a Scope,
    pub memory: &'a mut Memory,
    pub thread: &'a mut Thread,
    pub me: u8,
    at: u8,
    spent: bool,
}

impl<'a> Run<'a> {
    /// Lets thread `me` make its next access.
    pub fn step(scope: &'a Scope, memory: &'a mut Memory, thread: &'a mut Thread, me: u8) {
        let mut run = Self { scope, memory, thread, me, at: 0, spent: false };
        if run.thread.point == Point::Start {
            run.memory.entered |= 1 << me;
            run.thread.observe(run.memory, scope.op(me, run.thread.op));
        }
        loop {
            match run.go_on() {
                Ok(point) => {
                    run.thread.point = point;
                    run.forget();
                }
                Err(Stop::Pause) => return,
                Err(Stop::End) => break,
            }
        }
        run.thread.flush(run.memory);
        run.memory.leave(me);
        let Thread { op, spares, .. } = *run.thread;
        *run.thread = Thread { op: op + 1, spares, ..Thread::default() };
    }

    /// Of what `f` reads, nothing matters but what it makes of it (below `SECTION`).
    pub fn section(&mut self, f: impl FnOnce(&mut Self) -> Step<u16>) -> Step<u16> {
        let at = self.at as usize;
        if at == LOG {
            self.memory.fail(Fault::NoProgress);
            return Err(Stop::End);
        }
        if self.at < self.thread.logged && self.thread.log[at] & SECTION != 0 {
            self.at += 1;
            return Ok(self.thread.log[at] & !SECTION);
        }
        // (A place for the result: sections may begin with sections.)
        self.thread.logged = self.thread.logged.max(self.at + 1);
        self.at += 1;
        let value = f(self)?;
        self.thread.log[at] = value | SECTION;
        self.thread.log[at + 1..].fill(0);
        self.thread.logged = at as u8 + 1;
        self.at = self.thread.logged;
        Ok(value)
    }

    fn forget(&mut self) {
        self.thread.log = [0; LOG];
        self.thread.logged = 0;
        self.at = 0;
    }

    pub fn op(&self) -> Op {
        self.scope.op(self.me, self.thread.op)
    }

    /// The next access: what it returned when it was made, or it is made now.
    fn access(&mut self, f: impl FnOnce(&mut Memory, &mut Thread) -> u16) -> Step<u16> {
        let at = self.at as usize;
        if self.at < self.thread.logged {
            self.at += 1;
            return Ok(self.thread.log[at]);
        }
        if self.spent {
            return Err(Stop::Pause);
        }
        self.spent = true;
        let value = f(self.memory, self.thread);
        let op = self.op();
        self.thread.observe(self.memory, op);
        let Some(place) = self.thread.log.get_mut(at) else {
            self.memory.fail(Fault::NoProgress);
            return Err(Stop::End);
        };
        *place = value;
        self.thread.logged += 1;
        self.at += 1;
        Ok(value)
    }

    pub fn load(&mut self, f: impl FnOnce(&Memory) -> u16) -> Step<u16> {
        self.access(|memory, _| f(memory))
    }

    /// Whatever changes the memory but a plain store waits for the own stores before it.
    pub fn change(&mut self, f: impl FnOnce(&mut Memory) -> u16) -> Step<u16> {
        self.access(|memory, thread| {
            thread.flush(memory);
            f(memory)
        })
    }

    pub fn change_both(&mut self, f: impl FnOnce(&mut Memory, &mut Thread) -> u16) -> Step<u16> {
        self.access(|memory, thread| {
            thread.flush(memory);
            f(memory, thread)
        })
    }

    /// A compare-exchange: what was there.
    pub fn exchange(
        &mut self,
        word: impl FnOnce(&mut Memory) -> &mut u16,
        old: u16,
        new: u16,
    ) -> Step<Result<(), u16>> {
        let seen = self.change(|memory| {
            let word = word(memory);
            let seen = *word;
            if seen == old {
                *word = new;
            }
            seen
        })?;
        Ok(if seen == old { Ok(()) } else { Err(seen) })
    }

    /// The word of an entry; of a store of our own we know.
    pub fn word(&mut self, entry: u8) -> Step<u16> {
        self.access(|memory, thread| match thread.buffer {
            Some((own, word)) if own == entry => word,
            _ => memory.entries[entry as usize].word,
        })
    }

    pub fn exchange_word(&mut self, entry: u8, old: u16, new: u16) -> Step<bool> {
        Ok(self.exchange(|memory| &mut memory.entries[entry as usize].word, old, new)?.is_ok())
    }

    /// A plain store to the word of our entry; `later`: it may wait in the store buffer.
    pub fn store_word(&mut self, word: u16, later: bool) -> Step<()> {
        self.access(|memory, thread| {
            if later {
                thread.buffer = Some((thread.entry, word));
            } else {
                thread.flush(memory);
                memory.entries[thread.entry as usize].word = word;
            }
            0
        })?;
        Ok(())
    }

    pub fn meta(&mut self, place: Place) -> Step<u16> {
        self.load(|memory| memory.buckets[place as usize].meta)
    }

    pub fn slot(&mut self, place: Place, slot: usize) -> Step<u16> {
        self.load(|memory| memory.buckets[place as usize].slots[slot])
    }

    /// Is this defect switched on?
    pub fn mutated(&self, name: &str) -> bool {
        self.scope.defect == Some(name)
    }

    /// A loop goes round.
    pub fn again(&mut self) {
        self.thread.rounds += 1;
        if self.thread.rounds > ROUNDS {
            self.memory.fail(Fault::NoProgress);
        }
    }

    /// The operation is over with this answer: right, if some instant of its call has shown it.
    pub fn answer<T>(&mut self, right: bool) -> Step<T> {
        if !right {
            self.memory.fail(Fault::NotLinearizable);
        }
        Err(Stop::End)
    }
}
