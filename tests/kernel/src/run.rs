//! The run: threads take scenarios, each into a router of its own, and what they find is told as it is found.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::Value;

use crate::args::Args;
use crate::bench::{Bench, Outcome};
use crate::capture;
use crate::network::Ports;
use crate::record;
use crate::rig::Rig;
use crate::shrink::shrink;
use crate::source::{Files, Random, Source};
use crate::summary::Summary;

/// Of so many that differ the shortest form is looked for: more have the same causes.
const SHRUNK: usize = 50;

/// A line about how far it is, so often.
const TELL: Duration = Duration::from_secs(30);

struct Run<'a> {
    args: &'a Args,
    kernel: String,
    source: Mutex<Box<dyn Source>>,
    state: Mutex<State>,
}

struct State {
    summary: Summary,
    broken: Option<io::Error>,
    begun: Instant,
    told: Instant,
}

pub fn run() -> ExitCode {
    let args = Args::parse();
    if let Err(why) = can_run() {
        println!("0 passed, 0 failed, skipped: {why}");
        return ExitCode::SUCCESS;
    }
    match all(&args) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("conntab-kernel: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Whether there are namespaces, TAP devices, conntrack, nft and NFLOG.
fn can_run() -> Result<(), String> {
    let thread = std::thread::spawn(|| {
        let scenario = serde_json::json!({"steps": [{"in": 0, "packet": PROBE}]});
        let mut rig = Rig::new(Ports::Wires, "").map_err(|e| format!("a router cannot be made here: {e}"))?;
        let recorded = record::record(&mut rig, &scenario, "", true).map_err(|e| e.to_string())?;
        let step = &recorded["steps"][0];
        match (step["verdict"]["state"].as_str(), step["table"].as_array()) {
            (Some("NEW"), Some(table)) if table.len() == 1 => Ok(()),
            _ => Err(format!("the kernel does not tell what it decides (NFLOG, ctnetlink): {step}")),
        }
    });
    thread.join().map_err(|_| "a thread panicked".to_owned())?
}

/// A datagram from 10.1.0.1 to 10.2.0.1.
const PROBE: &str = "4500001d00004000401126cc0a0100010a0200010001003500097aa171";

/// Plays everything; how many scenarios differ.
fn all(args: &Args) -> io::Result<usize> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = release.trim().split('-').next().unwrap_or_default().to_owned();
    let source: Box<dyn Source> = if let Some(path) = &args.pcap {
        let (played, told) = capture::read(path, args.real_time)?;
        println!("{}: {told}; kernel {kernel}", path.display());
        Box::new(played)
    } else if args.files.is_empty() {
        let seed = match args.seed {
            Some(seed) => seed,
            None => fresh_seed()?,
        };
        println!("seed {seed}, {} packets, areas: {}; kernel {kernel}", args.packets, args.area);
        Box::new(Random::new(seed, &args.area, args.packets)?)
    } else {
        println!("{} files or directories; kernel {kernel}", args.files.len());
        Box::new(Files::new(&args.files, args.except.as_deref())?)
    };
    let now = Instant::now();
    let state = State { summary: Summary::default(), broken: None, begun: now, told: now };
    let run = Run { args, kernel, source: Mutex::new(source), state: Mutex::new(state) };
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                let mut bench = Bench::new(&run.kernel);
                if let Err(e) = run.work(&mut bench) {
                    lock(&run.state).broken.get_or_insert(e);
                }
            });
        }
    });
    let state = run.state.into_inner().unwrap_or_else(|e| e.into_inner());
    if let Some(e) = state.broken {
        return Err(e);
    }
    let (summary, took) = (state.summary, state.begun.elapsed());
    let text = summary.text();
    if let Some(path) = &args.summary {
        std::fs::write(path, page(&run.kernel, &summary))?;
    }
    println!("\n{text}");
    println!("{} packets in {:.0} s", summary.packets(), took.as_secs_f64());
    println!("{} passed, {} failed", summary.passed(), summary.failed());
    Ok(summary.failed())
}

fn fresh_seed() -> io::Result<u64> {
    let mut bytes = [0; 4];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(u32::from_ne_bytes(bytes).into())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Run<'_> {
    /// A long run may be cut short: its counts so far are there.
    fn save(&self, summary: &Summary) {
        if let Some(path) = &self.args.summary
            && let Err(e) = std::fs::write(path, page(&self.kernel, summary))
        {
            eprintln!("conntab-kernel: {}: {e}", path.display());
        }
    }

    fn work(&self, bench: &mut Bench) -> io::Result<()> {
        loop {
            if lock(&self.state).broken.is_some() {
                return Ok(());
            }
            let scenario = lock(&self.source).next()?;
            let Some(scenario) = scenario else { return Ok(()) };
            let longest = if self.args.pcap.is_some() { u64::MAX } else { self.args.longest };
            let outcome = if record::seconds(&scenario) > longest {
                Outcome::NotCompared("it takes too long (--longest)".to_owned())
            } else {
                bench.judge(&scenario)?
            };
            let name = scenario["name"].as_str().unwrap_or("unnamed").to_owned();
            self.tell(&scenario, &name, &outcome);
            if let (Some(folder), Outcome::Equal { recorded, .. } | Outcome::Different { recorded, .. }) =
                (&self.args.record, &outcome)
            {
                write(folder, &name, recorded)?;
            }
            if let Outcome::Different { what, recorded } = outcome {
                let shrunk = lock(&self.state).summary.failed() <= SHRUNK;
                let (what, recorded) = if shrunk { shrink(bench, what, recorded)? } else { (what, recorded) };
                let path = write(&self.args.output, &name, &recorded)?;
                let steps = record::steps(&recorded).len();
                println!("{name}: {}{steps} steps, {path}\n  {what}", if shrunk { "shortest: " } else { "" });
            }
        }
    }

    fn tell(&self, scenario: &Value, name: &str, outcome: &Outcome) {
        let mut state = lock(&self.state);
        state.summary.add(scenario, outcome);
        match outcome {
            Outcome::Equal { again: Some(what), .. } => {
                println!("{name}: equal when recorded again; at first: {what}");
            }
            Outcome::Different { what, .. } => println!("{name}: DIFFERS: {what}"),
            _ => {}
        }
        if state.told.elapsed() > TELL {
            state.told = Instant::now();
            self.save(&state.summary);
            let seconds = state.begun.elapsed().as_secs();
            eprintln!(
                "{seconds} s: {} packets, {} differing",
                state.summary.packets(),
                state.summary.failed()
            );
        }
    }
}

/// The counts for a page.
fn page(kernel: &str, summary: &Summary) -> String {
    format!("Kernel {kernel}.\n\n{}", summary.text())
}

/// Writes the kernel's recording of a scenario; where.
fn write(folder: &Path, name: &str, recorded: &Value) -> io::Result<String> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{name}.json"));
    std::fs::write(&path, record::text(recorded))?;
    Ok(path.display().to_string())
}
