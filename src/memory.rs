//! L0: reserved memory. Fixed, zeroed, cache-line-aligned arrays, taken from the system once and given back on drop.
//!
//! [`Array::bytes`] tells before the fact what [`Array::new`] will take, to the byte. Nothing here is called on
//! the packet path except [`prefetch`] and the indexing of a slice.
//!
//! An array that is to grow ([`Array::reserve`]) has all its addresses from the beginning and memory for a part of its
//! elements; [`Array::commit`] gets it for further ones, [`Array::release`] gives it back. What has none can be read, as
//! zero, and must not be written. (Readable and not writable: so the system counts it neither as used nor as promised,
//! and a host that locks its memory gets no pages for it.)

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Types for which all-zero bytes are a valid value, the same value as `default()`.
///
/// # Safety
/// An all-zero bit pattern must be a valid `Self`, and `Self` must need no drop: an array of it is made by mapping
/// zero pages and unmade by unmapping them. (The models build real values with `default()` instead, because loom's
/// atomics can do neither.)
pub(crate) unsafe trait Zeroed: Default {}

// SAFETY: an integer atomic has the layout of its integer, for which zero is valid, and needs no drop.
unsafe impl Zeroed for crate::sync::AtomicU32 {}
// SAFETY: as above.
unsafe impl Zeroed for crate::sync::AtomicU64 {}
// SAFETY: an integer.
unsafe impl Zeroed for u32 {}
// SAFETY: as above.
unsafe impl Zeroed for u8 {}

/// Which pages an array asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Huge {
    /// The system's ordinary pages.
    #[default]
    None,
    /// Ordinary pages which the kernel is advised to make huge ones (transparent huge pages).
    Madvise,
    /// Reserved huge pages; an error when there are too few.
    Hugetlb,
}

/// Memory that the host hands in: huge pages it has mapped, a DPDK memzone, memory of one NUMA node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: an address and a length; `new` promises that the bytes are the table's alone, whichever thread it is on.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// `len` bytes at `base`, which must be a multiple of 4096 (making a table of it fails otherwise). They need not be zero.
    ///
    /// # Safety
    /// The bytes are readable and writable for as long as any table made with this region, or any worker of it, exists, and
    /// nobody else touches them until then. A region serves one table.
    pub const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    /// How many bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds so many bytes, and begins where pages do.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        self.base.as_ptr().addr().is_multiple_of(PAGE as usize) && bytes <= self.len as u64
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A region of which arrays are cut, from its beginning on.
pub(crate) struct Cutter {
    region: Region,
    used: Cell<usize>,
}

impl Cutter {
    pub fn new(region: Region) -> Self {
        Self { region, used: Cell::new(0) }
    }

    /// The next `bytes` bytes, zeroed; `None`: there are not so many left.
    #[cfg(not(conntab_loom))]
    fn cut(&self, bytes: usize) -> Option<NonNull<u8>> {
        let from = self.used.get();
        let to = from.checked_add(bytes).filter(|to| *to <= self.region.len)?;
        // SAFETY: `from` <= `to` <= len: within the region, which `Region::new` was promised to be ours.
        let at = unsafe { self.region.base.add(from) };
        // SAFETY: `bytes` bytes from there are in the region, writable, and not handed out before.
        unsafe { at.write_bytes(0, bytes) };
        self.used.set(to);
        Some(at)
    }
}

/// How memory is reserved.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options<'r> {
    pub huge: Huge,
    /// Back every page now, so that the packet path never takes a page fault.
    pub prefault: bool,
    /// It is cut from a region, whole, instead of asking the system.
    pub cut: bool,
    /// The region.
    pub region: Option<&'r Cutter>,
}

/// The system did not give the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMemory {
    pub bytes: u64,
    pub errno: i32,
}

impl fmt::Display for NoMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot reserve {} bytes (errno {})", self.bytes, self.errno)
    }
}

const PAGE: u64 = 4096;
const HUGE: u64 = 2 << 20;

/// To AddressSanitizer a mapping has no end but that of its last page. So compiled with `--cfg conntab_asan` (`ci/sanitize.sh`) what is
/// mapped behind an array's last element is poisoned, and where that ends with a page, a further one is mapped for it.
#[cfg(conntab_asan)]
mod poison {
    unsafe extern "C" {
        fn __asan_poison_memory_region(at: *const libc::c_void, bytes: usize);
        fn __asan_unpoison_memory_region(at: *const libc::c_void, bytes: usize);
        #[cfg(test)]
        fn __asan_address_is_poisoned(at: *const libc::c_void) -> libc::c_int;
    }

    /// Nothing may touch what is from `from` to before `to`.
    pub(super) fn put(from: *const u8, to: *const u8) {
        // SAFETY: it changes what the sanitizer knows of these addresses, and nothing else.
        unsafe { __asan_poison_memory_region(from.cast(), to.addr() - from.addr()) };
    }

    /// Whoever is mapped here next may.
    pub(super) fn lift(at: *const u8, bytes: usize) {
        // SAFETY: as above.
        unsafe { __asan_unpoison_memory_region(at.cast(), bytes) };
    }

    #[cfg(test)]
    pub(super) fn is_at(at: *const u8) -> bool {
        // SAFETY: it looks at what the sanitizer knows.
        unsafe { __asan_address_is_poisoned(at.cast()) != 0 }
    }
}

/// Mapped behind an array of ordinary pages.
#[cfg(not(conntab_loom))]
const BEHIND: usize = if cfg!(conntab_asan) { PAGE as usize } else { 0 };

/// Pages are touched so many bytes at a time.
#[cfg(not(conntab_loom))]
const CHUNK: usize = 32 << 20;

/// A fixed array of zeroed elements, aligned to a page.
pub(crate) struct Array<T> {
    #[cfg(not(conntab_loom))]
    first: NonNull<T>,
    #[cfg(not(conntab_loom))]
    len: usize,
    /// Bytes of the mapping; 0: it is of a region, or empty.
    #[cfg(not(conntab_loom))]
    mapped: usize,
    /// The size of its pages.
    #[cfg(not(conntab_loom))]
    unit: usize,
    /// Touch what is committed.
    #[cfg(not(conntab_loom))]
    touch: bool,
    /// Its pages were set aside when they were mapped, or any page will do: touching one cannot fail.
    #[cfg(not(conntab_loom))]
    promised: bool,
    /// Elements below this one were given memory.
    #[cfg(not(conntab_loom))]
    top: AtomicU64,
    /// Bytes that have memory.
    committed: AtomicU64,
    #[cfg(conntab_loom)]
    items: Vec<T>,
}

impl<T> Array<T> {
    /// Exactly what `new(len, options)` takes. Below one huge page, ordinary pages are used whatever was asked;
    /// saturates when no machine could hold it.
    pub(crate) fn bytes(len: usize, options: Options<'_>) -> u64 {
        Self::bytes_of(len, len, options)
    }

    /// Exactly what `reserve(len, most, options)` takes: of a region, room for all; else for what is committed.
    pub(crate) fn bytes_of(len: usize, most: usize, options: Options<'_>) -> u64 {
        let raw = |n: usize| (n as u64).saturating_mul(size_of::<T>() as u64);
        let unit = if options.huge != Huge::None && raw(most) >= HUGE { HUGE } else { PAGE };
        let taken = if options.cut { most } else { len };
        raw(taken).checked_next_multiple_of(unit).unwrap_or(u64::MAX)
    }

    /// Bytes of the mapping with what is behind it.
    #[cfg(not(conntab_loom))]
    fn whole(&self) -> usize {
        self.mapped + if self.unit == PAGE as usize { BEHIND } else { 0 }
    }

    /// Bytes that have memory at present.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }
}

#[cfg(not(conntab_loom))]
impl<T: Zeroed> Array<T> {
    pub(crate) fn new(len: usize, options: Options<'_>) -> Result<Self, NoMemory> {
        Self::reserve(len, len, options)
    }

    /// An array of `most` elements, with memory for the first `len`.
    pub(crate) fn reserve(len: usize, most: usize, options: Options<'_>) -> Result<Self, NoMemory> {
        const {
            assert!(!std::mem::needs_drop::<T>());
            assert!(size_of::<T>() > 0 && align_of::<T>() <= PAGE as usize);
        }
        let whole = Self::bytes_of(most, most, options);
        let fail = |errno| NoMemory { bytes: whole, errno };
        if whole > isize::MAX as u64 / 2 {
            return Err(fail(libc::ENOMEM));
        }
        let mapped = whole as usize;
        // As in `bytes_of`: before rounding.
        let raw = (most as u64).saturating_mul(size_of::<T>() as u64);
        let huge = if raw >= HUGE { options.huge } else { Huge::None };
        let unit = if huge == Huge::None { PAGE } else { HUGE } as usize;
        let array = |first, mapped, committed| Self {
            first,
            len: most,
            mapped,
            unit,
            touch: options.prefault || huge == Huge::Hugetlb && len < most,
            promised: huge != Huge::Hugetlb || len == most,
            top: AtomicU64::new(0),
            committed: AtomicU64::new(committed),
        };
        if mapped == 0 {
            return Ok(array(NonNull::dangling(), 0, 0));
        }
        if let Some(cutter) = options.region {
            let first = cutter.cut(mapped).ok_or(fail(libc::ENOSPC))?.cast();
            return Ok(array(first, 0, whole));
        }
        let reserve = len < most;
        let base = match huge {
            Huge::None => map(mapped + BEHIND, 0, reserve),
            Huge::Hugetlb => map(mapped, libc::MAP_HUGETLB, reserve),
            Huge::Madvise => map_aligned(mapped, HUGE as usize, reserve),
        }
        .map_err(fail)?;
        // From here on `array` unmaps on every way out.
        let array = array(base.cast(), mapped, 0);
        #[cfg(conntab_asan)]
        {
            let at: *const u8 = base.as_ptr().cast();
            poison::put(at.wrapping_add(raw as usize), at.wrapping_add(array.whole()));
        }
        if huge == Huge::Madvise {
            // Before the first touch, or the pages would come small. A refusal costs speed, nothing else.
            // SAFETY: the range is a mapping of our own.
            unsafe { libc::madvise(base.as_ptr(), mapped, libc::MADV_HUGEPAGE) };
        }
        array.commit(len)?;
        Ok(array)
    }

    /// Gets memory for the elements below `to`, zeroed, in pieces: it may take long. One caller at a time. An error: there
    /// are as many as before.
    pub(crate) fn commit(&self, to: usize) -> Result<(), NoMemory> {
        let page = |n: usize| (n * size_of::<T>()).next_multiple_of(self.unit);
        let from = self.top.load(Ordering::Relaxed) as usize;
        let to = to.min(self.len);
        let (start, end) = (page(from), page(to));
        if self.mapped > 0 && start < end {
            let fail = |errno| NoMemory { bytes: (end - start) as u64, errno };
            // SAFETY: within the mapping: `end` is at most `len` elements, rounded up as the mapping is.
            let at = unsafe { self.first.cast::<u8>().add(start) };
            let writable = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a part of our own mapping, which becomes writable and was readable before.
            if unsafe { libc::mprotect(at.as_ptr().cast(), end - start, writable) } != 0 {
                return Err(fail(errno(libc::ENOMEM)));
            }
            let pieces = if self.touch { end - start } else { 0 };
            for from in (0..pieces).step_by(CHUNK) {
                // SAFETY: as above.
                let piece = unsafe { at.add(from) };
                if let Err(errno) = populate(piece, CHUNK.min(pieces - from), self.promised) {
                    // What there was goes back.
                    // SAFETY: a part of our own mapping that nobody uses yet: zero, and it stays so.
                    unsafe { libc::madvise(at.as_ptr().cast(), end - start, libc::MADV_DONTNEED) };
                    return Err(fail(errno));
                }
            }
            self.committed.fetch_add((end - start) as u64, Ordering::Relaxed);
        }
        self.top.fetch_max(to as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back the memory of these elements, which nobody uses any more; they are all that is left of those up to the
    /// last one. (A page that the last one shares with its successor goes with that one.) They read as zero again.
    pub(crate) fn release(&self, elements: Range<usize>) {
        let [start, end] = [elements.start, elements.end].map(|n| n * size_of::<T>() / self.unit * self.unit);
        if self.mapped == 0 || start >= end {
            return;
        }
        // SAFETY: within the mapping: `end` is not beyond its last element.
        let at = unsafe { self.first.cast::<u8>().add(start) };
        // SAFETY: a part of our own mapping. Zero is a valid T, and the contents are nobody's any more.
        let given = unsafe { libc::madvise(at.as_ptr().cast(), end - start, libc::MADV_DONTNEED) };
        // (Reserved huge pages stay with kernels before 5.18.)
        if given == 0 {
            self.committed.fetch_sub((end - start) as u64, Ordering::Relaxed);
        }
    }
}

/// What the system said last.
#[cfg(not(conntab_loom))]
fn errno(otherwise: i32) -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(otherwise)
}

/// Maps memory; `reserve`: addresses alone, to be read and not written.
#[cfg(not(conntab_loom))]
fn map(bytes: usize, flags: libc::c_int, reserve: bool) -> Result<NonNull<libc::c_void>, i32> {
    let (protection, promise) = match reserve {
        false => (libc::PROT_READ | libc::PROT_WRITE, 0),
        true => (libc::PROT_READ, libc::MAP_NORESERVE),
    };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags | promise;
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(errno(libc::ENOMEM));
    }
    NonNull::new(at).ok_or(libc::ENOMEM)
}

/// Maps `align` more than asked and gives both ends back: older kernels do not align by themselves, and a huge page
/// needs it.
#[cfg(not(conntab_loom))]
fn map_aligned(bytes: usize, align: usize, reserve: bool) -> Result<NonNull<libc::c_void>, i32> {
    let whole = map(bytes + align, 0, reserve)?;
    let front = whole.as_ptr().addr().wrapping_neg() & (align - 1);
    let start = whole.as_ptr().wrapping_byte_add(front);
    if front > 0 {
        // SAFETY: `whole .. whole + front` is the unused front of our own mapping.
        unsafe { libc::munmap(whole.as_ptr(), front) };
    }
    let end = start.wrapping_byte_add(bytes);
    // SAFETY: front < align, so `end .. whole + bytes + align` is the unused, not empty end of our own mapping.
    unsafe { libc::munmap(end, align - front) };
    NonNull::new(start).ok_or(libc::ENOMEM)
}

#[cfg(not(conntab_loom))]
fn populate(base: NonNull<u8>, bytes: usize, promised: bool) -> Result<(), i32> {
    // SAFETY: the range is a mapping of our own; populating changes no content.
    if unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_POPULATE_WRITE) } == 0 {
        return Ok(());
    }
    let errno = errno(0);
    if !promised || matches!(errno, libc::EFAULT | libc::ENOMEM | libc::EHWPOISON) {
        // There is no page, and who touches it is sent SIGBUS: huge pages that a memory policy or a cgroup withholds. Or
        // nobody can tell: those that were not set aside when they were mapped.
        return Err(errno);
    }
    // Kernels before 5.14 do not know the advice: touch every page.
    for offset in (0..bytes).step_by(PAGE as usize) {
        let page = base.as_ptr().wrapping_add(offset);
        // SAFETY: in the mapping, writable, shared with nobody yet; it holds zero already.
        unsafe { page.write_volatile(0) };
    }
    Ok(())
}

#[cfg(conntab_loom)]
impl<T: Zeroed> Array<T> {
    pub(crate) fn new(len: usize, options: Options<'_>) -> Result<Self, NoMemory> {
        Self::reserve(len, len, options)
    }

    pub(crate) fn reserve(_: usize, most: usize, _: Options<'_>) -> Result<Self, NoMemory> {
        Ok(Self { committed: AtomicU64::new(0), items: (0..most).map(|_| T::default()).collect() })
    }

    pub(crate) fn commit(&self, _: usize) -> Result<(), NoMemory> {
        Ok(())
    }

    pub(crate) fn release(&self, _: Range<usize>) {}
}

impl<T> std::ops::Deref for Array<T> {
    type Target = [T];

    #[cfg(not(conntab_loom))]
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `first` heads a mapping, or a piece of a region, of at least `len` elements (or `len * size` is 0 and it
        // dangles, aligned), zeroed, which is a valid T (`Zeroed`); what is not committed is readable, and nobody writes it. A
        // mapping is unmapped only by drop; a region stays for as long as the table (`Region::new`). T is Sync wherever the array is shared.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }

    #[cfg(conntab_loom)]
    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T: Zeroed> std::ops::DerefMut for Array<T> {
    #[cfg(not(conntab_loom))]
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // What has no memory must not be written.
        let len = self.top.load(Ordering::Relaxed) as usize;
        // SAFETY: as in `deref`, of the elements that are committed, so writable; `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), len) }
    }

    #[cfg(conntab_loom)]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

#[cfg(not(conntab_loom))]
impl<T> Drop for Array<T> {
    fn drop(&mut self) {
        if self.mapped > 0 {
            #[cfg(conntab_asan)]
            poison::lift(self.first.as_ptr().cast(), self.whole());
            // SAFETY: our own mapping, whole, and no borrow of it outlives `self`. T needs no drop.
            unsafe { libc::munmap(self.first.as_ptr().cast(), self.whole()) };
        }
    }
}

// SAFETY: the array owns its elements as a Vec would.
#[cfg(not(conntab_loom))]
unsafe impl<T: Send> Send for Array<T> {}
// SAFETY: as above; through `&self` only `&[T]` is ever handed out.
#[cfg(not(conntab_loom))]
unsafe impl<T: Sync> Sync for Array<T> {}

/// Asks the processor to fetch the cache line of `at`; a hint and no more.
#[inline(always)]
pub(crate) fn prefetch<T>(at: &T) {
    #[cfg(all(target_arch = "x86_64", not(conntab_loom)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no architectural effect, and `at` is a valid address anyway.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(at).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(conntab_loom))))]
    let _ = at;
}

/// [`prefetch`] of a line that is about to be written.
#[inline(always)]
pub(crate) fn prefetch_to_write<T>(at: &T) {
    #[cfg(all(target_arch = "x86_64", not(conntab_loom)))]
    {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: as in `prefetch`. (PREFETCHW is a no-op on processors that do not know it.)
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(std::ptr::from_ref(at).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(conntab_loom))))]
    let _ = at;
}

/// [`prefetch`] of element `n`, which need not exist.
#[inline(always)]
pub(crate) fn prefetch_nth<T>(of: &[T], n: usize) {
    #[cfg(all(target_arch = "x86_64", not(conntab_loom)))]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no architectural effect, whatever the address; it is computed without overflow rules.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(of.as_ptr().wrapping_add(n).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(conntab_loom))))]
    let _ = (of, n);
}

#[cfg(all(test, not(conntab_loom)))]
mod tests;
