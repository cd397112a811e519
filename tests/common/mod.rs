//! Packets and tables for the tests of the path. Checksums are left 0: the tables here do not verify them.
#![allow(dead_code, reason = "each test file uses some of it")]

use conntab::{Config, Packet, Table, Verdict, Worker};

pub const CLIENT: [u8; 4] = [10, 1, 0, 1];
pub const SERVER: [u8; 4] = [10, 2, 0, 1];

pub const SYN: u8 = 0x02;
pub const SYN_ACK: u8 = 0x12;
pub const ACK: u8 = 0x10;
pub const RST: u8 = 0x04;
pub const RST_ACK: u8 = 0x14;
pub const FIN_ACK: u8 = 0x11;

pub fn config(max: u32) -> Config {
    let mut config = Config { max, acct: true, prefault: false, ..Config::default() };
    config.tunables.checksum = 0;
    config
}

pub fn table(max: u32) -> Table {
    Table::new(config(max)).expect("a small table")
}

pub fn ipv4(protocol: u8, src: [u8; 4], dst: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut packet = vec![0x45, 0, (len >> 8) as u8, len as u8, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet.extend(src);
    packet.extend(dst);
    packet.extend(payload);
    packet
}

pub fn ipv6(protocol: u8, src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u16;
    let mut packet = vec![0x60, 0, 0, 0, (len >> 8) as u8, len as u8, protocol, 64];
    for host in [src, dst] {
        packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, (host >> 8) as u8, host as u8]);
    }
    packet.extend(payload);
    packet
}

fn ports(sport: u16, dport: u16) -> Vec<u8> {
    [sport.to_be_bytes(), dport.to_be_bytes()].concat()
}

pub fn udp_bytes(sport: u16, dport: u16) -> Vec<u8> {
    let mut bytes = ports(sport, dport);
    bytes.extend([0, 8, 0, 0]);
    bytes
}

pub fn udp(src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16) -> Vec<u8> {
    ipv4(17, src, dst, &udp_bytes(sport, dport))
}

pub fn tcp(
    (src, sport): ([u8; 4], u16),
    (dst, dport): ([u8; 4], u16),
    flags: u8,
    seq: u32,
    ack: u32,
    data: usize,
) -> Vec<u8> {
    let mut bytes = ports(sport, dport);
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.resize(20 + data, b'x');
    ipv4(6, src, dst, &bytes)
}

/// An ICMP port unreachable about a packet.
pub fn unreachable(src: [u8; 4], about: &[u8]) -> Vec<u8> {
    let mut bytes = vec![3, 3, 0, 0, 0, 0, 0, 0];
    bytes.extend(&about[..28]);
    ipv4(1, src, [about[12], about[13], about[14], about[15]], &bytes)
}

/// Judges packets in one burst, without confirming.
pub fn judge(worker: &mut Worker, now: u64, packets: &[&[u8]]) -> Vec<Verdict> {
    let packets: Vec<Packet<'_>> = packets.iter().map(|bytes| Packet::new(bytes)).collect();
    let mut verdicts = vec![Verdict::default(); packets.len()];
    assert_eq!(worker.track(now, &packets, &mut verdicts), packets.len());
    verdicts
}

/// Judges one packet and confirms it.
pub fn pass(worker: &mut Worker, now: u64, packet: &[u8]) -> Verdict {
    let mut verdicts = judge(worker, now, &[packet]);
    worker.confirm(now, &mut verdicts, 1);
    verdicts[0]
}

/// The four bytes of an address made from a number.
pub fn host(n: u32) -> [u8; 4] {
    (0x0a00_0000 | n & 0x00ff_ffff).to_be_bytes()
}
