//! L4: the end by timeout. A sweep goes over a side array of deadline hints, four bytes an entry, and touches a
//! connection only when its hint is due: ten million long-lived connections are 40 MB a sweep.
//!
//! **Invariant.** Once nobody is between changing a LIVE connection's expiry and [`Sweep::shorten`], its hint is not
//! later than its expiry. Confirming writes the hint before the connection can be found; a packet that shortens the
//! timeout writes it after; the sweeper moves it forward to an expiry it has read, then reads the expiry again.
//! Prolonging leaves the hint alone: the sweeper finds out when it is due.
//! Models: `hint_is_never_later_than_the_expiry`, `hint_of_the_next_life_is_not_forgotten`, `hint_given_on_the_way_in_is_not_forgotten`.
//!
//! **Horizon.** No hint of a connection lies further ahead than [`HORIZON`] of the clock that wrote it, however long the
//! timeout. So a packet that shortens the timeout to something beyond the horizon need not look at the hint at all, which
//! would cost it a fence and a cache line; and TCP data does shorten it (5 days to `tcp_timeout_unacknowledged`, 300 s).
//! The price: each connection is visited once per horizon. Ten million: 35 k visits a second, 0.3% of a core.

use std::sync::Arc;
use std::time::Duration;

use crate::conn::Word;
use crate::memory::{Array, NoMemory, Options, prefetch, prefetch_nth};
use crate::packet::Handle;
use crate::shared::SKEW;
use crate::stats::Stat;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, mutated, order, passing, planted};
use crate::table::{MAX_BURST, is_gone, is_live};
use crate::worker::Worker;

/// Hints are swept in pieces of this many, so that several workers can share a sweep.
const PIECE: u32 = 1024;

/// Tries to take a piece: each failure means that another worker has taken one.
const TRIES: usize = 64;

/// Hints are looked at in lines of this many: a cache line, as the array begins with a page.
const LINE: usize = 16;

/// Entries that are due are visited in bursts of up to this many, so that the latencies of memory overlap.
const BURST: usize = MAX_BURST;

/// As far ahead as a tick comparison reaches: the hint of an entry with nothing to reap.
const FAR: u32 = i32::MAX as u32;

/// A sweep should not take longer. (A connection that expired 24.8 days ago would look alive again.)
const LATE: u64 = Duration::from_secs(86_400).as_millis() as u64;

/// The furthest a hint lies ahead, in ms: just below the timeout that is set most often.
const HORIZON: u32 = 290_000;

/// The hints and where the sweep stands.
pub(crate) struct Sweep {
    hints: Array<AtomicU32>,
    /// The piece that is swept next.
    cursor: AtomicU32,
    /// When the present sweep began, in ms; 0: never swept.
    began: AtomicU64,
}

/// What a call of [`Worker::reap`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reaped {
    /// Entries looked at.
    pub examined: u32,
    /// Connections that ended.
    pub expired: u32,
    /// Chains of freed entries that were handed to reclamation.
    pub chains: u32,
    /// This call finished a sweep over all entries.
    pub wrapped: bool,
}

/// Whether tick `a` is after tick `b`, within half the range of ticks.
#[inline]
fn after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 > 0
}

/// The hint for an expiry, written at `tick`.
#[inline]
fn within_horizon(expiry: u32, tick: u32) -> u32 {
    let horizon = tick.wrapping_add(HORIZON);
    if after(expiry, horizon) { horizon } else { expiry }
}

impl Sweep {
    pub fn new(entries: usize, most: usize, options: Options<'_>) -> Result<Self, NoMemory> {
        let hints = Array::reserve(entries, most, options)?;
        Ok(Self { hints, cursor: AtomicU32::new(0), began: AtomicU64::new(0) })
    }

    /// Room for the hints of so many entries.
    pub fn extend(&self, entries: usize) -> Result<(), NoMemory> {
        self.hints.commit(entries)
    }

    /// Bytes that have memory.
    pub fn committed(&self) -> u64 {
        self.hints.committed()
    }

    /// The next piece of so many to sweep, none twice in a sweep. There may be more than the last time: then the sweep
    /// is longer. `None`: others are taking them all the time.
    fn next_piece(&self, pieces: u32) -> Option<u32> {
        let mut seen = self.cursor.load(Ordering::Relaxed);
        for _ in 0..TRIES {
            let piece = if seen < pieces { seen } else { 0 };
            match self.cursor.compare_exchange_weak(seen, piece + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(piece),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// The hint of this entry will be written soon.
    #[inline]
    pub fn prefetch(&self, index: u32) {
        prefetch_nth(&self.hints, index as usize);
    }

    /// A connection that nobody else can find yet will expire at this tick.
    #[inline]
    pub fn begin(&self, index: u32, expiry: u32, tick: u32) {
        let hint = &self.hints[index as usize];
        let next = within_horizon(expiry, tick);
        // Release: pairs with `forget`.
        let release = order("begin-relaxed", Ordering::Release);
        #[cfg(not(conntab_loom))]
        hint.store(next, release);
        // loom lets a plain store slip in front of a read-modify-write that has not read it.
        #[cfg(conntab_loom)]
        hint.swap(next, release);
    }

    /// A connection's expiry was brought forward to this tick, by a compare-exchange that has succeeded.
    #[inline]
    pub fn shorten(&self, index: u32, expiry: u32, tick: u32) {
        // The hint may have been written by another clock.
        if after(expiry, tick.wrapping_add(HORIZON + SKEW)) {
            return;
        }
        self.bring_forward(index, expiry);
    }

    #[cold]
    fn bring_forward(&self, index: u32, expiry: u32) {
        // Pairs with the fence in `postpone`: either we see the sweeper's hint, or it sees our expiry.
        if !mutated("shorten-no-fence") {
            fence(Ordering::SeqCst);
        }
        passing("hint-shortening");
        let hint = &self.hints[index as usize];
        let mut seen = hint.load(Ordering::Relaxed);
        // A failure is another's success: packets of one connection and the sweeper. Missing it only reaps late.
        for _ in 0..16 {
            if !after(seen, expiry) {
                return;
            }
            match hint.compare_exchange_weak(seen, expiry, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// The entries from `first` to before `last` whose hint is due.
    #[inline]
    pub fn due(&self, first: u32, last: u32, tick: u32, mut found: impl FnMut(u32)) {
        let (lines, rest) = self.hints[first as usize..last as usize].as_chunks::<LINE>();
        for (line, begin) in lines.iter().zip((first..).step_by(LINE)) {
            // Relaxed: `visit` looks again. Without branches: hardly any line has one that is due. A hint that is not
            // ahead differs by 0 or less, so one of the two has its sign set.
            let signs = line.iter().fold(0, |signs, hint| {
                let ahead = hint.load(Ordering::Relaxed).wrapping_sub(tick);
                signs | ahead | ahead.wrapping_sub(1)
            });
            if (signs as i32) < 0 {
                Self::due_of(line, begin, tick, &mut found);
            }
        }
        Self::due_of(rest, last - rest.len() as u32, tick, &mut found);
    }

    fn due_of(hints: &[AtomicU32], first: u32, tick: u32, found: &mut impl FnMut(u32)) {
        for (hint, index) in hints.iter().zip(first..) {
            if !after(hint.load(Ordering::Relaxed), tick) {
                found(index);
            }
        }
    }

    /// The sweeper comes by: the word of the entry if it is that of a connection which has expired. `read`: its word.
    #[inline]
    pub fn visit(&self, index: u32, tick: u32, read: impl Fn() -> u64) -> Option<u64> {
        let seen = self.hints[index as usize].load(Ordering::Relaxed);
        if after(seen, tick) {
            return None;
        }
        let word = read();
        if is_live(word) {
            let word_of = Word::unpack(word);
            if word_of.left(tick) <= 0 {
                return Some(word);
            }
            self.postpone(index, seen, tick, word_of.time, read);
        } else if is_gone(word) || mutated("forget-on-the-way") {
            // (On its way into the table it keeps the hint it was given.)
            self.forget(index, seen, tick, || read() == word);
        }
        None
    }

    /// The sweeper found that a connection expires only at this tick.
    fn postpone(&self, index: u32, seen: u32, tick: u32, expiry: u32, read: impl Fn() -> u64) {
        let next = within_horizon(expiry, tick);
        let hint = &self.hints[index as usize];
        if hint.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        passing("hint-postponed");
        // Pairs with the fence in `bring_forward`.
        if !mutated("postpone-no-fence") {
            fence(Ordering::SeqCst);
        }
        if mutated("postpone-no-look") {
            return;
        }
        let word = read();
        if is_live(word) && after(next, Word::unpack(word).time) {
            self.bring_forward(index, Word::unpack(word).time);
        }
    }

    #[cfg(all(test, conntab_loom))]
    pub fn hint(&self, index: u32) -> u32 {
        self.hints[index as usize].load(Ordering::Relaxed)
    }

    /// The sweeper found nothing to reap: no hint for as long as `same` holds.
    fn forget(&self, index: u32, seen: u32, tick: u32, same: impl Fn() -> bool) {
        let hint = &self.hints[index as usize];
        let far = tick.wrapping_add(FAR);
        passing("hint-forgetting");
        // Acquire pairs with `begin`: if it is a hint of the entry's next life that we overwrite, `same` tells.
        if hint.compare_exchange(seen, far, Ordering::Acquire, Ordering::Relaxed).is_ok()
            && !same()
            && !mutated("forget-blind")
        {
            let _ = hint.compare_exchange(far, tick, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

impl Worker {
    /// A slice of expiry and of reclamation: looks at up to `budget` entries (rounded up to 1024; 0: none) from where
    /// the last call, of any worker, ended. To be called regularly, from an idle loop say, by any worker or by all.
    ///
    /// It ends the connections that have expired, hands what was deleted to reclamation, and leaves the worker idle
    /// (see [`Worker::idle`]). One sweep over the whole table must not take longer than a day; `late_sweep` counts
    /// those that did. Bounded work; may free a little memory; never blocks.
    pub fn reap(&mut self, now: u64, budget: u32) -> Reaped {
        let mut reaped = Reaped::default();
        self.at(now);
        self.take_over_tunables();
        let tick = now as u32;
        let shared = Arc::clone(&self.shared);
        let entries = shared.table.entries();
        let mut due = [0; BURST];
        let mut n = 0;
        // The last piece is short; positions count whole pieces so that no two sweepers meet.
        let pieces = entries.div_ceil(PIECE);
        for _ in 0..budget.div_ceil(PIECE).min(pieces) {
            let Some(piece) = shared.sweep.next_piece(pieces) else { break };
            passing("reap-piece");
            if piece == 0 {
                self.sweep_begins(now);
            }
            self.local.enter();
            let first = piece * PIECE;
            let last = (first + PIECE).min(entries);
            shared.sweep.due(first, last, tick, |index| {
                prefetch(shared.table.entry(index));
                due[n] = index;
                n += 1;
                if n == BURST {
                    reaped.expired += self.visit_due(&due, tick);
                    n = 0;
                }
            });
            reaped.examined += last - first;
            reaped.wrapped |= piece == pieces - 1;
        }
        if n > 0 {
            reaped.expired += self.visit_due(&due[..n], tick);
        }
        passing("reap-swept");
        self.reap_expectations(budget);
        reaped.chains = self.shared.table.reclaim(&mut self.local) as u32;
        self.idle();
        reaped
    }

    /// Ends this connection if its time is up at `now`, as `reap` would when it comes by: for a host that keeps deadlines
    /// of its own, and wants no sweep to find out. `false`: it has time left, or is not in the table (any
    /// more), or packets changed it at each of four tries.
    pub fn end_expired(&mut self, now: u64, conn: Handle) -> bool {
        let idle = !self.local.is_entered();
        self.at(now);
        self.local.enter();
        self.take_over_tunables();
        let mut ended = false;
        // What does not refresh it may change its word all the same (an adoption, say): then once more.
        for _ in 0..4 {
            let entry = self.shared.table.get(&self.local, conn.index(), conn.generation());
            let word = entry.map(|entry| entry.word_acquire());
            let due = word.filter(|word| is_live(*word) && Word::unpack(*word).left(now as u32) <= 0);
            let Some(word) = due else { break };
            ended = self.expire(conn.index(), word);
            if ended {
                break;
            }
        }
        if idle {
            self.local.leave();
        }
        self.publish();
        ended
    }

    /// The same for as many expectations as connections were looked at: they are swept by themselves, by a cursor of their own.
    fn reap_expectations(&mut self, budget: u32) {
        if self.expects() && budget > 0 {
            self.local.enter();
            let places = budget.checked_next_multiple_of(PIECE).unwrap_or(u32::MAX);
            self.shared.sweep_expectations(self.teller(), places);
        }
    }

    fn sweep_begins(&mut self, now: u64) {
        let began = self.shared.sweep.began.swap(now, Ordering::Relaxed);
        if began != 0 && now.saturating_sub(began) > LATE {
            self.count(Stat::LateSweep);
        }
    }

    /// Visits entries whose hints were due, at most [`BURST`]; how many connections it ended.
    fn visit_due(&mut self, due: &[u32], tick: u32) -> u32 {
        let shared = Arc::clone(&self.shared);
        let mut doomed = [(0, 0); BURST];
        let mut n = 0;
        for &index in due {
            let entry = shared.table.entry(index);
            if let Some(word) = shared.sweep.visit(index, tick, || entry.word_acquire()) {
                doomed[n] = (index, word);
                n += 1;
            }
        }
        passing("reap-visited");
        // As `expire`: of each that was refreshed meanwhile the word has changed.
        let killed = shared.table.kill_burst(&mut self.local, &doomed[..n]);
        for (i, (index, _)) in doomed[..n].iter().enumerate() {
            if killed >> i & 1 != 0 {
                self.ended(*index);
            }
        }
        killed.count_ones()
    }

    /// Ends a connection that has expired, unless its word has changed since: a refresh wins.
    pub(crate) fn expire(&mut self, index: u32, word: u64) -> bool {
        let killed = self.shared.table.kill(&mut self.local, index, word);
        if killed {
            self.ended(index);
        }
        killed
    }

    /// A connection has expired and is out of the table.
    fn ended(&mut self, index: u32) {
        self.gone(index);
        if !planted("expired-uncounted") {
            self.count(Stat::Expired);
        }
        self.permits.regain(&self.shared.limit);
    }
}

#[cfg(all(test, not(conntab_loom)))]
mod tests {
    use super::*;

    /// Whatever stands beside it in its line, and wherever the range begins and ends.
    #[test]
    fn due_is_what_is_not_ahead() {
        const ENTRIES: u32 = 200;
        let sweep = Sweep::new(ENTRIES as usize, ENTRIES as usize, Options::default()).unwrap();
        for tick in [0, 5, u32::MAX, 1 << 31] {
            for gap in [1, 3, 16, 50] {
                let distances = [0, -1, i32::MIN, i32::MIN + 1, -HORIZON.cast_signed()];
                for (index, hint) in (0..).zip(sweep.hints.iter()) {
                    let ahead = [1, i32::MAX, 2, FAR.cast_signed() - 1][index % 4];
                    let distance = if index % gap == 0 { distances[index / gap % 5] } else { ahead };
                    hint.store(tick.wrapping_add_signed(distance), Ordering::Relaxed);
                }
                for (first, last) in [(0, ENTRIES), (0, 16), (7, 33), (ENTRIES - 3, ENTRIES), (9, 9)] {
                    let mut found = Vec::new();
                    sweep.due(first, last, tick, |index| found.push(index));
                    let expected: Vec<u32> =
                        (first..last).filter(|index| index.is_multiple_of(gap as u32)).collect();
                    assert_eq!(found, expected, "tick {tick}, every {gap}, {first}..{last}");
                }
            }
        }
    }
}
