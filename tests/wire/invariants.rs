//! What holds for every input of the wire parsers. Asserted by the property tests and by the fuzz targets.

use conntab::reason::Reason;
use conntab::tuple::L3;
use conntab::wire::{self, Checksum, Headers, L4, sctp, tcp};

/// Checks everything about one packet of which `data` was captured and `len` bytes were on the wire.
pub fn packet(data: &[u8], len: u32) {
    let len = len.max(data.len() as u32);
    let parsed = wire::parse(data, len);
    in_place(data, len, parsed);
    match parsed {
        Ok(headers) => {
            offsets(data, len, &headers);
            options_again(data, &headers);
            let before = wire::checksum(data, &headers);
            checksum(data, &headers, before);
            inner(data, &headers);
        }
        Err(reason) => assert!((1..100).contains(&reason.code()), "{reason:?} is not of this layer"),
    }
    // A shorter capture of the same packet: the same, or not captured.
    let step = data.len() / 64 + 1;
    for end in (0..data.len()).step_by(step) {
        prefix(&data[..end], len, parsed);
    }
    let _ = wire::ipv4_header_checksum_ok(data);
}

/// Checks that an Ethernet frame leads to a place inside of it.
pub fn frame(frame: &[u8]) {
    if let Ok(link) = wire::ethernet(frame) {
        let tags = link.vlan.iter().flatten().count();
        assert_eq!(link.l3_offset, 14 + 4 * tags);
        assert!(link.l3_offset <= frame.len());
        assert!(link.vlan[0].is_some() || link.vlan[1].is_none());
        let kind = match link.l3 {
            L3::V4 => [0x08, 0x00],
            L3::V6 => [0x86, 0xdd],
        };
        assert_eq!(frame[link.l3_offset - 2..link.l3_offset], kind);
        let data = &frame[link.l3_offset..];
        packet(data, data.len() as u32);
    }
}

fn in_place(data: &[u8], len: u32, parsed: Result<Headers, Reason>) {
    let mut out = Headers { protocol: 99, len: 12345, ..Headers::EMPTY };
    let before = out;
    let result = wire::parse_into(data, len, &mut out);
    match parsed {
        Ok(headers) => assert_eq!((result, out), (Ok(()), headers)),
        Err(reason) => assert_eq!((result, out), (Err(reason), before)),
    }
}

fn offsets(data: &[u8], len: u32, headers: &Headers) {
    let end = u32::from(headers.l4_offset) + u32::from(headers.l4_len);
    assert!(end <= len, "the packet ends beyond the wire");
    let atomic = end - headers.len;
    assert!(atomic == 0 || atomic == 8 && headers.l3 == L3::V6);
    let least = if headers.l3 == L3::V4 { 20 } else { 40 };
    assert!(headers.l4_offset >= least);

    let captured = (end as usize).min(data.len());
    let transport = headers.transport(data);
    assert_eq!(transport.len(), captured.saturating_sub(usize::from(headers.l4_offset)));
    let payload = headers.payload(data);
    assert!(transport.ends_with(payload));
    if let L4::Tcp(segment) = headers.l4 {
        assert!(payload.len() as u32 <= segment.payload);
        assert!(segment.payload + 20 <= u32::from(headers.l4_len));
        assert_ne!(segment.sack_edge, Some(segment.ack));
    }

    // Whatever is behind the packet has no say.
    if captured < data.len() {
        assert_eq!(wire::parse(&data[..captured], len), Ok(*headers));
        let mut other = data.to_vec();
        other[captured..].iter_mut().for_each(|b| *b ^= 0xff);
        assert_eq!(wire::parse(&other, len), Ok(*headers));
        assert_eq!(wire::checksum(&other, headers), wire::checksum(data, headers));
    }
}

/// The options read once more, without the parser's short cut.
fn options_again(data: &[u8], headers: &Headers) {
    let L4::Tcp(segment) = headers.l4 else { return };
    let transport = headers.transport(data);
    let header_len = usize::from(headers.l4_len) - segment.payload as usize;
    let bytes = &transport[20..header_len.min(transport.len())];
    options(bytes);
    let (mut wscale, mut permitted, mut edge, mut sacks) = (None, false, segment.ack, 0);
    for option in tcp::options(bytes) {
        match option {
            tcp::Opt::WindowScale(shift) => wscale = Some(shift),
            tcp::Opt::SackPermitted => permitted = true,
            tcp::Opt::Sack(blocks) => {
                if sacks == 0 {
                    for (_, right) in blocks {
                        edge = if right.wrapping_sub(edge) < 0x8000_0000 { right } else { edge };
                    }
                }
                sacks += 1;
            }
            _ => {}
        }
    }
    let edge = (edge != segment.ack).then_some(edge);
    assert_eq!((wscale, permitted, edge), (segment.wscale, segment.sack_permitted, segment.sack_edge));
}

/// Options never take more room than there is.
pub fn options(bytes: &[u8]) {
    let mut room = bytes.len();
    for option in tcp::options(bytes) {
        let len = match option {
            tcp::Opt::Mss(_) => 4,
            tcp::Opt::WindowScale(_) => 3,
            tcp::Opt::SackPermitted => 2,
            tcp::Opt::Sack(blocks) => {
                assert!(blocks.count() > 0);
                2 + 8 * blocks.count()
            }
            tcp::Opt::Timestamps { .. } => 10,
            tcp::Opt::Other { data, .. } => 2 + data.len(),
        };
        assert!(len <= room);
        room -= len;
    }
}

fn checksum(data: &[u8], headers: &Headers, found: Checksum) {
    let whole = headers.transport(data).len() == usize::from(headers.l4_len);
    match headers.l4 {
        L4::Tcp(_) | L4::Icmp { .. } | L4::Icmpv6 { .. } | L4::Sctp(_) => {
            assert_eq!(found == Checksum::NotVerified, !whole);
        }
        L4::Udp { .. } => assert!(whole || found != Checksum::Bad),
        L4::UdpLite { .. } => {}
        _ => assert_eq!(found, Checksum::NotVerified),
    }
    // No single flipped bit goes unnoticed (RFC 1071). Of UDP, the checksum field itself may become 0.
    if found == Checksum::Good && whole && !matches!(headers.l4, L4::UdpLite { .. }) {
        let start = usize::from(headers.l4_offset);
        let end = start + usize::from(headers.l4_len);
        let absent = matches!(headers.l4, L4::Udp { .. }) && data[start + 6..start + 8] == [0, 0];
        let mut other = data.to_vec();
        for at in (start..end).step_by((end - start) / 16 + 1) {
            if absent || (start + 6..start + 8).contains(&at) {
                continue;
            }
            other[at] ^= 1 << (at % 8);
            assert_eq!(wire::checksum(&other, headers), Checksum::Bad);
            other[at] = data[at];
        }
    }
}

fn inner(data: &[u8], headers: &Headers) {
    let found = wire::inner(data, headers);
    if !matches!(headers.l4, L4::Icmp { .. } | L4::Icmpv6 { .. }) {
        assert_eq!(found, Err(Reason::IcmpInner));
        return;
    }
    match found {
        Ok(inner) => assert_eq!(inner.l3, headers.l3),
        Err(reason) => {
            assert!(matches!(reason, Reason::IcmpInner | Reason::NotCaptured | Reason::RedirectOption))
        }
    }
    for end in 0..data.len().min(256) {
        let shorter = wire::inner(&data[..end], headers);
        assert!(shorter == found || shorter == Err(Reason::NotCaptured));
    }
}

fn prefix(shorter: &[u8], len: u32, whole: Result<Headers, Reason>) {
    match (wire::parse(shorter, len), whole) {
        (Err(Reason::NotCaptured), _) => {}
        (Err(found), whole) => assert_eq!(Err(found), whole),
        (Ok(found), whole) => {
            offsets(shorter, len, &found);
            let missing = found.transport(shorter).len() < usize::from(found.l4_len);
            let udplite = matches!(found.l4, L4::UdpLite { .. });
            assert!(!missing || udplite || wire::checksum(shorter, &found) != Checksum::Bad);
            let whole = whole.expect("a shorter capture is no better");
            let l4 = match (found.l4, whole.l4) {
                (L4::Sctp(found), L4::Sctp(whole)) => L4::Sctp(chunks(found, whole)),
                (found, _) => found,
            };
            assert_eq!(Headers { l4, ..found }, whole);
        }
    }
}

/// Of a shorter capture, SCTP chunks behind DATA may be missing, no others. Gives the whole if that is so.
fn chunks(found: sctp::Packet, whole: sctp::Packet) -> sctp::Packet {
    let head = |p: sctp::Packet| (p.sport, p.dport, p.vtag);
    let prefix = whole.acting().take(found.acting().count()).eq(found.acting());
    if found.has_data() && head(found) == head(whole) && prefix { whole } else { found }
}
