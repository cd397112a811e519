//! L4: events on their way from the packet path to the host.
//!
//! A change is noted in the connection when it happens, and told when a packet of that connection is let through
//! ([`Worker::confirm`]), as in the kernel: what happened between is one UPDATE, and of a connection whose packets are
//! all dropped nothing is told. Destroyed is told at once. Each worker has a queue of its own, calls without a worker share
//! one; a full queue loses the event and counts it.

use std::fmt;
use std::sync::Arc;

use crate::conn::{Word, status};
use crate::connection::{Connection, Counters, Master, Tracked};
use crate::control::Table;
use crate::event::{Event, EventKind, change};
use crate::expect::{Draft, Expectation};
use crate::packet::Handle;
use crate::proto::{gre, sctp, tcp};
use crate::related::Teller;
use crate::ring::Rings;
use crate::shared::Shared;
use crate::stats::Stat;
use crate::sync::Ordered;
use crate::tuple::{Direction, Key, Tuple, protocol};
use crate::worker::Worker;

/// An event in its queue: three cache lines with the slot's turn.
pub(crate) const WORDS: usize = 23;

/// The queues: one for each worker and, last, one for calls without a worker.
pub(crate) type Queues = Rings<WORDS>;

/// Set in the third word: counters follow, a start time follows, the master's tuple follows.
const COUNTED: u64 = 1 << 56;
const STAMPED: u64 = 1 << 57;
const EXPECTED: u64 = 1 << 58;

/// Of an expectation, in the fourth word: class (8), the master's helper (8), and these.
const PERMANENT: u64 = 1 << 16;
const ANY_SOURCE: u64 = 1 << 17;

impl Shared {
    /// Tells of an event. The caller keeps the connection from being freed. `ring` is the caller's own queue.
    pub fn tell(&self, ring: usize, kind: EventKind, changes: u16, index: u32, now: u64) {
        let Some(queues) = &self.events else { return };
        let conn = self.table.entry(index);
        let word = conn.word_acquire();
        let [original, reply] =
            [Direction::Original, Direction::Reply].map(|dir| conn.key_of(self.table.context(), index, dir));
        let ended = kind == EventKind::Destroy;
        let mut flags = 0;
        let mut record = [0; WORDS];
        // An end by timeout was when the time was up, as in the kernel's stop timestamp: gc comes late there, too.
        let overdue = if ended { Word::unpack(word).left(now as u32).min(0).unsigned_abs() } else { 0 };
        let now = now.saturating_sub(overdue.into());
        record[0] = now;
        record[1] = Handle::new(index, self.table.generation(index)).to_u64();
        record[3] = word;
        record[4..9].copy_from_slice(&words_of(&original));
        record[9..14].copy_from_slice(&words_of(&reply));
        if original.l4() == protocol::GRE {
            record[14] = conn.load_record()[0];
        }
        if ended && let Some(start) = self.start(index) {
            // The difference of whole seconds, as conntrack shows it: 1.9 to 4.1 is 3.
            record[15] = (now / 1000).saturating_sub(start / 1000);
            flags |= STAMPED;
        }
        if ended && let Some(account) = self.account(index).filter(|_| conn.counted()) {
            let [there, back] = account.read();
            record[16..20].copy_from_slice(&[there.packets, there.bytes, back.packets, back.bytes]);
            flags |= COUNTED;
        }
        // Nobody is told of it at the end.
        if !ended && Word::unpack(word).has_record() {
            let handle = Handle::from_u64(record[1]);
            let (helper, origin) = self.relations(index, handle, Word::unpack(word));
            record[20] = helper.into();
            // Once, when the connection begins.
            if let (EventKind::New, Some(origin)) = (kind, origin) {
                record[15..20].copy_from_slice(&words_of(&origin.key));
                record[21] = origin.handle.to_u64();
                flags |= EXPECTED;
            }
        }
        record[2] = u64::from(conn.mark()) | u64::from(changes) << 32 | (kind as u64) << 48 | flags;
        if !queues.push(ring, &record) {
            self.blocks[ring].add_shared(Stat::EventsLost, 1);
        }
    }

    /// Connection `index` has entered the table.
    pub fn tell_new(&self, ring: usize, index: u32, now: u64) {
        let conn = self.table.entry(index);
        let word = Word::unpack(conn.word_acquire());
        let new = if word.has(status::EXPECTED) { change::RELATED } else { change::NEW };
        // A protocol with states has left NONE.
        let state = if word.state != 0 { change::PROTOINFO } else { 0 };
        let helper = if word.has_helper() { change::HELPER } else { 0 };
        self.tell(ring, EventKind::New, new | state | helper | conn.take_changes(), index, now);
    }

    /// Tells of an expectation. The caller keeps its master from being freed, or owns it.
    pub fn tell_expectation(&self, kind: EventKind, teller: Teller, draft: &Draft) {
        let Some(queues) = self.events.as_ref().filter(|_| teller.events) else { return };
        let index = draft.master.index();
        let master = self.table.entry(index).key_of(self.table.context(), index, Direction::Original);
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        let mut record = [0; WORDS];
        // What is over was over when its time was up.
        let overdue = draft.left(teller.now as u32).min(0).unsigned_abs();
        record[0] = teller.now.saturating_sub(overdue.into());
        record[1] = draft.master.to_u64();
        record[2] = (kind as u64) << 48;
        record[3] = u64::from(draft.class)
            | u64::from(draft.of) << 8
            | flag(draft.permanent, PERMANENT)
            | flag(draft.any_source, ANY_SOURCE);
        record[4..9].copy_from_slice(&words_of(&master));
        record[9..14].copy_from_slice(&words_of(&draft.key));
        record[14] = draft.left(teller.now as u32).max(0) as u64;
        if !queues.push(teller.ring, &record) {
            self.blocks[teller.ring].add_shared(Stat::EventsLost, 1);
        }
    }

    /// What [`Shared::tell_expectation`] wrote.
    fn read_expectation(&self, kind: EventKind, record: &[u64; WORDS]) -> Event {
        let (master, expected) = (key_of(&record[4..9]), key_of(&record[9..14]));
        let (class, of) = (record[3] as u8, (record[3] >> 8) as u8);
        let handle = Handle::from_u64(record[1]);
        let class_name = self.expects.as_ref().map(|expects| expects.helpers.class_name(of, class));
        let (helper, tuple) = (self.helper_name(of), Tuple::from_key(&master));
        let expectation = Expectation {
            tuple: Tuple::from_key(&expected),
            any_source: record[3] & ANY_SOURCE != 0,
            zone: expected.zone(),
            master: handle,
            master_tuple: tuple,
            class,
            helper,
            class_name: class_name.filter(|name| !name.is_none()),
            permanent: record[3] & PERMANENT != 0,
            timeout_ms: record[14] as u32,
        };
        let connection = Connection {
            handle,
            original: tuple,
            reply: tuple.inverse(),
            zone_orig: master.zone(),
            zone_reply: master.zone(),
            status: 0,
            tracked: Tracked::None,
            timeout_ms: 0,
            mark: 0,
            counters: None,
            delta_time: None,
            helper,
            master: None,
        };
        Event { kind, changes: 0, at: record[0], connection, expectation: Some(expectation) }
    }
}

fn words_of(key: &Key) -> [u64; 5] {
    [key.src[0], key.src[1], key.dst[0], key.dst[1], key.meta]
}

fn key_of(words: &[u64]) -> Key {
    Key { src: [words[0], words[1]], dst: [words[2], words[3]], meta: words[4] }
}

/// What `tell` or `tell_expectation` wrote.
fn read(shared: &Shared, record: &[u64; WORDS]) -> Event {
    let word = Word::unpack(record[3]);
    let kind = match (record[2] >> 48) as u8 {
        0 => EventKind::New,
        1 => EventKind::Update,
        2 => EventKind::Destroy,
        3 => return shared.read_expectation(EventKind::ExpectNew, record),
        _ => return shared.read_expectation(EventKind::ExpectDestroy, record),
    };
    let master =
        || Master { handle: Handle::from_u64(record[21]), tuple: Tuple::from_key(&key_of(&record[15..20])) };
    let (original, reply) = (key_of(&record[4..9]), key_of(&record[9..14]));
    let tracked = match original.l4() {
        protocol::TCP => Tracked::Tcp(tcp::State::from_u8(word.state).unwrap_or_default(), None),
        protocol::SCTP => Tracked::Sctp(sctp::State::from_u8(word.state).unwrap_or_default(), None),
        protocol::GRE => {
            let gre::Record { timeout, stream_timeout } =
                gre::Record::unpack(&[record[14], 0, 0, 0, 0, 0, 0]);
            Tracked::Gre(timeout, stream_timeout)
        }
        _ => Tracked::None,
    };
    let counters = |at: usize| Counters { packets: record[at], bytes: record[at + 1] };
    let dying = if kind == EventKind::Destroy { status::DYING } else { 0 };
    Event {
        kind,
        changes: (record[2] >> 32) as u16,
        at: record[0],
        connection: Connection {
            handle: Handle::from_u64(record[1]),
            original: Tuple::from_key(&original),
            reply: Tuple::from_key(&reply),
            zone_orig: original.zone(),
            zone_reply: reply.zone(),
            status: word.status() | status::CONFIRMED | dying,
            tracked,
            timeout_ms: word.left(record[0] as u32).max(0) as u32,
            mark: record[2] as u32,
            counters: (record[2] & COUNTED != 0).then(|| [counters(16), counters(18)]),
            delta_time: (record[2] & STAMPED != 0).then_some(record[15]),
            helper: shared.helper_name(record[20] as u8),
            master: (record[2] & EXPECTED != 0).then(master),
        },
        expectation: None,
    }
}

impl Worker {
    /// Whether anybody is told of events.
    #[inline]
    pub(crate) fn tells(&self) -> bool {
        self.shared.events.is_some() && self.tunables.events != 0
    }

    /// Connection `index` has left the table, and with it goes what it expected. To be called while the worker is still entered.
    #[inline]
    pub(crate) fn gone(&self, index: u32) {
        if self.tells() {
            self.shared.tell(self.seat(), EventKind::Destroy, change::DESTROY, index, self.now);
        }
        self.shared.bury(self.teller(), index);
    }

    /// A packet of this connection is let through: what has changed is told, if it is in the table still.
    #[inline]
    pub(crate) fn tell_changed(&self, conn: Handle) {
        if self.shared.table.get(&self.local, conn.index(), conn.generation()).is_none() {
            return;
        }
        let changes = self.shared.table.entry(conn.index()).take_changes();
        if changes != 0 {
            self.shared.tell(self.seat(), EventKind::Update, changes, conn.index(), self.now);
        }
    }
}

impl Table {
    /// Takes the events that are waiting, queue by queue; within a queue, hence of what one worker did, in order. Between
    /// queues there is no order but that of [`Event::at`], which says no more than the workers' clocks do: a connection
    /// that one worker opened and another ended at the same time may seem to have ended first, and a change that one
    /// tells of just as another ends it comes after its end. (A handle has one NEW and one DESTROY: what else is told of it
    /// after that is late.) There are none unless [`crate::Config::events`] reserved queues. Any thread may call this at any time; several share the events among them.
    pub fn events(&self) -> Events {
        let shared = Arc::clone(self.shared());
        let left = shared.events.as_ref().map_or(0, |queues| queues.len());
        Events { shared, ring: 0, left }
    }
}

/// The iterator of [`Table::events`]. It ends when each queue was found empty, or its length of events was taken from it:
/// so it does end, however fast new ones come.
pub struct Events {
    shared: Arc<Shared>,
    ring: usize,
    left: u64,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("queue", &self.ring).finish_non_exhaustive()
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let queues = self.shared.events.as_ref()?;
        while self.ring < queues.rings() {
            if self.left > 0
                && let Some(record) = queues.pop(self.ring)
            {
                self.left -= 1;
                return Some(read(&self.shared, &record));
            }
            self.ring += 1;
            self.left = queues.len();
        }
        None
    }
}

impl Shared {
    /// When a connection was confirmed, where that is remembered.
    fn start(&self, index: u32) -> Option<u64> {
        let start = self.side.start.as_ref()?[index as usize].read();
        (start != 0).then_some(start)
    }

    /// Whole seconds since a connection was confirmed, where that is remembered.
    pub fn lived(&self, index: u32, now: u64) -> Option<u64> {
        self.start(index).map(|start| now.saturating_sub(start) / 1000)
    }
}
