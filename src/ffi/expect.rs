//! Chapter: expectations.

use std::ffi::{c_char, c_int};

use super::{
    CONNTAB_EBUSY, CONNTAB_EEXIST, CONNTAB_EINVAL, CONNTAB_ENOENT, CONNTAB_EROOM, CONNTAB_EUSERS, CONNTAB_OK,
    chars, conntab_announcement, conntab_table, conntab_tuple, conntab_worker, named, print, table_of, with,
};
use crate::expect::{ExpectError, Expectation};
use crate::help::Expectations;
use crate::packet::Handle;

/// conntab_expectation.flags: it may come from any address.
pub const CONNTAB_EXPECT_ANY_SOURCE: u8 = 1;
/// conntab_expectation.flags: it may come more than once.
pub const CONNTAB_EXPECT_PERMANENT: u8 = 2;

/// A connection to come, copied at one moment.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_expectation {
    /// Its first packet. The source port is 0: any; so is the source address with CONNTAB_EXPECT_ANY_SOURCE.
    pub tuple: conntab_tuple,
    /// The original tuple of the connection that announced it.
    pub master_tuple: conntab_tuple,
    /// That connection.
    pub master: u64,
    /// Milliseconds until it is over.
    pub timeout_ms: u32,
    /// The zone it must come in.
    pub zone: u16,
    /// The class of the master's helper; 0 without one.
    pub class_id: u8,
    /// CONNTAB_EXPECT_* bits.
    pub flags: u8,
    /// The name of the master's helper, ended by a 0; empty: it has none.
    pub helper: [c_char; 16],
    /// The name of the class likewise.
    pub class_name: [c_char; 16],
}

impl conntab_expectation {
    pub(super) const NOTHING: Self = Self {
        tuple: conntab_tuple::NOTHING,
        master_tuple: conntab_tuple::NOTHING,
        master: 0,
        timeout_ms: 0,
        zone: 0,
        class_id: 0,
        flags: 0,
        helper: [0; 16],
        class_name: [0; 16],
    };

    pub(super) fn of(expectation: &Expectation) -> Self {
        let flag = |set: bool, flag| if set { flag } else { 0 };
        Self {
            tuple: conntab_tuple::of(&expectation.tuple),
            master_tuple: conntab_tuple::of(&expectation.master_tuple),
            master: expectation.master.to_u64(),
            timeout_ms: expectation.timeout_ms,
            zone: expectation.zone,
            class_id: expectation.class,
            flags: flag(expectation.any_source, CONNTAB_EXPECT_ANY_SOURCE)
                | flag(expectation.permanent, CONNTAB_EXPECT_PERMANENT),
            helper: chars(expectation.helper),
            class_name: chars(expectation.class_name),
        }
    }

    pub(super) fn meant(&self) -> Option<Expectation> {
        Some(Expectation {
            tuple: self.tuple.meant()?,
            any_source: self.flags & CONNTAB_EXPECT_ANY_SOURCE != 0,
            zone: self.zone,
            master: Handle::from_u64(self.master),
            master_tuple: self.master_tuple.meant()?,
            class: self.class_id,
            helper: named(&self.helper)?,
            class_name: named(&self.class_name)?,
            permanent: self.flags & CONNTAB_EXPECT_PERMANENT != 0,
            timeout_ms: self.timeout_ms,
        })
    }
}

/// Expects a connection for a master, as nft's `ct expectation set` does: its first packet is RELATED, with the master's mark. The
/// master, `conn`, is a connection of this worker that is not confirmed yet, or any in the table that has a helper. It is expected for
/// `timeout` seconds, and only while the master is in the table. `max`: how many the master may expect at a time, 1 to 8. If the master
/// expects the same already, it does so anew. Network layer and zone are the master's.
///
/// Returns CONNTAB_OK; CONNTAB_ENOENT: no such master; CONNTAB_EUSERS: it expects `max` already; CONNTAB_EEXIST: another connection
/// expects the same; CONNTAB_EROOM: there are as many expectations or help records as conntab_config allows; CONNTAB_EINVAL: NULL, or
/// timeout, max, class or helper are not allowed; CONNTAB_EBUSY. The worker's thread. Bounded work; no allocation, no system call;
/// never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_expect(
    worker: *mut conntab_worker,
    now: u64,
    conn: u64,
    announcement: *const conntab_announcement,
    timeout: u32,
    max: u8,
) -> c_int {
    let Some(expect) = conntab_announcement::read(announcement) else { return CONNTAB_EINVAL };
    with(worker, |worker| match worker.expect(now, Handle::from_u64(conn), &expect, timeout, max) {
        Ok(()) => CONNTAB_OK,
        Err(ExpectError::NoMaster) => CONNTAB_ENOENT,
        Err(ExpectError::Limit) => CONNTAB_EUSERS,
        Err(ExpectError::Clash) => CONNTAB_EEXIST,
        Err(ExpectError::Busy) => CONNTAB_EBUSY,
        Err(ExpectError::Off | ExpectError::NoRecord | ExpectError::Full) => CONNTAB_EROOM,
        Err(ExpectError::Invalid) => CONNTAB_EINVAL,
    })
}

/// A walk over a table's expectations. Opaque.
pub struct conntab_expectations(Expectations);

/// Begins a walk over what is expected as of `now` (milliseconds, the clock of conntab_track). No packet is held up. NULL for NULL. The
/// caller owns it (conntab_expectations_free). Any thread; allocates.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_expectations_new(
    table: *const conntab_table,
    now: u64,
) -> *mut conntab_expectations {
    table_of(table).map_or(std::ptr::null_mut(), |table| {
        Box::into_raw(Box::new(conntab_expectations(table.expectations(now))))
    })
}

/// The next expectation, written to `expectation`. Returns 1; 0 when there are no more; CONNTAB_EINVAL for NULL. One thread at a time
/// for one walk; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_expectations_next(
    walk: *mut conntab_expectations,
    expectation: *mut conntab_expectation,
) -> c_int {
    // SAFETY: C promises a walk from `conntab_expectations_new` that was not freed and is used by one thread at a time.
    let walk = unsafe { walk.as_mut() };
    let (Some(walk), false) = (walk, expectation.is_null() || !expectation.is_aligned()) else {
        return CONNTAB_EINVAL;
    };
    let Some(next) = walk.0.next() else { return 0 };
    // SAFETY: C promises room for an expectation; it was looked at.
    unsafe { expectation.write(conntab_expectation::of(&next)) };
    1
}

/// Ends a walk; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_expectations_free(walk: *mut conntab_expectations) {
    if !walk.is_null() {
        // SAFETY: C promises that it came from `conntab_expectations_new` and is not used again.
        drop(unsafe { Box::from_raw(walk) });
    }
}

/// Writes an expectation as a line of /proc/net/nf_conntrack_expect (without newline) into `buffer`, as snprintf does: up to
/// `buffer_size` bytes, ended by a 0; CONNTAB_TEXT_SIZE is enough for any. Returns the length of the whole line, 0 for NULL or nonsense.
/// Any thread; allocates; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_expectation_text(
    expectation: *const conntab_expectation,
    buffer: *mut c_char,
    buffer_size: usize,
) -> usize {
    if expectation.is_null() || !expectation.is_aligned() {
        return 0;
    }
    // SAFETY: C promises an expectation; any bytes are a valid one.
    let given = unsafe { expectation.read() };
    given.meant().map_or(0, |expectation| print(&expectation.to_string(), buffer, buffer_size))
}
