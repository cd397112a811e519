//! Chapter: helpers.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;

use super::{
    CONNTAB_EEXIST, CONNTAB_EINVAL, CONNTAB_ENOENT, CONNTAB_EPROTO, CONNTAB_EROOM, CONNTAB_ESTATE,
    CONNTAB_EUSERS, CONNTAB_EXPECT_ANY_SOURCE, CONNTAB_EXPECT_PERMANENT, CONNTAB_OK, conntab_packet,
    conntab_table, conntab_tuple, conntab_verdict, conntab_worker, hold, named, sized_in, table_of, text,
    with,
};
use crate::expect::HelperError;
use crate::helper::{
    Announce, Announcements, Answer, Class, Expect, Ftp, Heading, Helper, HelperId, Irc, MAX_CLASSES, Name,
    State, Tftp,
};
use crate::net::L3;
use crate::packet::{MAX_BURST, Packet, Verdict};
use crate::tuple::Direction;

/// A connection to come, as a helper or a rule announces it: 40 bytes. Network layer and zone are those of the connection that it is
/// announced for, the source port is any.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_announcement {
    /// The address it comes from, in network byte order; IPv4 in the first four bytes. 0 with CONNTAB_EXPECT_ANY_SOURCE.
    pub from: [u8; 16],
    /// The address it goes to likewise.
    pub to: [u8; 16],
    /// Its destination port, in host byte order.
    pub port: u16,
    /// Its transport protocol (IANA number).
    pub protocol: u8,
    /// The place of its class in conntab_helper.classes; 0 for a rule's.
    pub class_id: u8,
    /// CONNTAB_EXPECT_* bits.
    pub flags: u8,
    /// The number of the helper that it has from its beginning; 0: none.
    pub helper: u8,
    /// 0.
    pub reserved: u16,
}

impl conntab_announcement {
    pub(super) fn read(from: *const Self) -> Option<Expect> {
        if from.is_null() || !from.is_aligned() {
            return None;
        }
        // SAFETY: C promises an announcement; any bytes are a valid one.
        unsafe { from.read() }.meant()
    }

    fn meant(&self) -> Option<Expect> {
        let any = self.flags & CONNTAB_EXPECT_ANY_SOURCE != 0;
        let known = self.flags & !(CONNTAB_EXPECT_ANY_SOURCE | CONNTAB_EXPECT_PERMANENT) == 0;
        if !known || self.reserved != 0 || any && self.from != [0; 16] {
            return None;
        }
        let announce = Announce {
            protocol: self.protocol,
            from: (!any).then_some(self.from),
            to: self.to,
            port: self.port,
            class: self.class_id,
        };
        let permanent = self.flags & CONNTAB_EXPECT_PERMANENT != 0;
        let helper = (self.helper != 0).then_some(HelperId(self.helper));
        Some(Expect { announce, permanent, helper })
    }
}

/// A packet's place in its connection, for a helper: 88 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_heading {
    /// The connection's tuple of the original direction.
    pub original: conntab_tuple,
    /// That of the reply direction.
    pub reply: conntab_tuple,
    /// The way of this packet: CONNTAB_ORIGINAL or CONNTAB_REPLY.
    pub dir: u8,
    /// 1: its state is ESTABLISHED.
    pub established: u8,
    /// 0.
    pub reserved: u16,
    /// TCP: the sequence number of the segment, in host byte order; else 0.
    pub seq: u32,
}

/// What a helper announces of one packet. Opaque; it lasts for the call of the helper's function.
pub struct conntab_announcements {
    all: Announcements,
    classes: usize,
}

/// Words that a helper may remember of a connection: all 0 when it is attached.
pub const CONNTAB_HELPER_STATE: usize = 8;
const _: () = assert!(CONNTAB_HELPER_STATE == crate::helper::STATE_WORDS);

/// The function of a helper. It is shown a packet that is about to leave: what follows the transport header, up to the end of the IP
/// packet, `length` bytes as far as they were captured. `state`: CONNTAB_HELPER_STATE words, what the last call for this connection has
/// left there; two calls for one connection never run at the same time, calls for different ones do. What it announces by
/// conntab_announce is expected afterwards; if that cannot be, the packet must not leave.
///
/// Returns 0: the packet passes; anything else: it must not leave. It runs on the packet path: bounded work, no waiting. It must not
/// use the worker that it is called by (calls answer CONNTAB_EBUSY), nor leave by longjmp or an exception.
pub type conntab_help_function = Option<
    extern "C" fn(
        user: *mut c_void,
        about: *const conntab_heading,
        payload: *const u8,
        length: usize,
        state: *mut u64,
        announcements: *mut conntab_announcements,
    ) -> c_int,
>;

/// A kind of connections that a helper announces, limited by itself.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_class {
    /// What is shown behind the helper's name, ended by a 0; empty: nothing.
    pub name: [c_char; 16],
    /// Seconds that they are expected: 1 to 20 days.
    pub timeout: u32,
    /// How many of them one connection may expect at a time: 1 to 8, and no more for all classes together. Where there are as many,
    /// the oldest makes room. 0: there is no such class, nor any behind it.
    pub max: u8,
    /// 0.
    pub reserved: [u8; 3],
}

/// A helper of the host's. Set all of it to 0, fill it, pass it with its size.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_helper {
    /// Its name, ended by a 0: 1 to 15 characters from ! to ~, / apart.
    pub name: [c_char; 16],
    /// Its classes: one at least.
    pub classes: [conntab_class; 4],
    /// Its function.
    pub help: conntab_help_function,
    /// Handed to the function. It must stay, for all threads, as long as the table and its workers.
    pub user: *mut c_void,
    /// The protocol of the connections that it can be attached to (IANA number).
    pub protocol: u8,
    /// Their network layer: CONNTAB_IPV4, CONNTAB_IPV6, or 0: either.
    pub l3: u8,
    /// 0.
    pub reserved: [u8; 6],
}

impl conntab_helper {
    const NOTHING: Self = Self {
        name: [0; 16],
        classes: [conntab_class { name: [0; 16], timeout: 0, max: 0, reserved: [0; 3] }; 4],
        help: None,
        user: std::ptr::null_mut(),
        protocol: 0,
        l3: 0,
        reserved: [0; 6],
    };

    fn meant(&self) -> Option<Foreign> {
        let mut classes = Vec::with_capacity(MAX_CLASSES);
        for class in self.classes.iter().take_while(|class| class.max != 0) {
            let name = named(&class.name)?.unwrap_or_default();
            classes.push(Class { name, max: class.max, timeout: class.timeout });
        }
        let family = match self.l3 {
            0 => None,
            l3 if l3 == L3::V4 as u8 => Some(L3::V4),
            l3 if l3 == L3::V6 as u8 => Some(L3::V6),
            _ => return None,
        };
        let (name, function) = (named(&self.name)??, self.help?);
        let sane = self.reserved == [0; 6];
        sane.then_some(Foreign { name, protocol: self.protocol, family, classes, function, user: self.user })
    }
}

/// A helper written in C.
struct Foreign {
    name: Name,
    protocol: u8,
    family: Option<L3>,
    classes: Vec<Class>,
    function: extern "C" fn(
        *mut c_void,
        *const conntab_heading,
        *const u8,
        usize,
        *mut u64,
        *mut conntab_announcements,
    ) -> c_int,
    user: *mut c_void,
}

// SAFETY: C promises that `user` may be used by any thread (doc of the field); all else is plain data.
unsafe impl Send for Foreign {}
// SAFETY: as above.
unsafe impl Sync for Foreign {}

impl Helper for Foreign {
    fn name(&self) -> Name {
        self.name
    }

    fn protocol(&self) -> u8 {
        self.protocol
    }

    fn family(&self) -> Option<L3> {
        self.family
    }

    fn classes(&self) -> &[Class] {
        &self.classes
    }

    fn help(&self, about: &Heading, payload: &[u8], state: &mut State, to: &mut Announcements) -> Answer {
        let heading = conntab_heading {
            original: conntab_tuple::of(&about.original),
            reply: conntab_tuple::of(&about.reply),
            dir: if about.dir == Direction::Reply { 1 } else { 0 },
            established: about.established.into(),
            reserved: 0,
            seq: about.seq,
        };
        let mut announcements = conntab_announcements { all: *to, classes: self.classes.len() };
        let (bytes, length) = (payload.as_ptr(), payload.len());
        let answer = (self.function)(
            self.user,
            &raw const heading,
            bytes,
            length,
            state.as_mut_ptr(),
            &raw mut announcements,
        );
        *to = announcements.all;
        if answer == 0 { Answer::Pass } else { Answer::Drop }
    }
}

/// Announces a connection; for the function of a helper, with what it was given.
///
/// Returns CONNTAB_OK; CONNTAB_EUSERS: eight were announced of this packet; CONNTAB_EINVAL: NULL, no such class, flags that are none,
/// a source address beside CONNTAB_EXPECT_ANY_SOURCE, or reserved bytes that are not 0. Never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_announce(
    announcements: *mut conntab_announcements,
    announcement: *const conntab_announcement,
) -> c_int {
    // SAFETY: C promises what its helper's function was given, during that call.
    let to = unsafe { announcements.as_mut() };
    let (Some(to), Some(expect)) = (to, conntab_announcement::read(announcement)) else {
        return CONNTAB_EINVAL;
    };
    if usize::from(expect.announce.class) >= to.classes {
        return CONNTAB_EINVAL;
    }
    if to.all.push(expect) { CONNTAB_OK } else { CONNTAB_EUSERS }
}

fn added(result: Result<HelperId, HelperError>, number: *mut u8) -> c_int {
    match result {
        Ok(id) => {
            if !number.is_null() {
                // SAFETY: C promises room for a number.
                unsafe { number.write(id.number()) };
            }
            CONNTAB_OK
        }
        Err(error) => refused(error),
    }
}

fn refused(error: HelperError) -> c_int {
    match error {
        HelperError::Exists | HelperError::Attached => CONNTAB_EEXIST,
        HelperError::TooMany => CONNTAB_EUSERS,
        HelperError::Unknown => CONNTAB_ENOENT,
        HelperError::NotUnconfirmed => CONNTAB_ESTATE,
        HelperError::OtherProtocol => CONNTAB_EPROTO,
        HelperError::Off | HelperError::NoRecord => CONNTAB_EROOM,
        _ => CONNTAB_EINVAL,
    }
}

/// Adds a helper of the host's to a table, for good; its number, 1 or more, is written to `number` unless that is NULL. `size`:
/// sizeof(struct conntab_helper).
///
/// Returns CONNTAB_OK; CONNTAB_EEXIST: there is one of that name; CONNTAB_EUSERS: there are 32; CONNTAB_EROOM: conntab_config.expect_max
/// is 0; CONNTAB_E2BIG; CONNTAB_EINVAL: NULL, or a field is not allowed. Any thread (of those who add at the same time one waits for the
/// other); not for the packet path.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_table_add_helper(
    table: *const conntab_table,
    helper: *const conntab_helper,
    size: usize,
    number: *mut u8,
) -> c_int {
    let Some(table) = table_of(table) else { return CONNTAB_EINVAL };
    // SAFETY: C promises `size` bytes; any bytes are a valid `conntab_helper` (a function that is not NULL is one).
    match unsafe { sized_in(helper, size, conntab_helper::NOTHING) } {
        Ok(given) => match given.meant() {
            Some(foreign) => added(table.add_helper(Arc::new(foreign)), number),
            None => CONNTAB_EINVAL,
        },
        Err(error) => error,
    }
}

/// Adds a helper that is shipped, "ftp", "irc" or "tftp"; its number is written to `number` unless that is NULL. If it was added before,
/// its number is written all the same.
///
/// Returns CONNTAB_OK; CONNTAB_ENOENT: no helper of that name is shipped; CONNTAB_EUSERS; CONNTAB_EROOM; CONNTAB_EINVAL: NULL. Any thread;
/// not for the packet path.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_table_ship_helper(
    table: *const conntab_table,
    name: *const c_char,
    number: *mut u8,
) -> c_int {
    let (Some(table), Ok(name)) = (table_of(table), text(name)) else { return CONNTAB_EINVAL };
    let helper: Arc<dyn Helper> = match name {
        "ftp" => Arc::new(Ftp),
        "irc" => Arc::new(Irc),
        "tftp" => Arc::new(Tftp),
        _ => return CONNTAB_ENOENT,
    };
    let result = table.add_helper(helper);
    match table.helper(name) {
        Some(id) if result == Err(HelperError::Exists) => added(Ok(id), number),
        _ => added(result, number),
    }
}

/// Attaches a helper to an unconfirmed connection, as nft's `ct helper set` does: from now on conntab_help shows its packets to it. The
/// verdict's status gets CONNTAB_STATUS_HELPER. To be called between conntab_track and conntab_help.
///
/// Returns CONNTAB_OK; CONNTAB_ENOENT: no helper has that number; CONNTAB_EPROTO: it is for others; CONNTAB_EEXIST: the connection has a
/// helper, or expects something; CONNTAB_ESTATE; CONNTAB_EROOM: all help records are taken; CONNTAB_EINVAL; CONNTAB_EBUSY. The
/// worker's thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_attach_helper(
    worker: *mut conntab_worker,
    verdict: *mut conntab_verdict,
    helper: u8,
) -> c_int {
    if verdict.is_null() || !verdict.is_aligned() {
        return CONNTAB_EINVAL;
    }
    with(worker, |worker| {
        // SAFETY: C promises a verdict; any bytes are a valid `conntab_verdict`.
        let mut meant = unsafe { verdict.read() }.meant();
        match worker.attach_helper(&mut meant, HelperId(helper)) {
            Ok(()) => {
                // SAFETY: as above.
                unsafe { verdict.write(conntab_verdict::of(&meant)) };
                CONNTAB_OK
            }
            Err(error) => refused(error),
        }
    })
}

/// Shows packets of connections with a helper to it: of those whose bit is set in `*keep`, which are about to leave. To be called between
/// the host's rules and conntab_confirm, with the packets and verdicts of the worker's last conntab_track. A packet that must not leave
/// after all loses its bit in `*keep`, and its verdict's state becomes CONNTAB_DROP.
///
/// Returns how many packets lost their bit, CONNTAB_EINVAL (NULL) or CONNTAB_EBUSY. The worker's thread. The work is bounded by what the
/// helpers do; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_help(
    worker: *mut conntab_worker,
    now: u64,
    packets: *const conntab_packet,
    verdicts: *mut conntab_verdict,
    n: usize,
    keep: *mut u64,
) -> c_int {
    let n = n.min(MAX_BURST);
    let lists = packets.is_null() || !packets.is_aligned() || verdicts.is_null() || !verdicts.is_aligned();
    if keep.is_null() || !keep.is_aligned() || n > 0 && lists {
        return CONNTAB_EINVAL;
    }
    let mut held = match hold(worker) {
        Ok(held) => held,
        Err(error) => return error,
    };
    if n == 0 {
        return 0;
    }
    // SAFETY: C promises `n` packets, whose bytes stay for the call; the layouts are the same, as in conntab_track.
    let packets: &[Packet<'_>] = unsafe { std::slice::from_raw_parts(packets.cast(), n) };
    // SAFETY: C promises `n` verdicts; any bytes are a valid `conntab_verdict`.
    let given = unsafe { std::slice::from_raw_parts_mut(verdicts, n) };
    given.iter_mut().for_each(conntab_verdict::tame);
    // SAFETY: the same verdicts, borrowed from here on by this name alone; as in conntab_confirm.
    let verdicts: &mut [Verdict] = unsafe { std::slice::from_raw_parts_mut(verdicts.cast(), n) };
    // SAFETY: C promises a number; it was looked at.
    let kept = unsafe { keep.read() };
    let left = held.worker().help(now, packets, verdicts, kept);
    // SAFETY: as above.
    unsafe { keep.write(left) };
    (kept & !left).count_ones() as c_int
}
