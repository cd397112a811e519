//! SCTP through a table. (What the tracker decides is in `sctp_states.rs` and in the recorded scenarios.)

mod common;
mod sctp;

use common::judge;
use conntab::conn::status;
use conntab::connection::Tracked;
use conntab::event::{EventKind, change};
use conntab::packet::packet_flag;
use conntab::proto::sctp::State;
use conntab::{Config, CtState, Packet, Reason, Table, Verdict, Worker};
use sctp::{chunk, ipv4};

const A: u32 = 0xa1a1_a1a1;
const B: u32 = 0xb2b2_b2b2;

fn make() -> (Table, Worker) {
    let config = Config { max: 1024, acct: true, events: 64, prefault: false, ..Config::default() };
    let table = Table::new(config).expect("a table");
    let worker = table.worker().expect("a worker");
    (table, worker)
}

fn init(kind: u8, tag: u32) -> Vec<u8> {
    chunk(kind, 0, &[&tag.to_be_bytes()[..], &[0; 12]].concat())
}

/// From the client with the server's tag, and back.
fn there(chunks: &[u8]) -> Vec<u8> {
    ipv4(1000, 38412, B, chunks)
}

fn back(chunks: &[u8]) -> Vec<u8> {
    ipv4(38412, 1000, A, chunks)
}

fn first() -> Vec<u8> {
    ipv4(1000, 38412, 0, &init(1, A))
}

fn pass(worker: &mut Worker, packet: &[u8]) -> Verdict {
    common::pass(worker, 0, packet)
}

fn established(worker: &mut Worker) -> Verdict {
    pass(worker, &first());
    pass(worker, &back(&init(2, B)));
    pass(worker, &there(&chunk(10, 0, &[0; 8])));
    pass(worker, &back(&chunk(11, 0, &[])))
}

#[test]
fn the_life_of_an_association() {
    let (table, mut worker) = make();
    let verdict = established(&mut worker);
    assert_eq!((verdict.state, verdict.proto_state), (CtState::Established, State::Established as u8));
    let shown = table.dump(0).next().expect("it");
    assert_eq!(
        shown.to_string(),
        "ipv4     2 sctp     132 210 ESTABLISHED src=10.1.0.1 dst=10.2.0.1 sport=1000 dport=38412 packets=2 bytes=96 \
         src=10.2.0.1 dst=10.1.0.1 sport=38412 dport=1000 packets=2 bytes=88 [ASSURED] mark=0 zone=0 use=1"
    );
    let Tracked::Sctp(State::Established, Some(record)) = shown.tracked else { panic!("{shown:?}") };
    assert_eq!(record.tags, [B, A]);
    assert_eq!(
        shown.to_string().parse::<conntab::Connection>().expect("its line").tracked.state(),
        Some("ESTABLISHED")
    );

    pass(&mut worker, &there(&chunk(7, 0, &[0; 4])));
    pass(&mut worker, &back(&chunk(8, 0, &[])));
    pass(&mut worker, &there(&chunk(14, 0, &[])));
    let told: Vec<_> = table.events().map(|event| event.to_string()).collect();
    let states: Vec<_> = told.iter().map(|line| line.split_whitespace().nth(4).expect("a state")).collect();
    let expected = [
        "CLOSED",
        "COOKIE_WAIT",
        "COOKIE_ECHOED",
        "ESTABLISHED",
        "SHUTDOWN_SENT",
        "SHUTDOWN_ACK_SENT",
        "CLOSED",
    ];
    assert_eq!(states, expected, "{told:#?}");
}

#[test]
fn timeouts_are_tunables() {
    let (table, mut worker) = make();
    table.set("sctp_timeout_established", 77).expect("a tunable");
    established(&mut worker);
    assert_eq!(table.dump(0).next().expect("it").timeout_ms, 77_000);
}

/// What the chunks before the one that makes a packet INVALID have changed stays, and is told with the next that passes.
#[test]
fn an_invalid_packet_changes_the_state() {
    let (table, mut worker) = make();
    established(&mut worker);
    table.events().for_each(drop);
    let bundle = [chunk(7, 0, &[0; 4]), chunk(6, 1, &[])].concat();
    let verdict = pass(&mut worker, &there(&bundle));
    assert_eq!((verdict.state, verdict.reason), (CtState::Invalid, Reason::SctpTag));
    let shown = table.dump(0).next().expect("it");
    assert_eq!((shown.tracked.state(), shown.timeout_ms), (Some("SHUTDOWN_SENT"), 210_000));
    assert_eq!(table.events().count(), 0);
    pass(&mut worker, &there(&chunk(3, 0, &[0; 12])));
    let events: Vec<_> = table.events().collect();
    assert!(
        matches!(events[..], [ref event] if event.kind == EventKind::Update && event.changes == change::PROTOINFO)
    );
}

/// Nothing is judged by a packet's place in a burst.
#[test]
fn bursts() {
    let (table, mut worker) = make();
    let (init, again, data) = (first(), ipv4(1000, 38412, 0, &init(1, A + 1)), there(&chunk(0, 3, &[0; 13])));
    let mut verdicts = judge(&mut worker, 0, &[&init, &again, &data]);
    let seen: Vec<_> = verdicts.iter().map(|v| (v.state, v.reason)).collect();
    let expected = [
        (CtState::New, Reason::None),
        (CtState::New, Reason::SctpInitAgain),
        (CtState::Invalid, Reason::SctpTag),
    ];
    assert_eq!(seen, expected);
    worker.confirm(0, &mut verdicts, 0b111);
    let shown = table.dump(0).next().expect("it");
    assert_eq!(shown.counters.map(|c| c[0].packets), Some(1));
    let Tracked::Sctp(State::Closed, Some(record)) = shown.tracked else { panic!("{shown:?}") };
    assert_eq!(record.tags, [0, A + 1]);
    assert_eq!(shown.status & status::SEEN_REPLY, 0);
}

#[test]
fn checksums() {
    let (table, mut worker) = make();
    let mut wrong = first();
    wrong[51] ^= 1;
    let verdict = pass(&mut worker, &wrong);
    assert_eq!((verdict.state, verdict.reason), (CtState::Invalid, Reason::Checksum));
    // The host's hardware may have looked.
    let mut verdicts = [Verdict::default()];
    worker.track(0, &[Packet::new(&wrong).with_flags(packet_flag::CHECKSUM_OK)], &mut verdicts);
    assert_eq!(verdicts[0].state, CtState::New);
    table.set("checksum", 0).expect("a tunable");
    assert_eq!(pass(&mut worker, &wrong).state, CtState::New);
}

#[test]
fn too_many_chunks() {
    let (_table, mut worker) = make();
    established(&mut worker);
    let pair = [chunk(4, 0, &[]), chunk(9, 0, &[])].concat();
    assert_eq!(pass(&mut worker, &there(&pair.repeat(8))).reason, Reason::None);
    let verdict = pass(&mut worker, &there(&pair.repeat(9)));
    assert_eq!((verdict.state, verdict.reason), (CtState::Invalid, Reason::SctpTooMany));
}
