//! L5: the C ABI. One file per chapter of `include/conntab.h`, which is generated from the comments here: they are
//! written for C programmers. (Feature `capi`.)
//!
//! **Rules of the house.** What comes from C is not trusted: pointers may be NULL, numbers may name nothing, structs may be
//! shorter or longer than ours. Nothing is made a Rust enum, `bool` or reference before it was looked at. What only the
//! caller can know (that a pointer which is not NULL leads to what it says, that a handle is not used after it was freed)
//! is the caller's promise, and each `SAFETY` comment says `C promises`. A panic, which would be an error of ours, ends the
//! process at the boundary: no unwinding enters C.

mod config;
mod connection;
mod defrag;
mod error;
mod event;
mod expect;
mod helper;
mod packet;
mod section;
mod table;
#[cfg(all(test, not(conntab_loom)))]
mod tests;
mod version;
mod worker;

pub use config::*;
pub use connection::*;
pub use defrag::*;
pub use error::*;
pub use event::*;
pub use expect::*;
pub use helper::*;
pub use packet::*;
pub use section::*;
pub use table::*;
pub use version::*;
pub use worker::*;

use std::ffi::{CStr, c_char, c_int};

/// A string of C's, if it is one and holds UTF-8.
fn text<'a>(string: *const c_char) -> Result<&'a str, c_int> {
    if string.is_null() {
        return Err(CONNTAB_EINVAL);
    }
    // SAFETY: C promises a string that ends and outlives the call.
    let string = unsafe { CStr::from_ptr(string) };
    string.to_str().map_err(|_| CONNTAB_EINVAL)
}

/// Room for the longest name, ended by a 0.
type Name = [u8; 40];

/// Names as C reads them.
const fn ended<const N: usize>(texts: &[&str]) -> [Name; N] {
    let mut names = [[0; 40]; N];
    let mut at = 0;
    while at < N {
        let text = texts[at].as_bytes();
        assert!(text.len() < 40);
        let mut i = 0;
        while i < text.len() {
            names[at][i] = text[i];
            i += 1;
        }
        at += 1;
    }
    names
}

/// Writes text into a buffer as `snprintf` does: as much as fits, always ended; returns the length of the whole.
fn print(text: &str, buffer: *mut c_char, size: usize) -> usize {
    if !buffer.is_null() && size > 0 {
        let len = text.len().min(size - 1);
        // SAFETY: C promises room for `size` bytes; `len` + 1 are written. They cannot overlap our own text.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast(), len) };
        // SAFETY: as above.
        unsafe { buffer.wrapping_add(len).write(0) };
    }
    text.len()
}

/// Reads a struct of which the caller knows `size` bytes: what it does not know is as in `otherwise`; what we do not know
/// must be 0.
///
/// # Safety
/// `from` leads to `size` readable bytes, and any bytes are a valid `T`.
unsafe fn sized_in<T: Copy>(from: *const T, size: usize, otherwise: T) -> Result<T, c_int> {
    if from.is_null() || size == 0 || !from.is_aligned() {
        return Err(CONNTAB_EINVAL);
    }
    let known = size.min(size_of::<T>());
    for at in known..size {
        // SAFETY: within the `size` bytes that the caller promises.
        if unsafe { from.cast::<u8>().wrapping_add(at).read() } != 0 {
            return Err(CONNTAB_E2BIG);
        }
    }
    let mut value = otherwise;
    // SAFETY: `known` bytes are readable and fit; any bytes are a valid T.
    unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), (&raw mut value).cast(), known) };
    Ok(value)
}

/// Writes a struct of which the caller knows `size` bytes: no more than those; what we do not know becomes 0.
///
/// # Safety
/// `to` leads to `size` writable bytes.
unsafe fn sized_out<T>(value: &T, to: *mut T, size: usize) {
    let known = size.min(size_of::<T>());
    // SAFETY: `known` bytes are readable in `value` and writable at `to`, which is not ours.
    unsafe { std::ptr::copy_nonoverlapping((&raw const *value).cast::<u8>(), to.cast(), known) };
    if size > known {
        // SAFETY: the rest of what the caller promises.
        unsafe { to.cast::<u8>().wrapping_add(known).write_bytes(0, size - known) };
    }
}
