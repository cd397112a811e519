//! Files that are no scenarios, and what is said to them.

use conntab_cli::trace::play;

const UDP: &str = "4500001d00004000401126cc0a0100010a0200010001003500097aa171";

fn refused(text: &str) -> String {
    match play(text.as_bytes(), 1_000_000) {
        Ok(_) => panic!("was played: {text}"),
        Err(problem) => problem.to_string(),
    }
}

#[test]
fn heads() {
    for (text, said) in [
        ("", "not JSON: EOF while parsing a value at line 1 column 0"),
        ("\u{feff}{}", "not JSON: expected value at line 1 column 1"),
        ("[]", "a scenario is an object, not []"),
        ("{}", "it has no steps"),
        (r#"{"steps": 3}"#, "steps is a list, not 3"),
        (r#"{"steps": [], "name": 3}"#, "name is a string, not 3"),
        (
            r#"{"steps": [], "speed": 3}"#,
            r#""speed" is not known; known are name, about, area, random, source, kernel, config, steps"#,
        ),
        (
            r#"{"steps": [], "a\nb": 3}"#,
            r#""a\nb" is not known; known are name, about, area, random, source, kernel, config, steps"#,
        ),
        (r#"{"steps": [], "config": []}"#, "config is an object, not []"),
        (
            r#"{"steps": [], "config": {"nft": "x"}}"#,
            "config.nft without config.host: rules are read from config.host",
        ),
        (r#"{"steps": [], "config": {"rules": []}}"#, r#""rules" is not known; known are sysctl, nft, host"#),
        (r#"{"steps": [], "config": {"sysctl": 1}}"#, "sysctl is an object, not 1"),
        (r#"{"steps": [7]}"#, "step 0: a step is an object, not 7"),
    ] {
        assert_eq!(refused(text), said, "{text}");
    }
    // However deep, however long.
    let deep = format!("{{\"steps\": {}", "[".repeat(100_000));
    assert!(refused(&deep).starts_with("not JSON: recursion limit exceeded"), "{}", refused(&deep));
    let long = format!("{{\"steps\": \"{}\"}}", "x".repeat(100_000));
    assert!(refused(&long).len() < 120, "{}", refused(&long));
}

#[test]
fn steps() {
    for (step, said) in [
        (r#"{"in": 7, "packet": "00"}"#, "in is a number from 0 to 1, not 7"),
        (r#"{"in": "0", "packet": "00"}"#, r#"in is a number from 0 to 1, not "0""#),
        (r#"{"in": 0}"#, "a side ('in'), but no packet"),
        (r#"{"packet": "00"}"#, "a packet, but not the side it comes in from ('in')"),
        (r#"{"in": 0, "packet": "0"}"#, r#"packet is an even number of hexadecimal digits, not "0""#),
        (r#"{"in": 0, "packet": "0g"}"#, r#"packet is an even number of hexadecimal digits, not "0g""#),
        (r#"{"in": 0, "packet": "ää"}"#, r#"packet is an even number of hexadecimal digits, not "ää""#),
        (r#"{"in": 0, "packet": "+1"}"#, r#"packet is an even number of hexadecimal digits, not "+1""#),
        (r#"{"in": 0, "packet": 45}"#, "packet is a string, not 45"),
        (r#"{"wait_ms": -1}"#, "wait_ms is a number from 0 to 1000000000000, not -1"),
        (r#"{"wait_ms": 1.5}"#, "wait_ms is a number from 0 to 1000000000000, not 1.5"),
        (
            r#"{"wait_ms": 18446744073709551615}"#,
            "wait_ms is a number from 0 to 1000000000000, not 18446744073709551615",
        ),
        (r#"{"wait_ms": 1e300}"#, "wait_ms is a number from 0 to 1000000000000, not 1e+300"),
        (
            r#"{"wait_ms": "ipv4 2 udp 17 30 src=10.1.0.1"}"#,
            r#"wait_ms is a number from 0 to 1000000000000, not "ipv4 2 udp 17 30 src=10.1.0.1""#,
        ),
        (r#"{"nft": "table inet user { }"}"#, "nft without host: rules are read from host"),
        (
            r#"{"pause": 1}"#,
            r#""pause" is not known; known are in, packet, wait_ms, note, sysctl, nft, host, t_ms, verdict, table, expect, events"#,
        ),
        (r#"{"sysctl": {"net.ipv4.ip_forward": 0}}"#, r#"sysctl "net.ipv4.ip_forward" is not known here"#),
        (
            r#"{"sysctl": {"net.netfilter.nf_conntrack_speed": 0}}"#,
            r#"sysctl "net.netfilter.nf_conntrack_speed" is not known here"#,
        ),
        (
            r#"{"sysctl": {"net.netfilter.nf_conntrack_nat_hooks": 1}}"#,
            r#"sysctl "net.netfilter.nf_conntrack_nat_hooks" is not known here"#,
        ),
        (
            r#"{"sysctl": {"net.netfilter.nf_conntrack_tcp_loose": 2}}"#,
            "tcp_loose is a number from 0 to 1, not 2",
        ),
        (
            r#"{"sysctl": {"net.netfilter.nf_conntrack_udp_timeout": "1"}}"#,
            r#"udp_timeout is a number from 0 to 1728000, not "1""#,
        ),
    ] {
        let text = format!(r#"{{"steps": [{{"in": 0, "packet": "{UDP}"}}, {step}]}}"#);
        assert_eq!(refused(&text), format!("step 1: {said}"), "{text}");
    }
    let long = format!(r#"{{"steps": [{{"in": 0, "packet": "{}"}}]}}"#, "00".repeat(1601));
    assert_eq!(refused(&long), "step 0: a packet of 1601 bytes does not fit: the MTU is 1600");
    let waits = r#"{"steps": [{"wait_ms": 600000000000}, {"wait_ms": 600000000000}]}"#;
    assert_eq!(refused(waits), "step 1: all waits together are no more than 1000000000000 ms");
}

#[test]
fn rules() {
    for (rule, said) in [
        ("7", "a rule is an object, not 7"),
        (r#"{"do": {"drop": true}}"#, "at is a string, not null"),
        (r#"{"at": "input", "do": {"drop": true}}"#, r#"at: "input" is not known"#),
        (r#"{"at": "srcnat", "do": {"snat": "10.0.0.1"}}"#, r#""srcnat" is not supported yet"#),
        (r#"{"at": "raw"}"#, "do is an object, not null"),
        (r#"{"at": "raw", "do": {}}"#, "it does nothing"),
        (r#"{"at": "raw", "do": {"drop": false}}"#, "drop can only be true, not false"),
        (r#"{"at": "raw", "do": {"accept": true}}"#, r#"action "accept" is not known"#),
        (r#"{"at": "mangle", "do": {"helper": "sip"}}"#, r#""helper sip" is not supported yet"#),
        (r#"{"at": "mangle", "do": {"expect": 1}}"#, "expect is an object, not 1"),
        (r#"{"at": "mangle", "do": {"expect": {}}}"#, "protocol is a string, not null"),
        (
            r#"{"at": "mangle", "do": {"expect": {"protocol": "udp", "timeout_s": 0, "size": 1, "dport": 1}}}"#,
            "expect: timeout_s and size are at least 1",
        ),
        (r#"{"at": "raw", "do": {"zone": 65536}}"#, "zone is a number from 0 to 65535, not 65536"),
        (
            r#"{"at": "mangle", "do": {"mark": "width"}}"#,
            r#"mark is a number from 0 to 4294967295, not "width""#,
        ),
        (r#"{"at": "forward", "do": {"reject": "loudly"}}"#, r#"reject: "loudly" is not known"#),
        (r#"{"at": "forward", "do": {"reject": 3}}"#, "reject is true or a name, not 3"),
        (r#"{"at": "mangle", "do": {"timeout": {}}}"#, "timeout: it names no state"),
        (r#"{"at": "mangle", "do": {"timeout": {"open": 3}}}"#, r#"timeout: state "open" is not known"#),
        (
            r#"{"at": "mangle", "do": {"timeout": {"close": 3, "replied": 3}}}"#,
            "timeout: its states are those of two protocols",
        ),
        (
            r#"{"at": "mangle", "do": {"timeout": {"close": 1728001}}}"#,
            "close is a number from 0 to 1728000, not 1728001",
        ),
        (r#"{"at": "raw", "if": [], "do": {"drop": true}}"#, "if is an object, not []"),
        (
            r#"{"at": "raw", "if": {"saddr": "10.0.0.1"}, "do": {"drop": true}}"#,
            r#"condition "saddr" is not known"#,
        ),
        (r#"{"at": "raw", "if": {"in": 2}, "do": {"drop": true}}"#, "in is a number from 0 to 1, not 2"),
        (
            r#"{"at": "raw", "if": {"family": "inet"}, "do": {"drop": true}}"#,
            r#"family is "ip" or "ip6", not "inet""#,
        ),
        (r#"{"at": "raw", "if": {"proto": "tpc"}, "do": {"drop": true}}"#, r#"proto: "tpc" is not known"#),
        (
            r#"{"at": "raw", "if": {"daddr": "10.0.0"}, "do": {"drop": true}}"#,
            r#"daddr is an address, not "10.0.0""#,
        ),
        (r#"{"at": "raw", "if": {"state": "NEW"}, "do": {"drop": true}}"#, r#"state is a list, not "NEW""#),
        (r#"{"at": "raw", "if": {"state": ["new"]}, "do": {"drop": true}}"#, r#"state: "new" is not known"#),
        (
            r#"{"at": "raw", "if": {"tcp_flags": {"of": "SX", "are": "S"}}, "do": {"drop": true}}"#,
            r#"tcp_flags: of is letters of FSRPAUEW, not "SX""#,
        ),
        (
            r#"{"at": "raw", "if": {"tcp_flags": {"of": "S"}}, "do": {"drop": true}}"#,
            "are is a string, not null",
        ),
    ] {
        let host = format!(r#"{{"rules": [{{"at": "raw", "do": {{"drop": true}}}}, {rule}]}}"#);
        let text = format!(r#"{{"config": {{"host": {host}}}, "steps": []}}"#);
        assert_eq!(refused(&text), format!("rule 1: {said}"), "{text}");
        let text = format!(r#"{{"steps": [{{"nft": "", "host": {host}}}]}}"#);
        assert_eq!(refused(&text), format!("step 0: rule 1: {said}"), "{text}");
    }
    for (host, said) in [
        ("[]", "host is an object, not []"),
        (r#"{"rules": {}}"#, "rules is a list, not {}"),
        (r#"{"nat_hooks": ["somewhere"]}"#, r#"nat_hooks: "somewhere" is not known"#),
        (r#"{"chains": []}"#, r#""chains" is not known; known are rules, nat_hooks"#),
    ] {
        let text = format!(r#"{{"config": {{"host": {host}}}, "steps": []}}"#);
        assert_eq!(refused(&text), said, "{text}");
    }
    let policy = r#"{"at": "mangle", "do": {"timeout": {"close": 3}}}"#;
    let text =
        format!(r#"{{"config": {{"host": {{"rules": [{}]}}}}, "steps": []}}"#, vec![policy; 256].join(","));
    assert_eq!(refused(&text), "more than 255 timeout policies");
}

/// What was seen is passed over, whatever it is; waits may be long, and written with a point.
#[test]
fn played_all_the_same() {
    let text = format!(
        r#"{{"steps": [{{"in": 0.0, "packet": "{UDP}", "verdict": 7, "table": {{}}, "events": "x", "expect": null, "t_ms": []}},
        {{"wait_ms": 29000.0}}, {{"wait_ms": 999999970000}}, {{"in": 1, "packet": ""}}]}}"#
    );
    let played: serde_json::Value =
        serde_json::from_str(&play(text.as_bytes(), u64::from(u32::MAX)).unwrap()).unwrap();
    let steps = played["steps"].as_array().unwrap();
    assert!(steps[1]["table"][0].as_str().unwrap().starts_with("ipv4 2 udp 17 1 src="), "{played:#}");
    assert_eq!(steps[2]["table"], serde_json::json!([]), "{played:#}");
    assert_eq!(steps[2]["t_ms"], 999_999_999_000_u64, "{played:#}");
    assert_eq!(steps[3]["verdict"]["state"], "NONE", "{played:#}");
}

/// Each step's table is recorded whole.
#[test]
fn no_recording_is_larger_than_memory() {
    // A flow each.
    let step = |n: u16| {
        format!(r#"{{"in": 0, "packet": "4500001c00004000401126cd0a0100010a020001{n:04x}003500080000"}}"#)
    };
    let steps: Vec<_> = (0..4000).map(step).collect();
    let text = format!(r#"{{"steps": [{}]}}"#, steps.join(","));
    let said = refused(&text);
    assert!(said.ends_with("all steps' tables together have more than 200000 lines"), "{said}");
}
