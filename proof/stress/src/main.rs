//! Two to four threads that do everything to one table at once, for the sanitizers to watch (`ci/sanitize.sh`). Threads are spawned and
//! joined and share nothing but the table and words of the clock: ThreadSanitizer understands no more of a std that it has not compiled.
//!
//! At the end of each scenario the books of the table add up, whatever the threads did.

mod packets;
mod planted;
mod scenario;
mod work;

use std::process::ExitCode;

use lexopt::ValueExt;

const USAGE: &str =
    "usage: conntab-stress [--seconds N] [--threads N] [--seed N] [SCENARIO]... | --planted NAME";

struct Args {
    /// For each scenario.
    seconds: f64,
    /// Workers.
    threads: usize,
    seed: u64,
    scenarios: Vec<String>,
    planted: Option<String>,
}

fn args() -> Result<Args, lexopt::Error> {
    use lexopt::Arg::{Long, Value};
    let mut args = Args { seconds: 1.0, threads: 3, seed: 1, scenarios: Vec::new(), planted: None };
    let mut given = lexopt::Parser::from_env();
    while let Some(arg) = given.next()? {
        match arg {
            Long("seconds") => args.seconds = given.value()?.parse()?,
            Long("threads") => args.threads = given.value()?.parse()?,
            Long("seed") => args.seed = given.value()?.parse()?,
            Long("planted") => args.planted = Some(given.value()?.string()?),
            Value(name) => args.scenarios.push(name.string()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(args)
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(args) => args,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Some(name) = &args.planted {
        // It is the sanitizer's to end this.
        return if planted::commit(name) { ExitCode::SUCCESS } else { ExitCode::from(2) };
    }
    let known = |name: &String| scenario::ALL.iter().any(|scenario| scenario.name == name);
    if let Some(name) = args.scenarios.iter().find(|name| !known(name)) {
        eprintln!("no scenario is called {name}\n{USAGE}");
        return ExitCode::from(2);
    }
    let chosen = |name: &str| args.scenarios.is_empty() || args.scenarios.iter().any(|chosen| chosen == name);
    for scenario in scenario::ALL.iter().filter(|scenario| chosen(scenario.name)) {
        match scenario.run(args.seconds, args.threads.clamp(1, 16), args.seed) {
            Ok(bursts) => println!("{}: {bursts} bursts", scenario.name),
            Err(error) => {
                println!("{}: FAILED: {error}", scenario.name);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
