//! Random histories of two to four real threads at a real table: packets, confirmations, lookups, deletes and expiry about one flow or
//! a few that share tuples, while the table grows. Each operation is taken down with its call and its return, in one order
//! for all, and stateright's checker looks for an order in which the operations, one by one, could have answered the same (`spec`).
//!
//! A history is two or three things to do for each thread (up to six operations), all begun at one instant and with pauses so short that they
//! overlap. What is to be done depends on the seed and the number of the history alone; what comes of it, on how the threads run.

mod history;
mod spec;

use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use clap::Parser;
use conntab::Handle;
use stateright::semantics::{ConsistencyTester, LinearizabilityTester};

use history::{DOUBLINGS, Done, Gate, History, MAX};
use spec::{Op, Ret, Spec};

/// Histories that one table goes through.
const LOT: u64 = 64;

/// Histories from one doubling of its table to the next.
const EVERY: u32 = LOT as u32 / DOUBLINGS;

/// Histories of real threads at a real table, checked for linearizability.
#[derive(Parser)]
struct Args {
    /// How many.
    #[arg(long, default_value_t = 100_000)]
    histories: u64,
    /// What they are made from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// This defect was planted: stop at the first history that is not linearizable, and succeed only if there is one.
    #[arg(long)]
    planted: Option<String>,
}

/// Whether the operations could have taken effect one by one.
fn is_linearizable(history: &History, done: &[Done]) -> bool {
    let mut all: Vec<Done> = done.to_vec();
    for done in done {
        // The second half of a packet that has found its connection: at another instant of the same call, as if by another thread.
        if let (Op::Track(_, now), Ret::Found(conn, _)) = (done.op, done.ret) {
            let thread = history.threads.len() + done.thread;
            all.push(Done { thread, op: Op::Refresh(conn, now), ret: Ret::Done, ..*done });
        }
    }
    let mut events: Vec<(u64, usize, bool)> = Vec::with_capacity(2 * all.len());
    for (i, done) in all.iter().enumerate() {
        events.extend([(done.called, i, true), (done.returned, i, false)]);
    }
    events.sort_unstable();
    let mut tester = LinearizabilityTester::new(Spec::new(history.udp, history.latest()));
    for (_, i, call) in events {
        let done = &all[i];
        let taken = if call {
            tester.on_invoke(done.thread, done.op)
        } else {
            tester.on_return(done.thread, done.ret)
        };
        taken.expect("each thread does one thing after the other");
    }
    tester.is_consistent()
}

/// A history as a table, connections named in the order of their appearance.
fn print(history: &History, done: &[Done]) {
    let mut done = done.to_vec();
    done.sort_unstable_by_key(|done| done.called);
    let mut names: Vec<Handle> = Vec::new();
    let mut name = |handle: Handle| match names.iter().position(|known| *known == handle) {
        Some(at) => format!("c{at}"),
        None => {
            names.push(handle);
            format!("c{}", names.len() - 1)
        }
    };
    let protocol = if history.udp { "UDP" } else { "TCP" };
    println!(
        "history {} of seed {}, {} threads, {protocol}:",
        history.number,
        history.seed,
        history.threads.len()
    );
    println!("  call  return  thread");
    for Done { thread, called, returned, op, ret } in done {
        let op = match op {
            Op::Track(tuple, now) => format!("track t{tuple} at {now}"),
            Op::Refresh(conn, now) => format!("refresh {} at {now}", name(conn)),
            Op::Confirm([original, reply], now) => format!("confirm t{original}, t{reply} at {now}"),
            Op::Lookup(tuple, now) => format!("lookup t{tuple} at {now}"),
            Op::Delete(conn) => format!("delete {}", name(conn)),
            Op::EndExpired(conn, now) => format!("end_expired {} at {now}", name(conn)),
        };
        let ret = match ret {
            Ret::Found(conn, dir) => format!("found {}, {}", name(conn), history::way(dir)),
            Ret::Nothing => "nothing".into(),
            Ret::Done => "done".into(),
            Ret::Inserted(conn) => format!("inserted {}", name(conn)),
            Ret::Adopted(conn, dir) => format!("adopted {}, {}", name(conn), history::way(dir)),
            Ret::Refused => "refused".into(),
            Ret::Ended(ended) => ended.to_string(),
            Ret::Wrong(what) => what.into(),
        };
        println!("  {:>4}  {:>6}  {thread}  {op:<28} -> {ret}", called, returned);
    }
}

/// What a lot of histories came to.
#[derive(Default)]
struct Sum {
    histories: u64,
    operations: u64,
    overlapping: u64,
    failed: u64,
}

/// Some histories at one table, which grows meanwhile.
fn lot(args: &Args, first: u64, sum: &mut Sum) -> Result<(), String> {
    let threads = [2, 3, 2, 4][(first / LOT % 4) as usize];
    let table = history::table(threads).map_err(|error| error.to_string())?;
    let numbers = first..(first + LOT).min(args.histories);
    let all: Vec<History> = numbers.map(|number| History::new(args.seed, number, threads)).collect();
    let (gate, order) = (Gate::new(threads), AtomicU64::new(0));
    let mut done: Vec<Vec<Done>> = all.iter().map(|_| Vec::new()).collect();
    std::thread::scope(|scope| {
        let (table, gate, order, all) = (&table, &gate, &order, &all);
        let grower = scope.spawn(move || {
            for doubling in 1..=DOUBLINGS {
                std::thread::park();
                table.set_max(MAX << doubling).expect("there is room");
            }
        });
        let workers: Vec<_> = (0..threads)
            .map(|me| {
                let grower = grower.thread().clone();
                scope.spawn(move || {
                    let mut worker = table.worker().expect("a seat for each");
                    if let Some(first) = all.first() {
                        first.tell_clocks(&mut worker);
                    }
                    let mut parts = Vec::with_capacity(all.len());
                    for (number, history) in all.iter().enumerate() {
                        if me == 0 && number as u32 % EVERY == EVERY / 2 {
                            grower.unpark();
                        }
                        gate.pass();
                        parts.push(history.run(me, &mut worker, order));
                    }
                    parts
                })
            })
            .collect();
        for worker in workers {
            let parts = worker.join().expect("nobody panics");
            done.iter_mut().zip(parts).for_each(|(done, part)| done.extend(part));
        }
        // (Twice at most: a call that comes too early is not lost.)
        while !grower.is_finished() {
            grower.thread().unpark();
            std::thread::yield_now();
        }
    });
    for (history, done) in all.iter().zip(done) {
        sum.histories += 1;
        sum.operations += done.len() as u64;
        let overlaps = |a: &Done| {
            done.iter().any(|b| b.thread != a.thread && b.called < a.returned && a.called < b.returned)
        };
        sum.overlapping += done.iter().filter(|done| overlaps(done)).count() as u64;
        if !is_linearizable(history, &done) {
            sum.failed += 1;
            if sum.failed <= 3 {
                print(history, &done);
            }
            if args.planted.is_some() {
                return Ok(());
            }
        }
    }
    let usage = table.usage();
    if usage.lost + usage.bounds + usage.attempts_exhausted > 0 && args.planted.is_none() {
        return Err(format!("{usage:?}"));
    }
    Ok(())
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (mut sum, began) = (Sum::default(), Instant::now());
    for first in (0..args.histories).step_by(LOT as usize) {
        if let Err(error) = lot(&args, first, &mut sum) {
            println!("{error}");
            sum.failed += 1;
        }
        if args.planted.is_some() && sum.failed > 0 {
            break;
        }
    }
    let Sum { histories, operations, overlapping, failed } = sum;
    let seconds = began.elapsed().as_secs_f64();
    let good = match &args.planted {
        Some(name) if failed > 0 => {
            println!("planted {name}: found after {histories} histories");
            true
        }
        Some(name) => {
            println!("planted {name}: NOT FOUND in {histories} histories");
            false
        }
        None => {
            println!(
                "{histories} histories, {operations} operations ({overlapping} of them beside another thread's), \
                 {failed} not linearizable; {seconds:.0} s"
            );
            failed == 0
        }
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
