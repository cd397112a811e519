//! Messages of nfnetlink, and the attributes in them.

use std::io::{self, ErrorKind};

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

/// `NLM_F_REQUEST`, and with `NLM_F_ACK`.
pub const REQUEST: u16 = 1;
pub const REQUEST_ACK: u16 = 5;

/// `NLMSG_ERROR`: the answer to a request, also where nothing went wrong.
const ERROR: u16 = 2;

/// `struct nfgenmsg`: family, version, resource; then attributes.
const GENERIC: usize = 4;

pub struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
}

/// A message from the kernel.
pub struct Message<'a> {
    /// Subsystem and what it is.
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub family: u8,
    /// Of NFLOG: the group.
    pub resource: u16,
    pub attributes: Attributes<'a>,
}

impl Netlink {
    /// A socket in the network namespace of the calling thread, listening to these groups.
    pub fn new(groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // What is sent within one packet or one wait must fit.
        socket.set_rx_buf_sz(4 << 20)?;
        for group in groups {
            socket.add_membership(*group)?;
        }
        Ok(Self { socket, buffer: Vec::with_capacity(1 << 17) })
    }

    /// Sends requests, several in one go if there are.
    pub fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        self.socket.send(requests, 0).map(|_| ())
    }

    /// Waits for the answer to one request.
    pub fn acknowledged(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        self.receive(0, |error, _| result = error)?;
        result
    }

    /// All messages that are there.
    pub fn poll(&mut self, mut each: impl FnMut(Message<'_>)) -> io::Result<()> {
        loop {
            match self.receive(libc::MSG_DONTWAIT, |_, message| message.into_iter().for_each(&mut each)) {
                Ok(()) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }

    /// The answers to `count` requests, each a message or an error.
    pub fn answers(
        &mut self,
        count: usize,
        mut each: impl FnMut(io::Result<()>, Option<Message<'_>>),
    ) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            self.receive(0, |error, message| {
                left -= 1;
                each(error, message);
            })?;
        }
        Ok(())
    }

    /// What one datagram holds.
    fn receive(
        &mut self,
        flags: i32,
        mut each: impl FnMut(io::Result<()>, Option<Message<'_>>),
    ) -> io::Result<()> {
        self.buffer.clear();
        self.socket.recv(&mut self.buffer, flags)?;
        let mut rest = &self.buffer[..];
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            let payload = message.payload();
            if message.message_type() == ERROR {
                let code = payload.first_chunk().map_or(libc::EBADMSG, |code| -i32::from_ne_bytes(*code));
                each(if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }, None);
            } else if let Some((&[family, _, high, low], attributes)) = payload.split_first_chunk::<GENERIC>()
            {
                let message = Message {
                    kind: message.message_type(),
                    flags: message.flags(),
                    sequence: message.sequence_number(),
                    family,
                    resource: u16::from_be_bytes([high, low]),
                    attributes: Attributes(attributes),
                };
                each(Ok(()), Some(message));
            }
            rest = rest.get((message.length() as usize).next_multiple_of(4)..).unwrap_or(&[]);
        }
        Ok(())
    }
}

/// Attributes one behind the other.
#[derive(Clone, Copy)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        let found = NlasIterator::new(self.0).flatten().find(|attribute| attribute.kind() == kind)?;
        let bytes: &'a [u8] = found.into_inner();
        bytes.get(4..usize::from(u16::from_ne_bytes([bytes[0], bytes[1]])))
    }

    /// Attributes within one; none where it is missing.
    pub fn nested(self, kind: u16) -> Attributes<'a> {
        Attributes(self.get(kind).unwrap_or(&[]))
    }

    /// A number in network byte order, of any size.
    pub fn number(self, kind: u16) -> Option<u64> {
        Some(self.get(kind)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub fn has(self, kind: u16) -> bool {
        self.get(kind).is_some()
    }

    /// Text that a NUL ends.
    pub fn text(self, kind: u16) -> Option<String> {
        let bytes = self.get(kind)?;
        let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        Some(String::from_utf8_lossy(&bytes[..len]).into_owned())
    }
}

/// A request that is being written.
pub struct Request(pub Vec<u8>);

impl Request {
    /// `resource`: of NFLOG, the group.
    pub fn new(kind: u16, flags: u16, sequence: u32, family: u8, resource: u16) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend([family, 0]);
        bytes.extend(resource.to_be_bytes());
        Self(bytes)
    }

    pub fn put(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend((4 + value.len() as u16).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// With its length.
    pub fn finish(mut self) -> Vec<u8> {
        let len = (self.0.len() as u32).to_ne_bytes();
        self.0[..4].copy_from_slice(&len);
        self.0
    }
}
