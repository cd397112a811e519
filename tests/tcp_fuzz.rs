//! Random traces that a live kernel judged (tests/kernel/tcp_fuzz.py): the tracker must say the same of every packet.
//! CONNTAB_TCP_FUZZ names another recording than the one checked in.

mod tcp;

use conntab::timeout::Tunables;
use conntab::tuple::Direction;
use conntab::wire::tcp::Segment;
use tcp::{Key, Table, bits, explained, reverse, tune, unhex, with_options};

struct Flow {
    table: Table,
    key: Key,
    tunables: Tunables,
    timeouts: Vec<(String, u32)>,
    broken: bool,
    lines: Vec<String>,
}

impl Flow {
    fn new(line: &str) -> Self {
        let mut tunables = Tunables::default();
        let mut timeouts = Vec::new();
        for pair in line.split_whitespace().skip(1) {
            let (name, value) = pair.split_once('=').expect("name=value");
            let value = value.parse().expect("a number");
            let name = format!("tcp_{name}");
            assert!(tune(&mut tunables, &name, value), "{name}");
            if name.starts_with("tcp_timeout") {
                timeouts.push((name, value));
            }
        }
        let key = (vec![10, 1, 0, 1], vec![10, 2, 0, 1], 1000, 80);
        Self { table: Table::default(), key, tunables, timeouts, broken: false, lines: vec![line.to_owned()] }
    }

    /// Plays one line; what differs.
    fn play(&mut self, line: &str) -> Vec<String> {
        let parts: Vec<&str> = line.split(" | ").collect();
        let w: Vec<&str> = parts[0].split(' ').collect();
        let number = |i: usize| -> u32 { w[i].parse().expect("a number") };
        let raised = number(7);
        for (name, value) in &self.timeouts {
            assert!(tune(&mut self.tunables, name, value + raised), "{name}");
        }
        let options = if w[6] == "-" { Vec::new() } else { unhex(w[6]) };
        let key = if w[0] == ">" { self.key.clone() } else { reverse(&self.key) };
        let segment = Segment {
            sport: key.2,
            dport: key.3,
            seq: number(2),
            ack: number(3),
            flags: bits(w[1]),
            window: number(4) as u16,
            payload: number(5),
            has_options: false,
            wscale: None,
            sack_permitted: false,
            sack_edge: None,
        };
        let segment = with_options(segment, &options);
        let verdict = self.table.track(&key, &segment, 0, &self.tunables, true);
        let mut wrong = Vec::new();
        let mut check = |what: &str, ours: String, theirs: &str| {
            if ours != theirs {
                wrong.push(format!("{what}: {ours}, kernel {theirs}"));
            }
        };
        let direction = match verdict.direction {
            Some(Direction::Original) => 'o',
            Some(Direction::Reply) => 'r',
            None => '-',
        };
        check("verdict", format!("{}/{direction}", verdict.state), parts[1]);
        match (self.table.conns.first(), parts[2]) {
            (None, theirs) => check("entry", "gone".to_owned(), theirs),
            (Some(c), theirs) => {
                let t: Vec<&str> = theirs.split(' ').collect();
                if t.len() < 7 {
                    check("entry", format!("{:?}", c.state), theirs);
                } else {
                    check("side", if c.key == self.key { ">" } else { "<" }.to_owned(), t[0]);
                    check("state", c.state.as_str().to_owned(), t[1]);
                    check("status", format!("status=0x{:x}", c.status()), t[3]);
                    let [a, b] = c.scales();
                    check("wscale", format!("wscale={a}/{b}"), t[4]);
                    let [a, b] = c.flags();
                    check("flags", format!("flags=0x{a:02x}/0x{b:02x}"), t[5]);
                    let [a, b] = c.packets;
                    check("packets", format!("packets={a}/{b}"), t[6]);
                    let left: u64 = t[2].parse().expect("seconds");
                    if c.seconds_left(0).abs_diff(left) > 1 {
                        check("timeout", c.seconds_left(0).to_string(), t[2]);
                    }
                }
            }
        }
        if let Some(words) = parts.get(3) {
            let (reason, excess) = explained(words, &segment);
            if let Some(reason) = reason {
                check("reason", verdict.reason.as_str().to_owned(), reason.as_str());
                if let Some(excess) = excess {
                    check("excess", verdict.excess.to_string(), &excess.to_string());
                }
            }
        }
        wrong
    }
}

#[test]
fn judges_random_traces_as_the_kernel_does() {
    let path = std::env::var("CONNTAB_TCP_FUZZ").unwrap_or_else(|_| "tests/kernel/tcp_fuzz.txt".to_owned());
    let text = std::fs::read_to_string(&path).expect("the recording");
    let mut flow: Option<Flow> = None;
    let (mut flows, mut packets, mut broken) = (0, 0, 0);
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        if line.starts_with("flow") {
            flow = Some(Flow::new(line));
            flows += 1;
            continue;
        }
        let flow = flow.as_mut().expect("a flow comes first");
        flow.lines.push(line.to_owned());
        if flow.broken {
            continue;
        }
        packets += 1;
        let before = flow.table.conns.first().map(|c| (c.state, c.record));
        let wrong = flow.play(line);
        if !wrong.is_empty() {
            flow.broken = true;
            broken += 1;
            if broken <= 8 {
                println!(
                    "--\n{}\n   before: {before:?}\n   WRONG {}",
                    flow.lines.join("\n"),
                    wrong.join("; ")
                );
            }
        }
    }
    println!("{flows} flows, {packets} packets compared, {broken} flows differ");
    assert!(packets > 1000);
    assert_eq!(broken, 0, "flows that differ");
}
