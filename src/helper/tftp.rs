//! TFTP (RFC 1350): the answer to a request comes from another port than the request went to.
//!
//! As the kernel was seen to do it (`tests/recorded/tftp-*.json`): a packet that begins with the opcode of a read or write request, whichever
//! end it comes from, announces a connection from the server, any port, to the port that the master was opened from.

use super::{Announce, Heard};
use crate::net::protocol;
use crate::tuple::Tuple;

/// How long a connection is expected, in seconds.
pub const TIMEOUT: u32 = 300;

/// How many connections may be expected of one master at a time.
pub const LIMIT: u32 = 1;

/// Opcodes that ask for an answer: RRQ and WRQ (RFC 1350 section 5).
const REQUESTS: [[u8; 2]; 2] = [[0, 1], [0, 2]];

/// Reads one datagram of a master's. `tuples` are the master's, by direction.
pub fn hear(tuples: &[Tuple; 2], payload: &[u8]) -> Heard {
    let [_, reply] = tuples;
    if !payload.first_chunk().is_some_and(|opcode| REQUESTS.contains(opcode)) {
        return Heard::Nothing;
    }
    let (from, to, port) = (Some(reply.src), reply.dst, reply.dport);
    Heard::Announce(Announce { protocol: protocol::UDP, from, to, port, class: 0 })
}
