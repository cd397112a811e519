//! Reassembly against a model of it: lists of ranges in place of blocks and marks. And its bounds: memory, queues, time.

mod fragments;

use conntab::Packet;
use conntab::defrag::{Defrag, DefragConfig, DefragStats, Pushed};
use fragments::{Came, Model, came, fragment, payload, payload_of};
use proptest::prelude::*;

fn defrag(config: DefragConfig) -> Defrag {
    Defrag::new(DefragConfig { hash_key: Some([1, 2, 3, 4]), prefault: false, ..config })
        .expect("a small one")
}

fn small() -> Defrag {
    let thresh = 256 << 10;
    defrag(DefragConfig {
        ipfrag_high_thresh: thresh,
        frag6_high_thresh: thresh,
        queues: 64,
        ..Default::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any split of a datagram in any order, with repetitions, gives it back, once, and leaves nothing.
    #[test]
    fn what_was_cut_is_put_together(
        v6: bool,
        len in 1_usize..60_000,
        at in prop::collection::btree_set(1_usize..7500, 1..40),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
        id: u16,
    ) {
        let bytes = payload(len);
        // The first piece holds the transport header.
        let mut cuts: Vec<_> = at.into_iter().map(|at| at * 8).filter(|at| *at < len).collect();
        cuts.insert(0, 0);
        cuts.push(len);
        let pieces: Vec<_> = cuts.windows(2).map(|w| (w[0], w[1])).collect();
        prop_assume!(pieces.len() > 1);
        // Each at least once: those drawn by lot, then the rest.
        let mut order: Vec<_> = order.iter().map(|i| i.index(pieces.len())).collect();
        order.extend(0..pieces.len());
        let mut defrag = defrag(DefragConfig::default());
        let mut seen = vec![false; pieces.len()];
        let mut wholes = 0;
        for i in order {
            if wholes > 0 {
                break;
            }
            seen[i] = true;
            let (from, to) = pieces[i];
            let packet = fragment(v6, id, &bytes, from, to, to < len);
            match defrag.push(5, &Packet::new(&packet), 0) {
                Pushed::Whole(whole) => {
                    prop_assert!(seen.iter().all(|seen| *seen));
                    prop_assert_eq!(payload_of(v6, whole.bytes()), bytes.clone());
                    let lengths: Vec<_> = whole.pieces().collect();
                    prop_assert_eq!(lengths, pieces.iter().map(|(a, b)| b - a).collect::<Vec<_>>());
                    let header = if v6 { 48 } else { 20 };
                    let largest = pieces.iter().map(|(a, b)| b - a + header).max();
                    prop_assert_eq!(Some(whole.largest as usize), largest);
                    wholes += 1;
                }
                Pushed::Held => {}
                Pushed::Dropped(reason) => prop_assert!(false, "{:?}", reason),
                Pushed::NotAFragment => prop_assert!(false),
            }
        }
        prop_assert_eq!(wholes, 1);
        let stats = defrag.stats();
        prop_assert_eq!((stats.waiting, stats.memory_v4, stats.memory_v6), (0, 0, 0));
    }

    /// Whatever comes, the model says the same.
    #[test]
    fn anything_goes_as_in_the_model(
        v6: bool,
        scale in prop::sample::select(vec![1_usize, 16, 200]),
        fragments in prop::collection::vec((0_usize..12, 0_usize..6, 0_usize..8, any::<bool>(), 0_u16..2), 1..60),
    ) {
        let bytes = payload(30_000);
        let mut defrag = small();
        let mut models = [Model::default(), Model::default()];
        for (from, units, odd, more, id) in fragments {
            let from = from * 8 * scale;
            // Most lengths are multiples of eight.
            let to = from + units * 8 * scale + if odd < 2 { odd * 3 } else { 0 };
            let packet = fragment(v6, id, &bytes, from, to, more);
            if !v6 && from == 0 && !more {
                // IPv4: no fragment at all.
                continue;
            }
            let got = came(defrag.push(5, &Packet::new(&packet), 0), v6);
            let expected = models[usize::from(id)].push(v6, &bytes, from, to, more);
            prop_assert_eq!(got, expected, "{} {}..{} {}", id, from, to, more);
        }
        defrag.expire(100_000, u32::MAX);
        let stats = defrag.stats();
        prop_assert_eq!((stats.waiting, stats.memory_v4, stats.memory_v6), (0, 0, 0));
    }
}

/// What waits in a `Defrag` is never more than it may be.
fn check(stats: DefragStats, config: &DefragConfig) {
    // The longest fragment takes 64 blocks, and its header no more.
    let most = |thresh: u32| u64::from(thresh) + 130 * 1100;
    assert!(stats.memory_v4 <= most(config.ipfrag_high_thresh), "{stats:?}");
    assert!(stats.memory_v6 <= most(config.frag6_high_thresh), "{stats:?}");
    assert!(stats.waiting <= u64::from(config.queues), "{stats:?}");
}

#[test]
fn a_flood_stays_within_its_bounds_and_leaves_nothing() {
    let mut defrag = small();
    let config = defrag.config().clone();
    let bytes = payload(1 << 16);
    let mut now = 1000;
    for round in 0..20 {
        // First fragments, later ones, tiny ones far apart, long ones; of far more datagrams than fit.
        for id in 0..2000_u16 {
            let v6 = id % 3 == 0;
            let (from, len) = match id % 5 {
                0 => (0, 1400),
                1 => (1400, 8),
                2 => (usize::from(id) * 24 % 60_000, 8),
                3 => (8, 40_000),
                _ => (16, 1400),
            };
            let packet = fragment(v6, id.wrapping_mul(round + 1), &bytes, from, from + len, true);
            defrag.push(now, &Packet::new(&packet), 0);
            check(defrag.stats(), &config);
        }
        assert!(defrag.stats().no_room > 0);
        // Meanwhile nothing new is taken; afterwards all is as at the beginning.
        now += 61_000;
        while defrag.expire(now, 7) > 0 {}
        let stats = defrag.stats();
        assert_eq!((stats.waiting, stats.memory_v4, stats.memory_v6), (0, 0, 0));
        for v6 in [false, true] {
            let first = fragment(v6, 1, &bytes, 0, 800, true);
            assert_eq!(came(defrag.push(now, &Packet::new(&first), 0), v6), Came::Held);
            let last = fragment(v6, 1, &bytes, 800, 1001, false);
            let whole = came(defrag.push(now, &Packet::new(&last), 0), v6);
            assert_eq!(whole, Came::Whole(bytes[..1001].to_vec()));
        }
    }
}

#[test]
fn time_is_counted_from_the_first() {
    for (v6, seconds) in [(false, 30), (true, 60)] {
        let bytes = payload(300);
        let push = |defrag: &mut Defrag, now, from, to| {
            let packet = fragment(v6, 1, &bytes, from, to, to < 300);
            came(defrag.push(now, &Packet::new(&packet), 0), v6)
        };
        for (late, whole) in [(seconds * 1000 - 1, true), (seconds * 1000, false)] {
            let mut defrag = small();
            assert_eq!(push(&mut defrag, 10, 0, 80), Came::Held);
            assert_eq!(push(&mut defrag, 20_010, 80, 160), Came::Held);
            let last = push(&mut defrag, 10 + late, 160, 300);
            assert_eq!(last == Came::Whole(bytes.clone()), whole);
            assert_eq!(defrag.stats().timeouts, u64::from(!whole));
        }
    }
}

#[test]
fn zones_hooks_and_interfaces_tell_datagrams_apart() {
    let bytes = payload(100);
    let mut defrag = small();
    let first = fragment(true, 1, &bytes, 0, 80, true);
    let last = fragment(true, 1, &bytes, 80, 100, false);
    // An ordinary destination: the interface does not matter.
    let mut global = [first.clone(), last.clone()];
    global.iter_mut().for_each(|packet| packet[24] = 0xfd);
    assert_eq!(came(defrag.push(5, &Packet::new(&global[0]), 1), true), Came::Held);
    assert_eq!(came(defrag.push(5, &Packet::new(&global[1]).with_zone(7), 1), true), Came::Held);
    assert!(matches!(came(defrag.push(5, &Packet::new(&global[1]), 2), true), Came::Whole(_)));
    // A link-local one.
    let mut local = [first, last];
    local.iter_mut().for_each(|packet| packet[24..26].copy_from_slice(&[0xfe, 0x80]));
    assert_eq!(came(defrag.push(5, &Packet::new(&local[0]), 1), true), Came::Held);
    assert_eq!(came(defrag.push(5, &Packet::new(&local[1]), 2), true), Came::Held);
    assert!(matches!(came(defrag.push(5, &Packet::new(&local[1]), 1), true), Came::Whole(_)));
}

#[test]
fn settings_have_ranges() {
    let mut defrag = small();
    for (name, value, good) in [
        ("ipfrag_time", 1_728_000, true),
        ("frag6_timeout", 1_728_001, false),
        ("ipfrag_high_thresh", 256 << 10, true),
        ("ipfrag_high_thresh", (256 << 10) + 1, false),
        ("ipfrag_max_dist", 0, true),
        ("queues", 10, false),
    ] {
        assert_eq!(defrag.set(name, value).is_ok(), good, "{name} {value}");
    }
    assert!(Defrag::new(DefragConfig { queues: 0, ..Default::default() }).is_err());
}
