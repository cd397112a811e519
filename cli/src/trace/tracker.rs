//! The table, as the router uses it. All calls of the library are here.

use std::sync::Arc;

use conntab::config::Config;
use conntab::defrag::{Defrag, DefragConfig, Pushed};
use conntab::expect::{ExpectError, Expectation};
use conntab::helper::{Announce, Ftp, Helper, Irc, MAX_EXPECTED, Name, Tftp};
use conntab::packet::{Hook, packet_flag};
use conntab::tuple::{Tuple, Zone};
use conntab::{Connection, Packet, Table, Verdict, Worker, wire};

use super::events;
use super::fragments::{Defragmented, Pieces};
use super::ip::Ip;
use super::rules::{Announced, Policy};
use super::words::Known;

/// More connections than a scenario has.
const MAX: u32 = 4096;

/// What fragments may take, of either family.
const THRESH: u32 = 4 << 20;

/// More events than a step has.
const EVENTS: u32 = 16_384;

/// `nf_conntrack_expect_max` of the host on which the corpus was recorded.
const EXPECTATIONS: u32 = 4096;

/// The helpers there are.
const HELPERS: [fn() -> Arc<dyn Helper>; 3] = [|| Arc::new(Ftp), || Arc::new(Irc), || Arc::new(Tftp)];

/// The table wants a sweep over all entries within a day, since its 32-bit ticks wrap.
const STEP: u64 = 12 * 3_600_000;

/// What raw rules have said of a packet.
#[derive(Clone, Copy, Default)]
pub(super) struct Wishes {
    pub notrack: bool,
    /// Zones of either direction.
    pub zones: Option<[Zone; 2]>,
}

pub(super) struct Tracker {
    defrag: Defrag,
    table: Table,
    worker: Worker,
    now: u64,
    policies: u8,
}

impl Tracker {
    /// `policies`: how many timeout policies there may be.
    pub fn new(now: u64, policies: u8) -> Result<Self, String> {
        let config = Config {
            max: MAX,
            workers: 1,
            acct: true,
            events: EVENTS,
            timeout_policies: policies.into(),
            expect_max: EXPECTATIONS,
            prefault: false,
            ..Config::default()
        };
        let table = Table::new(config).map_err(|e| e.to_string())?;
        for helper in HELPERS {
            table.add_helper(helper()).map_err(|e| e.to_string())?;
        }
        let worker = table.worker().map_err(|e| e.to_string())?;
        let defrag = DefragConfig {
            ipfrag_high_thresh: THRESH,
            frag6_high_thresh: THRESH,
            prefault: false,
            ..DefragConfig::default()
        };
        let defrag = Defrag::new(defrag).map_err(|e| e.to_string())?;
        Ok(Self { defrag, table, worker, now, policies: 0 })
    }

    pub fn set(&mut self, name: &str, value: u32) -> Result<(), String> {
        if DefragConfig::NAMES.contains(&name) {
            // No scenario has more fragments than fit below the usual threshold.
            let most = if name.ends_with("_thresh") { THRESH } else { u32::MAX };
            return self.defrag.set(name, value.min(most)).map_err(|e| e.to_string());
        }
        self.table.set(name, value).map_err(|e| e.to_string())
    }

    /// Whether transport checksums of what arrives are looked at.
    pub fn verifies(&self) -> bool {
        self.table.tunables().checksum != 0
    }

    /// NAT chains exist from now on.
    pub fn nat_hooks(&mut self) -> Result<(), String> {
        self.set("nat_hooks", 1)
    }

    /// Gives a policy its number. What it does not name has its default, whatever the settings are: nft names all.
    pub fn add_policy(&mut self, policy: &mut Policy) -> Result<(), String> {
        let timeouts = policy.timeouts()?;
        self.policies += 1;
        policy.number = self.policies;
        self.table.set_timeout_policy(policy.number, &timeouts).map_err(|e| e.to_string())
    }

    /// Time passes, in steps, so that all that expires in it is seen to expire.
    pub fn wait(&mut self, ms: u64) {
        let target = self.now.saturating_add(ms);
        while target - self.now > STEP && self.table.count() > 0 {
            self.now += STEP;
            self.sweep();
        }
        self.now = target;
    }

    /// Ends what has expired.
    pub fn sweep(&mut self) {
        self.worker.reap(self.now, u32::MAX);
        self.defrag.expire(self.now, u32::MAX);
    }

    /// Hands a packet that came in from a side to reassembly.
    pub fn defragmented(&mut self, bytes: &[u8], side: u8) -> Defragmented {
        match self.defrag.push(self.now, &Packet::new(bytes), side.into()) {
            Pushed::Held | Pushed::Dropped(_) => Defragmented::Held,
            Pushed::NotAFragment => Defragmented::AsItIs,
            Pushed::Whole(whole) => Defragmented::Whole(whole.bytes().to_vec(), Pieces::of(&whole)),
        }
    }

    /// The connection that a packet will find.
    pub fn known(&mut self, ip: &Ip, wishes: Wishes) -> Option<Known> {
        let headers = wire::parse(&ip.bytes, ip.bytes.len() as u32).ok()?;
        let (tuple, now) = (Tuple::of(&headers), self.now);
        let unacknowledged = self.table.tunables().tcp_timeout_unacknowledged;
        let mut section = self.worker.section();
        wishes.zones.unwrap_or_default().into_iter().find_map(|zone| {
            let view = section.lookup(now, zone, &tuple)?;
            Some(Known { dir: view.direction(), connection: view.copy(now)?, unacknowledged })
        })
    }

    /// A packet that arrived. `reassembled`: in pieces.
    pub fn arrives(&mut self, bytes: &[u8], wishes: Wishes, reassembled: bool) -> Verdict {
        let flags = if wishes.notrack { packet_flag::NOTRACK } else { 0 };
        let flags = if reassembled { flags | packet_flag::REASSEMBLED } else { flags };
        let mut packet = Packet::new(bytes).with_flags(flags);
        [packet.zone_orig, packet.zone_reply] = wishes.zones.unwrap_or_default();
        self.track(packet)
    }

    /// A packet of the router's own, to be confirmed like others.
    pub fn sends(&mut self, bytes: &[u8]) -> Verdict {
        let mut packet = Packet::new(bytes);
        packet.hook = Hook::OUTPUT;
        self.track(packet)
    }

    fn track(&mut self, packet: Packet<'_>) -> Verdict {
        let mut verdicts = [Verdict::default()];
        self.worker.track(self.now, &[packet], &mut verdicts);
        let [verdict] = verdicts;
        verdict
    }

    /// Its connection's helper hears a packet that is about to leave, or to be delivered. `false`: it must not.
    pub fn help(&mut self, bytes: &[u8], verdict: &mut Verdict) -> bool {
        let mut verdicts = [*verdict];
        let left = self.worker.help(self.now, &[Packet::new(bytes)], &mut verdicts, 1);
        [*verdict] = verdicts;
        left != 0
    }

    /// The name of its connection's helper.
    pub fn helper_of(&mut self, verdict: &Verdict) -> Option<Name> {
        self.worker.section().get(verdict.conn)?.copy(self.now)?.helper
    }

    /// Of what is no unconfirmed connection of the helper's protocol, nothing changes.
    pub fn set_helper(&mut self, verdict: &mut Verdict, name: &str) {
        if let Some(helper) = self.table.helper(name) {
            let _ = self.worker.attach_helper(verdict, helper);
        }
    }

    /// A rule announces a connection: from the far end of this packet's to the near one. `false`: the packet is dropped for it.
    pub fn expect(&mut self, verdict: &Verdict, announced: &Announced) -> bool {
        // Of what is in the table the rule says nothing.
        if !verdict.unconfirmed {
            return true;
        }
        let Some(tuple) = self.tuple(verdict) else { return true };
        let announce = Announce {
            protocol: announced.protocol,
            from: Some(tuple.dst),
            to: tuple.src,
            port: announced.port,
            class: 0,
        };
        let (timeout, most) = (announced.timeout, announced.size.min(MAX_EXPECTED as u8));
        let done = self.worker.expect(self.now, verdict.conn, &announce.into(), timeout, most);
        matches!(done, Ok(()) | Err(ExpectError::Limit))
    }

    /// The tuple of a packet of this connection in this direction.
    fn tuple(&mut self, verdict: &Verdict) -> Option<Tuple> {
        Some(self.worker.section().get(verdict.conn)?.tuple(verdict.dir))
    }

    /// What is expected now.
    pub fn expectations(&self) -> impl Iterator<Item = Expectation> {
        self.table.expectations(self.now)
    }

    /// Whether the packet leaves, or is delivered, is settled. (It may lose a clash now: see the verdict's state.)
    pub fn confirm(&mut self, verdict: &mut Verdict, leaves: bool) {
        let mut verdicts = [*verdict];
        self.worker.confirm(self.now, &mut verdicts, leaves.into());
        [*verdict] = verdicts;
    }

    /// A packet of the router's own that is attached to the connection of the one that caused it: it changes nothing,
    /// but lets out the events that wait.
    pub fn sends_attached(&mut self, cause: &Verdict) {
        if !cause.unconfirmed {
            self.worker.confirm(self.now, &mut [*cause], 1);
        }
    }

    /// The router has reset the connection in the name of its ends.
    pub fn set_closing(&mut self, verdict: &Verdict) {
        self.worker.set_closing(self.now, verdict.conn);
    }

    pub fn set_mark(&mut self, verdict: &mut Verdict, mark: u32) {
        if self.worker.set_mark(verdict.conn, mark) {
            verdict.mark = mark;
        }
    }

    /// Of a connection that is in the table already, nothing changes.
    pub fn set_policy(&mut self, verdict: &Verdict, policy: &Policy) {
        let _ = self.worker.set_timeout_policy(verdict, policy.number);
    }

    /// What is in the table now.
    pub fn connections(&self) -> impl Iterator<Item = Connection> {
        self.table.dump(self.now)
    }

    /// What has happened since the last call.
    pub fn events(&mut self) -> Vec<String> {
        self.table.events().map(|event| events::text(&event)).collect()
    }
}
