//! The command as a whole: what it prints, where, and with which status.

mod common;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use common::*;
use serde_json::Value;

const CLIENT: ([u8; 4], u16) = ([192, 0, 2, 1], 1000);
const SERVER: ([u8; 4], u16) = ([203, 0, 113, 9], 53);
const DAY: u32 = 86_400;

fn conntab(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conntab")).args(args).stdin(Stdio::null()).output().unwrap()
}

fn replay(file: &TempFile, args: &[&str]) -> Output {
    conntab(&[&["replay", file.0.to_str().unwrap()], args].concat())
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The table that is printed, each line without its use count.
fn table(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output).lines().map(|line| line.rsplit_once(" use=").unwrap().0.to_owned()).collect()
}

/// A capture of raw IP packets at these seconds.
fn capture(packets: &[(u32, Vec<u8>)]) -> TempFile {
    let mut file = pcap_header(Order::Little, MICRO, 101);
    for (seconds, packet) in packets {
        pcap_record(&mut file, Order::Little, *seconds, 0, packet);
    }
    TempFile::new("a.pcap", &file)
}

/// SYN, SYN/ACK, ACK in the seconds 100, 101, 102.
fn handshake() -> Vec<(u32, Vec<u8>)> {
    let (client, server) = (([192, 0, 2, 1], 1000), ([203, 0, 113, 9], 80));
    vec![
        (100, tcp(client, server, 0x02, 1000, 0)),
        (101, tcp(server, client, 0x12, 5000, 1001)),
        (102, tcp(client, server, 0x10, 1001, 5001)),
    ]
}

fn fails(output: &Output, status: i32, message: &str) {
    assert_eq!(output.status.code(), Some(status), "{}", stderr(output));
    assert!(stderr(output).contains(message), "{message:?} is not in {:?}", stderr(output));
    assert_eq!(stdout(output), "");
    if status == 1 {
        assert_eq!(stderr(output).lines().count(), 1, "{:?}", stderr(output));
    }
}

#[test]
fn usage_errors() {
    for (args, message) in [
        (&["replay"][..], "<FILE>"),
        (&["rewind"], "rewind"),
        (&["replay", "f", "--set", "tcp_timeout_forever=1"], "no tunable is called 'tcp_timeout_forever'"),
        (&["replay", "f", "--set", "tcp_loose"], "expected NAME=VALUE"),
        (&["replay", "f", "--set", "tcp_loose=2"], "tcp_loose = 2: it must be from 0 to 1"),
        (&["replay", "f", "--set", "udp_timeout=soon"], "'soon' is not a number"),
        (&["replay", "f", "--set", "udp_timeout=-1"], "'-1' is not a number"),
        (&["replay", "f", "--at", "yesterday"], "expected seconds since the epoch"),
        (&["replay", "f", "--at", "2026-02-30T00:00:00Z"], "expected seconds since the epoch"),
        (&["replay", "f", "--max", "63"], "63 is not in 64..=268435456"),
        (&["replay", "f", "--max", "many"], "many"),
        (&["replay", "f", "-o", "xml"], "xml"),
        (&["replay", "f", "g"], "unexpected argument"),
    ] {
        fails(&conntab(args), 2, message);
    }
    assert_eq!(conntab(&[]).status.code(), Some(2));
}

#[test]
fn help_is_a_manual() {
    let help = conntab(&["replay", "--help"]);
    assert!(help.status.success());
    for part in [
        "pcapng",
        "--verdicts",
        "--events",
        "--at <TIME>",
        "Exit status",
        "tcp_timeout_established=432000",
        "checksum=0",
    ] {
        assert!(stdout(&help).contains(part), "{part}");
    }
}

#[test]
fn files_that_cannot_be_played() {
    fails(
        &conntab(&["replay", "/nonexistent.pcap"]),
        1,
        "conntab: /nonexistent.pcap: No such file or directory",
    );
    fails(&conntab(&["replay", "/"]), 1, "Is a directory");
    let file = |contents: &[u8]| TempFile::new("bad", contents);
    fails(&replay(&file(b""), &[]), 1, "the file is empty");
    fails(&replay(&file(b"#!/bin/sh\nexit 0 # not a capture"), &[]), 1, "not a capture");
    fails(&replay(&file(&pcap_header(Order::Big, NANO, 105)), &[]), 1, "link type 105 is not supported");
    let header = pcap_header(Order::Little, MICRO, 1);
    fails(&replay(&file(&header[..20]), &[]), 1, "the file header at byte 0 is incomplete");
    // A record of which nothing can be used.
    let mut one = header;
    pcap_record(&mut one, Order::Little, 1, 0, &[0; 60]);
    fails(&replay(&file(&one[..80]), &[]), 1, "cut short: the record at byte 24 is incomplete");
}

#[test]
fn a_capture_without_packets_is_an_empty_table() {
    let output = replay(&capture(&[]), &[]);
    assert!(output.status.success());
    assert_eq!(stdout(&output), "");
    assert!(stderr(&output).starts_with("packets      0 "));
}

#[test]
fn a_connection_in_the_kernels_words() {
    let file = capture(&handshake());
    assert_eq!(
        table(&replay(&file, &[])),
        [
            "ipv4     2 tcp      6 432000 ESTABLISHED src=192.0.2.1 dst=203.0.113.9 sport=1000 dport=80 packets=2 \
          bytes=80 src=203.0.113.9 dst=192.0.2.1 sport=80 dport=1000 packets=1 bytes=40 [ASSURED] mark=0 zone=0"
        ]
    );
    let line = &table(&replay(&file, &["--no-acct", "--set", "tcp_timeout_established=60"]))[0];
    assert!(line.starts_with("ipv4     2 tcp      6 60 ESTABLISHED "), "{line}");
    assert!(!line.contains("packets="), "{line}");
}

#[test]
fn at_cuts_and_sets_the_clock() {
    let file = capture(&handshake());
    let state = |at: &str| {
        let lines = table(&replay(&file, &["--at", at]));
        lines.first().map(|line| line.split_ascii_whitespace().skip(4).take(2).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(state("99"), None);
    assert_eq!(state("100"), Some("120 SYN_SENT".to_owned()));
    assert_eq!(state("100.5"), Some("119 SYN_SENT".to_owned()));
    assert_eq!(state("1970-01-01T00:01:41Z"), Some("60 SYN_RECV".to_owned()));
    assert_eq!(state("102"), Some("432000 ESTABLISHED".to_owned()));
    assert_eq!(state("202"), Some("431900 ESTABLISHED".to_owned()));
    assert_eq!(state("432101"), Some("1 ESTABLISHED".to_owned()));
    assert_eq!(state("432102"), None);
    // Long after everything, and beyond every wrap of the table's clock.
    assert_eq!(state("4000000000"), None);
}

#[test]
fn gaps_of_days_and_years_pass() {
    let (client, server) = (([192, 0, 2, 1], 1000), ([203, 0, 113, 9], 80));
    for gap in [1, 4, 6, 20, 25, 30, 49, 50, 75, 99, 100, 365, 10_000] {
        let mut packets = handshake();
        packets.push((102 + gap * DAY, udp(CLIENT, SERVER)));
        let lines = table(&replay(&capture(&packets), &[]));
        let survives = gap < 5;
        assert_eq!(lines.len(), 1 + usize::from(survives), "{gap} days: {lines:?}");
        // The connection is gone: a segment of it begins another one, in mid-stream.
        packets[3].1 = tcp(server, client, 0x10, 5001, 1001);
        let line = &table(&replay(&capture(&packets), &[]))[0];
        assert_eq!(
            line.contains("src=192.0.2.1 dst=203.0.113.9 sport=1000 dport=80 packets=2"),
            survives,
            "{gap}: {line}"
        );
    }
}

#[test]
fn a_clock_that_goes_back_is_held() {
    let packets = [(1000, udp(CLIENT, SERVER)), (10, udp(SERVER, CLIENT)), (1001, udp(CLIENT, SERVER))];
    let output = replay(&capture(&packets), &[]);
    assert_eq!(table(&output).len(), 1);
    assert!(stderr(&output).contains("1 behind the latest time"), "{}", stderr(&output));
}

#[test]
fn the_answer_meets_its_question_whatever_the_distance() {
    // All in one millisecond: they are still judged one after the other.
    let packets: Vec<_> =
        (0..200).map(|n| (5, if n % 2 == 0 { udp(CLIENT, SERVER) } else { udp(SERVER, CLIENT) })).collect();
    let lines = table(&replay(&capture(&packets), &[]));
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("packets=100") && !lines[0].contains("UNREPLIED"), "{}", lines[0]);
}

#[test]
fn verdicts() {
    let mut packets = handshake();
    packets.push((103, udp(CLIENT, SERVER)));
    packets.push((104, vec![0x45, 0]));
    let output = replay(&capture(&packets), &["--verdicts"]);
    let lines: Vec<&str> = stdout(&output).lines().collect();
    let tcp_line = "src=192.0.2.1 dst=203.0.113.9 sport=1000 dport=80";
    assert_eq!(lines[0], format!("100.000000000 NEW         original -                      tcp {tcp_line}"));
    assert_eq!(
        lines[1],
        "101.000000000 ESTABLISHED reply    -                      tcp src=203.0.113.9 dst=192.0.2.1 sport=80 dport=1000"
    );
    assert_eq!(lines[2], format!("102.000000000 ESTABLISHED original -                      tcp {tcp_line}"));
    assert_eq!(lines[4], "104.000000000 INVALID     -        ip-truncated           -");
    assert_eq!(lines.len(), 5 + 2);
    assert!(stderr(&output).contains("invalid      1 ip-truncated"), "{}", stderr(&output));
}

#[test]
fn frames_without_ip_have_a_line_and_no_verdict() {
    let mut file = pcap_header(Order::Little, MICRO, 1);
    let mut arp = vec![0xff; 12];
    arp.extend([0x08, 0x06]);
    arp.resize(60, 0);
    pcap_record(&mut file, Order::Little, 7, 0, &arp);
    pcap_record(&mut file, Order::Little, 8, 0, &ethernet(&udp(CLIENT, SERVER)));
    let output = replay(&TempFile::new("arp.pcap", &file), &["--verdicts"]);
    let first = stdout(&output).lines().next().unwrap();
    assert_eq!(first, "7.000000000 -           -        link-not-ip            -");
    assert!(stderr(&output).contains("1 without IP"), "{}", stderr(&output));
}

#[test]
fn json_is_lines_and_one_object() {
    let mut packets = handshake();
    packets.push((103, ipv4(1, CLIENT.0, SERVER.0, &[8, 0, 0, 0, 0, 7, 0, 1])));
    let output = replay(&capture(&packets), &["--verdicts", "-o", "json"]);
    let (verdicts, rest) = stdout(&output).split_at(stdout(&output).find("{\"connections\"").unwrap());
    let verdicts: Vec<Value> = verdicts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verdicts.len(), 4);
    assert_eq!(verdicts[1]["verdict"], "ESTABLISHED");
    assert_eq!(verdicts[1]["direction"], "reply");
    assert_eq!(verdicts[1]["reason"], Value::Null);
    assert_eq!(verdicts[1]["time"], 101.0);
    assert_eq!(verdicts[1]["sport"], 80);
    assert_eq!(verdicts[3]["type"], 8);
    assert_eq!(verdicts[3]["id"], 7);
    let object: Value = serde_json::from_str(rest).unwrap();
    let connections = object["connections"].as_array().unwrap();
    // Sorted: icmp is 1, tcp is 6.
    assert_eq!(connections[0]["protocol"], "icmp");
    assert_eq!(connections[0]["replied"], false);
    let tcp = &connections[1];
    assert_eq!(tcp["state"], "ESTABLISHED");
    assert_eq!(tcp["assured"], true);
    assert_eq!(tcp["timeout_ms"], 431_999_000);
    assert_eq!(tcp["original"]["src"], "192.0.2.1");
    assert_eq!(tcp["original"]["packets"], 2);
    assert_eq!(tcp["reply"]["dport"], 1000);
    assert_eq!(object["summary"]["packets"], 4);
    assert_eq!(object["summary"]["verdicts"]["established"], 2);
    assert_eq!(object["summary"]["connections"], 2);
    assert_eq!(object["summary"]["incomplete"], Value::Null);
    let empty = replay(&capture(&[]), &["-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(stdout(&empty)).unwrap()["connections"], Value::Array(vec![]));
}

#[test]
fn a_damaged_capture_is_used_as_far_as_it_goes() {
    let file = capture(&handshake());
    let whole = std::fs::read(&file.0).unwrap();
    let cut = TempFile::new("cut.pcap", &whole[..whole.len() - 1]);
    let output = replay(&cut, &[]);
    assert!(table(&output)[0].contains(" SYN_RECV "));
    let warning = stderr(&output).lines().next().unwrap();
    assert!(warning.ends_with(
        "cut short: the record at byte 136 is incomplete; what came before it was used (2 packets)"
    ));
    let json = replay(&cut, &["-o", "json", "-q"]);
    let object: Value = serde_json::from_str(stdout(&json)).unwrap();
    assert_eq!(object["summary"]["incomplete"], "cut short: the record at byte 136 is incomplete");
    assert_eq!(stderr(&json).lines().count(), 1);
}

#[test]
fn checksums_are_judged_only_if_asked() {
    let file = capture(&handshake());
    for (args, invalid) in [
        (&[][..], 0),
        (&["--checksum"], 3),
        (&["--set", "checksum=1"], 3),
        (&["--set", "net.netfilter.nf_conntrack_checksum=1"], 3),
        (&["--checksum", "--set", "nf_conntrack_checksum=0"], 0),
    ] {
        let output = replay(&file, args);
        assert!(stderr(&output).contains(&format!(" invalid {invalid} ")), "{args:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).contains("invalid      3 checksum"), invalid == 3);
    }
}

#[test]
fn standard_input() {
    let file = capture(&handshake());
    let bytes = std::fs::read(&file.0).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_conntab"))
        .args(["replay", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert_eq!(table(&child.wait_with_output().unwrap()).len(), 1);
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let packets: Vec<_> = (0..20_000).map(|n| (n / 1000, udp((CLIENT.0, n as u16), SERVER))).collect();
    let file = capture(&packets);
    let mut child = Command::new(env!("CARGO_BIN_EXE_conntab"))
        .args(["replay", "--verdicts", file.0.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(stderr(&output), "");
}

#[test]
fn output_is_the_same_every_time() {
    let packets: Vec<_> =
        (0..3000).map(|n| (n / 100, udp(([192, 0, 2, n as u8], n as u16), SERVER))).collect();
    let file = capture(&packets);
    let [first, second] = [(); 2].map(|()| replay(&file, &["--verdicts", "-q"]).stdout);
    assert_eq!(first, second);
    assert_eq!(first.iter().filter(|b| **b == b'\n').count(), 6000);
}

/// What `--events` prints before the table.
fn events(output: &Output) -> Vec<&str> {
    assert!(output.status.success(), "{}", stderr(output));
    stdout(output).lines().take_while(|line| !line.starts_with("ipv")).collect()
}

#[test]
fn events_as_conntrack_prints_them() {
    let mut packets = handshake();
    packets.insert(0, (99, udp(CLIENT, SERVER)));
    packets.push((150, udp(CLIENT, SERVER)));
    let file = capture(&packets);
    let [there, back] = ["src=192.0.2.1 dst=203.0.113.9 sport=1000", "src=203.0.113.9 dst=192.0.2.1"];
    let tcp = |unreplied| format!("{there} dport=80 {unreplied}{back} sport=80 dport=1000");
    let expected = [
        format!(
            "[99.000000]\t    [NEW] udp      17 30 {there} dport=53 [UNREPLIED] {back} sport=53 dport=1000"
        ),
        format!("[100.000000]\t    [NEW] tcp      6 120 SYN_SENT {}", tcp("[UNREPLIED] ")),
        format!("[101.000000]\t [UPDATE] tcp      6 60 SYN_RECV {}", tcp("")),
        format!("[102.000000]\t [UPDATE] tcp      6 432000 ESTABLISHED {} [ASSURED]", tcp("")),
        // At its time, though the next packet comes later.
        format!(
            "[129.000000]\t[DESTROY] udp      17 {there} dport=53 packets=1 bytes=32 [UNREPLIED] {back} sport=53 \
             dport=1000 packets=0 bytes=0"
        ),
        format!(
            "[150.000000]\t    [NEW] udp      17 30 {there} dport=53 [UNREPLIED] {back} sport=53 dport=1000"
        ),
    ];
    let output = replay(&file, &["--events"]);
    assert_eq!(events(&output), expected);
    assert_eq!(table(&replay(&file, &[])).len(), 2);
    // Up to --at connections end, also years later.
    for (at, ends) in [("179.999", 1), ("180", 2), ("432101.999", 2), ("432102", 3), ("4000000000", 3)] {
        let output = replay(&file, &["--events", "--at", at]);
        let told = events(&output);
        assert_eq!(told.iter().filter(|line| line.contains("[DESTROY]")).count(), ends, "{at}");
        assert_eq!(stdout(&output).lines().count() - told.len(), 3 - ends, "{at}");
        assert!(stderr(&output).contains(&format!("{ends} expired")), "{at}: {}", stderr(&output));
    }
    // The events of a packet follow its verdict.
    let output = replay(&file, &["--events", "--verdicts"]);
    let mixed = events(&output);
    assert_eq!(mixed.len(), 5 + 6);
    assert!(mixed[0].starts_with("99.000000000 NEW ") && mixed[1] == expected[0], "{mixed:?}");
    assert!(mixed[8] == expected[4] && mixed[9].starts_with("150.000000000 NEW "), "{mixed:?}");
}

#[test]
fn events_as_json() {
    let output = replay(&capture(&handshake()), &["--events", "-o", "json", "--at", "500000"]);
    let lines: Vec<&str> = stdout(&output).lines().collect();
    let told: Vec<Value> = lines[..4].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| told.iter().map(|event| event[name].to_string()).collect::<Vec<_>>();
    assert_eq!(of("event"), ["\"NEW\"", "\"UPDATE\"", "\"UPDATE\"", "\"DESTROY\""]);
    assert_eq!(of("time"), ["100.0", "101.0", "102.0", "432102.0"]);
    assert_eq!(
        of("changes"),
        ["[\"protoinfo\"]", "[\"reply\",\"protoinfo\"]", "[\"assured\",\"protoinfo\"]", "[]"]
    );
    assert_eq!(told[1]["state"], "SYN_RECV");
    assert_eq!(told[1]["original"]["packets"], Value::Null);
    assert_eq!(told[3]["original"]["packets"], 2);
    assert!(lines[4].starts_with("{\"connections\":["));
}

#[test]
fn a_full_table_drops_or_evicts() {
    let packets: Vec<_> = (0..1000).map(|n| (1, udp((CLIENT.0, n), SERVER))).collect();
    let file = capture(&packets);
    let output = replay(&file, &["--max", "64"]);
    assert!(table(&output).len() <= 64);
    assert!(!stderr(&output).contains(" 0 evicted"), "{}", stderr(&output));
    // Whatever happened, the sums agree.
    let json = replay(&file, &["--max", "64", "-o", "json", "--at", "10"]);
    let summary = &serde_json::from_str::<Value>(stdout(&json)).unwrap()["summary"];
    let n = |name: &str| summary[name].as_u64().unwrap();
    assert_eq!(n("created"), n("connections") + n("expired") + n("ended") + n("evicted"));
    assert_eq!(n("created") + summary["verdicts"]["drop"].as_u64().unwrap(), 1000);
}

/// Enough for a sweep to come by when they end, and more than the queue holds.
#[test]
fn all_that_end_at_one_moment_are_told_of() {
    let flow = |port: u16| udp((CLIENT.0, 1000 + port), SERVER);
    let mut packets = vec![(100, flow(0))];
    packets.extend((1..=300).map(|port| (140, flow(port))));
    packets.push((300, flow(999)));
    let output = replay(&capture(&packets), &["--events"]);
    let count = |kind| stdout(&output).lines().filter(|line| line.contains(kind)).count();
    assert_eq!((count("[NEW]"), count("[DESTROY]")), (302, 301));
    let mut late = stdout(&output).lines().filter(|l| l.contains("[DESTROY]") && !l.contains("sport=1000 "));
    let early = late.find(|line| !line.starts_with("[170.000000]"));
    assert_eq!(early, None);
}

/// A datagram in fragments is one packet: it is judged where it becomes complete. One that overlaps is nothing.
#[test]
fn fragments_are_put_together() {
    let mut payload = udp(CLIENT, SERVER)[20..].to_vec();
    payload.resize(40, 7);
    payload[4..8].copy_from_slice(&[0, 40, 0, 0]);
    let piece = |id: u8, from: usize, to: usize| {
        let mut packet = ipv4(17, CLIENT.0, SERVER.0, &payload[from..to]);
        packet[5] = id;
        packet[6..8].copy_from_slice(&[if to < 40 { 0x20 } else { 0 }, (from / 8) as u8]);
        packet
    };
    let file = capture(&[
        (100, piece(1, 24, 40)),
        (101, piece(1, 0, 24)),
        (102, piece(2, 0, 24)),
        (103, piece(2, 16, 40)),
        (104, piece(3, 0, 24)),
        (150, piece(3, 24, 40)),
    ]);
    let output = replay(&file, &["--verdicts"]);
    let lines: Vec<Vec<&str>> =
        stdout(&output).lines().take(6).map(|line| line.split_ascii_whitespace().collect()).collect();
    let said: Vec<_> = lines.iter().map(|words| (words[1], words[3])).collect();
    let waits = ("FRAGMENT", "fragment");
    assert_eq!(said, [waits, ("NEW", "-"), waits, ("FRAGMENT", "frag-overlap"), waits, waits]);
    assert!(stderr(&output).contains("fragment     1 frag-overlap"), "{}", stderr(&output));
    let output = replay(&file, &["--at", "105"]);
    assert!(table(&output)[0].contains("packets=1 bytes=60"), "{:?}", table(&output));
}
