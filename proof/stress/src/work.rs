//! What the threads do, by chance.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering::Relaxed;

use conntab::defrag::Pushed;
use conntab::helper::{Announce, Expect};
use conntab::net::L3;
use conntab::timeout::Tunables;
use conntab::tuple::{Direction, Tuple, addr, protocol};
use conntab::{Defrag, DefragConfig, Handle, Packet, Verdict, Worker};
use conntab_bench::Random;

use crate::packets;
use crate::scenario::Shared;

/// A worker's thread. Returns how many bursts it had.
pub fn work(shared: &Shared, seed: u64) -> u64 {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut hands = Hands {
        shared,
        known: [Handle::NONE; 64],
        defrag: Defrag::new(DefragConfig { queues: 64, prefault: false, ..Default::default() }).ok(),
    };
    let mut bursts = 0;
    while !shared.stop.load(Relaxed) {
        let Ok(mut worker) = shared.table.worker() else { break };
        for _ in 0..shared.scenario.lasts {
            if shared.stop.load(Relaxed) {
                break;
            }
            let now = shared.clock.fetch_add(random.below(shared.scenario.pace + 1) as u64, Relaxed);
            hands.burst(&mut worker, now, &mut random);
            hands.something(&mut worker, now, &mut random);
            bursts += 1;
        }
    }
    bursts
}

struct Hands<'a> {
    shared: &'a Shared,
    /// Connections met lately: many of them are gone, and others' in their places.
    known: [Handle; 64],
    defrag: Option<Defrag>,
}

impl Hands<'_> {
    fn any(&self, random: &mut Random) -> Handle {
        self.known[random.below(self.known.len())]
    }

    /// A burst, from its bytes to its confirmation.
    fn burst(&mut self, worker: &mut Worker, now: u64, random: &mut Random) {
        let scenario = self.shared.scenario;
        // In a table that grows, flows of its own as well.
        let mut flows = [0; 32];
        let most = if random.below(4) == 0 { flows.len() } else { 4 };
        let n = 1 + random.below(most);
        let mut bytes = Vec::with_capacity(n);
        for flow in &mut flows[..n] {
            *flow = random.below(scenario.flows);
            let reply = random.below(2) == 1;
            bytes.push(match random.below(4) {
                0 if self.shared.table.config().expect_max > 0 => packets::tftp(random.below(8), reply),
                1 if scenario.fragments => self.reassembled(now, random).unwrap_or_default(),
                _ => packets::packet(*flow, reply, random),
            });
        }
        let packets: Vec<Packet<'_>> = bytes.iter().map(|bytes| Packet::new(bytes)).collect();
        let mut verdicts = [Verdict::default(); 32];
        let verdicts = &mut verdicts[..n];
        worker.track(now, &packets, verdicts);
        for (verdict, flow) in verdicts.iter_mut().zip(flows) {
            if verdict.unconfirmed {
                self.opened(worker, now, verdict, flow, random);
            }
        }
        // A burst is dropped now and then, and forgotten now and then.
        let keep = match random.below(8) {
            0 => random.word(),
            _ => u64::MAX,
        };
        let keep = worker.help(now, &packets, verdicts, keep);
        if random.below(16) != 0 {
            worker.confirm(now, verdicts, keep);
        }
        for verdict in verdicts.iter().filter(|verdict| !verdict.conn.is_none()) {
            self.known[random.below(64)] = verdict.conn;
        }
    }

    /// What the rules do with a connection that is not confirmed yet.
    fn opened(&self, worker: &mut Worker, now: u64, verdict: &mut Verdict, flow: usize, random: &mut Random) {
        let conn = verdict.conn;
        match random.below(8) {
            0 => {
                worker.set_mark(conn, random.below(4) as u32);
            }
            1 if packets::has_ports(flow) => {
                // Of few addresses, so that reply tuples clash.
                let reply = worker.section().get(conn).map(|view| view.tuple(Direction::Reply));
                if let Some(tuple) = reply {
                    let ip = match tuple.l3 {
                        L3::V4 => IpAddr::V4(Ipv4Addr::new(10, 3, 0, random.below(2) as u8)),
                        L3::V6 => IpAddr::V6(Ipv6Addr::from(u128::from(random.word() & 1) | 0xfc << 120)),
                    };
                    let _ = worker.set_reply_tuple(verdict, &Tuple { dst: addr(ip), ..tuple });
                }
            }
            2 => {
                let _ = worker.set_timeout_policy(verdict, 1 + random.below(2) as u8);
            }
            3..6 => {
                if let Some(helper) = self.shared.table.helper("tftp") {
                    let _ = worker.attach_helper(verdict, helper);
                }
            }
            6 => {
                let _ = worker.expect(now, conn, &expected(random), 1 + random.below(30) as u32, 4);
            }
            _ => {}
        }
    }

    /// Everything else that a worker can do.
    fn something(&self, worker: &mut Worker, now: u64, random: &mut Random) {
        let (table, conn) = (&self.shared.table, self.any(random));
        match random.below(32) {
            0..4 => drop(worker.delete(conn)),
            4 => drop(worker.delete_burst(&[conn, self.any(random), self.any(random), self.any(random)])),
            5 => drop(table.delete(conn)),
            6..10 => drop(worker.reap(now, random.below(4096) as u32)),
            10 => worker.idle(),
            11 => drop(worker.end_expired(now, conn)),
            12 => drop(worker.set_closing(now, conn)),
            13 => drop(worker.set_mark(conn, random.below(4) as u32)),
            14 => drop(worker.expect(now, conn, &expected(random), 1 + random.below(30) as u32, 4)),
            15..18 => {
                let mut section = worker.section();
                if let Some(view) = section.get(conn) {
                    view.user_data()[0].fetch_add(1, Relaxed);
                    view.copy(now);
                }
            }
            18 => {
                let mut section = worker.section();
                let tuple = section.get(conn).map(|view| view.tuple(Direction::Original));
                if let Some(tuple) = tuple {
                    section.lookup(now, 0, &tuple.inverse());
                    let mut views: [_; 2] = Default::default();
                    section.lookup_burst(now, 0, &[tuple, tuple.inverse()], &mut views);
                }
            }
            _ => {}
        }
    }

    /// A datagram in pieces, put together.
    fn reassembled(&mut self, now: u64, random: &mut Random) -> Option<Vec<u8>> {
        let (client, id, pieces) =
            (random.below(8) as u8, random.below(64) as u16, 2 + random.below(4) as u16);
        let defrag = self.defrag.as_mut()?;
        let mut whole = None;
        for piece in (0..pieces).rev() {
            let bytes = packets::fragment(client, id, piece, pieces);
            if let Pushed::Whole(done) = defrag.push(now, &Packet::new(&bytes), 0) {
                whole = Some(done.bytes().to_vec());
            }
        }
        defrag.expire(now, 8);
        whole
    }
}

/// What a rule announces.
fn expected(random: &mut Random) -> Expect {
    let [from, to] = [1, 2].map(|net| addr(IpAddr::V4(Ipv4Addr::new(10, net, 0, random.below(8) as u8))));
    let from = (random.below(2) == 0).then_some(from);
    let announce = Announce { protocol: protocol::UDP, from, to, port: 80, class: 0 };
    Expect { permanent: random.below(4) == 0, ..announce.into() }
}

/// What is done to the table from outside of the path.
pub fn control(shared: &Shared, seed: u64) {
    let (table, mut random) = (&shared.table, Random(seed | 1));
    while !shared.stop.load(Relaxed) {
        let now = shared.clock.load(Relaxed);
        match random.below(16) {
            0..4 => drop(table.dump(now).count()),
            4..8 => drop(table.events().count()),
            8 | 9 => drop(table.expectations(now).count()),
            10 => drop(table.set("udp_timeout", 1 + random.below(60) as u32)),
            11 => {
                let timeouts = Tunables { udp_timeout: 1 + random.below(60) as u32, ..Tunables::default() };
                let _ = table.set_timeout_policy(1 + random.below(2) as u8, &timeouts);
            }
            12 => drop((table.timeout_policy(1), table.tunables())),
            13 if random.below(8) == 0 => drop(table.flush()),
            14 => drop(table.set("events", random.below(2) as u32)),
            _ => drop((table.stats(), table.usage(), table.memory(), table.count())),
        }
    }
}
