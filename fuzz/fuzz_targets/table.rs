//! The bare table beside a plain map (`src/table/tests/plain.rs`): three bytes of sizes, then operations.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| conntab::play_table(input, conntab_fuzz::planted("table-expires-late")));
