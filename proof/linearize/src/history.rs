//! Histories: what each thread shall do, made from a seed; done by real threads at a real table; what came of it.

use std::hint::spin_loop;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use conntab::tuple::{Tuple as Real, protocol};
use conntab::{CtState, Handle, Packet, Reason, Table, Verdict, Worker, tuple::Direction};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::spec::{Op, Ret, TIMEOUT, Tuple};

/// Tuples of a history: 0 and 1 are two ends' mirrored tuples, 2 and 3 those of the client and another server.
const TUPLES: u8 = 4;

/// A pause before an operation, at most: about as long as the operation.
const PAUSE: u32 = 12;

/// What a thread does.
#[derive(Clone, Copy, Debug)]
pub enum Plan {
    /// A packet with this tuple; where it opens a connection, that is confirmed, with this reply tuple.
    Send(Tuple, Tuple),
    Lookup(Tuple),
    /// Deletes, or ends if its time is up, the connection it met last; looks this tuple up first if there was none.
    Delete(Tuple),
    EndExpired(Tuple),
}

/// A step of a thread: at this time, after so long a pause.
#[derive(Clone, Copy, Debug)]
pub struct Todo {
    plan: Plan,
    now: u64,
    pause: u32,
}

/// What all threads shall do.
pub struct History {
    pub seed: u64,
    pub number: u64,
    pub udp: bool,
    pub threads: Vec<Vec<Todo>>,
}

/// An operation of a thread, with the instants of call and return in the order of all.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub thread: usize,
    pub called: u64,
    pub returned: u64,
    pub op: Op,
    pub ret: Ret,
}

impl History {
    /// The history of this number: always the same for a seed.
    pub fn new(seed: u64, number: u64, threads: usize) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
        let udp = rng.random_bool(0.7);
        // In most of them all is about one flow. When a TCP connection is refreshed its tracker decides: there nothing expires.
        let (nat, expiry) = (rng.random_ratio(1, 3), udp && rng.random_ratio(1, 2));
        let plan = |rng: &mut SmallRng| {
            let tuple = rng.random_range(0..if nat { TUPLES } else { 2 });
            match rng.random_range(0..10) {
                0..5 => Plan::Send(
                    tuple,
                    if nat { (tuple & 1 ^ 1) | rng.random_range(0..2) << 1 } else { tuple ^ 1 },
                ),
                5..7 => Plan::Lookup(tuple),
                7..9 => Plan::Delete(tuple),
                _ => Plan::EndExpired(tuple),
            }
        };
        let todo = |rng: &mut SmallRng| Todo {
            plan: plan(rng),
            now: if expiry { rng.random_range(0..3) * (TIMEOUT / 2) } else { 0 },
            pause: if rng.random_bool(0.5) { 0 } else { rng.random_range(0..PAUSE) },
        };
        let mut some = || (0..rng.random_range(2..=3)).map(|_| todo(&mut rng)).collect();
        Self { seed, number, udp, threads: (0..threads).map(|_| some()).collect() }
    }

    /// The latest time that any of its operations knows.
    pub fn latest(&self) -> u64 {
        self.threads.iter().flatten().map(|todo| todo.now).max().unwrap_or(0)
    }

    /// Its clock begins here: later than all that was before.
    fn begins(&self) -> u64 {
        (self.number + 1) * 10 * TIMEOUT
    }

    /// The clocks of a history differ by as much as they may. A worker that was never seen behind is believed when its refresh
    /// shortens a timeout; so each is seen behind once, before it begins.
    pub fn tell_clocks(&self, worker: &mut Worker) {
        for now in [self.begins() - TIMEOUT, self.begins() - 2 * TIMEOUT] {
            worker.end_expired(now, Handle::NONE);
        }
    }

    /// Source and destination of a tuple. Each history has addresses of its own.
    fn ends(&self, tuple: Tuple) -> [(Ipv4Addr, u16); 2] {
        let number = (self.number & 0x00ff_ffff) as u32;
        let client = (Ipv4Addr::from(0x0a00_0000 | number), 1000);
        let server = (Ipv4Addr::from(0x1400_0000 | number), 53 + u16::from(tuple >> 1));
        if tuple & 1 == 0 { [client, server] } else { [server, client] }
    }

    fn l4(&self) -> u8 {
        if self.udp { protocol::UDP } else { protocol::TCP }
    }

    fn real(&self, tuple: Tuple) -> Option<Real> {
        let [src, dst] = self.ends(tuple).map(|(ip, port)| (IpAddr::V4(ip), port));
        Real::new(self.l4(), src, dst)
    }

    /// A packet: a datagram without data, or a SYN.
    fn packet(&self, tuple: Tuple) -> [u8; 40] {
        let [(src, sport), (dst, dport)] = self.ends(tuple);
        let mut bytes = [0; 40];
        let len = if self.udp { 28 } else { 40 };
        bytes[..10].copy_from_slice(&[0x45, 0, 0, len, 0, 0, 0, 0, 64, self.l4()]);
        bytes[12..16].copy_from_slice(&src.octets());
        bytes[16..20].copy_from_slice(&dst.octets());
        bytes[20..22].copy_from_slice(&sport.to_be_bytes());
        bytes[22..24].copy_from_slice(&dport.to_be_bytes());
        if self.udp {
            bytes[25] = 8;
        } else {
            bytes[32..36].copy_from_slice(&[0x50, 0x02, 0xff, 0xff]);
        }
        bytes
    }

    /// Thread `me` does its part.
    pub fn run(&self, me: usize, worker: &mut Worker, order: &AtomicU64) -> Vec<Done> {
        let mut part = Part { history: self, worker, order, me, met: None, done: Vec::with_capacity(8) };
        for todo in &self.threads[me] {
            for _ in 0..todo.pause {
                spin_loop();
            }
            part.go(*todo);
        }
        // What it has ended comes back.
        part.worker.reap(self.begins(), 0);
        part.done
    }
}

/// A thread at its part of a history.
struct Part<'a> {
    history: &'a History,
    worker: &'a mut Worker,
    order: &'a AtomicU64,
    me: usize,
    /// The connection it met last.
    met: Option<Handle>,
    done: Vec<Done>,
}

impl Part<'_> {
    /// Takes down an operation. (The counter gives all calls and returns one order, that of its changes, and each is a full fence
    /// around the operation, never in it.)
    fn record<R>(&mut self, op: Op, f: impl FnOnce(&mut Worker) -> (Ret, R)) -> R {
        let called = self.order.fetch_add(1, Ordering::SeqCst);
        let (ret, result) = f(self.worker);
        let returned = self.order.fetch_add(1, Ordering::SeqCst);
        if let Ret::Found(handle, _) | Ret::Adopted(handle, _) | Ret::Inserted(handle) = ret {
            self.met = Some(handle);
        }
        self.done.push(Done { thread: self.me, called, returned, op, ret });
        result
    }

    fn go(&mut self, todo: Todo) {
        let now = todo.now;
        let at = self.history.begins() + now;
        match todo.plan {
            Plan::Send(tuple, reply) => self.send(tuple, reply, now, at),
            Plan::Lookup(tuple) => self.lookup(tuple, now, at),
            Plan::Delete(tuple) => {
                if self.met.is_none() {
                    self.lookup(tuple, now, at);
                }
                if let Some(conn) = self.met.take() {
                    self.record(Op::Delete(conn), |worker| (Ret::Ended(worker.delete(conn)), ()));
                }
            }
            Plan::EndExpired(tuple) => {
                if self.met.is_none() {
                    self.lookup(tuple, now, at);
                }
                if let Some(conn) = self.met {
                    self.record(Op::EndExpired(conn, now), |worker| {
                        (Ret::Ended(worker.end_expired(at, conn)), ())
                    });
                }
            }
        }
    }

    fn lookup(&mut self, tuple: Tuple, now: u64, at: u64) {
        let Some(real) = self.history.real(tuple) else { return };
        self.record(Op::Lookup(tuple, now), |worker| {
            let mut section = worker.section();
            let view = section.lookup(at, 0, &real);
            (view.map_or(Ret::Nothing, |view| Ret::Found(view.handle(), view.direction())), ())
        });
    }

    fn send(&mut self, tuple: Tuple, reply: Tuple, now: u64, at: u64) {
        let packet = self.history.packet(tuple);
        let bytes = &packet[..if self.history.udp { 28 } else { 40 }];
        let mut verdicts = [Verdict::default()];
        self.record(Op::Track(tuple, now), |worker| {
            worker.track(at, &[Packet::new(bytes)], &mut verdicts);
            let [Verdict { conn, dir, state, unconfirmed, .. }] = verdicts;
            let ret = match state {
                CtState::New if unconfirmed => Ret::Nothing,
                CtState::New | CtState::Established => Ret::Found(conn, dir),
                _ => Ret::Wrong("neither found nor new"),
            };
            (ret, ())
        });
        if !verdicts[0].unconfirmed {
            return;
        }
        if reply != tuple ^ 1
            && let Some(real) = self.history.real(reply)
            && self.worker.set_reply_tuple(&mut verdicts[0], &real).is_err()
        {
            return;
        }
        let own = verdicts[0].conn;
        self.record(Op::Confirm([tuple, reply], now), |worker| {
            let inserted = worker.confirm(at, &mut verdicts, 1);
            let [Verdict { conn, dir, state, reason, .. }] = verdicts;
            let ret = match (inserted, state, reason) {
                (1, _, _) if conn == own => Ret::Inserted(conn),
                (0, _, Reason::Adopted) => Ret::Adopted(conn, dir),
                (0, CtState::Drop, Reason::Clash) => Ret::Refused,
                _ => Ret::Wrong("neither inserted, adopted nor refused"),
            };
            (ret, ())
        });
    }
}

/// Lets threads begin at one instant, and waits for all of them.
pub struct Gate {
    threads: u32,
    arrived: AtomicU32,
    opened: AtomicU32,
}

impl Gate {
    pub fn new(threads: usize) -> Self {
        Self { threads: threads as u32, arrived: AtomicU32::new(0), opened: AtomicU32::new(0) }
    }

    /// Returns when all have come.
    pub fn pass(&self) {
        let round = self.opened.load(Ordering::SeqCst);
        if self.arrived.fetch_add(1, Ordering::SeqCst) + 1 == self.threads {
            self.arrived.store(0, Ordering::SeqCst);
            self.opened.fetch_add(1, Ordering::SeqCst);
            return;
        }
        for spins in 0_u32.. {
            if self.opened.load(Ordering::SeqCst) != round {
                return;
            }
            // There may be more threads than cores.
            if spins < 200 { spin_loop() } else { std::thread::yield_now() }
        }
    }
}

/// A table for some histories: small, and as it can grow. It begins with 256 heads.
pub fn table(threads: usize) -> Result<Table, conntab::config::ConfigError> {
    let mut config = conntab::Config {
        max: MAX,
        max_reserve: MAX << DOUBLINGS,
        workers: threads as u32,
        ..Default::default()
    };
    config.prefault = false;
    config.huge_pages = conntab::config::HugePages::Never;
    let seconds = (TIMEOUT / 1000) as u32;
    for name in [
        "udp_timeout",
        "udp_timeout_stream",
        "tcp_timeout_syn_sent",
        "tcp_timeout_syn_recv",
        "tcp_timeout_syn_sent2",
    ] {
        config.tunables.set(name, seconds)?;
    }
    config.tunables.checksum = 0;
    Table::new(config)
}

/// Connections at first: as many as the smallest table has heads for.
pub const MAX: u32 = 600;

/// How often a table doubles.
pub const DOUBLINGS: u32 = 5;

/// The direction, for reading.
pub fn way(dir: Direction) -> &'static str {
    match dir {
        Direction::Original => "original",
        Direction::Reply => "reply",
    }
}
