//! Whether a rule is about a packet.

use std::net::IpAddr;

use conntab::CtState;

use super::ip::Ip;
use super::rules::{Condition, Rule};

/// What rules can ask of a packet that is under way.
pub(super) struct Asked<'a> {
    pub ip: &'a Ip,
    pub side: u8,
    /// Where it goes, once that is known.
    pub out: Option<u8>,
    pub state: CtState,
}

impl Asked<'_> {
    pub fn matches(&self, rule: &Rule) -> bool {
        rule.conditions.iter().all(|condition| self.holds(condition))
    }

    fn holds(&self, condition: &Condition) -> bool {
        let ip = self.ip;
        let port = |at| ip.transport_bytes(at).map(u16::from_be_bytes);
        match condition {
            Condition::In(side) => self.side == *side,
            Condition::Out(side) => self.out == Some(*side),
            Condition::Family(l3) => ip.l3 == *l3,
            Condition::Protocol(number) => ip.protocol() == Some(*number),
            Condition::SourcePort(number) => port(0) == Some(*number),
            Condition::DestinationPort(number) => port(2) == Some(*number),
            Condition::Destination(address) => same(ip.dst, *address),
            Condition::Dscp(number) => ip.dscp() == *number,
            Condition::State(states) => states.contains(&self.state),
            Condition::LongerThan(bytes) => ip.bytes.len() as u64 > *bytes,
            // The flags are read whole only where the segment has them.
            Condition::TcpFlags { of, are } => {
                ip.transport_bytes(13).is_some_and(|[flags]: [u8; 1]| flags & of == *are)
            }
        }
    }
}

fn same(a: IpAddr, b: IpAddr) -> bool {
    a == b
}
