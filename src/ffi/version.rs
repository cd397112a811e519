//! Chapter: version.

use std::ffi::c_char;

const fn number(text: &str) -> u32 {
    let bytes = text.as_bytes();
    let (mut value, mut at) = (0, 0);
    while at < bytes.len() {
        value = value * 10 + (bytes[at] - b'0') as u32;
        at += 1;
    }
    value
}

/// Major version of this header. Another one means another ABI.
pub const CONNTAB_VERSION_MAJOR: u32 = 0;
/// Minor version of this header. While the major version is 0, another one means another ABI.
pub const CONNTAB_VERSION_MINOR: u32 = 1;
/// Patch version of this header.
pub const CONNTAB_VERSION_PATCH: u32 = 0;

/// Version of this header as one number, to be compared with conntab_version().
pub const CONNTAB_VERSION: u32 = 1_000;

const _: () = {
    assert!(
        CONNTAB_VERSION
            == CONNTAB_VERSION_MAJOR * 1_000_000 + CONNTAB_VERSION_MINOR * 1_000 + CONNTAB_VERSION_PATCH
    );
    assert!(number(env!("CARGO_PKG_VERSION_MAJOR")) == CONNTAB_VERSION_MAJOR);
    assert!(number(env!("CARGO_PKG_VERSION_MINOR")) == CONNTAB_VERSION_MINOR);
    assert!(number(env!("CARGO_PKG_VERSION_PATCH")) == CONNTAB_VERSION_PATCH);
};

/// The version of the library that is linked, as one number: major * 1000000 + minor * 1000 + patch. To be compared
/// with CONNTAB_VERSION_*, which are those of the header. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_version() -> u32 {
    CONNTAB_VERSION
}

/// The version of the library that is linked, as text such as "0.1.0". Static: not to be freed. Any thread; never blocks.
#[unsafe(no_mangle)]
pub extern "C" fn conntab_version_string() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
