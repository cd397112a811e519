//! What a replay counted.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use conntab::packet::{CtState, Verdict};
use conntab::reason::Reason;

use crate::time::Time;

/// All verdicts, in the order in which they are shown.
const STATES: [CtState; 7] = [
    CtState::New,
    CtState::Established,
    CtState::Related,
    CtState::Invalid,
    CtState::Untracked,
    CtState::Drop,
    CtState::Fragment,
];

#[derive(Default)]
pub(crate) struct Summary {
    /// Frames played, those without IP included.
    pub(crate) packets: u64,
    /// Of these, without IP.
    pub(crate) not_ip: u64,
    /// Frames after `--at`: not played.
    pub(crate) not_played: u64,
    /// Packet blocks that made no sense.
    pub(crate) damaged: u64,
    /// Packets of a link type that is not understood.
    pub(crate) foreign: u64,
    /// How often the capture's clock went back.
    pub(crate) went_back: u64,
    /// Times of the first and the last frame played; the last is the greatest.
    pub(crate) first: Option<Time>,
    pub(crate) last: Time,
    /// Why the capture could not be read to its end.
    pub(crate) incomplete: Option<String>,
    /// Connections that were created, those that ended by timeout, by a packet (a reset, say) or by eviction, and those
    /// at the end.
    pub(crate) created: u64,
    pub(crate) expired: u64,
    pub(crate) ended: u64,
    pub(crate) evicted: u64,
    pub(crate) connections: u64,
    verdicts: [u64; STATES.len()],
    reasons: BTreeMap<(&'static str, Reason), u64>,
}

impl Summary {
    pub(crate) fn count(&mut self, verdict: &Verdict) {
        self.verdicts[verdict.state as usize] += 1;
        let lost = verdict.state == CtState::Fragment && verdict.reason != Reason::Fragment;
        if lost || matches!(verdict.state, CtState::Invalid | CtState::Drop) {
            *self.reasons.entry((verdict.state.as_str(), verdict.reason)).or_default() += 1;
        }
    }

    /// Name and number of each verdict, in lower case.
    pub(crate) fn verdicts(&self) -> impl Iterator<Item = (String, u64)> {
        STATES.iter().map(|state| (state.as_str().to_lowercase(), self.verdicts[*state as usize]))
    }

    /// Why packets were judged as this state, and how many.
    pub(crate) fn reasons(&self, state: CtState) -> impl Iterator<Item = (&'static str, u64)> {
        let name = state.as_str();
        self.reasons
            .iter()
            .filter(move |((s, _), _)| *s == name)
            .map(|((_, reason), n)| (reason.as_str(), *n))
    }

    fn span(&self) -> Duration {
        Duration::from_nanos(self.last.0 - self.first.unwrap_or(self.last).0)
    }

    /// For people.
    pub(crate) fn write(&self, out: &mut impl Write, took: Duration) -> io::Result<()> {
        let seconds = took.as_secs_f64();
        let rate = if seconds > 0.0 { self.packets as f64 / seconds } else { 0.0 };
        write!(out, "packets      {} in {:.3} s of capture", self.packets, self.span().as_secs_f64())?;
        write!(out, ", played in {seconds:.3} s ({rate:.0} packets/s)")?;
        for (n, what) in [
            (self.not_ip, "without IP"),
            (self.damaged, "damaged"),
            (self.foreign, "of other link types"),
            (self.not_played, "after the time asked for"),
            (self.went_back, "behind the latest time"),
        ] {
            if n > 0 {
                write!(out, "; {n} {what}")?;
            }
        }
        write!(out, "\nconnections  {} at the end", self.connections)?;
        write!(out, "; {} created, {} expired", self.created, self.expired)?;
        writeln!(out, ", {} ended by a packet, {} evicted", self.ended, self.evicted)?;
        write!(out, "verdicts    ")?;
        for (name, n) in self.verdicts() {
            write!(out, " {name} {n}")?;
        }
        writeln!(out)?;
        for state in [CtState::Invalid, CtState::Drop, CtState::Fragment] {
            let mut label = state.as_str().to_lowercase();
            for (reason, n) in self.reasons(state) {
                writeln!(out, "{label:<12} {n} {reason}")?;
                label.clear();
            }
        }
        Ok(())
    }
}
