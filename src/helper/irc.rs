//! IRC: the DCC offers of a client (RFC 2812 section 3.3.1; DCC has no RFC), `PRIVMSG bob :^ADCC SEND file address port size^A`.
//!
//! As the kernel was seen to do it (`tests/recorded/irc-*.json`):
//!
//! - Heard is an original packet that begins with `PRIVMSG ` (either case), blanks and line ends apart, wherever its line began: the offer right
//!   behind the first blank with a colon; if it is of an unknown kind, the one behind the next, and so on. One offer at most is heard. What
//!   is cut is not waited for, and nothing is dropped.
//! - The name is one word, the address a number in decimal (modulo 2^32), as is the port; it is not 0. A line must end somewhere behind.
//! - An address that is not the sender's own: nothing is announced. Anyone may come.
//! - Nothing is heard over IPv6.

use super::{Announce, Heard};
use crate::net::{L3, protocol};
use crate::tuple::{Direction, Tuple};

/// How long a connection is expected, in seconds.
pub const TIMEOUT: u32 = 300;

/// How many connections may be expected of one master at a time.
pub const LIMIT: u32 = 8;

/// What an offer takes at least, from its first byte to the packet's end.
const SHORTEST: usize = 25;

/// Reads one segment of a master's.
///
/// To be asked of TCP segments with payload of connections that were established before (their verdict is ESTABLISHED) as they leave; retransmissions
/// too. `tuples` are the master's, by direction.
pub fn hear(direction: Direction, tuples: &[Tuple; 2], payload: &[u8]) -> Heard {
    let [original, reply] = tuples;
    if direction != Direction::Original || original.l3 != L3::V4 {
        return Heard::Nothing;
    }
    match offer(payload) {
        Some((address, port)) if original.src.starts_with(&address.to_be_bytes()) => {
            Heard::Announce(Announce { protocol: protocol::TCP, from: None, to: reply.dst, port, class: 0 })
        }
        _ => Heard::Nothing,
    }
}

/// Address and port of the offer that a packet begins with.
fn offer(payload: &[u8]) -> Option<(u32, u16)> {
    let begin = payload.iter().position(|byte| !matches!(byte, b' ' | b'\r' | b'\n'))?;
    let (command, rest) = payload.get(begin..)?.split_first_chunk::<8>()?;
    if !command.eq_ignore_ascii_case(b"PRIVMSG ") {
        return None;
    }
    let mut message = rest;
    let rest = loop {
        let text = message.windows(2).position(|pair| pair == b" :")?;
        let offer = message.get(text + 2..).filter(|offer| offer.len() >= SHORTEST)?;
        let offer = offer.strip_prefix(b"\x01DCC ")?;
        let kinds: [&[u8]; 5] = [b"SEND ", b"CHAT ", b"MOVE ", b"TSEND ", b"SCHAT "];
        match kinds.into_iter().find_map(|kind| offer.strip_prefix(kind)) {
            Some(rest) => break rest,
            None => message = offer,
        }
    };
    let name = rest.iter().position(|byte| *byte == b' ')?;
    let (address, rest) = number(rest.get(name + 1..)?)?;
    let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
    let (port, rest) = number(rest.get(blanks..).filter(|_| blanks > 0)?)?;
    let port = port as u16;
    (port != 0 && rest.contains(&b'\n')).then_some((address, port))
}

/// A number, modulo 2^32, and what stands behind it.
fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at_checked(digits).filter(|(digits, _)| !digits.is_empty())?;
    let add = |sum: u32, byte: &u8| sum.wrapping_mul(10).wrapping_add(u32::from(byte - b'0'));
    Some((digits.iter().fold(0, add), rest))
}
