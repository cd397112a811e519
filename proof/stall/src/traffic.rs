//! Packets, and a worker with a stopwatch that passes them and keeps books.

use std::sync::OnceLock;

use conntab::packet::packet_flag::CHECKSUM_OK;
use conntab::{CtState, Handle, MAX_BURST, Packet, Reason, Table, Verdict, Worker};
use conntab_bench::Clock;

use crate::stop::Anywhere;

/// The burst that everybody sends.
pub const BURST: usize = 32;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// A protocol that the table tracks by addresses alone (RFC 3692): its timeout is the shortest here.
const OTHER: u8 = 253;

pub const SYN: u8 = 0x02;
pub const SYN_ACK: u8 = 0x12;
pub const ACK: u8 = 0x10;
pub const RST: u8 = 0x04;

/// Where a flow's numbers begin, by who opens it.
pub const VICTIM: u32 = 0x10_0000;
pub const CHURN: u32 = 0x20_0000;
pub const SLACK: u32 = 0x40_0000;
pub const FILL: u32 = 0x60_0000;

/// The bytes of a packet.
#[derive(Clone, Copy)]
pub struct Raw {
    bytes: [u8; 40],
    len: usize,
}

impl Raw {
    fn new(protocol: u8, flow: u32, reply: bool, ports: [u16; 2], len: usize) -> Self {
        let mut bytes = [0; 40];
        bytes[..10].copy_from_slice(&[0x45, 0, 0, len as u8, 0, 0, 0, 0, 64, protocol]);
        let client = (0x0a00_0000 | flow).to_be_bytes();
        let server = (0xc0a8_0000 | flow >> 8 & 0xff).to_be_bytes();
        let ([src, dst], [sport, dport]) = match reply {
            false => ([client, server], ports),
            true => ([server, client], [ports[1], ports[0]]),
        };
        bytes[12..16].copy_from_slice(&src);
        bytes[16..20].copy_from_slice(&dst);
        if protocol != OTHER {
            bytes[20..22].copy_from_slice(&sport.to_be_bytes());
            bytes[22..24].copy_from_slice(&dport.to_be_bytes());
        }
        Self { bytes, len }
    }

    pub fn udp(flow: u32, reply: bool) -> Self {
        Self::udp_at(flow, reply, [1000, 53])
    }

    pub fn udp_at(flow: u32, reply: bool, ports: [u16; 2]) -> Self {
        let mut raw = Self::new(UDP, flow, reply, ports, 28);
        raw.bytes[25] = 8;
        raw
    }

    pub fn tcp(flow: u32, reply: bool, flags: u8, seq: u32, ack: u32) -> Self {
        let mut raw = Self::new(TCP, flow, reply, [1000, 80], 40);
        raw.bytes[24..28].copy_from_slice(&seq.to_be_bytes());
        raw.bytes[28..32].copy_from_slice(&ack.to_be_bytes());
        raw.bytes[32..36].copy_from_slice(&[0x50, flags, 0xff, 0xff]);
        raw
    }

    pub fn other(flow: u32) -> Self {
        Self::new(OTHER, flow, false, [0; 2], 28)
    }

    /// Another destination.
    pub fn aim(&mut self, at: [u8; 4]) {
        self.bytes[16..20].copy_from_slice(&at);
    }

    pub fn packet(&self) -> Packet<'_> {
        Packet::new(&self.bytes[..self.len]).with_flags(CHECKSUM_OK)
    }
}

/// Flows of established traffic: those of even number are TCP, the others UDP.
pub const FLOWS: usize = 3000;

/// A packet of established traffic in either direction, flow by flow.
pub fn established() -> &'static [Packet<'static>] {
    static RAW: OnceLock<Vec<Raw>> = OnceLock::new();
    static PACKETS: OnceLock<Vec<Packet<'static>>> = OnceLock::new();
    let of = |flow: u32| match flow % 2 {
        0 => [Raw::tcp(flow, false, ACK, 101, 501), Raw::tcp(flow, true, ACK, 501, 101)],
        _ => [Raw::udp(flow, false), Raw::udp(flow, true)],
    };
    let raw = RAW.get_or_init(|| (0..FLOWS as u32).flat_map(of).collect());
    PACKETS.get_or_init(|| raw.iter().map(Raw::packet).collect())
}

/// Opens the first `flows` of them; their connections.
pub fn establish(d: &mut Driver, flows: usize, now: u64) -> Result<Vec<Handle>, String> {
    let mut conns = Vec::with_capacity(flows);
    for first in (0..flows).step_by(BURST) {
        let some = first as u32..(first + BURST).min(flows) as u32;
        let begin = |flow: u32| match flow % 2 {
            0 => Raw::tcp(flow, false, SYN, 100, 0),
            _ => Raw::udp(flow, false),
        };
        let answer = |flow: u32| match flow % 2 {
            0 => Raw::tcp(flow, true, SYN_ACK, 500, 101),
            _ => Raw::udp(flow, true),
        };
        conns.extend(d.send(now, some.clone().map(begin)).iter().map(|verdict| verdict.conn));
        d.send(now, some.map(answer));
    }
    // Only now do they all become ASSURED (UDP: two seconds after the first packet).
    for burst in established()[..2 * flows].chunks(BURST) {
        let mut verdicts = [Verdict::default(); BURST];
        d.pass(now + 3000, burst, &mut verdicts[..burst.len()]);
    }
    match d.tally.inserted == flows as u64 && d.tally.dropped == 0 {
        true => Ok(conns),
        false => Err(format!("{flows} flows, but {:?}", d.tally)),
    }
}

/// What verdicts and calls have told: to be compared with what the table has counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub inserted: u64,
    pub deleted: u64,
    pub dropped: u64,
    /// Dropped for want of a free entry.
    pub refused: u64,
    /// Judged by their connection's state alone.
    pub busy: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.inserted += other.inserted;
        self.deleted += other.deleted;
        self.dropped += other.dropped;
        self.refused += other.refused;
        self.busy += other.busy;
    }
}

/// Calls whose CPU time is taken.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    Track,
    Confirm,
    Delete,
    Reap,
}

/// A worker, its books, and the longest that each of its calls took.
pub struct Driver {
    pub worker: Worker,
    pub tally: Tally,
    /// CPU time in all calls, in ns, and in the longest of each kind.
    pub spent: u64,
    pub longest: [u64; 4],
    clock: bool,
}

impl Driver {
    pub fn new(table: &Table) -> Self {
        let worker = table.worker().expect("a seat for each");
        Self { worker, tally: Tally::default(), spent: 0, longest: [0; 4], clock: true }
    }

    /// One that takes no time.
    pub fn without_clock(table: &Table) -> Self {
        Self { clock: false, ..Self::new(table) }
    }

    fn timed<R>(&mut self, call: Call, work: impl FnOnce(&mut Worker) -> R) -> R {
        let clock = self.clock.then(Clock::start);
        let done = Anywhere::inside(|| work(&mut self.worker));
        let ns = clock.map_or(0, Clock::ns);
        self.spent += ns;
        let longest = &mut self.longest[call as usize];
        *longest = ns.max(*longest);
        done
    }

    /// Judges packets and confirms all.
    pub fn pass(&mut self, now: u64, packets: &[Packet<'_>], verdicts: &mut [Verdict]) {
        self.timed(Call::Track, |worker| worker.track(now, packets, verdicts));
        let inserted = self.timed(Call::Confirm, |worker| worker.confirm(now, verdicts, u64::MAX));
        self.tally.inserted += u64::from(inserted);
        self.count(verdicts);
    }

    /// Packets judged, and confirmed or not.
    pub fn count(&mut self, verdicts: &[Verdict]) {
        for verdict in verdicts {
            self.tally.dropped += u64::from(verdict.state == CtState::Drop);
            self.tally.refused += u64::from(verdict.reason == Reason::ReclaimStalled);
            self.tally.busy += u64::from(verdict.reason == Reason::Busy);
        }
    }

    /// [`Driver::pass`] of packets made for it, at most a burst.
    pub fn send(&mut self, now: u64, raw: impl Iterator<Item = Raw>) -> Vec<Verdict> {
        let raw: Vec<Raw> = raw.take(MAX_BURST).collect();
        let packets: Vec<Packet<'_>> = raw.iter().map(Raw::packet).collect();
        let mut verdicts = vec![Verdict::default(); packets.len()];
        self.pass(now, &packets, &mut verdicts);
        verdicts
    }

    /// Opens a burst of UDP flows from this number on; those that it got.
    pub fn open(&mut self, now: u64, from: u32) -> Vec<Handle> {
        let verdicts = self.send(now, (from..from + BURST as u32).map(|flow| Raw::udp(flow, false)));
        verdicts.iter().map(|verdict| verdict.conn).filter(|conn| !conn.is_none()).collect()
    }

    pub fn delete(&mut self, conns: &[Handle]) {
        for conns in conns.chunks(BURST) {
            let deleted = self.timed(Call::Delete, |worker| worker.delete_burst(conns));
            self.tally.deleted += u64::from(deleted.count_ones());
        }
    }

    pub fn reap(&mut self, now: u64, budget: u32) {
        self.timed(Call::Reap, |worker| worker.reap(now, budget));
    }
}
