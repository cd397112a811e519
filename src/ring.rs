//! L1: bounded queues of fixed records, one per producer, all in one reservation. (Here: connection events.)
//!
//! ```text
//! tail >> [ turn | words ... ][ turn | words ... ] ... >> head
//! ```
//!
//! After D. Vyukov's bounded queue: a position counts up for ever; slot = position mod capacity, lap = position - slot.
//!
//! **Invariant.** A slot's `turn` is `lap` when the slot is free for that lap, `lap + 1` when it holds that lap's
//! record. Its words belong to the producer that moved `tail` past the position until it raises `turn`, and then to the
//! consumer that moved `head` past it until it sets `turn` to the next lap. Zeroed memory is an empty queue.
//! Models: `a_record_is_taken_whole_and_once`, `two_producers_share_a_queue`.
//!
//! **Progress.** Nobody waits. A push into a full queue fails. A producer that stalls in the middle of a push hides the
//! records behind its own from consumers (where a queue has one producer: nothing); a consumer that stalls in the middle of
//! a pop keeps one slot, at which the producer finds the queue full a lap later.

use crate::memory::{Array, NoMemory, Options, Zeroed};
use crate::sync::{AtomicU64, Ordered, Ordering, order, passing};

/// Tries to move an end that others are moving: only where several threads use the same end.
const TRIES: usize = 64;

/// The two ends of a queue, on lines of their own.
#[derive(Default)]
pub(crate) struct Ends {
    tail: Line,
    head: Line,
}

#[repr(C, align(64))]
#[derive(Default)]
struct Line(AtomicU64);

// SAFETY: two integer atomics, and padding: zero is valid and is the default, nothing to drop.
unsafe impl Zeroed for Ends {}

/// Queues of records of `WORDS` words.
pub(crate) struct Rings<const WORDS: usize> {
    ends: Array<Ends>,
    slots: Array<AtomicU64>,
    capacity: u64,
}

impl<const WORDS: usize> Rings<WORDS> {
    /// Words of a slot: its turn and the record.
    const STRIDE: usize = WORDS + 1;

    /// Records that a queue really holds when so many were asked for: a power of two, at least 2 (with one slot, the next
    /// lap's turn would be this lap's filled).
    pub fn capacity(asked: u32) -> u64 {
        u64::from(asked).next_power_of_two().max(2)
    }

    /// Bytes that `new` reserves.
    pub fn bytes(rings: usize, asked: u32, options: Options<'_>) -> u64 {
        Array::<Ends>::bytes(rings, options) + Array::<AtomicU64>::bytes(Self::words(rings, asked), options)
    }

    fn words(rings: usize, asked: u32) -> usize {
        rings.saturating_mul(Self::capacity(asked) as usize).saturating_mul(Self::STRIDE)
    }

    pub fn new(rings: usize, asked: u32, options: Options<'_>) -> Result<Self, NoMemory> {
        Ok(Self {
            ends: Array::new(rings, options)?,
            slots: Array::new(Self::words(rings, asked), options)?,
            capacity: Self::capacity(asked),
        })
    }

    /// How many queues there are.
    pub fn rings(&self) -> usize {
        self.ends.len()
    }

    /// Records a queue holds.
    pub fn len(&self) -> u64 {
        self.capacity
    }

    /// Turn and words of the slot of a position, and the lap.
    #[inline]
    fn slot(&self, ring: usize, position: u64) -> (&AtomicU64, &[AtomicU64], u64) {
        let at = position & (self.capacity - 1);
        let first = (ring * self.capacity as usize + at as usize) * Self::STRIDE;
        let slot = &self.slots[first..first + Self::STRIDE];
        (&slot[0], &slot[1..], position - at)
    }

    /// Appends a record; `false`: the queue is full.
    pub fn push(&self, ring: usize, record: &[u64; WORDS]) -> bool {
        let end = &self.ends[ring].tail.0;
        let mut tail = end.load(Ordering::Relaxed);
        for _ in 0..TRIES {
            let (turn, words, lap) = self.slot(ring, tail);
            // Acquire: pairs with the Release in `pop`; who emptied the slot has read all of it before we write. (loom, in
            // which a load is never late, cannot show this pair.)
            match turn.load(Ordering::Acquire) {
                now if now == lap => {
                    // Relaxed: it orders producers among themselves; the record is published by its turn.
                    match end.compare_exchange(tail, tail + 1, Ordering::Relaxed, Ordering::Relaxed) {
                        Ok(_) => {
                            passing("event-claimed");
                            for (word, value) in words.iter().zip(record) {
                                word.write(*value);
                            }
                            // Release: pairs with the Acquire in `pop`.
                            turn.store(lap + 1, order("ring-publish-relaxed", Ordering::Release));
                            return true;
                        }
                        Err(now) => tail = now,
                    }
                }
                now if now < lap => return false,
                // Another producer has been here.
                _ => tail = end.load(Ordering::Relaxed),
            }
        }
        false
    }

    /// Takes the oldest record; `None`: there is none that is whole.
    pub fn pop(&self, ring: usize) -> Option<[u64; WORDS]> {
        let end = &self.ends[ring].head.0;
        let mut head = end.load(Ordering::Relaxed);
        for _ in 0..TRIES {
            let (turn, words, lap) = self.slot(ring, head);
            // Acquire: pairs with the Release in `push`.
            match turn.load(order("ring-take-relaxed", Ordering::Acquire)) {
                now if now == lap + 1 => {
                    match end.compare_exchange(head, head + 1, Ordering::Relaxed, Ordering::Relaxed) {
                        Ok(_) => {
                            passing("event-taken");
                            let record = std::array::from_fn(|i| words[i].read());
                            // Release: pairs with the Acquire in `push`.
                            turn.store(lap + self.capacity, Ordering::Release);
                            return Some(record);
                        }
                        Err(now) => head = now,
                    }
                }
                now if now <= lap => return None,
                // Another consumer has been here.
                _ => head = end.load(Ordering::Relaxed),
            }
        }
        None
    }
}

#[cfg(all(test, not(conntab_loom)))]
mod tests {
    use super::*;

    #[test]
    fn first_in_first_out_and_full_is_a_value() {
        let rings = Rings::<2>::new(2, 3, Options::default()).unwrap();
        assert_eq!((rings.rings(), rings.len()), (2, 4));
        for lap in 0..5 {
            assert_eq!(rings.pop(1), None);
            for n in 0..4 {
                assert!(rings.push(1, &[lap, n]));
            }
            assert!(!rings.push(1, &[9, 9]), "full");
            assert_eq!(rings.pop(0), None, "the other queue is another");
            for n in 0..4 {
                assert_eq!(rings.pop(1), Some([lap, n]));
            }
        }
    }

    #[test]
    fn what_is_asked_for_is_rounded_up() {
        assert_eq!([0, 1, 2, 3, 1000].map(Rings::<1>::capacity), [2, 2, 2, 4, 1024]);
        let options = Options::default();
        assert_eq!(Rings::<23>::bytes(2, 100, options), 4096 + 2 * 128 * 24 * 8);
    }

    #[test]
    fn two_producers_and_two_consumers_lose_nothing() {
        let rings = &Rings::<3>::new(1, 64, Options::default()).unwrap();
        const EACH: u64 = 100_000;
        let popped = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for producer in 0..2u64 {
                scope.spawn(move || {
                    for n in 0..EACH {
                        while !rings.push(0, &[producer, n, producer ^ n]) {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    while mine.len() < EACH as usize {
                        match rings.pop(0) {
                            Some([producer, n, check]) => {
                                assert_eq!(check, producer ^ n);
                                mine.push((producer, n));
                            }
                            None => std::thread::yield_now(),
                        }
                    }
                    assert!(mine.windows(2).all(|w| w[0].0 != w[1].0 || w[0].1 < w[1].1), "in order");
                    popped.lock().unwrap().extend(mine);
                });
            }
        });
        let mut all = popped.into_inner().unwrap();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len() as u64, 2 * EACH);
    }
}
