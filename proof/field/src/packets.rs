//! Packets, written into fixed room: a flood allocates nothing. Checksums are left 0: the tables here do not verify them.

use std::ops::{Deref, DerefMut};

use conntab::net::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

pub const FIN_ACK: u8 = 0x11;
pub const SYN: u8 = 0x02;
pub const SYN_ACK: u8 = 0x12;
pub const RST: u8 = 0x04;
pub const ACK: u8 = 0x10;

/// An IPv4 address and a port.
pub type End = (u32, u16);

/// What connections are opened to.
pub const SERVER: u32 = 0xc612_0001;

const ROOM: usize = 192;

/// A packet, or a piece of one.
#[derive(Clone, Copy)]
pub struct Bytes {
    room: [u8; ROOM],
    len: usize,
}

impl Bytes {
    pub const EMPTY: Self = Self { room: [0; ROOM], len: 0 };

    /// These bytes behind the others.
    pub fn put(mut self, bytes: &[u8]) -> Self {
        self.room[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
        self
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.room[..self.len]
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.room[..self.len]
    }
}

pub fn ipv4(l4: u8, src: u32, dst: u32, body: &[u8]) -> Bytes {
    let [high, low] = (20 + body.len() as u16).to_be_bytes();
    let head = [0x45, 0, high, low, 0, 0, 0, 0, 64, l4, 0, 0];
    Bytes::EMPTY.put(&head).put(&src.to_be_bytes()).put(&dst.to_be_bytes()).put(body)
}

pub fn ipv6(l4: u8, src: u128, dst: u128, body: &[u8]) -> Bytes {
    let [high, low] = (body.len() as u16).to_be_bytes();
    let head = [0x60, 0, 0, 0, high, low, l4, 64];
    Bytes::EMPTY.put(&head).put(&src.to_be_bytes()).put(&dst.to_be_bytes()).put(body)
}

fn ports(sport: u16, dport: u16) -> Bytes {
    Bytes::EMPTY.put(&sport.to_be_bytes()).put(&dport.to_be_bytes())
}

pub fn udp_body(sport: u16, dport: u16, data: &[u8]) -> Bytes {
    ports(sport, dport).put(&(8 + data.len() as u16).to_be_bytes()).put(&[0, 0]).put(data)
}

pub fn udp(src: End, dst: End, data: &[u8]) -> Bytes {
    ipv4(UDP, src.0, dst.0, &udp_body(src.1, dst.1, data))
}

/// Offers a window of 65535.
pub fn tcp_body(sport: u16, dport: u16, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Bytes {
    let head = ports(sport, dport).put(&seq.to_be_bytes()).put(&ack.to_be_bytes());
    head.put(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]).put(data)
}

pub fn tcp(src: End, dst: End, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Bytes {
    ipv4(TCP, src.0, dst.0, &tcp_body(src.1, dst.1, flags, seq, ack, data))
}

/// An echo request, or the answer.
pub fn echo(src: u32, dst: u32, id: u16, answer: bool) -> Bytes {
    let kind = if answer { 0 } else { 8 };
    ipv4(ICMP, src, dst, &Bytes::EMPTY.put(&[kind, 0, 0, 0]).put(&id.to_be_bytes()).put(&[0, 1]))
}

/// An ICMP error that quotes so much of a packet.
pub fn error(kind: u8, code: u8, src: u32, dst: u32, quoted: &[u8]) -> Bytes {
    ipv4(ICMP, src, dst, &Bytes::EMPTY.put(&[kind, code, 0, 0, 0, 0, 0, 0]).put(quoted))
}

pub fn error6(kind: u8, code: u8, src: u128, dst: u128, quoted: &[u8]) -> Bytes {
    ipv6(ICMPV6, src, dst, &Bytes::EMPTY.put(&[kind, code, 0, 0, 0, 0, 0, 0]).put(quoted))
}

/// A chunk whose body is a multiple of four bytes.
pub fn chunk(kind: u8, body: &[u8]) -> Bytes {
    Bytes::EMPTY.put(&[kind, 0]).put(&(4 + body.len() as u16).to_be_bytes()).put(body)
}

pub fn sctp(src: End, dst: End, tag: u32, chunks: &[u8]) -> Bytes {
    ipv4(SCTP, src.0, dst.0, &ports(src.1, dst.1).put(&tag.to_be_bytes()).put(&[0; 4]).put(chunks))
}
