//! The packet path neither collects nor allocates: all of that is in `leave` and `reclaim`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use super::*;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting the calls of each thread.
struct Counting;

// SAFETY: every call is passed on unchanged; the counter is a thread-local without destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        CALLS.with(|calls| calls.set(calls.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Calls of the allocator by this thread so far.
pub(in crate::table) fn allocator_calls() -> u64 {
    CALLS.with(Cell::get)
}

#[test]
fn packet_path_never_allocates() {
    // Small chains, so that overflow buckets come and go too.
    let table = table(geometry(16, 64, 4000, 2), Hasher::Mixed);
    let mut local = table.local(0).expect("worker");
    let mut other = table.control();
    let mut inside = 0;
    let mut key = 0;
    for _ in 0..25_000 {
        let before = allocator_calls();
        // Forty bursts to a section, so that pins, repins and leaves all happen, past many times 128 pins.
        local.enter();
        local.enter();
        let mut indices = [0; 40];
        for slot in &mut indices {
            key += 2;
            *slot = prepare(&table, &mut local, [key, key + 1], 0).expect("an entry");
        }
        let mut results = [Insert::Inserted; 40];
        insert_burst(&table, &mut local, &indices, 0, &mut results, &mut |_, _| {});
        for (index, result) in indices.iter().zip(&results) {
            if *result == Insert::Inserted {
                let word = table.entry(*index).word().load(Ordering::Acquire);
                assert!(table.kill(&mut local, *index, word));
            }
        }
        inside += allocator_calls() - before;
        local.leave();
        // Another thread's job, usually.
        table.reclaim(&mut other);
    }
    assert_eq!(inside, 0);
    table.reclaim(&mut other);
    assert_eq!(table.stats().waiting, 0);
}

#[test]
fn entering_never_collects() {
    // Ripe garbage lies in the queue; a hundred thousand pins must not touch it, `leave` must.
    let table = table(geometry(4, 4, 10_000, 2), Hasher::Mixed);
    let mut local = table.local(0).expect("worker");
    let mut other = table.local(1).expect("worker");
    let mut collected = 0;
    for key in 0..5_000_u64 {
        // Handed over while `local` is entered, so it stays in the queue; ripe once `local` has left.
        local.enter();
        other.enter();
        let (index, _) = insert(&table, &mut other, [key, key]);
        let word = table.entry(index).word().load(Ordering::Acquire);
        table.kill(&mut other, index, word);
        table.reclaim(&mut other);
        let waiting = table.stats().waiting;
        local.leave();
        if table.stats().waiting < waiting {
            collected += 1;
        }
        let waiting = table.stats().waiting;
        local.enter();
        assert_eq!(table.stats().waiting, waiting, "collected inside enter");
        local.leave();
    }
    // Two pins a round, one of 128 collects.
    assert!(collected > 0, "crossbeam's rhythm has changed: see PINS_PER_COLLECT");
}

#[test]
fn a_backlog_goes_with_the_second_call() {
    let table = table(geometry(4, 4, 3_000, 2), Hasher::Mixed);
    let (mut asleep, mut local) = (table.local(0).expect("worker"), table.local(1).expect("worker"));
    asleep.enter();
    for key in 0..2_000_u64 {
        local.enter();
        let (index, _) = insert(&table, &mut local, [key, key]);
        let word = table.entry(index).word().load(Ordering::Acquire);
        table.kill(&mut local, index, word);
        table.reclaim(&mut local);
    }
    assert_eq!(table.stats().waiting, 2_000, "one is entered");
    asleep.leave();
    table.reclaim(&mut local);
    table.reclaim(&mut local);
    assert_eq!(table.stats().waiting, 0);
}
