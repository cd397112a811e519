//! What a live kernel's helpers heard in payloads (the recorded scenarios of FTP and IRC), and what the parsers hear in them.
//! CONNTAB_PAYLOADS names another folder of recordings (`tests/kernel/helpers.py --seed N --count N` makes random scenarios).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use conntab::helper::{Announce, Heard, ftp, irc};
use conntab::tuple::{Direction, Tuple, addr};
use conntab::wire::{self, L4};
use serde_json::Value;

fn files() -> Vec<PathBuf> {
    let folders = match std::env::var("CONNTAB_PAYLOADS") {
        Ok(folder) => vec![folder],
        Err(_) => vec!["tests/corpus".to_owned(), "tests/recorded".to_owned()],
    };
    let mut files = Vec::new();
    for folder in folders {
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("a folder")
        {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|end| end == "json") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// The rules that attach helpers: name, protocol and port.
fn attached(scenario: &Value) -> Vec<(&str, u8, u16)> {
    let mut all = Vec::new();
    for rule in scenario["config"]["host"]["rules"].as_array().into_iter().flatten() {
        if let (Some(name), Some(port)) = (rule["do"]["helper"].as_str(), rule["if"]["dport"].as_u64()) {
            all.push((name, if rule["if"]["proto"] == "tcp" { 6 } else { 17 }, port as u16));
        }
    }
    all
}

/// Both tuples of each TCP connection in a recorded table.
fn connections(table: &[Value]) -> Vec<[Tuple; 2]> {
    let ends = |line: &str| {
        let fields = |name: &str| -> Vec<String> {
            let all = line.split(' ').filter_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            all.take(2).map(str::to_owned).collect()
        };
        let [src, dst, sport, dport] = ["src", "dst", "sport", "dport"].map(fields);
        let end = |address: &[String], port: &[String], n: usize| {
            (address[n].parse().expect("an address"), port[n].parse().expect("a port"))
        };
        [0, 1].map(|n| Tuple::new(6, end(&src, &sport, n), end(&dst, &dport, n)).expect("one family"))
    };
    table.iter().filter_map(Value::as_str).filter(|line| line.contains(" tcp ")).map(ends).collect()
}

/// What the kernel heard in the packet of a step.
enum Kernel {
    Nothing,
    Announced(Announce),
    /// It could not be expected, as others expect the same.
    Refused,
    Dropped,
}

fn kernel(step: &Value) -> Kernel {
    let reason = step["verdict"]["reason"].as_str().unwrap_or_default();
    let events = step["events"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut new = events.filter_map(|event| event.strip_prefix("EXP_NEW "));
    match new.next() {
        Some(event) => {
            assert_eq!(new.next(), None, "two at once");
            let (protocol, rest) = event.split_once(' ').expect("a protocol");
            let fields: HashMap<&str, &str> = rest.split(' ').filter_map(|f| f.split_once('=')).collect();
            let port = |name: &str| fields[name].parse::<u16>().expect("a port");
            let address = |name: &str| addr(fields[name].parse().expect("an address"));
            assert_eq!(port("sport"), 0);
            let from = address("src");
            Kernel::Announced(Announce {
                protocol: if protocol == "tcp" { 6 } else { 17 },
                from: (from != [0; 16]).then_some(from),
                to: address("dst"),
                port: port("dport"),
                class: 0,
            })
        }
        None if reason.contains("partial matching") => Kernel::Dropped,
        None if reason.contains("cannot add expectation") => Kernel::Refused,
        None => Kernel::Nothing,
    }
}

/// Differences, and how many packets were compared.
fn play(scenario: &Value) -> (Vec<String>, usize) {
    let helpers = attached(scenario);
    let mut memory: HashMap<Tuple, ftp::State> = HashMap::new();
    let (mut wrong, mut compared, mut table) = (Vec::new(), 0, Vec::new());
    for (number, step) in scenario["steps"].as_array().expect("steps").iter().enumerate() {
        if let Some(now) = step["table"].as_array() {
            table = connections(now);
        }
        let Some(packet) = step["packet"].as_str() else { continue };
        let verdict = &step["verdict"];
        let reason = verdict["reason"].as_str().unwrap_or_default();
        let passed = verdict["forwarded"].as_bool() == Some(true) || reason.contains("nf_ct_");
        let packet = unhex(packet);
        let Ok(headers) = wire::parse(&packet, packet.len() as u32) else { continue };
        let tuple = Tuple::of(&headers);
        if verdict["state"] == "NEW" {
            memory.remove(&tuple);
        }
        if verdict["state"] != "ESTABLISHED" || !passed {
            continue;
        }
        let direction = if verdict["dir"] == "original" { Direction::Original } else { Direction::Reply };
        let Some(&tuples) = table.iter().find(|tuples| tuples[direction as usize] == tuple) else { continue };
        let [original, _] = tuples;
        let payload = headers.payload(&packet);
        let is_attached = |helper: &&(&str, u8, u16)| (helper.1, helper.2) == (original.l4, original.dport);
        let Some((helper, ..)) = helpers.iter().find(is_attached).filter(|_| !payload.is_empty()) else {
            continue;
        };
        let L4::Tcp(segment) = headers.l4 else { continue };
        let heard = match *helper {
            "ftp" => {
                let state = memory.entry(original).or_default();
                ftp::hear(state, direction, &tuples, segment.seq, payload)
            }
            "irc" => irc::hear(direction, &tuples, payload),
            _ => continue,
        };
        compared += 1;
        let (right, theirs) = match kernel(step) {
            Kernel::Nothing => (heard == Heard::Nothing, "nothing".to_owned()),
            Kernel::Announced(theirs) => (heard == Heard::Announce(theirs), format!("{theirs:?}")),
            Kernel::Refused => (matches!(heard, Heard::Announce(_)), "something refused".to_owned()),
            Kernel::Dropped => (heard == Heard::Drop, "a drop".to_owned()),
        };
        if !right {
            let text = payload.escape_ascii();
            wrong.push(format!("step {number}: {text}\n    heard {heard:?}\n    kernel {theirs}"));
        }
    }
    (wrong, compared)
}

#[test]
fn the_parsers_hear_what_the_kernel_heard() {
    let (mut failures, mut all) = (Vec::new(), 0);
    for file in files() {
        let scenario: Value =
            serde_json::from_slice(&std::fs::read(&file).expect("a readable file")).expect("JSON");
        let (wrong, compared) = play(&scenario);
        all += compared;
        failures.extend(wrong.into_iter().map(|text| format!("{}: {text}", file.display())));
    }
    println!("{all} payloads compared");
    assert!(failures.is_empty(), "{} of {all}\n{}", failures.len(), failures.join("\n"));
    assert!(all > 30, "only {all}");
}
