//! Fragments of few datagrams: beside the model of ranges of `tests/defrag.rs`, to which times are added; or, where memory is
//! short and packets may be anything, within the bounds that are promised.
#![no_main]

use conntab::Packet;
use conntab::defrag::{Defrag, DefragConfig};
use conntab_fuzz::{Input, planted};
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/fragments/mod.rs"]
mod fragments;

use fragments::{Came, Model, came, fragment, payload};

const LONGEST: usize = 30_000;

fn defrag(config: DefragConfig) -> Defrag {
    let config = DefragConfig { hash_key: Some([1, 2, 3, 4]), prefault: false, ipfrag_max_dist: 0, ..config };
    Defrag::new(config).expect("a small one")
}

/// The piece that the next bytes describe: which datagram, from, to, more to follow.
fn piece(input: &mut Input<'_>) -> (bool, u16, usize, usize, bool) {
    let (what, place, length) = (input.byte(), input.byte(), input.byte());
    let scale = [1, 1, 16, 200][usize::from(place >> 6)];
    let from = usize::from(place & 63) % 12 * 8 * scale;
    // Most lengths are multiples of eight.
    let odd = if length & 0xc0 == 0xc0 { 3 } else { 0 };
    let to = from + usize::from(length & 63) % 6 * 8 * scale + odd;
    (what & 1 != 0, u16::from(what >> 1 & 3), from, to, what & 8 != 0)
}

fn nothing_waits(mut defrag: Defrag, now: u64) {
    defrag.expire(now + 1_000_000, u32::MAX);
    let stats = defrag.stats();
    assert_eq!((stats.waiting, stats.memory_v4, stats.memory_v6), (0, 0, 0));
}

/// A datagram that may wait: its model, when it lapses, and how many had begun before it.
#[derive(Default)]
struct Waiting {
    model: Model,
    deadline: u64,
    began: u64,
}

impl Waiting {
    /// It is given up if its time is over; whether it was.
    fn lapse(&mut self, now: u64) -> bool {
        // (The defect that ci/fuzz.sh plants: a moment later.)
        let over = self.model.is_open() && self.deadline + u64::from(planted("defrag-late")) <= now;
        if over {
            self.model = Model::default();
        }
        over
    }
}

/// Those of a family whose time is over, in the order in which they began, up to the first that may wait on: where a timeout was
/// shortened, those that began later wait for it. How many they were.
fn expire(family: &mut [Waiting], now: u64) -> u64 {
    let mut open: Vec<_> = family.iter_mut().filter(|one| one.model.is_open()).collect();
    open.sort_unstable_by_key(|one| one.began);
    open.into_iter().map_while(|one| one.lapse(now).then_some(())).count() as u64
}

fn beside_the_model(input: &mut Input<'_>) {
    let bytes = payload(LONGEST);
    let mut defrag = defrag(DefragConfig { queues: 64, ..DefragConfig::default() });
    let mut families: [[Waiting; 4]; 2] = Default::default();
    let mut seconds = [30, 60];
    let (mut now, mut lapsed, mut begun) = (5, 0, 0);
    while !input.is_empty() {
        let op = input.byte();
        match op & 7 {
            0 => now += u64::from(input.byte()) * 1000,
            1 => {
                let (v6, time) = (usize::from(op >> 7), input.byte());
                defrag.set(["ipfrag_time", "frag6_timeout"][v6], time.into()).expect("in range");
                seconds[v6] = u64::from(time);
            }
            2 => {
                defrag.expire(now, u32::MAX);
                lapsed += families.iter_mut().map(|family| expire(family, now)).sum::<u64>();
                // Some have lapsed before, when others were handed in.
                assert_eq!(defrag.stats().timeouts, lapsed);
            }
            _ => {
                let (v6, id, from, to, more) = piece(input);
                if !v6 && from == 0 && !more {
                    // IPv4: no fragment at all.
                    continue;
                }
                let one = &mut families[usize::from(v6)][usize::from(id)];
                // (What goes on as it is, as it breaks off within UDP's header, is not looked for.)
                if !(v6 && from == 0 && to < 8) {
                    lapsed += u64::from(one.lapse(now));
                }
                if !one.model.is_open() {
                    begun += 1;
                    (one.deadline, one.began) = (now + seconds[usize::from(v6)] * 1000, begun);
                }
                let packet = fragment(v6, id, &bytes, from, to, more);
                let got = came(defrag.push(now, &Packet::new(&packet), 0), v6);
                let expected = one.model.push(v6, &bytes, from, to, more);
                assert_eq!(got, expected, "{id} {from}..{to} {more}");
            }
        }
    }
    nothing_waits(defrag, now);
}

fn within_bounds(input: &mut Input<'_>) {
    let bytes = payload(LONGEST);
    let config = DefragConfig {
        ipfrag_high_thresh: u32::from(input.byte()) << 8,
        frag6_high_thresh: u32::from(input.byte()) << 8,
        queues: u32::from(input.byte() & 7) + 1,
        ..DefragConfig::default()
    };
    let mut defrag = defrag(config.clone());
    let mut now = 5;
    while !input.is_empty() {
        let op = input.byte();
        if op & 7 == 0 {
            now += u64::from(input.byte()) * 1000;
        } else if op & 7 == 1 {
            let n = usize::from(input.byte());
            let packet = input.take(n);
            if let conntab::defrag::Pushed::Whole(whole) =
                defrag.push(now, &Packet::new(packet), u32::from(op >> 3))
            {
                assert_eq!(whole.packet().bytes(), whole.bytes());
                assert!(whole.pieces().sum::<usize>() + whole.header_len() == whole.bytes().len());
            }
        } else {
            let (v6, id, from, to, more) = piece(input);
            let packet = fragment(v6, id, &bytes, from, to, more);
            if let Came::Whole(whole) = came(defrag.push(now, &Packet::new(&packet), 0), v6) {
                assert!(whole == bytes[..whole.len()]);
            }
        }
        let stats = defrag.stats();
        // The longest fragment takes 64 blocks, and its header no more.
        let most = |thresh: u32| u64::from(thresh) + 130 * 1100;
        assert!(stats.memory_v4 <= most(config.ipfrag_high_thresh), "{stats:?}");
        assert!(stats.memory_v6 <= most(config.frag6_high_thresh), "{stats:?}");
        assert!(stats.waiting <= u64::from(config.queues), "{stats:?}");
    }
    nothing_waits(defrag, now);
}

fuzz_target!(|input: &[u8]| {
    let mut input = Input::new(input);
    if input.byte() & 1 == 0 { beside_the_model(&mut input) } else { within_bounds(&mut input) }
});
