//! A flood against a full table: what a flooding packet costs, and who suffers.
//!
//! The table is full: a share of its connections is ASSURED (established TCP), the rest are SYNs of the flood. A flooding packet
//! evicts one that is not ASSURED (`early_drop`), or is dropped where it finds none near its place. The slack of freed
//! entries is reclaimed by `reap`, called once every 32 bursts as a host's loop would; its time is in the figures.
//!
//! | workload | what |
//! |---|---|
//! | `room-syn` | SYNs of new connections into a table that has room: what the flood would cost without pressure |
//! | `flood-syn` `flood-udp` | bursts of nothing but the flood, tracked and confirmed |
//! | `established` | bursts of established packets in the flooded table, no flood meanwhile |
//! | `mixed` | three packets of the flood, one of an established connection, and so on |
//! | `served` | of the established packets among the flood, how many were judged ESTABLISHED, in % |
//! | `entered` | of the flood's packets, how many opened a connection, in % |

use conntab::{Config, CtState, Stats, Table};

use crate::BURST;
use conntab_bench::Clock;

use crate::field::{CHUNK, Flows, Lane, START, udp};
use crate::figures::{huge_pages, three};
use crate::packets::{self, Slot};

#[derive(clap::Args)]
pub struct Options {
    /// Connections that the table holds
    #[arg(long, default_value = "1M", value_parser = conntab_bench::size)]
    max: usize,
    /// Shares of them that are ASSURED, in %
    #[arg(long, value_delimiter = ',', default_value = "10,50,90,100")]
    assured: Vec<usize>,
    /// Samples of each figure
    #[arg(long, default_value_t = 9)]
    samples: usize,
    /// Chunks of 64 bursts in a sample
    #[arg(long, default_value_t = 128)]
    chunks: usize,
}

/// The numbers of flows that flood: none of those that are established.
const FLOOD: u32 = 1 << 31;

struct World {
    table: Table,
    lane: Lane,
    flows: Flows,
    next: u32,
    /// Packets of the flood so far.
    flooded: u64,
    /// And of established connections: all, and those judged so.
    sent: u64,
    served: u64,
}

impl World {
    /// A table with `assured` established connections.
    fn new(max: usize, assured: usize) -> Self {
        let table = Table::new(Config { max: max as u32, workers: 1, ..Config::default() }).expect("memory");
        let (mut lane, flows) = (Lane::new(&table, 1), Flows::new(assured));
        lane.establish(&flows, 0..assured as u32, 0, |_| START);
        Self { table, lane, flows, next: FLOOD, flooded: 0, sent: 0, served: 0 }
    }

    /// A chunk, with `flood` of each four packets the flood's; then a slice of reaping. CPU time in ns.
    fn chunk(&mut self, flood: usize, write: fn(&mut Slot, u32)) -> u64 {
        let (flows, next) = (&self.flows, &mut self.next);
        self.lane.write(CHUNK, |at, slot, random| {
            if at % 4 < flood {
                *next = next.wrapping_add(1) | FLOOD;
                write(slot, *next);
            } else {
                flows.segment(slot, random.below(flows.len()) as u32);
            }
        });
        let clock = Clock::start();
        self.lane.run(START, CHUNK, || ());
        self.lane.worker.reap(START, 1024);
        let ns = clock.ns();
        for (at, verdict) in self.lane.verdicts.iter().enumerate() {
            if at % 4 < flood {
                self.flooded += 1;
            } else {
                self.sent += 1;
                self.served += u64::from(verdict.state == CtState::Established);
            }
        }
        ns
    }

    fn samples(&mut self, options: &Options, flood: usize, write: fn(&mut Slot, u32)) -> Vec<f64> {
        let mut sample = || {
            let ns: u64 = (0..options.chunks).map(|_| self.chunk(flood, write)).sum();
            ns as f64 / (options.chunks * CHUNK) as f64
        };
        (0..options.samples).map(|_| sample()).collect()
    }
}

/// Opening in a table with room, which is emptied outside the clock.
fn room(options: &Options) -> Vec<f64> {
    let mut world = World::new(options.max, 0);
    let mut samples = Vec::new();
    for _ in 0..options.samples {
        let (mut ns, mut packets) = (0, 0);
        let most = options.chunks.min((options.max / CHUNK).saturating_sub(1).max(1));
        for _ in 0..most.min(options.max / CHUNK) {
            ns += world.chunk(4, packets::syn);
            packets += CHUNK;
        }
        samples.push(ns as f64 / packets.max(1) as f64);
        world.table.flush();
    }
    let stats = world.table.stats();
    assert_eq!((stats.early_drop, stats.drop), (0, 0));
    samples
}

fn print(max: usize, assured: usize, workload: &str, samples: &[f64], unit: &str) {
    println!("{max},{assured},{workload},{},{unit}", three(samples));
}

/// Every packet of the flood has either opened a connection or was dropped, and for each that opened one in the full table
/// another had to go.
fn books_balance(world: &World, before: Stats, flooded: u64) -> u64 {
    let stats = world.table.stats();
    let (inserted, dropped) = (stats.insert - before.insert, stats.drop - before.drop);
    let evicted = stats.early_drop - before.early_drop;
    assert_eq!(inserted + dropped, flooded, "{stats:?}");
    assert_eq!(stats.reclaim_stalled, 0);
    // The worker keeps places at hand, and gives them back when it reaps.
    let kept = inserted.abs_diff(evicted);
    assert!(kept <= 64, "{inserted} opened, {evicted} evicted");
    inserted
}

fn flooded(options: &Options, percent: usize) {
    let max = options.max;
    let assured = max * percent / 100;
    let mut world = World::new(max, assured);
    // Full, and beyond: from here on each SYN needs another's place.
    while world.table.stats().early_drop + world.table.stats().drop == 0 {
        world.chunk(4, packets::syn);
    }
    let before = (world.table.stats(), world.flooded);
    for (name, write) in [("flood-syn", packets::syn as fn(&mut Slot, u32)), ("flood-udp", udp)] {
        let samples = world.samples(options, 4, write);
        print(max, percent, name, &samples, "ns/packet");
        let rates: Vec<f64> = samples.iter().map(|ns| 1e3 / ns).collect();
        print(max, percent, name, &rates, "Mpackets/s");
    }
    if assured > 0 {
        print(max, percent, "mixed", &world.samples(options, 3, packets::syn), "ns/packet");
        print(max, percent, "established", &world.samples(options, 0, packets::syn), "ns/packet");
        print(max, percent, "served", &[world.served as f64 / world.sent as f64 * 100.0], "%");
        assert_eq!(world.served, world.sent, "the flood has evicted an ASSURED connection");
    }
    let flooded = world.flooded - before.1;
    let entered = books_balance(&world, before.0, flooded);
    print(max, percent, "entered", &[entered as f64 / flooded as f64 * 100.0], "%");
    let stats = world.table.stats();
    println!(
        "# {percent}% ASSURED: {} packets of the flood, {} evicted, {} dropped, {} connections of {max}",
        world.flooded,
        stats.early_drop,
        stats.drop,
        world.table.count(),
    );
}

pub fn run(options: &Options) {
    println!(
        "# full tables of {} connections, bursts of {BURST}, reap({}) every 64 bursts",
        options.max, 1024
    );
    println!("connections,assured_percent,workload,min,median,max,unit");
    print(options.max, 0, "room-syn", &room(options), "ns/packet");
    for &percent in &options.assured {
        flooded(options, percent);
    }
    println!("# {} on huge pages", huge_pages());
}
