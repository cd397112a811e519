//! loom models of the path's own invariants: the record under its version, the reaper's hints, `max`, the tunables. (Those
//! of the table are in `src/table/tests/models.rs`.) Run by `ci/loom.sh`; `ci/mutations.sh` shows what each catches.

use std::sync::Arc;

use loom::thread;

use crate::conn::Conn;
use crate::limit::{Limit, Permits};
use crate::memory::Options;
use crate::reap::Sweep;
use crate::shared::Tuning;
use crate::sync::{AtomicU64, Ordering};
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

/// A LIVE connection's expiry, as far as the sweeper is concerned.
struct Expiry(AtomicU64);

impl Expiry {
    fn read(&self) -> u32 {
        self.0.load(Ordering::Acquire) as u32
    }

    fn change(&self, from: u64, to: u64) -> bool {
        self.0.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[test]
fn hint_is_never_later_than_the_expiry() {
    model(|| {
        let sweep = Arc::new(Sweep::new(1, Options::default()).unwrap());
        let expiry = Arc::new(Expiry(AtomicU64::new(1000)));
        // The connection was prolonged to 1000 since its hint was written.
        sweep.begin(0, 10, 0);
        let (sweep2, expiry2) = (sweep.clone(), expiry.clone());
        let packet = thread::spawn(move || {
            assert!(expiry2.change(1000, 100));
            sweep2.shorten(0, 100, 10);
        });
        sweep.postpone(0, 10, 10, || Some(expiry.read()));
        packet.join().unwrap();
        assert!(sweep.hint(0) <= expiry.read(), "{} {}", sweep.hint(0), expiry.read());
    });
}

#[test]
fn hint_of_the_next_life_is_not_forgotten() {
    const DEAD: u64 = 0;
    model(|| {
        let sweep = Arc::new(Sweep::new(1, Options::default()).unwrap());
        let word = Arc::new(AtomicU64::new(DEAD));
        sweep.begin(0, 10, 0);
        let (sweep2, word2) = (sweep.clone(), word.clone());
        // The entry's next life expires at the very tick that the old hint told.
        let next = thread::spawn(move || {
            word2.store(1, Ordering::Relaxed);
            sweep2.begin(0, 10, 0);
        });
        // The sweeper comes by at tick 20.
        let seen = word.load(Ordering::Acquire);
        if seen == DEAD {
            sweep.forget(0, 10, 20, || word.load(Ordering::Acquire) == seen);
        }
        next.join().unwrap();
        assert!(sweep.hint(0) <= 20, "due at the next sweep: {}", sweep.hint(0));
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
