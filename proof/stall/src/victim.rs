//! What the thread does that is to be stopped.

use std::sync::atomic::Ordering::SeqCst;

use conntab::helper::{Announce, Expect as Expected};
use conntab::tuple::{addr, protocol};
use conntab::{Handle, Packet, Verdict};

use crate::scene::{Scene::*, Stage};
use crate::stop::Stop;
use crate::traffic::{ACK, BURST, Driver, RST, Raw, SYN, SYN_ACK, Tally, VICTIM, established};

struct Victim<'s, 't> {
    stage: &'s Stage<'t>,
    stop: &'static Stop,
    d: Driver,
    next: u32,
    /// What it has opened and not deleted.
    mine: Vec<Handle>,
}

/// Plays the scene until the thread was stopped and let go; what it has counted.
pub fn play(stage: &Stage<'_>, stop: &'static Stop) -> Tally {
    let mut victim = Victim { stage, stop, d: Driver::new(stage.table), next: VICTIM, mine: Vec::new() };
    stop.arm();
    victim.play();
    stop.disarm();
    victim.clear();
    victim.d.tally
}

impl Victim<'_, '_> {
    /// So often at most, until it was stopped and let go.
    fn repeat(&mut self, most: u32, mut act: impl FnMut(&mut Self)) {
        for _ in 0..most {
            if self.stop.is_over() {
                break;
            }
            act(self);
        }
    }

    /// Opens so many bursts.
    fn open(&mut self, bursts: u32) {
        for _ in 0..bursts {
            let from = self.next;
            self.next += BURST as u32;
            self.stage.at.store(from, SeqCst);
            let now = self.stage.later(1);
            let opened = self.d.open(now, from);
            self.mine.extend(opened);
        }
    }

    fn clear(&mut self) {
        let mine = std::mem::take(&mut self.mine);
        self.d.delete(&mine);
    }

    fn play(&mut self) {
        let Stage { table, scene, .. } = *self.stage;
        match scene {
            Tcp | Udp => self.repeat(4, |v| {
                let of = if scene == Tcp { 0 } else { 2 };
                let packets: [Packet<'_>; BURST] = std::array::from_fn(|i| established()[of + i % 2]);
                let now = v.stage.later(1);
                v.d.pass(now, &packets, &mut [Verdict::default(); BURST]);
            }),
            Reset => self.repeat(4, |v| {
                let (now, flow) = (v.stage.later(1), v.next);
                v.next += 1;
                for (reply, flags, seq, ack) in [
                    (false, SYN, 100, 0),
                    (true, SYN_ACK, 500, 101),
                    (false, ACK, 101, 501),
                    (false, RST, 101, 0),
                ] {
                    let verdicts = v.d.send(now, std::iter::once(Raw::tcp(flow, reply, flags, seq, ack)));
                    v.mine.extend(verdicts.iter().filter(|_| flags == SYN).map(|verdict| verdict.conn));
                }
                v.clear();
            }),
            Open => self.repeat(8, |v| {
                v.open(1);
                v.clear();
            }),
            Recycle => self.repeat(8, |v| {
                v.open(4);
                v.clear();
                v.d.reap(v.stage.time(), 0);
                v.d.reap(v.stage.time(), 0);
            }),
            Abandon => self.repeat(4, |v| {
                let raw = Raw::udp(v.next, false);
                v.next += 1;
                let now = v.stage.later(1);
                v.d.worker.track(now, &[raw.packet()], &mut [Verdict::default()]);
            }),
            Crowd | Events => self.repeat(20, |v| {
                v.open(v.stage.room / BURST as u32);
                v.clear();
                v.d.reap(v.stage.time(), 0);
            }),
            Full => self.repeat(8, |v| v.open(v.stage.room / BURST as u32)),
            Late => self.repeat(4, |v| v.late()),
            Clash => self.repeat(40, |v| v.clash()),
            Closed => self.closed(),
            Delete => self.repeat(8, |v| {
                v.open(8);
                for conn in std::mem::take(&mut v.mine) {
                    v.d.tally.deleted += u64::from(v.d.worker.delete(conn));
                }
                v.d.worker.idle();
            }),
            Control => self.repeat(4, |v| {
                v.open(1);
                for conn in std::mem::take(&mut v.mine) {
                    v.d.tally.deleted += u64::from(table.delete(conn));
                }
                v.d.worker.idle();
            }),
            Reap => self.repeat(4, |v| {
                let now = v.stage.later(1);
                // They are gone when their time is over.
                let flows = (0..BURST as u32).map(|n| Raw::other(VICTIM + n));
                let conns: Vec<Handle> = v.d.send(now, flows).iter().map(|verdict| verdict.conn).collect();
                v.d.delete(&conns);
                v.open(1);
                v.clear();
                v.d.worker.idle();
                let now = v.stage.later(1500);
                v.d.reap(now, u32::MAX);
            }),
            Expire => self.repeat(4, |v| {
                let flows = v.next..v.next + BURST as u32;
                v.next += BURST as u32;
                let now = v.stage.later(1);
                v.d.send(now, flows.clone().map(Raw::other));
                let now = v.stage.later(900);
                v.d.send(now, flows.step_by(2).map(Raw::other));
                let now = v.stage.later(300);
                v.d.reap(now, u32::MAX);
            }),
            Grow => {
                let _ = table.set_max(2 * self.stage.most);
            }
            Help | MeetPlace | MeetClear => self.meet_growth(),
            Listen => self.repeat(4, |v| {
                v.open(1);
                v.clear();
                v.d.worker.idle();
                v.stage.listen(8);
            }),
            Expect => self.repeat(8, |v| v.expect()),
            Tune => {
                let _ = table.set("udp_timeout", 31);
            }
            Policy => {
                let _ = table.set_timeout_policy(1, &table.tunables());
            }
            Dump => {
                table.dump(self.stage.time()).take(8).for_each(drop);
            }
            Section => {
                let first = table.dump(self.stage.time()).next().map(|connection| connection.handle);
                let mut section = self.d.worker.section();
                let _ = section.get(first.unwrap_or(Handle::NONE));
            }
            Wander | Raise => {}
        }
    }

    /// The worker has judged a first packet; before it is confirmed another worker opens the same, and that expires.
    fn late(&mut self) {
        let raw = Raw::other(self.next);
        self.next += 1;
        let (packets, mut verdicts) = ([raw.packet()], [Verdict::default()]);
        let now = self.stage.later(1);
        self.d.worker.track(now, &packets, &mut verdicts);
        let mut other = Driver::new(self.stage.table);
        other.pass(now, &packets, &mut [Verdict::default()]);
        self.d.tally.add(&other.tally);
        drop(other);
        let now = self.stage.later(1500);
        self.d.tally.inserted += u64::from(self.d.worker.confirm(now, &mut verdicts, 1));
        self.mine.push(verdicts[0].conn);
        self.clear();
    }

    /// Another thread is stopped at `step` by `act`; then this one goes on.
    fn beside(
        &mut self,
        step: &'static str,
        act: impl FnOnce(&Stage<'_>, &Stop) -> Tally + Send,
        then: impl FnOnce(&mut Self),
    ) {
        let (stage, stop) = (self.stage, Stop::new(step));
        let tally = std::thread::scope(|scope| {
            let other = scope.spawn(move || {
                stop.arm();
                let tally = act(stage, stop);
                stop.disarm();
                tally
            });
            if stop.stopped() == Ok(true) {
                stage.helpers.lock().expect("nobody panics").push(stop);
                then(self);
            }
            stop.resume();
            other.join().expect("nobody panics")
        });
        self.d.tally.add(&tally);
    }

    fn clash(&mut self) {
        // Which of the two has the lower index is left to chance.
        let apart = self.next % 7;
        let raw = (0..apart).map(|n| Raw::udp_at(VICTIM + n, false, [2000, 53]));
        let now = self.stage.later(1);
        let mine = self.d.send(now, raw);
        self.mine.extend(mine.iter().map(|verdict| verdict.conn));
        let from = self.next;
        self.next += BURST as u32 + 1;
        let first = move |stage: &Stage<'_>, _: &Stop| {
            let mut d = Driver::new(stage.table);
            let mine = d.open(stage.time(), from);
            d.delete(&mine);
            d.tally
        };
        self.beside("insert-ready", first, |v| {
            v.stage.at.store(from, SeqCst);
            let now = v.stage.later(1);
            let mine = v.d.open(now, from);
            v.mine.extend(mine);
        });
        self.clear();
    }

    fn closed(&mut self) {
        let from = self.next;
        self.next += 0x1_0000;
        let bursts = self.stage.room / BURST as u32 / 2;
        let first = move |stage: &Stage<'_>, stop: &Stop| {
            let mut d = Driver::new(stage.table);
            for _ in 0..20 {
                if stop.is_over() {
                    break;
                }
                let of = |burst| from + burst * BURST as u32;
                let mine: Vec<Handle> =
                    (0..bursts).flat_map(|burst| d.open(stage.time(), of(burst))).collect();
                d.delete(&mine);
            }
            d.tally
        };
        self.beside("close-closed", first, |v| {
            v.repeat(100, |v| {
                v.open(bursts - 2);
                v.clear();
                v.d.reap(v.stage.time(), 0);
            });
        });
    }

    /// Another thread doubles the buckets and stands still; this one changes what is to be moved.
    fn meet_growth(&mut self) {
        let step = if self.stage.scene == Help { "grow-begun" } else { "move-bucket-frozen" };
        if self.stage.scene == MeetClear {
            self.open(self.stage.room / BURST as u32);
            self.d.worker.idle();
        }
        let most = self.stage.most;
        let first = move |stage: &Stage<'_>, _: &Stop| {
            let _ = stage.table.set_max(2 * most);
            Tally::default()
        };
        self.beside(step, first, |v| {
            if v.stage.scene != MeetClear {
                let room = v.stage.room / BURST as u32;
                v.repeat(room, |v| v.open(1));
            }
            v.clear();
        });
    }

    /// A connection that expects another, which comes; then it ends.
    fn expect(&mut self) {
        let flow = self.next;
        self.next += BURST as u32;
        self.stage.at.store(flow, SeqCst);
        let now = self.stage.later(1);
        let (master, mut verdicts) = (Raw::udp(flow, false), [Verdict::default()]);
        self.d.worker.track(now, &[master.packet()], &mut verdicts);
        let to = addr(std::net::IpAddr::from([10, 9, 9, 9]));
        let announce = Announce { protocol: protocol::UDP, from: None, to, port: 7, class: 0 };
        for port in [7, 8] {
            let expected = Expected::from(Announce { port, ..announce });
            self.d.worker.expect(now, verdicts[0].conn, &expected, 60, 2).expect("there is room");
        }
        self.d.tally.inserted += u64::from(self.d.worker.confirm(now, &mut verdicts, 1));
        let mut child = Raw::udp_at(flow, false, [1000, 7]);
        child.aim([10, 9, 9, 9]);
        let child = self.d.send(now, std::iter::once(child));
        self.mine.extend([verdicts[0].conn, child[0].conn]);
        self.clear();
    }
}
