//! Plays a scenario: time passes, settings change, packets come, and after each step the table is read.

use conntab::Connection;
use conntab::connection::{Master, Tracked};
use conntab::expect::Expectation;

use super::Problem;
use super::events::protocol;
use super::router::{Router, Seen};
use super::rules::Action;
use super::scenario::{self, Scenario, Setting, Setup};
use super::tracker::Tracker;

/// More lines of the table than recordings have, over all steps: there are steps times connections, all held in memory.
const MOST_LINES: usize = 200_000;

/// What was seen of a step.
pub(super) struct Moment {
    /// Milliseconds since the beginning.
    pub time: u64,
    pub verdict: Option<Seen>,
    /// The table's lines, sorted.
    pub table: Vec<String>,
    /// What is expected, sorted.
    pub expect: Vec<String>,
    pub events: Vec<String>,
}

pub(super) fn play(scenario: &Scenario, origin: u64) -> Result<Vec<Moment>, Problem> {
    let mut router = make(scenario, origin).map_err(|what| Problem { step: None, what })?;
    let (mut time, mut lines) = (0, 0);
    let mut moments = Vec::with_capacity(scenario.steps.len());
    for (at, step) in scenario.steps.iter().enumerate() {
        let problem = |what| Problem { step: Some(at), what };
        time += step.wait;
        router.tracker.wait(step.wait);
        // The order in which a recording is made.
        set(&mut router, &step.setup).map_err(problem)?;
        router.add(&step.setup.host).map_err(problem)?;
        let verdict =
            step.packet.as_ref().map(|packet| router.packet(packet)).transpose().map_err(problem)?;
        router.tracker.sweep();
        let mut table: Vec<_> = router.tracker.connections().map(|c| line(&c)).collect();
        let mut expect: Vec<_> = router.tracker.expectations().map(|e| expectation(&e)).collect();
        expect.sort();
        lines += table.len() + expect.len();
        if lines > MOST_LINES {
            return Err(problem(format!("all steps' tables together have more than {MOST_LINES} lines")));
        }
        table.sort_by_cached_key(|line| without_seconds(line));
        let events = router.tracker.events();
        moments.push(Moment { time, verdict, table, expect, events });
    }
    Ok(moments)
}

fn make(scenario: &Scenario, origin: u64) -> Result<Router, String> {
    let setups = std::iter::once(&scenario.setup).chain(scenario.steps.iter().map(|step| &step.setup));
    let actions = setups.flat_map(|setup| &setup.host.rules).flat_map(|rule| &rule.actions);
    let policies = actions.filter(|action| matches!(action, Action::Timeout(_))).count();
    let policies = u8::try_from(policies).map_err(|_| "more than 255 timeout policies".to_owned())?;
    let mut router = Router::new(Tracker::new(origin, policies)?);
    // Rules come first: what a timeout policy does not name keeps its default.
    router.add(&scenario.setup.host)?;
    set(&mut router, &scenario.setup)?;
    Ok(router)
}

fn set(router: &mut Router, setup: &Setup) -> Result<(), String> {
    for Setting { name, value } in &setup.sysctl {
        match name.as_str() {
            scenario::LOG_INVALID => router.log_invalid = *value as u8,
            name => router.tracker.set(name, *value)?,
        }
    }
    Ok(())
}

/// A connection as it is recorded: the line of `/proc/net/nf_conntrack` without `use=` and with single spaces, then
/// what that file does not show.
fn line(connection: &Connection) -> String {
    let text = connection.to_string();
    let text = text.rsplit_once(" use=").map_or(text.as_str(), |(text, _)| text);
    let words: Vec<_> = text
        .split_ascii_whitespace()
        .filter(|word| !word.starts_with("timeout=") && !word.starts_with("stream_timeout="))
        .collect();
    let mut line = format!("{} ; status=0x{:x}", words.join(" "), connection.status);
    match connection.tracked {
        Tracked::Tcp(_, Some(record)) => {
            let [a, b] = record.ends;
            line += &format!(" wscale={}/{} tcpflags=0x{:02x}/0x{:02x}", a.scale, b.scale, a.flags, b.flags);
        }
        Tracked::Sctp(_, Some(record)) => {
            let [a, b] = record.tags;
            line += &format!(" vtag=0x{a:08x}/0x{b:08x}");
        }
        _ => {}
    }
    if let Some(helper) = connection.helper {
        line += &format!(" helper={helper}");
    }
    if let Some(Master { tuple, .. }) = &connection.master {
        line += &format!(" master=[{} {tuple}]", protocol(tuple.l4));
    }
    line
}

/// A line of `/proc/net/nf_conntrack_expect`, with single spaces.
fn expectation(expectation: &Expectation) -> String {
    expectation.to_string().trim_end().to_owned()
}

/// What lines are sorted by.
fn without_seconds(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    if words.len() > 4 {
        words.remove(4);
    }
    words.join(" ")
}
