//! The options of IPv6 (RFC 8200 section 4.2): those that every router reads, and those for the destination.

use std::net::IpAddr;

use super::ip::Ip;

pub(super) enum Judged {
    Good,
    Bad,
    /// ICMPv6 parameter problem: code and pointer.
    Problem(u8, u32),
}

/// The hop-by-hop options, which come first or not at all.
pub(super) fn judge(ip: &Ip) -> Judged {
    if ip.bytes.get(6) == Some(&0) { options(ip, 40, true) } else { Judged::Good }
}

/// No more padding in a row than it takes to align.
const MOST_PADDING: usize = 7;

/// An unknown option: the code that says so.
const UNRECOGNIZED: u8 = 2;

/// The options in the extension header at `start`.
pub(super) fn options(ip: &Ip, start: usize, by_all: bool) -> Judged {
    let Some(header) = ip.bytes.get(start..) else { return Judged::Bad };
    let Some([_, len, ..]) = header.first_chunk::<8>() else { return Judged::Bad };
    let Some(header) = header.get(..(usize::from(*len) + 1) * 8) else { return Judged::Bad };
    let (mut at, mut padding) = (2, 0);
    while let Some(kind) = header.get(at) {
        let (data, next) = match (kind, header.get(at + 1)) {
            (0, _) => (&[][..], at + 1),
            (_, None) => return Judged::Bad,
            (_, Some(len)) => {
                let next = at + 2 + usize::from(*len);
                let Some(data) = header.get(at + 2..next) else { return Judged::Bad };
                (data, next)
            }
        };
        padding = if *kind <= 1 { padding + next - at } else { 0 };
        if padding > MOST_PADDING || (*kind == 1 && data.iter().any(|byte| *byte != 0)) {
            return Judged::Bad;
        }
        match judge_one(*kind, data, by_all) {
            One::Fine => {}
            One::Bad => return Judged::Bad,
            One::Value => return Judged::Problem(0, (start + at + 2) as u32),
            One::Unknown => {
                let multicast = matches!(ip.dst, IpAddr::V6(dst) if dst.is_multicast());
                return match kind >> 6 {
                    1 => Judged::Bad,
                    3 if multicast => Judged::Bad,
                    _ => Judged::Problem(UNRECOGNIZED, (start + at) as u32),
                };
            }
        }
        at = next;
    }
    Judged::Good
}

enum One {
    Fine,
    Bad,
    /// What it says is wrong.
    Value,
    /// Not known, and not to be passed over.
    Unknown,
}

fn judge_one(kind: u8, data: &[u8], by_all: bool) -> One {
    match (kind, data.len()) {
        // Router alert (RFC 2711).
        (5, 2) if by_all => One::Fine,
        // CALIPSO (RFC 5570) and IOAM (RFC 9486) are not in use here.
        (5 | 7 | 0x31, _) if by_all => One::Bad,
        // Jumbo payload (RFC 2675) in a packet that is not one.
        (0xc2, 4) if by_all => One::Value,
        (0xc2, _) if by_all => One::Bad,
        _ if kind >> 6 == 0 => One::Fine,
        _ => One::Unknown,
    }
}
