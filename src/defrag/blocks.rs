//! Where pieces lie: blocks of a kilobyte, each for a fixed part of a datagram, with marks for every eight bytes of it.
//!
//! Fragments begin at multiples of eight bytes, so a *unit* of eight is there or not. Besides that two marks are kept of each:
//! whether a piece begins with it, and whether a *run* does. A run is what came in order at the end of all that was there; a
//! piece that filled a hole is one of its own. Which repetitions are harmless depends on it (see `queues`).

use crate::memory::{Array, NoMemory, Options, Zeroed};

/// Bytes of a datagram in a block.
pub(super) const BLOCK: usize = 1024;

/// Blocks of the longest datagram.
pub(super) const SLOTS: usize = 64;

/// Bytes of a unit.
pub(super) const UNIT: usize = 8;

/// Units of a block.
pub(super) const UNITS: usize = BLOCK / UNIT;

#[repr(C)]
pub(super) struct Data([u8; BLOCK]);

impl Default for Data {
    fn default() -> Self {
        Self([0; BLOCK])
    }
}

// SAFETY: bytes.
unsafe impl Zeroed for Data {}

/// A bit for each unit of a block.
#[derive(Clone, Copy, Default)]
pub(super) struct Marks {
    pub there: u128,
    pub runs: u128,
    pub pieces: u128,
    /// The next of a list.
    next: u32,
}

// SAFETY: integers.
unsafe impl Zeroed for Marks {}

/// All blocks. Number 0 is none.
pub(super) struct Blocks {
    data: Array<Data>,
    marks: Array<Marks>,
    /// The first of those that came back.
    free: u32,
    /// Those from here on were never used.
    fresh: u32,
}

impl Blocks {
    /// What a block takes.
    pub const BYTES: u32 = (size_of::<Data>() + size_of::<Marks>()) as u32;

    /// A fragment of the greatest length takes no more: its piece, and the headers before it.
    pub const MOST_OF_ONE: usize = 2 * SLOTS + 2;

    pub fn bytes(count: usize, options: Options<'_>) -> u64 {
        Array::<Data>::bytes(count + 1, options) + Array::<Marks>::bytes(count + 1, options)
    }

    pub fn new(count: usize, options: Options<'_>) -> Result<Self, NoMemory> {
        let (data, marks) = (Array::new(count + 1, options)?, Array::new(count + 1, options)?);
        Ok(Self { data, marks, free: 0, fresh: 1 })
    }

    /// A block of which no unit is there. `None`: all are in use, which `DefragConfig::blocks` is meant to exclude.
    pub fn take(&mut self) -> Option<u32> {
        let block = if self.free != 0 { self.free } else { self.fresh };
        let marks = self.marks.get_mut(block as usize)?;
        if block == self.free {
            self.free = marks.next;
        } else {
            self.fresh += 1;
        }
        *marks = Marks::default();
        Some(block)
    }

    pub fn put(&mut self, block: u32) {
        if block != 0 {
            self.marks[block as usize].next = self.free;
            self.free = block;
        }
    }

    /// Gives a list back.
    pub fn put_list(&mut self, mut block: u32) {
        // A list is no longer than the longest packet.
        for _ in 0..=SLOTS {
            if block == 0 {
                break;
            }
            let next = self.marks[block as usize].next;
            self.put(block);
            block = next;
        }
    }

    pub fn marks(&self, block: u32) -> Marks {
        self.marks[block as usize]
    }

    pub fn marks_mut(&mut self, block: u32) -> &mut Marks {
        &mut self.marks[block as usize]
    }

    pub fn data(&self, block: u32) -> &[u8; BLOCK] {
        &self.data[block as usize].0
    }

    pub fn data_mut(&mut self, block: u32) -> &mut [u8; BLOCK] {
        &mut self.data[block as usize].0
    }

    /// Stores bytes in a list of blocks of its own, and returns its first. `None`: there are not so many.
    pub fn store(&mut self, bytes: &[u8]) -> Option<u32> {
        let mut first = 0;
        for chunk in bytes.chunks(BLOCK).rev() {
            let Some(block) = self.take() else {
                self.put_list(first);
                return None;
            };
            if let Some(to) = self.data_mut(block).get_mut(..chunk.len()) {
                to.copy_from_slice(chunk);
            }
            self.marks[block as usize].next = first;
            first = block;
        }
        Some(first)
    }

    /// Reads such a list.
    pub fn load(&self, mut block: u32, to: &mut [u8]) {
        for chunk in to.chunks_mut(BLOCK) {
            if let Some(from) = self.data(block).get(..chunk.len()) {
                chunk.copy_from_slice(from);
            }
            block = self.marks[block as usize].next;
        }
    }
}

/// The units `from..to` of a block, `to` being at most [`UNITS`].
pub(super) fn units(from: usize, to: usize) -> u128 {
    let below = |n: usize| if n >= UNITS { u128::MAX } else { (1 << n) - 1 };
    below(to) & !below(from)
}
