//! What a table has to bear: attacks, each with its figure, and a soak. What is promised and what was found: `docs/testing.md`.
//!
//! An attack is a function that sends packets, counts what became of them, and compares that with what the table has counted and holds. It
//! answers with its figure, or with the first thing that was not as it must be. Each is run by itself (`ci/attack.sh`), so that what it
//! says of memory is its own.

/// Ends an attack that was not borne.
macro_rules! hold {
    ($right:expr, $($said:tt)+) => {
        let right: bool = $right;
        if !right {
            return Err(format!($($said)+));
        }
    };
}

/// Ends an attack if something is not what it must be.
macro_rules! equal {
    ($is:expr, $must:expr, $($said:tt)+) => {
        let (is, must) = (&$is, &$must);
        if is != must {
            return Err(format!("{}: {is:?} instead of {must:?}", format_args!($($said)+)));
        }
    };
}

mod clocks;
mod collisions;
mod errors;
mod expectations;
mod flood;
mod fragments;
mod host;
mod packets;
mod site;
mod soak;
mod spoof;
mod sprays;
mod traffic;
mod zones;

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: host::Counting = host::Counting;

/// How an attack is made.
pub struct Plan {
    /// As few packets as show something.
    pub short: bool,
    /// A defect that the attack is to find: of the library's (compiled with `conntab_mutate`), or one that it makes itself.
    planted: Option<String>,
}

impl Plan {
    /// Whether the attack is to make this mistake.
    pub fn has(&self, defect: &str) -> bool {
        self.planted.as_deref() == Some(defect)
    }
}

/// The figure, or what was not as it must be.
pub type Outcome = Result<String, String>;

type Attack = fn(&Plan) -> Outcome;

const ATTACKS: [(&str, Attack); 15] = [
    ("syn-flood", flood::syn),
    ("udp-flood", flood::udp_flood),
    ("collisions", collisions::without_key),
    ("leaked-key", collisions::with_key),
    ("sprays", sprays::run),
    ("icmp-errors", errors::run),
    ("fragments", fragments::run),
    ("expectations", expectations::run),
    ("spoofed-reply", spoof::run),
    ("zones", zones::run),
    ("tick-wrap", clocks::wrap),
    ("clock-still", clocks::still),
    ("clocks-apart", clocks::apart),
    ("clock-jumps", clocks::jumps),
    ("fragment-clock", fragments::clock),
];

/// Attacks on a table, and its soak.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// This defect was planted: succeed only if it is found.
    #[arg(long, global = true)]
    planted: Option<String>,
}

#[derive(Subcommand)]
enum What {
    /// The attacks of these names; without one, lists the names.
    Attack {
        names: Vec<String>,
        /// Fewer packets.
        #[arg(long)]
        short: bool,
    },
    /// Mixed traffic of two workers for so long.
    Soak {
        #[arg(long, default_value_t = 1800)]
        seconds: u64,
    },
}

/// One attack, and its line.
fn try_one(name: &str, planted: Option<&str>, attack: impl FnOnce() -> Outcome) -> bool {
    let begin = Instant::now();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attack))
        .unwrap_or_else(|_| Err("it panicked".to_string()));
    let seconds = begin.elapsed().as_secs_f64();
    match (planted, outcome) {
        (None, Ok(figure)) => println!("{name}: {figure}; passed ({seconds:.1} s)"),
        (None, Err(wrong)) => {
            println!("{name}: {wrong}; FAILED");
            return false;
        }
        (Some(defect), Err(wrong)) => println!("planted {defect}: found by {name}: {wrong}"),
        (Some(defect), Ok(_)) => {
            println!("planted {defect}: NOT FOUND by {name}");
            return false;
        }
    }
    true
}

fn main() -> ExitCode {
    let Args { what, planted } = Args::parse();
    let mut good = true;
    match what {
        What::Soak { seconds } => {
            good = try_one("soak", planted.as_deref(), || soak::run(seconds));
        }
        What::Attack { names, .. } if names.is_empty() => {
            ATTACKS.iter().for_each(|(name, _)| println!("{name}"))
        }
        What::Attack { names, short } => {
            let plan = Plan { short, planted };
            for name in names {
                let Some((_, attack)) = ATTACKS.iter().find(|(known, _)| *known == name) else {
                    eprintln!("there is no attack {name}");
                    return ExitCode::from(2);
                };
                good &= try_one(&name, plan.planted.as_deref(), || attack(&plan));
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
