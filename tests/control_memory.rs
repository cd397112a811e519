//! Calls without a worker take no memory that piles up while a worker stands still in the middle of a burst. (Alone: what else runs would
//! be measured with it.)

mod common;

use common::*;
use conntab::Handle;

const FLOWS: u32 = 20_000;

#[test]
fn calls_beside_a_worker_that_stands_still() {
    let table = table(2 * FLOWS);
    let [mut worker, mut still] = [table.worker().unwrap(), table.worker().unwrap()];
    let conns: Vec<Handle> =
        (0..FLOWS).map(|n| pass(&mut worker, 0, &udp(host(n), SERVER, 1, 1)).conn).collect();
    worker.idle();
    judge(&mut still, 0, &[&udp(CLIENT, SERVER, 2, 2)]);
    let before = resident();
    for conn in conns {
        assert!(table.delete(conn));
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 1 << 20, "{grown} bytes after {FLOWS} calls");
    // And what was freed comes back with the next two calls, once it has moved on.
    still.idle();
    worker.reap(0, 0);
    worker.reap(0, 0);
    assert_eq!(table.usage().waiting, 0);
}

/// Resident memory in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).expect("a field").parse().expect("a number");
    pages * 4096
}
