//! The clock. Ticks are 32 bits of milliseconds: they wrap after 49.7 days. Clocks stand still, jump, and differ between workers.
//!
//! A table is compared with a model that keeps each deadline in full: who must be there is there, with so many milliseconds left, and
//! nobody else. Workers' clocks may differ by a second (`SKEW`), and the older one shortens nothing; beyond that, and where a clock jumps, the promise
//! is only that nothing lives for ever, no count is wrong and nobody panics.

use std::collections::HashMap;
use std::net::IpAddr;

use conntab::helper::Announce;
use conntab::tuple::{addr, protocol};
use conntab::{Config, CtState, Packet, Table, Verdict, Worker};
use conntab_bench::{Random, cpu};

use crate::host;
use crate::packets::{Bytes, SERVER, SYN, echo, ipv4, tcp, udp};
use crate::{Outcome, Plan};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// Flows by number: their packet, and seconds that it lives. What is refreshed by each packet, but for the SYNs.
const FLOWS: usize = 96;

fn packet(flow: usize) -> Bytes {
    let client = 0x0a00_0000 + flow as u32;
    match flow % 4 {
        0 => udp((client, 1), (SERVER, 53), &[]),
        1 => echo(client, SERVER, 1, false),
        2 => ipv4(253, client, SERVER, &[1; 8]),
        _ => tcp((client, 1), (SERVER, 80), SYN, 1, 0, &[]),
    }
}

/// Seconds, by kind of flow: for steps of milliseconds, and for steps of hours (the longest there may be).
const SHORT: [u64; 4] = [30, 10, 600, 120];
const LONG: [u64; 4] = [86_400, 1_728_000, 600_000, 300];

fn table_of(seconds: [u64; 4]) -> Result<Table, String> {
    let mut config = Config { expect_max: 64, ..host::config(1024) };
    let t = &mut config.tunables;
    let [udp, icmp, generic, syn] = seconds.map(|seconds| seconds as u32);
    (t.udp_timeout, t.icmp_timeout, t.generic_timeout, t.tcp_timeout_syn_sent) = (udp, icmp, generic, syn);
    host::table(config)
}

/// Deadlines by flow, in full.
type Model = HashMap<usize, u64>;

fn source(flow: usize) -> IpAddr {
    host::address(0x0a00_0000 + flow as u32)
}

/// The table shows the model, at this time.
fn compare(table: &Table, now: u64, model: &Model) -> Result<(), String> {
    let seen: HashMap<IpAddr, u64> =
        table.dump(now).map(|c| (c.original.src_ip(), u64::from(c.timeout_ms))).collect();
    let alive: HashMap<IpAddr, u64> = (model.iter().filter(|(_, deadline)| **deadline > now))
        .map(|(flow, deadline)| (source(*flow), deadline - now))
        .collect();
    for (ip, left) in &alive {
        equal!(seen.get(ip), Some(left), "ms left of {ip} at {now}");
    }
    equal!(seen.len(), alive.len(), "connections at {now}");
    Ok(())
}

/// A packet of this flow at this worker's time, and in the model.
fn play(
    worker: &mut Worker,
    now: u64,
    flow: usize,
    seconds: [u64; 4],
    model: &mut Model,
) -> Result<(), String> {
    let verdict = host::pass(worker, now, &packet(flow));
    equal!(verdict.state, CtState::New, "flow {flow} at {now}");
    let old = model.get(&flow).copied().filter(|deadline| *deadline > now);
    let new = now + seconds[flow % 4] * 1000;
    // A SYN that is repeated refreshes nothing; an older clock shortens nothing.
    let kept = old.filter(|old| flow % 4 == 3 || *old > new);
    model.insert(flow, kept.unwrap_or(new));
    Ok(())
}

/// Across wraps, in steps of milliseconds and of hours.
pub fn wrap(plan: &Plan) -> Outcome {
    let mut random = Random(0x77a9);
    let (rounds, mut steps, mut expired, mut met) = (if plan.short { 4 } else { 60 }, 0_u64, 0, 0);
    let begin = cpu();
    for round in 0..rounds {
        for (seconds, step, span) in [(SHORT, 700, 900_000), (LONG, 4 * HOUR as usize, 55 * DAY)] {
            let table = table_of(seconds)?;
            let mut worker = host::worker(&table)?;
            let mut model = Model::new();
            let wrap = [1_u64 << 31, 1 << 32, 1 << 33, 3 << 31][round % 4];
            let mut now = wrap.saturating_sub(random.below(span as usize) as u64);
            let end = wrap + span;
            while now < end {
                for _ in 0..random.below(6) {
                    play(&mut worker, now, random.below(FLOWS), seconds, &mut model)?;
                }
                if random.below(3) == 0 || step > 1000 {
                    worker.reap(now, if step > 1000 { u32::MAX } else { 2048 });
                }
                compare(&table, now, &model)?;
                if plan.has("forgives") && steps == 1000 {
                    model.values_mut().for_each(|deadline| *deadline += 1);
                }
                now += 1 + random.below(step) as u64;
                steps += 1;
            }
            now += 30 * DAY;
            // (A sweep a day, as is asked for.)
            for half in 0..60 {
                worker.reap(now - 30 * DAY + half * DAY / 2, u32::MAX);
            }
            equal!(table.count(), 0, "connections a month later");
            expired += host::balanced(&table)?.expired;
            met += expectation(&table, &mut worker, wrap, &mut random)?;
        }
    }
    Ok(format!(
        "{steps} steps over {} wraps of 2^31 and 2^32 ms: each time just those connections were there whose time was not up, with the right \
         milliseconds left; {expired} expired, {met} expectations met or over on time; {:.1} s",
        2 * rounds,
        (cpu() - begin) as f64 / 1e9
    ))
}

/// What is expected before the wrap is met until its time is over behind it.
fn expectation(table: &Table, worker: &mut Worker, wrap: u64, random: &mut Random) -> Result<u32, String> {
    for late in [0, 9_999, 10_000, 10_001, DAY] {
        let now = wrap - random.below(20_000) as u64;
        let master = udp((1, 1), (SERVER, 5), &[]);
        let mut verdicts = host::judge(worker, now, &[Packet::new(&master)]);
        let [from, to] = [SERVER, 1].map(|ip| addr(host::address(ip)));
        let announce = Announce { protocol: protocol::UDP, from: Some(from), to, port: 99, class: 0 };
        worker.expect(now, verdicts[0].conn, &announce.into(), 10, 1).map_err(|error| error.to_string())?;
        worker.confirm(now, &mut verdicts, 1);
        let expected = if late < 10_000 { CtState::Related } else { CtState::New };
        let child = host::judge(worker, now + late, &[Packet::new(&udp((SERVER, 7), (1, 99), &[]))])[0];
        equal!(child.state, expected, "{late} ms after {now}");
        worker.idle();
        table.flush();
        worker.reap(now + late, u32::MAX);
        equal!(table.usage().expectations, 0, "expectations left");
    }
    Ok(5)
}

/// A clock that stands still: the table fills, makes room, and is empty when time goes on.
pub fn still(plan: &Plan) -> Outcome {
    let packets: u32 = if plan.short { 200_000 } else { 10_000_000 };
    let table = host::table(host::config(4096))?;
    let mut worker = host::worker(&table)?;
    let (mut opened, mut dropped, now) = (0_u64, 0_u64, (1_u64 << 32) - 5);
    let begin = cpu();
    for n in 0..packets {
        let verdict = host::pass(&mut worker, now, &udp((0x0a00_0000 + n, 1), (SERVER, 53), &[]));
        match verdict.state {
            CtState::New => opened += 1,
            CtState::Drop => dropped += 1,
            _ => return Err(format!("packet {n}: {verdict:?}")),
        }
        if n % 1024 == 0 {
            equal!(worker.reap(now, u32::MAX).expired, 0, "expired while time stands still");
        }
    }
    let ns = (cpu() - begin) / u64::from(packets);
    worker.idle();
    let stats = host::balanced(&table)?;
    let live = table.count();
    equal!((stats.insert, stats.drop, stats.expired), (opened, dropped, 0), "insert, drop, expired");
    equal!(opened - stats.early_drop, u64::from(live), "live");
    let early = if plan.has("hurries") { 30_000 } else { 29_999 };
    equal!(worker.reap(now + early, u32::MAX).expired, 0, "expired a millisecond early");
    equal!(worker.reap(now + 30_000, u32::MAX).expired, live, "expired when the time is up");
    drop(worker);
    host::all_free(&table, now)?;
    Ok(format!(
        "{packets} packets in one millisecond: {opened} opened, {} evicted, {dropped} dropped, none expired; then all {live} in the \
         millisecond when their time was up; {ns} ns/packet",
        stats.early_drop
    ))
}

/// Two workers whose clocks differ by up to a second: no refresh is shortened, and nothing ends earlier than that second.
pub fn apart(plan: &Plan) -> Outcome {
    let steps = if plan.short { 20_000 } else { 500_000 };
    let mut random = Random(0xa9a7);
    let (mut all, mut early) = (0, 0);
    for skew in [1_u64, 400, 999, 1000] {
        let table = table_of(SHORT)?;
        let mut workers = [host::worker(&table)?, host::worker(&table)?];
        let mut model = Model::new();
        // When each was last refreshed, by the older clock.
        let mut last: HashMap<usize, u64> = HashMap::new();
        let mut now = (1_u64 << 32) - 600_000;
        let told = if plan.has("further-apart") { skew + 2000 } else { skew };
        // The clock that is ahead comes first: the other is then seen to be behind.
        for (w, ahead) in [(0, told), (1, 0)] {
            play(&mut workers[w], now + ahead, w, SHORT, &mut model)?;
            last.insert(w, now);
        }
        for _ in 0..steps {
            let (w, flow) = (random.below(2), random.below(FLOWS));
            let clock = if w == 0 { now + told } else { now };
            match random.below(8) {
                0 => {
                    workers[w].reap(clock, u32::MAX);
                    for (flow, deadline) in &model {
                        let (since, seconds) = (now - last[flow], SHORT[flow % 4]);
                        let over = *deadline <= clock;
                        // It is over a second early at most, and only by the clock that is ahead.
                        hold!(!over || since + skew >= seconds * 1000, "flow {flow} ended after {since} ms");
                        early += u64::from(over && since < seconds * 1000);
                    }
                    model.retain(|_, deadline| *deadline > clock);
                    last.retain(|flow, _| model.contains_key(flow));
                    compare(&table, clock, &model)?;
                }
                1..=5 => {
                    let there = model.get(&flow).is_some_and(|deadline| *deadline > clock);
                    play(&mut workers[w], clock, flow, SHORT, &mut model)?;
                    if !(there && flow % 4 == 3) {
                        last.insert(flow, now);
                    }
                }
                _ => now += random.below(400) as u64,
            }
            all += 1;
        }
        workers.iter_mut().for_each(Worker::idle);
        host::balanced(&table)?;
    }
    Ok(format!(
        "{all} packets, sweeps and steps of two workers whose clocks differ by 1 to 1000 ms: each deadline is the latest that either gave; \
         {early} connections ended early, none by more than the difference"
    ))
}

/// Clocks that jump, ahead and back, by seconds, months and all that 64 bits hold, each worker's by itself.
pub fn jumps(plan: &Plan) -> Outcome {
    let (rounds, steps) = if plan.short { (20, 2000) } else { (500, 20_000) };
    let mut random = Random(0x1a39);
    let (mut opened, mut late) = (0, 0);
    for round in 0..rounds {
        let table = table_of(if round % 2 == 0 { SHORT } else { LONG })?;
        let mut workers = [host::worker(&table)?, host::worker(&table)?, host::worker(&table)?];
        let mut clocks = [random.word() >> random.below(64); 3];
        for step in 0..steps {
            let w = random.below(3);
            let by = [1, 1000, 5000, HOUR, DAY, 30 * DAY, 1 << 31, 1 << 32, 1 << 40][random.below(9)];
            clocks[w] = match random.below(40) {
                0 => clocks[w].wrapping_add(by),
                1 => clocks[w].wrapping_sub(by),
                2 => [0, u64::MAX, 1 << 31, (1 << 32) - 1][random.below(4)],
                3 => clocks[(w + 1) % 3],
                _ => clocks[w].wrapping_add(random.below(2000) as u64),
            };
            let now = clocks[w];
            let worker = &mut workers[w];
            match random.below(12) {
                0 => {
                    worker.reap(now, 1024);
                }
                kind @ (1 | 2) => {
                    if let Some(connection) = table.dump(now).next() {
                        let conn = connection.handle;
                        if kind == 1 {
                            worker.end_expired(now, conn)
                        } else {
                            worker.delete(conn)
                        };
                    }
                }
                3 => worker.idle(),
                _ => {
                    let flow = random.below(FLOWS);
                    let bytes = packet(flow);
                    let mut verdicts = [Verdict::default()];
                    worker.track(now, &[Packet::new(&bytes)], &mut verdicts);
                    let good = matches!(verdicts[0].state, CtState::New | CtState::Drop);
                    hold!(good, "round {round}, step {step}, at {now}: {:?}", verdicts[0]);
                    // Time may go on, or back, in the middle of a burst.
                    worker.confirm(clocks[random.below(3)], &mut verdicts, 1);
                }
            }
        }
        // All clocks agree again. Whatever was in the table ends within the 49.7 days that ticks tell apart.
        workers.iter_mut().for_each(Worker::idle);
        host::balanced(&table)?;
        let begin = random.word() >> 1;
        let days = if plan.has("too-soon") { 1 } else { 50 };
        for half in 0..2 * days {
            workers[0].reap(begin + half * DAY / 2, u32::MAX);
        }
        let stats = host::balanced(&table)?;
        equal!(table.count(), 0, "round {round}: connections after {days} days of sweeps");
        (opened, late) = (opened + stats.insert, late + stats.late_sweep);
        drop(workers);
        host::all_free(&table, begin)?;
    }
    Ok(format!(
        "{} steps of three workers whose clocks jump, each by itself: {opened} connections opened, all ended within 50 days of agreeing \
         clocks, {late} sweeps counted late; no count is wrong, nobody panicked",
        rounds * steps
    ))
}
