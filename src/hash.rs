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
        let pair = |low: u64, high: u64| u128::from(low) | u128::from(high) << 64;
        if key.is_v4() {
            // Both addresses in one word, all the rest in the other: one folded multiplication of two words, a secret mixed
            // into each, which is what an IPv6 address gets. (The words of a tuple that are always 0 would take two more.)
            hasher.write_u128(pair(key.src[0] | key.dst[0] << 32, key.meta));
        } else {
            // Each address is one folded multiplication, the two independent of each other.
            hasher.write_u128(pair(key.src[0], key.src[1]));
            hasher.write_u128(pair(key.dst[0], key.dst[1]));
            hasher.write_u64(key.meta);
        }
        hasher.finish()
    }
}

#[cfg(all(test, not(conntab_loom)))]
mod tests {
    use super::*;
    use crate::net::L3;

    /// Tuples that differ in a few bits, as those of a scan or of many clients do, fall into buckets and get tags as if drawn
    /// by lot: of 2^16 in as many cells, as many meet as chance says, wherever in the hash the cell is read from.
    #[test]
    fn tuples_that_are_much_alike_spread() {
        let hash = TupleHash::new(Some([1, 2, 3, 4])).unwrap();
        let v4 = |src: u32, dst: u32, sport, dport| Key {
            src: [src.into(), 0],
            dst: [dst.into(), 0],
            meta: Key::meta(sport, dport, 6, L3::V4, 0),
        };
        let kinds: [fn(u32) -> [u32; 3]; 5] = [
            |n| [n, 0, 0],
            |n| [0, n, 0],
            |n| [0, 0, n],
            |n| [n & 0xff, n >> 8, n & 0xff],
            |n| [n << 16, 0, n >> 8],
        ];
        for (kind, of) in kinds.iter().enumerate() {
            for reply in [false, true] {
                for shift in [0, 8, 22, 48] {
                    let mut cells = vec![0_u32; 1 << 16];
                    for n in 0..1 << 16 {
                        let [src, dst, port] = of(n);
                        let key = v4(0x0a00_0000 ^ src, 0xc612_0000 ^ dst, port as u16, 443);
                        let key = if reply { key.inverse(0) } else { key };
                        cells[(hash.hash(&key) >> shift & 0xffff) as usize] += 1;
                    }
                    // Expected: 2^16 / 2 pairs; the deviation is below 200.
                    let pairs: u32 = cells.iter().map(|n| n * n.saturating_sub(1) / 2).sum();
                    assert!(pairs.abs_diff(1 << 15) < 1500, "kind {kind}, bits from {shift}: {pairs} pairs");
                }
            }
        }
    }
}
