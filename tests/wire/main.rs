//! The wire parsers against etherparse, and against what holds for any input.

mod build;
mod invariants;
mod oracle;
mod sctp;
#[path = "../sctp/mod.rs"]
mod sctp_packets;

use conntab::reason::Reason;
use conntab::wire::{self, Checksum, L4};
use proptest::prelude::*;

proptest! {
    /// What etherparse builds is read back: all of it, with a good checksum.
    #[test]
    fn built_packets(packet in build::packet()) {
        let frame = packet.frame();
        let link = wire::ethernet(&frame).unwrap();
        prop_assert_eq!(link.vlan.iter().flatten().copied().collect::<Vec<_>>(), packet.tags());
        let data = &frame[link.l3_offset..];
        let headers = wire::parse(data, data.len() as u32).unwrap();
        packet.assert_read(&headers);
        let fragment = headers.l4 == L4::Fragment;
        let expected = if fragment { Checksum::NotVerified } else { Checksum::Good };
        prop_assert_eq!(wire::checksum(data, &headers), expected);
        if !fragment {
            prop_assert_eq!(headers.payload(data), packet.payload());
        }
        if data[0] >> 4 == 4 {
            prop_assert!(wire::ipv4_header_checksum_ok(data));
        }
        oracle::agree(data);
        invariants::frame(&frame);
    }

    /// So is a packet quoted by an ICMP error, from its first 8 transport bytes on.
    #[test]
    fn quoted_packets(packet in build::packet(), cut in 0_usize..400) {
        let frame = packet.frame();
        let quoted = &frame[wire::ethernet(&frame).unwrap().l3_offset..];
        let whole = wire::parse(quoted, quoted.len() as u32).unwrap();
        let end = quoted.len().min(cut);
        let error = build::error_about(&quoted[..end]);
        let headers = wire::parse(&error, error.len() as u32).unwrap();
        prop_assert_eq!(wire::checksum(&error, &headers), Checksum::Good);
        match wire::inner(&error, &headers) {
            Ok(inner) => {
                prop_assert_eq!((inner.l3, inner.src, inner.dst), (whole.l3, whole.src, whole.dst));
                if whole.l4 != L4::Fragment {
                    prop_assert_eq!(inner.protocol, whole.protocol);
                    packet.assert_quoted(&inner.l4);
                }
            }
            Err(reason) => {
                prop_assert_eq!(reason, Reason::IcmpInner);
                let enough = usize::from(whole.l4_offset) + 8;
                prop_assert!(end < enough || whole.l4 == L4::Fragment);
            }
        }
        invariants::packet(&error, error.len() as u32);
    }

    /// Every prefix is handled, whether the rest was lost on the wire or not captured.
    #[test]
    fn prefixes(packet in build::packet()) {
        let frame = packet.frame();
        let data = &frame[wire::ethernet(&frame).unwrap().l3_offset..];
        for end in 0..data.len() {
            prop_assert!(wire::parse(&data[..end], end as u32).is_err(), "cut to {}", end);
            oracle::agree(&data[..end]);
            if let Ok(headers) = wire::parse(&data[..end], data.len() as u32) {
                prop_assert_eq!(wire::checksum(&data[..end], &headers), Checksum::NotVerified);
            }
        }
        invariants::packet(data, data.len() as u32);
    }

    /// Packets with some bytes changed, cut or prolonged.
    #[test]
    fn mutated_packets(
        packet in build::packet(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        early in prop::collection::vec((0_usize..64, any::<u8>()), 0..6),
        end in 0_usize..500,
        shorter in prop_oneof![Just(0), 0_u8..60],
        missing in prop_oneof![Just(0), 0_u32..2000],
    ) {
        let frame = packet.frame();
        let mut data = frame[wire::ethernet(&frame).unwrap().l3_offset..].to_vec();
        for (index, value) in changes {
            let at = index.index(data.len());
            data[at] = value;
        }
        for (at, value) in early {
            if let Some(byte) = data.get_mut(at) {
                *byte = value;
            }
        }
        // The low byte of the IP length: what was the end of the packet becomes padding.
        let low = if data[0] >> 4 == 4 { 3 } else { 5 };
        data[low] = data[low].saturating_sub(shorter);
        if end > 100 {
            data.resize(end.min(data.len() + 20), 0x55);
        }
        oracle::agree(&data);
        invariants::packet(&data, data.len() as u32 + missing);
    }

    /// Any bytes at all behind a version field.
    #[test]
    fn any_bytes(
        mut data in prop::collection::vec(any::<u8>(), 0..200),
        version in prop_oneof![Just(None), Just(Some(0x45)), Just(Some(0x60))],
        missing in prop_oneof![Just(0), any::<u16>().prop_map(u32::from), any::<u32>()],
    ) {
        if let (Some(version), Some(first)) = (version, data.first_mut()) {
            *first = version;
        }
        oracle::agree(&data);
        invariants::frame(&data);
        invariants::options(&data);
        invariants::packet(&data, (data.len() as u32).saturating_add(missing));
    }

    /// TCP options of any kind and length, as both iterators see them.
    #[test]
    fn any_options(bytes in prop::collection::vec(prop_oneof![0_u8..12, any::<u8>()], 0..41)) {
        invariants::options(&bytes);
        oracle::same_options(&bytes);
    }
}
