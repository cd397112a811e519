//! SCTP packets of chunks at random, some of them broken, beside a plain reading of the list.

use crate::invariants;
use crate::sctp_packets::{chunk, ipv4, parse};
use conntab::wire::{self, Checksum};
use proptest::prelude::*;

/// A list of chunks: mostly sound, some with a length of their own or cut.
fn list() -> impl Strategy<Value = Vec<u8>> {
    let kind =
        prop_oneof![0_u8..15, prop::sample::select(vec![4_u8, 5, 6, 7, 8, 9, 10, 11, 15, 64, 193, 255])];
    let length = prop::option::weighted(0.1, prop_oneof![0_u16..24, any::<u16>()]);
    let one = (kind, 0_u8..4, prop::collection::vec(any::<u8>(), 0..24), length).prop_map(
        |(kind, flags, body, length)| {
            let mut chunk = chunk(kind, flags, &body);
            if let Some(length) = length {
                chunk[2..4].copy_from_slice(&length.to_be_bytes());
            }
            chunk
        },
    );
    (prop::collection::vec(one, 0..8), prop::option::weighted(0.1, 0_usize..100)).prop_map(|(chunks, cut)| {
        let mut bytes = chunks.concat();
        bytes.truncate(cut.unwrap_or(bytes.len()));
        bytes
    })
}

proptest! {
    #[test]
    fn chunk_lists(bytes in list(), vtag: u32) {
        let data = ipv4(3000, 38412, vtag, &bytes);
        let packet = parse(&data);
        prop_assert_eq!((packet.sport, packet.dport, packet.vtag), (3000, 38412, vtag));
        let (mut at, mut kinds, mut broken) = (0, Vec::new(), false);
        while at + 4 <= bytes.len() && !broken {
            let length = usize::from(bytes[at + 2]) << 8 | usize::from(bytes[at + 3]);
            kinds.push(bytes[at]);
            broken = length == 0;
            at += length.div_ceil(4) * 4;
        }
        let alone = |kind: &u8| [1, 2, 14].contains(kind);
        let lone = kinds.iter().position(alone).is_some_and(|_| kinds.len() > 1);
        let late = kinds.iter().skip(1).any(|kind| [10, 11].contains(kind));
        prop_assert_eq!(packet.is_broken(), broken || kinds.is_empty() || lone || late);
        if !packet.is_broken() {
            let plain = |kind: &&u8| ![1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 14].contains(*kind);
            prop_assert_eq!(packet.has_data(), kinds.contains(&0));
            prop_assert_eq!(packet.has_others(), kinds.iter().any(|kind| plain(&kind)));
            prop_assert!(packet.acting().count() <= kinds.iter().filter(|kind| !plain(kind)).count());
        }
        let headers = wire::parse(&data, data.len() as u32).unwrap();
        prop_assert_eq!(wire::checksum(&data, &headers), Checksum::Good);
        invariants::packet(&data, data.len() as u32);
    }
}
