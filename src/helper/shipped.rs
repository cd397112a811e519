//! The helpers that are shipped: each wraps a parser.

use super::{Announcements, Answer, Class, Heading, Heard, Helper, Name, State, ftp, irc, tftp};
use crate::net::{L3, protocol};

/// The helper of FTP's control connection: `PORT`, `EPRT`, and the answers to `PASV` and `EPSV` ([`ftp`]). One connection is expected
/// at a time, for five minutes. A command that is cut or wrong does not pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ftp;

/// The helper of IRC's DCC offers ([`irc`]), which name addresses of IPv4 alone. Eight connections are expected at a time, for five minutes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Irc;

/// The helper of TFTP requests ([`tftp`]). One connection is expected at a time, for five minutes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tftp;

const FTP: (Name, [Class; 1]) = (name("ftp"), class(ftp::LIMIT, ftp::TIMEOUT));
const IRC: (Name, [Class; 1]) = (name("irc"), class(irc::LIMIT, irc::TIMEOUT));
const TFTP: (Name, [Class; 1]) = (name("tftp"), class(tftp::LIMIT, tftp::TIMEOUT));

const fn name(text: &str) -> Name {
    match Name::new(text) {
        Some(name) => name,
        None => Name::NONE,
    }
}

const fn class(max: u32, timeout: u32) -> [Class; 1] {
    [Class { name: Name::NONE, max: max as u8, timeout }]
}

/// What comes of what a parser has heard.
fn answer(heard: Heard, announcements: &mut Announcements) -> Answer {
    match heard {
        Heard::Nothing => Answer::Pass,
        Heard::Announce(announce) => {
            announcements.push(announce);
            Answer::Pass
        }
        Heard::Drop => Answer::Drop,
    }
}

impl Helper for Ftp {
    fn name(&self) -> Name {
        FTP.0
    }

    fn protocol(&self) -> u8 {
        protocol::TCP
    }

    fn classes(&self) -> &[Class] {
        &FTP.1
    }

    fn help(&self, about: &Heading, payload: &[u8], state: &mut State, to: &mut Announcements) -> Answer {
        if !about.established || payload.is_empty() {
            return Answer::Pass;
        }
        let [first, second, third, ..] = state;
        let mut lines = [*first, *second, *third];
        let heard = ftp::hear(&mut lines, about.dir, &about.tuples(), about.seq, payload);
        [*first, *second, *third] = lines;
        answer(heard, to)
    }
}

impl Helper for Irc {
    fn name(&self) -> Name {
        IRC.0
    }

    fn protocol(&self) -> u8 {
        protocol::TCP
    }

    fn family(&self) -> Option<L3> {
        Some(L3::V4)
    }

    fn classes(&self) -> &[Class] {
        &IRC.1
    }

    fn help(&self, about: &Heading, payload: &[u8], _: &mut State, to: &mut Announcements) -> Answer {
        if !about.established || payload.is_empty() {
            return Answer::Pass;
        }
        answer(irc::hear(about.dir, &about.tuples(), payload), to)
    }
}

impl Helper for Tftp {
    fn name(&self) -> Name {
        TFTP.0
    }

    fn protocol(&self) -> u8 {
        protocol::UDP
    }

    fn classes(&self) -> &[Class] {
        &TFTP.1
    }

    fn help(&self, about: &Heading, payload: &[u8], _: &mut State, to: &mut Announcements) -> Answer {
        answer(tftp::hear(&about.tuples(), payload), to)
    }
}
