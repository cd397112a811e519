//! How figures are written, what a clock costs, and what the machine gave.

/// What one reading of a clock takes, in ns.
pub fn cost(clock: fn() -> u64) -> f64 {
    const TIMES: u64 = 10_000;
    let begin = conntab_bench::cpu();
    for _ in 0..TIMES {
        std::hint::black_box(clock());
    }
    (conntab_bench::cpu() - begin) as f64 / TIMES as f64
}

/// `min,median,max` of some samples, as a CSV has them; empty cells where there are none.
pub fn three(samples: &[f64]) -> String {
    match conntab_bench::three(samples.iter().copied()) {
        Some([min, median, max]) => format!("{},{},{}", short(min), short(median), short(max)),
        None => ",,".to_owned(),
    }
}

/// A number with four digits that count.
pub fn short(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { (3 - value.abs().log10().floor() as i32).clamp(0, 6) };
    let text = format!("{value:.*}", digits as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// How much of the process lies on huge pages, in kB.
pub fn huge_pages() -> String {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    line.map_or("unknown".to_owned(), |value| value.trim().to_owned())
}
