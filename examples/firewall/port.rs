//! A network interface as an AF_PACKET socket (packet(7)): 32 frames a system call.

use std::ffi::{CString, c_int, c_void};
use std::io;
use std::mem::{self, offset_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

/// Frames a system call.
pub const BURST: usize = 32;
/// The longest frame.
const FRAME: usize = 10_240;
/// Room before a frame for the VLAN tag that the kernel has taken out of it.
const TAG: usize = 4;
const SLOT: usize = TAG + FRAME;

/// A frame received. It lives in its port's buffers.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    /// From the destination address on.
    pub bytes: &'a [u8],
    /// The interface has verified the checksum of TCP or UDP.
    pub checksum_ok: bool,
}

/// What the kernel says of a frame beside its bytes: one control message.
#[repr(C)]
#[derive(Clone, Copy)]
struct Aux {
    header: libc::cmsghdr,
    data: libc::tpacket_auxdata,
}

#[derive(Clone, Copy, Default)]
struct Received {
    start: usize,
    end: usize,
    truncated: bool,
    checksum_ok: bool,
}

/// An interface.
pub struct Port {
    socket: OwnedFd,
    buffers: Box<[u8]>,
    received: [Received; BURST],
    n: usize,
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

impl Port {
    /// Takes everything that arrives at this interface from now on.
    pub fn open(interface: &str) -> io::Result<Self> {
        Self::open_socket(interface)
            .map_err(|error| io::Error::new(error.kind(), format!("{interface}: {error}")))
    }

    fn open_socket(interface: &str) -> io::Result<Self> {
        let name = CString::new(interface)?;
        // SAFETY: `name` ends with a 0.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        // Protocol 0: nothing arrives before it is bound.
        // SAFETY: no pointers.
        let fd = check(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
        // SAFETY: the descriptor is new, and ours.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let port = Self {
            socket,
            buffers: vec![0; SLOT * BURST].into(),
            received: [Received::default(); BURST],
            n: 0,
        };
        // What we send ourselves is not to come back.
        port.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1i32)?;
        port.set(libc::SOL_PACKET, libc::PACKET_AUXDATA, &1i32)?;
        port.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &(16i32 << 20))?;
        port.set(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &(16i32 << 20))?;
        let promiscuous = libc::packet_mreq {
            mr_ifindex: index as c_int,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        port.set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &promiscuous)?;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: index as c_int,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = size_of_val(&address) as libc::socklen_t;
        // SAFETY: address and length belong together.
        check(unsafe { libc::bind(port.fd(), (&raw const address).cast(), length) })?;
        Ok(port)
    }

    fn fd(&self) -> c_int {
        self.socket.as_raw_fd()
    }

    fn set<T>(&self, level: c_int, name: c_int, value: &T) -> io::Result<()> {
        let length = size_of::<T>() as libc::socklen_t;
        // SAFETY: pointer and length are those of a value of the option's type.
        check(unsafe { libc::setsockopt(self.fd(), level, name, ptr::from_ref(value).cast(), length) })
            .map(drop)
    }

    /// Takes what has arrived, up to 32 frames, without waiting. They are in `frames` until the next call.
    pub fn receive(&mut self) -> io::Result<usize> {
        // SAFETY: all three are plain C structs, for which zeros are valid: NULL and 0.
        let mut aux: [Aux; BURST] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut iovecs: [libc::iovec; BURST] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BURST] = unsafe { mem::zeroed() };
        for (i, slot) in self.buffers.chunks_exact_mut(SLOT).enumerate() {
            iovecs[i] = libc::iovec { iov_base: slot[TAG..].as_mut_ptr().cast(), iov_len: FRAME };
            let header = &mut messages[i].msg_hdr;
            header.msg_iov = &raw mut iovecs[i];
            header.msg_iovlen = 1;
            header.msg_control = (&raw mut aux[i]).cast::<c_void>();
            header.msg_controllen = size_of::<Aux>() as _;
        }
        // SAFETY: each message points to a slot and a control message of its own, all of which outlive the call.
        let result = unsafe {
            libc::recvmmsg(
                self.fd(),
                messages.as_mut_ptr(),
                BURST as _,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        self.n = match check(result) {
            Ok(n) => n as usize,
            Err(error) => match error.raw_os_error() {
                // ENETDOWN: the interface was taken down; it may come back.
                Some(libc::EAGAIN | libc::EINTR | libc::ENETDOWN) => 0,
                _ => return Err(error),
            },
        };
        for i in 0..self.n {
            let slot = &mut self.buffers[i * SLOT..(i + 1) * SLOT];
            self.received[i] = received(slot, i * SLOT, &messages[i], &aux[i]);
        }
        Ok(self.n)
    }

    /// The frames of the last `receive`; `None`: it was too long for a buffer.
    pub fn frames(&self) -> impl Iterator<Item = Option<Frame<'_>>> {
        self.received[..self.n].iter().map(|received| {
            let bytes = &self.buffers[received.start..received.end];
            (!received.truncated).then_some(Frame { bytes, checksum_ok: received.checksum_ok })
        })
    }

    /// Sends frames, and returns how many it could. A full queue loses frames, as a wire does.
    pub fn send(&self, frames: &[&[u8]]) -> usize {
        // SAFETY: plain C structs, for which zeros are valid.
        let mut iovecs: [libc::iovec; BURST] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; BURST] = unsafe { mem::zeroed() };
        for (i, frame) in frames.iter().enumerate() {
            // The kernel only reads them.
            iovecs[i] = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
            messages[i].msg_hdr.msg_iov = &raw mut iovecs[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        let (mut at, mut sent) = (0, 0);
        while at < frames.len() {
            let rest = &mut messages[at..frames.len()];
            // SAFETY: each message points to a frame that outlives the call.
            let result = unsafe {
                libc::sendmmsg(self.fd(), rest.as_mut_ptr(), rest.len() as _, libc::MSG_DONTWAIT as _)
            };
            // It stops at the first that fails, and fails if that is the very first.
            let n = usize::try_from(result).unwrap_or(0);
            sent += n;
            at += n.max(1);
        }
        sent
    }

    /// Frames that the kernel had no room for since the last call.
    pub fn missed(&self) -> usize {
        let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
        let mut length = size_of_val(&stats) as libc::socklen_t;
        let place = (&raw mut stats).cast();
        // SAFETY: place and length belong together. If it fails, the numbers stay 0.
        unsafe {
            libc::getsockopt(self.fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, place, &raw mut length)
        };
        stats.tp_drops as usize
    }
}

/// Where in its slot, which begins at `base`, a frame is.
fn received(slot: &mut [u8], base: usize, message: &libc::mmsghdr, aux: &Aux) -> Received {
    let end = TAG + message.msg_len as usize;
    let mut start = TAG;
    let mut status = 0;
    if message.msg_hdr.msg_controllen >= offset_of!(Aux, data) as _
        && aux.header.cmsg_type == libc::PACKET_AUXDATA
    {
        status = aux.data.tp_status;
    }
    // The kernel takes the outer VLAN tag out of the frame; it is put back between addresses and type.
    if status & libc::TP_STATUS_VLAN_VALID != 0 && end >= TAG + 12 {
        let known = status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
        let tpid = if known { aux.data.tp_vlan_tpid } else { 0x8100 };
        slot.copy_within(TAG..TAG + 12, 0);
        slot[12..14].copy_from_slice(&tpid.to_be_bytes());
        slot[14..16].copy_from_slice(&aux.data.tp_vlan_tci.to_be_bytes());
        start = 0;
    }
    Received {
        start: base + start,
        end: base + end,
        truncated: message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        checksum_ok: status & libc::TP_STATUS_CSUM_VALID != 0,
    }
}

/// Waits until a frame arrives at one of the ports, or a signal, but not longer than `limit_us`.
pub fn wait(ports: &[Port; 2], limit_us: u32) -> io::Result<()> {
    let mut polls =
        ports.each_ref().map(|port| libc::pollfd { fd: port.fd(), events: libc::POLLIN, revents: 0 });
    let limit = libc::timespec {
        tv_sec: (limit_us / 1_000_000).into(),
        tv_nsec: (u64::from(limit_us % 1_000_000) * 1000) as _,
    };
    // SAFETY: the array and its length belong together; the signal mask stays as it is.
    let result = unsafe { libc::ppoll(polls.as_mut_ptr(), polls.len() as _, &raw const limit, ptr::null()) };
    match check(result) {
        Err(error) if error.raw_os_error() != Some(libc::EINTR) => Err(error),
        _ => Ok(()),
    }
}
