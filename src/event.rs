//! L3: what happened to a connection, told in the kernel's terms (`conntrack -E`, ctnetlink).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::conn::status;
use crate::connection::{Connection, Ports, protocol_name};
use crate::expect::Expectation;
use crate::net::L3;
use crate::tuple::Tuple;

/// What kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// A connection entered the table.
    New = 0,
    /// It changed, and a packet of it was let through since: [`Event::changes`] says what changed.
    Update = 1,
    /// It left the table, by timeout, by hand, by a packet, or to make room.
    Destroy = 2,
    /// A connection is expected: [`Event::expectation`].
    ExpectNew = 3,
    /// It is no longer expected: it came, its time was over, it made room, or its master ended.
    ExpectDestroy = 4,
}

impl EventKind {
    /// The name, in capitals.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Update => "UPDATE",
            Self::Destroy => "DESTROY",
            Self::ExpectNew => "EXP_NEW",
            Self::ExpectDestroy => "EXP_DESTROY",
        }
    }
}

/// What changed: bits for [`Event::changes`], numbered as in the kernel (`enum ip_conntrack_events` in the uapi).
pub mod change {
    /// The connection is new.
    pub const NEW: u16 = 1;
    /// It is new, and was expected.
    pub const RELATED: u16 = 1 << 1;
    /// It ended.
    pub const DESTROY: u16 = 1 << 2;
    /// The first reply was seen.
    pub const REPLY: u16 = 1 << 3;
    /// It became ASSURED.
    pub const ASSURED: u16 = 1 << 4;
    /// The protocol's state changed (TCP).
    pub const PROTOINFO: u16 = 1 << 5;
    /// A helper was attached.
    pub const HELPER: u16 = 1 << 6;
    /// The mark changed.
    pub const MARK: u16 = 1 << 7;
    /// Sequence numbers are adjusted.
    pub const SEQADJ: u16 = 1 << 8;
}

/// Something that happened to a connection, as it was then.
///
/// Several changes between two packets that are let through make one UPDATE, as in the kernel.
///
/// `Display` writes the line of `conntrack -E`, without the time that `-o timestamp` puts before it. Seen with kernel
/// 6.18 and conntrack 1.4.7:
///
/// - Seconds left: always in NEW and UPDATE, in DESTROY if there is at least one (deleted, replaced, evicted; not expired).
/// - TCP's state: in NEW and DESTROY, and in an UPDATE that tells of a change of it. Of GRE no timeouts, unlike in /proc.
/// - `packets=`, `bytes=` and `delta-time=`: in DESTROY. `delta-time` is the difference of the clock's whole seconds.
/// - `mark=`: if it is not 0 or has changed. `zone=`, `zone-orig=`, `zone-reply=`: if not 0.
/// - `helper=`: in NEW and UPDATE.
/// - IPv6 addresses as glibc's `inet_ntop` writes them.
/// - Of an expectation the line of `conntrack -E expect`.
///
/// Not written: `[USERSPACE] portid=...`, which the kernel's lines have if another program made the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What kind.
    pub kind: EventKind,
    /// What changed ([`change`]).
    pub changes: u16,
    /// When, in the milliseconds that were given to `track`, `confirm` or `reap`. (For what was ended by hand: the
    /// latest that any worker was given. For what has expired: when its time was up, not when that was noticed.)
    pub at: u64,
    /// The connection. Counters and the seconds it has lived (`delta_time`) are told at its end only, its helper until then, its master
    /// when it is new; windows are not told. Of an expectation: the master, of which nothing is told but handle, tuples (the reply's without
    /// NAT) and helper.
    pub connection: Connection,
    /// The expectation that began or ended.
    pub expectation: Option<Expectation>,
}

/// An address as glibc's `inet_ntop` writes it: that of IPv6 which begins with 96 zero bits ends like one of IPv4.
struct Address(IpAddr);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V6(v6) => match v6.segments() {
                [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                    write!(f, "::{}", Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
                }
                _ => v6.fmt(f),
            },
            IpAddr::V4(v4) => v4.fmt(f),
        }
    }
}

/// An expectation as `conntrack -E expect` writes it.
struct Expected<'a>(&'a Expectation);

impl fmt::Display for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Expectation { tuple, master_tuple: master, any_source, .. } = self.0;
        let (none, all) = match tuple.l3 {
            L3::V4 => (IpAddr::from([0; 4]), IpAddr::from([255; 4])),
            L3::V6 => (IpAddr::from([0; 16]), IpAddr::from([255; 16])),
        };
        let ends = |tuple: &Tuple| (Address(tuple.src_ip()), Address(tuple.dst_ip()));
        let (src, dst) = ends(tuple);
        write!(f, "{} proto={} src={src} dst={dst}{} ", self.0.timeout_ms / 1000, tuple.l4, Ports(tuple))?;
        let mask = Address(if *any_source { none } else { all });
        write!(f, "mask-src={mask} mask-dst={} sport=0 dport=65535 ", Address(all))?;
        let (src, dst) = ends(master);
        write!(f, "master-src={src} master-dst={dst}{}", Ports(master))?;
        if self.0.permanent {
            f.write_str(" PERMANENT")?;
        }
        write!(f, " class={}", self.0.class)?;
        match self.0.helper {
            Some(helper) => write!(f, " helper={helper}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.connection;
        let l4 = c.original.l4;
        let ended = self.kind == EventKind::Destroy;
        let kind = match self.kind {
            EventKind::New | EventKind::ExpectNew => "    [NEW]",
            EventKind::Update => " [UPDATE]",
            EventKind::Destroy | EventKind::ExpectDestroy => "[DESTROY]",
        };
        if let Some(expectation) = &self.expectation {
            return write!(f, "{kind} {}", Expected(expectation));
        }
        write!(f, "{kind} {:<8} {l4} ", protocol_name(l4))?;
        if !ended || c.timeout_ms >= 1000 {
            write!(f, "{} ", c.timeout_ms / 1000)?;
        }
        if let Some(state) = c.tracked.state()
            && (ended || self.changes & change::PROTOINFO != 0)
        {
            write!(f, "{state} ")?;
        }
        let directional = c.zone_orig != c.zone_reply;
        for (dir, tuple) in [&c.original, &c.reply].into_iter().enumerate() {
            write!(f, "src={} dst={}{}", Address(tuple.src_ip()), Address(tuple.dst_ip()), Ports(tuple))?;
            let (name, zone) = [("orig", c.zone_orig), ("reply", c.zone_reply)][dir];
            if directional && zone != 0 {
                write!(f, " zone-{name}={zone}")?;
            }
            if let Some(counters) = &c.counters {
                write!(f, " packets={} bytes={}", counters[dir].packets, counters[dir].bytes)?;
            }
            if dir == 0 {
                f.write_str(if c.status & status::SEEN_REPLY == 0 { " [UNREPLIED] " } else { " " })?;
            }
        }
        if c.status & status::ASSURED != 0 {
            f.write_str(" [ASSURED]")?;
        }
        if c.mark != 0 || self.changes & change::MARK != 0 {
            write!(f, " mark={}", c.mark)?;
        }
        if !directional && c.zone_orig != 0 {
            write!(f, " zone={}", c.zone_orig)?;
        }
        if let Some(seconds) = c.delta_time {
            write!(f, " delta-time={seconds}")?;
        }
        if let Some(helper) = c.helper {
            write!(f, " helper={helper}")?;
        }
        Ok(())
    }
}
