//! A capture as scenarios: its packets, rewritten onto the two sides of the router, at the times they had.
//!
//! Flows know nothing of each other, so each scenario has a few of them whole; `flows` says what belongs together, `rewrite`
//! gives a packet its new addresses.

mod flows;
mod rewrite;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

use conntab_cli::capture::{Capture, Frame};
use serde_json::{Value, json};

use crate::source::Source;
use flows::Flows;
use rewrite::{Addresses, Repaired};

/// The longest packet that fits through the router's interfaces, and what a segment that is longer is cut into.
const MTU: usize = 1600;

/// No more of one flow, and no more flows in one scenario: their table is read after each packet.
const MOST_PACKETS: usize = 20_000;
const MOST_FLOWS: usize = 16;

/// Scenarios with this many packets take no further flow.
const ENOUGH: usize = 400;

/// Longer silences are shortened to this, unless real time is asked for.
const LONGEST_WAIT: u64 = 1000;

/// A packet of the capture.
struct Packet {
    /// Milliseconds.
    time: u64,
    bytes: Vec<u8>,
}

/// What was passed over, and what was changed besides addresses.
#[derive(Default)]
pub struct Told {
    packets: usize,
    not_ip: usize,
    broken: usize,
    long: usize,
    beyond: usize,
    cut: usize,
    prolonged: usize,
    completed: usize,
    filled: usize,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { packets, not_ip, broken, long, beyond, cut, prolonged, completed, filled } = self;
        write!(f, "{packets} packets are played")?;
        for (count, what) in [
            (not_ip, "are not IP"),
            (broken, "have no whole header"),
            (long, "are too long for the router"),
            (beyond, "are left out: their flows are longer than 20000 packets"),
            (cut, "were segments as long as cards take them, and are played in pieces"),
            (prolonged, "were at their last hop, and have one more"),
            (completed, "have checksums that were left to a card, and are completed"),
            (filled, "were not captured whole: the rest is zeros, checksums are those of that"),
        ] {
            if *count > 0 {
                write!(f, "; {count} {what}")?;
            }
        }
        Ok(())
    }
}

/// Scenarios of a capture, made beforehand.
pub struct Played(VecDeque<Value>);

impl Source for Played {
    fn next(&mut self) -> io::Result<Option<Value>> {
        Ok(self.0.pop_front())
    }
}

/// Reads a capture whole. `real_time`: silences keep their length.
pub fn read(path: &Path, real_time: bool) -> io::Result<(Played, Told)> {
    let fails = |e: String| io::Error::other(format!("{}: {e}", path.display()));
    let mut capture = File::open(path)
        .map_err(|e| e.to_string())
        .and_then(|file| Capture::new(file).map_err(|e| e.to_string()))
        .map_err(fails)?;
    let (mut told, mut packets) = (Told::default(), Vec::new());
    loop {
        match capture.next() {
            Ok(Some(frame)) => take(&frame, &mut packets, &mut told),
            Ok(None) => break,
            Err(e) if e.is_loss_of_rest() && !packets.is_empty() => {
                eprintln!("{}: {e}; what came before it is played", path.display());
                break;
            }
            Err(e) => return Err(fails(e.to_string())),
        }
    }
    let name =
        path.file_stem().map_or_else(|| "capture".to_owned(), |name| name.to_string_lossy().into_owned());
    let scenarios = bundle(Flows::of(&packets), &mut told)
        .into_iter()
        .enumerate()
        .map(|(number, flows)| scenario(&format!("{name}-{number:04}"), &packets, &flows, real_time));
    let scenarios = scenarios.collect();
    Ok((Played(scenarios), told))
}

/// The packets of a frame.
fn take(frame: &Frame<'_>, packets: &mut Vec<Packet>, told: &mut Told) {
    let Ok(offset) = frame.link.ip_offset(frame.bytes) else {
        told.not_ip += 1;
        return;
    };
    let on_wire = (frame.wire_len as usize).saturating_sub(offset);
    let Some(repaired) = rewrite::whole(&frame.bytes[offset..], on_wire) else {
        told.broken += 1;
        return;
    };
    let Repaired { bytes, prolonged, completed, filled } = repaired;
    told.prolonged += usize::from(prolonged);
    told.completed += usize::from(completed);
    told.filled += usize::from(filled);
    let time = frame.time / 1_000_000;
    if bytes.len() <= MTU {
        packets.push(Packet { time, bytes });
    } else if let Some(pieces) = rewrite::pieces(&bytes) {
        told.cut += 1;
        packets.extend(pieces.into_iter().map(|bytes| Packet { time, bytes }));
    } else {
        told.long += 1;
    }
}

/// Puts flows together, so that their silences pass at the same time: places of packets, in order.
fn bundle(flows: Flows, told: &mut Told) -> Vec<Vec<Vec<usize>>> {
    let mut bundles: Vec<Vec<Vec<usize>>> = Vec::new();
    for mut flow in flows.0 {
        told.beyond += flow.len().saturating_sub(MOST_PACKETS);
        flow.truncate(MOST_PACKETS);
        told.packets += flow.len();
        match bundles.last_mut() {
            Some(last)
                if last.len() < MOST_FLOWS
                    && last.iter().map(Vec::len).sum::<usize>() + flow.len() <= ENOUGH =>
            {
                last.push(flow);
            }
            _ => bundles.push(vec![flow]),
        }
    }
    bundles
}

fn scenario(name: &str, packets: &[Packet], flows: &[Vec<usize>], real_time: bool) -> Value {
    let mut moved: Vec<(usize, usize, Vec<u8>)> = Vec::new();
    for (number, flow) in flows.iter().enumerate() {
        let mut addresses = Addresses::new(number);
        for place in flow {
            let mut bytes = packets[*place].bytes.clone();
            let side = addresses.rewrite(&mut bytes);
            moved.push((*place, side, bytes));
        }
    }
    moved.sort_by_key(|(place, ..)| *place);
    let mut steps = Vec::new();
    let mut last = None;
    for (place, side, bytes) in moved {
        let time = packets[place].time;
        let silence = time.saturating_sub(*last.get_or_insert(time));
        last = last.max(Some(time));
        let wait = if real_time { silence } else { silence.min(LONGEST_WAIT) };
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut step = json!({"in": side, "packet": hex});
        if wait > 0 {
            step["wait_ms"] = wait.into();
        }
        steps.push(step);
    }
    json!({"name": name, "about": "from a capture", "area": "capture", "config": {}, "steps": steps})
}
