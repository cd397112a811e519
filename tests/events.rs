//! What a host is told of connections: NEW, UPDATE, DESTROY, with the kernel's meaning.

mod common;

use common::{tcp, udp};
use conntab::conn::status;
use conntab::connection::Tracked;
use conntab::event::{Event, EventKind, change};
use conntab::packet::Handle;
use conntab::proto::tcp::State;
use conntab::{Config, CtState, Packet, Table, Verdict, Worker};

fn make(events: u32) -> (Table, Worker) {
    let config =
        Config { max: 1024, acct: true, timestamp: true, events, prefault: false, ..Config::default() };
    let table = Table::new(config).expect("a table");
    let worker = table.worker().expect("a worker");
    (table, worker)
}

const C: ([u8; 4], u16) = (common::CLIENT, 1000);
const S: ([u8; 4], u16) = (common::SERVER, 80);

/// Judges a packet; `leaves`: the rules let it through.
fn play(worker: &mut Worker, now: u64, bytes: &[u8], leaves: bool) -> Verdict {
    let packet = Packet::new(bytes).with_flags(conntab::packet::packet_flag::CHECKSUM_OK);
    let mut verdict = [Verdict::default()];
    worker.track(now, &[packet], &mut verdict);
    worker.confirm(now, &mut verdict, leaves.into());
    verdict[0]
}

fn all(table: &Table) -> Vec<Event> {
    table.events().collect()
}

/// Kind, changes, status.
fn brief(events: &[Event]) -> Vec<(EventKind, u16, u16)> {
    events.iter().map(|e| (e.kind, e.changes, e.connection.status)).collect()
}

#[test]
fn the_life_of_a_connection() {
    let (table, mut worker) = make(64);
    let steps = [
        (tcp(C, S, common::SYN, 100, 0, 0), "NEW"),
        (tcp(S, C, common::SYN_ACK, 500, 101, 0), "UPDATE"),
        (tcp(C, S, common::ACK, 101, 501, 0), "UPDATE"),
        (tcp(C, S, common::ACK, 101, 501, 10), ""),
        (tcp(C, S, common::FIN_ACK, 111, 501, 0), "UPDATE"),
    ];
    let mut told = Vec::new();
    for (n, (bytes, expected)) in steps.iter().enumerate() {
        play(&mut worker, 1000 + n as u64 * 1000, bytes, true);
        let events = all(&table);
        assert_eq!(events.len(), usize::from(!expected.is_empty()), "step {n}: {events:?}");
        told.extend(events);
    }
    use change::{ASSURED, NEW, PROTOINFO, REPLY};
    assert_eq!(
        brief(&told),
        [
            (EventKind::New, NEW | PROTOINFO, 0x8),
            (EventKind::Update, REPLY | PROTOINFO, 0xa),
            (EventKind::Update, ASSURED | PROTOINFO, 0xe),
            (EventKind::Update, PROTOINFO, 0xe),
        ]
    );
    assert_eq!(
        told[0].to_string(),
        "    [NEW] tcp      6 120 SYN_SENT src=10.1.0.1 dst=10.2.0.1 sport=1000 dport=80 [UNREPLIED] src=10.2.0.1 dst=10.1.0.1 sport=80 dport=1000"
    );
    assert_eq!(told[3].at, 5000);
    assert!(told.iter().all(|e| e.connection.counters.is_none()), "counters are told at the end");

    // The time that counts is that of its end, not that of the sweep: as in the kernel.
    worker.reap(201_000, u32::MAX);
    let [end] = &all(&table)[..] else { panic!("one end") };
    assert_eq!((end.kind, end.changes, end.connection.status), (EventKind::Destroy, change::DESTROY, 0x20e));
    assert_eq!(end.connection.tracked, Tracked::Tcp(State::FinWait, None));
    assert_eq!(end.connection.counters.expect("counted").map(|c| c.packets), [4, 1]);
    assert_eq!((end.at, end.connection.delta_time), (125_000, Some(124)));
    assert_eq!(
        end.to_string(),
        "[DESTROY] tcp      6 FIN_WAIT src=10.1.0.1 dst=10.2.0.1 sport=1000 dport=80 packets=4 bytes=170 src=10.2.0.1 dst=10.1.0.1 sport=80 dport=1000 packets=1 bytes=40 [ASSURED] delta-time=124"
    );
}

#[test]
fn what_a_dropped_packet_changed_is_told_with_the_next_that_passes() {
    let (table, mut worker) = make(64);
    let (there, back) =
        (udp(common::CLIENT, common::SERVER, 1, 2), udp(common::SERVER, common::CLIENT, 2, 1));
    assert_eq!(play(&mut worker, 0, &there, false).state, CtState::New);
    assert_eq!(all(&table), [], "never confirmed");
    play(&mut worker, 0, &there, true);
    assert_eq!(brief(&all(&table)), [(EventKind::New, change::NEW, 0x8)]);
    play(&mut worker, 0, &back, false);
    play(&mut worker, 3000, &back, false);
    assert_eq!(all(&table), []);
    play(&mut worker, 3000, &there, true);
    assert_eq!(brief(&all(&table)), [(EventKind::Update, change::REPLY | change::ASSURED, 0xe)]);
    play(&mut worker, 3000, &back, true);
    assert_eq!(all(&table), []);
}

#[test]
fn marks() {
    let (table, mut worker) = make(64);
    let there = udp(common::CLIENT, common::SERVER, 1, 2);
    let packet = Packet::new(&there).with_flags(conntab::packet::packet_flag::CHECKSUM_OK);
    let mut verdict = [Verdict::default()];
    worker.track(0, &[packet], &mut verdict);
    assert!(worker.set_mark(verdict[0].conn, 7));
    worker.confirm(0, &mut verdict, 1);
    let [new] = &all(&table)[..] else { panic!("one") };
    assert_eq!((new.changes, new.connection.mark), (change::NEW | change::MARK, 7));
    assert!(worker.set_mark(verdict[0].conn, 7), "the same again is no change");
    play(&mut worker, 0, &there, true);
    assert_eq!(all(&table), []);
    assert!(worker.set_mark(verdict[0].conn, 0));
    assert_eq!(all(&table), [], "told with its next packet");
    play(&mut worker, 0, &there, true);
    let [update] = &all(&table)[..] else { panic!("one") };
    assert_eq!((update.changes, update.connection.mark), (change::MARK, 0));
    assert!(update.to_string().ends_with(" mark=0"), "{update}");
}

#[test]
fn ends_of_every_kind() {
    let (table, mut worker) = make(64);
    let flow = |port| udp(common::CLIENT, common::SERVER, port, 2);
    let open = |worker: &mut Worker, port| play(worker, 5000, &flow(port), true).conn;
    let ended = |what| {
        let events = all(&table);
        let ends: Vec<_> = events.iter().filter(|e| e.kind == EventKind::Destroy).collect();
        assert_eq!(ends.len(), 1, "{what}: {events:?}");
        assert_eq!(ends[0].at, 5000, "{what}");
        assert_eq!(ends[0].connection.status & status::DYING, status::DYING, "{what}");
    };
    let conn = open(&mut worker, 1);
    assert!(worker.delete(conn));
    ended("worker's delete");
    let conn = open(&mut worker, 2);
    assert!(table.delete(conn) && !table.delete(conn));
    ended("table's delete");
    open(&mut worker, 3);
    assert_eq!(table.flush(), 1);
    ended("flush");
    // A refusal: the entry goes with it, as one that has seen no reply.
    play(&mut worker, 5000, &tcp(C, S, common::SYN, 100, 0, 0), true);
    let refusal = play(&mut worker, 5000, &tcp(S, C, common::RST, 0, 101, 0), true);
    assert_eq!(refusal.status & status::SEEN_REPLY, status::SEEN_REPLY);
    let events = all(&table);
    assert_eq!(
        brief(&events)[1..],
        [(EventKind::Destroy, change::DESTROY, status::CONFIRMED | status::DYING)]
    );
    assert_eq!(events[1].connection.tracked, Tracked::Tcp(State::Close, None));
}

#[test]
fn a_full_queue_loses_and_counts() {
    let (table, mut worker) = make(8);
    for port in 0..20 {
        play(&mut worker, 0, &udp(common::CLIENT, common::SERVER, port, 2), true);
    }
    assert_eq!(table.stats().events_lost, 12);
    let events = all(&table);
    assert_eq!(events.len(), 8);
    assert!(
        events.iter().zip(0..).all(|(e, port)| e.connection.original.sport == port),
        "the oldest are kept"
    );
    play(&mut worker, 0, &udp(common::CLIENT, common::SERVER, 99, 2), true);
    assert_eq!(all(&table).len(), 1);
}

#[test]
fn without_queues_or_with_the_tunable_off_nothing_is_told() {
    let (table, mut worker) = make(0);
    let flow = udp(common::CLIENT, common::SERVER, 1, 2);
    play(&mut worker, 0, &flow, true);
    assert_eq!(all(&table), []);
    assert_eq!(table.stats().events_lost, 0);
    let (table, mut worker) = make(8);
    table.set("events", 0).expect("a tunable");
    play(&mut worker, 0, &flow, true);
    assert_eq!(all(&table), []);
    table.set("events", 1).expect("a tunable");
    worker.reap(40_000, u32::MAX);
    assert_eq!(all(&table).len(), 1, "its end");
}

#[test]
fn events_of_a_burst_come_in_the_order_of_its_packets() {
    let (table, mut worker) = make(64);
    play(&mut worker, 0, &udp(common::CLIENT, common::SERVER, 1, 2), true);
    all(&table);
    let burst = [
        udp(common::CLIENT, common::SERVER, 10, 2),
        udp(common::SERVER, common::CLIENT, 2, 1),
        udp(common::CLIENT, common::SERVER, 11, 2),
        udp(common::CLIENT, common::SERVER, 10, 2),
    ];
    let packets: Vec<_> =
        burst.iter().map(|b| Packet::new(b).with_flags(conntab::packet::packet_flag::CHECKSUM_OK)).collect();
    let mut verdicts = [Verdict::default(); 4];
    worker.track(0, &packets, &mut verdicts);
    worker.confirm(0, &mut verdicts, 0b1111);
    let told: Vec<_> = all(&table).iter().map(|e| (e.kind, e.connection.original.sport)).collect();
    assert_eq!(told, [(EventKind::New, 10), (EventKind::Update, 1), (EventKind::New, 11)]);
}

#[test]
fn what_two_workers_did_is_all_there() {
    let (table, first) = make(1 << 12);
    let second = table.worker().expect("a second");
    std::thread::scope(|scope| {
        for (n, mut worker) in [first, second].into_iter().enumerate() {
            scope.spawn(move || {
                for port in 0..400 {
                    play(&mut worker, 0, &udp([10, 1, 0, n as u8], common::SERVER, port, 2), true);
                    play(&mut worker, 0, &udp(common::SERVER, [10, 1, 0, n as u8], 2, port), true);
                }
                worker.idle();
            });
        }
    });
    table.flush();
    let events = all(&table);
    let count = |kind| events.iter().filter(|e| e.kind == kind).count();
    assert_eq!([EventKind::New, EventKind::Update, EventKind::Destroy].map(count), [800; 3]);
}

/// Two workers meet in the same few connections, and everybody ends them: refused, expired, deleted, flushed.
#[test]
fn each_begins_once_and_ends_once_whoever_is_at_it() {
    let (table, first) = make(1 << 15);
    let second = table.worker().expect("a second");
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (table, done) = (&table, &done);
        let workers = [first, second].into_iter().zip(1u64..).map(|(mut worker, n)| {
            scope.spawn(move || {
                let mut random = n * 0x9e37_79b9;
                for round in 0..8000 {
                    random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(n);
                    let (port, what) = ((random >> 60) as u16, random >> 40 & 15);
                    let (c, now) = ((common::CLIENT, 1000 + port), 1000 + round / 4);
                    let bytes = match what {
                        0..4 => udp(common::CLIENT, common::SERVER, port, 2),
                        4..8 => udp(common::SERVER, common::CLIENT, 2, port),
                        8..11 => tcp(c, S, common::SYN, 100, 0, 0),
                        11..13 => tcp(S, c, common::SYN_ACK, 500, 101, 0),
                        _ => tcp(S, c, common::RST_ACK, 0, 101, 0),
                    };
                    let conn = play(&mut worker, now, &bytes, what != 7).conn;
                    match random >> 32 & 63 {
                        0..8 => drop(worker.set_mark(conn, random as u32 & 3)),
                        8 => drop(worker.delete(conn)),
                        9 => drop(table.delete(conn)),
                        10 => drop(worker.reap(now, 2048)),
                        11 => drop(worker.set_closing(now, conn)),
                        12 => drop(table.set("udp_timeout", random as u32 & 1)),
                        _ => {}
                    }
                }
                worker.idle();
            })
        });
        let workers: Vec<_> = workers.collect();
        scope.spawn(move || {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                table.flush();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        workers.into_iter().for_each(|worker| worker.join().expect("a worker"));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    table.flush();
    assert_eq!(table.stats().events_lost, 0);
    let mut told = std::collections::HashMap::<Handle, Vec<Event>>::new();
    for event in all(&table) {
        told.entry(event.connection.handle).or_default().push(event);
    }
    assert_eq!(told.len() as u64, table.stats().insert);
    for events in told.values() {
        let count = |kind| events.iter().filter(|e| e.kind == kind).count();
        assert_eq!([EventKind::New, EventKind::Destroy].map(count), [1, 1], "{events:?}");
        for once in [change::REPLY, change::ASSURED] {
            assert!(events.iter().filter(|e| e.changes & once != 0).count() <= 1, "{events:?}");
        }
        let same = |e: &Event| (e.connection.original, e.connection.reply);
        assert!(events.iter().all(|e| same(e) == same(&events[0])), "{events:?}");
    }
}

#[test]
fn lives_are_told_in_the_clocks_whole_seconds() {
    let (table, mut worker) = make(64);
    let conn = play(&mut worker, 1900, &udp(common::CLIENT, common::SERVER, 1, 2), true).conn;
    assert!(!worker.end_expired(31_899, conn), "it has time left");
    assert!(worker.end_expired(31_900, conn));
    assert!(!worker.end_expired(31_900, conn) && !worker.end_expired(31_900, Handle::NONE));
    let conn = play(&mut worker, 41_900, &udp(common::CLIENT, common::SERVER, 1, 2), true).conn;
    // As a kernel showed one that lived from .897 to .611: 2.7 s, and delta-time=3.
    worker.track(44_100, &[], &mut []);
    assert!(worker.delete(conn));
    let ends: Vec<_> = all(&table).into_iter().filter(|e| e.kind == EventKind::Destroy).collect();
    let told: Vec<_> = ends.iter().map(|e| (e.at, e.connection.delta_time)).collect();
    assert_eq!(told, [(31_900, Some(30)), (44_100, Some(3))]);
}

#[test]
fn what_is_ended_by_a_worker_that_was_told_no_time() {
    let (table, mut worker) = make(64);
    // Ticks beyond half their range: the time 0 would make this look long expired.
    let now = 3_000_000_000;
    let conn = play(&mut worker, now, &udp(common::CLIENT, common::SERVER, 1, 2), true).conn;
    let mut other = table.worker().expect("another");
    worker.track(now + 10_000, &[], &mut []);
    assert!(other.delete(conn));
    let events = all(&table);
    let end = events.iter().find(|e| e.kind == EventKind::Destroy).expect("its end");
    assert_eq!((end.at, end.connection.timeout_ms), (now + 10_000, 20_000));
    assert_eq!(end.connection.delta_time, Some(10));
}

#[test]
fn what_ends_within_the_burst_that_opened_it_has_begun_before() {
    let (table, mut worker) = make(64);
    table.set("udp_timeout", 0).expect("a tunable");
    // The second, NEW of its own, meets the first at confirm: its time is up already.
    let burst = [udp(common::CLIENT, common::SERVER, 1, 2), udp(common::SERVER, common::CLIENT, 2, 1)];
    let packets =
        [0, 1].map(|i| Packet::new(&burst[i]).with_flags(conntab::packet::packet_flag::CHECKSUM_OK));
    let mut verdicts = [Verdict::default(); 2];
    worker.track(0, &packets, &mut verdicts);
    worker.confirm(0, &mut verdicts, 0b11);
    let told: Vec<_> = all(&table).iter().map(|e| (e.kind, e.connection.original.sport)).collect();
    assert_eq!(told, [(EventKind::New, 1), (EventKind::Destroy, 1), (EventKind::New, 2)]);
}

/// Lines that a kernel's `conntrack -E` printed (6.18, conntrack 1.4.7), and the connections of `/proc` they tell of.
#[test]
fn lines_of_conntrack() {
    use change::{ASSURED, DESTROY, MARK, NEW, PROTOINFO, REPLY};
    for (kind, changes, connection, line) in [
        (
            EventKind::New,
            NEW,
            "ipv6 10 udp 17 30 src=2001:0db8:0001:0000:0000:0000:0000:0010 dst=2001:0db8:0003:0000:0000:0000:0000:0010 sport=1000 dport=5001 zone-orig=3 [UNREPLIED] src=2001:0db8:0003:0000:0000:0000:0000:0010 dst=2001:0db8:0001:0000:0000:0000:0000:0010 sport=5001 dport=1000 mark=0",
            "    [NEW] udp      17 30 src=2001:db8:1::10 dst=2001:db8:3::10 sport=1000 dport=5001 zone-orig=3 [UNREPLIED] src=2001:db8:3::10 dst=2001:db8:1::10 sport=5001 dport=1000",
        ),
        (
            EventKind::Destroy,
            DESTROY,
            "ipv4 2 udp 17 26 src=10.1.0.1 dst=10.2.0.1 sport=1000 dport=5001 zone-orig=3 packets=1 bytes=29 src=10.2.0.1 dst=10.1.0.1 sport=5001 dport=1000 packets=1 bytes=29 mark=0 delta-time=3",
            "[DESTROY] udp      17 26 src=10.1.0.1 dst=10.2.0.1 sport=1000 dport=5001 zone-orig=3 packets=1 bytes=29 src=10.2.0.1 dst=10.1.0.1 sport=5001 dport=1000 packets=1 bytes=29 delta-time=3",
        ),
        (
            EventKind::Destroy,
            DESTROY,
            "ipv4 2 udp 17 28 src=10.1.0.1 dst=10.2.0.1 sport=1000 dport=5003 packets=1 bytes=29 src=10.2.0.1 dst=10.1.0.1 sport=5003 dport=1000 zone-reply=5 packets=1 bytes=29 mark=0 delta-time=2",
            "[DESTROY] udp      17 28 src=10.1.0.1 dst=10.2.0.1 sport=1000 dport=5003 packets=1 bytes=29 src=10.2.0.1 dst=10.1.0.1 sport=5003 dport=1000 zone-reply=5 packets=1 bytes=29 delta-time=2",
        ),
        (
            EventKind::Destroy,
            DESTROY,
            "ipv4 2 udp 17 26 src=10.1.0.1 dst=10.2.0.1 sport=1000 dport=5002 packets=1 bytes=29 src=10.2.0.1 dst=10.1.0.1 sport=5002 dport=1000 packets=1 bytes=29 mark=8 zone=4 delta-time=3",
            "[DESTROY] udp      17 26 src=10.1.0.1 dst=10.2.0.1 sport=1000 dport=5002 packets=1 bytes=29 src=10.2.0.1 dst=10.1.0.1 sport=5002 dport=1000 packets=1 bytes=29 mark=8 zone=4 delta-time=3",
        ),
        (
            EventKind::Update,
            REPLY | MARK,
            "ipv4 2 udp 17 30 src=10.1.0.1 dst=10.2.0.1 sport=1000 dport=5006 src=10.2.0.1 dst=10.1.0.1 sport=5006 dport=1000 mark=0 zone=0",
            " [UPDATE] udp      17 30 src=10.1.0.1 dst=10.2.0.1 sport=1000 dport=5006 src=10.2.0.1 dst=10.1.0.1 sport=5006 dport=1000 mark=0",
        ),
        (
            EventKind::New,
            NEW,
            "ipv4 2 udp 17 0 src=10.1.0.1 dst=10.2.0.1 sport=1000 dport=5001 [UNREPLIED] src=10.2.0.1 dst=10.1.0.1 sport=5001 dport=1000 mark=0 zone=0",
            "    [NEW] udp      17 0 src=10.1.0.1 dst=10.2.0.1 sport=1000 dport=5001 [UNREPLIED] src=10.2.0.1 dst=10.1.0.1 sport=5001 dport=1000",
        ),
        (
            EventKind::New,
            NEW,
            "ipv6 10 udp 17 30 src=0000:0000:0000:0000:0000:0000:0102:0304 dst=0000:0000:0000:0000:0000:0000:0001:0000 sport=1 dport=2 [UNREPLIED] src=0000:0000:0000:0000:0000:0000:0001:0000 dst=0000:0000:0000:0000:0000:0000:0102:0304 sport=2 dport=1 mark=0 zone=0",
            "    [NEW] udp      17 30 src=::1.2.3.4 dst=::0.1.0.0 sport=1 dport=2 [UNREPLIED] src=::0.1.0.0 dst=::1.2.3.4 sport=2 dport=1",
        ),
        (
            EventKind::New,
            NEW,
            "ipv6 10 udp 17 30 src=0000:0000:0000:0000:0000:ffff:0102:0304 dst=0001:0000:0000:0000:0001:0000:0000:0001 sport=1 dport=2 [UNREPLIED] src=0001:0000:0000:0000:0001:0000:0000:0001 dst=0000:0000:0000:0000:0000:ffff:0102:0304 sport=2 dport=1 mark=0 zone=0",
            "    [NEW] udp      17 30 src=::ffff:1.2.3.4 dst=1::1:0:0:1 sport=1 dport=2 [UNREPLIED] src=1::1:0:0:1 dst=::ffff:1.2.3.4 sport=2 dport=1",
        ),
        (
            EventKind::New,
            NEW,
            "ipv6 10 udp 17 30 src=0001:0002:0003:0004:0005:0000:0007:0008 dst=0001:0000:0000:0004:0005:0000:0000:0008 sport=1 dport=2 [UNREPLIED] src=0001:0000:0000:0004:0005:0000:0000:0008 dst=0001:0002:0003:0004:0005:0000:0007:0008 sport=2 dport=1 mark=0 zone=0",
            "    [NEW] udp      17 30 src=1:2:3:4:5:0:7:8 dst=1::4:5:0:0:8 sport=1 dport=2 [UNREPLIED] src=1::4:5:0:0:8 dst=1:2:3:4:5:0:7:8 sport=2 dport=1",
        ),
        (
            EventKind::New,
            NEW,
            "ipv6 10 udp 17 30 src=0000:0000:0000:0000:0000:0005:0102:0304 dst=2000:0000:0000:0000:0000:0000:0000:0000 sport=1 dport=2 [UNREPLIED] src=2000:0000:0000:0000:0000:0000:0000:0000 dst=0000:0000:0000:0000:0000:0005:0102:0304 sport=2 dport=1 mark=0 zone=0",
            "    [NEW] udp      17 30 src=::5:102:304 dst=2000:: sport=1 dport=2 [UNREPLIED] src=2000:: dst=::5:102:304 sport=2 dport=1",
        ),
        (
            EventKind::Update,
            ASSURED,
            "ipv4 2 tcp 6 300 ESTABLISHED src=10.1.0.1 dst=10.2.0.1 sport=7 dport=80 src=10.2.0.1 dst=10.1.0.1 sport=80 dport=7 [ASSURED] mark=0 zone=0",
            " [UPDATE] tcp      6 300 src=10.1.0.1 dst=10.2.0.1 sport=7 dport=80 src=10.2.0.1 dst=10.1.0.1 sport=80 dport=7 [ASSURED]",
        ),
        (
            EventKind::Update,
            REPLY | PROTOINFO,
            "ipv4 2 tcp 6 119 SYN_SENT2 src=10.1.0.1 dst=10.2.0.1 sport=8 dport=80 src=10.2.0.1 dst=10.1.0.1 sport=80 dport=8 mark=0 zone=0",
            " [UPDATE] tcp      6 119 SYN_SENT2 src=10.1.0.1 dst=10.2.0.1 sport=8 dport=80 src=10.2.0.1 dst=10.1.0.1 sport=80 dport=8",
        ),
        (
            EventKind::Destroy,
            DESTROY,
            "ipv4 2 tcp 6 0 CLOSE src=10.1.0.1 dst=10.2.0.1 sport=900 dport=80 src=10.2.0.1 dst=10.1.0.1 sport=80 dport=900 [ASSURED] mark=0 zone=0 delta-time=3",
            "[DESTROY] tcp      6 CLOSE src=10.1.0.1 dst=10.2.0.1 sport=900 dport=80 src=10.2.0.1 dst=10.1.0.1 sport=80 dport=900 [ASSURED] delta-time=3",
        ),
        (
            EventKind::New,
            NEW,
            "ipv4 2 gre 47 30 timeout=30, stream_timeout=180 src=10.1.0.1 dst=10.2.0.1 srckey=0x0 dstkey=0x77 [UNREPLIED] src=10.2.0.1 dst=10.1.0.1 srckey=0x77 dstkey=0x0 mark=0 zone=0",
            "    [NEW] gre      47 30 src=10.1.0.1 dst=10.2.0.1 srckey=0x0 dstkey=0x77 [UNREPLIED] src=10.2.0.1 dst=10.1.0.1 srckey=0x77 dstkey=0x0",
        ),
        (
            EventKind::New,
            NEW,
            "ipv4 2 icmp 1 30 src=10.1.0.1 dst=10.2.0.1 type=8 code=0 id=77 [UNREPLIED] src=10.2.0.1 dst=10.1.0.1 type=0 code=0 id=77 mark=0 zone=0",
            "    [NEW] icmp     1 30 src=10.1.0.1 dst=10.2.0.1 type=8 code=0 id=77 [UNREPLIED] src=10.2.0.1 dst=10.1.0.1 type=0 code=0 id=77",
        ),
        (
            EventKind::New,
            NEW,
            "ipv4 2 unknown 253 600 src=10.1.0.1 dst=10.2.0.1 [UNREPLIED] src=10.2.0.1 dst=10.1.0.1 mark=0 zone=0",
            "    [NEW] unknown  253 600 src=10.1.0.1 dst=10.2.0.1 [UNREPLIED] src=10.2.0.1 dst=10.1.0.1",
        ),
        (
            EventKind::New,
            NEW,
            "ipv4 2 udplite 136 30 src=10.1.0.1 dst=10.2.0.1 sport=5000 dport=53 [UNREPLIED] src=10.2.0.1 dst=10.1.0.1 sport=53 dport=5000 mark=0 zone=0",
            "    [NEW] udplite  136 30 src=10.1.0.1 dst=10.2.0.1 sport=5000 dport=53 [UNREPLIED] src=10.2.0.1 dst=10.1.0.1 sport=53 dport=5000",
        ),
    ] {
        let connection = connection.parse().expect("a line of /proc");
        assert_eq!(Event { kind, changes, at: 0, connection, expectation: None }.to_string(), line);
    }
}
