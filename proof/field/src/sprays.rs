//! Segments that somebody beside the path sends into an ESTABLISHED connection: RSTs, FINs and data outside of its windows, SYNs.
//!
//! What is out of bounds is INVALID and changes no state, no window and no timeout. One exception is the kernel's: RSTs or FINs out of
//! bounds from *both* sides, in turns, shorten the timeout to `tcp_timeout_unacknowledged`, five minutes, and no further; the next
//! segment of the connection's own restores it.

use conntab::connection::Tracked;
use conntab::proto::tcp::{End as Window, State};
use conntab::{CtState, Handle, Packet, Reason, Table, Verdict, Worker};
use conntab_bench::{Random, cpu};

use crate::host;
use crate::packets::{ACK, Bytes, End, FIN_ACK, RST, SERVER, SYN, tcp};
use crate::{Outcome, Plan};

const BURST: usize = 32;

/// The window that both ends offer. A window's worth beyond it is excused, so twice as much is out of bounds.
const WINDOW: u32 = 65_535;
const OUT: u32 = 2 * WINDOW + 10;

/// What each end has sent.
const CLIENT_AT: u32 = 1001;
const SERVER_AT: u32 = 5001;

fn ends(number: u32) -> (End, End) {
    ((0x0a00_0000 + number, 40_000), (SERVER, 443))
}

/// All that must not change of a connection.
type Kept = (u16, Option<(State, [Window; 2])>, u64);

fn kept(table: &Table, now: u64) -> Vec<(Handle, Kept)> {
    let of = |connection: conntab::Connection| {
        let tracked = match connection.tracked {
            Tracked::Tcp(state, Some(record)) => Some((state, record.ends)),
            _ => None,
        };
        (connection.handle, (connection.status, tracked, now + u64::from(connection.timeout_ms)))
    };
    host::shown(table, now).into_iter().map(of).collect()
}

struct Spray<'a> {
    table: &'a Table,
    worker: Worker,
    random: Random,
    flows: u32,
    now: u64,
    sent: u64,
    ns: u64,
}

impl Spray<'_> {
    /// Sends one lot of packets, each made for a connection and a side; what each must be judged.
    fn send(
        &mut self,
        packets: u64,
        mut forge: impl FnMut(&mut Random, End, End, (u32, u32)) -> Bytes,
        side: Option<bool>,
        expected: impl Fn(&Verdict) -> bool,
    ) -> Result<(), String> {
        let mut room = [Bytes::EMPTY; BURST];
        let mut verdicts = [Verdict::default(); BURST];
        for _ in 0..packets / BURST as u64 {
            for bytes in &mut room {
                let (client, server) = ends(self.random.below(self.flows as usize) as u32);
                let back = side.unwrap_or(self.random.word() & 1 == 1);
                let (src, dst) = if back { (server, client) } else { (client, server) };
                let at = if back { (SERVER_AT, CLIENT_AT) } else { (CLIENT_AT, SERVER_AT) };
                *bytes = forge(&mut self.random, src, dst, at);
            }
            let burst: [Packet<'_>; BURST] = std::array::from_fn(|i| Packet::new(&room[i]));
            self.now += 1;
            let begin = cpu();
            self.worker.track(self.now, &burst, &mut verdicts);
            self.worker.confirm(self.now, &mut verdicts, u64::MAX);
            self.ns += cpu() - begin;
            self.sent += BURST as u64;
            let wrong = verdicts.iter().find(|verdict| !expected(verdict));
            hold!(wrong.is_none(), "judged otherwise: {wrong:?}");
        }
        Ok(())
    }
}

fn beyond(random: &mut Random, at: u32) -> u32 {
    at.wrapping_add(OUT + random.below((1 << 31) - OUT as usize - (1 << 20)) as u32)
}

fn anywhere_outside(random: &mut Random, at: u32) -> u32 {
    at.wrapping_add(OUT + random.below((1 << 32) - OUT as usize) as u32)
}

pub fn run(plan: &Plan) -> Outcome {
    let (flows, lot) = if plan.short { (1000, 1 << 17) } else { (10_000, 4 << 20) };
    let table = host::table(host::config(16_384))?;
    let mut worker = host::worker(&table)?;
    for number in 0..flows {
        let (client, server) = ends(number);
        host::establish(&mut worker, 1000, client, server)?;
    }
    let before = kept(&table, 1000);
    let random = Random(0x0dd_ba11);
    let mut spray = Spray { table: &table, worker, random, flows, now: 2000, sent: 0, ns: 0 };
    let invalid = |verdict: &Verdict| verdict.state == CtState::Invalid && verdict.conn.is_none();

    // RSTs, as if from one side or from the other (first all of one, so that no timeout may change).
    let in_window = plan.has("guessed");
    for side in [false, true] {
        let rst = |random: &mut Random, src, dst, (seq, _): (u32, u32)| {
            let outside = anywhere_outside(random, seq);
            let hit = in_window && random.below(10_000) == 0;
            tcp(src, dst, RST, if hit { seq } else { outside }, 0, &[])
        };
        if side {
            // What the other side's RSTs have left behind is forgotten: a segment of each connection.
            refresh(&mut spray)?;
        }
        let expected = |verdict: &Verdict| invalid(verdict) || in_window;
        let deadlines = kept(&table, spray.now);
        spray.send(lot, rst, Some(side), expected)?;
        equal!(
            kept(&table, spray.now) == deadlines,
            true,
            "state, windows and timeouts after RSTs of one side"
        );
    }
    // Data and FINs beyond the window; data that acknowledges what was never sent.
    refresh(&mut spray)?;
    let deadlines = kept(&table, spray.now);
    let data = |random: &mut Random, src, dst, (seq, ack): (u32, u32)| {
        let seq = beyond(random, seq);
        tcp(src, dst, ACK, seq, ack, b"spray")
    };
    spray.send(lot, data, None, invalid)?;
    let acks = |random: &mut Random, src, dst, (seq, ack): (u32, u32)| {
        let ack = beyond(random, ack);
        tcp(src, dst, ACK, seq, ack, b"spray")
    };
    spray.send(lot, acks, None, invalid)?;
    let fin = |random: &mut Random, src, dst, (seq, ack): (u32, u32)| {
        let seq = beyond(random, seq);
        tcp(src, dst, FIN_ACK, seq, ack, &[])
    };
    spray.send(lot, fin, Some(false), invalid)?;
    let counted = spray.sent;
    equal!(table.stats().invalid, counted, "invalid");
    // Data of long ago is let through, and changes nothing.
    let old = |random: &mut Random, src, dst, (seq, ack): (u32, u32)| {
        let seq = seq.wrapping_sub(WINDOW + 100 + random.below(1 << 30) as u32);
        tcp(src, dst, ACK, seq, ack, b"spray")
    };
    let below = |verdict: &Verdict| verdict.reason == Reason::TcpSeqBelow;
    spray.send(lot, old, None, below)?;
    equal!(
        kept(&table, spray.now) == deadlines,
        true,
        "state, windows and timeouts after data of both sides"
    );
    equal!(table.stats().invalid, counted, "invalid");
    equal!(table.stats().ignored, spray.sent - counted, "ignored");
    // SYNs are ignored: the end that gets one will ask the other (RFC 5961 section 4). And RSTs of both sides in turns.
    let syn = |random: &mut Random, src, dst, _| tcp(src, dst, SYN, random.word() as u32, 0, &[]);
    let ignored = |verdict: &Verdict| verdict.reason == Reason::TcpStateIgnored;
    spray.send(lot, syn, Some(false), ignored)?;
    equal!(kept(&table, spray.now) == deadlines, true, "state, windows and timeouts after SYNs");
    refresh(&mut spray)?;
    let rst = |random: &mut Random, src, dst, (seq, _): (u32, u32)| {
        let seq = anywhere_outside(random, seq);
        tcp(src, dst, RST, seq, 0, &[])
    };
    spray.send(lot, rst, None, invalid)?;
    let end = spray.now;
    for connection in host::shown(&table, end) {
        let left = connection.timeout_ms;
        let least = 300_000 - (lot / BURST as u64) as u32;
        hold!((least..=432_000_000).contains(&left), "{left} ms left after RSTs of both sides");
        let open = matches!(connection.tracked, Tracked::Tcp(State::Established, _));
        hold!(open, "after RSTs of both sides: {connection}");
    }
    refresh(&mut spray)?;
    let (after, now) = (kept(&table, spray.now), spray.now);
    for ((conn, then), (still, kept)) in before.iter().zip(&after) {
        equal!((still, kept.0, kept.1), (conn, then.0, then.1), "connection at the end");
        equal!(kept.2, now + 432_000_000, "deadline at the end");
    }
    equal!(after.len(), flows as usize, "connections at the end");
    let Spray { sent, ns, .. } = spray;
    let stats = host::balanced(&table)?;
    Ok(format!(
        "{sent} segments into {flows} connections; {} INVALID, {} let through without effect, {} connections lost; {} ns/packet",
        stats.invalid,
        stats.ignored,
        stats.insert - after.len() as u64,
        ns / sent,
    ))
}

/// A segment of each connection's own.
fn refresh(spray: &mut Spray<'_>) -> Result<(), String> {
    spray.now += 1;
    let now = spray.now;
    for number in 0..spray.flows {
        let (client, server) = ends(number);
        // From either side, and never thrice the same in a row.
        let back = host::pass(&mut spray.worker, now, &tcp(server, client, ACK, SERVER_AT, CLIENT_AT, &[]));
        let there = host::pass(&mut spray.worker, now, &tcp(client, server, ACK, CLIENT_AT, SERVER_AT, &[]));
        let right = [back, there]
            .iter()
            .all(|verdict| verdict.state == CtState::Established && verdict.reason == Reason::None);
        hold!(right, "connection {number} is not what it was: {there:?}");
    }
    hold!(spray.table.count() == spray.flows, "{} connections", spray.table.count());
    Ok(())
}
