//! A packet between two hooks, and what the rules of a hook do to it.

use conntab::tuple::{Zone, protocol};
use conntab::{CtState, Verdict};

use super::fragments::Pieces;
use super::ip::Ip;
use super::matching::Asked;
use super::reject::Reject;
use super::rules::{Action, Number, Place, Rule};
use super::tracker::{Tracker, Wishes};

/// A packet under way.
pub(super) struct Transit {
    pub ip: Ip,
    pub side: u8,
    pub out: Option<u8>,
    /// `None`: not tracked yet.
    pub verdict: Option<Verdict>,
    pub wishes: Wishes,
    /// Of what it was put together.
    pub pieces: Option<Pieces>,
}

impl Transit {
    /// What rules see as its state.
    pub fn state(&self) -> CtState {
        match &self.verdict {
            Some(verdict) if verdict.state == CtState::Invalid && self.wishes.notrack => CtState::Untracked,
            Some(verdict) => verdict.state,
            None if self.wishes.notrack => CtState::Untracked,
            // It has a template then, which looks like a new connection.
            None if self.wishes.zones.is_some() => CtState::New,
            None => CtState::Invalid,
        }
    }
}

/// What the rules of a place decided.
pub(super) enum Fate {
    GoesOn,
    Dropped,
    Rejected(Reject),
}

/// Asks the rules of a place, in order.
pub(super) fn ask(rules: &[Rule], place: Place, tracker: &mut Tracker, transit: &mut Transit) -> Fate {
    for rule in rules.iter().filter(|rule| rule.at == place) {
        let asked = Asked { ip: &transit.ip, side: transit.side, out: transit.out, state: transit.state() };
        if !asked.matches(rule) {
            continue;
        }
        for action in &rule.actions {
            match act(action, tracker, transit) {
                Fate::GoesOn => {}
                end => return end,
            }
        }
    }
    Fate::GoesOn
}

/// Does what a rule says.
fn act(action: &Action, tracker: &mut Tracker, transit: &mut Transit) -> Fate {
    let length = transit.ip.bytes.len() as u32;
    let number = |n: &Number| match n {
        Number::Given(n) => *n,
        Number::Length => length,
    };
    match (action, &mut transit.verdict) {
        // Not of what has a zone. After tracking it is about what is INVALID.
        (Action::NoTrack, verdict) => {
            if transit.wishes.zones.is_none() || verdict.is_some() {
                transit.wishes.notrack = true;
            }
        }
        (Action::Zone(zone), None) => tracked_in(&mut transit.wishes, [*zone, *zone]),
        (Action::ZoneOriginal(zone), None) => tracked_in(&mut transit.wishes, [*zone, 0]),
        (Action::Zone(_) | Action::ZoneOriginal(_), Some(_)) => {}
        (
            Action::Mark(_) | Action::MarkOr(_) | Action::Timeout(_) | Action::Helper(_) | Action::Expect(_),
            None,
        ) => {}
        (Action::Helper(name), Some(verdict)) => tracker.set_helper(verdict, name),
        (Action::Expect(announced), Some(verdict)) => {
            if !tracker.expect(verdict, announced) {
                return Fate::Dropped;
            }
        }
        (Action::Mark(mark), Some(verdict)) => tracker.set_mark(verdict, number(mark)),
        (Action::MarkOr(mark), Some(verdict)) => {
            let mark = verdict.mark | number(mark);
            tracker.set_mark(verdict, mark);
        }
        (Action::Timeout(policy), Some(verdict)) => {
            if transit.ip.protocol() == Some(policy.protocol) {
                tracker.set_policy(verdict, policy);
            }
        }
        (Action::Drop, _) => return Fate::Dropped,
        (Action::Reject(reject), _) => {
            let about = match reject {
                Reject::TcpReset => transit.ip.protocol() == Some(protocol::TCP),
                Reject::Icmp { .. } => reject.code(transit.ip.l3).is_some(),
            };
            if about {
                return Fate::Rejected(*reject);
            }
        }
    }
    Fate::GoesOn
}

/// The first zone holds, and what has one is tracked whatever was said before.
fn tracked_in(wishes: &mut Wishes, zones: [Zone; 2]) {
    wishes.notrack = false;
    wishes.zones.get_or_insert(zones);
}
