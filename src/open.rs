//! L4: the first packet of a connection. Its tracker says whether it opens one; then there must be room.

use crate::conn::{Record, Word};
use crate::further::new_time;
use crate::packet::{CtState, Verdict};
use crate::proto::{Outcome, Step, generic, gre, icmp, sctp, tcp, udp};
use crate::reason::Reason;
use crate::scratch::Lane;
use crate::stats::Stat;
use crate::sync::{Ordered, passing, planted};
use crate::tuple::{Direction, Key};
use crate::wire::L4;
use crate::worker::{Pending, Worker};

impl Worker {
    /// A packet without a connection: it may open one.
    pub(crate) fn first(&mut self, lane: &Lane, key: &Key, hash: u64, tick: u32, out: &mut Verdict) {
        if let L4::Tcp(segment) = &lane.headers.l4
            && tcp::is_syn(segment)
        {
            let (record, step) = tcp::open_syn(segment, &self.tunables);
            if step.outcome != Outcome::Invalid {
                return self.create(lane, key, hash, (&record.pack(), &step), tick, out);
            }
        }
        self.first_of_others(lane, key, hash, tick, out);
    }

    /// [`Worker::first`] of whatever is no SYN.
    #[inline(never)]
    fn first_of_others(&mut self, lane: &Lane, key: &Key, hash: u64, tick: u32, out: &mut Verdict) {
        let t = &self.tunables;
        let (record, step): (Record, Step) = match &lane.headers.l4 {
            L4::Tcp(segment) => match tcp::open(segment, t) {
                Ok((record, step)) => (record.pack(), step),
                Err((reason, excess)) => {
                    *out = self.invalid(reason, excess);
                    if self.expects() {
                        self.waste(key, lane.zones, tick);
                    }
                    return;
                }
            },
            L4::Udp { .. } | L4::UdpLite { .. } => {
                let (record, step) = udp::open(tick, t);
                (record.pack(), step)
            }
            L4::Gre { .. } => {
                let (record, step) = gre::open(t);
                (record.pack(), step)
            }
            L4::Sctp(packet) => match sctp::open(packet, t) {
                Ok((record, step)) => (record.pack(), step),
                Err(reason) => {
                    *out = self.invalid(reason, 0);
                    return;
                }
            },
            L4::Icmp { .. } => (Record::default(), icmp::step(false, t)),
            L4::Icmpv6 { .. } => (Record::default(), icmp::step(true, t)),
            _ => (Record::default(), generic::step(t)),
        };
        self.create(lane, key, hash, (&record, &step), tick, out);
    }

    /// Makes room for a connection, and an unconfirmed entry of it.
    #[inline(always)]
    fn create(
        &mut self,
        lane: &Lane,
        key: &Key,
        hash: u64,
        (record, step): (&Record, &Step),
        tick: u32,
        out: &mut Verdict,
    ) {
        let limit = &self.shared.limit;
        if !self.permits.spend(limit) && !self.early_drop(hash, tick) {
            *out = self.aside((CtState::Drop, Reason::TableFull));
            return;
        }
        passing("open-permitted");
        let Some(index) = self.shared.table.alloc(&mut self.local) else {
            if !planted("permit-lost") {
                self.permits.regain(&self.shared.limit);
            }
            self.count(Stat::ReclaimStalled);
            *out = self.aside((CtState::Drop, Reason::ReclaimStalled));
            return;
        };
        // What `confirm` will write to: the hint and the bucket of the reply tuple, unless NAT changes that.
        self.shared.sweep.prefetch(index);
        let reply = key.inverse(lane.zone(Direction::Reply));
        self.shared.table.prefetch(self.shared.table.hash(&reply));
        let conn = self.shared.table.entry(index);
        conn.init(key, lane.zone(Direction::Reply), 0, self.tunables.acct != 0, record);
        let mut word = Word::fresh(conn.word_acquire());
        word.state = step.state;
        word.time = new_time(word, step.timeout, true, tick, 0);
        conn.set_private_word(word.pack());
        if let Some(account) = self.shared.account(index) {
            account.clear();
        }
        for word in self.shared.user_data(index) {
            word.write(0);
        }
        self.count_packet(index, Direction::Original, &lane.headers);
        passing("open-written");
        let slot = self.pendings;
        self.pendings += 1;
        let opened = self.verdict_of(conn, index, word, Direction::Original, Some(slot));
        self.pending[slot] = Pending { handle: opened.conn, hash };
        self.marks.put(hash);
        *out = Verdict { reason: step.reason, excess: step.excess, ..opened };
        if self.expects() {
            self.relate(lane, key, tick, out);
        }
    }
}
