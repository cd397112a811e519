//! Hand-made packets. What the kernel makes of each kind was recorded from a live one; the comments give the cases.

mod inner;
mod ip;
mod link;
mod sctp;
mod transport;

use super::*;

/// Bytes of a hexadecimal string; blanks are ignored.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// An IPv4 packet from 10.1.0.1 to 10.2.0.1 without options.
fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = hex("4500 0000 0000 4000 4000 0000 0a010001 0a020001");
    packet[9] = protocol;
    packet.extend(payload);
    let total = packet.len() as u16;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet
}

/// An IPv6 packet from fd00:1::1 to fd00:2::1.
fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet =
        hex("60000000 0000 00 40 fd000001000000000000000000000001 fd000002000000000000000000000001");
    packet[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    packet[6] = next;
    packet.extend(payload);
    packet
}

/// The transport header of a packet captured in full.
fn l4(packet: &[u8]) -> Result<L4, Reason> {
    parse(packet, packet.len() as u32).map(|headers| headers.l4)
}

fn headers(packet: &[u8]) -> Headers {
    parse(packet, packet.len() as u32).unwrap()
}

fn verify(packet: &str) -> Checksum {
    let packet = hex(packet);
    checksum(&packet, &headers(&packet))
}

/// A UDP datagram from port 5 to port 6 with one byte of data, whose checksum is right between the addresses above.
const UDP6: &str = "0005 0006 0009 8dca 78";
