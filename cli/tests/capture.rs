//! The capture readers: every format, every damage.

mod common;

use std::io::Read;

use common::*;
use conntab::reason::Reason;
use conntab_cli::capture::{Capture, CaptureError, LinkType};

/// Time, link type, bytes and wire length of a frame.
type Seen = (u64, LinkType, Vec<u8>, u32);

fn read(reader: impl Read) -> (Vec<Seen>, Result<(), CaptureError>) {
    let mut seen = Vec::new();
    let mut capture = match Capture::new(reader) {
        Ok(capture) => capture,
        Err(e) => return (seen, Err(e)),
    };
    loop {
        match capture.next() {
            Ok(Some(f)) => seen.push((f.time, f.link, f.bytes.to_vec(), f.wire_len)),
            Ok(None) => return (seen, Ok(())),
            Err(e) => {
                assert!(matches!(capture.next(), Ok(None)), "nothing follows an error");
                return (seen, Err(e));
            }
        }
    }
}

/// A reader that gives one byte at a time, as a slow pipe does.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.len().min(buffer.len()).min(1);
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

const A: ([u8; 4], u16) = ([192, 0, 2, 1], 1000);
const B: ([u8; 4], u16) = ([203, 0, 113, 9], 53);
const SECOND: u64 = 1_000_000_000;

#[test]
fn pcap_of_either_order_and_resolution() {
    let frame = ethernet(&udp(A, B));
    for order in ORDERS {
        for (magic, fraction_ns) in [(MICRO, 1000), (NANO, 1)] {
            let mut file = pcap_header(order, magic, 1);
            pcap_record(&mut file, order, 1_795_350_645, 999_999, &frame);
            pcap_record(&mut file, order, u32::MAX, 0, &frame[..60.min(frame.len())]);
            let (seen, end) = read(&file[..]);
            end.unwrap();
            let time = 1_795_350_645 * SECOND + 999_999 * fraction_ns;
            assert_eq!(seen[0], (time, LinkType::Ethernet, frame.clone(), frame.len() as u32));
            assert_eq!(seen[1].0, u64::from(u32::MAX) * SECOND);
            assert_eq!(read(Trickle(&file)).0, seen);
        }
    }
}

#[test]
fn pcap_frame_cut_by_the_snap_length_keeps_its_wire_length() {
    let mut file = pcap_header(Order::Little, MICRO, 101);
    for n in [1, 0, 4, 1500] {
        file.extend(Order::Little.u32(n));
    }
    file.extend([0x45, 0, 0, 0]);
    assert_eq!(read(&file[..]).0, [(SECOND, LinkType::RawIp, vec![0x45, 0, 0, 0], 1500)]);
}

#[test]
fn pcapng_of_either_order() {
    let frame = udp(A, B);
    for order in ORDERS {
        let mut file = section(order);
        file.extend(interface(order, 101, &[]));
        file.extend(interface(order, 1, &option(order, 9, &[9])));
        file.extend(interface(order, 113, &option(order, 9, &[0x80 | 10])));
        let mut options = option(order, 9, &[3]);
        options.extend(option(order, 14, &order.u64(100)));
        options.extend(option(order, 0, &[]));
        file.extend(interface(order, 276, &options));
        // A name resolution block and one of no known type in between.
        file.extend(block(order, 4, &[0; 40]));
        file.extend(enhanced(order, 0, 5_000_001, &frame, &[]));
        file.extend(block(order, 0x0bad_cafe, &[7; 13]));
        file.extend(enhanced(order, 1, 7_000_000_001, &frame[..21], &option(order, 1, b"a comment")));
        file.extend(enhanced(order, 2, 1536, &[], &[]));
        file.extend(enhanced(order, 3, 2500, &frame, &[]));
        let mut simple = order.u32(frame.len() as u32).to_vec();
        simple.extend(&frame);
        file.extend(block(order, 3, &simple));
        // A new section has its own byte order and its own interfaces.
        let other = if order == Order::Big { Order::Little } else { Order::Big };
        file.extend(section(other));
        file.extend(interface(other, 0, &[]));
        file.extend(enhanced(other, 0, 9_000_000, &frame, &[]));

        let (seen, end) = read(&file[..]);
        end.unwrap();
        let len = frame.len() as u32;
        let expected = [
            (5 * SECOND + 1000, LinkType::RawIp, frame.clone(), len),
            (7 * SECOND + 1, LinkType::Ethernet, frame[..21].to_vec(), 21),
            (SECOND * 3 / 2, LinkType::LinuxSll, vec![], 0),
            (102 * SECOND + SECOND / 2, LinkType::LinuxSll2, frame.clone(), len),
            (102 * SECOND + SECOND / 2, LinkType::RawIp, frame.clone(), len),
            (9 * SECOND, LinkType::Null, frame.clone(), len),
        ];
        assert_eq!(seen, expected);
        assert_eq!(read(Trickle(&file)).0, expected);
    }
}

#[test]
fn pcapng_obsolete_packet_block() {
    for order in ORDERS {
        let mut file = section(order);
        file.extend(interface(order, 101, &[]));
        let mut body = order.u16(0).to_vec();
        body.extend(order.u16(0));
        for n in [0, 5_000_000, 3, 77] {
            body.extend(order.u32(n));
        }
        body.extend(b"abc");
        file.extend(block(order, 2, &body));
        assert_eq!(read(&file[..]).0, [(5 * SECOND, LinkType::RawIp, b"abc".to_vec(), 77)]);
    }
}

#[test]
fn pcapng_extreme_resolutions_do_not_overflow() {
    let order = Order::Little;
    for (resolution, ticks, offset, expected) in [
        (0, u64::MAX, 0, u64::MAX),
        (127, u64::MAX, 0, 0),
        (0xff, u64::MAX, 0, 0),
        (0x80, 3, 0, 3 * SECOND),
        (6, 5_000_000, -7, 0),
        (6, 5_000_000, -3, 2 * SECOND),
        (6, 0, i64::MAX, u64::MAX),
        (6, u64::MAX, i64::MIN, 0),
        (12, 1_999, 0, 1),
    ] {
        let mut options = option(order, 9, &[resolution]);
        options.extend(option(order, 14, &order.u64(i64::cast_unsigned(offset))));
        let mut file = section(order);
        file.extend(interface(order, 101, &options));
        file.extend(enhanced(order, 0, ticks, b"x", &[]));
        assert_eq!(
            read(&file[..]).0[0].0,
            expected,
            "resolution {resolution:#x}, {ticks} ticks, offset {offset}"
        );
    }
}

/// Cut anywhere, a capture yields each frame that is complete and says where it ends.
fn cut_everywhere(file: &[u8], ends: &[usize], header: usize) {
    for cut in 0..=file.len() {
        let complete = ends.iter().filter(|end| **end <= cut).count();
        for (seen, end) in [read(&file[..cut]), read(Trickle(&file[..cut]))] {
            assert_eq!(seen.len(), complete, "cut at {cut}");
            match end {
                Ok(()) => assert!(cut >= header, "cut at {cut}"),
                Err(CaptureError::Empty) => assert_eq!(cut, 0),
                Err(CaptureError::NotACapture(_)) => assert!(cut < 4, "cut at {cut}"),
                Err(CaptureError::Truncated { offset, .. }) => assert!(offset < cut as u64),
                Err(e) => panic!("cut at {cut}: {e}"),
            }
        }
    }
    assert!(read(file).1.is_ok());
}

#[test]
fn pcap_cut_at_every_byte() {
    for order in ORDERS {
        let mut file = pcap_header(order, MICRO, 1);
        let mut ends = Vec::new();
        for i in 0..5 {
            pcap_record(&mut file, order, i, 0, &ethernet(&udp(A, B))[..20 + i as usize]);
            ends.push(file.len());
        }
        cut_everywhere(&file, &ends, 24);
    }
}

#[test]
fn pcapng_cut_at_every_byte() {
    for order in ORDERS {
        let mut file = section(order);
        let mut ends = Vec::new();
        file.extend(interface(order, 1, &option(order, 9, &[9])));
        for i in 0..5 {
            file.extend(enhanced(order, 0, i, &ethernet(&udp(A, B))[..20 + i as usize], &[]));
            ends.push(file.len());
            file.extend(block(order, 5, &[0; 12]));
        }
        cut_everywhere(&file, &ends, 28);
    }
}

/// With any byte set to any of some values nothing panics, and memory stays bounded.
#[test]
fn damage_anywhere_is_survived() {
    for order in ORDERS {
        let mut pcap = pcap_header(order, MICRO, 1);
        let mut pcapng = section(order);
        let mut options = option(order, 9, &[9]);
        options.extend(option(order, 14, &order.u64(1)));
        pcapng.extend(interface(order, 1, &options));
        for i in 0..2 {
            let frame = ethernet(&udp(A, B));
            pcap_record(&mut pcap, order, i, 0, &frame);
            pcapng.extend(enhanced(order, 0, 1, &frame, &option(order, 1, b"comment")));
            pcapng.extend(block(order, 3, &frame));
            pcapng.extend(block(order, 2, &[0; 20]));
        }
        for file in [pcap, pcapng] {
            for at in 0..file.len() {
                for value in [0, 3, 0x7f, 0xff, !file[at]] {
                    let mut damaged = file.clone();
                    damaged[at] = value;
                    let _ = read(&damaged[..]);
                }
            }
        }
    }
}

#[test]
fn corruption_ends_the_capture_and_names_the_byte() {
    let mut file = pcap_header(Order::Little, MICRO, 1);
    pcap_record(&mut file, Order::Little, 1, 0, &[0; 60]);
    let at = file.len() as u64;
    for n in [1, 0, 0x4000_0000, 60] {
        file.extend(Order::Little.u32(n));
    }
    file.extend([0; 500]);
    let (seen, end) = read(&file[..]);
    assert_eq!(seen.len(), 1);
    assert!(matches!(end, Err(CaptureError::Corrupt { offset, .. }) if offset == at), "{end:?}");

    for (at_in_block, value) in [(4, 3), (4, 4), (7, 0x7f), (28 + 60, 9)] {
        let mut file = section(Order::Little);
        file.extend(interface(Order::Little, 1, &[]));
        file.extend(enhanced(Order::Little, 0, 1, &[0; 60], &[]));
        let at = file.len();
        file.extend(enhanced(Order::Little, 0, 1, &[0; 60], &[]));
        file[at + at_in_block] = value;
        let (seen, end) = read(&file[..]);
        assert_eq!(seen.len(), 1);
        assert!(
            matches!(end, Err(CaptureError::Corrupt { offset, .. }) if offset == at as u64),
            "{at_in_block} {end:?}"
        );
    }
}

#[test]
fn damaged_packet_blocks_in_whole_frames_are_passed_over() {
    let order = Order::Little;
    let mut file = section(order);
    // A simple packet block before any interface, and an enhanced one of an interface that is none.
    file.extend(block(order, 3, &[1, 0, 0, 0, 9]));
    file.extend(interface(order, 101, &[]));
    file.extend(enhanced(order, 1, 1, b"x", &[]));
    // One that claims more bytes than its block has.
    let mut lying = enhanced(order, 0, 1, b"x", &[]);
    lying[20..24].copy_from_slice(&order.u32(1000));
    file.extend(lying);
    file.extend(enhanced(order, 0, 1_000_000, b"y", &[]));
    let mut capture = Capture::new(&file[..]).unwrap();
    assert_eq!(capture.next().unwrap().unwrap().bytes, b"y");
    assert_eq!(capture.damaged(), 3);
    assert_eq!(capture.position(), file.len() as u64);
    assert!(capture.next().unwrap().is_none());
}

#[test]
fn blocks_larger_than_the_buffer() {
    let order = Order::Little;
    let mut file = section(order);
    file.extend(interface(order, 101, &[]));
    // Of no interest, longer than any packet may be: passed over.
    file.extend(block(order, 0x0bad, &vec![1; 20 << 20]));
    file.extend(enhanced(order, 0, 1, &vec![2; 1 << 20], &[]));
    file.extend(enhanced(order, 0, 1, b"end", &[]));
    let (seen, end) = read(&file[..]);
    end.unwrap();
    assert_eq!(seen.iter().map(|s| s.2.len()).collect::<Vec<_>>(), [1 << 20, 3]);
}

#[test]
fn a_failing_reader_is_reported_with_what_the_system_said() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is on fire"))
        }
    }
    let mut file = pcap_header(Order::Little, MICRO, 1);
    pcap_record(&mut file, Order::Little, 1, 0, &[0; 60]);
    let (seen, end) = read((&file[..]).chain(Fails));
    assert_eq!(seen.len(), 1);
    assert_eq!(end.unwrap_err().to_string(), "reading failed at byte 100: the disk is on fire");
}

#[test]
fn what_is_no_capture() {
    assert!(matches!(read(&b""[..]).1, Err(CaptureError::Empty)));
    for text in ["a", "abc", "This is a text file, not a capture.", "\n\r\r\nabcdefghijklmnopqrstuvwxyz"] {
        assert!(matches!(read(text.as_bytes()).1, Err(CaptureError::NotACapture(None))), "{text}");
    }
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    assert!(read(&gzip[..]).1.unwrap_err().to_string().contains("zcat"));
}

#[test]
fn unknown_link_types() {
    let file = pcap_header(Order::Big, NANO, 147);
    let error = read(&file[..]).1.unwrap_err();
    assert!(matches!(error, CaptureError::LinkType { number: 147, interface: None }), "{error}");
    assert!(!error.is_loss_of_rest());

    // An interface may be unknown as long as no packet is of it.
    let order = Order::Little;
    let mut file = section(order);
    file.extend(interface(order, 147, &[]));
    file.extend(interface(order, 101, &[]));
    file.extend(enhanced(order, 1, 1, b"x", &[]));
    assert!(read(&file[..]).1.is_ok());
    file.extend(enhanced(order, 0, 1, b"x", &[]));
    let (seen, end) = read(&file[..]);
    assert_eq!(seen.len(), 1);
    assert!(end.is_ok(), "it is passed over: {end:?}");
    let mut capture = Capture::new(&file[..]).unwrap();
    while capture.next().unwrap().is_some() {}
    assert_eq!(capture.foreign(), 1);
    let why = capture.take_unsupported();
    assert!(matches!(why, Some(CaptureError::LinkType { number: 147, interface: Some(0) })), "{why:?}");

    // Interfaces without end are not.
    let mut file = section(order);
    for _ in 0..=1 << 16 {
        file.extend(interface(order, 101, &[]));
    }
    let (_, end) = read(&file[..]);
    assert!(matches!(end, Err(CaptureError::Corrupt { .. })), "{end:?}");
}

#[test]
fn header_bits_above_the_link_type_do_not_matter() {
    // Frames end in a checksum of two 16-bit words.
    let file = pcap_header(Order::Little, MICRO, 0x2400_0001);
    assert!(read(&file[..]).1.is_ok());
}

#[test]
fn link_layers() {
    let tagged = |tags: &[u16], kind: u16| {
        let mut frame = vec![0; 12];
        for tag in tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, 5]);
        }
        frame.extend(kind.to_be_bytes());
        frame
    };
    for kind in [0x0800, 0x86dd] {
        assert_eq!(LinkType::Ethernet.ip_offset(&tagged(&[], kind)), Ok(14));
        assert_eq!(LinkType::Ethernet.ip_offset(&tagged(&[0x8100], kind)), Ok(18));
        assert_eq!(LinkType::Ethernet.ip_offset(&tagged(&[0x88a8, 0x8100], kind)), Ok(22));
    }
    assert_eq!(LinkType::Ethernet.ip_offset(&tagged(&[], 0x0806)), Err(Reason::LinkNotIp));
    assert_eq!(LinkType::Ethernet.ip_offset(&[0; 13]), Err(Reason::LinkTruncated));
    assert_eq!(LinkType::Ethernet.ip_offset(&tagged(&[0x8100], 0x0800)[..17]), Err(Reason::LinkTruncated));

    let mut cooked = vec![0; 16];
    cooked[14..16].copy_from_slice(&[0x08, 0x00]);
    assert_eq!(LinkType::LinuxSll.ip_offset(&cooked), Ok(16));
    cooked[14..16].copy_from_slice(&[0x81, 0x00]);
    cooked.extend([0, 5, 0x86, 0xdd]);
    assert_eq!(LinkType::LinuxSll.ip_offset(&cooked), Ok(20));

    let mut cooked = vec![0; 20];
    cooked[..2].copy_from_slice(&[0x86, 0xdd]);
    assert_eq!(LinkType::LinuxSll2.ip_offset(&cooked), Ok(20));
    cooked[..2].copy_from_slice(&[0x81, 0x00]);
    cooked.extend([0, 5, 0x08, 0x00]);
    assert_eq!(LinkType::LinuxSll2.ip_offset(&cooked), Ok(24));

    for family in [2_u32, 10, 24, 28, 30] {
        assert_eq!(LinkType::Null.ip_offset(&family.to_le_bytes()), Ok(4));
        assert_eq!(LinkType::Null.ip_offset(&family.to_be_bytes()), Ok(4));
    }
    assert_eq!(LinkType::Null.ip_offset(&7_u32.to_be_bytes()), Err(Reason::LinkNotIp));
    assert_eq!(LinkType::Null.ip_offset(&[2, 0, 0]), Err(Reason::LinkTruncated));
    assert_eq!(LinkType::RawIp.ip_offset(&[]), Ok(0));
}
