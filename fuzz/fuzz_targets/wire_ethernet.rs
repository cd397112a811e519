//! Ethernet frames.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/wire/invariants.rs"]
mod invariants;

fuzz_target!(|input: &[u8]| invariants::frame(input));
