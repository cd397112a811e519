//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// Plays packets into the running kernel and into conntab, and compares. Needs root.
#[derive(Parser)]
pub struct Args {
    /// Seed of the random scenarios: the same packets each time [default: a fresh one, printed]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Random packets to play: as many scenarios as it takes
    #[arg(long, default_value_t = 20_000)]
    pub packets: usize,
    /// Areas of random scenarios, in turns, as tests/kernel/scenarios.py names them
    #[arg(long, default_value = "all")]
    pub area: String,
    /// Scenarios to play instead of random ones: files, or directories of them
    pub files: Vec<PathBuf>,
    /// A capture (pcap, pcapng) to play instead, rewritten onto the router's two sides
    #[arg(long, conflicts_with = "files")]
    pub pcap: Option<PathBuf>,
    /// Silences in a capture keep their length (else one second is the longest)
    #[arg(long)]
    pub real_time: bool,
    /// Scenarios that take longer are left out: seconds [captures: none is]
    #[arg(long, default_value_t = 60)]
    pub longest: u64,
    /// Routers at work at the same time
    #[arg(long, default_value_t = 16)]
    pub jobs: usize,
    /// Where scenarios that differ are written
    #[arg(long, short, default_value = "target/kernel")]
    pub output: PathBuf,
    /// Write what the kernel decided of every scenario there
    #[arg(long)]
    pub record: Option<PathBuf>,
    /// Scenarios and areas of this list are left out (as tests/corpus/EXCEPTIONS.txt)
    #[arg(long)]
    pub except: Option<PathBuf>,
    /// Write the counts as a page's table, too
    #[arg(long)]
    pub summary: Option<PathBuf>,
}
