//! ICMP and ICMPv6 (RFC 792, RFC 950, RFC 4443, RFC 4620): queries are flows of their own, errors belong to the flow
//! they speak of, neighbour and listener discovery is never tracked.
//!
//! Which type is what was asked of a kernel, all 256 of either family.

use super::Step;
use crate::reason::Reason;
use crate::timeout::Tunables;

/// What a message is to the tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A query: opens a flow.
    Query,
    /// The answer to a query: opens nothing.
    Answer,
    /// An error, which carries the packet it speaks of.
    Error,
    /// An ICMPv6 redirect: an error, if it comes from a link-local router one hop away.
    Redirect,
    /// Neighbour or multicast listener discovery: untracked.
    Neighbour,
    /// Nothing a tracker can use.
    Unusable(Reason),
}

/// What an ICMP message of this type is.
pub const fn kind_v4(kind: u8) -> Kind {
    match kind {
        8 | 13 | 15 | 17 => Kind::Query,
        0 | 14 | 16 | 18 => Kind::Answer,
        3 | 4 | 5 | 11 | 12 => Kind::Error,
        0..=18 => Kind::Unusable(Reason::IcmpUnsolicited),
        _ => Kind::Unusable(Reason::IcmpType),
    }
}

/// What an ICMPv6 message of this type is.
pub const fn kind_v6(kind: u8) -> Kind {
    match kind {
        128 | 139 => Kind::Query,
        129 | 140 => Kind::Answer,
        137 => Kind::Redirect,
        130..=136 | 143 | 151 | 152 => Kind::Neighbour,
        0..=127 => Kind::Error,
        _ => Kind::Unusable(Reason::IcmpType),
    }
}

/// A packet of a query's flow, either way.
pub fn step(v6: bool, tunables: &Tunables) -> Step {
    Step::refresh(if v6 { tunables.icmpv6_timeout } else { tunables.icmp_timeout })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::{icmp_inverse, icmpv6_inverse};

    #[test]
    fn a_query_is_answered_by_an_answer() {
        for kind in 0..=255 {
            let paired = |k: Kind| matches!(k, Kind::Query | Kind::Answer);
            assert_eq!(icmp_inverse(kind).is_some(), paired(kind_v4(kind)), "ICMP {kind}");
            assert_eq!(icmpv6_inverse(kind).is_some(), paired(kind_v6(kind)), "ICMPv6 {kind}");
            if let Some(other) = icmp_inverse(kind) {
                assert_ne!(kind_v4(kind), kind_v4(other));
            }
            if let Some(other) = icmpv6_inverse(kind) {
                assert_ne!(kind_v6(kind), kind_v6(other));
            }
        }
    }
}
