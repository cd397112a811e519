//! What is done to the model beside its packets.

use conntab::conn::status;
use conntab::connection::Connection;
use conntab::packet::Handle;
use conntab::proto::{Step, tcp};
use conntab::tuple::{Direction, Tuple, protocol};

use super::{Key, Model, Seen};

impl Model {
    pub fn delete(&mut self, handle: Handle) -> bool {
        let there = self.conns.contains_key(&handle);
        if there {
            self.remove(handle);
            self.stats.deleted += 1;
        }
        there
    }

    pub fn flush(&mut self) -> u32 {
        let all: Vec<Handle> = self.conns.keys().copied().collect();
        all.into_iter().map(|handle| u32::from(self.delete(handle))).sum()
    }

    pub fn idle(&mut self) {
        self.release_pending();
    }

    /// The worker reaps. `lives`: who is still there; all others must have expired. `whole`: all that have expired must be gone.
    pub fn reap(&mut self, now: u64, whole: bool, mut lives: impl FnMut(Handle) -> bool) -> u32 {
        self.at(now);
        self.take_over();
        let mut ended = 0;
        for handle in self.conns.keys().copied().collect::<Vec<_>>() {
            let expired = self.conns[&handle].time <= now;
            let there = lives(handle);
            assert!(expired || there, "reaped before its time: {handle:?}");
            assert!(!(expired && there && whole), "a sweep has left what is over: {handle:?}");
            if !there {
                self.expire(handle);
                ended += 1;
            }
        }
        self.idle();
        ended
    }

    pub fn end_expired(&mut self, now: u64, handle: Handle) -> bool {
        self.at(now);
        self.take_over();
        let over = self.conns.get(&handle).is_some_and(|conn| conn.time <= now);
        if over {
            self.expire(handle);
        }
        over
    }

    /// A connection that is there, confirmed or not.
    fn get(&mut self, handle: Handle) -> Option<&mut super::Conn> {
        let pending = self
            .pending
            .iter_mut()
            .flatten()
            .find(|pending| pending.0 == handle)
            .map(|pending| &mut pending.1);
        pending.or_else(|| self.conns.get_mut(&handle))
    }

    pub fn set_mark(&mut self, handle: Handle, mark: u32) -> bool {
        self.get(handle).map(|conn| conn.mark = mark).is_some()
    }

    pub fn set_closing(&mut self, now: u64, handle: Handle) -> bool {
        self.at(now);
        self.take_over();
        let Some(conn) = self.conns.get(&handle).filter(|conn| conn.time > now) else { return false };
        if conn.original.l4 != protocol::TCP {
            return false;
        }
        let (close, t, lag) = (tcp::State::Close, self.tunables_of(conn), self.lag);
        let step = Step::accept(close as u8, t.tcp_timeout_close);
        if conn.state != step.state {
            self.conns.get_mut(&handle).expect("there").apply(&step, Direction::Original, false, now, lag);
        }
        true
    }

    /// The connection of a verdict of the last burst, if it is not confirmed.
    fn unconfirmed(&mut self, packet: usize) -> Option<&mut super::Conn> {
        let slot = (*self.slots.get(packet)?)?;
        self.pending[slot].as_mut().map(|pending| &mut pending.1)
    }

    pub fn set_timeout_policy(&mut self, packet: usize, number: u8) -> bool {
        if self.unconfirmed(packet).is_none() {
            return false;
        }
        self.take_over();
        let Some(policy) = usize::from(number).checked_sub(1).and_then(|at| *self.my_policies.get(at)?)
        else {
            return false;
        };
        self.unconfirmed(packet).expect("it was there").set_policy(number, &policy);
        true
    }

    pub fn set_reply_tuple(&mut self, packet: usize, reply: &Tuple, seen: &mut Seen) -> bool {
        let Some(conn) = self.unconfirmed(packet) else { return false };
        if (conn.original.l3, conn.original.l4) != (reply.l3, reply.l4) {
            return false;
        }
        conn.reply = *reply;
        let plain = conn.original.inverse();
        // The source of what goes out is the destination of what comes back. An ICMP identifier is its source's.
        let icmp = matches!(reply.l4, protocol::ICMP | protocol::ICMPV6);
        let ports = (reply.sport != plain.sport, reply.dport != plain.dport);
        let (src, dst) = if icmp { (ports.0, false) } else { (ports.1, ports.0) };
        conn.status &= !(status::SRC_NAT | status::DST_NAT);
        conn.status |= if src || reply.dst != plain.dst { status::SRC_NAT } else { 0 };
        conn.status |= if dst || reply.src != plain.src { status::DST_NAT } else { 0 };
        seen.2 = conn.status;
        true
    }

    /// Who is found by a tuple, and in which direction it goes.
    pub fn lookup(&self, now: u64, key: &Key) -> Option<(Handle, Direction)> {
        let (handle, dir) = *self.keys.get(key)?;
        let itself = key.0.src == key.0.dst && key.0.inverse() == key.0;
        (self.conns[&handle].time > now).then_some((handle, if itself { Direction::Reply } else { dir }))
    }

    /// What a dump shows, by handle.
    pub fn dump(&self, now: u64) -> Vec<Connection> {
        let alive = self.conns.iter().filter(|(_, conn)| conn.time > now);
        let mut all: Vec<_> = alive.map(|(handle, conn)| conn.copy(*handle, now)).collect();
        all.sort_unstable_by_key(|connection| connection.handle.to_u64());
        all
    }
}
