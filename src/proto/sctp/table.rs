//! The transition table, as the kernel answered: tests/kernel/sctp_states.txt, recorded by tests/kernel/sctp_states.py and
//! compared cell by cell in tests/sctp_states.rs. What depends on more than state, direction and chunk is in `mod.rs`.

use super::State;
use crate::tuple::Direction;
use crate::wire::sctp::Chunk;

const CL: Option<State> = Some(State::Closed);
const CW: Option<State> = Some(State::CookieWait);
const CE: Option<State> = Some(State::CookieEchoed);
const ES: Option<State> = Some(State::Established);
const SS: Option<State> = Some(State::ShutdownSent);
const SR: Option<State> = Some(State::ShutdownRecd);
const SA: Option<State> = Some(State::ShutdownAckSent);
const HS: Option<State> = Some(State::HeartbeatSent);
const IV: Option<State> = None;

/// By direction, chunk and state.
#[rustfmt::skip]
static TABLE: [[[Option<State>; State::COUNT]; 11]; 2] = [
    [   // original
        //                    NO  CL  CW  CE  ES  SS  SR  SA  HS
        /* INIT            */ [CL, CL, CW, CE, ES, CL, CL, SA, CW],
        /* INIT ACK        */ [CL, CL, CW, CE, ES, SS, SR, SA, CL],
        /* ABORT           */ [IV, CL, CL, CL, CL, CL, CL, CL, CL],
        /* SHUTDOWN        */ [CL, CL, CW, CE, SS, SS, SR, SA, CL],
        /* SHUTDOWN ACK    */ [SA, CL, CW, CE, ES, SA, SA, SA, SA],
        /* ERROR           */ [CL, CL, CW, CE, ES, SS, SR, SA, CL],
        /* COOKIE ECHO     */ [CL, CL, CE, CE, ES, SS, SR, SA, CL],
        /* COOKIE ACK      */ [IV, CL, CW, ES, ES, SS, SR, SA, CL],
        /* SHUTDOWN COMPL. */ [IV, CL, CW, CE, ES, SS, SR, CL, CL],
        /* HEARTBEAT       */ [HS, CL, CW, CE, ES, SS, SR, SA, HS],
        /* HEARTBEAT ACK   */ [CL, CL, CW, CE, ES, SS, SR, SA, HS],
    ],
    [   // reply; a first packet is never a reply
        //                    NO  CL  CW  CE  ES  SS  SR  SA  HS
        /* INIT            */ [IV, CL, CW, CE, ES, SS, SR, SA, IV],
        /* INIT ACK        */ [IV, CW, CW, CE, ES, SS, SR, SA, IV],
        /* ABORT           */ [IV, CL, CL, CL, CL, CL, CL, CL, IV],
        /* SHUTDOWN        */ [IV, CL, CW, CE, SR, SS, SR, SA, IV],
        /* SHUTDOWN ACK    */ [IV, CL, CW, CE, ES, SA, SA, SA, IV],
        /* ERROR           */ [IV, CL, CW, CL, ES, SS, SR, SA, IV],
        /* COOKIE ECHO     */ [IV, CL, CE, CE, ES, SS, SR, SA, IV],
        /* COOKIE ACK      */ [IV, CL, CW, ES, ES, SS, SR, SA, IV],
        /* SHUTDOWN COMPL. */ [IV, CL, CW, CE, ES, SS, SR, CL, IV],
        /* HEARTBEAT       */ [IV, CL, CW, CE, ES, SS, SR, SA, HS],
        /* HEARTBEAT ACK   */ [IV, CL, CW, CE, ES, SS, SR, SA, ES],
    ],
];

/// Where a chunk leads; `None`: it cannot occur here.
#[inline]
pub(super) fn next(state: State, direction: Direction, chunk: Chunk) -> Option<State> {
    let row = match chunk {
        Chunk::Init => 0,
        Chunk::InitAck => 1,
        Chunk::Abort | Chunk::AbortReflected => 2,
        Chunk::Shutdown => 3,
        Chunk::ShutdownAck => 4,
        Chunk::Error => 5,
        Chunk::CookieEcho => 6,
        Chunk::CookieAck => 7,
        Chunk::ShutdownComplete | Chunk::ShutdownCompleteReflected => 8,
        Chunk::Heartbeat => 9,
        Chunk::HeartbeatAck => 10,
    };
    TABLE[direction as usize][row][state as usize]
}
