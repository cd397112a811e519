//! Huge pages: arrays on them, putting on them what a library has allocated, and the proof in /proc/self.

use std::fs;
use std::ptr::NonNull;

const HUGE: usize = 2 << 20;

/// Zeroed bytes on 2 MB pages (transparent ones, by advice), touched.
pub struct Area {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it owns its bytes as a Vec would; who works on them through the pointer must order that.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

impl Area {
    /// `bytes`, rounded up to whole huge pages.
    pub fn new(bytes: usize) -> Self {
        let bytes = bytes.next_multiple_of(HUGE).max(HUGE);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let whole = unsafe { libc::mmap(std::ptr::null_mut(), bytes + HUGE, protection, flags, -1, 0) };
        assert!(whole != libc::MAP_FAILED, "no memory for {bytes} bytes");
        let front = whole.addr().wrapping_neg() & (HUGE - 1);
        let base = whole.wrapping_byte_add(front);
        let pieces =
            [(whole, front), (base.wrapping_byte_add(bytes), HUGE - front)].into_iter().filter(|p| p.1 > 0);
        for (at, len) in pieces {
            // SAFETY: the front and the end of our own mapping, outside of `base .. base + bytes`.
            unsafe { libc::munmap(at, len) };
        }
        // SAFETY: advice about our own mapping, before its first touch.
        unsafe { libc::madvise(base, bytes, libc::MADV_HUGEPAGE) };
        // SAFETY: our own mapping, writable, `bytes` long. The writes make pages of it: reading alone would find the zero page.
        unsafe { base.cast::<u8>().write_bytes(0, bytes) };
        Self { base: NonNull::new(base.cast()).expect("mapped"), bytes }
    }

    /// Where it begins.
    pub fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// How long it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: our own mapping, whole.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// What is resident, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resident {
    /// All of it.
    pub all: usize,
    /// On huge pages, transparent or reserved.
    pub huge: usize,
}

impl Resident {
    /// Of this process, now: the sums over /proc/self/smaps.
    pub fn now() -> Self {
        let mut resident = Self::default();
        for line in fs::read_to_string("/proc/self/smaps").unwrap_or_default().lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(kb)) = (words.next(), words.next().and_then(|kb| kb.parse::<usize>().ok()))
            else {
                continue;
            };
            match name {
                "Rss:" => resident.all += kb << 10,
                "AnonHugePages:" => resident.huge += kb << 10,
                // Reserved pages are not in Rss.
                "Private_Hugetlb:" | "Shared_Hugetlb:" => {
                    resident.all += kb << 10;
                    resident.huge += kb << 10;
                }
                _ => {}
            }
        }
        resident
    }

    /// Bytes on small pages.
    pub fn small(&self) -> usize {
        self.all.saturating_sub(self.huge)
    }
}

/// Private writable mappings without a file, as (begin, end).
pub fn anonymous() -> Vec<(usize, usize)> {
    let text = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let parse = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (begin, end) = words.next()?.split_once('-')?;
        let mode = words.next()?;
        let inode = words.nth(2)?;
        let name = words.next().unwrap_or("");
        let wanted = mode == "rw-p" && inode == "0" && (name.is_empty() || name == "[heap]");
        let range = (usize::from_str_radix(begin, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        wanted.then_some(range)
    };
    text.lines().filter_map(parse).collect()
}

/// Asks the kernel to put the whole huge pages of these mappings, or of all that are large, on huge pages now (Linux 6.1): for
/// libraries that allocate by themselves. Who cannot (older kernels) is found out by [`Resident`].
pub fn collapse(ranges: &[(usize, usize)]) {
    const MADV_COLLAPSE: libc::c_int = 25;
    for &(begin, end) in ranges {
        let (begin, end) = (begin.next_multiple_of(HUGE), end / HUGE * HUGE);
        if begin < end {
            let at = std::ptr::with_exposed_provenance_mut(begin);
            // SAFETY: both change the size of pages of mappings of this process, no content; a mapping that has gone meanwhile
            // makes them fail.
            unsafe { libc::madvise(at, end - begin, libc::MADV_HUGEPAGE) };
            // SAFETY: as above.
            unsafe { libc::madvise(at, end - begin, MADV_COLLAPSE) };
        }
    }
}

/// The large ones of [`anonymous`].
pub fn large() -> Vec<(usize, usize)> {
    anonymous().into_iter().filter(|(begin, end)| end - begin >= 2 * HUGE).collect()
}

/// What is left of `after` when `before` is taken away: mappings made in between, however they were merged.
pub fn difference(after: &[(usize, usize)], before: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut fresh = Vec::new();
    for &(begin, end) in after {
        let mut from = begin;
        for &(old, until) in before.iter().filter(|(old, until)| *until > begin && *old < end) {
            if old > from {
                fresh.push((from, old));
            }
            from = from.max(until);
        }
        if from < end {
            fresh.push((from, end));
        }
    }
    fresh
}
