//! The soak: two threads and mixed traffic, in cycles. Each cycle has a fresh table, which grows to sixteen times its size while packets flow, and
//! is drained, filled to its last place, and drained again at the end; one table lives through all of them. Meanwhile the main thread dumps,
//! deletes, changes tunables and `max`, and reads events.
//!
//! Time runs twenty times as fast as on the wall, and wraps soon after the beginning.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use conntab::{Stats, Worker};
use conntab_bench::Random;

use crate::Outcome;
use crate::host;
use crate::site::{QUEUE, Site};
use crate::traffic::{Seen, Traffic};

const THREADS: u32 = 2;

/// The most connections of a fresh table at first, and at last; and of the one that lives.
const FIRST: u32 = 10_000;
const LAST: u32 = 160_000;
const LIVES: u32 = 16_384;

/// Bursts between two calls of `reap`.
const SLICE: u32 = 32;

/// What resident memory may differ by once warm, with the heap's own slack.
const TOLERANCE: u64 = 4 << 20;

/// Cycles before memory is compared.
const WARM: u32 = 3;

/// Milliseconds of a table's clock in a millisecond.
const SPEED: u64 = 20;

struct Clock(Instant);

impl Clock {
    fn now(&self) -> u64 {
        (1 << 32) - 100_000 + self.0.elapsed().as_millis() as u64 * SPEED
    }
}

/// Keeps this thread on a processor of those it may run on.
fn pin(thread: u32) {
    // SAFETY: a set of processors is an array of integers, for which zero is valid.
    let mut all: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: it writes the set that is lent to it, of this size.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&all), &raw mut all) } != 0 {
        return;
    }
    // SAFETY: the number is below the size of the set.
    let own: Vec<usize> = (0..1024).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &all) }).collect();
    // SAFETY: as above.
    let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if let Some(cpu) = own.get(thread as usize % own.len().max(1)) {
        // SAFETY: as above.
        unsafe { libc::CPU_SET(*cpu, &mut one) };
        // SAFETY: it reads the set, of this size. Where it is refused the thread runs anywhere.
        unsafe { libc::sched_setaffinity(0, size_of_val(&one), &raw const one) };
    }
}

/// One thread's part of a cycle: slices of traffic to the table that lives and to the fresh one, in turns.
fn work(
    thread: u32,
    sites: [&Site; 2],
    traffics: [&mut Traffic; 2],
    clock: &Clock,
    stop: &AtomicBool,
) -> Result<(), String> {
    pin(thread);
    let mut workers: [Worker; 2] = [host::worker(&sites[0].table)?, host::worker(&sites[1].table)?];
    let before = [traffics[0].seen, traffics[1].seen];
    let mut slice = 0_u32;
    while !stop.load(Relaxed) {
        let at = slice as usize % 2;
        let now = clock.now();
        for _ in 0..SLICE {
            traffics[at].burst(&mut workers[at], now);
        }
        workers[at].reap(now, 8192);
        if sites[at].table.config().events == QUEUE {
            sites[at].read_events();
        }
        slice += 1;
        if slice.is_multiple_of(512) {
            // Another worker in its place.
            workers[at].idle();
            let (last, new) = (&mut workers[at], host::worker(&sites[at].table)?);
            *last = new;
        }
    }
    drop(workers);
    for ((site, traffic), before) in sites.iter().zip(traffics).zip(before) {
        let mut seen = site.seen.lock().map_err(|error| error.to_string())?;
        let now = traffic.seen;
        seen.add(Seen {
            packets: now.packets - before.packets,
            opened: now.opened - before.opened,
            dropped: now.dropped - before.dropped,
            invalid: now.invalid - before.invalid,
        });
    }
    Ok(())
}

/// What is done beside the packets, one thing at a time.
fn disturb(sites: [&Site; 2], random: &mut Random, now: u64) -> Result<(), String> {
    let site = sites[random.below(2)];
    let table = &site.table;
    let set = |name: &str, values: &[u32], at: usize| {
        table.set(name, values[at % values.len()]).map_err(|error| error.to_string())
    };
    let at = random.below(64);
    match random.below(12) {
        0 => drop(table.dump(now).count()),
        1 | 2 => {
            // (The queue of calls without a worker is as long as the others.)
            let some: Vec<_> = table.dump(now).step_by(17).take(500).map(|c| c.handle).collect();
            for conn in some {
                table.delete(conn);
            }
        }
        3 => set("udp_timeout", &[1, 5, 10, 30], at)?,
        4 => set("tcp_timeout_established", &[5, 60, 432_000], at)?,
        5 => set("tcp_be_liberal", &[0, 1], at)?,
        6 => set("tcp_loose", &[0, 1], at)?,
        7 => set(["acct", "timestamp", "nat_hooks"][at % 3], &[0, 1], at / 3)?,
        8 => drop(table.expectations(now).count()),
        9 => drop((table.usage(), table.stats(), table.memory())),
        10 if table.config().events == 0 => drop(table.flush()),
        _ => {
            // Lower, so that connections have to go before others come, and as high as before.
            let max = table.usage().max;
            table.set_max(max / 2).map_err(|error| error.to_string())?;
            table.set_max(max).map_err(|error| error.to_string())?;
        }
    }
    if table.config().events == QUEUE {
        site.read_events();
    }
    Ok(())
}

/// Doubles what a table may hold.
fn grow(site: &Site, max: &mut u32) -> Result<(), String> {
    *max *= 2;
    site.table.set_max(*max).map_err(|error| error.to_string())
}

/// Mixed traffic to both tables for so long, the fresh one growing on the way.
fn cycle(
    sites: [&Site; 2],
    traffics: &mut [[Traffic; 2]],
    clock: &Clock,
    span: Duration,
    seed: u64,
) -> Result<(), String> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        let threads: Vec<_> = (0..THREADS)
            .zip(traffics)
            .map(|(thread, [lives, fresh])| {
                scope.spawn(move || work(thread, sites, [lives, fresh], clock, stop))
            })
            .collect();
        let (begin, mut random, mut max) = (Instant::now(), Random(seed), FIRST);
        let mut disturbed = Ok(());
        while disturbed.is_ok() && begin.elapsed() < span {
            std::thread::sleep(Duration::from_millis(5));
            disturbed = disturb(sites, &mut random, clock.now());
            // Doubled four times in the first two thirds.
            let due = begin.elapsed() * 6 > span * (max / FIRST).ilog2() + span;
            if disturbed.is_ok() && due && max < LAST {
                disturbed = grow(sites[1], &mut max);
            }
        }
        // (This thread may have had no turn for long.)
        while disturbed.is_ok() && max < LAST {
            disturbed = grow(sites[1], &mut max);
        }
        stop.store(true, Relaxed);
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked".to_string())??;
        }
        disturbed
    })
}

/// What a soak has to meet, and adoptions, which take luck.
fn happened(stats: &Stats) -> [u64; 5] {
    [stats.expired, stats.deleted, stats.early_drop, stats.expect_new, stats.clash_resolve]
}

pub fn run(seconds: u64) -> Outcome {
    let clock = Clock(Instant::now());
    let span = Duration::from_millis((seconds * 1000 / 8).clamp(500, 10_000));
    let lives = Site::new(LIVES, LIVES, QUEUE)?;
    let mut warm: Option<u64> = None;
    let (mut least, mut most, mut cycles, mut minute) = (u64::MAX, 0, 0_u32, 0);
    let (mut sum, mut reaps, mut met) = (Seen::default(), 0, [0; 5]);
    let mut old: Vec<Traffic> = (0..THREADS).map(|thread| Traffic::new(&lives.table, thread, 1)).collect();
    while clock.0.elapsed() < Duration::from_secs(seconds) || cycles <= WARM {
        // With events that are all read; without any; with a queue that is too short.
        let events = [QUEUE, 0, 256][cycles as usize % 3];
        let fresh = Site::new(FIRST, LAST, events)?;
        let mut traffics: Vec<[Traffic; 2]> = (0..THREADS)
            .zip(old.drain(..))
            .map(|(thread, old)| [old, Traffic::new(&fresh.table, thread, u64::from(cycles) + 2)])
            .collect();
        cycle([&lives, &fresh], &mut traffics, &clock, span, u64::from(cycles) + 1)?;
        for [kept, used] in traffics {
            sum.add(used.seen);
            old.push(kept);
        }
        let cycle = format!("cycle {cycles}");
        lives.books().map_err(|wrong| format!("{cycle}, the table that lives: {wrong}"))?;
        let (stats, took) =
            fresh.settle(clock.now()).map_err(|wrong| format!("{cycle}, a fresh table: {wrong}"))?;
        met.iter_mut().zip(happened(&stats)).for_each(|(met, more)| *met += more);
        drop(fresh);
        reaps = reaps.max(took);
        cycles += 1;
        if cycles >= WARM {
            let memory = host::resident();
            let base = *warm.get_or_insert(memory);
            hold!(
                memory.abs_diff(base) <= TOLERANCE,
                "resident memory is {memory} after {cycles} cycles, it was {base} once warm"
            );
            (least, most) = (least.min(memory), most.max(memory));
        }
        if clock.0.elapsed().as_secs() / 60 > minute {
            minute = clock.0.elapsed().as_secs() / 60;
            let stats = lives.table.stats();
            println!(
                "  {minute} min: {cycles} cycles, {} M packets; the table that lives: {} inserted = {} live + {} expired + {} deleted + {} \
                 early_drop; resident {} kB",
                (sum.packets + old.iter().map(|traffic| traffic.seen.packets).sum::<u64>()) / 1_000_000,
                stats.insert,
                lives.table.count(),
                stats.expired,
                stats.deleted,
                stats.early_drop,
                host::resident() >> 10
            );
        }
    }
    old.iter().for_each(|traffic| sum.add(traffic.seen));
    let (stats, took) =
        lives.settle(clock.now()).map_err(|wrong| format!("the table that lives, at the end: {wrong}"))?;
    equal!(stats.events_lost, 0, "events lost, though they were read");
    met.iter_mut().zip(happened(&stats)).for_each(|(met, more)| *met += more);
    let [.., adopted] = met;
    hold!(met[..4].iter().all(|n| *n > 0), "never expired, deleted, evicted or expected: {met:?}");
    Ok(format!(
        "{} packets, {} opened, {adopted} adopted, {} dropped, {} INVALID, in {cycles} cycles of growth from {FIRST} to {LAST}; of the table that lives {} \
         inserted = {} expired + {} deleted + {} early_drop, {} events NEW and as many DESTROY; each table full to the last place and \
         empty again, all free after {} calls of reap at most; resident memory {} to {} kB once warm",
        sum.packets,
        sum.opened,
        sum.dropped,
        sum.invalid,
        stats.insert,
        stats.expired,
        stats.deleted,
        stats.early_drop,
        stats.insert,
        reaps.max(took),
        least >> 10,
        most >> 10
    ))
}
