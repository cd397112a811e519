//! A window onto a byte stream that can be widened up to [`MAX_RECORD`].

use std::io::{self, Read};

use super::{CaptureError, MAX_RECORD};

/// Large enough that reading is rare, small enough to stay in the cache.
const INITIAL: usize = 256 << 10;

pub(super) struct Input<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The window is `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Where in the stream the window begins.
    offset: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; INITIAL], start: 0, end: 0, offset: 0 }
    }

    /// Widens the window to at least `want` bytes; `false` if the stream ends before.
    pub(super) fn fill(&mut self, want: usize) -> Result<bool, CaptureError> {
        debug_assert!(want <= MAX_RECORD);
        if self.end - self.start >= want {
            return Ok(true);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < want {
            self.buffer.resize(want, 0);
        }
        // A pipe gives what it has; a file fills the buffer at once.
        while self.end < want {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(n) => self.end += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(CaptureError::Read { offset: self.offset + self.end as u64, source });
                }
            }
        }
        Ok(true)
    }

    /// The window.
    pub(super) fn data(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Moves the window on. Bytes beyond it are not touched: only what was seen can be consumed.
    pub(super) fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.end - self.start);
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Passes over any number of bytes without holding them; `false` if the stream ends before.
    pub(super) fn skip(&mut self, mut bytes: u64) -> Result<bool, CaptureError> {
        loop {
            let here = (self.end - self.start).min(usize::try_from(bytes).unwrap_or(usize::MAX));
            self.consume(here);
            bytes -= here as u64;
            if bytes == 0 {
                return Ok(true);
            }
            if !self.fill(1)? {
                return Ok(false);
            }
        }
    }

    /// Where in the stream the window begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}
