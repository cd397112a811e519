//! Random operations, one thread, against a plain map.

use proptest::prelude::*;

use super::plain::{KEYS, Op, World};
use super::*;

fn op() -> impl Strategy<Value = Op> {
    let keys = || [0..KEYS, 0..KEYS];
    prop_oneof![
        8 => (keys(), prop_oneof![3 => Just(0), 1 => 1..200_u32])
            .prop_map(|(keys, expires)| Op::Insert { keys, expires }),
        2 => prop::collection::vec(keys(), 1..12).prop_map(Op::Burst),
        5 => (0..KEYS).prop_map(Op::Delete),
        1 => prop::collection::vec(0..KEYS, 1..12).prop_map(Op::DeleteBurst),
        1 => Just(Op::DeleteAgain),
        3 => (0..KEYS).prop_map(Op::Kill),
        3 => (0..KEYS).prop_map(Op::Lookup),
        1 => Just(Op::LookupAll),
        1 => Just(Op::Release),
        1 => (1..30_u32).prop_map(Op::Tick),
        1 => Just(Op::Leave),
        1 => Just(Op::Reclaim),
        1 => Just(Op::Grow),
        2 => (1..5_u64).prop_map(Op::Advance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_a_plain_map(
        ops in prop::collection::vec(op(), 1..300),
        buckets in 0..4_u32,
        overflow in 0..12_u32,
        entries in 1..80_u32,
        weak in any::<bool>(),
    ) {
        let hasher = if weak { Hasher::Weak } else { Hasher::Mixed };
        let mut world = World::new(growing(geometry(1 << buckets, overflow, entries, 1), 3, entries, 0), hasher);
        for op in &ops {
            world.step(op);
        }
        world.step(&Op::Advance(u64::MAX));
        world.step(&Op::LookupAll);
        world.step(&Op::DeleteAgain);
        world.step(&Op::Reclaim);
    }
}
