//! Single bursts of 32, under load and beside the same load with nothing else going on.
//!
//! One worker tracks (and confirms what opens); another thread, on another core, does what disturbs. Slices of both cases
//! take turns, and who comes first does too. A burst's time is from the end of the one before it to its own end, with one
//! reading of each clock in it (their cost is stated). `cpu` is CPU time of the thread: what other tenants of the machine
//! take from it does not count, but page faults and interrupts do. `wall` is beside it.
//!
//! | load | bursts | what disturbs |
//! |---|---|---|
//! | `steady` | ESTABLISHED TCP | nothing, in either case: how far apart two equal runs are |
//! | `sweep` | the same | a worker that sweeps long-lived connections without a pause |
//! | `reaping` | the same | a worker that ends expired connections, 1/8 of the table at a time |
//! | `dump` | the same | a thread that dumps the table without a pause |
//! | `flood` | the same | a worker that tracks and confirms a SYN flood; the table is full |
//! | `growth` | see `growth.rs` | a thread that doubles the table, again and again; alone: it had the room |
//! | `flood-inside` | every fourth packet a SYN of the flood | the table is full; alone: it has room |

#[path = "growth.rs"]
mod growth;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use conntab::{Config, CtState, Table, Verdict};
use hdrhistogram::Histogram;

use crate::BURST;
use crate::field::{CHUNK, Flows, Lane, START, udp};
use crate::figures;
use crate::packets;

#[derive(clap::Args)]
pub struct Options {
    /// Flows that send
    #[arg(long, default_value = "1M", value_parser = conntab_bench::size)]
    flows: usize,
    /// Slices of each case
    #[arg(long, default_value_t = 40)]
    slices: usize,
    /// How long a slice takes, in ms of CPU time that is measured
    #[arg(long, default_value_t = 100)]
    ms: u64,
    /// How often `growth` runs
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// Which loads
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "steady,growth,sweep,reaping,dump,flood,flood-inside"
    )]
    loads: Vec<String>,
}

const CASES: [&str; 2] = ["alone", "loaded"];
/// A pause.
const PAUSE: u64 = 1_000_000;

/// The bursts of one case.
struct Tally {
    cpu: Histogram<u64>,
    wall: Histogram<u64>,
    pauses: [u64; 2],
    /// Readings of both clocks, one more than the bursts of a chunk.
    laps: Vec<(u64, u64)>,
}

impl Tally {
    fn new() -> Self {
        let histogram = || Histogram::new_with_max(60_000_000_000, 3).expect("a histogram");
        let laps = Vec::with_capacity(CHUNK / BURST + 1);
        Self { cpu: histogram(), wall: histogram(), pauses: [0; 2], laps }
    }

    /// Runs the ring's packets; how long it took, in ns.
    fn measure(&mut self, lane: &mut Lane, now: u64, packets: usize) -> u64 {
        self.laps.clear();
        lane.run(now, packets, || self.laps.push((conntab_bench::cpu(), conntab_bench::wall())));
        for (from, to) in self.laps.iter().zip(&self.laps[1..]) {
            let (cpu, wall) = (to.0 - from.0, to.1 - from.1);
            self.cpu.saturating_record(cpu);
            self.wall.saturating_record(wall);
            self.pauses[0] += u64::from(cpu > PAUSE);
            self.pauses[1] += u64::from(wall > PAUSE);
        }
        self.laps.last().map_or(0, |last| last.0 - self.laps[0].0)
    }

    fn print(&self, load: &str, case: &str) {
        for (histogram, pauses, unit) in
            [(&self.cpu, self.pauses[0], "ns cpu"), (&self.wall, self.pauses[1], "ns wall")]
        {
            let at = |quantile| histogram.value_at_quantile(quantile);
            println!(
                "{load},{case},{},{},{},{},{},{pauses},{},{unit}",
                at(0.5),
                at(0.99),
                at(0.999),
                at(0.9999),
                histogram.max(),
                histogram.len(),
            );
        }
    }
}

/// What the disturbing thread is told, and tells.
#[derive(Default)]
struct Gate {
    open: AtomicBool,
    busy: AtomicBool,
    over: AtomicBool,
    /// The tables' time.
    now: AtomicU64,
    /// What it has done: dumped, swept, ended, flooded.
    work: AtomicU64,
}

impl Gate {
    /// Disturbs whenever the gate is open, in pieces.
    fn serve(&self, mut piece: impl FnMut(u64) -> u64) {
        while !self.over.load(Ordering::SeqCst) {
            self.busy.store(true, Ordering::SeqCst);
            if self.open.load(Ordering::SeqCst) {
                let done = piece(self.now.load(Ordering::SeqCst));
                self.work.fetch_add(done, Ordering::SeqCst);
            }
            self.busy.store(false, Ordering::SeqCst);
            if !self.open.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_micros(50));
            }
        }
    }

    fn set(&self, open: bool) {
        self.open.store(open, Ordering::SeqCst);
        while !open && self.busy.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
    }
}

/// All slices of both cases, in turns. `chunk` measures one chunk of a case: how long it took.
fn in_turns(
    options: &Options,
    load: &str,
    mut slice: impl FnMut(usize),
    mut chunk: impl FnMut(usize, &mut Tally) -> u64,
) {
    let mut tallies = CASES.map(|_| Tally::new());
    for at in 0..options.slices {
        for case in if at % 2 == 0 { [0, 1] } else { [1, 0] } {
            slice(case);
            let mut spent = 0;
            // (The first chunk meets what the other case has left in the caches: that is not to be measured.)
            chunk(case, &mut Tally::new());
            while spent < options.ms * 1_000_000 {
                spent += chunk(case, &mut tallies[case]);
            }
        }
    }
    for (tally, case) in tallies.iter().zip(CASES) {
        tally.print(load, case);
    }
}

fn config(max: usize) -> Config {
    let mut config = Config { max: max as u32, workers: 2, ..Config::default() };
    // The clocks jump over what expires; what sends is to stay.
    config.tunables.udp_timeout = 1;
    config.tunables.tcp_timeout_unacknowledged = config.tunables.tcp_timeout_established;
    config
}

/// A table in which all flows are ESTABLISHED, and room for `more`.
fn world(flows: usize, more: usize) -> (Table, Lane, Flows) {
    let table = Table::new(config(flows + more)).expect("memory");
    let (mut lane, all) = (Lane::new(&table, 1), Flows::new(flows));
    lane.establish(&all, 0..flows as u32, 1, |_| START);
    (table, lane, all)
}

/// Loads in which one table is disturbed by another thread.
fn disturbed(
    options: &Options,
    load: &str,
    more: usize,
    prepare: impl Fn(&Table, &mut Lane, u64),
    disturber: impl Fn(&Table, &Gate) + Sync,
) {
    let (table, mut lane, flows) = world(options.flows, more);
    let gate = Gate::default();
    let mut now = START;
    gate.now.store(now, Ordering::SeqCst);
    thread::scope(|scope| {
        let thread = scope.spawn(|| disturber(&table, &gate));
        // Both closures move the clock.
        let time = std::cell::Cell::new(now);
        let lane = std::cell::RefCell::new(&mut lane);
        in_turns(
            options,
            load,
            |case| {
                gate.set(false);
                prepare(&table, &mut lane.borrow_mut(), time.get());
                // A slice is two seconds later: what lives for one has expired.
                time.set(time.get() + 2000);
                gate.now.store(time.get(), Ordering::SeqCst);
                gate.set(case == 1);
            },
            |_, tally| {
                let lane = &mut *lane.borrow_mut();
                lane.write_established(&flows, 0..flows.len() as u32, CHUNK);
                let spent = tally.measure(lane, time.get(), CHUNK);
                lane.all_established(CHUNK);
                spent
            },
        );
        gate.set(false);
        gate.over.store(true, Ordering::SeqCst);
        thread.join().expect("the disturbing thread");
        now = time.get();
    });
    let stats = table.stats();
    println!(
        "# {load}: {} units of disturbing work; expired {}, early_drop {}, drop {}, busy {}; clock moved by {} s",
        gate.work.load(Ordering::SeqCst),
        stats.expired,
        stats.early_drop,
        stats.drop,
        stats.busy,
        (now - START) / 1000,
    );
}

/// Opens short-lived connections until `n` more are in the table.
fn doomed(lane: &mut Lane, next: &AtomicU32, now: u64, n: usize) {
    let mut left = n;
    while left > 0 {
        let packets = left.min(CHUNK);
        lane.write(packets, |_, slot, _| udp(slot, next.fetch_add(1, Ordering::Relaxed)));
        lane.run(now, packets, || ());
        left -= packets;
    }
    lane.worker.reap(now, 0);
}

/// SYNs of new flows, in one burst, confirmed; how many.
fn flood_burst(lane: &mut Lane, next: &AtomicU32, now: u64) -> u64 {
    lane.write(BURST, |_, slot, _| packets::syn(slot, next.fetch_add(1, Ordering::Relaxed)));
    lane.run(now, BURST, || ());
    BURST as u64
}

fn sweep(table: &Table, gate: &Gate) {
    let mut worker = table.worker().expect("a worker");
    gate.serve(|now| u64::from(worker.reap(now, 16_384).examined));
}

fn dump(table: &Table, gate: &Gate) {
    let mut running = None;
    gate.serve(|now| {
        let dump = running.get_or_insert_with(|| table.dump(now));
        let n = dump.take(1000).map(std::hint::black_box).count();
        if n < 1000 {
            running = None;
        }
        n as u64
    });
}

/// Tables that are full: but for these places none of the connections is ASSURED.
fn fill(table: &Table, lane: &mut Lane, next: &AtomicU32) {
    let before = table.stats().early_drop;
    while table.stats().early_drop == before {
        flood_burst(lane, next, START);
    }
    lane.worker.reap(START, 0);
}

/// The numbers of flows that flood: none of those that send.
const FLOOD: u32 = 1 << 31;

fn flood_inside(options: &Options) {
    let more = options.flows;
    let next = AtomicU32::new(FLOOD);
    let (table, mut full, flows) = world(options.flows, more);
    fill(&table, &mut full, &next);
    let (_, roomy, others) = world(options.flows, more);
    let mut lanes = [(roomy, others), (full, flows)];
    in_turns(
        options,
        "flood-inside",
        |_| (),
        |case, tally| {
            let (lane, flows) = &mut lanes[case];
            lane.write(CHUNK, |at, slot, random| {
                if at % 4 == 3 {
                    packets::syn(slot, next.fetch_add(1, Ordering::Relaxed));
                } else {
                    flows.segment(slot, random.below(flows.len()) as u32);
                }
            });
            let spent = tally.measure(lane, START, CHUNK);
            if case == 0 {
                // It is to have room again.
                let new = |v: &&Verdict| v.state == CtState::New;
                for handle in lane.verdicts.iter().filter(new).map(|v| v.conn).collect::<Vec<_>>() {
                    lane.worker.delete(handle);
                }
            }
            lane.worker.reap(START, 0);
            spent
        },
    );
    let stats = table.stats();
    println!("# flood-inside: early_drop {}, drop {}", stats.early_drop, stats.drop);
}

pub fn run(options: &Options) {
    println!(
        "# {} flows, bursts of {BURST}; slices of {} ms in turns, {} of each",
        options.flows, options.ms, options.slices
    );
    println!(
        "# in each burst: a reading of the thread's CPU clock ({:.0} ns) and of the wall's ({:.0} ns)",
        figures::cost(conntab_bench::cpu),
        figures::cost(conntab_bench::wall)
    );
    println!("load,case,p50,p99,p99.9,p99.99,max,pauses_over_1ms,bursts,unit");
    let next = &AtomicU32::new(FLOOD);
    let eighth = (options.flows / 8).max(64);
    for load in &options.loads {
        match load.as_str() {
            "steady" => disturbed(options, load, 1024, |_, _, _| (), |_, gate| gate.serve(|_| 0)),
            "sweep" => disturbed(options, load, 1024, |_, _, _| (), sweep),
            "reaping" => disturbed(
                options,
                load,
                2 * eighth,
                |table, lane, now| {
                    let live = table.count() as usize;
                    doomed(lane, next, now, (options.flows + eighth).saturating_sub(live));
                },
                sweep,
            ),
            "dump" => disturbed(options, load, 1024, |_, _, _| (), dump),
            "flood" => disturbed(
                options,
                load,
                options.flows,
                |table, lane, _| fill(table, lane, next),
                |table, gate| {
                    let mut lane = Lane::new(table, 2);
                    let mut bursts = 0u64;
                    gate.serve(|now| {
                        bursts += 1;
                        let flooded = flood_burst(&mut lane, next, now);
                        if bursts.is_multiple_of(32) {
                            lane.worker.reap(now, 1024);
                        }
                        flooded
                    });
                },
            ),
            "growth" => growth::run(options.flows, options.rounds),
            "flood-inside" => flood_inside(options),
            other => panic!("there is no load called {other}"),
        }
    }
}
