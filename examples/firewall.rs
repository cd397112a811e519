//! A stateful firewall in a few lines: who is inside may open connections, who is outside may only answer.
//!
//! `cargo run --example firewall`
//!
//! Two workers, one on each thread, share a table; one thread has the packets that come from inside, the other those from
//! outside. Here they are made up; a dataplane would take them from its ports, 32 at a time.

use std::thread;

use conntab::packet::packet_flag::CHECKSUM_OK;
use conntab::{Config, CtState, MAX_BURST, Packet, Table, Verdict, Worker};

/// Judges a burst, and returns which packets pass (bit i: packet i).
fn filter(worker: &mut Worker, now: u64, packets: &[Packet<'_>], from_inside: bool) -> u64 {
    let mut verdicts = [Verdict::default(); MAX_BURST];
    let n = worker.track(now, packets, &mut verdicts);
    let verdicts = &mut verdicts[..n];
    let mut pass = 0u64;
    for (i, verdict) in verdicts.iter().enumerate() {
        let allowed = match verdict.state {
            CtState::Established | CtState::Related | CtState::Untracked => true,
            CtState::New => from_inside,
            CtState::Invalid | CtState::Drop | CtState::Fragment => false,
        };
        pass |= u64::from(allowed) << i;
    }
    worker.confirm(now, verdicts, pass);
    // Confirming may have decided against a packet: it lost a clash, or there was no room.
    for (i, verdict) in verdicts.iter().enumerate() {
        if verdict.state == CtState::Drop {
            pass &= !(1 << i);
        }
    }
    pass
}

/// A UDP packet between host `n` inside and a server outside.
fn udp(n: u8, from_inside: bool) -> Vec<u8> {
    let (inside, outside) = ([10, 0, 0, n], [192, 0, 2, 1]);
    let (src, dst) = if from_inside { (inside, outside) } else { (outside, inside) };
    let (sport, dport): (u16, u16) = if from_inside { (5000, 53) } else { (53, 5000) };
    let mut bytes = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    bytes.extend(src);
    bytes.extend(dst);
    bytes.extend(sport.to_be_bytes());
    bytes.extend(dport.to_be_bytes());
    bytes.extend([0, 8, 0, 0]);
    bytes
}

/// Sends a packet of each of these hosts and counts what passes.
fn send(worker: &mut Worker, now: u64, hosts: std::ops::Range<u8>, from_inside: bool) -> u32 {
    let bytes: Vec<Vec<u8>> = hosts.map(|n| udp(n, from_inside)).collect();
    let packets: Vec<Packet<'_>> = bytes.iter().map(|b| Packet::new(b).with_flags(CHECKSUM_OK)).collect();
    packets.chunks(32).map(|burst| filter(worker, now, burst, from_inside).count_ones()).sum()
}

fn main() -> Result<(), conntab::config::ConfigError> {
    let table = Table::new(Config { max: 1024, workers: 2, ..Config::default() })?;
    let (mut inside, mut outside) = (table.worker()?, table.worker()?);

    println!("unasked, from outside: {} of 100 pass", send(&mut outside, 0, 0..100, false));
    // Workers may be handed to threads. One that rests must be idle, or the others cannot use freed entries again.
    outside.idle();
    let asked = thread::spawn(move || {
        let asked = send(&mut inside, 10, 0..60, true);
        inside.reap(10, 4096);
        asked
    });
    println!("from inside:           {} of 60 pass", asked.join().expect("the thread"));
    println!("then, from outside:    {} of 100 pass", send(&mut outside, 20, 0..100, false));
    println!("{} connections, for example:\n{}", table.count(), table.dump(20).next().expect("a connection"));
    Ok(())
}
