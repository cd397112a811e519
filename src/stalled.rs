//! Tests: a worker that stands still in the middle of a TCP record. The others go on without it.

use crate::conn::status;
use crate::packet::packet_flag::CHECKSUM_OK;
use crate::proto::tcp::State;
use crate::{Config, CtState, Packet, Reason, Table, Verdict, Worker};

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// A TCP segment with ten bytes of data, unless it opens or resets.
fn segment(reply: bool, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    let data = if flags == ACK { 10 } else { 0 };
    let ends = [[10, 1, 0, 1], [10, 2, 0, 1]];
    let ports = [1000u16, 80];
    let (from, to) = (usize::from(reply), usize::from(!reply));
    let mut bytes = vec![0x45, 0, 0, 40 + data, 0, 0, 0, 0, 64, 6, 0, 0];
    bytes.extend(ends[from]);
    bytes.extend(ends[to]);
    bytes.extend(ports[from].to_be_bytes());
    bytes.extend(ports[to].to_be_bytes());
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend([0x50, flags, 0x10, 0, 0, 0, 0, 0]);
    bytes.resize(40 + usize::from(data), 0);
    bytes
}

fn pass(worker: &mut Worker, bytes: &[u8]) -> Verdict {
    let mut verdicts = [Verdict::default()];
    worker.track(0, &[Packet::new(bytes).with_flags(CHECKSUM_OK)], &mut verdicts);
    worker.confirm(0, &mut verdicts, 1);
    verdicts[0]
}

#[test]
fn a_record_held_by_a_stalled_worker_stops_nobody() {
    let config = Config { max: 64, acct: true, prefault: false, ..Config::default() };
    let table = Table::new(config).unwrap();
    let mut worker = table.worker().unwrap();
    pass(&mut worker, &segment(false, SYN, 1000, 0));
    pass(&mut worker, &segment(true, SYN | ACK, 5000, 1001));
    let established = pass(&mut worker, &segment(false, ACK, 1001, 5001));
    assert_eq!(established.proto_state, State::Established as u8);
    let far = segment(false, ACK, 0x4000_0000, 5001);
    assert_eq!(pass(&mut worker, &far).state, CtState::Invalid);

    // Somebody entered the record, and sleeps.
    let entry = worker.shared.table.entry(established.conn.index());
    let version = entry.enter_record().unwrap();
    let before = entry.load_record();
    let data = pass(&mut worker, &segment(true, ACK, 5001, 1011));
    assert_eq!((data.state, data.reason, data.conn), (CtState::Established, Reason::Busy, established.conn));
    // A reset ends nothing now, nor does a SYN begin anything.
    for flags in [RST, SYN] {
        let verdict = pass(&mut worker, &segment(false, flags, 1011, 0));
        assert_eq!((verdict.state, verdict.reason), (CtState::Established, Reason::Busy));
        assert_eq!(verdict.proto_state, State::Established as u8);
    }
    let entry = worker.shared.table.entry(established.conn.index());
    assert_eq!(entry.load_record(), before);
    let shown = table.dump(0).next().unwrap();
    assert!(matches!(shown.tracked, crate::connection::Tracked::Tcp(State::Established, None)), "{shown:?}");
    assert_eq!(shown.counters.unwrap().map(|c| c.packets), [4, 2], "but they are counted");
    assert_eq!(table.stats().busy, 3);

    // It wakes up. As the window is not known any more, it is not judged any more.
    entry.leave_record(version);
    let verdict = pass(&mut worker, &far);
    assert_eq!((verdict.state, verdict.reason), (CtState::Established, Reason::None));
    assert_eq!(verdict.status & status::SEEN_REPLY, status::SEEN_REPLY);
}
