//! The model for stateright, and its properties.

use stateright::{Model, Property};

use crate::memory::{
    ENTRIES, Fault, GROWING, Memory, OVERS, Place, dir_of, entry_of, meta, occupied, slot, thawed, word,
};
use crate::scope::Scope;
use crate::thread::{Run, Thread};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub memory: Memory,
    pub threads: Vec<Thread>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// This thread makes its next access.
    Step(u8),
    /// The store that waits in its buffer is seen by all.
    Flush(u8),
}

impl Model for Scope {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State { memory: self.memory(), threads: vec![Thread::default(); self.programs.len()] }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.memory.fault.is_some() {
            return;
        }
        for (me, thread) in (0..).zip(&state.threads) {
            if !self.over(thread, me) {
                actions.push(Action::Step(me));
            }
            if thread.buffer.is_some() {
                actions.push(Action::Flush(me));
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let State { mut memory, mut threads } = state.clone();
        match action {
            Action::Flush(me) => threads[me as usize].flush(&mut memory),
            Action::Step(me) => Run::step(self, &mut memory, &mut threads[me as usize], me),
        }
        // Each instant counts for all whose calls are under way.
        for (me, thread) in (0..).zip(&mut threads) {
            if memory.entered >> me & 1 == 1 {
                thread.observe(&memory, self.op(me, thread.op));
            }
        }
        Some(State { memory, threads })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn without(state: &State, faults: &[Fault]) -> bool {
            state.memory.fault.is_none_or(|fault| !faults.contains(&fault))
        }
        vec![
            Property::<Self>::always("(A) one LIVE entry per key", |_, state| {
                (0..4).all(|key| state.memory.live(key).count() <= 1)
            }),
            Property::<Self>::always("(B) both keys lead to a LIVE entry, each once", |scope, state| {
                (0..ENTRIES as u8).all(|entry| scope.leads_to(&state.memory, entry))
            }),
            Property::<Self>::always("(B) every answer was right at an instant of its call", |_, state| {
                without(state, &[Fault::NotLinearizable, Fault::RefreshLost])
            }),
            Property::<Self>::always("(D) nothing is freed twice, or while it can be reached", |_, state| {
                without(state, &[Fault::FreedTwice, Fault::RetiredWhileReachable])
            }),
            Property::<Self>::always(
                "(D) at the end all slots, entries, buckets are there",
                |scope, state| without(state, &[Fault::SlotLost]) && scope.accounted_for(state),
            ),
            Property::<Self>::always("no loop goes round but for another's success", |_, state| {
                without(state, &[Fault::NoProgress, Fault::CannotMove])
            }),
        ]
    }
}

impl Scope {
    /// Whether each key of a LIVE entry leads to it, by one slot; and, where that is behind a head, the head has its mark (B1).
    fn leads_to(&self, memory: &Memory, entry: u8) -> bool {
        let keys = memory.entries[entry as usize].keys;
        let dirs = if keys[0] == keys[1] { 1 } else { 2 };
        word::life(memory.entries[entry as usize].word) != word::LIVE
            || (0..dirs).all(|dir| {
                let hash = self.hash[keys[dir as usize] as usize];
                let word = slot(entry, dir, hash);
                let at = |place: Place| {
                    memory.buckets[place as usize].slots.into_iter().any(|slot| thawed(slot) == word)
                };
                let head = memory.chain(self.heads, hash).next();
                let marked = head.is_some_and(|head| {
                    at(head) || memory.buckets[head as usize].meta & meta::mark(hash) != 0
                });
                marked && memory.count(self.heads, hash, word) == 1
            })
    }

    /// When nobody is at work: every entry is LIVE or free, every slot leads to a LIVE entry, every overflow bucket is
    /// linked and used, or free, or at hand; and growth that was to end has.
    fn accounted_for(&self, state: &State) -> bool {
        let memory = &state.memory;
        let at_work = (0..).zip(&state.threads).any(|(me, thread)| !self.over(thread, me));
        if at_work || memory.fault.is_some() {
            return true;
        }
        if memory.root & GROWING != 0 || memory.waiting != [0; ENTRIES + OVERS] {
            return false;
        }
        let live = |entry: u8| word::life(memory.entries[entry as usize].word) == word::LIVE;
        let entries = (0..self.entries).all(|entry| live(entry) != (memory.free >> entry & 1 == 1));
        let mut linked = 0_u8;
        let mut good = true;
        for head in 0..memory.root as u8 {
            for place in memory.chain(self.heads, head) {
                let bucket = memory.buckets[place as usize];
                let slots = &bucket.slots[..self.slots];
                good &= bucket.meta & (meta::CLOSED | meta::FROZEN | meta::MOVED) == 0;
                good &= slots
                    .iter()
                    .all(|slot| !occupied(*slot) || live(entry_of(*slot)) && thawed(*slot) == *slot);
                // (Exactly once and in its place: by (B), if no slot leads there a second time.)
                good &= slots.iter().filter(|slot| occupied(**slot)).all(|slot| {
                    let hash = self.hash
                        [memory.entries[entry_of(*slot) as usize].keys[dir_of(*slot) as usize] as usize];
                    hash & (memory.root as u8 - 1) == head
                });
                if let Some(over) = place.checked_sub(crate::memory::HEADS as u8) {
                    good &= slots.iter().any(|slot| occupied(*slot)) && linked >> over & 1 == 0;
                    linked |= 1 << over;
                }
            }
        }
        let spares = state.threads.iter().map(|thread| thread.spares);
        let buckets = spares.chain([memory.pool, linked]).map(u8::count_ones).sum::<u32>();
        let all = state.threads.iter().fold(memory.pool | linked, |all, thread| all | thread.spares);
        entries && good && buckets == u32::from(self.overs) && all.count_ones() == buckets
    }
}
