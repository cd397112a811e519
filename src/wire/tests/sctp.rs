use super::super::sctp::{Chunk, Packet};
use super::*;

/// INIT from port 3000 to 38412, as it was recorded.
const INIT: &str = "0bb8960c 00000000 6a880701 01000014 11111111 0000ffff 000a000a 000003e8";

fn read(packet: &[u8], len: usize) -> Result<Packet, Reason> {
    parse(packet, len as u32).map(|headers| match headers.l4 {
        L4::Sctp(packet) => packet,
        other => panic!("{other:?}"),
    })
}

/// A packet with these bytes for chunks.
fn with(chunks: &str) -> Packet {
    let packet = v4(132, &hex(&format!("0bb8960c 22222222 00000000 {chunks}")));
    read(&packet, packet.len()).unwrap()
}

fn acting(chunks: &str) -> Vec<Chunk> {
    with(chunks).acting().collect()
}

#[test]
fn header() {
    let packet = read(&v4(132, &hex(INIT)), 52).unwrap();
    assert_eq!((packet.sport, packet.dport, packet.vtag), (3000, 38412, 0));
    assert_eq!(packet.acting().collect::<Vec<_>>(), [Chunk::Init]);
    assert_eq!(packet.init_tag(), Some(0x1111_1111));
    assert!(!packet.is_broken() && !packet.has_others());
    assert_eq!(l4(&v4(132, &hex(INIT)[..11])), Err(Reason::L4Truncated));
    assert!(with("").is_broken());
    assert!(with("000000").is_broken());
}

#[test]
fn checksums() {
    for packet in [v4(132, &hex(INIT)), v6(132, &hex(INIT))] {
        let headers = headers(&packet);
        assert_eq!(checksum(&packet, &headers), Checksum::Good);
        for at in usize::from(headers.l4_offset)..packet.len() {
            let mut wrong = packet.clone();
            wrong[at] ^= 0x10;
            assert_eq!(checksum(&wrong, &headers), Checksum::Bad, "byte {at}");
            assert_eq!(checksum(&packet[..at], &headers), Checksum::NotVerified);
        }
    }
}

#[test]
fn chunks() {
    use Chunk::*;
    assert_eq!(
        acting("0a000008 61626364 00030011 00000000 00000000 00000000 00000000 07000008 00000000 08000004"),
        [CookieEcho, Shutdown, ShutdownAck]
    );
    assert_eq!(acting("06000004"), [Abort]);
    assert_eq!(acting("06010004"), [AbortReflected]);
    assert_eq!(acting("06fe0004"), [Abort]);
    assert_eq!(acting("0e010004"), [ShutdownCompleteReflected]);
    assert_eq!(acting("03000004 04000004 05000004 09000004"), [Heartbeat, HeartbeatAck, Error]);
    let others = with("03000004 c1000004");
    assert!(others.has_others() && !others.has_data() && others.acting().next().is_none());
    assert!(with("00030004").has_data());
    // A length is rounded up; one that leads out of the packet ends it.
    assert_eq!(acting("03000001 07000004"), [Shutdown]);
    assert_eq!(acting("03000005 07000004"), []);
    assert_eq!(acting("0300fffd 07000004"), []);
    // Bytes that hold no chunk.
    assert_eq!(acting("07000004 060000"), [Shutdown]);
}

#[test]
fn broken() {
    for chunks in [
        "07000000",
        "07000004 06000000",
        "01000004 00030004",
        "00030004 01000004",
        "0e000004 07000004",
        "03000004 0a000004",
        "0b000004 0b000004",
    ] {
        assert!(with(chunks).is_broken(), "{chunks}");
    }
    // Cut short: no initiate tag.
    let short = with("01000014 11111111 00000000 00000000 000000");
    assert!(!short.is_broken());
    assert_eq!(short.init_tag(), None);
    // Its own length has no say.
    assert_eq!(with("01000011 11111111 00000000 00000000 00000000").init_tag(), Some(0x1111_1111));
}

#[test]
fn many() {
    // Of equal ones in a row two count.
    assert_eq!(acting(&"07000004".repeat(300)), [Chunk::Shutdown; 2]);
    let pairs = "04000004 05000004";
    let most = with(&pairs.repeat(Packet::MAX_ACTING / 2));
    assert_eq!(most.acting().count(), Packet::MAX_ACTING);
    assert!(!most.has_too_many());
    let more = with(&format!("{}{pairs}", pairs.repeat(Packet::MAX_ACTING / 2)));
    assert_eq!(more.acting().count(), Packet::MAX_ACTING);
    assert!(more.has_too_many());
}

#[test]
fn captured_in_part() {
    let bytes = hex("0bb8960c 22222222 00000000 04000008 00000000 0003000c 00000000 00000000 07000004");
    let packet = v4(132, &bytes);
    let kinds = |end: usize| read(&packet[..end], packet.len()).map(|p| p.acting().collect::<Vec<_>>());
    assert_eq!(kinds(20 + 36), Ok(vec![Chunk::Heartbeat, Chunk::Shutdown]));
    // Behind DATA nothing is expected that matters.
    assert_eq!(kinds(20 + 34), Ok(vec![Chunk::Heartbeat]));
    assert_eq!(kinds(20 + 24), Ok(vec![Chunk::Heartbeat]));
    for end in [12, 14, 16, 20, 23] {
        assert_eq!(kinds(20 + end), Err(Reason::NotCaptured), "{end}");
    }
    let init = v4(132, &hex(INIT));
    assert_eq!(read(&init[..39], 52), Err(Reason::NotCaptured));
    assert_eq!(read(&init[..40], 52).map(|p| p.init_tag()), Ok(Some(0x1111_1111)));
}
