use super::*;
use crate::wire::tcp::{Opt, Segment, flag, options};

/// A TCP segment from port 1000 to 80 with these options, ack 1001, and `payload` bytes.
fn tcp(options: &[u8], payload: usize) -> Vec<u8> {
    let mut bytes = hex("03e8 0050 000f4240 000003e9 50 12 1234 0000 0000");
    bytes[12] = ((20 + options.len()) / 4 * 16) as u8;
    bytes.extend(options);
    bytes.extend(vec![0x61; payload]);
    v4(6, &bytes)
}

fn segment(options: &str) -> Segment {
    let mut options = hex(options);
    options.resize(options.len().next_multiple_of(4), 1);
    match headers(&tcp(&options, 7)).l4 {
        L4::Tcp(segment) => segment,
        other => panic!("{other:?}"),
    }
}

#[test]
fn tcp_fields() {
    let expected = Segment {
        sport: 1000,
        dport: 80,
        seq: 1_000_000,
        ack: 1001,
        flags: flag::SYN | flag::ACK,
        window: 0x1234,
        payload: 7,
        has_options: false,
        wscale: None,
        sack_permitted: false,
        sack_edge: None,
    };
    assert_eq!(segment(""), expected);
    let expected = Segment { has_options: true, ..expected };
    assert_eq!(segment("0101080a 00000001 00000002"), expected);
    let expected = Segment { wscale: Some(7), sack_permitted: true, ..expected };
    assert_eq!(segment("020405b4 0402 080a0000000000000000 01 030307"), expected);
    let packet = tcp(&[], 7);
    assert_eq!(headers(&packet).payload(&packet), b"aaaaaaa");
    assert_eq!(headers(&packet).transport(&packet).len(), 27);
}

#[test]
fn tcp_cut_short() {
    let whole = tcp(&[], 0);
    for len in 0..20 {
        assert_eq!(l4(&v4(6, &whole[20..20 + len])), Err(Reason::L4Truncated), "{len}");
    }
    // One byte short of its options.
    let whole_options = tcp(&[1, 1, 1, 1], 0);
    assert_eq!(l4(&v4(6, &whole_options[20..43])), Err(Reason::TcpDataOffset));
    for offset in [0, 4, 6, 15] {
        let mut packet = whole.clone();
        packet[32] = offset << 4;
        assert_eq!(l4(&packet), Err(Reason::TcpDataOffset), "{offset}");
    }
}

#[test]
fn tcp_options_not_captured() {
    let packet = tcp(&hex("0402 0101 0303 0701"), 5);
    let len = packet.len() as u32;
    let cut = |end: usize| match parse(&packet[..end], len) {
        Ok(Headers { l4: L4::Tcp(segment), .. }) => {
            assert_eq!(segment.payload, 5);
            Ok((segment.sack_permitted, segment.wscale))
        }
        other => Err(other),
    };
    // All or nothing: a lost window scale would mislead.
    for end in 20..48 {
        assert_eq!(cut(end), Err(Err(Reason::NotCaptured)), "{end}");
    }
    assert_eq!(cut(48), Ok((true, Some(7))));
}

/// What the kernel took from odd options in a SYN: window scale and SACK permitted.
#[test]
fn odd_tcp_options() {
    for (options, wscale, permitted) in [
        ("01 030305 030306 01", Some(6), false), // the last of two counts
        ("0302 030307 010101", Some(7), false),  // wrong length: skipped by that length
        ("03040700 0402 0101", None, true),
        ("040300 030307 0101", Some(7), false),
        ("020305 030307 0402", Some(7), true),
        ("080900000000000000 030307 0402 0000", Some(7), true),
        ("fe046162 030307 0402 010101", Some(7), true), // unknown
        ("030307 0402 080000", Some(7), true),          // length 0 or 1 ends it, what was before stays
        ("0800 030307 010101", None, false),
        ("0801 030307 010101", None, false),
        ("fe006162 030307 0402 010101", None, false),
        ("030307 0402 080a00", Some(7), true), // not there in full
        ("010101010101 0303", None, false),
        ("0328 00000000 030307 0402 01", None, false),
        ("0402 030307 0101 08", Some(7), true), // a kind without a length
        ("00 030307 0402 0101", None, false),   // EOL
        ("030307 00 0402 0101", Some(7), false),
        ("080a0000000000000000 030307 0402 01", Some(7), true),
        ("0101080a0000000000000000 030307 01", Some(7), false),
        ("01 03030f", Some(15), false), // clamping is the tracker's
    ] {
        let segment = segment(options);
        assert_eq!((segment.wscale, segment.sack_permitted), (wscale, permitted), "{options}");
        assert_eq!(segment.sack_edge, None);
    }
}

/// Which right edge of SACK blocks the kernel judged; the segment's ack is 1001.
#[test]
fn sack_edges() {
    let block = |left: u32, right: u32| format!("{left:08x}{right:08x}");
    let (low, high) = (block(1101, 1201), block(2_000_000, 2_001_000));
    for (options, edge) in [
        (format!("0101 050a {low}"), Some(1201)),
        (format!("050a {high}"), Some(2_001_000)),
        (format!("0101 0512 {low}{high}"), Some(2_001_000)),
        (format!("0101 0512 {high}{low}"), Some(2_001_000)),
        (format!("0101 0522 {low}{low}{low}{high}"), Some(2_001_000)),
        (format!("0101 080a0000000000000000 0101 050a {high}"), Some(2_001_000)),
        (format!("050a {high} 080a0000000000000000"), Some(2_001_000)),
        // A length that is not 2 + 8n: no SACK option at all.
        (format!("0101 0509 {high}"), None),
        (format!("0101 050b {high} 00"), None),
        (format!("0101 050e {high} 00000000"), None),
        ("0101 0502".into(), None),
        (format!("050e 000000000000000000000000 050a {high}"), Some(2_001_000)),
        (format!("0502 050a {high}"), Some(2_001_000)),
        // Of two options the first counts.
        (format!("0101 050a {low} 0101 050a {high}"), Some(1201)),
        (format!("0101 050a {high} 0101 050a {low}"), Some(2_001_000)),
        // Past the end, behind EOL.
        (format!("0101 0512 {high}"), None),
        (format!("0001 050a {high}"), None),
        // Not above ack; the left edge has no say.
        (format!("0101 050a {}", block(500, 600)), None),
        (format!("0101 050a {}", block(0, 1001)), None),
        (format!("0101 050a {}", block(0, 1002)), Some(1002)),
        (format!("0101 050a {}", block(1201, 1101)), Some(1101)),
        (format!("0101 050a {}", block(2_000_000, 1201)), Some(1201)),
        (format!("0101 050a {}", block(0, 1001 + 0x7fff_fff0)), Some(1001 + 0x7fff_fff0)),
        (format!("0101 050a {}", block(0, 1001 + 0x8000_0010)), None),
        // Each edge against the highest so far.
        (
            format!("0512 {}{}", block(0, 1001 + 0x7fff_fff0), block(0, 1001 + 0xc000_0000)),
            Some(1001 + 0xc000_0000),
        ),
    ] {
        assert_eq!(segment(&options).sack_edge, edge, "{options}");
    }
}

#[test]
fn every_option() {
    let bytes = hex("020405b4 01 030307 0402 050a00000001fffffffe 080a0000000300000004 fe03aa 0303 00");
    let mut found = options(&bytes);
    assert_eq!(found.next(), Some(Opt::Mss(1460)));
    assert_eq!(found.next(), Some(Opt::WindowScale(7)));
    assert_eq!(found.next(), Some(Opt::SackPermitted));
    let Some(Opt::Sack(mut blocks)) = found.next() else { panic!() };
    assert_eq!((blocks.next(), blocks.next()), (Some((1, 0xffff_fffe)), None));
    assert_eq!(found.next(), Some(Opt::Timestamps { value: 3, echo: 4 }));
    assert_eq!(found.next(), Some(Opt::Other { kind: 254, data: &[0xaa] }));
    assert_eq!(found.next(), Some(Opt::WindowScale(0)));
    assert_eq!(found.next(), None);
}

#[test]
fn udp_lengths() {
    let udp = |length: u8| l4(&v4(17, &[0, 99, 0, 53, 0, length, 0, 0, 1, 2, 3, 4]));
    for bad in [0, 4, 7, 13, 100] {
        assert_eq!(udp(bad), Err(Reason::UdpLength), "{bad}");
    }
    for good in [8, 9, 12] {
        assert_eq!(udp(good), Ok(L4::Udp { sport: 99, dport: 53 }));
    }
    for len in [0, 3, 7] {
        assert_eq!(l4(&v4(17, &[0; 7][..len])), Err(Reason::L4Truncated));
    }
    assert_eq!(l4(&v6(17, &[0, 99, 0, 53, 0, 0, 1, 2])), Err(Reason::UdpLength));
}

#[test]
fn udp_checksums() {
    let v4 = "4500001d00004000401126cc0a0100010a020001";
    let v6 = "6000000000091140fd000001000000000000000000000001fd000002000000000000000000000001";
    assert_eq!(verify(&format!("{v4} 000a 0035 0009 7398 78")), Checksum::Good);
    assert_eq!(verify(&format!("{v4} 000b 0035 0009 61a3 78")), Checksum::Bad);
    assert_eq!(verify(&format!("{v4} 000c 0035 0009 0000 78")), Checksum::Good);
    assert_eq!(verify(&format!("{v6} 000a 0035 0009 8d96 78")), Checksum::Good);
    assert_eq!(verify(&format!("{v6} 000b 0035 0009 9fa1 78")), Checksum::Bad);
    assert_eq!(verify(&format!("{v6} 000c 0035 0009 0000 78")), Checksum::Good);

    // Not all captured.
    let packet = hex(&format!("{v4} 000b 0035 0009 61a3 78"));
    let headers = parse(&packet[..28], 29).unwrap();
    assert_eq!(checksum(&packet[..28], &headers), Checksum::NotVerified);
}

/// Where UDP's length is below that of the packet, the kernel sums all of the packet.
#[test]
fn udp_checksum_and_surplus() {
    let checked = |declared: u16, summed: usize| {
        let mut udp = hex("0001 0002 0000 0000 61626364");
        udp[4..6].copy_from_slice(&declared.to_be_bytes());
        let pseudo = hex("0a010001 0a020001 0011");
        let sum: u32 = [pseudo, (summed as u16).to_be_bytes().to_vec(), udp[..summed].to_vec()]
            .concat()
            .chunks(2)
            .map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b)))
            .sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        udp[6..8].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
        let packet = v4(17, &udp);
        checksum(&packet, &headers(&packet))
    };
    assert_eq!(checked(12, 12), Checksum::Good);
    assert_eq!(checked(9, 9), Checksum::Bad);
    assert_eq!(checked(9, 12), Checksum::Good);
}

#[test]
fn udplite() {
    let v4 = "4500002000004000408826520a0100010a020001";
    let v6 = "60000000000c8840fd000001000000000000000000000001fd000002000000000000000000000001";
    // Right with protocol 17 in the pseudo header; coverage all, 0 (all), 8 (the header).
    assert_eq!(verify(&format!("{v4} 000a 0014 000c 26ed 61626364")), Checksum::Good);
    assert_eq!(verify(&format!("{v4} 000b 0014 0000 26f8 61626364")), Checksum::Good);
    assert_eq!(verify(&format!("{v4} 000c 0014 0008 ebb5 61626364")), Checksum::Good);
    assert_eq!(verify(&format!("{v4} 000c 0014 0008 ebb5 00000000")), Checksum::Good);
    assert_eq!(verify(&format!("{v6} 0010 0014 000c 40e5 61626364")), Checksum::Good);
    // Right by RFC 3828; wrong in any case.
    assert_eq!(verify(&format!("{v4} 000a 0014 000c 2676 61626364")), Checksum::Bad);
    assert_eq!(verify(&format!("{v4} 000f 0014 000c 37f9 61626364")), Checksum::Bad);

    let lite = |text: &str| l4(&hex(&format!("{v4} {text} 61626364")));
    assert_eq!(lite("000a 0014 0008 ffff"), Ok(L4::UdpLite { sport: 10, dport: 20 }));
    for coverage in ["0001", "0004", "0007", "000d", "0028"] {
        assert_eq!(lite(&format!("000d 0014 {coverage} ebbc")), Err(Reason::UdpliteCoverage));
    }
    assert_eq!(lite("000a 0014 0008 0000"), Err(Reason::UdpliteNoChecksum));
    assert_eq!(l4(&super::v4(136, &[0, 1, 0, 2, 0, 8])), Err(Reason::L4Truncated));

    // What is not covered need not be captured.
    let packet = hex(&format!("{v4} 000c 0014 0008 ebb5 61626364"));
    let headers = parse(&packet[..28], 32).unwrap();
    assert_eq!(checksum(&packet[..28], &headers), Checksum::Good);
}

#[test]
fn tcp_checksums() {
    let v4 = "4500002800004000400626cc0a0100010a020001";
    assert_eq!(verify(&format!("{v4} 03e800500000000100000000 5002ffff97a50000")), Checksum::Good);
    assert_eq!(verify(&format!("{v4} 03e80050000f424000000000 5002ffff47630000")), Checksum::Bad);
}

#[test]
fn icmp() {
    let v4_ = "4500002000004000400126d90a0100010a020001";
    assert_eq!(verify(&format!("{v4_} 0800 f7ff 0007 0001 70696e67")), Checksum::Bad);
    assert_eq!(verify("4500001c00004000400126dd0a0100010a020001 0800000000000000"), Checksum::Bad);
    assert_eq!(verify("4500001c00004000400126dd0a0100010a020001 0800f7ff00000000"), Checksum::Good);
    let v6_ = "60000000000b3a40fd000001000000000000000000000001fd000002000000000000000000000001";
    assert_eq!(verify(&format!("{v6_} 8000 c14a 0005 0001 616263")), Checksum::Good);
    assert_eq!(verify(&format!("{v6_} 8000 c14b 0005 0001 616263")), Checksum::Bad);

    // The sum with the most carries.
    for len in [8, 9, 64, 1480, 60_000] {
        let packet = v4(1, &vec![0xff; len]);
        let expected = if len % 2 == 0 { Checksum::Good } else { Checksum::Bad };
        assert_eq!(checksum(&packet, &headers(&packet)), expected, "{len}");
    }

    let echo = hex("0800 0000 0005 0001");
    assert_eq!(l4(&v4(1, &echo)), Ok(L4::Icmp { kind: 8, code: 0, id: 5 }));
    assert_eq!(l4(&v6(58, &echo)), Ok(L4::Icmpv6 { kind: 8, code: 0, id: 5 }));
    for len in [0, 4, 7] {
        assert_eq!(l4(&v4(1, &echo[..len])), Err(Reason::L4Truncated));
        assert_eq!(l4(&v6(58, &echo[..len])), Err(Reason::L4Truncated));
    }
    assert_eq!(l4(&v4(58, &echo)), Err(Reason::IcmpFamily));
    assert_eq!(l4(&v6(1, &echo)), Err(Reason::IcmpFamily));
}

#[test]
fn gre() {
    let plain = Ok(L4::Gre { version: 0, call_id: 0 });
    assert_eq!(l4(&v4(47, &hex("0000 0800 7061796c"))), plain);
    assert_eq!(l4(&v4(47, &hex("2000 0800 00000005 7061796c"))), plain);
    let pptp = hex("3001 880b 0008 004d 00000001");
    assert_eq!(l4(&v4(47, &pptp)), Ok(L4::Gre { version: 1, call_id: 77 }));
    assert_eq!(l4(&v6(47, &pptp[..8])), Ok(L4::Gre { version: 1, call_id: 77 }));
    // Less than 8 bytes: taken for version 0.
    for len in 0..8 {
        assert_eq!(l4(&v4(47, &pptp[..len])), plain);
    }
    assert_eq!(l4(&v4(47, &hex("3001 0800 0008 004d"))), Err(Reason::GreProtocol));
    for version in ["3002", "3005", "3007"] {
        assert_eq!(l4(&v4(47, &hex(&format!("{version} 880b 0008 004d")))), plain);
    }
    assert_eq!(parse(&v4(47, &pptp)[..24], 32), Err(Reason::NotCaptured));
}
