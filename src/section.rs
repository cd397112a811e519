//! L4: looking without touching: lookups that change no state, and what a host may read and write of a connection.

use std::fmt;

use crate::conn::{Conn, Word, status};
use crate::connection::Connection;
use crate::event::change;
use crate::packet::{Handle, MAX_BURST};
use crate::shared::Shared;
use crate::sync::{AtomicU64, passing};
use crate::table::{Hit, is_live};
use crate::track::direction;
use crate::tuple::{Direction, Key, Tuple, Zone};
use crate::worker::Worker;

/// Lookups between which a section renews its hold, so that a long section does not hold back reclamation.
const RENEW: u32 = 32;

/// A read section of a worker: what it hands out stays valid for as long as it is borrowed.
pub struct Section<'w> {
    worker: &'w mut Worker,
    calls: u32,
    /// The worker was idle before.
    idle: bool,
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        if self.idle {
            self.worker.local.leave();
        }
    }
}

/// A connection met in a read section. It may die meanwhile; reading it is harmless then.
#[derive(Clone, Copy)]
pub struct View<'s> {
    shared: &'s Shared,
    index: u32,
    generation: u32,
    dir: Direction,
    confirmed: bool,
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("handle", &self.handle()).field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Worker {
    /// Opens a read section. It ends when it is dropped; a worker that was idle is idle again then.
    pub fn section(&mut self) -> Section<'_> {
        let idle = !self.local.is_entered();
        self.local.enter();
        passing("section-opened");
        Section { worker: self, calls: 0, idle }
    }
}

/// Sections for a host that cannot borrow: C.
#[cfg(feature = "capi")]
impl Worker {
    /// Opens a section that stays open until `end_section`; those opened meanwhile are part of it.
    pub(crate) fn hold_section(&mut self) {
        if self.held == Held::No {
            self.held = if self.local.is_entered() { Held::Busy } else { Held::Idle };
        }
        self.local.enter();
    }

    /// Ends it; the worker is idle again if it was before.
    pub(crate) fn end_section(&mut self) {
        if std::mem::replace(&mut self.held, Held::No) == Held::Idle {
            self.local.leave();
        }
    }

    /// A burst begins: the end of a section that is open does not end the burst.
    #[inline]
    pub(crate) fn work_in_section(&mut self) {
        if self.held == Held::Idle {
            self.held = Held::Busy;
        }
    }

    /// The worker is idle: no section is open any more.
    pub(crate) fn forget_section(&mut self) {
        self.held = Held::No;
    }

    /// Whether it is in a section, or at work on a burst.
    pub(crate) fn is_entered(&self) -> bool {
        self.local.is_entered()
    }
}

/// Whether a section is held open, and what the worker was before.
#[cfg(feature = "capi")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    No,
    Idle,
    Busy,
}

impl Section<'_> {
    fn renew(&mut self) {
        // Nothing handed out before is borrowed any more: `lookup` and `get` take the section mutably.
        self.calls += 1;
        if self.calls.is_multiple_of(RENEW) {
            self.worker.local.enter();
        }
    }

    /// The connection of a packet with this tuple in this zone, if there is one in the table that has not expired at
    /// `now`. Nothing changes: no counter, no timeout, no state.
    #[inline]
    pub fn lookup(&mut self, now: u64, zone: Zone, tuple: &Tuple) -> Option<View<'_>> {
        self.renew();
        let shared = &*self.worker.shared;
        let key = tuple.key(zone);
        let hit = shared.table.lookup(&self.worker.local, shared.table.hash(&key), &key)?;
        View::of(shared, hit, &key, now)
    }

    /// [`Section::lookup`] for a burst of tuples in one zone: several times as fast, as the memory latencies overlap.
    /// Fills `views` for the first tuples, up to the lesser of both lengths and [`MAX_BURST`]; returns how many.
    pub fn lookup_burst<'s>(
        &'s mut self,
        now: u64,
        zone: Zone,
        tuples: &[Tuple],
        views: &mut [Option<View<'s>>],
    ) -> usize {
        self.worker.local.enter();
        let shared = &*self.worker.shared;
        let n = tuples.len().min(views.len()).min(MAX_BURST);
        let mut keys = [Key::default(); MAX_BURST];
        let mut hashes = [0; MAX_BURST];
        for ((tuple, key), hash) in tuples.iter().zip(&mut keys).zip(&mut hashes).take(n) {
            *key = tuple.key(zone);
            *hash = shared.table.hash(key);
            shared.table.prefetch(*hash);
        }
        let mut hits = [None; MAX_BURST];
        shared.table.lookup_burst(&self.worker.local, &hashes[..n], &keys[..n], &mut hits[..n]);
        for (view, (hit, key)) in views.iter_mut().zip(hits.iter().zip(&keys)).take(n) {
            *view = hit.and_then(|hit| View::of(shared, hit, key, now));
        }
        n
    }

    /// The connection of this handle: one in the table, or one that this worker has not confirmed yet. `None` for a
    /// stale or forged handle, and for another worker's unconfirmed connection. (Unlike [`Section::lookup`] it knows no time:
    /// a connection that has expired is found until it is swept.)
    pub fn get(&mut self, handle: Handle) -> Option<View<'_>> {
        self.renew();
        let worker = &*self.worker;
        let (index, generation) = (handle.index(), handle.generation());
        let confirmed = worker.shared.table.get(&worker.local, index, generation).is_some();
        let mine = || worker.pending[..worker.pendings].iter().any(|pending| pending.handle == handle);
        if !confirmed && (handle.is_none() || !mine()) {
            return None;
        }
        Some(View { shared: &worker.shared, index, generation, dir: Direction::Original, confirmed })
    }
}

impl<'s> View<'s> {
    /// What a lookup has found, unless it has expired.
    #[inline]
    fn of(shared: &'s Shared, hit: Hit, key: &Key, now: u64) -> Option<Self> {
        if Word::unpack(hit.word).left(now as u32) <= 0 {
            return None;
        }
        let dir = direction(hit, key);
        let generation = shared.table.generation(hit.index);
        Some(Self { shared, index: hit.index, generation, dir, confirmed: true })
    }

    fn conn(&self) -> &'s Conn {
        self.shared.table.entry(self.index)
    }

    /// The connection's name outside the section.
    pub fn handle(&self) -> Handle {
        Handle::new(self.index, self.generation)
    }

    /// The direction in which the tuple that was looked up goes; original if it was found by its handle.
    pub fn direction(&self) -> Direction {
        self.dir
    }

    /// Its tuple of this direction, without the zone.
    pub fn tuple(&self, dir: Direction) -> Tuple {
        Tuple::from_key(&self.conn().key_of(self.shared.table.context(), self.index, dir))
    }

    /// Its status bits ([`crate::conn::status`]) at this moment.
    pub fn status(&self) -> u16 {
        let confirmed = if self.confirmed { status::CONFIRMED } else { 0 };
        Word::unpack(self.conn().word_acquire()).status() | confirmed
    }

    /// Its mark.
    pub fn mark(&self) -> u32 {
        self.conn().mark()
    }

    /// Sets its mark. Verdicts of later packets carry it.
    pub fn set_mark(&self, mark: u32) {
        let conn = self.conn();
        if conn.mark() != mark {
            conn.set_mark(mark);
            if self.shared.events.is_some() {
                conn.note_changes(change::MARK);
            }
        }
    }

    /// The host area: `Config::user_data` / 8 words, 0 when the connection begins, the host's alone. Atomic because
    /// several workers may meet the same connection; the order between words is the host's business.
    pub fn user_data(&self) -> &'s [AtomicU64] {
        self.shared.user_data(self.index)
    }

    /// A copy as of `now`. `None` if the connection has died meanwhile.
    pub fn copy(&self, now: u64) -> Option<Connection> {
        let word = self.conn().word_acquire();
        let alive = !self.confirmed || is_live(word);
        alive.then(|| self.shared.copy(self.index, Word::unpack(word), self.confirmed, now))
    }
}
