//! The load `growth` of `latency`: a table that grows sixteenfold while its connections send and new ones open.
//!
//! `loaded`: another thread doubles `max` (`Table::set_max`), step by step, from the connections there are to 16 times
//! as many. `alone`: a table that had the room from the beginning gets the very same packets: chunks in which every fourth
//! packet opens a connection, and chunks without such where the growing table had no room yet. Whole runs take turns.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use conntab::{Config, Table};

use super::{CASES, Tally};
use crate::field::{CHUNK, Flows, Lane, START};
use crate::packets;

/// How often it doubles.
const DOUBLINGS: u32 = 4;

/// Lets `flows` connections send, and others open in those chunks for which `opens` says so; it is told how many there
/// are, and ends it.
fn traffic(table: &Table, flows: usize, tally: &mut Tally, mut opens: impl FnMut(u32) -> Option<bool>) {
    let (mut lane, all) = (Lane::new(table, 1), Flows::new(flows));
    lane.establish(&all, 0..flows as u32, 0, |_| START);
    // Numbers of those that open: none of those that send.
    let mut opened = flows as u32;
    // The first chunk meets what making the table has left in the caches.
    lane.write_established(&all, 0..flows as u32, CHUNK);
    Tally::new().measure(&mut lane, START, CHUNK);
    while let Some(opens) = opens(opened) {
        lane.write(CHUNK, |at, slot, random| {
            if opens && at % 4 == 3 {
                packets::syn(slot, opened);
                opened += 1;
            } else {
                all.segment(slot, random.below(flows) as u32);
            }
        });
        tally.measure(&mut lane, START, CHUNK);
        // As a host's loop would, between its bursts.
        lane.worker.reap(START, 1024);
    }
    let stats = table.stats();
    assert_eq!((stats.drop, stats.early_drop, stats.invalid), (0, 0, 0), "{stats:?}");
    assert_eq!(table.count(), opened);
}

/// Grows under load; which chunks opened connections.
fn grow(flows: usize, tally: &mut Tally) -> Vec<bool> {
    let most = (flows as u32) << DOUBLINGS;
    let config = Config { max: flows as u32 + 4096, max_reserve: most, workers: 1, ..Config::default() };
    let table = Table::new(config).expect("memory");
    let room = AtomicU32::new(flows as u32);
    let mut log = Vec::new();
    thread::scope(|scope| {
        let (table, room) = (&table, &room);
        let control = scope.spawn(move || {
            for step in 1..=DOUBLINGS {
                // It is time when the connections there are all but fill the table.
                while table.count() < ((flows as u32) << (step - 1)).saturating_sub(CHUNK as u32) {
                    thread::yield_now();
                }
                table.set_max((flows as u32) << step).expect("memory was reserved");
                room.store((flows as u32) << step, Ordering::SeqCst);
            }
        });
        traffic(table, flows, tally, |opened| {
            let left = room.load(Ordering::SeqCst).saturating_sub(opened) as usize;
            let opens = left >= CHUNK / 4;
            let over = opened >= most - CHUNK as u32 && control.is_finished();
            (!over).then(|| log.push(opens)).map(|()| opens)
        });
        control.join().expect("the growing thread");
    });
    log
}

/// The same packets in a table that need not grow.
fn stay(flows: usize, log: &[bool], tally: &mut Tally) {
    let max = ((flows as u32) << DOUBLINGS) + 4096;
    let table = Table::new(Config { max, workers: 1, ..Config::default() }).expect("memory");
    let mut chunks = log.iter().copied();
    traffic(&table, flows, tally, |_| chunks.next());
}

pub(super) fn run(flows: usize, rounds: usize) {
    let mut tallies = CASES.map(|_| Tally::new());
    let mut log = Vec::new();
    for round in 0..rounds {
        let [alone, loaded] = &mut tallies;
        // The first has to find out what packets there are; then who comes first alternates.
        if round % 2 == 1 {
            stay(flows, &log, alone);
            log = grow(flows, loaded);
        } else {
            log = grow(flows, loaded);
            stay(flows, &log, alone);
        }
    }
    for (tally, case) in tallies.iter().zip(CASES) {
        tally.print("growth", case);
    }
    let opening = log.iter().filter(|opens| **opens).count();
    println!(
        "# growth: {flows} to {} in {} chunks, {opening} of which opened",
        flows << DOUBLINGS,
        log.len()
    );
}
