//! What holds for every payload. Asserted by the property tests and by the fuzz targets.

use conntab::helper::{Announce, Heard, ftp, irc};
use conntab::tuple::{Direction, Tuple};

/// A connection over IPv4 or IPv6 between two hosts, by direction.
pub fn master(six: bool) -> [Tuple; 2] {
    let ends = if six { ["fd00:1::1", "fd00:2::1"] } else { ["10.1.0.1", "10.2.0.1"] };
    let [client, server] = ends.map(|end| end.parse().expect("an address"));
    let original = Tuple::new(6, (client, 1000), (server, 21)).expect("one family");
    [original, original.inverse()]
}

/// FTP where a line begins at `seq`: `before` ended one there.
pub fn line(
    before: ftp::State,
    direction: Direction,
    tuples: &[Tuple; 2],
    seq: u32,
    payload: &[u8],
) -> Heard {
    let mut state = before;
    let heard = ftp::hear(&mut state, direction, tuples, seq, payload);
    // What is remembered changes with a newline alone, and not with what is dropped.
    if heard == Heard::Drop || payload.last() != Some(&b'\n') {
        assert_eq!(state, before);
    }
    match heard {
        Heard::Announce(Announce { protocol, from, to, class, .. }) => {
            let way_back = &tuples[direction.opposite() as usize];
            assert_eq!((protocol, from, to, class), (6, Some(way_back.src), way_back.dst, 0));
        }
        Heard::Drop => assert!(!payload.is_empty()),
        Heard::Nothing => {}
    }
    heard
}

/// A state in which this end's line begins at `seq`.
pub fn begun(direction: Direction, tuples: &[Tuple; 2], seq: u32) -> ftp::State {
    let mut state = ftp::State::default();
    assert_eq!(ftp::hear(&mut state, direction, tuples, seq.wrapping_sub(1), b"\n"), Heard::Nothing);
    state
}

/// Any payload on any connection.
pub fn payload(six: bool, direction: Direction, seq: u32, payload: &[u8]) {
    let tuples = master(six);
    // Where no line is known to begin, nothing is heard.
    assert_eq!(line(ftp::State::default(), direction, &tuples, seq, payload), Heard::Nothing);
    let begun = begun(direction, &tuples, seq);
    assert_eq!(line(begun, direction.opposite(), &tuples, seq, payload), Heard::Nothing);
    assert_eq!(line(begun, direction, &tuples, seq.wrapping_add(1), payload), Heard::Nothing);
    // A command that is whole is understood without what follows; until then its beginning is dropped.
    let whole = line(begun, direction, &tuples, seq, payload);
    let step = payload.len() / 64 + 1;
    for end in (4..payload.len()).step_by(step) {
        let part = line(begun, direction, &tuples, seq, &payload[..end]);
        assert!(part == whole || part == Heard::Drop, "{part:?} {whole:?}");
    }

    match irc::hear(direction, &tuples, payload) {
        Heard::Nothing => {}
        Heard::Announce(Announce { protocol, from, to, port, class }) => {
            assert_eq!((protocol, from, to, class), (6, None, tuples[0].src, 0));
            assert!(port != 0 && !six && direction == Direction::Original);
        }
        Heard::Drop => panic!("IRC drops nothing"),
    }
}
