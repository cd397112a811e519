//! SCTP packets for tests: etherparse does not know them.
#![allow(dead_code, missing_docs)]

use conntab::wire::sctp::Packet;
use conntab::wire::{self, L4};

/// CRC32c, bit by bit (RFC 9260 appendix A).
pub fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 != 0 { 0x82f6_3b78 } else { 0 })
    })
}

/// A chunk, padded to four bytes.
pub fn chunk(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut chunk = vec![kind, flags];
    chunk.extend((4 + body.len() as u16).to_be_bytes());
    chunk.extend(body);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

/// The packet from its ports on, with its checksum.
pub fn sctp(sport: u16, dport: u16, vtag: u32, chunks: &[u8]) -> Vec<u8> {
    let mut packet =
        [&sport.to_be_bytes()[..], &dport.to_be_bytes(), &vtag.to_be_bytes(), &[0; 4], chunks].concat();
    let crc = crc32c(&packet).to_le_bytes();
    packet[8..12].copy_from_slice(&crc);
    packet
}

/// In an IPv4 packet from 10.1.0.1 to 10.2.0.1, or back if the lower port is the destination.
pub fn ipv4(sport: u16, dport: u16, vtag: u32, chunks: &[u8]) -> Vec<u8> {
    let body = sctp(sport, dport, vtag, chunks);
    let (src, dst) =
        if sport < dport { ([10, 1, 0, 1], [10, 2, 0, 1]) } else { ([10, 2, 0, 1], [10, 1, 0, 1]) };
    let len = (20 + body.len() as u16).to_be_bytes();
    [&[0x45, 0, len[0], len[1], 0, 0, 0x40, 0, 64, 132, 0, 0][..], &src, &dst, &body].concat()
}

/// What the parser makes of a packet.
pub fn parse(packet: &[u8]) -> Packet {
    match wire::parse(packet, packet.len() as u32).expect("a packet").l4 {
        L4::Sctp(packet) => packet,
        other => panic!("{other:?}"),
    }
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect()
}
