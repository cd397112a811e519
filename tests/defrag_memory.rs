//! A `Defrag` takes the memory that it says, and takes it when it is made. (Alone: what else runs would be measured with it.)

use conntab::{Defrag, DefragConfig};

#[test]
fn memory_is_what_was_said() {
    for (thresh, queues) in [(0, 1), (1 << 20, 100), (8 << 20, 5000)] {
        let config = DefragConfig {
            ipfrag_high_thresh: thresh,
            frag6_high_thresh: thresh / 2,
            queues,
            ..Default::default()
        };
        let said = config.memory().expect("in range");
        let before = resident();
        let defrag = Defrag::new(config).expect("memory");
        let taken = resident() - before;
        assert!(taken.abs_diff(said) < 300 << 10, "{said} said, {taken} taken");
        drop(defrag);
    }
}

/// Resident memory in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).expect("a field").parse().expect("a number");
    pages * 4096
}
