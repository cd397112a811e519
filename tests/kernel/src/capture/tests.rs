use conntab::wire::{self, Checksum};

use super::rewrite::{Addresses, pieces, whole};
use crate::record::bytes;

/// A datagram from 10.1.0.1 to 10.2.0.1, port 5000 to 53, with a right checksum.
const DATAGRAM: &str = "4500001d00004000401126cc0a0100010a020001138800350009671a71";

fn packet(hex: &str) -> Vec<u8> {
    bytes(hex).expect("hexadecimal")
}

fn checksum(packet: &[u8]) -> Checksum {
    let headers = wire::parse(packet, packet.len() as u32).expect("a packet");
    assert!(wire::ipv4_header_checksum_ok(packet), "{packet:02x?}");
    wire::checksum(packet, &headers)
}

#[test]
fn checksums_stay_as_right_as_they_were() {
    let mut good = packet(DATAGRAM);
    let right = Addresses::new(3).rewrite(&mut good);
    assert_eq!((right, &good[12..20]), (0, &[10, 1, 3, 1, 10, 2, 3, 1][..]));
    assert_eq!(checksum(&good), Checksum::Good);
    let mut bad = packet(DATAGRAM);
    bad[27] ^= 1;
    Addresses::new(3).rewrite(&mut bad);
    assert_eq!(checksum(&bad), Checksum::Bad);
}

#[test]
fn who_answers_is_on_the_other_side() {
    let mut addresses = Addresses::new(0);
    let mut request = packet(DATAGRAM);
    assert_eq!(addresses.rewrite(&mut request), 0);
    let mut answer = packet(DATAGRAM);
    let (source, destination) = (answer[12..16].to_vec(), answer[16..20].to_vec());
    answer[12..16].copy_from_slice(&destination);
    answer[16..20].copy_from_slice(&source);
    assert_eq!(addresses.rewrite(&mut answer), 1);
    assert_eq!((&answer[12..16], &answer[16..20]), (&request[16..20], &request[12..16]));
}

#[test]
fn a_host_talks_with_itself() {
    let mut loopback = packet(DATAGRAM);
    loopback[12..20].copy_from_slice(&[127, 0, 0, 1, 127, 0, 0, 1]);
    let mut addresses = Addresses::new(0);
    let mut back = loopback.clone();
    back[20..24].copy_from_slice(&[0, 53, 0x13, 0x88]);
    assert_eq!(addresses.rewrite(&mut loopback), 0);
    assert_eq!(addresses.rewrite(&mut back), 1);
    assert_eq!((&back[12..16], &back[16..20]), (&loopback[16..20], &loopback[12..16]));
}

#[test]
fn what_was_left_to_a_card_is_completed() {
    let mut partial = packet(DATAGRAM);
    // The sum of the pseudo header alone.
    let sum = 0x0a01 + 1 + 0x0a02 + 1 + 17 + 9_u16;
    partial[26..28].copy_from_slice(&sum.to_be_bytes());
    let repaired = whole(&partial, partial.len()).expect("a packet");
    assert!(repaired.completed && !repaired.filled && !repaired.prolonged);
    assert_eq!(checksum(&repaired.bytes), Checksum::Good);
}

#[test]
fn what_was_not_captured_is_filled_and_padding_is_cut_off() {
    let captured = &packet(DATAGRAM)[..28];
    let repaired = whole(captured, 29).expect("a packet");
    assert!(repaired.filled && repaired.bytes.len() == 29);
    assert_eq!(checksum(&repaired.bytes), Checksum::Good);
    let padded = [packet(DATAGRAM), vec![0; 17]].concat();
    assert_eq!(whole(&padded, padded.len()).expect("a packet").bytes, packet(DATAGRAM));
    let mut last_hop = packet(DATAGRAM);
    last_hop[8] = 1;
    last_hop[10..12].copy_from_slice(&0x65cc_u16.to_be_bytes());
    let repaired = whole(&last_hop, last_hop.len()).expect("a packet");
    assert!(repaired.prolonged && wire::ipv4_header_checksum_ok(&repaired.bytes));
    assert_eq!(whole(captured.get(..19).unwrap_or_default(), 29).map(|_| ()), None);
}

#[test]
fn a_long_segment_goes_in_pieces() {
    let mut segment =
        packet("45000000000040004006000000000000000000001388005000000064000000c850190400000000000a0b0c0d");
    segment.truncate(40);
    segment[12..20].copy_from_slice(&[10, 1, 0, 1, 10, 2, 0, 1]);
    segment.extend((0..3000_u32).map(|n| n as u8));
    let len = (segment.len() as u16).to_be_bytes();
    segment[2..4].copy_from_slice(&len);
    let pieces = pieces(&segment).expect("TCP");
    let payload: Vec<u8> = pieces.iter().flat_map(|piece| piece[40..].to_vec()).collect();
    assert_eq!(payload, segment[40..]);
    for (number, piece) in pieces.iter().enumerate() {
        assert_eq!(checksum(piece), Checksum::Good);
        assert_eq!(piece[24..28], (100 + number as u32 * 1400).to_be_bytes());
        // FIN and PSH at the end alone.
        assert_eq!(piece[33] & 0x09, if number == 2 { 0x09 } else { 0 });
    }
}

#[test]
fn captures_of_the_project_are_flows() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../captures/http.pcap");
    let (mut played, told) = super::read(&path, false).expect("a capture");
    let mut packets = 0;
    while let Some(scenario) = crate::source::Source::next(&mut played).expect("scenarios") {
        packets += crate::record::packets(&scenario);
    }
    assert_eq!((packets, told.to_string()), (528, "528 packets are played".to_owned()));
}
