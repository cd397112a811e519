//! What a burst has opened goes into the model's map, or meets who is there.

use conntab::conn::status;
use conntab::packet::Handle;
use conntab::proto::{Outcome, Step, Timeout};
use conntab::tuple::{Direction, protocol};
use conntab::{CtState, Reason};

use super::{Conn, Model, Seen, bare};

/// UDP, UDP-Lite and GRE adopt who is there.
const ADOPTS: [u8; 3] = [protocol::UDP, protocol::UDPLITE, protocol::GRE];

impl Model {
    /// Confirms what is kept, in order; `seen` are the verdicts of the last burst. Returns how many went in.
    pub fn confirm(&mut self, now: u64, seen: &mut [Seen], keep: u64) -> u32 {
        let mut named = vec![None; self.pending.len()];
        for (i, slot) in self.slots.iter().enumerate() {
            if let Some(slot) = slot.filter(|slot| self.pending[*slot].is_some()) {
                let kept: &mut Option<bool> = &mut named[slot];
                *kept = Some(kept.unwrap_or(false) | (keep >> i & 1 != 0));
            }
        }
        if named.iter().all(Option::is_none) {
            return 0;
        }
        self.at(now);
        let mut inserted = 0;
        for (slot, kept) in named.into_iter().enumerate() {
            let Some(kept) = kept else { continue };
            if !kept {
                self.release(slot);
                self.tell(seen, slot, |_, of| {
                    (of.0, of.3, of.6) = (Handle::NONE, Reason::NotConfirmed, false);
                });
                continue;
            }
            let (handle, mut conn) = self.pending[slot].take().expect("it was named");
            conn.time += now;
            if self.mine.nat_hooks != 0 {
                conn.status |= status::SRC_NAT_DONE | status::DST_NAT_DONE;
            }
            conn.began = (self.timestamp && self.mine.timestamp != 0).then_some(now.max(1));
            match self.in_the_way(now, &conn) {
                None => {
                    let (mark, shown) =
                        (conn.mark, conn.status & (status::SRC_NAT_DONE | status::DST_NAT_DONE));
                    self.insert(handle, conn);
                    self.stats.insert += 1;
                    inserted += 1;
                    self.tell(seen, slot, |_, of| {
                        (of.1, of.2, of.6) = (mark, of.2 | status::CONFIRMED | shown, false);
                    });
                }
                Some(winner) => {
                    let adopted = self.clash(now, &conn, winner);
                    self.tell(seen, slot, |model, of| {
                        *of = adopted.unwrap_or_else(|| {
                            model.stats.drop += 1;
                            bare(CtState::Drop, Reason::Clash, 0)
                        });
                    });
                }
            }
        }
        inserted
    }

    /// Rewrites the verdicts about this connection of the last burst.
    fn tell(&mut self, seen: &mut [Seen], slot: usize, mut change: impl FnMut(&mut Self, &mut Seen)) {
        for i in 0..self.slots.len() {
            if self.slots[i] == Some(slot) {
                change(self, &mut seen[i]);
                self.slots[i] = None;
            }
        }
    }

    /// Who holds one of the tuples of a connection. Who has expired makes way.
    fn in_the_way(&mut self, now: u64, conn: &Conn) -> Option<Handle> {
        for key in conn.keys() {
            if let Some(&(holder, _)) = self.keys.get(&key) {
                if self.conns[&holder].time > now {
                    return Some(holder);
                }
                self.expire(holder);
            }
        }
        None
    }

    /// The connection is not to be, because `winner` is; what is seen of its packets if they are the winner's.
    fn clash(&mut self, now: u64, loser: &Conn, winner: Handle) -> Option<Seen> {
        let lag = self.lag;
        let conn = self.conns.get_mut(&winner).expect("it holds a tuple");
        let ([lo, lr], [wo, wr]) = (loser.keys(), conn.keys());
        let (same, mirrored) = ((lo, lr) == (wo, wr), (lo, lr) == (wr, wo));
        if !ADOPTS.contains(&loser.original.l4) || !(same || mirrored) {
            self.stats.insert_failed += 1;
            return None;
        }
        self.stats.clash_resolve += 1;
        let dir = if same { Direction::Original } else { Direction::Reply };
        if let (Some(from), Some(to)) = (&loser.counters, &mut conn.counters) {
            for counters in from {
                to[dir as usize].packets += counters.packets;
                to[dir as usize].bytes += counters.bytes;
            }
        }
        let state = conn.state_of(dir);
        let step = Step { timeout: Timeout::Keep, outcome: Outcome::Accept, ..Step::accept(0, 0) };
        conn.apply(&step, dir, false, now, lag);
        Some(conn.seen(winner, state, Reason::Adopted, dir, false, 0))
    }
}
