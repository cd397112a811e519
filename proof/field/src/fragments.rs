//! Floods of fragments: never more memory than is allowed, nothing put together that was not sent as one, and all as before once what the
//! attacker has sent is over. And the clock of a `Defrag`: wrapping in 32 bits, still, jumping.

use conntab::defrag::Pushed;
use conntab::{Defrag, DefragConfig, Packet, Reason};
use conntab_bench::{Random, cpu};

use crate::host::{allocations, resident};
use crate::{Outcome, Plan};

const THRESH: u32 = 1 << 20;

/// What the last fragment may take beyond the threshold: 64 blocks of a kilobyte, its header, its place.
const LONGEST: u64 = 67 << 10;

/// Milliseconds that a datagram may take to be complete, IPv4 and IPv6.
const TIMES: [u64; 2] = [30_000, 60_000];

fn defrag(thresh: u32) -> Result<Defrag, String> {
    let config = DefragConfig {
        ipfrag_high_thresh: thresh,
        frag6_high_thresh: thresh,
        ipfrag_max_dist: 0,
        queues: 8192,
        ..Default::default()
    };
    Defrag::new(config).map_err(|error| error.to_string())
}

/// A fragment of a UDP datagram, in a buffer that is used again.
struct Maker {
    room: [u8; 2048],
    len: usize,
}

impl Maker {
    fn new() -> Self {
        Self { room: [0; 2048], len: 0 }
    }

    /// Bytes `from..to` of a payload that is all `fill`.
    fn make(
        &mut self,
        six: bool,
        src: u32,
        id: u32,
        (from, to): (usize, usize),
        more: bool,
        fill: u8,
    ) -> &[u8] {
        let len = to - from;
        let room = &mut self.room;
        let at = if six {
            room[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, 44, 64]);
            room[4..6].copy_from_slice(&(8 + len as u16).to_be_bytes());
            room[8..40].fill(0xfd);
            room[20..24].copy_from_slice(&src.to_be_bytes());
            room[40..42].copy_from_slice(&[17, 0]);
            room[42..44].copy_from_slice(&(from as u16 | u16::from(more)).to_be_bytes());
            room[44..48].copy_from_slice(&id.to_be_bytes());
            48
        } else {
            room[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
            room[2..4].copy_from_slice(&(20 + len as u16).to_be_bytes());
            room[4..6].copy_from_slice(&(id as u16).to_be_bytes());
            room[6..8].copy_from_slice(&((from / 8) as u16 | u16::from(more) << 13).to_be_bytes());
            room[12..16].copy_from_slice(&src.to_be_bytes());
            room[16..20].copy_from_slice(&[198, 18, 0, 1]);
            20
        };
        room[at..at + len].fill(fill);
        self.len = at + len;
        &room[..self.len]
    }
}

/// What became of a fragment; of a whole its payload's length, and whether all of it was this byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Held,
    Whole(usize, bool),
    Dropped(Reason),
    Otherwise,
}

fn push(defrag: &mut Defrag, now: u64, bytes: &[u8], fill: u8) -> Came {
    match defrag.push(now, &Packet::new(bytes), 1) {
        Pushed::Held => Came::Held,
        Pushed::Whole(whole) => {
            let payload = &whole.bytes()[if bytes[0] >> 4 == 6 { 40 } else { 20 }..];
            Came::Whole(payload.len(), payload.iter().all(|byte| *byte == fill))
        }
        Pushed::Dropped(reason) => Came::Dropped(reason),
        Pushed::NotAFragment => Came::Otherwise,
    }
}

/// An honest datagram of 1001 bytes in two pieces.
fn honest(defrag: &mut Defrag, now: u64, six: bool, id: u32) -> [Came; 2] {
    let mut maker = Maker::new();
    let first = push(defrag, now, maker.make(six, 0x0a00_0001, id, (0, 800), true, 7), 7);
    [first, push(defrag, now, maker.make(six, 0x0a00_0001, id, (800, 1001), false, 7), 7)]
}

const HONEST: [Came; 2] = [Came::Held, Came::Whole(1001, true)];

pub fn run(plan: &Plan) -> Outcome {
    let (rounds, lot): (u64, u64) = if plan.short { (10, 50_000) } else { (100, 100_000) };
    let mut defrag = defrag(if plan.has("twice-the-room") { 2 * THRESH } else { THRESH })?;
    let (mut random, mut maker) = (Random(0xf2a6), Maker::new());
    let memory = resident();
    let (mut now, mut sent, mut ns, mut most) = (1000, 0, 0, 0);
    let (mut full, mut allocated) = (0, 0);
    for round in 0..rounds {
        // First and later pieces, tiny ones far apart, of far more datagrams than fit; both families.
        for n in 0..lot {
            let six = n % 2 == 1;
            let id = random.word() as u32;
            let (at, len) = match random.below(5) {
                0 => (0, 1400),
                1 => (1400, 8),
                2 => (8 * random.below(8000), 8),
                3 => (8 * random.below(7000), 1480),
                _ => (16, 800),
            };
            let bytes = maker.make(six, 0x1400_0000 | id & 0xff_ffff, id, (at, at + len), true, 1);
            let (packet, before) = (Packet::new(bytes), allocations());
            let begin = cpu();
            let pushed = defrag.push(now, &packet, 1);
            ns += cpu() - begin;
            allocated += allocations() - before;
            match pushed {
                Pushed::Held => {}
                Pushed::Dropped(Reason::FragMemory | Reason::FragQueues) => full += 1,
                // Two pieces at random may be of one datagram.
                Pushed::Dropped(_) => {}
                _ => return Err(format!("something came of fragment {n} of round {round}")),
            }
            let stats = defrag.stats();
            let used = stats.memory_v4.max(stats.memory_v6);
            most = most.max(used);
            hold!(used <= u64::from(THRESH) + LONGEST, "{used} bytes wait, {THRESH} are allowed: {stats:?}");
            hold!(stats.waiting <= 8192, "{} datagrams wait", stats.waiting);
            sent += 1;
        }
        // What is full takes nothing more, from nobody; once the time is over all is as before.
        for six in [false, true] {
            let [first, _] = honest(&mut defrag, now, six, 1);
            equal!(first, Came::Dropped(Reason::FragMemory), "an honest piece while memory is full");
        }
        full += 4;
        sent += 4;
        now += TIMES[1];
        while defrag.expire(now, 64) > 0 {}
        let stats = defrag.stats();
        equal!((stats.waiting, stats.memory_v4, stats.memory_v6), (0, 0, 0), "what is left of round {round}");
        for six in [false, true] {
            equal!(honest(&mut defrag, now, six, 1), HONEST, "an honest datagram after round {round}");
        }
        sent += 4;
    }
    // Overlaps with a datagram of somebody else's: nothing is left of it, nothing of both is put together.
    let overlaps: u32 = if plan.short { 20_000 } else { 1_000_000 };
    let before = defrag.stats().overlaps;
    for n in 0..overlaps {
        let (six, id, src) = (n % 2 == 1, n, 0x0a00_0001);
        let first = push(&mut defrag, now, maker.make(six, src, id, (0, 800), true, 7), 7);
        equal!(first, Came::Held, "overlap {n}: the first piece");
        // Across its end: the end of what it covers, or more.
        let (from, to) = (8 * (1 + random.below(98)), 800 + 8 * (1 + random.below(60)));
        let from = if plan.has("beside") { 800 } else { from };
        let spoofed = push(&mut defrag, now, maker.make(six, src, id, (from, to), true, 66), 7);
        equal!(spoofed, Came::Dropped(Reason::FragOverlap), "overlap {n}: {from}..{to} beside 0..800");
        let last = push(&mut defrag, now, maker.make(six, src, id, (800, 1001), false, 7), 7);
        equal!(last, Came::Held, "overlap {n}: the last piece");
        // Sent again, as a datagram that was lost is.
        let again = push(&mut defrag, now, maker.make(six, src, id, (0, 800), true, 7), 7);
        equal!(again, Came::Whole(1001, true), "overlap {n}: the datagram, once more");
        sent += 4;
    }
    let stats = defrag.stats();
    equal!(stats.overlaps - before, u64::from(overlaps), "overlaps");
    equal!(stats.no_room, full, "no_room");
    equal!(stats.fragments, sent, "fragments");
    equal!(stats.reassembled, 2 * rounds + u64::from(overlaps), "reassembled");
    equal!((stats.waiting, stats.memory_v4, stats.memory_v6), (0, 0, 0), "what waits at the end");
    equal!(allocated, 0, "allocations");
    let grown = resident().abs_diff(memory);
    hold!(grown <= 1 << 20, "resident memory changed by {grown} bytes");
    Ok(format!(
        "{} fragments at random, {} not taken (no_room), {most} bytes at most of {THRESH} allowed and {LONGEST} for the last; {overlaps} \
         overlaps, {overlaps} datagrams given up, none mixed; honest ones whole again after each of {rounds} floods; 0 allocations; {} \
         ns/fragment",
        rounds * lot,
        stats.no_room,
        ns / (rounds * lot)
    ))
}

/// Pieces of one datagram before and behind a wrap; a clock that stands still, and one that jumps.
pub fn clock(plan: &Plan) -> Outcome {
    let rounds = if plan.short { 2000 } else { 200_000 };
    let (mut random, mut maker) = (Random(0xc10c), Maker::new());
    let mut defrag = defrag(THRESH)?;
    let mut whole = 0;
    for round in 0..rounds {
        let six = round % 2 == 1;
        let time = TIMES[usize::from(six)];
        let wrap = [1_u64 << 31, 1 << 32, 5 << 32, u64::MAX - (1 << 33)][random.below(4)];
        let begin = wrap - random.below(70_000) as u64;
        let late = [0, 1, time - 1, time, time + 1, 1 << 31, 1 << 32, (1 << 32) + time][random.below(8)];
        let id = round as u32;
        let first = push(&mut defrag, begin, maker.make(six, 1, id, (0, 800), true, 7), 7);
        equal!(first, Came::Held, "round {round}: the first piece");
        let allowed = if plan.has("impatient") { time - 1 } else { time };
        let expected = if late < allowed { Came::Whole(1001, true) } else { Came::Held };
        let last = push(&mut defrag, begin + late, maker.make(six, 1, id, (800, 1001), false, 7), 7);
        equal!(last, expected, "round {round}: the last piece, {late} ms later, from {begin} on");
        whole += u32::from(last != Came::Held);
        // What is left of it ends by itself.
        defrag.expire(begin + late + time, u32::MAX);
        let stats = defrag.stats();
        equal!((stats.waiting, stats.memory_v4, stats.memory_v6), (0, 0, 0), "round {round}: what waits");
    }
    // A clock that stands still: the room fills, and is empty when it goes on. One that jumps: nothing waits for ever.
    for n in 0..20_000 {
        push(&mut defrag, 5000, maker.make(n % 2 == 1, n, n, (0, 800), true, 7), 7);
    }
    let stats = defrag.stats();
    hold!(stats.waiting > 500 && stats.memory_v4 <= u64::from(THRESH) + LONGEST, "standing still: {stats:?}");
    defrag.expire(5000 + TIMES[1], u32::MAX);
    equal!(defrag.stats().waiting, 0, "what waits when the clock goes on");
    let mut now = 0_u64;
    for n in 0..rounds {
        now = match random.below(6) {
            0 => now.wrapping_add(random.word()),
            1 => now.saturating_sub(random.below(100_000) as u64),
            2 => [0, u64::MAX, 1 << 32, (1 << 32) - 1][random.below(4)],
            _ => now.saturating_add(random.below(5000) as u64),
        };
        let id = n as u32;
        push(&mut defrag, now, maker.make(random.below(2) == 1, id & 7, id & 63, (0, 800), true, 7), 7);
    }
    defrag.expire(u64::MAX, u32::MAX);
    let left = defrag.stats().waiting;
    equal!(left, 0, "what waits at the end of time");
    Ok(format!(
        "{rounds} datagrams whose pieces come before and behind a wrap of the tick: {whole} whole, {} too late; 20000 pieces while the \
         clock stands still, {rounds} while it jumps: within the memory allowed, and nothing waits at the end",
        rounds - whole as u64
    ))
}
