//! The router of `docs/scenarios.md`, made of the running kernel: a network namespace with a device for each side, and
//! rules that tell by NFLOG what was decided of a packet.
//!
//! A rig belongs to the thread that made it, which is in its namespace from then on.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::thread::sleep;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::conntrack::{self, cta};
use crate::netlink::{Message, Netlink, REQUEST, REQUEST_ACK, Request};
use crate::network::{self, Port, Ports, frame, path, run, set, told};

/// So many packets are taken from a device in one go.
const MANY: usize = 64;

/// NFLOG groups: the kernel's own words about invalid packets, and our rules.
const WORDS: u16 = 0;
const RULES: u16 = 1;

/// `NFNL_SUBSYS_ULOG << 8`: a packet that was logged, and how to configure a group.
const LOGGED: u16 = 0x400;
const LOG_CONFIG: u16 = 0x401;
/// `NFULA_PREFIX`
const PREFIX: u16 = 10;

/// `NFNL_SUBSYS_CTNETLINK << 8`: get, delete.
const GET: u16 = 0x101;
const DELETE: u16 = 0x102;
/// `NLA_F_NESTED`
const NESTED: u16 = 0x8000;

/// `NFNLGRP_CONNTRACK_NEW` to `NFNLGRP_CONNTRACK_EXP_DESTROY`.
const EVENTS: [u32; 6] = [1, 2, 3, 4, 5, 6];

pub struct Rig {
    namespace: File,
    ports: [Port; 2],
    log: Netlink,
    events: Netlink,
    table: Netlink,
    known: Vec<Known>,
    /// The rules on top of its own; `None`: more have come since.
    rules: Option<String>,
    /// There is or may be an expectation.
    expecting: bool,
    /// Settings that are not what they were, with what they were.
    changed: BTreeMap<String, String>,
}

/// A connection that is in the table, as far as is known.
#[derive(Clone, PartialEq, Eq)]
struct Known {
    family: u8,
    original: Vec<u8>,
    zone: Option<Vec<u8>>,
}

/// What was seen of a packet.
#[derive(Default)]
pub struct Seen {
    /// What the rules said: `seen`, a state and a direction, `local`.
    pub rules: Vec<String>,
    /// What the kernel said.
    pub words: Vec<String>,
    /// What came out of either side.
    pub out: Vec<(usize, Vec<u8>)>,
}

/// The rules: one before tracking, one for each outcome right behind the rules of `mangle`, one for local delivery.
fn rules() -> String {
    let log = |prefix: &str| format!("log prefix \"{prefix}\" group {RULES} queue-threshold 1 snaplen 1\n");
    let mut verdicts = String::new();
    for state in ["new", "established", "related"] {
        for direction in ["original", "reply"] {
            let prefix = format!("{}/{direction}", state.to_uppercase());
            verdicts += &format!("ct state {state} ct direction {direction} {}", log(&prefix));
        }
    }
    for state in ["invalid", "untracked"] {
        verdicts += &format!("ct state {state} {}", log(&format!("{}/", state.to_uppercase())));
    }
    let chain = |name: &str, hook: &str, priority: i32, rules: &str| {
        format!("chain {name} {{ type filter hook {hook} priority {priority};\n{rules}}}\n")
    };
    format!(
        "table inet rig {{\n{}{}{}}}\n",
        chain("seen", "prerouting", -390, &log("seen")),
        chain("verdict", "prerouting", -145, &verdicts),
        chain("local", "input", 200, &log("local")),
    )
}

impl Rig {
    /// A new namespace for the calling thread, with these nft rules on top.
    pub fn new(ports: Ports, nft: &str) -> io::Result<Self> {
        let (namespace, ports) = network::make(ports)?;
        let mut log = Netlink::new(&[])?;
        for group in [WORDS, RULES] {
            // NFULA_CFG_CMD: bind; NFULA_CFG_MODE: nothing of the packet; NFULA_CFG_QTHRESH: each at once.
            for (kind, value) in [(1, &[1_u8][..]), (2, &[0, 0, 0, 0, 1, 0]), (5, &[0, 0, 0, 1])] {
                log.send(&Request::new(LOG_CONFIG, REQUEST_ACK, 0, 0, group).put(kind, value).finish())?;
                log.acknowledged()?;
            }
        }
        let mut rig = Self {
            namespace,
            ports,
            log,
            events: Netlink::new(&EVENTS)?,
            table: Netlink::new(&[])?,
            known: Vec::new(),
            rules: Some(nft.to_owned()),
            expecting: false,
            changed: BTreeMap::new(),
        };
        run("nft", &["-f", "-"], &format!("{}{nft}", rules()))?;
        rig.drain()?;
        Ok(rig)
    }

    /// Back to its namespace (the calling thread has been in another meanwhile), with these nft rules.
    pub fn enter(&mut self, nft: &str) -> io::Result<()> {
        setns(&self.namespace, CloneFlags::CLONE_NEWNET)?;
        if self.rules.as_deref() != Some(nft) {
            run("nft", &["-f", "-"], &format!("flush ruleset\n{}{nft}", rules()))?;
            self.rules = Some(nft.to_owned());
        }
        Ok(())
    }

    /// Adds nft rules.
    pub fn load(&mut self, nft: &str) -> io::Result<()> {
        self.rules = None;
        run("nft", &["-f", "-"], nft)
    }

    /// Changes a setting of the namespace; [`Rig::clear`] undoes it.
    pub fn set(&mut self, name: &str, value: &str) -> io::Result<()> {
        if !self.changed.contains_key(name) {
            let before = fs::read_to_string(path(name)).map_err(|e| told(name, e))?;
            self.changed.insert(name.to_owned(), before.trim().to_owned());
        }
        set(name, value)
    }

    /// No connection, and all settings as they were. Whether it could be done.
    pub fn clear(&mut self) -> io::Result<bool> {
        for (name, value) in std::mem::take(&mut self.changed) {
            set(&name, &value)?;
        }
        self.read_events(&mut Vec::new())?;
        let requests: Vec<u8> = (self.known.iter().zip(0..))
            .flat_map(|(known, at)| known.request(DELETE, REQUEST_ACK, at))
            .collect();
        if !requests.is_empty() {
            self.table.send(&requests)?;
            // One that has gone meanwhile is an error, and no harm.
            self.table.answers(self.known.len(), |_, _| {})?;
        }
        self.known.clear();
        self.drain()?;
        let count = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")?;
        Ok(count.trim() == "0" && self.expectations()?.is_empty())
    }

    /// Throws away what has come.
    fn drain(&mut self) -> io::Result<()> {
        self.collect(&mut Seen::default())?;
        self.events.poll(|_| {})
    }

    fn collect(&mut self, seen: &mut Seen) -> io::Result<()> {
        self.log.poll(|message| {
            if message.kind == LOGGED
                && let Some(prefix) = message.attributes.text(PREFIX)
            {
                match message.resource {
                    RULES => seen.rules.push(prefix),
                    _ => seen.words.push(prefix.trim().to_owned()),
                }
            }
        })?;
        for (side, port) in self.ports.iter_mut().enumerate() {
            port.read(|frame| {
                // To one receiver, and IP: not what the router says to its neighbours.
                if let [0x02, _, _, _, _, _, _, _, _, _, _, _, 0x08 | 0x86, 0x00 | 0xdd, packet @ ..] = frame
                {
                    seen.out.push((side, packet.to_vec()));
                }
            })?;
        }
        Ok(())
    }

    /// A packet arrives on a side. `patient`: where nothing comes out, it is waited for.
    pub fn packet(&mut self, side: usize, packet: &[u8], patient: bool) -> io::Result<Seen> {
        // What was late for the step before is not this packet's.
        self.collect(&mut Seen::default())?;
        self.ports[side].write(&frame(side, packet))?;
        let mut seen = Seen::default();
        self.collect(&mut seen)?;
        for _ in 0..3 {
            if !patient || !seen.out.is_empty() || seen.rules.iter().any(|rule| rule == "local") {
                break;
            }
            sleep(Duration::from_millis(1));
            self.collect(&mut seen)?;
        }
        // Of many fragments the kernel sends the rest later, from a thread.
        let mut before = 0;
        while seen.out.len() >= MANY && seen.out.len() > before {
            before = seen.out.len();
            sleep(Duration::from_millis(3));
            self.collect(&mut seen)?;
        }
        Ok(seen)
    }

    /// Events since the last call. Connections that begin are known from then on.
    pub fn read_events(&mut self, events: &mut Vec<String>) -> io::Result<()> {
        let Self { events: socket, known, expecting, .. } = self;
        socket.poll(|message| {
            events.extend(conntrack::event(&message));
            if conntrack::begins(&message) {
                known.extend(Known::of(&message).filter(|this| !known.contains(this)));
            }
            *expecting |= conntrack::is_expectation(&message);
        })
    }

    /// The table's lines, sorted. Entries are asked for one by one: a dump would walk the hash table of the whole machine.
    pub fn table(&mut self) -> io::Result<Vec<String>> {
        if self.known.is_empty() {
            return Ok(Vec::new());
        }
        let requests: Vec<u8> =
            (self.known.iter().zip(0..)).flat_map(|(known, at)| known.request(GET, REQUEST, at)).collect();
        self.table.send(&requests)?;
        let mut lines = Vec::with_capacity(self.known.len());
        let mut here = vec![false; self.known.len()];
        let mut failed = Ok(());
        let known = &self.known;
        self.table.answers(known.len(), |error, message| match (error, message) {
            (Ok(()), Some(message)) => {
                let at = message.sequence as usize;
                // It may be a new connection the other way round, which has its own place.
                let same = |known: &Known| message.attributes.get(cta::TUPLE_ORIG) == Some(&known.original);
                if known.get(at).is_some_and(same) {
                    here[at] = true;
                    lines.push(conntrack::line(message.family, message.attributes));
                }
            }
            (Err(e), _) if e.raw_os_error() != Some(libc::ENOENT) => failed = Err(e),
            _ => {}
        })?;
        failed?;
        let mut here = here.into_iter();
        self.known.retain(|_| here.next() == Some(true));
        lines.sort_by_cached_key(|line| {
            let mut words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            words.remove(4);
            words.join(" ")
        });
        Ok(lines)
    }

    /// The lines of /proc/net/nf_conntrack_expect, sorted.
    pub fn expectations(&mut self) -> io::Result<Vec<String>> {
        if !self.expecting {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string("/proc/thread-self/net/nf_conntrack_expect")?;
        let mut lines: Vec<_> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        // While others' expectations come and go the file may show one twice.
        lines.sort_by(|a, b| without_seconds(a).cmp(without_seconds(b)).then(a.cmp(b)));
        lines.dedup_by(|a, b| without_seconds(a) == without_seconds(b));
        lines.sort();
        self.expecting = !lines.is_empty();
        Ok(lines)
    }
}

impl Known {
    fn of(message: &Message<'_>) -> Option<Self> {
        Some(Self {
            family: message.family,
            original: message.attributes.get(cta::TUPLE_ORIG)?.to_vec(),
            zone: message.attributes.get(cta::ZONE).map(<[u8]>::to_vec),
        })
    }

    fn request(&self, kind: u16, flags: u16, sequence: u32) -> Vec<u8> {
        let request = Request::new(kind, flags, sequence, self.family, 0);
        let request = request.put(NESTED | cta::TUPLE_ORIG, &self.original);
        match &self.zone {
            Some(zone) => request.put(cta::ZONE, zone).finish(),
            None => request.finish(),
        }
    }
}

/// An expectation's line without how long it is left.
fn without_seconds(line: &str) -> &str {
    line.split_once(' ').map_or(line, |(_, rest)| rest)
}
