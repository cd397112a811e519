//! A structure with its flows: filling it, ageing it, taking samples of it.
//!
//! Each thread has a share of the flows for itself; what it looks up, deletes and inserts is of its share, so that every answer is
//! known. Keys are made a chunk at a time outside the clock and lie in the processor's cache, as a burst of parsed
//! headers does. The same seed makes the same choice of flows for every structure.

use std::sync::Barrier;
use std::time::Duration;

use ::conntab::bench::Chains;

use conntab_bench::{Clock, Random};

use crate::keys;
use crate::memory::{self, Resident};
use crate::{BURST, Hands, Key, Maker, Name, Peer, Size};

/// Keys of a chunk.
const CHUNK: usize = 8192;

/// Deletions between two calls of `reclaim`.
const RECLAIM: usize = 256;

/// What is measured on a structure that is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// One call per key.
    Single,
    /// Bursts of 32 that find all.
    Hit,
    /// Bursts of 32 that find nothing.
    Miss,
    /// 90% lookups, 5% deletions, 5% insertions, each in bursts of 32: 18 bursts, one, one.
    Churn,
    /// The same with all kinds in each 32 operations, as they come.
    ChurnMixed,
}

impl Work {
    /// All, in the order in which they are measured.
    pub const ALL: [Self; 5] = [Self::Single, Self::Hit, Self::Miss, Self::Churn, Self::ChurnMixed];
}

/// Lookups, and deletions with as many insertions, of the steps of a churn.
type Pattern = &'static [(usize, usize)];

const GATHERED: Pattern = &[(18 * BURST, BURST)];
const MIXED: Pattern = &[(30, 1), (28, 2), (30, 1), (28, 2), (28, 2)];
const TURNOVER: Pattern = &[(0, BURST)];

/// Adds the thread's CPU time of `work` to `sum`.
fn timed<T>(sum: &mut Duration, work: impl FnOnce() -> T) -> T {
    let clock = Clock::start();
    let done = work();
    *sum += clock.stop();
    done
}

/// A structure full of flows.
pub struct Field<'m> {
    /// What it is.
    pub maker: &'m Maker,
    peer: Box<dyn Peer>,
    size: Size,
    /// Which key each flow has now. A flow that is deleted and inserted gets another key.
    ids: Vec<u32>,
    /// Empty for structures that have none.
    names: Vec<Name>,
    now: u32,
    /// What it added to the process.
    pub before: Resident,
    /// See `before`.
    pub after: Resident,
    /// Filling it: rate over all threads, in million flows per second of CPU time.
    pub filled: f64,
}

/// A thread's share of a field.
struct Share<'f> {
    ids: &'f mut [u32],
    names: &'f mut [Name],
    /// The number of the first flow of the share, and of all flows.
    first: usize,
    flows: usize,
    both: bool,
    now: u32,
    random: Random,
}

/// Million operations per second; threads add up.
fn rate(done: &[(usize, Duration)]) -> f64 {
    done.iter().map(|(n, time)| *n as f64 / time.as_secs_f64().max(1e-9) / 1e6).sum()
}

/// Keeps the current thread on one processor: the `n`th of those allowed.
fn pin(n: usize) {
    // SAFETY: a set of bits, for which zero is valid.
    let (mut all, mut one): (libc::cpu_set_t, libc::cpu_set_t) = unsafe { std::mem::zeroed() };
    // SAFETY: it writes the set that is lent to it.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&all), &mut all) } != 0 {
        return;
    }
    // SAFETY: within the set.
    let allowed = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &all) };
    let allowed: Vec<usize> = (0..libc::CPU_SETSIZE as usize).filter(allowed).collect();
    let Some(cpu) = allowed.get(n % allowed.len().max(1)) else { return };
    // SAFETY: as above.
    unsafe { libc::CPU_SET(*cpu, &mut one) };
    // SAFETY: it reads the set that is lent to it.
    unsafe { libc::sched_setaffinity(0, size_of_val(&one), &one) };
}

impl<'m> Field<'m> {
    /// Makes a structure and fills it, with as many threads as will ever change it at once.
    pub fn new(maker: &'m Maker, size: Size) -> Result<Self, String> {
        let ids: Vec<u32> = (0..size.flows as u32).collect();
        // Not zeros: those would take no memory yet.
        let names = vec![1; if maker.names { size.flows } else { 0 }];
        let before = Resident::now();
        let peer = (maker.make)(size)?;
        let mut field = Self { maker, peer, size, ids, names, now: 1, before, after: before, filled: 0.0 };
        if !maker.yardstick {
            let begin = conntab_bench::process();
            let done = field.each(size.threads, 0, "", |hands, share| share.fill(hands));
            let process = Duration::from_nanos(conntab_bench::process() - begin);
            let rates: Vec<_> = done.iter().map(|&(n, time, _)| (n, time)).collect();
            field.filled = if size.grow {
                // What a thread of the library does for growth counts, the making of keys does not.
                let made: Duration = done.iter().map(|(_, _, made)| *made).sum();
                size.flows as f64 * size.threads as f64 / process.saturating_sub(made).as_secs_f64() / 1e6
            } else {
                rate(&rates)
            };
        }
        field.after = Resident::now();
        Ok(field)
    }

    /// Moves to huge pages what the structure's allocator did not put there.
    pub fn collapse(&mut self) {
        memory::collapse(&memory::large());
        self.after = Resident::now();
    }

    /// Bytes that filling it has brought on small pages, beyond what may be.
    pub fn on_small_pages(&self) -> Option<usize> {
        let small = self.after.small().saturating_sub(self.before.small());
        (small > (16 << 20).max(self.size.flows * 128 / 32)).then_some(small)
    }

    /// Deletes and inserts `turnovers` times as many flows as there are, chosen at random, with all threads.
    pub fn age(&mut self, turnovers: usize) {
        let ops = turnovers * self.size.flows * 2 / self.size.threads;
        self.each(self.size.threads, 1, "", |hands, share| share.churn(hands, TURNOVER, ops));
    }

    /// What must be told of it.
    pub fn remark(&self) -> Option<String> {
        self.peer.remark()
    }

    /// See [`Peer::chains`].
    pub fn chains(&self) -> Option<Chains> {
        self.peer.chains()
    }

    /// See [`Peer::chain`].
    pub fn chain(&mut self, chains: &Chains) {
        self.peer.chain(chains);
    }

    /// Whether [`Self::sample`] can be called with this name.
    pub fn has(&self, other: &str) -> bool {
        other.is_empty() || self.peer.other_hands(0, other).is_some()
    }

    /// Does `ops` operations in each of `threads` threads; million operations per second over all threads. `other`: of
    /// [`Maker::others`], or empty.
    pub fn sample(&mut self, work: Work, threads: usize, ops: usize, seed: u64, other: &str) -> f64 {
        let done = self.each(threads, seed, other, |hands, share| match work {
            Work::Single => {
                share.look(hands, ops, true, |hands, keys, flows, now| hands.single(keys, flows, now))
            }
            Work::Hit => {
                share.look(hands, ops, true, |hands, keys, flows, now| hands.burst(keys, flows, now))
            }
            Work::Miss => {
                share.look(hands, ops, false, |hands, keys, flows, now| hands.miss(keys, flows, now))
            }
            Work::Churn => share.churn(hands, GATHERED, ops),
            Work::ChurnMixed => share.churn(hands, MIXED, ops),
        });
        rate(&done)
    }

    /// `work` in each of `threads` threads, which begin together.
    fn each<T: Send>(
        &mut self,
        threads: usize,
        seed: u64,
        other: &str,
        work: impl Fn(&mut dyn Hands, &mut Share<'_>) -> T + Sync,
    ) -> Vec<T> {
        let flows = self.size.flows;
        let part = flows.div_ceil(threads);
        let (peer, both, now) = (&*self.peer, self.maker.both, self.now);
        self.now += 10_000;
        let barrier = Barrier::new(threads);
        let mut names = self.names.chunks_mut(part);
        let shares = self.ids.chunks_mut(part).enumerate().map(|(n, ids)| {
            let random = keys::random(seed << 8 | n as u64);
            let names = names.next().unwrap_or_default();
            Share { ids, names, first: n * part, flows, both, now, random }
        });
        let (barrier, work) = (&barrier, &work);
        std::thread::scope(|scope| {
            let run = |(n, mut share): (usize, Share<'_>)| {
                pin(n);
                let mut hands = match other {
                    "" => peer.hands(n),
                    name => peer.other_hands(n, name).expect("it has them"),
                };
                barrier.wait();
                work(&mut *hands, &mut share)
            };
            let threads: Vec<_> = shares.enumerate().map(|share| scope.spawn(move || run(share))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        })
    }
}

impl Share<'_> {
    /// The key of a flow, in either direction if both are stored.
    fn key(&mut self, place: usize) -> Key {
        let key = keys::key(self.ids[place].into());
        if self.both && self.random.word() >> 63 == 1 { ::conntab::bench::inverse(&key) } else { key }
    }

    /// Inserts all: how many, the time it took, and the time it took to make the keys.
    fn fill(&mut self, hands: &mut dyn Hands) -> (usize, Duration, Duration) {
        let (mut time, mut made) = (Duration::ZERO, Duration::ZERO);
        let mut names = [0; CHUNK];
        let mut keys = Vec::with_capacity(CHUNK);
        for first in (0..self.ids.len()).step_by(CHUNK) {
            timed(&mut made, || {
                keys.clear();
                keys.extend(self.ids[first..].iter().take(CHUNK).map(|id| keys::key((*id).into())));
            });
            let names = &mut names[..keys.len()];
            let done = timed(&mut time, || hands.insert(&keys, names, self.now));
            assert_eq!(done, keys.len(), "flows are missing");
            if let Some(to) = self.names.get_mut(first..first + names.len()) {
                to.copy_from_slice(names);
            }
        }
        (self.ids.len(), time, made)
    }

    fn look(
        &mut self,
        hands: &mut dyn Hands,
        ops: usize,
        there: bool,
        call: impl Fn(&mut dyn Hands, &[Key], &[u32], u32) -> usize,
    ) -> (usize, Duration) {
        let mut time = Duration::ZERO;
        let (mut keys, mut flows) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
        let chunks = ops.div_ceil(CHUNK);
        // The first chunks warm the processor's cache and predictors up.
        let warm = (chunks / 16).max(1);
        for i in 0..chunks + warm {
            keys.clear();
            flows.clear();
            for _ in 0..CHUNK {
                let place = self.random.below(self.ids.len());
                keys.push(if there { self.key(place) } else { keys::absent(&mut self.random) });
                flows.push((self.first + place) as u32);
            }
            let mut spent = Duration::ZERO;
            let now = self.now + i as u32;
            let found = timed(&mut spent, || call(hands, &keys, &flows, now));
            assert_eq!(found, if there { CHUNK } else { 0 }, "wrong answers");
            time += if i < warm { Duration::ZERO } else { spent };
        }
        (chunks * CHUNK, time)
    }

    /// Steps of `pattern` until `ops` operations are done.
    fn churn(&mut self, hands: &mut dyn Hands, pattern: Pattern, ops: usize) -> (usize, Duration) {
        let (mut time, mut done) = (Duration::ZERO, 0);
        let (mut seen, mut gone, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
        let (mut flows, mut places, mut old, mut new) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        while done < ops {
            for list in [&mut seen, &mut gone, &mut fresh] {
                list.clear();
            }
            flows.clear();
            places.clear();
            old.clear();
            let mut steps = Vec::new();
            let mut made = 0;
            for &(lookups, changes) in pattern.iter().cycle() {
                if made >= CHUNK || places.len() + changes > self.ids.len() / 4 {
                    break;
                }
                steps.push((lookups, changes));
                made += lookups + 2 * changes;
                for _ in 0..lookups {
                    let place = self.random.below(self.ids.len());
                    seen.push(self.key(place));
                    flows.push((self.first + place) as u32);
                }
                for _ in 0..changes {
                    let (place, name) = self.choose(&places);
                    places.push(place);
                    gone.push(keys::key(self.ids[place].into()));
                    old.push(name);
                    self.ids[place] = self.ids[place].checked_add(self.flows as u32).expect("ids enough");
                    fresh.push(keys::key(self.ids[place].into()));
                }
            }
            new.resize(fresh.len(), 0);
            let now = self.now;
            let answers = timed(&mut time, || {
                let (mut s, mut c, mut since) = (0, 0, 0);
                let mut answers = [0; 3];
                for &(lookups, changes) in &steps {
                    answers[0] += hands.burst(&seen[s..s + lookups], &flows[s..s + lookups], now);
                    answers[1] += hands.delete(&gone[c..c + changes], &old[c..c + changes]);
                    answers[2] += hands.insert(&fresh[c..c + changes], &mut new[c..c + changes], now);
                    (s, c, since) = (s + lookups, c + changes, since + changes);
                    if since >= RECLAIM {
                        hands.reclaim();
                        since = 0;
                    }
                }
                answers
            });
            assert_eq!(answers, [seen.len(), gone.len(), fresh.len()], "wrong answers");
            if !self.names.is_empty() {
                for (&place, &name) in places.iter().zip(&new) {
                    self.names[place] = name;
                }
            }
            hands.reclaim();
            done += made;
        }
        (done, time)
    }

    /// A place that was not chosen in this chunk before, and its name.
    fn choose(&mut self, places: &[usize]) -> (usize, Name) {
        loop {
            let place = self.random.below(self.ids.len());
            if let Some(name) = self.names.get_mut(place) {
                // No name is 0.
                if *name != 0 {
                    return (place, std::mem::take(name));
                }
            } else if !places.contains(&place) {
                return (place, 0);
            }
        }
    }
}
