//! Every cell of the state table that was recorded from a live kernel (tests/kernel/tcp_states.py), against the tracker.

mod tcp;

use conntab::timeout::Tunables;
use conntab::tuple::Direction;
use conntab::wire::tcp::Segment;
use std::collections::{BTreeMap, BTreeSet};
use tcp::{Key, Table, Verdict, bits, explained, reverse, tune};

const WINDOW: u16 = 10_000;

fn recording() -> String {
    std::fs::read_to_string("tests/kernel/tcp_states.txt").expect("the recording")
}

fn client() -> Key {
    (vec![10, 1, 0, 1], vec![10, 2, 0, 1], 1000, 80)
}

fn segment(key: &Key, flags: u8, seq: u32, ack: u32) -> Segment {
    Segment {
        sport: key.2,
        dport: key.3,
        seq,
        ack,
        flags,
        window: WINDOW,
        payload: 0,
        has_options: false,
        wscale: None,
        sack_permitted: false,
        sack_edge: None,
    }
}

/// Plays a segment written as `>S.:1000:5000`.
fn play(table: &mut Table, text: &str, tunables: &Tunables) -> (Segment, Verdict) {
    let key = if text.starts_with('>') { client() } else { reverse(&client()) };
    let f: Vec<&str> = text[1..].split(':').collect();
    let segment = segment(&key, bits(f[0]), f[1].parse().expect("seq"), f[2].parse().expect("ack"));
    (segment, table.track(&key, &segment, 0, tunables, true))
}

fn shown(verdict: &Verdict) -> String {
    let direction = match verdict.direction {
        Some(Direction::Original) => 'o',
        Some(Direction::Reply) => 'r',
        None => '-',
    };
    format!("{}/{direction}", verdict.state)
}

/// As the recording shows an entry, seconds apart.
fn entry(table: &Table) -> (String, u64) {
    match table.conns.first() {
        None => ("gone".to_owned(), 0),
        Some(c) => {
            let ([s, t], [f, g], [p, q]) = (c.scales(), c.flags(), c.packets);
            let side = if c.key == client() { '>' } else { '<' };
            let text = format!(
                "{side} {} status=0x{:x} wscale={s}/{t} flags=0x{f:02x}/0x{g:02x} packets={p}/{q}",
                c.state.as_str(),
                c.status()
            );
            (text, c.seconds_left(table.now))
        }
    }
}

#[test]
fn every_cell_is_as_the_kernel_has_it() {
    let text = recording();
    let mut paths = BTreeMap::new();
    let mut raised = Tunables::default();
    for (name, value) in [
        ("syn_sent", 1120),
        ("syn_recv", 1060),
        ("established", 433_000),
        ("fin_wait", 1120),
        ("close_wait", 1060),
        ("last_ack", 1030),
        ("time_wait", 1120),
        ("close", 1010),
        ("max_retrans", 1300),
        ("unacknowledged", 1300),
    ] {
        assert!(tune(&mut raised, &format!("tcp_timeout_{name}"), value));
    }
    let (mut cells, mut wrong, mut covered) = (0, Vec::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("path ") {
            let (name, segments) = path.split_once(' ').unwrap_or((path, ""));
            paths.insert(name.to_owned(), segments.to_owned());
        }
        let Some(cell) = line.strip_prefix("cell ") else { continue };
        cells += 1;
        let parts: Vec<&str> = cell.split(" | ").collect();
        let name = parts[0].split(' ').next().expect("a path");
        let mut table = Table::default();
        for s in paths[name].split_whitespace() {
            play(&mut table, s, &Tunables::default());
        }
        let state = table.conns.first().map_or("NONE", |c| c.state.as_str());
        covered.insert((state, parts[0].split(' ').nth(1).expect("a direction").to_owned()));
        let (segment, verdict) = play(&mut table, parts[1], &raised);
        let (ours, left) = entry(&table);
        let mut words: Vec<&str> = parts[3].split(' ').collect();
        let seconds: u64 = if words.len() > 2 { words.remove(2).parse().expect("seconds") } else { 0 };
        let mut same = shown(&verdict) == parts[2] && ours == words.join(" ") && left.abs_diff(seconds) <= 1;
        if let (Some(reason), excess) = parts.get(4).map_or((None, None), |w| explained(w, &segment)) {
            same &= verdict.reason == reason && excess.is_none_or(|e| e == verdict.excess);
        }
        if !same {
            wrong.push(format!("{cell}\n   ours: {} {ours} {left} {verdict:?}", shown(&verdict)));
        }
    }
    assert!(wrong.is_empty(), "{} of {cells} cells differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cells > 2000, "only {cells} cells");
    // All ten states, NONE in one direction only.
    assert_eq!(covered.len(), 19, "{covered:?}");
}

#[test]
fn every_set_of_control_bits_is_judged_as_the_kernel_does() {
    let text = recording();
    let mut sets = 0;
    for line in text.lines().filter(|l| l.starts_with("flags ")) {
        sets += 1;
        let parts: Vec<&str> = line.split(" | ").collect();
        let set = u8::from_str_radix(&parts[0][8..10], 16).expect("bits");
        let ack = if set & 0x10 != 0 { 5_000_001 } else { 0 };
        for (path, recorded) in
            [("", parts[1]), (">S:1000000:0 <S.:5000000:1000001 >.:1000001:5000001", parts[2])]
        {
            let mut table = Table::default();
            for s in path.split_whitespace() {
                play(&mut table, s, &Tunables::default());
            }
            let s = segment(&client(), set, 1_000_001, ack);
            let verdict = table.track(&client(), &s, 0, &Tunables::default(), true);
            let (kernel, words) = recorded.split_once(' ').unwrap_or((recorded, ""));
            assert_eq!(shown(&verdict), kernel, "{line}");
            if let (Some(reason), _) = explained(words, &s) {
                assert_eq!(verdict.reason, reason, "{line}");
            }
        }
    }
    assert_eq!(sets, 256);
}
