//! The kernel's side. `run.sh` has made the network namespace, its two TUN devices and the rules.
//!
//! What is written to a TUN device goes up the receive path within the system call, so that the thread's CPU time is
//! all there is. Every slice is played twice: as it is, and with a DSCP for which a rule says `notrack`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use conntab_bench::Clock;

use crate::packets::Slot;
use crate::traffic::{CHUNK, Traffic, seal};
use crate::{Error, Tracker};

/// CS1, which the rules do not track.
const NOTRACK: u8 = 8 << 2;
/// Untracked packets before each pair of slices: what happened since the last one is not to count.
const WARM_UP: usize = 128;

/// A packet as it is handed to the kernel, payload included.
#[derive(Clone)]
struct Frame {
    bytes: [u8; 192],
    len: usize,
}

/// What the rules counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Counts {
    new: u64,
    established: u64,
    untracked: u64,
    other: u64,
}

pub struct Kernel {
    /// What comes from here is dropped right after conntrack has seen it.
    dropping: File,
    /// What comes from here is forwarded to a device that drops it: after it was confirmed.
    forwarding: File,
    control: OwnedFd,
    slots: Box<[Slot]>,
    frames: Vec<Frame>,
    traffic: Traffic,
    untracked: Duration,
    /// Chunks in it.
    pairs: u32,
}

impl Kernel {
    /// With the connections of `traffic` open.
    pub fn new(traffic: Traffic) -> Result<Self, Error> {
        let mut this = Self {
            dropping: tun("drop0")?,
            forwarding: tun("forward0")?,
            control: netlink()?,
            slots: vec![Slot::EMPTY; CHUNK].into(),
            frames: vec![Frame { bytes: [0; 192], len: 0 }; CHUNK],
            traffic,
            untracked: Duration::ZERO,
            pairs: 0,
        };
        this.delete(None)?;
        if entries()? != 0 {
            return Err("kernel: the namespace has connections that are not ours".into());
        }
        let ids: Vec<u32> = this.traffic.ids().collect();
        for ids in ids.chunks(CHUNK) {
            for write in this.traffic.protocol.opening() {
                for (slot, &id) in this.slots.iter_mut().zip(ids) {
                    write(slot, id);
                }
                this.play(ids.len(), true, 0)?;
            }
        }
        match entries()? {
            n if n == ids.len() => Ok(this),
            n => Err(format!("kernel: {n} connections instead of {}", ids.len()).into()),
        }
    }

    /// What an untracked packet has cost so far, in ns: TUN device, system call and rules.
    pub fn baseline(&mut self) -> f64 {
        let packets = std::mem::take(&mut self.pairs) as usize * CHUNK;
        std::mem::take(&mut self.untracked).as_nanos() as f64 / packets as f64
    }

    /// The first `n` slots with this TOS.
    fn play(&mut self, n: usize, forward: bool, tos: u8) -> io::Result<Duration> {
        for (frame, slot) in self.frames.iter_mut().zip(&self.slots[..n]) {
            let headers = usize::from(slot.headers);
            frame.len = slot.wire as usize;
            frame.bytes[..headers].copy_from_slice(&slot.bytes[..headers]);
            frame.bytes[headers..].fill(0);
            frame.bytes[1] = tos;
            seal(&mut frame.bytes);
        }
        let device = if forward { &mut self.forwarding } else { &mut self.dropping };
        let clock = Clock::start();
        for frame in &self.frames[..n] {
            device.write_all(&frame.bytes[..frame.len])?;
        }
        Ok(clock.stop())
    }

    /// The slots tracked and not tracked, in turns the one and the other first: how many ns longer tracking took.
    fn pair(&mut self, forward: bool) -> io::Result<f64> {
        self.play(WARM_UP, forward, NOTRACK)?;
        self.pairs += 1;
        let (tracked, untracked);
        if self.pairs.is_multiple_of(2) {
            tracked = self.play(CHUNK, forward, 0)?;
            untracked = self.play(CHUNK, forward, NOTRACK)?;
        } else {
            untracked = self.play(CHUNK, forward, NOTRACK)?;
            tracked = self.play(CHUNK, forward, 0)?;
        }
        self.untracked += untracked;
        Ok(tracked.as_nanos() as f64 - untracked.as_nanos() as f64)
    }

    /// Deletes the connections whose status has none of these bits, or all.
    fn delete(&self, without: Option<u32>) -> io::Result<()> {
        // NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST | NLM_F_ACK; then struct nfgenmsg: AF_INET.
        let mut message = vec![0; 20];
        message[4..6].copy_from_slice(&0x102_u16.to_ne_bytes());
        message[6..8].copy_from_slice(&5_u16.to_ne_bytes());
        message[16] = libc::AF_INET as u8;
        if let Some(mask) = without {
            // CTA_STATUS and CTA_STATUS_MASK
            for (kind, value) in [(3_u16, 0), (26, mask)] {
                message.extend(8_u16.to_ne_bytes());
                message.extend(kind.to_ne_bytes());
                message.extend(value.to_be_bytes());
            }
        }
        let len = message.len() as u32;
        message[..4].copy_from_slice(&len.to_ne_bytes());
        let mut answer = [0; 256];
        // SAFETY: the message is initialised and lives through the call.
        let sent = unsafe { libc::send(self.control.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
        // SAFETY: it writes no more than the length of the buffer that is lent to it.
        let got =
            unsafe { libc::recv(self.control.as_raw_fd(), answer.as_mut_ptr().cast(), answer.len(), 0) };
        if sent < 0 || got < 20 {
            return Err(io::Error::last_os_error());
        }
        // struct nlmsgerr
        match i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]) {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(-error)),
        }
    }
}

impl Tracker for Kernel {
    fn established(&mut self, chunks: usize) -> Result<Option<f64>, Error> {
        let (before, here, mut time) = (counts()?, entries()?, 0.0);
        for _ in 0..chunks {
            self.traffic.established(&mut self.slots);
            time += self.pair(false)?;
        }
        let right = Counts {
            established: before.established + (chunks * CHUNK) as u64,
            untracked: before.untracked + (chunks * (CHUNK + WARM_UP)) as u64,
            ..before
        };
        Ok((counts()? == right && entries()? == here).then_some(time))
    }

    fn new_connections(&mut self, chunks: usize) -> Result<Option<f64>, Error> {
        let (before, here, mut time) = (counts()?, entries()?, 0.0);
        for _ in 0..chunks {
            self.traffic.fresh(&mut self.slots);
            time += self.pair(true)?;
        }
        let complete = entries()? == here + chunks * CHUNK;
        self.delete(Some(SEEN_REPLY))?;
        if entries()? != here {
            return Err("kernel: connections are gone, or new ones stay (Linux before 5.19?)".into());
        }
        let right = Counts {
            new: before.new + (chunks * CHUNK) as u64,
            untracked: before.untracked + (chunks * (CHUNK + WARM_UP)) as u64,
            ..before
        };
        Ok((complete && counts()? == right).then_some(time))
    }

    /// The slab's pages, and the buckets.
    fn bytes_per_flow(&self, flows: usize) -> Result<f64, Error> {
        let text = fs::read_to_string("/proc/slabinfo")?;
        let line =
            text.lines().find(|line| line.starts_with("nf_conntrack ")).ok_or("no slab of nf_conntrack")?;
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (per_slab, pages): (f64, f64) = (fields[4].parse()?, fields[5].parse()?);
        let buckets = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_buckets")?;
        // A list head each.
        let buckets = buckets.trim().parse::<f64>()? * 8.0;
        Ok(pages * 4096.0 / per_slab + buckets / flows as f64)
    }
}

/// IPS_SEEN_REPLY
const SEEN_REPLY: u32 = 2;

/// Connections in this namespace.
fn entries() -> Result<usize, Error> {
    Ok(fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count")?.trim().parse()?)
}

fn counts() -> Result<Counts, Error> {
    let output = Command::new("nft").args(["list", "counters", "table", "ip", "bench"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut counts = Counts::default();
    // counter NAME { packets N bytes N }
    for words in words.windows(5).filter(|words| words[0] == "counter") {
        let count = match words[1] {
            "new" => &mut counts.new,
            "established" => &mut counts.established,
            "untracked" => &mut counts.untracked,
            _ => &mut counts.other,
        };
        *count += words[4].parse::<u64>()?;
    }
    Ok(counts)
}

/// A TUN device that is there, for bare packets.
fn tun(name: &str) -> io::Result<File> {
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: all its fields are numbers, for which 0 is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    // SAFETY: TUNSETIFF reads and writes a `struct ifreq`, which is lent to it.
    match unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF as _, &mut request) } {
        0 => Ok(device),
        _ => Err(io::Error::last_os_error()),
    }
}

fn netlink() -> io::Result<OwnedFd> {
    // SAFETY: it takes numbers.
    let socket = unsafe {
        libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_NETFILTER)
    };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was just opened, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}
