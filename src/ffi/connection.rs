//! Chapter: tuples and connections.

use std::ffi::{CStr, c_char};

use super::{print, sized_in};
use crate::connection::{Connection, Counters, Master, Tracked};
use crate::helper::Name;
use crate::net::{Addr, L3};
use crate::packet::Handle;
use crate::proto::{sctp, tcp};
use crate::tuple::{Tuple, protocol};

/// conntab_tuple.l3: IPv4.
pub const CONNTAB_IPV4: u8 = 2;
/// conntab_tuple.l3: IPv6.
pub const CONNTAB_IPV6: u8 = 10;

/// What identifies one direction of a connection, zones apart: 40 bytes.
///
/// sport and dport, in host byte order, hold for ICMP and ICMPv6: the identifier, and type << 8 | code; for GRE: the keys
/// (call ids); for protocols without ports: 0.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_tuple {
    /// Source address in network byte order; IPv4 in the first four bytes, the others 0.
    pub src: [u8; 16],
    /// Destination address likewise.
    pub dst: [u8; 16],
    /// Source port, or what stands for it.
    pub sport: u16,
    /// Destination port, or what stands for it.
    pub dport: u16,
    /// Transport protocol (IANA number).
    pub l4: u8,
    /// CONNTAB_IPV4 or CONNTAB_IPV6.
    pub l3: u8,
    /// 0.
    pub reserved: u16,
}

impl conntab_tuple {
    pub(super) const NOTHING: Self =
        Self { src: [0; 16], dst: [0; 16], sport: 0, dport: 0, l4: 0, l3: 0, reserved: 0 };

    pub(super) fn of(tuple: &Tuple) -> Self {
        let Tuple { src, dst, sport, dport, l4, l3 } = *tuple;
        Self { src, dst, sport, dport, l4, l3: l3 as u8, reserved: 0 }
    }

    /// The tuple meant; `None` if it names no family, or has more of an address than its family.
    pub(super) fn meant(&self) -> Option<Tuple> {
        let l3 = match self.l3 {
            CONNTAB_IPV4 => L3::V4,
            CONNTAB_IPV6 => L3::V6,
            _ => return None,
        };
        let fits = |addr: &Addr| l3 == L3::V6 || addr[4..].iter().all(|byte| *byte == 0);
        let Self { src, dst, sport, dport, l4, .. } = *self;
        (fits(&src) && fits(&dst)).then_some(Tuple { src, dst, sport, dport, l4, l3 })
    }

    pub(super) fn read(from: *const Self) -> Option<Tuple> {
        if from.is_null() || !from.is_aligned() {
            return None;
        }
        // SAFETY: C promises a tuple; any bytes are a valid one.
        unsafe { from.read() }.meant()
    }
}

/// Packets and bytes of one direction. Bytes are those of whole IP packets.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct conntab_counters {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A connection, copied out of the table at one moment.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_connection {
    /// Its handle: index and generation, never 0. It stays harmless when the connection is gone.
    pub conn: u64,
    /// Tuple of the original direction.
    pub original: conntab_tuple,
    /// Tuple of the reply direction: the inverse, unless NAT changed it.
    pub reply: conntab_tuple,
    /// Zone of the original direction.
    pub zone_orig: u16,
    /// Zone of the reply direction.
    pub zone_reply: u16,
    /// Status: CONNTAB_STATUS_* bits.
    pub status: u16,
    /// The protocol's state (TCP: CONNTAB_TCP_*, SCTP: CONNTAB_SCTP_*), else 0.
    pub proto_state: u8,
    /// 1: `counters` are known.
    pub has_counters: u8,
    /// 1: `delta_time` is known.
    pub has_delta_time: u8,
    /// 0.
    pub reserved: [u8; 3],
    /// Its mark.
    pub mark: u32,
    /// Milliseconds until it expires.
    pub timeout_ms: u32,
    /// GRE: seconds while unreplied, else 0.
    pub gre_timeout: u32,
    /// GRE: seconds once replied, else 0.
    pub gre_stream_timeout: u32,
    /// 0.
    pub reserved2: u32,
    /// Packets and bytes: of the original direction, then of the reply direction.
    pub counters: [conntab_counters; 2],
    /// Seconds since it began.
    pub delta_time: u64,
    /// The connection that expected it, which may be gone; 0: it was not expected.
    pub master: u64,
    /// The master's original tuple; nothing if `master` is 0.
    pub master_tuple: conntab_tuple,
    /// The name of its helper, ended by a 0; empty: it has none.
    pub helper: [c_char; 16],
}

impl conntab_connection {
    /// What a caller who knows less of the struct says of the rest.
    pub(super) const NOTHING: Self = Self {
        conn: 0,
        original: conntab_tuple::NOTHING,
        reply: conntab_tuple::NOTHING,
        zone_orig: 0,
        zone_reply: 0,
        status: 0,
        proto_state: 0,
        has_counters: 0,
        has_delta_time: 0,
        reserved: [0; 3],
        mark: 0,
        timeout_ms: 0,
        gre_timeout: 0,
        gre_stream_timeout: 0,
        reserved2: 0,
        counters: [conntab_counters { packets: 0, bytes: 0 }; 2],
        delta_time: 0,
        master: 0,
        master_tuple: conntab_tuple::NOTHING,
        helper: [0; 16],
    };

    pub(super) fn of(connection: &Connection) -> Self {
        let counters = connection
            .counters
            .map(|both| both.map(|Counters { packets, bytes }| conntab_counters { packets, bytes }));
        let (proto_state, gre) = match connection.tracked {
            Tracked::None => (0, (0, 0)),
            Tracked::Tcp(state, _) => (state as u8, (0, 0)),
            Tracked::Sctp(state, _) => (state as u8, (0, 0)),
            Tracked::Gre(timeout, stream) => (0, (timeout, stream)),
        };
        Self {
            conn: connection.handle.to_u64(),
            original: conntab_tuple::of(&connection.original),
            reply: conntab_tuple::of(&connection.reply),
            zone_orig: connection.zone_orig,
            zone_reply: connection.zone_reply,
            status: connection.status,
            proto_state,
            has_counters: counters.is_some().into(),
            has_delta_time: connection.delta_time.is_some().into(),
            reserved: [0; 3],
            mark: connection.mark,
            timeout_ms: connection.timeout_ms,
            gre_timeout: gre.0,
            gre_stream_timeout: gre.1,
            reserved2: 0,
            counters: counters.unwrap_or_default(),
            delta_time: connection.delta_time.unwrap_or(0),
            master: connection.master.map_or(0, |master| master.handle.to_u64()),
            master_tuple: connection
                .master
                .map_or(conntab_tuple::NOTHING, |master| conntab_tuple::of(&master.tuple)),
            helper: chars(connection.helper),
        }
    }

    pub(super) fn meant(&self) -> Option<Connection> {
        let original = self.original.meant()?;
        let tracked = match original.l4 {
            protocol::TCP => Tracked::Tcp(tcp::State::from_u8(self.proto_state)?, None),
            protocol::SCTP => Tracked::Sctp(sctp::State::from_u8(self.proto_state)?, None),
            protocol::GRE => Tracked::Gre(self.gre_timeout, self.gre_stream_timeout),
            _ => Tracked::None,
        };
        let counters = self.counters.map(|conntab_counters { packets, bytes }| Counters { packets, bytes });
        Some(Connection {
            handle: Handle::from_u64(self.conn),
            original,
            reply: self.reply.meant()?,
            zone_orig: self.zone_orig,
            zone_reply: self.zone_reply,
            status: self.status,
            tracked,
            timeout_ms: self.timeout_ms,
            mark: self.mark,
            counters: (self.has_counters != 0).then_some(counters),
            delta_time: (self.has_delta_time != 0).then_some(self.delta_time),
            helper: named(&self.helper)?,
            master: match self.master {
                0 => None,
                handle => {
                    Some(Master { handle: Handle::from_u64(handle), tuple: self.master_tuple.meant()? })
                }
            },
        })
    }
}

/// A name as C has it.
pub(super) fn chars(name: Option<Name>) -> [c_char; 16] {
    let mut chars = [0; 16];
    let name = name.unwrap_or_default();
    chars.iter_mut().zip(name.as_str().bytes()).for_each(|(to, byte)| *to = byte as c_char);
    chars
}

/// The name that C has there, if there is one; `None` in all: it is none.
pub(super) fn named(chars: &[c_char; 16]) -> Option<Option<Name>> {
    let bytes = chars.map(|char| char as u8);
    let text = CStr::from_bytes_until_nul(&bytes).ok()?.to_str().ok()?;
    let name = Name::new(text)?;
    Some((!name.is_none()).then_some(name))
}

/// Created by an expectation.
pub const CONNTAB_STATUS_EXPECTED: u16 = 1;
/// A packet was accepted in reply direction.
pub const CONNTAB_STATUS_SEEN_REPLY: u16 = 2;
/// Not to be evicted early.
pub const CONNTAB_STATUS_ASSURED: u16 = 4;
/// In the table.
pub const CONNTAB_STATUS_CONFIRMED: u16 = 8;
/// The source is translated.
pub const CONNTAB_STATUS_SRC_NAT: u16 = 0x10;
/// The destination is translated.
pub const CONNTAB_STATUS_DST_NAT: u16 = 0x20;
/// Source NAT was decided.
pub const CONNTAB_STATUS_SRC_NAT_DONE: u16 = 0x80;
/// Destination NAT was decided.
pub const CONNTAB_STATUS_DST_NAT_DONE: u16 = 0x100;
/// Leaving the table (in events).
pub const CONNTAB_STATUS_DYING: u16 = 0x200;
/// A helper is attached.
pub const CONNTAB_STATUS_HELPER: u16 = 0x2000;

/// TCP: no segment yet.
pub const CONNTAB_TCP_NONE: u8 = 0;
/// TCP: SYN seen.
pub const CONNTAB_TCP_SYN_SENT: u8 = 1;
/// TCP: SYN and SYN/ACK seen.
pub const CONNTAB_TCP_SYN_RECV: u8 = 2;
/// TCP: the handshake is complete.
pub const CONNTAB_TCP_ESTABLISHED: u8 = 3;
/// TCP: a FIN was seen.
pub const CONNTAB_TCP_FIN_WAIT: u8 = 4;
/// TCP: the first FIN was acknowledged.
pub const CONNTAB_TCP_CLOSE_WAIT: u8 = 5;
/// TCP: FINs of both ends were seen.
pub const CONNTAB_TCP_LAST_ACK: u8 = 6;
/// TCP: the second FIN was acknowledged.
pub const CONNTAB_TCP_TIME_WAIT: u8 = 7;
/// TCP: a RST was seen.
pub const CONNTAB_TCP_CLOSE: u8 = 8;
/// TCP: SYNs of both ends were seen (simultaneous open).
pub const CONNTAB_TCP_SYN_SENT2: u8 = 9;

/// SCTP: no packet yet.
pub const CONNTAB_SCTP_NONE: u8 = 0;
/// SCTP: INIT seen, or the association is over.
pub const CONNTAB_SCTP_CLOSED: u8 = 1;
/// SCTP: INIT ACK seen.
pub const CONNTAB_SCTP_COOKIE_WAIT: u8 = 2;
/// SCTP: COOKIE ECHO seen.
pub const CONNTAB_SCTP_COOKIE_ECHOED: u8 = 3;
/// SCTP: COOKIE ACK seen, or the answer to a HEARTBEAT on a path of its own.
pub const CONNTAB_SCTP_ESTABLISHED: u8 = 4;
/// SCTP: SHUTDOWN of the end that began.
pub const CONNTAB_SCTP_SHUTDOWN_SENT: u8 = 5;
/// SCTP: SHUTDOWN of the other end.
pub const CONNTAB_SCTP_SHUTDOWN_RECD: u8 = 6;
/// SCTP: SHUTDOWN ACK seen.
pub const CONNTAB_SCTP_SHUTDOWN_ACK_SENT: u8 = 7;
/// SCTP: a HEARTBEAT came first.
pub const CONNTAB_SCTP_HEARTBEAT_SENT: u8 = 8;

/// Room that is enough for any line of conntab_connection_text and conntab_event_text.
pub const CONNTAB_TEXT_SIZE: usize = 600;

/// Writes a connection as the line of /proc/net/nf_conntrack (without newline) into `buffer`, as snprintf does: up to
/// `buffer_size` bytes, ended by a 0; CONNTAB_TEXT_SIZE is enough for any. `size`: sizeof(struct conntab_connection). Returns
/// the length of the whole line, 0 for NULL or nonsense. Any thread; allocates; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_connection_text(
    connection: *const conntab_connection,
    size: usize,
    buffer: *mut c_char,
    buffer_size: usize,
) -> usize {
    // SAFETY: C promises `size` bytes; any bytes are a valid `conntab_connection`.
    let given = unsafe { sized_in(connection, size, conntab_connection::NOTHING) };
    match given.ok().and_then(|connection| connection.meant()) {
        Some(connection) => print(&connection.to_string(), buffer, buffer_size),
        None => 0,
    }
}
