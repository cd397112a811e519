//! An exhaustive model of the table's protocol (`src/table`): insert under two keys, adoption, delete, expiry, the unlinking of overflow
//! buckets, growth.
//!
//! Every interleaving of a few threads at a tiny table is tried, one access to a shared word at a time, and in every state
//! that is reached the properties of `model` must hold. Nobody is ever made to wait, so a thread may rest anywhere for as long as it
//! likes: that is one of the interleavings. Every loop of the code counts its rounds here, and fails when it goes round more often than
//! others' successes can explain; since nothing else repeats, no run is endless, and from every state the protocol comes to its end.
//!
//! Then each planted defect (`defects`) must be found by one of the properties.
//!
//! Not in the model: orders weaker than sequential consistency, but for the store of READY in its store buffer (loom has the rest:
//! `ci/loom.sh`); the free list and the retire chains (loom); bursts; a second doubling; chains beyond the few buckets here. The epoch is
//! the ideal one: what is retired is free when the last thread has left that was at work then.

mod defects;
mod memory;
mod model;
mod scope;
mod scopes;
mod table;
mod thread;

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use stateright::{Checker, HasDiscoveries, Model, Path};

use defects::{DEFECTS, Defect};
use model::{Action, State};
use scope::Scope;

/// Explores the table's protocol exhaustively.
#[derive(Parser)]
struct Args {
    /// The small scopes alone: about half a minute on one core.
    #[arg(long)]
    short: bool,
    /// Only scopes and defects whose name contains this.
    #[arg(default_value = "")]
    filter: String,
}

/// What an exploration came to.
struct Outcome {
    states: usize,
    depth: usize,
    seconds: f64,
    /// The property that failed, and the way there.
    failure: Option<(&'static str, Path<State, Action>)>,
}

fn explore(scope: Scope, threads: usize) -> Outcome {
    let began = Instant::now();
    let checker = scope.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    Outcome {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        seconds: began.elapsed().as_secs_f64(),
        failure: checker.discoveries().into_iter().next(),
    }
}

/// What each thread did, step by step, and what it came to.
fn print(scope: &Scope, path: Path<State, Action>) {
    let last = path.last_state().clone();
    for (state, action) in path.into_vec() {
        match action {
            Some(Action::Step(me)) => {
                let thread = &state.threads[me as usize];
                println!("    thread {me}  {:?}  {:?}", scope.op(me, thread.op), thread.point);
            }
            Some(Action::Flush(me)) => println!("    thread {me}  its store is seen"),
            None => {}
        }
    }
    println!("    {:#?}", last.memory);
}

fn holds(scope: &Scope, threads: usize) -> bool {
    let Outcome { states, depth, seconds, failure } = explore(scope.clone(), threads);
    let verdict = if failure.is_none() { "holds" } else { "FAILS" };
    println!("{verdict}   {:<36} {states:>9} states, {depth:>3} steps, {seconds:.1} s", scope.name);
    let Some((property, path)) = failure else { return true };
    println!("  {property}");
    print(scope, path);
    false
}

fn is_caught(defect: &Defect, threads: usize) -> bool {
    let all = scopes::SHORT.iter().chain(scopes::LONG);
    let Some(scope) = all.clone().find(|scope| scope.name == defect.scope) else {
        println!("NO SCOPE  {} for {}", defect.scope, defect.name);
        return false;
    };
    let Outcome { states, failure, .. } =
        explore(Scope { defect: Some(defect.name), ..scope.clone() }, threads);
    match failure {
        Some((property, path)) => {
            let steps = path.into_actions().len();
            println!("caught  {:<21} {states:>8} states, {steps:>3} steps: {property}", defect.name);
            true
        }
        None => {
            println!("NOT CAUGHT  {} ({}) in: {}", defect.name, defect.what, scope.name);
            false
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if args.short { 1 } else { cores };
    let chosen = |name: &str| name.contains(&args.filter);
    let long = if args.short { &[] } else { scopes::LONG };
    let (mut passed, mut failed) = (0, 0);
    let mut count = |good| if good { passed += 1 } else { failed += 1 };
    println!("The protocol: no state may break a property.");
    for scope in scopes::SHORT.iter().chain(long).filter(|scope| chosen(scope.name)) {
        count(holds(scope, threads));
    }
    println!("Planted defects: each must be found.");
    for defect in DEFECTS.iter().filter(|defect| chosen(defect.name)) {
        count(is_caught(defect, threads));
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
