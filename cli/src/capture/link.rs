//! Link layers: where the IP header begins.

use conntab::reason::Reason;

/// The link types that can be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// Ethernet (1), with any VLAN tags.
    Ethernet,
    /// The IP header at once (101, and the numbers 12, 14, 228, 229).
    RawIp,
    /// Linux "cooked" (113).
    LinuxSll,
    /// Linux "cooked", second version (276).
    LinuxSll2,
    /// BSD null (0) and loopback (108): an address family of four bytes.
    Null,
}

mod ethertype {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;
    pub(super) const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
}

impl LinkType {
    /// For messages.
    pub const SUPPORTED: &str = "Ethernet (1), raw IP (101, 12, 14, 228, 229), Linux cooked (113, 276), \
                                 null (0) and loopback (108)";

    /// By its number in the registry of LINKTYPE_ values.
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Ethernet,
            // Files written on some systems carry their own DLT_RAW.
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            113 => Self::LinuxSll,
            276 => Self::LinuxSll2,
            0 | 108 => Self::Null,
            _ => return None,
        })
    }

    /// Where in the frame the IP header begins.
    pub fn ip_offset(self, frame: &[u8]) -> Result<usize, Reason> {
        match self {
            Self::Ethernet => after_ethertype(frame, 12, 14),
            Self::RawIp => Ok(0),
            Self::LinuxSll => after_ethertype(frame, 14, 16),
            Self::LinuxSll2 => after_ethertype(frame, 0, 20),
            Self::Null => after_family(frame),
        }
    }
}

fn u16_at(frame: &[u8], at: usize) -> Result<u16, Reason> {
    match frame.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(Reason::LinkTruncated),
    }
}

/// Where the payload begins, given where its type stands; VLAN tags, of which there may be any number, are followed.
fn after_ethertype(frame: &[u8], mut kind_at: usize, mut payload: usize) -> Result<usize, Reason> {
    loop {
        match u16_at(frame, kind_at)? {
            ethertype::IPV4 | ethertype::IPV6 => return Ok(payload),
            kind if ethertype::VLAN.contains(&kind) => {
                kind_at = payload + 2;
                payload += 4;
            }
            _ => return Err(Reason::LinkNotIp),
        }
    }
}

/// The family is in the byte order of the machine that captured (null) or of the network (loopback), and its number for
/// IPv6 differs between systems.
fn after_family(frame: &[u8]) -> Result<usize, Reason> {
    let Some(&family) = frame.first_chunk::<4>() else { return Err(Reason::LinkTruncated) };
    // No family exceeds 16 bits, so that the byte order shows by itself.
    let family = match u32::from_be_bytes(family) {
        low @ ..=0xffff => low,
        swapped => swapped.swap_bytes(),
    };
    match family {
        2 | 10 | 24 | 28 | 30 => Ok(4),
        _ => Err(Reason::LinkNotIp),
    }
}
