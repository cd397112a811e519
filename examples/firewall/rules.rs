//! The rules, and the way of a burst.

use std::sync::Arc;

use conntab::helper::Ftp;
use conntab::tuple::{Direction, Tuple};
use conntab::{CtState, HelperError, HelperId, Packet, Table, Verdict, Worker};

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
    /// The TCP port whose connections have the helper of FTP: their data connections are RELATED.
    pub ftp: Option<u16>,
    /// That helper's number in the table.
    helper: Option<HelperId>,
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

    /// Adds the helper that the rules attach.
    pub fn prepare(&mut self, table: &Table) -> Result<(), HelperError> {
        self.helper = self.ftp.map(|_| table.add_helper(Arc::new(Ftp))).transpose()?;
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

    fn is_service(&self, worker: &mut Worker, verdict: &Verdict) -> bool {
        goes_to(worker, verdict).is_some_and(|tuple| self.services.contains(&(tuple.l4, tuple.dport)))
    }

    /// Attaches the helper to a new connection that is for it.
    fn attach(&self, worker: &mut Worker, verdict: &mut Verdict) {
        if let (Some(port), Some(helper), true) = (self.ftp, self.helper, verdict.unconfirmed)
            && goes_to(worker, verdict).is_some_and(|tuple| (tuple.l4, tuple.dport) == (6, port))
        {
            // All help records taken: then it goes without, and its data connections are not expected.
            let _ = worker.attach_helper(verdict, helper);
        }
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
        for (i, verdict) in verdicts.iter_mut().enumerate() {
            if self.passes(worker, verdict, side) {
                self.attach(worker, verdict);
                pass |= 1 << i;
            }
        }
        // A helper may decide against a packet.
        let pass = worker.help(now, packets, verdicts, pass);
        worker.confirm(now, verdicts, pass);
        // Confirming may have decided against a packet: it lost a clash, or there was no room.
        let lost = |(_, verdict): &(usize, &Verdict)| verdict.state == CtState::Drop;
        verdicts.iter().enumerate().filter(lost).fold(pass, |pass, (i, _)| pass & !(1 << i))
    }
}

/// Where a new connection goes to is asked of the library, which has read the headers already.
fn goes_to(worker: &mut Worker, verdict: &Verdict) -> Option<Tuple> {
    worker.section().get(verdict.conn).map(|view| view.tuple(Direction::Original))
}
