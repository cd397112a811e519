//! Time, chance, and the three numbers that a figure is given by.

use std::time::Duration;

/// Nanoseconds of one of the system's clocks.
pub fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes the struct that is lent to it.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU time of this thread, in ns.
pub fn cpu() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Time on the wall, in ns.
pub fn wall() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// A stop watch of this thread's CPU time.
pub struct Clock(u64);

impl Clock {
    pub fn start() -> Self {
        Self(cpu())
    }

    pub fn stop(self) -> Duration {
        Duration::from_nanos(self.ns())
    }

    pub fn ns(self) -> u64 {
        cpu() - self.0
    }
}

/// What one reading of a clock takes, in ns.
pub fn cost(clock: fn() -> u64) -> f64 {
    const TIMES: u64 = 10_000;
    let begin = cpu();
    for _ in 0..TIMES {
        std::hint::black_box(clock());
    }
    (cpu() - begin) as f64 / TIMES as f64
}

/// xorshift64*: good enough, and next to nothing beside a cache miss.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

/// `min,median,max` of some samples, as a CSV has them; empty cells where there are none.
pub fn three(samples: &[f64]) -> String {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.first(), sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(min), Some(median), Some(max)) => format!("{},{},{}", short(*min), short(*median), short(*max)),
        _ => ",,".to_owned(),
    }
}

/// A number with four digits that count.
pub fn short(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (3 - value.abs().log10().floor() as i32).clamp(0, 6) };
    let text = format!("{value:.*}", digits as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Bytes of memory that the machine still has.
pub fn free_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .map_or(u64::MAX, |kb| kb << 10)
}

/// How much of the process lies on huge pages, in kB.
pub fn huge_pages() -> String {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    line.map_or("unknown".to_owned(), |value| value.trim().to_owned())
}
