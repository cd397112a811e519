//! L4: connections that were expected, and the end of what a connection expects.

use crate::conn::{Word, status};
use crate::connection::Master;
use crate::event::EventKind;
use crate::expect::{Draft, ExpectName, Expects, Fate, OnTheWay, Origin, zone_of};
use crate::helper::{HelperId, Name};
use crate::packet::{CtState, Handle, Verdict};
use crate::scratch::Lane;
use crate::shared::Shared;
use crate::stats::Stat;
use crate::table::{is_gone, is_live};
use crate::tuple::{Direction, Key, Tuple, Zone};
use crate::worker::Worker;

/// Who tells of what happens: whose counters and queue, at what time, and whether anybody listens.
#[derive(Clone, Copy)]
pub(crate) struct Teller {
    pub ring: usize,
    pub now: u64,
    pub events: bool,
}

/// A first packet, on its way to what expects it.
struct Coming<'a> {
    worker: &'a Worker,
    expects: &'a Expects,
    teller: Teller,
    tick: u32,
}

impl OnTheWay for Coming<'_> {
    fn fate(&self, draft: &Draft) -> Fate {
        match self.worker.shared.master_of(draft) {
            Some(_) if draft.left(self.tick) <= 0 => Fate::Over,
            Some(master) if master.left(self.tick) > 0 => Fate::Holds,
            _ => Fate::Ignored,
        }
    }

    fn ended(&self, name: ExpectName, draft: &Draft) {
        self.worker.shared.ended_expectation(self.expects, self.teller, name, draft);
    }
}

impl Worker {
    pub(crate) fn teller(&self) -> Teller {
        Teller { ring: self.seat(), now: self.now, events: self.tells() }
    }

    /// Whether any connection is expected at all: all that a new connection pays for it.
    #[inline(always)]
    pub(crate) fn expects(&self) -> bool {
        self.shared.expects.as_ref().is_some_and(|expects| expects.arena.count() != 0)
    }

    /// A connection has been opened. If it was expected it is RELATED, has its master's mark, and remembers its master.
    #[cold]
    #[inline(never)]
    pub(crate) fn relate(&self, lane: &Lane, key: &Key, tick: u32, out: &mut Verdict) {
        let Some(met) = self.meet(key, lane.zones, tick) else { return };
        let Some(expects) = &self.shared.expects else { return };
        let table = &self.shared.table;
        let (index, master) = (out.conn.index(), table.entry(met.master.index()));
        let conn = table.entry(index);
        let origin = Origin {
            handle: met.master,
            key: master.key_of(table.context(), met.master.index(), Direction::Original),
        };
        let mut word = Word::unpack(conn.word_acquire());
        word.set(status::EXPECTED);
        conn.set_mark(master.mark());
        match expects.make_record(out.conn, Some(origin)) {
            Some(place) => {
                word.set_record();
                let helper =
                    met.helper.and_then(|id: HelperId| Some((id, expects.helpers.get(id.number())?)));
                if let Some((id, added)) = helper
                    && added.serves(key.l3(), key.l4())
                    && let Some(record) = expects.records.of(place, out.conn)
                {
                    record.attach(id);
                    word.set(status::HELPER);
                }
            }
            // It is RELATED all the same; its master is not shown.
            None => self.count(Stat::HelperFull),
        }
        conn.set_private_word(word.pack());
        self.count(Stat::ExpectNew);
        *out = Verdict { state: CtState::Related, mark: conn.mark(), status: word.status(), ..*out };
    }

    /// A packet that would have been a connection's first, but is INVALID: if one was expected, that was it, as in the kernel.
    #[cold]
    #[inline(never)]
    pub(crate) fn waste(&self, key: &Key, zones: [Zone; 2], tick: u32) {
        let _ = self.meet(key, zones, tick);
    }

    /// [`Worker::waste`] of a packet that was not looked up.
    #[cold]
    #[inline(never)]
    pub(crate) fn waste_unknown(&self, key: &Key, zones: [Zone; 2], tick: u32) {
        let known = zones.into_iter().any(|zone| {
            let key = key.with_zone(zone);
            self.shared.table.lookup(&self.local, self.shared.table.hash(&key), &key).is_some()
        });
        if !known {
            self.waste(key, zones, tick);
        }
    }

    /// What a first packet with this key was expected as. If it was expected once, it is no more.
    fn meet(&self, key: &Key, zones: [Zone; 2], tick: u32) -> Option<Draft> {
        let shared = &*self.shared;
        let expects = shared.expects.as_ref()?;
        let teller = self.teller();
        let (hash, key) = shared.expected_by(key, zone_of(zones[0], zones[1]));
        let (name, draft) =
            expects.arena.meet(hash, &key, &Coming { worker: self, expects, teller, tick })?;
        if !draft.permanent {
            shared.ended_expectation(expects, teller, name, &draft);
        }
        Some(draft)
    }
}

impl Shared {
    /// What is looked for to find what expects a packet with this key: its hash, and the key without the source port.
    pub fn expected_by(&self, key: &Key, zone: Zone) -> (u64, Key) {
        let key = Key { meta: key.meta & !0xffff, ..key.with_zone(zone) };
        (self.table.hash(&Key { src: [0; 2], ..key }), key)
    }

    /// The word of an expectation's master, if that is in the table. The caller has entered, so then it is not used again before he
    /// leaves, and he may end what it expects and tell of it. (He who meets it while it is not, or not any more, may not: it
    /// can be let go, or come back from the epoch, at any moment, and takes with it what it expects.)
    fn master_of(&self, draft: &Draft) -> Option<Word> {
        let (index, generation) = (draft.master.index(), draft.master.generation());
        let word = self.table.entry(index).word_acquire();
        // The word before the generation: as in `Core::get`.
        (is_live(word) && self.table.generation(index) == generation).then(|| Word::unpack(word))
    }

    /// Whether an expectation stands in the way of another.
    pub fn in_the_way(&self, draft: &Draft, tick: u32) -> Fate {
        let index = draft.master.index();
        let word = self.table.entry(index).word_acquire();
        if self.table.generation(index) != draft.master.generation() || is_gone(word) {
            return Fate::Ignored;
        }
        match (draft.left(tick) > 0, self.master_of(draft)) {
            (true, _) => Fate::Holds,
            (false, Some(_)) => Fate::Over,
            (false, None) => Fate::Ignored,
        }
    }

    /// An expectation has been ended by the caller, who alone did it.
    pub fn ended_expectation(&self, expects: &Expects, teller: Teller, name: ExpectName, draft: &Draft) {
        if let Some(record) = expects.records.at(draft.record) {
            record.clear(draft.slot.into(), name);
        }
        self.blocks[teller.ring].add_shared(Stat::ExpectDelete, 1);
        self.tell_expectation(EventKind::ExpectDestroy, teller, draft);
        expects.arena.free(name);
    }

    /// Connection `index` has ended, or was let go unconfirmed: so does what it expects. To be called while its entry is not used
    /// again: by who is entered, or before it is released.
    #[inline]
    pub fn bury(&self, teller: Teller, index: u32) {
        if let Some(expects) = &self.expects
            && Word::unpack(self.table.entry(index).word_acquire()).has_record()
        {
            self.bury_record(expects, teller, index);
        }
    }

    #[cold]
    #[inline(never)]
    fn bury_record(&self, expects: &Expects, teller: Teller, index: u32) {
        expects.records.bury(expects.place(index), |_, _, name| {
            if let Some(draft) = expects.arena.end(name) {
                self.ended_expectation(expects, teller, name, &draft);
            }
        });
    }

    /// Ends expectations whose time is over, among the next `places` from where the last call, of anybody, ended. (Those of masters
    /// that are not confirmed yet wait until they are.)
    pub fn sweep_expectations(&self, teller: Teller, places: u32) {
        let Some(expects) = &self.expects else { return };
        for place in expects.arena.next_places(places) {
            let over = expects.arena.at(place).filter(|(_, draft)| draft.left(teller.now as u32) <= 0);
            if let Some((name, draft)) = over
                && self.master_of(&draft).is_some()
                && let Some(draft) = expects.arena.end(name)
            {
                self.ended_expectation(expects, teller, name, &draft);
            }
        }
    }

    /// The number of a connection's helper (0: it has none), and what expected it. `word`: the connection's.
    pub fn relations(&self, index: u32, handle: Handle, word: Word) -> (u8, Option<Origin>) {
        let expects = self.expects.as_ref().filter(|_| word.has_record());
        expects.and_then(|expects| expects.records.look(expects.place(index), handle)).unwrap_or_default()
    }

    /// The same as they are shown.
    pub fn family(&self, index: u32, handle: Handle, word: Word) -> (Option<Name>, Option<Master>) {
        let (helper, origin) = self.relations(index, handle, word);
        let tuple = |origin: Origin| Master { handle: origin.handle, tuple: Tuple::from_key(&origin.key) };
        (self.helper_name(helper), origin.map(tuple))
    }

    /// The name of the helper with this number.
    pub fn helper_name(&self, number: u8) -> Option<Name> {
        self.expects.as_ref().map(|expects| expects.helpers.name(number)).filter(|name| !name.is_none())
    }
}
