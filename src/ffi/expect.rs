//! Chapter: expectations.

use std::ffi::c_char;

use super::{chars, conntab_tuple, named};
use crate::expect::Expectation;
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
