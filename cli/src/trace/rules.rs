//! The host's rules: what `host` says.

use std::net::IpAddr;

use conntab::CtState;
use conntab::timeout::{MAX_TIMEOUT, Tunables};
use conntab::tuple::{L3, protocol};
use serde_json::{Map, Value};

use super::reject::Reject;
use super::scenario::known;
use super::value::{array, named, number, object, shown, string, yes};

/// Rules to be added to those there are.
#[derive(Clone, Default)]
pub(super) struct Host {
    pub rules: Vec<Rule>,
    /// There are NAT chains.
    pub nat: bool,
}

/// Where a rule is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Raw,
    Mangle,
    Forward,
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub at: Place,
    pub conditions: Vec<Condition>,
    pub actions: Vec<Action>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    In(u8),
    Out(u8),
    Family(L3),
    Protocol(u8),
    SourcePort(u16),
    DestinationPort(u16),
    Destination(IpAddr),
    Dscp(u8),
    State(Vec<CtState>),
    LongerThan(u64),
    TcpFlags { of: u8, are: u8 },
}

/// A number, or the packet's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Given(u32),
    Length,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    NoTrack,
    Zone(u16),
    ZoneOriginal(u16),
    Mark(Number),
    MarkOr(Number),
    Timeout(Policy),
    Helper(&'static str),
    Expect(Announced),
    Drop,
    Reject(Reject),
}

/// A connection that a rule announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Announced {
    pub protocol: u8,
    pub port: u16,
    /// Seconds.
    pub timeout: u32,
    /// How many the connection may announce.
    pub size: u8,
}

/// Helpers that rules name.
const HELPERS: &[&str] = &["ftp", "irc", "tftp"];

/// Timeouts of a flow's own: those of one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub protocol: u8,
    /// Tunables and seconds.
    pub named: Vec<(&'static str, u32)>,
    /// Its number in the table, once it has one.
    pub number: u8,
}

impl Host {
    pub fn parse(value: &Value) -> Result<Self, String> {
        let host = object(value, "host")?;
        known(host, &["rules", "nat_hooks"])?;
        let mut all = Self::default();
        if let Some(rules) = host.get("rules") {
            for (at, rule) in array(rules, "rules")?.iter().enumerate() {
                all.rules.push(Rule::parse(rule).map_err(|what| format!("rule {at}: {what}"))?);
            }
        }
        if let Some(hooks) = host.get("nat_hooks") {
            for hook in array(hooks, "nat_hooks")? {
                if !matches!(hook.as_str(), Some("dstnat" | "srcnat" | "input" | "output")) {
                    return Err(format!("nat_hooks: {} is not known", shown(hook)));
                }
                all.nat = true;
            }
        }
        Ok(all)
    }
}

fn not_yet(what: &str) -> String {
    format!("{} is not supported yet", named(what))
}

impl Rule {
    fn parse(value: &Value) -> Result<Self, String> {
        let rule = object(value, "a rule")?;
        known(rule, &["at", "if", "do"])?;
        let at = match string(rule.get("at").unwrap_or(&Value::Null), "at")? {
            "raw" => Place::Raw,
            "mangle" => Place::Mangle,
            "forward" => Place::Forward,
            nat @ ("srcnat" | "dstnat") => return Err(not_yet(nat)),
            other => return Err(format!("at: {} is not known", named(other))),
        };
        let none = Map::new();
        let conditions = rule.get("if").map_or(Ok(&none), |value| object(value, "if"))?;
        let conditions = conditions.iter().map(|(name, value)| Condition::parse(name, value));
        let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
        let actions = object(rule.get("do").unwrap_or(&Value::Null), "do")?;
        let mut actions =
            actions.iter().map(|(name, v)| Action::parse(name, v)).collect::<Result<Vec<_>, _>>()?;
        if actions.is_empty() {
            return Err("it does nothing".to_owned());
        }
        // What ends the packet's way is done last.
        actions.sort_by_key(|action| matches!(action, Action::Drop | Action::Reject(_)));
        Ok(Self { at, conditions, actions })
    }
}

/// Protocols that rules name.
const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", protocol::ICMP),
    ("tcp", protocol::TCP),
    ("udp", protocol::UDP),
    ("dccp", 33),
    ("gre", protocol::GRE),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", protocol::ICMPV6),
    ("ipv6-icmp", protocol::ICMPV6),
    ("sctp", protocol::SCTP),
    ("udplite", protocol::UDPLITE),
];

impl Condition {
    fn parse(name: &str, value: &Value) -> Result<Self, String> {
        Ok(match name {
            "in" => Self::In(number(value, name, 1)? as u8),
            "out" => Self::Out(number(value, name, 1)? as u8),
            "family" => match value.as_str() {
                Some("ip") => Self::Family(L3::V4),
                Some("ip6") => Self::Family(L3::V6),
                _ => return Err(format!("family is \"ip\" or \"ip6\", not {}", shown(value))),
            },
            "proto" => match value.as_str() {
                Some(text) => match PROTOCOLS.iter().find(|(name, _)| *name == text) {
                    Some((_, number)) => Self::Protocol(*number),
                    None => return Err(format!("proto: {} is not known", named(text))),
                },
                None => Self::Protocol(number(value, name, 255)? as u8),
            },
            "sport" => Self::SourcePort(number(value, name, 65_535)? as u16),
            "dport" => Self::DestinationPort(number(value, name, 65_535)? as u16),
            "daddr" => match string(value, name)?.parse() {
                Ok(address) => Self::Destination(address),
                Err(_) => return Err(format!("daddr is an address, not {}", shown(value))),
            },
            "dscp" => Self::Dscp(number(value, name, 63)? as u8),
            "state" => Self::State(array(value, name)?.iter().map(state).collect::<Result<_, _>>()?),
            "length_over" => Self::LongerThan(number(value, name, u32::MAX.into())?),
            "tcp_flags" => {
                let flags_of = object(value, name)?;
                known(flags_of, &["of", "are"])?;
                let flags = |name: &str| flags(flags_of.get(name).unwrap_or(&Value::Null), name);
                Self::TcpFlags { of: flags("of")?, are: flags("are")? }
            }
            other => return Err(format!("condition {} is not known", named(other))),
        })
    }
}

fn state(value: &Value) -> Result<CtState, String> {
    use CtState::{Established, Invalid, New, Related, Untracked};
    let found = [New, Established, Related, Invalid, Untracked].into_iter().find(|s| value == s.as_str());
    found.ok_or_else(|| format!("state: {} is not known", shown(value)))
}

/// Letters for the bits of TCP's 13th byte.
fn flags(value: &Value, what: &str) -> Result<u8, String> {
    let mut bits = 0;
    for letter in string(value, what)?.chars() {
        let Some(bit) = "FSRPAUEW".find(letter) else {
            return Err(format!("tcp_flags: {what} is letters of FSRPAUEW, not {}", shown(value)));
        };
        bits |= 1 << bit;
    }
    Ok(bits)
}

impl Action {
    fn parse(name: &str, value: &Value) -> Result<Self, String> {
        Ok(match name {
            "notrack" => yes(value, name).map(|()| Self::NoTrack)?,
            "drop" => yes(value, name).map(|()| Self::Drop)?,
            "reject" => Self::Reject(Reject::parse(value)?),
            "zone" => Self::Zone(number(value, name, 65_535)? as u16),
            "zone_orig" => Self::ZoneOriginal(number(value, name, 65_535)? as u16),
            "mark" => Self::Mark(Number::parse(name, value)?),
            "mark_or" => Self::MarkOr(Number::parse(name, value)?),
            "timeout" => Self::Timeout(Policy::parse(value)?),
            "helper" => {
                let name = string(value, name)?;
                let known = HELPERS.iter().find(|helper| **helper == name);
                known.map(|helper| Self::Helper(helper)).ok_or_else(|| not_yet(&format!("helper {name}")))?
            }
            "expect" => Self::Expect(Announced::parse(value)?),
            "snat" | "dnat" | "masquerade" | "redirect" => return Err(not_yet(name)),
            other => return Err(format!("action {} is not known", named(other))),
        })
    }
}

impl Announced {
    fn parse(value: &Value) -> Result<Self, String> {
        let expect = object(value, "expect")?;
        known(expect, &["protocol", "dport", "timeout_s", "size"])?;
        let field = |name: &str| expect.get(name).unwrap_or(&Value::Null);
        let protocol = string(field("protocol"), "protocol")?;
        let Some((_, protocol)) = PROTOCOLS.iter().find(|(name, _)| *name == protocol) else {
            return Err(format!("expect: protocol {} is not known", named(protocol)));
        };
        let timeout = number(field("timeout_s"), "timeout_s", MAX_TIMEOUT.into())? as u32;
        let size = number(field("size"), "size", u8::MAX.into())? as u8;
        if timeout == 0 || size == 0 {
            return Err("expect: timeout_s and size are at least 1".to_owned());
        }
        let port = number(field("dport"), "dport", 65_535)? as u16;
        Ok(Self { protocol: *protocol, port, timeout, size })
    }
}

impl Number {
    fn parse(name: &str, value: &Value) -> Result<Self, String> {
        if value == "length" {
            return Ok(Self::Length);
        }
        number(value, name, u32::MAX.into()).map(|n| Self::Given(n as u32))
    }
}

/// States as rules name them, and the tunables that stand for them.
const TCP: &[(&str, &str)] = &[
    ("syn_sent", "tcp_timeout_syn_sent"),
    ("syn_recv", "tcp_timeout_syn_recv"),
    ("established", "tcp_timeout_established"),
    ("fin_wait", "tcp_timeout_fin_wait"),
    ("close_wait", "tcp_timeout_close_wait"),
    ("last_ack", "tcp_timeout_last_ack"),
    ("time_wait", "tcp_timeout_time_wait"),
    ("close", "tcp_timeout_close"),
    ("retrans", "tcp_timeout_max_retrans"),
    ("unack", "tcp_timeout_unacknowledged"),
];
const UDP: &[(&str, &str)] = &[("unreplied", "udp_timeout"), ("replied", "udp_timeout_stream")];

impl Policy {
    fn parse(value: &Value) -> Result<Self, String> {
        let states = object(value, "timeout")?;
        let mut found = None;
        let mut all = Vec::new();
        for (name, seconds) in states {
            let of = |list: &[(&str, &'static str)]| list.iter().find(|(n, _)| n == name).map(|(_, t)| *t);
            let (protocol, tunable) = match (of(TCP), of(UDP)) {
                (Some(tunable), _) => (protocol::TCP, tunable),
                (_, Some(tunable)) => (protocol::UDP, tunable),
                _ => return Err(format!("timeout: state {} is not known", named(name))),
            };
            if *found.get_or_insert(protocol) != protocol {
                return Err("timeout: its states are those of two protocols".to_owned());
            }
            all.push((tunable, number(seconds, name, MAX_TIMEOUT.into())? as u32));
        }
        let protocol = found.ok_or("timeout: it names no state")?;
        Ok(Self { protocol, named: all, number: 0 })
    }

    /// All timeouts: its own, and the defaults of those it does not name.
    pub fn timeouts(&self) -> Result<Tunables, String> {
        let mut all = Tunables::default();
        for (name, seconds) in &self.named {
            all.set(name, *seconds).map_err(|e| e.to_string())?;
        }
        Ok(all)
    }
}
