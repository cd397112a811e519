//! Which packets of a capture belong together.

use std::collections::HashMap;

use conntab::tuple::{Addr, Tuple};
use conntab::wire::{self, Headers, L4};

use super::Packet;

/// Places of packets: those of each flow, in order; flows in the order in which they begin.
pub struct Flows(pub Vec<Vec<usize>>);

/// What packets of one flow have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Mark {
    /// Both ends, the lower one first, and the protocol.
    Ends((Addr, u16), (Addr, u16), u8),
    /// Two hosts, of which only addresses are known: the lower one first.
    Hosts(Addr, Addr),
}

impl Mark {
    fn ends(tuple: &Tuple) -> Self {
        // The ports of ICMP's tuples are types and an identifier, and an answer has others.
        let icmp = matches!(tuple.l4, 1 | 58);
        let ports = if icmp { [tuple.sport; 2] } else { [tuple.sport, tuple.dport] };
        let mut ends = [(tuple.src, ports[0]), (tuple.dst, ports[1])];
        ends.sort_unstable();
        Self::Ends(ends[0], ends[1], tuple.l4)
    }

    fn hosts(a: Addr, b: Addr) -> Self {
        Self::Hosts(a.min(b), a.max(b))
    }
}

/// The flow that a packet belongs to: for an ICMP error, that of the packet it quotes.
fn mark(headers: &Headers, bytes: &[u8]) -> Mark {
    let hosts = Mark::hosts(headers.src, headers.dst);
    match headers.l4 {
        L4::Fragment => hosts,
        L4::Icmp { kind: 3 | 4 | 5 | 11 | 12, .. } | L4::Icmpv6 { kind: 1..=4 | 137, .. } => {
            match wire::inner(bytes, headers) {
                Ok(inner) => Mark::ends(&Tuple::of_inner(&inner)),
                Err(_) => hosts,
            }
        }
        _ => Mark::ends(&Tuple::of(headers)),
    }
}

impl Flows {
    pub fn of(packets: &[Packet]) -> Self {
        let headers: Vec<_> =
            packets.iter().map(|p| wire::parse(&p.bytes, p.bytes.len() as u32).ok()).collect();
        // Between hosts that send fragments all is one flow: a fragment does not say which it is of.
        let mut fragmented: Vec<Mark> = headers
            .iter()
            .flatten()
            .filter(|headers| matches!(headers.l4, L4::Fragment))
            .map(|headers| Mark::hosts(headers.src, headers.dst))
            .collect();
        fragmented.dedup();
        let mut places: HashMap<Mark, usize> = HashMap::new();
        let mut flows: Vec<Vec<usize>> = Vec::new();
        for (place, (packet, headers)) in packets.iter().zip(&headers).enumerate() {
            let Some(headers) = headers else {
                flows.push(vec![place]);
                continue;
            };
            let hosts = Mark::hosts(headers.src, headers.dst);
            let mark = if fragmented.contains(&hosts) { hosts } else { mark(headers, &packet.bytes) };
            let flow = *places.entry(mark).or_insert_with(|| {
                flows.push(Vec::new());
                flows.len() - 1
            });
            flows[flow].push(place);
        }
        Self(flows)
    }
}
