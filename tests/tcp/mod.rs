//! What the TCP tests share: the smallest table around the tracker, and readers for recorded files.
#![allow(dead_code, missing_docs)]

use conntab::proto::tcp::{self, Record, Seen, State};
use conntab::proto::{Outcome, Timeout};
use conntab::reason::Reason;
use conntab::timeout::Tunables;
use conntab::tuple::Direction;
use conntab::wire::tcp::{Segment, flag};

/// Addresses and ports of one direction.
pub type Key = (Vec<u8>, Vec<u8>, u16, u16);

pub fn reverse(key: &Key) -> Key {
    (key.1.clone(), key.0.clone(), key.3, key.2)
}

/// One connection, with what a table keeps of it besides the tracker's record.
#[derive(Clone, Debug)]
pub struct Conn {
    pub key: Key,
    pub record: Record,
    pub state: State,
    pub seen: Seen,
    /// Milliseconds.
    pub expires: u64,
    pub packets: [u64; 2],
    pub bytes: [u64; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub state: &'static str,
    pub direction: Option<Direction>,
    pub reason: Reason,
    pub excess: u32,
}

const fn invalid(reason: Reason, excess: u32) -> Verdict {
    Verdict { state: "INVALID", direction: None, reason, excess }
}

#[derive(Default)]
pub struct Table {
    pub conns: Vec<Conn>,
    pub now: u64,
}

impl Table {
    /// Judges a segment. `leaves`: the packet will be forwarded, so that a new connection is confirmed.
    pub fn track(
        &mut self,
        key: &Key,
        segment: &Segment,
        len: u64,
        tunables: &Tunables,
        leaves: bool,
    ) -> Verdict {
        let now = self.now;
        self.conns.retain(|c| c.expires > now);
        let found = self.conns.iter().position(|c| c.key == *key || reverse(&c.key) == *key);
        if let Some(at) = found {
            let c = &mut self.conns[at];
            let direction = if c.key == *key { Direction::Original } else { Direction::Reply };
            let step = tcp::step(&mut c.record, c.state, direction, c.seen, segment, tunables);
            // What is kept in words must be all there is.
            assert_eq!(Record::unpack(&c.record.pack()), c.record);
            match step.timeout {
                Timeout::Keep => {}
                Timeout::Set(seconds) => c.expires = now + u64::from(seconds) * 1000,
                Timeout::Shorten { to, above } => {
                    if c.expires - now >= u64::from(above) * 1000 {
                        c.expires = c.expires.min(now + u64::from(to) * 1000);
                    }
                }
            }
            c.state = State::from_u8(step.state).expect("a state");
            match step.outcome {
                Outcome::Reopen => {
                    self.conns.remove(at);
                    return self.create(key, segment, len, tunables, leaves);
                }
                Outcome::Invalid => {
                    assert_ne!(step.reason, Reason::None);
                    return invalid(step.reason, step.excess);
                }
                Outcome::Ignore => assert_ne!(step.reason, Reason::None),
                Outcome::Accept => {
                    assert_eq!(step.reason, Reason::None);
                    c.packets[direction as usize] += 1;
                    c.bytes[direction as usize] += len;
                }
            }
            c.seen.assured |= step.assure;
            c.seen.reply |= direction == Direction::Reply;
            let state = if c.seen.reply { "ESTABLISHED" } else { "NEW" };
            if step.destroy {
                self.conns.remove(at);
            }
            return Verdict { state, direction: Some(direction), reason: step.reason, excess: step.excess };
        }
        self.create(key, segment, len, tunables, leaves)
    }

    fn create(
        &mut self,
        key: &Key,
        segment: &Segment,
        len: u64,
        tunables: &Tunables,
        leaves: bool,
    ) -> Verdict {
        let (record, step) = match tcp::open(segment, tunables) {
            Ok(opened) => opened,
            Err((reason, excess)) => return invalid(reason, excess),
        };
        assert_eq!(step.outcome, Outcome::Accept);
        let Timeout::Set(seconds) = step.timeout else { panic!("a first segment sets the timeout") };
        if leaves {
            self.conns.push(Conn {
                key: key.clone(),
                record,
                state: State::from_u8(step.state).expect("a state"),
                seen: Seen::default(),
                expires: self.now + u64::from(seconds) * 1000,
                packets: [1, 0],
                bytes: [len, 0],
            });
        }
        Verdict { state: "NEW", direction: Some(Direction::Original), reason: Reason::None, excess: 0 }
    }
}

impl Conn {
    pub fn seconds_left(&self, now: u64) -> u64 {
        (self.expires - now) / 1000
    }

    pub fn status(&self) -> u32 {
        8 | if self.seen.reply { 2 } else { 0 } | if self.seen.assured { 4 } else { 0 }
    }

    pub fn scales(&self) -> [u8; 2] {
        self.record.ends.map(|e| e.scale)
    }

    pub fn flags(&self) -> [u8; 2] {
        self.record.ends.map(|e| e.flags)
    }
}

/// Sets a tunable by its sysctl name without `nf_conntrack_`; false if that is none of TCP's.
pub fn tune(t: &mut Tunables, name: &str, value: u32) -> bool {
    let field = match name {
        "tcp_timeout_syn_sent" => &mut t.tcp_timeout_syn_sent,
        "tcp_timeout_syn_recv" => &mut t.tcp_timeout_syn_recv,
        "tcp_timeout_established" => &mut t.tcp_timeout_established,
        "tcp_timeout_fin_wait" => &mut t.tcp_timeout_fin_wait,
        "tcp_timeout_close_wait" => &mut t.tcp_timeout_close_wait,
        "tcp_timeout_last_ack" => &mut t.tcp_timeout_last_ack,
        "tcp_timeout_time_wait" => &mut t.tcp_timeout_time_wait,
        "tcp_timeout_close" => &mut t.tcp_timeout_close,
        "tcp_timeout_max_retrans" => &mut t.tcp_timeout_max_retrans,
        "tcp_timeout_unacknowledged" => &mut t.tcp_timeout_unacknowledged,
        "tcp_max_retrans" => &mut t.tcp_max_retrans,
        "tcp_loose" => &mut t.tcp_loose,
        "tcp_be_liberal" => &mut t.tcp_be_liberal,
        "tcp_ignore_invalid_rst" => &mut t.tcp_ignore_invalid_rst,
        "checksum" => &mut t.checksum,
        _ => return false,
    };
    *field = value;
    true
}

/// Control bits from letters as tcpdump writes them; `-` is none.
pub fn bits(letters: &str) -> u8 {
    letters.bytes().fold(0, |bits, letter| {
        bits | match letter {
            b'F' => flag::FIN,
            b'S' => flag::SYN,
            b'R' => flag::RST,
            b'P' => flag::PSH,
            b'.' => flag::ACK,
            b'U' => flag::URG,
            b'E' => flag::ECE,
            b'C' => flag::CWR,
            b'-' => 0,
            other => panic!("flag {other}"),
        }
    })
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect()
}

/// What of a kernel's explanation is comparable: our reason for the same, and the excess over the bound it names
/// (`seq` and so on are the segment's).
pub fn explained(words: &str, segment: &Segment) -> (Option<Reason>, Option<u32>) {
    let number = |behind: &str| -> Option<u32> {
        let rest = &words[words.find(behind)? + behind.len()..];
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let end = segment
        .seq
        .wrapping_add(segment.payload)
        .wrapping_add(u32::from(segment.flags & flag::SYN != 0))
        .wrapping_add(u32::from(segment.flags & flag::FIN != 0));
    if let Some(bound) = number("SEQ is over upper bound ") {
        // A refusal's sequence number 0 stands for the right one.
        let refusal = segment.flags & flag::RST != 0 && segment.seq == 0;
        (Some(Reason::TcpSeqAbove), (!refusal).then(|| segment.seq.wrapping_sub(bound).wrapping_add(1)))
    } else if number("ACK is over upper bound ").is_some() {
        (Some(Reason::TcpAckAbove), None)
    } else if let Some(bound) = number("SEQ is under lower bound ") {
        (Some(Reason::TcpSeqBelow), Some(bound.wrapping_sub(end).wrapping_add(1)))
    } else if let Some(bound) = number("ignored ACK under lower bound ") {
        let excess = bound.wrapping_sub(segment.ack).wrapping_add(1);
        // Whether the blocks count depends on what was agreed on before.
        (Some(Reason::TcpAckBelow), segment.sack_edge.is_none().then_some(excess))
    } else if words.contains("bytes more than expected") {
        (Some(Reason::TcpOvershoot), words.split(' ').next().and_then(|n| n.parse().ok()))
    } else if words.contains("invalid rst") {
        (Some(Reason::TcpRstBelow), None)
    } else if words.contains("invalid tcp flag combination") {
        (Some(Reason::TcpFlags), Some(0))
    } else if words.contains("invalid new") {
        (Some(Reason::TcpNotOpening), Some(0))
    } else if words.contains("challenge-ack ignored") {
        (Some(Reason::TcpChallengeAck), Some(0))
    } else if words.contains("ignored, state") {
        (Some(Reason::TcpStateIgnored), Some(0))
    } else if words.contains("invalid, state") {
        (Some(Reason::TcpState), Some(0))
    } else {
        (None, None)
    }
}

/// The options as the packet parser would report them.
pub fn with_options(mut segment: Segment, options: &[u8]) -> Segment {
    segment.has_options = !options.is_empty();
    let mut at = 0;
    while at < options.len() {
        match options[at] {
            0 => break,
            1 => at += 1,
            kind => {
                let Some(&len) = options.get(at + 1) else { break };
                let len = usize::from(len);
                if len < 2 || at + len > options.len() {
                    break;
                }
                let body = &options[at + 2..at + len];
                match (kind, len) {
                    (3, 3) => segment.wscale = Some(body[0]),
                    (4, 2) => segment.sack_permitted = true,
                    (5, n) if n >= 10 && (n - 2) % 8 == 0 => {
                        let mut edge = segment.ack;
                        for block in body.chunks(8) {
                            let right = u32::from_be_bytes([block[4], block[5], block[6], block[7]]);
                            if (right.wrapping_sub(edge) as i32) > 0 {
                                edge = right;
                            }
                        }
                        if edge != segment.ack {
                            segment.sack_edge = Some(edge);
                        }
                    }
                    _ => {}
                }
                at += len;
            }
        }
    }
    segment
}
