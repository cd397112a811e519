//! L4: confirm. What a burst has opened and the host lets leave goes into the table; the rest is let go.
//!
//! **Clash.** If another connection holds one of the two tuples by now, then for UDP, UDP-Lite and GRE the packet adopts
//! that one, provided both tuples are the same or mirrored: connection, direction and state of its verdict are
//! rewritten and the counters merged. For every other protocol, and where NAT made the tuples differ, the packet is
//! dropped and `insert_failed` counts.

use crate::conn::{Word, status};
use crate::event::{EventKind, change};
use crate::further::state_of;
use crate::packet::{CtState, MAX_BURST, Verdict};
use crate::proto::{Step, Timeout};
use crate::reason::Reason;
use crate::stats::Stat;
use crate::sync::{Ordered, passing};
use crate::table::{Failure, Hit, Insert};
use crate::tuple::{Direction, protocol};
use crate::worker::Worker;

/// What became of an unconfirmed connection.
#[derive(Clone, Copy)]
enum Fate {
    /// This call did not touch it.
    Untouched,
    Inserted,
    Adopted(Verdict),
    Refused(Reason),
    Released,
}

impl Worker {
    /// Confirms the connections of those verdicts whose bit is set in `keep` (bit 0: the first), and lets the other
    /// verdicts' unconfirmed connections go. Returns how many connections entered the table.
    ///
    /// To be called with verdicts of this worker's last `track`, after the host's rules, for what leaves the box.
    /// Verdicts are rewritten where a clash asks for it: state DROP means that the packet must not leave after all.
    /// Verdicts without an unconfirmed connection, and those confirmed already, are left as they are; so are those
    /// beyond [`MAX_BURST`]. No allocation, no system call, no waiting; the work is bounded.
    pub fn confirm(&mut self, now: u64, verdicts: &mut [Verdict], keep: u64) -> u32 {
        let n = verdicts.len().min(MAX_BURST);
        let verdicts = &mut verdicts[..n];
        let tells = self.tells();
        if self.pendings == 0 && !tells {
            return 0;
        }
        let (mut named, mut kept) = (0u64, 0u64);
        for (i, verdict) in verdicts.iter().enumerate() {
            if let Some(slot) = self.pending_slot(verdict) {
                named |= 1 << slot;
                kept |= (keep >> i & 1) << slot;
            }
        }
        if named == 0 && !(tells && keep != 0) {
            return 0;
        }
        let idle = !self.local.is_entered();
        self.at(now);
        self.local.enter();
        passing("confirm-entered");
        let mut fates = [Fate::Untouched; MAX_BURST];
        let mut told = 0u64;
        let inserted = self.insert(now, kept, &mut fates, &mut told);
        for slot in bits(named & !kept) {
            fates[slot] = Fate::Released;
        }
        for (i, verdict) in verdicts.iter_mut().enumerate() {
            let slot = self.pending_slot(verdict);
            if let Some(slot) = slot {
                self.rewrite(verdict, &fates[slot]);
            }
            if tells && (keep >> i & 1 != 0) && !verdict.conn.is_none() {
                match slot {
                    Some(slot) if matches!(fates[slot], Fate::Inserted) && told >> slot & 1 == 0 => {
                        told |= 1 << slot;
                        self.shared.tell_new(self.seat(), verdict.conn.index(), now);
                    }
                    _ => self.tell_changed(verdict.conn),
                }
            }
        }
        passing("confirm-told");
        // Only now: while a slot holds its handle, verdicts can be told to be its own.
        for slot in bits(named & !kept) {
            self.release(slot);
        }
        for slot in bits(kept) {
            self.pending[slot].handle = Default::default();
        }
        self.publish();
        if idle {
            // These verdicts are of a burst that `idle` has ended: nothing is to be held back for them.
            self.local.leave();
        }
        inserted
    }

    /// Puts the connections of these slots into the table, in one burst. `told`: those that were told of as NEW.
    fn insert(&mut self, now: u64, slots: u64, fates: &mut [Fate; MAX_BURST], told: &mut u64) -> u32 {
        let tick = now as u32;
        let mut burst = [(0, 0); MAX_BURST];
        let mut count = 0;
        for slot in bits(slots) {
            let index = self.pending[slot].handle.index();
            let conn = self.shared.table.entry(index);
            // The timeout begins to run.
            let mut word = Word::unpack(conn.word_acquire());
            word.time = tick.wrapping_add(word.time);
            if self.tunables.nat_hooks != 0 {
                word.set(status::SRC_NAT_DONE | status::DST_NAT_DONE);
            }
            conn.set_private_word(word.pack());
            self.shared.sweep.begin(index, word.time, tick);
            if let Some(start) = &self.shared.side.start {
                let stamp = if self.tunables.timestamp != 0 { now.max(1) } else { 0 };
                start[index as usize].write(stamp);
            }
            burst[count] = (index, self.pending[slot].hash);
            count += 1;
        }
        passing("confirm-prepared");
        let mut results = [Insert::Inserted; MAX_BURST];
        let mut expired = 0;
        let (shared, seat, tells) = (&*self.shared, self.seat(), self.tells());
        let teller = self.teller();
        let burst = &burst[..count];
        shared.table.insert_burst(&mut self.local, burst, tick, &mut results[..count], &mut |index, _| {
            expired += 1;
            if tells {
                // With a timeout of 0 it may be of this very burst: then it has begun before it ended.
                if let Some(slot) =
                    burst.iter().position(|new| new.0 == index).and_then(|at| bits(slots).nth(at))
                {
                    *told |= 1 << slot;
                    shared.tell_new(seat, index, now);
                }
                shared.tell(seat, EventKind::Destroy, change::DESTROY, index, now);
            }
            shared.bury(teller, index);
        });
        passing("confirm-inserted");
        for _ in 0..expired {
            self.count(Stat::Expired);
            self.permits.regain(&self.shared.limit);
        }
        let mut inserted = 0;
        for (at, slot) in bits(slots).enumerate() {
            if results[at] == Insert::Inserted {
                inserted += 1;
                fates[slot] = Fate::Inserted;
            } else {
                self.permits.regain(&self.shared.limit);
                self.shared.bury(teller, burst[at].0);
                fates[slot] = self.otherwise(burst[at].0, results[at], tick);
            }
        }
        self.block().add(Stat::Insert, inserted.into());
        inserted
    }

    /// What becomes of a connection that was not inserted.
    #[cold]
    fn otherwise(&self, index: u32, result: Insert, tick: u32) -> Fate {
        match result {
            Insert::Inserted => Fate::Inserted,
            Insert::Adopted(hit) => self.clash(index, hit, tick),
            Insert::Failed(Failure::Overflow) => Fate::Refused(Reason::OverflowExhausted),
            Insert::Failed(Failure::ChainTooLong) => {
                self.count(Stat::ChainTooLong);
                Fate::Refused(Reason::ChainTooLong)
            }
            Insert::Failed(Failure::Attempts) => Fate::Refused(Reason::InsertAttempts),
        }
    }

    /// Connection `loser` met `winner`, which holds one of its tuples. (The loser's fields stay readable until the
    /// worker's next `enter`.)
    fn clash(&self, loser: u32, winner: Hit, tick: u32) -> Fate {
        let (table, context) = (&self.shared.table, self.shared.table.context());
        let keys = |index| {
            let conn = table.entry(index);
            [Direction::Original, Direction::Reply].map(|dir| conn.key_of(context, index, dir))
        };
        let ([lo, lr], [wo, wr]) = (keys(loser), keys(winner.index));
        let same = (lo, lr) == (wo, wr);
        let mirrored = (lo, lr) == (wr, wo);
        let may_adopt = matches!(lo.l4(), protocol::UDP | protocol::UDPLITE | protocol::GRE);
        if !may_adopt || !(same || mirrored) {
            self.count(Stat::InsertFailed);
            return Fate::Refused(Reason::Clash);
        }
        self.count(Stat::ClashResolve);
        let dir = if same { Direction::Original } else { Direction::Reply };
        let counted = table.entry(loser).counted() && table.entry(winner.index).counted();
        if let (true, Some(from), Some(to)) =
            (counted, self.shared.account(loser), self.shared.account(winner.index))
        {
            for counters in from.read() {
                to.count(dir, counters.packets, counters.bytes);
            }
        }
        let state = state_of(Word::unpack(winner.word), dir);
        let step = Step { timeout: Timeout::Keep, ..Step::refresh(0) };
        let word = self.commit(winner.index, &step, dir, false, tick, false);
        let reason = Reason::Adopted;
        Fate::Adopted(Verdict { state, reason, ..self.verdict(winner.index, word, dir, None) })
    }

    #[inline]
    fn rewrite(&self, verdict: &mut Verdict, fate: &Fate) {
        match *fate {
            Fate::Untouched => {}
            Fate::Inserted => {
                verdict.unconfirmed = false;
                let decided = status::SRC_NAT_DONE | status::DST_NAT_DONE;
                verdict.status |= status::CONFIRMED | if self.tunables.nat_hooks != 0 { decided } else { 0 };
                // A helper of the host may have set it meanwhile.
                verdict.mark = self.shared.table.entry(verdict.conn.index()).mark();
                verdict.pending = 0;
            }
            Fate::Adopted(of_winner) => *verdict = of_winner,
            Fate::Refused(reason) => {
                self.count(Stat::Drop);
                *verdict = Verdict::bare(CtState::Drop, reason);
            }
            Fate::Released => {
                verdict.unconfirmed = false;
                verdict.conn = Default::default();
                verdict.reason = Reason::NotConfirmed;
                verdict.pending = 0;
            }
        }
    }
}

/// The places of the bits that are set, lowest first.
fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = set.trailing_zeros();
        set &= set.wrapping_sub(1);
        (place < 64).then_some(place as usize)
    })
}
