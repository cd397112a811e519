//! The packet path: bursts, confirm, clashes, handles, NAT, limits.

mod common;

use common::*;
use conntab::conn::status;
use conntab::packet::packet_flag;
use conntab::tuple::{Direction, L3, Tuple, addr, protocol};
use conntab::{Connection, CtState, Handle, MAX_BURST, NatError, Packet, Reason, Table, Verdict};

fn tuple(l4: u8, src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16) -> Tuple {
    Tuple { src: addr(src.into()), dst: addr(dst.into()), sport, dport, l4, l3: L3::V4 }
}

fn shown(table: &Table, now: u64) -> Vec<Connection> {
    table.dump(now).collect()
}

#[test]
fn a_flow_is_new_then_established_both_ways() {
    let table = table(1024);
    let mut worker = table.worker().unwrap();
    let (request, reply) = (udp(CLIENT, SERVER, 5000, 53), udp(SERVER, CLIENT, 53, 5000));
    let first = pass(&mut worker, 1000, &request);
    assert_eq!((first.state, first.dir, first.unconfirmed), (CtState::New, Direction::Original, false));
    assert_eq!(first.status, status::CONFIRMED);
    let answer = pass(&mut worker, 1001, &reply);
    assert_eq!((answer.state, answer.dir), (CtState::Established, Direction::Reply));
    assert_eq!(answer.conn, first.conn);
    let again = pass(&mut worker, 1002, &request);
    assert_eq!((again.state, again.dir), (CtState::Established, Direction::Original));
    assert_eq!(again.status, status::CONFIRMED | status::SEEN_REPLY);
    let [only] = &shown(&table, 1002)[..] else { panic!("one connection") };
    assert_eq!(only.counters.map(|c| c.map(|c| (c.packets, c.bytes))), Some([(2, 56), (1, 28)]));
}

#[test]
fn what_is_not_confirmed_never_was() {
    let table = table(1024);
    let mut worker = table.worker().unwrap();
    let packet = udp(CLIENT, SERVER, 5000, 53);
    let verdicts = judge(&mut worker, 0, &[&packet]);
    assert_eq!((verdicts[0].state, verdicts[0].unconfirmed), (CtState::New, true));
    assert_eq!(table.count(), 1, "the limit counts from allocation");
    assert!(shown(&table, 0).is_empty());
    // Let go by the host.
    let mut refused = judge(&mut worker, 0, &[&packet]);
    assert_eq!(worker.confirm(0, &mut refused, 0), 0);
    assert_eq!(refused[0].reason, Reason::NotConfirmed);
    assert_eq!(table.count(), 0);
    // Let go by the next burst.
    let mut late = judge(&mut worker, 0, &[&packet]);
    judge(&mut worker, 0, &[]);
    assert_eq!(worker.confirm(0, &mut late, 1), 0, "too late");
    assert_eq!((table.count(), table.stats().not_confirmed), (0, 3));
}

#[test]
fn a_further_packet_joins_what_its_burst_created() {
    let table = table(1024);
    let mut worker = table.worker().unwrap();
    let packet = udp(CLIENT, SERVER, 5000, 53);
    let mut verdicts = judge(&mut worker, 0, &[&packet, &packet, &packet]);
    assert!(verdicts.iter().all(|v| v.state == CtState::New && v.conn == verdicts[0].conn));
    // The first is dropped by a rule, the last one is not.
    assert_eq!(worker.confirm(0, &mut verdicts, 0b100), 1);
    assert!(verdicts.iter().all(|v| !v.unconfirmed && v.status == status::CONFIRMED));
    let [only] = &shown(&table, 0)[..] else { panic!("one connection") };
    assert_eq!(only.counters.unwrap()[0].packets, 3);
    // Twice is harmless.
    let before = verdicts.clone();
    assert_eq!(worker.confirm(0, &mut verdicts, 0b111), 0);
    assert_eq!(verdicts, before);
}

#[test]
fn a_reply_spoofed_into_the_burst_of_its_request() {
    let table = table(1024);
    let mut worker = table.worker().unwrap();
    let (request, reply) = (udp(CLIENT, SERVER, 5000, 53), udp(SERVER, CLIENT, 53, 5000));
    let mut verdicts = judge(&mut worker, 0, &[&request, &reply]);
    assert_eq!(verdicts[1].state, CtState::New, "an outsider's packet must not become ESTABLISHED");
    assert_eq!(verdicts[1].dir, Direction::Original);
    assert_ne!(verdicts[0].conn, verdicts[1].conn);
    // Rules let NEW in from one side only.
    let mut one_side = judge(&mut worker, 0, &[&request, &reply]);
    assert_eq!(worker.confirm(0, &mut one_side, 0b01), 1);
    assert_eq!(one_side[1].reason, Reason::NotConfirmed);
    // Where rules let both through, the second adopts the first.
    let table = self::table(1024);
    let mut worker = table.worker().unwrap();
    verdicts = judge(&mut worker, 0, &[&request, &reply]);
    assert_eq!(worker.confirm(0, &mut verdicts, 0b11), 1);
    assert_eq!((verdicts[1].state, verdicts[1].dir), (CtState::Established, Direction::Reply));
    assert_eq!((verdicts[1].conn, verdicts[1].reason), (verdicts[0].conn, Reason::Adopted));
    let [only] = &shown(&table, 0)[..] else { panic!("one connection") };
    assert_eq!(only.counters.unwrap().map(|c| c.packets), [1, 1], "counters are merged");
    assert_eq!((table.count(), table.stats().clash_resolve), (1, 1));
    // TCP does not adopt: the packet is dropped.
    let syn = tcp((CLIENT, 1000), (SERVER, 80), SYN, 100, 0, 0);
    let back = tcp((SERVER, 80), (CLIENT, 1000), SYN, 500, 0, 0);
    let mut verdicts = judge(&mut worker, 0, &[&syn, &back]);
    assert_eq!(worker.confirm(0, &mut verdicts, 0b11), 1);
    let dropped = verdicts.iter().filter(|v| v.state == CtState::Drop && v.reason == Reason::Clash).count();
    assert_eq!((dropped, table.stats().insert_failed), (1, 1));
    assert!(verdicts.iter().all(|v| v.state != CtState::Established));
}

#[test]
fn two_workers_confirm_one_flow() {
    let table = table(1024);
    let [mut a, mut b] = [table.worker().unwrap(), table.worker().unwrap()];
    let packet = udp(CLIENT, SERVER, 5000, 53);
    let mut first = judge(&mut a, 0, &[&packet]);
    let mut second = judge(&mut b, 0, &[&packet]);
    assert_eq!(second[0].state, CtState::New);
    assert_eq!(a.confirm(0, &mut first, 1), 1);
    assert_eq!(b.confirm(0, &mut second, 1), 0);
    assert_eq!((second[0].conn, second[0].dir), (first[0].conn, Direction::Original));
    assert_eq!((second[0].state, second[0].reason), (CtState::New, Reason::Adopted));
    let [only] = &shown(&table, 0)[..] else { panic!("one connection") };
    assert_eq!(only.counters.unwrap()[0].packets, 2);
    assert_eq!(table.count(), 1);
}

#[test]
fn set_reply_tuple_translates_and_meets_a_clash() {
    let mut config = config(1024);
    config.nat6 = true;
    let table = Table::new(config).unwrap();
    let mut worker = table.worker().unwrap();
    let outside = [192, 0, 2, 1];
    let translated = tuple(protocol::UDP, SERVER, outside, 53, 40000);
    // Source NAT: answers come to the outside address.
    let mut first = judge(&mut worker, 0, &[&udp(CLIENT, SERVER, 5000, 53)]);
    worker.set_reply_tuple(&mut first[0], &translated).unwrap();
    assert_eq!(first[0].status, status::SRC_NAT);
    assert_eq!(worker.confirm(0, &mut first, 1), 1);
    let answer = pass(&mut worker, 0, &udp(SERVER, outside, 53, 40000));
    assert_eq!((answer.conn, answer.dir), (first[0].conn, Direction::Reply));
    assert_eq!(answer.state, CtState::Established);
    assert_eq!(pass(&mut worker, 0, &udp(CLIENT, SERVER, 5000, 53)).conn, first[0].conn);
    let [only] = &shown(&table, 0)[..] else { panic!("one connection") };
    assert_eq!(only.reply, translated);
    // An error about the translated packet is told to the outside address.
    let error = pass(&mut worker, 0, &unreachable(SERVER, &udp(outside, SERVER, 40000, 53)));
    assert_eq!((error.state, error.dir, error.conn), (CtState::Related, Direction::Reply, first[0].conn));
    // Another client, the same outside port: UDP would adopt, were the tuples the same.
    let mut second = judge(&mut worker, 0, &[&udp(host(9), SERVER, 5000, 53)]);
    worker.set_reply_tuple(&mut second[0], &translated).unwrap();
    assert_eq!(worker.confirm(0, &mut second, 1), 0);
    assert_eq!((second[0].state, second[0].reason), (CtState::Drop, Reason::Clash));
    assert_eq!((table.count(), table.stats().insert_failed), (1, 1));
    // Within one burst as well.
    let mut both = judge(&mut worker, 0, &[&udp(host(7), SERVER, 1, 53), &udp(host(8), SERVER, 1, 53)]);
    let other = Tuple { dport: 40001, ..translated };
    for verdict in &mut both {
        worker.set_reply_tuple(verdict, &other).unwrap();
    }
    assert_eq!(worker.confirm(0, &mut both, 0b11), 1);
    assert_eq!(both.iter().filter(|v| v.reason == Reason::Clash).count(), 1);
    // IPv6.
    let v6 = |src, dst, sport, dport| ipv6(17, src, dst, &udp_bytes(sport, dport));
    let mut sixth = judge(&mut worker, 0, &[&v6(1, 2, 5000, 53)]);
    let ip = |host: u16| format!("fd00::{host:x}").parse::<std::net::IpAddr>().unwrap();
    let reply =
        Tuple { src: addr(ip(3)), dst: addr(ip(1)), sport: 53, dport: 5000, l4: protocol::UDP, l3: L3::V6 };
    worker.set_reply_tuple(&mut sixth[0], &reply).unwrap();
    assert_eq!(sixth[0].status, status::DST_NAT);
    assert_eq!(worker.confirm(0, &mut sixth, 1), 1);
    assert_eq!(pass(&mut worker, 0, &v6(3, 1, 53, 5000)).conn, sixth[0].conn);
    // Refusals.
    assert_eq!(worker.set_reply_tuple(&mut sixth[0], &reply), Err(NatError::NotUnconfirmed));
    let mut plain = judge(&mut worker, 0, &[&udp(host(5), SERVER, 1, 1)]);
    assert_eq!(worker.set_reply_tuple(&mut plain[0], &reply), Err(NatError::OtherProtocol));
    let table = self::table(1024);
    let mut worker = table.worker().unwrap();
    let mut sixth = judge(&mut worker, 0, &[&v6(1, 2, 5000, 53)]);
    assert_eq!(worker.set_reply_tuple(&mut sixth[0], &reply), Err(NatError::NoRoom));
}

#[test]
fn stale_and_forged_handles_are_harmless() {
    let table = table(1024);
    let [mut worker, mut other] = [table.worker().unwrap(), table.worker().unwrap()];
    let packet = udp(CLIENT, SERVER, 5000, 53);
    let live = pass(&mut worker, 0, &packet).conn;
    let unconfirmed = judge(&mut worker, 0, &[&udp(CLIENT, SERVER, 5001, 53)])[0];
    // Another worker's unconfirmed connection.
    assert!(other.section().get(unconfirmed.conn).is_none());
    assert!(!other.set_mark(unconfirmed.conn, 1));
    assert!(!other.delete(unconfirmed.conn) && !table.delete(unconfirmed.conn));
    assert_eq!(other.confirm(0, &mut [unconfirmed], 1), 0);
    assert!(worker.set_mark(unconfirmed.conn, 5), "its own worker may");
    let forged = [0, 1, u64::MAX, live.to_u64() + 1, live.to_u64() ^ 1 << 63, u64::from(u32::MAX) << 32 | 1];
    for number in forged {
        let handle = Handle::from_u64(number);
        assert!(worker.section().get(handle).is_none(), "{number:#x}");
        assert!(!worker.set_mark(handle, 1) && !worker.delete(handle) && !table.delete(handle));
        let mut verdict = unconfirmed;
        verdict.conn = handle;
        let before = verdict;
        assert_eq!(worker.confirm(0, std::slice::from_mut(&mut verdict), 1), 0);
        assert_eq!(verdict, before);
    }
    assert!(worker.set_mark(live, 7));
    assert_eq!(pass(&mut worker, 0, &packet).mark, 7);
    // Stale: deleted, then its index used again.
    assert!(table.delete(live));
    assert!(!table.delete(live) && !worker.delete(live) && worker.section().get(live).is_none());
    for round in 0..20_000u32 {
        let conn = pass(&mut worker, 0, &udp(host(round), SERVER, 1, 1)).conn;
        assert_ne!(conn, live);
        assert!(worker.section().get(live).is_none() && !worker.set_mark(live, 9));
        assert!(worker.delete(conn));
        if round % 64 == 0 {
            worker.reap(0, 0);
        }
    }
}

#[test]
fn a_worker_moves_between_threads_and_its_seat_is_free_again() {
    let mut config = config(1024);
    config.workers = 1;
    let table = Table::new(config).unwrap();
    let mut worker = table.worker().unwrap();
    assert!(table.worker().is_err(), "Config::workers");
    let mut conn = Handle::NONE;
    for round in 0..8 {
        let reply = round % 2 == 1;
        let (worker_back, verdict) = std::thread::spawn(move || {
            let packet = if reply { udp(SERVER, CLIENT, 53, 5000) } else { udp(CLIENT, SERVER, 5000, 53) };
            let verdict = pass(&mut worker, round, &packet);
            if round == 4 {
                worker.reap(round, 1 << 20);
            }
            (worker, verdict)
        })
        .join()
        .unwrap();
        worker = worker_back;
        assert!(conn.is_none() || conn == verdict.conn);
        conn = verdict.conn;
    }
    assert_eq!(shown(&table, 8)[0].counters.unwrap().map(|c| c.packets), [4, 4]);
    drop(worker);
    let mut worker = table.worker().expect("the seat is free");
    assert_eq!(pass(&mut worker, 9, &udp(CLIENT, SERVER, 5000, 53)).conn, conn);
    // A worker outlives the table's other names.
    drop(table);
    assert_eq!(pass(&mut worker, 9, &udp(CLIENT, SERVER, 5000, 53)).conn, conn);
}

#[test]
fn bursts_of_every_size_and_beyond() {
    let table = table(4096);
    let mut worker = table.worker().unwrap();
    let all: Vec<Vec<u8>> = (0..100).map(|i| udp(host(i), SERVER, 1, 1)).collect();
    for n in 0..=MAX_BURST {
        let packets: Vec<&[u8]> = all[..n].iter().map(|p| &p[..]).collect();
        let mut verdicts = judge(&mut worker, n as u64, &packets);
        worker.confirm(n as u64, &mut verdicts, u64::MAX);
        assert!(verdicts.iter().all(|v| v.state == CtState::New && !v.unconfirmed), "{n}");
        assert_eq!(table.count() as usize, n);
    }
    let packets: Vec<Packet<'_>> = all.iter().map(|p| Packet::new(p)).collect();
    let mut verdicts = [Verdict::default(); 100];
    assert_eq!(worker.track(0, &packets, &mut verdicts), MAX_BURST, "no more than a burst");
    assert_eq!(worker.track(0, &packets, &mut verdicts[..3]), 3, "no more than there is room for");
    worker.confirm(0, &mut verdicts, u64::MAX);
}

#[test]
fn aside_of_the_table() {
    let table = table(1024);
    let mut worker = table.worker().unwrap();
    let packet = udp(CLIENT, SERVER, 1, 1);
    let mut fragment = packet.clone();
    fragment[6] = 0x20;
    let mut verdicts = [Verdict::default(); 4];
    let cut = &packet[..24];
    let packets = [
        Packet::new(&packet).with_flags(packet_flag::NOTRACK),
        Packet::new(&fragment),
        Packet::new(cut),
        Packet::new(&[]),
    ];
    worker.track(0, &packets, &mut verdicts);
    let got = verdicts.map(|v| (v.state, v.reason));
    assert_eq!(got[0], (CtState::Untracked, Reason::NoTrack));
    assert_eq!(got[1], (CtState::Fragment, Reason::Fragment));
    assert_eq!(got[2], (CtState::Invalid, Reason::IpTruncated));
    assert_eq!(got[3].0, CtState::Invalid);
    assert!(verdicts.iter().all(|v| v.conn.is_none() && v.direction().is_none()));
    assert_eq!(table.stats().invalid, 2);
}

#[test]
fn zones_of_either_direction() {
    let table = table(1024);
    let mut worker = table.worker().unwrap();
    let (request, reply) = (udp(CLIENT, SERVER, 5000, 53), udp(SERVER, CLIENT, 53, 5000));
    let mut judge = |packet: &[u8], original, reply| {
        let mut input = Packet::new(packet);
        (input.zone_orig, input.zone_reply) = (original, reply);
        let mut verdicts = [Verdict::default()];
        worker.track(0, &[input], &mut verdicts);
        worker.confirm(0, &mut verdicts, 1);
        verdicts[0]
    };
    let seven = judge(&request, 7, 0);
    let none = judge(&request, 0, 9);
    assert_ne!(seven.conn, none.conn);
    assert_eq!((judge(&reply, 0, 0).conn, judge(&reply, 0, 0).dir), (seven.conn, Direction::Reply));
    assert_eq!(judge(&reply, 9, 9).conn, none.conn);
    assert_eq!(judge(&request, 7, 0).conn, seven.conn);
    // A packet of zone 7 in both directions is not of that connection's reply, which is in zone 0; and its own reply
    // would be that connection's original tuple in zone 7.
    assert_eq!((judge(&reply, 7, 7).state, judge(&reply, 7, 7).reason), (CtState::Drop, Reason::Clash));
    let lines: Vec<String> = table.dump(0).map(|c| c.to_string()).collect();
    assert!(lines.iter().any(|l| l.contains("dport=53 zone-orig=7 packets=")), "{lines:#?}");
    assert!(lines.iter().any(|l| l.contains("dport=5000 zone-reply=9 packets=")), "{lines:#?}");
}

#[test]
fn lookups_change_nothing_and_sections_renew() {
    let mut config = config(1024);
    config.user_data = 16;
    let table = Table::new(config).unwrap();
    let mut worker = table.worker().unwrap();
    let conn = pass(&mut worker, 1000, &udp(CLIENT, SERVER, 5000, 53)).conn;
    let before = shown(&table, 2000);
    let (there, back) =
        (tuple(protocol::UDP, CLIENT, SERVER, 5000, 53), tuple(protocol::UDP, SERVER, CLIENT, 53, 5000));
    let mut section = worker.section();
    for _ in 0..100 {
        let view = section.lookup(2000, 0, &there).expect("the connection");
        assert_eq!((view.handle(), view.direction(), view.mark()), (conn, Direction::Original, 0));
        assert_eq!(section.lookup(2000, 0, &back).unwrap().direction(), Direction::Reply);
        assert!(section.lookup(2000, 1, &there).is_none(), "another zone");
        assert!(section.lookup(31_000, 0, &there).is_none(), "expired");
    }
    let words = section.get(conn).unwrap().user_data();
    assert_eq!(words.len(), 2);
    words[1].store(42, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(shown(&table, 2000), before);
    let words = section.lookup(2000, 0, &back).unwrap().user_data();
    assert_eq!(words[1].load(std::sync::atomic::Ordering::Relaxed), 42);
    assert_eq!(section.get(conn).unwrap().copy(2000).as_ref(), before.first());
}

#[test]
fn an_older_clock_shortens_nothing() {
    let table = table(1024);
    let [mut early, mut late] = [table.worker().unwrap(), table.worker().unwrap()];
    let packet = udp(CLIENT, SERVER, 5000, 53);
    pass(&mut late, 10_000, &packet);
    pass(&mut early, 9_200, &packet);
    assert_eq!(shown(&table, 10_000)[0].timeout_ms, 30_000);
    pass(&mut late, 10_001, &packet);
    assert_eq!(shown(&table, 10_001)[0].timeout_ms, 30_000);
    // What is shorter by more than the clocks differ is meant so; and by the clock that is ahead, whatever is shorter.
    table.set("udp_timeout", 29).unwrap();
    pass(&mut early, 9_300, &packet);
    assert_eq!(shown(&table, 10_001)[0].timeout_ms, 29_000 - 701);
    table.set("udp_timeout", 28).unwrap();
    pass(&mut late, 10_001, &packet);
    assert_eq!(shown(&table, 10_001)[0].timeout_ms, 28_000);
}

#[test]
fn an_expired_connection_is_ended_by_the_packet_that_meets_it() {
    let table = table(1024);
    let mut worker = table.worker().unwrap();
    let packet = udp(CLIENT, SERVER, 5000, 53);
    // Across the wrap of the 32-bit tick.
    let begin = (1 << 32) - 10_000;
    let old = pass(&mut worker, begin, &packet).conn;
    assert_eq!(pass(&mut worker, begin + 29_999, &packet).conn, old);
    let new = pass(&mut worker, begin + 60_000, &packet);
    assert_eq!(new.state, CtState::New);
    assert_ne!(new.conn, old);
    assert_eq!((table.count(), table.stats().expired), (1, 1));
}

#[test]
fn tunables_change_while_packets_flow() {
    let table = table(1024);
    let mut worker = table.worker().unwrap();
    let packet = udp(CLIENT, SERVER, 5000, 53);
    pass(&mut worker, 0, &packet);
    table.set("udp_timeout", 99).unwrap();
    pass(&mut worker, 0, &packet);
    assert_eq!(shown(&table, 0)[0].timeout_ms, 99_000);
    assert_eq!(table.tunables().get("udp_timeout"), Ok(99));
    let refused = table.set("udp_timeout", 1 << 30).unwrap_err().to_string();
    assert_eq!(refused, "udp_timeout = 1073741824: it must be from 0 to 1728000");
    assert!(table.set("nonsense", 1).unwrap_err().to_string().contains("tcp_timeout_established"));
}

#[test]
fn a_reset_before_any_reply_ends_the_connection() {
    let table = table(1024);
    let mut worker = table.worker().unwrap();
    let (client, server) = ((CLIENT, 1000), (SERVER, 80));
    pass(&mut worker, 0, &tcp(client, server, SYN, 100, 0, 0));
    assert_eq!(table.count(), 1);
    let reset = pass(&mut worker, 0, &tcp(server, client, RST | ACK, 0, 101, 0));
    assert_eq!((reset.state, reset.dir), (CtState::Established, Direction::Reply));
    assert_eq!((table.count(), table.stats().deleted), (0, 1));
    // Also within the burst that opened it.
    let mut verdicts =
        judge(&mut worker, 0, &[&tcp(client, server, SYN, 100, 0, 0), &tcp(client, server, RST, 101, 0, 0)]);
    worker.confirm(0, &mut verdicts, 0b11);
    assert_eq!(table.count(), 0, "{verdicts:?}");
}

#[test]
fn config_refuses_the_absurd() {
    let refused = |change: fn(&mut conntab::Config)| {
        let mut config = config(1024);
        change(&mut config);
        let error = config.check().unwrap_err();
        assert_eq!(config.memory(), Err(error.clone()));
        assert_eq!(Table::new(config).unwrap_err(), error);
        error.to_string()
    };
    assert_eq!(refused(|c| c.max = 63), "max = 63: it must be from 64 to 268435456");
    assert_eq!(refused(|c| c.max = u32::MAX), "max = 4294967295: it must be from 64 to 268435456");
    assert_eq!(
        refused(|c| c.hashsize = 1000),
        "hashsize = 1000: it must be a power of two, or 0 to derive it"
    );
    assert_eq!(refused(|c| c.hashsize = 256), "hashsize = 256: it must be from 512 to 268435456");
    assert_eq!(refused(|c| c.hashsize = 1 << 29), "hashsize = 536870912: it must be from 512 to 268435456");
    assert_eq!(refused(|c| c.workers = 0), "workers = 0: it must be from 1 to 1024");
    assert_eq!(refused(|c| c.workers = 1025), "workers = 1025: it must be from 1 to 1024");
    assert_eq!(refused(|c| c.user_data = 72), "user_data = 72: it must be from 0 to 64");
    assert_eq!(refused(|c| c.user_data = 12), "user_data = 12: it must be a multiple of 8, from 0 to 64");
    assert_eq!(
        refused(|c| c.tunables.tcp_timeout_established = 1_728_001),
        "tcp_timeout_established = 1728001: it must be from 0 to 1728000"
    );
    assert_eq!(refused(|c| c.tunables.tcp_loose = 2), "tcp_loose = 2: it must be from 0 to 1");
    assert!(config(1024).check().is_ok());
}

#[test]
fn a_full_table_evicts_what_is_not_assured_or_drops() {
    let table = table(64);
    let mut worker = table.worker().unwrap();
    // Fill it with assured flows: answered, and older than two seconds.
    for i in 0..64u32 {
        let (there, back) = (udp(host(i), SERVER, 1, 1), udp(SERVER, host(i), 1, 1));
        pass(&mut worker, 0, &there);
        pass(&mut worker, 0, &back);
        assert!(pass(&mut worker, 3000, &there).status & status::ASSURED != 0);
    }
    let refused = pass(&mut worker, 3000, &udp(host(1000), SERVER, 1, 1));
    assert_eq!((refused.state, refused.reason), (CtState::Drop, Reason::TableFull));
    assert_eq!((table.count(), table.stats().drop, table.stats().early_drop), (64, 1, 0));
    // One that is not assured makes room: 256 buckets are searched 8 at a time, so try many tuples.
    let conn = pass(&mut worker, 3000, &udp(host(0), SERVER, 1, 1)).conn;
    worker.delete(conn);
    pass(&mut worker, 3000, &udp(host(2000), SERVER, 1, 1));
    let made =
        (3000..6000u32).any(|i| pass(&mut worker, 3000, &udp(host(i), SERVER, 1, 1)).state == CtState::New);
    assert!(made);
    assert_eq!((table.count(), table.stats().early_drop), (64, 1));
}
