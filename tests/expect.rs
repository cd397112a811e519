//! Connections that are expected: who they belong to, what limits them, and that nothing of them stays behind.

mod common;

use std::net::IpAddr;
use std::sync::Arc;

use common::*;
use conntab::conn::status;
use conntab::event::{EventKind, change};
use conntab::helper::{
    Announce, Announcements, Answer, Class, Expect, Heading, Helper, MAX_EXPECTED, Name, State, Tftp,
};
use conntab::tuple::{addr, protocol};
use conntab::{Config, CtState, ExpectError, Handle, HelperError, Packet, Table, Verdict, Worker};

const MAX: u32 = 1024;

fn expecting(expect_max: u32) -> Table {
    Table::new(Config { expect_max, events: 4096, workers: 2, ..config(MAX) }).expect("a small table")
}

/// With the helper of TFTP, number 1.
fn tftp() -> (Table, Worker) {
    let table = expecting(64);
    assert_eq!(table.add_helper(Arc::new(Tftp)).unwrap().number(), 1);
    let worker = table.worker().unwrap();
    (table, worker)
}

fn datagram(src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16, data: &[u8]) -> Vec<u8> {
    ipv4(17, src, dst, &[&udp_bytes(sport, dport), data].concat())
}

fn request(sport: u16) -> Vec<u8> {
    datagram(CLIENT, SERVER, sport, 69, b"\0\x01file\0octet\0")
}

fn attached(table: &Table, worker: &mut Worker, now: u64, packet: &[u8]) -> Verdict {
    let mut verdicts = [Verdict::default()];
    let packets = [Packet::new(packet)];
    worker.track(now, &packets, &mut verdicts);
    let _ = worker.attach_helper(&mut verdicts[0], table.helper("tftp").unwrap());
    let keep = worker.help(now, &packets, &mut verdicts, 1);
    worker.confirm(now, &mut verdicts, keep);
    verdicts[0]
}

fn announce(to: [u8; 4], port: u16) -> Announce {
    let [from, to] = [SERVER, to].map(|a| addr(IpAddr::from(a)));
    Announce { protocol: protocol::UDP, from: Some(from), to, port, class: 0 }
}

fn answer(port: u16) -> Vec<u8> {
    udp(SERVER, CLIENT, 4444, port)
}

fn is_empty(table: &Table) {
    let (usage, stats) = (table.usage(), table.stats());
    assert_eq!((usage.expectations, usage.helper_records), (0, 0), "{stats:?}");
    assert_eq!(stats.expect_create, stats.expect_delete);
    assert_eq!(table.expectations(0).count(), 0);
}

/// A way for a master to end. `now` is far behind the end of whatever is to expire.
fn end(way: u32, table: &Table, w: &mut Worker, master: Verdict, now: u64) {
    match way {
        0 => assert!(w.delete(master.conn)),
        1 => assert_eq!(w.delete_burst(&[master.conn]), 1),
        2 => assert!(table.delete(master.conn)),
        3 => assert!(table.flush() > 0),
        4 => assert!(w.reap(now, u32::MAX).expired > 0),
        5 => assert!(w.end_expired(now, master.conn)),
        // A packet meets it when its time is over.
        _ => assert_ne!(pass(w, now, &datagram(CLIENT, SERVER, 3000, 69, b"")).conn, master.conn),
    }
}

#[test]
fn ten_thousand_masters_leave_nothing_behind() {
    let (table, mut w) = tftp();
    let mut now = 0;
    let (mut related, mut events) = (0, [0_u64; 5]);
    for round in 0..10_000_u32 {
        let came = round % 3 == 0;
        match round % 11 {
            way @ 0..7 => {
                let master = attached(&table, &mut w, now, &request(3000));
                assert_eq!(table.expectations(now).count(), 1);
                if came {
                    let child = pass(&mut w, now, &answer(3000));
                    assert_eq!(child.state, CtState::Related);
                    related += 1;
                }
                end(way, &table, &mut w, master, now + 1_000_000);
            }
            // A TCP master, which a RST ends.
            7 => {
                let verdict = judge(&mut w, now, &[&tcp((CLIENT, 1), (SERVER, 80), SYN, 1, 0, 0)]);
                w.expect(now, verdict[0].conn, &announce(CLIENT, 99).into(), 10, 1).unwrap();
                w.confirm(now, &mut [verdict[0]], 1);
                pass(&mut w, now, &tcp((SERVER, 80), (CLIENT, 1), RST_ACK, 0, 2, 0));
            }
            // One that a rule drops; one that is forgotten.
            8 | 9 => {
                let verdict = judge(&mut w, now, &[&udp(CLIENT, SERVER, 5, 5)]);
                w.expect(now, verdict[0].conn, &announce(CLIENT, 98).into(), 10, 1).unwrap();
                if round % 11 == 8 {
                    w.confirm(now, &mut [verdict[0]], 0);
                } else {
                    w.idle();
                }
            }
            // One that loses a clash; and what it expects is not expected by the winner.
            _ => {
                let mut other = table.worker().unwrap();
                let packet = udp(CLIENT, SERVER, 6, 6);
                let mut loser = judge(&mut w, now, &[&packet])[0];
                w.expect(now, loser.conn, &announce(CLIENT, 97).into(), 10, 1).unwrap();
                let winner = pass(&mut other, now, &packet);
                w.confirm(now, std::slice::from_mut(&mut loser), 1);
                assert_eq!(loser.conn, winner.conn);
                other.delete(winner.conn);
            }
        }
        // What is left are children, which expect nothing.
        assert_eq!(table.expectations(now).count(), 0, "round {round}");
        now += 2_000_000;
        w.reap(now, u32::MAX);
        is_empty(&table);
        for event in table.events() {
            events[event.kind as usize] += 1;
        }
    }
    let stats = table.stats();
    assert_eq!(stats.expect_new, related);
    let told = [EventKind::ExpectNew, EventKind::ExpectDestroy].map(|kind| events[kind as usize]);
    assert_eq!(told, [stats.expect_create, stats.expect_delete]);
    assert_eq!((stats.expect_create, stats.events_lost, stats.helper_full), (10_000, 0, 0));
    assert_eq!(table.count(), 0);
}

/// Who lets an unconfirmed master go takes with it what it expects; nobody else may touch that, not even when its time is over.
#[test]
fn what_an_unconfirmed_master_expects_is_its_own() {
    let (table, mut w) = tftp();
    let mut other = table.worker().unwrap();
    let mut master = judge(&mut w, 0, &[&udp(CLIENT, SERVER, 5, 5)]);
    w.expect(0, master[0].conn, &announce(CLIENT, 98).into(), 1, 1).unwrap();
    other.reap(2000, u32::MAX);
    assert_eq!(pass(&mut other, 2000, &answer(98)).state, CtState::New);
    assert_eq!((table.usage().expectations, table.stats().expect_delete), (1, 0));
    w.confirm(2000, &mut master, 1);
    other.reap(2000, u32::MAX);
    assert_eq!((table.usage().expectations, table.stats().expect_delete), (0, 1));
    table.flush();
    is_empty(&table);
}

/// early_drop takes masters as it takes others.
#[test]
fn evicted_masters_leave_nothing_behind() {
    let table = Table::new(Config { expect_max: 512, helper_max: 2048, ..config(64) }).unwrap();
    table.add_helper(Arc::new(Tftp)).unwrap();
    let mut w = table.worker().unwrap();
    for port in 1..5000 {
        attached(&table, &mut w, 0, &request(port));
        assert!(table.usage().expectations <= table.count());
    }
    assert!(table.stats().early_drop > 1000);
    table.flush();
    is_empty(&table);
}

#[test]
fn a_child_has_its_masters_mark_and_remembers_it() {
    let (table, mut w) = tftp();
    let master = attached(&table, &mut w, 0, &request(3000));
    assert_eq!(master.status, status::HELPER | status::CONFIRMED);
    w.set_mark(master.conn, 7);
    let [expected] = <[_; 1]>::try_from(table.expectations(1500).collect::<Vec<_>>()).unwrap();
    assert_eq!(
        expected.to_string(),
        "298 l3proto = 2 proto=17 src=10.2.0.1 dst=10.1.0.1 sport=0 dport=3000 tftp"
    );
    let mut verdict = judge(&mut w, 2000, &[&answer(3000), &answer(3000)]);
    assert_eq!(verdict[0].state, CtState::Related);
    assert_eq!((verdict[0].mark, verdict[0].status), (7, status::EXPECTED));
    assert_eq!((verdict[1].state, verdict[1].conn), (CtState::Related, verdict[0].conn), "in the same burst");
    w.confirm(2000, &mut verdict, 3);
    assert!(table.delete(master.conn));
    let child = table.dump(2000).next().unwrap();
    let known = child.master.unwrap();
    assert_eq!(
        (known.handle, known.tuple.to_string()),
        (master.conn, "src=10.1.0.1 dst=10.2.0.1 sport=3000 dport=69".to_owned())
    );
    assert_eq!(pass(&mut w, 2000, &answer(3000)).state, CtState::Related);
    assert_eq!(pass(&mut w, 2000, &udp(CLIENT, SERVER, 3000, 4444)).state, CtState::Established);
    let told: Vec<_> = table.events().map(|e| (e.kind, e.changes, e.to_string())).collect();
    let new = told.iter().find(|(_, changes, _)| changes & change::RELATED != 0).expect("the child");
    assert_eq!(new.0, EventKind::New);
    assert_eq!(
        told[0].2,
        "    [NEW] 300 proto=17 src=10.2.0.1 dst=10.1.0.1 sport=0 dport=3000 mask-src=255.255.255.255 \
         mask-dst=255.255.255.255 sport=0 dport=65535 master-src=10.1.0.1 master-dst=10.2.0.1 sport=3000 dport=69 \
         class=0 helper=tftp"
    );
    assert_eq!(
        told[1].2,
        "    [NEW] udp      17 30 src=10.1.0.1 dst=10.2.0.1 sport=3000 dport=69 [UNREPLIED] src=10.2.0.1 \
         dst=10.1.0.1 sport=69 dport=3000 helper=tftp"
    );
}

#[test]
fn what_is_permanent_comes_more_than_once() {
    let table = expecting(4);
    let mut w = table.worker().unwrap();
    let verdict = judge(&mut w, 0, &[&udp(CLIENT, SERVER, 5, 5)])[0];
    let permanent = Expect { permanent: true, ..announce(CLIENT, 98).into() };
    w.expect(0, verdict.conn, &permanent, 10, 1).unwrap();
    // Not before its master is in the table.
    assert_eq!(judge(&mut w, 0, &[&udp(SERVER, CLIENT, 1, 97)])[0].state, CtState::New);
    is_empty(&table);
    let verdict = judge(&mut w, 0, &[&udp(CLIENT, SERVER, 5, 5), &udp(SERVER, CLIENT, 7, 98)]);
    w.expect(0, verdict[0].conn, &permanent, 10, 1).unwrap();
    w.confirm(0, &mut verdict.clone(), 1);
    for sport in 1..5 {
        assert_eq!(pass(&mut w, 0, &udp(SERVER, CLIENT, sport, 98)).state, CtState::Related);
    }
    assert_eq!(pass(&mut w, 10_000, &udp(SERVER, CLIENT, 9, 98)).state, CtState::New, "its time is over");
    table.flush();
    is_empty(&table);
}

#[test]
fn rules_have_limits() {
    let table = expecting(4);
    let mut w = table.worker().unwrap();
    let one = Expect::from(announce(CLIENT, 1));
    assert_eq!(w.expect(0, Handle::NONE, &one, 10, 1), Err(ExpectError::NoMaster));
    let there = pass(&mut w, 0, &udp(CLIENT, SERVER, 4, 4));
    assert_eq!(w.expect(0, there.conn, &one, 10, 1), Err(ExpectError::NoMaster), "it has no helper");
    let verdicts = judge(&mut w, 0, &[&udp(CLIENT, SERVER, 5, 5), &udp(CLIENT, SERVER, 6, 6)]);
    let [master, other] = [verdicts[0].conn, verdicts[1].conn];
    for (timeout, max) in [(0, 1), (u32::MAX, 1), (1, 0), (1, MAX_EXPECTED as u8 + 1)] {
        assert_eq!(w.expect(0, master, &one, timeout, max), Err(ExpectError::Invalid));
    }
    let mut odd = one;
    odd.announce.class = 1;
    assert_eq!(w.expect(0, master, &odd, 10, 1), Err(ExpectError::Invalid));
    w.expect(0, master, &one, 10, 2).unwrap();
    w.expect(0, master, &one, 10, 2).unwrap();
    assert_eq!(table.usage().expectations, 1, "the same, anew");
    assert_eq!(table.expectations(0).count(), 0, "its master is not in the table");
    assert_eq!(w.expect(0, other, &one, 10, 2), Err(ExpectError::Clash));
    let mut wider = one;
    wider.announce.from = None;
    assert_eq!(w.expect(0, other, &wider, 10, 2), Err(ExpectError::Clash));
    w.expect(0, master, &announce(CLIENT, 2).into(), 10, 2).unwrap();
    assert_eq!(w.expect(0, master, &announce(CLIENT, 3).into(), 10, 2), Err(ExpectError::Limit));
    // expect_max.
    w.expect(0, other, &announce(CLIENT, 3).into(), 10, 8).unwrap();
    w.expect(0, other, &announce(CLIENT, 4).into(), 10, 8).unwrap();
    assert_eq!(w.expect(0, other, &announce(CLIENT, 5).into(), 10, 8), Err(ExpectError::Full));
    assert_eq!((table.stats().expect_full, table.usage().expectations), (1, 4));
    // A helper is not attached to what expects by rule already.
    table.add_helper(Arc::new(Tftp)).unwrap();
    let id = table.helper("tftp").unwrap();
    assert_eq!(w.attach_helper(&mut verdicts[0].clone(), id), Err(HelperError::Attached));
    w.idle();
    is_empty(&table);
}

/// There is a place for each expectation that is allowed, wherever chance puts it.
#[test]
fn as_many_as_are_allowed() {
    for (max, tables) in [(1, 50), (8, 50), (64, 20), (500, 10)] {
        for _ in 0..tables {
            let table = expecting(max);
            let mut w = table.worker().unwrap();
            for n in 0..max as u16 {
                let mut verdict = judge(&mut w, 0, &[&udp(CLIENT, SERVER, n + 1, 5)]);
                w.expect(0, verdict[0].conn, &announce(CLIENT, n).into(), 10, 1).unwrap();
                w.confirm(0, &mut verdict, 1);
            }
            assert_eq!((table.usage().expectations, table.stats().expect_full), (max, 0));
            table.flush();
            is_empty(&table);
        }
    }
}

#[test]
fn nothing_is_expected_where_nothing_is_configured() {
    let table = table(MAX);
    let mut w = table.worker().unwrap();
    assert_eq!(table.add_helper(Arc::new(Tftp)), Err(HelperError::Off));
    let verdict = judge(&mut w, 0, &[&udp(CLIENT, SERVER, 5, 5)])[0];
    assert_eq!(w.expect(0, verdict.conn, &announce(CLIENT, 1).into(), 10, 1), Err(ExpectError::Off));
    assert_eq!(table.expectations(0).count(), 0);
    assert!(Config { helper_max: 1, ..config(MAX) }.check().is_err());
    let less = config(MAX).memory().unwrap();
    let more = Config { expect_max: 4096, ..config(MAX) };
    assert!(more.memory().unwrap() > less);
    assert_eq!(Table::new(more.clone()).unwrap().memory(), more.memory().unwrap());
}

/// Helpers of the host's: what they announce is limited by class, the oldest of a class makes room; a child has the helper that was asked
/// for; what does not fit is refused.
struct Custom;

impl Helper for Custom {
    fn name(&self) -> Name {
        Name::new("custom").unwrap()
    }

    fn protocol(&self) -> u8 {
        protocol::UDP
    }

    fn classes(&self) -> &[Class] {
        const CLASSES: [Class; 2] = [
            Class { name: Name::NONE, max: 2, timeout: 10 },
            Class { name: Name::NONE, max: 1, timeout: 20 },
        ];
        &CLASSES
    }

    /// One port a byte; the class is that of its highest bit. Counts the packets in its state.
    fn help(&self, about: &Heading, payload: &[u8], state: &mut State, to: &mut Announcements) -> Answer {
        state[7] += 1;
        match payload {
            b"panic" => panic!("as asked"),
            b"drop" => return Answer::Drop,
            b"count" => assert!(to.push(Expect::from(announce(CLIENT, state[7] as u16)))),
            _ => {}
        }
        for byte in payload.iter().filter(|byte| !byte.is_ascii_lowercase()) {
            let announce = Announce {
                class: byte >> 7,
                to: about.original.src,
                ..announce(CLIENT, (byte & 0x7f).into())
            };
            let helper = Some(conntab::HelperId::from_number(1));
            if !to.push(Expect { announce, permanent: false, helper }) {
                return Answer::Drop;
            }
        }
        Answer::Pass
    }
}

fn shown(table: &Table, w: &mut Worker, data: &[u8]) -> (u64, Verdict) {
    let packet = datagram(CLIENT, SERVER, 7, 7, data);
    let packets = [Packet::new(&packet)];
    let mut verdicts = [Verdict::default()];
    w.track(0, &packets, &mut verdicts);
    let _ = w.attach_helper(&mut verdicts[0], table.helper("custom").unwrap());
    let keep = w.help(0, &packets, &mut verdicts, 1);
    w.confirm(0, &mut verdicts, keep);
    (keep, verdicts[0])
}

fn expected(table: &Table) -> Vec<u16> {
    let mut all: Vec<_> = table.expectations(0).map(|e| e.tuple.dport).collect();
    all.sort_unstable();
    all
}

#[test]
fn a_helper_of_the_hosts() {
    let table = expecting(64);
    table.add_helper(Arc::new(Custom)).unwrap();
    assert_eq!(table.add_helper(Arc::new(Custom)), Err(HelperError::Exists));
    let mut w = table.worker().unwrap();
    assert_eq!(shown(&table, &mut w, &[1, 2, 0x80 | 9]).0, 1);
    assert_eq!(expected(&table), [1, 2, 9]);
    shown(&table, &mut w, &[3]);
    assert_eq!(expected(&table), [2, 3, 9], "the oldest of its class made room");
    shown(&table, &mut w, &[0x80 | 10, 2]);
    assert_eq!(expected(&table), [2, 3, 10]);
    shown(&table, &mut w, &[4]);
    assert_eq!(expected(&table), [2, 4, 10], "what was announced again is the youngest");
    // Too many, or dropped by itself.
    let (keep, verdict) = shown(&table, &mut w, &[5; 9]);
    assert_eq!((keep, verdict.state, verdict.reason.as_str()), (0, CtState::Drop, "helper"));
    assert_eq!(shown(&table, &mut w, b"drop").0, 0);
    assert_eq!(expected(&table), [2, 4, 10]);
    // The child has the helper that was asked for.
    let child = pass(&mut w, 0, &answer(4));
    assert_eq!(child.status, status::EXPECTED | status::HELPER | status::CONFIRMED);
    let connection = table.dump(0).find(|c| c.handle == child.conn).unwrap();
    assert_eq!(connection.helper.unwrap().as_str(), "custom");
    assert_eq!(w.expect(0, child.conn, &announce(CLIENT, 50).into(), 10, 1), Ok(()), "it has a helper");
    // What it remembers, through all that: six packets before this one.
    shown(&table, &mut w, b"count");
    assert!(expected(&table).contains(&7), "{:?}", expected(&table));
    table.flush();
    is_empty(&table);
}

/// A helper that panics leaves its record.
#[test]
fn a_panic_leaves_nothing_behind() {
    let table = expecting(64);
    table.add_helper(Arc::new(Custom)).unwrap();
    let mut w = table.worker().unwrap();
    shown(&table, &mut w, &[1]);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shown(&table, &mut w, b"panic")));
    assert!(panicked.is_err());
    assert_eq!(shown(&table, &mut w, &[2]).0, 1);
    assert_eq!(expected(&table), [1, 2]);
    drop(w);
    table.flush();
    is_empty(&table);
}

/// Two workers announce, match and end, on the same few connections.
#[test]
fn two_workers_leave_nothing_behind() {
    let (table, worker) = tftp();
    let workers = [worker, table.worker().unwrap()];
    std::thread::scope(|scope| {
        for (seed, mut w) in workers.into_iter().enumerate() {
            let table = &table;
            scope.spawn(move || {
                let mut random = 0x9e37_79b9_7f4a_7c15_u64 ^ seed as u64;
                for round in 0..100_000_u64 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let port = 3000 + (random >> 8) as u16 % 4;
                    match random % 5 {
                        0 | 1 => drop(attached(table, &mut w, round, &request(port))),
                        2 | 3 => drop(pass(&mut w, round, &udp(SERVER, CLIENT, random as u16 | 1, port))),
                        _ => {
                            let found = table.dump(round).next().map(|c| c.handle);
                            found.map(|conn| w.delete(conn));
                        }
                    }
                    if round % 64 == 0 {
                        w.reap(round, 4096);
                        table.events().for_each(drop);
                    }
                }
            });
        }
    });
    let stats = table.stats();
    assert!(stats.expect_create > 1000 && stats.expect_new > 1000, "{stats:?}");
    table.flush();
    is_empty(&table);
}
