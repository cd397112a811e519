//! Connections with the helpers that are shipped, and what they expect: payloads by the way of `Worker::help`. What is expected, and
//! nothing else, is RELATED, with its master's mark; no master expects more than its helper allows; nothing stays behind.
#![no_main]

use std::sync::Arc;

use conntab::config::HugePages;
use conntab::conn::status;
use conntab::helper::{Ftp, Irc, Tftp};
use conntab::tuple::{Tuple, protocol};
use conntab::{Config, CtState, Expectation, Handle, Packet, Table, Verdict, Worker};
use conntab_fuzz::packets::{host, ip};
use conntab_fuzz::{Input, planted};
use libfuzzer_sys::fuzz_target;

/// A connection with a helper, seen from its client; by direction.
#[derive(Clone)]
struct Master {
    v6: bool,
    hosts: [u8; 2],
    ports: [u16; 2],
    tcp: bool,
    /// What each end sends next.
    seq: [u32; 2],
    conn: Handle,
}

impl Master {
    fn packet(&mut self, dir: usize, flags: u8, payload: &[u8]) -> Vec<u8> {
        let there = 1 - dir;
        let [src, dst] = [dir, there].map(|end| host(self.v6, self.hosts[end]));
        let mut l4 = [self.ports[dir].to_be_bytes(), self.ports[there].to_be_bytes()].concat();
        if self.tcp {
            l4.extend(self.seq[dir].to_be_bytes());
            l4.extend(self.seq[there].to_be_bytes());
            l4.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            self.seq[dir] = self.seq[dir].wrapping_add(payload.len() as u32 + u32::from(flags & 2 != 0));
        } else {
            l4.extend((8 + payload.len() as u16).to_be_bytes());
            l4.extend([0, 0]);
        }
        l4.extend(payload);
        ip(&src, &dst, if self.tcp { protocol::TCP } else { protocol::UDP }, 64, &l4)
    }
}

struct Player<'a> {
    input: Input<'a>,
    table: Table,
    worker: Worker,
    masters: Vec<Master>,
    now: u64,
}

const HELPERS: [(&str, u16, usize); 3] = [("ftp", 21, 1), ("irc", 6667, 8), ("tftp", 69, 1)];

/// What clients and servers say, to begin with.
const SAID: [&str; 8] = [
    "PORT 10,0,0,",
    "EPRT |1|10.0.0.",
    "EPRT |2|fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fd0",
    "227 Entering Passive Mode (10,0,0,",
    "229 Entering Extended Passive Mode (|||",
    "PRIVMSG a :\u{1}DCC SEND f 167772160 ",
    "PRIVMSG a :\u{1}DCC CHAT c 167772161 ",
    "\0\u{1}file\0octet\0",
];

impl<'a> Player<'a> {
    fn new(input: Input<'a>) -> Self {
        let mut config = Config {
            max: 128,
            workers: 1,
            expect_max: 6,
            helper_max: 8,
            hash_key: Some([1, 2, 3, 4]),
            prefault: false,
            huge_pages: HugePages::Never,
            ..Config::default()
        };
        config.tunables.checksum = 0;
        let table = Table::new(config).expect("a table");
        table.add_helper(Arc::new(Ftp)).expect("the first");
        table.add_helper(Arc::new(Irc)).expect("the second");
        table.add_helper(Arc::new(Tftp)).expect("the third");
        let worker = table.worker().expect("a worker");
        Self { input, table, worker, masters: Vec::new(), now: 1000 }
    }

    /// Tracks a packet, with a helper for what it opens, and lets it pass if the helper does.
    fn pass(&mut self, bytes: &[u8], helper: Option<&str>) -> Verdict {
        let packets = [Packet::new(bytes)];
        let mut verdicts = [Verdict::default()];
        self.worker.track(self.now, &packets, &mut verdicts);
        if let Some(helper) = helper.and_then(|name| self.table.helper(name)) {
            // There may be no record left for it.
            let _ = self.worker.attach_helper(&mut verdicts[0], helper);
        }
        let keep = self.worker.help(self.now, &packets, &mut verdicts, 1);
        self.worker.confirm(self.now, &mut verdicts, keep);
        verdicts[0]
    }

    fn play(&mut self) {
        while !self.input.is_empty() {
            let op = self.input.byte();
            match op & 7 {
                0 => self.open(op),
                1..4 => self.say(op),
                4 | 5 => self.come(op),
                6 if op & 8 == 0 => self.now += u64::from(self.input.byte()) * 2000,
                6 => drop(self.worker.reap(self.now, if op & 16 == 0 { u32::MAX } else { 1024 })),
                _ => self.end(op),
            }
            self.check();
        }
        self.now += 500_000_000;
        self.worker.reap(self.now, u32::MAX);
        self.table.flush();
        self.worker.reap(self.now, u32::MAX);
        let (usage, stats) = (self.table.usage(), self.table.stats());
        assert_eq!((usage.connections, usage.expectations, usage.helper_records), (0, 0, 0), "{stats:?}");
        assert_eq!(stats.expect_create, stats.expect_delete);
    }

    fn open(&mut self, op: u8) {
        let (which, hosts) = (usize::from(op >> 3) % HELPERS.len(), self.input.byte());
        let (name, port, _) = HELPERS[which];
        let mut master = Master {
            v6: op & 0x80 != 0,
            hosts: [hosts & 3, hosts >> 2 & 3],
            ports: [1000 + u16::from(hosts >> 4 & 3), port],
            tcp: name != "tftp",
            seq: [100, 200],
            conn: Handle::NONE,
        };
        if master.hosts[0] == master.hosts[1] {
            return;
        }
        let first =
            if master.tcp { master.packet(0, 0x02, &[]) } else { master.packet(0, 0, SAID[7].as_bytes()) };
        let verdict = self.pass(&first, Some(name));
        master.conn = verdict.conn;
        if master.tcp {
            for (dir, flags) in [(1, 0x12), (0, 0x10)] {
                let packet = master.packet(dir, flags, &[]);
                self.pass(&packet, None);
            }
        }
        self.worker.set_mark(verdict.conn, u32::from(hosts) + 1);
        self.masters.truncate(15);
        self.masters.insert(0, master);
    }

    /// One end says something.
    fn say(&mut self, op: u8) {
        let (which, how) = (self.input.byte(), self.input.byte());
        let mut payload = Vec::new();
        if how < 0xe0 {
            payload.extend(SAID[usize::from(how & 7)].as_bytes());
        }
        let n = usize::from(self.input.byte() & 31);
        payload.extend(self.input.take(n));
        if how & 8 == 0 {
            payload.extend(b"\r\n");
        }
        let count = self.masters.len();
        let Some(master) = self.masters.get_mut(usize::from(which) % count.max(1)) else { return };
        let packet = master.packet(usize::from(op >> 3 & 1), 0x18, &payload);
        self.pass(&packet, None);
    }

    /// Whether this first packet is the one that was expected.
    fn fits(expectation: &Expectation, tuple: &Tuple) -> bool {
        let of = &expectation.tuple;
        (of.dst, of.dport, of.l4, of.l3) == (tuple.dst, tuple.dport, tuple.l4, tuple.l3)
            && (expectation.any_source || of.src == tuple.src)
    }

    /// A connection comes: one that is expected, or nearly so.
    fn come(&mut self, op: u8) {
        let (which, odd) = (self.input.byte(), self.input.byte());
        let expected: Vec<Expectation> = self.table.expectations(self.now).collect();
        let Some(expectation) = expected.get(usize::from(which) % expected.len().max(1)) else { return };
        let mut tuple = expectation.tuple;
        let last = if tuple.l3 == conntab::tuple::L3::V6 { 15 } else { 3 };
        if expectation.any_source {
            tuple.src[..=last].copy_from_slice(&host(last == 15, odd));
        }
        tuple.sport = 3000 + u16::from(odd >> 2);
        match op >> 3 & 7 {
            1 => tuple.dport ^= 1,
            2 => tuple.src[last] ^= 3,
            3 => tuple.dst[last] ^= 3,
            _ => {}
        }
        let mut l4 = [tuple.sport.to_be_bytes(), tuple.dport.to_be_bytes()].concat();
        if tuple.l4 == protocol::TCP {
            l4.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
        } else {
            l4.extend([0, 8, 0, 0]);
        }
        let now = self.now;
        let there = self.worker.section().lookup(now, 0, &tuple).is_some();
        // Who has expired expects nothing any more, though it was not swept yet.
        let alive: Vec<Handle> = self.table.dump(now).map(|connection| connection.handle).collect();
        let bytes = ip(&tuple.src[..=last], &tuple.dst[..=last], tuple.l4, 64, &l4);
        let verdict = self.pass(&bytes, None);
        if there || verdict.state == CtState::Drop {
            return;
        }
        // (The defect that ci/fuzz.sh plants: the source does not matter.)
        let blind = planted("helper-any-source");
        let fits = |e: &&Expectation| {
            let seen = Expectation { any_source: blind || e.any_source, ..**e };
            alive.contains(&e.master) && Self::fits(&seen, &tuple)
        };
        let met: Vec<&Expectation> = expected.iter().filter(fits).collect();
        assert!(met.len() <= 1, "two masters expect one packet: {met:?}");
        let state = if met.is_empty() { CtState::New } else { CtState::Related };
        assert_eq!(verdict.state, state, "{tuple} {expected:?}");
        assert_eq!(verdict.status & status::EXPECTED != 0, !met.is_empty());
        let mark = met.first().and_then(|e| self.worker.section().get(e.master).map(|view| view.mark()));
        assert_eq!(verdict.mark, mark.unwrap_or(0));
        let child = self.worker.section().get(verdict.conn).and_then(|view| view.copy(now));
        // Without a record left its master is not shown.
        let shown = child.and_then(|child| child.master).map(|master| master.handle);
        assert!(shown.is_none() || shown == met.first().map(|e| e.master));
        assert!(
            met.iter().all(|e| self.table.expectations(now).all(|left| left.tuple != e.tuple)),
            "it was met"
        );
    }

    fn end(&mut self, op: u8) {
        let n = usize::from(self.input.byte());
        if op & 8 == 0 {
            let count = self.masters.len().max(1);
            if let Some(master) = self.masters.get(n % count) {
                self.worker.delete(master.conn);
            }
        } else if n < 16 {
            self.table.flush();
        }
    }

    fn check(&mut self) {
        let expected: Vec<Expectation> = self.table.expectations(self.now).collect();
        assert!(expected.len() <= 6);
        for one in &expected {
            let most = HELPERS
                .iter()
                .find(|(name, ..)| one.helper.is_some_and(|helper| helper.to_string() == *name));
            let of_master = expected.iter().filter(|other| other.master == one.master).count();
            assert!(most.is_some_and(|(.., most)| of_master <= *most), "{expected:?}");
            let there = self.worker.section().get(one.master).is_some();
            assert!(there, "its master is gone: {one}");
            let line = one.to_string();
            assert!(!line.contains('\n'));
        }
    }
}

fuzz_target!(|input: &[u8]| Player::new(Input::new(input)).play());
