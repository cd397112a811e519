//! Chapter: workers.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{CONNTAB_EBUSY, CONNTAB_EINVAL, CONNTAB_ENOENT, CONNTAB_OK, conntab_table, number, table_of};
use crate::packet::{Handle, MAX_BURST};
use crate::worker::Worker;

/// The means to track packets: one per thread at a time. Opaque. It may be made on one thread and used on another, but
/// not by two at once: calls that find it in use return CONNTAB_EBUSY.
///
/// Between conntab_track and the next conntab_reap or conntab_idle a worker holds back the reuse of freed entries, so
/// that its burst can use them. A WORKER THAT WILL NOT TRACK FOR A WHILE MUST CALL ONE OF THE TWO; one that does not (its
/// thread sleeps, or is dead) stops nobody, but freed entries pile up, and in the end new connections of all workers are
/// refused with the reason reclaim-stalled. If a worker's thread has died outside a call, any other thread may take the
/// worker over or free it. If it has died inside a call, the worker answers CONNTAB_EBUSY for ever; it must not be freed,
/// and its table's freed entries stay held back: make a new table.
pub struct conntab_worker {
    /// Whether a call is in it.
    busy: AtomicBool,
    worker: std::cell::UnsafeCell<Worker>,
}

/// A worker for the length of a call.
pub(super) struct Held<'a> {
    of: &'a conntab_worker,
}

impl Held<'_> {
    pub fn worker(&mut self) -> &mut Worker {
        // SAFETY: `busy` was taken by `hold`, so nobody else holds the worker; the borrow ends with `self`'s.
        unsafe { &mut *self.of.worker.get() }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `hold`.
        self.of.busy.store(false, Ordering::Release);
    }
}

/// Takes a worker for the length of a call.
#[inline]
pub(super) fn hold<'a>(worker: *const conntab_worker) -> Result<Held<'a>, c_int> {
    // SAFETY: C promises a worker from `conntab_worker_new` that was not freed; only shared references are made of it.
    let Some(of) = (unsafe { worker.as_ref() }) else { return Err(CONNTAB_EINVAL) };
    // Acquire: pairs with the Release in `drop`, of another thread if the worker has moved. (A load and a store instead of
    // an exchange would be cheaper by 5 ns, and would miss what it is for.)
    if of.busy.swap(true, Ordering::Acquire) {
        return Err(CONNTAB_EBUSY);
    }
    Ok(Held { of })
}

/// Makes a worker of a table, written to `out`; the caller owns it (conntab_worker_free). Returns CONNTAB_OK;
/// CONNTAB_EUSERS: as many exist as conntab_config.workers allows; CONNTAB_EINVAL for NULL. Any thread; allocates 12 kB.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_worker_new(table: *const conntab_table, out: *mut *mut conntab_worker) -> c_int {
    let (Some(table), false) = (table_of(table), out.is_null() || !out.is_aligned()) else {
        return CONNTAB_EINVAL;
    };
    match table.worker() {
        Ok(worker) => {
            let worker = Box::into_raw(Box::new(conntab_worker {
                busy: AtomicBool::new(false),
                worker: worker.into(),
            }));
            // SAFETY: C promises room for a pointer; it was looked at.
            unsafe { out.write(worker) };
            CONNTAB_OK
        }
        Err(error) => number(&error),
    }
}

/// Frees a worker, whose unconfirmed connections are let go; NULL is fine. Any thread, when no call is in it.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_worker_free(worker: *mut conntab_worker) {
    if !worker.is_null() {
        // SAFETY: C promises that it came from `conntab_worker_new` and is not used again.
        drop(unsafe { Box::from_raw(worker) });
    }
}

/// What conntab_reap did.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_reaped {
    /// Entries looked at.
    pub examined: u32,
    /// Connections that ended.
    pub expired: u32,
    /// Chains of freed entries that were handed to reclamation.
    pub chains: u32,
    /// 1: this call finished a sweep over all entries.
    pub wrapped: u32,
}

/// A slice of expiry and of reclamation: looks at up to `budget` entries (rounded up to 1024; 0: none) from where the last
/// call, of any worker, ended, ends the connections that have expired, makes what was deleted reusable, and leaves the
/// worker idle (conntab_idle). To be called regularly, from an idle loop say, by any worker or by all; the whole table must be
/// swept once a day. `reaped` may be NULL.
///
/// Returns CONNTAB_OK, CONNTAB_EINVAL or CONNTAB_EBUSY. The worker's thread; bounded work; may free a little memory; never
/// blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_reap(
    worker: *mut conntab_worker,
    now: u64,
    budget: u32,
    reaped: *mut conntab_reaped,
) -> c_int {
    let mut held = match hold(worker) {
        Ok(held) => held,
        Err(error) => return error,
    };
    let done = held.worker().reap(now, budget);
    if !reaped.is_null() && reaped.is_aligned() {
        let told = conntab_reaped {
            examined: done.examined,
            expired: done.expired,
            chains: done.chains,
            wrapped: done.wrapped.into(),
        };
        // SAFETY: C promises room for the struct; it was looked at.
        unsafe { reaped.write(told) };
    }
    CONNTAB_OK
}

/// Frees the worker from holding back the reuse of entries until its next conntab_track; connections that were not
/// confirmed are let go. Cheap; to be called when there is nothing to do. Returns CONNTAB_OK, CONNTAB_EINVAL or
/// CONNTAB_EBUSY. The worker's thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_idle(worker: *mut conntab_worker) -> c_int {
    with(worker, |worker| {
        worker.idle();
        CONNTAB_OK
    })
}

pub(super) fn with(worker: *mut conntab_worker, work: impl FnOnce(&mut Worker) -> c_int) -> c_int {
    match hold(worker) {
        Ok(mut held) => work(held.worker()),
        Err(error) => error,
    }
}

fn found(found: bool) -> c_int {
    if found { CONNTAB_OK } else { CONNTAB_ENOENT }
}

/// Sets the mark of a connection, confirmed or not. Returns CONNTAB_OK; CONNTAB_ENOENT: there is no such connection (any
/// more); CONNTAB_EINVAL; CONNTAB_EBUSY. The worker's thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_set_mark(worker: *mut conntab_worker, conn: u64, mark: u32) -> c_int {
    with(worker, |worker| found(worker.set_mark(Handle::from_u64(conn), mark)))
}

/// Ends a connection. Returns CONNTAB_OK; CONNTAB_ENOENT: there is none of that handle (any more), or it is not confirmed
/// yet; CONNTAB_EINVAL; CONNTAB_EBUSY. The worker's thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_delete(worker: *mut conntab_worker, conn: u64) -> c_int {
    with(worker, |worker| found(worker.delete(Handle::from_u64(conn))))
}

/// conntab_delete for the `n` connections at `conns`, at most CONNTAB_MAX_BURST: several times as fast, as memory latencies
/// overlap. Returns how many were ended; bit i of `*deleted` (NULL: not told) says whether number i was, 0 if it names
/// nobody. CONNTAB_EINVAL for NULL or misaligned pointers; CONNTAB_EBUSY. The worker's thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_delete_burst(
    worker: *mut conntab_worker,
    conns: *const u64,
    n: usize,
    deleted: *mut u64,
) -> c_int {
    let n = n.min(MAX_BURST);
    if n > 0 && (conns.is_null() || !conns.is_aligned()) || !deleted.is_null() && !deleted.is_aligned() {
        return CONNTAB_EINVAL;
    }
    let mut burst = [Handle::NONE; MAX_BURST];
    for (at, conn) in burst[..n].iter_mut().enumerate() {
        // SAFETY: C promises `n` handles.
        *conn = Handle::from_u64(unsafe { conns.wrapping_add(at).read() });
    }
    with(worker, |worker| {
        let ended = worker.delete_burst(&burst[..n]);
        if !deleted.is_null() {
            // SAFETY: C promises room for it; it was looked at.
            unsafe { deleted.write(ended) };
        }
        ended.count_ones() as c_int
    })
}

/// Tells that the host has reset a TCP connection itself (a rule that rejects with a RST): its state becomes CLOSE, its
/// time that of CLOSE. Returns CONNTAB_OK; CONNTAB_ENOENT: there is no such connection in the table (any more), or it is not
/// TCP; CONNTAB_EINVAL; CONNTAB_EBUSY. The worker's thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_set_closing(worker: *mut conntab_worker, now: u64, conn: u64) -> c_int {
    with(worker, |worker| found(worker.set_closing(now, Handle::from_u64(conn))))
}
