//! The options of IPv4 (RFC 791 section 3.1), which the router reads after tracking.

use std::net::Ipv4Addr;

use conntab::tuple::L3;

use super::ip::Ip;
use super::ipv4;

pub(super) enum Judged {
    Good,
    /// It goes no further.
    Lost,
    /// ICMP parameter problem at this byte.
    Problem(u8),
    /// What the router would do with this option is not played.
    NotPlayed(u8),
}

mod kind {
    pub const END: u8 = 0;
    pub const NONE: u8 = 1;
    pub const RECORD_ROUTE: u8 = 7;
    pub const TIMESTAMP: u8 = 68;
    pub const LOOSE_SOURCE_ROUTE: u8 = 131;
    pub const CIPSO: u8 = 134;
    pub const STRICT_SOURCE_ROUTE: u8 = 137;
    pub const ROUTER_ALERT: u8 = 148;
}

/// Where an option begins, and all its bytes; or where one is broken.
fn list(ip: &Ip) -> Vec<Result<(usize, &[u8]), usize>> {
    let mut found = Vec::new();
    let end = match (ip.l3, ip.transport) {
        (L3::V4, Some((_, end))) => end,
        _ => return found,
    };
    let (Some(header), mut at) = (ip.bytes.get(..end), 20) else { return found };
    while let Some(kind) = header.get(at) {
        let len = match *kind {
            kind::END => break,
            kind::NONE => 1,
            _ => header.get(at + 1).copied().map_or(0, usize::from),
        };
        match header.get(at..at + len) {
            Some(bytes) if len >= 2 || *kind == kind::NONE => found.push(Ok((at, bytes))),
            _ => {
                found.push(Err(at));
                break;
            }
        }
        at += len;
    }
    found
}

pub(super) fn judge(ip: &Ip) -> Judged {
    let mut recorded = false;
    for option in list(ip) {
        let (at, bytes) = match option {
            Ok(option) => option,
            Err(at) => return Judged::Problem(at as u8),
        };
        let problem = |offset: usize| Judged::Problem((at + offset) as u8);
        match bytes {
            [kind::RECORD_ROUTE, ..] if recorded => return problem(0),
            [kind::RECORD_ROUTE, len, pointer, ..] => {
                recorded = true;
                let room = usize::from(*len).checked_sub(usize::from(*pointer));
                if *pointer < 4 || room.is_some_and(|room| room < 3) {
                    return problem(2);
                }
            }
            [kind::RECORD_ROUTE, ..] => return problem(1),
            // RFC 2113 section 2.1.
            [kind::ROUTER_ALERT, 0..=3, ..] => return problem(1),
            // Source routes are not followed.
            [kind::LOOSE_SOURCE_ROUTE | kind::STRICT_SOURCE_ROUTE, ..] => return Judged::Lost,
            [kind @ (kind::TIMESTAMP | kind::CIPSO), ..] => return Judged::NotPlayed(*kind),
            _ => {}
        }
    }
    Judged::Good
}

/// What stands behind the end of good options is cleared. The checksum follows when the packet is forwarded.
pub(super) fn clear_rest(ip: &mut Ip) {
    let Some((_, end)) = ip.transport.filter(|_| ip.l3 == L3::V4) else { return };
    let at = list(ip).into_iter().flatten().last().map_or(20, |(at, bytes)| at + bytes.len());
    if let Some(rest) = ip.bytes.get_mut(at..end) {
        rest.fill(0);
    }
}

/// The checksum of a header with options, as it is now.
pub(super) fn settle(ip: &mut Ip) {
    let Some((_, end)) = ip.transport.filter(|_| ip.l3 == L3::V4) else { return };
    if let Some(header) = ip.bytes.get_mut(..end).filter(|header| header.len() > 20) {
        ipv4::rewrite_checksum(header);
    }
}

/// What a fragment other than the first carries: options that are not to be copied (RFC 791 section 3.1) give way to no-operations.
pub(super) fn keep_copied(header: &mut [u8]) {
    let mut at = 20;
    while let Some(option) = header.get(at).copied() {
        let len = match option {
            kind::END => return,
            kind::NONE => 1,
            _ => header.get(at + 1).copied().map_or(0, usize::from),
        };
        if len < 2 && option != kind::NONE {
            return;
        }
        if let Some(bytes) = header.get_mut(at..at + len)
            && option & 0x80 == 0
        {
            bytes.fill(kind::NONE);
        }
        at += len;
    }
}

/// Whether the router's own answers to it would carry its route.
pub(super) fn records_route(ip: &Ip) -> bool {
    list(ip).iter().flatten().any(|(_, bytes)| bytes.first() == Some(&kind::RECORD_ROUTE))
}

/// Writes the router's address into the route, if there is room.
pub(super) fn record_route(ip: &mut Ip, own: Ipv4Addr) {
    let places = list(ip).into_iter().flatten().find_map(|(at, bytes)| match bytes {
        [kind::RECORD_ROUTE, len, pointer, ..] if pointer <= len => Some((at, usize::from(*pointer))),
        _ => None,
    });
    let (Some((at, pointer)), Some((_, end))) = (places, ip.transport) else { return };
    let Some(header) = ip.bytes.get_mut(..end) else { return };
    if let Some(slot) = header.get_mut(at + pointer - 1..at + pointer + 3) {
        slot.copy_from_slice(&own.octets());
    }
    if let Some(place) = header.get_mut(at + 2) {
        *place += 4;
    }
    ipv4::rewrite_checksum(header);
}
