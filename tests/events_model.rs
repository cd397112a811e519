//! Who follows the events knows the table: random packets and calls, one worker, and a list that is kept by events alone.

mod common;

use std::collections::{HashMap, HashSet};

use common::{ipv4, tcp, udp_bytes, unreachable};
use conntab::Connection;
use conntab::event::{EventKind, change};
use conntab::packet::{Handle, packet_flag};
use conntab::timeout::Tunables;
use conntab::{Config, CtState, Packet, Table, Verdict, Worker};

/// Xorshift (Marsaglia): the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    /// One in so many.
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// Few ends, so that packets meet: either may be first.
    fn packet(&mut self) -> Vec<u8> {
        let host = |n: u64| [10, 0, 0, n as u8];
        let (mut src, mut dst) = (host(self.below(3)), host(3 + self.below(3)));
        let (mut sport, mut dport) = (1000 + self.below(4) as u16, 80 + self.below(2) as u16);
        let reply = self.one_in(2);
        if reply {
            (src, dst, sport, dport) = (dst, src, dport, sport);
        }
        match self.below(9) {
            0..4 => {
                let flags = self.of(&[0x02, 0x02, 0x12, 0x12, 0x10, 0x10, 0x11, 0x04, 0x14, 0x18]);
                let (a, b) = (100 + self.below(2) as u32, 100 + self.below(2) as u32);
                tcp((src, sport), (dst, dport), flags, a, b, self.below(2) as usize)
            }
            4..7 => {
                let (l4, bytes) = (self.of(&[17, 17, 136]), udp_bytes(sport, dport));
                let about = ipv4(l4, src, dst, &bytes);
                if self.one_in(8) { unreachable(dst, &about) } else { about }
            }
            7 => {
                let kind = if reply { 0 } else { 8 };
                ipv4(1, src, dst, &[kind, 0, 0, 0, 0, dport as u8, 0, 1])
            }
            _ if self.one_in(2) => ipv4(47, src, dst, &[0, 0, 8, 0]),
            _ => ipv4(200, src, dst, &[0; 4]),
        }
    }
}

/// What is compared: tuples, status, TCP's state, mark.
fn shown(connection: &Connection) -> String {
    let state = connection.tracked.state().unwrap_or("");
    let Connection { original, reply, status, mark, .. } = connection;
    format!("{original:?} {reply:?} {status:#x} {state} {mark}")
}

/// What the events have told.
#[derive(Default)]
struct Follower {
    live: HashMap<Handle, String>,
    dead: HashSet<Handle>,
    /// Connections of which something may be told only with the next packet that is let through.
    owed: HashSet<Handle>,
    kinds: [u64; 3],
}

impl Follower {
    fn follow(&mut self, table: &Table, now: u64) {
        for event in table.events() {
            let handle = event.connection.handle;
            let is = shown(&event.connection);
            self.kinds[event.kind as usize] += 1;
            assert!(event.at <= now, "{event} at {} of {now}", event.at);
            match event.kind {
                EventKind::New => {
                    assert!(!self.dead.contains(&handle), "NEW after DESTROY: {event}");
                    assert_eq!(self.live.insert(handle, is), None, "NEW twice: {event}");
                    assert_eq!((event.at, event.changes & change::NEW), (now, change::NEW));
                }
                EventKind::Update => {
                    let before = self.live.insert(handle, is.clone());
                    assert_eq!(event.at, now);
                    let before = before.unwrap_or_else(|| panic!("UPDATE of nothing: {event}"));
                    // A state may be entered anew.
                    assert!(
                        before != is || event.changes & (change::PROTOINFO | change::MARK) != 0,
                        "{event}"
                    );
                }
                EventKind::Destroy => {
                    assert!(self.live.remove(&handle).is_some(), "DESTROY of nothing: {event}");
                    assert!(self.dead.insert(handle), "DESTROY twice: {event}");
                    self.owed.remove(&handle);
                }
                EventKind::ExpectNew | EventKind::ExpectDestroy => panic!("nothing is expected: {event}"),
            }
        }
        assert_eq!(table.stats().events_lost, 0);
    }

    /// `swept`: nothing that has expired is left.
    fn compare(&self, table: &Table, now: u64, swept: bool) {
        let mut seen = 0;
        for connection in table.dump(now) {
            let told = self.live.get(&connection.handle).unwrap_or_else(|| panic!("untold: {connection}"));
            if !self.owed.contains(&connection.handle) {
                assert_eq!(shown(&connection), *told);
            }
            seen += 1;
        }
        assert!(seen == self.live.len() || !swept && seen < self.live.len(), "{seen}: {:?}", self.live);
    }
}

struct Player {
    random: Random,
    table: Table,
    worker: Worker,
    now: u64,
    /// Time goes slowly, and the table becomes full.
    crowded: bool,
    follower: Follower,
}

impl Player {
    fn new(seed: u64) -> Self {
        let mut tunables = Tunables { checksum: 0, ..Tunables::default() };
        tunables.tcp_timeout_established = 300;
        let config = Config {
            max: 64,
            workers: 1,
            events: 4096,
            timeout_policies: 2,
            hash_key: Some([seed, 1, 2, 3]),
            prefault: false,
            tunables,
            ..Config::default()
        };
        let table = Table::new(config).expect("a table");
        let worker = table.worker().expect("a worker");
        // Some runs meet the wrap of the ticks.
        let now = [1, u64::from(u32::MAX) - 100_000, 1 << 40][seed as usize % 3];
        let random = Random(seed * 0x9e37_79b9 + 1);
        Self { random, table, worker, now, crowded: seed.is_multiple_of(2), follower: Follower::default() }
    }

    fn burst(&mut self) {
        let (random, worker, owed) = (&mut self.random, &mut self.worker, &mut self.follower.owed);
        let n = 1 + random.below(6) as usize;
        let bytes: Vec<_> = (0..n).map(|_| random.packet()).collect();
        let flags = |random: &mut Random| if random.one_in(20) { packet_flag::NOTRACK } else { 0 };
        let packets: Vec<_> = bytes.iter().map(|b| Packet::new(b).with_flags(flags(random))).collect();
        let mut verdicts = vec![Verdict::default(); n];
        worker.track(self.now, &packets, &mut verdicts);
        let keep = if random.one_in(3) { random.next() } else { u64::MAX };
        for verdict in &verdicts {
            owed.insert(verdict.conn);
            match random.below(30) {
                0..3 => assert_eq!(worker.set_mark(verdict.conn, random.below(3) as u32), {
                    let mut section = worker.section();
                    section.get(verdict.conn).is_some()
                }),
                3..6 => drop(worker.set_timeout_policy(verdict, 1 + random.below(2) as u8)),
                6 => drop(worker.delete(verdict.conn)),
                7 => drop(self.table.delete(verdict.conn)),
                _ => {}
            }
        }
        // (Some tell nothing of the packets at all.)
        if !random.one_in(30) {
            worker.confirm(self.now, &mut verdicts, keep);
            for (i, verdict) in verdicts.iter().enumerate() {
                assert!(verdict.state != CtState::Untracked || verdict.conn.is_none());
                if keep >> i & 1 != 0 {
                    owed.remove(&verdict.conn);
                }
            }
            // What is dropped behind one that is let through owes nothing: it changed the connection before.
        }
    }

    fn other(&mut self) {
        let random = &mut self.random;
        let mut known: Vec<_> = self.follower.live.keys().chain(&self.follower.dead).copied().collect();
        known.sort_unstable_by_key(|handle| handle.to_u64());
        let handle = if known.is_empty() { Handle::NONE } else { random.of(&known) };
        let worker = &mut self.worker;
        match random.below(24) {
            0..4 => drop(worker.delete(handle)),
            4..6 => drop(self.table.delete(handle)),
            6..10 => {
                if worker.set_mark(handle, random.below(3) as u32) {
                    self.follower.owed.insert(handle);
                }
            }
            10..13 => {
                if worker.set_closing(self.now, handle) {
                    self.follower.owed.remove(&handle);
                }
            }
            13..15 => drop(worker.end_expired(self.now, handle)),
            15..17 => drop(worker.reap(self.now, 1024)),
            17 if !self.crowded || random.one_in(20) => drop(self.table.flush()),
            18 => worker.idle(),
            19..21 => {
                let name =
                    random.of(&["udp_timeout", "icmp_timeout", "tcp_timeout_close", "generic_timeout"]);
                self.table.set(name, random.of(&[0, 1, 10, 30])).expect("a tunable");
            }
            21 => self.table.set("nat_hooks", random.below(2) as u32).expect("a tunable"),
            _ => {
                let policy = Tunables { udp_timeout: random.of(&[0, 5]), ..Tunables::default() };
                self.table.set_timeout_policy(1 + random.below(2) as u8, &policy).expect("a policy");
            }
        }
    }

    fn play(&mut self, steps: u32) {
        for _ in 0..steps {
            self.now += self.random.of(&[0, 0, 0, 1, 500, 2500, 12_000][..if self.crowded { 5 } else { 7 }]);
            if self.random.one_in(if self.crowded { 1000 } else { 200 }) {
                self.now += 400_000;
            }
            if self.random.one_in(4) {
                self.other()
            } else {
                self.burst()
            }
            self.follower.follow(&self.table, self.now);
            let swept = self.random.one_in(4);
            if swept {
                self.worker.reap(self.now, u32::MAX);
                self.follower.follow(&self.table, self.now);
            }
            self.follower.compare(&self.table, self.now, swept);
        }
    }
}

#[test]
fn who_follows_the_events_knows_the_table() {
    let mut kinds = [0; 3];
    let mut early = 0;
    for seed in 1..=12 {
        let mut player = Player::new(seed);
        player.play(2000);
        player.table.flush();
        player.follower.follow(&player.table, player.now);
        assert!(player.follower.live.is_empty());
        let told = player.follower.kinds;
        assert_eq!(told[0], told[2], "each NEW has its DESTROY");
        assert_eq!(told[0], player.table.stats().insert);
        kinds = [0, 1, 2].map(|kind| kinds[kind] + told[kind]);
        early += player.table.stats().early_drop;
    }
    assert!(kinds.iter().all(|n| *n > 1000) && early > 100, "too little happens: {kinds:?}, {early} evicted");
}
