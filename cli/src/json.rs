//! Verdicts, events and the table as JSON. The names here are an interface: add, do not rename.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use conntab::conn::status;
use conntab::connection::{Connection, Counters, protocol_name};
use conntab::event::{Event, change};
use conntab::packet::CtState;
use conntab::tuple::{Addr, L3, Tuple, protocol};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::summary::Summary;
use crate::text::Judged;
use crate::time::Time;

/// A number with all nine digits of the fraction, which a float has no room for.
fn number(time: Time) -> Option<Box<RawValue>> {
    RawValue::from_string(time.to_string()).ok()
}

#[derive(Serialize)]
struct TupleFields {
    src: IpAddr,
    dst: IpAddr,
    #[serde(flatten)]
    ports: Ports,
}

/// The ports, or what stands for them.
#[derive(Serialize)]
#[serde(untagged)]
enum Ports {
    Transport { sport: u16, dport: u16 },
    Icmp { r#type: u8, code: u8, id: u16 },
    Gre { srckey: u16, dstkey: u16 },
    None {},
}

fn address(l3: L3, addr: &Addr) -> IpAddr {
    match l3 {
        L3::V4 => Ipv4Addr::new(addr[0], addr[1], addr[2], addr[3]).into(),
        L3::V6 => Ipv6Addr::from(*addr).into(),
    }
}

impl From<&Tuple> for TupleFields {
    fn from(tuple: &Tuple) -> Self {
        let Tuple { sport, dport, .. } = *tuple;
        Self {
            src: address(tuple.l3, &tuple.src),
            dst: address(tuple.l3, &tuple.dst),
            ports: match tuple.l4 {
                protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP => {
                    Ports::Transport { sport, dport }
                }
                protocol::ICMP | protocol::ICMPV6 => {
                    let [kind, code] = dport.to_be_bytes();
                    Ports::Icmp { r#type: kind, code, id: sport }
                }
                protocol::GRE => Ports::Gre { srckey: sport, dstkey: dport },
                _ => Ports::None {},
            },
        }
    }
}

fn family(l3: L3) -> &'static str {
    match l3 {
        L3::V4 => "ipv4",
        L3::V6 => "ipv6",
    }
}

#[derive(Serialize)]
struct VerdictLine {
    time: Option<Box<RawValue>>,
    verdict: Option<&'static str>,
    direction: Option<&'static str>,
    reason: Option<&'static str>,
    family: Option<&'static str>,
    protocol: Option<&'static str>,
    protocol_number: Option<u8>,
    #[serde(flatten)]
    tuple: Option<TupleFields>,
}

/// One verdict, on a line of its own.
pub(crate) fn verdict(out: &mut impl Write, judged: &Judged<'_>) -> io::Result<()> {
    let tuple = judged.tuple.as_ref();
    let line = VerdictLine {
        time: number(judged.time),
        verdict: judged.verdict_name(),
        direction: judged.direction_name(),
        reason: judged.reason_name(),
        family: tuple.map(|t| family(t.l3)),
        protocol: tuple.map(|t| protocol_name(t.l4)),
        protocol_number: tuple.map(|t| t.l4),
        tuple: tuple.map(TupleFields::from),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct Way {
    #[serde(flatten)]
    tuple: TupleFields,
    zone: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

#[derive(Serialize)]
struct ConnectionObject {
    family: &'static str,
    protocol: &'static str,
    protocol_number: u8,
    state: Option<&'static str>,
    timeout_ms: u32,
    replied: bool,
    assured: bool,
    mark: u32,
    original: Way,
    reply: Way,
}

impl From<&Connection> for ConnectionObject {
    fn from(c: &Connection) -> Self {
        let way = |tuple: &Tuple, zone: u16, counters: Option<&Counters>| Way {
            tuple: tuple.into(),
            zone,
            packets: counters.map(|c| c.packets),
            bytes: counters.map(|c| c.bytes),
        };
        let [there, back] =
            c.counters.as_ref().map_or([None, None], |[there, back]| [Some(there), Some(back)]);
        Self {
            family: family(c.original.l3),
            protocol: protocol_name(c.original.l4),
            protocol_number: c.original.l4,
            state: c.tracked.state(),
            timeout_ms: c.timeout_ms,
            replied: c.status & status::SEEN_REPLY != 0,
            assured: c.status & status::ASSURED != 0,
            mark: c.mark,
            original: way(&c.original, c.zone_orig, there),
            reply: way(&c.reply, c.zone_reply, back),
        }
    }
}

#[derive(Serialize)]
struct EventLine {
    event: &'static str,
    time: Option<Box<RawValue>>,
    changes: Vec<&'static str>,
    #[serde(flatten)]
    connection: ConnectionObject,
}

/// What of a connection may change in a replay.
const CHANGES: [(u16, &str); 3] =
    [(change::REPLY, "reply"), (change::ASSURED, "assured"), (change::PROTOINFO, "protoinfo")];

/// One event, on a line of its own.
pub(crate) fn event(out: &mut impl Write, time: Time, event: &Event) -> io::Result<()> {
    let line = EventLine {
        event: event.kind.as_str(),
        time: number(time),
        changes: CHANGES.iter().filter(|(bit, _)| event.changes & bit != 0).map(|(_, name)| *name).collect(),
        connection: (&event.connection).into(),
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct SummaryObject<'a> {
    packets: u64,
    without_ip: u64,
    damaged: u64,
    other_link_types: u64,
    not_played: u64,
    behind_the_latest: u64,
    first: Option<Box<RawValue>>,
    last: Option<Box<RawValue>>,
    connections: u64,
    created: u64,
    expired: u64,
    ended: u64,
    evicted: u64,
    verdicts: BTreeMap<String, u64>,
    invalid: BTreeMap<&'static str, u64>,
    drop: BTreeMap<&'static str, u64>,
    fragment: BTreeMap<&'static str, u64>,
    incomplete: Option<&'a str>,
}

impl<'a> From<&'a Summary> for SummaryObject<'a> {
    fn from(s: &'a Summary) -> Self {
        Self {
            packets: s.packets,
            without_ip: s.not_ip,
            damaged: s.damaged,
            other_link_types: s.foreign,
            not_played: s.not_played,
            behind_the_latest: s.went_back,
            first: s.first.and_then(number),
            last: s.first.and_then(|_| number(s.last)),
            connections: s.connections,
            created: s.created,
            expired: s.expired,
            ended: s.ended,
            evicted: s.evicted,
            verdicts: s.verdicts().collect(),
            invalid: s.reasons(CtState::Invalid).collect(),
            drop: s.reasons(CtState::Drop).collect(),
            fragment: s.reasons(CtState::Fragment).collect(),
            incomplete: s.incomplete.as_deref(),
        }
    }
}

/// The table and the summary: one object, a connection a line.
pub(crate) fn table(
    out: &mut impl Write,
    connections: impl Iterator<Item = Connection>,
    summary: &Summary,
) -> io::Result<()> {
    out.write_all(b"{\"connections\":[")?;
    for (place, connection) in connections.enumerate() {
        out.write_all(if place == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &ConnectionObject::from(&connection))?;
    }
    out.write_all(b"\n],\"summary\":")?;
    serde_json::to_writer(&mut *out, &SummaryObject::from(summary))?;
    out.write_all(b"}\n")
}
