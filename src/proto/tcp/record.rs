//! What the tracker remembers of a connection, and its packed form.

use super::kind::Kind;
use crate::tuple::Direction;

/// Bits of [`End::flags`], numbered as in the kernel's uapi (`IP_CT_TCP_FLAG_*`).
pub mod flags {
    /// This end offered window scaling.
    pub const WINDOW_SCALE: u8 = 0x01;
    /// This end permits SACK.
    pub const SACK_PERMITTED: u8 = 0x02;
    /// This end sent the first FIN.
    pub const CLOSE_INITIATED: u8 = 0x04;
    /// Out-of-window segments of this end are let through.
    pub const LIBERAL: u8 = 0x08;
    /// This end has sent data that is not acknowledged yet.
    pub const DATA_UNACKNOWLEDGED: u8 = 0x10;
    /// [`max_ack`](super::End::max_ack) holds something.
    pub const MAX_ACK_SET: u8 = 0x20;
    /// (In the last segment's flags.) A challenge ACK (RFC 5961) may come.
    pub const CHALLENGE_ACK: u8 = 0x40;
    /// (In the last segment's flags.) The ends' SYNs crossed.
    pub const SIMULTANEOUS_OPEN: u8 = 0x80;
}

/// What is known of one end, from what it sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The sequence number behind the last byte it sent.
    pub end: u32,
    /// How far it may send: the other end's acknowledgement plus window, at their greatest.
    pub max_end: u32,
    /// The greatest window it offered, scaled; 0: nothing seen of this end.
    pub max_win: u32,
    /// The highest acknowledgement it sent.
    pub max_ack: u32,
    /// Window scale, 0 to 14.
    pub scale: u8,
    /// [`flags`].
    pub flags: u8,
}

/// The last segment that was let through, and how often it was repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// The sequence number behind it.
    pub end: u32,
    /// Its window, as in the header.
    pub window: u16,
    /// How often that segment was repeated.
    pub repeats: u8,
    /// Which way the last segment went (bit 0), and its kind (bits 1 to 3; 7 is none).
    pub(super) what: u8,
    /// An ignored SYN's options and expectations ([`flags`]).
    pub flags: u8,
    /// An ignored SYN's window scale.
    pub scale: u8,
}

impl Last {
    /// Nothing seen.
    pub(super) const NONE: u8 = 7 << 1;

    /// Notes direction and kind.
    #[inline]
    pub(super) fn note(&mut self, direction: Direction, kind: Kind) {
        self.what = (kind as u8) << 1 | direction as u8;
    }

    /// Whether the last segment was of this kind and went this way.
    #[inline]
    pub(super) fn was(&self, direction: Direction, kind: Kind) -> bool {
        self.what == (kind as u8) << 1 | direction as u8
    }

    /// The kind of the last segment.
    #[inline]
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_bits(self.what >> 1)
    }

    /// The way of the last segment.
    #[inline]
    pub fn direction(&self) -> Direction {
        if self.what & 1 == 0 { Direction::Original } else { Direction::Reply }
    }

    /// Counts a segment that repeats the last one to the bit (scenario tcp-retransmit: duplicate ACKs count too).
    #[inline]
    pub(super) fn count_repeat(&mut self, direction: Direction, seq: u32, ack: u32, end: u32, window: u16) {
        if self.direction() == direction
            && self.seq == seq
            && self.ack == ack
            && self.end == end
            && self.window == window
        {
            self.repeats = self.repeats.saturating_add(1);
        } else {
            self.what = self.what & !1 | direction as u8;
            (self.seq, self.ack, self.end, self.window, self.repeats) = (seq, ack, end, window, 0);
        }
    }
}

/// Everything the tracker remembers of a connection besides its state: 56 bytes when packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The two ends, by the direction they send in ([`Direction`]).
    pub ends: [End; 2],
    /// The last segment.
    pub last: Last,
}

impl Default for Record {
    fn default() -> Self {
        Self { ends: [End::default(); 2], last: Last { what: Last::NONE, ..Last::default() } }
    }
}

#[inline]
const fn join(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

impl Record {
    /// From now on lets out-of-window segments of both ends through: for a host that had to skip updates.
    #[inline]
    pub const fn be_liberal(&mut self) {
        self.ends[0].flags |= flags::LIBERAL;
        self.ends[1].flags |= flags::LIBERAL;
    }

    /// Length of the packed form.
    pub const WORDS: usize = 7;

    /// The record in seven words, without loss.
    #[inline]
    pub const fn pack(&self) -> [u64; Self::WORDS] {
        let [o, r] = &self.ends;
        let l = &self.last;
        [
            join(o.end, o.max_end),
            join(o.max_win, o.max_ack),
            join(r.end, r.max_end),
            join(r.max_win, r.max_ack),
            join(l.seq, l.ack),
            join(l.end, u32::from_le_bytes([o.flags, r.flags, o.scale, r.scale])),
            l.window as u64
                | (l.repeats as u64) << 16
                | (l.what as u64) << 24
                | (l.flags as u64) << 32
                | (l.scale as u64) << 40,
        ]
    }

    /// The record that was packed into these words.
    #[inline]
    pub const fn unpack(words: &[u64; Self::WORDS]) -> Self {
        let [a, b, c, d, e, f, g] = *words;
        let [o_flags, r_flags, o_scale, r_scale] = ((f >> 32) as u32).to_le_bytes();
        Self {
            ends: [
                End {
                    end: a as u32,
                    max_end: (a >> 32) as u32,
                    max_win: b as u32,
                    max_ack: (b >> 32) as u32,
                    scale: o_scale,
                    flags: o_flags,
                },
                End {
                    end: c as u32,
                    max_end: (c >> 32) as u32,
                    max_win: d as u32,
                    max_ack: (d >> 32) as u32,
                    scale: r_scale,
                    flags: r_flags,
                },
            ],
            last: Last {
                seq: e as u32,
                ack: (e >> 32) as u32,
                end: f as u32,
                window: g as u16,
                repeats: (g >> 16) as u8,
                what: (g >> 24) as u8,
                flags: (g >> 32) as u8,
                scale: (g >> 40) as u8,
            },
        }
    }
}

/// The ends of a packed record as they face a segment of this direction, its sender first, and the last segment.
#[inline(always)]
pub(super) fn load_facing(load: impl Fn(usize) -> u64, direction: Direction) -> ([End; 2], Last) {
    let (there, back) = places(direction);
    let whole = Record::unpack(&[
        load(there),
        load(there + 1),
        load(back),
        load(back + 1),
        load(4),
        turned(load(5), direction),
        load(6),
    ]);
    (whole.ends, whole.last)
}

/// Stores what [`load_facing`] gave, changed.
#[inline(always)]
pub(super) fn store_facing(ends: &[End; 2], last: &Last, direction: Direction, store: impl Fn(usize, u64)) {
    let [a, b, c, d, e, f, g] = Record { ends: *ends, last: *last }.pack();
    let (there, back) = places(direction);
    store(there, a);
    store(there + 1, b);
    store(back, c);
    store(back + 1, d);
    store(4, e);
    store(5, turned(f, direction));
    store(6, g);
}

/// Where the words of both ends begin, the sender's first.
#[inline(always)]
const fn places(direction: Direction) -> (usize, usize) {
    match direction {
        Direction::Original => (0, 2),
        Direction::Reply => (2, 0),
    }
}

/// The word in which both ends have bytes, with those exchanged if the segment is a reply.
#[inline(always)]
const fn turned(word: u64, direction: Direction) -> u64 {
    const EVEN: u64 = 0x00ff_00ff << 32;
    let other = word & 0xffff_ffff | (word & EVEN) << 8 | word >> 8 & EVEN;
    match direction {
        Direction::Original => word,
        Direction::Reply => other,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn record() -> impl Strategy<Value = Record> {
        (end(), end(), last()).prop_map(|(original, reply, last)| Record { ends: [original, reply], last })
    }

    fn end() -> impl Strategy<Value = End> {
        any::<(u32, u32, u32, u32, u8, u8)>().prop_map(|(end, max_end, max_win, max_ack, scale, flags)| End {
            end,
            max_end,
            max_win,
            max_ack,
            scale,
            flags,
        })
    }

    fn last() -> impl Strategy<Value = Last> {
        any::<(u32, u32, u32, u16, u8, u8, u8, u8)>().prop_map(
            |(seq, ack, end, window, repeats, what, flags, scale)| Last {
                seq,
                ack,
                end,
                window,
                repeats,
                what,
                flags,
                scale,
            },
        )
    }

    proptest! {
        #[test]
        fn packs_without_loss(original in end(), reply in end(), last in last()) {
            let record = Record { ends: [original, reply], last };
            prop_assert_eq!(Record::unpack(&record.pack()), record);
        }

        #[test]
        fn any_words_unpack_to_a_record_that_the_tracker_can_use(words in any::<[u64; Record::WORDS]>()) {
            let record = Record::unpack(&words);
            let _ = (record.last.kind(), record.last.direction());
            prop_assert_eq!(Record::unpack(&record.pack()), record);
        }
    }

    #[test]
    fn a_fresh_record_remembers_no_segment() {
        let last = Record::default().last;
        assert_eq!(last.kind(), None);
        for kind in [Kind::Syn, Kind::SynAck, Kind::Fin, Kind::Ack, Kind::Rst] {
            for direction in [Direction::Original, Direction::Reply] {
                assert!(!last.was(direction, kind));
                let mut noted = last;
                noted.note(direction, kind);
                assert_eq!((noted.kind(), noted.direction()), (Some(kind), direction));
            }
        }
    }

    #[test]
    fn only_exact_repeats_count() {
        let mut last = Record::default().last;
        last.count_repeat(Direction::Reply, 1, 2, 3, 4);
        assert_eq!(last.repeats, 0);
        for n in 1..=300u32 {
            last.count_repeat(Direction::Reply, 1, 2, 3, 4);
            assert_eq!(u32::from(last.repeats), n.min(255));
        }
        for (direction, seq, ack, end, window) in [
            (Direction::Original, 1, 2, 3, 4),
            (Direction::Reply, 9, 2, 3, 4),
            (Direction::Reply, 1, 9, 3, 4),
            (Direction::Reply, 1, 2, 9, 4),
            (Direction::Reply, 1, 2, 3, 9),
        ] {
            let mut other = last;
            other.count_repeat(direction, seq, ack, end, window);
            assert_eq!(other.repeats, 0);
        }
    }
}
