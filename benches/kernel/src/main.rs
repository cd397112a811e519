//! One size of `run.sh`, which tells what is measured and makes the network namespace that this runs in.
//!
//! ```text
//! conntab-kernel-bench FLOWS ROUNDS CHUNKS TURNOVERS
//! ```
//! Both trackers take turns: a round of the kernel's, then the same packets in the same order through conntab.

mod kernel;
#[path = "../../path/packets.rs"]
mod packets;
mod tracker;
mod traffic;

use std::process::ExitCode;

use kernel::Kernel;
use tracker::Conntab;
use traffic::{CHUNK, Protocol};

type Error = Box<dyn std::error::Error>;

/// What is measured, of either.
trait Tracker {
    /// So many chunks of packets of established connections: ns of CPU time, or nothing if it did not go as it should.
    fn established(&mut self, chunks: usize) -> Result<Option<f64>, Error>;
    /// So many chunks of first packets of new connections, which are deleted again outside the clock.
    fn new_connections(&mut self, chunks: usize) -> Result<Option<f64>, Error>;
    /// Memory per connection with so many of them.
    fn bytes_per_flow(&self, flows: usize) -> Result<f64, Error>;
}

/// Chunks of new connections in a round, which add to the table until they are deleted: enough that the memory of those
/// of the last round has left the second-level cache before it is used again.
const OPENINGS: usize = 16;

struct Plan {
    flows: usize,
    rounds: usize,
    chunks: usize,
    turnovers: usize,
}

type Work = fn(&mut dyn Tracker, usize) -> Result<Option<f64>, Error>;

/// Minimum, median and maximum.
fn three(values: impl Iterator<Item = f64>) -> [f64; 3] {
    conntab_bench::three(values).expect("samples")
}

fn row(tracker: &str, flows: usize, workload: &str, [min, median, max]: [f64; 3], unit: &str) {
    println!("{tracker},{flows},{workload},{min:.2},{median:.2},{max:.2},{unit}");
}

/// The rows of both trackers and of their ratio, whose median is the ratio of the medians.
fn rows(flows: usize, workload: &str, samples: &[(f64, f64)], unit: &str) {
    let kernel = three(samples.iter().map(|sample| sample.0));
    let conntab = three(samples.iter().map(|sample| sample.1));
    let ratio = three(samples.iter().map(|sample| sample.0 / sample.1));
    row("kernel", flows, workload, kernel, unit);
    row("conntab", flows, workload, conntab, unit);
    row("kernel/conntab", flows, workload, [ratio[0], kernel[1] / conntab[1], ratio[2]], "x");
}

fn measure(
    plan: &Plan,
    kernel: &mut Kernel,
    conntab: &mut Conntab,
    (workload, chunks, work): (&str, usize, Work),
) -> Result<(), Error> {
    let per_packet = |ns: f64| ns / (chunks * CHUNK) as f64;
    let (mut samples, mut thrown_away) = (Vec::new(), 0);
    while samples.len() < plan.rounds {
        // An eighth more, to bring back what the other tracker has displaced from the caches.
        let warm_up = chunks.div_ceil(8);
        work(kernel, warm_up)?;
        kernel.baseline();
        let theirs = work(kernel, chunks)?;
        let baseline = kernel.baseline();
        work(conntab, warm_up)?;
        let ours = work(conntab, chunks)?;
        match (theirs, ours) {
            (Some(theirs), Some(ours)) => samples.push((per_packet(theirs), per_packet(ours), baseline)),
            _ => thrown_away += 1,
        }
        if thrown_away > plan.rounds {
            return Err(format!("{workload}: too many packets went astray").into());
        }
    }
    let [min, median, max] = three(samples.iter().map(|sample| sample.2));
    println!(
        "# {workload}: {} rounds of {} packets, {thrown_away} thrown away; the path without tracking: \
         {min:.0} {median:.0} {max:.0} ns",
        plan.rounds,
        chunks * CHUNK,
    );
    let samples: Vec<(f64, f64)> = samples.iter().map(|sample| (sample.0, sample.1)).collect();
    rows(plan.flows, workload, &samples, "ns");
    Ok(())
}

fn run(plan: &Plan) -> Result<(), Error> {
    for (protocol, suffix) in [(Protocol::Tcp, ""), (Protocol::Udp, "-udp")] {
        let mut conntab = Conntab::new(protocol, plan.flows, plan.turnovers, OPENINGS * CHUNK)?;
        let mut kernel = Kernel::new(conntab.traffic().clone())?;
        println!("# {} flows after {} turnovers; {}", plan.flows, plan.turnovers, conntab.about());
        let works: [(_, _, Work); 2] = [
            ("established", plan.chunks, |tracker, chunks| tracker.established(chunks)),
            ("new", OPENINGS, |tracker, chunks| tracker.new_connections(chunks)),
        ];
        for (workload, chunks, work) in works {
            measure(plan, &mut kernel, &mut conntab, (&format!("{workload}{suffix}"), chunks, work))?;
        }
        // With few connections it says nothing.
        if protocol == Protocol::Tcp && plan.flows >= 10_000 {
            let memory = (kernel.bytes_per_flow(plan.flows)?, conntab.bytes_per_flow(plan.flows)?);
            rows(plan.flows, "memory", &[memory], "B");
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let numbers: Option<Vec<usize>> = std::env::args().skip(1).map(|arg| arg.parse().ok()).collect();
    let numbers = numbers.filter(|numbers| numbers.iter().take(3).all(|&n| n > 0));
    let Some(&[flows, rounds, chunks, turnovers]) = numbers.as_deref() else {
        eprintln!("usage: conntab-kernel-bench FLOWS ROUNDS CHUNKS TURNOVERS (see benches/kernel/run.sh)");
        return ExitCode::from(2);
    };
    match run(&Plan { flows, rounds, chunks, turnovers }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conntab-kernel-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
