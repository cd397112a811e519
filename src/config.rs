//! L3: what a host decides when it makes a table.

use std::fmt;

pub use crate::memory::Region;
use crate::timeout::Tunables;

/// Why a [`Config`] or a tunable was refused. The text says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number lies outside its range.
    Range {
        /// The field or tunable.
        name: &'static str,
        /// What was asked for.
        value: u64,
        /// The least that is allowed.
        least: u64,
        /// The most that is allowed.
        most: u64,
    },
    /// `hashsize` is not a power of two.
    HashsizeNotPowerOfTwo(u32),
    /// `user_data` is not a multiple of 8.
    UserDataNotMultipleOf8(u32),
    /// No tunable has this name.
    UnknownTunable(String),
    /// The memory could not be reserved.
    Memory {
        /// Bytes asked for.
        bytes: u64,
        /// What the system said.
        why: String,
    },
    /// The region handed in does not begin at a multiple of 4096, or is shorter than [`Config::memory`] says.
    Region {
        /// Bytes it has.
        len: u64,
        /// Bytes the table takes.
        needed: u64,
    },
    /// The system gave no random numbers for the key of the hash; what it said. (`hash_key` would do without.)
    Random(String),
    /// All workers that `Config::workers` allows exist already.
    TooManyWorkers(u32),
    /// Another call of [`crate::Table::set_max`] is at work.
    Busy,
    /// The table could not grow now: no overflow bucket was left. Never seen.
    Overflow,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range { name, value, least, most } => {
                write!(f, "{name} = {value}: it must be from {least} to {most}")
            }
            Self::HashsizeNotPowerOfTwo(n) => {
                write!(f, "hashsize = {n}: it must be a power of two, or 0 to derive it")
            }
            Self::UserDataNotMultipleOf8(n) => {
                write!(f, "user_data = {n}: it must be a multiple of 8, from 0 to 64")
            }
            Self::UnknownTunable(name) => {
                let (name, all) = (name.escape_debug(), Tunables::NAMES.join(", "));
                write!(f, "no tunable is called '{name}'; there are: {all}")
            }
            Self::Memory { bytes, why } => write!(f, "{bytes} bytes could not be reserved: {why}"),
            Self::Region { len, needed } => write!(
                f,
                "the region of {len} bytes must begin at a multiple of 4096 and hold {needed} bytes"
            ),
            Self::Random(why) => write!(f, "no random numbers for the key of the hash: {why}"),
            Self::TooManyWorkers(n) => write!(f, "all {n} workers that Config::workers allows exist already"),
            Self::Busy => f.write_str("max is being set by another call"),
            Self::Overflow => f.write_str("no overflow bucket was left to grow with"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// What pages the large arrays lie on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HugePages {
    /// Ordinary pages.
    Never,
    /// Transparent huge pages where the system has them (`madvise`).
    #[default]
    Transparent,
    /// 2 MB pages from the reserved pool (`MAP_HUGETLB`); making the table fails if there are not enough.
    Reserved,
}

/// What a host decides when it makes a table. All memory is taken then: [`Config::memory`] bytes; more only by
/// [`crate::Table::set_max`].
#[derive(Clone, Debug)]
pub struct Config {
    /// The most connections there may be, unconfirmed ones included (`nf_conntrack_max`): 64 to 2^28. Never exceeded. It
    /// may be undershot: each worker that is not idle keeps up to 64 places to itself, all together no more than an
    /// eighth of `max` (but one each).
    pub max: u32,
    /// The most that [`crate::Table::set_max`] may raise `max` to: up to 2^28; 0, the default: no more than `max`. Addresses
    /// are reserved for so many connections, and memory is taken when `max` is raised. (Of a `region` all of it is taken at
    /// once, and the smaller arrays of buckets that growth leaves behind stay there: up to 64 bytes a bucket more.) Each
    /// doubling sets aside overflow buckets for every worker there may be, so a table that has grown from a few thousand
    /// connections takes more than one made large; from ten thousand on the difference is small.
    pub max_reserve: u32,
    /// Buckets of seven slots (`nf_conntrack_buckets`): a power of two up to 2^28, not below what `max` asks for; 0 takes
    /// just that. Each connection takes two slots, and at `max` they may take 4.8 slots per bucket on average. When `max` is
    /// raised there will be as many as that asks for, and not fewer than these.
    pub hashsize: u32,
    /// The most workers there may be at a time: 1 to 1024.
    pub workers: u32,
    /// Room for counting packets and bytes of each connection and direction (32 bytes a connection).
    pub acct: bool,
    /// Room for the start time of each connection (8 bytes a connection): `delta-time=` in the text line.
    pub timestamp: bool,
    /// Room for the reply tuples of translated IPv6 connections (40 bytes a connection). IPv4 needs none.
    pub nat6: bool,
    /// Events that each worker's queue holds (rounded up to a power of two), and the queue of calls without a worker: 0
    /// (none are made) to 2^24. 192 bytes an event. See [`crate::Table::events`].
    pub events: u32,
    /// Timeout policies there may be: 0 to 255. See [`crate::Table::set_timeout_policy`].
    pub timeout_policies: u32,
    /// The most expectations there may be (`nf_conntrack_expect_max`): 0, the default, to 2^20. 0: there are neither expectations nor
    /// helpers, and nothing is paid for them. About 300 bytes each, and 4 bytes for each connection that there may be. See
    /// [`crate::helper`].
    pub expect_max: u32,
    /// How many connections at a time may have a helper, an expectation announced by a rule, or a master that is shown: up to 2^24; 0:
    /// four times `expect_max`. About 350 bytes each. Must be 0 if `expect_max` is.
    pub helper_max: u32,
    /// Bytes of host area in each connection: 0 to 64, a multiple of 8.
    pub user_data: u32,
    /// Key of the hash; `None` draws one at random, as every table outside tests should.
    pub hash_key: Option<[u64; 4]>,
    /// Pages of the large arrays.
    pub huge_pages: HugePages,
    /// Touch all memory at creation, so that no packet meets a page fault.
    pub prefault: bool,
    /// Take the table's memory from here: [`Config::memory`] bytes of it. `huge_pages` and `prefault` then do not matter.
    pub region: Option<Region>,
    /// The tunables to begin with.
    pub tunables: Tunables,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max: 262_144,
            max_reserve: 0,
            hashsize: 0,
            workers: 16,
            acct: false,
            timestamp: false,
            nat6: false,
            events: 0,
            timeout_policies: 0,
            expect_max: 0,
            helper_max: 0,
            user_data: 0,
            hash_key: None,
            huge_pages: HugePages::default(),
            prefault: true,
            region: None,
            tunables: Tunables::default(),
        }
    }
}

/// `4.8` slots per bucket, as tenths.
const SLOTS_PER_BUCKET_X10: u64 = 48;

fn within(name: &'static str, value: u64, least: u64, most: u64) -> Result<(), ConfigError> {
    if value < least || value > most {
        return Err(ConfigError::Range { name, value, least, most });
    }
    Ok(())
}

impl Config {
    /// Whether every field is allowed; the error says what is.
    pub fn check(&self) -> Result<(), ConfigError> {
        within("max", self.max.into(), 64, 1 << 28)?;
        if self.max_reserve != 0 {
            within("max_reserve", self.max_reserve.into(), self.max.into(), 1 << 28)?;
        }
        if self.hashsize != 0 {
            if !self.hashsize.is_power_of_two() {
                return Err(ConfigError::HashsizeNotPowerOfTwo(self.hashsize));
            }
            // Fewer buckets would let chains grow to their cap at `max`.
            let least = u64::from(Self::derived_hashsize(self.max));
            within("hashsize", self.hashsize.into(), least, 1 << 28)?;
        }
        within("workers", self.workers.into(), 1, 1024)?;
        within("events", self.events.into(), 0, 1 << 24)?;
        within("timeout_policies", self.timeout_policies.into(), 0, 255)?;
        within("expect_max", self.expect_max.into(), 0, 1 << 20)?;
        within("helper_max", self.helper_max.into(), 0, if self.expect_max == 0 { 0 } else { 1 << 24 })?;
        within("user_data", self.user_data.into(), 0, 64)?;
        if !self.user_data.is_multiple_of(8) {
            return Err(ConfigError::UserDataNotMultipleOf8(self.user_data));
        }
        self.tunables.check()
    }

    /// The number of buckets this table will have, before `max` is raised.
    pub fn buckets(&self) -> u32 {
        if self.hashsize != 0 { self.hashsize } else { Self::derived_hashsize(self.max) }
    }

    /// How many help records there will be.
    pub(crate) fn helpers(&self) -> u32 {
        if self.helper_max != 0 { self.helper_max } else { 4 * self.expect_max }
    }

    /// The most that `max` may be raised to.
    pub(crate) fn most(&self) -> u32 {
        self.max.max(self.max_reserve)
    }

    /// How often the buckets will have doubled when `max` is raised to this.
    pub(crate) fn doublings(&self, max: u32) -> u32 {
        let buckets = Self::derived_hashsize(max).max(self.buckets());
        (buckets / self.buckets()).trailing_zeros()
    }

    /// Whether `max` may be set to this.
    pub(crate) fn check_max(&self, max: u32) -> Result<(), ConfigError> {
        within("max", max.into(), 64, self.most().into())
    }

    /// The least power of two that keeps two slots per connection within 4.8 slots per bucket, at least 256.
    fn derived_hashsize(max: u32) -> u32 {
        let buckets = (u64::from(max) * 20).div_ceil(SLOTS_PER_BUCKET_X10);
        u32::try_from(buckets.next_power_of_two().clamp(256, 1 << 28)).unwrap_or(1 << 28)
    }
}

impl Tunables {
    /// Whether every value is allowed.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut copy = *self;
        for (place, name) in Self::NAMES.iter().enumerate() {
            within(name, (*copy.slot(place)).into(), 0, Self::LIMITS[place].into())?;
        }
        Ok(())
    }

    /// The place of a name in [`Tunables::NAMES`].
    pub fn place(name: &str) -> Result<usize, ConfigError> {
        let found = Self::NAMES.iter().position(|n| *n == name);
        found.ok_or_else(|| ConfigError::UnknownTunable(name.to_owned()))
    }

    /// Sets a tunable by its sysctl name without `nf_conntrack_`, such as `tcp_timeout_established`.
    pub fn set(&mut self, name: &str, value: u32) -> Result<(), ConfigError> {
        let place = Self::place(name)?;
        within(Self::NAMES[place], value.into(), 0, Self::LIMITS[place].into())?;
        *self.slot(place) = value;
        Ok(())
    }

    /// The value of a tunable by its name.
    pub fn get(&self, name: &str) -> Result<u32, ConfigError> {
        let mut copy = *self;
        Ok(*copy.slot(Self::place(name)?))
    }
}
