//! The recorded kernel scenarios about TCP (tests/corpus), packet by packet: verdict, state, timeout, status, scale,
//! flags, counters, and which entries exist. CONNTAB_TCP_CORPUS names another directory of such scenarios.

mod tcp;

use conntab::reason::Reason;
use conntab::timeout::Tunables;
use conntab::tuple::Direction;
use conntab::wire::tcp::Segment;
use serde_json::Value;
use std::collections::BTreeMap;
use tcp::{Conn, Key, Table, explained, tune, unhex, with_options};

/// What the packet parser makes of a packet.
enum Parsed {
    /// The IP header is broken: such a packet never gets to the tracker.
    NotIp,
    /// The TCP header is broken, or the checksum wrong.
    Broken,
    Tcp(Key, Segment, u64),
}

fn word(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn half(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

fn sum(parts: &[&[u8]]) -> u16 {
    let mut total = 0u64;
    for part in parts {
        for pair in part.chunks(2) {
            total += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while total >> 16 != 0 {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// The least that reads these packets; `conntab::wire::parse` has tests of its own.
fn parse(b: &[u8], verify: bool) -> Parsed {
    let (src, dst, header, total, protocol) = match b[0] >> 4 {
        4 => {
            let header = usize::from(b[0] & 15) * 4;
            let total = usize::from(half(b, 2));
            if header < 20 || total < header || total > b.len() || sum(&[&b[..header]]) != 0xffff {
                return Parsed::NotIp;
            }
            (b[12..16].to_vec(), b[16..20].to_vec(), header, total, b[9])
        }
        6 => (b[8..24].to_vec(), b[24..40].to_vec(), 40, 40 + usize::from(half(b, 4)), b[6]),
        version => panic!("IP version {version}"),
    };
    assert_eq!(protocol, 6, "not TCP");
    let t = &b[header..total];
    if t.len() < 20 {
        return Parsed::Broken;
    }
    let offset = usize::from(t[12] >> 4) * 4;
    if offset < 20 || offset > t.len() {
        return Parsed::Broken;
    }
    let length = (t.len() as u32).to_be_bytes();
    if verify && sum(&[&src, &dst, &length, &[0, 6], t]) != 0xffff {
        return Parsed::Broken;
    }
    let segment = Segment {
        sport: half(t, 0),
        dport: half(t, 2),
        seq: word(t, 4),
        ack: word(t, 8),
        flags: t[13],
        window: half(t, 14),
        payload: (t.len() - offset) as u32,
        has_options: false,
        wscale: None,
        sack_permitted: false,
        sack_edge: None,
    };
    let key = (src, dst, segment.sport, segment.dport);
    Parsed::Tcp(key, with_options(segment, &t[20..offset]), total as u64)
}

fn address(a: &[u8]) -> String {
    if a.len() == 4 {
        a.iter().map(u8::to_string).collect::<Vec<_>>().join(".")
    } else {
        a.chunks(2).map(|p| format!("{:02x}{:02x}", p[0], p[1])).collect::<Vec<_>>().join(":")
    }
}

/// Our entry as the corpus writes it, but for the seconds left.
fn line(c: &Conn) -> String {
    let (src, dst) = (address(&c.key.0), address(&c.key.1));
    let (family, number) = if c.key.0.len() == 4 { ("ipv4", 2) } else { ("ipv6", 10) };
    let unreplied = if c.seen.reply { "" } else { "[UNREPLIED] " };
    let assured = if c.seen.assured { "[ASSURED] " } else { "" };
    let ([p, q], [b, d], [s, t], [f, g]) = (c.packets, c.bytes, c.scales(), c.flags());
    format!(
        "{family} {number} tcp 6 {} src={src} dst={dst} sport={} dport={} packets={p} bytes={b} {unreplied}\
         src={dst} dst={src} sport={} dport={} packets={q} bytes={d} {assured}mark=0 zone=0 ; \
         status=0x{:x} wscale={s}/{t} tcpflags=0x{f:02x}/0x{g:02x}",
        c.state.as_str(),
        c.key.2,
        c.key.3,
        c.key.3,
        c.key.2,
        c.status()
    )
}

fn set(tunables: &mut Tunables, sysctls: Option<&Value>) {
    for (name, value) in sysctls.and_then(Value::as_object).into_iter().flatten() {
        let short = name.strip_prefix("net.netfilter.nf_conntrack_").expect("a conntrack setting");
        let value = value.as_u64().expect("a number") as u32;
        assert!(tune(tunables, short, value), "unknown setting {name}");
    }
}

/// Plays a scenario; how many packets, and what differs.
fn play(scenario: &Value) -> (usize, Vec<String>) {
    let mut tunables = Tunables::default();
    set(&mut tunables, scenario["config"].get("sysctl"));
    let (mut table, mut packets, mut wrong) = (Table::default(), 0, Vec::new());
    let mut recorded: BTreeMap<String, u64> = BTreeMap::new();
    for (number, step) in scenario["steps"].as_array().expect("steps").iter().enumerate() {
        table.now += step["wait_ms"].as_u64().unwrap_or(0);
        set(&mut tunables, step.get("sysctl"));
        let mut check = |what: &str, ours: &str, theirs: &str| {
            if ours != theirs {
                wrong.push(format!("step {number}: {what}\n     ours {ours}\n   kernel {theirs}"));
            }
        };
        if let Some(packet) = step.get("packet") {
            packets += 1;
            let v = &step["verdict"];
            // Out of the other side, delivered here, or (source equals destination) back where it came from.
            let hex = packet.as_str().expect("hex");
            let came_back = |back: &Value| back.as_str().is_some_and(|b| b.get(24..) == hex.get(24..));
            let leaves = v["forwarded"] == true
                || v["local"] == true
                || v["back_packets"].as_array().is_some_and(|all| all.iter().any(came_back));
            let (state, direction, reason) = match parse(&unhex(hex), tunables.checksum != 0) {
                Parsed::NotIp => ("NONE", None, Reason::None),
                Parsed::Broken => ("INVALID", None, Reason::None),
                Parsed::Tcp(key, segment, len) => {
                    let verdict = table.track(&key, &segment, len, &tunables, leaves);
                    if let Some(words) = v["reason"].as_str()
                        && let (Some(reason), excess) = explained(words, &segment)
                    {
                        check("reason", verdict.reason.as_str(), reason.as_str());
                        if let Some(excess) = excess {
                            check("excess", &verdict.excess.to_string(), &excess.to_string());
                        }
                    }
                    (verdict.state, verdict.direction, verdict.reason)
                }
            };
            check("verdict", state, v["state"].as_str().expect("a state"));
            let direction = match direction {
                Some(Direction::Original) => "original",
                Some(Direction::Reply) => "reply",
                None => "none",
            };
            check("direction", direction, v["dir"].as_str().unwrap_or("none"));
            // A refusal by tcp_loose goes without words.
            assert!(
                reason == Reason::None
                    || v["reason"].is_string()
                    || matches!(reason, Reason::TcpMidstream | Reason::TcpSynAgain)
            );
        }
        let now = table.now;
        table.conns.retain(|c| c.expires > now);
        if let Some(lines) = step.get("table") {
            recorded.clear();
            for l in lines.as_array().expect("lines") {
                let mut words: Vec<&str> = l.as_str().expect("a line").split(' ').collect();
                let left = words.remove(4).parse().expect("seconds");
                recorded.insert(words.join(" "), left);
            }
        }
        let ours: BTreeMap<String, u64> =
            table.conns.iter().map(|c| (line(c), c.seconds_left(now))).collect();
        let keys = |m: &BTreeMap<String, u64>| m.keys().cloned().collect::<Vec<_>>().join("\n          ");
        check("table", &keys(&ours), &keys(&recorded));
        for (l, left) in &ours {
            if let Some(theirs) = recorded.get(l)
                && left.abs_diff(*theirs) > 1
            {
                check("seconds left", &left.to_string(), &theirs.to_string());
            }
        }
    }
    (packets, wrong)
}

#[test]
fn judges_every_scenario_as_the_kernel_does() {
    let (mut scenarios, mut packets, mut failed) = (0, 0, Vec::new());
    let directory = std::env::var("CONNTAB_TCP_CORPUS").unwrap_or_else(|_| "tests/corpus".to_owned());
    for entry in std::fs::read_dir(directory).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if !(name.starts_with("tcp-") || name.starts_with("expire-tcp-"))
            || path.extension().is_none_or(|e| e != "json")
        {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a scenario");
        let (n, wrong) = play(&serde_json::from_str(&text).expect("JSON"));
        scenarios += 1;
        packets += n;
        if !wrong.is_empty() {
            failed.push(format!("{name}:\n  {}", wrong.join("\n  ")));
        }
    }
    println!("{scenarios} scenarios, {packets} packets");
    assert!(failed.is_empty(), "{} of {scenarios} scenarios differ\n{}", failed.len(), failed.join("\n"));
    assert!(scenarios >= 101 && packets > 700, "{scenarios} scenarios, {packets} packets");
}
