//! L4: THE PATH. A burst of packets in, a verdict for each out.
//!
//! 1. `read`: headers, and what to look up for them.
//! 2. `hash`: the key and its hash; the bucket's line is asked for. (A stage of its own: right after the headers were
//!    written in small pieces, reading them in large ones would have to wait.)
//! 3. The table looks all keys up in stages; the records of what it found are asked for.
//! 4. `judge`, packet by packet in order: `find` the connection, then `further` (`further.rs`) or `first` (`open.rs`).
//!
//! Packets are judged in order. A further packet in the original direction of a connection that this burst has just
//! created joins it (NEW). A packet in its reply direction is NEW of its own, as in the kernel: a real reply cannot
//! exist before the request has left, and a spoofed request must not turn an outsider's packet into ESTABLISHED.

use crate::conn::{Conn, Word, status};
use crate::memory::{prefetch, prefetch_nth};
use crate::packet::{CtState, Handle, Hook, MAX_BURST, Packet, Verdict, packet_flag};
use crate::proto::icmp;
use crate::reason::Reason;
use crate::scratch::{Lane, Scratch, Task};
use crate::stats::Stat;
use crate::sync::{Ordering::Relaxed, passing};
use crate::table::{Entry, Hit, is_live};
use crate::tuple::{Direction, Key, Tuple};
use crate::wire::{self, Checksum, Headers, L4};
use crate::worker::Worker;

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
        passing("track-found");
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
        passing("track-judged");
        self.publish();
        n
    }

    pub(crate) fn aside(&self, (state, reason): Aside) -> Verdict {
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

    pub(crate) fn invalid(&self, reason: Reason, excess: u32) -> Verdict {
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
        if packet.flags & packet_flag::REASSEMBLED == 0 {
            wire::parse_into(bytes, packet.wire_len(), headers).map_err(invalid)?;
        } else {
            wire::parse_reassembled_into(bytes, packet.wire_len(), headers).map_err(invalid)?;
        }
        if matches!(headers.l4, L4::Fragment) {
            return Err((CtState::Fragment, Reason::Fragment));
        }
        let verify = self.tunables.checksum != 0
            && packet.hook == Hook::PREROUTING
            && packet.flags & packet_flag::CHECKSUM_OK == 0;
        if verify && wire::checksum(bytes, headers) == Checksum::Bad {
            if self.expects() {
                let (key, zones) =
                    (Key::of(headers, packet.zone_orig), [packet.zone_orig, packet.zone_reply]);
                self.waste_unknown(&key, zones, self.now as u32);
            }
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

    /// A verdict about this connection, NEW unless the caller knows better.
    #[inline]
    pub(crate) fn verdict(&self, index: u32, word: Word, dir: Direction, slot: Option<usize>) -> Verdict {
        self.verdict_of(self.shared.table.entry(index), index, word, dir, slot)
    }

    #[inline(always)]
    pub(crate) fn verdict_of(
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

/// The direction of a packet with this key in the connection that it found.
#[inline]
pub(crate) fn direction(hit: Hit, key: &Key) -> Direction {
    // A connection to itself has one key for both: its further packets are replies, as in the kernel.
    let itself = key.src == key.dst && key.inverse(key.zone()) == *key;
    // Without a branch: the direction is as good as random.
    if (hit.dir == 0) & !itself { Direction::Original } else { Direction::Reply }
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
