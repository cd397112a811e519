//! Fragments, and a model of one datagram that is put together of them: lists of ranges in place of blocks and marks. Used by
//! `tests/defrag.rs` and the fuzz target `defrag`.

use conntab::Reason;
use conntab::defrag::Pushed;
use etherparse::{Ipv4Header, Ipv6Header};

/// A fragment: bytes `from..to` of `payload` (what is beyond it is 0).
pub fn fragment(v6: bool, id: u16, payload: &[u8], from: usize, to: usize, more: bool) -> Vec<u8> {
    let piece: Vec<u8> = (from..to).map(|at| payload.get(at).copied().unwrap_or(0)).collect();
    let mut packet = Vec::new();
    if v6 {
        let header = Ipv6Header {
            payload_length: (8 + piece.len()) as u16,
            next_header: etherparse::IpNumber(44),
            hop_limit: 64,
            source: [0xfd; 16],
            destination: [0xfe; 16],
            ..Default::default()
        };
        header.write(&mut packet).expect("a vector");
        packet.extend([17, 0]);
        packet.extend((from as u16 | u16::from(more)).to_be_bytes());
        packet.extend(u32::from(id).to_be_bytes());
    } else {
        let mut header = Ipv4Header {
            total_len: (20 + piece.len()) as u16,
            identification: id,
            more_fragments: more,
            fragment_offset: ((from / 8) as u16).try_into().expect("13 bits"),
            time_to_live: 64,
            protocol: etherparse::IpNumber(17),
            source: [10, 1, 0, 1],
            destination: [10, 2, 0, 1],
            ..Default::default()
        };
        header.header_checksum = header.calc_header_checksum();
        header.write(&mut packet).expect("a vector");
    }
    packet.extend(piece);
    packet
}

/// The payload of a whole, after a look at its header.
pub fn payload_of(v6: bool, whole: &[u8]) -> Vec<u8> {
    if v6 {
        let (header, rest) = Ipv6Header::from_slice(whole).expect("an IPv6 header");
        assert_eq!(usize::from(header.payload_length), rest.len());
        assert_eq!(header.next_header.0, 17);
        rest.to_vec()
    } else {
        let (header, rest) = Ipv4Header::from_slice(whole).expect("an IPv4 header");
        assert_eq!(usize::from(header.total_len), whole.len());
        assert_eq!(header.header_checksum, header.calc_header_checksum());
        assert!(!header.more_fragments && header.fragment_offset.value() == 0);
        rest.to_vec()
    }
}

pub fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// What became of a packet, without its bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Came {
    Held,
    Whole(Vec<u8>),
    Dropped(Reason),
    NotAFragment,
}

pub fn came(pushed: Pushed<'_>, v6: bool) -> Came {
    match pushed {
        Pushed::Held => Came::Held,
        Pushed::Whole(whole) => Came::Whole(payload_of(v6, whole.bytes())),
        Pushed::Dropped(reason) => Came::Dropped(reason),
        Pushed::NotAFragment => Came::NotAFragment,
    }
}

/// One datagram, in the plainest way.
#[derive(Default)]
pub struct Model {
    /// From, to, run.
    pieces: Vec<(usize, usize, usize)>,
    end: usize,
    last: bool,
    open: bool,
}

impl Model {
    /// Whether pieces of it wait.
    #[allow(dead_code, reason = "the fuzz target asks")]
    pub fn is_open(&self) -> bool {
        self.open
    }

    pub fn push(&mut self, v6: bool, whole: &[u8], from: usize, to: usize, more: bool) -> Came {
        if from == 0 && !more && !self.open {
            return Came::NotAFragment;
        }
        // What breaks off within UDP's header goes on as it is.
        if v6 && from == 0 && to < 8 {
            return Came::NotAFragment;
        }
        self.open = true;
        let gone = |this: &mut Self, came| {
            *this = Self::default();
            came
        };
        let refused = |this: &mut Self, reason| {
            if v6 { Came::Dropped(reason) } else { gone(this, Came::Dropped(reason)) }
        };
        let to = if more && !v6 { from + (to - from) / 8 * 8 } else { to };
        if more && !(to - from).is_multiple_of(8) {
            return gone(self, Came::NotAFragment);
        }
        let wrong =
            if more { self.last && to > self.end } else { to < self.end || self.last && to != self.end };
        if wrong {
            return refused(self, Reason::FragEnd);
        }
        self.end = self.end.max(to);
        self.last |= !more;
        if from == to {
            return refused(self, Reason::FragEmpty);
        }
        let meets = |p: &&(usize, usize, usize)| p.0 < to && from < p.1;
        let met: Vec<_> = self.pieces.iter().filter(meets).copied().collect();
        if let Some((_, _, run)) = met.first() {
            let of_run: Vec<_> = self.pieces.iter().filter(|p| p.2 == *run).collect();
            let begin = of_run.iter().map(|p| p.0).min().expect("one");
            let end = of_run.iter().map(|p| p.1).max().expect("one");
            if begin <= from && to <= end {
                return Came::Held;
            }
            return gone(self, Came::Dropped(Reason::FragOverlap));
        }
        let right = self.pieces.iter().max_by_key(|p| p.1);
        let run = match right {
            Some((_, end, run)) if *end == from => *run,
            _ => self.pieces.len() + 1,
        };
        self.pieces.push((from, to, run));
        let there: usize = self.pieces.iter().map(|p| p.1 - p.0).sum();
        if self.last && there == self.end {
            let all = whole[..self.end].to_vec();
            return gone(self, Came::Whole(all));
        }
        Came::Held
    }
}
