//! The bench's traffic: which flow has which tuple, and its segments, written over a template.

use conntab::tuple::{L3, Tuple, addr, protocol};
use std::net::{IpAddr, Ipv4Addr};

/// Bytes kept of a packet: a cache line, as one finds it in a NIC's ring.
pub const SLOT: usize = 64;

/// A packet's bytes.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Slot {
    pub bytes: [u8; SLOT],
    /// How many of them are its headers.
    pub headers: u8,
    /// Length on the wire.
    pub wire: u32,
}

impl Slot {
    pub const EMPTY: Self = Self { bytes: [0; SLOT], headers: 0, wire: 0 };
}

/// Payload of a data segment.
const DATA: u32 = 100;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const PSH: u8 = 0x08;

/// What a Linux host puts into a SYN: MSS 1460, SACK permitted, timestamps, window scale 7.
const SYN_OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
/// And into every later segment: timestamps.
const OPTIONS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1];

/// Client and server of flow `id`: no two of 2^32 flows have the same client address and port.
struct Ends {
    client: [u8; 4],
    server: [u8; 4],
    client_port: u16,
    server_port: u16,
}

fn ends(id: u32) -> Ends {
    // An odd factor permutes the numbers; neighbours get addresses far apart.
    let mixed = id.wrapping_mul(0x9e37_79b1);
    let far = (u64::from(id).wrapping_mul(0xd1b5_4a32_d192_ed03) >> 47) as u32;
    Ends {
        client: (0x0a00_0000 | mixed & 0x00ff_ffff).to_be_bytes(),
        server: (0xc612_0000 | far).to_be_bytes(),
        client_port: 1024 + (mixed >> 24) as u16,
        server_port: 443,
    }
}

/// The tuple of flow `id`, as its client's packets carry it or (`reply`) its server's.
pub fn tuple(id: u32, reply: bool) -> Tuple {
    let Ends { client, server, client_port, server_port } = ends(id);
    let ip = |octets: [u8; 4]| addr(IpAddr::V4(Ipv4Addr::from(octets)));
    let tuple = |src, dst, sport, dport| Tuple { src, dst, sport, dport, l4: protocol::TCP, l3: L3::V4 };
    if reply {
        tuple(ip(server), ip(client), server_port, client_port)
    } else {
        tuple(ip(client), ip(server), client_port, server_port)
    }
}

fn segment(slot: &mut Slot, id: u32, reply: bool, flags: u8, seq: u32, ack: u32, payload: u32) {
    let options: &[u8] = if flags & SYN != 0 { &SYN_OPTIONS } else { &OPTIONS };
    let headers = 40 + options.len();
    let Ends { client, server, client_port, server_port } = ends(id);
    let (src, dst, sport, dport) = if reply {
        (server, client, server_port, client_port)
    } else {
        (client, server, client_port, server_port)
    };
    let wire = headers as u32 + payload;
    let b = &mut slot.bytes;
    b[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    b[2..4].copy_from_slice(&(wire as u16).to_be_bytes());
    b[12..16].copy_from_slice(&src);
    b[16..20].copy_from_slice(&dst);
    b[20..22].copy_from_slice(&sport.to_be_bytes());
    b[22..24].copy_from_slice(&dport.to_be_bytes());
    b[24..28].copy_from_slice(&seq.to_be_bytes());
    b[28..32].copy_from_slice(&ack.to_be_bytes());
    b[32] = ((headers - 20) as u8 / 4) << 4;
    b[33] = flags;
    b[34..36].copy_from_slice(&0xff00_u16.to_be_bytes());
    b[36..40].fill(0);
    b[40..headers].copy_from_slice(options);
    slot.headers = headers as u8;
    slot.wire = wire;
}

/// Initial sequence numbers of flow `id`, the client's and the server's.
fn isn(id: u32) -> (u32, u32) {
    (id, !id)
}

/// The SYN that opens flow `id`.
pub fn syn(slot: &mut Slot, id: u32) {
    segment(slot, id, false, SYN, isn(id).0, 0, 0);
}

/// The SYN/ACK that answers it.
pub fn syn_ack(slot: &mut Slot, id: u32) {
    let (client, server) = isn(id);
    segment(slot, id, true, SYN | ACK, server, client.wrapping_add(1), 0);
}

/// The ACK that completes the handshake.
pub fn ack(slot: &mut Slot, id: u32) {
    let (client, server) = isn(id);
    segment(slot, id, false, ACK, client.wrapping_add(1), server.wrapping_add(1), 0);
}

/// Segment `n` after the handshake: the client sends data, then the server acknowledges it, and so on.
pub fn established(slot: &mut Slot, id: u32, n: u32) {
    let (client, server) = isn(id);
    let server = server.wrapping_add(1);
    let sent = client.wrapping_add(1).wrapping_add((n / 2).wrapping_mul(DATA));
    if n.is_multiple_of(2) {
        segment(slot, id, false, ACK | PSH, sent, server, DATA);
    } else {
        segment(slot, id, true, ACK, server, sent.wrapping_add(DATA), 0);
    }
}
