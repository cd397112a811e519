//! Measurements of conntab that take more than a bench of one call: latency, scale, reaping, flood; and the report.
//!
//! ```text
//! benches/run.sh [--quick]                                   everything, in order, and the report
//! cargo run -p conntab-measure --release -- latency          CSV on stdout, comments begin with #
//! cargo run -p conntab-measure --release -- report           docs/performance.md and its plots, from the CSV files
//! cargo run -p conntab-measure --release -- report --check   whether they are those of the CSV files
//! ```
//! Times are CPU time of the thread unless they say otherwise. What is compared is taken in turns within one run.

mod charts;
mod field;
mod figures;
mod flood;
mod latency;
#[path = "../../path/packets.rs"]
mod packets;
mod reap;
mod report;
mod scale;
mod wheel;
#[path = "../../path/yardstick.rs"]
mod yardstick;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Packets in a burst.
const BURST: usize = 32;

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Single bursts under load: percentiles, and pauses
    Latency(latency::Options),
    /// Time per packet from few flows to as many as memory allows
    Scale(scale::Options),
    /// What expiry costs: the deadline hints beside a plain sweep and a timer wheel
    Reap(reap::Options),
    /// A flood against a full table
    Flood(flood::Options),
    /// Tables and plots of docs/performance.md, from the CSV files beside it
    Report {
        /// Change nothing; fail if they are not what the CSV files say
        #[arg(long)]
        check: bool,
        /// The folder that has performance.md and performance/
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs"))]
        docs: PathBuf,
    },
}

fn main() -> ExitCode {
    // A thread that fails must not leave the others waiting for it.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |what| {
        tell(what);
        std::process::exit(101);
    }));
    match Cli::parse().command {
        Command::Latency(options) => latency::run(&options),
        Command::Scale(options) => scale::run(&options),
        Command::Reap(options) => reap::run(&options),
        Command::Flood(options) => flood::run(&options),
        Command::Report { check, docs } => {
            if let Err(error) = report::run(&docs, check) {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
