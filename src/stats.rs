//! L4: what happened, counted. Each worker counts in a line of its own; reading adds them up.

use crate::memory::Array;
use crate::sync::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($( $(#[doc = $doc:literal])+ $name:ident, $variant:ident; )+) => {
        #[derive(Clone, Copy)]
        pub(crate) enum Stat { $($variant,)+ }

        /// The counters of a table, added up over its workers. The first ten are those of `conntrack -S`; `expect_new`,
        /// `expect_create` and `expect_delete` are those of `/proc/net/stat/nf_conntrack`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats { $( $(#[doc = $doc])+ pub $name: u64, )+ }

        impl Stats {
            /// Name and value of every counter.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),+].into_iter()
            }

            fn from_sums(sums: &[u64; COUNTERS]) -> Self {
                Self { $($name: sums[Stat::$variant as usize],)+ }
            }
        }

        const COUNTERS: usize = [$(stringify!($name)),+].len();
    };
}

counters! {
    /// Packets that found a connection.
    found, Found;
    /// Packets judged INVALID.
    invalid, Invalid;
    /// Connections confirmed.
    insert, Insert;
    /// Connections that could not be confirmed because of a clash; their packet was dropped.
    insert_failed, InsertFailed;
    /// Packets dropped because the table was full or a connection could not be confirmed.
    drop, Drop;
    /// Connections evicted to make room.
    early_drop, EarlyDrop;
    /// Packets whose headers, checksum or inner packet were no good, and ICMP errors about no known connection (also
    /// counted as invalid).
    error, Error;
    /// Lookups done again because the connection they had found was gone.
    search_restart, SearchRestart;
    /// Clashes resolved by adopting the connection that was there first.
    clash_resolve, ClashResolve;
    /// Inserts refused because a chain was too long.
    chaintoolong, ChainTooLong;
    /// Packets let through with their connection without changing it.
    ignored, Ignored;
    /// Packets judged by their connection's state alone because its record was being written.
    busy, Busy;
    /// Connections that ended by their timeout.
    expired, Expired;
    /// Connections deleted, flushed, or ended by a packet.
    deleted, Deleted;
    /// New connections let go without being confirmed.
    not_confirmed, NotConfirmed;
    /// Packets dropped because all freed entries wait for a worker that stands still.
    reclaim_stalled, ReclaimStalled;
    /// Events lost because their queue was full.
    events_lost, EventsLost;
    /// Sweeps by the reaper that took longer than a day.
    late_sweep, LateSweep;
    /// Connections that were expected.
    expect_new, ExpectNew;
    /// Expectations made.
    expect_create, ExpectCreate;
    /// Expectations that ended, in whatever way.
    expect_delete, ExpectDelete;
    /// Expectations refused because there were as many as there may be.
    expect_full, ExpectFull;
    /// Connections that got no help record because all were taken: no helper was attached, or a child's master is not shown.
    helper_full, HelperFull;
}

/// What a table uses of what was reserved for it, at a glance: approximate while workers are at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Connections, unconfirmed ones included.
    pub connections: u32,
    /// The most there may be.
    pub max: u32,
    /// Buckets there are, overflow buckets apart.
    pub buckets: u64,
    /// Entries there are: more than `max`, for those that wait to be used again.
    pub entries: u64,
    /// Entries neither used nor waiting (those in the workers' caches do not count as free).
    pub free: u64,
    /// Entries freed, and not to be used again before every worker that was at work has moved on.
    pub waiting: u64,
    /// Overflow buckets there are.
    pub overflow: u64,
    /// Overflow buckets in chains or waiting.
    pub overflow_used: u64,
    /// Attempts to insert that lost a race and were repeated.
    pub insert_restarts: u64,
    /// Inserts given up after too many attempts.
    pub attempts_exhausted: u64,
    /// Inserts refused because no overflow bucket was left.
    pub overflow_exhausted: u64,
    /// Other loops that met their bound. Harmless, and expected to stay 0.
    pub bounds: u64,
    /// Slots that were not where they must be: an error in this library if not 0.
    pub lost: u64,
    /// Connections that are expected.
    pub expectations: u32,
    /// Help records in use: connections with a helper, with an expectation by rule, or with a master.
    pub helper_records: u32,
}

/// One worker's counters, on cache lines of their own.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Block([AtomicU64; COUNTERS]);

impl Block {
    /// Adds to a counter of the caller's own block: nobody else writes it, so no RMW is needed.
    #[inline]
    pub fn add(&self, stat: Stat, n: u64) {
        let counter = &self.0[stat as usize];
        counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Adds to a counter of a block that several threads share.
    pub fn add_shared(&self, stat: Stat, n: u64) {
        self.0[stat as usize].fetch_add(n, Relaxed);
    }
}

impl Stats {
    pub(crate) fn sum(blocks: &Array<Block>) -> Self {
        let mut sums = [0u64; COUNTERS];
        for block in blocks.iter() {
            for (sum, counter) in sums.iter_mut().zip(&block.0) {
                *sum = sum.wrapping_add(counter.load(Relaxed));
            }
        }
        Self::from_sums(&sums)
    }
}
