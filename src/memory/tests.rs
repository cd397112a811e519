use super::*;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

#[test]
fn zeroed_aligned_and_rounded() {
    for huge in [Huge::None, Huge::Madvise] {
        for prefault in [false, true] {
            for len in [0, 1, 1000, (3 << 20) / 8 + 1] {
                let options = Options { huge, prefault, ..Options::default() };
                let array = Array::<AtomicU64>::new(len, options).expect("memory");
                assert_eq!(array.len(), len);
                assert_eq!(array.mapped as u64, Array::<AtomicU64>::bytes(len, options));
                assert!(array.iter().all(|word| word.load(Ordering::Relaxed) == 0));
                for word in array.iter() {
                    word.store(u64::MAX, Ordering::Relaxed);
                }
                if len > 0 {
                    let align = if huge == Huge::Madvise && len > 1000 { HUGE } else { PAGE };
                    assert_eq!(array.as_ptr().addr() as u64 % align, 0);
                }
            }
        }
    }
}

#[test]
fn bytes() {
    let plain = Options::default();
    let huge = Options { huge: Huge::Hugetlb, ..Options::default() };
    assert_eq!(Array::<AtomicU32>::bytes(0, plain), 0);
    assert_eq!(Array::<AtomicU32>::bytes(1, huge), 4096);
    assert_eq!(Array::<AtomicU32>::bytes(1025, plain), 8192);
    assert_eq!(Array::<AtomicU32>::bytes(1 << 20, huge), 4 << 20);
    assert_eq!(Array::<AtomicU32>::bytes((1 << 20) + 1, huge), 6 << 20);
}

#[test]
fn committed_piece_by_piece() {
    for huge in [Huge::None, Huge::Madvise] {
        for prefault in [false, true] {
            let options = Options { huge, prefault, ..Options::default() };
            let most = 5 << 20;
            let array = Array::<AtomicU64>::reserve(1000, most, options).expect("memory");
            let bytes = |n| Array::<AtomicU64>::bytes_of(n, most, options);
            assert_eq!((array.len(), array.committed()), (most, bytes(1000)));
            let mut old = 0;
            for n in [1000, 1000, 1001, 600_000, 1 << 20, most + 7] {
                array.commit(n).expect("memory");
                let n = n.min(most);
                assert_eq!(array.committed(), bytes(n));
                for word in &array[old..n] {
                    assert_eq!(word.swap(u64::MAX, Ordering::Relaxed), 0);
                }
                // Beyond it can be read.
                assert!(array.get(n).is_none_or(|word| word.load(Ordering::Relaxed) == 0));
                old = n;
            }
            array.release(0..100);
            array.release(100..1 << 20);
            assert_eq!(array.committed(), bytes(most) - bytes(1 << 20));
            assert!(array[..1 << 20].iter().all(|word| word.load(Ordering::Relaxed) == 0));
            assert!(array[1 << 20..].iter().all(|word| word.load(Ordering::Relaxed) == u64::MAX));
        }
    }
}

#[test]
fn too_much_is_an_error() {
    let error = Array::<AtomicU64>::new(1 << 58, Options::default()).err().expect("no such memory");
    assert!(error.to_string().contains("cannot reserve"));
    assert!(Array::<AtomicU64>::new(usize::MAX, Options::default()).is_err());
}

/// An element too far is an access that AddressSanitizer reports, wherever the array ends.
#[cfg(conntab_asan)]
#[test]
fn behind_the_last_element_is_poison() {
    for huge in [Huge::None, Huge::Madvise] {
        for (len, most) in [(1, 1), (511, 511), (512, 512), (513, 600), (1, (3 << 20) / 8 + 1)] {
            let options = Options { huge, ..Options::default() };
            let array = Array::<AtomicU64>::reserve(len, most, options).expect("memory");
            let end: *const u8 = array.as_ptr_range().end.cast();
            assert!(!poison::is_at(end.wrapping_sub(1)) && poison::is_at(end), "{len} of {most}");
            drop(array);
            assert!(!poison::is_at(end));
        }
    }
}
