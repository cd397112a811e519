//! Packets of a few flows, whose tuples the workers meet again and again. Checksums are 0: the tables here verify none.

use conntab_bench::Random;

fn ipv4(protocol: u8, src: [u8; 4], dst: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut packet = vec![0x45, 0, (len >> 8) as u8, len as u8, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet.extend(src);
    packet.extend(dst);
    packet.extend(payload);
    packet
}

fn ipv6(protocol: u8, src: [u8; 4], dst: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, protocol, 64];
    for host in [src, dst] {
        packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend(host);
    }
    packet.extend(payload);
    packet
}

fn ports(sport: u16, dport: u16) -> Vec<u8> {
    [sport.to_be_bytes(), dport.to_be_bytes()].concat()
}

fn udp(sport: u16, dport: u16, data: &[u8]) -> Vec<u8> {
    let len = (8 + data.len()) as u16;
    [&ports(sport, dport)[..], &len.to_be_bytes(), &[0, 0], data].concat()
}

fn tcp(sport: u16, dport: u16, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    [&ports(sport, dport)[..], &seq.to_be_bytes(), &ack.to_be_bytes(), &[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]]
        .concat()
}

const CLIENTS: u8 = 1;
const SERVERS: u8 = 2;

/// A packet of flow number `flow` in a direction, chosen by chance where its protocol has several.
pub fn packet(flow: usize, reply: bool, random: &mut Random) -> Vec<u8> {
    let of = |side: u8, number: usize| [10, side, (number >> 8) as u8, number as u8];
    let (client, server) = (of(CLIENTS, flow), of(SERVERS, flow / 4));
    let (src, dst, sport, dport) =
        if reply { (server, client, 80, 1000) } else { (client, server, 1000, 80) };
    match flow % 8 {
        0..3 => ipv4(17, src, dst, &udp(sport, dport, b"")),
        3..5 => {
            // A connection that is opened, used, closed and reset, out of order more often than not.
            let flags = [0x02, 0x12, 0x10, 0x10, 0x10, 0x18, 0x11, 0x04][random.below(8)];
            let (seq, ack) = (random.below(4) as u32, random.below(4) as u32);
            ipv4(6, src, dst, &tcp(sport, dport, flags, seq, if flags == 0x02 { 0 } else { ack }))
        }
        5 => ipv4(1, src, dst, &[if reply { 0 } else { 8 }, 0, 0, 0, 0, flow as u8, 0, 0]),
        6 => ipv6(17, src, dst, &udp(sport, dport, b"")),
        // INIT, INIT ACK, DATA, HEARTBEAT, ABORT.
        _ => {
            let (kind, tag) = [(1, 0), (2, 1), (0, 1), (4, 1), (6, 1)][random.below(5)];
            let chunk = [kind, 0, 0, 20, 0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 0];
            ipv4(132, src, dst, &[&ports(sport, dport)[..], &[0, 0, 0, tag, 0, 0, 0, 0], &chunk].concat())
        }
    }
}

/// Whether its reply tuple can be made another by NAT: IPv4 and IPv6 with ports.
pub fn has_ports(flow: usize) -> bool {
    !matches!(flow % 8, 5 | 7)
}

/// A request that makes a client expect the server's answer, and that answer.
pub fn tftp(client: usize, answer: bool) -> Vec<u8> {
    let (host, server) = ([10, CLIENTS, 200, client as u8], [10, SERVERS, 200, 1]);
    match answer {
        false => ipv4(17, host, server, &udp(3000, 69, b"\0\x01file\0octet\0")),
        true => ipv4(17, server, host, &udp(4000, 3000, b"\0\x03\0\x01")),
    }
}

/// A fragment of a datagram of `pieces`, of 64 bytes each.
pub fn fragment(client: u8, id: u16, piece: u16, pieces: u16) -> Vec<u8> {
    let first = udp(1000, 80, &[0; 56]);
    let payload: &[u8] = if piece == 0 { &first } else { &[0; 64] };
    let mut packet = ipv4(17, [10, CLIENTS, 201, client], [10, SERVERS, 201, 1], payload);
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    let more = if piece + 1 < pieces { 0x2000 } else { 0 };
    packet[6..8].copy_from_slice(&(more | (piece * 8)).to_be_bytes());
    packet
}
