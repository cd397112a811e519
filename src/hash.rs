//! L2: the keyed hash of a tuple. The only file that names ahash.

use std::hash::{BuildHasher, Hasher};

use ahash::RandomState;

use crate::tuple::Key;

/// The table's secret. The hash never leaves the process, and two tables never share a secret unless a test fixes it.
pub(crate) struct TupleHash(RandomState);

impl TupleHash {
    /// With this key, or with one drawn at random by the operating system.
    pub fn new(key: Option<[u64; 4]>) -> Self {
        Self(match key {
            Some([a, b, c, d]) => RandomState::with_seeds(a, b, c, d),
            None => RandomState::new(),
        })
    }

    #[inline]
    pub fn hash(&self, key: &Key) -> u64 {
        let mut hasher = self.0.build_hasher();
        // Each address is one folded multiplication, the two independent of each other.
        hasher.write_u128(u128::from(key.src[0]) | u128::from(key.src[1]) << 64);
        hasher.write_u128(u128::from(key.dst[0]) | u128::from(key.dst[1]) << 64);
        hasher.write_u64(key.meta);
        hasher.finish()
    }
}
