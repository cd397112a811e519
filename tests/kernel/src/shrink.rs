//! From a scenario that differs to the shortest one that still does.

use std::io;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::Bench;
use crate::record::steps;

/// How long it may take.
const MOST: Duration = Duration::from_secs(90);

/// How near the difference of two moments may be to a whole second.
const EDGE: u64 = 200;

/// What differs in the shortest scenario, and the kernel's recording of it.
pub fn shrink(bench: &mut Bench, what: String, recorded: Value) -> io::Result<(String, Value)> {
    let mut shrinking = Shrinking { bench, best: (what, recorded), end: Instant::now() + MOST };
    shrinking.fewer_steps()?;
    shrinking.fewer_settings()?;
    // With them some steps may have lost their point.
    shrinking.fewer_steps()?;
    Ok(shrinking.best)
}

struct Shrinking<'a> {
    bench: &'a mut Bench,
    best: (String, Value),
    end: Instant,
}

impl Shrinking<'_> {
    /// Takes the candidate if it differs, too.
    fn accept(&mut self, candidate: &Value) -> io::Result<bool> {
        if Instant::now() > self.end || !moments_are_apart(candidate) {
            return Ok(false);
        }
        let found = self.bench.differs(candidate)?;
        let differs = found.is_some();
        if let Some(found) = found {
            self.best = found;
        }
        Ok(differs)
    }

    /// Leaves out pieces, halves first, down to single steps, until none can be spared.
    fn fewer_steps(&mut self) -> io::Result<()> {
        let mut size = steps(&self.best.1).len().div_ceil(2);
        while size > 0 {
            let (mut at, mut fewer) = (0, false);
            while at < steps(&self.best.1).len() {
                let mut candidate = self.best.1.clone();
                if let Some(steps) = candidate["steps"].as_array_mut() {
                    steps.drain(at..(at + size).min(steps.len()));
                }
                // What comes behind has moved to this place.
                if self.accept(&candidate)? { fewer = true } else { at += size }
            }
            if size > 1 || !fewer {
                size /= 2;
            }
        }
        Ok(())
    }

    /// Leaves out settings one by one, and the rules altogether.
    fn fewer_settings(&mut self) -> io::Result<()> {
        let settings = self.best.1["config"]["sysctl"].as_object().cloned().unwrap_or_default();
        for name in settings.keys() {
            let mut candidate = self.best.1.clone();
            if let Some(settings) = candidate["config"]["sysctl"].as_object_mut() {
                settings.remove(name);
            }
            self.accept(&candidate)?;
        }
        let mut candidate = self.best.1.clone();
        if let Some(config) = candidate["config"].as_object_mut()
            && config.remove("nft").is_some()
        {
            config.remove("host");
            self.accept(&candidate)?;
        }
        Ok(())
    }
}

/// Whether no two moments are about whole seconds apart, where timeouts end.
fn moments_are_apart(scenario: &Value) -> bool {
    let mut moments = vec![0];
    for wait in steps(scenario).iter().filter_map(|step| step.get("wait_ms")?.as_u64()) {
        let now = moments.last().unwrap_or(&0) + wait;
        if moments.iter().any(|then| {
            let apart = (now - then) % 1000;
            now != *then && apart.min(1000 - apart) < EDGE
        }) {
            return false;
        }
        moments.push(now);
    }
    true
}

#[cfg(test)]
#[test]
fn edges_are_seen() {
    let scenario = |waits: &[u64]| {
        let steps: Vec<_> = waits.iter().map(|wait| serde_json::json!({"wait_ms": wait})).collect();
        serde_json::json!({"steps": steps})
    };
    for (waits, apart) in
        [(&[300][..], true), (&[1000], false), (&[300, 500], true), (&[300, 700], false), (&[1100], false)]
    {
        assert_eq!(moments_are_apart(&scenario(waits)), apart, "{waits:?}");
    }
}
