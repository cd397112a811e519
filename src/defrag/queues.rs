//! The datagrams that wait: a queue each, found by a keyed hash, and in the order in which they began.

use super::blocks::{BLOCK, Blocks, SLOTS, UNIT, units};
use crate::memory::{Array, NoMemory, Options, Zeroed};
use crate::net::L3;
use crate::tuple::Key;

/// What all fragments of a datagram have in common, and no others.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Identity {
    /// Addresses, family, zone; the identification in place of the ports; IPv4's protocol.
    pub key: Key,
    /// The hook, and where it matters the interface.
    pub scope: u64,
}

/// A datagram that waits.
#[derive(Default)]
pub(super) struct Queue {
    pub identity: Identity,
    pub hash: u64,
    /// When its time is over.
    pub deadline: u64,
    /// How long the datagram is at least; what `last` saw is the end.
    pub end: u32,
    /// Where the piece that lies furthest ends.
    pub right: u32,
    /// Bytes there are.
    pub there: u32,
    /// The longest fragment, and the longest one that must not be fragmented.
    pub largest: u32,
    pub largest_df: u32,
    /// The shortest header in front of a fragment.
    pub least_header: u16,
    /// The first fragment's: how long, and where its byte stands that names the protocol, and which.
    pub header_len: u16,
    pub named_at: u16,
    pub protocol: u8,
    /// Where its header lies.
    header: u32,
    /// The two bits of congestion notification that were seen: a bit for each of their four values.
    pub ecn: u8,
    /// The last fragment was seen.
    pub last: bool,
    /// The first one is there.
    pub first: bool,
    /// Something lies where no datagram reaches: it will never be complete.
    pub hopeless: bool,
    /// Who sent it (IPv4), and that one's count when the latest fragment came.
    pub source: u32,
    pub count: u32,
    /// Blocks in use.
    pub blocks: u32,
    /// The next in its chain, or of those that are free.
    next: u32,
    /// Its neighbours in the order of their beginning.
    older: u32,
    newer: u32,
}

// SAFETY: integers, and `bool`, for which zero is false. (`Key` consists of integers.)
unsafe impl Zeroed for Queue {}

/// What a queue takes besides its blocks.
pub(super) const QUEUE_BYTES: u32 = (size_of::<Queue>() + SLOTS * size_of::<u32>()) as u32;

/// The most queues in a chain: a bound that random hashes do not meet.
const CHAIN: usize = 64;

/// How a piece lies to those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lies {
    /// In a hole, or beyond all.
    Free,
    /// Within one run: it brings nothing new.
    Repeats,
    /// In any other way.
    Overlaps,
}

/// The queues; number 0 is none.
pub(super) struct Queues {
    all: Array<Queue>,
    /// The blocks of each.
    slots: Array<u32>,
    heads: Array<u32>,
    free: u32,
    fresh: u32,
    /// The oldest and the newest of each family.
    order: [(u32, u32); 2],
    pub waiting: u32,
}

/// Which of two.
pub(super) const fn family(l3: L3) -> usize {
    match l3 {
        L3::V4 => 0,
        L3::V6 => 1,
    }
}

impl Queue {
    pub fn family(&self) -> usize {
        usize::from(!self.identity.key.is_v4())
    }
}

impl Queues {
    fn heads(count: usize) -> usize {
        count.next_power_of_two() * 2
    }

    pub fn bytes(count: usize, options: Options<'_>) -> u64 {
        Array::<Queue>::bytes(count + 1, options)
            + Array::<u32>::bytes((count + 1) * SLOTS, options)
            + Array::<u32>::bytes(Self::heads(count), options)
    }

    pub fn new(count: usize, options: Options<'_>) -> Result<Self, NoMemory> {
        Ok(Self {
            all: Array::new(count + 1, options)?,
            slots: Array::new((count + 1) * SLOTS, options)?,
            heads: Array::new(Self::heads(count), options)?,
            free: 0,
            fresh: 1,
            order: [(0, 0); 2],
            waiting: 0,
        })
    }

    pub fn get(&self, queue: u32) -> &Queue {
        &self.all[queue as usize]
    }

    pub fn get_mut(&mut self, queue: u32) -> &mut Queue {
        &mut self.all[queue as usize]
    }

    /// The block of a part of the datagram, 0 if there is none yet.
    pub fn slot(&mut self, queue: u32, part: usize) -> &mut u32 {
        &mut self.slots[queue as usize * SLOTS + part]
    }

    fn head(&mut self, hash: u64) -> &mut u32 {
        let mask = self.heads.len() - 1;
        &mut self.heads[hash as usize & mask]
    }

    /// The queue of this identity, 0 if there is none; and how long its chain is.
    pub fn find(&mut self, identity: &Identity, hash: u64) -> (u32, usize) {
        let mut at = *self.head(hash);
        for length in 0..=CHAIN {
            if at == 0 || self.get(at).identity == *identity {
                return (at, length);
            }
            at = self.get(at).next;
        }
        (0, CHAIN)
    }

    /// A new queue, the newest of its family; 0: there are as many as there may be. `chain`: how long its chain is.
    pub fn open(&mut self, identity: Identity, hash: u64, chain: usize) -> u32 {
        let new = if self.free != 0 { self.free } else { self.fresh };
        if chain >= CHAIN || new as usize >= self.all.len() {
            return 0;
        }
        if new == self.free {
            self.free = self.get(new).next;
        } else {
            self.fresh += 1;
        }
        let next = std::mem::replace(self.head(hash), new);
        *self.get_mut(new) = Queue { identity, hash, next, least_header: u16::MAX, ..Queue::default() };
        self.append(new);
        self.waiting += 1;
        new
    }

    /// Ends a queue, which has given its blocks back.
    pub fn close(&mut self, queue: u32) {
        self.unlink(queue);
        let free = std::mem::replace(&mut self.free, queue);
        let this = self.get_mut(queue);
        let (hash, after) = (this.hash, std::mem::replace(&mut this.next, free));
        self.waiting -= 1;
        let mut at = *self.head(hash);
        if at == queue {
            *self.head(hash) = after;
            return;
        }
        for _ in 0..CHAIN {
            let before = self.get_mut(at);
            if before.next == queue {
                before.next = after;
                return;
            }
            at = before.next;
        }
    }

    /// Makes a queue the newest of its family.
    pub fn renew(&mut self, queue: u32) {
        self.unlink(queue);
        self.append(queue);
    }

    fn append(&mut self, queue: u32) {
        let family = self.get(queue).family();
        let (_, newest) = self.order[family];
        let this = self.get_mut(queue);
        (this.older, this.newer) = (newest, 0);
        if newest == 0 {
            self.order[family].0 = queue;
        } else {
            self.get_mut(newest).newer = queue;
        }
        self.order[family].1 = queue;
    }

    fn unlink(&mut self, queue: u32) {
        let this = self.get(queue);
        let (family, older, newer) = (this.family(), this.older, this.newer);
        match older {
            0 => self.order[family].0 = newer,
            older => self.get_mut(older).newer = newer,
        }
        match newer {
            0 => self.order[family].1 = older,
            newer => self.get_mut(newer).older = older,
        }
    }

    /// The oldest queue of a family, 0 if there is none.
    pub fn oldest(&self, family: usize) -> u32 {
        self.order[family].0
    }

    /// How bytes `from..to`, of which there are some, lie to what is there.
    pub fn lie(&mut self, queue: u32, blocks: &Blocks, from: usize, to: usize) -> Lies {
        let (mut any, mut all, mut one_run) = (false, true, true);
        for (part, mask) in parts(from, to) {
            let marks = blocks.marks(*self.slot(queue, part));
            any |= marks.there & mask != 0;
            all &= marks.there & mask == mask;
            // A run that begins within, not where the piece begins.
            let inner = if part == from / BLOCK { mask & (mask - 1) } else { mask };
            one_run &= marks.runs & inner == 0;
        }
        match (any, all && one_run) {
            (false, _) => Lies::Free,
            (true, true) => Lies::Repeats,
            (true, false) => Lies::Overlaps,
        }
    }

    /// Puts a piece that lies free at `from`. `false`: there were not enough blocks.
    pub fn put(&mut self, queue: u32, blocks: &mut Blocks, from: usize, piece: &[u8]) -> bool {
        let to = from + piece.len();
        for (part, _) in parts(from, to) {
            if *self.slot(queue, part) == 0 {
                let Some(block) = blocks.take() else { return false };
                *self.slot(queue, part) = block;
                self.get_mut(queue).blocks += 1;
            }
        }
        let this = self.get_mut(queue);
        // What follows the rightmost piece at once belongs to its run.
        let new_run = from as u32 != this.right;
        this.right = this.right.max(to as u32);
        this.there += piece.len() as u32;
        let mut rest = piece;
        for (part, mask) in parts(from, to) {
            let block = *self.slot(queue, part);
            let begin = from.max(part * BLOCK) - part * BLOCK;
            let (chunk, more) = rest.split_at(rest.len().min(BLOCK - begin));
            blocks.data_mut(block)[begin..begin + chunk.len()].copy_from_slice(chunk);
            let marks = blocks.marks_mut(block);
            marks.there |= mask;
            if part == from / BLOCK {
                let first = mask & mask.wrapping_neg();
                marks.pieces |= first;
                marks.runs |= if new_run { first } else { 0 };
            }
            rest = more;
        }
        true
    }

    /// Keeps the header of the first fragment. `false`: there were not enough blocks.
    pub fn put_header(&mut self, queue: u32, blocks: &mut Blocks, header: &[u8]) -> bool {
        let Some(first) = blocks.store(header) else { return false };
        let this = self.get_mut(queue);
        this.header = first;
        this.blocks += header.len().div_ceil(BLOCK) as u32;
        true
    }

    /// Writes the datagram as it is complete: header, then payload; and where its pieces begin.
    pub fn write(&mut self, queue: u32, blocks: &Blocks, to: &mut [u8], pieces: &mut [u128; SLOTS]) {
        let Queue { header, header_len, end, .. } = *self.get(queue);
        let Some((head, body)) = to.split_at_mut_checked(header_len.into()) else { return };
        blocks.load(header, head);
        let body = body.get_mut(..end as usize).unwrap_or(&mut []);
        for ((part, chunk), starts) in body.chunks_mut(BLOCK).enumerate().zip(pieces) {
            let block = *self.slot(queue, part);
            if let Some(from) = blocks.data(block).get(..chunk.len()) {
                chunk.copy_from_slice(from);
            }
            *starts = blocks.marks(block).pieces;
        }
    }

    /// Gives all blocks of a queue back: it is as if nothing had come.
    pub fn clear(&mut self, queue: u32, blocks: &mut Blocks) {
        for part in 0..SLOTS {
            blocks.put(std::mem::take(self.slot(queue, part)));
        }
        let this = self.get_mut(queue);
        blocks.put_list(std::mem::take(&mut this.header));
        (this.end, this.right, this.there, this.blocks, this.ecn) = (0, 0, 0, 0, 0);
        // How long fragments were is not forgotten with them (scenario random-fragments-4002-0925).
        this.least_header = u16::MAX;
        (this.first, this.last, this.hopeless) = (false, false, false);
    }
}

/// The parts of a datagram that bytes `from..to` lie in, and which of their units.
fn parts(from: usize, to: usize) -> impl Iterator<Item = (usize, u128)> {
    (from / BLOCK..to.div_ceil(BLOCK)).map(move |part| {
        let begin = from.max(part * BLOCK) - part * BLOCK;
        let end = to.min((part + 1) * BLOCK) - part * BLOCK;
        (part, units(begin / UNIT, end.div_ceil(UNIT)))
    })
}
