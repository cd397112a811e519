//! The transition table, as the kernel answered: tests/kernel/tcp_states.txt, recorded by tests/kernel/tcp_states.py
//! and compared cell by cell in tests/tcp_states.rs. What depends on more than state, direction and kind is in
//! `special.rs`.

use super::State;
use super::kind::Kind;
use crate::tuple::Direction;

/// What the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Go on to this state, if the window allows.
    To(State),
    /// Let the segment through, change nothing: the other end will set things right.
    Ignore,
    /// No such segment can occur here.
    Invalid,
}

const SS: Next = Next::To(State::SynSent);
const S2: Next = Next::To(State::SynSent2);
const SR: Next = Next::To(State::SynRecv);
const ES: Next = Next::To(State::Established);
const FW: Next = Next::To(State::FinWait);
const CW: Next = Next::To(State::CloseWait);
const LA: Next = Next::To(State::LastAck);
const TW: Next = Next::To(State::TimeWait);
const CL: Next = Next::To(State::Close);
const IG: Next = Next::Ignore;
const IV: Next = Next::Invalid;

/// By direction, kind and state. SYN in TIME_WAIT or CLOSE says SYN_SENT: another connection begins.
#[rustfmt::skip]
static TABLE: [[[Next; State::COUNT]; 5]; 2] = [
    [   // original
        //       NO  SS  SR  ES  FW  CW  LA  TW  CL  S2
        /* SYN */ [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2],
        /* S/A */ [IV, IV, SR, IV, IV, IV, IV, IV, IV, SR],
        /* FIN */ [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
        /* ACK */ [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV],
        /* RST */ [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
    ],
    [   // reply; a first packet is never a reply
        //       NO  SS  SR  ES  FW  CW  LA  TW  CL  S2
        /* SYN */ [IV, S2, IV, IV, IV, IV, IV, SS, IV, S2],
        /* S/A */ [IV, SR, IG, IG, IG, IG, IG, IG, IG, SR],
        /* FIN */ [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
        /* ACK */ [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG],
        /* RST */ [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
    ],
];

/// Where a segment of this kind leads.
#[inline]
pub(super) fn next(state: State, direction: Direction, kind: Kind) -> Next {
    TABLE[direction as usize][kind as usize][state as usize]
}
