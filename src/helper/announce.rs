//! What a helper has heard in a packet.

use crate::net::Addr;

/// A connection to come, as a payload of its master announced it: its first packet, as it will be seen.
///
/// Network layer and zone are the master's. The source port is never known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Announce {
    /// Transport protocol number.
    pub protocol: u8,
    /// The address it must come from; `None`: any.
    pub from: Option<Addr>,
    /// The address it goes to.
    pub to: Addr,
    /// The destination port, host byte order. FTP can announce 0, as in the kernel.
    pub port: u16,
    /// The helper's class: each has a limit of its own.
    pub class: u8,
}

/// What a packet's payload comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Heard {
    /// Nothing: the packet passes.
    Nothing,
    /// A connection to come: the packet passes.
    Announce(Announce),
    /// The packet must not pass: it ends within a command, and what would follow could not be understood.
    Drop,
}
