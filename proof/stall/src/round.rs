//! One round: a table, its traffic, a thread that stands still, what the others can do meanwhile, and the books when it has gone on.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use conntab::config::HugePages;
use conntab::{Config, CtState, EventKind, Handle, Reason, Table, Verdict};
use conntab_bench::Random;

use crate::others::{Churn, Established, Slice, Work};
use crate::scene::{Scene, Stage};
use crate::steps::{Holds, Step};
use crate::stop::{Anywhere, PATIENCE, Stop};
use crate::traffic::{BURST, Driver, FILL, FLOWS, Raw, SLACK, Tally, VICTIM, establish};
use crate::victim::play;
use crate::wander::{TOUCHED, wander};

/// How a thread is stopped.
#[derive(Clone, Copy)]
pub enum How {
    At(&'static Step),
    /// By a signal, anywhere.
    Anywhere,
}

/// What a round has shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown {
    /// Throughput of established traffic while the thread stood still, beside that before and after.
    pub ratio: f64,
    /// The longest calls while it stood still, in ns of CPU time; and otherwise.
    pub longest: [u64; 4],
    pub normal: [u64; 4],
    /// How often those who tracked slept in between.
    pub slept: u64,
    /// New connections while it stood still, and whether they were refused then.
    pub opened: u64,
    pub refused: bool,
    /// It stood inside a call.
    pub inside: bool,
}

/// Two threads whose slices begin at the same time.
struct Pair {
    to: [Sender<Work>; 2],
    from: [Receiver<Result<Slice, String>>; 2],
}

impl Pair {
    /// A slice of both. An error if one of them never comes to its end.
    fn slice(&self, work: Work) -> Result<[Slice; 2], String> {
        self.begin(work);
        self.end()
    }

    fn begin(&self, work: Work) {
        self.to.iter().for_each(|to| to.send(work).expect("it is there"));
    }

    fn end(&self) -> Result<[Slice; 2], String> {
        let get = |from: &Receiver<Result<Slice, String>>| {
            from.recv_timeout(PATIENCE).map_err(|_| "a call waits for ever".to_owned())?
        };
        Ok([get(&self.from[0])?, get(&self.from[1])?])
    }
}

fn config(scene: Scene, seed: u64) -> Config {
    let most = if scene.is_narrow() { 1024 } else { 4096 };
    let mut chance = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut config = Config {
        max: most,
        max_reserve: if scene.grows() { 4 * most } else { 0 },
        workers: 8,
        acct: true,
        events: if scene.tells() { 1 << 14 } else { 0 },
        timeout_policies: 1,
        expect_max: if scene == Scene::Expect { 64 } else { 0 },
        hash_key: Some(std::array::from_fn(|_| chance.word())),
        huge_pages: HugePages::Never,
        prefault: true,
        ..Config::default()
    };
    config.tunables.checksum = 0;
    config.tunables.generic_timeout = 1;
    config
}

/// Reclaims until nothing waits.
fn quiesce(stage: &Stage<'_>, d: &mut Driver) -> Result<(), String> {
    for _ in 0..200 {
        d.worker.reap(stage.time(), 0);
        stage.listen(usize::MAX);
        if stage.table.usage().waiting == 0 {
            return Ok(());
        }
    }
    Err(format!("entries wait though nobody stands still: {:?}", stage.table.usage()))
}

/// New connections by a worker of its own until they are refused, or there have been more of them than could be without reuse. `gives`: the
/// thread may be giving entries back.
fn use_up(stage: &Stage<'_>, gives: bool, sum: &mut Tally, shown: &mut Shown) -> Result<(), String> {
    let before = stage.table.usage();
    let mut d = Driver::new(stage.table);
    let (mut next, mut bursts) = (SLACK, 0);
    while d.tally.refused == 0 && d.tally.inserted < 2 * before.entries {
        let conns = d.open(stage.time(), next);
        d.delete(&conns);
        next += BURST as u32;
        bursts += 1;
        if bursts % 16 == 0 {
            d.reap(stage.time(), 1024);
            stage.listen(usize::MAX);
        }
        if bursts > 4 * before.entries / BURST as u64 {
            return Err(format!("new connections are neither opened nor refused: {:?}", d.tally));
        }
    }
    (shown.opened, shown.refused) = (d.tally.inserted, d.tally.refused > 0);
    if shown.refused {
        // That is how it stays, and it is told why.
        let verdicts = d.send(stage.time(), (next..next + BURST as u32).map(|flow| Raw::udp(flow, false)));
        let wrong = |verdict: &&Verdict| {
            (verdict.state, verdict.reason) != (CtState::Drop, Reason::ReclaimStalled)
                && verdict.reason != Reason::TableFull
        };
        if let Some(verdict) = verdicts.iter().find(wrong) {
            return Err(format!("the slack is used up, and yet {verdict:?}"));
        }
        // As many as there were free entries; but the thread may have taken some that it has not counted yet (or, once, have given some back).
        let most = if gives { u64::MAX } else { before.free };
        if !(before.free.saturating_sub(32)..=most).contains(&shown.opened) {
            return Err(format!("{} new connections, {} entries were free", shown.opened, before.free));
        }
    }
    longest(&mut shown.longest, &d.longest);
    sum.add(&d.tally);
    Ok(())
}

fn longest(to: &mut [u64; 4], from: &[u64; 4]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = (*to).max(*from));
}

/// How an error begins that tells of what is not back when all have gone on.
pub const AFTER: &str = "after all have gone on:";

/// A round. `None`: the thread did not come by.
pub fn round(how: How, seed: u64) -> Result<Option<Shown>, String> {
    let scene = match how {
        How::At(step) => step.scene,
        How::Anywhere if seed.is_multiple_of(3) => Scene::Raise,
        How::Anywhere => Scene::Wander,
    };
    let table = Table::new(config(scene, seed)).map_err(|error| error.to_string())?;
    let most = table.config().max;
    let stage = Stage {
        table: &table,
        scene,
        now: AtomicU64::new(10_000),
        at: AtomicU32::new(0),
        helpers: Mutex::default(),
        told: Default::default(),
        room: match scene {
            Scene::Full => 1300,
            _ if scene.is_narrow() => 192,
            _ => 800,
        },
        most,
    };
    let flows = if scene.is_narrow() { 700 } else { FLOWS };
    let mut opener = Driver::new(&table);
    let conns = establish(&mut opener, flows, stage.time())?;
    stage.now.fetch_add(3000, SeqCst);
    if scene == Scene::Grow {
        // Chains that take overflow buckets when they are moved, too.
        for burst in 0..stage.room / BURST as u32 {
            opener.open(stage.time(), VICTIM + burst * BURST as u32);
        }
    }
    let mut sum = opener.tally;
    drop(opener);
    // It reaps, and has no entries at hand.
    let mut d = Driver::new(&table);
    let shown = std::thread::scope(|scope| {
        let (done, stage) = (AtomicBool::new(false), &stage);
        let done = &*Box::leak(Box::new(done));
        let (to_first, work_of_first) = channel();
        let (to_second, work_of_second) = channel();
        let (of_first, from_first) = channel();
        let (of_second, from_second) = channel();
        let pair = Pair { to: [to_first, to_second], from: [from_first, from_second] };
        let touched = if matches!(how, How::Anywhere) { TOUCHED } else { 1 };
        let conns = &conns;
        let first = scope.spawn(move || {
            let mut established = Established::new(stage, conns, touched, done);
            for work in work_of_first {
                if of_first.send(established.slice(work)).is_err() {
                    break;
                }
            }
            established.d.tally
        });
        let second = scope.spawn(move || {
            let mut churn = Churn::new(stage, done);
            for work in work_of_second {
                if of_second.send(churn.slice(work)).is_err() {
                    break;
                }
            }
            churn.end();
            churn.d.tally
        });
        let shown = stopped(how, stage, &pair, &mut d, &mut sum, seed);
        drop(pair);
        for thread in [first, second] {
            sum.add(&thread.join().expect("nobody panics"));
        }
        shown
    });
    let shown = shown?;
    books(&stage, &mut d, sum).map_err(|error| format!("{AFTER} {error}"))?;
    Ok(shown)
}

/// The slices before, while, and after the thread stands still.
fn stopped(
    how: How,
    stage: &Stage<'_>,
    pair: &Pair,
    d: &mut Driver,
    sum: &mut Tally,
    seed: u64,
) -> Result<Option<Shown>, String> {
    let mut shown = Shown::default();
    pair.slice(Work::Normal)?;
    let before = pair.slice(Work::Normal)?;
    quiesce(stage, d)?;
    // Free entries are counted after they were given back. (A signal may come there.) What was freed while a second thread stood still comes
    // back once that one has gone on.
    let gives = match how {
        How::At(step) => step.name == "reclaim-freed" || step.scene.takes_two(),
        How::Anywhere => true,
    };
    let while_stopped = |sum: &mut Tally, shown: &mut Shown| {
        let slices = pair.slice(Work::Contend)?;
        use_up(stage, gives, sum, shown)?;
        // Established traffic goes on when new connections do not.
        let last = pair.slice(Work::Normal)?;
        Ok::<_, String>((slices, last))
    };
    let (slices, last) = std::thread::scope(|scope| match how {
        How::At(step) => {
            let stop = Stop::new(step.name);
            let victim = scope.spawn(move || play(stage, stop));
            let there = stop.stopped().and_then(|there| stage.resume_helpers().map(|()| there));
            let slices = match there {
                Ok(true) => while_stopped(sum, &mut shown).map(Some),
                Ok(false) => Ok(None),
                Err(error) => Err(error),
            };
            stop.resume();
            sum.add(&victim.join().expect("nobody panics"));
            slices
        }
        How::Anywhere => {
            let (anywhere, begun) = (Anywhere::default(), AtomicBool::new(false));
            let (anywhere, begun) = (&*Box::leak(Box::new(anywhere)), &*Box::leak(Box::new(begun)));
            let victim = scope.spawn(move || wander(stage, anywhere, seed, begun));
            while !begun.load(SeqCst) {
                std::thread::yield_now();
            }
            // It is stopped while the others are at work.
            pair.begin(Work::Normal);
            let mut chance = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1);
            let pause = Duration::from_nanos(chance.below(1_500_000) as u64);
            let began = std::time::Instant::now();
            while began.elapsed() < pause {
                std::hint::spin_loop();
            }
            shown.inside = anywhere.stop();
            let slices = pair.end().and_then(|_| while_stopped(sum, &mut shown)).map(Some);
            anywhere.resume();
            sum.add(&victim.join().expect("nobody panics"));
            slices
        }
    })?
    .map(|(slices, last)| (Some(slices), Some(last)))
    .unwrap_or_default();
    let (Some(slices), Some(last)) = (slices, last) else { return Ok(None) };
    quiesce(stage, d)?;
    let after = pair.slice(Work::Clear)?;
    if let How::At(step) = how {
        let held = step.holds != Holds::Nothing;
        if held != shown.refused {
            let of = stage.table.usage();
            return Err(format!("new connections refused: {}, expected: {held}; {of:?}", shown.refused));
        }
        let [busy, of_it] = [slices[0].busy, slices[0].of_first];
        if busy != if step.holds == Holds::Record { of_it } else { 0 } {
            return Err(format!(
                "{busy} packets judged by their connection's state, {of_it} are of that connection"
            ));
        }
    }
    shown.ratio = (before[0].spent + after[0].spent) as f64 / 2.0 / slices[0].spent as f64;
    for slice in slices.iter().chain(&last) {
        longest(&mut shown.longest, &slice.longest);
        shown.slept += slice.slept;
    }
    for slice in before.iter().chain(&after) {
        longest(&mut shown.normal, &slice.longest);
    }
    Ok(Some(shown))
}

/// Everything is back, and everything adds up.
fn books(stage: &Stage<'_>, d: &mut Driver, sum: Tally) -> Result<(), String> {
    let table = stage.table;
    let same = |what: &str, counted: u64, expected: u64| match counted == expected {
        true => Ok(()),
        false => Err(format!("{what}: {counted}, expected {expected}")),
    };
    quiesce(stage, d)?;
    let (stats, usage) = (table.stats(), table.usage());
    same("connections confirmed", stats.insert, sum.inserted)?;
    same("packets dropped", stats.drop, sum.dropped)?;
    same("packets refused for want of a free entry", stats.reclaim_stalled, sum.refused)?;
    same("packets judged by their connection's state", stats.busy, sum.busy)?;
    same("connections deleted", stats.deleted, sum.deleted)?;
    let ended = stats.deleted + stats.expired + stats.early_drop;
    same("connections", u64::from(usage.connections), stats.insert - ended)?;
    same("free entries", usage.free, usage.entries - u64::from(usage.connections))?;
    for (what, count) in [
        ("slots lost", usage.lost),
        ("bounds met", usage.bounds),
        ("inserts given up", usage.attempts_exhausted + usage.overflow_exhausted + stats.chaintoolong),
        ("events lost", stats.events_lost),
    ] {
        same(what, count, 0)?;
    }
    let flushed = table.flush();
    same("connections flushed", flushed.into(), usage.connections.into())?;
    quiesce(stage, d)?;
    let (stats, empty) = (table.stats(), table.usage());
    same("connections left", empty.connections.into(), 0)?;
    same("free entries of the empty table", empty.free, empty.entries)?;
    same("overflow buckets in use of the empty table", empty.overflow_used, 0)?;
    same("expectations left", u64::from(empty.expectations + empty.helper_records), 0)?;
    if stage.scene.tells() {
        let told = |kind: EventKind| stage.told[kind as usize].load(SeqCst);
        same("events NEW", told(EventKind::New), stats.insert)?;
        same("events DESTROY", told(EventKind::Destroy), stats.deleted + stats.expired + stats.early_drop)?;
    }
    fill(stage, empty.max)
}

/// A second fill: as many connections as there may be, each with an entry of its own; and not one more.
fn fill(stage: &Stage<'_>, max: u32) -> Result<(), String> {
    let mut d = Driver::new(stage.table);
    for from in (FILL..FILL + max).step_by(BURST) {
        let some = from..(from + BURST as u32).min(FILL + max);
        d.send(stage.time(), some.map(|flow| Raw::udp(flow, false)));
    }
    let all: HashSet<Handle> = stage.table.dump(stage.time()).map(|connection| connection.handle).collect();
    let evicted = stage.table.stats().early_drop;
    let counted = (d.tally.inserted, all.len() as u64, stage.table.count());
    if counted != (max.into(), max.into(), max) {
        return Err(format!("a second fill to {max}: (confirmed, in the dump, counted) {counted:?}"));
    }
    d.open(stage.time(), FILL + max);
    let evicted = stage.table.stats().early_drop - evicted;
    match stage.table.count() == max && evicted + d.tally.dropped == BURST as u64 {
        true => Ok(()),
        false => Err(format!("{} connections where {max} may be", stage.table.count())),
    }
}
