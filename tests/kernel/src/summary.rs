//! What was played and what came of it, by area and by protocol.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::bench::Outcome;
use crate::record::{bytes, steps};

#[derive(Clone, Copy, Default)]
struct Row {
    scenarios: usize,
    packets: usize,
    equal: usize,
    different: usize,
    not_compared: usize,
    again: usize,
}

#[derive(Default)]
pub struct Summary {
    areas: BTreeMap<String, Row>,
    /// Packets that were compared, by transport protocol.
    protocols: BTreeMap<String, usize>,
    /// Why what was not compared was not.
    reasons: BTreeMap<String, usize>,
}

impl Summary {
    pub fn add(&mut self, scenario: &Value, outcome: &Outcome) {
        let area = scenario["area"].as_str().unwrap_or("none");
        let row = self.areas.entry(area.to_owned()).or_default();
        let packets = || steps(scenario).iter().filter_map(|step| bytes(step.get("packet")?.as_str()?));
        row.scenarios += 1;
        row.packets += packets().count();
        match outcome {
            Outcome::Equal { again, .. } => {
                row.equal += 1;
                row.again += usize::from(again.is_some());
            }
            Outcome::Different { .. } => row.different += 1,
            Outcome::NotCompared(why) => {
                row.not_compared += 1;
                *self.reasons.entry(why.clone()).or_default() += 1;
                return;
            }
        }
        for packet in packets() {
            *self.protocols.entry(protocol(&packet)).or_default() += 1;
        }
    }

    fn total(&self) -> Row {
        self.areas.values().fold(Row::default(), |sum, row| Row {
            scenarios: sum.scenarios + row.scenarios,
            packets: sum.packets + row.packets,
            equal: sum.equal + row.equal,
            different: sum.different + row.different,
            not_compared: sum.not_compared + row.not_compared,
            again: sum.again + row.again,
        })
    }

    pub fn passed(&self) -> usize {
        self.total().equal
    }

    pub fn packets(&self) -> usize {
        self.total().packets
    }

    pub fn failed(&self) -> usize {
        self.total().different
    }

    /// Tables in Markdown.
    pub fn text(&self) -> String {
        let mut text = String::from(
            "| area | scenarios | packets | equal | different | not compared | recorded again |\n|---|---|---|---|---|---|---|\n",
        );
        let total = ("**all**".to_owned(), self.total());
        for (name, row) in self.areas.iter().map(|(name, row)| (name.clone(), *row)).chain([total]) {
            let Row { scenarios, packets, equal, different, not_compared, again } = row;
            writeln!(
                text,
                "| {name} | {scenarios} | {packets} | {equal} | {different} | {not_compared} | {again} |"
            )
            .expect("a string");
        }
        let protocols: Vec<_> =
            self.protocols.iter().map(|(name, packets)| format!("{name} {packets}")).collect();
        writeln!(text, "\nPackets compared, by protocol: {}.", protocols.join(", ")).expect("a string");
        if !self.reasons.is_empty() {
            text += "\nNot compared:\n\n";
            for (why, count) in &self.reasons {
                writeln!(text, "- {why}: {count}").expect("a string");
            }
        }
        text
    }
}

/// As the packet's own headers have it.
fn protocol(packet: &[u8]) -> String {
    let number = match conntab::wire::parse(packet, packet.len() as u32) {
        Ok(headers) => headers.protocol,
        Err(_) => return "broken".to_owned(),
    };
    match number {
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        47 => "GRE".to_owned(),
        58 => "ICMPv6".to_owned(),
        132 => "SCTP".to_owned(),
        136 => "UDP-Lite".to_owned(),
        _ => "other".to_owned(),
    }
}
