//! The SCTP tracker: a pure state machine. A first packet goes to [`open`], a further one to [`step`].
//!
//! The transitions were recorded from a live kernel (`table.rs`), and so were the rules of the verification tags (RFC 9260
//! section 8.5), in the same recording: tests/kernel/sctp_states.txt.

mod table;

use super::{Outcome, Step};
use crate::reason::Reason;
use crate::timeout::Tunables;
use crate::tuple::Direction;
use crate::wire::sctp::{Chunk, Packet};

/// The state of an association, numbered as in the kernel's uapi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// No packet yet.
    #[default]
    None = 0,
    /// INIT seen, or the association is over.
    Closed = 1,
    /// INIT ACK seen.
    CookieWait = 2,
    /// COOKIE ECHO seen.
    CookieEchoed = 3,
    /// COOKIE ACK seen, or the answer to a HEARTBEAT on a path of its own.
    Established = 4,
    /// SHUTDOWN of the end that began.
    ShutdownSent = 5,
    /// SHUTDOWN of the other end.
    ShutdownRecd = 6,
    /// SHUTDOWN ACK seen.
    ShutdownAckSent = 7,
    /// A HEARTBEAT came first: another path of an association that began elsewhere.
    HeartbeatSent = 8,
}

impl State {
    /// How many there are.
    pub const COUNT: usize = 9;
    const ALL: [Self; Self::COUNT] = [
        Self::None,
        Self::Closed,
        Self::CookieWait,
        Self::CookieEchoed,
        Self::Established,
        Self::ShutdownSent,
        Self::ShutdownRecd,
        Self::ShutdownAckSent,
        Self::HeartbeatSent,
    ];

    /// The name, as in `/proc/net/nf_conntrack`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Closed => "CLOSED",
            Self::CookieWait => "COOKIE_WAIT",
            Self::CookieEchoed => "COOKIE_ECHOED",
            Self::Established => "ESTABLISHED",
            Self::ShutdownSent => "SHUTDOWN_SENT",
            Self::ShutdownRecd => "SHUTDOWN_RECD",
            Self::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            Self::HeartbeatSent => "HEARTBEAT_SENT",
        }
    }

    /// The state with this number.
    #[inline]
    pub const fn from_u8(number: u8) -> Option<Self> {
        if (number as usize) < Self::COUNT { Some(Self::ALL[number as usize]) } else { None }
    }

    /// The seconds an association may stay in this state unheard of.
    #[inline]
    pub const fn timeout(self, tunables: &Tunables) -> u32 {
        match self {
            Self::None | Self::Closed => tunables.sctp_timeout_closed,
            Self::CookieWait => tunables.sctp_timeout_cookie_wait,
            Self::CookieEchoed => tunables.sctp_timeout_cookie_echoed,
            Self::Established => tunables.sctp_timeout_established,
            Self::ShutdownSent => tunables.sctp_timeout_shutdown_sent,
            Self::ShutdownRecd => tunables.sctp_timeout_shutdown_recd,
            Self::ShutdownAckSent => tunables.sctp_timeout_shutdown_ack_sent,
            Self::HeartbeatSent => tunables.sctp_timeout_heartbeat_sent,
        }
    }
}

/// What the tracker remembers of an association besides its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The verification tags that packets of either direction ([`Direction`]) must have; 0: not known.
    pub tags: [u32; 2],
    /// The ends, by the direction they send in, whose INIT has told a new tag, until a COOKIE ACK.
    pub init: [bool; 2],
    /// Which way a HEARTBEAT with another tag went, until one with the right tag or an answer.
    pub odd_heartbeat: Option<Direction>,
}

impl Record {
    pub(crate) fn pack(self) -> [u64; 7] {
        let [a, b] = self.tags.map(u64::from);
        let [init, init_back] = self.init.map(u64::from);
        let odd = self.odd_heartbeat.map_or(0, |direction| 2 | direction as u64);
        [a | b << 32, init | init_back << 1 | odd << 2, 0, 0, 0, 0, 0]
    }

    pub(crate) fn unpack(words: &[u64; 7]) -> Self {
        let odd_heartbeat = match words[1] >> 2 & 3 {
            2 => Some(Direction::Original),
            3 => Some(Direction::Reply),
            _ => None,
        };
        Self {
            tags: [words[0] as u32, (words[0] >> 32) as u32],
            init: [words[1] & 1 != 0, words[1] & 2 != 0],
            odd_heartbeat,
        }
    }
}

/// Judges the first packet of an association: the record and the step to begin with, or why it is INVALID.
pub fn open(packet: &Packet, tunables: &Tunables) -> Result<(Record, Step), Reason> {
    sound(packet)?;
    // Each of its chunks must be one that can be the first.
    let opens = |chunk| table::next(State::None, Direction::Original, chunk).is_some();
    if packet.has_others() || !packet.acting().all(opens) {
        return Err(Reason::SctpNotOpening);
    }
    let mut record = Record::default();
    let [here, there] = [Direction::Original, Direction::Reply].map(|direction| direction as usize);
    for chunk in packet.acting() {
        match chunk {
            Chunk::Init => {
                record.tags[there] = packet.init_tag().ok_or(Reason::SctpChunks)?;
                record.init[here] = true;
            }
            Chunk::Heartbeat => record.tags[here] = packet.vtag,
            // Of an association that was not seen: the answer will carry the tag back (section 8.4, rule 5).
            Chunk::ShutdownAck => record.tags[there] = packet.vtag,
            _ => {}
        }
    }
    let step = step(&mut record, State::None, Direction::Original, false, packet, tunables);
    match step.outcome {
        Outcome::Invalid => Err(step.reason),
        _ => Ok((record, step)),
    }
}

/// Judges a further packet. Whatever the outcome, `record` is to be kept, and the state too (and ASSURED): what a packet's
/// first chunks have changed stays, though a later one makes it INVALID. `liberal`: an update was skipped, so tags are not judged.
#[inline]
pub fn step(
    record: &mut Record,
    state: State,
    direction: Direction,
    liberal: bool,
    packet: &Packet,
    tunables: &Tunables,
) -> Step {
    let mut at = At { state, assure: false, ignore: None };
    let judged = chunks(record, &mut at, direction, liberal, packet);
    let state = at.state as u8;
    let step = match (judged, at.ignore) {
        (Err(reason), _) => Step::other(Outcome::Invalid, state, reason, 0),
        (Ok(()), Some(reason)) => Step::other(Outcome::Ignore, state, reason, 0),
        (Ok(()), None) => Step::accept(state, at.state.timeout(tunables)),
    };
    Step { assure: at.assure, ..step }
}

/// How far a packet's chunks have led.
struct At {
    state: State,
    /// ESTABLISHED was entered.
    assure: bool,
    /// Why the packet will be ignored.
    ignore: Option<Reason>,
}

/// Whether a packet's chunks can be judged at all.
fn sound(packet: &Packet) -> Result<(), Reason> {
    if packet.is_broken() {
        return Err(Reason::SctpChunks);
    }
    if packet.has_too_many() { Err(Reason::SctpTooMany) } else { Ok(()) }
}

fn chunks(
    record: &mut Record,
    at: &mut At,
    direction: Direction,
    liberal: bool,
    packet: &Packet,
) -> Result<(), Reason> {
    sound(packet)?;
    let [here, there] = [direction as usize, direction.opposite() as usize];
    let fits = |tag: u32| liberal || tag == packet.vtag;
    let tag_is = |right| if right { Ok(()) } else { Err(Reason::SctpTag) };
    // Where one of these is in a packet, the tag is for it alone to judge, and the others are not asked.
    let own_rule =
        |chunk| !matches!(chunk, Chunk::InitAck | Chunk::Shutdown | Chunk::Error | Chunk::CookieAck);
    tag_is(packet.acting().any(own_rule) || fits(record.tags[here]))?;
    for chunk in packet.acting() {
        match chunk {
            Chunk::Init => tag_is(packet.vtag == 0)?,
            Chunk::Abort | Chunk::ShutdownComplete | Chunk::CookieEcho => tag_is(fits(record.tags[here]))?,
            Chunk::AbortReflected | Chunk::ShutdownCompleteReflected => tag_is(fits(record.tags[there]))?,
            Chunk::Heartbeat if record.tags[here] == 0 => record.tags[here] = packet.vtag,
            Chunk::Heartbeat if !fits(record.tags[here]) => {
                // The sender may have begun a new association that was not seen: if it is answered, so it is.
                tag_is(!packet.has_data() && at.ignore.is_none())?;
                record.odd_heartbeat = Some(direction);
                at.ignore = Some(Reason::SctpHeartbeat);
                continue;
            }
            Chunk::HeartbeatAck if record.tags[here] == 0 => record.tags[here] = packet.vtag,
            Chunk::HeartbeatAck if !fits(record.tags[here]) => {
                let answers = record.odd_heartbeat == Some(direction.opposite());
                tag_is(answers && !packet.has_data())?;
                record.odd_heartbeat = None;
                record.tags[here] = packet.vtag;
                record.tags[there] = 0;
            }
            Chunk::Heartbeat | Chunk::HeartbeatAck => record.odd_heartbeat = None,
            Chunk::InitAck | Chunk::Shutdown | Chunk::ShutdownAck | Chunk::Error | Chunk::CookieAck => {}
        }
        let next = table::next(at.state, direction, chunk).ok_or(Reason::SctpState)?;
        match chunk {
            Chunk::Init => {
                let tag = packet.init_tag().ok_or(Reason::SctpChunks)?;
                // One that repeats what is known of its sender tells nothing.
                if tag != record.tags[there] {
                    if record.init == [true; 2] {
                        record.init[there] = false;
                    }
                    record.init[here] = true;
                    record.tags[there] = tag;
                }
                if at.state == State::Closed && next == State::Closed {
                    at.ignore = Some(Reason::SctpInitAgain);
                }
            }
            Chunk::InitAck => {
                let tag = packet.init_tag().ok_or(Reason::SctpChunks)?;
                let known = record.tags[there];
                // Only the answer to the INIT of the other end tells a new tag, and not where both have sent one.
                let tells = record.init != [true; 2] && (record.init[there] || known == 0);
                if !(known == tag || tells || liberal) {
                    return Err(Reason::SctpInitTag);
                }
                record.tags[there] = tag;
            }
            Chunk::CookieAck => record.init = [false; 2],
            _ => {}
        }
        at.assure |= next == State::Established && at.state != next;
        at.state = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
