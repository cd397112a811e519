//! GRE (RFC 2784; version 1: RFC 2637). Version 0 flows are known by their addresses; version 1 by the call id of
//! the receiver, so that without a PPTP control connection the two ways never meet.

use super::Step;
use crate::timeout::Tunables;

/// What the tracker remembers: its timeouts, fixed when the flow begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Seconds while unreplied.
    pub timeout: u32,
    /// Seconds once replied.
    pub stream_timeout: u32,
}

impl Record {
    pub(crate) fn pack(self) -> [u64; 7] {
        [u64::from(self.timeout) | u64::from(self.stream_timeout) << 32, 0, 0, 0, 0, 0, 0]
    }

    pub(crate) fn unpack(words: &[u64; 7]) -> Self {
        Self { timeout: words[0] as u32, stream_timeout: (words[0] >> 32) as u32 }
    }
}

/// The first packet of a flow.
pub fn open(tunables: &Tunables) -> (Record, Step) {
    let record = Record { timeout: tunables.gre_timeout, stream_timeout: tunables.gre_timeout_stream };
    (record, Step::refresh(record.timeout))
}

/// A further packet. `replied`: the flow had been answered before this packet.
pub fn step(record: Record, replied: bool) -> Step {
    // Unlike UDP no two seconds have to pass: the third packet makes the stream.
    if replied {
        Step { assure: true, ..Step::refresh(record.stream_timeout) }
    } else {
        Step::refresh(record.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Timeout;

    #[test]
    fn the_packet_after_the_reply_makes_the_stream() {
        let (record, first) = open(&Tunables::default());
        assert_eq!(first.timeout, Timeout::Set(30));
        assert_eq!((step(record, false).timeout, step(record, false).assure), (Timeout::Set(30), false));
        assert_eq!((step(record, true).timeout, step(record, true).assure), (Timeout::Set(180), true));
    }
}
