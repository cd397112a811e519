//! The packets, the same for both trackers: made from a seed, so that each side can make them again for itself.

use conntab_bench::Random;

use crate::packets::{self, Slot};

/// Packets in a chunk: written outside the clock, then played within it.
pub const CHUNK: usize = 2048;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    /// What makes a connection ESTABLISHED. The first one opens it.
    pub fn opening(self) -> &'static [fn(&mut Slot, u32)] {
        match self {
            Self::Tcp => &[packets::syn, packets::syn_ack, packets::ack],
            Self::Udp => &[request, response],
        }
    }

    /// Packet `n` of an open connection: client and server take turns.
    fn established(self, slot: &mut Slot, id: u32, n: u32) {
        match self {
            Self::Tcp => packets::established(slot, id, n),
            Self::Udp if n.is_multiple_of(2) => request(slot, id),
            Self::Udp => response(slot, id),
        }
    }
}

fn request(slot: &mut Slot, id: u32) {
    packets::syn(slot, id);
    make_udp(slot);
}

fn response(slot: &mut Slot, id: u32) {
    packets::syn_ack(slot, id);
    make_udp(slot);
}

/// Turns a segment into a datagram of 100 bytes between the same ends, without a UDP checksum.
fn make_udp(slot: &mut Slot) {
    const DATA: u16 = 100;
    let b = &mut slot.bytes;
    b[2..4].copy_from_slice(&(28 + DATA).to_be_bytes());
    b[9] = conntab::tuple::protocol::UDP;
    b[24..26].copy_from_slice(&(8 + DATA).to_be_bytes());
    b[26..28].fill(0);
    slot.headers = 28;
    slot.wire = u32::from(28 + DATA);
}

/// Writes the checksum of the IPv4 header, 20 bytes.
pub fn seal(header: &mut [u8]) {
    header[10..12].fill(0);
    let words = header[..20].chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// The packets of one tracker's run. Clones make the same packets.
#[derive(Clone)]
pub struct Traffic {
    pub protocol: Protocol,
    /// The connections that are there: their number, and how many packets followed the opening.
    flows: Vec<(u32, u32)>,
    next_id: u32,
    random: Random,
}

impl Traffic {
    /// Of these connections, which are open; new ones are numbered from `next_id`.
    pub fn new(protocol: Protocol, ids: impl Iterator<Item = u32>, next_id: u32) -> Self {
        Self {
            protocol,
            flows: ids.map(|id| (id, 0)).collect(),
            next_id,
            random: Random(0x2545_f491_4f6c_dd1d),
        }
    }

    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.flows.iter().map(|flow| flow.0)
    }

    /// The next packet of a connection chosen at random, for each slot.
    pub fn established(&mut self, slots: &mut [Slot]) {
        for slot in slots {
            let place = self.random.below(self.flows.len());
            let (id, sent) = &mut self.flows[place];
            self.protocol.established(slot, *id, *sent);
            *sent += 1;
            seal(&mut slot.bytes);
        }
    }

    /// The first packet of a connection that never was, for each slot.
    pub fn fresh(&mut self, slots: &mut [Slot]) {
        for slot in slots {
            self.protocol.opening()[0](slot, self.next_id);
            self.next_id = self.next_id.checked_add(1).expect("connections are not reused");
            seal(&mut slot.bytes);
        }
    }
}
