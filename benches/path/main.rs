//! The packet path, per packet: lookup, track, confirm in bursts of 32, at 10 k, 1 M and 10 M ESTABLISHED TCP
//! connections after 20 turnovers (a turnover: as many deletions and openings at random as there are connections).
//!
//! ```text
//! cargo bench --bench path                                    all sizes: about ten minutes, 4 GB of memory
//! cargo bench --bench path -- 1M                              one size; `track`, `10k/confirm` ... likewise
//! CONNTAB_BENCH_SIZES=10k,100k cargo bench --bench path       other sizes
//! CONNTAB_BENCH_TURNOVERS=2 cargo bench --bench path          less ageing
//! ```
//! Most of the time is the ageing of the largest table: 200 million deletions and openings, some 1 us each.
//!
//! # What is measured
//! Connections are chosen at random, uniformly; packets come from a header template, are written just before the
//! clock starts (the generator is not measured), lie in the processor's cache as in a NIC's ring, and claim a verified
//! checksum. Every second packet is data of the client, every other one the server's ACK. Memory is the library's
//! default: transparent huge pages.
//!
//! | bench | per burst |
//! |---|---|
//! | `yardstick` | Z32, see `yardstick.rs` |
//! | `lookup` | 32 single lookups in a read section |
//! | `lookup_burst` | one lookup of a burst of 32 in a read section |
//! | `lookup_miss` | the same for tuples without a connection |
//! | `track` | `track` of 32 packets of established connections |
//! | `syn` | `track` of 32 SYNs of new connections, which are then let go |
//! | `open` | the same with `confirm` |
//! | `open_told` | the same with an event for each (the host drains them outside the clock) |
//! | `confirm` | `confirm` of 32 new connections alone (wall time; two clock readings a burst are in it) |
//! | `delete` | 32 times `delete`, one by one |
//!
//! # How to read it
//! Times are CPU time of the thread. Figures drift with the machine and its other tenants, so every sample is
//! followed by a piece of the yardstick, and the lines below criterion's give ns per packet and its ratio to the
//! yardstick's, each as min median max over the samples. Compare ratios of one machine; compare times of one run.
//! At 10 k the yardstick fits the processor's cache and says little.

mod packets;
mod world;
mod yardstick;

use std::time::Duration;

use conntab::Config;
use conntab_bench::{Clock, Random};
use criterion::{BenchmarkGroup, Criterion, Throughput, measurement::WallTime};
use world::World;
use yardstick::Yardstick;

/// Packets in a burst.
const BURST: usize = 32;

/// A size and its name.
fn sizes() -> Vec<(String, usize)> {
    let names = std::env::var("CONNTAB_BENCH_SIZES").unwrap_or_else(|_| "10k,1M,10M".to_owned());
    let size = |name: &str| (name.to_owned(), conntab_bench::size(name).expect("a size such as 10k"));
    names.split(',').map(size).collect()
}

type Work = fn(&mut World, u64) -> Duration;

const WORKS: [(&str, Work); 9] = [
    ("lookup", World::lookup),
    ("lookup_burst", World::burst_hit),
    ("lookup_miss", World::burst_miss),
    ("track", World::established),
    ("syn", World::syns),
    ("open", World::openings),
    ("open_told", World::openings_told),
    ("confirm", World::confirm),
    ("delete", World::deletions),
];

/// Made when the first bench that needs it runs: filters cost nothing.
#[derive(Default)]
struct Field {
    world: Option<World>,
    yardstick: Option<Yardstick>,
}

fn ns_per_packet(bursts: u64, time: Duration) -> f64 {
    time.as_nanos() as f64 / (bursts * BURST as u64) as f64
}

fn three(values: impl Iterator<Item = f64>) -> String {
    conntab_bench::three(values)
        .map_or(String::new(), |[min, median, max]| format!("{min:.2} {median:.2} {max:.2}"))
}

fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    field: &mut Field,
    (n, turnovers): (usize, usize),
    name: &str,
    work: Work,
) {
    let mut samples: Vec<(f64, f64)> = Vec::new();
    group.bench_function(name, |bencher| {
        let world = field.world.get_or_insert_with(|| World::new(n, turnovers));
        let yardstick = field.yardstick.get_or_insert_with(|| Yardstick::new(world.buckets(), n));
        bencher.iter_custom(|bursts| {
            let time = work(world, bursts);
            // A sample too short says nothing.
            if bursts >= 256 {
                let cost = ns_per_packet(bursts, time);
                let (bursts, time) = yardstick.measure(bursts.min(8192));
                samples.push((cost, cost / ns_per_packet(bursts, time)));
            }
            time
        });
    });
    if !samples.is_empty() {
        println!("    ns per packet {}", three(samples.iter().map(|sample| sample.0)));
        println!("    x yardstick   {}\n", three(samples.iter().map(|sample| sample.1)));
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let turnovers = std::env::var("CONNTAB_BENCH_TURNOVERS").map_or(20, |n| n.parse().expect("a number"));
    // `cargo test --benches` runs each bench once, without `--bench`: a small table will do.
    let testing =
        !std::env::args().any(|arg| arg == "--bench") || std::env::args().any(|arg| arg == "--test");
    for (name, n) in sizes() {
        let size = if testing { (2000, 1) } else { (n, turnovers) };
        let mut field = Field::default();
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(BURST as u64));
        for (name, work) in WORKS {
            measure(&mut group, &mut field, size, name, work);
        }
        group.bench_function("yardstick", |bencher| {
            let buckets = Config { max: size.0 as u32, ..Config::default() }.buckets();
            let yardstick = field.yardstick.get_or_insert_with(|| Yardstick::new(buckets as usize, size.0));
            bencher.iter_custom(|bursts| {
                let (done, time) = yardstick.measure(bursts);
                time.mul_f64(bursts as f64 / done as f64)
            });
        });
        group.finish();
    }
    criterion.final_summary();
}
