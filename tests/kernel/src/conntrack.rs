//! Connections and events as ctnetlink tells them, in the words of `docs/scenarios.md`.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::netlink::{Attributes, Message};

/// `NFNL_SUBSYS_CTNETLINK`, `NFNL_SUBSYS_CTNETLINK_EXP`: the high byte of a message's kind.
const CONNECTIONS: u16 = 1;
const EXPECTATIONS: u16 = 2;

/// `IPCTNL_MSG_CT_NEW` and so on: the low byte.
const NEW: u16 = 0;
const DELETE: u16 = 2;

/// `NLM_F_CREATE`: what is told of is new.
const CREATE: u16 = 0x400;

/// `enum ctattr_type` (linux/netfilter/nfnetlink_conntrack.h).
pub mod cta {
    pub const TUPLE_ORIG: u16 = 1;
    pub const TUPLE_REPLY: u16 = 2;
    pub const STATUS: u16 = 3;
    pub const PROTOINFO: u16 = 4;
    pub const HELP: u16 = 5;
    pub const TIMEOUT: u16 = 7;
    pub const MARK: u16 = 8;
    pub const COUNTERS_ORIG: u16 = 9;
    pub const COUNTERS_REPLY: u16 = 10;
    pub const TUPLE_MASTER: u16 = 14;
    pub const SEQ_ADJ_ORIG: u16 = 15;
    pub const SEQ_ADJ_REPLY: u16 = 16;
    pub const ZONE: u16 = 18;
    pub const LABELS: u16 = 22;
    pub const SYNPROXY: u16 = 24;
}

/// What an event may carry, by the name it is recorded under.
const CARRIED: [(u16, &str); 7] = [
    (cta::PROTOINFO, "protoinfo"),
    (cta::HELP, "help"),
    (cta::MARK, "mark"),
    (cta::TUPLE_MASTER, "master"),
    (cta::SEQ_ADJ_ORIG, "seqadj"),
    (cta::LABELS, "labels"),
    (cta::SYNPROXY, "synproxy"),
];

/// Within a tuple: addresses, protocol, zone.
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const TUPLE_ZONE: u16 = 3;

/// Within `PROTOINFO`.
const PROTOINFO_TCP: u16 = 1;
const PROTOINFO_SCTP: u16 = 3;

const SEEN_REPLY: u64 = 2;
const ASSURED: u64 = 4;

/// `enum tcp_conntrack`, `enum sctp_conntrack`: their names are those of /proc/net/nf_conntrack.
const TCP_STATES: [&str; 10] = [
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
];
const SCTP_STATES: [&str; 9] = [
    "NONE",
    "CLOSED",
    "COOKIE_WAIT",
    "COOKIE_ECHOED",
    "ESTABLISHED",
    "SHUTDOWN_SENT",
    "SHUTDOWN_RECD",
    "SHUTDOWN_ACK_SENT",
    "HEARTBEAT_SENT",
];

fn protocol_name(number: u64) -> Option<&'static str> {
    Some(match number {
        1 => "icmp",
        6 => "tcp",
        17 => "udp",
        47 => "gre",
        58 => "icmpv6",
        132 => "sctp",
        136 => "udplite",
        _ => return None,
    })
}

fn protocol(tuple: Attributes<'_>) -> u64 {
    tuple.nested(TUPLE_PROTO).number(1).unwrap_or(0)
}

fn tuple(tuple: Attributes<'_>) -> String {
    let ip = tuple.nested(TUPLE_IP);
    let address = |v4: u16, v6: u16| match (ip.get(v4), ip.get(v6)) {
        (Some(&[a, b, c, d]), _) => Ipv4Addr::new(a, b, c, d).to_string(),
        (_, Some(bytes)) => {
            let address = <[u8; 16]>::try_from(bytes).map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from);
            address.segments().map(|segment| format!("{segment:04x}")).join(":")
        }
        _ => "none".to_owned(),
    };
    let mut text = format!("src={} dst={}", address(1, 3), address(2, 4));
    let proto = tuple.nested(TUPLE_PROTO);
    let number = |kind| proto.number(kind).unwrap_or(0);
    let [source, destination] = [2, 3].map(number);
    let [icmp, icmpv6] = [4, 7].map(|kind| proto.has(kind));
    let added = if proto.has(2) && protocol(tuple) == 47 {
        write!(text, " srckey={source:#x} dstkey={destination:#x}")
    } else if proto.has(2) {
        write!(text, " sport={source} dport={destination}")
    } else if icmp {
        write!(text, " type={} code={} id={}", number(5), number(6), number(4))
    } else if icmpv6 {
        write!(text, " type={} code={} id={}", number(8), number(9), number(7))
    } else {
        Ok(())
    };
    added.expect("a string");
    text
}

/// A protocol's name where it has a tracker, its number elsewhere.
fn named(attributes: Attributes<'_>) -> String {
    let number = protocol(attributes);
    protocol_name(number).map_or_else(|| number.to_string(), str::to_owned)
}

/// The state of a connection that has states.
fn state(protoinfo: Attributes<'_>) -> Option<&'static str> {
    let state = |kind: u16, names: &[&'static str]| {
        let state = protoinfo.nested(kind).number(1)?;
        names.get(state as usize).copied()
    };
    state(PROTOINFO_TCP, &TCP_STATES).or_else(|| state(PROTOINFO_SCTP, &SCTP_STATES))
}

/// A connection's line.
pub fn line(family: u8, entry: Attributes<'_>) -> String {
    let original = entry.nested(cta::TUPLE_ORIG);
    let number = protocol(original);
    let status = entry.number(cta::STATUS).unwrap_or(0);
    let family = if i32::from(family) == libc::AF_INET { "ipv4 2" } else { "ipv6 10" };
    let name = protocol_name(number).unwrap_or("unknown");
    let seconds = entry.number(cta::TIMEOUT).unwrap_or(0);
    let mut words = vec![format!("{family} {name} {number} {seconds}")];
    words.extend(state(entry.nested(cta::PROTOINFO)).map(str::to_owned));
    let mut zoned = false;
    for (is_reply, kind, counters) in
        [(false, cta::TUPLE_ORIG, cta::COUNTERS_ORIG), (true, cta::TUPLE_REPLY, cta::COUNTERS_REPLY)]
    {
        let this = entry.nested(kind);
        words.push(tuple(this));
        if let Some(zone) = this.number(TUPLE_ZONE) {
            zoned = true;
            words.push(format!("zone-{}={zone}", if is_reply { "reply" } else { "orig" }));
        }
        let count = |kind| entry.nested(counters).number(kind).unwrap_or(0);
        if entry.has(counters) {
            words.push(format!("packets={} bytes={}", count(1), count(2)));
        }
        match is_reply {
            false if status & SEEN_REPLY == 0 => words.push("[UNREPLIED]".to_owned()),
            true if status & ASSURED != 0 => words.push("[ASSURED]".to_owned()),
            _ => {}
        }
    }
    words.push(format!("mark={}", entry.number(cta::MARK).unwrap_or(0)));
    if !zoned {
        words.push(format!("zone={}", entry.number(cta::ZONE).unwrap_or(0)));
    }
    words.push(format!(";{}", more(entry, status)));
    words.join(" ")
}

/// What `/proc/net/nf_conntrack` does not show, each with a blank before it.
fn more(entry: Attributes<'_>, status: u64) -> String {
    let mut text = format!(" status={status:#x}");
    let protoinfo = entry.nested(cta::PROTOINFO);
    let tcp = protoinfo.nested(PROTOINFO_TCP);
    // Window scales are bytes; flags are a byte and a mask.
    let byte = |kind| tcp.get(kind).and_then(|bytes| bytes.first().copied()).unwrap_or(0);
    if tcp.has(2) {
        let [a, b, c, d] = [2, 3, 4, 5].map(byte);
        write!(text, " wscale={a}/{b} tcpflags={c:#04x}/{d:#04x}").expect("a string");
    }
    let sctp = protoinfo.nested(PROTOINFO_SCTP);
    if let (Some(a), Some(b)) = (sctp.number(2), sctp.number(3)) {
        write!(text, " vtag={a:#010x}/{b:#010x}").expect("a string");
    }
    if let Some(helper) = entry.nested(cta::HELP).text(1) {
        write!(text, " helper={helper}").expect("a string");
    }
    if entry.has(cta::TUPLE_MASTER) {
        let master = entry.nested(cta::TUPLE_MASTER);
        write!(text, " master=[{} {}]", named(master), tuple(master)).expect("a string");
    }
    for (kind, name) in [(cta::SEQ_ADJ_ORIG, "orig"), (cta::SEQ_ADJ_REPLY, "reply")] {
        let adjustment = entry.nested(kind);
        if let (Some(at), Some(before), Some(after)) =
            (adjustment.number(1), adjustment.number(2), adjustment.number(3))
        {
            let (before, after) = (before as u32 as i32, after as u32 as i32);
            write!(text, " seqadj-{name}={at}:{before}:{after}").expect("a string");
        }
    }
    text
}

/// Whether the message tells of a connection that begins, so that its entry has to be known from now on.
pub fn begins(message: &Message<'_>) -> bool {
    message.kind == CONNECTIONS << 8 | NEW && message.flags & CREATE != 0
}

/// Whether the message is about an expectation.
pub fn is_expectation(message: &Message<'_>) -> bool {
    message.kind >> 8 == EXPECTATIONS
}

/// An event's text, if it is one.
pub fn event(message: &Message<'_>) -> Option<String> {
    let this = message.attributes;
    let deleted = message.kind & 0xff == DELETE;
    if is_expectation(message) {
        // CTA_EXPECT_TUPLE
        let expected = this.nested(2);
        let name = if deleted { "EXP_DESTROY" } else { "EXP_NEW" };
        return Some(format!("{name} {} {}", named(expected), tuple(expected)));
    }
    if message.kind >> 8 != CONNECTIONS {
        return None;
    }
    let name = match (deleted, begins(message)) {
        (true, _) => "DESTROY",
        (false, true) => "NEW",
        (false, false) => "UPDATE",
    };
    let original = this.nested(cta::TUPLE_ORIG);
    let mut text = format!("{name} {} {}", named(original), tuple(original));
    let protoinfo = this.nested(cta::PROTOINFO);
    if protoinfo.has(PROTOINFO_TCP) {
        write!(text, " tcp={}", state(protoinfo).unwrap_or("?")).expect("a string");
    }
    if let Some(number) = protoinfo.nested(PROTOINFO_SCTP).number(1) {
        write!(text, " sctp={number}").expect("a string");
    }
    if let Some(zone) = this.number(cta::ZONE) {
        write!(text, " zone={zone}").expect("a string");
    }
    if let Some(status) = this.number(cta::STATUS) {
        write!(text, " status={status:#x}").expect("a string");
    }
    let has: Vec<_> = CARRIED.iter().filter(|(kind, _)| this.has(*kind)).map(|(_, name)| *name).collect();
    if !has.is_empty() {
        write!(text, " has={}", has.join(",")).expect("a string");
    }
    Some(text)
}
