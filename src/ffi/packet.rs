//! Chapter: packets and bursts.

use std::ffi::c_int;

use super::{
    CONNTAB_EINVAL, CONNTAB_ENOENT, CONNTAB_EPROTO, CONNTAB_EROOM, CONNTAB_ESTATE, CONNTAB_OK, conntab_tuple,
    conntab_worker, hold, with,
};
use crate::packet::{CtState, Handle, MAX_BURST, Packet, Verdict};
use crate::policy::PolicyError;
use crate::reason::Reason;
use crate::tuple::Direction;
use crate::worker::NatError;

/// The most packets that one call takes. 32 is the tuned number.
pub const CONNTAB_MAX_BURST: usize = 64;

const _: () = assert!(CONNTAB_MAX_BURST == MAX_BURST);

/// conntab_packet.hook: it arrived from outside. Transport checksums are verified here, and only here.
pub const CONNTAB_PREROUTING: u8 = 0;
/// conntab_packet.hook: it is sent by the host itself.
pub const CONNTAB_OUTPUT: u8 = 3;

/// conntab_packet.flags: do not track; the verdict is UNTRACKED.
pub const CONNTAB_NOTRACK: u32 = 1;
/// conntab_packet.flags: the NIC has verified the transport checksum, or it need not be.
pub const CONNTAB_CHECKSUM_OK: u32 = 2;
/// conntab_packet.flags: it was put together of fragments (conntab_defrag_push says so itself).
pub const CONNTAB_REASSEMBLED: u32 = 4;

/// A packet, described: 32 bytes. The bytes stay where they are, and are read during conntab_track only; nobody may change
/// them meanwhile (what a guest or another process can write is to be copied first). The checksum of an IPv4 header is not
/// looked at: that is the host's, before it forwards.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_packet {
    /// Its bytes, from the IP header on.
    pub l3: *const u8,
    /// How many bytes lie at `l3`: the first segment of a chained mbuf will do, if it holds all headers.
    pub caplen: u32,
    /// Length on the wire from the IP header on, at least `caplen`.
    pub len: u32,
    /// Zone of the packet if it goes in original direction.
    pub zone_orig: u16,
    /// Zone of the packet if it goes in reply direction.
    pub zone_reply: u16,
    /// CONNTAB_PREROUTING or CONNTAB_OUTPUT.
    pub hook: u8,
    /// 0.
    pub reserved: [u8; 3],
    /// CONNTAB_NOTRACK, CONNTAB_CHECKSUM_OK, CONNTAB_REASSEMBLED.
    pub flags: u32,
    /// The NIC's receive hash, or 0. No result depends on it at present.
    pub hash: u32,
}

const _: () = {
    assert!(size_of::<conntab_packet>() == size_of::<Packet<'_>>());
    assert!(align_of::<conntab_packet>() == align_of::<Packet<'_>>());
    assert!(std::mem::offset_of!(conntab_packet, hook) == std::mem::offset_of!(Packet<'_>, hook));
    assert!(std::mem::offset_of!(conntab_packet, flags) == std::mem::offset_of!(Packet<'_>, flags));
};

impl conntab_packet {
    pub(super) fn of(packet: &Packet<'_>) -> Self {
        // SAFETY: a Packet consists of numbers and a pointer, in the same places (asserted above, and by a test).
        unsafe { std::mem::transmute_copy(packet) }
    }
}

// `tame` relies on every field's place, and on the numbers of what is an enum or a bool in Rust.
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<conntab_verdict>() == size_of::<Verdict>());
    assert!(align_of::<conntab_verdict>() == align_of::<Verdict>());
    assert!(offset_of!(conntab_verdict, conn) == offset_of!(Verdict, conn));
    assert!(offset_of!(conntab_verdict, mark) == offset_of!(Verdict, mark));
    assert!(offset_of!(conntab_verdict, status) == offset_of!(Verdict, status));
    assert!(offset_of!(conntab_verdict, reason) == offset_of!(Verdict, reason));
    assert!(offset_of!(conntab_verdict, state) == offset_of!(Verdict, state));
    assert!(offset_of!(conntab_verdict, dir) == offset_of!(Verdict, dir));
    assert!(offset_of!(conntab_verdict, unconfirmed) == offset_of!(Verdict, unconfirmed));
    assert!(offset_of!(conntab_verdict, proto_state) == offset_of!(Verdict, proto_state));
    assert!(offset_of!(conntab_verdict, excess) == offset_of!(Verdict, excess));
    assert!(offset_of!(conntab_verdict, pending) == offset_of!(Verdict, pending));
    assert!(offset_of!(conntab_verdict, reserved) == offset_of!(Verdict, reserved));
    assert!(CtState::New as u8 == CONNTAB_NEW && CtState::Fragment as u8 == CONNTAB_FRAGMENT);
    assert!(Direction::Original as u8 == CONNTAB_ORIGINAL && Direction::Reply as u8 == CONNTAB_REPLY);
    assert!(size_of::<Reason>() == 2 && size_of::<CtState>() == 1 && size_of::<Direction>() == 1);
};

/// conntab_verdict.state: a first packet of a connection not yet replied.
pub const CONNTAB_NEW: u8 = 0;
/// conntab_verdict.state: part of a connection that has seen packets both ways.
pub const CONNTAB_ESTABLISHED: u8 = 1;
/// conntab_verdict.state: belongs to a connection without being part of it, such as an ICMP error.
pub const CONNTAB_RELATED: u8 = 2;
/// conntab_verdict.state: cannot be classified. The host decides whether to drop it.
pub const CONNTAB_INVALID: u8 = 3;
/// conntab_verdict.state: deliberately not tracked.
pub const CONNTAB_UNTRACKED: u8 = 4;
/// conntab_verdict.state: the packet must be dropped: the table is full, or it lost a clash.
pub const CONNTAB_DROP: u8 = 5;
/// conntab_verdict.state: a fragment: reassemble, then track the whole.
pub const CONNTAB_FRAGMENT: u8 = 6;

/// How many states there are: CONNTAB_NEW (0) to CONNTAB_FRAGMENT.
pub const CONNTAB_STATES: usize = 7;

/// conntab_verdict.dir: the way the first packet went.
pub const CONNTAB_ORIGINAL: u8 = 0;
/// conntab_verdict.dir: the way back.
pub const CONNTAB_REPLY: u8 = 1;

/// The judgement of one packet: 32 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_verdict {
    /// The connection's handle, or 0: there is none.
    pub conn: u64,
    /// The connection's mark.
    pub mark: u32,
    /// The connection's status: CONNTAB_STATUS_* bits.
    pub status: u16,
    /// Why, where there is something to say; 0: nothing. conntab_reason_name names it.
    pub reason: u16,
    /// What a rule sees: CONNTAB_NEW ...
    pub state: u8,
    /// CONNTAB_ORIGINAL or CONNTAB_REPLY; original where there is no connection.
    pub dir: u8,
    /// 1: the connection is not in the table yet: conntab_confirm puts it there.
    pub unconfirmed: u8,
    /// The protocol's state (TCP: CONNTAB_TCP_*, SCTP: CONNTAB_SCTP_*), else 0.
    pub proto_state: u8,
    /// By how much a bound was broken, in its unit (TCP: sequence numbers); else 0.
    pub excess: u32,
    /// The library's own.
    pub pending: u32,
    /// 0.
    pub reserved: u32,
}

impl conntab_verdict {
    #[inline]
    pub(super) fn of(verdict: &Verdict) -> Self {
        Self {
            conn: verdict.conn.to_u64(),
            mark: verdict.mark,
            status: verdict.status,
            reason: verdict.reason.code(),
            state: verdict.state as u8,
            dir: verdict.dir as u8,
            unconfirmed: verdict.unconfirmed.into(),
            proto_state: verdict.proto_state,
            excess: verdict.excess,
            pending: verdict.pending,
            reserved: 0,
        }
    }

    /// Makes a valid [`Verdict`] of it, byte for byte: what names nothing is replaced. (To copy whole bursts instead would
    /// cost 8 ns a packet.)
    #[inline]
    pub(super) fn tame(&mut self) {
        let named = self.state <= CONNTAB_FRAGMENT && self.dir <= CONNTAB_REPLY && self.unconfirmed <= 1;
        if !named || (self.reason != 0 && Reason::from_code(self.reason).is_none()) {
            *self = Self::of(&self.meant());
        }
    }

    /// The verdict meant. What names nothing means the least: it can only be a caller's doing.
    #[inline]
    pub(super) fn meant(&self) -> Verdict {
        Verdict {
            conn: Handle::from_u64(self.conn),
            mark: self.mark,
            status: self.status,
            reason: Reason::from_code(self.reason).unwrap_or(Reason::None),
            state: match self.state {
                CONNTAB_NEW => CtState::New,
                CONNTAB_ESTABLISHED => CtState::Established,
                CONNTAB_RELATED => CtState::Related,
                CONNTAB_UNTRACKED => CtState::Untracked,
                CONNTAB_DROP => CtState::Drop,
                CONNTAB_FRAGMENT => CtState::Fragment,
                _ => CtState::Invalid,
            },
            dir: if self.dir == CONNTAB_REPLY { Direction::Reply } else { Direction::Original },
            unconfirmed: self.unconfirmed != 0,
            proto_state: self.proto_state,
            excess: self.excess,
            pending: self.pending,
            reserved: 0,
        }
    }
}

/// Judges a burst of `n` packets, at most CONNTAB_MAX_BURST, in order, at `now` (milliseconds of any monotonic clock; the
/// clocks of a table's workers may differ by a second), and writes their verdicts. Connections that the burst opens
/// are unconfirmed: conntab_confirm puts them into the table, and the next conntab_track lets go what was not confirmed.
///
/// Returns how many packets were judged, CONNTAB_EINVAL (NULL) or CONNTAB_EBUSY. The worker's thread. Bounded work; no
/// allocation, no system call; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_track(
    worker: *mut conntab_worker,
    now: u64,
    packets: *const conntab_packet,
    n: usize,
    verdicts: *mut conntab_verdict,
) -> c_int {
    let n = n.min(MAX_BURST);
    if n > 0 && (packets.is_null() || !packets.is_aligned() || verdicts.is_null() || !verdicts.is_aligned()) {
        return CONNTAB_EINVAL;
    }
    let mut held = match hold(worker) {
        Ok(held) => held,
        Err(error) => return error,
    };
    let packets: &[Packet<'_>] = if n == 0 {
        &[]
    } else {
        // SAFETY: C promises `n` packets, whose bytes stay for the call. The layouts are the same (asserted above; a test
        // compares all offsets), and any bytes are a valid Packet: its fields are numbers and a pointer that `bytes` looks at.
        unsafe { std::slice::from_raw_parts(packets.cast(), n) }
    };
    let mut judged = [Verdict::default(); MAX_BURST];
    let done = held.worker().track(now, packets, &mut judged[..n]);
    for (at, verdict) in judged[..done].iter().enumerate() {
        // SAFETY: C promises room for `n` verdicts; `done` <= `n`.
        unsafe { verdicts.wrapping_add(at).write(conntab_verdict::of(verdict)) };
    }
    done as c_int
}

/// Gives an unconfirmed connection another reply tuple than the inverse of its original one: what NAT needs. `reply` is
/// the tuple of a packet that answers, as it arrives: its source is where the connection was really sent, its destination
/// who it claimed to be from. The verdict's status gets SRC_NAT and DST_NAT as they then hold. To be called between
/// conntab_track and conntab_confirm; if another connection holds that tuple, conntab_confirm will drop the packet.
///
/// Returns CONNTAB_OK; CONNTAB_ESTATE; CONNTAB_EPROTO: network layer or protocol differ; CONNTAB_EROOM: IPv6 needs
/// conntab_config.nat6; CONNTAB_EINVAL; CONNTAB_EBUSY. The worker's thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_set_reply_tuple(
    worker: *mut conntab_worker,
    verdict: *mut conntab_verdict,
    reply: *const conntab_tuple,
) -> c_int {
    let (false, Some(reply)) = (verdict.is_null() || !verdict.is_aligned(), conntab_tuple::read(reply))
    else {
        return CONNTAB_EINVAL;
    };
    with(worker, |worker| {
        // SAFETY: C promises a verdict; any bytes are a valid `conntab_verdict`.
        let given = unsafe { verdict.read() };
        let mut meant = given.meant();
        match worker.set_reply_tuple(&mut meant, &reply) {
            Ok(()) => {
                // SAFETY: as above.
                unsafe { verdict.write(conntab_verdict::of(&meant)) };
                CONNTAB_OK
            }
            Err(NatError::NotUnconfirmed) => CONNTAB_ESTATE,
            Err(NatError::OtherProtocol) => CONNTAB_EPROTO,
            Err(NatError::NoRoom) => CONNTAB_EROOM,
        }
    })
}

/// Gives an unconfirmed connection a timeout policy (conntab_table_policy): from now on its timeouts are those of the policy.
/// To be called between conntab_track and conntab_confirm.
///
/// Returns CONNTAB_OK; CONNTAB_ESTATE; CONNTAB_ENOENT: there is no policy of that number; CONNTAB_EINVAL; CONNTAB_EBUSY. The
/// worker's thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_set_timeout_policy(
    worker: *mut conntab_worker,
    verdict: *const conntab_verdict,
    policy: u8,
) -> c_int {
    if verdict.is_null() || !verdict.is_aligned() {
        return CONNTAB_EINVAL;
    }
    // SAFETY: C promises a verdict; any bytes are a valid `conntab_verdict`.
    let meant = unsafe { verdict.read() }.meant();
    with(worker, |worker| match worker.set_timeout_policy(&meant, policy) {
        Ok(()) => CONNTAB_OK,
        Err(PolicyError::NotUnconfirmed) => CONNTAB_ESTATE,
        Err(PolicyError::Unknown(_)) => CONNTAB_ENOENT,
    })
}

/// Settles the burst after the host's rules: `verdicts` are those of the worker's last conntab_track, bit i of `keep` says
/// that packet i leaves the box (or is delivered to it). Connections of packets that leave enter the table; those
/// of the others are let go. TO BE CALLED FOR EVERY BURST, for the packets of known connections too: it is here that events
/// are told of. A verdict whose state has become CONNTAB_DROP was decided against: another connection holds its tuple, or
/// there is no room; the packet must not leave.
///
/// Returns how many connections entered the table, CONNTAB_EINVAL (NULL) or CONNTAB_EBUSY. The worker's thread. Bounded work;
/// no allocation, no system call; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_confirm(
    worker: *mut conntab_worker,
    now: u64,
    verdicts: *mut conntab_verdict,
    n: usize,
    keep: u64,
) -> c_int {
    let n = n.min(MAX_BURST);
    if n > 0 && (verdicts.is_null() || !verdicts.is_aligned()) {
        return CONNTAB_EINVAL;
    }
    let mut held = match hold(worker) {
        Ok(held) => held,
        Err(error) => return error,
    };
    let verdicts: &mut [Verdict] = if n == 0 {
        &mut []
    } else {
        // SAFETY: C promises `n` verdicts; any bytes are a valid `conntab_verdict`.
        let given = unsafe { std::slice::from_raw_parts_mut(verdicts, n) };
        given.iter_mut().for_each(conntab_verdict::tame);
        // SAFETY: the same verdicts, borrowed from here on by this name alone; the layouts are the same (asserted above),
        // and each of them is a valid Verdict after `tame`.
        unsafe { std::slice::from_raw_parts_mut(verdicts.cast(), n) }
    };
    let entered = held.worker().confirm(now, verdicts, keep);
    entered as c_int
}
