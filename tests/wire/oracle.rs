//! Where etherparse and conntab must agree, and where they differ on purpose:
//!
//! - IPv4 AH is a protocol here, an extension there;
//! - IPv6 payload length 0 means none here, "all there is" there (a jumbogram here is refused);
//! - here the order of extension headers is not judged, AH may be 8 bytes short, their number is bounded, "no next
//!   header" is refused, and behind the header of a fragment nothing is read;
//! - UDP length 0 is refused here, "all there is" there;
//! - a TCP option of an unknown kind or wrong length is passed over here, an error there.

use conntab::reason::Reason;
use conntab::tuple::L3;
use conntab::wire::{self, Checksum, Headers, L4, tcp};
use etherparse::checksum::Sum16BitWords;
use etherparse::{IpSlice, TcpOptionElement, TcpOptionsIterator, TcpSlice, UdpSlice};

const AH: u8 = 51;

/// Checks that both read the IP packet in `data` alike.
pub fn agree(data: &[u8]) {
    let ours = wire::parse(data, data.len() as u32);
    let theirs = IpSlice::from_slice(data);
    match (ours, theirs) {
        (Err(_), Err(_)) => {}
        (Ok(headers), Err(error)) => {
            let extended = headers.l3 == L3::V6 && headers.l4_offset > 40;
            let ipv4_ah = headers.l3 == L3::V4 && headers.protocol == AH;
            assert!(extended || ipv4_ah, "{headers:?} but {error:?}");
        }
        (ours, Ok(theirs)) => both(data, ours, &theirs),
    }
}

fn both(data: &[u8], ours: Result<Headers, Reason>, theirs: &IpSlice) {
    let payload = theirs.payload();
    let transport = payload.payload;
    let (no_length, ah) = match theirs {
        IpSlice::Ipv4(ip) => (false, ip.header().protocol().0 == AH),
        IpSlice::Ipv6(ip) => (ip.header().payload_length() == 0, false),
    };
    let headers = match ours {
        Ok(headers) => headers,
        Err(Reason::Ipv6NoNextHeader | Reason::Ipv6Jumbogram | Reason::Ipv6Extension) => {
            assert!(data[0] >> 4 == 6);
            return;
        }
        Err(_) if no_length => return,
        Err(Reason::L4Truncated | Reason::TcpDataOffset) if payload.ip_number.0 == 6 => {
            assert!(TcpSlice::from_slice(transport).is_err());
            return;
        }
        Err(Reason::L4Truncated | Reason::UdpLength) if payload.ip_number.0 == 17 => {
            assert!(UdpSlice::from_slice(transport).is_err() || transport[4..6] == [0, 0]);
            return;
        }
        Err(Reason::L4Truncated) => {
            let needed = if payload.ip_number.0 == 132 { 12 } else { 8 };
            assert!(transport.len() < needed);
            return;
        }
        Err(reason) => {
            let expected = match payload.ip_number.0 {
                1 | 58 => &[Reason::IcmpFamily][..],
                47 => &[Reason::GreProtocol],
                136 => &[Reason::UdpliteCoverage, Reason::UdpliteNoChecksum],
                _ => &[],
            };
            assert!(expected.contains(&reason), "{reason:?} but {theirs:?}");
            return;
        }
    };
    match theirs {
        IpSlice::Ipv4(ip) => {
            assert_eq!((headers.l3, headers.hop_limit), (L3::V4, ip.header().ttl()));
            assert_eq!(
                (&headers.src[..4], &headers.dst[..4]),
                (&ip.header().source()[..], &ip.header().destination()[..])
            );
            assert_eq!(headers.len, u32::from(ip.header().total_len()));
        }
        IpSlice::Ipv6(ip) => {
            assert_eq!((headers.l3, headers.hop_limit), (L3::V6, ip.header().hop_limit()));
            assert_eq!((headers.src, headers.dst), (ip.header().source(), ip.header().destination()));
        }
    }
    if no_length || ah {
        return;
    }
    if headers.l4 == L4::Fragment {
        assert!(payload.fragmented);
        return;
    }
    // A second fragment header can say "fragment" there where it has no say here.
    assert!(!payload.fragmented || headers.l3 == L3::V6);
    assert_eq!(headers.protocol, payload.ip_number.0);
    assert_eq!(headers.transport(data), transport);
    match headers.l4 {
        L4::Tcp(segment) => same_segment(&segment, &TcpSlice::from_slice(transport).unwrap()),
        L4::Udp { sport, dport } => {
            let udp = UdpSlice::from_slice(transport).unwrap();
            assert_eq!((sport, dport), (udp.source_port(), udp.destination_port()));
        }
        _ => {}
    }
    assert_eq!(wire::checksum(data, &headers), verify(&headers, transport));
}

fn same_segment(segment: &tcp::Segment, theirs: &TcpSlice) {
    assert_eq!((segment.sport, segment.dport), (theirs.source_port(), theirs.destination_port()));
    assert_eq!((segment.seq, segment.ack), (theirs.sequence_number(), theirs.acknowledgment_number()));
    assert_eq!((segment.window, segment.payload), (theirs.window_size(), theirs.payload().len() as u32));
    let flags = [
        (tcp::flag::FIN, theirs.fin()),
        (tcp::flag::SYN, theirs.syn()),
        (tcp::flag::RST, theirs.rst()),
        (tcp::flag::PSH, theirs.psh()),
        (tcp::flag::ACK, theirs.ack()),
        (tcp::flag::URG, theirs.urg()),
        (tcp::flag::ECE, theirs.ece()),
        (tcp::flag::CWR, theirs.cwr()),
    ];
    for (bit, set) in flags {
        assert_eq!(segment.flags & bit != 0, set);
    }
    same_options(theirs.options());
}

/// Checks that both iterators give the same options, as far as etherparse's goes.
pub fn same_options(bytes: &[u8]) {
    let mut ours = tcp::options(bytes);
    for option in TcpOptionsIterator::from_slice(bytes) {
        let expected = match option {
            Ok(TcpOptionElement::Noop) => continue,
            Ok(expected) => expected,
            Err(_) => return,
        };
        let found = match ours.next().expect("an option less") {
            tcp::Opt::Mss(size) => TcpOptionElement::MaximumSegmentSize(size),
            tcp::Opt::WindowScale(shift) => TcpOptionElement::WindowScale(shift),
            tcp::Opt::SackPermitted => TcpOptionElement::SelectiveAcknowledgementPermitted,
            tcp::Opt::Timestamps { value, echo } => TcpOptionElement::Timestamp(value, echo),
            tcp::Opt::Sack(mut blocks) => {
                let first = blocks.next().unwrap();
                TcpOptionElement::SelectiveAcknowledgement(
                    first,
                    [blocks.next(), blocks.next(), blocks.next()],
                )
            }
            other => panic!("{other:?} instead of {expected:?}"),
        };
        assert_eq!(found, expected);
    }
    assert_eq!(ours.next(), None);
}

/// The checksum by etherparse's sum. That UDP's covers the whole payload and UDP-Lite's names protocol 17 is ours.
fn verify(headers: &Headers, transport: &[u8]) -> Checksum {
    let mut covered = transport.len();
    let mut protocol = headers.protocol;
    match headers.l4 {
        L4::Udp { .. } if transport[6..8] == [0, 0] => return Checksum::Good,
        L4::Tcp(_) | L4::Udp { .. } | L4::Icmp { .. } | L4::Icmpv6 { .. } => {}
        L4::UdpLite { .. } => {
            protocol = 17;
            match u16::from_be_bytes([transport[4], transport[5]]) {
                0 => {}
                coverage => covered = coverage.into(),
            }
        }
        _ => return Checksum::NotVerified,
    }
    let mut sum = Sum16BitWords::new().add_slice(&transport[..covered]);
    if !matches!(headers.l4, L4::Icmp { .. }) {
        sum = sum.add_slice(&headers.src).add_slice(&headers.dst);
        sum = sum.add_2bytes([0, protocol]).add_2bytes((transport.len() as u16).to_be_bytes());
    }
    if sum.ones_complement() == 0 { Checksum::Good } else { Checksum::Bad }
}
