//! L3: a connection as it is shown: a copy taken at one moment, and its line of `/proc/net/nf_conntrack`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::conn::status;
use crate::helper::Name;
use crate::packet::Handle;
use crate::proto::{sctp, tcp};
use crate::tuple::{Addr, L3, Tuple, Zone, addr, protocol};

/// Packets and bytes of one direction. Bytes are those of whole IP packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What a tracker remembers beyond state and timeout, where it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracked {
    /// Nothing.
    None,
    /// TCP, window tracking included. `None` in the middle: the record was being written while it was read.
    Tcp(tcp::State, Option<tcp::Record>),
    /// GRE: seconds unreplied, seconds replied.
    Gre(u32, u32),
    /// SCTP. `None` as for TCP.
    Sctp(sctp::State, Option<sctp::Record>),
}

impl Tracked {
    /// The name of the state of a protocol that has states, as it is shown.
    pub const fn state(&self) -> Option<&'static str> {
        match self {
            Self::Tcp(state, _) => Some(state.as_str()),
            Self::Sctp(state, _) => Some(state.as_str()),
            Self::None | Self::Gre(..) => None,
        }
    }
}

/// A connection, copied out of the table at one moment.
///
/// `Display` writes the kernel's line (`/proc/net/nf_conntrack`), `FromStr` reads one, spaces collapsed or not, with or
/// without `use=`. Passed over when read:
/// `secctx=`. What the line does not show (handle, most status bits, TCP windows, SCTP tags, helper, master) is then 0 or
/// `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its name, for deleting it. [`Handle::NONE`] if read from text.
    pub handle: Handle,
    /// Tuple of the original direction.
    pub original: Tuple,
    /// Tuple of the reply direction: the inverse, unless NAT changed it.
    pub reply: Tuple,
    /// Zone of the original direction.
    pub zone_orig: Zone,
    /// Zone of the reply direction.
    pub zone_reply: Zone,
    /// Status bits ([`status`]).
    pub status: u16,
    /// State and memory of its tracker.
    pub tracked: Tracked,
    /// Milliseconds until it expires.
    pub timeout_ms: u32,
    /// Mark.
    pub mark: u32,
    /// Counters of either direction, where accounting is on.
    pub counters: Option<[Counters; 2]>,
    /// Seconds since it began, where timestamps are on.
    pub delta_time: Option<u64>,
    /// Its helper.
    pub helper: Option<Name>,
    /// The connection that expected it.
    pub master: Option<Master>,
}

/// The connection that expected another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Master {
    /// Its name. The connection may be gone.
    pub handle: Handle,
    /// Its original tuple.
    pub tuple: Tuple,
}

/// The name of a protocol that has a tracker; `unknown` for every other, as in the kernel's line.
pub fn protocol_name(l4: u8) -> &'static str {
    match l4 {
        protocol::ICMP => "icmp",
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::GRE => "gre",
        protocol::ICMPV6 => "icmpv6",
        protocol::SCTP => "sctp",
        protocol::UDPLITE => "udplite",
        _ => "unknown",
    }
}

/// As in the kernel's line: addresses (IPv6 uncompressed), then what the protocol has.
impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (src, dst) = (Address(self.l3, &self.src), Address(self.l3, &self.dst));
        write!(f, "src={src} dst={dst}{}", Ports(self))
    }
}

/// What a tuple has besides its addresses, each with a blank before it.
pub(crate) struct Ports<'a>(pub &'a Tuple);

impl fmt::Display for Ports<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tuple { sport, dport, .. } = *self.0;
        match self.0.l4 {
            protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP => {
                write!(f, " sport={sport} dport={dport}")
            }
            protocol::ICMP | protocol::ICMPV6 => {
                write!(f, " type={} code={} id={sport}", dport >> 8, dport & 0xff)
            }
            protocol::GRE => write!(f, " srckey={sport:#x} dstkey={dport:#x}"),
            _ => Ok(()),
        }
    }
}

struct Address<'a>(L3, &'a Addr);

impl fmt::Display for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a = self.1;
        match self.0 {
            L3::V4 => write!(f, "{}.{}.{}.{}", a[0], a[1], a[2], a[3]),
            L3::V6 => {
                for (i, pair) in a.as_chunks::<2>().0.iter().enumerate() {
                    let colon = if i == 0 { "" } else { ":" };
                    write!(f, "{colon}{:02x}{:02x}", pair[0], pair[1])?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (l3, number) = match self.original.l3 {
            L3::V4 => ("ipv4", 2),
            L3::V6 => ("ipv6", 10),
        };
        let l4 = self.original.l4;
        write!(f, "{l3:<8} {number} {:<8} {l4} ", protocol_name(l4))?;
        // Of what is offloaded the kernel shows neither time nor state: it does not know them.
        let offloaded = self.status & status::OFFLOAD != 0;
        if !offloaded {
            write!(f, "{} ", self.timeout_ms / 1000)?;
        }
        match (self.tracked, self.tracked.state()) {
            _ if offloaded => {}
            (Tracked::Gre(timeout, stream), _) => {
                write!(f, "timeout={timeout}, stream_timeout={stream} ")?;
            }
            (_, Some(state)) => write!(f, "{state} ")?,
            (_, None) => {}
        }
        let directional = self.zone_orig != self.zone_reply;
        for (dir, tuple) in [&self.original, &self.reply].into_iter().enumerate() {
            write!(f, "{tuple} ")?;
            let (name, zone) = [("orig", self.zone_orig), ("reply", self.zone_reply)][dir];
            if directional && zone != 0 {
                write!(f, "zone-{name}={zone} ")?;
            }
            if let Some(counters) = &self.counters {
                write!(f, "packets={} bytes={} ", counters[dir].packets, counters[dir].bytes)?;
            }
            if dir == 0 && self.status & status::SEEN_REPLY == 0 {
                write!(f, "[UNREPLIED] ")?;
            }
        }
        if offloaded {
            write!(f, "[OFFLOAD] ")?;
        } else if self.status & status::ASSURED != 0 {
            write!(f, "[ASSURED] ")?;
        }
        write!(f, "mark={} ", self.mark)?;
        if !directional {
            write!(f, "zone={} ", self.zone_orig)?;
        }
        if let Some(seconds) = self.delta_time {
            write!(f, "delta-time={seconds} ")?;
        }
        write!(f, "use=1")
    }
}

/// Why a line is not one of `/proc/net/nf_conntrack`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What was being read.
    pub what: &'static str,
    /// The word met there, or empty at the end of the line.
    pub word: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.word.is_empty() {
            write!(f, "the line ends where {} should be", self.what)
        } else {
            write!(f, "'{}' where {} should be", self.word, self.what)
        }
    }
}

impl std::error::Error for ParseError {}

fn fail<T>(what: &'static str, word: &str) -> Result<T, ParseError> {
    // It may go to a terminal or a log.
    let tame = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    Err(ParseError { what, word: word.chars().take(80).map(tame).collect() })
}

/// The words of a line, read from left to right.
struct Words<'a> {
    rest: std::iter::Peekable<std::str::SplitAsciiWhitespace<'a>>,
}

impl<'a> Words<'a> {
    fn next(&mut self, what: &'static str) -> Result<&'a str, ParseError> {
        self.rest.next().map_or_else(|| fail(what, ""), Ok)
    }

    fn number<T: FromStr>(&mut self, what: &'static str) -> Result<T, ParseError> {
        let word = self.next(what)?;
        word.parse().or_else(|_| fail(what, word))
    }

    /// The value of `name=value` if that is what comes next.
    fn optional(&mut self, name: &str) -> Option<&'a str> {
        let value = self.rest.peek()?.strip_prefix(name)?.strip_prefix('=')?;
        self.rest.next();
        Some(value)
    }

    fn optional_number<T: FromStr>(&mut self, name: &'static str) -> Result<Option<T>, ParseError> {
        let Some(value) = self.optional(name) else { return Ok(None) };
        value.parse().map(Some).or_else(|_| fail(name, value))
    }

    /// `name=number`, decimal, or hexadecimal after 0x.
    fn value(&mut self, name: &'static str) -> Result<u16, ParseError> {
        let Some(value) = self.optional(name) else { return fail(name, self.rest.peek().unwrap_or(&"")) };
        let number = match value.strip_prefix("0x") {
            Some(hex) => u16::from_str_radix(hex, 16),
            None => value.parse(),
        };
        number.or_else(|_| fail(name, value))
    }

    fn flag(&mut self, flag: &str) -> bool {
        self.rest.next_if(|word| *word == flag).is_some()
    }

    fn address(&mut self, name: &'static str, l3: L3) -> Result<Addr, ParseError> {
        let Some(value) = self.optional(name) else { return fail(name, self.rest.peek().unwrap_or(&"")) };
        let parsed = match l3 {
            L3::V4 => value.parse::<Ipv4Addr>().map(|a| addr(a.into())).ok(),
            L3::V6 => value.parse::<Ipv6Addr>().map(|a| addr(a.into())).ok(),
        };
        parsed.map_or_else(|| fail(name, value), Ok)
    }

    fn tuple(&mut self, l3: L3, l4: u8) -> Result<Tuple, ParseError> {
        let (src, dst) = (self.address("src", l3)?, self.address("dst", l3)?);
        let (sport, dport) = match l4 {
            protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP => {
                (self.value("sport")?, self.value("dport")?)
            }
            protocol::ICMP | protocol::ICMPV6 => {
                let (kind, code, id) = (self.value("type")?, self.value("code")?, self.value("id")?);
                if kind > 255 || code > 255 {
                    return fail("an ICMP type and code", &format!("{kind} {code}"));
                }
                (id, kind << 8 | code)
            }
            protocol::GRE => (self.value("srckey")?, self.value("dstkey")?),
            _ => (0, 0),
        };
        Ok(Tuple { src, dst, sport, dport, l4, l3 })
    }

    fn counters(&mut self) -> Result<Option<Counters>, ParseError> {
        let Some(packets) = self.optional_number("packets")? else { return Ok(None) };
        let Some(bytes) = self.optional_number("bytes")? else {
            return fail("bytes=", self.rest.peek().unwrap_or(&""));
        };
        Ok(Some(Counters { packets, bytes }))
    }
}

impl FromStr for Connection {
    type Err = ParseError;

    fn from_str(line: &str) -> Result<Self, ParseError> {
        let mut words = Words { rest: line.split_ascii_whitespace().peekable() };
        let l3 = match (words.next("ipv4 or ipv6")?, words.number("the family's number")?) {
            ("ipv4", 2) => L3::V4,
            ("ipv6", 10) => L3::V6,
            (name, _) => return fail("ipv4 2 or ipv6 10", name),
        };
        let name = words.next("a protocol")?;
        let l4 = words.number("the protocol's number")?;
        if name != protocol_name(l4) {
            return fail("the name of that protocol", name);
        }
        // Neither time nor state: offloaded.
        let offloaded = words.rest.peek().is_some_and(|word| word.starts_with("src="));
        let seconds: u32 = if offloaded { 0 } else { words.number("the seconds left")? };
        let Some(timeout_ms) = seconds.checked_mul(1000) else {
            return fail("the seconds left", "a number too large");
        };
        let tracked = match l4 {
            _ if offloaded => Tracked::None,
            protocol::SCTP => {
                let word = words.next("an SCTP state")?;
                // What older kernels call so is ESTABLISHED in later ones.
                let word = if word == "HEARTBEAT_ACKED" { "ESTABLISHED" } else { word };
                let mut states = (0..sctp::State::COUNT as u8).filter_map(sctp::State::from_u8);
                let Some(state) = states.find(|state| state.as_str() == word) else {
                    return fail("an SCTP state", word);
                };
                Tracked::Sctp(state, None)
            }
            protocol::TCP => {
                let word = words.next("a TCP state")?;
                let mut states = (0..tcp::State::COUNT as u8).filter_map(tcp::State::from_u8);
                let Some(state) = states.find(|state| state.as_str() == word) else {
                    return fail("a TCP state", word);
                };
                Tracked::Tcp(state, None)
            }
            protocol::GRE => {
                let timeout =
                    words.optional("timeout").and_then(|v| v.strip_suffix(',')).and_then(|v| v.parse().ok());
                let stream = words.optional_number("stream_timeout")?;
                match (timeout, stream) {
                    (Some(timeout), Some(stream)) => Tracked::Gre(timeout, stream),
                    _ => return fail("timeout=N, stream_timeout=N", words.rest.peek().unwrap_or(&"")),
                }
            }
            _ => Tracked::None,
        };
        let mut status = status::CONFIRMED | status::SEEN_REPLY;
        let original = words.tuple(l3, l4)?;
        let mut zone_orig = words.optional_number("zone-orig")?;
        let counted = words.counters()?;
        if words.flag("[UNREPLIED]") {
            status &= !status::SEEN_REPLY;
        }
        let reply = words.tuple(l3, l4)?;
        let mut zone_reply = words.optional_number("zone-reply")?;
        let counters = counted.zip(words.counters()?).map(|(there, back)| [there, back]);
        if words.flag("[OFFLOAD]") || words.flag("[HW_OFFLOAD]") {
            status |= status::OFFLOAD;
        } else if offloaded {
            return fail("[OFFLOAD] (there is no time)", words.rest.peek().unwrap_or(&""));
        }
        if words.flag("[ASSURED]") {
            status |= status::ASSURED;
        }
        let mark = words.optional_number("mark")?.unwrap_or(0);
        let _ = words.optional("secctx");
        if let Some(zone) = words.optional_number("zone")? {
            zone_orig = Some(zone);
            zone_reply = Some(zone);
        }
        let delta_time = words.optional_number("delta-time")?;
        let _: Option<u32> = words.optional_number("use")?;
        if let Some(word) = words.rest.next() {
            return fail("the end of the line", word);
        }
        Ok(Self {
            handle: Handle::NONE,
            original,
            reply,
            zone_orig: zone_orig.unwrap_or(0),
            zone_reply: zone_reply.unwrap_or(0),
            status,
            tracked,
            timeout_ms,
            mark,
            counters,
            delta_time,
            helper: None,
            master: None,
        })
    }
}
