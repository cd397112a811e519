//! Captures as a stream of frames: classic pcap and pcapng, from any reader, in bounded memory.
//!
//! The contents of headers, records and blocks are read by `pcap-parser`. The framing is done here and not by its
//! streaming readers, for three reasons: a capture that is cut short or corrupt shall be used up to the bad byte and
//! that byte named; blocks of no interest, of whatever size, shall be passed over without being held; and the errors of
//! the underlying reader shall not be lost.

mod input;
mod link;
mod pcap;
mod pcapng;

use std::fmt;
use std::io::{self, Read};

pub use link::LinkType;

use input::Input;

/// No record or block that matters is longer than this: libpcap's own bound. A longer one is corruption, and it is what
/// bounds the memory of a reader.
pub const MAX_RECORD: usize = 16 << 20;

/// One captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When it was captured: nanoseconds since the epoch.
    pub time: u64,
    /// What its bytes begin with.
    pub link: LinkType,
    /// The bytes that were captured.
    pub bytes: &'a [u8],
    /// How long it was on the wire.
    pub wire_len: u32,
}

/// Why a capture cannot be read, or cannot be read further.
#[derive(Debug)]
pub enum CaptureError {
    /// There is not a single byte.
    Empty,
    /// It begins like no capture; with a hint, if there is one.
    NotACapture(Option<&'static str>),
    /// It ends within the header, record or block that begins at this offset.
    Truncated {
        /// Where that begins.
        offset: u64,
        /// What it is.
        what: &'static str,
    },
    /// What begins at this offset cannot be.
    Corrupt {
        /// Where that begins.
        offset: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The system failed to read on.
    Read {
        /// How far it got.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// There were packets, so many, and every one was damaged.
    Damaged(u64),
    /// Frames of this link type are not understood.
    LinkType {
        /// Its number in the registry of LINKTYPE_ values.
        number: u32,
        /// pcapng: the interface that has it.
        interface: Option<u32>,
    },
}

impl CaptureError {
    /// Whether the frames up to here are good and only what follows is lost.
    pub fn is_loss_of_rest(&self) -> bool {
        matches!(self, Self::Truncated { .. } | Self::Corrupt { .. } | Self::Read { .. })
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the file is empty"),
            Self::NotACapture(None) => f.write_str("not a capture: neither pcap nor pcapng"),
            Self::NotACapture(Some(hint)) => write!(f, "not a capture: {hint}"),
            Self::Truncated { offset, what } => {
                write!(f, "cut short: the {what} at byte {offset} is incomplete")
            }
            Self::Corrupt { offset, why } => write!(f, "corrupt at byte {offset}: {why}"),
            Self::Damaged(n) => write!(f, "all packets are damaged ({n})"),
            Self::Read { offset, source } => write!(f, "reading failed at byte {offset}: {source}"),
            Self::LinkType { number, interface } => {
                write!(f, "link type {number}")?;
                if let Some(id) = interface {
                    write!(f, " (interface {id})")?;
                }
                write!(f, " is not supported; there are: {}", LinkType::SUPPORTED)
            }
        }
    }
}

impl std::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The format, with what its reader must remember.
enum Format {
    Pcap(pcap::Reader),
    Pcapng(pcapng::Reader),
}

/// A capture that is being read.
pub struct Capture<R> {
    input: Input<R>,
    format: Format,
    /// Bytes of the frame last handed out, to be passed over before the next one.
    handed_out: usize,
    /// `next` has said that there is nothing more.
    ended: bool,
}

/// Where a frame lies in the input's buffer; it becomes a [`Frame`] once nothing needs the input mutably any more.
struct Place {
    time: u64,
    link: LinkType,
    wire_len: u32,
    /// From the start of the record.
    bytes: std::ops::Range<usize>,
    /// Length of the whole record or block.
    record: usize,
}

impl<R: Read> Capture<R> {
    /// Recognises the format and reads the file's header.
    pub fn new(reader: R) -> Result<Self, CaptureError> {
        let mut input = Input::new(reader);
        input.fill(4)?;
        let format = match *input.data() {
            [] => return Err(CaptureError::Empty),
            [0x0a, 0x0d, 0x0d, 0x0a, ..] => Format::Pcapng(pcapng::Reader::new(&mut input)?),
            _ => Format::Pcap(pcap::Reader::new(&mut input)?),
        };
        Ok(Self { input, format, handed_out: 0, ended: false })
    }

    /// The next frame; `None` at the end, and after an error.
    // Not an Iterator: the frame borrows the buffer it lies in.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        self.input.consume(std::mem::take(&mut self.handed_out));
        let place = match &mut self.format {
            Format::Pcap(reader) => reader.next(&mut self.input),
            Format::Pcapng(reader) => reader.next(&mut self.input),
        };
        self.ended = !matches!(place, Ok(Some(_)));
        let Some(place) = place? else { return Ok(None) };
        self.handed_out = place.record;
        let Place { time, link, wire_len, bytes, .. } = place;
        Ok(Some(Frame { time, link, wire_len, bytes: &self.input.data()[bytes] }))
    }

    /// Bytes read so far, up to the end of the frame last handed out.
    pub fn position(&self) -> u64 {
        self.input.offset() + self.handed_out as u64
    }

    /// Packet blocks that were passed over because their contents made no sense while their frame did (pcapng only).
    pub fn damaged(&self) -> u64 {
        match &self.format {
            Format::Pcap(_) => 0,
            Format::Pcapng(reader) => reader.damaged(),
        }
    }

    /// Packets that were passed over because the link type of their interface is not understood (pcapng only: in a pcap
    /// file all would be, so that is an error).
    pub fn foreign(&self) -> u64 {
        match &self.format {
            Format::Pcap(_) => 0,
            Format::Pcapng(reader) => reader.foreign(),
        }
    }

    /// What was wrong with the first of them.
    pub fn take_unsupported(&mut self) -> Option<CaptureError> {
        match &mut self.format {
            Format::Pcap(_) => None,
            Format::Pcapng(reader) => reader.take_unsupported(),
        }
    }
}

/// What a file that is no capture may be instead, by its first bytes.
fn hint(start: &[u8]) -> Option<&'static str> {
    match start {
        [0x1f, 0x8b, ..] => Some("it is compressed (gzip); try: zcat FILE | conntab replay -"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("it is compressed (zstd); try: zstdcat FILE | conntab replay -"),
        [0xfd, b'7', b'z', b'X', ..] => Some("it is compressed (xz); try: xzcat FILE | conntab replay -"),
        [b'B', b'Z', b'h', ..] => Some("it is compressed (bzip2); try: bzcat FILE | conntab replay -"),
        [0x04, 0x22, 0x4d, 0x18, ..] => Some("it is compressed (lz4); try: lz4cat FILE | conntab replay -"),
        _ => None,
    }
}
