use super::*;

/// "Port unreachable" about `quoted`, or its ICMPv6 sibling.
fn error4(quoted: &[u8]) -> Vec<u8> {
    v4(1, &[&[3, 3, 0, 0, 0, 0, 0, 0], quoted].concat())
}

fn error6(quoted: &[u8]) -> Vec<u8> {
    v6(58, &[&[1, 4, 0, 0, 0, 0, 0, 0], quoted].concat())
}

fn read(packet: &[u8]) -> Result<InnerL4, Reason> {
    inner(packet, &headers(packet)).map(|inner| inner.l4)
}

const PORTS: InnerL4 = InnerL4::Ports { sport: 5000, dport: 53 };

#[test]
fn v4_fields() {
    let packet = hex("4500004000004000400126b90a0200010a010001 0303112300000000
         4500002400004000401126c50a0100010a020001 1388003500101d4c7175657374696f6e");
    let found = inner(&packet, &headers(&packet)).unwrap();
    let (src, dst) = ([10, 1, 0, 1], [10, 2, 0, 1]);
    assert_eq!((found.l3, found.protocol, found.l4), (L3::V4, 17, PORTS));
    assert_eq!((&found.src[..4], &found.dst[..4]), (&src[..], &dst[..]));
    assert_eq!(checksum(&packet, &headers(&packet)), Checksum::Good);
    // The checksum of the quoted header is not looked at.
    let mut packet = packet;
    packet[38] ^= 0xff;
    assert_eq!(read(&packet), Ok(PORTS));
}

#[test]
fn four_bytes_of_ports_are_enough() {
    for protocol in [6, 17, 132, 136] {
        let quoted = v4(protocol, &hex("13880035 0000"));
        for end in 0..24 {
            assert_eq!(read(&error4(&quoted[..end])), Err(Reason::IcmpInner), "{protocol} {end}");
        }
        for end in 24..=26 {
            assert_eq!(read(&error4(&quoted[..end])), Ok(PORTS), "{protocol} {end}");
        }
        let quoted = v6(protocol, &hex("13880035 0000"));
        for end in 0..44 {
            assert_eq!(read(&error6(&quoted[..end])), Err(Reason::IcmpInner), "{protocol} {end}");
        }
        assert_eq!(read(&error6(&quoted[..44])), Ok(PORTS));
    }
}

#[test]
fn other_protocols() {
    let echo = hex("0800 0000 0005 0001");
    let expected = Ok(InnerL4::Icmp { kind: 8, code: 0, id: 5 });
    assert_eq!(read(&error4(&v4(1, &echo))), expected);
    assert_eq!(read(&error6(&v6(58, &echo))), expected);
    assert_eq!(read(&error4(&v4(1, &echo[..7]))), Err(Reason::IcmpInner));
    assert_eq!(read(&error6(&v6(58, &echo[..7]))), Err(Reason::IcmpInner));
    // Of the other family.
    assert_eq!(read(&error4(&v4(58, &echo))), Err(Reason::IcmpInner));
    assert_eq!(read(&error6(&v6(1, &echo))), Err(Reason::IcmpInner));

    let pptp = hex("3001 880b 0008 004d");
    assert_eq!(read(&error4(&v4(47, &pptp))), Ok(InnerL4::Gre { version: 1, call_id: 77 }));
    assert_eq!(read(&error4(&v4(47, &pptp[..7]))), Ok(InnerL4::Gre { version: 0, call_id: 0 }));
    assert_eq!(read(&error4(&v4(47, &hex("3001 0800 0008 004d")))), Err(Reason::IcmpInner));
    assert_eq!(read(&error4(&v4(89, &[]))), Ok(InnerL4::Other));
    assert_eq!(read(&error6(&v6(135, &[59]))), Ok(InnerL4::Other));
}

#[test]
fn v4_headers() {
    let quoted = v4(17, &hex("13880035 0010"));
    let with = |at: usize, bytes: &[u8]| {
        let mut quoted = quoted.clone();
        quoted[at..at + bytes.len()].copy_from_slice(bytes);
        read(&error4(&quoted))
    };
    // Its lengths and its version are not judged.
    for length in [0, 19, 20, 0xffff_u16] {
        assert_eq!(with(2, &length.to_be_bytes()), Ok(PORTS));
    }
    assert_eq!(with(0, &[0x65]), Ok(PORTS));
    // Nor is a header length that is too small: the ports are what stands there.
    let at = |at: usize| {
        let half = |at: usize| u16::from_be_bytes([quoted[at], quoted[at + 1]]);
        Ok(InnerL4::Ports { sport: half(at), dport: half(at + 2) })
    };
    assert_eq!(with(0, &[0x44]), at(16));
    assert_eq!(with(0, &[0x43]), at(12));
    assert_eq!(with(0, &[0x4f]), Err(Reason::IcmpInner));
    // First fragments, not later ones.
    assert_eq!(with(6, &[0x20, 0]), Ok(PORTS));
    assert_eq!(with(6, &[0x20, 1]), Err(Reason::IcmpInner));
    assert_eq!(with(6, &[0, 9]), Err(Reason::IcmpInner));
    // Options.
    let options = hex("4600002800004000401191bc0a0100010a020001 94040000 1388003500101d4c");
    assert_eq!(read(&error4(&options)), Ok(PORTS));
    assert_eq!(read(&error4(&options[..23])), Err(Reason::IcmpInner));
}

#[test]
fn v6_headers() {
    let udp = hex("13880035 0010");
    let with = |next: u8, header: &str| read(&error6(&v6(next, &[hex(header), udp.clone()].concat())));
    assert_eq!(with(60, "1100 0104 00000000"), Ok(PORTS));
    assert_eq!(with(51, "1101 0000 00000000 00000000"), Ok(PORTS));
    assert_eq!(with(44, "1100 0001 00000007"), Ok(PORTS));
    assert_eq!(with(44, "1100 0000 00000007"), Ok(PORTS));
    assert_eq!(with(44, "1100 0009 00000007"), Err(Reason::IcmpInner));
    assert_eq!(with(44, "1100 0008 00000007"), Err(Reason::IcmpInner));
    assert_eq!(with(60, "1105 0104 00000000"), Err(Reason::IcmpInner));
    assert_eq!(with(59, ""), Err(Reason::IcmpInner));
    // The chain and four bytes behind it must be there.
    let quoted = v6(60, &[hex("1100 0104 00000000"), udp].concat());
    for end in 40..52 {
        assert_eq!(read(&error6(&quoted[..end])), Err(Reason::IcmpInner));
    }
    assert_eq!(read(&error6(&quoted[..52])), Ok(PORTS));
    // Its payload length and its version are not judged.
    let mut quoted = quoted;
    quoted[4..6].copy_from_slice(&[0xff, 0xff]);
    quoted[0] = 0x40;
    assert_eq!(read(&error6(&quoted)), Ok(PORTS));
}

#[test]
fn redirects() {
    let quoted = v6(17, &hex("13880035 0010"));
    let redirect = |option: &str, end: usize| {
        let mut message = [137, 0, 0, 0].to_vec();
        message.resize(40, 0);
        message.extend(hex(option));
        message.extend(&quoted);
        message.truncate(end);
        read(&v6(58, &message))
    };
    let option = "0408 0000 00000000";
    assert_eq!(redirect(option, 200), Ok(PORTS));
    assert_eq!(redirect(option, 92), Ok(PORTS));
    for end in 42..92 {
        assert_eq!(redirect(option, end), Err(Reason::IcmpInner), "{end}");
    }
    for end in 8..42 {
        assert_eq!(redirect(option, end), Err(Reason::RedirectOption), "{end}");
    }
    // The option's length is not judged, unless it is 0; no other option may stand before it.
    assert_eq!(redirect("0401 0000 00000000", 200), Ok(PORTS));
    assert_eq!(redirect("04ff 0000 00000000", 200), Ok(PORTS));
    assert_eq!(redirect("0400 0000 00000000", 200), Err(Reason::RedirectOption));
    assert_eq!(redirect("0201 0000 00000000 0408000000000000", 200), Err(Reason::RedirectOption));
}

#[test]
fn not_captured() {
    let packet = error4(&v4(17, &hex("13880035 0010")));
    let headers = headers(&packet);
    for end in 28..52 {
        assert_eq!(inner(&packet[..end], &headers), Err(Reason::NotCaptured), "{end}");
    }
    assert!(inner(&packet[..52], &headers).is_ok());
}

#[test]
fn only_icmp_quotes() {
    let packet = v4(17, &hex("0001 0002 0008 0000"));
    assert_eq!(read(&packet), Err(Reason::IcmpInner));
}
