//! L3: one connection, in two cache lines.
//!
//! ```text
//! line 0  word | generation mark | link extra | src src | dst dst | meta      what a lookup reads
//! line 1  version | seven words of the tracker's record                       what a judgement reads and writes
//! ```
//!
//! Every field is an atomic that is loaded and stored Relaxed unless said (`read` and `write`: `sync::Ordered`): publication is the table's (the slot that
//! leads here is stored with Release and loaded with Acquire), so a reader that came through the table sees the
//! tuple complete, and the tuple never changes from then on until the epoch has passed.
//!
//! **The word** is the single truth about a connection. Bits 0-10 are the table's (life, insert attempt); the rest:
//!
//! | bits | what |
//! |---|---|
//! | 11-23 | status, packed: the kernel's bits 0-11, with HELPER in the place of CONFIRMED, OFFLOAD in that of DYING (both follow from life), and the sticky liberal bit in that of TEMPLATE; above them: it has a help record |
//! | 24-31 | the protocol's state |
//! | 32-63 | UNCONFIRMED: timeout in ms; later: the tick (ms, wrapping) at which it expires |

use crate::hash::TupleHash;
use crate::memory::Array;
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use crate::sync::{AtomicU32, AtomicU64, Ordered, fence, mutated, order, passing, waits};
use crate::table::{Entry, KeyHash};
use crate::tuple::{Direction, Key, Zone, protocol};

/// Status bits, with the kernel's values (`enum ip_conntrack_status` in the uapi). Set at present: EXPECTED, SEEN_REPLY, ASSURED,
/// CONFIRMED, HELPER, SRC_NAT, DST_NAT; SRC_NAT_DONE and DST_NAT_DONE where the tunable `nat_hooks` is 1; DYING in events.
pub mod status {
    /// Created by an expectation.
    pub const EXPECTED: u16 = 1;
    /// A packet was accepted in reply direction.
    pub const SEEN_REPLY: u16 = 2;
    /// Not to be evicted early.
    pub const ASSURED: u16 = 4;
    /// In the table.
    pub const CONFIRMED: u16 = 8;
    /// The source is translated.
    pub const SRC_NAT: u16 = 0x10;
    /// The destination is translated.
    pub const DST_NAT: u16 = 0x20;
    /// Sequence numbers are adjusted.
    pub const SEQ_ADJUST: u16 = 0x40;
    /// Source NAT was decided.
    pub const SRC_NAT_DONE: u16 = 0x80;
    /// Destination NAT was decided.
    pub const DST_NAT_DONE: u16 = 0x100;
    /// Leaving the table.
    pub const DYING: u16 = 0x200;
    /// Packets do not refresh the timeout.
    pub const FIXED_TIMEOUT: u16 = 0x400;
    /// A helper is attached.
    pub const HELPER: u16 = 0x2000;
    /// Handled by hardware or a fast path.
    pub const OFFLOAD: u16 = 0x4000;
}

const PACKED_HELPER: u16 = status::CONFIRMED;
const PACKED_OFFLOAD: u16 = status::DYING;
const PACKED_LIBERAL: u16 = 0x800;
const PACKED_RECORD: u16 = 0x1000;
const PACKED_PLAIN: u16 = 0x07ff & !(PACKED_HELPER | PACKED_OFFLOAD);

const STATUS_SHIFT: u32 = 11;
const STATE_SHIFT: u32 = 24;
const TIME_SHIFT: u32 = 32;

/// The connection's part of the word, taken apart. `table` keeps the table's bits as they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    table: u16,
    packed: u16,
    /// The protocol's state.
    pub state: u8,
    /// Timeout in ms while UNCONFIRMED, then the tick of expiry.
    pub time: u32,
}

impl Word {
    #[inline]
    pub const fn unpack(word: u64) -> Self {
        Self {
            table: (word & 0x7ff) as u16,
            packed: (word >> STATUS_SHIFT) as u16 & 0x1fff,
            state: (word >> STATE_SHIFT) as u8,
            time: (word >> TIME_SHIFT) as u32,
        }
    }

    #[inline]
    pub const fn pack(self) -> u64 {
        self.table as u64
            | (self.packed as u64) << STATUS_SHIFT
            | (self.state as u64) << STATE_SHIFT
            | (self.time as u64) << TIME_SHIFT
    }

    /// The status with the kernel's bits, CONFIRMED and DYING apart.
    #[inline]
    pub const fn status(self) -> u16 {
        // Without a branch: every verdict carries it.
        let helper = (self.packed & PACKED_HELPER) * (status::HELPER / PACKED_HELPER);
        let offload = (self.packed & PACKED_OFFLOAD) * (status::OFFLOAD / PACKED_OFFLOAD);
        self.packed & PACKED_PLAIN | helper | offload
    }

    /// Sets bits of the status, given with the kernel's values. CONFIRMED and DYING cannot be set.
    #[inline]
    pub const fn set(&mut self, bits: u16) {
        self.packed |= bits & PACKED_PLAIN;
        if bits & status::HELPER != 0 {
            self.packed |= PACKED_HELPER;
        }
        if bits & status::OFFLOAD != 0 {
            self.packed |= PACKED_OFFLOAD;
        }
    }

    /// Clears plain bits of the status.
    pub const fn clear(&mut self, bits: u16) {
        self.packed &= !(bits & PACKED_PLAIN);
    }

    #[inline]
    pub const fn has(self, bit: u16) -> bool {
        self.packed & bit & PACKED_PLAIN != 0
    }

    /// Windows of this connection are no longer judged, because an update was skipped.
    #[inline]
    pub const fn liberal(self) -> bool {
        self.packed & PACKED_LIBERAL != 0
    }

    #[inline]
    pub const fn set_liberal(&mut self) {
        self.packed |= PACKED_LIBERAL;
    }

    /// There is a help record of this connection.
    #[inline]
    pub const fn has_record(self) -> bool {
        self.packed & PACKED_RECORD != 0
    }

    #[inline]
    pub const fn set_record(&mut self) {
        self.packed |= PACKED_RECORD;
    }

    /// A helper is attached.
    #[inline]
    pub const fn has_helper(self) -> bool {
        self.packed & PACKED_HELPER != 0
    }

    /// Milliseconds left at tick `now`; 0 or less: expired.
    #[inline]
    pub const fn left(self, now: u32) -> i32 {
        self.time.wrapping_sub(now) as i32
    }
}

/// Flags in `extra`, above the reply zone: the reply tuple is not the inverse of the original one.
const TRANSLATED: u32 = 1 << 16;
/// Accounting was on when the connection began.
const COUNTED: u32 = 1 << 17;
/// Changes that no event has told of yet: six bits, from the event bit 3 (REPLY) on.
const CHANGES_SHIFT: u32 = 18;
const CHANGES_FROM: u32 = 3;
const CHANGES: u32 = 0x3f << CHANGES_SHIFT;
/// The number of its timeout policy; 0: none.
const POLICY_SHIFT: u32 = 24;

/// Tries to get at a record that another worker is writing, beside the one of a packet that hopes to be done quickly.
const TRIES: usize = 63;

/// The words of a tracker's record.
pub(crate) type Record = [u64; 7];

/// A connection.
#[repr(C, align(128))]
#[derive(Default)]
pub(crate) struct Conn {
    word: AtomicU64,
    generation: AtomicU32,
    mark: AtomicU32,
    link: AtomicU32,
    /// Reply zone (bits 0-15), `TRANSLATED`, `COUNTED`, `CHANGES`, the timeout policy (bits 24-31).
    extra: AtomicU32,
    /// Source and destination of the original tuple. IPv4 takes the low half of either's first word; where NAT changed the
    /// reply tuple, the high halves hold the reply's, and the source's second word its ports. IPv6: in `Context::nat6`.
    ends: [[AtomicU64; 2]; 2],
    /// As in [`Key::meta`].
    meta: AtomicU64,
    /// Even: the record is at rest. Odd: somebody is writing it.
    pub version: AtomicU64,
    record: [AtomicU64; 7],
}

#[cfg(not(conntab_loom))]
const _: () = {
    assert!(size_of::<Conn>() == 128);
    assert!(std::mem::offset_of!(Conn, version) == 64);
};

/// The reply tuple of a translated IPv6 connection.
#[derive(Default)]
pub(crate) struct Nat6 {
    src: [AtomicU64; 2],
    dst: [AtomicU64; 2],
    meta: AtomicU64,
}

/// What reading a connection's tuples takes besides the connection.
pub(crate) struct Context {
    pub hash: TupleHash,
    /// Reply tuples of translated IPv6 connections, indexed like the connections; where configured.
    pub nat6: Option<Array<Nat6>>,
}

fn load2(words: &[AtomicU64; 2]) -> [u64; 2] {
    [words[0].read(), words[1].read()]
}

fn store2(words: &[AtomicU64; 2], values: [u64; 2]) {
    words[0].write(values[0]);
    words[1].write(values[1]);
}

const LOW: u64 = 0xffff_ffff;

impl Conn {
    /// Writes a fresh, private connection: everything but the table's own fields.
    #[inline(always)]
    pub fn init(&self, key: &Key, zone_reply: Zone, mark: u32, counted: bool, record: &Record) {
        self.mark.write(mark);
        self.extra.write(u32::from(zone_reply) | if counted { COUNTED } else { 0 });
        store2(&self.ends[0], key.src);
        store2(&self.ends[1], key.dst);
        self.meta.write(key.meta);
        self.version.write(0);
        for (word, value) in self.record.iter().zip(record) {
            word.write(*value);
        }
    }

    #[inline]
    pub fn mark(&self) -> u32 {
        self.mark.load(Relaxed)
    }

    #[inline]
    pub fn set_mark(&self, mark: u32) {
        self.mark.store(mark, Relaxed);
    }

    #[inline]
    pub fn zone_reply(&self) -> Zone {
        self.extra.load(Relaxed) as u16
    }

    /// Whether its packets are counted: as accounting was when it began, as in the kernel.
    #[inline]
    pub fn counted(&self) -> bool {
        self.extra.load(Relaxed) & COUNTED != 0
    }

    /// The number of its timeout policy; 0: none.
    #[inline]
    pub fn policy(&self) -> u8 {
        (self.extra.load(Relaxed) >> POLICY_SHIFT) as u8
    }

    /// Gives a private connection a timeout policy.
    pub fn set_policy(&self, policy: u8) {
        let rest = self.extra.load(Relaxed) & !(0xff << POLICY_SHIFT);
        self.extra.store(rest | u32::from(policy) << POLICY_SHIFT, Relaxed);
    }

    /// Remembers changes (event bits 3 to 8) until an event tells of them. Models: `who_tells_of_a_change_sees_it_made`.
    #[cold]
    pub fn note_changes(&self, changes: u16) {
        let bits = u32::from(changes) >> CHANGES_FROM << CHANGES_SHIFT & CHANGES;
        // Release: pairs with `take_changes`; who tells of a change sees it made.
        self.extra.fetch_or(bits, order("changes-relaxed", Release));
    }

    /// The changes that no event has told of; from now on they have been.
    #[inline]
    pub fn take_changes(&self) -> u16 {
        // A look first: there is hardly ever anything. (Relaxed: a change missed is taken by its own packet.)
        if self.extra.load(Relaxed) & CHANGES == 0 {
            return 0;
        }
        // Acquire: pairs with `note_changes`.
        let taken = self.extra.fetch_and(!CHANGES, order("changes-take-relaxed", Acquire)) & CHANGES;
        (taken >> CHANGES_SHIFT << CHANGES_FROM) as u16
    }

    /// Enters the record for writing: whoever got the version may load and store its words until `leave_record`. `None`:
    /// others were in it at every try.
    ///
    /// **Invariant.** While the version is odd, only the thread that made it odd stores the words. While it is even, they
    /// are what the last to leave has left, together with the word of that moment.
    /// Models: `record_writers_take_turns`, `record_is_read_whole`.
    #[inline]
    pub fn enter_record(&self) -> Option<u64> {
        for _ in 0..TRIES {
            let entered = self.try_enter_record();
            if entered.is_some() {
                return entered;
            }
            std::hint::spin_loop();
        }
        waits("record-waits", || self.version.load(Relaxed) & 1 == 0);
        None
    }

    /// One try of [`Conn::enter_record`].
    #[inline(always)]
    pub fn try_enter_record(&self) -> Option<u64> {
        let version = self.version.load(Relaxed);
        // Acquire: pairs with the Release of the last to leave.
        let entered = (version & 1 == 0 || mutated("record-enter-odd"))
            && self
                .version
                .compare_exchange(version, version + 1, order("record-enter-relaxed", Acquire), Relaxed)
                .is_ok();
        if !entered {
            return None;
        }
        // A reader that sees one of our words must see the odd version as well; pairs with its Acquire fence.
        if !mutated("record-enter-no-fence") {
            fence(Release);
        }
        passing("record-entered");
        Some(version)
    }

    /// Leaves the record. `version` is what `enter_record` gave.
    #[inline]
    pub fn leave_record(&self, version: u64) {
        passing("record-leaving");
        // Release: whoever enters next, or reads, sees the words.
        self.version.store(version.wrapping_add(2), order("record-leave-relaxed", Release));
    }

    /// The record as one writer left it; `None` if writers kept interfering.
    pub fn settled_record(&self) -> Option<Record> {
        for _ in 0..TRIES {
            // Acquire: pairs with the Release of the last to leave.
            let before = self.version.load(Acquire);
            if before & 1 == 0 {
                // (Whoever is writing them meanwhile: it is found out.)
                let record = std::array::from_fn(|i| self.record[i].load(Relaxed));
                // The words are read before the version is read again: if one was of a later writer, then the version is
                // seen to be that writer's, too. Pairs with the fence in `enter_record`.
                if !mutated("record-read-no-fence") {
                    fence(Acquire);
                }
                if self.version.load(Relaxed) == before {
                    return Some(record);
                }
            }
            std::hint::spin_loop();
        }
        None
    }

    /// One word of the record. For who has entered.
    #[inline(always)]
    pub fn load_word(&self, at: usize) -> u64 {
        self.record[at].read()
    }

    /// For who has entered. (Others may be reading: `settled_record`.)
    #[inline(always)]
    pub fn store_word(&self, at: usize, word: u64) {
        self.record[at].store(word, Relaxed);
    }

    /// The record: for who has entered, or of a protocol whose record stays as it was when the connection began.
    #[inline]
    pub fn load_record(&self) -> Record {
        std::array::from_fn(|i| self.record[i].read())
    }

    /// For who has entered, or of a private connection.
    #[inline]
    pub fn store_record(&self, record: &Record) {
        for (word, value) in self.record.iter().zip(record) {
            word.store(*value, Relaxed);
        }
    }

    /// Gives a private connection another reply tuple than the inverse of its original one. `false`: there is no
    /// room for it (IPv6, and `Config::nat6` was not set).
    pub fn set_reply(&self, context: &Context, index: u32, reply: &Key) -> bool {
        if reply.is_v4() {
            let [src, dst] = self.ends.each_ref().map(load2);
            store2(&self.ends[0], [src[0] & LOW | reply.src[0] << 32, reply.meta & LOW]);
            store2(&self.ends[1], [dst[0] & LOW | reply.dst[0] << 32, 0]);
        } else {
            let Some(nat) = context.nat6.as_ref().and_then(|all| all.get(index as usize)) else {
                return false;
            };
            store2(&nat.src, reply.src);
            store2(&nat.dst, reply.dst);
            nat.meta.write(reply.meta);
        }
        self.extra.store(self.extra.load(Relaxed) | TRANSLATED, Relaxed);
        true
    }

    /// The key of the original direction.
    #[inline]
    fn original(&self) -> Key {
        let meta = self.meta.read();
        let mut key = Key { src: load2(&self.ends[0]), dst: load2(&self.ends[1]), meta };
        if key.is_v4() {
            key.src = [key.src[0] & LOW, 0];
            key.dst = [key.dst[0] & LOW, 0];
        }
        key
    }

    #[cold]
    #[inline(never)]
    fn key_eq_rare(&self, context: &Context, index: u32, dir: u32, key: &Key) -> bool {
        self.key(context, index, dir) == *key
    }

    #[inline(always)]
    fn reply(&self, context: &Context, index: u32) -> Key {
        let original = self.original();
        let extra = self.extra.load(Relaxed);
        if extra & TRANSLATED == 0 {
            return original.inverse(extra as u16);
        }
        if original.is_v4() {
            let [src, dst] = self.ends.each_ref().map(load2);
            let meta = original.with_zone(extra as u16).meta & !LOW | src[1] & LOW;
            return Key { src: [src[0] >> 32, 0], dst: [dst[0] >> 32, 0], meta };
        }
        match context.nat6.as_ref().and_then(|all| all.get(index as usize)) {
            Some(nat) => Key { src: load2(&nat.src), dst: load2(&nat.dst), meta: nat.meta.read() }
                .with_zone(extra as u16),
            None => original.inverse(extra as u16),
        }
    }

    /// The key of either direction.
    #[inline(always)]
    pub fn key_of(&self, context: &Context, index: u32, dir: Direction) -> Key {
        match dir {
            Direction::Original => self.original(),
            Direction::Reply => self.reply(context, index),
        }
    }
}

impl Word {
    /// The word of a connection that was just allocated: nothing but the table's bits.
    pub const fn fresh(word: u64) -> Self {
        Self { packed: 0, state: 0, time: 0, ..Self::unpack(word) }
    }
}

impl Conn {
    /// The word. Acquire: pairs with the compare-exchange that made the connection LIVE.
    #[inline]
    pub fn word_acquire(&self) -> u64 {
        self.word.load(Acquire)
    }

    /// Writes the word of a connection that only its worker knows.
    #[inline]
    pub fn set_private_word(&self, word: u64) {
        self.word.store(word, Relaxed);
    }

    /// Changes the word from `old` to `new`, or tells what it is now. Relaxed: nothing is published by it, and as a
    /// read-modify-write it continues the release sequence of the one that made the connection LIVE.
    #[inline]
    pub fn swap_word(&self, old: u64, new: u64) -> Result<(), u64> {
        self.word.compare_exchange(old, new, Relaxed, Acquire).map(|_| ())
    }
}

impl KeyHash<Key> for Context {
    #[inline]
    fn hash(&self, key: &Key) -> u64 {
        self.hash.hash(key)
    }
}

impl Entry for Conn {
    type Key = Key;
    type Hasher = Context;

    #[inline]
    fn word(&self) -> &AtomicU64 {
        &self.word
    }

    #[inline]
    fn generation(&self) -> &AtomicU32 {
        &self.generation
    }

    #[inline]
    fn link(&self) -> &AtomicU32 {
        &self.link
    }

    #[inline]
    fn key(&self, context: &Context, index: u32, dir: u32) -> Key {
        self.key_of(context, index, if dir == 0 { Direction::Original } else { Direction::Reply })
    }

    #[inline(always)]
    fn key_eq(&self, context: &Context, index: u32, dir: u32, key: &Key) -> bool {
        let extra = self.extra.load(Relaxed);
        // An ICMP tuple is not inverted by swapping its ends.
        if extra & TRANSLATED != 0 || matches!(key.l4(), protocol::ICMP | protocol::ICMPV6) {
            return self.key_eq_rare(context, index, dir, key);
        }
        // Without a branch on the direction: it is as good as random, and the keys nearly always match.
        let at = (dir & 1) as usize;
        let meta = self.meta.read();
        let zone = (meta ^ (meta ^ u64::from(extra) << 48) & (at as u64).wrapping_neg()) >> 48;
        let ports = (meta as u32).rotate_left(16 * at as u32);
        let src = load2(&self.ends[at]);
        let dst = load2(&self.ends[at ^ 1]);
        let meta = meta & 0x0000_ffff_0000_0000 | u64::from(ports) | zone << 48;
        Key { src, dst, meta }.differs(key) == 0
    }

    #[inline]
    fn expired(word: u64, now: u32) -> bool {
        Word::unpack(word).left(now) <= 0
    }
}
