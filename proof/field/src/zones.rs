//! One tuple in thousands of zones: each zone has a connection of its own, which no packet of another finds, changes or ends; and all
//! zones together have no more than `max`.

use conntab::conn::status;
use conntab::{CtState, Handle, Packet, Reason};
use conntab_bench::cpu;

use crate::host::{self, pass_in};
use crate::packets::{ACK, End, SERVER, SYN, SYN_ACK, tcp, udp};
use crate::{Outcome, Plan};

const CLIENT: End = (0x0a00_0001, 1000);
const THERE: End = (SERVER, 53);

/// All zones there are but one.
const ZONES: u16 = u16::MAX;

pub fn run(plan: &Plan) -> Outcome {
    let zone_of = |zone: u16| if plan.has("one-zone") { zone & !1 } else { zone };
    let (there, back) = (udp(CLIENT, THERE, b"?"), udp(THERE, CLIENT, b"!"));
    let table = host::table(host::config(u32::from(ZONES) + 1000))?;
    let mut worker = host::worker(&table)?;
    let begin = cpu();
    let mut conns: Vec<Handle> = Vec::new();
    for zone in 0..ZONES {
        let verdict = pass_in(&mut worker, 1000, &there, zone_of(zone));
        equal!((verdict.state, verdict.reason), (CtState::New, Reason::None), "zone {zone}");
        hold!(worker.set_mark(verdict.conn, zone.into()), "zone {zone}: it has no connection");
        conns.push(verdict.conn);
    }
    let ns = (cpu() - begin) / u64::from(ZONES);
    // Every second is answered, every third is ended; nothing of it is seen elsewhere.
    for zone in (0..ZONES).step_by(2) {
        let verdict = pass_in(&mut worker, 1000, &back, zone_of(zone));
        let own = (CtState::Established, conns[zone as usize], u32::from(zone));
        equal!((verdict.state, verdict.conn, verdict.mark), own, "the reply in zone {zone}");
    }
    for zone in (0..ZONES).step_by(3) {
        hold!(worker.delete(conns[zone as usize]), "zone {zone}: it was there");
    }
    let tuple = host::tuple(conntab::tuple::protocol::UDP, CLIENT, THERE);
    for zone in 0..ZONES {
        let mut section = worker.section();
        let view = section.lookup(1000, zone, &tuple);
        let seen = view.map(|view| (view.handle(), view.mark(), view.status() & status::SEEN_REPLY));
        let replied = if zone % 2 == 0 { status::SEEN_REPLY } else { 0 };
        let own = (zone % 3 != 0).then_some((conns[zone as usize], u32::from(zone), replied));
        equal!(seen, own, "zone {zone}");
    }
    // A zone for each direction: only a connection of both is met.
    let mut apart = Packet::new(&back);
    (apart.zone_orig, apart.zone_reply) = (0xffff, 4);
    let verdict = host::judge(&mut worker, 1000, &[apart])[0];
    equal!(
        (verdict.state, verdict.conn),
        (CtState::Established, conns[4]),
        "a reply whose zone holds in its direction"
    );
    (apart.zone_orig, apart.zone_reply) = (4, 0xffff);
    let verdict = host::judge(&mut worker, 1000, &[apart])[0];
    equal!(verdict.state, CtState::New, "a reply whose zone holds in the other direction");
    worker.idle();
    host::balanced(&table)?;
    drop(worker);
    table.flush();
    host::all_free(&table, 1000)?;

    // In a small table: what is ASSURED in one zone stays, however many others are tried.
    let rounds: u64 = if plan.short { 4 } else { 100 };
    let table = host::table(host::config(4096))?;
    let mut worker = host::worker(&table)?;
    let mut kept = Vec::new();
    for zone in 0..1000 {
        pass_in(&mut worker, 1000, &tcp(CLIENT, THERE, SYN, 1, 0, &[]), zone);
        pass_in(&mut worker, 1000, &tcp(THERE, CLIENT, SYN_ACK, 1, 2, &[]), zone);
        kept.push(pass_in(&mut worker, 1000, &tcp(CLIENT, THERE, ACK, 2, 2, &[]), zone).conn);
    }
    let (mut opened, mut dropped, begin) = (0, 0, cpu());
    for round in 0..rounds {
        for zone in 0..ZONES {
            let packet = udp((CLIENT.0, round as u16), THERE, b"?");
            let verdict = pass_in(&mut worker, 1000, &packet, zone);
            match (verdict.state, verdict.reason) {
                (CtState::New, Reason::None) => opened += 1,
                (CtState::Drop, Reason::TableFull) => dropped += 1,
                _ => return Err(format!("zone {zone}: {verdict:?}")),
            }
            hold!(table.count() <= 4096, "{} connections of 4096", table.count());
            if zone % 2048 == 0 {
                worker.reap(1000, 0);
            }
        }
    }
    let each = (cpu() - begin) / (rounds * u64::from(ZONES));
    for (zone, conn) in (0..).zip(&kept) {
        let verdict = pass_in(&mut worker, 1000, &tcp(THERE, CLIENT, ACK, 2, 2, &[]), zone);
        equal!((verdict.state, verdict.conn), (CtState::Established, *conn), "ASSURED in zone {zone}");
    }
    worker.idle();
    let stats = host::balanced(&table)?;
    equal!(opened + 1000, stats.insert, "insert");
    equal!(dropped, stats.drop, "drop");
    equal!(u64::from(table.count()), 1000 + opened - stats.early_drop, "live");
    Ok(format!(
        "one tuple in {ZONES} zones: {ZONES} connections, each found, answered, marked and ended in its own alone, {ns} ns each; then {} \
         packets into a table of 4096 with 1000 ASSURED: these stay, {opened} opened, {} evicted, {dropped} dropped; {each} ns/packet",
        rounds * u64::from(ZONES),
        stats.early_drop
    ))
}
