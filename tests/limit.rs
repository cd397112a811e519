//! `max` and the count, through the public path. To be run optimised too (`cargo test --release`): rustc 1.95.0 once
//! lost the spending of permits there (rust-lang/rust#158206).

use conntab::packet::packet_flag::CHECKSUM_OK;
use conntab::{Config, CtState, Handle, Packet, Reason, Table, Verdict, Worker};

/// Opens a UDP connection of its own for every `id`.
fn open(worker: &mut Worker, id: u32) -> Verdict {
    let mut bytes = [0; 28];
    (bytes[0], bytes[3], bytes[8], bytes[9], bytes[25]) = (0x45, 28, 64, 17, 8);
    bytes[12..16].copy_from_slice(&id.to_be_bytes());
    let mut verdicts = [Verdict::default()];
    worker.track(1000, &[Packet::new(&bytes).with_flags(CHECKSUM_OK)], &mut verdicts);
    worker.confirm(1000, &mut verdicts, 1);
    verdicts[0]
}

#[test]
fn the_count_is_kept() {
    let table =
        Table::new(Config { max: 1000, workers: 1, prefault: false, ..Config::default() }).expect("memory");
    let mut worker = table.worker().expect("a worker");
    let mut handles: Vec<Handle> = Vec::new();
    for id in 0..5000 {
        if id >= 900 {
            assert!(worker.delete(handles[id as usize - 900]));
        }
        if id % 100 == 0 {
            worker.reap(1000, 0);
        }
        handles.push(open(&mut worker, id).conn);
        worker.idle();
        assert_eq!(table.count(), (id + 1).min(900));
    }
}

#[test]
fn what_is_ended_is_not_counted() {
    let table =
        Table::new(Config { max: 1000, workers: 1, prefault: false, ..Config::default() }).expect("memory");
    let mut worker = table.worker().expect("a worker");
    let opened = open(&mut worker, 1);
    assert_eq!(table.count(), 1);
    assert!(worker.end_expired(31_000, opened.conn));
    assert_eq!(table.count(), 0);
}

#[test]
fn max_is_never_exceeded() {
    let config = Config { max: 100, hashsize: 1 << 16, workers: 1, prefault: false, ..Config::default() };
    let table = Table::new(config).expect("memory");
    let mut worker = table.worker().expect("a worker");
    let full = (1..1001).map(|id| open(&mut worker, id)).filter(|v| v.reason == Reason::TableFull).count();
    assert!(full > 0);
    assert!(table.count() <= 100, "{}", table.count());
    assert_eq!(table.stats().drop, full as u64);
    // Who is in goes on (which ones were evicted is chance).
    let known = table.dump(1000).next().expect("a full table").original.src;
    let id = u32::from_be_bytes([known[0], known[1], known[2], known[3]]);
    assert_eq!(open(&mut worker, id).state, CtState::New);
}
