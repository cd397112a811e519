//! The far end of a veth pair: what is sent here arrives at the router as from a network card. Nearly always all is done
//! when the system call returns.
//!
//! How a router cuts packets depends on the room its device leaves in front of fragments: recordings were made with veth, so
//! fragments come this way.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// No frame is longer: the devices' MTU is 1600.
const LONGEST: usize = 2048;

pub struct Wire(OwnedFd);

/// The result of a system call.
fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

impl Wire {
    /// Takes a device of the calling thread's network namespace.
    pub fn new(name: &str) -> io::Result<Self> {
        let all = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: it takes numbers.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        check(socket as isize)?;
        // SAFETY: it was just opened, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        for (level, option, value) in [
            // Not what is sent here.
            (libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1),
            (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 4 << 20),
        ] {
            let value: libc::c_int = value;
            let len = size_of_val(&value) as libc::socklen_t;
            // SAFETY: the value lives through the call, and is as long as is said.
            let done = unsafe {
                libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len)
            };
            check(done as isize)?;
        }
        let index = nix::net::if_::if_nametoindex(name)?;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: all,
            sll_ifindex: index as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let len = size_of_val(&address) as libc::socklen_t;
        // SAFETY: the address lives through the call, and is as long as is said.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
        check(bound as isize)?;
        Ok(Self(socket))
    }

    pub fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the frame lives through the call, and is as long as is said.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        check(sent).map(|_| ())
    }

    /// The frames that the router has sent.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut frame = [0_u8; LONGEST];
        loop {
            let room = frame.as_mut_ptr().cast();
            // SAFETY: it writes no more than the length of the buffer that is lent to it.
            let got = unsafe { libc::recv(self.0.as_raw_fd(), room, LONGEST, libc::MSG_DONTWAIT) };
            match check(got) {
                Ok(len) => each(&frame[..len]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }
}
