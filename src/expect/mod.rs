//! L3: connections to come. `arena` holds what is expected (`draft`), `record` what a connection has to do with others (helper,
//! expectations, master), `registry` the helpers.
//!
//! All of it is reserved when the table is made, and only if [`crate::Config::expect_max`] asks for it.
//!
//! **Lifetimes.** An expectation is its master's: it ends when the first packet comes (unless it is permanent), when its time is over, when
//! it has to make room for another of its class, when the same is announced again, and with its master. The child needs its master no more:
//! it keeps a copy of its tuple. (All seen with kernel 6.18.)
//!
//! Nothing here needs the epoch: places and records are used again at once, and whoever still knows one by an old name fails.

mod arena;
mod draft;
mod record;
mod registry;

use std::fmt;

use crate::helper::Name;
use crate::memory::{Array, NoMemory, Options};
use crate::packet::Handle;
use crate::sync::{AtomicU32, Ordered};
use crate::tuple::{Key, Tuple, Zone};

pub(crate) use arena::{Arena, Fate, Name as ExpectName, OnTheWay, Refused};
pub(crate) use draft::Draft;
pub(crate) use record::{Entered, Origin, Record, Records};
pub(crate) use registry::Registry;
pub use registry::{HelperError, MAX_HELPERS};

/// A connection to come, copied at one moment.
///
/// `Display` writes the line of `/proc/net/nf_conntrack_expect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Its first packet. The source port is 0: any.
    pub tuple: Tuple,
    /// It may come from any address: the source address is 0.
    pub any_source: bool,
    /// The zone it must come in: the master's of the original direction, or, if that is 0, of the reply direction.
    pub zone: Zone,
    /// The connection that announced it.
    pub master: Handle,
    /// The master's original tuple.
    pub master_tuple: Tuple,
    /// The class of the master's helper; 0 without one.
    pub class: u8,
    /// The master's helper.
    pub helper: Option<Name>,
    /// The name of the class, if it has one.
    pub class_name: Option<Name>,
    /// It may come more than once.
    pub permanent: bool,
    /// Milliseconds until it is over.
    pub timeout_ms: u32,
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tuple, timeout_ms, .. } = self;
        write!(f, "{} l3proto = {} proto={} {tuple} ", timeout_ms / 1000, tuple.l3 as u8, tuple.l4)?;
        if self.permanent {
            f.write_str("PERMANENT")?;
        }
        if let Some(helper) = self.helper {
            write!(f, "{}{helper}", if self.permanent { " " } else { "" })?;
        }
        match self.class_name {
            Some(class) => write!(f, "/{class}"),
            None => Ok(()),
        }
    }
}

/// Why a connection is not expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpectError {
    /// The table has no room for expectations: `Config::expect_max` is 0.
    Off,
    /// The master is neither a connection of this worker that is not confirmed yet, nor one that has a helper.
    NoMaster,
    /// All help records are taken (`Config::helper_max`).
    NoRecord,
    /// The master expects as many as it may.
    Limit,
    /// Another connection expects what one packet could be both.
    Clash,
    /// There are as many expectations as there may be (`Config::expect_max`).
    Full,
    /// Another worker is at the master's help record.
    Busy,
    /// Its timeout or its limit is not allowed, no helper has its number, or the class is not one of the helper's.
    Invalid,
}

impl fmt::Display for ExpectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "expect_max is 0: the table has no room for expectations",
            Self::NoMaster => "the master is neither unconfirmed and this worker's, nor has it a helper",
            Self::NoRecord => "all help records are taken: helper_max",
            Self::Limit => "the master expects as many connections as it may",
            Self::Clash => "another connection expects the same",
            Self::Full => "there are as many expectations as there may be: expect_max",
            Self::Busy => "another worker is at the master's help record",
            Self::Invalid => "its timeout, limit, class or helper is not allowed",
        })
    }
}

impl std::error::Error for ExpectError {}

/// All that a table has for connections to come.
pub(crate) struct Expects {
    pub arena: Arena,
    pub records: Records,
    pub helpers: Registry,
    /// Beside the slab: where a connection's help record is, if its word tells of one.
    places: Array<AtomicU32>,
}

/// How many, fixed when the table is made.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub expect_max: u32,
    pub helper_max: u32,
    pub entries: usize,
    pub most_entries: usize,
}

impl Expects {
    pub fn bytes(sizes: Sizes, options: Options<'_>) -> u64 {
        Arena::bytes(sizes.expect_max, options)
            + Records::bytes(sizes.helper_max, options)
            + Array::<AtomicU32>::bytes_of(sizes.entries, sizes.most_entries, options)
    }

    pub fn new(sizes: Sizes, options: Options<'_>) -> Result<Self, NoMemory> {
        Ok(Self {
            arena: Arena::new(sizes.expect_max, options)?,
            records: Records::new(sizes.helper_max, options)?,
            helpers: Registry::default(),
            places: Array::reserve(sizes.entries, sizes.most_entries, options)?,
        })
    }

    /// Room for so many connections.
    pub fn extend(&self, entries: usize) -> Result<(), NoMemory> {
        self.places.commit(entries)
    }

    /// Bytes that have memory, of what can grow.
    pub fn committed(&self) -> u64 {
        self.places.committed()
    }

    /// Where the help record of a connection is whose word tells of one. It was stored before the connection could be found.
    pub fn place(&self, index: u32) -> u32 {
        self.places[index as usize].read()
    }

    /// A help record for a private connection.
    pub fn make_record(&self, owner: Handle, origin: Option<Origin>) -> Option<u32> {
        let place = self.records.make(owner, origin)?;
        self.places[owner.index() as usize].write(place);
        Some(place)
    }

    /// As it is shown.
    pub fn shown(&self, draft: &Draft, master: &Key, tick: u32) -> Expectation {
        Expectation {
            tuple: Tuple::from_key(&draft.key),
            any_source: draft.any_source,
            zone: draft.key.zone(),
            master: draft.master,
            master_tuple: Tuple::from_key(master),
            class: draft.class,
            helper: named(self.helpers.name(draft.of)),
            class_name: named(self.helpers.class_name(draft.of, draft.class)),
            permanent: draft.permanent,
            timeout_ms: draft.left(tick).max(0) as u32,
        }
    }
}

fn named(name: Name) -> Option<Name> {
    (!name.is_none()).then_some(name)
}

/// The zone in which the packets of a connection are expected, or are looked for: that of the original direction, or, if that is 0, the
/// other. (A zone that holds in one direction only is the kernel's zone all the same: recorded in both ways.)
pub(crate) const fn zone_of(original: Zone, reply: Zone) -> Zone {
    if original != 0 { original } else { reply }
}
