//! Collisions. Without the hash's key an attacker's tuples fall into buckets as if drawn by lot, however they are made: the overflow
//! buckets that a full table needs are as many as chance says. With the key he can fill one chain, and no more.
//!
//! **The bound.** A table of B buckets at the highest load it allows has 4.8 slots a bucket. Drawn by lot, the number in one bucket is
//! Poisson's, and so are mean and variance of the overflow buckets behind it: one for each seven slots beyond the first seven. Over all
//! buckets the sum has B times the mean, and no more than B times the variance (that the slots are so many in all makes buckets
//! repel each other). Six deviations are allowed: chance alone goes beyond once in 500 million.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;
use conntab::net::L3;
use conntab::tuple::protocol::UDP;
use conntab::{Config, CtState, Packet, Reason, Table, Verdict};
use conntab_bench::{Random, cpu};

use crate::host;
use crate::packets::{Bytes, End, SERVER, ipv6, udp, udp_body};
use crate::{Outcome, Plan};

const BURST: usize = 32;

/// Slots of a bucket, and buckets of a chain.
const SLOTS: u32 = 7;
const CHAIN: u32 = 8;

/// Mean and deviation of the overflow buckets of so many buckets and slots.
fn by_lot(buckets: u32, slots: u32) -> (f64, f64) {
    let load = f64::from(slots) / f64::from(buckets);
    let (mut chance, mut mean, mut square) = ((-load).exp(), 0.0, 0.0);
    for k in 1..200_u32 {
        chance *= load / f64::from(k);
        let behind = f64::from(k.saturating_sub(SLOTS).div_ceil(SLOTS));
        mean += chance * behind;
        square += chance * behind * behind;
    }
    let all = f64::from(buckets);
    (all * mean, (all * (square - mean * mean)).sqrt())
}

type Family = fn(u32, u64) -> (Bytes, u16);

/// Datagrams that no attacker could choose better without the key: alike in all but a few bits, each of a flow of its own. The seed is
/// for those made at random.
const FAMILIES: [(&str, Family); 10] = [
    ("random", |n, seed| {
        let mut random = Random(seed ^ u64::from(n + 1) << 20);
        let [a, b] = [random.word(), random.word()];
        plain((a as u32, b as u16), ((a >> 32) as u32, (b >> 16) as u16))
    }),
    ("sources in a row", |n, _| plain((0x0a00_0000 + n, 1000), (SERVER, 53))),
    ("destinations in a row", |n, _| plain((SERVER, 1000), (0x0a00_0000 + n, 53))),
    ("ports in a row", |n, _| plain((0x0a00_0001, n as u16), (SERVER, 1 + (n >> 16) as u16))),
    ("high bits alone", |n, _| plain((n.reverse_bits(), 1000), (SERVER, 53))),
    ("one bit from each to the next", |n, _| plain((0x0a00_0000 ^ n ^ n >> 1, 1000), (SERVER, 53))),
    ("both addresses, their difference constant", |n, _| plain((0x0a00_0000 ^ n, 1000), (SERVER ^ n, 53))),
    ("mirrored pairs", |n, _| {
        let (a, b) = (0x0a00_0000 + n / 2, SERVER);
        if n % 2 == 0 { plain((a, 1000), (b, 2000)) } else { plain((b, 1000), (a, 2000)) }
    }),
    ("zones", |n, _| (udp((0x0a00_0001, 1000 + (n >> 16) as u16), (SERVER, 53), &[]), n as u16)),
    ("IPv6, the lowest bits", |n, _| {
        let (src, dst) = (0xfd00 << 112 | u128::from(n), 0xfd00 << 112);
        (ipv6(UDP, src, dst, &udp_body(1000, 53, &[])), 0)
    }),
];

fn plain(src: End, dst: End) -> (Bytes, u16) {
    (udp(src, dst, &[]), 0)
}

/// Opens a connection by each packet; the verdicts as they are once confirmed. CPU time in ns.
fn open(table: &Table, packets: &[(Bytes, u16)]) -> Result<(Vec<Verdict>, u64), String> {
    let mut worker = host::worker(table)?;
    let mut all = Vec::with_capacity(packets.len());
    let begin = cpu();
    for burst in packets.chunks(BURST) {
        let burst: Vec<Packet<'_>> =
            burst.iter().map(|(bytes, zone)| Packet::new(bytes).with_zone(*zone)).collect();
        let mut verdicts = host::judge(&mut worker, 1000, &burst);
        worker.confirm(1000, &mut verdicts, u64::MAX);
        all.extend(verdicts);
    }
    Ok((all, cpu() - begin))
}

fn opened(verdicts: &[Verdict]) -> u64 {
    verdicts.iter().filter(|verdict| verdict.state == CtState::New).count() as u64
}

/// Whatever he sends, chains are no longer than by lot.
pub fn without_key(plan: &Plan) -> Outcome {
    // As full as a table gets: 2.4 connections a bucket.
    let (max, rounds) = if plan.short { (157_286, 1) } else { (1_258_291, 3) };
    let mut random = Random(0x5eed);
    let (mut worst, mut packets) = (0.0_f64, 0);
    let mut texts = Vec::new();
    for (name, family) in FAMILIES {
        let mut furthest = 0.0_f64;
        for round in 0..rounds {
            let seed = random.word();
            let mut sent: Vec<(Bytes, u16)> = (0..max).map(|n| family(n, seed)).collect();
            let mut config = host::config(max);
            if plan.has("key-known") && round == 0 {
                let key = [1, 2, 3, 4];
                config.hash_key = Some(key);
                let known = Leaked::new(key, config.buckets());
                let chosen = known.flows_of(|bucket| bucket < 256, 10_000, 0x0b00_0000);
                sent.truncate((max - 10_000) as usize);
                sent.extend(chosen.into_iter().map(|(src, dst)| plain(src, dst)));
            }
            let table = host::table(config)?;
            let (verdicts, _) = open(&table, &sent)?;
            packets += u64::from(max);
            equal!(opened(&verdicts), u64::from(max), "{name}: connections opened");
            let buckets = table.config().buckets();
            let (mean, deviation) = by_lot(buckets, 2 * max);
            let seen = table.usage().overflow_used as f64;
            let off = (seen - mean) / deviation;
            hold!(off.abs() < 6.0, "{name}: {seen} overflow buckets, {mean:.0} by lot: {off:+.1} deviations");
            equal!(table.stats().chaintoolong, 0, "{name}: chaintoolong");
            furthest = if off.abs() > furthest.abs() { off } else { furthest };
        }
        worst = worst.max(furthest.abs());
        texts.push(format!("{name} {furthest:+.1}"));
    }
    Ok(format!(
        "{packets} connections, {rounds} full tables of {max} for each of {} kinds of tuples; overflow buckets against chance, the \
         furthest in deviations ({worst:.1} of 6 allowed): {}",
        FAMILIES.len(),
        texts.join(", ")
    ))
}

/// The hash of a table whose key has leaked, as its attacker computes it.
struct Leaked {
    hash: RandomState,
    buckets: u32,
}

impl Leaked {
    fn new([a, b, c, d]: [u64; 4], buckets: u32) -> Self {
        Self { hash: RandomState::with_seeds(a, b, c, d), buckets }
    }

    /// The bucket of an IPv4 datagram.
    fn bucket(&self, src: End, dst: End) -> u32 {
        let ends = u64::from(src.0.swap_bytes()) | u64::from(dst.0.swap_bytes()) << 32;
        let ports = u64::from(src.1) | u64::from(dst.1) << 16;
        let meta = ports | u64::from(UDP) << 32 | (L3::V4 as u64) << 40;
        let mut hasher = self.hash.build_hasher();
        hasher.write_u128(u128::from(ends) | u128::from(meta) << 64);
        hasher.finish() as u32 & (self.buckets - 1)
    }

    /// So many flows whose requests fall into such buckets, and whose replies do not.
    fn flows_of(&self, wanted: impl Fn(u32) -> bool, number: usize, from: u32) -> Vec<(End, End)> {
        let flows = (0_u32..).map(|n| ((from + (n >> 14), 1024 + (n & 0x3fff) as u16), (SERVER, 53)));
        flows
            .filter(|(src, dst)| wanted(self.bucket(*src, *dst)) && !wanted(self.bucket(*dst, *src)))
            .take(number)
            .collect()
    }
}

/// With the key he fills the chain of one bucket, eight buckets long, and is refused then. So is whoever falls into the same one, and nobody else.
pub fn with_key(plan: &Plan) -> Outcome {
    let (attackers, honest) = if plan.short { (5000, 20_000) } else { (20_000, 200_000) };
    let mut random = Random(0x1eaced);
    let key = [(); 4].map(|()| random.word());
    let max = attackers as u32 + honest;
    let table = host::table(Config { hash_key: Some(key), ..host::config(max) })?;
    let buckets = table.config().buckets();
    let known = Leaked::new(if plan.has("key-unknown") { [1, 2, 3, 4] } else { key }, buckets);
    let target = random.below(buckets as usize) as u32;
    let mut chosen = known.flows_of(|bucket| bucket == target, attackers + 1, 0x0b00_0000);
    let unopened = chosen.pop().ok_or("no flow")?;
    let chosen: Vec<_> = chosen.into_iter().map(|(src, dst)| plain(src, dst)).collect();
    let (verdicts, ns) = open(&table, &chosen)?;
    let (room, stats) = (u64::from(SLOTS * CHAIN), table.stats());
    equal!(opened(&verdicts), room, "connections in one chain");
    let refused =
        |verdict: &&Verdict| (verdict.state, verdict.reason) == (CtState::Drop, Reason::ChainTooLong);
    let too_long = verdicts.iter().filter(refused).count() as u64;
    equal!(too_long, attackers as u64 - room, "packets refused with chain-too-long");
    equal!(
        (stats.chaintoolong, stats.drop, stats.insert),
        (too_long, too_long, room),
        "chaintoolong, drop, insert"
    );
    equal!(table.usage().overflow_used, u64::from(CHAIN - 1), "overflow buckets");

    // Who else is refused: those with a tuple in that bucket.
    let flows: Vec<(End, End)> = (0..honest).map(|n| ((0x0a00_0000 + n, 1000), (SERVER, 443))).collect();
    let packets: Vec<_> = flows.iter().map(|(src, dst)| plain(*src, *dst)).collect();
    let (verdicts, _) = open(&table, &packets)?;
    let mut hit = 0;
    for ((src, dst), verdict) in flows.iter().zip(&verdicts) {
        let meets = known.bucket(*src, *dst) == target || known.bucket(*dst, *src) == target;
        hit += u32::from(meets);
        let expected =
            if meets { (CtState::Drop, Reason::ChainTooLong) } else { (CtState::New, Reason::None) };
        equal!((verdict.state, verdict.reason), expected, "another's flow");
    }

    // A lookup along the full chain, and elsewhere.
    let mut worker = host::worker(&table)?;
    let mut cost = |src: End, dst: End| {
        let tuple = host::tuple(UDP, src, dst);
        let begin = cpu();
        for _ in 0..100_000 {
            let mut section = worker.section();
            if std::hint::black_box(section.lookup(1000, 0, std::hint::black_box(&tuple))).is_some() {
                return Err("found what is not there".to_string());
            }
        }
        Ok((cpu() - begin) / 100_000)
    };
    let (along, elsewhere) = (cost(unopened.0, unopened.1)?, cost((1, 1), (2, 2))?);
    drop(worker);

    // When he has gone nothing of it is left.
    table.flush();
    host::balanced(&table)?;
    host::all_free(&table, 1000)?;
    let (verdicts, _) = open(&table, &packets)?;
    equal!(opened(&verdicts), u64::from(honest), "connections opened afterwards");
    Ok(format!(
        "{attackers} packets for one of {buckets} buckets, {room} let in (8 buckets), {too_long} refused (chaintoolong), {} ns each; \
         {hit} of {honest} others refused, those of that bucket; a lookup that finds nothing: {along} ns along the chain, {elsewhere} ns \
         elsewhere",
        ns / attackers as u64
    ))
}
