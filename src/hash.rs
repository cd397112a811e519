//! L2: the keyed hash of a tuple. The only file that names ahash.

use std::hash::{BuildHasher, Hasher};
use std::io;

use ahash::RandomState;

use crate::tuple::Key;

/// Four words of the operating system's. (ahash would draw them too, but keeps some on the heap in a static: lost whenever a
/// host unloads the library.)
fn random_key() -> io::Result<[u64; 4]> {
    let mut key = [0; 4];
    // SAFETY: it writes the array that is lent to it, and no more than its size.
    let got = unsafe { libc::getrandom(key.as_mut_ptr().cast(), size_of_val(&key), 0) };
    // Up to 256 bytes come whole once the system is up (getrandom(2)). A sandbox may forbid the call.
    if got == size_of_val(&key) as isize { Ok(key) } else { Err(io::Error::last_os_error()) }
}

/// The table's secret. The hash never leaves the process, and two tables never share a secret unless a test fixes it.
pub(crate) struct TupleHash(RandomState);

impl TupleHash {
    /// With this key, or with one drawn at random by the operating system, which may refuse.
    pub fn new(key: Option<[u64; 4]>) -> io::Result<Self> {
        let [a, b, c, d] = key.map_or_else(random_key, Ok)?;
        Ok(Self(RandomState::with_seeds(a, b, c, d)))
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
