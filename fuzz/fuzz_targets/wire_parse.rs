//! IP packets. The first two bytes of an input (little endian) say how many bytes were on the wire but not captured;
//! the rest is the packet.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[expect(dead_code, reason = "shared with the tests and the other target")]
#[path = "../../tests/wire/invariants.rs"]
mod invariants;

fuzz_target!(|input: &[u8]| {
    let Some((missing, data)) = input.split_first_chunk::<2>() else { return };
    invariants::packet(data, data.len() as u32 + u32::from(u16::from_le_bytes(*missing)));
    invariants::options(data);
});
