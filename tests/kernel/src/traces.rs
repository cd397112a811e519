//! Which scenarios leave more behind in a router than connections, settings and rules: those need one of their own.

use serde_json::Value;

use crate::record::{bytes, steps};

/// Fragments wait for the others; and what is sent to the router's own networks, or to many, leaves something in its tables
/// of neighbours.
pub fn leaves_traces(scenario: &Value) -> bool {
    packets(scenario).any(|packet| is_fragment(&packet) || !is_between_hosts(&packet))
}

/// Whether packets come in pieces.
pub fn has_fragments(scenario: &Value) -> bool {
    packets(scenario).any(|packet| is_fragment(&packet))
}

fn packets(scenario: &Value) -> impl Iterator<Item = Vec<u8>> {
    steps(scenario).iter().filter_map(|step| bytes(step.get("packet")?.as_str()?))
}

/// Whether it is a fragment, or may be one: behind any IPv6 extension header there may be a fragment's.
fn is_fragment(packet: &[u8]) -> bool {
    match packet.first().map(|first| first >> 4) {
        Some(4) => packet.get(6..8).is_some_and(|field| field[0] & 0x3f != 0 || field[1] != 0),
        Some(6) => matches!(packet.get(6), Some(0 | 43 | 44 | 51 | 60)),
        _ => false,
    }
}

/// From one host behind a side to another.
fn is_between_hosts(packet: &[u8]) -> bool {
    let behind = |address: &[u8]| matches!(address, [10, 0..=254, _, _] | [0xfd, 0, 0, 0..=0xfe, ..]);
    match packet.first().map(|first| first >> 4) {
        Some(4) => packet.get(12..20).is_some_and(|both| both.chunks(4).all(behind)),
        Some(6) => packet.get(8..40).is_some_and(|both| both.chunks(16).all(behind)),
        // Whatever that is, it goes nowhere.
        _ => false,
    }
}
