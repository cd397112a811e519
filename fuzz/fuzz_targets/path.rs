//! The whole path, packets and all that is done beside them, with the model of `src/model.rs` at its side: after each call the
//! verdicts, the answers and the counters are the same, and now and then the whole table.
#![no_main]

use conntab::config::HugePages;
use conntab::packet::Handle;
use conntab::timeout::Tunables;
use conntab::{Config, Packet, Table, Verdict, Worker};
use conntab_fuzz::Input;
use conntab_fuzz::model::{Model, Seen, seen};
use conntab_fuzz::packets::{Made, Maker, host, port};
use libfuzzer_sys::fuzz_target;

const HOUR: u64 = 3_600_000;

struct Player<'a> {
    input: Input<'a>,
    table: Table,
    worker: Worker,
    model: Model,
    maker: Maker,
    now: u64,
    verdicts: Vec<Verdict>,
    seen: Vec<Seen>,
    /// All handles there were, in order.
    handles: Vec<Handle>,
}

impl<'a> Player<'a> {
    fn new(mut input: Input<'a>) -> Self {
        let how = input.byte();
        let tunables =
            Tunables { checksum: u32::from(how & 1), tcp_timeout_established: 3600, ..Tunables::default() };
        let (acct, timestamp) = (how & 2 != 0, how & 4 != 0);
        let config = Config {
            max: 64,
            max_reserve: 4096,
            workers: 1,
            acct,
            timestamp,
            nat6: true,
            timeout_policies: 2,
            hash_key: Some([1, 2, 3, 4]),
            prefault: false,
            huge_pages: HugePages::Never,
            tunables,
            ..Config::default()
        };
        let table = Table::new(config).expect("a table");
        let worker = table.worker().expect("a worker");
        let model = Model::new(64, tunables, acct, timestamp);
        // Some runs meet the wrap of the ticks.
        let now = [1, u64::from(u32::MAX) - 50_000, 1 << 40, (1 << 31) - 50_000][usize::from(how >> 6)];
        let maker = Maker::default();
        Self { input, table, worker, model, maker, now, verdicts: vec![], seen: vec![], handles: vec![] }
    }

    fn play(&mut self) {
        let mut ended = 0;
        while !self.input.is_empty() {
            let op = self.input.byte();
            let before = self.model.stats;
            self.step(op);
            // What has ended is used again only after some reclamation.
            let stats = self.model.stats;
            ended += stats.deleted + stats.expired + stats.early_drop
                - before.deleted
                - before.expired
                - before.early_drop;
            if ended > 2000 {
                (0..8).for_each(|_| self.reap(u32::MAX));
                ended = 0;
            }
            let mut stats = self.table.stats();
            stats.late_sweep = 0;
            assert_eq!(stats, self.model.stats);
            assert_eq!(self.table.count() as usize, self.model.count());
        }
        self.compare();
        self.reap(u32::MAX);
        let all = self.model.flush();
        assert_eq!(self.table.flush(), all);
        assert_eq!(self.table.count(), 0);
        let usage = self.table.usage();
        assert_eq!((usage.lost, usage.bounds, usage.attempts_exhausted), (0, 0, 0));
    }

    fn step(&mut self, op: u8) {
        match op & 31 {
            0..10 => {
                let n = if op < 0x80 { 1 } else { 2 + usize::from(op >> 5 & 3) };
                let made: Vec<Made> = (0..n).map(|_| self.maker.packet(&mut self.input)).collect();
                self.track(&made);
                if op & 31 < 8 {
                    self.confirm(u64::MAX);
                }
            }
            10 => self.flood(),
            11 => {
                let keep = self.input.u64();
                self.confirm(keep);
            }
            12 => self.now += u64::from(self.input.byte()) * 10,
            13 => self.now += u64::from(self.input.byte()) * 1000,
            14 => {
                // Two sweeps are never a day apart.
                self.now += u64::from(self.input.byte()) % 12 * HOUR;
                self.reap(u32::MAX);
            }
            15 => self.now -= u64::from(self.input.byte()).min(self.now - 1),
            16 => self.reap(if op & 32 == 0 { u32::MAX } else { 1024 }),
            17 => {
                self.worker.idle();
                self.model.idle();
            }
            18 => {
                let handle = self.handle();
                let expected = self.model.delete(handle);
                let table = op & 32 == 0;
                assert_eq!(
                    if table { self.table.delete(handle) } else { self.worker.delete(handle) },
                    expected
                );
            }
            19 => self.delete_burst(),
            20 => {
                let (handle, mark) = (self.handle(), u32::from(op >> 5));
                assert_eq!(self.worker.set_mark(handle, mark), self.model.set_mark(handle, mark));
            }
            21 => {
                let handle = self.handle();
                assert_eq!(
                    self.worker.set_closing(self.now, handle),
                    self.model.set_closing(self.now, handle)
                );
            }
            22 => {
                let handle = self.handle();
                assert_eq!(
                    self.worker.end_expired(self.now, handle),
                    self.model.end_expired(self.now, handle)
                );
            }
            23 | 24 => self.tune(),
            25 => {
                let (number, udp, tcp) = (self.input.byte() & 1, self.input.byte(), self.input.byte());
                let policy = Tunables {
                    udp_timeout: udp.into(),
                    udp_timeout_stream: u32::from(udp) * 2,
                    tcp_timeout_syn_sent: tcp.into(),
                    gre_timeout: tcp.into(),
                    ..Tunables::default()
                };
                self.table.set_timeout_policy(number + 1, &policy).expect("in range");
                self.model.policies[usize::from(number)] = Some(policy);
            }
            26 => {
                let (packet, number) = (usize::from(op >> 6), self.input.byte() % 4);
                let Some(verdict) = self.verdicts.get(packet) else { return };
                let expected = self.model.set_timeout_policy(packet, number);
                assert_eq!(self.worker.set_timeout_policy(verdict, number).is_ok(), expected);
            }
            27 => self.translate(usize::from(op >> 6)),
            28 => self.lookup(),
            29 => {
                let max = 64 << (op >> 5 & 3);
                if max > self.model.max {
                    self.table.set_max(max as u32).expect("in range");
                    self.model.max = max;
                }
            }
            30 if op & 0x60 == 0 => {
                let all = self.model.flush();
                assert_eq!(self.table.flush(), all);
            }
            _ => self.compare(),
        }
    }

    fn track(&mut self, made: &[Made]) {
        // In a burst of one it is known whom a new connection evicts.
        let bursts =
            if self.model.count() + made.len() > self.model.max { made.chunks(1) } else { made.chunks(64) };
        for made in bursts {
            let packets: Vec<Packet<'_>> = made.iter().map(Made::packet).collect();
            self.verdicts = vec![Verdict::default(); packets.len()];
            assert_eq!(self.worker.track(self.now, &packets, &mut self.verdicts), packets.len());
            let worker = &mut self.worker;
            let lives = &mut |handle| worker.section().get(handle).is_some();
            self.seen = self.model.track(self.now, &packets, &self.verdicts, lives);
            self.compare_verdicts();
            self.handles.extend(
                self.verdicts.iter().filter(|verdict| verdict.unconfirmed).map(|verdict| verdict.conn),
            );
        }
    }

    fn compare_verdicts(&self) {
        let got: Vec<Seen> = self.verdicts.iter().map(seen).collect();
        assert_eq!(got, self.seen);
    }

    fn confirm(&mut self, keep: u64) {
        let inserted = self.worker.confirm(self.now, &mut self.verdicts, keep);
        assert_eq!(inserted, self.model.confirm(self.now, &mut self.seen, keep));
        self.compare_verdicts();
    }

    /// Up to 64 connections.
    fn flood(&mut self) {
        let (first, n) = (self.input.u16(), self.input.byte());
        let made: Vec<Made> =
            (0..1 + u16::from(n & 63)).map(|i| self.maker.udp(n & 64 != 0, first.wrapping_add(i))).collect();
        self.track(&made);
        self.confirm(u64::MAX);
    }

    fn reap(&mut self, budget: u32) {
        let reaped = self.worker.reap(self.now, budget);
        let worker = &mut self.worker;
        let expired =
            self.model.reap(self.now, budget == u32::MAX, |handle| worker.section().get(handle).is_some());
        assert_eq!(reaped.expired, expired);
    }

    /// One that was, or is, or (0) never was.
    fn handle(&mut self) -> Handle {
        let n = usize::from(self.input.byte());
        let known = self.handles.len();
        match n {
            255 => Handle::NONE,
            _ if known == 0 => Handle::from_u64(n as u64),
            // The latest are the most likely to be there.
            _ => self.handles[known - 1 - n % known],
        }
    }

    fn delete_burst(&mut self) {
        let n = usize::from(self.input.byte() & 7);
        let handles: Vec<Handle> = (0..n).map(|_| self.handle()).collect();
        let mut expected = 0;
        for (i, handle) in handles.iter().enumerate() {
            expected |= u64::from(self.model.delete(*handle)) << i;
        }
        assert_eq!(self.worker.delete_burst(&handles), expected);
    }

    fn tune(&mut self) {
        let place = usize::from(self.input.byte()) % Tunables::NAMES.len();
        let (name, most) = (Tunables::NAMES[place], Tunables::LIMITS[place]);
        let value = match self.input.byte() {
            small @ 0..0xf0 => u32::from(small).min(most),
            _ => most,
        };
        self.table.set(name, value).expect("in range");
        self.model.live.set(name, value).expect("in range");
    }

    /// NAT: other ends for the answers.
    fn translate(&mut self, packet: usize) {
        let (ends, ports) = (self.input.byte(), self.input.byte());
        let Some(verdict) = self.verdicts.get_mut(packet) else { return };
        let worker = &mut self.worker;
        let Some(mut reply) =
            worker.section().get(verdict.conn).map(|view| view.tuple(conntab::tuple::Direction::Reply))
        else {
            return;
        };
        let v6 = reply.l3 == conntab::tuple::L3::V6;
        for (addr, n) in [(&mut reply.src, ends), (&mut reply.dst, ends >> 2)] {
            let host = host(v6, n);
            addr[..host.len()].copy_from_slice(&host);
        }
        if ends & 16 != 0 {
            (reply.sport, reply.dport) = (port(ports), port(ports >> 2));
        }
        if ends & 32 != 0 {
            reply.l4 = reply.l4.wrapping_add(ports);
        }
        let expected = self.model.set_reply_tuple(packet, &reply, &mut self.seen[packet]);
        assert_eq!(worker.set_reply_tuple(verdict, &reply).is_ok(), expected);
        self.compare_verdicts();
    }

    fn lookup(&mut self) {
        let made = self.maker.packet(&mut self.input);
        let packet = made.packet();
        let Ok(headers) = conntab::wire::parse(packet.bytes(), packet.wire_len()) else { return };
        let key = (conntab::tuple::Tuple::of(&headers), packet.zone_orig);
        let mut section = self.worker.section();
        let found = section.lookup(self.now, key.1, &key.0).map(|view| (view.handle(), view.direction()));
        assert_eq!(found, self.model.lookup(self.now, &key));
    }

    fn compare(&self) {
        let mut all: Vec<_> = self.table.dump(self.now).collect();
        all.sort_unstable_by_key(|connection| connection.handle.to_u64());
        assert_eq!(all, self.model.dump(self.now));
    }
}

fuzz_target!(|input: &[u8]| Player::new(Input::new(input)).play());
