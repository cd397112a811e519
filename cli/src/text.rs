//! Verdicts and events as lines for people. (The table's lines are the library's: the kernel's.)

use std::io::{self, Write};

use conntab::connection::protocol_name;
use conntab::event::Event;
use conntab::packet::{CtState, Packet, Verdict};
use conntab::reason::Reason;
use conntab::tuple::{Direction, Tuple};
use conntab::wire;

use crate::time::Time;

/// What is known of a packet.
pub(crate) struct Judged<'a> {
    pub(crate) time: Time,
    /// `None`: the frame carries no IP.
    pub(crate) verdict: Option<&'a Verdict>,
    pub(crate) reason: Reason,
    pub(crate) tuple: Option<Tuple>,
}

impl Judged<'_> {
    pub(crate) fn verdict_name(&self) -> Option<&'static str> {
        self.verdict.map(|v| v.state.as_str())
    }

    pub(crate) fn direction_name(&self) -> Option<&'static str> {
        self.verdict.and_then(Verdict::direction).map(|direction| match direction {
            Direction::Original => "original",
            Direction::Reply => "reply",
        })
    }

    pub(crate) fn reason_name(&self) -> Option<&'static str> {
        (self.reason != Reason::None).then(|| self.reason.as_str())
    }
}

/// One line: time, verdict, direction, reason, tuple.
pub(crate) fn verdict(out: &mut impl Write, judged: &Judged<'_>) -> io::Result<()> {
    let [verdict, direction, reason] = [judged.verdict_name(), judged.direction_name(), judged.reason_name()]
        .map(|name| name.unwrap_or("-"));
    write!(out, "{} {verdict:<11} {direction:<8} {reason:<22} ", judged.time)?;
    match &judged.tuple {
        // The ports of a fragment are not looked at.
        Some(tuple) if judged.verdict.is_some_and(|verdict| verdict.state == CtState::Fragment) => {
            writeln!(out, "{} {}", protocol_name(tuple.l4), Tuple { l4: u8::MAX, ..*tuple })
        }
        Some(tuple) => writeln!(out, "{} {tuple}", protocol_name(tuple.l4)),
        None => writeln!(out, "-"),
    }
}

/// One line, as `conntrack -E -o timestamp` prints it.
pub(crate) fn event(out: &mut impl Write, time: Time, event: &Event) -> io::Result<()> {
    writeln!(out, "[{}]\t{event}", time.micros())
}

/// What identifies a packet, as it stands in its headers; `None` if they make no sense.
pub(crate) fn tuple_of(packet: &Packet<'_>) -> Option<Tuple> {
    let headers = wire::parse(packet.bytes(), packet.wire_len()).ok()?;
    Some(Tuple::of(&headers))
}
