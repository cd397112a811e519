//! L4: a worker: what one thread at a time does its packets with.

use std::fmt;
use std::sync::Arc;

use crate::config::ConfigError;
use crate::conn::{Conn, Word, status};
use crate::limit::Permits;
use crate::packet::{Handle, MAX_BURST, Verdict};
use crate::proto::{Step, tcp};
use crate::scratch::{Marks, Scratch};
use crate::shared::Shared;
use crate::stats::{Block, Stat};
use crate::sync::{Ordering, passing};
use crate::table::{Local, is_live};
use crate::timeout::Tunables;
use crate::tuple::{Direction, Tuple, protocol};

/// A connection created by the last `track` and not yet confirmed. Only its worker knows it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Pending {
    /// [`Handle::NONE`] once it has been confirmed or released.
    pub handle: Handle,
    /// Hash of its original tuple.
    pub hash: u64,
}

/// The means to track packets: one per thread at a time. It may be moved to another thread, but not shared.
///
/// Between [`Worker::track`] and the next [`Worker::reap`] or [`Worker::idle`] a worker holds back the reuse of freed
/// entries, so that its burst can use them. **A worker that will not track for a while must call one of the two**; one
/// that does not (its thread is descheduled, or dead) stops nobody, but freed entries pile up, and in the end new
/// connections of all workers are refused with [`crate::Reason::ReclaimStalled`].
pub struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) local: Local<Conn>,
    pub(crate) permits: Permits,
    pub(crate) tunables: Tunables,
    pub(crate) tuning: u32,
    /// What holds for the connections of each timeout policy.
    pub(crate) policies: Box<[Option<Tunables>]>,
    /// The time of what it does: what it was told last, or learned from others.
    pub(crate) now: u64,
    /// By how much its clock was seen behind another worker's, at most.
    pub(crate) lag: u32,
    pub(crate) pending: [Pending; MAX_BURST],
    /// How many of `pending` the last `track` used.
    pub(crate) pendings: usize,
    /// Their hashes, so that most packets need not look at them.
    pub(crate) marks: Marks,
    /// Taken out while a burst is judged.
    pub(crate) scratch: Option<Box<Scratch>>,
    #[cfg(feature = "capi")]
    pub(crate) held: crate::section::Held,
    /// Last, so that it is given up when everything else is gone.
    seat: Taken,
}

/// A seat that is taken until this is dropped.
struct Taken {
    shared: Arc<Shared>,
    number: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Release: pairs with the Acquire of the worker that takes the seat next. The retire chain stays with the seat,
        // and any `reap` takes it.
        self.shared.seats[self.number].taken.store(0, Ordering::Release);
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("seat", &self.seat.number)
            .field("pending", &self.pendings)
            .finish_non_exhaustive()
    }
}

/// Why a reply tuple was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NatError {
    /// The verdict's connection is not this worker's, or not unconfirmed any more.
    NotUnconfirmed,
    /// Network layer or protocol differ from the connection's.
    OtherProtocol,
    /// IPv6, and `Config::nat6` was not set.
    NoRoom,
}

impl fmt::Display for NatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUnconfirmed => "the connection is not this worker's, or not unconfirmed any more",
            Self::OtherProtocol => "the reply tuple is of another protocol than the connection",
            Self::NoRoom => "translated IPv6 connections need Config::nat6",
        })
    }
}

impl std::error::Error for NatError {}

impl Worker {
    pub(crate) fn new(shared: &Arc<Shared>) -> Result<Self, ConfigError> {
        let free = |seat: &crate::shared::Seat| {
            // Acquire: pairs with the Release of the worker that left the seat; what it counted is taken over.
            seat.taken.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let Some(number) = shared.seats.iter().position(free) else {
            return Err(ConfigError::TooManyWorkers(shared.config.workers));
        };
        let seat = Taken { shared: Arc::clone(shared), number };
        let tuning = shared.tuning.version();
        let tunables = shared.tuning.read();
        let mut policies = vec![None; shared.config.timeout_policies as usize].into_boxed_slice();
        shared.policies.read(&tunables, &mut policies);
        Ok(Self {
            local: shared.table.local(number as u32)?,
            permits: Permits::default(),
            tunables,
            tuning,
            policies,
            now: 0,
            lag: 0,
            pending: [Pending::default(); MAX_BURST],
            pendings: 0,
            marks: Marks::default(),
            scratch: Some(Box::default()),
            #[cfg(feature = "capi")]
            held: crate::section::Held::No,
            seat,
            shared: Arc::clone(shared),
        })
    }

    #[inline]
    pub(crate) fn block(&self) -> &Block {
        &self.shared.blocks[self.seat.number]
    }

    /// Its number among the workers.
    #[inline]
    pub(crate) fn seat(&self) -> usize {
        self.seat.number
    }

    /// What holds for this connection: its timeout policy, or the tunables.
    #[inline]
    pub(crate) fn tunables_of(&self, conn: &Conn) -> &Tunables {
        match conn.policy() {
            0 => &self.tunables,
            number => {
                let policy = self.policies.get(usize::from(number) - 1).and_then(Option::as_ref);
                policy.unwrap_or(&self.tunables)
            }
        }
    }

    #[inline]
    pub(crate) fn count(&self, stat: Stat) {
        self.block().add(stat, 1);
    }

    /// Starts a burst: leftovers of the last one are let go, changed tunables taken over, freed entries held back.
    pub(crate) fn begin(&mut self, now: u64) {
        self.at(now);
        self.release_pending();
        self.local.enter();
        passing("track-entered");
        self.take_over_tunables();
        #[cfg(feature = "capi")]
        self.work_in_section();
    }

    /// It is told the time.
    #[inline]
    pub(crate) fn at(&mut self, now: u64) {
        self.now = now;
        let behind = self.shared.clock.behind(now);
        if behind > self.lag {
            self.lag = behind;
        }
    }

    /// Takes over tunables and policies that were changed since the last look.
    #[inline]
    pub(crate) fn take_over_tunables(&mut self) {
        let version = self.shared.tuning.version();
        if version != self.tuning {
            self.tuning = version;
            self.tunables = self.shared.tuning.read();
            self.shared.policies.read(&self.tunables, &mut self.policies);
        }
    }

    /// Lets others see how many permits are kept.
    pub(crate) fn publish(&self) {
        self.shared.seats[self.seat.number].kept.store(self.permits.kept(), Ordering::Relaxed);
    }

    pub(crate) fn release_pending(&mut self) {
        if self.pendings == 0 {
            return;
        }
        for slot in 0..self.pendings {
            self.release(slot);
        }
        self.pendings = 0;
        self.marks = Marks::default();
    }

    /// Lets an unconfirmed connection go.
    pub(crate) fn release(&mut self, slot: usize) {
        let handle = std::mem::take(&mut self.pending[slot].handle);
        if !handle.is_none() {
            self.shared.bury(self.teller(), handle.index());
            passing("release-begun");
            self.shared.table.release(&mut self.local, handle.index());
            self.permits.regain(&self.shared.limit);
            self.count(Stat::NotConfirmed);
        }
    }

    /// The place in `pending` of a verdict's connection, if it is there.
    #[inline]
    pub(crate) fn pending_slot(&self, verdict: &Verdict) -> Option<usize> {
        let slot = (verdict.pending as usize).checked_sub(1)?;
        let pending = self.pending[..self.pendings].get(slot)?;
        (!verdict.conn.is_none() && pending.handle == verdict.conn).then_some(slot)
    }

    /// Frees the worker from holding back the reuse of entries until its next `track`. Also let go are connections that
    /// were not confirmed. Cheap; to be called when there is nothing to do.
    pub fn idle(&mut self) {
        self.release_pending();
        self.permits.give_all(&self.shared.limit);
        self.publish();
        self.local.leave();
        #[cfg(feature = "capi")]
        self.forget_section();
    }

    /// Gives an unconfirmed connection another reply tuple than the inverse of its original one: what NAT needs. SRC_NAT
    /// and DST_NAT are set in the status as they then hold. If another connection holds that tuple already, `confirm`
    /// will find out and drop the packet.
    ///
    /// `reply` is the tuple of a packet that answers, as it arrives: its source is where the connection was really sent,
    /// its destination who it claimed to be from.
    pub fn set_reply_tuple(&mut self, verdict: &mut Verdict, reply: &Tuple) -> Result<(), NatError> {
        let slot = self.pending_slot(verdict).ok_or(NatError::NotUnconfirmed)?;
        let index = self.pending[slot].handle.index();
        let conn = self.shared.table.entry(index);
        let context = self.shared.table.context();
        let original = conn.key_of(context, index, Direction::Original);
        if (original.l3(), original.l4()) != (reply.l3, reply.l4) {
            return Err(NatError::OtherProtocol);
        }
        let key = reply.key(conn.zone_reply());
        if !conn.set_reply(context, index, &key) {
            return Err(NatError::NoRoom);
        }
        let plain = original.inverse(conn.zone_reply());
        let mut word = Word::unpack(conn.word_acquire());
        word.clear(status::SRC_NAT | status::DST_NAT);
        // The identifier of an ICMP query belongs to its source, as its only port.
        let icmp = matches!(reply.l4, protocol::ICMP | protocol::ICMPV6);
        let [source, destination] = if icmp {
            [key.sport() != plain.sport(), false]
        } else {
            [key.dport() != plain.dport(), key.sport() != plain.sport()]
        };
        if key.dst != plain.dst || source {
            word.set(status::SRC_NAT);
        }
        if key.src != plain.src || destination {
            word.set(status::DST_NAT);
        }
        conn.set_private_word(word.pack());
        verdict.status = word.status();
        Ok(())
    }

    /// Sets a connection's mark, confirmed or not. `false`: there is no such connection (any more); one that has expired
    /// is there until it is swept.
    pub fn set_mark(&mut self, conn: Handle, mark: u32) -> bool {
        match self.section().get(conn) {
            Some(view) => {
                view.set_mark(mark);
                true
            }
            None => false,
        }
    }

    /// Tells that the host has reset a TCP connection itself (a rule that rejects with a RST): its state becomes CLOSE, its
    /// time that of CLOSE, and an event tells of it at once, as in the kernel. `false`: there is no such connection in the
    /// table (any more), or it is not TCP.
    pub fn set_closing(&mut self, now: u64, conn: Handle) -> bool {
        let idle = !self.local.is_entered();
        self.at(now);
        self.local.enter();
        self.take_over_tunables();
        let closed = self.close(now as u32, conn);
        if closed && self.tells() {
            self.tell_changed(conn);
        }
        if idle {
            self.local.leave();
        }
        closed
    }

    fn close(&self, tick: u32, conn: Handle) -> bool {
        let index = conn.index();
        let table = &self.shared.table;
        if table.get(&self.local, index, conn.generation()).is_none() {
            return false;
        }
        let entry = table.entry(index);
        let expired = Word::unpack(entry.word_acquire()).left(tick) <= 0;
        if expired || entry.key_of(table.context(), index, Direction::Original).l4() != protocol::TCP {
            return false;
        }
        // Inside the record, so that no packet under judgement writes its own state over it. If others keep us out, one may.
        let version = entry.enter_record();
        let to = tcp::State::Close;
        let step = Step::accept(to as u8, to.timeout(self.tunables_of(entry)));
        if Word::unpack(entry.word_acquire()).state != step.state {
            self.commit(index, &step, Direction::Original, false, tick, false);
        }
        if let Some(version) = version {
            entry.leave_record(version);
        }
        true
    }

    /// Ends a connection. `false`: there is none of that handle (any more), or it is not confirmed yet.
    pub fn delete(&mut self, conn: Handle) -> bool {
        let idle = !self.local.is_entered();
        // It is told no time, perhaps never was.
        self.now = self.shared.clock.latest();
        self.local.enter();
        let deleted = self.shared.table.delete(&mut self.local, conn.index(), conn.generation());
        if deleted {
            passing("delete-done");
            self.gone(conn.index());
        }
        if idle {
            self.local.leave();
        }
        if deleted {
            self.count(Stat::Deleted);
            self.permits.regain(&self.shared.limit);
            self.publish();
        }
        deleted
    }

    /// [`Worker::delete`] for a burst of up to [`MAX_BURST`], several times as fast, as the memory latencies overlap. Bit i of
    /// the result: number i was ended. Handles beyond [`MAX_BURST`] are left alone.
    pub fn delete_burst(&mut self, conns: &[Handle]) -> u64 {
        let idle = !self.local.is_entered();
        self.now = self.shared.clock.latest();
        self.local.enter();
        let mut burst = [(0, 0); MAX_BURST];
        let n = conns.len().min(MAX_BURST);
        for (named, conn) in burst.iter_mut().zip(conns) {
            *named = (conn.index(), conn.generation());
        }
        let deleted = self.shared.table.delete_burst(&mut self.local, &burst[..n]);
        for (i, (index, _)) in burst[..n].iter().enumerate() {
            if deleted >> i & 1 == 1 {
                self.gone(*index);
                self.count(Stat::Deleted);
                self.permits.regain(&self.shared.limit);
            }
        }
        if idle {
            self.local.leave();
        }
        self.publish();
        deleted
    }

    /// Ends a connection met by a packet, whatever its word is by now.
    pub(crate) fn end(&mut self, index: u32) {
        let generation = self.shared.table.generation(index);
        if is_live(self.shared.table.entry(index).word_acquire())
            && self.shared.table.delete(&mut self.local, index, generation)
        {
            self.gone(index);
            self.count(Stat::Deleted);
            self.permits.regain(&self.shared.limit);
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.idle();
    }
}
