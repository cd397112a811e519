//! The flows' keys: a function of a number, so that no table of keys has to be kept.

use conntab_bench::Random;

use crate::Key;

/// A sequence of its own for each seed.
pub fn random(seed: u64) -> Random {
    Random(mix(seed) | 1)
}

/// The finaliser of splitmix64: a permutation.
fn mix(word: u64) -> u64 {
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// Some number below `n` for each `id`.
pub fn scatter(id: u64, n: usize) -> usize {
    Random(mix(id) | 1).below(n)
}

/// The key of flow `id`: TCP over IPv6, every bit of the addresses and ports random. Different for different ids.
pub fn key(id: u64) -> Key {
    let word = |i: u64| mix(id.wrapping_mul(5).wrapping_add(i).wrapping_add(0x9e37_79b9_7f4a_7c15));
    let ports = word(4);
    ::conntab::bench::key([word(0), word(1)], [word(2), word(3)], ports as u16, (ports >> 16) as u16)
}

/// A key that no flow ever has.
pub fn absent(random: &mut Random) -> Key {
    key(1 << 40 | random.word() >> 26)
}
