//! A hierarchical timer wheel, the way trackers use one: the competitor of the deadline hints.
//!
//! Four levels of 256 slots, a slot of the lowest lasts a tick; doubly linked lists of entry indices in side arrays, 8
//! bytes an entry. Refresh is lazy: prolonging a connection leaves the wheel alone, and an entry whose time comes is asked
//! for its true expiry and queued again if that is later. Shortening, opening and deleting move links. It serves one
//! thread, without atomics: the best case for a wheel. (Workers that share a table would need a lock, or a wheel each
//! and messages between them.)

const LEVELS: usize = 4;
const BITS: u32 = 8;
const SLOTS: usize = 1 << BITS;
const NONE: u32 = u32::MAX;
/// Set in `prev` of the first of a list: the rest of the bits say which list.
const HEAD: u32 = 1 << 31;

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    /// The entry before, or the list that this one is first of.
    prev: u32,
}

pub struct Wheel {
    links: Box<[Link]>,
    heads: Box<[u32]>,
    /// The tick that was turned to last.
    now: u32,
}

impl Wheel {
    pub fn new(entries: usize) -> Self {
        assert!(entries < HEAD as usize);
        let links = vec![Link { next: NONE, prev: NONE }; entries].into();
        Self { links, heads: vec![NONE; LEVELS * SLOTS].into(), now: 0 }
    }

    /// Bytes of it for each entry.
    pub fn bytes() -> usize {
        size_of::<Link>()
    }

    /// The list of what expires at this tick.
    fn list(&self, expiry: u32) -> usize {
        // What is due already comes with the next tick; what lies further ahead than all levels reach waits in the last.
        let ahead = expiry.saturating_sub(self.now).max(1);
        let expiry = self.now + ahead;
        let level = (((expiry ^ self.now).ilog2() / BITS) as usize).min(LEVELS - 1);
        level * SLOTS + (expiry >> (BITS * level as u32)) as usize % SLOTS
    }

    #[inline]
    pub fn queue(&mut self, index: u32, expiry: u32) {
        let list = self.list(expiry);
        let next = std::mem::replace(&mut self.heads[list], index);
        self.links[index as usize] = Link { next, prev: HEAD | list as u32 };
        if next != NONE {
            self.links[next as usize].prev = index;
        }
    }

    #[inline]
    pub fn unqueue(&mut self, index: u32) {
        let Link { next, prev } = self.links[index as usize];
        if prev & HEAD != 0 {
            self.heads[(prev & !HEAD) as usize] = next;
        } else {
            self.links[prev as usize].next = next;
        }
        if next != NONE {
            self.links[next as usize].prev = prev;
        }
    }

    /// Turns to the next tick. `expiry` tells an entry's true expiry; `expired` gets those whose time has come.
    pub fn turn(&mut self, expiry: impl Fn(u32) -> u32, mut expired: impl FnMut(u32)) {
        self.now += 1;
        // A level that has come round hands its next slot down; the highest first, so that nothing is handed down twice.
        for level in (1..LEVELS).rev() {
            if self.now.trailing_zeros() >= BITS * level as u32 {
                let list = level * SLOTS + (self.now >> (BITS * level as u32)) as usize % SLOTS;
                let mut at = std::mem::replace(&mut self.heads[list], NONE);
                while at != NONE {
                    let next = self.links[at as usize].next;
                    let when = expiry(at);
                    if when <= self.now {
                        expired(at);
                    } else {
                        self.queue(at, when);
                    }
                    at = next;
                }
            }
        }
        let mut at = std::mem::replace(&mut self.heads[self.now as usize % SLOTS], NONE);
        while at != NONE {
            let next = self.links[at as usize].next;
            let when = expiry(at);
            if when <= self.now {
                expired(at);
            } else {
                self.queue(at, when);
            }
            at = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conntab_bench::Random;

    /// Each expires at its tick, whatever happened to it meanwhile.
    #[test]
    fn all_expire_in_time() {
        let mut random = Random(7);
        let n = 2000;
        let mut wheel = Wheel::new(n);
        let mut chosen = || {
            let bits = 4 + random.below(15);
            1 + random.below(1 << bits) as u32
        };
        let mut expiry: Vec<u32> = (0..n).map(|_| chosen()).collect();
        for (index, expiry) in expiry.iter().enumerate() {
            wheel.queue(index as u32, *expiry);
        }
        let mut gone = vec![false; n];
        for tick in 1..=600_000u32 {
            let mut due = Vec::new();
            wheel.turn(|index| expiry[index as usize], |index| due.push(index));
            for index in due {
                assert_eq!(expiry[index as usize], tick);
                assert!(!std::mem::replace(&mut gone[index as usize], true));
            }
            if tick % 16 == 0 && tick < 100_000 {
                let index = random.below(n);
                if !gone[index] {
                    // Prolonged: lazily. Shortened: moved.
                    let new = tick + 1 + random.below(1 << 18) as u32;
                    if new < expiry[index] {
                        wheel.unqueue(index as u32);
                        wheel.queue(index as u32, new);
                    }
                    expiry[index] = new;
                }
            }
        }
        assert!(gone.iter().all(|gone| *gone));
    }
}
