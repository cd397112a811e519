//! L3: what happened to a connection, told in the kernel's terms (`conntrack -E`, ctnetlink).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::conn::status;
use crate::connection::{Connection, Ports, protocol_name};

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
/// - IPv6 addresses as glibc's `inet_ntop` writes them.
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
    /// The connection. Counters and the seconds it has lived (`delta_time`) are told at its end only; windows are not.
    pub connection: Connection,
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

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = &self.connection;
        let l4 = c.original.l4;
        let ended = self.kind == EventKind::Destroy;
        let kind = match self.kind {
            EventKind::New => "    [NEW]",
            EventKind::Update => " [UPDATE]",
            EventKind::Destroy => "[DESTROY]",
        };
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
        Ok(())
    }
}
