//! What expiry costs.
//!
//! `hints` is the product: `Worker::reap` on a table. `sweep`, the plain sweep over the word of every entry (128 bytes each), and
//! `wheel`, a timer wheel with lazy refresh (`wheel.rs`), stand beside it on arrays of their own: they find what is due, and
//! remove nothing from any index.
//!
//! | figure | what |
//! |---|---|
//! | `sweep` | CPU time of one pass (a tick of one second of the wheel) over idle, long-lived connections, visits included, in ms |
//! | `core_1s` `core_10s` | the share of a core that takes if connections are to end within 1 s, or 10 s, of their time |
//! | `find` | mass expiry: entries found due, per second of CPU time |
//! | `expire` | mass expiry: connections ended, both keys removed and the entry handed to reclamation, per second |
//! | `open` | bookkeeping when a connection opens and closes, at random entries, in ns |
//! | `memory` | bytes per connection |
//! | `stores_*` | stores to memory beside the connection's own: when it opens, is refreshed, has its timeout shortened, closes |

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use conntab::{Config, Table};

use conntab_bench::{Clock, Random};

use crate::field::{CHUNK, Flows, Lane, START, udp};
use crate::figures::{huge_pages, three};
use crate::wheel::Wheel;

#[derive(clap::Args)]
pub struct Options {
    /// Connections
    #[arg(long, default_value = "10M", value_parser = conntab_bench::size)]
    flows: usize,
    /// Samples of each figure
    #[arg(long, default_value_t = 3)]
    samples: usize,
    /// Entries in a call of `reap`
    #[arg(long, default_value_t = 65_536)]
    budget: u32,
}

/// After so many seconds every connection has been visited, however long it lives.
const CYCLE: u64 = 290;

/// As `Conn`: the word with the expiry in its upper half heads two cache lines.
#[repr(C, align(128))]
struct Entry([AtomicU64; 16]);

fn print(scheme: &str, flows: usize, figure: &str, samples: &[f64], unit: &str) {
    println!("{scheme},{flows},{figure},{},{unit}", three(samples));
}

/// The time of a pass, and the share of a core at two cadences.
fn print_idle(scheme: &str, flows: usize, every: [(u64, &[f64]); 2]) {
    print(scheme, flows, "sweep", every[0].1, "ms");
    for (seconds, passes) in every {
        let share: Vec<f64> = passes.iter().map(|ms| ms / 10.0 / seconds as f64).collect();
        print(scheme, flows, &format!("core_{seconds}s"), &share, "% of a core");
    }
}

/// A pass of `reap` over the whole table, in slices; CPU time in ns, and how many expired.
fn pass(lane: &mut Lane, now: u64, budget: u32) -> (u64, u64) {
    let (clock, mut expired) = (Clock::start(), 0);
    loop {
        let reaped = lane.worker.reap(now, budget);
        expired += u64::from(reaped.expired);
        if reaped.wrapped {
            return (clock.ns(), expired);
        }
    }
}

fn hints_idle(options: &Options) {
    let n = options.flows;
    let config = Config { max: n as u32 + 1024, workers: 1, ..Config::default() };
    let table = Table::new(config).expect("memory");
    let (mut lane, flows) = (Lane::new(&table, 1), Flows::new(n));
    // Opened over a cycle, as visits would be spread in life.
    let opened = |place: u32| START + CYCLE * 1000 * u64::from(place) / n as u64;
    lane.establish(&flows, 0..n as u32, 0, opened);
    println!("# {n} connections, {} on huge pages", huge_pages());
    let mut now = START + CYCLE * 1000;
    // The hints of the handshake are behind us after the first.
    let mut cycle = |seconds: u64| {
        let mut sum = 0;
        for _ in 0..CYCLE / seconds {
            now += seconds * 1000;
            let (ns, expired) = pass(&mut lane, now, options.budget);
            assert_eq!(expired, 0, "these live for days");
            sum += ns;
        }
        sum as f64 / 1e6 / (CYCLE / seconds) as f64
    };
    cycle(1);
    let every = [1, 10].map(|seconds| (0..options.samples).map(|_| cycle(seconds)).collect::<Vec<f64>>());
    print_idle("hints", n, [(1, &every[0]), (10, &every[1])]);
}

fn hints_expire(options: &Options) {
    let n = options.flows;
    let config = Config { max: n as u32 + 1024, workers: 1, ..Config::default() };
    let table = Table::new(config).expect("memory");
    let mut lane = Lane::new(&table, 1);
    let (mut next, mut now) = (0u32, START);
    let mut rates = Vec::new();
    // The first round touches what is new.
    for round in 0..=options.samples {
        let mut left = n;
        while left > 0 {
            let packets = left.min(CHUNK);
            lane.write(packets, |_, slot, _| {
                udp(slot, next);
                next = next.wrapping_add(1);
            });
            lane.run(now, packets, || ());
            left -= packets;
        }
        assert_eq!(table.count() as usize, n);
        now += 3_600_000;
        let (mut ns, mut expired) = (0, 0);
        // Sweeps begin where the last call ended, perhaps in the middle.
        while expired < n as u64 {
            let (time, ended) = pass(&mut lane, now, options.budget);
            (ns, expired) = (ns + time, expired + ended);
        }
        if round > 0 {
            rates.push(n as f64 / ns as f64 * 1e3);
        }
    }
    print("hints", n, "expire", &rates, "M/s");
}

/// `n` of them, on huge pages where the system has them.
fn array<T>(n: usize, make: impl FnMut(usize) -> T) -> Box<[T]> {
    let mut items = Vec::with_capacity(n);
    let (start, bytes) = (items.as_mut_ptr() as usize, n * size_of::<T>());
    let first = start.next_multiple_of(4096);
    if bytes > 2 << 20 {
        // SAFETY: advice about memory of our own, which nobody has touched yet; it changes no content.
        unsafe { libc::madvise(first as *mut _, bytes - (first - start), libc::MADV_HUGEPAGE) };
    }
    items.extend((0..n).map(make));
    items.into()
}

/// Entries that expire in 300 s to five days.
fn entries(n: usize) -> Box<[Entry]> {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    array(n, |_| {
        let expiry = 300 + random.below(432_000 - 300) as u64;
        Entry(std::array::from_fn(|at| AtomicU64::new(if at == 0 { expiry << 32 } else { 0 })))
    })
}

fn expiry(entry: &Entry) -> u32 {
    (entry.0[0].load(Relaxed) >> 32) as u32
}

fn sweep(options: &Options, entries: &[Entry]) {
    let n = entries.len();
    // CPU time of a pass, in ns, and what it found.
    let pass = |now: u32| {
        let clock = Clock::start();
        let due = entries.iter().filter(|entry| expiry(entry) <= now).count();
        (clock.ns(), std::hint::black_box(due))
    };
    let idle: Vec<f64> = (0..options.samples.max(3)).map(|_| pass(299).0 as f64 / 1e6).collect();
    print_idle("sweep", n, [(1, &idle), (10, &idle)]);
    let find = |_| {
        let (ns, due) = pass(u32::MAX);
        assert_eq!(due, n);
        n as f64 / ns as f64 * 1e3
    };
    print("sweep", n, "find", &(0..options.samples).map(find).collect::<Vec<_>>(), "M/s");
    print("sweep", n, "memory", &[0.0], "B/flow");
}

fn wheel(options: &Options, entries: &[Entry]) {
    let n = entries.len();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut wheel = Wheel::new(n);
    // In random order, as connections come.
    let mut order: Vec<u32> = (0..n as u32).collect();
    for at in (1..n).rev() {
        order.swap(at, random.below(at + 1));
    }
    for &index in &order {
        wheel.queue(index, expiry(&entries[index as usize]));
    }
    let mut idle = Vec::new();
    let mut now = 0;
    for _ in 0..options.samples {
        let mut sum = 0;
        for _ in 0..CYCLE {
            now += 1;
            // They are refreshed once a cycle, as their packets would: what is asked has moved ahead.
            let clock = Clock::start();
            wheel.turn(
                |index| expiry(&entries[index as usize]).max(now + 300),
                |_| panic!("refreshed in time"),
            );
            sum += clock.ns();
        }
        idle.push(sum as f64 / 1e6 / CYCLE as f64);
    }
    let tenth: Vec<f64> = idle.iter().map(|ms| ms * 10.0).collect();
    print_idle("wheel", n, [(1, &idle), (10, &tenth)]);
    let mut rates = Vec::new();
    for _ in 0..options.samples {
        let mut wheel = Wheel::new(n);
        for &index in &order {
            wheel.queue(index, 100);
        }
        let (clock, mut due) = (Clock::start(), 0);
        for _ in 0..100 {
            // The word is asked, as everywhere; that it is due was arranged.
            wheel.turn(|index| expiry(&entries[index as usize]) & 1, |_| due += 1);
        }
        let ns = clock.ns();
        assert_eq!(due, n);
        rates.push(n as f64 / ns as f64 * 1e3);
    }
    print("wheel", n, "find", &rates, "M/s");
    print("wheel", n, "memory", &[Wheel::bytes() as f64], "B/flow");
}

/// Opening and closing at random entries: what each scheme writes then, in ns for both.
fn bookkeeping(options: &Options) {
    const TIMES: usize = 1 << 20;
    let n = options.flows;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut wheel = Wheel::new(n);
    let hints = array(n, |_| AtomicU32::new(0));
    for index in 0..n as u32 {
        wheel.queue(index, 300 + random.below(300) as u32);
    }
    let (mut by_hints, mut by_wheel) = (Vec::new(), Vec::new());
    for _ in 0..options.samples.max(3) {
        let indices: Vec<u32> = (0..TIMES).map(|_| random.below(n) as u32).collect();
        let clock = Clock::start();
        for &index in &indices {
            hints[index as usize].store(index, Relaxed);
        }
        by_hints.push(clock.ns() as f64 / TIMES as f64);
        let clock = Clock::start();
        for &index in &indices {
            wheel.unqueue(index);
            wheel.queue(index, 300 + index % 300);
        }
        by_wheel.push(clock.ns() as f64 / TIMES as f64);
    }
    print("hints", n, "open", &by_hints, "ns");
    print("wheel", n, "open", &by_wheel, "ns");
    print("sweep", n, "open", &[0.0], "ns");
    print("hints", n, "memory", &[size_of::<AtomicU32>() as f64], "B/flow");
    // Counted in the code, not measured.
    for (scheme, stores) in [("hints", [1, 0, 1, 0]), ("sweep", [0; 4]), ("wheel", [4, 0, 6, 2])] {
        for (what, stores) in ["open", "refresh", "shorten", "close"].iter().zip(stores) {
            print(scheme, n, &format!("stores_{what}"), &[f64::from(stores)], "stores");
        }
    }
}

pub fn run(options: &Options) {
    println!("# {} connections; reap in calls of {} entries", options.flows, options.budget);
    println!("scheme,flows,figure,min,median,max,unit");
    hints_idle(options);
    hints_expire(options);
    {
        let entries = entries(options.flows);
        sweep(options, &entries);
        wheel(options, &entries);
    }
    bookkeeping(options);
}
