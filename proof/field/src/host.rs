//! What every attack needs of a host: tables, packets passed, what is in a table, memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};

use conntab::conn::status;
use conntab::tuple::{Tuple, protocol};
use conntab::{Config, Connection, CtState, Handle, Packet, Stats, Table, Verdict, Worker};

use crate::packets::{ACK, End, SYN, SYN_ACK, tcp};

/// Counts the calls of each thread.
pub struct Counting;

thread_local!(static CALLS: Cell<u64> = const { Cell::new(0) });

/// Allocations and frees by this thread so far.
pub fn allocations() -> u64 {
    CALLS.get()
}

fn count() {
    // (A thread that ends has none any more.)
    let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Resident memory of the process, in bytes.
pub fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// A table for so many connections, without verifying checksums.
pub fn config(max: u32) -> Config {
    let mut config = Config { max, workers: 3, ..Config::default() };
    config.tunables.checksum = 0;
    config
}

pub fn table(config: Config) -> Result<Table, String> {
    Table::new(config).map_err(|error| error.to_string())
}

pub fn worker(table: &Table) -> Result<Worker, String> {
    table.worker().map_err(|error| error.to_string())
}

/// Judges packets in one burst, without confirming.
pub fn judge(worker: &mut Worker, now: u64, packets: &[Packet<'_>]) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::default(); packets.len()];
    worker.track(now, packets, &mut verdicts);
    verdicts
}

/// Judges a packet and lets it leave.
pub fn pass(worker: &mut Worker, now: u64, bytes: &[u8]) -> Verdict {
    pass_in(worker, now, bytes, 0)
}

/// [`pass`] in a zone.
pub fn pass_in(worker: &mut Worker, now: u64, bytes: &[u8], zone: u16) -> Verdict {
    let mut verdicts = [Verdict::default()];
    worker.track(now, &[Packet::new(bytes).with_zone(zone)], &mut verdicts);
    worker.confirm(now, &mut verdicts, 1);
    verdicts[0]
}

/// The first segments of a TCP connection, with initial sequence numbers 1000 and 5000: ASSURED, and all acknowledged.
pub fn establish(worker: &mut Worker, now: u64, client: End, server: End) -> Result<Handle, String> {
    pass(worker, now, &tcp(client, server, SYN, 1000, 0, &[]));
    pass(worker, now, &tcp(server, client, SYN_ACK, 5000, 1001, &[]));
    let last = pass(worker, now, &tcp(client, server, ACK, 1001, 5001, &[]));
    let there = last.state == CtState::Established && last.status & status::ASSURED != 0;
    if there { Ok(last.conn) } else { Err(format!("a handshake failed: {last:?}")) }
}

pub fn address(v4: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(v4))
}

/// The tuple of a packet; both ends are IPv4's.
pub fn tuple(l4: u8, src: End, dst: End) -> Tuple {
    let ends = [src, dst].map(|(ip, port)| (conntab::tuple::addr(address(ip)), port));
    let [(src, sport), (dst, dport)] = ends;
    Tuple { src, dst, sport, dport, l4, l3: conntab::tuple::L3::V4 }
}

pub fn tcp_tuple(src: End, dst: End) -> Tuple {
    tuple(protocol::TCP, src, dst)
}

/// All connections of a table, by handle.
pub fn shown(table: &Table, now: u64) -> Vec<Connection> {
    let mut all: Vec<Connection> = table.dump(now).collect();
    all.sort_unstable_by_key(|connection| connection.handle.to_u64());
    all
}

/// Whatever went into the table is there or has ended in a way that was counted. Nobody may be at work, and workers must be idle.
pub fn balanced(table: &Table) -> Result<Stats, String> {
    let stats = table.stats();
    let gone = stats.expired + stats.deleted + stats.early_drop;
    let live = u64::from(table.count());
    hold!(stats.insert == gone + live, "{} inserted, {gone} ended, {live} live: {stats:?}", stats.insert);
    let usage = table.usage();
    hold!(live <= u64::from(usage.max), "more than max: {usage:?}");
    let exhausted = usage.attempts_exhausted + usage.overflow_exhausted;
    hold!(usage.lost + usage.bounds + exhausted == 0, "what must never happen: {usage:?}");
    Ok(stats)
}

/// Calls of `reap` after which all that waits must be free, once nobody is at work. (Each opens 24 of the epoch's bags at least, and each
/// control call that came while somebody was within may have left one.)
const REAPS: u32 = 4096;

/// Nothing of what was in the table is left: every entry and every bucket is free. No worker may exist. How many calls of `reap` it took.
pub fn all_free(table: &Table, now: u64) -> Result<u32, String> {
    let mut reaps = 0;
    loop {
        worker(table)?.reap(now, 0);
        reaps += 1;
        if table.usage().waiting == 0 || reaps == REAPS {
            break;
        }
    }
    let usage = table.usage();
    let left = usage.connections + usage.expectations + usage.helper_records;
    hold!(left == 0, "something is left: {usage:?}");
    hold!(usage.free == usage.entries && usage.waiting == 0, "entries are lost: {usage:?}");
    hold!(usage.overflow_used == 0, "overflow buckets are lost: {usage:?}");
    hold!(usage.lost + usage.bounds == 0, "what must never happen: {usage:?}");
    Ok(reaps)
}
