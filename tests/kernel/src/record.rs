//! Plays a scenario into the kernel and writes down what was seen, in the form of `docs/scenarios.md`.

use std::fmt;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::rig::{Rig, Seen};

/// How much all delays together may come to: no wait of a scenario ends nearer than that to the edge of a timeout.
const MOST_LATE: Duration = Duration::from_millis(120);

/// What a step does.
const DOES: [&str; 7] = ["in", "packet", "wait_ms", "note", "sysctl", "nft", "host"];

/// What was seen.
const SEEN: [&str; 5] = ["t_ms", "verdict", "table", "expect", "events"];

#[derive(Debug)]
pub enum Failed {
    /// The machine was too busy to keep to the planned times.
    Late,
    System(io::Error),
    /// The scenario is none.
    Scenario(String),
}

impl From<io::Error> for Failed {
    fn from(e: io::Error) -> Self {
        Self::System(e)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("the machine is too busy to keep to the times"),
            Self::System(e) => e.fmt(f),
            Self::Scenario(what) => f.write_str(what),
        }
    }
}

fn wrong(what: &str) -> Failed {
    Failed::Scenario(what.to_owned())
}

/// The rules that a scenario begins with.
pub fn rules(scenario: &Value) -> &str {
    scenario["config"]["nft"].as_str().unwrap_or_default()
}

pub fn steps(scenario: &Value) -> &[Value] {
    scenario["steps"].as_array().map_or(&[], Vec::as_slice)
}

pub fn packets(scenario: &Value) -> usize {
    steps(scenario).iter().filter(|step| step.get("packet").is_some()).count()
}

/// How long it takes.
pub fn seconds(scenario: &Value) -> u64 {
    steps(scenario).iter().filter_map(|step| step.get("wait_ms")?.as_u64()).sum::<u64>() / 1000
}

/// `rig` has the scenario's rules. `patient`: nothing that is slow gets lost.
pub fn record(rig: &mut Rig, scenario: &Value, kernel: &str, patient: bool) -> Result<Value, Failed> {
    settings(rig, &scenario["config"])?;
    let (mut lines, mut expected) = (Vec::new(), Vec::new());
    let mut planned = Duration::ZERO;
    let mut recorded = Vec::with_capacity(steps(scenario).len());
    let start = Instant::now();
    for step in steps(scenario) {
        let Value::Object(step) = step else { return Err(wrong("a step is an object")) };
        let mut fields: Map<String, Value> = step
            .iter()
            .filter(|(name, _)| DOES.contains(&name.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        if let Some(wait) = step.get("wait_ms") {
            planned += Duration::from_millis(wait.as_u64().ok_or_else(|| wrong("wait_ms is a number"))?);
            // From the beginning: delays do not add up.
            sleep((start + planned).saturating_duration_since(Instant::now()));
        }
        settings(rig, &Value::Object(step.clone()))?;
        if let Some(nft) = step.get("nft").and_then(Value::as_str) {
            rig.load(nft)?;
        }
        fields.insert("t_ms".to_owned(), (start.elapsed().as_micros() as f64 / 1000.0).into());
        if let Some(packet) = step.get("packet") {
            let side = step.get("in").and_then(Value::as_u64).filter(|side| *side < 2);
            let side = side.ok_or_else(|| wrong("in is 0 or 1"))? as usize;
            let packet =
                packet.as_str().and_then(bytes).ok_or_else(|| wrong("a packet is hexadecimal digits"))?;
            fields.insert("verdict".to_owned(), verdict(&rig.packet(side, &packet, patient)?, side));
        }
        let mut events = Vec::new();
        rig.read_events(&mut events)?;
        let (table, expect) = (rig.table()?, rig.expectations()?);
        rig.read_events(&mut events)?;
        for (name, now, last) in [("table", table, &mut lines), ("expect", expect, &mut expected)] {
            if now != *last {
                fields.insert(name.to_owned(), json!(now));
                *last = now;
            }
        }
        if !events.is_empty() {
            fields.insert("events".to_owned(), json!(events));
        }
        if start.elapsed().saturating_sub(planned) > MOST_LATE {
            return Err(Failed::Late);
        }
        recorded.push(Value::Object(fields));
    }
    let mut head: Map<String, Value> = ["name", "about", "area", "random", "source"]
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), scenario.get(name)?.clone())))
        .collect();
    head.insert("kernel".to_owned(), kernel.into());
    head.insert("config".to_owned(), scenario.get("config").cloned().unwrap_or_else(|| json!({})));
    head.insert("steps".to_owned(), recorded.into());
    Ok(Value::Object(head))
}

fn settings(rig: &mut Rig, from: &Value) -> Result<(), Failed> {
    for (name, value) in from["sysctl"].as_object().into_iter().flatten() {
        rig.set(name, &value.as_str().map_or_else(|| value.to_string(), str::to_owned))?;
    }
    Ok(())
}

fn verdict(seen: &Seen, side: usize) -> Value {
    let came_out = |back: bool| -> Vec<String> {
        seen.out.iter().filter(|(out, _)| (*out == side) == back).map(|(_, bytes)| hex(bytes)).collect()
    };
    let (across, back) = (came_out(false), came_out(true));
    let said = seen.rules.iter().find_map(|rule| rule.split_once('/'));
    let arrived = seen.rules.iter().any(|rule| rule == "seen");
    let (state, dir) = said.unwrap_or((if arrived { "DROP" } else { "NONE" }, ""));
    let mut verdict = json!({
        "state": state,
        "dir": if dir.is_empty() { Value::Null } else { dir.into() },
        "forwarded": !across.is_empty(),
        "out_packet": across.first(),
    });
    if across.len() > 1 {
        verdict["out_packets"] = across.into();
    }
    if !back.is_empty() {
        verdict["back_packets"] = back.into();
    }
    if seen.rules.iter().any(|rule| rule == "local") {
        verdict["local"] = true.into();
    }
    if !seen.words.is_empty() {
        verdict["reason"] = seen.words.join("; ").into();
    }
    verdict
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = hex.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect();
    let (pairs, rest) = digits.as_ref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// One step a line, as files are.
pub fn text(recorded: &Value) -> String {
    let head = in_order(recorded, &["name", "about", "area", "random", "source", "kernel", "config"]);
    let names = [&DOES[..], &SEEN].concat();
    let steps: Vec<_> =
        steps(recorded).iter().map(|step| format!("{{{}}}", in_order(step, &names))).collect();
    format!("{{{head},\"steps\":[\n{}\n]}}\n", steps.join(",\n"))
}

fn in_order(object: &Value, names: &[&str]) -> String {
    let fields = names.iter().filter_map(|name| Some(format!("\"{name}\":{}", object.get(name)?)));
    fields.collect::<Vec<_>>().join(",")
}
