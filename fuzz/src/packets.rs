//! Packets between few ends, so that they meet: most make sense, some do not. Checksums are left 0.

use conntab::Packet;
use conntab::packet::{Hook, packet_flag};

use crate::Input;

/// A packet, and what a host says of it.
pub struct Made {
    pub bytes: Vec<u8>,
    /// Bytes that were not captured.
    missing: u32,
    zones: [u16; 2],
    hook: Hook,
    flags: u32,
}

impl Made {
    pub fn packet(&self) -> Packet<'_> {
        let mut packet = Packet::new(&self.bytes).with_flags(self.flags);
        packet = packet.with_len(self.bytes.len() as u32 + self.missing);
        [packet.zone_orig, packet.zone_reply] = self.zones;
        packet.hook = self.hook;
        packet
    }
}

/// Remembers a few packets, for ICMP errors about them.
#[derive(Default)]
pub struct Maker {
    recent: [Vec<u8>; 8],
    made: usize,
}

/// One of four hosts.
pub fn host(v6: bool, n: u8) -> Vec<u8> {
    let n = n & 3;
    if v6 { [&[0xfd; 15][..], &[n]].concat() } else { vec![10, 0, 0, n] }
}

/// One of four ports, the same four for both ends.
pub fn port(n: u8) -> u16 {
    [1000, 80, 21, 1001][usize::from(n & 3)]
}

pub fn ip(src: &[u8], dst: &[u8], protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u16;
    let mut packet = Vec::with_capacity(40 + payload.len());
    if src.len() == 4 {
        packet.extend([0x45, 0]);
        packet.extend((len + 20).to_be_bytes());
        packet.extend([0, 0, 0, 0, ttl, protocol, 0, 0]);
    } else {
        packet.extend([0x60, 0, 0, 0]);
        packet.extend(len.to_be_bytes());
        packet.extend([protocol, ttl]);
    }
    packet.extend(src);
    packet.extend(dst);
    packet.extend(payload);
    packet
}

impl Maker {
    /// The packet that the next bytes describe.
    pub fn packet(&mut self, input: &mut Input<'_>) -> Made {
        let (ends, kind) = (input.byte(), input.byte());
        let v6 = ends & 32 != 0;
        let (mut src, mut dst) = (host(v6, ends), host(v6, ends >> 2));
        let mut ports = [port(kind >> 4), port((kind >> 6) + 1)];
        if ends & 16 != 0 {
            (src, dst) = (dst, src);
            ports.reverse();
        }
        let bytes = match kind & 15 {
            0..6 => ip(&src, &dst, 6, 64, &tcp(ports, input)),
            6 | 7 => ip(&src, &dst, 17, 64, &udp(ports)),
            8 => ip(&src, &dst, 136, 64, &udp(ports)),
            9 => {
                let kinds = if v6 { [128, 129, 139, 135] } else { [8, 0, 13, 14] };
                let kind = query(input.byte(), kinds);
                ip(&src, &dst, if v6 { 58 } else { 1 }, 255, &[kind, 0, 0, 0, 0, ports[1] as u8, 0, 1])
            }
            10 => self.error(&src, input),
            11 | 12 => ip(&src, &dst, 132, 64, &sctp(ports, input)),
            13 => ip(&src, &dst, 47, 64, &gre(input.byte())),
            14 => ip(&src, &dst, 200, 64, &[0; 4]),
            _ => {
                let n = usize::from(input.byte() & 63);
                input.take(n).to_vec()
            }
        };
        self.recent[self.made % 8].clone_from(&bytes);
        self.made += 1;
        let mut made = Made { bytes, missing: 0, zones: [0; 2], hook: Hook::PREROUTING, flags: 0 };
        match ends >> 6 {
            2 => {
                let zones = input.byte();
                made.zones = [zones & 1, zones >> 1 & 1].map(u16::from);
            }
            3 => {
                let odd = input.byte();
                made.flags = [0, packet_flag::NOTRACK, packet_flag::CHECKSUM_OK, packet_flag::REASSEMBLED]
                    [usize::from(odd & 3)];
                made.hook = if odd & 4 == 0 { Hook::PREROUTING } else { Hook::OUTPUT };
                made.missing = u32::from(odd >> 5);
                if odd & 8 != 0 && made.bytes.len() > 8 {
                    // More fragments, or (IPv6) another length.
                    made.bytes[6] ^= 0x20;
                }
                if odd & 16 != 0 {
                    let short = made.bytes.len() / 2;
                    made.missing += (made.bytes.len() - short) as u32;
                    made.bytes.truncate(short);
                }
            }
            _ => {}
        }
        made
    }

    /// A datagram of its own flow.
    pub fn udp(&mut self, v6: bool, sport: u16) -> Made {
        let bytes = ip(&host(v6, 0), &host(v6, 1), 17, 64, &udp([sport, 53]));
        Made { bytes, missing: 0, zones: [0; 2], hook: Hook::PREROUTING, flags: packet_flag::CHECKSUM_OK }
    }

    /// An ICMP error of `src` about a packet that was made lately, as it arrived or as it was sent on.
    fn error(&self, src: &[u8], input: &mut Input<'_>) -> Vec<u8> {
        let how = input.byte();
        let about = &self.recent[usize::from(how & 7)];
        let v6 = about.first().is_some_and(|first| first >> 4 == 6);
        let (from, to) = if v6 { (8, 24) } else { (12, 16) };
        let end = if v6 { 40 } else { 20 };
        if about.len() < end {
            return Vec::new();
        }
        let mut quoted = about[..about.len().min(end + 8 + usize::from(how >> 6))].to_vec();
        if how & 8 != 0 {
            // As if it had gone the other way.
            let (a, b) = (about[from..to].to_vec(), about[to..end].to_vec());
            quoted[from..to].copy_from_slice(&b);
            quoted[to..end].copy_from_slice(&a);
            if quoted.len() >= end + 4 {
                quoted[end..end + 4].rotate_left(2);
            }
        }
        let told = if how & 16 == 0 { quoted[from..to].to_vec() } else { quoted[to..end].to_vec() };
        let kinds = if v6 { [1, 3, 2, 137] } else { [3, 11, 5, 12] };
        let mut message = vec![query(input.byte(), kinds), 0, 0, 0, 0, 0, 0, 0];
        message.extend(&quoted);
        let src = if v6 == (src.len() == 16) { src.to_vec() } else { host(v6, src[src.len() - 1]) };
        ip(&src, &told, if v6 { 58 } else { 1 }, 255, &message)
    }
}

/// One of four types, or any.
fn query(byte: u8, kinds: [u8; 4]) -> u8 {
    if byte < 0x80 { kinds[usize::from(byte & 3)] } else { byte.rotate_left(1) }
}

fn udp([sport, dport]: [u16; 2]) -> Vec<u8> {
    [sport.to_be_bytes(), dport.to_be_bytes(), [0, 8], [0, 0]].concat()
}

const SEGMENTS: [u8; 16] =
    [0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x02, 0x12, 0x10, 0x10, 0x11, 0x19, 0xc2, 0x52, 0x00];

/// A number near 100, or any.
fn sequence(input: &mut Input<'_>) -> u32 {
    match input.byte() {
        near @ 0..0xf0 => 100 + u32::from(near >> 2),
        _ => input.u32(),
    }
}

fn tcp([sport, dport]: [u16; 2], input: &mut Input<'_>) -> Vec<u8> {
    let flags = match input.byte() {
        n @ 0..0xe0 => SEGMENTS[usize::from(n & 15)],
        _ => input.byte(),
    };
    let (seq, ack, shape) = (sequence(input), sequence(input), input.byte());
    let data = [0, 0, 1, 40][usize::from(shape & 3)];
    let window = [u16::MAX, 1000, 10, 0][usize::from(shape >> 2 & 3)];
    let options: Vec<u8> = match shape >> 5 {
        0..5 => vec![],
        // MSS, window scale, SACK permitted; timestamps; a SACK block.
        5 => vec![2, 4, 5, 180, 3, 3, 7, 1, 4, 2, 1, 1],
        6 => vec![1, 1, 5, 10, 0, 0, 0, 110, 0, 0, 0, 120],
        _ => input.take(4).to_vec(),
    };
    let mut segment = [sport.to_be_bytes(), dport.to_be_bytes()].concat();
    segment.extend(seq.to_be_bytes());
    segment.extend(ack.to_be_bytes());
    segment.extend([((20 + options.len().div_ceil(4) * 4) as u8) << 2, flags]);
    segment.extend(window.to_be_bytes());
    segment.extend([0; 4]);
    segment.extend(&options);
    segment.resize(20 + options.len().div_ceil(4) * 4 + data, 0);
    segment
}

/// One to four chunks.
fn sctp([sport, dport]: [u16; 2], input: &mut Input<'_>) -> Vec<u8> {
    let shape = input.byte();
    let mut packet =
        [sport.to_be_bytes(), dport.to_be_bytes(), [0, 0], [0, shape >> 2 & 3], [0, 0], [0, 0]].concat();
    for _ in 0..=shape & 3 {
        let chunk = input.byte();
        // INIT and INIT ACK carry the tag that the other end is to use.
        let body = if matches!(chunk & 15, 1 | 2) { 16 } else { 0 };
        packet.extend([chunk & 15, chunk >> 7, 0, 4 + body]);
        let start = packet.len();
        packet.resize(start + usize::from(body), 0);
        if body != 0 {
            packet[start + 3] = chunk >> 4 & 3;
        }
    }
    packet
}

fn gre(how: u8) -> Vec<u8> {
    if how & 1 == 0 { vec![0, 0, 8, 0] } else { vec![0x20, 1, 0x88, 0x0b, 0, 0, 0, how >> 1 & 3] }
}
