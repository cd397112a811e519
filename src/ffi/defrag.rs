//! Chapter: fragments.

use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{CONNTAB_EBUSY, CONNTAB_EINVAL, CONNTAB_OK, conntab_packet, number, sized_in, sized_out, text};
use crate::defrag::{Defrag, DefragConfig, DefragStats, Pushed, Whole};
use crate::packet::Packet;
use crate::reason::Reason;

/// conntab_defrag_push: it is a fragment and was taken, or brought nothing new. The host is done with it; its bytes were copied.
pub const CONNTAB_DEFRAG_HELD: c_int = 0;
/// conntab_defrag_push: it was the last that was missing. `whole` is to be tracked now, in place of it.
pub const CONNTAB_DEFRAG_WHOLE: c_int = 1;
/// conntab_defrag_push: it must be dropped; `whole->reason` says why.
pub const CONNTAB_DEFRAG_DROPPED: c_int = 2;
/// conntab_defrag_push: it is no fragment, or one that the kernel lets go on as it is. What conntab_track says of it holds.
pub const CONNTAB_DEFRAG_NONE: c_int = 3;

/// Fragments that wait for others, put together as the kernel's connection tracking does (nf_defrag_ipv4, nf_defrag_ipv6):
/// overlaps destroy the datagram, repetitions do no harm, times and thresholds are those of its sysctls. It stands beside the
/// table: hand it every packet of which conntab_track says CONNTAB_FRAGMENT, and when conntab_defrag_push returns
/// CONNTAB_DEFRAG_WHOLE, track what it made:
///
///   if (verdict.state == CONNTAB_FRAGMENT &&
///       conntab_defrag_push(defrag, now, &packet, port, &whole, sizeof whole) == CONNTAB_DEFRAG_WHOLE)
///       conntab_track(worker, now, &whole.packet, 1, &verdict);  and so on; to be sent in pieces where it must
///
/// Opaque; one for each worker, as it has no locks. ALL FRAGMENTS OF A DATAGRAM MUST COME TO THE SAME ONE: a NIC spreads fragments by
/// their addresses alone, which sees to that. It may move between threads, but not be used by two at once: calls that find it in
/// use return CONNTAB_EBUSY.
///
/// Above its threshold a family's fragments are not taken, whichever datagram they belong to, until what waits is
/// complete or has timed out: as in the kernel nothing is evicted, so that a flood cannot destroy what is under way.
pub struct conntab_defrag {
    /// Whether a call is in it.
    busy: AtomicBool,
    defrag: UnsafeCell<Defrag>,
}

/// What a host decides when it makes a conntab_defrag. Fill it by conntab_defrag_config_init, then change what you like. The
/// names are those of the kernel's sysctls (net.ipv4.ipfrag_*, net.netfilter.nf_conntrack_frag6_*), and so are the defaults.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_defrag_config {
    /// Bytes that waiting IPv4 fragments may take, in blocks of a kilobyte: 0 (no fragment is ever taken) to 2^30. Default 4 MiB.
    pub ipfrag_high_thresh: u32,
    /// Seconds that an IPv4 datagram may take from its first fragment to arrive to its last: 0 to 1728000. Default 30.
    pub ipfrag_time: u32,
    /// How many fragments of the same IPv4 source may come between two of a datagram; after more of them it is begun anew. 0: any
    /// number; up to 2^30. Default 64.
    pub ipfrag_max_dist: u32,
    /// As `ipfrag_high_thresh`, for IPv6.
    pub frag6_high_thresh: u32,
    /// As `ipfrag_time`, for IPv6. Default 60.
    pub frag6_timeout: u32,
    /// The most datagrams that may wait, of both families: 1 to 2^20. Default 4096.
    pub queues: u32,
    /// Not 0, the default: touch all memory at creation.
    pub prefault: u8,
    /// Not 0: the key of the hash is `hash_key`. Default 0: it is drawn at random, as outside tests it should be.
    pub fixed_key: u8,
    /// 0.
    pub reserved: [u8; 6],
    /// See `fixed_key`.
    pub hash_key: [u64; 4],
}

impl conntab_defrag_config {
    fn new() -> Self {
        let config = DefragConfig::default();
        Self {
            ipfrag_high_thresh: config.ipfrag_high_thresh,
            ipfrag_time: config.ipfrag_time,
            ipfrag_max_dist: config.ipfrag_max_dist,
            frag6_high_thresh: config.frag6_high_thresh,
            frag6_timeout: config.frag6_timeout,
            queues: config.queues,
            prefault: config.prefault.into(),
            fixed_key: 0,
            reserved: [0; 6],
            hash_key: [0; 4],
        }
    }

    fn read(config: *const Self, size: usize) -> Result<DefragConfig, c_int> {
        // SAFETY: C promises `size` bytes; any bytes are a valid `conntab_defrag_config`.
        let config = unsafe { sized_in(config, size, Self::new()) }?;
        if config.reserved != [0; 6] {
            return Err(CONNTAB_EINVAL);
        }
        Ok(DefragConfig {
            ipfrag_high_thresh: config.ipfrag_high_thresh,
            ipfrag_time: config.ipfrag_time,
            ipfrag_max_dist: config.ipfrag_max_dist,
            frag6_high_thresh: config.frag6_high_thresh,
            frag6_timeout: config.frag6_timeout,
            queues: config.queues,
            hash_key: (config.fixed_key != 0).then_some(config.hash_key),
            prefault: config.prefault != 0,
        })
    }
}

/// What conntab_defrag_push made of a packet.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_whole {
    /// CONNTAB_DEFRAG_WHOLE: the whole packet, ready for conntab_track, with the zones, the hook and CONNTAB_NOTRACK of the fragment that
    /// completed it. ITS BYTES LIE IN THE conntab_defrag, AND STAY UNTIL THE NEXT CALL WITH IT. They may be up to 65575.
    pub packet: conntab_packet,
    /// The length of the longest fragment, headers included: what a router keeps to when it fragments the packet again.
    pub largest: u32,
    /// The length of the shortest header in front of a fragment other than the first (IPv6: without the fragment header).
    pub least_header: u16,
    /// CONNTAB_DEFRAG_DROPPED: why (conntab_reason_name). Otherwise 0.
    pub reason: u16,
}

impl conntab_whole {
    fn nothing(reason: Reason) -> Self {
        Self {
            packet: conntab_packet::of(&Packet::new(&[])),
            largest: 0,
            least_header: 0,
            reason: reason.code(),
        }
    }

    fn of(whole: &Whole<'_>) -> Self {
        Self {
            packet: conntab_packet::of(&whole.packet()),
            largest: whole.largest,
            least_header: whole.least_header,
            reason: 0,
        }
    }
}

/// The counters of a conntab_defrag, and what waits.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_defrag_counters {
    /// Fragments handed in (ReasmReqds).
    pub fragments: u64,
    /// Datagrams put together (ReasmOKs).
    pub reassembled: u64,
    /// Datagrams given up because their time was over (ReasmTimeout).
    pub timeouts: u64,
    /// Datagrams given up because of an overlap (ReasmOverlaps).
    pub overlaps: u64,
    /// Datagrams given up for any other reason of their own: ends that contradict each other, length, marks of congestion.
    pub failed: u64,
    /// IPv4 datagrams begun anew because too many fragments of their source had come in between.
    pub too_far: u64,
    /// Fragments that brought nothing new.
    pub repeated: u64,
    /// Fragments dropped alone, their datagram going on without them.
    pub refused: u64,
    /// Fragments not taken for want of memory, or of room for another datagram.
    pub no_room: u64,
    /// Datagrams that wait now.
    pub waiting: u64,
    /// Bytes that they take, IPv4.
    pub memory_v4: u64,
    /// Bytes that they take, IPv6.
    pub memory_v6: u64,
}

impl conntab_defrag_counters {
    fn of(stats: &DefragStats) -> Self {
        let DefragStats {
            fragments,
            reassembled,
            timeouts,
            overlaps,
            failed,
            too_far,
            repeated,
            refused,
            no_room,
            waiting,
            memory_v4,
            memory_v6,
        } = *stats;
        Self {
            fragments,
            reassembled,
            timeouts,
            overlaps,
            failed,
            too_far,
            repeated,
            refused,
            no_room,
            waiting,
            memory_v4,
            memory_v6,
        }
    }
}

/// One for the length of a call.
struct Held<'a> {
    of: &'a conntab_defrag,
}

impl Held<'_> {
    fn defrag(&mut self) -> &mut Defrag {
        // SAFETY: `busy` was taken by `hold`, so nobody else holds it; the borrow ends with `self`'s.
        unsafe { &mut *self.of.defrag.get() }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `hold`.
        self.of.busy.store(false, Ordering::Release);
    }
}

fn hold<'a>(defrag: *const conntab_defrag) -> Result<Held<'a>, c_int> {
    // SAFETY: C promises one from `conntab_defrag_new` that was not freed; only shared references are made of it.
    let Some(of) = (unsafe { defrag.as_ref() }) else { return Err(CONNTAB_EINVAL) };
    // Acquire: pairs with the Release in `drop`, of another thread if it has moved.
    if of.busy.swap(true, Ordering::Acquire) {
        return Err(CONNTAB_EBUSY);
    }
    Ok(Held { of })
}

/// Fills a configuration with the defaults. `size`: sizeof(struct conntab_defrag_config). Returns CONNTAB_OK, or
/// CONNTAB_EINVAL for NULL. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_defrag_config_init(config: *mut conntab_defrag_config, size: usize) -> c_int {
    if config.is_null() || size == 0 {
        return CONNTAB_EINVAL;
    }
    // SAFETY: C promises `size` writable bytes.
    unsafe { sized_out(&conntab_defrag_config::new(), config, size) };
    CONNTAB_OK
}

/// How many bytes a conntab_defrag of this configuration takes, to the byte (about 2 kB from the heap apart); written to `bytes`. Returns
/// CONNTAB_OK, or an error as conntab_defrag_new would. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_defrag_config_memory(
    config: *const conntab_defrag_config,
    size: usize,
    bytes: *mut u64,
) -> c_int {
    if bytes.is_null() || !bytes.is_aligned() {
        return CONNTAB_EINVAL;
    }
    let memory = conntab_defrag_config::read(config, size);
    match memory.and_then(|config| config.memory().map_err(|e| number(&e))) {
        Ok(needed) => {
            // SAFETY: C promises room for a number; it was looked at.
            unsafe { bytes.write(needed) };
            CONNTAB_OK
        }
        Err(error) => error,
    }
}

/// Makes one, and takes all the memory it will ever use. `size`: sizeof(struct conntab_defrag_config). Writes it to `out`; the caller
/// owns it (conntab_defrag_free).
///
/// Returns CONNTAB_OK; CONNTAB_EINVAL: NULL, or a field out of range; CONNTAB_E2BIG; CONNTAB_ENOMEM. Any thread; makes system calls.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_defrag_new(
    config: *const conntab_defrag_config,
    size: usize,
    out: *mut *mut conntab_defrag,
) -> c_int {
    if out.is_null() || !out.is_aligned() {
        return CONNTAB_EINVAL;
    }
    let defrag = conntab_defrag_config::read(config, size);
    match defrag.and_then(|config| Defrag::new(config).map_err(|e| number(&e))) {
        Ok(defrag) => {
            let defrag = Box::into_raw(Box::new(conntab_defrag {
                busy: AtomicBool::new(false),
                defrag: defrag.into(),
            }));
            // SAFETY: C promises room for a pointer; it was looked at.
            unsafe { out.write(defrag) };
            CONNTAB_OK
        }
        Err(error) => error,
    }
}

/// Frees one, and the fragments that wait; NULL is fine. Any thread, when no call is in it; gives memory back to the system.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_defrag_free(defrag: *mut conntab_defrag) {
    if !defrag.is_null() {
        // SAFETY: C promises that it came from `conntab_defrag_new` and is not used again.
        drop(unsafe { Box::from_raw(defrag) });
    }
}

/// Changes a field of its configuration by its name, such as "ipfrag_time" or "frag6_timeout" (nf_conntrack_ may stand before it). A
/// timeout holds for datagrams that begin from now on; a threshold cannot be raised above what it was at creation.
///
/// Returns CONNTAB_OK; CONNTAB_ENOENT: no field that can be changed has that name; CONNTAB_EINVAL: NULL, or out of range;
/// CONNTAB_EBUSY. Its thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_defrag_set(defrag: *mut conntab_defrag, name: *const c_char, value: u32) -> c_int {
    let name = match text(name) {
        Ok(name) => name.strip_prefix("nf_conntrack_").unwrap_or(name),
        Err(error) => return error,
    };
    match hold(defrag) {
        Ok(mut held) => held.defrag().set(name, value).map_or_else(|e| number(&e), |()| CONNTAB_OK),
        Err(error) => error,
    }
}

/// Hands a packet in: every one of which conntab_track said CONNTAB_FRAGMENT. (Packets that are no fragments do no harm. IPv6 fragments that
/// are INVALID to conntab_track may be handed in too; the kernel gives their datagrams up.) `now`: milliseconds, as for conntab_track.
/// `interface`: a number for where it came in, which matters only for IPv6 multicast and link-local destinations. All bytes of
/// the packet must lie at `packet->l3`: a fragment in several segments is to be copied together first. What it made is written
/// to `whole`; `size`: sizeof(struct conntab_whole).
///
/// Returns CONNTAB_DEFRAG_HELD, _WHOLE, _DROPPED or _NONE; CONNTAB_EINVAL: NULL; CONNTAB_EBUSY. Its thread. Bounded work; no
/// allocation, no system call; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_defrag_push(
    defrag: *mut conntab_defrag,
    now: u64,
    packet: *const conntab_packet,
    interface: u32,
    whole: *mut conntab_whole,
    size: usize,
) -> c_int {
    if packet.is_null() || !packet.is_aligned() || whole.is_null() || size == 0 {
        return CONNTAB_EINVAL;
    }
    let mut held = match hold(defrag) {
        Ok(held) => held,
        Err(error) => return error,
    };
    // SAFETY: C promises a packet, whose bytes stay for the call. The layouts are the same (asserted beside conntab_packet), and
    // any bytes are a valid Packet: its fields are numbers and a pointer that `bytes` looks at.
    let packet: &Packet<'_> = unsafe { &*packet.cast() };
    let (answer, told) = match held.defrag().push(now, packet, interface) {
        Pushed::Held => (CONNTAB_DEFRAG_HELD, conntab_whole::nothing(Reason::None)),
        Pushed::Whole(whole) => (CONNTAB_DEFRAG_WHOLE, conntab_whole::of(&whole)),
        Pushed::Dropped(reason) => (CONNTAB_DEFRAG_DROPPED, conntab_whole::nothing(reason)),
        Pushed::NotAFragment => (CONNTAB_DEFRAG_NONE, conntab_whole::nothing(Reason::None)),
    };
    // SAFETY: C promises `size` writable bytes.
    unsafe { sized_out(&told, whole, size) };
    answer
}

/// Ends up to `budget` datagrams whose time is over. To be called now and then: fragments that come in end some themselves, but none
/// may come. Returns how many it ended, CONNTAB_EINVAL or CONNTAB_EBUSY. Its thread; bounded work; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_defrag_expire(defrag: *mut conntab_defrag, now: u64, budget: u32) -> c_int {
    match hold(defrag) {
        Ok(mut held) => held.defrag().expire(now, budget.min(c_int::MAX as u32)) as c_int,
        Err(error) => error,
    }
}

/// Copies its counters to `stats`; `size`: sizeof(struct conntab_defrag_counters). Returns CONNTAB_OK, CONNTAB_EINVAL or CONNTAB_EBUSY. Its
/// thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_defrag_stats(
    defrag: *mut conntab_defrag,
    stats: *mut conntab_defrag_counters,
    size: usize,
) -> c_int {
    if stats.is_null() || size == 0 {
        return CONNTAB_EINVAL;
    }
    match hold(defrag) {
        Ok(mut held) => {
            // SAFETY: C promises `size` writable bytes.
            unsafe { sized_out(&conntab_defrag_counters::of(&held.defrag().stats()), stats, size) };
            CONNTAB_OK
        }
        Err(error) => error,
    }
}
