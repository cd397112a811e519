//! Chapter: errors and reasons.

use std::ffi::{c_char, c_int};

use super::{Name, ended};
use crate::config::ConfigError;
use crate::packet::CtState;
use crate::reason::Reason;

/// Done.
pub const CONNTAB_OK: c_int = 0;
/// An argument is NULL, misaligned, out of its range, or not UTF-8.
pub const CONNTAB_EINVAL: c_int = -1;
/// Memory could not be reserved (or the system gave no random numbers), or the region handed in is too small.
pub const CONNTAB_ENOMEM: c_int = -2;
/// There is no such thing (any more): a stale handle, an unknown name.
pub const CONNTAB_ENOENT: c_int = -3;
/// As many exist as the configuration allows.
pub const CONNTAB_EUSERS: c_int = -4;
/// A struct is larger than this library knows, and what it does not know is not 0.
pub const CONNTAB_E2BIG: c_int = -5;
/// The connection is not this worker's, or not unconfirmed any more.
pub const CONNTAB_ESTATE: c_int = -6;
/// It is of another protocol than what was asked for.
pub const CONNTAB_EPROTO: c_int = -7;
/// The configuration reserved no room for that.
pub const CONNTAB_EROOM: c_int = -8;
/// The worker, or for conntab_table_set_max the table's `max`, is in use by another thread at this moment.
pub const CONNTAB_EBUSY: c_int = -9;

/// There is one already, or another connection expects the same.
pub const CONNTAB_EEXIST: c_int = -10;

/// What an error means, in English. Static: not to be freed; for a number that is no error, "unknown error". Any
/// thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_strerror(error: c_int) -> *const c_char {
    let text = match error {
        CONNTAB_OK => c"done",
        CONNTAB_EINVAL => c"an argument is NULL, misaligned, out of range or not UTF-8",
        CONNTAB_ENOMEM => c"memory could not be reserved, or the region handed in is too small",
        CONNTAB_ENOENT => c"there is no such thing (any more)",
        CONNTAB_EUSERS => c"as many exist as the configuration allows",
        CONNTAB_E2BIG => c"a struct is larger than this library knows, and what it does not know is not 0",
        CONNTAB_ESTATE => c"the connection is not this worker's, or not unconfirmed any more",
        CONNTAB_EPROTO => c"it is of another protocol than what was asked for",
        CONNTAB_EROOM => c"the configuration reserved no room for that",
        CONNTAB_EEXIST => c"there is one already",
        CONNTAB_EBUSY => c"in use by another thread at this moment",
        _ => c"unknown error",
    };
    text.as_ptr()
}

/// The name of a reason (conntab_verdict.reason), such as "checksum": stable, made for logs and metrics. Static: not to be
/// freed; "unknown" for a number that is none. `docs/reasons.md` tells what each means. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_reason_name(reason: u16) -> *const c_char {
    let named = Reason::ALL.iter().position(|r| r.code() == reason);
    named.and_then(|at| NAMES.get(at)).map_or(c"unknown".as_ptr(), |name| name.as_ptr().cast())
}

static NAMES: [Name; Reason::ALL.len()] = {
    let mut names = [""; Reason::ALL.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = Reason::ALL[at].as_str();
        at += 1;
    }
    ended(&names)
};

/// The name of a state (CONNTAB_NEW ...), in capitals. Static: not to be freed; "?" for a number that is none. Any thread;
/// never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_state_name(state: u8) -> *const c_char {
    let names = [c"NEW", c"ESTABLISHED", c"RELATED", c"INVALID", c"UNTRACKED", c"DROP", c"FRAGMENT"];
    const { assert!(CtState::Fragment as u8 == 6) };
    names.get(usize::from(state)).copied().unwrap_or(c"?").as_ptr()
}

/// The number for an error of the configuration.
pub(super) fn number(error: &ConfigError) -> c_int {
    match error {
        ConfigError::UnknownTunable(_) => CONNTAB_ENOENT,
        ConfigError::Memory { .. } | ConfigError::Random(_) => CONNTAB_ENOMEM,
        ConfigError::Region { len, needed } if len < needed => CONNTAB_ENOMEM,
        ConfigError::TooManyWorkers(_) => CONNTAB_EUSERS,
        ConfigError::Busy => CONNTAB_EBUSY,
        ConfigError::Overflow => CONNTAB_EROOM,
        _ => CONNTAB_EINVAL,
    }
}
