//! Time per packet, from few flows to as many as memory allows.
//!
//! `track`: segments of ESTABLISHED TCP connections chosen at random, as `benches/path` has them. `lookup_burst`: lookups of
//! their tuples. `z32`: the yardstick of `benches/path/yardstick.rs` of the same size, in turns with both. Two threads:
//! `mixed`, both have packets of all flows, the worst case (chunk by chunk each has the half that the other had before, or
//! an ACK would be judged before what it acknowledges); `sharded`, each has half the flows to itself, as RSS gives them
//! (and a yardstick of half the size).

use std::ops::Range;
use std::sync::Barrier;
use std::thread;

use conntab::tuple::Tuple;
use conntab::{Config, Table};

use crate::BURST;
use conntab_bench::{Clock, Random};

use crate::field::{CHUNK, Flows, Lane, START};
use crate::figures::{self, three};
use crate::yardstick::Yardstick;

#[derive(clap::Args)]
pub struct Options {
    /// Flows
    #[arg(long, value_delimiter = ',', value_parser = conntab_bench::size,
          default_value = "10k,30k,100k,300k,1M,3M,10M,30M,100M")]
    flows: Vec<usize>,
    /// Turnovers before measuring; above 10M flows there are none
    #[arg(long, default_value_t = 20)]
    turnovers: usize,
    /// Samples of each figure
    #[arg(long, default_value_t = 9)]
    samples: usize,
    /// Chunks of 64 bursts in a sample
    #[arg(long, default_value_t = 64)]
    chunks: u64,
}

/// The largest table that is aged.
const AGED: usize = 10_000_000;

/// ns per packet, a sample each.
#[derive(Default)]
struct Samples {
    track: Vec<f64>,
    lookup: Vec<f64>,
    z32: Vec<f64>,
}

impl Samples {
    fn print(&self, flows: usize, threads: usize, sharing: &str) {
        for (name, samples) in [("track", &self.track), ("lookup_burst", &self.lookup), ("z32", &self.z32)] {
            if !samples.is_empty() {
                println!("{flows},{threads},{sharing},{name},{},ns/packet", three(samples));
            }
        }
    }
}

fn per_packet(ns: u64, chunks: u64) -> f64 {
    ns as f64 / (chunks * CHUNK as u64) as f64
}

/// Whose packets a thread has.
#[derive(Clone)]
struct Share {
    places: Range<u32>,
    /// Every second flow of them, beginning with this one; with the next chunk it is the others. All: `None`.
    half: Option<u32>,
}

impl Share {
    fn choose(&self, chunk: u64, random: &mut Random) -> u32 {
        let n = self.places.len();
        self.places.start
            + match self.half {
                None => random.below(n) as u32,
                Some(half) => 2 * random.below(n / 2) as u32 + (half + chunk as u32) % 2,
            }
    }
}

fn track(
    lane: &mut Lane,
    flows: &Flows,
    share: &Share,
    chunks: u64,
    now: &mut u64,
    together: &Barrier,
) -> f64 {
    let mut ns = 0;
    for chunk in 0..chunks {
        *now += 1;
        lane.write(CHUNK, |_, slot, random| flows.segment(slot, share.choose(chunk, random)));
        if share.half.is_some() {
            together.wait();
        }
        ns += lane.timed(*now, CHUNK);
        lane.all_established(CHUNK);
        if share.half.is_some() {
            together.wait();
        }
    }
    per_packet(ns, chunks)
}

fn lookup(lane: &mut Lane, flows: &Flows, share: &Share, chunks: u64, now: u64) -> f64 {
    let (mut ns, mut found) = (0, 0);
    for chunk in 0..chunks {
        let random = &mut lane.random;
        let mut tuple = || flows.tuple(share.choose(chunk, random), random.word() >> 63 == 1);
        let tuples: Vec<Tuple> = (0..CHUNK).map(|_| tuple()).collect();
        let clock = Clock::start();
        let mut section = lane.worker.section();
        for tuples in tuples.chunks(BURST) {
            let mut views = [None; BURST];
            section.lookup_burst(now, 0, tuples, &mut views);
            found += views.iter().flatten().count() as u64;
        }
        ns += clock.ns();
    }
    assert_eq!(found, chunks * CHUNK as u64);
    per_packet(ns, chunks)
}

fn z32(yardstick: &mut Yardstick, chunks: u64) -> f64 {
    let (bursts, time) = yardstick.measure(chunks * (CHUNK / BURST) as u64);
    time.as_nanos() as f64 / (bursts * BURST as u64) as f64
}

/// One thread's samples; all threads begin each of them together.
fn sample(
    options: &Options,
    lane: &mut Lane,
    flows: &Flows,
    share: &Share,
    mut yardstick: Option<Yardstick>,
    together: &Barrier,
) -> Samples {
    let mut samples = Samples::default();
    let (mut now, chunks) = (START, options.chunks);
    // The first of each warms up.
    for at in 0..=options.samples {
        let add = |to: &mut Vec<f64>, measure: &mut dyn FnMut() -> f64| {
            together.wait();
            let sample = measure();
            if at > 0 {
                to.push(sample);
            }
        };
        add(&mut samples.track, &mut || track(lane, flows, share, chunks, &mut now, together));
        add(&mut samples.lookup, &mut || lookup(lane, flows, share, chunks, now));
        if let Some(yardstick) = &mut yardstick {
            add(&mut samples.z32, &mut || z32(yardstick, chunks));
        }
    }
    lane.worker.idle();
    samples
}

/// The means over threads, sample by sample.
fn mean(all: &[Samples]) -> Samples {
    let mean = |get: fn(&Samples) -> &Vec<f64>| {
        let n = all.iter().map(|samples| get(samples).len()).min().unwrap_or(0);
        (0..n).map(|at| all.iter().map(|samples| get(samples)[at]).sum::<f64>() / all.len() as f64).collect()
    };
    Samples { track: mean(|s| &s.track), lookup: mean(|s| &s.lookup), z32: mean(|s| &s.z32) }
}

fn halves(n: usize) -> [Range<u32>; 2] {
    let (half, n) = (n as u32 / 2, n as u32);
    [0..half, half..n]
}

fn point(options: &Options, n: usize, yardstick_beside: bool) {
    let config = Config { max: n as u32 + 1024, workers: 2, ..Config::default() };
    let buckets = config.buckets() as usize;
    let turnovers = if n <= AGED { options.turnovers } else { 0 };
    let mut alone = Samples::default();
    if !yardstick_beside {
        // Before the table is made: there is no room for both.
        let mut yardstick = Yardstick::new(buckets, n);
        alone.z32 = (0..=options.samples).map(|_| z32(&mut yardstick, options.chunks)).skip(1).collect();
    }
    let table = Table::new(config).expect("memory");
    let flows = Flows::new(n);
    let mut lanes = [Lane::new(&table, 1), Lane::new(&table, 2)];
    thread::scope(|scope| {
        for (lane, places) in lanes.iter_mut().zip(halves(n)) {
            let flows = &flows;
            scope.spawn(move || {
                lane.establish(flows, places, turnovers, |_| START);
                lane.worker.idle();
            });
        }
    });
    assert_eq!(table.count() as usize, n);
    println!(
        "# {n} flows: {} buckets, {:.1} bytes a flow, {turnovers} turnovers, {} on huge pages{}",
        buckets,
        table.memory() as f64 / n as f64,
        figures::huge_pages(),
        if yardstick_beside { "" } else { "; z32 before the table was made, for want of memory" },
    );
    let yardstick = |threads| yardstick_beside.then(|| Yardstick::new(buckets / threads, n / threads));
    let share = |places, half| Share { places, half };
    let all = || 0..n as u32;
    let everything = share(all(), None);
    let mut samples = sample(options, &mut lanes[0], &flows, &everything, yardstick(1), &Barrier::new(1));
    samples.z32.append(&mut alone.z32);
    samples.print(n, 1, "-");
    let mixed = [0, 1].map(|half| share(all(), Some(half)));
    let sharded = halves(n).map(|places| share(places, None));
    for (sharing, shares) in [("mixed", mixed), ("sharded", sharded)] {
        let together = Barrier::new(2);
        let samples: Vec<Samples> = thread::scope(|scope| {
            let threads: Vec<_> = lanes
                .iter_mut()
                .zip(&shares)
                .map(|(lane, share)| {
                    let (flows, together) = (&flows, &together);
                    let half = if sharing == "sharded" { yardstick(2) } else { None };
                    scope.spawn(move || sample(options, lane, flows, share, half, together))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("a thread")).collect()
        });
        mean(&samples).print(n, 2, sharing);
    }
}

pub fn run(options: &Options) {
    println!("# track and lookup_burst: ns of CPU time per packet of bursts of 32, mean over the threads");
    println!("flows,threads,sharing,workload,min,median,max,unit");
    for &n in &options.flows {
        let config = Config { max: n as u32 + 1024, workers: 2, ..Config::default() };
        let table = config.memory().expect("a size that is allowed") + 2 * n as u64;
        // As much as the table has in buckets and entries; and something for everybody else.
        let (yardstick, free) = (table * 9 / 10, conntab_bench::free_memory() / 100 * 92);
        if table > free {
            println!("# {n} flows: {} MB are more than this machine has free", table >> 20);
            continue;
        }
        point(options, n, table + yardstick <= free);
    }
}
