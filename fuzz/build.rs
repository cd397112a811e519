//! The C side of the target `ffi`. It is there for what it calls: no coverage of its own is counted.
fn main() {
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-changed=../include/conntab.h");
    println!("cargo::rerun-if-changed=../ffi-tests/packets.h");
    cc::Build::new()
        .file("c/ffi.c")
        .include("../include")
        .include("../ffi-tests")
        .std("c11")
        .flag("-Wextra")
        .flag("-Wno-misleading-indentation")
        .compile("conntab_fuzz_ffi");
}
