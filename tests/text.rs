//! The kernel's text line, there and back.

use conntab::conn::status;
use conntab::connection::{Counters, Tracked, protocol_name};
use conntab::proto::{sctp, tcp};
use conntab::tuple::{L3, Tuple, protocol};
use conntab::{Connection, Handle};
use proptest::prelude::*;

fn tuple() -> impl Strategy<Value = Tuple> {
    let l4 = prop_oneof![
        Just(protocol::TCP),
        Just(protocol::UDP),
        Just(protocol::ICMP),
        Just(protocol::ICMPV6),
        Just(protocol::GRE),
        Just(protocol::UDPLITE),
        Just(protocol::SCTP),
        any::<u8>(),
    ];
    let l3 = prop_oneof![Just(L3::V4), Just(L3::V6)];
    (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<u16>(), any::<u16>(), l4, l3).prop_map(
        |(mut src, mut dst, mut sport, mut dport, l4, l3)| {
            if l3 == L3::V4 {
                src[4..].fill(0);
                dst[4..].fill(0);
            }
            if protocol_name(l4) == "unknown" {
                (sport, dport) = (0, 0);
            }
            Tuple { src, dst, sport, dport, l4, l3 }
        },
    )
}

prop_compose! {
    fn connection()(
        original in tuple(),
        translated in any::<Option<(u16, u16)>>(),
        (zone_orig, zone_reply) in (0u16..3, 0u16..3),
        (replied, assured, offloaded) in any::<(bool, bool, bool)>(),
        state in 0..tcp::State::COUNT as u8,
        (gre, stream) in any::<(u32, u32)>(),
        seconds in 0u32..1_728_000,
        mark: u32,
        counters in any::<Option<[(u64, u64); 2]>>(),
        delta_time in any::<Option<u64>>(),
    ) -> Connection {
        let mut reply = original.inverse();
        if let (Some((sport, dport)), true) = (translated, protocol_name(original.l4) != "unknown") {
            (reply.sport, reply.dport) = (sport, dport);
        }
        let mut bits = status::CONFIRMED;
        for (set, bit) in [(replied, status::SEEN_REPLY), (assured && !offloaded, status::ASSURED), (offloaded, status::OFFLOAD)] {
            bits |= if set { bit } else { 0 };
        }
        let tracked = match original.l4 {
            protocol::TCP => Tracked::Tcp(tcp::State::from_u8(state).unwrap(), None),
            protocol::SCTP => Tracked::Sctp(sctp::State::from_u8(state % sctp::State::COUNT as u8).unwrap(), None),
            protocol::GRE => Tracked::Gre(gre, stream),
            _ => Tracked::None,
        };
        let (tracked, seconds) = if offloaded { (Tracked::None, 0) } else { (tracked, seconds) };
        Connection {
            handle: Handle::NONE,
            original,
            reply,
            zone_orig,
            zone_reply,
            status: bits,
            tracked,
            timeout_ms: seconds * 1000,
            mark,
            counters: counters.map(|c| c.map(|(packets, bytes)| Counters { packets, bytes })),
            helper: None,
            master: None,
            delta_time,
        }
    }
}

proptest! {
    #[test]
    fn a_line_is_read_back_as_it_was_written(connection in connection()) {
        let line = connection.to_string();
        prop_assert_eq!(line.parse::<Connection>().unwrap(), connection, "{}", line);
    }

    #[test]
    fn no_text_is_worse_than_an_error(connection in connection(), cut in 0usize..300, junk in ".*") {
        let line = connection.to_string();
        let cut = line.floor_char_boundary(cut);
        let _ = line[..cut].parse::<Connection>();
        prop_assert!(junk.parse::<Connection>().is_err());
        let _ = format!("{}{junk}{}", &line[..cut], &line[cut..]).parse::<Connection>();
    }
}

#[test]
fn lines_as_the_kernel_writes_them() {
    let lines = [
        "ipv4     2 tcp      6 431955 ESTABLISHED src=172.16.207.231 dst=172.16.207.232 sport=51071 dport=5672 src=172.16.207.232 dst=172.16.207.231 sport=5672 dport=51071 [ASSURED] mark=0 zone=0 use=1",
        "ipv4     2 udp      17 22 src=172.16.200.119 dst=172.16.200.1 sport=33636 dport=53 [UNREPLIED] src=172.16.200.1 dst=172.16.200.119 sport=53 dport=33636 mark=0 zone=0 use=1",
        "ipv4     2 icmp     1 29 src=114.14.240.77 dst=111.31.136.9 type=8 code=0 id=57960 packets=1 bytes=84 src=111.31.136.9 dst=114.14.240.77 type=0 code=0 id=57960 packets=1 bytes=84 mark=0 zone=0 use=1",
        "ipv6     10 unknown  89 600 src=fd00:0001:0000:0000:0000:0000:0000:0001 dst=fd00:0002:0000:0000:0000:0000:0000:0001 [UNREPLIED] src=fd00:0002:0000:0000:0000:0000:0000:0001 dst=fd00:0001:0000:0000:0000:0000:0000:0001 mark=7 zone=3 delta-time=12 use=1",
        "ipv4     2 gre      47 179 timeout=30, stream_timeout=180 src=10.1.0.1 dst=10.2.0.1 srckey=0x0 dstkey=0x7 [UNREPLIED] src=10.2.0.1 dst=10.1.0.1 srckey=0x7 dstkey=0x0 mark=0 zone-orig=7 use=1",
    ];
    for line in &lines[..4] {
        let connection: Connection = line.parse().unwrap_or_else(|e| panic!("{line}: {e}"));
        assert_eq!(connection.to_string(), *line);
    }
    // zone-orig= stands behind the tuple of its direction.
    assert_eq!(
        lines[4].parse::<Connection>().unwrap_err().to_string(),
        "'zone-orig=7' where the end of the line should be"
    );
}

#[test]
fn an_error_says_what_was_expected() {
    let error = |line: &str| line.parse::<Connection>().unwrap_err().to_string();
    assert_eq!(error(""), "the line ends where ipv4 or ipv6 should be");
    assert_eq!(error("ipv5 2 tcp 6 1"), "'ipv5' where ipv4 2 or ipv6 10 should be");
    assert_eq!(error("ipv4 2 udp 6 1"), "'udp' where the name of that protocol should be");
    assert_eq!(
        error(
            "ipv4 2 gre 47 src=10.0.0.1 dst=10.0.0.2 srckey=0 dstkey=7 src=10.0.0.2 dst=10.0.0.1 srckey=7 dstkey=0 mark=0"
        ),
        "'mark=0' where [OFFLOAD] (there is no time) should be"
    );
    assert_eq!(error("ipv4 2 tcp 6 1 OPEN"), "'OPEN' where a TCP state should be");
    assert_eq!(error("ipv4 2 udp 17 1 src=10.0.0.1 dst=10.0.0.999"), "'10.0.0.999' where dst should be");
    assert_eq!(
        error("ipv4 2 udp 17 9999999 src=10.0.0.1"),
        "'a number too large' where the seconds left should be"
    );
}
