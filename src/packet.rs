//! L3: what goes into the packet path and what comes out of it.

use std::marker::PhantomData;

use crate::reason::Reason;
use crate::tuple::{Direction, Zone};

/// The largest burst that `track` and `confirm` take at once. 32 is the tuned size.
pub const MAX_BURST: usize = 64;

/// Where in the netfilter picture the packet is tracked, with the kernel's numbers (`enum nf_inet_hooks`). Anything else
/// than the two below is refused (reason `bad-packet`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Hook(u8);

impl Hook {
    /// It arrived from outside. Transport checksums are verified here, and only here.
    pub const PREROUTING: Self = Self(0);
    /// It is sent by the host itself.
    pub const OUTPUT: Self = Self(3);

    /// The kernel's number.
    pub(crate) const fn number(self) -> u8 {
        self.0
    }
}

/// What the host already knows or wishes of a packet: bits for [`Packet::flags`].
pub mod packet_flag {
    /// Do not track: the verdict is UNTRACKED.
    pub const NOTRACK: u32 = 1;
    /// The transport checksum was verified by the NIC, or need not be: skip verification.
    pub const CHECKSUM_OK: u32 = 2;
    /// It was put together of fragments: fragment headers that are left in it (IPv6) are not for reassembly any more.
    pub const REASSEMBLED: u32 = 4;
    /// Every flag there is. A packet with others is refused (reason `bad-packet`).
    pub const ALL: u32 = NOTRACK | CHECKSUM_OK | REASSEMBLED;
}

/// A packet, described: 32 bytes, the same layout in C. The bytes stay where they are.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Packet<'a> {
    l3: *const u8,
    caplen: u32,
    len: u32,
    /// Zone of the packet if it goes in original direction.
    pub zone_orig: Zone,
    /// Zone of the packet if it goes in reply direction.
    pub zone_reply: Zone,
    /// Where it is tracked.
    pub hook: Hook,
    reserved: [u8; 3],
    /// [`packet_flag`] bits.
    pub flags: u32,
    /// The NIC's receive hash, or 0. Reserved: no result depends on it at present.
    pub hash: u32,
    bytes: PhantomData<&'a [u8]>,
}

// SAFETY: a Packet is a shared borrow of bytes and plain numbers; `&[u8]` is Send and Sync.
unsafe impl Send for Packet<'_> {}
// SAFETY: as above.
unsafe impl Sync for Packet<'_> {}

impl<'a> Packet<'a> {
    /// A packet whose bytes, from the IP header on, are all in `l3`: PREROUTING, zone 0, no flags.
    /// Bytes beyond 4 GiB are not looked at.
    #[inline]
    pub fn new(l3: &'a [u8]) -> Self {
        let caplen = u32::try_from(l3.len()).unwrap_or(u32::MAX);
        Self {
            l3: l3.as_ptr(),
            caplen,
            len: caplen,
            zone_orig: 0,
            zone_reply: 0,
            hook: Hook::PREROUTING,
            reserved: [0; 3],
            flags: 0,
            hash: 0,
            bytes: PhantomData,
        }
    }

    /// The same with the length it had on the wire, where fewer bytes were captured (snap length) or lie in the first
    /// segment (chained mbuf). A length below that of the bytes is raised to it.
    #[inline]
    #[must_use]
    pub fn with_len(mut self, len: u32) -> Self {
        self.len = len.max(self.caplen);
        self
    }

    /// The same in a zone that holds in both directions.
    #[inline]
    #[must_use]
    pub fn with_zone(mut self, zone: Zone) -> Self {
        self.zone_orig = zone;
        self.zone_reply = zone;
        self
    }

    /// The same with flags ([`packet_flag`]).
    #[inline]
    #[must_use]
    pub fn with_flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }

    /// Where each field lies, in order, for comparison with C's.
    #[cfg(all(test, feature = "capi"))]
    pub(crate) const OFFSETS: [usize; 9] = {
        use std::mem::offset_of;
        [
            offset_of!(Self, l3),
            offset_of!(Self, caplen),
            offset_of!(Self, len),
            offset_of!(Self, zone_orig),
            offset_of!(Self, zone_reply),
            offset_of!(Self, hook),
            offset_of!(Self, reserved),
            offset_of!(Self, flags),
            offset_of!(Self, hash),
        ]
    };

    /// The bytes from the IP header on.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        if self.l3.is_null() {
            return &[];
        }
        // SAFETY: `new` took pointer and length from a slice that lives for 'a, and nothing writes them since. (Or the packet
        // is one of C's, which promises the same of a pointer that is not NULL.)
        unsafe { std::slice::from_raw_parts(self.l3, self.caplen as usize) }
    }

    /// Length on the wire from the IP header on.
    #[inline]
    pub fn wire_len(&self) -> u32 {
        self.len.max(self.caplen)
    }

    /// Whether it says nothing that cannot be: only C can describe such a packet.
    #[inline]
    pub(crate) fn is_sane(&self) -> bool {
        !self.l3.is_null()
            && (self.hook == Hook::PREROUTING || self.hook == Hook::OUTPUT)
            && self.flags & !packet_flag::ALL == 0
    }
}

/// What a rule sees as `ct state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CtState {
    /// First packets of a connection not yet replied.
    New = 0,
    /// Part of a connection that has seen packets both ways.
    Established = 1,
    /// Belongs to a connection without being part of it: an ICMP error, an expected connection.
    Related = 2,
    /// Cannot be classified. The host decides whether to drop it.
    Invalid = 3,
    /// Deliberately not tracked.
    Untracked = 4,
    /// The packet must be dropped: the table is full, or it lost a clash.
    Drop = 5,
    /// A fragment: reassemble, then track the whole.
    Fragment = 6,
}

impl CtState {
    /// The name, in capitals as in rules' documentation.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Established => "ESTABLISHED",
            Self::Related => "RELATED",
            Self::Invalid => "INVALID",
            Self::Untracked => "UNTRACKED",
            Self::Drop => "DROP",
            Self::Fragment => "FRAGMENT",
        }
    }
}

/// A connection's name outside its table: index and generation. It stays harmless when the connection is gone: every
/// call that takes one then says so. 0 is no connection. To another table it means whoever has that index and generation
/// there, if anybody has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Handle(u64);

impl Handle {
    /// No connection.
    pub const NONE: Self = Self(0);

    #[inline]
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self((index as u64) << 32 | generation as u64)
    }

    #[inline]
    pub(crate) const fn index(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline]
    pub(crate) const fn generation(self) -> u32 {
        self.0 as u32
    }

    /// Whether this names no connection.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// As a number, for storing in a packet's metadata.
    #[inline]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// From such a number. Any number is safe; one that names no live connection is refused where it is used.
    #[inline]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }
}

/// The judgement of one packet: 32 bytes, the same layout in C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Verdict {
    /// The connection, or [`Handle::NONE`].
    pub conn: Handle,
    /// The connection's mark.
    pub mark: u32,
    /// The connection's status bits ([`crate::conn::status`]).
    pub status: u16,
    /// Why, where there is something to say.
    pub reason: Reason,
    /// What a rule sees.
    pub state: CtState,
    /// Direction; [`Direction::Original`] where there is no connection.
    pub dir: Direction,
    /// The connection is not in the table yet: `confirm` puts it there.
    pub unconfirmed: bool,
    /// The protocol's own state (TCP: [`crate::proto::tcp::State`], SCTP: [`crate::proto::sctp::State`]), else 0.
    pub proto_state: u8,
    /// By how much a bound was broken, in its unit (TCP: sequence numbers); else 0.
    pub excess: u32,
    /// Which of the worker's unconfirmed connections it is, plus 1. A hint: it is checked before use.
    pub(crate) pending: u32,
    pub(crate) reserved: u32,
}

impl Verdict {
    /// No connection, this state and reason.
    #[inline]
    pub(crate) const fn bare(state: CtState, reason: Reason) -> Self {
        Self {
            conn: Handle::NONE,
            mark: 0,
            status: 0,
            reason,
            state,
            dir: Direction::Original,
            unconfirmed: false,
            proto_state: 0,
            excess: 0,
            pending: 0,
            reserved: 0,
        }
    }

    /// The direction, where there is a connection.
    pub fn direction(&self) -> Option<Direction> {
        if self.conn.is_none() { None } else { Some(self.dir) }
    }
}

impl Default for Verdict {
    fn default() -> Self {
        Self::bare(CtState::Untracked, Reason::None)
    }
}

const _: () = assert!(size_of::<Packet>() == 32);
const _: () = assert!(size_of::<Verdict>() == 32);
