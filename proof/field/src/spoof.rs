//! A reply spoofed into the burst of its request. The request has not left yet, so no answer can be real: whatever its place in the
//! burst, no packet of the outsider's is ESTABLISHED, and where the rules drop it, the request's connection has seen no reply.

use conntab::conn::status;
use conntab::tuple::{Direction, protocol};
use conntab::{CtState, Packet, Reason, Verdict};
use conntab_bench::{Random, cpu};

use crate::host;
use crate::packets::{ACK, Bytes, SERVER, SYN, SYN_ACK, echo, tcp, udp};
use crate::{Outcome, Plan};

const BURST: usize = 32;

/// The request of a flow and its answer.
fn pair(kind: usize, number: u32) -> (Bytes, Bytes) {
    let (a, b) = ((0x0a00_0000 | number & 0xff_ffff, 4000 + (number >> 24) as u16), (SERVER, 53));
    match kind {
        0 => (udp(a, b, b"?"), udp(b, a, b"!")),
        1 => (tcp(a, b, SYN, 1, 0, &[]), tcp(b, a, SYN_ACK, 7, 2, &[])),
        2 => (echo(a.0, b.0, a.1, false), echo(b.0, a.0, a.1, true)),
        // Taken up in mid-stream: either side may open it.
        _ => (tcp(a, b, ACK, 1, 1, b"data"), tcp(b, a, ACK, 1, 5, b"data")),
    }
}

/// What the outsider's packet must be: one that opens something of its own, or nothing.
fn alone(kind: usize) -> (CtState, Reason) {
    match kind {
        1 => (CtState::Invalid, Reason::TcpNotOpening),
        2 => (CtState::Invalid, Reason::IcmpUnsolicited),
        _ => (CtState::New, Reason::None),
    }
}

pub fn run(plan: &Plan) -> Outcome {
    let rounds: u32 = if plan.short { 20_000 } else { 500_000 };
    let table = host::table(host::config(4096))?;
    let mut worker = host::worker(&table)?;
    let mut random = Random(0x5b00f);
    let (mut sent, mut ns) = (0, 0);
    for round in 0..rounds {
        let now = 1000 + u64::from(round);
        let kind = random.below(4);
        let (request, reply) = pair(kind, round);
        // Where the two stand; the others are flows of their own.
        let (at, spoofed) = (random.below(BURST), random.below(BURST - 1));
        let spoofed = if spoofed >= at { spoofed + 1 } else { spoofed };
        let mut room: [Bytes; BURST] = std::array::from_fn(|i| {
            udp((0x1400_0000 + random.word() as u32 % 0x100_0000, i as u16), (SERVER, 99), &[])
        });
        room[at] = request;
        room[spoofed] = if plan.has("late") { udp((1, 1), (2, 2), &[]) } else { reply };
        let packets: [Packet<'_>; BURST] = std::array::from_fn(|i| Packet::new(&room[i]));
        let mut verdicts = [Verdict::default(); BURST];
        let begin = cpu();
        worker.track(now, &packets, &mut verdicts);
        ns += cpu() - begin;
        if plan.has("late") {
            // As if it had come in the burst behind.
            worker.confirm(now, &mut verdicts, u64::MAX);
            worker.track(now, &[Packet::new(&reply)], &mut verdicts[spoofed..=spoofed]);
        }
        sent += BURST;
        let (asked, forged) = (verdicts[at], verdicts[spoofed]);
        equal!((forged.state, forged.reason), alone(kind), "round {round}, kind {kind}: the spoofed reply");
        hold!(forged.conn != asked.conn, "round {round}, kind {kind}: both are of one connection");
        equal!((asked.state, asked.dir), (CtState::New, Direction::Original), "round {round}: the request");
        // The rules let everything leave but the outsider's.
        worker.confirm(now, &mut verdicts, !(1 << spoofed));
        let conn = verdicts[at].conn;
        hold!(
            verdicts[at].state == CtState::New && !verdicts[at].unconfirmed,
            "round {round}: {:?}",
            verdicts[at]
        );
        let there = worker.section().get(conn).map(|view| (view.status(), view.tuple(Direction::Original)));
        let (seen, original) =
            there.ok_or_else(|| format!("round {round}: the request's connection is gone"))?;
        equal!(seen & status::SEEN_REPLY, 0, "round {round}, kind {kind}: a reply was seen");
        hold!(
            original.dst == host::tuple(protocol::UDP, (0, 0), (SERVER, 0)).dst,
            "round {round}: it goes the other way"
        );
        // The real one comes later.
        let real = host::pass(&mut worker, now, &reply);
        equal!(
            (real.state, real.conn),
            (CtState::Established, conn),
            "round {round}, kind {kind}: the real reply"
        );
        if round % 64 == 63 {
            table.flush();
            worker.reap(now, 0);
        }
    }
    worker.idle();
    table.flush();
    host::balanced(&table)?;
    drop(worker);
    host::all_free(&table, 1000)?;
    Ok(format!(
        "{rounds} replies of UDP, TCP and ICMP spoofed into the bursts of their requests, before and behind them: none ESTABLISHED, none \
         seen by the request's connection, {rounds} real ones ESTABLISHED; {} ns/packet",
        ns / sent as u64
    ))
}
