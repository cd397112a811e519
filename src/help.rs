//! L4: helpers at work: attaching them, what they hear, and what comes of it.

use std::fmt;
use std::sync::Arc;

use crate::conn::{Word, status};
use crate::control::Table;
use crate::event::EventKind;
use crate::expect::{
    Draft, Entered, ExpectError, ExpectName, Expectation, Expects, Fate, HelperError, OnTheWay, Record,
    Refused, zone_of,
};
use crate::helper::{Announcements, Answer, Expect, Heading, Helper, HelperId, MAX_EXPECTED};
use crate::packet::{CtState, Handle, MAX_BURST, Packet, Verdict};
use crate::reason::Reason;
use crate::related::Teller;
use crate::shared::Shared;
use crate::stats::Stat;
use crate::timeout::MAX_TIMEOUT;
use crate::tuple::{Direction, Key, Tuple};
use crate::wire::{self, L4};
use crate::worker::Worker;

/// What limits an announcement.
#[derive(Clone, Copy)]
enum Limit {
    /// The class of the master's helper: the oldest makes room.
    Class { max: usize },
    /// A rule: there is no room beyond it. (A helper's class holds as well.)
    Rule { max: usize },
}

impl Table {
    /// Adds a helper, for good; its number. To be done before connections need it; any thread may, at any time. (Of those who add at
    /// the same time one waits for the other: a control call.)
    pub fn add_helper(&self, helper: Arc<dyn Helper>) -> Result<HelperId, HelperError> {
        self.shared().expects.as_ref().ok_or(HelperError::Off)?.helpers.add(helper)
    }

    /// The number of the helper of this name.
    pub fn helper(&self, name: &str) -> Option<HelperId> {
        self.shared().expects.as_ref()?.helpers.find(name)
    }

    /// Copies of what is expected, one by one, as each is when the iterator comes by; of masters that are
    /// not confirmed yet, none. No packet is held up.
    pub fn expectations(&self, now: u64) -> Expectations {
        Expectations { shared: Arc::clone(self.shared()), next: 0, now }
    }
}

/// The iterator of [`Table::expectations`].
pub struct Expectations {
    shared: Arc<Shared>,
    next: usize,
    now: u64,
}

impl fmt::Debug for Expectations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expectations").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Iterator for Expectations {
    type Item = Expectation;

    fn next(&mut self) -> Option<Expectation> {
        let Self { shared, next, now } = self;
        let (expects, table) = (shared.expects.as_ref()?, &shared.table);
        // Between calls the caller may take its time.
        shared.without_worker(|local| {
            local.enter();
            let mut found = None;
            while found.is_none() && *next < expects.arena.len() {
                let here = expects.arena.at(*next);
                *next += 1;
                found = here.filter(|(_, draft)| draft.left(*now as u32) > 0).and_then(|(_, draft)| {
                    let index = draft.master.index();
                    let master = table.get(local, index, draft.master.generation())?;
                    let key = master.key_of(table.context(), index, Direction::Original);
                    Some(expects.shown(&draft, &key, *now as u32))
                });
            }
            found
        })
    }
}

/// The help record that a worker is in. It is left however the call ends, a helper's panic included.
struct In<'a> {
    shared: &'a Shared,
    expects: &'a Expects,
    teller: Teller,
    entered: Option<Entered<'a>>,
}

impl Drop for In<'_> {
    fn drop(&mut self) {
        let Some(entered) = self.entered.take() else { return };
        self.expects.records.leave(entered, |_, _, name| {
            if let Some(draft) = self.expects.arena.end(name) {
                self.shared.ended_expectation(self.expects, self.teller, name, &draft);
            }
        });
    }
}

impl Worker {
    /// Attaches a helper to an unconfirmed connection, as nft's `ct helper set` does: from now on [`Worker::help`] shows its packets to
    /// it. Verdicts of this and of later packets have HELPER in their status. To be called between `track` and `help`.
    pub fn attach_helper(&mut self, verdict: &mut Verdict, helper: HelperId) -> Result<(), HelperError> {
        let expects = self.shared.expects.as_ref().ok_or(HelperError::Off)?;
        let added = expects.helpers.get(helper.number()).ok_or(HelperError::Unknown)?;
        let slot = self.pending_slot(verdict).ok_or(HelperError::NotUnconfirmed)?;
        let handle = self.pending[slot].handle;
        let key = self.original_of(handle);
        if !added.serves(key.l3(), key.l4()) {
            return Err(HelperError::OtherProtocol);
        }
        let Some(place) = self.record_of(expects, handle) else {
            self.count(Stat::HelperFull);
            return Err(HelperError::NoRecord);
        };
        let record = expects.records.of(place, handle).ok_or(HelperError::NoRecord)?;
        if !record.attach(helper) {
            return Err(HelperError::Attached);
        }
        let conn = self.shared.table.entry(handle.index());
        let mut word = Word::unpack(conn.word_acquire());
        word.set(status::HELPER);
        conn.set_private_word(word.pack());
        verdict.status = word.status();
        Ok(())
    }

    fn original_of(&self, handle: Handle) -> Key {
        let table = &self.shared.table;
        table.entry(handle.index()).key_of(table.context(), handle.index(), Direction::Original)
    }

    /// The place of the help record of an unconfirmed connection of this worker, made if there is none.
    fn record_of(&self, expects: &Expects, handle: Handle) -> Option<u32> {
        let conn = self.shared.table.entry(handle.index());
        let mut word = Word::unpack(conn.word_acquire());
        if word.has_record() {
            return Some(expects.place(handle.index()));
        }
        let place = expects.make_record(handle, None)?;
        word.set_record();
        conn.set_private_word(word.pack());
        Some(place)
    }

    /// Expects a connection for a master, as nft's `ct expectation set` does: the first packet that fits is RELATED, with the master's
    /// mark, and DROP if the rules say so. The master is a connection of this worker that is not confirmed yet, or any in the table that
    /// has a helper. It is expected for `timeout` seconds (1 to [`MAX_TIMEOUT`]), and only while the master is in the table. `max`: how
    /// many the master may expect at a time (1 to [`MAX_EXPECTED`]); beyond that, `Limit`. If the master expects the same already,
    /// it does so anew. The network layer and the zone are the master's.
    pub fn expect(
        &mut self,
        now: u64,
        master: Handle,
        expect: &Expect,
        timeout: u32,
        max: u8,
    ) -> Result<(), ExpectError> {
        let idle = !self.local.is_entered();
        self.at(now);
        self.local.enter();
        let result = self.expect_by_rule(master, expect, timeout, max);
        if idle {
            self.local.leave();
        }
        result
    }

    fn expect_by_rule(
        &self,
        master: Handle,
        expect: &Expect,
        timeout: u32,
        max: u8,
    ) -> Result<(), ExpectError> {
        let shared = &*self.shared;
        let expects = shared.expects.as_ref().ok_or(ExpectError::Off)?;
        if !(1..=MAX_TIMEOUT).contains(&timeout) || !(1..=MAX_EXPECTED).contains(&max.into()) {
            return Err(ExpectError::Invalid);
        }
        let place = if self.pending[..self.pendings].iter().any(|p| !p.handle.is_none() && p.handle == master)
        {
            let Some(place) = self.record_of(expects, master) else {
                self.count(Stat::HelperFull);
                return Err(ExpectError::NoRecord);
            };
            if let Some(record) = expects.records.of(place, master) {
                record.rule();
            }
            place
        } else {
            let conn = shared.table.get(&self.local, master.index(), master.generation());
            let word = conn.map(|conn| Word::unpack(conn.word_acquire()));
            if !word.is_some_and(Word::has_helper) {
                return Err(ExpectError::NoMaster);
            }
            expects.place(master.index())
        };
        let entered = expects.records.enter(place, master).ok_or(ExpectError::Busy)?;
        let inside = In { shared, expects, teller: self.teller(), entered: Some(entered) };
        let limit = Limit::Rule { max: max.into() };
        inside.announce(master, expect, timeout, limit).inspect_err(|e| self.count_refusal(*e))
    }

    fn count_refusal(&self, error: ExpectError) {
        if error == ExpectError::Full {
            self.count(Stat::ExpectFull);
        }
    }

    /// Shows the packets of connections with a helper to it: of those whose bit is set in `keep` (bit 0: the first), which are about to
    /// leave. To be called between the host's rules and [`Worker::confirm`], with the packets and verdicts of this worker's last `track`.
    /// Returns `keep` without the packets that must not leave after all; their verdicts' state is DROP. A packet of a connection without
    /// helper costs a look at its verdict's status. The work is bounded by what the helpers do.
    pub fn help(&mut self, now: u64, packets: &[Packet<'_>], verdicts: &mut [Verdict], keep: u64) -> u64 {
        let n = packets.len().min(verdicts.len()).min(MAX_BURST);
        let helped = |verdict: &Verdict| verdict.status & status::HELPER != 0 && !verdict.conn.is_none();
        let mut left = keep;
        if !verdicts[..n].iter().any(helped) {
            return left;
        }
        let idle = !self.local.is_entered();
        self.at(now);
        self.local.enter();
        for (i, (packet, verdict)) in packets.iter().zip(verdicts.iter_mut()).enumerate().take(n) {
            if keep >> i & 1 == 0 || !helped(verdict) {
                continue;
            }
            if let Err(reason) = self.help_one(packet, verdict) {
                self.count(Stat::Drop);
                // It keeps its connection: one that is unconfirmed is let go by `confirm`.
                verdict.state = CtState::Drop;
                verdict.reason = reason;
                left &= !(1 << i);
            }
        }
        if idle {
            self.local.leave();
        }
        left
    }

    /// Shows one packet to its connection's helper. An error: it must not leave.
    fn help_one(&self, packet: &Packet<'_>, verdict: &Verdict) -> Result<(), Reason> {
        let shared = &*self.shared;
        let Some(expects) = &shared.expects else { return Ok(()) };
        let (index, generation) = (verdict.conn.index(), verdict.conn.generation());
        let there = self.pending_slot(verdict).is_some()
            || shared.table.get(&self.local, index, generation).is_some();
        let Ok(headers) = wire::parse(packet.bytes(), packet.wire_len()) else { return Ok(()) };
        if !there || !Word::unpack(shared.table.entry(index).word_acquire()).has_record() {
            return Ok(());
        }
        // Nobody waits: of a connection whose record another worker is in at every try, this packet is not heard.
        let Some(entered) = expects.records.enter(expects.place(index), verdict.conn) else {
            self.count(Stat::Busy);
            return Ok(());
        };
        let inside = In { shared, expects, teller: self.teller(), entered: Some(entered) };
        let Some(Entered { record, .. }) = &inside.entered else { return Ok(()) };
        let Some(added) = expects.helpers.get(record.helper()) else { return Ok(()) };
        // An ICMP error about the connection is none of its packets.
        if headers.protocol != added.protocol {
            return Ok(());
        }
        let seq = if let L4::Tcp(segment) = &headers.l4 { segment.seq } else { 0 };
        let [original, reply] = [Direction::Original, Direction::Reply].map(|dir| {
            Tuple::from_key(&shared.table.entry(index).key_of(shared.table.context(), index, dir))
        });
        let established = verdict.state == CtState::Established;
        let about = Heading { original, reply, dir: verdict.dir, established, seq };
        let (mut state, mut announcements) = (record.words(), Announcements::default());
        let payload = headers.payload(packet.bytes());
        let answer = added.helper.help(&about, payload, &mut state, &mut announcements);
        record.store_words(&state);
        if answer == Answer::Drop {
            return Err(Reason::Helper);
        }
        for expect in announcements.iter() {
            let class = added.class(expect.announce.class).ok_or(Reason::Expectation)?;
            let limit = Limit::Class { max: class.max.into() };
            inside.announce(verdict.conn, expect, class.timeout, limit).map_err(|error| {
                self.count_refusal(error);
                Reason::Expectation
            })?;
        }
        Ok(())
    }
}

/// What is announced, on its way to its place.
struct Announced<'a> {
    inside: &'a In<'a>,
    record: &'a Record,
    slot: usize,
}

impl OnTheWay for Announced<'_> {
    fn fate(&self, draft: &Draft) -> Fate {
        self.inside.shared.in_the_way(draft, self.inside.teller.now as u32)
    }

    fn ended(&self, name: ExpectName, draft: &Draft) {
        let In { shared, expects, teller, .. } = self.inside;
        shared.ended_expectation(expects, *teller, name, draft);
    }

    fn named(&self, name: ExpectName) {
        self.record.put(self.slot, name);
    }
}

impl In<'_> {
    /// Expects what a helper or a rule announces for the connection whose record was entered.
    fn announce(
        &self,
        master: Handle,
        expect: &Expect,
        timeout: u32,
        limit: Limit,
    ) -> Result<(), ExpectError> {
        let Some(Entered { record, place }) = &self.entered else { return Err(ExpectError::Busy) };
        let (shared, arena) = (self.shared, &self.expects.arena);
        let helpers = &self.expects.helpers;
        let own = helpers.get(record.helper());
        let announce = &expect.announce;
        let class = announce.class;
        let unknown = expect.helper.is_some_and(|helper| helpers.get(helper.number()).is_none());
        if unknown || own.map_or(class != 0, |own| own.class(class).is_none()) {
            return Err(ExpectError::Invalid);
        }
        let conn = shared.table.entry(master.index());
        let original = conn.key_of(shared.table.context(), master.index(), Direction::Original);
        let zone = zone_of(original.zone(), conn.zone_reply());
        let source = announce.from.unwrap_or_default();
        let tuple = Tuple {
            src: source,
            dst: announce.to,
            sport: 0,
            dport: announce.port,
            l4: announce.protocol,
            l3: original.l3(),
        };
        let (hash, key) = shared.expected_by(&tuple.key(zone), zone);
        let tick = self.teller.now as u32;
        let mut draft = Draft {
            master,
            key,
            any_source: announce.from.is_none(),
            permanent: expect.permanent,
            class,
            of: record.helper(),
            helper: expect.helper,
            deadline: tick.wrapping_add(timeout * 1000),
            record: *place,
            slot: 0,
            serial: 0,
        };
        let of_class = || {
            let all = record.names().filter_map(|(_, name)| Some((name, arena.get(name)?)));
            all.filter(|(_, other)| other.class == class)
        };
        if let Limit::Rule { max } = limit
            && of_class().count() >= max
        {
            return Err(ExpectError::Limit);
        }
        let end = |name| {
            if let Some(ended) = arena.end(name) {
                shared.ended_expectation(self.expects, self.teller, name, &ended);
            }
        };
        let same = |other: &Draft| other.key == draft.key && other.any_source == draft.any_source;
        let again = of_class().find(|(_, other)| same(other));
        if let Some((name, _)) = again {
            end(name);
        }
        let most = match (limit, own.and_then(|own| own.class(class))) {
            (Limit::Class { max }, _) => max,
            (_, Some(class)) => class.max.into(),
            _ => MAX_EXPECTED,
        };
        // Only when nothing stands in the way of the new one (tests/recorded: ftp-clash).
        let oldest = of_class().reduce(|old, next| if next.1.is_older(&old.1) { next } else { old });
        let instead = oldest.filter(|_| of_class().count() >= most).map(|(name, _)| name);
        let slot = record.free_slot().ok_or(ExpectError::Limit)?;
        draft.slot = slot as u8;
        draft.serial = record.next_serial();
        if let Err(refused) = arena.insert(hash, &draft, instead, &Announced { inside: self, record, slot }) {
            record.put(slot, 0);
            return Err(match refused {
                Refused::Full => ExpectError::Full,
                Refused::Clash => ExpectError::Clash,
            });
        }
        shared.blocks[self.teller.ring].add_shared(Stat::ExpectCreate, 1);
        shared.tell_expectation(EventKind::ExpectNew, self.teller, &draft);
        Ok(())
    }
}
