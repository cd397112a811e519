//! Forged ICMP and ICMPv6 errors. One that quotes a packet of a connection, and goes to who sent it, is RELATED to that connection; any other is
//! INVALID. None opens, changes or ends anything.

use std::collections::HashMap;

use conntab::net::protocol::{TCP, UDP};
use conntab::{CtState, Handle, Packet, Reason, Verdict};
use conntab_bench::{Random, cpu};

use crate::host;
use crate::packets::{ACK, Bytes, End, SERVER, echo, error, error6, ipv6, tcp, tcp_body, udp, udp_body};
use crate::{Outcome, Plan};

const BURST: usize = 32;
const FLOWS: u32 = 2000;
const SERVER6: u128 = 0xfd00 << 112 | 1;
const ROUTER: u32 = 0xcb00_7101;
const ROUTER6: u128 = 0xfd01 << 112 | 1;

/// A packet of a connection in one of its directions, and what is quoted of it. `off`: of a flow that is not there.
fn quoted(kind: u32, number: u32, back: bool, off: u16) -> Bytes {
    let (client, server) = ((0x0a00_0000 + number, 40_000 + off), (SERVER, 443));
    let (a, b) = if back { (server, client) } else { (client, server) };
    match kind {
        0 => tcp(a, b, ACK, 7, 7, &[]),
        1 => udp(a, b, b"data"),
        2 => {
            let (src, dst): (End, End) =
                if back { ((SERVER, 0), (client.0, 0)) } else { ((client.0, 0), (SERVER, 0)) };
            echo(src.0, dst.0, client.1, back)
        }
        _ => {
            let client6 = 0xfd00 << 112 | 0x10_0000 | u128::from(number);
            let (src, dst) = if back { (SERVER6, client6) } else { (client6, SERVER6) };
            let (sport, dport) = (a.1, b.1);
            match kind {
                3 => ipv6(UDP, src, dst, &udp_body(sport, dport, b"data")),
                _ => ipv6(TCP, src, dst, &tcp_body(sport, dport, ACK, 7, 7, &[])),
            }
        }
    }
}

/// How the error is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    /// As a router would make it.
    Rightly,
    /// It quotes a packet of no connection.
    Unknown,
    /// It goes to somebody else than who sent the quoted packet.
    Elsewhere,
    /// The quoted packet ends within its ports.
    Cut,
    /// It is in a zone that the connection is not in.
    OtherZone,
}

const MADE: [Made; 5] = [Made::Rightly, Made::Unknown, Made::Elsewhere, Made::Cut, Made::OtherZone];

fn forge(made: Made, kind: u32, number: u32, back: bool, random: &mut Random) -> Bytes {
    let off = if made == Made::Unknown { 1 + random.below(20_000) as u16 } else { 0 };
    let about = quoted(kind, number, back, off);
    if kind < 3 {
        let sender = u32::from_be_bytes([about[12], about[13], about[14], about[15]]);
        let to = if made == Made::Elsewhere { sender ^ 0x100 } else { sender };
        let keep = if made == Made::Cut { 20 + random.below(4) } else { about.len().min(28) };
        let (kind, code) =
            [(3, 0), (3, 1), (3, 3), (3, 4), (11, 0), (12, 0), (4, 0), (5, 1)][random.below(8)];
        error(kind, code, ROUTER, to, &about[..keep])
    } else {
        let sender = u128::from_be_bytes(std::array::from_fn(|i| about[8 + i]));
        let to = if made == Made::Elsewhere { sender ^ 0x100 } else { sender };
        let keep = if made == Made::Cut { 40 + random.below(4) } else { about.len().min(48) };
        let (kind, code) = [(1, 0), (1, 4), (2, 0), (3, 0), (4, 1), (100, 0)][random.below(6)];
        error6(kind, code, ROUTER6, to, &about[..keep])
    }
}

/// What it must be judged.
fn judged(made: Made, conn: Handle) -> (CtState, Reason, Handle) {
    match made {
        Made::Rightly => (CtState::Related, Reason::None, conn),
        Made::Elsewhere => (CtState::Invalid, Reason::IcmpOuterDestination, Handle::NONE),
        Made::Cut => (CtState::Invalid, Reason::IcmpInner, Handle::NONE),
        Made::Unknown | Made::OtherZone => (CtState::Invalid, Reason::IcmpNoFlow, Handle::NONE),
    }
}

pub fn run(plan: &Plan) -> Outcome {
    let packets: u64 = if plan.short { 1 << 19 } else { 10_000_384 };
    let table = host::table(host::config(16_384))?;
    let mut worker = host::worker(&table)?;
    let mut conns = HashMap::new();
    for number in 0..FLOWS {
        // ASSURED, answered, and with one packet alone, in turns.
        let kind = number % 5;
        let conn = if kind == 0 {
            host::establish(&mut worker, 1000, (0x0a00_0000 + number, 40_000), (SERVER, 443))?
        } else {
            host::pass(&mut worker, 1000, &quoted(kind, number, false, 0)).conn
        };
        if number % 2 == 0 && kind != 4 {
            host::pass(&mut worker, 1000, &quoted(kind, number, true, 0));
        }
        hold!(!conn.is_none(), "flow {number} was not opened");
        conns.insert(number, conn);
    }
    let (before, counted) = (host::shown(&table, 1000), table.stats());
    let mut random = Random(0x1c3f);
    let mut sent = [0_u64; MADE.len()];
    let mut room = [Bytes::EMPTY; BURST];
    let mut verdicts = [Verdict::default(); BURST];
    let mut expected = [(CtState::New, Reason::None, Handle::NONE); BURST];
    let mut ns = 0;
    for burst in 0..packets / BURST as u64 {
        let mut zones = [0; BURST];
        for (i, bytes) in room.iter_mut().enumerate() {
            let (at, number) = (random.below(MADE.len()), random.below(FLOWS as usize) as u32);
            *bytes = forge(MADE[at], number % 5, number, random.word() & 1 == 1, &mut random);
            expected[i] = judged(MADE[at], conns[&number]);
            zones[i] = if MADE[at] == Made::OtherZone { 7 } else { 0 };
            sent[at] += 1;
        }
        let now = 1001 + burst % 16;
        let burst_of: [Packet<'_>; BURST] =
            std::array::from_fn(|i| Packet::new(&room[i]).with_zone(zones[i]));
        let begin = cpu();
        worker.track(now, &burst_of, &mut verdicts);
        worker.confirm(now, &mut verdicts, u64::MAX);
        ns += cpu() - begin;
        for (i, verdict) in verdicts.iter().enumerate() {
            equal!((verdict.state, verdict.reason, verdict.conn), expected[i], "error {:02x?}", &*room[i]);
        }
        if plan.has("quoted-passes") && burst == 10 {
            // A host that takes what is quoted for a packet that came.
            host::pass(&mut worker, now, &quoted(1, 1, true, 0));
        }
    }
    hold!(host::shown(&table, 1000) == before, "a connection has changed");
    let stats = host::balanced(&table)?;
    equal!(stats.insert, counted.insert, "insert");
    equal!(stats.found - counted.found, sent[0] + sent[2], "found: RELATED, or to another destination");
    equal!(stats.invalid - counted.invalid, sent[1..].iter().sum::<u64>(), "invalid");
    equal!(stats.error - counted.error, sent[1..].iter().sum::<u64>(), "error");
    Ok(format!(
        "{packets} errors about {FLOWS} connections of IPv4 and IPv6: {} RELATED to the right one, {} INVALID (quoted of no connection {}, \
         sent elsewhere {}, cut {}, other zone {}), nothing opened, changed or ended; {} ns/packet",
        sent[0],
        stats.invalid - counted.invalid,
        sent[1],
        sent[2],
        sent[3],
        sent[4],
        ns / packets
    ))
}
