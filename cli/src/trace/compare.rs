//! Two recorded forms of one scenario, compared in full: what became of each packet, the table and the events after
//! each step.
//!
//! Tolerated: a second more or less left; the step in which a DESTROY is seen; and what the router itself draws: in
//! packets of its own IPv4's identification and IPv6's flow label (a hash with a secret of the machine), in all that it sends
//! the identification of IPv6 fragments.

use serde_json::Value;

/// The router's own addresses, in hexadecimal; over IPv6 also those of its subnets' routers.
const OWN_V4: [&str; 2] = ["0aff0101", "0aff0201"];
const OWN_V6: [&str; 4] = [
    "fd0000ff000100000000000000000001",
    "fd0000ff000200000000000000000001",
    "fd0000ff000100000000000000000000",
    "fd0000ff000200000000000000000000",
];

/// A packet without what the router draws if it is its own.
fn plain(packet: &Value) -> String {
    let hex = packet.as_str().unwrap_or("null");
    let has = |at: usize, list: &[&str]| list.iter().any(|own| hex.get(at..at + own.len()) == Some(own));
    if hex.starts_with('4') && has(24, &OWN_V4) {
        return format!("{}****{}****{}", &hex[..8], &hex[12..20], &hex[24..]);
    }
    let mut hex = hex.to_owned();
    if hex.starts_with('6') && has(16, &OWN_V6) {
        hex.replace_range(3..8, "*****");
    }
    if let Some(at) = fragment_header(&hex) {
        hex.replace_range(at + 8..at + 16, "********");
    }
    hex
}

/// Where the fragment header of an IPv6 packet stands.
fn fragment_header(hex: &str) -> Option<usize> {
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let (mut next, mut at) = (hex.starts_with('6').then(|| byte(12))??, 80);
    while let 0 | 43 | 60 = next {
        (next, at) = (byte(at)?, at + (usize::from(byte(at + 2)?) + 1) * 16);
    }
    (next == 44 && hex.len() >= at + 16).then_some(at)
}

fn verdict(step: &Value) -> Value {
    let mut verdict = step["verdict"].clone();
    for name in ["out_packet", "out_packets", "back_packets"] {
        match verdict.get_mut(name) {
            Some(Value::Array(packets)) => {
                packets.iter_mut().for_each(|packet| *packet = plain(packet).into())
            }
            Some(packet @ Value::String(_)) => *packet = plain(packet).into(),
            _ => {}
        }
    }
    verdict
}

/// A line with its seconds taken out, and the seconds: the fifth word of the table's, the first of an expectation's.
fn without_seconds(line: &str) -> Option<(String, i64)> {
    let mut words: Vec<&str> = line.split(' ').collect();
    let place = if words.first().is_some_and(|word| word.starts_with("ipv")) { 4 } else { 0 };
    let seconds = (words.len() > place).then(|| words.remove(place))?.parse().ok()?;
    Some((words.join(" "), seconds))
}

/// The lines; those of expectations, which are sorted with their seconds, sorted without.
fn lines(value: &Value) -> Vec<&Value> {
    let mut lines: Vec<_> = value.as_array().into_iter().flatten().collect();
    let rest = |line: &Value| line.as_str().filter(|line| !line.starts_with("ipv")).and_then(without_seconds);
    lines.sort_by_cached_key(|line| rest(line).map(|(rest, _)| rest));
    lines
}

fn same_lines(a: &Value, b: &Value) -> bool {
    let (a, b) = (lines(a), lines(b));
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            let seconds = |line: &Value| line.as_str().and_then(without_seconds);
            match (seconds(a), seconds(b)) {
                (Some(a), Some(b)) => a.0 == b.0 && (a.1 - b.1).abs() <= 1,
                _ => *a == b,
            }
        })
}

/// Events: those that are DESTROY, or those that are not.
fn events(step: &Value, ends: bool) -> Vec<&str> {
    let all = step["events"].as_array().into_iter().flatten().filter_map(Value::as_str);
    all.filter(|event| event.contains("DESTROY") == ends).collect()
}

/// Compares two recorded forms of one scenario, the kernel's and ours: the first difference, if there is one.
pub fn difference(kernel: &Value, ours: &Value) -> Option<String> {
    let steps = |recorded: &Value| recorded["steps"].as_array().cloned().unwrap_or_default();
    let (k, o) = (steps(kernel), steps(ours));
    if k.len() != o.len() {
        return Some(format!("kernel {} steps, we {}", k.len(), o.len()));
    }
    let (mut tables, mut expected) = ([&Value::Null; 2], [&Value::Null; 2]);
    for (at, (x, y)) in k.iter().zip(&o).enumerate() {
        let differs =
            |what: &str, a: String, b: String| Some(format!("step {at}: {what}: kernel {a}\n  we {b}"));
        for (i, step) in [x, y].into_iter().enumerate() {
            tables[i] = step.get("table").unwrap_or(tables[i]);
            expected[i] = step.get("expect").unwrap_or(expected[i]);
        }
        if verdict(x) != verdict(y) {
            return differs("verdict", verdict(x).to_string(), verdict(y).to_string());
        }
        for (what, [a, b]) in [("table", tables), ("expect", expected)] {
            if !same_lines(a, b) {
                return differs(what, format!("{a:#}"), format!("{b:#}"));
            }
        }
        let (a, b) = (events(x, false), events(y, false));
        if a != b {
            return differs("events", format!("{a:#?}"), format!("{b:#?}"));
        }
    }
    let ended = |steps: &[Value]| {
        let mut all: Vec<_> = steps.iter().flat_map(|s| events(s, true)).map(str::to_owned).collect();
        all.sort();
        all
    };
    let (a, b) = (ended(&k), ended(&o));
    (a != b).then(|| format!("ends: kernel {a:#?}\n  we {b:#?}"))
}

#[cfg(test)]
#[test]
fn what_differs_is_seen() {
    let made = |table: &str, events: &str, out: &str, expect: &str| -> Value {
        let text = format!(
            r#"{{"steps": [{{"verdict": {{"state": "NEW", "out_packet": "{out}"}}, "table": ["{table}"], "events": [{events}], "expect": ["{expect}"]}}]}}"#
        );
        serde_json::from_str(&text).expect("JSON")
    };
    let step =
        |table: &str, events: &str, out: &str| made(table, events, out, "300 l3proto = 2 proto=17 tftp");
    let own = |id: &str| format!("45c00039{id}000040010000{}0a0100010303", OWN_V4[0]);
    let line = |seconds: u32| format!("ipv4 2 udp 17 {seconds} src=10.1.0.1");
    let kernel = step(&line(30), r#""NEW a", "DESTROY b""#, &own("1111"));
    let same = step(&line(29), r#""DESTROY b", "NEW a""#, &own("2222"));
    assert_eq!(difference(&kernel, &same), None);
    let expects = |expect| made(&line(30), r#""NEW a", "DESTROY b""#, &own("1111"), expect);
    assert_eq!(difference(&kernel, &expects("299 l3proto = 2 proto=17 tftp")), None);
    let v6 =
        |id: &str, kind: &str| format!("60000000001000ff{}2c00000000000000{kind}0001{id}", "00".repeat(32));
    let pieces = |id, kind| step(&line(30), "", &v6(id, kind));
    assert_eq!(difference(&pieces("00000001", "1100"), &pieces("00000009", "1100")), None);
    assert!(difference(&pieces("00000001", "1100"), &pieces("00000009", "0600")).is_some());
    for (other, what) in [
        (step(&line(28), r#""NEW a", "DESTROY b""#, &own("1111")), "table"),
        (step(&line(30).replace("udp", "tcp"), r#""NEW a", "DESTROY b""#, &own("1111")), "table"),
        (step(&line(30), r#""DESTROY b""#, &own("1111")), "events"),
        (step(&line(30), r#""NEW a""#, &own("1111")), "ends"),
        (step(&line(30), r#""NEW a", "DESTROY b""#, &own("1111").replace("0303", "0301")), "verdict"),
        (expects("298 l3proto = 2 proto=17 tftp"), "expect"),
        (expects("300 l3proto = 2 proto=17 ftp"), "expect"),
        // Another's identification is its own.
        (step(&line(30), r#""NEW a", "DESTROY b""#, &own("1111").replace("0aff0101", "0a010001")), "verdict"),
        (step(&line(30), r#""NEW a", "DESTROY b""#, &v6("00000009", "1100")), "verdict"),
    ] {
        let difference = difference(&kernel, &other).unwrap_or_default();
        assert!(difference.contains(what), "{what}: {difference}");
    }
}
