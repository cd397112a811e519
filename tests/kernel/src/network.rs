//! The network that a router stands in: its namespace, its devices, addresses and settings; and how programs are run there.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

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

/// What a router's devices are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// TAP devices: quicker made, and nothing is ever late.
    Taps,
    /// veth pairs: as recordings were made.
    Wires,
}

pub enum Port {
    Tap(Tap),
    Wire(Wire),
}

impl Port {
    pub fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        match self {
            Self::Tap(tap) => tap.write(frame),
            Self::Wire(wire) => wire.write(frame),
        }
    }

    pub fn read(&mut self, each: impl FnMut(&[u8])) -> io::Result<()> {
        match self {
            Self::Tap(tap) => tap.read(each),
            Self::Wire(wire) => wire.read(each),
        }
    }
}

/// A new namespace for the calling thread, with its devices, through which packets go.
pub fn make(ports: Ports) -> io::Result<(File, [Port; 2])> {
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
    Ok((namespace, ports))
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
pub fn frame(side: usize, packet: &[u8]) -> Vec<u8> {
    let ethertype: [u8; 2] =
        if packet.first().is_some_and(|first| first >> 4 == 6) { [0x86, 0xdd] } else { [8, 0] };
    [&ROUTER[side], &WIRE[side], &ethertype[..], packet].concat()
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

pub fn path(sysctl: &str) -> String {
    format!("/proc/sys/{}", sysctl.replace('.', "/"))
}

pub fn told(what: &str, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{what}: {e}"))
}

pub fn set(name: &str, value: &str) -> io::Result<()> {
    fs::write(path(name), format!("{value}\n")).map_err(|e| told(name, e))
}

/// Runs a program in the thread's namespace with this input.
pub fn run(program: &str, arguments: &[&str], input: &str) -> io::Result<()> {
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
