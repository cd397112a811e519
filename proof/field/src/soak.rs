//! The soak: two threads and mixed traffic, in cycles. Each cycle has a fresh table, which grows to sixteen times its size while packets flow, and
//! is drained, filled to its last place, and drained again at the end; one table lives through all of them. Meanwhile the main thread dumps,
//! deletes, changes tunables and `max`, and reads events.
//!
//! Time runs twenty times as fast as on the wall, and wraps soon after the beginning.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use conntab::helper::Ftp;
use conntab::{Config, EventKind, Stats, Table, Worker};
use conntab_bench::Random;

use crate::Outcome;
use crate::host;
use crate::packets::{SERVER, udp};
use crate::traffic::{Seen, Traffic};

const THREADS: u32 = 2;

/// The most connections of a fresh table at first, and at last; and of the one that lives.
const FIRST: u32 = 10_000;
const LAST: u32 = 160_000;
const LIVES: u32 = 16_384;

/// Bursts between two calls of `reap`.
const SLICE: u32 = 32;

/// Room for what a thread can tell between two looks at its queue: 32 bursts, a slice of the reaper.
const QUEUE: u32 = 1 << 15;

/// What resident memory may differ by once warm, with the heap's own slack.
const TOLERANCE: u64 = 8 << 20;

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

/// A table and all that was seen of it.
struct Site {
    table: Table,
    /// Events by kind.
    told: [AtomicU64; 5],
    seen: Mutex<Seen>,
}

impl Site {
    fn new(max: u32, most: u32, events: u32) -> Result<Self, String> {
        let mut config = Config {
            max_reserve: most,
            events,
            acct: true,
            timestamp: true,
            user_data: 8,
            expect_max: 512,
            helper_max: 16_384,
            ..host::config(max)
        };
        let t = &mut config.tunables;
        (t.udp_timeout, t.udp_timeout_stream, t.icmp_timeout, t.generic_timeout) = (10, 30, 5, 10);
        (t.tcp_timeout_syn_sent, t.tcp_timeout_established, t.tcp_timeout_time_wait) = (20, 60, 5);
        let table = host::table(config)?;
        table.add_helper(Arc::new(Ftp)).map_err(|error| error.to_string())?;
        Ok(Self { table, told: Default::default(), seen: Mutex::default() })
    }

    fn read_events(&self) {
        for event in self.table.events() {
            self.told[event.kind as usize].fetch_add(1, Relaxed);
        }
    }

    fn told(&self, kind: EventKind) -> u64 {
        self.told[kind as usize].load(Relaxed)
    }

    /// Every count agrees with every other. Nobody is at work.
    fn books(&self) -> Result<Stats, String> {
        self.read_events();
        let stats = host::balanced(&self.table)?;
        let usage = self.table.usage();
        let seen = *self.seen.lock().map_err(|error| error.to_string())?;
        equal!(stats.insert, seen.opened, "inserted, and seen to be");
        equal!(stats.drop, seen.dropped, "drop, and packets seen to be dropped");
        equal!(stats.invalid, seen.invalid, "invalid, and packets seen to be");
        equal!(stats.expect_create - stats.expect_delete, u64::from(usage.expectations), "expectations");
        equal!(stats.late_sweep, 0, "late sweeps");
        if self.table.config().events == 0 {
            return Ok(stats);
        }
        let live = u64::from(usage.connections);
        let missing = [
            (EventKind::New, stats.insert),
            (EventKind::Destroy, stats.insert - live),
            (EventKind::ExpectNew, stats.expect_create),
            (EventKind::ExpectDestroy, stats.expect_delete),
        ];
        let mut lost = 0;
        for (kind, happened) in missing {
            let told = self.told(kind);
            hold!(told <= happened, "{told} events {}, but {happened} happened", kind.as_str());
            lost += happened - told;
        }
        // (What is lost beside these are UPDATEs.)
        hold!(lost <= stats.events_lost, "{lost} events are missing, {} were lost", stats.events_lost);
        Ok(stats)
    }

    /// Ends all connections: in pieces, so that no event is lost, or at once.
    fn drain(&self) {
        if self.table.config().events == QUEUE {
            loop {
                let some: Vec<_> =
                    self.table.dump(0).take(4096).map(|connection| connection.handle).collect();
                for conn in &some {
                    self.table.delete(*conn);
                }
                self.read_events();
                if some.len() < 4096 {
                    break;
                }
            }
        }
        // What has expired is not shown.
        self.table.flush();
        self.read_events();
    }

    /// Empty, then full to the last place, then empty: no permit, entry, slot or bucket is lost.
    fn settle(&self, now: u64) -> Result<(Stats, u32), String> {
        self.drain();
        let stats = self.books()?;
        let reaps = host::all_free(&self.table, now)?;
        let max = self.table.usage().max;
        let mut worker = host::worker(&self.table)?;
        let packet = |n: u32| udp((0x1400_0000 + n, 9), (SERVER, 9), &[]);
        for n in 0..max {
            let verdict = host::pass(&mut worker, now, &packet(n));
            hold!(!verdict.conn.is_none() && !verdict.unconfirmed, "no place for {n} of {max}: {verdict:?}");
            if n % 4096 == 0 {
                self.read_events();
            }
        }
        worker.idle();
        equal!(
            (self.table.count(), self.table.dump(now).count() as u32),
            (max, max),
            "connections once full"
        );
        for n in 0..max {
            let tuple = host::tuple(conntab::tuple::protocol::UDP, (0x1400_0000 + n, 9), (SERVER, 9));
            hold!(worker.section().lookup(now, 0, &tuple).is_some(), "connection {n} of {max} is not found");
        }
        drop(worker);
        self.seen.lock().map_err(|error| error.to_string())?.opened += u64::from(max);
        self.drain();
        self.books()?;
        Ok((stats, reaps.max(host::all_free(&self.table, now)?)))
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
        if slice % 512 == 0 {
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
                max *= 2;
                disturbed = sites[1].table.set_max(max).map_err(|error| error.to_string());
            }
        }
        stop.store(true, Relaxed);
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked".to_string())??;
        }
        disturbed
    })
}

pub fn run(seconds: u64) -> Outcome {
    let clock = Clock(Instant::now());
    let span = Duration::from_millis((seconds * 1000 / 8).clamp(500, 10_000));
    let lives = Site::new(LIVES, LIVES, QUEUE)?;
    let mut warm: Option<u64> = None;
    let (mut least, mut most, mut cycles, mut minute) = (u64::MAX, 0, 0_u32, 0);
    let (mut sum, mut reaps, mut all) = (Seen::default(), 0, [0; 5]);
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
        let met = [stats.expired, stats.deleted, stats.early_drop, stats.expect_new, stats.clash_resolve];
        all.iter_mut().zip(met).for_each(|(all, met)| *all += met);
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
    hold!(all.iter().all(|n| *n > 0), "never expired, deleted, evicted, expected or adopted: {all:?}");
    let (stats, took) =
        lives.settle(clock.now()).map_err(|wrong| format!("the table that lives, at the end: {wrong}"))?;
    equal!(stats.events_lost, 0, "events lost, though they were read");
    Ok(format!(
        "{} packets, {} opened, {} dropped, {} INVALID, in {cycles} cycles of growth from {FIRST} to {LAST}; of the table that lives {} \
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
