//! Stops a thread at every named step of the library, or wherever a signal meets it, and looks at what the others can do meanwhile:
//! established traffic at its usual speed, no call longer than its budget, new connections until the slack of entries is used up and
//! then refused with their own reason; and when it has gone on, everything is back.

mod others;
mod round;
mod scene;
mod steps;
mod stop;
mod traffic;
mod victim;
mod wander;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use conntab_bench::three;

use round::{AFTER, How, Shown, round};
use steps::STEPS;

/// Throughput that is left of normal, at least: the median over a step's rounds.
const LEAST: f64 = 0.9;

/// CPU time of a call, at most: in the median of a step's rounds, and in any.
const BUDGET: f64 = 1e6;
const BUDGET_OF_ANY: u64 = 20_000_000;

/// How an error begins that tells of a long call.
const LONG: &str = "longest calls:";

/// The defects that can be planted, how the error must begin by which each is found (the others' calls are long, or something is lost for
/// good), and at which steps.
const PLANTED: [(&str, &str, &str); 6] = [
    ("record-waits", LONG, "record-"),
    ("insert-waits", LONG, "insert-"),
    ("move-waits", LONG, "grow-begun"),
    ("spare-lost", AFTER, "place-"),
    ("loser-lost", AFTER, "insert-"),
    ("permit-lost", AFTER, "insert-"),
];

/// Rounds of a step, at most, until its median counts; and tries until the thread comes by (whom a chain meets is left to chance).
const MOST_ROUNDS: usize = 25;
const TRIES: u64 = 60;

/// Stops a worker at every step, and sees to it that nobody waits for it.
#[derive(Parser)]
struct Args {
    /// Rounds of each step.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Stop threads by signals instead, so often.
    #[arg(long)]
    anywhere: Option<u64>,
    /// Only the steps with this in their names.
    #[arg(long, default_value = "")]
    only: String,
    /// What chance begins with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// This defect was planted: succeed only if it is found.
    #[arg(long)]
    planted: Option<String>,
    /// Tell of each step.
    #[arg(long, short)]
    verbose: bool,
}

/// Rounds of one kind, and what they came to.
struct Rounds {
    shown: Vec<Shown>,
    ratio: f64,
    /// The longest call: the median of the rounds', and the longest of all.
    longest: [f64; 2],
}

impl Rounds {
    fn of(shown: Vec<Shown>) -> Self {
        let ratio = three(shown.iter().map(|shown| shown.ratio)).map_or(0.0, |[_, median, _]| median);
        let longest = shown.iter().map(|shown| shown.longest.into_iter().max().unwrap_or(0) as f64);
        let longest = three(longest).map_or([0.0; 2], |[_, median, most]| [median, most]);
        Self { shown, ratio, longest }
    }

    fn judge(&self) -> Result<(), String> {
        let [median, most] = self.longest;
        if median > BUDGET || most > BUDGET_OF_ANY as f64 {
            return Err(format!("{LONG} {:.3} ms in the median, {:.3} ms at most", median / 1e6, most / 1e6));
        }
        let slept: u64 = self.shown.iter().map(|shown| shown.slept).sum();
        match slept {
            0 => Ok(()),
            _ => Err(format!("those who tracked slept {slept} times")),
        }
    }
}

/// All rounds of a step. More of them where the first few are too slow: what waits is slow in all.
fn of_step(how: How, args: &Args) -> Result<Rounds, String> {
    let (mut shown, mut seed, mut missed) = (Vec::new(), args.seed, 0);
    loop {
        match round(how, seed)? {
            Some(one) => shown.push(one),
            None => missed += 1,
        }
        seed += 1;
        if missed == TRIES {
            return Err("it is never reached".into());
        }
        if shown.len() >= args.rounds {
            let rounds = Rounds::of(std::mem::take(&mut shown));
            if rounds.ratio >= LEAST || rounds.shown.len() >= MOST_ROUNDS || args.planted.is_some() {
                return Ok(rounds);
            }
            shown = rounds.shown;
        }
    }
}

/// What went wrong, and what all rounds came to.
#[derive(Default)]
struct Report {
    failed: Vec<(String, String)>,
    ratios: Vec<f64>,
    shown: Vec<Shown>,
}

impl Report {
    fn take(&mut self, name: &str, result: Result<Rounds, String>, verbose: bool) {
        let rounds = match result {
            Ok(rounds) => rounds,
            Err(error) => return self.failed.push((name.into(), error)),
        };
        if verbose {
            let opened: Vec<u64> = rounds.shown.iter().map(|shown| shown.opened).collect();
            println!(
                "{name}: {:.3} of its speed, longest calls {:?} ns, {opened:?} opened",
                rounds.ratio, rounds.longest
            );
        }
        if let Err(error) = rounds.judge() {
            self.failed.push((name.into(), error));
        }
        self.ratios.push(rounds.ratio);
        self.shown.extend(rounds.shown);
    }

    /// Where a defect was found that is to be found like this.
    fn found(&self, how: &str) -> Option<&(String, String)> {
        self.failed.iter().find(|(_, error)| error.starts_with(how))
    }

    fn tell(&self) {
        self.failed.iter().take(20).for_each(|(step, error)| println!("{step}: {error}"));
    }

    fn print(&self, what: &str, began: Instant) {
        let ms = |ns: u64| ns as f64 / 1e6;
        let most = |of: fn(&Shown) -> u64| self.shown.iter().map(of).max().unwrap_or(0);
        let longest = most(|shown| shown.longest.into_iter().max().unwrap_or(0));
        let normal = most(|shown| shown.normal.into_iter().max().unwrap_or(0));
        let [least, median, _] = three(self.ratios.iter().copied()).unwrap_or_default();
        let refused: Vec<&Shown> = self.shown.iter().filter(|shown| shown.refused).collect();
        let opened = three(refused.iter().map(|shown| shown.opened as f64)).unwrap_or_default();
        println!(
            "{what}: {} rounds; established traffic at {median:.3} of its speed (least {least:.3}), longest call {:.3} ms of CPU time \
             ({:.3} ms while nobody stood still); {:.0} to {:.0} new connections in the {} rounds in which they were refused in the end; {:.0} s",
            self.shown.len(),
            ms(longest),
            ms(normal),
            opened[0],
            opened[2],
            refused.len(),
            began.elapsed().as_secs_f64(),
        );
        let inside = self.shown.iter().filter(|shown| shown.inside).count();
        if inside > 0 {
            println!("{inside} of them stood inside a call");
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let planted = args.planted.as_deref();
    let planted = planted.map(|name| {
        *PLANTED.iter().find(|(known, ..)| *known == name).expect("one of those that can be planted")
    });
    let began = Instant::now();
    let mut report = Report::default();
    let what = if let Some(points) = args.anywhere {
        if let Err(error) = stop::install_signal() {
            println!("{error}");
            return ExitCode::FAILURE;
        }
        let mut shown = Vec::new();
        for seed in args.seed..args.seed + points {
            match round(How::Anywhere, seed) {
                Ok(one) => shown.extend(one),
                Err(error) => report.failed.push((format!("point {seed}"), error)),
            }
        }
        let rounds = Rounds::of(shown);
        report.take("anywhere", Ok(rounds), args.verbose);
        format!("stopped at {points} random points")
    } else {
        if !stop::install() {
            println!("compiled without steps (RUSTFLAGS=\"--cfg conntab_mutate\"): see ci/stall.sh");
            return ExitCode::FAILURE;
        }
        match steps::check(&PLANTED.map(|(name, ..)| name)) {
            Err(error) => report.failed.push(("the source".into(), error)),
            Ok(named) if planted.is_none() => {
                println!("{named} steps, {} with the scenes they are reached in", STEPS.len())
            }
            Ok(_) => {}
        }
        let only = planted.map_or(args.only.as_str(), |(.., only)| only);
        for step in STEPS.iter().filter(|step| step.name.contains(only)) {
            let name = format!("{} ({:?})", step.name, step.scene);
            report.take(&name, of_step(How::At(step), &args), args.verbose);
            if planted.is_some_and(|(_, how, _)| report.found(how).is_some()) {
                break;
            }
        }
        "stopped at every step".to_owned()
    };
    let good = match planted {
        Some((name, how, _)) => match report.found(how) {
            Some((step, error)) => {
                println!(
                    "planted {name}: found at {step} after {:.0} s: {error}",
                    began.elapsed().as_secs_f64()
                );
                true
            }
            None => {
                report.tell();
                println!("planted {name}: NOT FOUND");
                false
            }
        },
        None => {
            report.tell();
            report.print(&what, began);
            report.failed.is_empty()
        }
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
