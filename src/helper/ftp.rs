//! FTP: `PORT` (RFC 959) and `EPRT` (RFC 2428) from the client, their answers 227 and 229 from the server.
//!
//! What counts, to the last oddity, is what the kernel was seen to do (`tests/recorded/ftp-*.json`,
//! `tests/kernel/helpers.py`):
//!
//! - A command is heard only at the very start of a segment, and only where the same end's data is known to begin a line: behind one of
//!   the two furthest segments so far that ended in a newline. So an end's first line is never heard.
//! - A segment that begins like a command and cannot be read to its end is dropped, be it cut or wrong.
//! - `PORT`, `EPRT`: in letters of either case, then anything up to a blank. `227 `: anything up to a digit. `229 `: anything up
//!   to a `(`.
//! - Numbers are taken modulo 2^32, none at all is 0, and the parts of an address or of `PORT`'s and 227's port are shifted and ored.
//! - An address that is not the sender's own: nothing is announced. (Over IPv6, `PORT` and 227 are compared with its first four bytes.)

use super::inet6;
use super::{Announce, Heard};
use crate::net::{Addr, L3, protocol};
use crate::tuple::{Direction, Tuple};

/// How long a connection is expected, in seconds.
pub const TIMEOUT: u32 = 300;

/// How many connections may be expected of one master at a time.
pub const LIMIT: u32 = 1;

/// Where lines begin, as far as known: a word for each direction, which holds two sequence numbers, and one that counts them, four
/// bits for each direction. All 0 when the master begins.
pub type State = [u64; 3];

/// Reads one segment of a master's.
///
/// To be asked of TCP segments with payload of connections that were established before (their verdict is ESTABLISHED) as they leave; retransmissions
/// too. `tuples` are the master's, by direction; `seq` is of the payload's first byte.
pub fn hear(state: &mut State, direction: Direction, tuples: &[Tuple; 2], seq: u32, payload: &[u8]) -> Heard {
    let mut lines = Lines::load(state, direction);
    let [original, reply] = tuples;
    let (this, back) = match direction {
        Direction::Original => (original, reply),
        Direction::Reply => (reply, original),
    };
    let heard = if lines.begin_at(seq) { read(direction, this, back, payload) } else { Heard::Nothing };
    if heard != Heard::Drop && payload.last() == Some(&b'\n') {
        lines.end_at(seq.wrapping_add(payload.len() as u32));
        lines.store(state, direction);
    }
    heard
}

/// Where lines of one direction begin: none, one or two positions.
#[derive(Clone, Copy)]
struct Lines {
    count: u8,
    at: [u32; 2],
}

impl Lines {
    fn load(&[original, reply, counts]: &State, direction: Direction) -> Self {
        let (word, count) = match direction {
            Direction::Original => (original, counts & 3),
            Direction::Reply => (reply, counts >> 4 & 3),
        };
        Self { count: count as u8, at: [word as u32, (word >> 32) as u32] }
    }

    fn store(self, [original, reply, counts]: &mut State, direction: Direction) {
        let word = u64::from(self.at[0]) | u64::from(self.at[1]) << 32;
        match direction {
            Direction::Original => (*original, *counts) = (word, *counts & !3 | u64::from(self.count)),
            Direction::Reply => (*reply, *counts) = (word, *counts & !0x30 | u64::from(self.count) << 4),
        }
    }

    fn begin_at(self, seq: u32) -> bool {
        let [first, second] = self.at;
        self.count > 0 && first == seq || self.count > 1 && second == seq
    }

    /// A line ended before `seq`. The two furthest are kept.
    fn end_at(&mut self, seq: u32) {
        let after = |a: u32, b: u32| (a.wrapping_sub(b) as i32) > 0;
        if self.begin_at(seq) {
            return;
        }
        let [first, second] = &mut self.at;
        match self.count {
            0 => (self.count, *first) = (1, seq),
            1 => (self.count, *second) = (2, seq),
            _ => {
                let older = if after(*second, *first) { first } else { second };
                if after(seq, *older) {
                    *older = seq;
                }
            }
        }
    }
}

/// A command at the start of a line.
fn read(direction: Direction, this: &Tuple, back: &Tuple, payload: &[u8]) -> Heard {
    type Reader = fn(&[u8], &Tuple) -> Option<(bool, u16)>;
    let commands: [(&[u8; 4], Reader); 2] = match direction {
        Direction::Original => [(b"PORT", port), (b"EPRT", eprt)],
        Direction::Reply => [(b"227 ", pasv), (b"229 ", epsv)],
    };
    for (word, reader) in commands {
        let there = payload.get(..4).unwrap_or(payload);
        if there.is_empty() || !word.get(..there.len()).is_some_and(|word| word.eq_ignore_ascii_case(there)) {
            continue;
        }
        return match reader(payload.get(4..).unwrap_or(&[]), this) {
            None => Heard::Drop,
            Some((false, _)) => Heard::Nothing,
            // Where the sender is seen from the other side: the same address, unless it is translated.
            Some((true, port)) => Heard::Announce(Announce {
                protocol: protocol::TCP,
                from: Some(back.src),
                to: back.dst,
                port,
                class: 0,
            }),
        };
    }
    Heard::Nothing
}

/// `PORT h,h,h,h,p,p`: whether it is the sender's own address, and the port.
fn port(text: &[u8], sender: &Tuple) -> Option<(bool, u16)> {
    let ([a, b, c, d, high, low], end) = numbers(behind(text, b' ')?, b',')?;
    (*end.first()? == b'\r')
        .then(|| (quad([a, b, c, d]) == first_word(&sender.src), (high << 8 | low) as u16))
}

/// `227 text h,h,h,h,p,p` and whatever is no digit.
fn pasv(text: &[u8], sender: &Tuple) -> Option<(bool, u16)> {
    let digit = text.iter().position(u8::is_ascii_digit)?;
    let ([a, b, c, d, high, low], _) = numbers(text.get(digit..)?, b',')?;
    Some((quad([a, b, c, d]) == first_word(&sender.src), (high << 8 | low) as u16))
}

/// `EPRT |1|h.h.h.h|port|`, `EPRT |2|h::h|port|`, the family being the master's, with any delimiter.
fn eprt(text: &[u8], sender: &Tuple) -> Option<(bool, u16)> {
    let [delimiter, family, second, rest @ ..] = behind(text, b' ')? else { return None };
    if !is_delimiter(*delimiter) || second != delimiter {
        return None;
    }
    let (own, rest) = match (sender.l3, family) {
        (L3::V4, b'1') => {
            let (parts, end) = numbers(rest, b'.')?;
            (quad(parts) == first_word(&sender.src), end.strip_prefix(&[*delimiter])?)
        }
        (L3::V6, b'2') => {
            let (address, rest) = inet6::read(rest, *delimiter)?;
            (address == sender.src, rest)
        }
        _ => return None,
    };
    Some((own, extended_port(rest, *delimiter)?))
}

/// `229 text (|||port|`, with any delimiter.
fn epsv(text: &[u8], _: &Tuple) -> Option<(bool, u16)> {
    let [delimiter, second, third, rest @ ..] = behind(text, b'(')? else { return None };
    let right = is_delimiter(*delimiter) && second == delimiter && third == delimiter;
    Some((true, extended_port(right.then_some(rest)?, *delimiter)?))
}

/// RFC 2428 section 2: printable, and no digit.
const fn is_delimiter(byte: u8) -> bool {
    byte.is_ascii_graphic() && !byte.is_ascii_digit()
}

/// The port in front of a delimiter, which has to be there; not 0.
fn extended_port(text: &[u8], delimiter: u8) -> Option<u16> {
    let mut port = 0u16;
    for byte in text {
        match byte {
            b'0'..=b'9' => port = port.wrapping_mul(10).wrapping_add(u16::from(byte - b'0')),
            end => return (*end == delimiter && port != 0).then_some(port),
        }
    }
    None
}

/// `N` numbers, one separator between any two, and what comes then: it begins with neither a digit nor a separator, and is not
/// empty (more of the last number might follow).
fn numbers<const N: usize>(text: &[u8], separator: u8) -> Option<([u32; N], &[u8])> {
    let mut all = [0u32; N];
    let mut at = 0;
    for (place, byte) in text.iter().enumerate() {
        let number = all.get_mut(at)?;
        match byte {
            b'0'..=b'9' => *number = number.wrapping_mul(10).wrapping_add(u32::from(byte - b'0')),
            separating if *separating == separator => at += 1,
            _ => return (at + 1 == N).then(|| (all, text.get(place..).unwrap_or(&[]))),
        }
    }
    None
}

fn quad([a, b, c, d]: [u32; 4]) -> u32 {
    a << 24 | b << 16 | c << 8 | d
}

fn first_word(&[a, b, c, d, ..]: &Addr) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

/// What stands behind the first such byte.
fn behind(text: &[u8], byte: u8) -> Option<&[u8]> {
    let at = text.iter().position(|b| *b == byte)?;
    text.get(at + 1..)
}
