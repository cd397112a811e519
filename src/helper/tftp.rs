//! TFTP (RFC 1350): the answer to a request comes from another port than the request went to.

use super::{Announce, Announcements, Answer, Class, Heading, Helper, Name, State};
use crate::net::protocol;

/// The helper of TFTP. A read or write request, whichever end it comes from, announces one connection: from the server (any
/// port) to the port that the connection was opened from. Seen with kernel 6.18.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tftp;

const NAME: Name = match Name::new("tftp") {
    Some(name) => name,
    None => Name::NONE,
};

/// One at a time, for five minutes.
const CLASSES: &[Class] = &[Class { name: Name::NONE, max: 1, timeout: 300 }];

/// Opcodes that ask for an answer: RRQ and WRQ (RFC 1350 section 5).
const REQUESTS: [[u8; 2]; 2] = [[0, 1], [0, 2]];

impl Helper for Tftp {
    fn name(&self) -> Name {
        NAME
    }

    fn protocol(&self) -> u8 {
        protocol::UDP
    }

    fn classes(&self) -> &[Class] {
        CLASSES
    }

    fn help(
        &self,
        about: &Heading,
        payload: &[u8],
        _: &mut State,
        announcements: &mut Announcements,
    ) -> Answer {
        if payload.first_chunk().is_some_and(|opcode| REQUESTS.contains(opcode)) {
            let reply = &about.reply;
            announcements.push(Announce {
                protocol: protocol::UDP,
                from: Some(reply.src),
                to: reply.dst,
                port: reply.dport,
                class: 0,
            });
        }
        Answer::Pass
    }
}
