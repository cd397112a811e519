//! What an expectation is, and its fields as they lie in memory.

use crate::helper::HelperId;
use crate::memory::Zeroed;
use crate::packet::Handle;
use crate::sync::AtomicU64;
use crate::sync::Ordering::Relaxed;
use crate::tuple::Key;

/// What an expectation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    /// The master.
    pub master: Handle,
    /// Its first packet: source port 0 (any), and the zone in which it is expected.
    pub key: Key,
    /// The source address does not matter (and is 0 in `key`).
    pub any_source: bool,
    /// Expected until its time is over.
    pub permanent: bool,
    pub class: u8,
    /// The master's helper, 0 if it has none: to be shown.
    pub of: u8,
    /// The helper that the child gets.
    pub helper: Option<HelperId>,
    /// The tick at which it is over.
    pub deadline: u32,
    /// The master's help record, and which of its slots leads here.
    pub record: u32,
    pub slot: u8,
    /// Which it is of those its master has announced: 24 bits, wrapping.
    pub serial: u32,
}

/// One expectation's fields: a cache line.
#[repr(C, align(64))]
#[derive(Default)]
pub(super) struct Fields {
    master: AtomicU64,
    src: [AtomicU64; 2],
    dst: [AtomicU64; 2],
    meta: AtomicU64,
    /// Deadline (32) | help record (32).
    times: AtomicU64,
    /// slot (8) | class (8) | of (8) | helper (8) | flags (8) | serial (24).
    info: AtomicU64,
}

#[cfg(not(conntab_loom))]
const _: () = assert!(size_of::<Fields>() == 64);

// SAFETY: integer atomics and arrays of them: zero is valid and is the default, nothing to drop.
unsafe impl Zeroed for Fields {}

const PERMANENT: u64 = 1 << 32;
const ANY_SOURCE: u64 = 1 << 33;

impl Fields {
    pub fn store(&self, draft: &Draft) {
        self.master.store(draft.master.to_u64(), Relaxed);
        for (at, (src, dst)) in self.src.iter().zip(&self.dst).enumerate() {
            src.store(draft.key.src[at], Relaxed);
            dst.store(draft.key.dst[at], Relaxed);
        }
        self.meta.store(draft.key.meta, Relaxed);
        self.times.store(u64::from(draft.deadline) | u64::from(draft.record) << 32, Relaxed);
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        let info = u64::from(draft.slot)
            | u64::from(draft.class) << 8
            | u64::from(draft.of) << 16
            | u64::from(draft.helper.map_or(0, HelperId::number)) << 24
            | flag(draft.permanent, PERMANENT)
            | flag(draft.any_source, ANY_SOURCE)
            | u64::from(draft.serial) << 40;
        self.info.store(info, Relaxed);
    }

    pub fn load(&self) -> Draft {
        let [src, dst] = [&self.src, &self.dst].map(|words| [words[0].load(Relaxed), words[1].load(Relaxed)]);
        let (times, info) = (self.times.load(Relaxed), self.info.load(Relaxed));
        let helper = (info >> 24) as u8;
        Draft {
            master: Handle::from_u64(self.master.load(Relaxed)),
            key: Key { src, dst, meta: self.meta.load(Relaxed) },
            any_source: info & ANY_SOURCE != 0,
            permanent: info & PERMANENT != 0,
            class: (info >> 8) as u8,
            of: (info >> 16) as u8,
            helper: (helper != 0).then_some(HelperId(helper)),
            deadline: times as u32,
            record: (times >> 32) as u32,
            slot: info as u8,
            serial: (info >> 40) as u32,
        }
    }
}

impl Draft {
    /// Whether a packet with this key, whose source port is 0 here, is what is expected.
    pub fn meets(&self, key: &Key) -> bool {
        let source = self.any_source || self.key.src == key.src;
        source && self.key.dst == key.dst && self.key.meta == key.meta
    }

    /// Whether one packet could be what both expect.
    pub fn clashes(&self, other: &Self) -> bool {
        let source = self.any_source || other.any_source || self.key.src == other.key.src;
        source && self.key.dst == other.key.dst && self.key.meta == other.key.meta
    }

    /// Whether it was announced before another of its master's, within half the range of the serial numbers.
    pub const fn is_older(&self, other: &Self) -> bool {
        ((self.serial.wrapping_sub(other.serial) << 8) as i32) < 0
    }

    /// Milliseconds left at `tick`; 0 or less: it is over.
    pub const fn left(&self, tick: u32) -> i32 {
        self.deadline.wrapping_sub(tick) as i32
    }
}
