//! L0: why a packet was judged INVALID, ignored, dropped or left untracked.
//!
//! The numbers are stable: they cross the C ABI and appear in logs. A number is never given a second meaning.

macro_rules! reasons {
    ($( $(#[doc = $doc:literal])+ $name:ident = $code:literal, $text:literal; )+) => {
        /// Why a packet got the verdict it got. `None` (0) is the ordinary case.
        ///
        /// Ranges: 1-99 headers, 100-199 the path, 200-299 TCP, 300-399 the other trackers, 400-499 fragments.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum Reason { $( $(#[doc = $doc])+ $name = $code, )+ }

        impl Reason {
            /// Every reason, in the order of the numbers.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),+];

            /// The reason's short name, lower case with hyphens: stable, made for logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => $text,)+ }
            }

            /// The reason with this number, if there is one.
            pub const fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Reason::$name),)+ _ => None }
            }

            /// The stable number.
            pub const fn code(self) -> u16 { self as u16 }
        }
    };
}

reasons! {
    /// Nothing to say.
    None = 0, "none";

    /// Fewer bytes on the wire than the IP header takes, or than its length field promises.
    IpTruncated = 1, "ip-truncated";
    /// The version field is neither 4 nor 6.
    IpVersion = 2, "ip-version";
    /// An IPv4 header length below 5 words, or a total length shorter than the header.
    IpHeaderLength = 3, "ip-header-length";
    /// An IPv6 extension header runs past the packet, or there are too many of them.
    Ipv6Extension = 4, "ipv6-extension";
    /// IPv6 "no next header" (59): there is nothing to track.
    Ipv6NoNextHeader = 5, "ipv6-no-next-header";
    /// IPv6 payload length 0 before a hop-by-hop header: a jumbogram (RFC 2675), which is not supported.
    Ipv6Jumbogram = 7, "ipv6-jumbogram";
    /// A header was on the wire, but the capture ends before it does.
    NotCaptured = 8, "not-captured";
    /// The transport header is shorter than its protocol asks for.
    L4Truncated = 10, "l4-truncated";
    /// TCP data offset below 5 words or beyond the segment.
    TcpDataOffset = 11, "tcp-data-offset";
    /// UDP length below 8 or beyond the packet.
    UdpLength = 12, "udp-length";
    /// UDP-Lite checksum coverage of 1 to 7, or beyond the packet.
    UdpliteCoverage = 13, "udplite-coverage";
    /// The transport checksum is wrong.
    Checksum = 14, "checksum";
    /// UDP-Lite without a checksum (RFC 3828 section 3.1 forbids 0).
    UdpliteNoChecksum = 15, "udplite-no-checksum";
    /// GRE version 1 that does not carry PPP (RFC 2637 section 4.1).
    GreProtocol = 16, "gre-protocol";
    /// ICMP inside IPv6, or ICMPv6 inside IPv4.
    IcmpFamily = 17, "icmp-family";
    /// ICMPv6 redirect shorter than 40 bytes, or whose first option is not the redirected header.
    RedirectOption = 18, "redirect-option";
    /// The frame is shorter than its link-layer header.
    LinkTruncated = 20, "link-truncated";
    /// The frame carries neither IPv4 nor IPv6.
    LinkNotIp = 21, "link-not-ip";

    /// The packet is a fragment: reassemble, then track the whole.
    Fragment = 100, "fragment";
    /// NOTRACK was asked for.
    NoTrack = 101, "notrack";
    /// The table is full and nothing could be evicted.
    TableFull = 102, "table-full";
    /// The pool of overflow buckets is used up.
    OverflowExhausted = 103, "overflow-exhausted";
    /// The chain of this tuple's bucket is too long.
    ChainTooLong = 104, "chain-too-long";
    /// An insert gave up after too many attempts.
    InsertAttempts = 105, "insert-attempts";
    /// Another connection holds one of the tuples (insert_failed).
    Clash = 106, "clash";
    /// The connection's record was being written by other workers: judged by its state alone.
    Busy = 107, "busy";
    /// Every freed entry still waits for a stalled worker: no free entry.
    ReclaimStalled = 108, "reclaim-stalled";
    /// A clash was resolved by adopting the connection that was there first (clash_resolve).
    Adopted = 110, "adopted";
    /// The verdict was let go: its connection was never confirmed.
    NotConfirmed = 111, "not-confirmed";
    /// The packet is described wrongly: no bytes, an unknown hook, or an unknown flag.
    BadPacket = 112, "bad-packet";

    /// The connection's helper does not let the packet pass.
    Helper = 120, "helper";
    /// A connection that the packet announces cannot be expected: another is expected that would be the same, or there is no room.
    Expectation = 121, "expectation";

    /// TCP: a set of control bits that no segment may carry.
    TcpFlags = 200, "tcp-flags";
    /// TCP: a first packet that opens nothing (SYN/ACK, FIN or RST).
    TcpNotOpening = 201, "tcp-not-opening";
    /// TCP: a first packet in mid-stream, while `tcp_loose` is 0.
    TcpMidstream = 202, "tcp-midstream";
    /// TCP: this kind of segment cannot occur in this state and direction.
    TcpState = 203, "tcp-state";
    /// TCP: sequence number beyond the receiver's window; excess is how far beyond the last number allowed.
    TcpSeqAbove = 204, "tcp-seq-above";
    /// TCP: acknowledges (or selectively acknowledges) what was never sent; excess is by how much.
    TcpAckAbove = 205, "tcp-ack-above";
    /// TCP: RST below what the other end has acknowledged; excess is by how much.
    TcpRstBelow = 206, "tcp-rst-below";
    /// TCP: let through, but changes nothing in this state: the other end will answer it.
    TcpStateIgnored = 220, "tcp-state-ignored";
    /// TCP: data that ends beyond the window by less than a window is let through; excess is by how much, plus one.
    TcpOvershoot = 221, "tcp-overshoot";
    /// TCP: data acknowledged long ago; excess is by how much it ends below the lower bound.
    TcpSeqBelow = 222, "tcp-seq-below";
    /// TCP: an acknowledgement far too old; excess is how far below the lower bound.
    TcpAckBelow = 223, "tcp-ack-below";
    /// TCP: a SYN repeated before any answer: it refreshes nothing.
    TcpSynAgain = 224, "tcp-syn-again";
    /// TCP: the challenge ACK (RFC 5961) to an ignored SYN, not the last ACK.
    TcpChallengeAck = 225, "tcp-challenge-ack";

    /// ICMP: a type that no tracker knows.
    IcmpType = 300, "icmp-type";
    /// ICMP: a reply, or another message that opens nothing, without a request.
    IcmpUnsolicited = 301, "icmp-unsolicited";
    /// ICMP error: the inner packet is cut short or nonsensical.
    IcmpInner = 302, "icmp-inner";
    /// ICMP error: no connection matches the inner packet.
    IcmpNoFlow = 303, "icmp-no-flow";
    /// ICMP error: the outer destination is not the inner source.
    IcmpOuterDestination = 304, "icmp-outer-destination";
    /// ICMPv6 redirect that is not from link-local with hop limit 255.
    IcmpRedirect = 305, "icmp-redirect";
    /// Neighbour discovery or multicast listener discovery: never tracked.
    IcmpNeighbour = 306, "icmp-neighbour";

    /// SCTP: a broken list of chunks: none, one of length 0, one cut short, or one that may not be in this company or place.
    SctpChunks = 310, "sctp-chunks";
    /// SCTP: a first packet that opens nothing.
    SctpNotOpening = 311, "sctp-not-opening";
    /// SCTP: the verification tag is not the one that its chunks ask for.
    SctpTag = 312, "sctp-tag";
    /// SCTP: such a chunk cannot occur in this state and direction.
    SctpState = 313, "sctp-state";
    /// SCTP: INIT ACK with another initiate tag than the one that is known of its sender.
    SctpInitTag = 314, "sctp-init-tag";
    /// SCTP: more than 16 chunks to act upon in one packet.
    SctpTooMany = 315, "sctp-too-many";
    /// SCTP: HEARTBEAT with another verification tag is let through: its answer will tell.
    SctpHeartbeat = 320, "sctp-heartbeat";
    /// SCTP: INIT while closed is let through, and refreshes nothing.
    SctpInitAgain = 321, "sctp-init-again";

    /// Fragment: it overlaps another one of its datagram, of which nothing is left (RFC 5722).
    FragOverlap = 400, "frag-overlap";
    /// Fragment: it ends beyond the last one, or is a last one that ends elsewhere than it should.
    FragEnd = 401, "frag-end";
    /// Fragment: there is nothing in it.
    FragEmpty = 402, "frag-empty";
    /// Fragment: the datagram is, or would be, longer than 65535 bytes.
    FragTooLong = 403, "frag-too-long";
    /// Fragment: marks of congestion beside fragments that cannot carry any (RFC 3168 section 5.3).
    FragEcn = 404, "frag-ecn";
    /// Fragment: what waits takes as much memory as is allowed.
    FragMemory = 405, "frag-memory";
    /// Fragment: as many datagrams wait as there is room for.
    FragQueues = 406, "frag-queues";
}
