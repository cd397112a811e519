//! Well-formed commands announce what they say, wherever they stand; others' addresses never are announced.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use conntab::helper::{Heard, ftp, irc};
use conntab::tuple::{Direction, Tuple, addr};
use proptest::prelude::*;

use crate::invariants::{begun, line, master, payload};

fn address() -> impl Strategy<Value = IpAddr> {
    let sparse = any::<[u16; 8]>().prop_map(|words| words.map(|word| if word % 3 == 0 { word } else { 0 }));
    prop_oneof![
        any::<Ipv4Addr>().prop_map(IpAddr::V4),
        any::<Ipv6Addr>().prop_map(IpAddr::V6),
        sparse.prop_map(|words| IpAddr::V6(words.into())),
    ]
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Original), Just(Direction::Reply)]
}

/// Where `to` sends and hears from the other end.
fn tuples(direction: Direction, own: IpAddr) -> [Tuple; 2] {
    let other =
        if own.is_ipv4() { IpAddr::V4([10, 9, 8, 7].into()) } else { "fd00::9".parse().expect("an address") };
    let this = Tuple::new(6, (own, 1000), (other, 21)).expect("one family");
    match direction {
        Direction::Original => [this, this.inverse()],
        Direction::Reply => [this.inverse(), this],
    }
}

/// A command of an end with this address, and the direction it is sent in.
fn commands(own: IpAddr, port: u16, delimiter: char, words: &str) -> Vec<(Direction, String)> {
    let halves = format!("{},{}", port >> 8, port & 255);
    let mut all =
        vec![(Direction::Reply, format!("229 {words} ({delimiter}{delimiter}{delimiter}{port}{delimiter})"))];
    let family = if own.is_ipv4() { 1 } else { 2 };
    // A delimiter ends the address, whatever else it could mean there.
    if !own.to_string().contains(delimiter) && delimiter != ':' {
        let text = format!("EPRT {delimiter}{family}{delimiter}{own}{delimiter}{port}{delimiter}\r\n");
        all.push((Direction::Original, text.to_lowercase().replace("eprt", "Eprt")));
    }
    if let IpAddr::V4(own) = own {
        let quad = own.to_string().replace('.', ",");
        all.push((Direction::Original, format!("PORT {quad},{halves}\r\n")));
        all.push((Direction::Reply, format!("227 {words} ({quad},{halves}).\r\n")));
    }
    all
}

fn port_of(heard: Heard) -> Option<u16> {
    match heard {
        Heard::Announce(announce) => Some(announce.port),
        Heard::Nothing | Heard::Drop => None,
    }
}

proptest! {
    #[test]
    fn ftp_announces_what_is_said(
        own in address(), other: (Ipv4Addr, Ipv6Addr), port in 1_u16.., seq: u32, delimiter in "[!-/:-@\\[-`g-z{-~]", words in "[A-Za-z ]{0,40}",
    ) {
        let delimiter = delimiter.chars().next().unwrap();
        for (direction, text) in commands(own, port, delimiter, &words) {
            let tuples = tuples(direction, own);
            let begun = begun(direction, &tuples, seq);
            prop_assert_eq!(port_of(line(begun, direction, &tuples, seq, text.as_bytes())), Some(port), "{}", text);
            // Cut anywhere before its end it is dropped.
            for end in 1..text.trim_end_matches(['\r', '\n', '.', ')']).len() {
                let cut = line(begun, direction, &tuples, seq, &text.as_bytes()[..end]);
                prop_assert_eq!(cut, Heard::Drop, "{}", &text[..end]);
            }
        }
        // Another's address is not announced, whoever says it.
        let other = match (own, other) {
            (IpAddr::V4(own), (other, _)) if own != other => IpAddr::V4(other),
            (IpAddr::V6(own), (_, other)) if own != other => IpAddr::V6(other),
            _ => return Ok(()),
        };
        for (direction, text) in commands(other, port, delimiter, &words).into_iter().skip(1) {
            let tuples = tuples(direction, own);
            let begun = begun(direction, &tuples, seq);
            prop_assert_eq!(line(begun, direction, &tuples, seq, text.as_bytes()), Heard::Nothing, "{}", text);
        }
    }

    /// The furthest place where a line has ended is known, and so is the one before it if it came first.
    #[test]
    fn the_furthest_line_is_known(ends in proptest::collection::vec(1_u32..100_000, 1..20), isn: u32, direction in direction()) {
        let tuples = master(false);
        let mut state = ftp::State::default();
        for end in &ends {
            ftp::hear(&mut state, direction, &tuples, isn.wrapping_add(*end).wrapping_sub(3), b"ok\n");
        }
        let furthest = *ends.iter().max().unwrap();
        let word: &[u8] = if direction == Direction::Original { b"PO" } else { b"22" };
        let mut known = |end: u32| ftp::hear(&mut state, direction, &tuples, isn.wrapping_add(end), word) == Heard::Drop;
        prop_assert!(known(furthest));
        let all = (0..=100_001).filter(|end| known(*end)).count();
        prop_assert!(all <= 2, "{}", all);
    }

    #[test]
    fn irc_announces_what_is_said(
        own in 0x0100_0000_u32.., other: Ipv4Addr, port in 1_u16.., nick in "[a-zA-Z#,]{1,20}", name in "[!-~]{1,20}", kind in 0_usize..5, size: Option<u32>, begin in "[ \r\n]{0,3}",
    ) {
        // With fewer digits a message would be shorter than the kernel looks at.
        let own = Ipv4Addr::from(own);
        let kind = ["SEND", "CHAT", "MOVE", "TSEND", "SCHAT"][kind];
        let size = size.map_or(String::new(), |size| format!(" {size}"));
        let tuples = tuples(Direction::Original, own.into());
        let say = |address: Ipv4Addr| format!("{begin}PRIVMSG {nick} :\x01DCC {kind} {name} {} {port}{size}\x01\r\n", u32::from(address));
        let heard = irc::hear(Direction::Original, &tuples, say(own).as_bytes());
        let Heard::Announce(announce) = heard else { panic!("{}", say(own)) };
        prop_assert_eq!((announce.port, announce.to, announce.from), (port, addr(own.into()), None));
        prop_assert_eq!(irc::hear(Direction::Reply, &tuples, say(own).as_bytes()), Heard::Nothing);
        if own != other {
            prop_assert_eq!(irc::hear(Direction::Original, &tuples, say(other).as_bytes()), Heard::Nothing);
        }
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>, six: bool, direction in direction(), seq: u32) {
        payload(six, direction, seq, &bytes);
    }

    /// Texts made of what commands are made of.
    #[test]
    fn nearly_commands(
        text in "(PORT |EPRT |227 |229 \\(|PRIVMSG b :\x01DCC SEND f |)([0-9]{1,11}|[,.:|!( \r\n\x01]|10,1,0,1|fd00:1::1|167837697|\\|[12]\\|){0,16}",
        six: bool, direction in direction(), seq: u32,
    ) {
        payload(six, direction, seq, text.as_bytes());
    }
}
