//! L2: the tunables, under the kernel's sysctl names without `nf_conntrack_`
//! (Documentation/networking/nf_conntrack-sysctl.rst).

/// Longest timeout that is accepted, in seconds: 20 days. Ticks are 32-bit milliseconds compared wrap-safely.
pub const MAX_TIMEOUT: u32 = 20 * 86_400;

macro_rules! tunables {
    ($( $(#[doc = $doc:literal])+ $name:ident = $default:literal, $max:expr; )+) => {
        /// What an operator may tune, also while packets flow. Timeouts are in seconds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Tunables { $( $(#[doc = $doc])+ pub $name: u32, )+ }

        impl Default for Tunables {
            fn default() -> Self { Self { $($name: $default),+ } }
        }

        impl Tunables {
            /// All names, in order.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];
            /// The greatest value each name takes, in the same order. The least is 0.
            pub const LIMITS: &'static [u32] = &[$($max),+];

            /// All values, in the order of `NAMES`.
            #[inline]
            pub(crate) fn all(&mut self) -> [&mut u32; Self::NAMES.len()] {
                [$(&mut self.$name),+]
            }

            /// The value of the tunable at this place of `NAMES`.
            pub(crate) fn slot(&mut self, place: usize) -> &mut u32 {
                let Some(slot) = self.all().into_iter().nth(place) else {
                    unreachable!("place is below NAMES.len()")
                };
                slot
            }
        }
    };
}

tunables! {
    /// TCP after the first SYN.
    tcp_timeout_syn_sent = 120, MAX_TIMEOUT;
    /// TCP after a SYN/ACK.
    tcp_timeout_syn_recv = 60, MAX_TIMEOUT;
    /// TCP established with nothing unacknowledged.
    tcp_timeout_established = 432_000, MAX_TIMEOUT;
    /// TCP after the first FIN.
    tcp_timeout_fin_wait = 120, MAX_TIMEOUT;
    /// TCP after the first FIN was acknowledged.
    tcp_timeout_close_wait = 60, MAX_TIMEOUT;
    /// TCP after the second FIN.
    tcp_timeout_last_ack = 30, MAX_TIMEOUT;
    /// TCP after the last ACK.
    tcp_timeout_time_wait = 120, MAX_TIMEOUT;
    /// TCP after a reset.
    tcp_timeout_close = 10, MAX_TIMEOUT;
    /// TCP simultaneous open. (The kernel has no sysctl for it.)
    tcp_timeout_syn_sent2 = 120, MAX_TIMEOUT;
    /// TCP after `tcp_max_retrans` retransmissions without an answer: the most a timeout may be.
    tcp_timeout_max_retrans = 300, MAX_TIMEOUT;
    /// TCP with data unacknowledged: the most a timeout may be.
    tcp_timeout_unacknowledged = 300, MAX_TIMEOUT;
    /// Retransmissions before `tcp_timeout_max_retrans` holds.
    tcp_max_retrans = 3, 255;
    /// 1: pick up connections in mid-stream.
    tcp_loose = 1, 1;
    /// 1: only out-of-window RSTs are INVALID.
    tcp_be_liberal = 0, 1;
    /// 1: RSTs out of window are let through but change nothing.
    tcp_ignore_invalid_rst = 0, 1;
    /// UDP (and UDP-Lite) not yet a stream.
    udp_timeout = 30, MAX_TIMEOUT;
    /// UDP (and UDP-Lite) stream: replied, and older than two seconds.
    udp_timeout_stream = 120, MAX_TIMEOUT;
    /// ICMP queries.
    icmp_timeout = 30, MAX_TIMEOUT;
    /// ICMPv6 queries.
    icmpv6_timeout = 30, MAX_TIMEOUT;
    /// GRE not yet replied.
    gre_timeout = 30, MAX_TIMEOUT;
    /// GRE replied.
    gre_timeout_stream = 180, MAX_TIMEOUT;
    /// SCTP closed: nothing but INIT seen, or over.
    sctp_timeout_closed = 10, MAX_TIMEOUT;
    /// SCTP after INIT ACK.
    sctp_timeout_cookie_wait = 3, MAX_TIMEOUT;
    /// SCTP after COOKIE ECHO.
    sctp_timeout_cookie_echoed = 3, MAX_TIMEOUT;
    /// SCTP established.
    sctp_timeout_established = 210, MAX_TIMEOUT;
    /// SCTP after a SHUTDOWN of the end that began.
    sctp_timeout_shutdown_sent = 3, MAX_TIMEOUT;
    /// SCTP after a SHUTDOWN of the other end.
    sctp_timeout_shutdown_recd = 3, MAX_TIMEOUT;
    /// SCTP after SHUTDOWN ACK.
    sctp_timeout_shutdown_ack_sent = 3, MAX_TIMEOUT;
    /// SCTP known by a HEARTBEAT alone.
    sctp_timeout_heartbeat_sent = 30, MAX_TIMEOUT;
    /// Every protocol without a tracker of its own.
    generic_timeout = 600, MAX_TIMEOUT;
    /// 1: verify transport checksums at the PREROUTING hook.
    checksum = 1, 1;
    /// 1: count packets and bytes of connections that begin from now on (if `Config::acct` reserved room for them).
    acct = 1, 1;
    /// 1: remember when a connection began, of those that begin from now on (if `Config::timestamp` reserved room).
    timestamp = 1, 1;
    /// 0: no events. 1, 2: events (if `Config::events` reserved queues). The kernel's 2 also wants a listener.
    events = 2, 2;
    /// 1: the host has NAT hooks, so every new connection gets a NAT binding, be it a null binding: status SRC_NAT_DONE and
    /// DST_NAT_DONE once confirmed. (In the kernel it is the presence of NAT chains, not a sysctl.)
    nat_hooks = 0, 1;
}
