//! The recorded form: the head on the first line, then one step a line.

use serde_json::{Map, Value};

use super::player::Moment;
use super::router::Seen;
use super::scenario::{Arrival, Scenario};

pub(super) fn text(scenario: &Scenario, moments: &[Moment]) -> String {
    let mut head = Fields::default();
    for name in ["name", "about", "area", "random", "source"] {
        if let Some(value) = scenario.head.get(name) {
            head.put(name, value.clone());
        }
    }
    head.put("kernel", concat!("conntab ", env!("CARGO_PKG_VERSION")).into());
    head.put("config", scenario.head.get("config").cloned().unwrap_or_else(|| Map::new().into()));
    let (mut last, mut expected): (&[String], &[String]) = (&[], &[]);
    let mut steps = Vec::new();
    for (step, moment) in scenario.steps.iter().zip(moments) {
        let mut fields = Fields::default();
        for name in ["in", "packet", "wait_ms", "note", "sysctl", "nft", "host"] {
            if let Some(value) = step.fields.get(name) {
                fields.put(name, value.clone());
            }
        }
        fields.put("t_ms", moment.time.into());
        if let (Some(seen), Some(arrival)) = (&moment.verdict, &step.packet) {
            fields.0.push(("verdict".to_owned(), verdict(seen, arrival)));
        }
        if moment.table != last {
            fields.put("table", moment.table.clone().into());
            last = &moment.table;
        }
        if moment.expect != expected {
            fields.put("expect", moment.expect.clone().into());
            expected = &moment.expect;
        }
        if !moment.events.is_empty() {
            fields.put("events", moment.events.clone().into());
        }
        steps.push(fields.text());
    }
    let head = head.text();
    let head = head.strip_suffix('}').unwrap_or(&head);
    format!("{head},\"steps\":[\n{}\n]}}\n", steps.join(",\n"))
}

fn verdict(seen: &Seen, arrival: &Arrival) -> String {
    let [across, back] = [false, true].map(|back| -> Vec<Value> {
        let these = seen.out.iter().filter(|(side, _)| (*side == arrival.side) == back);
        these.map(|(_, bytes)| hex(bytes).into()).collect()
    });
    let mut fields = Fields::default();
    fields.put("state", seen.state.into());
    fields.put("dir", seen.dir.map(direction).into());
    fields.put("forwarded", (!across.is_empty()).into());
    fields.put("out_packet", across.first().cloned().unwrap_or(Value::Null));
    if across.len() > 1 {
        fields.put("out_packets", across.into());
    }
    if !back.is_empty() {
        fields.put("back_packets", back.into());
    }
    if seen.local {
        fields.put("local", true.into());
    }
    if !seen.reasons.is_empty() {
        fields.put("reason", seen.reasons.join("; ").into());
    }
    fields.text()
}

fn direction(direction: conntab::tuple::Direction) -> &'static str {
    match direction {
        conntab::tuple::Direction::Original => "original",
        conntab::tuple::Direction::Reply => "reply",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An object whose names keep their order: names, and values as JSON.
#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl Fields {
    fn put(&mut self, name: &str, value: Value) {
        self.0.push((name.to_owned(), value.to_string()));
    }

    fn text(&self) -> String {
        let fields: Vec<_> = self.0.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", fields.join(","))
    }
}
