//! A packet's new addresses, and checksums that are as right as they were.

use std::collections::HashMap;

use conntab::tuple::{Addr, L3};
use conntab::wire::{self, L4};

/// Payload of the pieces of a segment that is too long.
const PIECE: usize = 1400;

/// A packet as it was sent.
pub struct Repaired {
    pub bytes: Vec<u8>,
    /// It was at the end of its way.
    pub prolonged: bool,
    /// Its checksum had been left to a card.
    pub completed: bool,
    /// It had not been captured whole.
    pub filled: bool,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// One's complement sum (RFC 1071).
fn sum(bytes: &[u8]) -> u32 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut sum: u32 = pairs.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    sum += rest.first().map_or(0, |last| u32::from(*last) << 8);
    fold(sum).into()
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn is_v4(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| first >> 4 == 4)
}

/// Where the addresses are: the source's place, and the length of one.
fn addresses(bytes: &[u8]) -> (usize, usize) {
    if is_v4(bytes) { (12, 4) } else { (8, 16) }
}

/// A checksum of a transport header.
struct Sealed {
    /// Where the header begins, and how long it is with what follows.
    begin: usize,
    len: usize,
    protocol: u8,
    /// Where the checksum is.
    at: usize,
    /// Whether it covers the addresses.
    pseudo: bool,
}

impl Sealed {
    /// Of a packet whose transport header is there; a first fragment has one.
    fn of(bytes: &[u8]) -> Option<Self> {
        let headers = wire::parse(bytes, bytes.len() as u32).ok()?;
        let begin = usize::from(headers.l4_offset);
        if matches!(headers.l4, L4::Fragment) {
            let first = match headers.l3 {
                L3::V4 => u16_at(bytes, 6) & 0x1fff == 0,
                // The fragment header is the last before it.
                L3::V6 => u16_at(bytes, begin.checked_sub(6)?) & 0xfff8 == 0,
            };
            if !first {
                return None;
            }
        }
        let (at, pseudo) = match headers.protocol {
            1 if headers.l3 == L3::V4 => (2, false),
            58 if headers.l3 == L3::V6 => (2, true),
            6 => (16, true),
            17 | 136 => (6, true),
            _ => return None,
        };
        let len = usize::from(headers.l4_len).min(bytes.len().checked_sub(begin)?);
        // UDP without a checksum keeps none.
        let none = matches!(headers.protocol, 17) && u16_at(bytes, begin + at) == 0;
        (len >= at + 2 && !none).then_some(Self {
            begin,
            len,
            protocol: headers.protocol,
            at: begin + at,
            pseudo,
        })
    }

    /// The sum of what the checksum covers besides the message.
    fn pseudo(&self, bytes: &[u8]) -> u32 {
        let (at, len) = addresses(bytes);
        let both = sum(&bytes[at..at + 2 * len]);
        if self.pseudo { both + u32::from(self.protocol) + self.len as u32 } else { 0 }
    }

    /// The checksum that is right.
    fn right(&self, bytes: &[u8]) -> u16 {
        let message = sum(&bytes[self.begin..self.begin + self.len]);
        let without = message + u32::from(!u16_at(bytes, self.at));
        match !fold(self.pseudo(bytes) + without) {
            0 if self.protocol == 17 => 0xffff,
            right => right,
        }
    }
}

/// The packet that was on the wire, `on_wire` bytes long with padding. `None`: its IP header is not whole.
pub fn whole(captured: &[u8], on_wire: usize) -> Option<Repaired> {
    let claimed = match captured.first()? >> 4 {
        4 if captured.len() >= 20 => match usize::from(u16_at(captured, 2)) {
            // Left to a card, too.
            0 => on_wire,
            total => total,
        },
        6 if captured.len() >= 40 => match usize::from(u16_at(captured, 4)) {
            0 => on_wire,
            payload => payload + 40,
        },
        _ => return None,
    };
    // What claims more than was sent goes on doing so.
    let len = claimed.min(on_wire.max(captured.len()));
    let mut bytes = captured[..len.min(captured.len())].to_vec();
    let filled = bytes.len() < len;
    bytes.resize(len, 0);
    if is_v4(&bytes) && u16_at(&bytes, 2) == 0 {
        put(&mut bytes, 2, u16::try_from(len).ok()?);
        let header = usize::from(bytes[0] & 15) * 4;
        put(&mut bytes, 10, 0);
        let check = !fold(sum(bytes.get(..header)?));
        put(&mut bytes, 10, check);
    }
    let mut completed = false;
    if let Some(sealed) = Sealed::of(&bytes) {
        let (there, right) = (u16_at(&bytes, sealed.at), sealed.right(&bytes));
        completed = there != right && sealed.pseudo && there == fold(sealed.pseudo(&bytes));
        if filled || completed {
            put(&mut bytes, sealed.at, right);
        }
    }
    let prolonged = prolong(&mut bytes);
    Some(Repaired { bytes, prolonged, completed, filled })
}

/// A packet that has one hop left, or none, gets two: it is to come through this router, too. Whether it was one.
fn prolong(bytes: &mut [u8]) -> bool {
    let at = if is_v4(bytes) { 8 } else { 7 };
    if bytes[at] > 1 {
        return false;
    }
    let before = u16_at(bytes, at & !1);
    bytes[at] = 2;
    if at == 8 {
        // RFC 1624: HC' = ~(~HC + ~m + m')
        let change = u32::from(!before) + u32::from(u16_at(bytes, 8));
        let check = !fold(u32::from(!u16_at(bytes, 10)) + change);
        put(bytes, 10, check);
    }
    true
}

/// A TCP segment that is too long, in pieces, as a card would send it. `None`: it is something else.
pub fn pieces(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let headers = wire::parse(bytes, bytes.len() as u32).ok()?;
    let L4::Tcp(segment) = headers.l4 else { return None };
    let begin = usize::from(headers.l4_offset);
    let payload_at = bytes.len().checked_sub(segment.payload as usize)?;
    let (head, payload) = bytes.split_at(payload_at);
    let count = payload.len().div_ceil(PIECE);
    let pieces = payload.chunks(PIECE).enumerate().map(|(number, data)| {
        let mut piece = [head, data].concat();
        let len = piece.len();
        let sequence = segment.seq.wrapping_add((number * PIECE) as u32).to_be_bytes();
        piece[begin + 4..begin + 8].copy_from_slice(&sequence);
        if number + 1 < count {
            // FIN and PSH belong to the end.
            piece[begin + 13] &= !0x09;
        }
        if is_v4(&piece) {
            put(&mut piece, 2, len as u16);
            put(&mut piece, 10, 0);
            let header = usize::from(piece[0] & 15) * 4;
            let check = !fold(sum(&piece[..header]));
            put(&mut piece, 10, check);
        } else {
            put(&mut piece, 4, (len - 40) as u16);
        }
        if let Some(sealed) = Sealed::of(&piece) {
            let right = sealed.right(&piece);
            put(&mut piece, sealed.at, right);
        }
        piece
    });
    Some(pieces.collect())
}

/// Which addresses the hosts of one flow have been given.
pub struct Addresses {
    number: usize,
    /// By address, and by port where a host talks with itself: side, and number there.
    given: HashMap<(Addr, u16), (usize, u8)>,
    /// How many there are on either side.
    count: [u8; 2],
}

impl Addresses {
    /// `number`: of the flow in its scenario, so that no two flows share an address.
    pub fn new(number: usize) -> Self {
        Self { number, given: HashMap::new(), count: [0; 2] }
    }

    /// Gives a packet its new addresses; the side it comes in from. Who sends first is on side 0.
    pub fn rewrite(&mut self, bytes: &mut [u8]) -> usize {
        let Ok(headers) = wire::parse(bytes, bytes.len() as u32) else { return 0 };
        let [from, to] = keys(&headers, bytes);
        let side = |key: &(Addr, u16)| self.given.get(key).map(|(side, _)| *side);
        // It comes from where its receiver is not.
        let came = match (side(&to), side(&from)) {
            (Some(there), _) => 1 - there,
            (None, Some(here)) => here,
            (None, None) => 0,
        };
        let old = Sealed::of(bytes).map(|sealed| (sealed.right(bytes), u16_at(bytes, sealed.at)));
        let (at, len) = addresses(bytes);
        self.put(bytes, at, from, came);
        self.put(bytes, at + len, to, 1 - came);
        self.header_sum(bytes, &headers.src, &headers.dst, 0);
        self.quoted(bytes, &headers, came);
        if let (Some(sealed), Some((right, there))) = (Sealed::of(bytes), old) {
            // What was wrong stays as wrong as it was.
            let error = u32::from(there) + u32::from(!right);
            let now = if there == right {
                sealed.right(bytes)
            } else {
                fold(u32::from(sealed.right(bytes)) + error)
            };
            put(bytes, sealed.at, now);
        }
        came
    }

    /// Writes the address that a host was given, or gives it one on this side.
    fn put(&mut self, bytes: &mut [u8], at: usize, key: (Addr, u16), side: usize) {
        let v4 = is_v4(bytes);
        if is_many(&key.0, v4) {
            return;
        }
        let Self { number, given, count } = self;
        let (side, host) = *given.entry(key).or_insert_with(|| {
            count[side] = count[side].wrapping_add(1);
            (side, count[side])
        });
        let number = *number as u8;
        if !v4 && matches!(key.0, [0xfe, 0x80..=0xbf, ..]) {
            // What is said on a link stays there.
            return;
        }
        if v4 {
            bytes[at..at + 4].copy_from_slice(&[10, 1 + side as u8, number, host]);
        } else {
            let mut address = [0; 16];
            address[..4].copy_from_slice(&[0xfd, 0, 0, 1 + side as u8]);
            address[14..].copy_from_slice(&[number, host]);
            bytes[at..at + 16].copy_from_slice(&address);
        }
    }

    /// The checksum of an IPv4 header at `at`, whose addresses were these: as wrong as it was.
    fn header_sum(&self, bytes: &mut [u8], src: &Addr, dst: &Addr, at: usize) {
        if !is_v4(bytes) || bytes.len() < at + 20 {
            return;
        }
        let before = sum(&src[..4]) + sum(&dst[..4]);
        let after = sum(&bytes[at + 12..at + 20]);
        let there = u16_at(bytes, at + 10);
        // RFC 1624: HC' = ~(~HC + ~m + m')
        let now = !fold(u32::from(!there) + u32::from(!fold(before)) + after);
        put(bytes, at + 10, now);
    }

    /// The packet that an ICMP error quotes has the addresses of its flow.
    fn quoted(&mut self, bytes: &mut [u8], headers: &wire::Headers, came: usize) {
        let inner_at = usize::from(headers.l4_offset) + 8;
        let error =
            matches!(headers.l4, L4::Icmp { kind: 3 | 4 | 5 | 11 | 12, .. } | L4::Icmpv6 { kind: 1..=4, .. });
        let Ok(inner) = wire::inner(bytes, headers) else { return };
        if !error {
            return;
        }
        let (at, len) = addresses(bytes);
        if bytes.len() < inner_at + at + 2 * len {
            return;
        }
        let port = |own: bool| match inner.l4 {
            wire::InnerL4::Ports { sport, dport } if inner.src == inner.dst => {
                if own {
                    sport
                } else {
                    dport
                }
            }
            _ => 0,
        };
        // It was sent the other way.
        self.put(bytes, inner_at + at, (inner.src, port(true)), 1 - came);
        self.put(bytes, inner_at + at + len, (inner.dst, port(false)), came);
        self.header_sum(bytes, &inner.src, &inner.dst, inner_at);
    }
}

/// Source and destination, with ports where they are the same host.
fn keys(headers: &wire::Headers, bytes: &[u8]) -> [(Addr, u16); 2] {
    if headers.src != headers.dst {
        return [(headers.src, 0), (headers.dst, 0)];
    }
    let at = usize::from(headers.l4_offset);
    match headers.l4 {
        L4::Tcp(_) | L4::Udp { .. } | L4::UdpLite { .. } | L4::Sctp { .. } => {
            [(headers.src, u16_at(bytes, at)), (headers.dst, u16_at(bytes, at + 2))]
        }
        // Which of the two is asked.
        L4::Icmp { kind, .. } | L4::Icmpv6 { kind, .. } => {
            let asks = matches!(kind, 8 | 13 | 15 | 17 | 128);
            [(headers.src, u16::from(!asks)), (headers.dst, u16::from(asks))]
        }
        _ => [(headers.src, 0), (headers.dst, 1)],
    }
}

/// Whether this is nobody's address, or that of many.
fn is_many(address: &Addr, v4: bool) -> bool {
    match (v4, address) {
        (true, [0, 0, 0, 0, ..] | [224..=255, ..]) | (false, [0xff, ..]) => true,
        (false, address) => address.iter().all(|byte| *byte == 0),
        _ => false,
    }
}
