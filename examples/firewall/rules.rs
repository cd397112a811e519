//! The rules, and the way of a burst.

use conntab::tuple::Direction;
use conntab::{CtState, Packet, Verdict, Worker};

/// On which side of the firewall a packet has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where connections may be opened.
    Inside,
    /// Where only listed services may be connected to.
    Outside,
}

/// Established and related pass, as does what is not tracked (neighbour discovery); new from inside, and from outside to the
/// listed services; invalid never.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Protocol and destination port of what may be opened from outside.
    services: Vec<(u8, u16)>,
    /// Whether fragments pass, unjudged.
    pub pass_fragments: bool,
}

impl Rules {
    /// Lists services: `tcp/80,udp/53`.
    pub fn allow(&mut self, list: &str) -> Result<(), String> {
        for service in list.split(',') {
            let parsed = match service.split_once('/') {
                Some(("tcp", port)) => port.parse().map(|port| (6, port)),
                Some(("udp", port)) => port.parse().map(|port| (17, port)),
                _ => return Err(format!("{service}: not tcp/PORT or udp/PORT")),
            };
            self.services.push(parsed.map_err(|_| format!("{service}: no port number"))?);
        }
        Ok(())
    }

    /// What to do with one packet.
    fn passes(&self, worker: &mut Worker, verdict: &Verdict, side: Side) -> bool {
        match verdict.state {
            CtState::Established | CtState::Related | CtState::Untracked => true,
            CtState::New => side == Side::Inside || self.is_service(worker, verdict),
            CtState::Fragment => self.pass_fragments,
            CtState::Invalid | CtState::Drop => false,
        }
    }

    /// Where a new connection goes to is asked of the library, which has read the headers already.
    fn is_service(&self, worker: &mut Worker, verdict: &Verdict) -> bool {
        let tuple = worker.section().get(verdict.conn).map(|view| view.tuple(Direction::Original));
        tuple.is_some_and(|tuple| self.services.contains(&(tuple.l4, tuple.dport)))
    }

    /// Judges a burst, and returns which packets pass (bit i: packet i). `verdicts`: room for as many.
    pub fn filter(
        &self,
        worker: &mut Worker,
        now: u64,
        side: Side,
        packets: &[Packet<'_>],
        verdicts: &mut [Verdict],
    ) -> u64 {
        let n = worker.track(now, packets, verdicts);
        let verdicts = &mut verdicts[..n];
        let mut pass = 0u64;
        for (i, verdict) in verdicts.iter().enumerate() {
            pass |= u64::from(self.passes(worker, verdict, side)) << i;
        }
        worker.confirm(now, verdicts, pass);
        // Confirming may have decided against a packet: it lost a clash, or there was no room.
        for (i, verdict) in verdicts.iter().enumerate() {
            if verdict.state == CtState::Drop {
                pass &= !(1 << i);
            }
        }
        pass
    }
}
