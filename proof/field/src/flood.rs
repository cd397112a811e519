//! Floods: half of the packets from each of two threads, at full speed, into a table with 100,000 ASSURED connections and a little room.
//! Among them, one in nine, is what those connections send.

use conntab::conn::status;
use conntab::tuple::Direction;
use conntab::{CtState, Handle, MAX_BURST, Packet, Reason, Table, Verdict, Worker};
use conntab_bench::{Random, cpu};

use crate::host::{self, allocations, resident};
use crate::packets::{ACK, Bytes, End, SERVER, SYN, tcp, udp};
use crate::{Outcome, Plan};

/// Connections that have to stay, and the most there may be.
const FLOWS: u32 = 100_000;
const MAX: u32 = 110_000;

const THREADS: u32 = 2;
const BURST: usize = 32;

/// Bursts between two calls of `reap`; and between two of what is ESTABLISHED.
const SLICE: u64 = 32;
const HONEST: u64 = 8;

/// What resident memory may differ by: the heap of the test itself.
const PAGES: u64 = 1 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Syn,
    Udp,
}

struct Flow {
    number: u32,
    conn: Handle,
    /// Bytes of data that the client has sent.
    sent: u32,
    /// Whether the server has to acknowledge them next.
    owed: bool,
}

fn ends(number: u32) -> (End, End) {
    ((0x0a00_0000 + number, 40_000), (SERVER, 443))
}

impl Flow {
    /// What it sends next: data, or its acknowledgement.
    fn next(&mut self) -> Bytes {
        let (client, server) = ends(self.number);
        self.owed = !self.owed;
        if self.owed {
            let seq = 1001_u32.wrapping_add(self.sent);
            self.sent = self.sent.wrapping_add(16);
            tcp(client, server, ACK, seq, 5001, b"sixteen bytes...")
        } else {
            tcp(server, client, ACK, 5001, 1001_u32.wrapping_add(self.sent), &[])
        }
    }
}

/// What came of one thread's part.
#[derive(Default)]
struct Sum {
    sent: u64,
    opened: u64,
    full: u64,
    stalled: u64,
    honest: u64,
    allocations: u64,
    ns: u64,
}

/// A packet of nobody's: no two of 2^28 are of one flow.
fn forge(kind: Kind, serial: u32, out: &mut Bytes) {
    let mixed = serial.wrapping_mul(0x9e37_79b1);
    let src = 0x2000_0000 | mixed >> 4;
    if out.is_empty() {
        *out = match kind {
            Kind::Syn => tcp((0, 0), (SERVER, 443), SYN, 0, 0, &[]),
            Kind::Udp => udp((0, 0), (SERVER, 443), b"flood"),
        };
    }
    out[12..16].copy_from_slice(&src.to_be_bytes());
    out[20..22].copy_from_slice(&(1024 + (mixed & 15) as u16).to_be_bytes());
    if kind == Kind::Syn {
        out[24..28].copy_from_slice(&mixed.to_be_bytes());
    }
}

struct Attacker<'a> {
    plan: &'a Plan,
    kind: Kind,
    /// The number of its first packet.
    first: u32,
    packets: u64,
    now: u64,
}

impl Attacker<'_> {
    /// The attack of one thread; the connections of `flows` are its own.
    fn run(&self, worker: &mut Worker, flows: &mut [Flow]) -> Result<Sum, String> {
        let mut sum = Sum::default();
        let (mut forged, mut honest) = ([Bytes::EMPTY; BURST], [Bytes::EMPTY; BURST]);
        let mut chosen = [0; BURST];
        let mut verdicts = [Verdict::default(); MAX_BURST];
        let mut random = Random(u64::from(self.first) + 1);
        let begin = cpu();
        for burst in 0..self.packets / BURST as u64 {
            let now = self.now + burst / SLICE;
            for (i, bytes) in forged.iter_mut().enumerate() {
                forge(self.kind, self.first + (burst as usize * BURST + i) as u32, bytes);
            }
            let packets: [Packet<'_>; BURST] = std::array::from_fn(|i| Packet::new(&forged[i]));
            let before = allocations();
            worker.track(now, &packets, &mut verdicts);
            worker.confirm(now, &mut verdicts[..BURST], u64::MAX);
            if self.plan.has("allocates") && burst == 100 {
                drop(std::hint::black_box(Box::new(burst)));
            }
            sum.allocations += allocations() - before;
            sum.sent += BURST as u64;
            for verdict in &verdicts[..BURST] {
                match (verdict.state, verdict.reason) {
                    (CtState::New, Reason::None) if !verdict.unconfirmed => sum.opened += 1,
                    (CtState::Drop, Reason::TableFull) => sum.full += 1,
                    (CtState::Drop, Reason::ReclaimStalled) => sum.stalled += 1,
                    _ => return Err(format!("an unexpected verdict: {verdict:?}")),
                }
            }
            if burst % HONEST == 0 {
                for (place, bytes) in chosen.iter_mut().zip(&mut honest) {
                    *place = random.below(flows.len());
                    *bytes = flows[*place].next();
                }
                let packets: [Packet<'_>; BURST] = std::array::from_fn(|i| Packet::new(&honest[i]));
                worker.track(now, &packets, &mut verdicts);
                sum.honest += BURST as u64;
                for (verdict, place) in verdicts.iter().zip(chosen) {
                    let same = verdict.conn == flows[place].conn && verdict.status & status::ASSURED != 0;
                    let right = verdict.state == CtState::Established && verdict.reason == Reason::None;
                    hold!(same && right, "connection {}: {verdict:?}", flows[place].number);
                }
            }
            if burst % SLICE == SLICE - 1 {
                worker.reap(now, 4096);
            }
        }
        sum.ns = cpu() - begin;
        worker.idle();
        Ok(sum)
    }
}

/// So many packets from all threads; what came of them.
fn attack(
    plan: &Plan,
    table: &Table,
    kind: Kind,
    flows: &mut [Flow],
    from: u64,
    packets: u64,
) -> Result<Sum, String> {
    let (part, own) = (packets / u64::from(THREADS), flows.len() / THREADS as usize);
    let mut all = Sum::default();
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .zip(flows.chunks_mut(own))
            .map(|(thread, flows)| {
                let first = (from / u64::from(THREADS)) as u32 + (thread << 27);
                let now = 1000 + from / (SLICE * BURST as u64);
                let attacker = Attacker { plan, kind, first, packets: part, now };
                scope.spawn(move || attacker.run(&mut host::worker(table)?, flows))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("nobody panics")).collect::<Vec<_>>()
    });
    for part in parts {
        let part = part?;
        all.sent += part.sent;
        all.opened += part.opened;
        all.full += part.full;
        all.stalled += part.stalled;
        all.honest += part.honest;
        all.allocations += part.allocations;
        all.ns += part.ns;
    }
    Ok(all)
}

/// Every connection is what it was: the same handle from either side, ASSURED, and its next packet is of it.
fn all_there(table: &Table, now: u64, flows: &mut [Flow]) -> Result<(), String> {
    let mut worker = host::worker(table)?;
    for flow in flows {
        let (client, server) = ends(flow.number);
        for dir in [Direction::Original, Direction::Reply] {
            let (src, dst) = if dir == Direction::Original { (client, server) } else { (server, client) };
            let mut section = worker.section();
            let view = section.lookup(now, 0, &host::tcp_tuple(src, dst));
            let found = view.map(|view| (view.handle(), view.direction(), view.status() & status::ASSURED));
            equal!(found, Some((flow.conn, dir, status::ASSURED)), "connection {}", flow.number);
        }
        let verdict = host::pass(&mut worker, now, &flow.next());
        equal!(
            (verdict.state, verdict.conn),
            (CtState::Established, flow.conn),
            "connection {}",
            flow.number
        );
    }
    Ok(())
}

fn flood(plan: &Plan, kind: Kind) -> Outcome {
    // (In whole slices of every thread.)
    let packets = if plan.short { 1 << 20 } else { 50_003_968 };
    let warm = 1 << 18;
    let table = host::table(host::config(MAX))?;
    let mut worker = host::worker(&table)?;
    let mut flows = Vec::with_capacity(FLOWS as usize);
    for number in 0..FLOWS {
        let (client, server) = ends(number);
        let conn = host::establish(&mut worker, 1000, client, server)?;
        flows.push(Flow { number, conn, sent: 0, owed: false });
    }
    drop(worker);
    attack(plan, &table, kind, &mut flows, 0, warm)?;
    let (memory, before, live) = (resident(), table.stats(), table.count());
    let sum = attack(plan, &table, kind, &mut flows, warm, packets)?;
    let (grown, after, left) = (resident().abs_diff(memory), table.stats(), table.count());

    equal!(sum.sent, packets, "packets sent");
    equal!(sum.opened + sum.full + sum.stalled, sum.sent, "opened and dropped");
    equal!(after.insert - before.insert, sum.opened, "insert");
    equal!(after.drop - before.drop, sum.full + sum.stalled, "drop");
    equal!(after.reclaim_stalled - before.reclaim_stalled, sum.stalled, "reclaim_stalled");
    equal!(after.found - before.found, sum.honest, "found");
    let ended = after.early_drop - before.early_drop + after.expired - before.expired;
    equal!(u64::from(live) + sum.opened - ended, u64::from(left), "live and early_drop");
    let others = [after.invalid, after.deleted, after.insert_failed, after.not_confirmed, after.chaintoolong];
    equal!(others, [0; 5], "invalid, deleted, insert_failed, not_confirmed, chaintoolong");
    hold!(left <= MAX && left > FLOWS, "{left} connections of {MAX}");
    host::balanced(&table)?;
    equal!(sum.allocations, 0, "allocations on the path");
    hold!(grown <= PAGES, "resident memory changed by {grown} bytes");
    let now = 1000 + (warm + packets) / (SLICE * BURST as u64);
    all_there(&table, now, &mut flows)?;
    Ok(format!(
        "{packets} packets, all {FLOWS} ASSURED connections stayed, {} opened, {ended} evicted (early_drop), {} dropped ({} for want of a \
         free entry), {} honest packets ESTABLISHED; 0 allocations, resident memory changed by {grown} bytes; {} ns/packet",
        sum.opened,
        sum.full + sum.stalled,
        sum.stalled,
        sum.honest,
        sum.ns / (sum.sent + sum.honest),
    ))
}

pub fn syn(plan: &Plan) -> Outcome {
    flood(plan, Kind::Syn)
}

pub fn udp_flood(plan: &Plan) -> Outcome {
    flood(plan, Kind::Udp)
}
