//! What is expected: taken once, ended once, read whole; and help records, that nobody is left in.

use super::*;
use crate::expect::{Arena, Draft, ExpectName, Fate, OnTheWay, Records, Refused};
use crate::packet::Handle;
use crate::tuple::Key;

const MASTER: Handle = Handle::from_u64(1 << 32 | 1);
const HASH: u64 = 0xabcd_ef01_0000_0000;

fn key(port: u64) -> Key {
    Key { src: [port; 2], dst: [port; 2], meta: port << 16 }
}

fn draft(port: u64) -> Draft {
    Draft {
        master: MASTER,
        key: key(port),
        any_source: false,
        permanent: false,
        class: 0,
        of: 0,
        helper: None,
        deadline: port as u32,
        record: 0,
        slot: 0,
        serial: 0,
    }
}

/// What is met holds, and nothing is over.
struct Way;

impl OnTheWay for Way {
    fn fate(&self, _: &Draft) -> Fate {
        Fate::Holds
    }

    fn ended(&self, name: ExpectName, _: &Draft) {
        panic!("{name} has ended on the way");
    }
}

fn arena() -> Arc<Arena> {
    Arc::new(Arena::new(2, Options::default()).unwrap())
}

fn expect(arena: &Arena, port: u64) -> Result<ExpectName, Refused> {
    arena.insert(HASH, &draft(port), None, &Way)
}

/// A packet comes; whether it was expected.
fn comes(arena: &Arena, port: u64) -> bool {
    let met = arena.meet(HASH, &key(port), &Way);
    if let Some((name, draft)) = &met {
        assert_eq!(draft.key, key(port), "half of another");
        arena.free(*name);
    }
    met.is_some()
}

#[test]
fn one_packet_takes_what_comes_once() {
    model(|| {
        let arena = arena();
        expect(&arena, 1).unwrap();
        let other = arena.clone();
        let thread = thread::spawn(move || comes(&other, 1));
        let mine = comes(&arena, 1);
        assert!(mine != thread.join().unwrap(), "exactly one is expected");
        assert_eq!(arena.count(), 0);
    });
}

/// A packet against the end of the master, who clears its slots.
#[test]
fn what_is_expected_ends_once() {
    model(|| {
        let arena = arena();
        let name = expect(&arena, 1).unwrap();
        let other = arena.clone();
        let thread = thread::spawn(move || comes(&other, 1));
        let ended = arena.end(name).is_some();
        if ended {
            arena.free(name);
        }
        assert!(ended != thread.join().unwrap(), "exactly one has ended it");
        assert_eq!(arena.count(), 0);
    });
}

/// Who sweeps sees what is new whole: not as over because its time was not written yet.
#[test]
fn what_is_new_is_not_over() {
    model(|| {
        let arena = arena();
        let other = arena.clone();
        let thread = thread::spawn(move || expect(&other, 1).unwrap());
        for place in 0..arena.len() {
            if let Some((_, draft)) = arena.at(place) {
                assert_eq!(draft.key, key(1));
                assert!(draft.left(0) > 0, "its time is not there yet");
            }
        }
        let name = thread.join().unwrap();
        assert!(arena.get(name).is_some());
    });
}

/// A packet reads a place while it is given to another expectation: it meets the old one, the new one, or nothing.
#[test]
fn a_place_is_used_again() {
    model(|| {
        let arena = arena();
        let mut first = draft(1);
        first.permanent = true;
        let name = arena.insert(HASH, &first, None, &Way).unwrap();
        let other = arena.clone();
        let thread = thread::spawn(move || {
            other.end(name).unwrap();
            other.free(name);
            let mut next = draft(2);
            next.permanent = true;
            other.insert(HASH, &next, None, &Way).unwrap()
        });
        for port in [1, 2] {
            if let Some((_, met)) = arena.meet(HASH, &key(port), &Way) {
                assert_eq!((met.key, met.deadline), (key(port), port as u32), "half of another");
            }
        }
        let next = thread.join().unwrap();
        assert!(arena.get(name).is_none() && arena.end(name).is_none(), "its name has come back");
        assert!(arena.get(next).is_some());
    });
}

#[test]
fn two_never_expect_the_same() {
    model(|| {
        let arena = arena();
        let other = arena.clone();
        let thread = thread::spawn(move || expect(&other, 1).is_ok());
        let mine = expect(&arena, 1).is_ok();
        assert!(!(mine && thread.join().unwrap()), "both do");
    });
}

/// Two workers show packets of one connection to its helper.
#[test]
fn helpers_take_turns() {
    model(|| {
        let records = Arc::new(Records::new(1, Options::default()).unwrap());
        let place = records.make(MASTER, None).unwrap();
        let step = move |records: &Records| {
            let Some(entered) = records.enter(place, MASTER) else { return 0 };
            let words = entered.record.words();
            assert!(words.iter().all(|word| *word == words[0]), "half of another's step");
            entered.record.store_words(&words.map(|word| word + 1));
            records.leave(entered, |_, _, _| panic!("it expects nothing"));
            1
        };
        let other = records.clone();
        let thread = thread::spawn(move || step(&other));
        let steps = step(&records) + thread.join().unwrap();
        let entered = records.enter(place, MASTER).unwrap();
        assert_eq!(entered.record.words()[0], steps);
    });
}

/// A connection ends while another worker announces for it: one of the two ends what it expects, and its record is free.
#[test]
fn the_last_to_leave_clears_up() {
    model(|| {
        let arena = arena();
        let records = Arc::new(Records::new(1, Options::default()).unwrap());
        let place = records.make(MASTER, None).unwrap();
        let (arena2, records2) = (arena.clone(), records.clone());
        let end = |arena: &Arena, name| {
            arena.end(name).expect("nobody else ends it");
            arena.free(name);
        };
        let thread = thread::spawn(move || {
            let Some(entered) = records2.enter(place, MASTER) else { return };
            let name = expect(&arena2, 1).unwrap();
            entered.record.put(0, name);
            records2.leave(entered, |_, _, name| end(&arena2, name));
        });
        records.bury(place, |_, _, name| end(&arena, name));
        thread.join().unwrap();
        assert_eq!((arena.count(), records.count()), (0, 0), "left behind");
        assert!(records.enter(place, MASTER).is_none());
    });
}

/// Who comes late, by the name of a connection that has ended, does not get into its successor's record.
#[test]
fn a_record_is_used_again() {
    model(|| {
        let records = Arc::new(Records::new(1, Options::default()).unwrap());
        let place = records.make(MASTER, None).unwrap();
        let other = records.clone();
        // Looked for where the other was found.
        let next = Handle::from_u64(3 << 32 | 1);
        let thread = thread::spawn(move || {
            other.bury(place, |_, _, _| panic!("it expects nothing"));
            other.make(next, None)
        });
        if let Some(entered) = records.enter(place, MASTER) {
            entered.record.store_words(&[9; 8]);
            records.leave(entered, |_, _, _| panic!("it expects nothing"));
        }
        if let Some(again) = thread.join().unwrap() {
            assert!(records.enter(place, MASTER).is_none());
            let entered = records.enter(again, next).unwrap();
            assert_eq!(entered.record.words(), [0; 8], "written by another's name");
        }
    });
}
