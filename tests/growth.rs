//! `max` raised while packets flow: nothing is lost, `max` is obeyed, memory is what the table says.

mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use common::*;
use conntab::config::ConfigError;
use conntab::config::Region;
use conntab::{Config, CtState, Handle, Packet, Table, Verdict, Worker};

/// One test measures the memory of the process.
static ALONE: Mutex<()> = Mutex::new(());

const RELAXED: Ordering = Ordering::Relaxed;

fn growing(max: u32, max_reserve: u32) -> Config {
    let mut config = Config { max_reserve, workers: 3, ..config(max) };
    config.tunables.events = 0;
    config
}

/// A flow of worker `w`, number `n`; both are its name.
fn packets_of(w: u32, n: u32) -> [Vec<u8>; 2] {
    let (src, dst) = (host(n), host(0x80_0000 | n));
    [udp(src, dst, 1000 + w as u16, 53), udp(dst, src, 53, 1000 + w as u16)]
}

struct Flow {
    packets: [Vec<u8>; 2],
    conn: Handle,
}

/// Opens one and lets it be answered.
fn establish(worker: &mut Worker, now: u64, packets: [Vec<u8>; 2]) -> Flow {
    let first = pass(worker, now, &packets[0]);
    assert_eq!(first.state, CtState::New, "{first:?}");
    let reply = pass(worker, now, &packets[1]);
    assert_eq!((reply.state, reply.conn), (CtState::Established, first.conn));
    Flow { packets, conn: first.conn }
}

/// Every packet of every flow finds its connection, in both directions.
fn all_established(worker: &mut Worker, now: u64, flows: &[Flow]) {
    for flows in flows.chunks(16) {
        let packets: Vec<&[u8]> =
            flows.iter().flat_map(|flow| flow.packets.iter().map(Vec::as_slice)).collect();
        for (i, verdict) in judge(worker, now, &packets).iter().enumerate() {
            assert_eq!((verdict.state, verdict.conn), (CtState::Established, flows[i / 2].conn));
        }
    }
}

/// Opens, deletes, tracks all it has and reaps, until told to stop; as many flows as `target` says.
fn work(table: &Table, w: u32, target: &AtomicU32, full: &AtomicU32, stop: &AtomicBool) {
    let mut worker = table.worker().expect("a worker");
    let (mut flows, mut serial, mut told): (Vec<Flow>, u32, u32) = (Vec::new(), 0, 0);
    let mut now = 1000;
    while !stop.load(RELAXED) {
        now += 1;
        let most = target.load(RELAXED) as usize;
        for _ in 0..64 {
            if flows.len() >= most {
                let gone = flows.swap_remove(serial as usize % flows.len());
                assert!(worker.delete(gone.conn), "it was there");
                let verdict = judge(&mut worker, now, &[&gone.packets[0]])[0];
                assert_eq!(verdict.state, CtState::New, "deleted and yet there");
            }
            serial += 1;
            flows.push(establish(&mut worker, now, packets_of(w, serial)));
        }
        all_established(&mut worker, now, &flows);
        worker.reap(now, 4096);
        if flows.len() >= most && most as u32 > told {
            told = most as u32;
            full.fetch_add(1, RELAXED);
        }
    }
    all_established(&mut worker, now, &flows);
}

#[test]
fn connections_live_through_growth() {
    let _alone = ALONE.lock();
    let table = Table::new(growing(1000, 64_000)).expect("a table");
    let buckets = table.usage().buckets;
    let (target, full, stop) = (AtomicU32::new(400), AtomicU32::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for w in 0..2 {
            let (table, target, full, stop) = (&table, &target, &full, &stop);
            scope.spawn(move || work(table, w, target, full, stop));
        }
        for (n, max) in [2000, 4000, 8000, 32_000].into_iter().enumerate() {
            while full.load(RELAXED) < 2 * (n as u32 + 1) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            table.set_max(max).expect("room");
            assert_eq!(table.usage().max, max);
            // Those that live all the time are all told of, once.
            let mut seen: Vec<u64> = table.dump(1000).map(|c| c.handle.to_u64()).collect();
            let told = seen.len();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), told);
            assert!(told as u32 >= 2 * (target.load(RELAXED) - 64), "{told}");
            target.store(max / 10 * 4, RELAXED);
        }
        while full.load(RELAXED) < 10 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(table.stats().drop, 0);
        stop.store(true, RELAXED);
    });
    let stats = table.stats();
    assert_eq!(u64::from(table.flush()), stats.insert - stats.deleted);
    let usage = table.usage();
    assert_eq!((usage.lost, usage.bounds, usage.overflow_exhausted, usage.attempts_exhausted), (0, 0, 0, 0));
    assert_eq!(usage.buckets, buckets * 32);
}

/// Opens so many new connections; how many of them got in.
fn open(worker: &mut Worker, from: u32, n: u32) -> u32 {
    // What was evicted is to be used again.
    worker.reap(1000, 0);
    (from..from + n).map(|n| u32::from(pass(worker, 1000, &packets_of(0, n)[0]).state == CtState::New)).sum()
}

#[test]
fn max_is_obeyed() {
    let _alone = ALONE.lock();
    let table = Table::new(growing(1000, 5000)).expect("a table");
    let mut worker = table.worker().expect("a worker");
    let within = |name, value, least, most| Err(ConfigError::Range { name, value, least, most });
    assert_eq!(table.set_max(5001), within("max", 5001, 64, 5000));
    assert_eq!(table.set_max(63), within("max", 63, 64, 5000));
    open(&mut worker, 0, 3000);
    worker.idle();
    assert_eq!((table.count(), table.usage().max), (1000, 1000));
    let before = table.stats().early_drop;
    table.set_max(4000).expect("room");
    assert_eq!(open(&mut worker, 3000, 3000), 3000);
    assert_eq!((table.count(), table.stats().early_drop), (4000, before));
    // Lower: nobody is ended, and who comes takes another's place.
    table.set_max(2000).expect("room");
    worker.idle();
    open(&mut worker, 6000, 500);
    assert_eq!(table.count(), 4000);
    let handles: Vec<Handle> = table.dump(1000).map(|c| c.handle).collect();
    for (n, conn) in handles.into_iter().enumerate() {
        assert!(worker.delete(conn));
        assert!(table.count() <= 4000 - n as u32);
        if n == 2100 {
            break;
        }
    }
    open(&mut worker, 7000, 1000);
    worker.idle();
    assert_eq!(table.count(), 2000);
    // And up again: what was taken is still there.
    let memory = table.memory();
    table.set_max(4000).expect("room");
    assert_eq!(table.memory(), memory);
    open(&mut worker, 8000, 3000);
    worker.idle();
    assert_eq!(table.count(), 4000);
}

#[test]
fn what_cannot_grow_says_so() {
    let _alone = ALONE.lock();
    let table = Table::new(growing(1000, 0)).expect("a table");
    assert!(table.set_max(1001).is_err());
    table.set_max(500).expect("lower");
    table.set_max(1000).expect("as it was");
    let config = growing(1000, 999);
    assert!(matches!(config.check(), Err(ConfigError::Range { name: "max_reserve", .. })));
    assert!(Table::new(config).is_err());
    // A fixed number of buckets stays until `max` asks for more.
    let table = Table::new(Config { hashsize: 4096, ..growing(1000, 20_000) }).expect("a table");
    for (max, buckets) in [(8000, 4096), (10_000, 8192), (20_000, 16_384)] {
        table.set_max(max).expect("room");
        assert_eq!(table.usage().buckets, buckets);
    }
}

#[test]
fn of_two_calls_one_is_at_work() {
    let _alone = ALONE.lock();
    let table = Table::new(growing(1000, 1 << 20)).expect("a table");
    let busy = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for n in 1..=2 {
            let (table, busy) = (&table, &busy);
            scope.spawn(move || {
                for step in 1..=50 {
                    match table.set_max(1000 + 500 * step * n) {
                        Ok(()) => {}
                        Err(ConfigError::Busy) => {
                            busy.fetch_add(1, RELAXED);
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    let max = table.usage().max;
    assert!(max == 51_000 || max == 26_000 || busy.load(RELAXED) > 0);
    table.set_max(1 << 20).expect("nobody is at work");
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("kB") * 1024
}

#[test]
fn memory_is_what_the_table_says() {
    let _alone = ALONE.lock();
    let config = Config {
        max: 100_000,
        max_reserve: 10_000_000,
        timestamp: true,
        nat6: true,
        user_data: 16,
        prefault: true,
        ..growing(0, 0)
    };
    let said = config.memory().unwrap();
    let before = resident();
    let table = Table::new(config).expect("a table");
    assert_eq!(table.memory(), said);
    for max in [100_000, 400_000, 1_200_000] {
        table.set_max(max).expect("room");
        let (grown, said) = (resident() - before, table.memory());
        assert!(grown.abs_diff(said) * 50 <= said, "{grown} bytes at {max}, and {said} said");
    }
    let fresh = Config { max: 1_200_000, max_reserve: 0, ..table.config().clone() };
    let (grown, fresh) = (table.memory(), fresh.memory().unwrap());
    assert!(grown.abs_diff(fresh) * 50 <= fresh, "{grown} bytes, a fresh table {fresh}");
}

#[test]
fn a_region_has_it_all() {
    let _alone = ALONE.lock();
    let mut config = growing(1000, 10_000);
    let mapped = config.memory().unwrap();
    let mut memory = vec![0xff_u8; 16 << 20];
    let base = memory.as_mut_ptr().map_addr(|at| at.next_multiple_of(4096));
    let len = memory.len() - 4096;
    // SAFETY: within `memory`, which nobody else uses and which outlives table and worker.
    config.region = Some(unsafe { Region::new(std::ptr::NonNull::new(base).expect("memory"), len) });
    let needed = config.memory().unwrap();
    assert!(needed > mapped);
    let table = Table::new(config).expect("a table");
    let mut worker = table.worker().expect("a worker");
    let flows: Vec<Flow> = (0..900).map(|n| establish(&mut worker, 1000, packets_of(0, n))).collect();
    table.set_max(10_000).expect("room");
    all_established(&mut worker, 1000, &flows);
    assert_eq!(open(&mut worker, 1000, 9000), 9000);
    assert_eq!((table.memory(), table.usage().buckets), (needed, 8192));
}

#[test]
fn a_worker_that_stands_still_delays_nothing() {
    let _alone = ALONE.lock();
    let table = Table::new(Config { prefault: true, ..growing(100_000, 400_000) }).expect("a table");
    let mut still = table.worker().expect("a worker");
    let flow = establish(&mut still, 1000, packets_of(0, 1));
    // It has tracked, and may have read anything.
    table.set_max(400_000).expect("room");
    let kept = table.memory();
    all_established(&mut still, 1001, &[flow]);
    still.idle();
    // Now the old buckets go.
    for now in 0..100 {
        still.reap(1001 + now, 1024);
    }
    assert!(table.memory() < kept);
    let fresh = Config { max: 400_000, max_reserve: 0, ..table.config().clone() };
    assert!(table.memory().abs_diff(fresh.memory().unwrap()) < 4 << 20);
    let mut verdicts = [Verdict::default()];
    let bytes = packets_of(0, 1)[1].clone();
    still.track(1200, &[Packet::new(&bytes)], &mut verdicts);
    assert_eq!(verdicts[0].state, CtState::Established);
}
