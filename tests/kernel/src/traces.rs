//! Which scenarios leave more behind in a router than connections, settings and rules: those need one of their own.

use serde_json::Value;

use crate::record::{bytes, steps};

/// Fragments wait for the others; and what is sent to the router's own networks, or to many, leaves
/// something in its tables of neighbours.
pub fn leaves_traces(scenario: &Value) -> bool {
    let mut packets = steps(scenario).iter().filter_map(|step| bytes(step.get("packet")?.as_str()?));
    packets.any(|packet| !is_plain(&packet))
}

/// From one host behind a side to another, and no fragment.
fn is_plain(packet: &[u8]) -> bool {
    let behind = |address: &[u8]| matches!(address, [10, 0..=254, _, _] | [0xfd, 0, 0, 0..=0xfe, ..]);
    match packet.first().map(|first| first >> 4) {
        Some(4) => {
            let fragment = packet.get(6..8).is_some_and(|field| field[0] & 0x3f != 0 || field[1] != 0);
            packet.get(12..20).is_some_and(|both| both.chunks(4).all(behind)) && !fragment
        }
        Some(6) => {
            // Behind any header there may be a fragment's.
            let simple = matches!(packet.get(6), Some(6 | 17 | 47 | 58 | 132 | 136));
            packet.get(8..40).is_some_and(|both| both.chunks(16).all(behind)) && simple
        }
        // Whatever that is, it goes nowhere.
        _ => false,
    }
}
