//! What the benches share: clocks, chance, sizes, and the three numbers that a figure is given by.

use std::time::Duration;

/// Nanoseconds of one of the system's clocks.
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes the struct that is lent to it.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU time of this thread, in ns.
pub fn cpu() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of the process, in ns.
pub fn process() -> u64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Time on the wall, in ns.
pub fn wall() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// A stop watch of this thread's CPU time.
pub struct Clock(u64);

impl Clock {
    /// Now.
    pub fn start() -> Self {
        Self(cpu())
    }

    /// Since then.
    pub fn stop(self) -> Duration {
        Duration::from_nanos(self.ns())
    }

    /// Since then, in ns.
    pub fn ns(self) -> u64 {
        cpu() - self.0
    }
}

/// xorshift64*: good enough, and next to nothing beside a cache miss. It must not begin with 0.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Uniform, below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.word()) * n as u128) >> 64) as usize
    }
}

/// A size such as 300, 10k or 1M.
pub fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.char_indices().next_back() {
        Some((at, 'k')) => (&text[..at], 1000),
        Some((at, 'M')) => (&text[..at], 1_000_000),
        _ => (text, 1),
    };
    let number: usize = digits.parse().map_err(|e| format!("{e}: a number such as 10k or 1M is needed"))?;
    Ok(number * unit)
}

/// Minimum, median and maximum; `None` of nothing.
pub fn three(samples: impl IntoIterator<Item = f64>) -> Option<[f64; 3]> {
    let mut sorted: Vec<f64> = samples.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    // The mean of the two in the middle, or the one twice.
    let median = (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0;
    Some([least, median, most])
}

/// Bytes of memory that can be had without paging anything out.
pub fn free_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
        .map_or(u64::MAX, |kb| kb << 10)
}

/// Asks for the cache line of this address, whatever it is.
#[inline(always)]
pub fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no architectural effect, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_numbers() {
        assert_eq!(three([3.0, 1.0, 2.0]), Some([1.0, 2.0, 3.0]));
        assert_eq!(three([4.0, 1.0, 2.0, 3.0]), Some([1.0, 2.5, 4.0]));
        assert_eq!(three([]), None);
    }

    #[test]
    fn sizes() {
        assert_eq!(["300", "10k", "2M"].map(size), [Ok(300), Ok(10_000), Ok(2_000_000)]);
        assert!(size("M").is_err() && size("").is_err());
    }
}
