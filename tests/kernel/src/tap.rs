//! A TAP device: what is written to it arrives at the router, and all that the router does about it has been done when
//! the system call returns; what the router sends there can then be read.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

nix::ioctl_write_ptr_bad!(set_iff, libc::TUNSETIFF, libc::ifreq);
nix::ioctl_write_int_bad!(set_offload, libc::TUNSETOFFLOAD);
nix::ioctl_write_int_bad!(set_persist, libc::TUNSETPERSIST);

/// No frame is longer: the devices' MTU is 1600.
const LONGEST: usize = 2048;

pub struct Tap(File);

impl Tap {
    /// Makes the device in the network namespace of the calling thread.
    pub fn new(name: &str) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
        // SAFETY: all its fields are numbers, for which 0 is a value.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as i16;
        // SAFETY: the request reads a `struct ifreq`, which lives through the call.
        unsafe { set_iff(file.as_raw_fd(), &request) }?;
        // Checksums may be left to the device, as to a network card: the router's own packets then show which it leaves.
        // SAFETY: the request takes a number.
        unsafe { set_offload(file.as_raw_fd(), libc::TUN_F_CSUM as i32) }?;
        // To let it go with its namespace, which nobody waits for, takes less than to let it go when it is closed.
        // SAFETY: the request takes a number.
        unsafe { set_persist(file.as_raw_fd(), 1) }?;
        Ok(Self(file))
    }

    pub fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        self.0.write_all(frame)
    }

    /// The frames that the router has sent.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut frame = [0; LONGEST];
        loop {
            match self.0.read(&mut frame) {
                Ok(len) => each(&frame[..len]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }
}
