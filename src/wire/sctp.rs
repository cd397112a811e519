//! SCTP: the common header and the list of chunks (RFC 9260 section 3).

use super::transport::ports;
use super::{header, up_to};
use crate::reason::Reason;

/// The chunks that a tracker acts upon; all others it only lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Chunk {
    /// INIT.
    Init = 1,
    /// INIT ACK.
    InitAck = 2,
    /// ABORT.
    Abort = 3,
    /// SHUTDOWN.
    Shutdown = 4,
    /// SHUTDOWN ACK.
    ShutdownAck = 5,
    /// ERROR.
    Error = 6,
    /// COOKIE ECHO.
    CookieEcho = 7,
    /// COOKIE ACK.
    CookieAck = 8,
    /// SHUTDOWN COMPLETE.
    ShutdownComplete = 9,
    /// HEARTBEAT.
    Heartbeat = 10,
    /// HEARTBEAT ACK.
    HeartbeatAck = 11,
    /// ABORT with the T bit: its verification tag is the one that the sender expects (section 8.5.1).
    AbortReflected = 12,
    /// SHUTDOWN COMPLETE with the T bit.
    ShutdownCompleteReflected = 13,
}

impl Chunk {
    const ALL: [Self; 13] = [
        Self::Init,
        Self::InitAck,
        Self::Abort,
        Self::Shutdown,
        Self::ShutdownAck,
        Self::Error,
        Self::CookieEcho,
        Self::CookieAck,
        Self::ShutdownComplete,
        Self::Heartbeat,
        Self::HeartbeatAck,
        Self::AbortReflected,
        Self::ShutdownCompleteReflected,
    ];

    /// The chunk with this type and these flags; `None`: a tracker need not know.
    const fn of(kind: u8, flags: u8) -> Option<Self> {
        const T: u8 = 1;
        Some(match (kind, flags & T) {
            (1, _) => Self::Init,
            (2, _) => Self::InitAck,
            (4, _) => Self::Heartbeat,
            (5, _) => Self::HeartbeatAck,
            (6, 0) => Self::Abort,
            (6, _) => Self::AbortReflected,
            (7, _) => Self::Shutdown,
            (8, _) => Self::ShutdownAck,
            (9, _) => Self::Error,
            (10, _) => Self::CookieEcho,
            (11, _) => Self::CookieAck,
            (14, 0) => Self::ShutdownComplete,
            (14, _) => Self::ShutdownCompleteReflected,
            _ => return None,
        })
    }
}

/// What a tracker needs of an SCTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Verification tag.
    pub vtag: u32,
    /// Initiate tag of INIT or INIT ACK; else, or where the chunk is cut short, 0.
    init_tag: u32,
    /// The chunks to act upon, in order: four bits each, the first one lowest; 0 ends them.
    acting: [u8; 8],
    /// How many they are.
    count: u8,
    /// `DATA` and so on.
    what: u8,
}

/// There is a DATA chunk.
const DATA: u8 = 1;
/// There is another chunk that is not acted upon.
const OTHER: u8 = 2;
/// The initiate tag is there.
const INIT_TAG: u8 = 4;
/// The list of chunks is broken.
const BROKEN: u8 = 8;
/// There are more chunks to act upon than fit.
const TOO_MANY: u8 = 16;

impl Packet {
    /// The most chunks of one packet that are acted upon. Of equal ones in a row two count: a third changes nothing more. (Real
    /// packets carry three; the kernel knows no bound.)
    pub const MAX_ACTING: usize = 16;

    /// A packet without chunks.
    pub const fn new(sport: u16, dport: u16, vtag: u32) -> Self {
        Self { sport, dport, vtag, init_tag: 0, acting: [0; 8], count: 0, what: 0 }
    }

    /// This packet with the chunks in `bytes`: what was captured of `len` bytes.
    ///
    /// # Errors
    /// [`Reason::NotCaptured`] where the header of a chunk was on the wire and not captured; behind DATA, which is the last of a
    /// bundle (section 6.10), that does no harm.
    pub fn with_chunks(mut self, bytes: &[u8], len: usize) -> Result<Self, Reason> {
        let mut at = 0;
        let mut first = true;
        // INIT, INIT ACK and SHUTDOWN COMPLETE have no company (section 4.1).
        let mut alone = false;
        // Each round takes at least four bytes of at most 65,535.
        while at + 4 <= len {
            let Some(&[kind, flags, a, b]) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
                return if self.what & DATA != 0 { Ok(self) } else { Err(Reason::NotCaptured) };
            };
            let chunk = Chunk::of(kind, flags);
            let is = |these: &[Chunk]| chunk.is_some_and(|chunk| these.contains(&chunk));
            alone |=
                is(&[Chunk::Init, Chunk::InitAck, Chunk::ShutdownComplete, Chunk::ShutdownCompleteReflected]);
            let leads = is(&[Chunk::CookieEcho, Chunk::CookieAck]);
            let length = usize::from(u16::from_be_bytes([a, b]));
            if length == 0 || !first && (alone || leads) {
                self.what |= BROKEN;
                return Ok(self);
            }
            if is(&[Chunk::Init, Chunk::InitAck]) && at + 20 <= len {
                // Whatever its own length says.
                let tag =
                    bytes.get(at + 4..).and_then(|rest| rest.first_chunk()).ok_or(Reason::NotCaptured)?;
                self.init_tag = u32::from_be_bytes(*tag);
                self.what |= INIT_TAG;
            }
            match chunk {
                Some(chunk) => self.push(chunk),
                None if kind == 0 => self.what |= DATA,
                None => self.what |= OTHER,
            }
            // A length below that of the chunk's own header is rounded up like others, one beyond the packet ends it.
            at += length.next_multiple_of(4);
            first = false;
        }
        if first {
            self.what |= BROKEN;
        }
        Ok(self)
    }

    fn push(&mut self, chunk: Chunk) {
        let count = usize::from(self.count);
        let is = |at: Option<usize>| at.and_then(|at| self.at(at)) == Some(chunk);
        if is(count.checked_sub(1)) && is(count.checked_sub(2)) {
            return;
        }
        match self.acting.get_mut(count / 2) {
            Some(pair) => {
                *pair |= (chunk as u8) << (count % 2 * 4);
                self.count += 1;
            }
            None => self.what |= TOO_MANY,
        }
    }

    fn at(&self, at: usize) -> Option<Chunk> {
        let number = self.acting.get(at / 2)? >> (at % 2 * 4) & 0xf;
        Chunk::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The chunks to act upon, in order.
    #[inline]
    pub fn acting(&self) -> impl Iterator<Item = Chunk> + '_ {
        (0..usize::from(self.count)).map_while(|at| self.at(at))
    }

    /// The initiate tag of INIT or INIT ACK, if all of that chunk's fixed part is there.
    #[inline]
    pub const fn init_tag(&self) -> Option<u32> {
        if self.what & INIT_TAG != 0 { Some(self.init_tag) } else { None }
    }

    /// There is a DATA chunk.
    #[inline]
    pub const fn has_data(&self) -> bool {
        self.what & DATA != 0
    }

    /// There are chunks that are not acted upon, DATA among them.
    #[inline]
    pub const fn has_others(&self) -> bool {
        self.what & (DATA | OTHER) != 0
    }

    /// The list of chunks is broken: there is none, one has length 0, one that must be alone is not, or a COOKIE ECHO or COOKIE
    /// ACK is not the first.
    #[inline]
    pub const fn is_broken(&self) -> bool {
        self.what & BROKEN != 0
    }

    /// There are more chunks to act upon than [`Packet::MAX_ACTING`].
    #[inline]
    pub const fn has_too_many(&self) -> bool {
        self.what & TOO_MANY != 0
    }
}

/// Reads a packet, of which `captured` holds what there is of its `len` bytes by the IP header.
pub(super) fn packet(captured: &[u8], len: usize) -> Result<Packet, Reason> {
    let h = header::<12>(captured, len, Reason::L4Truncated)?;
    let (sport, dport) = ports(&[h[0], h[1], h[2], h[3]]);
    let vtag = u32::from_be_bytes([h[4], h[5], h[6], h[7]]);
    Packet::new(sport, dport, vtag).with_chunks(up_to(captured, len).get(12..).unwrap_or(&[]), len - 12)
}
