//! Sequences of calls of the C ABI, made in C by its header: `c/ffi.c`.
#![no_main]

use conntab as _;
use libfuzzer_sys::fuzz_target;

unsafe extern "C" {
    fn fuzz_ffi(at: *const u8, left: usize, planted: std::ffi::c_int);
}

fuzz_target!(|input: &[u8]| {
    let planted = conntab_fuzz::planted("ffi-deleted-twice");
    // SAFETY: the bytes of a slice, which it only reads.
    unsafe { fuzz_ffi(input.as_ptr(), input.len(), planted.into()) }
});
