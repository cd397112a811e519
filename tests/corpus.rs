//! What a live kernel decided, packet for packet (`tests/corpus`, and `tests/recorded` of our own), against the packet path: verdict, direction, the
//! table with every counter, status bit and timeout, after every step.
//!
//! The router around the table is not played here: whether a packet left it, and so was confirmed, is read from the
//! recording. Nor are its rules but those that speak to the tracker (notrack, zones, marks).

use std::collections::BTreeMap;
use std::path::Path;

use conntab::connection::Tracked;
use conntab::{Config, Connection, CtState, Packet, Table, packet};
use serde_json::Value;

/// Scenarios that are not compared, and why.
const EXCEPTIONS: &[(&str, &str)] =
    &[("ct-timeout-policy", "per-flow timeout policies come with the policy work")];

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex")).collect()
}

/// A connection as the corpus writes it: the line of `/proc/net/nf_conntrack` without `use=` and with single spaces, then
/// what that file does not show.
fn line(connection: &Connection) -> String {
    let text = connection.to_string();
    let text = text.rsplit_once(" use=").expect("use= is last").0;
    let text = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let text = match connection.tracked {
        Tracked::Gre(timeout, stream) => {
            text.replace(&format!("timeout={timeout}, stream_timeout={stream} "), "")
        }
        _ => text,
    };
    let mut line = format!("{text} ; status=0x{:x}", connection.status);
    if let Tracked::Tcp(_, Some(record)) = connection.tracked {
        let [a, b] = record.ends;
        line += &format!(" wscale={}/{} tcpflags=0x{:02x}/0x{:02x}", a.scale, b.scale, a.flags, b.flags);
    }
    line
}

/// A line with its seconds taken out, and the seconds.
fn without_seconds(line: &str) -> (String, i64) {
    let mut words: Vec<&str> = line.split(' ').collect();
    let seconds = words.remove(4).parse().expect("seconds");
    (words.join(" "), seconds)
}

fn same(ours: &[String], kernels: &[String]) -> bool {
    let keyed = |lines: &[String]| {
        let mut lines: Vec<_> = lines.iter().map(|line| without_seconds(line)).collect();
        lines.sort();
        lines
    };
    let (ours, kernels) = (keyed(ours), keyed(kernels));
    ours.len() == kernels.len()
        && ours.iter().zip(&kernels).all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() <= 1)
}

struct Player {
    table: Table,
    worker: conntab::Worker,
    rules: Vec<Value>,
}

impl Player {
    fn new(config: &Value) -> Self {
        let table = Table::new(Config { max: 1024, acct: true, prefault: false, ..Config::default() })
            .expect("a small table");
        let worker = table.worker().expect("the first worker");
        let host = &config["host"];
        let rules = host["rules"].as_array().cloned().unwrap_or_default();
        let mut player = Self { table, worker, rules };
        player.set(&config["sysctl"]);
        player
    }

    fn set(&mut self, settings: &Value) {
        for (name, value) in settings.as_object().into_iter().flatten() {
            let name = name.strip_prefix("net.netfilter.nf_conntrack_").expect("a conntrack sysctl");
            if name != "log_invalid" {
                let value = value.as_u64().expect("a number") as u32;
                self.table.set(name, value).unwrap_or_else(|e| panic!("{name}: {e}"));
            }
        }
    }

    /// Whether a rule's conditions hold. Only those that the scenarios in question use.
    fn holds(rule: &Value, side: u64, packet: &[u8], state: Option<CtState>) -> bool {
        rule["if"].as_object().into_iter().flatten().all(|(name, value)| {
            let v4 = packet[0] >> 4 == 4;
            let (protocol, transport) =
                if v4 { (packet[9], usize::from(packet[0] & 15) * 4) } else { (packet[6], 40) };
            let port = |at: usize| {
                u64::from(u16::from_be_bytes([packet[transport + at], packet[transport + at + 1]]))
            };
            match name.as_str() {
                "state" => {
                    let names = value.as_array().expect("a list");
                    state.is_some_and(|state| names.iter().any(|name| name == state.as_str()))
                }
                "length_over" => value.as_u64().expect("bytes") < packet.len() as u64,
                "in" => value.as_u64() == Some(side),
                "family" => value == if v4 { "ip" } else { "ip6" },
                "proto" => {
                    let number = match value.as_str() {
                        Some("tcp") => 6,
                        Some("udp") => 17,
                        Some("icmp") => 1,
                        other => panic!("protocol {other:?}"),
                    };
                    protocol == number
                }
                "sport" => value.as_u64() == Some(port(0)),
                "dport" => value.as_u64() == Some(port(2)),
                "dscp" => value.as_u64() == Some(u64::from(packet[1] >> 2)),
                other => panic!("condition {other}"),
            }
        })
    }

    fn play(&mut self, now: u64, side: u64, bytes: &[u8], seen: &Value) -> (String, Value) {
        let mut input = Packet::new(bytes);
        for rule in
            self.rules.iter().filter(|rule| rule["at"] == "raw" && Self::holds(rule, side, bytes, None))
        {
            let zone = |name: &str| rule["do"][name].as_u64().map(|zone| zone as u16);
            if rule["do"]["notrack"].as_bool() == Some(true) {
                input.flags |= packet::packet_flag::NOTRACK;
            }
            if let Some(zone) = zone("zone") {
                (input.zone_orig, input.zone_reply) = (zone, zone);
            }
            if let Some(zone) = zone("zone_orig") {
                input.zone_orig = zone;
            }
        }
        let mut verdicts = [packet::Verdict::default()];
        assert_eq!(self.worker.track(now, &[input], &mut verdicts), 1);
        let [mut verdict] = verdicts;
        let judged = verdict;
        for rule in self
            .rules
            .clone()
            .iter()
            .filter(|r| r["at"] == "mangle" && Self::holds(r, side, bytes, Some(judged.state)))
        {
            let length = bytes.len() as u64;
            let number = |v: &Value| if v == "length" { length } else { v.as_u64().unwrap_or(0) } as u32;
            let marked = match (rule["do"].get("mark"), rule["do"].get("mark_or")) {
                (Some(mark), _) => number(mark),
                (_, Some(mark)) => verdict.mark | number(mark),
                _ => panic!("rule {rule}"),
            };
            if !verdict.conn.is_none() && verdict.state != CtState::Related {
                assert!(self.worker.set_mark(verdict.conn, marked));
                verdict.mark = marked;
            }
        }
        // The packet itself comes back where the route leads back.
        let addresses =
            |packet: &[u8]| packet.get(if packet[0] >> 4 == 4 { 12..20 } else { 8..40 }).map(<[u8]>::to_vec);
        let (back, own): (Vec<_>, Vec<_>) = seen["back_packets"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|back| bytes_of(back.as_str().expect("hex")))
            .partition(|back| addresses(back) == addresses(bytes));
        let left = seen["forwarded"] == true || seen["local"] == true || !back.is_empty();
        let mut verdicts = [verdict];
        self.worker.confirm(now, &mut verdicts, u64::from(left));
        assert_ne!(verdicts[0].state, CtState::Drop, "{:?}", verdicts[0]);
        // What the router itself sent in answer.
        for answer in own {
            let mut input = Packet::new(&answer);
            input.hook = packet::Hook::Output;
            let mut verdicts = [packet::Verdict::default()];
            self.worker.track(now, &[input], &mut verdicts);
            self.worker.confirm(now, &mut verdicts, 1);
        }
        let dir = match judged.direction() {
            Some(conntab::tuple::Direction::Original) => Value::from("original"),
            Some(conntab::tuple::Direction::Reply) => Value::from("reply"),
            None => Value::Null,
        };
        (judged.state.as_str().to_owned(), dir)
    }
}

/// The first difference, if there is one. `origin`: the clock when the scenario begins.
fn differs(scenario: &Value, origin: u64) -> Option<String> {
    let mut player = Player::new(&scenario["config"]);
    let mut now = origin;
    let mut expected: Vec<String> = Vec::new();
    for (at, step) in scenario["steps"].as_array().expect("steps").iter().enumerate() {
        now += step["wait_ms"].as_u64().unwrap_or(0);
        player.set(&step["sysctl"]);
        if let Some(hex) = step["packet"].as_str() {
            let seen = &step["verdict"];
            // NONE: the router's IP layer threw it away before it came to be tracked.
            if seen["state"] != "NONE" {
                let got = player.play(now, step["in"].as_u64().expect("a side"), &bytes_of(hex), seen);
                if seen["state"] != got.0.as_str() || seen["dir"] != got.1 {
                    return Some(format!("step {at}: kernel {} {}, we {got:?}", seen["state"], seen["dir"]));
                }
            }
        }
        if let Some(table) = step["table"].as_array() {
            expected = table.iter().map(|line| line.as_str().expect("a line").to_owned()).collect();
        }
        let ours: Vec<String> = player.table.dump(now).map(|c| line(&c)).collect();
        if !same(&ours, &expected) {
            return Some(format!("step {at}: kernel {expected:#?}, we {ours:#?}"));
        }
    }
    None
}

#[test]
fn every_scenario_ends_as_in_the_kernel() {
    // Another folder than ours, to find what differs: all that cannot be played here is passed over.
    let elsewhere = std::env::var_os("CONNTAB_CORPUS");
    let folders = elsewhere.as_ref().map_or_else(
        || ["tests/corpus", "tests/recorded"].map(|f| Path::new(env!("CARGO_MANIFEST_DIR")).join(f)).to_vec(),
        |folder| vec![Path::new(folder).to_owned()],
    );
    let mut counts: BTreeMap<String, [u32; 2]> = BTreeMap::new();
    let mut failures = Vec::new();
    let mut files: Vec<_> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).expect("the corpus"))
        .map(|f| f.expect("a file").path())
        .collect();
    files.sort();
    for file in files {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        if EXCEPTIONS.iter().any(|(exception, _)| *exception == name) {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let scenario: Value = serde_json::from_str(&text).expect("JSON");
        let nat = scenario["config"]["host"]["nat_hooks"].as_array().is_some_and(|hooks| !hooks.is_empty());
        if nat && elsewhere.is_some() {
            continue;
        }
        assert!(!nat, "{name}: NAT is not played here");
        let count = counts.entry(scenario["area"].as_str().expect("an area").to_owned()).or_default();
        count[0] += 1;
        // Once from an ordinary time, once across the wrap of the 32-bit tick.
        for origin in [1_000_000, (1 << 32) - 700] {
            let difference = std::panic::catch_unwind(|| differs(&scenario, origin))
                .unwrap_or_else(|panic| Some(format!("panic {:?}", panic.downcast_ref::<String>())));
            if let Some(difference) = difference {
                count[1] += 1;
                failures.push(format!("{name} (from {origin}): {difference}"));
                break;
            }
        }
    }
    println!("area: scenarios, differing: {counts:?}");
    assert!(failures.is_empty(), "{} differ\n{}", failures.len(), failures.join("\n"));
    assert!(elsewhere.is_some() || counts.values().map(|c| c[0]).sum::<u32>() > 140, "{counts:?}");
}
