//! The path as one thread with a `HashMap` would do it: the project's trackers (`conntab::proto`) around plain collections, and
//! nothing of the table, its words, its records, its ticks. It is written for what may be seen: verdicts, answers, counters, the
//! table's dump.
//!
//! What it cannot know it is told by the library, and then judges: the handle of a new connection, which must be nobody else's; and
//! whom a new connection evicts from a full table, which must be one that has expired or is not ASSURED.

mod confirm;
mod conn;
mod control;

use std::collections::{HashMap, HashSet};

use conntab::packet::{Handle, Hook, packet_flag};
use conntab::proto::icmp;
use conntab::timeout::Tunables;
use conntab::tuple::{Direction, Tuple, Zone};
use conntab::wire::{self, Checksum, Headers, L4};
use conntab::{CtState, Packet, Reason, Stats, Verdict};

pub use conn::Conn;
use conn::Further;

/// A tuple in its zone, by which a connection is found.
pub type Key = (Tuple, Zone);

/// What is compared of a verdict.
pub type Seen = (Handle, u32, u16, Reason, CtState, Direction, bool, u8, u32);

pub fn seen(verdict: &Verdict) -> Seen {
    let Verdict { conn, mark, status, reason, state, dir, unconfirmed, proto_state, excess, .. } = *verdict;
    (conn, mark, status, reason, state, dir, unconfirmed, proto_state, excess)
}

pub(crate) fn bare(state: CtState, reason: Reason, excess: u32) -> Seen {
    (Handle::NONE, 0, 0, reason, state, Direction::Original, false, 0, excess)
}

/// What a packet needs.
#[derive(Clone, Copy, PartialEq)]
enum Task {
    Track,
    Answer,
    Error,
}

struct Lane {
    packet: usize,
    task: Task,
    headers: Headers,
    key: Key,
    zones: [Zone; 2],
    /// What was there when the burst began.
    hit: Option<(Handle, Direction)>,
}

enum Found {
    Live(Handle, Direction),
    Pending(usize),
    Nothing,
}

#[derive(Default)]
pub struct Model {
    pub max: usize,
    /// The tunables, and the worker's copy.
    pub live: Tunables,
    mine: Tunables,
    pub policies: [Option<Tunables>; 2],
    my_policies: [Option<Tunables>; 2],
    /// The latest time there was, and by how much time was behind it, as far as that counts.
    latest: u64,
    lag: u64,
    keys: HashMap<Key, (Handle, Direction)>,
    conns: HashMap<Handle, Conn>,
    /// What the last burst has opened, in order; `None`: confirmed or let go.
    pending: Vec<Option<(Handle, Conn)>>,
    /// Which of them a verdict of the last burst is about.
    slots: Vec<Option<usize>>,
    /// All handles there ever were.
    used: HashSet<Handle>,
    pub stats: Stats,
    acct: bool,
    timestamp: bool,
}

impl Model {
    /// `acct`, `timestamp`: whether connections are counted, and remember when they began.
    pub fn new(max: usize, tunables: Tunables, acct: bool, timestamp: bool) -> Self {
        Self { max, live: tunables, mine: tunables, acct, timestamp, ..Self::default() }
    }

    fn at(&mut self, now: u64) {
        self.lag = self.lag.max(self.latest.saturating_sub(now).min(1000));
        self.latest = self.latest.max(now);
    }

    fn take_over(&mut self) {
        self.mine = self.live;
        self.my_policies = self.policies.map(|policy| Some(merged(policy?, &self.live)));
    }

    fn tunables_of(&self, conn: &Conn) -> Tunables {
        let policy = conn.policy.checked_sub(1).and_then(|at| self.my_policies[usize::from(at)]);
        policy.unwrap_or(self.mine)
    }

    /// Connections there are.
    pub fn count(&self) -> usize {
        self.conns.len() + self.pending.iter().flatten().count()
    }

    fn release(&mut self, slot: usize) {
        if self.pending[slot].take().is_some() {
            self.stats.not_confirmed += 1;
        }
    }

    fn release_pending(&mut self) {
        for slot in 0..self.pending.len() {
            self.release(slot);
        }
        self.pending.clear();
        self.slots.clear();
    }

    fn remove(&mut self, handle: Handle) -> Conn {
        let conn = self.conns.remove(&handle).expect("in the table");
        for key in conn.keys() {
            self.keys.remove(&key);
        }
        conn
    }

    fn expire(&mut self, handle: Handle) {
        self.remove(handle);
        self.stats.expired += 1;
    }

    /// Judges a burst. `verdicts`: what the library said; `lives`: whether it knows this handle still.
    pub fn track(
        &mut self,
        now: u64,
        packets: &[Packet<'_>],
        verdicts: &[Verdict],
        lives: &mut dyn FnMut(Handle) -> bool,
    ) -> Vec<Seen> {
        self.at(now);
        self.release_pending();
        self.take_over();
        let mut out = vec![bare(CtState::Untracked, Reason::None, 0); packets.len()];
        self.slots = vec![None; packets.len()];
        let mut lanes = Vec::new();
        for (i, packet) in packets.iter().enumerate() {
            match self.read(packet) {
                Ok((task, headers, key)) => {
                    let hit = self.keys.get(&key).copied();
                    let zones = [packet.zone_orig, packet.zone_reply];
                    lanes.push(Lane { packet: i, task, headers, key, zones, hit });
                }
                Err((state, reason)) => out[i] = self.aside(state, reason),
            }
        }
        for lane in &lanes {
            out[lane.packet] = self.judge(now, lane, &verdicts[lane.packet], lives);
        }
        out
    }

    fn aside(&mut self, state: CtState, reason: Reason) -> Seen {
        if state == CtState::Invalid {
            self.stats.invalid += 1;
            self.stats.error += 1;
        }
        bare(state, reason, 0)
    }

    fn invalid(&mut self, reason: Reason, excess: u32) -> Seen {
        self.stats.invalid += 1;
        bare(CtState::Invalid, reason, excess)
    }

    fn read(&self, packet: &Packet<'_>) -> Result<(Task, Headers, Key), (CtState, Reason)> {
        let invalid = |reason| (CtState::Invalid, reason);
        if packet.flags & packet_flag::NOTRACK != 0 {
            return Err((CtState::Untracked, Reason::NoTrack));
        }
        let bytes = packet.bytes();
        let headers = if packet.flags & packet_flag::REASSEMBLED == 0 {
            wire::parse(bytes, packet.wire_len()).map_err(invalid)?
        } else {
            let mut headers = wire::parse(&[0x45; 20], 20).unwrap_or(NOTHING);
            wire::parse_reassembled_into(bytes, packet.wire_len(), &mut headers).map_err(invalid)?;
            headers
        };
        if headers.l4 == L4::Fragment {
            return Err((CtState::Fragment, Reason::Fragment));
        }
        let verify = self.mine.checksum != 0 && packet.hook == Hook::PREROUTING;
        if verify
            && packet.flags & packet_flag::CHECKSUM_OK == 0
            && wire::checksum(bytes, &headers) == Checksum::Bad
        {
            return Err(invalid(Reason::Checksum));
        }
        let (kind, code) = match headers.l4 {
            L4::Icmp { kind, code, .. } => (icmp::kind_v4(kind), code),
            L4::Icmpv6 { kind, code, .. } => (icmp::kind_v6(kind), code),
            _ => (icmp::Kind::Query, 0),
        };
        let near = headers.src[..2] == [0xfe, headers.src[1] & 0x3f | 0x80] && headers.hop_limit == 255;
        let task = match kind {
            icmp::Kind::Query => Task::Track,
            icmp::Kind::Answer => Task::Answer,
            icmp::Kind::Error => Task::Error,
            icmp::Kind::Redirect if near && code == 0 => Task::Error,
            icmp::Kind::Redirect => return Err(invalid(Reason::IcmpRedirect)),
            icmp::Kind::Neighbour => return Err((CtState::Untracked, Reason::IcmpNeighbour)),
            icmp::Kind::Unusable(reason) => return Err(invalid(reason)),
        };
        let tuple = if task == Task::Error {
            Tuple::of_inner(&wire::inner(bytes, &headers).map_err(invalid)?).inverse()
        } else {
            Tuple::of(&headers)
        };
        Ok((task, headers, (tuple, packet.zone_orig)))
    }

    /// What the packet belongs to, of what is in the table in the zone of its own direction there.
    fn settle(&self, lane: &Lane, hit: Option<(Handle, Direction)>) -> Option<(Handle, Direction)> {
        if lane.zones[0] == lane.zones[1] {
            return hit;
        }
        let other = || self.keys.get(&(lane.key.0, lane.zones[1])).copied();
        hit.filter(|hit| hit.1 == Direction::Original)
            .or_else(|| other().filter(|hit| hit.1 == Direction::Reply))
    }

    fn find(&mut self, now: u64, lane: &Lane) -> Found {
        let mut hit = self.settle(lane, lane.hit);
        while let Some((handle, dir)) = hit {
            match self.conns.get(&handle) {
                Some(conn) if conn.time > now => {
                    // Of a connection to itself all further packets are replies.
                    let tuple = lane.key.0;
                    let itself = tuple.src == tuple.dst && tuple.inverse() == tuple;
                    return Found::Live(handle, if itself { Direction::Reply } else { dir });
                }
                Some(_) => self.expire(handle),
                None => self.stats.search_restart += 1,
            }
            hit = self.settle(lane, self.keys.get(&lane.key).copied());
        }
        let same = |pending: &Option<(Handle, Conn)>| {
            pending.as_ref().is_some_and(|(_, conn)| conn.keys()[0] == lane.key)
        };
        match self.pending.iter().position(same) {
            Some(slot) if lane.task == Task::Track => Found::Pending(slot),
            _ => Found::Nothing,
        }
    }

    fn judge(
        &mut self,
        now: u64,
        lane: &Lane,
        verdict: &Verdict,
        lives: &mut dyn FnMut(Handle) -> bool,
    ) -> Seen {
        match (self.find(now, lane), lane.task) {
            (Found::Live(handle, dir), Task::Error) => {
                self.stats.found += 1;
                let conn = &self.conns[&handle];
                if lane.headers.dst != lane.key.0.dst {
                    return self.aside(CtState::Invalid, Reason::IcmpOuterDestination);
                }
                conn.seen(handle, CtState::Related, Reason::None, dir, false, 0)
            }
            (Found::Live(handle, dir), _) => {
                self.stats.found += 1;
                let mut conn = self.remove(handle);
                let t = self.tunables_of(&conn);
                let further = conn.further(now, self.lag, dir, false, &lane.headers, &t);
                let seen = self.further(handle, &conn, dir, false, &further);
                if further.ends() {
                    self.stats.deleted += 1;
                } else {
                    self.insert(handle, conn);
                }
                seen.unwrap_or_else(|| self.first(now, lane, verdict, lives))
            }
            (Found::Pending(slot), _) => {
                let (handle, mut conn) = self.pending[slot].take().expect("it was found");
                let t = self.tunables_of(&conn);
                let dir = Direction::Original;
                let further = conn.further(now, self.lag, dir, true, &lane.headers, &t);
                let seen = self.further(handle, &conn, dir, true, &further);
                self.pending[slot] = Some((handle, conn));
                if further.ends() {
                    self.release(slot);
                } else if seen.is_some_and(|seen| !seen.0.is_none()) {
                    self.slots[lane.packet] = Some(slot);
                }
                seen.unwrap_or_else(|| self.first(now, lane, verdict, lives))
            }
            (_, Task::Error) => self.aside(CtState::Invalid, Reason::IcmpNoFlow),
            (_, Task::Answer) => self.invalid(Reason::IcmpUnsolicited, 0),
            (Found::Nothing, Task::Track) => self.first(now, lane, verdict, lives),
        }
    }

    /// What is seen of a further packet; `None`: it opens a connection of its own.
    fn further(
        &mut self,
        handle: Handle,
        conn: &Conn,
        dir: Direction,
        private: bool,
        further: &Further,
    ) -> Option<Seen> {
        match *further {
            Further::Reopen => None,
            Further::Invalid(reason, excess) => Some(self.invalid(reason, excess)),
            Further::Passes { state, status, reason, excess, ignored, .. } => {
                self.stats.ignored += u64::from(ignored);
                let mut seen = conn.seen(handle, state, reason, dir, private, excess);
                seen.2 |= status;
                Some(seen)
            }
        }
    }

    fn insert(&mut self, handle: Handle, conn: Conn) {
        let [original, reply] = conn.keys();
        self.keys.insert(reply, (handle, Direction::Reply));
        self.keys.insert(original, (handle, Direction::Original));
        self.conns.insert(handle, conn);
    }

    fn first(
        &mut self,
        now: u64,
        lane: &Lane,
        verdict: &Verdict,
        lives: &mut dyn FnMut(Handle) -> bool,
    ) -> Seen {
        let (conn, reason, excess) =
            match Conn::open(now, &lane.headers, lane.key, lane.zones[1], &self.mine, self.acct) {
                Ok(opened) => opened,
                Err((reason, excess)) => return self.invalid(reason, excess),
            };
        if self.count() >= self.max {
            if verdict.state == CtState::Drop {
                self.stats.drop += 1;
                return bare(CtState::Drop, Reason::TableFull, 0);
            }
            self.evict(now, lives);
        }
        let handle = verdict.conn;
        assert!(
            !handle.is_none() && self.used.insert(handle),
            "a new connection's handle is nobody's: {verdict:?}"
        );
        let seen = conn.seen(handle, CtState::New, reason, Direction::Original, true, excess);
        self.slots[lane.packet] = Some(self.pending.len());
        self.pending.push(Some((handle, conn)));
        seen
    }

    /// Somebody made room.
    fn evict(&mut self, now: u64, lives: &mut dyn FnMut(Handle) -> bool) {
        let gone: Vec<Handle> = self.conns.keys().copied().filter(|handle| !lives(*handle)).collect();
        let [victim] = gone[..] else { panic!("one makes room: {gone:?}") };
        let conn = self.remove(victim);
        if conn.time <= now {
            self.stats.expired += 1;
        } else {
            assert!(!conn.assured(), "an ASSURED connection was evicted");
            self.stats.early_drop += 1;
        }
    }
}

/// A policy's timeouts, and the live switches.
fn merged(policy: Tunables, live: &Tunables) -> Tunables {
    let mut merged = *live;
    for name in Tunables::NAMES.iter().filter(|name| name.contains("_timeout")) {
        merged.set(name, policy.get(name).expect("a tunable")).expect("in range");
    }
    merged
}

/// Overwritten by whatever is read.
const NOTHING: Headers = Headers {
    l3: conntab::tuple::L3::V4,
    protocol: 0,
    hop_limit: 0,
    src: [0; 16],
    dst: [0; 16],
    len: 0,
    l4_offset: 0,
    l4_len: 0,
    l4: L4::Other,
};
