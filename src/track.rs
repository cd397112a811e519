//! L4: THE PATH. A burst of packets in, a verdict for each out.
//!
//! 1. `read`: headers, and what to look up for them.
//! 2. `hash`: the key and its hash; the bucket's line is asked for. (A stage of its own: right after the headers were
//!    written in small pieces, reading them in large ones would have to wait.)
//! 3. The table looks all keys up in stages; the records of what it found are asked for.
//! 4. `judge`, packet by packet in order: `find` the connection, then `further` or `first`.
//!
//! Packets are judged in order. A further packet in the original direction of a connection that this burst has just
//! created joins it (NEW). A packet in its reply direction is NEW of its own, as in the kernel: a real reply cannot
//! exist before the request has left, and a spoofed request must not turn an outsider's packet into ESTABLISHED.

use crate::conn::{Conn, Record, Word, status};
use crate::event::change;
use crate::memory::{prefetch, prefetch_nth};
use crate::packet::{CtState, Handle, Hook, MAX_BURST, Packet, Verdict, packet_flag};
use crate::proto::{Outcome, Step, Timeout, generic, gre, icmp, tcp, udp};
use crate::reason::Reason;
use crate::scratch::{Lane, Scratch, Task};
use crate::stats::Stat;
use crate::sync::Ordering::Relaxed;
use crate::table::{Entry, Hit, is_live};
use crate::tuple::{Direction, Key, Tuple};
use crate::wire::{self, Checksum, Headers, L4};
use crate::worker::{Pending, Worker};

/// Tries to change a word that others are changing.
const TRIES: usize = 64;

/// Why a packet needs no connection: its verdict's state and reason.
type Aside = (CtState, Reason);

/// The connection of a packet.
enum Found {
    Live(Hit),
    /// Created earlier in this burst; its place in `pending`.
    Pending(usize),
    Nothing,
}

impl Worker {
    /// Judges a burst of up to [`MAX_BURST`] packets at `now` (milliseconds of any monotonic clock), in order. Returns
    /// how many were judged: the least of the packets, the room for verdicts, and [`MAX_BURST`]. Verdicts beyond are left
    /// as they were.
    ///
    /// Connections that the burst opens are unconfirmed: [`Worker::confirm`] puts them into the table, and the next
    /// `track` lets go what was not confirmed. No allocation, no system call, no waiting; the work is bounded.
    pub fn track(&mut self, now: u64, packets: &[Packet<'_>], verdicts: &mut [Verdict]) -> usize {
        self.begin(now);
        let mut scratch = self.scratch.take().unwrap_or_default();
        let n = packets.len().min(verdicts.len()).min(MAX_BURST);
        let mut lanes = 0;
        for (i, packet) in packets[..n].iter().enumerate() {
            match self.read(packet, &mut scratch, lanes) {
                Ok(()) => {
                    scratch.lanes[lanes].packet = i;
                    lanes += 1;
                }
                Err(aside) => verdicts[i] = self.aside(aside),
            }
        }
        for at in 0..lanes {
            self.hash(&mut scratch, at);
        }
        let (keys, hashes) = (&scratch.keys[..lanes], &scratch.hashes[..lanes]);
        self.shared.table.lookup_burst(&self.local, hashes, keys, &mut scratch.hits[..lanes]);
        for hit in scratch.hits[..lanes].iter().flatten() {
            prefetch(&self.shared.table.entry(hit.index).version);
        }
        if let Some(accounts) = &self.shared.side.acct {
            for hit in scratch.hits[..lanes].iter().flatten() {
                prefetch_nth(accounts, hit.index as usize);
            }
        }
        for at in 0..lanes {
            let i = scratch.lanes[at].packet;
            self.judge(&scratch, at, now as u32, &mut verdicts[i]);
        }
        self.scratch = Some(scratch);
        self.publish();
        n
    }

    fn aside(&self, (state, reason): Aside) -> Verdict {
        match state {
            CtState::Invalid => {
                self.count(Stat::Invalid);
                self.count(Stat::Error);
            }
            CtState::Drop => self.count(Stat::Drop),
            _ => {}
        }
        Verdict::bare(state, reason)
    }

    fn invalid(&self, reason: Reason, excess: u32) -> Verdict {
        self.count(Stat::Invalid);
        Verdict { excess, ..Verdict::bare(CtState::Invalid, reason) }
    }

    /// Stage 1: what is to be looked up for this packet, or why nothing is.
    #[inline]
    fn read(&self, packet: &Packet<'_>, scratch: &mut Scratch, at: usize) -> Result<(), Aside> {
        let invalid = |reason| (CtState::Invalid, reason);
        if !packet.is_sane() {
            return Err(invalid(Reason::BadPacket));
        }
        if packet.flags & packet_flag::NOTRACK != 0 {
            return Err((CtState::Untracked, Reason::NoTrack));
        }
        let bytes = packet.bytes();
        // In place: what is built elsewhere and then copied costs more than the reading.
        let lane = &mut scratch.lanes[at];
        let headers = &mut lane.headers;
        wire::parse_into(bytes, packet.wire_len(), headers).map_err(invalid)?;
        if matches!(headers.l4, L4::Fragment) {
            return Err((CtState::Fragment, Reason::Fragment));
        }
        let verify = self.tunables.checksum != 0
            && packet.hook == Hook::PREROUTING
            && packet.flags & packet_flag::CHECKSUM_OK == 0;
        if verify && wire::checksum(bytes, headers) == Checksum::Bad {
            return Err(invalid(Reason::Checksum));
        }
        lane.zones = [packet.zone_orig, packet.zone_reply];
        lane.task = task_of(headers)?;
        if lane.task == Task::Error {
            scratch.keys[at] = error_key(bytes, headers, packet.zone_orig)?;
        }
        Ok(())
    }

    /// Stage 2, of one packet.
    #[inline]
    fn hash(&self, scratch: &mut Scratch, at: usize) {
        let lane = &scratch.lanes[at];
        let key = &mut scratch.keys[at];
        if lane.task != Task::Error {
            *key = Key::of(&lane.headers, lane.zone(Direction::Original));
        }
        let hash = self.shared.table.hash(key);
        self.shared.table.prefetch(hash);
        scratch.hashes[at] = hash;
    }

    /// Stage 4, of one packet. Its verdict is written in place, like its headers.
    #[inline(always)]
    fn judge(&mut self, scratch: &Scratch, at: usize, tick: u32, out: &mut Verdict) {
        let (lane, key, hash) = (&scratch.lanes[at], &scratch.keys[at], scratch.hashes[at]);
        match scratch.hits[at] {
            Some(hit) if self.steady(lane, key, hit, tick, out) => {}
            None if lane.task == Task::Track && lane.one_zone() && !self.marks.may_have(hash) => {
                self.first(lane, key, hash, tick, out);
            }
            _ => self.judge_at_length(scratch, at, tick, out),
        }
    }

    /// [`Worker::judge`] of what is not steady.
    #[inline(never)]
    fn judge_at_length(&mut self, scratch: &Scratch, at: usize, tick: u32, out: &mut Verdict) {
        let (lane, key, hash) = (&scratch.lanes[at], &scratch.keys[at], scratch.hashes[at]);
        let found = self.find(lane, key, hash, scratch.hits[at], tick);
        match (found, lane.task) {
            (Found::Live(hit), Task::Error) => {
                self.count(Stat::Found);
                *out = self.related(lane, key, hit);
            }
            (Found::Live(hit), _) => {
                self.count(Stat::Found);
                let dir = direction(hit, key);
                if !self.further(lane, hit.index, dir, None, tick, out) {
                    self.end(hit.index);
                    self.first(lane, key, hash, tick, out);
                }
            }
            (Found::Pending(slot), Task::Track) => {
                let index = self.pending[slot].handle.index();
                if !self.further(lane, index, Direction::Original, Some(slot), tick, out) {
                    self.release(slot);
                    self.first(lane, key, hash, tick, out);
                }
            }
            (_, Task::Error) => *out = self.aside((CtState::Invalid, Reason::IcmpNoFlow)),
            (_, Task::Answer) => *out = self.invalid(Reason::IcmpUnsolicited, 0),
            (Found::Nothing, Task::Track) => self.first(lane, key, hash, tick, out),
        }
    }

    /// The connection of a packet as it is now: one that expired is ended on the way, one that died since the burst
    /// was looked up (perhaps by this very burst) is looked up again.
    fn find(&mut self, lane: &Lane, key: &Key, hash: u64, hit: Option<Hit>, tick: u32) -> Found {
        let mut hit = self.settle(lane, key, hit);
        for _ in 0..4 {
            let Some(seen) = hit else { break };
            let word = self.shared.table.entry(seen.index).word_acquire();
            if is_live(word) {
                if Word::unpack(word).left(tick) > 0 {
                    return Found::Live(seen);
                }
                self.expire(seen.index, word);
            } else {
                self.count(Stat::SearchRestart);
            }
            let again = self.shared.table.lookup(&self.local, hash, key);
            hit = self.settle(lane, key, again);
        }
        if lane.task == Task::Track && self.marks.may_have(hash) {
            for (slot, pending) in self.pending[..self.pendings].iter().enumerate() {
                if pending.hash == hash && !pending.handle.is_none() {
                    let index = pending.handle.index();
                    let conn = self.shared.table.entry(index);
                    let original = conn.key_of(self.shared.table.context(), index, Direction::Original);
                    if original == *key {
                        return Found::Pending(slot);
                    }
                }
            }
        }
        Found::Nothing
    }

    /// Where a packet's zones differ by direction, a connection must match it in the zone of its own direction there.
    #[inline]
    fn settle(&self, lane: &Lane, key: &Key, hit: Option<Hit>) -> Option<Hit> {
        if lane.one_zone() {
            return hit;
        }
        let reply = lane.zone(Direction::Reply);
        hit.filter(|hit| hit.dir == 0).or_else(|| {
            let key = key.with_zone(reply);
            self.shared
                .table
                .lookup(&self.local, self.shared.table.hash(&key), &key)
                .filter(|hit| hit.dir == 1)
        })
    }

    /// An ICMP error about a connection. It is not counted, refreshes nothing, and is no reply.
    fn related(&self, lane: &Lane, key: &Key, hit: Hit) -> Verdict {
        // Who sent the packet that failed must be who is told.
        if Key::new(&lane.headers.dst, &lane.headers.dst, 0).dst != key.dst {
            return self.aside((CtState::Invalid, Reason::IcmpOuterDestination));
        }
        let dir = direction(hit, key);
        let word = Word::unpack(self.shared.table.entry(hit.index).word_acquire());
        Verdict { state: CtState::Related, ..self.verdict(hit.index, word, dir, None) }
    }

    /// What makes nearly all of the traffic: a TCP segment that is [`tcp::steady`], of a connection that is still what the
    /// burst's lookup has found. `false`: it is something else, or another worker is at the connection; nothing has changed.
    #[inline(always)]
    fn steady(&self, lane: &Lane, key: &Key, hit: Hit, tick: u32, out: &mut Verdict) -> bool {
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
        let load = |at| conn.record_word(at).load(Relaxed);
        let store = |at, word| conn.record_word(at).store(word, Relaxed);
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
    fn further(
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
            L4::Tcp(segment) => self.tcp(index, dir, segment, private, tick, &mut step),
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

    /// A TCP segment of a connection: judged and committed inside the record's odd section.
    #[inline]
    fn tcp(
        &self,
        index: u32,
        dir: Direction,
        segment: &wire::tcp::Segment,
        private: bool,
        tick: u32,
        step: &mut Step,
    ) -> Word {
        let conn = self.shared.table.entry(index);
        if let Some(version) = conn.enter_record() {
            let word = Word::unpack(conn.word_acquire());
            let mut record = tcp::Record::unpack(&conn.load_record());
            if word.liberal() {
                for end in &mut record.ends {
                    end.flags |= tcp::flags::LIBERAL;
                }
            }
            let state = tcp::State::from_u8(word.state).unwrap_or(tcp::State::None);
            let seen = tcp::Seen { reply: word.has(status::SEEN_REPLY), assured: word.has(status::ASSURED) };
            *step = tcp::step(&mut record, state, dir, seen, segment, self.tunables_of(conn));
            conn.store_record(&record.pack());
            // The word changes with the record, before anybody can read the record as settled. Where the connection
            // has died meanwhile there is nothing to change: the packet came just before its end.
            let word = self.commit(index, step, dir, private, tick, false);
            conn.leave_record(version);
            return word;
        }
        // Another worker is in the middle of this record, perhaps for long. This packet is let through by the
        // connection's state; as its window is then not known, windows are not judged from now on.
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
                let assured = status::ASSURED * u16::from(step.assure);
                after.set(replied | assured);
                if step.reason != Reason::Busy {
                    after.state = step.state;
                }
            }
            if liberal {
                after.set_liberal();
            }
            after.time = new_time(before, step.timeout, private, tick, self.lag);
            let new = after.pack();
            match if new == old { Ok(()) } else { conn.swap_word(old, new) } {
                Ok(()) => {
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

    /// A packet without a connection: it may open one.
    fn first(&mut self, lane: &Lane, key: &Key, hash: u64, tick: u32, out: &mut Verdict) {
        if let L4::Tcp(segment) = &lane.headers.l4
            && tcp::is_syn(segment)
        {
            let (record, step) = tcp::open_syn(segment, &self.tunables);
            if step.outcome != Outcome::Invalid {
                return self.create(lane, key, hash, (&record.pack(), &step), tick, out);
            }
        }
        self.first_of_others(lane, key, hash, tick, out);
    }

    /// [`Worker::first`] of whatever is no SYN.
    #[inline(never)]
    fn first_of_others(&mut self, lane: &Lane, key: &Key, hash: u64, tick: u32, out: &mut Verdict) {
        let t = &self.tunables;
        let (record, step): (Record, Step) = match &lane.headers.l4 {
            L4::Tcp(segment) => match tcp::open(segment, t) {
                Ok((record, step)) => (record.pack(), step),
                Err((reason, excess)) => {
                    *out = self.invalid(reason, excess);
                    return;
                }
            },
            L4::Udp { .. } | L4::UdpLite { .. } => {
                let (record, step) = udp::open(tick, t);
                (record.pack(), step)
            }
            L4::Gre { .. } => {
                let (record, step) = gre::open(t);
                (record.pack(), step)
            }
            L4::Icmp { .. } => (Record::default(), icmp::step(false, t)),
            L4::Icmpv6 { .. } => (Record::default(), icmp::step(true, t)),
            _ => (Record::default(), generic::step(t)),
        };
        self.create(lane, key, hash, (&record, &step), tick, out);
    }

    /// Makes room for a connection, and an unconfirmed entry of it.
    #[inline(always)]
    fn create(
        &mut self,
        lane: &Lane,
        key: &Key,
        hash: u64,
        (record, step): (&Record, &Step),
        tick: u32,
        out: &mut Verdict,
    ) {
        let limit = &self.shared.limit;
        if !self.permits.spend(limit) && !self.early_drop(hash, tick) {
            *out = self.aside((CtState::Drop, Reason::TableFull));
            return;
        }
        let Some(index) = self.shared.table.alloc(&mut self.local) else {
            self.permits.regain(&self.shared.limit);
            self.count(Stat::ReclaimStalled);
            *out = self.aside((CtState::Drop, Reason::ReclaimStalled));
            return;
        };
        // What `confirm` will write to: the hint and the bucket of the reply tuple, unless NAT changes that.
        self.shared.sweep.prefetch(index);
        let reply = key.inverse(lane.zone(Direction::Reply));
        self.shared.table.prefetch(self.shared.table.hash(&reply));
        let conn = self.shared.table.entry(index);
        conn.init(key, lane.zone(Direction::Reply), 0, self.tunables.acct != 0, record);
        let mut word = Word::fresh(conn.word_acquire());
        word.state = step.state;
        word.time = new_time(word, step.timeout, true, tick, 0);
        conn.set_private_word(word.pack());
        if let Some(account) = self.shared.account(index) {
            account.clear();
        }
        for word in self.shared.user_data(index) {
            word.store(0, Relaxed);
        }
        self.count_packet(index, Direction::Original, &lane.headers);
        let slot = self.pendings;
        self.pendings += 1;
        let opened = self.verdict_of(conn, index, word, Direction::Original, Some(slot));
        self.pending[slot] = Pending { handle: opened.conn, hash };
        self.marks.put(hash);
        *out = Verdict { reason: step.reason, excess: step.excess, ..opened };
    }

    #[inline]
    fn count_packet(&self, index: u32, dir: Direction, headers: &Headers) {
        if let Some(account) = self.shared.account(index)
            && self.shared.table.entry(index).counted()
        {
            account.count(dir, 1, headers.len.into());
        }
    }

    /// A verdict about this connection, NEW unless the caller knows better.
    #[inline]
    pub(crate) fn verdict(&self, index: u32, word: Word, dir: Direction, slot: Option<usize>) -> Verdict {
        self.verdict_of(self.shared.table.entry(index), index, word, dir, slot)
    }

    #[inline(always)]
    fn verdict_of(
        &self,
        conn: &Conn,
        index: u32,
        word: Word,
        dir: Direction,
        slot: Option<usize>,
    ) -> Verdict {
        let confirmed = if slot.is_none() { status::CONFIRMED } else { 0 };
        Verdict {
            conn: Handle::new(index, conn.generation().load(Relaxed)),
            mark: conn.mark(),
            status: word.status() | confirmed,
            reason: Reason::None,
            state: CtState::New,
            dir,
            unconfirmed: slot.is_some(),
            proto_state: word.state,
            excess: 0,
            pending: slot.map_or(0, |slot| slot as u32 + 1),
            reserved: 0,
        }
    }
}

/// What a rule sees of a packet of a connection, whose word was this before it.
#[inline(always)]
fn state_of(before: Word, dir: Direction) -> CtState {
    match before.has(status::SEEN_REPLY) | (dir == Direction::Reply) {
        true => CtState::Established,
        false if before.has(status::EXPECTED) => CtState::Related,
        false => CtState::New,
    }
}

/// The direction of a packet with this key in the connection that it found.
#[inline]
pub(crate) fn direction(hit: Hit, key: &Key) -> Direction {
    // A connection to itself has one key for both: its further packets are replies, as in the kernel.
    let itself = key.src == key.dst && key.inverse(key.zone()) == *key;
    // Without a branch: the direction is as good as random.
    if (hit.dir == 0) & !itself { Direction::Original } else { Direction::Reply }
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
fn new_time(before: Word, timeout: Timeout, private: bool, tick: u32, lag: u32) -> u32 {
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

/// The lookup that a packet asks for.
#[inline]
fn task_of(headers: &Headers) -> Result<Task, Aside> {
    let class = match headers.l4 {
        L4::Icmp { kind, .. } => icmp::kind_v4(kind),
        L4::Icmpv6 { kind, .. } => icmp::kind_v6(kind),
        _ => return Ok(Task::Track),
    };
    match class {
        icmp::Kind::Query => Ok(Task::Track),
        icmp::Kind::Answer => Ok(Task::Answer),
        icmp::Kind::Error => Ok(Task::Error),
        icmp::Kind::Redirect => {
            // Only a router on the link may redirect, and there is no code but 0 (RFC 4861, section 8.1).
            let link_local = headers.src[0] == 0xfe && headers.src[1] & 0xc0 == 0x80;
            let code = matches!(headers.l4, L4::Icmpv6 { code: 1.., .. });
            if link_local && headers.hop_limit == 255 && !code {
                Ok(Task::Error)
            } else {
                Err((CtState::Invalid, Reason::IcmpRedirect))
            }
        }
        icmp::Kind::Neighbour => Err((CtState::Untracked, Reason::IcmpNeighbour)),
        icmp::Kind::Unusable(reason) => Err((CtState::Invalid, reason)),
    }
}

/// The key of the packet that would answer the one inside an ICMP error: what the error's connection is found by.
fn error_key(bytes: &[u8], headers: &Headers, zone: u16) -> Result<Key, Aside> {
    let inner = wire::inner(bytes, headers).map_err(|reason| (CtState::Invalid, reason))?;
    Ok(Tuple::of_inner(&inner).key(zone).inverse(zone))
}
