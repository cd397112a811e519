//! loom models of the path's own invariants: the record under its version, the reaper's hints, `max`, the tunables. (Those
//! of the table are in `src/table/tests/models`.) Run by `ci/loom.sh`; `ci/mutants.sh` shows what each catches.

mod expected;

use std::sync::Arc;

use loom::thread;

use crate::conn::Conn;
use crate::event::change;
use crate::limit::{Limit, Permits};
use crate::memory::Options;
use crate::policy::Policies;
use crate::reap::Sweep;
use crate::ring::Rings;
use crate::shared::Tuning;
use crate::sync::{AtomicU64, Ordering};
use crate::table::word::{DEAD, LIVE, READY, UNCONF};
use crate::timeout::Tunables;

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.max_branches = 100_000;
    builder.check(f);
}

/// Adds one to every word of a connection's record, if it gets in.
fn step(conn: &Conn) -> u64 {
    let Some(version) = conn.enter_record() else { return 0 };
    let record = conn.load_record();
    assert!(record.iter().all(|word| *word == record[0]), "half of another's step: {record:?}");
    conn.store_record(&record.map(|word| word + 1));
    conn.leave_record(version);
    1
}

#[test]
fn record_writers_take_turns() {
    model(|| {
        let conn = Arc::new(Conn::default());
        let other = conn.clone();
        let thread = thread::spawn(move || step(&other));
        let steps = step(&conn) + thread.join().unwrap();
        assert_eq!(conn.settled_record(), Some([steps; 7]));
    });
}

/// The writer must not load the words itself: loom remembers one last access of each atomic, and a load of the writer's
/// own would make it forget the reader's, which its store races with.
#[test]
fn record_is_read_whole() {
    model(|| {
        let conn = Arc::new(Conn::default());
        let other = conn.clone();
        let thread = thread::spawn(move || {
            let version = other.enter_record().expect("nobody else writes");
            other.store_record(&[1; 7]);
            other.leave_record(version);
        });
        if let Some(record) = conn.settled_record() {
            assert!(record == [0; 7] || record == [1; 7], "half a step: {record:?}");
        }
        thread.join().unwrap();
    });
}

/// A connection's word as far as the sweeper is concerned: life, and the tick of expiry.
fn word(life: u64, expiry: u32) -> u64 {
    life | u64::from(expiry) << 32
}

#[test]
fn hint_is_never_later_than_the_expiry() {
    model(|| {
        let sweep = Arc::new(Sweep::new(1, 1, Options::default()).unwrap());
        let entry = Arc::new(AtomicU64::new(word(LIVE, 1000)));
        // The connection was prolonged to 1000 since its hint was written.
        sweep.begin(0, 10, 0);
        let (sweep2, entry2) = (sweep.clone(), entry.clone());
        let packet = thread::spawn(move || {
            let (from, to) = (word(LIVE, 1000), word(LIVE, 100));
            entry2.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).unwrap();
            sweep2.shorten(0, 100, 10);
        });
        assert_eq!(sweep.visit(0, 10, || entry.load(Ordering::Acquire)), None);
        packet.join().unwrap();
        assert!(sweep.hint(0) <= 100, "{}", sweep.hint(0));
    });
}

#[test]
fn hint_of_the_next_life_is_not_forgotten() {
    model(|| {
        let sweep = Arc::new(Sweep::new(1, 1, Options::default()).unwrap());
        let entry = Arc::new(AtomicU64::new(word(DEAD, 10)));
        sweep.begin(0, 10, 0);
        let (sweep2, entry2) = (sweep.clone(), entry.clone());
        // The entry's next life expires at the very tick that the old hint told.
        let next = thread::spawn(move || {
            entry2.store(word(UNCONF, 10), Ordering::Relaxed);
            sweep2.begin(0, 10, 0);
        });
        assert_eq!(sweep.visit(0, 20, || entry.load(Ordering::Acquire)), None);
        next.join().unwrap();
        assert!(sweep.hint(0) <= 20, "due at the next sweep: {}", sweep.hint(0));
    });
}

#[test]
fn hint_given_on_the_way_in_is_not_forgotten() {
    model(|| {
        let sweep = Arc::new(Sweep::new(1, 1, Options::default()).unwrap());
        let entry = Arc::new(AtomicU64::new(word(UNCONF, 10)));
        let (sweep2, entry2) = (sweep.clone(), entry.clone());
        let confirm = thread::spawn(move || {
            sweep2.begin(0, 10, 0);
            entry2.store(word(READY, 10), Ordering::Release);
            entry2.store(word(LIVE, 10), Ordering::Release);
        });
        // The reaper's clock is ahead.
        let visited = sweep.visit(0, 20, || entry.load(Ordering::Acquire));
        confirm.join().unwrap();
        assert!(visited.is_some() || sweep.hint(0) <= 20, "LIVE, expired, its hint {}", sweep.hint(0));
    });
}

#[test]
fn max_is_never_exceeded() {
    model(|| {
        let limit = Arc::new(Limit::new(3, 1));
        let run = |limit: &Limit| {
            let mut permits = Permits::default();
            let spent = (0..2).filter(|_| permits.spend(limit)).count() as u32;
            assert!(limit.granted() <= 3);
            for _ in 0..spent {
                permits.regain(limit);
            }
            permits.give_all(limit);
            spent
        };
        let other = limit.clone();
        let thread = thread::spawn(move || run(&other));
        run(&limit);
        thread.join().unwrap();
        assert_eq!(limit.granted(), 0, "no permit is lost");
    });
}

#[test]
fn a_new_version_comes_with_its_values() {
    model(|| {
        let tuning = Arc::new(Tuning::new(&Tunables::default(), Options::default()).unwrap());
        let other = tuning.clone();
        let thread = thread::spawn(move || other.set("udp_timeout", 99).unwrap());
        if tuning.version() != 0 {
            assert_eq!(tuning.value("udp_timeout"), 99);
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_policy_that_is_there_is_whole() {
    model(|| {
        let policies = Arc::new(Policies::new(1, Options::default()).unwrap());
        let other = policies.clone();
        let thread = thread::spawn(move || {
            other.set(1, &Tunables { udp_timeout: 99, ..Tunables::default() });
        });
        let mut read = [None];
        policies.read(&Tunables::default(), &mut read);
        if let [Some(policy)] = read {
            assert_eq!((policy.udp_timeout, policy.icmp_timeout), (99, 30));
        }
        thread.join().unwrap();
    });
}

#[test]
fn of_two_that_set_a_policy_one_is_the_last() {
    model(|| {
        let policies = Arc::new(Policies::new(1, Options::default()).unwrap());
        let set = |policies: &Policies, seconds| {
            let timeouts =
                Tunables { tcp_timeout_syn_sent: seconds, generic_timeout: seconds, ..Tunables::default() };
            policies.set(1, &timeouts);
        };
        let other = policies.clone();
        let thread = thread::spawn(move || set(&other, 1));
        set(&policies, 2);
        thread.join().unwrap();
        let mut read = [None];
        policies.read(&Tunables::default(), &mut read);
        let policy = read[0].expect("set");
        assert_eq!(policy.tcp_timeout_syn_sent, policy.generic_timeout, "half of one, half of the other");
    });
}

#[test]
fn a_record_is_taken_whole_and_once() {
    model(|| {
        let rings = Arc::new(Rings::<2>::new(1, 2, Options::default()).unwrap());
        let others = rings.clone();
        let producer = thread::spawn(move || (1..=3u64).filter(|n| others.push(0, &[*n, *n])).count());
        let take = |rings: &Rings<2>| {
            let [a, b] = rings.pop(0)?;
            assert!(a == b && (1..=3).contains(&a), "a record in pieces: {a} {b}");
            Some(a)
        };
        let mut taken: Vec<u64> = (0..2).filter_map(|_| take(&rings)).collect();
        let pushed = producer.join().unwrap();
        taken.extend(std::iter::from_fn(|| take(&rings)));
        assert!(taken.windows(2).all(|w| w[0] < w[1]), "out of order or twice: {taken:?}");
        assert_eq!(taken.len(), pushed, "each that went in comes out");
    });
}

#[test]
fn two_producers_share_a_queue() {
    model(|| {
        let rings = Arc::new(Rings::<2>::new(1, 2, Options::default()).unwrap());
        let push = |n: u64| {
            let rings = rings.clone();
            thread::spawn(move || assert!(rings.push(0, &[n, n]), "there is room for two"))
        };
        let (one, two) = (push(1), push(2));
        let mut taken: Vec<_> = rings.pop(0).into_iter().collect();
        one.join().unwrap();
        two.join().unwrap();
        taken.extend(std::iter::from_fn(|| rings.pop(0)));
        taken.sort_unstable();
        assert_eq!(taken, [[1, 1], [2, 2]]);
    });
}

/// A worker makes a change and notes it, another one tells of it.
#[test]
fn who_tells_of_a_change_sees_it_made() {
    model(|| {
        let conn = Arc::new(Conn::default());
        let other = conn.clone();
        let thread = thread::spawn(move || {
            other.swap_word(0, 7 << 24).unwrap();
            other.note_changes(change::REPLY);
            other.take_changes()
        });
        let taken = conn.take_changes();
        if taken != 0 {
            assert_eq!(conn.word_acquire(), 7 << 24);
        }
        let theirs = thread.join().unwrap();
        assert_eq!(taken | theirs, change::REPLY, "told");
        assert_eq!(taken & theirs, 0, "once");
    });
}
