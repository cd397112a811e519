//! UDP and UDP-Lite (RFC 768, RFC 3828). There is nothing to follow but whether the peer answers and, for UDP, whether
//! the exchange lasts.

use super::Step;
use crate::timeout::Tunables;

/// A flow older than this, in milliseconds, that has been answered is a stream.
const STREAM_AFTER_MS: u32 = 2000;

/// What the tracker remembers: when the stream may begin, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Tick (ms, wrapping) from which on an answered flow is a stream.
    pub stream_from: u32,
}

impl Record {
    pub(crate) fn pack(self) -> [u64; 7] {
        [u64::from(self.stream_from), 0, 0, 0, 0, 0, 0]
    }

    pub(crate) fn unpack(words: &[u64; 7]) -> Self {
        Self { stream_from: words[0] as u32 }
    }
}

/// The first packet of a flow, at tick `now`.
pub fn open(now: u32, tunables: &Tunables) -> (Record, Step) {
    let record = Record { stream_from: now.wrapping_add(STREAM_AFTER_MS) };
    (record, Step::refresh(tunables.udp_timeout))
}

/// A further packet of UDP-Lite: as UDP, but the stream begins at once with the packet after the answer, however young
/// the flow is (tests/recorded: udplite-stream).
pub fn lite_step(replied: bool, tunables: &Tunables) -> Step {
    if replied {
        Step { assure: true, ..Step::refresh(tunables.udp_timeout_stream) }
    } else {
        Step::refresh(tunables.udp_timeout)
    }
}

/// A further packet of UDP, in either direction. `replied` and `assured` are the flow's status before this packet.
pub fn step(record: Record, now: u32, replied: bool, assured: bool, tunables: &Tunables) -> Step {
    // The answer itself never makes a stream, however late it comes: the stream timeout and ASSURED come with the next
    // packet, in either direction. Once a stream always a stream. The flow may be older than ticks reach: so it is young
    // within a window before `stream_from` (wider than two seconds, for clocks that differ), and not otherwise.
    let young = record.stream_from.wrapping_sub(now) <= 2 * STREAM_AFTER_MS;
    let stream = replied && (assured || !young);
    if stream {
        Step { assure: true, ..Step::refresh(tunables.udp_timeout_stream) }
    } else {
        Step::refresh(tunables.udp_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Timeout;

    #[test]
    fn a_stream_is_an_answered_flow_of_more_than_two_seconds() {
        let t = Tunables::default();
        let (record, first) = open(u32::MAX - 500, &t);
        assert_eq!((first.timeout, first.assure), (Timeout::Set(30), false));
        let at = |ms: u32, replied, assured| {
            let step = step(record, (u32::MAX - 500).wrapping_add(ms), replied, assured, &t);
            (step.timeout, step.assure)
        };
        assert_eq!(at(1900, true, false), (Timeout::Set(30), false), "too young");
        assert_eq!(at(2300, false, false), (Timeout::Set(30), false), "the late first answer itself");
        assert_eq!(at(2300, true, false), (Timeout::Set(120), true));
        for days in [25, 45] {
            assert_eq!(
                at(days * 86_400_000, true, false),
                (Timeout::Set(120), true),
                "after the tick has wrapped"
            );
        }
    }
}
