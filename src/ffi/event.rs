//! Chapter: events.

use std::ffi::{c_char, c_int};

use super::{
    CONNTAB_EINVAL, conntab_connection, conntab_expectation, conntab_table, print, sized_in, sized_out,
    table_of,
};
use crate::event::{Event, EventKind};

/// conntab_event.kind: a connection entered the table.
pub const CONNTAB_EVENT_NEW: u8 = 0;
/// conntab_event.kind: it changed, and a packet of it was let through since.
pub const CONNTAB_EVENT_UPDATE: u8 = 1;
/// conntab_event.kind: it left the table.
pub const CONNTAB_EVENT_DESTROY: u8 = 2;

/// conntab_event.kind: a connection is expected.
pub const CONNTAB_EVENT_EXPECT_NEW: u8 = 3;
/// conntab_event.kind: it is no longer expected: it came, its time was over, it made room, or its master ended.
pub const CONNTAB_EVENT_EXPECT_DESTROY: u8 = 4;

/// conntab_event.changes: the connection is new.
pub const CONNTAB_CHANGE_NEW: u16 = 1;
/// conntab_event.changes: it is new, and was expected.
pub const CONNTAB_CHANGE_RELATED: u16 = 1 << 1;
/// conntab_event.changes: it ended.
pub const CONNTAB_CHANGE_DESTROY: u16 = 1 << 2;
/// conntab_event.changes: the first reply was seen.
pub const CONNTAB_CHANGE_REPLY: u16 = 1 << 3;
/// conntab_event.changes: it became ASSURED.
pub const CONNTAB_CHANGE_ASSURED: u16 = 1 << 4;
/// conntab_event.changes: the protocol's state changed (TCP).
pub const CONNTAB_CHANGE_PROTOINFO: u16 = 1 << 5;
/// conntab_event.changes: a helper was attached.
pub const CONNTAB_CHANGE_HELPER: u16 = 1 << 6;
/// conntab_event.changes: the mark changed.
pub const CONNTAB_CHANGE_MARK: u16 = 1 << 7;

/// Something that happened to a connection, as it was then.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct conntab_event {
    /// When, in milliseconds of the clock of conntab_track.
    pub at: u64,
    /// CONNTAB_EVENT_*.
    pub kind: u8,
    /// 0.
    pub reserved: u8,
    /// CONNTAB_CHANGE_* bits.
    pub changes: u16,
    /// 0.
    pub reserved2: u32,
    /// CONNTAB_EVENT_EXPECT_*: the expectation; else 0.
    pub expectation: conntab_expectation,
    /// The connection. Counters and delta_time are told at its end only, its helper until then, its master when it is new. Of an
    /// expectation: the master, of which nothing is told but handle, tuples and helper.
    pub connection: conntab_connection,
}

impl conntab_event {
    const NOTHING: Self = Self {
        at: 0,
        kind: 0,
        reserved: 0,
        changes: 0,
        reserved2: 0,
        expectation: conntab_expectation::NOTHING,
        connection: conntab_connection::NOTHING,
    };

    fn of(event: &Event) -> Self {
        Self {
            at: event.at,
            kind: event.kind as u8,
            reserved: 0,
            changes: event.changes,
            reserved2: 0,
            expectation: event
                .expectation
                .as_ref()
                .map_or(conntab_expectation::NOTHING, conntab_expectation::of),
            connection: conntab_connection::of(&event.connection),
        }
    }

    fn meant(&self) -> Option<Event> {
        let kind = match self.kind {
            CONNTAB_EVENT_NEW => EventKind::New,
            CONNTAB_EVENT_UPDATE => EventKind::Update,
            CONNTAB_EVENT_DESTROY => EventKind::Destroy,
            CONNTAB_EVENT_EXPECT_NEW => EventKind::ExpectNew,
            CONNTAB_EVENT_EXPECT_DESTROY => EventKind::ExpectDestroy,
            _ => return None,
        };
        let expectation = match kind {
            EventKind::ExpectNew | EventKind::ExpectDestroy => Some(self.expectation.meant()?),
            _ => None,
        };
        let connection = self.connection.meant()?;
        Some(Event { kind, changes: self.changes, at: self.at, connection, expectation })
    }
}

/// Takes up to `n` of the events that are waiting and writes them to `events`, an array of structs of `size` bytes each:
/// sizeof(struct conntab_event). Within what one worker did they are in order; those of several workers come queue by
/// queue (sort by `at`). There are none unless conntab_config.events reserved queues; what found its queue full is counted
/// (conntab_stats.events_lost).
///
/// Returns how many, at most 2^20; fewer than `n` (or than that): no more were waiting; CONNTAB_EINVAL for NULL. Any thread, several at once share the
/// events; never blocks a packet, nor this call.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_table_events(
    table: *const conntab_table,
    events: *mut conntab_event,
    n: usize,
    size: usize,
) -> c_int {
    let (Some(table), false) = (table_of(table), n > 0 && (events.is_null() || size == 0)) else {
        return CONNTAB_EINVAL;
    };
    let mut taken = 0;
    // No more than a `c_int` counts.
    for event in table.events().take(n.min(1 << 20)) {
        let to = events.cast::<u8>().wrapping_add(taken * size).cast();
        // SAFETY: C promises `n` structs of `size` writable bytes each; `taken` < `n`.
        unsafe { sized_out(&conntab_event::of(&event), to, size) };
        taken += 1;
    }
    taken as c_int
}

/// Writes an event as a line of `conntrack -E`, or `conntrack -E expect` (without time and newline) into `buffer`, as snprintf does: up to
/// `buffer_size` bytes, ended by a 0; CONNTAB_TEXT_SIZE is enough for any. `size`: sizeof(struct conntab_event). Returns the
/// length of the whole line, 0 for NULL or nonsense. Any thread; allocates; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_event_text(
    event: *const conntab_event,
    size: usize,
    buffer: *mut c_char,
    buffer_size: usize,
) -> usize {
    // SAFETY: C promises `size` bytes; any bytes are a valid `conntab_event`.
    let given = unsafe { sized_in(event, size, conntab_event::NOTHING) };
    match given.ok().and_then(|event| event.meant()) {
        Some(event) => print(&event.to_string(), buffer, buffer_size),
        None => 0,
    }
}
