use super::*;

const UDP: L4 = L4::Udp { sport: 5, dport: 6 };

#[test]
fn v4_fields() {
    let packet = hex("4500 002c 0000 4000 40 06 26c8 0a010001 0a020001
         0001 0050 00000001 00000000 6002 ffff 83d0 0000 020405b4");
    let headers = headers(&packet);
    assert_eq!((headers.l3, headers.protocol, headers.hop_limit), (L3::V4, 6, 64));
    assert_eq!(headers.src, [10, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(headers.dst, [10, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((headers.len, headers.l4_offset, headers.l4_len), (44, 20, 24));
    assert!(ipv4_header_checksum_ok(&packet));
}

#[test]
fn v4_options_are_skipped() {
    // Router alert.
    let packet = hex("4600 002c 0000 4000 4006 91c3 0a010001 0a020001 94040000
         0002 0050 00000001 00000000 5002 ffff 9b8b 0000");
    let headers = headers(&packet);
    assert_eq!((headers.l4_offset, headers.l4_len), (24, 20));
    assert!(matches!(headers.l4, L4::Tcp(segment) if segment.sport == 2 && segment.dport == 80));
    assert!(ipv4_header_checksum_ok(&packet));
}

#[test]
fn v4_header_checksum() {
    assert!(ipv4_header_checksum_ok(&hex("4500001d00004000401126cc0a0100010a020001")));
    assert!(!ipv4_header_checksum_ok(&hex("4500001d00004000401126cd0a0100010a020001")));
    assert!(!ipv4_header_checksum_ok(&hex("4500001d00004000401126cc0a0100010a0200")));
    assert!(!ipv4_header_checksum_ok(&hex("4400001d00004000401126cc0a0100010a020001")));
    assert!(!ipv4_header_checksum_ok(&[]));
}

#[test]
fn bytes_behind_the_packet_are_padding() {
    let mut packet = v4(17, &hex("0001 0002 0008 0000"));
    packet.extend([0xff; 30]);
    assert_eq!(headers(&packet).len, 28);
    assert_eq!(headers(&packet).l4_len, 8);
    let mut packet = v6(17, &hex("0001 0002 0008 0000"));
    packet.extend([0xff; 30]);
    assert_eq!(headers(&packet).len, 48);
    // Padding does not make a header longer.
    for (mut packet, short) in [(v4(17, &[0, 8, 0, 8, 0, 8, 0]), 27), (v6(17, &[0, 8, 0, 8, 0, 8, 0]), 47)] {
        assert_eq!(packet.len(), short);
        packet.extend([0; 30]);
        assert_eq!(l4(&packet), Err(Reason::L4Truncated));
    }
    let mut packet = v6(60, &extension(17, &[0, 8, 0, 8, 0, 8, 0]));
    packet.extend([0; 30]);
    assert_eq!(l4(&packet), Err(Reason::L4Truncated));
}

#[test]
fn lengths_that_do_not_fit() {
    let packet = v4(17, &hex("0001 0002 0008 0000"));
    let with = |at: usize, bytes: &[u8]| {
        let mut packet = packet.clone();
        packet[at..at + bytes.len()].copy_from_slice(bytes);
        l4(&packet)
    };
    assert_eq!(with(2, &[0, 29]), Err(Reason::IpTruncated));
    assert_eq!(with(2, &[0, 19]), Err(Reason::IpHeaderLength));
    assert_eq!(with(0, &[0x44]), Err(Reason::IpHeaderLength));
    assert_eq!(with(0, &[0x4f]), Err(Reason::IpHeaderLength));
    assert_eq!(with(0, &[0x55]), Err(Reason::IpVersion));
    assert_eq!(l4(&packet[..19]), Err(Reason::IpTruncated));
    assert_eq!(l4(&[]), Err(Reason::IpTruncated));

    let mut packet = v6(17, &hex("0001 0002 0008 0000"));
    assert_eq!(l4(&packet[..39]), Err(Reason::IpTruncated));
    packet[5] = 9;
    assert_eq!(l4(&packet), Err(Reason::IpTruncated));
}

#[test]
fn a_short_capture() {
    let packet = v4(17, &hex("0005 0006 0009 0000 78"));
    let len = packet.len() as u32;
    for end in 0..28 {
        assert_eq!(parse(&packet[..end], len), Err(Reason::NotCaptured), "{end}");
    }
    let headers = parse(&packet[..28], len).unwrap();
    assert_eq!((headers.l4, headers.len), (UDP, 29));
    // The caller's length may not be smaller than what it hands over.
    assert_eq!(parse(&packet, 0).unwrap().l4, UDP);
    // A protocol without a parser needs no more than the IP header.
    let packet = v4(89, &[0; 100]);
    assert_eq!(parse(&packet[..20], 120).unwrap().l4, L4::Other);
}

#[test]
fn v4_fragments() {
    for (field, expected) in [
        ([0x40, 0], UDP),          // don't fragment
        ([0x20, 0], L4::Fragment), // first
        ([0x20, 1], L4::Fragment), // middle
        ([0x00, 1], L4::Fragment), // last
        ([0x80, 0], UDP),          // reserved bit
        ([0x10, 0x00], L4::Fragment),
        ([0x1f, 0xff], L4::Fragment), // beyond 65535
    ] {
        let mut packet = v4(17, &hex("0005 0006 0009 0000 78"));
        packet[6..8].copy_from_slice(&field);
        assert_eq!(l4(&packet), Ok(expected), "{field:?}");
        packet.truncate(24);
        let headers = parse(&packet, 29);
        assert_eq!(headers.is_ok(), expected == L4::Fragment);
    }
}

/// An extension header of 8 bytes in front of `payload`.
fn extension(next: u8, payload: &[u8]) -> Vec<u8> {
    [&[next, 0, 1, 4, 0, 0, 0, 0], payload].concat()
}

#[test]
fn v6_extension_headers() {
    let udp = hex(UDP6);
    for next in [0, 43, 60] {
        let packet = v6(next, &extension(17, &udp));
        let headers = headers(&packet);
        assert_eq!((headers.protocol, headers.l4), (17, UDP));
        assert_eq!((headers.len, headers.l4_offset, headers.l4_len), (57, 48, 9));
        assert_eq!(checksum(&packet, &headers), Checksum::Good);
    }
    // Order and repetition are not judged.
    assert_eq!(l4(&v6(60, &extension(0, &extension(0, &extension(17, &udp))))), Ok(UDP));
    // AH counts in words of four bytes, less two; in IPv4 it is a protocol.
    let ah = hex("1101 0000 00000000 00000000");
    assert_eq!(l4(&v6(51, &[ah.clone(), udp.clone()].concat())), Ok(UDP));
    assert_eq!(l4(&v6(51, &extension(17, &udp))), Ok(UDP));
    assert_eq!(l4(&v4(51, &[ah, udp.clone()].concat())), Ok(L4::Other));
    // ESP, mobility, HIP, shim6 and whatever else are protocols.
    for next in [50, 135, 139, 140, 253, 255] {
        let headers = headers(&v6(60, &extension(next, &udp)));
        assert_eq!((headers.protocol, headers.l4, headers.l4_offset), (next, L4::Other, 48));
    }
}

#[test]
fn v6_extension_headers_that_lead_nowhere() {
    assert_eq!(l4(&v6(59, &[])), Err(Reason::Ipv6NoNextHeader));
    assert_eq!(l4(&v6(60, &extension(59, &[0; 9]))), Err(Reason::Ipv6NoNextHeader));
    // Past the end: the header itself, or the length it has.
    assert_eq!(l4(&v6(60, &hex("1100 0104 000000"))), Err(Reason::L4Truncated));
    assert_eq!(l4(&v6(60, &hex("1105 0104 00000000 73686f7274"))), Err(Reason::L4Truncated));
    assert_eq!(l4(&v6(44, &hex("1100 0000"))), Err(Reason::L4Truncated));
    assert_eq!(l4(&v6(44, &hex("1100 00"))), Err(Reason::Ipv6Extension));
    for there in 0..24 {
        // Two bytes are enough for a transport of which nothing is needed; the lengths stay those of the packet.
        for (kind, len) in [(60, 2), (43, 2), (51, 4)] {
            let packet = v6(kind, &[&[89, len], &[0; 22][..]].concat()[..there]);
            if there < 2 {
                assert_eq!(l4(&packet), Err(Reason::Ipv6Extension));
            } else {
                let headers = headers(&packet);
                assert_eq!((headers.l4, headers.l4_len), (L4::Other, 0));
                assert_eq!(usize::from(headers.l4_offset), 40 + there);
                assert_eq!(headers.len as usize, 40 + there);
            }
        }
    }
    // The transport header must still fit behind them.
    assert_eq!(l4(&v6(60, &extension(17, &[0; 7]))), Err(Reason::L4Truncated));

    let chain = |n: usize| {
        let mut payload = hex(UDP6);
        for i in 0..n {
            payload = extension(if i == 0 { 17 } else { 60 }, &payload);
        }
        l4(&v6(60, &payload))
    };
    assert_eq!(chain(MAX_EXTENSIONS), Ok(UDP));
    assert_eq!(chain(MAX_EXTENSIONS + 1), Err(Reason::Ipv6Extension));
}

#[test]
fn v6_payload_length_zero() {
    assert_eq!(l4(&v6(89, &[])), Ok(L4::Other));
    assert_eq!(l4(&v6(17, &[])), Err(Reason::L4Truncated));
    let mut packet = v6(0, &hex("1100 c204 00000011 0005000600098dca78"));
    packet[5] = 0;
    assert_eq!(l4(&packet), Err(Reason::Ipv6Jumbogram));
}

#[test]
fn v6_fragments() {
    let fragment = |next: u8, field: u16, payload: &[u8]| {
        [&[next, 0][..], &field.to_be_bytes(), &[0, 0, 0, 7], payload].concat()
    };
    let udp = hex(UDP6);
    for field in [1, 8, 9, 0xfff8] {
        let headers = headers(&v6(44, &fragment(17, field, &udp[..8])));
        assert_eq!((headers.protocol, headers.l4), (17, L4::Fragment));
        assert_eq!((headers.l4_offset, headers.l4_len, headers.len), (48, 8, 56));
    }
    // Atomic, whatever the reserved bits are: not a fragment, and the header is not counted.
    for field in [0, 6] {
        let packet = v6(44, &fragment(17, field, &udp));
        let headers = headers(&packet);
        assert_eq!((headers.l4, headers.len, headers.l4_len), (UDP, 49, 9));
        assert_eq!(checksum(&packet, &headers), Checksum::Good);
    }
    let headers = headers(&v6(0, &extension(44, &fragment(60, 0, &extension(17, &udp)))));
    assert_eq!((headers.l4, headers.len), (UDP, 65));
    // A second fragment header is skipped if it says offset 0, as in the kernel.
    assert_eq!(l4(&v6(44, &fragment(44, 0, &fragment(17, 0, &udp)))), Ok(UDP));
    assert_eq!(l4(&v6(44, &fragment(44, 0, &fragment(17, 1, &udp)))), Ok(UDP));
    assert_eq!(l4(&v6(44, &fragment(44, 0, &fragment(17, 8, &udp)))), Err(Reason::Ipv6Extension));
    assert_eq!(l4(&v6(44, &fragment(44, 1, &fragment(17, 8, &udp[..8])))), Ok(L4::Fragment));
}

#[test]
fn v6_fragments_that_reassembly_leaves_alone() {
    let fragment = |next: u8, field: u16, payload: &[u8]| {
        [&[next, 0][..], &field.to_be_bytes(), &[0, 0, 0, 7], payload].concat()
    };
    // Cut within the transport header, or before it: the header stays, and is counted.
    for (proto, needed) in [(6, 20), (17, 8), (58, 8), (136, 1), (132, 1), (47, 1), (99, 1)] {
        for len in 0..24usize {
            let packet = v6(44, &fragment(proto, 0, &[0; 24][..len]));
            let read = parse(&packet, packet.len() as u32);
            if let Ok(headers) = read {
                assert_eq!(
                    headers.len as usize,
                    if len < needed { 48 + len } else { 40 + len },
                    "{proto} {len}"
                );
            }
            let packet = v6(44, &fragment(proto, 1, &[0; 24][..len]));
            let held = len >= needed && len % 8 == 0;
            assert_eq!(l4(&packet) == Ok(L4::Fragment), held, "{proto} {len}");
        }
    }
    for (payload, atomic) in [("", None), ("00", Some((40, 48)))] {
        let packet = v6(60, &extension(44, &fragment(99, 0, &hex(payload))));
        assert_eq!(super::super::atomic_fragment(&packet), atomic);
    }
    // One that leads nowhere; ones that are not atomic.
    assert_eq!(super::super::atomic_fragment(&v6(44, &fragment(59, 0, &[0]))), Some((6, 40)));
    assert_eq!(super::super::atomic_fragment(&v6(44, &fragment(17, 1, &[0; 8]))), None);
    assert_eq!(super::super::atomic_fragment(&v6(44, &fragment(17, 8, &[0; 8]))), None);
    // What leads nowhere is not cut off.
    assert_eq!(headers(&v6(44, &fragment(60, 0, &hex("6300")))).len, 50);
    assert_eq!(l4(&v6(44, &fragment(59, 1, &[]))), Ok(L4::Fragment));
    assert_eq!(l4(&v6(44, &fragment(17, 9, &[0; 7]))), Err(Reason::Ipv6Extension));
    assert_eq!(l4(&v6(44, &fragment(17, 8, &[0; 7]))), Ok(L4::Fragment));
}

#[test]
fn v6_first_fragment_of_which_little_was_captured() {
    // Whether a first fragment has all headers is not known before the last of them was seen.
    let packet = v6(44, &[&[0, 0, 0, 1, 0, 0, 0, 7][..], &[104, 0, 0, 0, 0, 0, 0, 0]].concat());
    let whole = parse(&packet, 56);
    assert_eq!(whole.map(|headers| (headers.protocol, headers.l4)), Ok((104, L4::Other)));
    for captured in 40..57 {
        let found = parse(&packet[..captured], 56);
        assert_eq!(found, if captured < 50 { Err(Reason::NotCaptured) } else { whole }, "{captured}");
    }
}

#[test]
fn compact() {
    // A burst of 64 has to fit into the L1 cache, beside the packets' own lines.
    assert!(size_of::<Headers>() <= 80, "{}", size_of::<Headers>());
    assert_eq!(size_of::<Result<Headers, Reason>>(), size_of::<Headers>());
}
