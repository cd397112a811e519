//! Mixed traffic: connections of all kinds, each going through its life packet by packet, many at a time.

use conntab::{CtState, HelperId, Packet, Table, Verdict, Worker};
use conntab_bench::Random;

use crate::packets::{ACK, Bytes, End, FIN_ACK, RST, SERVER, SYN, SYN_ACK, chunk, echo, sctp, tcp, udp};

const BURST: usize = 32;

/// Connections that a thread has under way.
const POOL: usize = 4096;

/// Of so many numbers both threads open the same flows, so that they meet in them.
const SHARED: u32 = 512;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// To the end by FINs, with data; by a RST; left open.
    Tcp,
    Reset,
    Open,
    /// One datagram, and a stream.
    Udp,
    Stream,
    Echo,
    Sctp,
    /// A control connection, what it announces, and that one's life.
    Ftp,
}

const KINDS: [Kind; 16] = [
    Kind::Tcp,
    Kind::Tcp,
    Kind::Tcp,
    Kind::Tcp,
    Kind::Reset,
    Kind::Reset,
    Kind::Open,
    Kind::Udp,
    Kind::Udp,
    Kind::Udp,
    Kind::Stream,
    Kind::Stream,
    Kind::Echo,
    Kind::Echo,
    Kind::Sctp,
    Kind::Ftp,
];

#[derive(Clone, Copy)]
struct Flow {
    kind: Kind,
    number: u32,
    step: u8,
}

/// A TCP connection's segment; `None`: it has ended.
fn segment(kind: Kind, step: u8, a: End, b: End) -> Option<Bytes> {
    Some(match (kind, step) {
        (_, 0) => tcp(a, b, SYN, 1000, 0, &[]),
        (_, 1) => tcp(b, a, SYN_ACK, 5000, 1001, &[]),
        (_, 2) => tcp(a, b, ACK, 1001, 5001, &[]),
        (_, 3) => tcp(a, b, ACK, 1001, 5001, b"request."),
        (_, 4) => tcp(b, a, ACK, 5001, 1009, b"answer.."),
        (_, 5) => tcp(a, b, ACK, 1009, 5009, &[]),
        (Kind::Reset, 6) => tcp(b, a, RST, 5009, 1009, &[]),
        (Kind::Tcp, 6) => tcp(a, b, FIN_ACK, 1009, 5009, &[]),
        (Kind::Tcp, 7) => tcp(b, a, FIN_ACK, 5009, 1010, &[]),
        (Kind::Tcp, 8) => tcp(a, b, ACK, 1010, 5010, &[]),
        _ => return None,
    })
}

/// What an FTP connection sends: greetings, `PORT`, and the data connection that it announces.
fn ftp(step: u8, a: End, b: End, number: u32) -> Option<Bytes> {
    let data = 1024 + (number % 60_000) as u16;
    let mut port = *b"PORT 000,000,000,000,000,000\r\n";
    let [h, i, j, k] = a.0.to_be_bytes();
    let [high, low] = data.to_be_bytes();
    for (place, value) in [h, i, j, k, high, low].into_iter().enumerate() {
        let digits = [b'0' + value / 100, b'0' + value / 10 % 10, b'0' + value % 10];
        port[5 + 4 * place..][..3].copy_from_slice(&digits);
    }
    Some(match step {
        0..=2 => return segment(Kind::Open, step, a, b),
        3 => tcp(a, b, ACK, 1001, 5001, b"USER a\r\n"),
        4 => tcp(b, a, ACK, 5001, 1009, b"230 ok\r\n"),
        5 => tcp(a, b, ACK, 1009, 5009, &port),
        6 => tcp(b, a, ACK, 5009, 1009 + port.len() as u32, &[]),
        7..=15 => return segment(Kind::Tcp, step - 7, (b.0, 20), (a.0, data)),
        _ => return None,
    })
}

fn association(step: u8, a: End, b: End) -> Option<Bytes> {
    let init = |kind, tag: u32| chunk(kind, &Bytes::EMPTY.put(&tag.to_be_bytes()).put(&[0; 12]));
    Some(match step {
        0 => sctp(a, b, 0, &init(1, 7)),
        1 => sctp(b, a, 7, &init(2, 9)),
        2 => sctp(a, b, 9, &chunk(10, &[0; 8])),
        3 => sctp(b, a, 7, &chunk(11, &[])),
        4 => sctp(a, b, 9, &chunk(0, &[0; 16])),
        5 => sctp(a, b, 9, &chunk(7, &[0; 4])),
        6 => sctp(b, a, 7, &chunk(8, &[])),
        7 => sctp(a, b, 9, &chunk(14, &[])),
        _ => return None,
    })
}

impl Flow {
    fn next(&mut self) -> Option<Bytes> {
        let Self { kind, number, step } = *self;
        self.step += 1;
        let a = (0x0a00_0000 | number >> 4, 1024 + (number & 15) as u16);
        let b = (SERVER + number % 7, if kind == Kind::Ftp { 21 } else { 443 });
        match kind {
            Kind::Tcp | Kind::Reset | Kind::Open => segment(kind, step, a, b),
            Kind::Udp => (step == 0).then(|| udp(a, b, b"once")),
            Kind::Stream => {
                let packet = if step % 2 == 0 { udp(a, b, b"there") } else { udp(b, a, b"back") };
                (step < 12).then_some(packet)
            }
            Kind::Echo => {
                let packet = if step == 0 { echo(a.0, b.0, a.1, false) } else { echo(b.0, a.0, a.1, true) };
                (step < 2).then_some(packet)
            }
            Kind::Sctp => association(step, a, b),
            Kind::Ftp => ftp(step, a, b, number),
        }
    }
}

/// What a thread has seen, to be compared with what a table has counted.
#[derive(Clone, Copy, Default)]
pub struct Seen {
    pub packets: u64,
    pub opened: u64,
    pub dropped: u64,
    pub invalid: u64,
}

impl Seen {
    pub fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.opened += other.opened;
        self.dropped += other.dropped;
        self.invalid += other.invalid;
    }
}

/// One thread's connections to one table.
pub struct Traffic {
    flows: Vec<Flow>,
    /// The thread's own numbers begin here.
    first: u32,
    next: u32,
    random: Random,
    ftp: Option<HelperId>,
    pub seen: Seen,
}

impl Traffic {
    pub fn new(table: &Table, thread: u32, seed: u64) -> Self {
        let first = (thread + 1) << 26;
        let random = Random((seed << 8) + u64::from(thread) + 1);
        let ftp = table.helper("ftp");
        let mut this = Self { flows: Vec::new(), first, next: 0, random, ftp, seen: Seen::default() };
        for _ in 0..POOL {
            let flow = this.begin();
            this.flows.push(flow);
        }
        this
    }

    fn begin(&mut self) -> Flow {
        let kind = KINDS[self.random.below(KINDS.len())];
        let number = if self.random.below(16) == 0 {
            self.random.below(SHARED as usize) as u32
        } else {
            self.next = (self.next + 1) & 0x3ff_ffff;
            self.first + self.next
        };
        Flow { kind, number, step: 0 }
    }

    /// A burst: some of the connections' next packets. Few are dropped by the rules, and few connections deleted.
    pub fn burst(&mut self, worker: &mut Worker, now: u64) {
        let mut room = [Bytes::EMPTY; BURST];
        for bytes in &mut room {
            let at = self.random.below(POOL);
            *bytes = loop {
                match self.flows[at].next() {
                    Some(packet) => break packet,
                    None => self.flows[at] = self.begin(),
                }
            };
        }
        let packets: [Packet<'_>; BURST] = std::array::from_fn(|i| Packet::new(&room[i]));
        let mut verdicts = [Verdict::default(); BURST];
        worker.track(now, &packets, &mut verdicts);
        for (verdict, bytes) in verdicts.iter_mut().zip(&room) {
            let control = verdict.unconfirmed && bytes[9] == 6 && bytes[22..24] == [0, 21];
            if let (true, Some(helper)) = (control, self.ftp) {
                // (Refused where all help records are taken, or a packet before has attached it.)
                let _ = worker.attach_helper(verdict, helper);
            }
        }
        let word = self.random.word();
        let rules = if word & 3 == 0 { !(1 << (word >> 8 & 31)) } else { !0 };
        let keep = worker.help(now, &packets, &mut verdicts, rules);
        self.seen.opened += u64::from(worker.confirm(now, &mut verdicts, keep));
        self.seen.packets += BURST as u64;
        for verdict in &verdicts {
            self.seen.dropped += u64::from(verdict.state == CtState::Drop);
            self.seen.invalid += u64::from(verdict.state == CtState::Invalid);
        }
        let conn = verdicts[(word >> 32 & 31) as usize].conn;
        let _ = match word >> 16 & 31 {
            0 => worker.delete(conn),
            1 => worker.delete_burst(&[verdicts[0].conn, conn, verdicts[31].conn]) != 0,
            2 => worker.set_mark(conn, word as u32),
            3 => worker.end_expired(now, conn),
            4 => worker.set_closing(now, conn),
            _ => false,
        };
    }
}
