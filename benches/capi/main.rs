//! What a call through C costs: the same bursts of 32 packets of ESTABLISHED TCP connections, given to `Worker::track` and
//! `Worker::confirm` of one table, and to `conntab_track` and `conntab_confirm` of another with the same secret and the same
//! connections. Both take turns, chunk by chunk, who comes first too.
//!
//! ```text
//! cargo bench --features capi --bench capi                  10k connections, then 200k
//! CONNTAB_BENCH_SIZES=1M cargo bench --features capi --bench capi
//! ```
//! Printed: ns per packet (CPU time of the thread) of either side and their ratio, each as min median max over the rounds,
//! every one of which makes its tables anew.

#[path = "../path/packets.rs"]
#[allow(dead_code, reason = "shared with the bench of the path")]
mod packets;

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::time::Duration;

use conntab::packet::packet_flag::CHECKSUM_OK;
use conntab::{Config, CtState, Packet, Table, Verdict, Worker};
use packets::Slot;

const BURST: usize = 32;
/// Bursts in a chunk.
const CHUNK: usize = 64;
const KEY: [u64; 4] = [1, 2, 3, 4];

// Packets and verdicts are the same bytes in C (`src/ffi/tests.rs`). What is called is what C links to.
unsafe extern "C" {
    fn conntab_config_init(config: *mut CConfig, size: usize) -> c_int;
    fn conntab_table_new(config: *const CConfig, size: usize, out: *mut *mut c_void) -> c_int;
    fn conntab_table_free(table: *mut c_void);
    fn conntab_worker_new(table: *const c_void, out: *mut *mut c_void) -> c_int;
    fn conntab_worker_free(worker: *mut c_void);
    fn conntab_track(
        worker: *mut c_void,
        now: u64,
        packets: *const c_void,
        n: usize,
        out: *mut c_void,
    ) -> c_int;
    fn conntab_confirm(worker: *mut c_void, now: u64, verdicts: *mut c_void, n: usize, keep: u64) -> c_int;
}

/// `struct conntab_config`, as far as it is set here.
#[repr(C)]
struct CConfig {
    max: u32,
    between: [u8; 25],
    fixed_key_and_reserved: [u8; 3],
    hash_key: [u64; 4],
    memory: [u64; 2],
}

/// A side of the comparison.
trait Side {
    fn track(&mut self, now: u64, packets: &[Packet<'_>], verdicts: &mut [Verdict]);
    fn confirm(&mut self, now: u64, verdicts: &mut [Verdict]);
}

struct Rust {
    _table: Table,
    worker: Worker,
}

impl Rust {
    fn new(n: usize) -> Self {
        let config = Config { max: n as u32 + 1024, hash_key: Some(KEY), ..Config::default() };
        let table = Table::new(config).expect("memory");
        Self { worker: table.worker().expect("a worker"), _table: table }
    }
}

impl Side for Rust {
    #[inline]
    fn track(&mut self, now: u64, packets: &[Packet<'_>], verdicts: &mut [Verdict]) {
        self.worker.track(now, packets, verdicts);
    }
    #[inline]
    fn confirm(&mut self, now: u64, verdicts: &mut [Verdict]) {
        self.worker.confirm(now, verdicts, u64::MAX);
    }
}

struct C {
    table: *mut c_void,
    worker: *mut c_void,
}

impl C {
    fn new(n: usize) -> Self {
        let size = size_of::<CConfig>();
        let mut config = CConfig {
            max: 0,
            between: [0; 25],
            fixed_key_and_reserved: [0; 3],
            hash_key: [0; 4],
            memory: [0; 2],
        };
        let (mut table, mut worker) = (null_mut(), null_mut());
        // SAFETY: it is lent a struct of this size.
        assert_eq!(unsafe { conntab_config_init(&mut config, size) }, 0);
        config.max = n as u32 + 1024;
        config.fixed_key_and_reserved[0] = 1;
        config.hash_key = KEY;
        // SAFETY: as above, and room for a pointer.
        assert_eq!(unsafe { conntab_table_new(&config, size, &mut table) }, 0);
        // SAFETY: a table that lives, and room for a pointer.
        assert_eq!(unsafe { conntab_worker_new(table, &mut worker) }, 0);
        Self { table, worker }
    }
}

impl Drop for C {
    fn drop(&mut self) {
        // SAFETY: ours, used no more.
        unsafe { conntab_worker_free(self.worker) };
        // SAFETY: as above.
        unsafe { conntab_table_free(self.table) };
    }
}

impl Side for C {
    #[inline]
    fn track(&mut self, now: u64, packets: &[Packet<'_>], verdicts: &mut [Verdict]) {
        // SAFETY: a worker that lives, packets and room for as many verdicts.
        let done = unsafe {
            conntab_track(
                self.worker,
                now,
                packets.as_ptr().cast(),
                packets.len(),
                verdicts.as_mut_ptr().cast(),
            )
        };
        debug_assert_eq!(done, packets.len() as c_int);
    }
    #[inline]
    fn confirm(&mut self, now: u64, verdicts: &mut [Verdict]) {
        // SAFETY: a worker that lives, and its verdicts.
        unsafe { conntab_confirm(self.worker, now, verdicts.as_mut_ptr().cast(), verdicts.len(), u64::MAX) };
    }
}

#[inline(never)]
fn run<S: Side>(side: &mut S, now: u64, slots: &[Slot], confirm: bool) -> Duration {
    let describe = |slot: &Slot| {
        // SAFETY: it is the slot's bytes that are described, for as long as the slots are borrowed.
        let bytes = unsafe { std::slice::from_raw_parts(slot.bytes.as_ptr(), slot.headers as usize) };
        Packet::new(bytes).with_len(slot.wire).with_flags(CHECKSUM_OK)
    };
    let packets: Vec<Packet<'_>> = slots.iter().map(describe).collect();
    let mut verdicts = vec![Verdict::default(); slots.len()];
    let clock = conntab_bench::Clock::start();
    for (packets, verdicts) in packets.chunks(BURST).zip(verdicts.chunks_mut(BURST)) {
        side.track(now, packets, verdicts);
        if confirm {
            side.confirm(now, verdicts);
        }
    }
    let time = clock.stop();
    assert!(verdicts.iter().all(|v| v.state != CtState::Invalid && v.state != CtState::Drop));
    time
}

fn three(values: &[f64]) -> String {
    let three = conntab_bench::three(values.iter().copied());
    three.map_or(String::new(), |[min, median, max]| format!("{min:7.2} {median:7.2} {max:7.2}"))
}

/// One round: ns per packet in Rust and in C.
fn round(n: usize, chunks: usize, confirm: bool, c_first: bool) -> (f64, f64) {
    let (mut rust, mut c);
    if c_first {
        c = C::new(n);
        rust = Rust::new(n);
    } else {
        rust = Rust::new(n);
        c = C::new(n);
    }
    let mut sent = vec![0u32; n];
    let mut slots = vec![Slot::EMPTY; CHUNK * BURST];
    let now = 1_000_000;
    for from in (0..n).step_by(CHUNK * BURST) {
        let ids = from..n.min(from + CHUNK * BURST);
        for write in [packets::syn as fn(&mut Slot, u32), packets::syn_ack, packets::ack] {
            for (slot, id) in slots.iter_mut().zip(ids.clone()) {
                write(slot, id as u32);
            }
            run(&mut rust, now, &slots[..ids.len()], true);
            run(&mut c, now, &slots[..ids.len()], true);
        }
    }
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let (mut in_rust, mut in_c) = (Vec::new(), Vec::new());
    for chunk in 0..chunks as u64 {
        for slot in &mut slots {
            random ^= random >> 12;
            random ^= random << 25;
            random ^= random >> 27;
            let id = (u128::from(random.wrapping_mul(0x2545_f491_4f6c_dd1d)) * n as u128) >> 64;
            packets::established(slot, id as u32, sent[id as usize]);
            sent[id as usize] += 1;
        }
        // Each chunk: one side then the other, and the other way round in the next.
        if chunk % 2 == 0 {
            in_rust.push(run(&mut rust, now + chunk, &slots, confirm));
            in_c.push(run(&mut c, now + chunk, &slots, confirm));
        } else {
            in_c.push(run(&mut c, now + chunk, &slots, confirm));
            in_rust.push(run(&mut rust, now + chunk, &slots, confirm));
        }
    }
    // The median chunk: interruptions fall on either side, and not evenly.
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_nanos() as f64 / (CHUNK * BURST) as f64
    };
    (median(&mut in_rust), median(&mut in_c))
}

fn main() {
    // `cargo test --benches` runs without `--bench`: a small table will do.
    let testing = !std::env::args().any(|arg| arg == "--bench");
    let sizes = std::env::var("CONNTAB_BENCH_SIZES").unwrap_or_else(|_| "10k,200k".to_owned());
    let (rounds, chunks) = if testing { (2, 4) } else { (11, 400) };
    for size in sizes.split(',') {
        let n: usize = size.replace('k', "000").replace('M', "000000").parse().expect("a size such as 10k");
        let n = if testing { 1000 } else { n };
        for (name, confirm) in [("track", false), ("track and confirm", true)] {
            let (mut rust, mut c, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
            for at in 0..rounds {
                let (in_rust, in_c) = round(n, chunks, confirm, at % 2 == 1);
                rust.push(in_rust);
                c.push(in_c);
                ratio.push(in_c / in_rust);
            }
            println!("{size} connections, {name}, bursts of {BURST}: ns per packet, min median max");
            println!("    Rust  {}", three(&rust));
            println!("    C     {}", three(&c));
            println!("    ratio {}", three(&ratio));
        }
    }
}
