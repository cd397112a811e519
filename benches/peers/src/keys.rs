//! The flows' keys: a function of a number, so that no table of keys has to be kept.

use crate::Key;

/// xorshift64*: good enough, and next to nothing beside a cache miss.
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed) | 1)
    }

    /// The next 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Uniform, below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.word()) * n as u128) >> 64) as usize
    }
}

/// The finaliser of splitmix64: a permutation.
fn mix(word: u64) -> u64 {
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// Some number below `n` for each `id`.
pub fn scatter(id: u64, n: usize) -> usize {
    Random(mix(id)).below(n)
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
