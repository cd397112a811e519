//! What a host must not do, for AddressSanitizer to find: it shows that the library's accesses are watched.

use std::alloc::{Layout, alloc, dealloc};
use std::hint::black_box;
use std::ptr::NonNull;

use conntab::config::Region;
use conntab::{Config, Packet, Table, Verdict};

fn config() -> Config {
    let mut config = Config { max: 64, workers: 1, prefault: false, ..Config::default() };
    config.tunables.checksum = 0;
    config
}

/// The header of a datagram: 28 bytes.
const DATAGRAM: [u8; 28] = [
    0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, 1, 10, 2, 0, 1, // IPv4
    0x13, 0x88, 0, 53, 0, 8, 0, 0, // UDP
];

/// Does what is named. `false`: nothing has this name.
pub fn commit(name: &str) -> bool {
    match name {
        "packet-too-short" => packet_too_short(),
        "region-freed" => region_freed(),
        "worker-forgotten" => worker_forgotten(),
        _ => return false,
    }
    true
}

/// A packet is described as longer than what was allocated for it, which ends within its ports.
fn packet_too_short() {
    let Ok(table) = Table::new(config()) else { return };
    let Ok(mut worker) = table.worker() else { return };
    let bytes = DATAGRAM[..23].to_vec().into_boxed_slice();
    // SAFETY: there is none. This is the defect.
    let longer = unsafe { std::slice::from_raw_parts(black_box(bytes.as_ptr()), DATAGRAM.len()) };
    let mut verdicts = [Verdict::default()];
    worker.track(1, &[Packet::new(longer)], &mut verdicts);
}

/// The table's memory is given back before the table.
fn region_freed() {
    let Ok(bytes) = config().memory() else { return };
    let Ok(layout) = Layout::from_size_align(bytes as usize, 4096) else { return };
    // SAFETY: the size is not 0.
    let Some(base) = NonNull::new(unsafe { alloc(layout) }) else { return };
    // SAFETY: there is none: it does not live as long as the table. This is the defect.
    let region = unsafe { Region::new(base, bytes as usize) };
    let Ok(table) = Table::new(Config { region: Some(region), ..config() }) else { return };
    // SAFETY: allocated above, with this layout.
    unsafe { dealloc(base.as_ptr(), layout) };
    black_box(table.stats());
}

/// A worker is neither kept nor dropped, and with it the table.
fn worker_forgotten() {
    let Ok(table) = Table::new(config()) else { return };
    let Ok(worker) = table.worker() else { return };
    std::mem::forget(black_box(worker));
}
