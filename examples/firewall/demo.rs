//! The firewall with made-up packets. Two workers, one on each thread, share a table; one thread has the packets that come from
//! inside, the other those from outside.

use std::thread;

use conntab::packet::packet_flag::CHECKSUM_OK;
use conntab::{Config, MAX_BURST, Packet, Table, Verdict, Worker};

use crate::rules::{Rules, Side};

/// A UDP packet between host `n` inside and a server outside.
fn udp(n: u8, side: Side) -> Vec<u8> {
    let (inside, outside) = ([10, 0, 0, n], [192, 0, 2, 1]);
    let (src, dst, sport, dport): (_, _, u16, u16) = match side {
        Side::Inside => (inside, outside, 5000, 53),
        Side::Outside => (outside, inside, 53, 5000),
    };
    let mut bytes = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    bytes.extend(src);
    bytes.extend(dst);
    bytes.extend(sport.to_be_bytes());
    bytes.extend(dport.to_be_bytes());
    bytes.extend([0, 8, 0, 0]);
    bytes
}

/// Sends a packet of each of these hosts and counts what passes.
fn send(worker: &mut Worker, now: u64, hosts: std::ops::Range<u8>, side: Side) -> u32 {
    let bytes: Vec<Vec<u8>> = hosts.map(|n| udp(n, side)).collect();
    let packets: Vec<Packet<'_>> = bytes.iter().map(|b| Packet::new(b).with_flags(CHECKSUM_OK)).collect();
    let mut verdicts = [Verdict::default(); MAX_BURST];
    let rules = Rules::default();
    packets.chunks(32).map(|burst| rules.filter(worker, now, side, burst, &mut verdicts).count_ones()).sum()
}

/// The demonstration.
pub fn run() -> Result<(), conntab::config::ConfigError> {
    let table = Table::new(Config { max: 1024, workers: 2, ..Config::default() })?;
    let (mut inside, mut outside) = (table.worker()?, table.worker()?);

    println!("unasked, from outside: {} of 100 pass", send(&mut outside, 0, 0..100, Side::Outside));
    // Workers may be handed to threads. One that rests must be idle, or the others cannot use freed entries again.
    outside.idle();
    let asked = thread::spawn(move || {
        let asked = send(&mut inside, 10, 0..60, Side::Inside);
        inside.reap(10, 4096);
        asked
    });
    println!("from inside:           {} of 60 pass", asked.join().expect("the thread"));
    println!("then, from outside:    {} of 100 pass", send(&mut outside, 20, 0..100, Side::Outside));
    println!("{} connections, for example:\n{}", table.count(), table.dump(20).next().expect("a connection"));
    Ok(())
}
