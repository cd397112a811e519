//! Chapter: the table.

use std::ffi::{c_char, c_int};

use super::{
    CONNTAB_EINVAL, CONNTAB_ENOENT, CONNTAB_OK, config, conntab_config, conntab_connection, number,
    sized_out, tunable,
};
use crate::control::{Dump, Table};
use crate::packet::Handle;
use crate::timeout::Tunables;

/// A table of connections. Opaque; any number of them may exist, each with memory and secret of its own.
pub struct conntab_table(pub(super) Table);

/// The table of a pointer, if it is not NULL.
pub(super) fn table_of<'a>(table: *const conntab_table) -> Option<&'a Table> {
    // SAFETY: C promises a table from `conntab_table_new` that was not freed; only shared references are made of it.
    unsafe { table.as_ref() }.map(|table| &table.0)
}

/// Makes a table and takes its memory: all that it will use before conntab_table_set_max raises its `max`, besides 12 kB from
/// the heap for each worker.
/// `size`: sizeof(struct conntab_config). Writes the table to `out`; the caller owns it (conntab_table_free).
///
/// Returns CONNTAB_OK; CONNTAB_EINVAL: NULL, or a field out of range (conntab_config_explain says which); CONNTAB_E2BIG;
/// CONNTAB_ENOMEM. Any thread. It may take long (it touches the memory) and makes system calls.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_table_new(
    config: *const conntab_config,
    size: usize,
    out: *mut *mut conntab_table,
) -> c_int {
    if out.is_null() || !out.is_aligned() {
        return CONNTAB_EINVAL;
    }
    match config::read(config, size).and_then(|config| Table::new(config).map_err(|e| number(&e))) {
        Ok(table) => {
            let table = Box::into_raw(Box::new(conntab_table(table)));
            // SAFETY: C promises room for a pointer; it was looked at.
            unsafe { out.write(table) };
            CONNTAB_OK
        }
        Err(error) => error,
    }
}

/// Frees a table; NULL is fine. Workers and dumps of it that still exist stay usable, and its memory goes with the last of
/// them. Any thread, once; gives memory back to the system.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_table_free(table: *mut conntab_table) {
    if !table.is_null() {
        // SAFETY: C promises that it came from `conntab_table_new` and is not used again.
        drop(unsafe { Box::from_raw(table) });
    }
}

/// Changes a tunable while packets flow. `name`: the kernel's sysctl name, with or without nf_conntrack_, such as
/// "tcp_timeout_established"; timeouts are in seconds. Workers take it over with their next burst.
///
/// Returns CONNTAB_OK; CONNTAB_ENOENT: no tunable has that name; CONNTAB_EINVAL: NULL, or the value is out of range.
/// Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_table_set(table: *const conntab_table, name: *const c_char, value: u32) -> c_int {
    let Some(table) = table_of(table) else { return CONNTAB_EINVAL };
    match tunable(name).and_then(|name| table.set(name, value).map_err(|e| number(&e))) {
        Ok(()) => CONNTAB_OK,
        Err(error) => error,
    }
}

/// Changes the most connections there may be, `max`, while packets flow: 64 to conntab_config.max_reserve. A higher one takes
/// memory and doubles the buckets where it asks for that, in the calling thread and with some help of the workers, about a
/// second for each million connections; no packet waits for it. A lower one ends no connection and gives no memory back: until there
/// are fewer, a new one has to take the place of one that may be evicted, but for up to 64 that each worker has room for until it reaps or is idle.
///
/// Returns CONNTAB_OK; CONNTAB_EINVAL: NULL, or out of range; CONNTAB_ENOMEM; CONNTAB_EBUSY: another call is at work;
/// CONNTAB_EROOM: no overflow buckets were left to move chains with. After an
/// error `max` is what it was, and the call may be repeated. Any thread; makes system calls; not for the packet path.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_table_set_max(table: *const conntab_table, max: u32) -> c_int {
    let Some(table) = table_of(table) else { return CONNTAB_EINVAL };
    match table.set_max(max) {
        Ok(()) => CONNTAB_OK,
        Err(error) => number(&error),
    }
}

/// Reads a tunable. Returns and rules as conntab_table_set.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_table_get(
    table: *const conntab_table,
    name: *const c_char,
    value: *mut u32,
) -> c_int {
    let (Some(table), false) = (table_of(table), value.is_null() || !value.is_aligned()) else {
        return CONNTAB_EINVAL;
    };
    match tunable(name).and_then(|name| table.tunables().get(name).map_err(|e| number(&e))) {
        Ok(now) => {
            // SAFETY: C promises room for a number; it was looked at.
            unsafe { value.write(now) };
            CONNTAB_OK
        }
        Err(error) => error,
    }
}

/// Makes timeout policy `policy` (1 to conntab_config.timeout_policies) or changes one of its timeouts: `name` is that of a
/// tunable which is a timeout, `seconds` its value in the policy. A policy that is new begins with the table's timeouts of
/// that moment. conntab_set_timeout_policy attaches it.
///
/// Returns CONNTAB_OK; CONNTAB_ENOENT: no timeout has that name; CONNTAB_EINVAL: NULL, or policy or seconds out of range.
/// Any thread, one at a time for one table (another would wait for it, and of two that change one policy at once either may
/// undo what the other did); not for the packet path.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_table_policy(
    table: *const conntab_table,
    policy: u8,
    name: *const c_char,
    seconds: u32,
) -> c_int {
    let Some(table) = table_of(table) else { return CONNTAB_EINVAL };
    let name = match tunable(name) {
        Ok(name) if name.contains("_timeout") => name,
        Ok(_) => return CONNTAB_ENOENT,
        Err(error) => return error,
    };
    let mut timeouts: Tunables = table.timeout_policy(policy).unwrap_or_else(|| table.tunables());
    match timeouts.set(name, seconds).and_then(|()| table.set_timeout_policy(policy, &timeouts)) {
        Ok(()) => CONNTAB_OK,
        Err(error) => number(&error),
    }
}

/// Connections there are at this moment, unconfirmed ones and those that have expired but were not swept yet included; 0 for
/// NULL. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_table_count(table: *const conntab_table) -> u32 {
    table_of(table).map_or(0, Table::count)
}

/// Ends the connection of a handle. Returns CONNTAB_OK; CONNTAB_ENOENT: there is none of that handle (any more), or it is
/// not confirmed yet; CONNTAB_EINVAL for NULL. Any thread; allocates; never blocks. (A worker's own thread is better off with
/// conntab_delete, which does not.)
#[unsafe(no_mangle)]
pub extern "C" fn conntab_table_delete(table: *const conntab_table, conn: u64) -> c_int {
    match table_of(table).map(|table| table.delete(Handle::from_u64(conn))) {
        Some(true) => CONNTAB_OK,
        Some(false) => CONNTAB_ENOENT,
        None => CONNTAB_EINVAL,
    }
}

/// Ends every connection that is in the table when the call begins and is still there when it comes by. Returns how many;
/// 0 for NULL. Any thread; allocates; takes as long as the table is large, and makes no packet wait.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_table_flush(table: *const conntab_table) -> u32 {
    table_of(table).map_or(0, Table::flush)
}

/// A walk over a table's connections.
pub struct conntab_dump(Dump);

/// Begins a walk over the table's connections as of `now` (milliseconds, the clock of conntab_track): every connection that
/// lives from the first call of conntab_dump_next to the last is among them, once; those that come or go meanwhile may be.
/// No packet is held up. NULL for NULL. The caller owns it (conntab_dump_free). Any thread; allocates.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_dump_new(table: *const conntab_table, now: u64) -> *mut conntab_dump {
    table_of(table)
        .map_or(std::ptr::null_mut(), |table| Box::into_raw(Box::new(conntab_dump(table.dump(now)))))
}

/// The next connection, written to `connection`; `size`: sizeof(struct conntab_connection). Returns 1; 0 when there are no
/// more; CONNTAB_EINVAL for NULL. One thread at a time for one dump; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_dump_next(
    dump: *mut conntab_dump,
    connection: *mut conntab_connection,
    size: usize,
) -> c_int {
    // SAFETY: C promises a dump from `conntab_dump_new` that was not freed and is used by one thread at a time.
    let dump = unsafe { dump.as_mut() };
    let (Some(dump), false) = (dump, connection.is_null() || size == 0) else { return CONNTAB_EINVAL };
    match dump.0.next() {
        Some(next) => {
            // SAFETY: C promises `size` writable bytes.
            unsafe { sized_out(&conntab_connection::of(&next), connection, size) };
            1
        }
        None => 0,
    }
}

/// Ends a walk; NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_dump_free(dump: *mut conntab_dump) {
    if !dump.is_null() {
        // SAFETY: C promises that it came from `conntab_dump_new` and is not used again.
        drop(unsafe { Box::from_raw(dump) });
    }
}

/// The counters of a table, added up over its workers, and what it uses of what it reserved. The first ten are those of
/// `conntrack -S`. Approximate while workers are at it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_stats {
    /// Packets that found a connection.
    pub found: u64,
    /// Packets judged INVALID.
    pub invalid: u64,
    /// Connections confirmed.
    pub insert: u64,
    /// Connections that could not be confirmed because of a clash; their packet was dropped.
    pub insert_failed: u64,
    /// Packets dropped because the table was full or a connection could not be confirmed.
    pub drop: u64,
    /// Connections evicted to make room.
    pub early_drop: u64,
    /// Packets whose headers, checksum or inner packet were no good, and ICMP errors about no known connection (also
    /// counted as invalid).
    pub error: u64,
    /// Lookups done again because the connection they had found was gone.
    pub search_restart: u64,
    /// Clashes resolved by adopting the connection that was there first.
    pub clash_resolve: u64,
    /// Inserts refused because a chain was too long.
    pub chaintoolong: u64,
    /// Packets let through with their connection without changing it.
    pub ignored: u64,
    /// Packets judged by their connection's state alone because its record was being written.
    pub busy: u64,
    /// Connections that ended by their timeout.
    pub expired: u64,
    /// Connections deleted, flushed, or ended by a packet.
    pub deleted: u64,
    /// New connections let go without being confirmed.
    pub not_confirmed: u64,
    /// Packets dropped because all freed entries wait for a worker that stands still.
    pub reclaim_stalled: u64,
    /// Events lost because their queue was full.
    pub events_lost: u64,
    /// Sweeps by conntab_reap that took longer than a day.
    pub late_sweep: u64,
    /// Connections, unconfirmed ones included.
    pub connections: u64,
    /// The most there may be.
    pub max: u64,
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
    /// Slots that were not where they must be: an error in this library if not 0.
    pub lost: u64,
    /// Attempts to insert that lost a race and were repeated.
    pub insert_restarts: u64,
    /// Inserts given up after too many attempts.
    pub attempts_exhausted: u64,
    /// Inserts refused because no overflow bucket was left.
    pub overflow_exhausted: u64,
    /// Other loops that met their bound. Harmless, and expected to stay 0.
    pub bounds: u64,
    /// Buckets there are, overflow buckets apart.
    pub buckets: u64,
    /// Bytes that the table has taken: what conntab_config_memory says, and what conntab_table_set_max has taken since.
    pub memory: u64,
    /// Connections that were expected.
    pub expect_new: u64,
    /// Expectations made.
    pub expect_create: u64,
    /// Expectations that ended, in whatever way.
    pub expect_delete: u64,
    /// Expectations refused because there were as many as there may be.
    pub expect_full: u64,
    /// Connections that got no help record because all were taken: no helper was attached, or a child's master is not shown.
    pub helper_full: u64,
    /// Connections that are expected.
    pub expectations: u64,
    /// Help records in use: connections with a helper, with an expectation by rule, or with a master.
    pub helper_records: u64,
}

/// The names of the fields, in order.
static STATS: [&std::ffi::CStr; 39] = [
    c"found",
    c"invalid",
    c"insert",
    c"insert_failed",
    c"drop",
    c"early_drop",
    c"error",
    c"search_restart",
    c"clash_resolve",
    c"chaintoolong",
    c"ignored",
    c"busy",
    c"expired",
    c"deleted",
    c"not_confirmed",
    c"reclaim_stalled",
    c"events_lost",
    c"late_sweep",
    c"connections",
    c"max",
    c"entries",
    c"free",
    c"waiting",
    c"overflow",
    c"overflow_used",
    c"lost",
    c"insert_restarts",
    c"attempts_exhausted",
    c"overflow_exhausted",
    c"bounds",
    c"buckets",
    c"memory",
    c"expect_new",
    c"expect_create",
    c"expect_delete",
    c"expect_full",
    c"helper_full",
    c"expectations",
    c"helper_records",
];

const _: () = assert!(size_of::<conntab_stats>() == STATS.len() * 8);

/// The name of field number `n` of struct conntab_stats, from 0 on; NULL behind the last. The struct is nothing but
/// uint64_t: as an array of those, it has field n at place n. Static: not to be freed. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_stat_name(n: usize) -> *const c_char {
    STATS.get(n).map_or(std::ptr::null(), |name| name.as_ptr())
}

/// Reads the statistics of a table into `stats`; `size`: sizeof(struct conntab_stats). Returns CONNTAB_OK, or
/// CONNTAB_EINVAL for NULL. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_table_stats(
    table: *const conntab_table,
    stats: *mut conntab_stats,
    size: usize,
) -> c_int {
    let (Some(table), false) = (table_of(table), stats.is_null() || size == 0) else { return CONNTAB_EINVAL };
    let (counted, usage) = (table.stats(), table.usage());
    let all = conntab_stats {
        found: counted.found,
        invalid: counted.invalid,
        insert: counted.insert,
        insert_failed: counted.insert_failed,
        drop: counted.drop,
        early_drop: counted.early_drop,
        error: counted.error,
        search_restart: counted.search_restart,
        clash_resolve: counted.clash_resolve,
        chaintoolong: counted.chaintoolong,
        ignored: counted.ignored,
        busy: counted.busy,
        expired: counted.expired,
        deleted: counted.deleted,
        not_confirmed: counted.not_confirmed,
        reclaim_stalled: counted.reclaim_stalled,
        events_lost: counted.events_lost,
        late_sweep: counted.late_sweep,
        connections: usage.connections.into(),
        max: usage.max.into(),
        entries: usage.entries,
        free: usage.free,
        waiting: usage.waiting,
        overflow: usage.overflow,
        overflow_used: usage.overflow_used,
        lost: usage.lost,
        insert_restarts: usage.insert_restarts,
        attempts_exhausted: usage.attempts_exhausted,
        overflow_exhausted: usage.overflow_exhausted,
        bounds: usage.bounds,
        buckets: usage.buckets,
        memory: table.memory(),
        expect_new: counted.expect_new,
        expect_create: counted.expect_create,
        expect_delete: counted.expect_delete,
        expect_full: counted.expect_full,
        helper_full: counted.helper_full,
        expectations: usage.expectations.into(),
        helper_records: usage.helper_records.into(),
    };
    // SAFETY: C promises `size` writable bytes.
    unsafe { sized_out(&all, stats, size) };
    CONNTAB_OK
}
