//! The way of a packet through the router: hooks, rules, routing, and what the router answers.

use std::net::IpAddr;

use conntab::tuple::{Direction, L3};
use conntab::{CtState, Verdict};

use super::answer::{self, Fault, Resetting};
use super::fragments::{self, Defragmented};
use super::ip::{Ip, Refused};
use super::options::{self, Judged};
use super::reject::Reject;
use super::route::{self, Route};
use super::rules::{Action, Host, Place, Rule};
use super::scenario::Arrival;
use super::service::{self, Answer};
use super::tracker::{Tracker, Wishes};
use super::transit::{self, Fate, Transit};
use super::words::{self, Known};

pub(super) struct Router {
    pub tracker: Tracker,
    /// `nf_conntrack_log_invalid`: the protocol that is logged, 0 for none, 255 for all.
    pub log_invalid: u8,
    rules: Vec<Rule>,
    /// Identification of the next IPv4 packet of its own.
    id: u16,
    /// Who has told the link-layer address that it has on a side.
    neighbours: Vec<(u8, IpAddr)>,
    /// What waits for others to do so.
    waiting: Vec<((u8, IpAddr), Vec<u8>)>,
}

/// What was seen of a packet.
pub(super) struct Seen {
    /// Right after tracking.
    pub state: &'static str,
    pub dir: Option<Direction>,
    /// What the kernel would have logged.
    pub reasons: Vec<String>,
    /// It was delivered to the router itself.
    pub local: bool,
    /// The router had something to say itself.
    pub answered: bool,
    /// What came out of either side.
    pub out: Vec<(u8, Vec<u8>)>,
}

impl Router {
    pub fn new(tracker: Tracker) -> Self {
        Self {
            tracker,
            log_invalid: u8::MAX,
            rules: Vec::new(),
            id: 1,
            neighbours: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Adds rules and NAT chains to those there are. Chains that come later are asked first, as in netfilter at equal
    /// priority (tests/recorded: rules-later).
    pub fn add(&mut self, host: &Host) -> Result<(), String> {
        let mut rules = host.rules.clone();
        for action in rules.iter_mut().flat_map(|rule| &mut rule.actions) {
            if let Action::Timeout(policy) = action {
                self.tracker.add_policy(policy)?;
            }
        }
        self.rules.splice(..0, rules);
        if host.nat { self.tracker.nat_hooks() } else { Ok(()) }
    }

    pub fn packet(&mut self, arrival: &Arrival) -> Result<Seen, String> {
        let mut seen = Seen {
            state: "NONE",
            dir: None,
            reasons: Vec::new(),
            local: false,
            answered: false,
            out: Vec::new(),
        };
        let side = arrival.side;
        let ip = match Ip::receive(&arrival.bytes) {
            Ok(ip) => ip,
            Err(Refused::Silently) => return Ok(seen),
            Err(Refused::ParameterProblem(ip, code, pointer)) => {
                self.tell(&ip, side, Fault { kind: 4, code, rest: pointer }, None, &mut seen);
                return Ok(seen);
            }
        };
        let (ip, pieces, reassembled) = match self.tracker.defragmented(&ip.bytes, side) {
            Defragmented::Held => return Ok(seen),
            Defragmented::AsItIs => match ip.without_atomic_fragment() {
                Some(ip) => (ip, None, true),
                None => (ip, None, false),
            },
            Defragmented::Whole(bytes, pieces) => match Ip::reassembled(&bytes) {
                Some(ip) => (ip, Some(pieces), true),
                None => return Ok(seen),
            },
        };
        let mut transit = Transit { ip, side, out: None, verdict: None, wishes: Wishes::default(), pieces };
        seen.state = "DROP";
        if self.ends(Place::Raw, &mut transit, &mut seen) {
            return Ok(seen);
        }
        let known = self.tracker.known(&transit.ip, transit.wishes);
        let verdict = self.tracker.arrives(&transit.ip.bytes, transit.wishes, reassembled);
        transit.wishes.notrack = false;
        self.log(&transit.ip, known.as_ref(), &verdict, &mut seen);
        if verdict.state == CtState::Drop {
            return Ok(seen);
        }
        transit.verdict = Some(verdict);
        if self.ends(Place::Mangle, &mut transit, &mut seen) {
            return Ok(seen);
        }
        seen.state = transit.state().as_str();
        seen.dir = transit.verdict.as_ref().and_then(Verdict::direction);
        match options::judge(&transit.ip) {
            Judged::Good => options::clear_rest(&mut transit.ip),
            Judged::Lost => {
                self.lost(&mut transit);
                return Ok(seen);
            }
            Judged::Problem(pointer) => {
                let fault = Fault { kind: 12, code: 0, rest: u32::from(pointer) << 24 };
                self.tell(&transit.ip, side, fault, transit.verdict.as_ref(), &mut seen);
                self.lost(&mut transit);
                return Ok(seen);
            }
            Judged::NotPlayed(kind) => return Err(format!("IPv4 option {kind} is not played here")),
        }
        match route::input(transit.ip.src, transit.ip.dst, side) {
            Route::Out(out) => self.forward(&mut transit, out, true, &mut seen),
            Route::Waits(out) => self.forward(&mut transit, out, false, &mut seen),
            Route::Local => self.deliver(&mut transit, true, &mut seen),
            Route::Broadcast | Route::Group => self.deliver(&mut transit, false, &mut seen),
            // Its time is looked at before its scope.
            Route::Unreachable(2) if transit.ip.hop_limit() <= 1 => {
                self.forward(&mut transit, side, false, &mut seen);
            }
            Route::Unreachable(code) => {
                self.tell(&transit.ip, side, Fault::new(1, code), transit.verdict.as_ref(), &mut seen);
                self.lost(&mut transit);
            }
            Route::Nowhere => self.lost(&mut transit),
        }
        if seen.answered && options::records_route(&transit.ip) {
            return Err("an answer to a packet that records its route is not played here".to_owned());
        }
        Ok(seen)
    }

    fn log(&self, ip: &Ip, known: Option<&Known>, verdict: &Verdict, seen: &mut Seen) {
        if self.log_invalid == u8::MAX || ip.protocol() == Some(self.log_invalid) {
            seen.reasons.extend(words::about(ip, known, verdict));
        }
    }

    /// Whether the rules of a place end the packet's way.
    fn ends(&mut self, place: Place, transit: &mut Transit, seen: &mut Seen) -> bool {
        match transit::ask(&self.rules, place, &mut self.tracker, transit) {
            Fate::GoesOn => return false,
            Fate::Dropped => {}
            Fate::Rejected(reject) => self.reject(reject, transit, seen),
        }
        self.lost(transit);
        true
    }

    /// It leads no further.
    fn lost(&mut self, transit: &mut Transit) {
        if let Some(verdict) = &mut transit.verdict {
            self.tracker.confirm(verdict, false);
        }
    }

    /// It passes the last hook. Whether it may: its connection's helper may drop it, or it may have lost a clash.
    fn confirmed(&mut self, transit: &mut Transit, seen: &mut Seen) -> bool {
        let Some(verdict) = &mut transit.verdict else { return true };
        let passes = self.tracker.help(&transit.ip.bytes, verdict);
        if !passes && let Some(helper) = self.tracker.helper_of(verdict) {
            seen.reasons.extend(words::helper(&transit.ip, helper, verdict.reason));
        }
        self.tracker.confirm(verdict, passes);
        verdict.state != CtState::Drop
    }

    /// `answered`: the neighbour there answers for its address.
    fn forward(&mut self, transit: &mut Transit, out: u8, answered: bool, seen: &mut Seen) {
        if transit.ip.hop_limit() <= 1 {
            let fault = if transit.ip.l3 == L3::V4 { Fault::new(11, 0) } else { Fault::new(3, 0) };
            self.tell(&transit.ip, transit.side, fault, transit.verdict.as_ref(), seen);
            return self.lost(transit);
        }
        transit.out = Some(out);
        transit.ip.decrement();
        options::settle(&mut transit.ip);
        if transit.ip.l3 == L3::V4 {
            options::record_route(&mut transit.ip, route::own_v4(out));
        }
        if self.ends(Place::Forward, transit, seen) {
            return;
        }
        if self.confirmed(transit, seen) && answered {
            let verified = self.tracker.verifies() && transit.state() != CtState::Untracked;
            let sent = fragments::split(&transit.ip, transit.pieces.as_ref(), verified);
            seen.out.extend(sent.into_iter().map(|bytes| (out, bytes)));
        }
    }

    /// `alone`: it was meant for the router alone.
    fn deliver(&mut self, transit: &mut Transit, alone: bool, seen: &mut Seen) {
        seen.local = true;
        if self.confirmed(transit, seen) {
            self.answer(transit, alone, seen);
        }
    }

    /// What the router, on which nobody listens, answers.
    fn answer(&mut self, transit: &Transit, alone: bool, seen: &mut Seen) {
        let ip = &transit.ip;
        match service::answer(ip, alone, route::own_v6(transit.side)) {
            Answer::Nothing => {}
            Answer::Reset => {
                if let Some(reset) = answer::reset(ip, Resetting::Host) {
                    self.send(reset, transit.side, None, seen);
                }
            }
            Answer::EchoReply => {
                let src = if alone { ip.dst } else { route::own_v6(transit.side).into() };
                if let Some(reply) = answer::echo_reply(ip, src, self.id) {
                    self.id = self.id.wrapping_add(1);
                    self.send(reply, transit.side, None, seen);
                }
            }
            Answer::Advertisement { addressed, told } => {
                self.advertise(ip, transit.side, addressed, told, seen)
            }
            Answer::Fault(fault) => {
                let cause = service::read(ip, fault);
                self.tell(&cause, transit.side, fault, transit.verdict.as_ref(), seen);
            }
        }
    }

    /// Answers a neighbour's question for the link-layer address, not by way of a route. `told`: it has told its own. To one
    /// that has not, the answer waits until it does.
    fn advertise(&mut self, ip: &Ip, side: u8, addressed: bool, told: bool, seen: &mut Seen) {
        let Some(answer) = answer::advertisement(ip, side, addressed) else { return };
        let neighbour = (side, ip.src);
        if told && !self.neighbours.contains(&neighbour) {
            self.neighbours.push(neighbour);
        }
        if self.neighbours.contains(&neighbour) || route::is_neighbour(ip.src, side) {
            let due = self.waiting.extract_if(.., |(to, _)| *to == neighbour).map(|(_, answer)| answer);
            seen.out.extend(due.chain([answer]).map(|answer| (side, answer)));
        } else if !addressed {
            self.waiting.push((neighbour, answer));
        }
    }

    fn reject(&mut self, reject: Reject, transit: &Transit, seen: &mut Seen) {
        let (ip, cause) = (&transit.ip, transit.verdict.as_ref());
        // Nobody vouches for where it came from.
        if answer::broken(ip) {
            return;
        }
        match reject {
            Reject::TcpReset => {
                if let Some(reset) = answer::reset(ip, Resetting::Rule) {
                    if let Some(verdict) = cause {
                        self.tracker.set_closing(verdict);
                    }
                    self.send(reset, transit.side, cause, seen);
                }
            }
            Reject::Icmp { .. } => {
                if let Some(code) = reject.code(ip.l3) {
                    let kind = if ip.l3 == L3::V4 { 3 } else { 1 };
                    let src = Self::source(ip, transit.side, true);
                    self.tell_from(src, ip, transit.side, Fault::new(kind, code), cause, seen);
                }
            }
        }
    }

    /// Sends an ICMP error about a packet.
    fn tell(&mut self, cause: &Ip, side: u8, fault: Fault, verdict: Option<&Verdict>, seen: &mut Seen) {
        self.tell_from(Self::source(cause, side, false), cause, side, fault, verdict, seen);
    }

    fn tell_from(
        &mut self,
        src: Option<IpAddr>,
        cause: &Ip,
        side: u8,
        fault: Fault,
        verdict: Option<&Verdict>,
        seen: &mut Seen,
    ) {
        // RFC 1812 section 4.3.2.7: not about what was sent to many.
        let many = matches!(route::output(cause.dst, side), Route::Broadcast | Route::Group);
        let src = src.filter(|_| !many || cause.l3 == L3::V6);
        if let Some(error) = src.and_then(|src| answer::error(cause, fault, src, self.id)) {
            self.id = self.id.wrapping_add(1);
            self.send(error, side, verdict, seen);
        }
    }

    /// The address from which the router speaks about a packet: that to which it was sent, if it is its own; else its
    /// own where the sender is (IPv4), or where the packet came in (IPv6). A rule that rejects before routing does not know
    /// of IPv4 that it is its own.
    fn source(cause: &Ip, side: u8, by_rule: bool) -> Option<IpAddr> {
        let unknown = by_rule && cause.l3 == L3::V4;
        if !unknown && route::output(cause.dst, side) == Route::Local {
            return Some(cause.dst);
        }
        if cause.l3 == L3::V6 {
            return Some(route::own_v6(side).into());
        }
        match route::output(cause.src, side) {
            Route::Out(side) | Route::Waits(side) => Some(route::own_v4(side).into()),
            _ => None,
        }
    }

    /// Sends a packet of the router's own. `cause`: the verdict of the packet it is about, to whose connection it is
    /// attached if there is one.
    fn send(&mut self, bytes: Vec<u8>, side: u8, cause: Option<&Verdict>, seen: &mut Seen) {
        let Ok(ip) = Ip::receive(&bytes) else { return };
        let route = route::output(ip.dst, side);
        if route == Route::Nowhere {
            return;
        }
        match cause {
            Some(cause) if !cause.conn.is_none() => self.tracker.sends_attached(cause),
            _ => {
                let known = self.tracker.known(&ip, Wishes::default());
                let mut verdict = self.tracker.sends(&bytes);
                self.log(&ip, known.as_ref(), &verdict, seen);
                let passes = self.tracker.help(&bytes, &mut verdict);
                self.tracker.confirm(&mut verdict, passes);
                if !passes || verdict.state == CtState::Drop {
                    return;
                }
            }
        }
        seen.answered = true;
        if let Route::Out(out) = route {
            seen.out.extend(fragments::split(&ip, None, false).into_iter().map(|bytes| (out, bytes)));
        }
    }
}
