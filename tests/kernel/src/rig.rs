//! The router of `docs/scenarios.md`, made of the running kernel: a network namespace with a device for each side, and rules that tell by NFLOG what was decided of a packet.
//!
//! A rig belongs to the thread that made it, which is in its namespace from then on.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

use crate::conntrack::{self, cta};
use crate::netlink::{Message, Netlink, REQUEST, REQUEST_ACK, Request};
use crate::tap::Tap;
use crate::wire::Wire;

/// The router's devices, and what sends to them.
const DEVICES: [&str; 2] = ["r0", "r1"];
const ROUTER: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 0x10], [2, 0, 0, 0, 0, 0x20]];
const WIRE: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 0x11], [2, 0, 0, 0, 0, 0x21]];

/// Where [`Ports::Wires`] are asked for: the pairs whose far ends are in another namespace.
const PAIRS: &str = "\
link add r0 type veth peer name w0 mtu 1600 address 02:00:00:00:00:11 netns WIRE
link add r1 type veth peer name w1 mtu 1600 address 02:00:00:00:00:21 netns WIRE
";

/// Both families, one route to each side; no link-local addresses (they would come with `up` in the same line).
const NETWORK: &str = "\
link set lo up
link set r0 mtu 1600 address 02:00:00:00:00:10 addrgenmode none
link set r1 mtu 1600 address 02:00:00:00:00:20 addrgenmode none
link set r0 up
link set r1 up
address add 10.255.1.1/24 dev r0
address add 10.255.2.1/24 dev r1
address add fd00:ff:1::1/64 dev r0 nodad
address add fd00:ff:2::1/64 dev r1 nodad
neighbour add 10.255.1.2 lladdr 02:00:00:00:00:11 dev r0 nud permanent
neighbour add 10.255.2.2 lladdr 02:00:00:00:00:21 dev r1 nud permanent
neighbour add fd00:ff:1::2 lladdr 02:00:00:00:00:11 dev r0 nud permanent
neighbour add fd00:ff:2::2 lladdr 02:00:00:00:00:21 dev r1 nud permanent
route add 10.1.0.0/16 via 10.255.1.2
route add default via 10.255.2.2
route add fd00:1::/32 via fd00:ff:1::2
route add default via fd00:ff:2::2
";

/// The router's own addresses as /proc/net/ipv6_route has them, and the flags of a route to an address of one's own.
const OWN_V6: [&str; 2] = ["fd0000ff000100000000000000000001 80", "fd0000ff000200000000000000000001 80"];
const LOCAL_ROUTE: &str = " 80200001 ";

/// Milliseconds, as a busy machine takes them.
const WAITS: u32 = 20_000;

/// Datagrams without a payload from 10.1.0.1 to 10.2.0.1, and back.
const PROBE: [u8; 28] =
    [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0x66, 0xcd, 10, 1, 0, 1, 10, 2, 0, 1, 0, 9, 0, 9, 0, 8, 0, 0];
const PROBE_BACK: [u8; 28] =
    [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0x66, 0xcd, 10, 2, 0, 1, 10, 1, 0, 1, 0, 9, 0, 9, 0, 8, 0, 0];

/// Before there are devices.
const BEFORE: [(&str, &str); 2] =
    [("net.ipv6.conf.default.accept_dad", "0"), ("net.ipv6.conf.default.router_solicitations", "0")];

/// How many of the settings let packets through.
const FORWARDING: usize = 5;

/// No ICMP error is held back, all that is invalid is logged.
const SETTINGS: [(&str, &str); 17] = [
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.r0.rp_filter", "0"),
    ("net.ipv4.conf.r1.rp_filter", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.r0.send_redirects", "0"),
    ("net.ipv4.conf.r1.send_redirects", "0"),
    ("net.ipv4.icmp_ratelimit", "0"),
    ("net.ipv4.icmp_ratemask", "0"),
    ("net.ipv6.icmp.ratelimit", "0"),
    ("net.ipv6.icmp.ratemask", ""),
    ("net.netfilter.nf_conntrack_acct", "1"),
    ("net.netfilter.nf_conntrack_events", "1"),
    ("net.netfilter.nf_conntrack_log_invalid", "255"),
    ("net.netfilter.nf_log.2", "nfnetlink_log"),
    ("net.netfilter.nf_log.10", "nfnetlink_log"),
];

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

/// What a router's devices are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// TAP devices: quicker made, and nothing is ever late.
    Taps,
    /// veth pairs: as recordings were made.
    Wires,
}

enum Port {
    Tap(Tap),
    Wire(Wire),
}

impl Port {
    fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        match self {
            Self::Tap(tap) => tap.write(frame),
            Self::Wire(wire) => wire.write(frame),
        }
    }

    fn read(&mut self, each: impl FnMut(&[u8])) -> io::Result<()> {
        match self {
            Self::Tap(tap) => tap.read(each),
            Self::Wire(wire) => wire.read(each),
        }
    }
}

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
        let wire = (ports == Ports::Wires).then(wires).transpose()?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        let namespace = File::open("/proc/thread-self/ns/net")?;
        for (name, value) in BEFORE {
            set(name, value)?;
        }
        let mut ports = match wire {
            None => [Port::Tap(Tap::new(DEVICES[0])?), Port::Tap(Tap::new(DEVICES[1])?)],
            Some(wire) => {
                let place = format!("/proc/{}/fd/{}", std::process::id(), wire.as_raw_fd());
                run("ip", &["-batch", "-"], &PAIRS.replace("WIRE", &place))?;
                setns(&wire, CloneFlags::CLONE_NEWNET)?;
                run("ip", &["-batch", "-"], "link set w0 up\nlink set w1 up\n")?;
                let ports = [Port::Wire(Wire::new("w0")?), Port::Wire(Wire::new("w1")?)];
                setns(&namespace, CloneFlags::CLONE_NEWNET)?;
                ports
            }
        };
        run("ip", &["-batch", "-"], NETWORK)?;
        wait_for_addresses()?;
        wait_for_ways(&mut ports)?;
        for (name, value) in SETTINGS {
            set(name, value)?;
        }
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

/// A namespace for the far ends of the wires, in which nobody speaks of his own accord.
fn wires() -> io::Result<File> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    for which in ["all", "default"] {
        set(&format!("net.ipv6.conf.{which}.disable_ipv6"), "1")?;
    }
    File::open("/proc/thread-self/ns/net")
}

/// What a packet needs to come through a new router is made by threads of the kernel's, too.
fn wait_for_ways(ports: &mut [Port; 2]) -> io::Result<()> {
    for (name, value) in SETTINGS.iter().take(FORWARDING) {
        set(name, value)?;
    }
    for (side, packet) in [PROBE, PROBE_BACK].into_iter().enumerate() {
        let frame = frame(side, &packet);
        let mut through = false;
        for _ in 0..WAITS {
            ports[side].write(&frame)?;
            ports[1 - side].read(|frame| through |= frame.starts_with(&WIRE[1 - side]))?;
            if through {
                break;
            }
            sleep(Duration::from_millis(1));
        }
        if !through {
            return Err(io::Error::other("no packet comes through the router"));
        }
    }
    Ok(())
}

/// A frame to the router.
fn frame(side: usize, packet: &[u8]) -> Vec<u8> {
    let ethertype: [u8; 2] =
        if packet.first().is_some_and(|first| first >> 4 == 6) { [0x86, 0xdd] } else { [8, 0] };
    [&ROUTER[side], &WIRE[side], &ethertype[..], packet].concat()
}

/// An expectation's line without how long it is left.
fn without_seconds(line: &str) -> &str {
    line.split_once(' ').map_or(line, |(_, rest)| rest)
}

/// The routes to the router's own IPv6 addresses are made by a thread of the kernel's, some time after the addresses.
fn wait_for_addresses() -> io::Result<()> {
    for _ in 0..WAITS {
        let routes = fs::read_to_string("/proc/thread-self/net/ipv6_route")?;
        let is_there =
            |own: &&str| routes.lines().any(|route| route.starts_with(*own) && route.contains(LOCAL_ROUTE));
        if OWN_V6.iter().all(is_there) {
            return Ok(());
        }
        sleep(Duration::from_millis(1));
    }
    Err(io::Error::other("the router's IPv6 addresses do not appear"))
}

fn path(sysctl: &str) -> String {
    format!("/proc/sys/{}", sysctl.replace('.', "/"))
}

fn told(what: &str, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{what}: {e}"))
}

fn set(name: &str, value: &str) -> io::Result<()> {
    fs::write(path(name), format!("{value}\n")).map_err(|e| told(name, e))
}

/// Runs a program in the thread's namespace with this input.
fn run(program: &str, arguments: &[&str], input: &str) -> io::Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| told(program, e))?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let done = child.wait_with_output()?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(io::Error::other(format!("{program}: {}", said.lines().next().unwrap_or("failed"))));
    }
    written
}
