//! The text of an event: what of a ctnetlink message is recorded.

use conntab::connection::{Tracked, protocol_name};
use conntab::event::{Event, EventKind, change};
use conntab::expect::Expectation;

/// A protocol's name, or its number.
pub(super) fn protocol(l4: u8) -> String {
    match protocol_name(l4) {
        "unknown" => l4.to_string(),
        name => name.to_owned(),
    }
}

pub(super) fn text(event: &Event) -> String {
    let connection = &event.connection;
    if let Some(Expectation { tuple, .. }) = &event.expectation {
        return format!("{} {} {tuple}", event.kind.as_str(), protocol(tuple.l4));
    }
    let mut text =
        format!("{} {} {}", event.kind.as_str(), protocol(connection.original.l4), connection.original);
    let mut has = Vec::new();
    if event.kind == EventKind::Destroy || event.changes & change::PROTOINFO != 0 {
        match connection.tracked {
            Tracked::Tcp(state, _) => text += &format!(" tcp={}", state.as_str()),
            // The recorder tells its number.
            Tracked::Sctp(state, _) => text += &format!(" sctp={}", state as u8),
            Tracked::None | Tracked::Gre(..) => {}
        }
        if connection.tracked.state().is_some() {
            has.push("protoinfo");
        }
    }
    if connection.zone_orig == connection.zone_reply && connection.zone_orig != 0 {
        text += &format!(" zone={}", connection.zone_orig);
    }
    text += &format!(" status=0x{:x}", connection.status);
    if connection.helper.is_some() {
        has.push("help");
    }
    if connection.mark != 0 || event.changes & change::MARK != 0 {
        has.push("mark");
    }
    if connection.master.is_some() {
        has.push("master");
    }
    if !has.is_empty() {
        text += &format!(" has={}", has.join(","));
    }
    text
}
