//! One scenario through the kernel and through conntab: equal, different, or neither could be said.

use std::io;

use conntab_cli::trace;
use serde_json::Value;

use crate::network::Ports;
use crate::record::{self, Failed, record};
use crate::rig::Rig;
use crate::traces::{has_fragments, leaves_traces};

/// The table's clock when a scenario begins.
const ORIGIN: u64 = 1_000_000;

/// How often a recording is tried anew because the machine was too busy.
const TRIES: u32 = 20;

/// How often what differs is recorded again before it counts.
const AGAIN: u32 = 2;

/// A thread's place to record: the namespaces it has made.
pub struct Bench {
    kernel: String,
    /// One for scenarios that leave nothing behind.
    shared: Option<Rig>,
}

/// What came of a scenario.
pub enum Outcome {
    /// Equal. `again`: what differed at first.
    Equal { again: Option<String>, recorded: Value },
    /// Different, three times over. What differs, and the kernel's recording.
    Different { what: String, recorded: Value },
    /// Not compared, and why.
    NotCompared(String),
}

impl Bench {
    pub fn new(kernel: &str) -> Self {
        Self { kernel: kernel.to_owned(), shared: None }
    }

    pub fn judge(&mut self, scenario: &Value) -> io::Result<Outcome> {
        let ours = match play(scenario) {
            Ok(ours) => ours,
            Err(problem) => return Ok(Outcome::NotCompared(problem)),
        };
        if scenario.get("random").is_some() {
            return Ok(Outcome::NotCompared("the kernel draws a value".to_owned()));
        }
        let mut late = 0;
        let mut first = None;
        let mut again = 0;
        loop {
            let recorded = match self.record(scenario, again > 0) {
                Ok(recorded) => recorded,
                Err(Failed::Late) if late < TRIES => {
                    late += 1;
                    continue;
                }
                Err(Failed::System(e)) => return Err(e),
                Err(failed) => return Ok(Outcome::NotCompared(failed.to_string())),
            };
            match trace::difference(&recorded, &ours) {
                None => return Ok(Outcome::Equal { again: first, recorded }),
                Some(what) if again == AGAIN => return Ok(Outcome::Different { what, recorded }),
                Some(what) => first = first.or(Some(what)),
            }
            again += 1;
        }
    }

    /// Whether the two differ, recorded with care but once; and the recording.
    pub fn differs(&mut self, scenario: &Value) -> io::Result<Option<(String, Value)>> {
        let Ok(ours) = play(scenario) else { return Ok(None) };
        for _ in 0..TRIES {
            match self.record(scenario, true) {
                Ok(recorded) => {
                    return Ok(trace::difference(&recorded, &ours).map(|what| (what, recorded)));
                }
                Err(Failed::Late) => {}
                Err(Failed::System(e)) => return Err(e),
                Err(Failed::Scenario(_)) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// `careful`: in a namespace of its own, and waiting for what is slow.
    fn record(&mut self, scenario: &Value, careful: bool) -> Result<Value, Failed> {
        if careful || leaves_traces(scenario) {
            let ports = if has_fragments(scenario) { Ports::Wires } else { Ports::Taps };
            let mut rig = Rig::new(ports, record::rules(scenario))?;
            return record(&mut rig, scenario, &self.kernel, careful);
        }
        let mut rig = match self.shared.take() {
            Some(mut rig) => {
                rig.enter(record::rules(scenario))?;
                rig
            }
            None => Rig::new(Ports::Taps, record::rules(scenario))?,
        };
        let recorded = record(&mut rig, scenario, &self.kernel, false);
        if rig.clear()? {
            self.shared = Some(rig);
        }
        recorded
    }
}

fn play(scenario: &Value) -> Result<Value, String> {
    let ours = trace::play(scenario.to_string().as_bytes(), ORIGIN).map_err(|problem| problem.what)?;
    serde_json::from_str(&ours).map_err(|e| e.to_string())
}
