//! L4: what the workers of one table share.

use std::sync::Arc;

use crate::config::{Config, ConfigError, HugePages};
use crate::conn::{Conn, Context, Nat6, Word};
use crate::connection::{Connection, Counters, Tracked};
use crate::expect::{Expects, Sizes};
use crate::hash::TupleHash;
use crate::limit::Limit;
use crate::memory::{Array, Cutter, Huge, NoMemory, Options, Zeroed};
use crate::notify::Queues;
use crate::packet::Handle;
use crate::policy::Policies;
use crate::proto::{gre, sctp, tcp};
use crate::reap::Sweep;
use crate::stats::Block;
use crate::sync::{AtomicU32, AtomicU64, Mutex, Ordered, Ordering, order, passing};
use crate::table::{self, Geometry, Local};
use crate::timeout::Tunables;
use crate::tuple::{Direction, Tuple, protocol};

/// Packets and bytes of a connection: original packets, original bytes, reply packets, reply bytes.
#[repr(C, align(32))]
#[derive(Default)]
pub(crate) struct Account([AtomicU64; 4]);

// SAFETY: an array of integer atomics: zero is valid and is the default, nothing to drop.
unsafe impl Zeroed for Account {}
// SAFETY: all fields are integer atomics or arrays of them: zero is valid and is the default, nothing to drop.
unsafe impl Zeroed for Conn {}
// SAFETY: as above.
unsafe impl Zeroed for Nat6 {}
// SAFETY: as above.
unsafe impl Zeroed for Block {}
// SAFETY: as above.
unsafe impl Zeroed for Seat {}

impl Account {
    #[inline]
    pub fn count(&self, dir: Direction, packets: u64, bytes: u64) {
        let at = dir as usize * 2;
        self.0[at].fetch_add(packets, Ordering::Relaxed);
        self.0[at + 1].fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn read(&self) -> [Counters; 2] {
        let [op, ob, rp, rb] = std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed));
        [Counters { packets: op, bytes: ob }, Counters { packets: rp, bytes: rb }]
    }

    pub fn clear(&self) {
        for counter in &self.0 {
            counter.write(0);
        }
    }
}

/// Arrays beside the slab, indexed like it, reserved only where the configuration asks for them.
pub(crate) struct Side {
    pub acct: Option<Array<Account>>,
    /// Milliseconds at which a connection was confirmed; 0: not remembered.
    pub start: Option<Array<AtomicU64>>,
    /// Host areas: `user_words` each.
    pub user: Option<Array<AtomicU64>>,
    pub user_words: usize,
}

/// A worker's place: whether it is taken, and what its worker lets others see.
#[repr(C, align(64))]
#[derive(Default)]
pub(crate) struct Seat {
    pub taken: AtomicU32,
    /// Permits its worker keeps.
    pub kept: AtomicU32,
}

/// Workers' clocks may differ by so many milliseconds.
pub(crate) const SKEW: u32 = 1000;

/// The latest time that any worker was told, in ms. On a line of its own: it is read in each burst, and written once a
/// millisecond.
#[repr(align(64))]
#[derive(Default)]
pub(crate) struct Clock(AtomicU64);

impl Clock {
    pub fn latest(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// A worker is told the time; returns by how much its clock is behind the others', as far as that is allowed.
    /// Relaxed: the time orders nothing.
    #[inline]
    pub fn behind(&self, now: u64) -> u32 {
        let latest = self.latest();
        if now > latest {
            self.0.fetch_max(now, Ordering::Relaxed);
            passing("clock-raised");
        }
        latest.saturating_sub(now).min(SKEW.into()) as u32
    }
}

/// Tunables that may change while packets flow. Workers keep a copy and look once a burst whether it is current.
/// A version comes with its values. Models: `a_new_version_comes_with_its_values`.
pub(crate) struct Tuning {
    /// Release when raised, Acquire when read: whoever sees the new version sees the values.
    version: AtomicU32,
    values: Array<AtomicU32>,
}

impl Tuning {
    pub fn new(tunables: &Tunables, options: Options<'_>) -> Result<Self, NoMemory> {
        let values = Array::new(Tunables::NAMES.len(), options)?;
        let tuning = Self { version: AtomicU32::new(0), values };
        let mut copy = *tunables;
        for (place, value) in tuning.values.iter().enumerate() {
            value.store(*copy.slot(place), Ordering::Relaxed);
        }
        Ok(tuning)
    }

    #[inline]
    pub fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }

    #[cfg(all(test, conntab_loom))]
    pub fn value(&self, name: &str) -> u32 {
        self.values[Tunables::place(name).unwrap()].load(Ordering::Relaxed)
    }

    pub fn read(&self) -> Tunables {
        let mut tunables = Tunables::default();
        for (slot, value) in tunables.all().into_iter().zip(self.values.iter()) {
            *slot = value.load(Ordering::Relaxed);
        }
        tunables
    }

    pub fn set(&self, name: &str, value: u32) -> Result<(), ConfigError> {
        self.read().set(name, value)?;
        self.values[Tunables::place(name)?].store(value, Ordering::Relaxed);
        passing("tunable-stored");
        self.changed();
        Ok(())
    }

    /// Makes workers look: what was stored before this is what they will see.
    pub fn changed(&self) {
        self.version.fetch_add(1, order("tuning-relaxed", Ordering::Release));
    }
}

pub(crate) struct Shared {
    pub config: Config,
    pub table: table::Table<Conn>,
    pub side: Side,
    pub limit: Limit,
    pub tuning: Tuning,
    pub policies: Policies,
    pub events: Option<Queues>,
    pub expects: Option<Expects>,
    pub sweep: Sweep,
    /// One for each worker and, last, one for calls without a worker.
    pub blocks: Array<Block>,
    pub seats: Array<Seat>,
    pub clock: Clock,
    /// Not 0: somebody sets `max`.
    pub setting_max: AtomicU32,
    /// Bytes of what does not grow.
    fixed: u64,
    /// Accesses that calls without a worker have left for the next.
    accesses: Mutex<Vec<Local<Conn>>>,
}

/// How many accesses are kept.
const KEPT: usize = 8;

/// How a table of this configuration takes its memory.
fn options<'r>(config: &Config, region: Option<&'r Cutter>) -> Options<'r> {
    let huge = match config.huge_pages {
        _ if config.region.is_some() => Huge::None,
        HugePages::Never => Huge::None,
        HugePages::Transparent => Huge::Madvise,
        HugePages::Reserved => Huge::Hugetlb,
    };
    Options { huge, prefault: config.prefault, cut: config.region.is_some(), region }
}

/// Entries for this `max`: more than that, for those that wait for the epoch and for those that workers keep at hand.
pub(crate) fn entries(config: &Config, max: u32) -> u32 {
    max + max / 32 + 4096 + config.workers * 64
}

fn geometry(config: &Config) -> Geometry {
    let (buckets, doublings) = (config.buckets(), config.doublings(config.most()));
    let overflow = Geometry::default_overflow(buckets);
    Geometry {
        entries: entries(config, config.max),
        overflow,
        doublings,
        most_overflow: Geometry::overflow_after(overflow, doublings, config.workers),
        most_entries: entries(config, config.most()),
        buckets,
        workers: config.workers,
        // Tags come from fixed bits above the least `hashsize`, so that growing never changes them.
        tag_shift: 8,
    }
}

impl Config {
    /// Exactly the bytes that a table of this configuration takes when it is made. (Bookkeeping of a few kilobytes, and about
    /// 12 kB for each worker when it is made, come from the heap.)
    pub fn memory(&self) -> Result<u64, ConfigError> {
        self.check()?;
        let (geometry, options) = (geometry(self), options(self, None));
        let (entries, most) = (geometry.entries as usize, geometry.most_entries as usize);
        let mut bytes = table::Table::<Conn>::memory(&geometry, options).ok_or(OUT_OF_RANGE)?;
        bytes += Array::<AtomicU32>::bytes_of(entries, most, options);
        bytes += Array::<AtomicU32>::bytes(Tunables::NAMES.len(), options);
        bytes += Policies::bytes(self.timeout_policies, options);
        if self.events != 0 {
            bytes += Queues::bytes(self.workers as usize + 1, self.events, options);
        }
        bytes += Array::<Block>::bytes(self.workers as usize + 1, options);
        bytes += Array::<Seat>::bytes(self.workers as usize, options);
        if let Some(sizes) = sizes(self) {
            bytes += Expects::bytes(sizes, options);
        }
        if self.acct {
            bytes += Array::<Account>::bytes_of(entries, most, options);
        }
        if self.timestamp {
            bytes += Array::<AtomicU64>::bytes_of(entries, most, options);
        }
        if self.nat6 {
            bytes += Array::<Nat6>::bytes_of(entries, most, options);
        }
        if self.user_data != 0 {
            let words = self.user_data as usize / 8;
            bytes += Array::<AtomicU64>::bytes_of(entries * words, most * words, options);
        }
        Ok(bytes)
    }
}

/// How many expectations and help records there may be; `None`: there are to be none.
fn sizes(config: &Config) -> Option<Sizes> {
    (config.expect_max != 0).then(|| Sizes {
        expect_max: config.expect_max,
        helper_max: config.helpers(),
        entries: entries(config, config.max) as usize,
        most_entries: entries(config, config.most()) as usize,
    })
}

/// `check` refuses what the table would.
const OUT_OF_RANGE: ConfigError = ConfigError::Range { name: "max", value: 0, least: 64, most: 1 << 28 };

impl From<table::Error> for ConfigError {
    fn from(error: table::Error) -> Self {
        match error {
            table::Error::Memory(error) => error.into(),
            table::Error::Geometry | table::Error::Worker => OUT_OF_RANGE,
            table::Error::Overflow => Self::Overflow,
        }
    }
}

impl From<NoMemory> for ConfigError {
    fn from(error: NoMemory) -> Self {
        let why = std::io::Error::from_raw_os_error(error.errno).to_string();
        Self::Memory { bytes: error.bytes, why }
    }
}

impl Shared {
    pub fn new(config: Config) -> Result<Arc<Self>, ConfigError> {
        config.check()?;
        let cutter = config.region.map(Cutter::new);
        if let (Some(region), needed) = (&config.region, config.memory()?)
            && !region.fits(needed)
        {
            return Err(ConfigError::Region { len: region.len() as u64, needed });
        }
        let (geometry, options) = (geometry(&config), options(&config, cutter.as_ref()));
        let (entries, most) = (geometry.entries as usize, geometry.most_entries as usize);
        let nat6 = config.nat6.then(|| Array::reserve(entries, most, options)).transpose()?;
        let hash = TupleHash::new(config.hash_key).map_err(|e| ConfigError::Random(e.to_string()))?;
        let context = Context { hash, nat6 };
        let user_words = config.user_data as usize / 8;
        let side = Side {
            acct: config.acct.then(|| Array::reserve(entries, most, options)).transpose()?,
            start: config.timestamp.then(|| Array::reserve(entries, most, options)).transpose()?,
            user: (user_words != 0)
                .then(|| Array::reserve(entries * user_words, most * user_words, options))
                .transpose()?,
            user_words,
        };
        let queues = config.workers as usize + 1;
        let events = (config.events != 0).then(|| Queues::new(queues, config.events, options)).transpose()?;
        let mut shared = Self {
            table: table::Table::new(geometry, context, options)?,
            side,
            limit: Limit::new(config.max, config.workers),
            tuning: Tuning::new(&config.tunables, options)?,
            policies: Policies::new(config.timeout_policies, options)?,
            events,
            expects: sizes(&config).map(|sizes| Expects::new(sizes, options)).transpose()?,
            sweep: Sweep::new(entries, most, options)?,
            blocks: Array::new(config.workers as usize + 1, options)?,
            seats: Array::new(config.workers as usize, options)?,
            clock: Clock::default(),
            setting_max: AtomicU32::new(0),
            fixed: 0,
            accesses: Mutex::new(Vec::with_capacity(KEPT)),
            config,
        };
        shared.fixed = shared.config.memory()? - shared.growing_memory();
        Ok(Arc::new(shared))
    }

    /// Room for what `max` connections take beside the table's own: everything that is indexed like the slab.
    pub fn extend_side(&self, entries: usize) -> Result<(), NoMemory> {
        let Side { acct, start, user, user_words } = &self.side;
        acct.as_ref().map_or(Ok(()), |all| all.commit(entries))?;
        start.as_ref().map_or(Ok(()), |all| all.commit(entries))?;
        user.as_ref().map_or(Ok(()), |all| all.commit(entries * user_words))?;
        self.table.context().nat6.as_ref().map_or(Ok(()), |all| all.commit(entries))?;
        self.expects.as_ref().map_or(Ok(()), |expects| expects.extend(entries))?;
        self.sweep.extend(entries)
    }

    /// Bytes that have memory, of what can grow.
    fn growing_memory(&self) -> u64 {
        let Side { acct, start, user, .. } = &self.side;
        let side = acct.as_ref().map_or(0, Array::committed)
            + start.as_ref().map_or(0, Array::committed)
            + user.as_ref().map_or(0, Array::committed)
            + self.table.context().nat6.as_ref().map_or(0, Array::committed)
            + self.expects.as_ref().map_or(0, Expects::committed);
        self.table.committed() + side + self.sweep.committed()
    }

    /// Bytes that have memory.
    pub fn memory(&self) -> u64 {
        self.fixed + self.growing_memory()
    }

    /// Does something to the table without a worker. An access takes some kilobytes of the heap, which come back through the epoch only
    /// when every worker has moved on: were each call to make its own, calls would pile them up while a worker stands still. So
    /// accesses are kept; nobody waits for one.
    pub fn without_worker<R>(&self, work: impl FnOnce(&mut Local<Conn>) -> R) -> R {
        let kept = self.accesses.try_lock().ok().and_then(|mut kept| kept.pop());
        let mut local = kept.unwrap_or_else(|| self.table.control());
        let result = work(&mut local);
        local.leave();
        if let Ok(mut kept) = self.accesses.try_lock()
            && kept.len() < KEPT
        {
            kept.push(local);
        }
        result
    }

    /// The counters of calls without a worker.
    pub fn control_block(&self) -> &Block {
        &self.blocks[self.config.workers as usize]
    }

    /// Connections there are, unconfirmed ones included.
    pub fn count(&self) -> u32 {
        let kept: u32 = self.seats.iter().map(|seat| seat.kept.load(Ordering::Relaxed)).sum();
        self.limit.granted().saturating_sub(kept)
    }

    #[inline]
    pub fn account(&self, index: u32) -> Option<&Account> {
        self.side.acct.as_ref().map(|all| &all[index as usize])
    }

    /// The host area of a connection; empty where none was configured.
    pub fn user_data(&self, index: u32) -> &[AtomicU64] {
        let words = self.side.user_words;
        match &self.side.user {
            Some(all) => &all[index as usize * words..][..words],
            None => &[],
        }
    }

    /// A copy of a connection whose word was read as `word`. The caller keeps the connection from being freed: it is
    /// pinned, or owns the connection.
    pub fn copy(&self, index: u32, word: Word, confirmed: bool, now: u64) -> Connection {
        let conn = self.table.entry(index);
        let [original, reply] =
            [Direction::Original, Direction::Reply].map(|dir| conn.key_of(self.table.context(), index, dir));
        let tracked = match original.l4() {
            protocol::TCP => {
                let record = conn.settled_record().map(|words| tcp::Record::unpack(&words));
                Tracked::Tcp(tcp::State::from_u8(word.state).unwrap_or(tcp::State::None), record)
            }
            protocol::SCTP => {
                let record = conn.settled_record().map(|words| sctp::Record::unpack(&words));
                Tracked::Sctp(sctp::State::from_u8(word.state).unwrap_or_default(), record)
            }
            protocol::GRE => {
                let gre::Record { timeout, stream_timeout } = gre::Record::unpack(&conn.load_record());
                Tracked::Gre(timeout, stream_timeout)
            }
            _ => Tracked::None,
        };
        let handle = Handle::new(index, self.table.generation(index));
        let (helper, master) = self.family(index, handle, word);
        let timeout_ms = if confirmed { word.left(now as u32).max(0) as u32 } else { word.time };
        let confirmed_bit = if confirmed { crate::conn::status::CONFIRMED } else { 0 };
        Connection {
            handle,
            original: Tuple::from_key(&original),
            reply: Tuple::from_key(&reply),
            zone_orig: original.zone(),
            zone_reply: reply.zone(),
            status: word.status() | confirmed_bit,
            tracked,
            timeout_ms,
            mark: conn.mark(),
            counters: self.account(index).filter(|_| conn.counted()).map(Account::read),
            delta_time: if confirmed { self.lived(index, now) } else { None },
            helper,
            master,
        }
    }
}
