//! Once warm, `track` and `confirm` allocate nothing, free nothing and make no system call; nor does `Defrag::push`.
//!
//! Allocations are counted by the global allocator. System calls are forbidden by the kernel itself: a child process
//! enters seccomp's strict mode, in which every call but `read`, `write` and `exit` is its death.

mod common;
mod sctp;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use common::*;
use conntab::defrag::Pushed;
use conntab::{Config, CtState, Defrag, DefragConfig, Packet, Table, Verdict, Worker, wire};

struct Counting;

static CALLS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Packets of many kinds: flows opened, answered, reset, refused, expired, evicted; errors; nonsense.
fn packets() -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for i in 0..400u32 {
        let (client, server) = ((host(i), 1000), (SERVER, 80));
        let request = udp(host(i), SERVER, 5000, 53);
        packets.push(unreachable(SERVER, &request));
        packets.push(udp(SERVER, host(i), 53, 5000));
        packets.push(request.clone());
        packets.push(request);
        packets.push(tcp(client, server, SYN, 100, 0, 0));
        packets.push(tcp(server, client, SYN_ACK, 500, 101, 0));
        packets.push(tcp(client, server, ACK, 101, 501, 10));
        packets.push(tcp(server, client, if i % 3 == 0 { RST } else { FIN_ACK }, 501, 111, 0));
        packets.push(ipv6(17, i as u16, 9, &udp_bytes(7, 7)));
        packets.push(ipv4(99, host(i), SERVER, &[]));
        let init = |kind| sctp::chunk(kind, 0, &[7; 16]);
        let echo = [sctp::chunk(10, 0, &[9; 40]), sctp::chunk(0, 3, &[1; 700])].concat();
        packets.push(ipv4(132, host(i), SERVER, &sctp::sctp(1000, 38412, 0, &init(1))));
        packets.push(ipv4(132, SERVER, host(i), &sctp::sctp(38412, 1000, 0x0707_0707, &init(2))));
        packets.push(ipv4(132, host(i), SERVER, &sctp::sctp(1000, 38412, 0x0707_0707, &echo)));
        packets.push(vec![0x45; (i % 40) as usize]);
    }
    packets
}

/// As a table does that verifies checksums.
fn verify(packet: &Packet<'_>) {
    let bytes = packet.bytes();
    if let Ok(headers) = wire::parse(bytes, bytes.len() as u32) {
        let found = wire::checksum(bytes, &headers);
        assert!(headers.protocol != 132 || found == wire::Checksum::Good);
    }
}

fn bursts(worker: &mut Worker, packets: &[Packet<'_>], begin: u64, rounds: u64) -> u64 {
    let mut verdicts = [Verdict::default(); 32];
    let mut opened = 0;
    for round in 0..rounds {
        // The clock makes some flows expire between two rounds.
        let now = begin + round * 20_000;
        for burst in packets.chunks(32) {
            worker.track(now, burst, &mut verdicts);
            burst.iter().for_each(verify);
            let keep = 0x5fff_bff7;
            opened += u64::from(worker.confirm(now, &mut verdicts[..burst.len()], keep));
        }
    }
    opened
}

fn main() {
    let bytes = packets();
    let packets: Vec<Packet<'_>> = bytes.iter().map(|bytes| Packet::new(bytes)).collect();
    // Room for fewer flows than there are: eviction, and refusals when freed entries run out, are on the path too.
    let table = Table::new(Config { events: 1 << 12, timeout_policies: 1, ..config(512) }).expect("a table");
    let mut worker = table.worker().expect("a worker");
    bursts(&mut worker, &packets, 0, 1);
    worker.reap(0, u32::MAX);

    table.events().for_each(drop);
    let (mut opened, mut calls, mut told) = (0, 0, [0; 3]);
    for round in 1..60 {
        let before = CALLS.load(Ordering::Relaxed);
        opened += bursts(&mut worker, &packets, round * 20_000, 1);
        calls += CALLS.load(Ordering::Relaxed) - before;
        for event in table.events() {
            told[event.kind as usize] += 1;
        }
        // Reclamation may allocate and free; it is not on the path. Here it often comes late.
        if round % 6 == 0 {
            worker.reap(round * 20_000, 256);
        }
    }
    let stats = table.stats();
    assert!(opened > 10_000 && stats.reclaim_stalled > 100, "{opened} {stats:?}");
    assert!(stats.early_drop > 100 && stats.expired > 30 && stats.deleted > 50, "{stats:?}");
    assert_eq!(calls, 0, "allocations and frees on the packet path");
    let [new, update, destroy] = told;
    assert!(
        stats.events_lost == 0 && new == opened && update > 1000 && destroy + 512 > new,
        "{told:?} {opened}"
    );
    let before = CALLS.load(Ordering::Relaxed);
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(CALLS.load(Ordering::Relaxed) - before, 2, "the counter counts");

    let thresh = 64 << 10;
    let limits = DefragConfig {
        ipfrag_high_thresh: thresh,
        frag6_high_thresh: thresh,
        queues: 30,
        ..Default::default()
    };
    let mut defrag = Defrag::new(limits).expect("memory");
    let before = CALLS.load(Ordering::Relaxed);
    let whole = fragments(&mut defrag, 0, 300);
    assert_eq!(CALLS.load(Ordering::Relaxed) - before, 0, "allocations and frees by reassembly");
    let counted = defrag.stats();
    assert!(
        whole > 100 && counted.overlaps > 100 && counted.no_room > 100 && counted.timeouts > 30,
        "{counted:?}"
    );
    assert_eq!(child(|| assert!(fragments(&mut defrag, 1_000_000, 300) > 100)), Ended::WithTen);

    worker.reap(0, u32::MAX);
    assert_eq!(child(|| worker_is_silent(&mut worker, &packets)), Ended::WithTen);
    assert_eq!(child(|| drop(std::fs::metadata("/"))), Ended::Killed, "the trap works");
    println!("test quiet ... ok ({opened} connections opened, {stats:?})");
}

/// Fragments in and out of order, repeated, overlapping, too many, too late. How many datagrams came of them.
fn fragments(defrag: &mut Defrag, begin: u64, rounds: u64) -> u64 {
    let mut whole = 0;
    for round in 0..rounds {
        let now = begin + round * 700;
        for n in 0..200_u64 {
            let six = n % 2 == 0;
            let (at, len, more) = match (n / 2 + round) % 8 {
                0 | 4 => (0, 1024, true),
                1 => (1024, 512, false),
                5 => (1024, 8, false),
                2 => (2048, 1400, true),
                3 => (512, 1024, true),
                6 => (8 * (n as u16), 8, true),
                _ => (0, 1024, true),
            };
            let id = (round % 97) as u8;
            let mut packet = [7; 1500];
            let from = if six {
                packet[..48].fill(0);
                (packet[0], packet[6], packet[40], packet[47]) = (0x60, 44, 17, id);
                packet[4..6].copy_from_slice(&(8 + len as u16).to_be_bytes());
                packet[42..44].copy_from_slice(&(at | u16::from(more)).to_be_bytes());
                48
            } else {
                packet[..20].fill(0);
                (packet[0], packet[5], packet[9]) = (0x45, id, 17);
                packet[2..4].copy_from_slice(&(20 + len as u16).to_be_bytes());
                packet[6..8].copy_from_slice(&((at / 8) | (u16::from(more) << 13)).to_be_bytes());
                20
            };
            let packet = &packet[..from + len];
            whole += u64::from(matches!(defrag.push(now, &Packet::new(packet), 1), Pushed::Whole(_)));
        }
        defrag.expire(now, 1);
    }
    whole
}

fn worker_is_silent(worker: &mut Worker, packets: &[Packet<'_>]) {
    assert!(bursts(worker, packets, 2_000_000, 40) > 0);
    let mut verdicts = [Verdict::default(); 1];
    worker.track(0, &packets[..1], &mut verdicts);
    assert_ne!(verdicts[0].state, CtState::Fragment);
}

#[derive(Debug, PartialEq)]
enum Ended {
    WithTen,
    Killed,
    Otherwise(i32),
}

/// Runs something in a child process under seccomp's strict mode.
fn child(work: impl FnOnce()) -> Ended {
    // SAFETY: this program has one thread.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid == 0 {
        // SAFETY: the child gives up system calls, no more.
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
        work();
        // SAFETY: ends the child, by a call that strict mode allows (libc's own exit makes another).
        unsafe { libc::syscall(libc::SYS_exit, 10) };
        unreachable!("the child has exited");
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 10 {
        Ended::WithTen
    } else if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL {
        Ended::Killed
    } else {
        Ended::Otherwise(status)
    }
}
