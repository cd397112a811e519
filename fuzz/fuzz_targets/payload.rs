//! Payloads of FTP and IRC. The first byte of an input says where it is from: bit 0 for IPv6, bit 1 for the server; the rest
//! is the payload.
#![no_main]

use conntab::tuple::Direction;
use libfuzzer_sys::fuzz_target;

#[path = "../../tests/payloads/invariants.rs"]
mod invariants;

fuzz_target!(|input: &[u8]| {
    let Some((from, payload)) = input.split_first() else { return };
    let direction = if from & 2 == 0 { Direction::Original } else { Direction::Reply };
    invariants::payload(from & 1 != 0, direction, u32::from(*from) << 24, payload);
});
