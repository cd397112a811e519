//! L4: further packets of a connection. Its tracker judges, and the step is committed to its record and its word.

use crate::conn::{Conn, Record, Word, status};
use crate::event::change;
use crate::packet::{CtState, Verdict};
use crate::proto::{Outcome, Step, Timeout, generic, gre, icmp, sctp, tcp, udp};
use crate::reason::Reason;
use crate::scratch::Lane;
use crate::stats::Stat;
use crate::sync::passing;
use crate::table::{Hit, is_live};
use crate::track::direction;
use crate::tuple::{Direction, Key};
use crate::wire::{Headers, L4};
use crate::worker::Worker;

/// Tries to change a word that others are changing.
const TRIES: usize = 64;

impl Worker {
    /// What makes nearly all of the traffic: a TCP segment that is [`tcp::steady`], of a connection that is still what the
    /// burst's lookup has found. `false`: it is something else, or another worker is at the connection; nothing has changed.
    #[inline(always)]
    pub(crate) fn steady(&self, lane: &Lane, key: &Key, hit: Hit, tick: u32, out: &mut Verdict) -> bool {
        let L4::Tcp(segment) = &lane.headers.l4 else { return false };
        let conn = self.shared.table.entry(hit.index);
        let steady = |word: u64| {
            let unpacked = Word::unpack(word);
            let established = unpacked.state == tcp::State::Established as u8;
            established && !unpacked.liberal() && is_live(word) && unpacked.left(tick) > 0
        };
        if !lane.one_zone() || !steady(conn.word_acquire()) {
            return false;
        }
        let Some(version) = conn.try_enter_record() else { return false };
        let old = conn.word_acquire();
        let before = Word::unpack(old);
        let dir = direction(hit, key);
        let seen = tcp::Seen { reply: before.has(status::SEEN_REPLY), assured: before.has(status::ASSURED) };
        let (load, store) = (|at| conn.load_word(at), |at, word| conn.store_word(at, word));
        let t = self.tunables_of(conn);
        let step = if steady(old) { tcp::steady(load, store, dir, seen, segment, t) } else { None };
        let Some(step) = step else {
            conn.leave_record(version);
            return false;
        };
        let word = self.commit_at(conn, old, hit.index, &step, dir, false, tick, false);
        conn.leave_record(version);
        self.count(Stat::Found);
        if let Some(account) = self.shared.account(hit.index)
            && conn.counted()
        {
            account.count(dir, 1, lane.headers.len.into());
        }
        let state = state_of(before, dir);
        *out = Verdict { state, ..self.verdict_of(conn, hit.index, word, dir, None) };
        true
    }

    /// A further packet of a connection. `slot`: its place in `pending`, if it is unconfirmed. `false`: the connection is
    /// over, and the packet opens a new one.
    pub(crate) fn further(
        &mut self,
        lane: &Lane,
        index: u32,
        dir: Direction,
        slot: Option<usize>,
        tick: u32,
        out: &mut Verdict,
    ) -> bool {
        let conn = self.shared.table.entry(index);
        let before = Word::unpack(conn.word_acquire());
        let (replied, assured) = (before.has(status::SEEN_REPLY), before.has(status::ASSURED));
        let private = slot.is_some();
        let t = self.tunables_of(conn);
        // Written in place by the trackers.
        let mut step = Step::refresh(0);
        let mut word = match &lane.headers.l4 {
            L4::Tcp(segment) => self.recorded(index, dir, private, tick, &mut step, |conn, word| {
                let mut record = tcp::Record::unpack(&conn.load_record());
                if word.liberal() {
                    record.be_liberal();
                }
                let state = tcp::State::from_u8(word.state).unwrap_or(tcp::State::None);
                let seen =
                    tcp::Seen { reply: word.has(status::SEEN_REPLY), assured: word.has(status::ASSURED) };
                let step = tcp::step(&mut record, state, dir, seen, segment, self.tunables_of(conn));
                (record.pack(), step)
            }),
            L4::Sctp(packet) => self.recorded(index, dir, private, tick, &mut step, |conn, word| {
                let mut record = sctp::Record::unpack(&conn.load_record());
                let state = sctp::State::from_u8(word.state).unwrap_or(sctp::State::None);
                let t = self.tunables_of(conn);
                let step = sctp::step(&mut record, state, dir, word.liberal(), packet, t);
                (record.pack(), step)
            }),
            other => {
                step = match other {
                    L4::Udp { .. } => {
                        udp::step(udp::Record::unpack(&conn.load_record()), tick, replied, assured, t)
                    }
                    L4::UdpLite { .. } => udp::lite_step(replied, t),
                    L4::Icmp { .. } => icmp::step(false, t),
                    L4::Icmpv6 { .. } => icmp::step(true, t),
                    L4::Gre { .. } => gre::step(gre::Record::unpack(&conn.load_record()), replied),
                    _ => generic::step(t),
                };
                self.commit(index, &step, dir, private, tick, false)
            }
        };
        match step.outcome {
            Outcome::Accept => self.count_packet(index, dir, &lane.headers),
            Outcome::Ignore => self.count(Stat::Ignored),
            Outcome::Invalid => {
                *out = self.invalid(step.reason, step.excess);
                return true;
            }
            Outcome::Reopen => return false,
        }
        if step.destroy && dir == Direction::Reply {
            // The packet is a reply; the connection, which is told of as destroyed, has seen none.
            word.set(status::SEEN_REPLY);
        }
        let state = state_of(before, dir);
        *out = Verdict {
            state,
            reason: step.reason,
            excess: step.excess,
            ..self.verdict(index, word, dir, slot)
        };
        if step.destroy {
            match slot {
                Some(slot) => self.release(slot),
                None => self.end(index),
            }
        }
        true
    }

    /// A packet of a protocol with a record: judged and committed inside the record's odd section.
    #[inline(always)]
    fn recorded(
        &self,
        index: u32,
        dir: Direction,
        private: bool,
        tick: u32,
        step: &mut Step,
        judge: impl FnOnce(&Conn, Word) -> (Record, Step),
    ) -> Word {
        let conn = self.shared.table.entry(index);
        if let Some(version) = conn.enter_record() {
            let word = Word::unpack(conn.word_acquire());
            let (record, judged) = judge(conn, word);
            *step = judged;
            conn.store_record(&record);
            // The word changes with the record, before anybody can read the record as settled. Where the connection
            // has died meanwhile there is nothing to change: the packet came just before its end.
            let word = self.commit(index, step, dir, private, tick, false);
            conn.leave_record(version);
            return word;
        }
        // Another worker is in the middle of this record, perhaps for long. This packet is let through by the
        // connection's state; as its window (or tags) is then not known, windows (tags) are not judged from now on.
        self.count(Stat::Busy);
        let word = Word::unpack(conn.word_acquire());
        *step = Step { state: word.state, timeout: Timeout::Keep, reason: Reason::Busy, ..Step::refresh(0) };
        self.commit(index, step, dir, private, tick, true)
    }

    /// Writes a step into the connection's word; returns the word as it then is. Nothing is written if the connection
    /// has died meanwhile: the packet came just before its end.
    pub(crate) fn commit(
        &self,
        index: u32,
        step: &Step,
        dir: Direction,
        private: bool,
        tick: u32,
        liberal: bool,
    ) -> Word {
        let conn = self.shared.table.entry(index);
        self.commit_at(conn, conn.word_acquire(), index, step, dir, private, tick, liberal)
    }

    /// [`Worker::commit`] with the word as it was a moment ago.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "inlined, with most of them constant")]
    fn commit_at(
        &self,
        conn: &Conn,
        mut old: u64,
        index: u32,
        step: &Step,
        dir: Direction,
        private: bool,
        tick: u32,
        liberal: bool,
    ) -> Word {
        for _ in 0..TRIES {
            let before = Word::unpack(old);
            if !private && !is_live(old) {
                return before;
            }
            let mut after = before;
            if matches!(step.outcome, Outcome::Accept | Outcome::Ignore) {
                // Without a branch: the direction is as good as random.
                let replied = status::SEEN_REPLY * (dir as u16 & u16::from(!step.destroy));
                after.set(replied);
            }
            // An INVALID packet may have changed these, too (SCTP).
            if step.outcome != Outcome::Reopen {
                after.set(status::ASSURED * u16::from(step.assure));
                if step.reason != Reason::Busy {
                    after.state = step.state;
                }
            }
            if liberal {
                after.set_liberal();
            }
            after.time = new_time(before, step.timeout, private, tick, self.lag);
            let new = after.pack();
            passing("commit-read");
            match if new == old { Ok(()) } else { conn.swap_word(old, new) } {
                Ok(()) => {
                    passing("commit-written");
                    if !private && before.time.wrapping_sub(after.time) as i32 > 0 {
                        self.shared.sweep.shorten(index, after.time, tick);
                    }
                    if self.tells() {
                        let changes = changes(before, after, step.anew);
                        if changes != 0 {
                            conn.note_changes(changes);
                        }
                    }
                    return after;
                }
                Err(now) => old = now,
            }
        }
        // Sixty-four others changed it in a row: what this packet adds is no news.
        self.count(Stat::Busy);
        Word::unpack(old)
    }

    #[inline]
    pub(crate) fn count_packet(&self, index: u32, dir: Direction, headers: &Headers) {
        if let Some(account) = self.shared.account(index)
            && self.shared.table.entry(index).counted()
        {
            account.count(dir, 1, headers.len.into());
        }
    }
}

/// What a rule sees of a packet of a connection, whose word was this before it.
#[inline(always)]
pub(crate) fn state_of(before: Word, dir: Direction) -> CtState {
    match before.has(status::SEEN_REPLY) | (dir == Direction::Reply) {
        true => CtState::Established,
        false if before.has(status::EXPECTED) => CtState::Related,
        false => CtState::New,
    }
}

/// What an event has to tell.
#[inline]
fn changes(before: Word, after: Word, anew: bool) -> u16 {
    let bit = |status: u16, change: u16| if after.has(status) && !before.has(status) { change } else { 0 };
    bit(status::SEEN_REPLY, change::REPLY)
        | bit(status::ASSURED, change::ASSURED)
        | if anew || after.state != before.state { change::PROTOINFO } else { 0 }
}

/// What the word's time becomes. `lag`: a refresh that shortens by no more may be due to the clock, not the timeout, so
/// it does not. While unconfirmed it is the timeout itself; it becomes a tick at `confirm`.
#[inline]
pub(crate) fn new_time(before: Word, timeout: Timeout, private: bool, tick: u32, lag: u32) -> u32 {
    let fixed = before.has(status::FIXED_TIMEOUT);
    match timeout {
        _ if fixed => before.time,
        Timeout::Keep => before.time,
        Timeout::Set(seconds) if private => seconds * 1000,
        Timeout::Shorten { to, above } if private && before.time >= above * 1000 => {
            before.time.min(to * 1000)
        }
        Timeout::Set(seconds) => {
            let new = tick.wrapping_add(seconds * 1000);
            let shorter_by = before.time.wrapping_sub(new);
            if (1..=lag).contains(&shorter_by) { before.time } else { new }
        }
        Timeout::Shorten { to, above } => {
            let (left, to) = (before.left(tick), to * 1000);
            let shorten = !private && left >= (above * 1000) as i32 && left > (to + lag) as i32;
            if shorten { tick.wrapping_add(to) } else { before.time }
        }
    }
}
