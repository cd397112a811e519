//! Every cell of the state table that was recorded from a live kernel (tests/kernel/sctp_states.py), against the tracker.

mod sctp;

use conntab::Reason;
use conntab::proto::sctp::{Record, State, open, step};
use conntab::proto::{Outcome, Timeout};
use conntab::timeout::Tunables;
use conntab::tuple::Direction;
use conntab::wire::sctp::Packet;
use std::collections::{BTreeMap, BTreeSet};

const TAGS: [(&str, u32); 4] =
    [("a", 0xa1a1_a1a1), ("b", 0xb2b2_b2b2), ("c", 0xc3c3_c3c3), ("d", 0xd4d4_d4d4)];

fn number(text: &str) -> u32 {
    let named = TAGS.into_iter().find(|(name, _)| *name == text).map(|(_, tag)| tag);
    named.unwrap_or_else(|| u32::from_str_radix(text, 16).expect("a tag"))
}

/// An association, with what a table keeps of it besides the tracker's record.
#[derive(Clone, Copy)]
struct Association {
    record: Record,
    state: State,
    replied: bool,
    assured: bool,
    /// The last timeout that was set.
    seconds: Option<u32>,
    packets: [u32; 2],
}

/// A packet written as `>b:10`, as the parser reads it.
fn read(text: &str) -> (Direction, Packet, Option<u32>) {
    let (direction, ports) = match &text[..1] {
        ">" => (Direction::Original, (1000, 38412)),
        _ => (Direction::Reply, (38412, 1000)),
    };
    let (tag, what) = text[1..].split_once(':').expect("a tag");
    let chunks = match what.strip_prefix('#') {
        Some(bytes) => bytes
            .split('+')
            .flat_map(|part| {
                let (hex, times) = part.split_once('*').unwrap_or((part, "1"));
                sctp::unhex(hex).repeat(times.parse().expect("a number"))
            })
            .collect(),
        None => what.split(',').flat_map(chunk).collect::<Vec<u8>>(),
    };
    let given = what.split_once('=').filter(|_| !what.contains(',')).map(|(_, tag)| number(tag));
    (direction, sctp::parse(&sctp::ipv4(ports.0, ports.1, number(tag), &chunks)), given)
}

/// A chunk written as `1=a` or `6T`.
fn chunk(text: &str) -> Vec<u8> {
    let (kind, tag) = text.split_once('=').unwrap_or((text, "0"));
    let flags = u8::from(kind.ends_with('T'));
    let body = |kind| match kind {
        0 => vec![0; 13],
        1 | 2 => {
            let mut body = vec![0; 16];
            body[..4].copy_from_slice(&number(tag).to_be_bytes());
            body
        }
        3 => vec![0; 12],
        4 | 5 | 9 | 10 => vec![0; 8],
        7 => vec![0; 4],
        _ => Vec::new(),
    };
    let kind = kind.trim_end_matches('T').parse().expect("a type");
    sctp::chunk(kind, flags, &body(kind))
}

/// Sends a packet; returns verdict and direction as the recording has them, and why.
fn play(association: &mut Option<Association>, text: &str, tunables: &Tunables) -> (&'static str, Reason) {
    let (direction, packet, _) = read(text);
    let Some(known) = association else {
        return match open(&packet, tunables) {
            Err(reason) => ("INVALID/-", reason),
            Ok((record, step)) => {
                // One that is known by its first packet can only be ignored if that has an odd HEARTBEAT: there is none yet.
                assert_eq!(step.outcome, Outcome::Accept);
                let Timeout::Set(seconds) = step.timeout else { panic!("a first packet sets the timeout") };
                *association = Some(Association {
                    record,
                    state: State::from_u8(step.state).expect("a state"),
                    replied: false,
                    assured: step.assure,
                    seconds: Some(seconds),
                    packets: [1, 0],
                });
                ("NEW/o", step.reason)
            }
        };
    };
    let step = step(&mut known.record, known.state, direction, false, &packet, tunables);
    known.state = State::from_u8(step.state).expect("a state");
    known.seconds = match step.timeout {
        Timeout::Set(seconds) => Some(seconds),
        Timeout::Keep => None,
        Timeout::Shorten { .. } => panic!("nothing shortens it"),
    };
    if step.outcome == Outcome::Invalid {
        known.assured |= step.assure;
        return ("INVALID/-", step.reason);
    }
    known.packets[direction as usize] += u32::from(step.outcome == Outcome::Accept);
    known.replied |= direction == Direction::Reply;
    known.assured |= step.assure;
    let verdict = match (known.replied, direction) {
        (false, _) => "NEW/o",
        (true, Direction::Original) => "ESTABLISHED/o",
        (true, Direction::Reply) => "ESTABLISHED/r",
    };
    (verdict, step.reason)
}

/// As the recording shows an association.
fn shown(before: Option<&Association>, after: Option<&Association>, text: &str) -> String {
    let Some(now) = after else { return "gone".to_owned() };
    let (_, packet, given) = read(text);
    let tags = [0, 1].map(|at| {
        let tag = now.record.tags[at];
        match before.map_or(0, |known| known.record.tags[at]) {
            was if was == tag => ".".to_owned(),
            _ if tag == packet.vtag => "*".to_owned(),
            _ if Some(tag) == given => "=".to_owned(),
            _ => format!("{tag:x}"),
        }
    });
    let status = 8 | if now.replied { 2 } else { 0 } | if now.assured { 4 } else { 0 };
    let seconds = now.seconds.map_or("kept".to_owned(), |seconds| seconds.to_string());
    let ([a, b], [p, q]) = (tags, now.packets);
    format!("> {} {seconds} 0x{status:x} {a}/{b} {p}/{q}", now.state.as_str())
}

/// What of the kernel's words is comparable.
fn explained(words: &str, reason: Reason) -> bool {
    match words.split(' ').next() {
        Some("verification") => reason == Reason::SctpTag,
        Some("do_basic_checks") => reason == Reason::SctpChunks,
        Some("Invalid,") => reason == Reason::SctpState,
        _ => true,
    }
}

#[test]
fn every_cell_is_as_the_kernel_has_it() {
    let text = std::fs::read_to_string("tests/kernel/sctp_states.txt").expect("the recording");
    let tunables = Tunables::default();
    let mut paths = BTreeMap::new();
    let (mut cells, mut wrong, mut covered) = (0, Vec::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("path ") {
            let (name, packets) = path.split_once(' ').unwrap_or((path, ""));
            let mut association = None;
            for packet in packets.split(' ').filter(|packet| !packet.is_empty()) {
                play(&mut association, packet, &tunables);
            }
            paths.insert(name.to_owned(), association);
        }
        let Some(cell) = line.strip_prefix("cell ") else { continue };
        let parts: Vec<&str> = cell.split(" | ").collect();
        let mut packets = parts[0].split(' ');
        let name = packets.next().expect("a path");
        let before = paths[name];
        for packet in packets {
            cells += 1;
            covered.insert((before.map_or(State::None, |known| known.state), packet.starts_with('>')));
            let mut after = before;
            let (verdict, reason) = play(&mut after, packet, &tunables);
            let ours = shown(before.as_ref(), after.as_ref(), packet);
            if verdict != parts[1] || ours != parts[2] || !explained(parts.get(3).unwrap_or(&""), reason) {
                wrong.push(format!(
                    "{name} {packet}: {}\n   ours: {verdict} | {ours} | {reason:?}",
                    parts[1..].join(" | ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cells} cells differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cells > 30_000, "only {cells} cells");
    // All nine states, NONE in one direction only.
    assert_eq!(covered.len(), 17, "{covered:?}");
}
