//! L4: the table as its host sees it: making it, its workers, and what is done from outside the packet path.

use std::fmt;
use std::sync::Arc;

use crate::config::{Config, ConfigError};
use crate::conn::{Conn, Word};
use crate::connection::Connection;
use crate::event::{EventKind, change};
use crate::packet::Handle;
use crate::related::Teller;
use crate::shared::Shared;
use crate::stats::{Stat, Stats, Usage};
use crate::sync::passing;
use crate::table::{Local, is_live};
use crate::timeout::Tunables;
use crate::worker::Worker;

/// A table of connections. Cloning gives another name for the same table; every method may be called from any thread at
/// any time, and none of them makes a packet wait.
#[derive(Clone)]
pub struct Table {
    shared: Arc<Shared>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("count", &self.count()).field("max", &self.shared.limit.max()).finish()
    }
}

impl Table {
    /// Makes a table and reserves its memory. Nothing is allocated on the packet path; a worker takes about 12 kB
    /// from the heap when it is made.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Self { shared: Shared::new(config)? })
    }

    /// A new worker. An error if as many exist as `Config::workers` allows.
    pub fn worker(&self) -> Result<Worker, ConfigError> {
        Worker::new(&self.shared)
    }

    /// What the table was made with; the tunables and `max` may have been changed since ([`Table::tunables`],
    /// [`Table::usage`]).
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The tunables in force.
    pub fn tunables(&self) -> Tunables {
        self.shared.tuning.read()
    }

    /// Changes a tunable (its sysctl name without `nf_conntrack_`). Workers take it over with their next burst; a
    /// connection's timeout changes with its next packet (GRE apart, whose timeouts are fixed when a flow begins, as in the
    /// kernel).
    pub fn set(&self, name: &str, value: u32) -> Result<(), ConfigError> {
        self.shared.tuning.set(name, value)
    }

    /// Connections there are at this moment, unconfirmed ones and those that have expired but were not swept yet
    /// included.
    pub fn count(&self) -> u32 {
        self.shared.count()
    }

    /// The counters, added up over all workers.
    pub fn stats(&self) -> Stats {
        Stats::sum(&self.shared.blocks)
    }

    /// What is used of what was reserved.
    pub fn usage(&self) -> Usage {
        let table = self.shared.table.stats();
        Usage {
            connections: self.count(),
            max: self.shared.limit.max(),
            buckets: self.shared.table.buckets().into(),
            entries: table.entries,
            free: table.free,
            waiting: table.waiting,
            overflow: table.overflow,
            overflow_used: table.overflow_used,
            insert_restarts: table.restarts,
            attempts_exhausted: table.attempts_exhausted,
            overflow_exhausted: table.overflow_exhausted,
            bounds: table.bounds,
            lost: table.lost,
            expectations: self.shared.expects.as_ref().map_or(0, |expects| expects.arena.count()),
            helper_records: self.shared.expects.as_ref().map_or(0, |expects| expects.records.count()),
        }
    }

    /// Bytes that this table has taken: what [`Config::memory`] says, and what [`Table::set_max`] has taken since.
    pub fn memory(&self) -> u64 {
        self.shared.memory()
    }

    /// Ends a connection. `false`: there is none of that handle (any more), or it is not confirmed yet.
    pub fn delete(&self, conn: Handle) -> bool {
        self.shared.without_worker(|local| {
            local.enter();
            self.delete_with(local, conn.index(), conn.generation())
        })
    }

    fn delete_with(&self, local: &mut Local<Conn>, index: u32, generation: u32) -> bool {
        let deleted = self.shared.table.delete(local, index, generation);
        if deleted {
            passing("control-deleted");
            self.gone(index);
            self.shared.limit.give(1);
            self.shared.control_block().add_shared(Stat::Deleted, 1);
        }
        deleted
    }

    /// Connection `index` has left the table, by a call without a worker.
    fn gone(&self, index: u32) {
        let shared = &*self.shared;
        let teller = Teller {
            ring: shared.config.workers as usize,
            now: shared.clock.latest(),
            events: shared.events.is_some() && shared.tuning.read().events != 0,
        };
        if teller.events {
            shared.tell(teller.ring, EventKind::Destroy, change::DESTROY, index, teller.now);
        }
        shared.bury(teller, index);
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Ends every connection that is in the table when the call begins and is still there when it comes by. Those
    /// confirmed meanwhile may stay. Returns how many it ended.
    pub fn flush(&self) -> u32 {
        self.shared.without_worker(|local| self.flush_with(local))
    }

    fn flush_with(&self, local: &mut Local<Conn>) -> u32 {
        let mut flushed = 0;
        for index in 0..self.shared.table.entries() {
            local.enter();
            let generation = self.shared.table.generation(index);
            if self.delete_with(local, index, generation) {
                flushed += 1;
                // What is freed may be needed meanwhile.
                if flushed % 4096 == 0 {
                    self.shared.table.reclaim(local);
                }
            }
        }
        self.shared.table.reclaim(local);
        flushed
    }

    /// Copies of the table's connections, one by one, as each is when the iterator comes by. Every connection that
    /// lives from the first call of `next` to the last is among them, once; those that come or go meanwhile may be. No
    /// packet is held up.
    pub fn dump(&self, now: u64) -> Dump {
        Dump { shared: Arc::clone(&self.shared), next: 0, now }
    }
}

/// The iterator of [`Table::dump`].
pub struct Dump {
    shared: Arc<Shared>,
    next: u32,
    now: u64,
}

impl fmt::Debug for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dump").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Iterator for Dump {
    type Item = Connection;

    fn next(&mut self) -> Option<Connection> {
        let Self { shared, next, now } = self;
        // Between calls the caller may take its time.
        shared.without_worker(|local| {
            local.enter();
            passing("dump-entered");
            let mut found = None;
            while found.is_none() && *next < shared.table.entries() {
                let index = *next;
                *next += 1;
                let word = shared.table.entry(index).word_acquire();
                if is_live(word) && Word::unpack(word).left(*now as u32) > 0 {
                    found = Some(shared.copy(index, Word::unpack(word), true, *now));
                }
            }
            found
        })
    }
}
