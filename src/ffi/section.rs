//! Chapter: read sections, for lookups that change nothing.

use std::ffi::c_int;

use super::{
    CONNTAB_EINVAL, CONNTAB_ENOENT, CONNTAB_OK, CONNTAB_ORIGINAL, CONNTAB_REPLY, conntab_connection,
    conntab_tuple, conntab_worker, hold, sized_out,
};
use crate::packet::{Handle, MAX_BURST};
use crate::section::View;
use crate::tuple::{Direction, Tuple};

/// A connection met by a lookup, by value.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_view {
    /// Its handle; 0: nothing was found.
    pub conn: u64,
    /// Its mark.
    pub mark: u32,
    /// Its status: CONNTAB_STATUS_* bits.
    pub status: u16,
    /// The direction in which the tuple that was looked up goes: CONNTAB_ORIGINAL or CONNTAB_REPLY.
    pub dir: u8,
    /// 0.
    pub reserved: u8,
    /// Its host area (conntab_config.user_data bytes, as 64-bit words, 0 when it begins), or NULL. To be read and written by
    /// atomic operations where several workers may meet the connection; valid until the worker's next call. NULL also where the
    /// call left the worker idle: outside a section, and not between conntab_track and conntab_idle or conntab_reap.
    pub user_data: *mut u64,
}

impl conntab_view {
    #[inline]
    fn of(view: &View<'_>) -> Self {
        let area = view.user_data();
        Self {
            conn: view.handle().to_u64(),
            mark: view.mark(),
            status: view.status(),
            dir: view.direction() as u8,
            reserved: 0,
            user_data: if area.is_empty() { std::ptr::null_mut() } else { area[0].as_ptr() },
        }
    }
}

/// Opens a read section, which ends by conntab_section_end, conntab_idle or conntab_reap: lookups inside one are several
/// times as fast as lone ones, which open and end one each. Sections do not nest; one that stays open holds back the reuse
/// of freed entries, as conntab_track does. Returns CONNTAB_OK, CONNTAB_EINVAL or CONNTAB_EBUSY. The worker's
/// thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_section_begin(worker: *mut conntab_worker) -> c_int {
    match hold(worker) {
        Ok(mut held) => {
            held.worker().hold_section();
            CONNTAB_OK
        }
        Err(error) => error,
    }
}

/// Ends a read section; the worker is idle again if it was before. Returns CONNTAB_OK, CONNTAB_EINVAL or CONNTAB_EBUSY. The
/// worker's thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_section_end(worker: *mut conntab_worker) -> c_int {
    match hold(worker) {
        Ok(mut held) => {
            held.worker().end_section();
            CONNTAB_OK
        }
        Err(error) => error,
    }
}

/// Looks a tuple up in a zone, as of `now`; the connection found is written to `view`. Nothing changes: no counter, no
/// timeout, no state.
///
/// Returns CONNTAB_OK; CONNTAB_ENOENT: there is none that has not expired; CONNTAB_EINVAL; CONNTAB_EBUSY. The worker's thread;
/// bounded work; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_lookup(
    worker: *mut conntab_worker,
    now: u64,
    zone: u16,
    tuple: *const conntab_tuple,
    view: *mut conntab_view,
) -> c_int {
    let found = conntab_lookup_burst(worker, now, zone, tuple, 1, view);
    match found {
        1 => CONNTAB_OK,
        0 => CONNTAB_ENOENT,
        error => error,
    }
}

/// conntab_lookup for `n` tuples in one zone, at most CONNTAB_MAX_BURST: several times as fast, as memory latencies overlap.
/// Where nothing is found, and for a tuple that is nonsense, `views[i].conn` is 0. Returns how many were found; otherwise as
/// conntab_lookup.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_lookup_burst(
    worker: *mut conntab_worker,
    now: u64,
    zone: u16,
    tuples: *const conntab_tuple,
    n: usize,
    views: *mut conntab_view,
) -> c_int {
    let n = n.min(MAX_BURST);
    if n > 0 && (tuples.is_null() || !tuples.is_aligned() || views.is_null() || !views.is_aligned()) {
        return CONNTAB_EINVAL;
    }
    let mut held = match hold(worker) {
        Ok(held) => held,
        Err(error) => return error,
    };
    let mut meant = [NOBODY; MAX_BURST];
    let mut sane = 0u64;
    for (at, tuple) in meant[..n].iter_mut().enumerate() {
        // SAFETY: C promises `n` tuples; any bytes are a valid one.
        if let Some(given) = unsafe { tuples.wrapping_add(at).read() }.meant() {
            *tuple = given;
            sane |= 1 << at;
        }
    }
    let worker = held.worker();
    let stays = worker.is_entered();
    let mut section = worker.section();
    let mut found = [None; MAX_BURST];
    section.lookup_burst(now, zone, &meant[..n], &mut found[..n]);
    let mut count = 0;
    for (at, view) in found[..n].iter().enumerate() {
        let mut told = conntab_view::NOTHING;
        if let Some(view) = view
            && sane >> at & 1 != 0
        {
            told = conntab_view::of(view);
            count += 1;
            if !stays {
                told.user_data = std::ptr::null_mut();
            }
        }
        // SAFETY: C promises room for `n` views.
        unsafe { views.wrapping_add(at).write(told) };
    }
    count
}

/// A tuple that no packet has.
const NOBODY: Tuple =
    Tuple { src: [0; 16], dst: [0; 16], sport: 0, dport: 0, l4: 255, l3: crate::net::L3::V4 };

/// Looks at the connection of a handle: one in the table, or one that this worker has not confirmed yet. Written to `view`;
/// the direction is the original one. Returns CONNTAB_OK; CONNTAB_ENOENT: stale, forged, or another worker's
/// unconfirmed connection; CONNTAB_EINVAL; CONNTAB_EBUSY. The worker's thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_get(worker: *mut conntab_worker, conn: u64, view: *mut conntab_view) -> c_int {
    if view.is_null() || !view.is_aligned() {
        return CONNTAB_EINVAL;
    }
    let mut held = match hold(worker) {
        Ok(held) => held,
        Err(error) => return error,
    };
    let worker = held.worker();
    let stays = worker.is_entered();
    let mut section = worker.section();
    let Some(found) = section.get(Handle::from_u64(conn)) else { return CONNTAB_ENOENT };
    let mut told = conntab_view::of(&found);
    if !stays {
        told.user_data = std::ptr::null_mut();
    }
    // SAFETY: C promises room for a view; it was looked at.
    unsafe { view.write(told) };
    CONNTAB_OK
}

/// Writes the tuple of a connection's direction (CONNTAB_ORIGINAL or CONNTAB_REPLY) to `tuple`: what a rule about ports
/// or addresses needs, cheaper than conntab_copy. Returns and rules as conntab_get; CONNTAB_EINVAL also for another direction.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_tuple_of(
    worker: *mut conntab_worker,
    conn: u64,
    dir: u8,
    tuple: *mut conntab_tuple,
) -> c_int {
    let dir = match dir {
        CONNTAB_ORIGINAL => Direction::Original,
        CONNTAB_REPLY => Direction::Reply,
        _ => return CONNTAB_EINVAL,
    };
    if tuple.is_null() || !tuple.is_aligned() {
        return CONNTAB_EINVAL;
    }
    let mut held = match hold(worker) {
        Ok(held) => held,
        Err(error) => return error,
    };
    let mut section = held.worker().section();
    let Some(view) = section.get(Handle::from_u64(conn)) else { return CONNTAB_ENOENT };
    // SAFETY: C promises room for a tuple; it was looked at.
    unsafe { tuple.write(conntab_tuple::of(&view.tuple(dir))) };
    CONNTAB_OK
}

/// Copies the connection of a handle as of `now`; `size`: sizeof(struct conntab_connection). Returns and rules as
/// conntab_get.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_copy(
    worker: *mut conntab_worker,
    now: u64,
    conn: u64,
    connection: *mut conntab_connection,
    size: usize,
) -> c_int {
    if connection.is_null() || size == 0 {
        return CONNTAB_EINVAL;
    }
    let mut held = match hold(worker) {
        Ok(held) => held,
        Err(error) => return error,
    };
    let mut section = held.worker().section();
    let Some(copy) = section.get(Handle::from_u64(conn)).and_then(|view| view.copy(now)) else {
        return CONNTAB_ENOENT;
    };
    // SAFETY: C promises `size` writable bytes.
    unsafe { sized_out(&conntab_connection::of(&copy), connection, size) };
    CONNTAB_OK
}

impl conntab_view {
    const NOTHING: Self =
        Self { conn: 0, mark: 0, status: 0, dir: 0, reserved: 0, user_data: std::ptr::null_mut() };
}
