//! When the time of each connection is up: so that its end is told at that time, not when a sweep comes by.

use std::collections::{BTreeSet, HashMap};

use conntab::Handle;

/// One deadline a connection, never later than its real one: packets mostly prolong it, and that is looked at when the
/// deadline has come.
#[derive(Default)]
pub(super) struct Deadlines {
    order: BTreeSet<(u64, u64)>,
    of: HashMap<u64, u64>,
}

impl Deadlines {
    /// A packet has left this connection with this deadline.
    pub(super) fn note(&mut self, conn: Handle, deadline: u64) {
        let conn = conn.to_u64();
        if let Some(known) = self.of.get(&conn) {
            if *known <= deadline {
                return;
            }
            self.order.remove(&(*known, conn));
        }
        self.of.insert(conn, deadline);
        self.order.insert((deadline, conn));
    }

    /// The connection has ended.
    pub(super) fn forget(&mut self, conn: Handle) {
        let conn = conn.to_u64();
        if let Some(known) = self.of.remove(&conn) {
            self.order.remove(&(known, conn));
        }
    }

    /// Takes the first deadline that is not after `time`.
    pub(super) fn take(&mut self, time: u64) -> Option<(u64, Handle)> {
        let (deadline, conn) = *self.order.first().filter(|(deadline, _)| *deadline <= time)?;
        let conn = Handle::from_u64(conn);
        self.forget(conn);
        Some((deadline, conn))
    }
}
