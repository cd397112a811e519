//! What the kernel would have logged about a packet (`nf_conntrack_log_invalid`): a recording's `reason`. The words are
//! those seen in recordings; which stand for which [`Reason`] was found by comparing.

use conntab::connection::Tracked;
use conntab::helper::Name;
use conntab::proto::tcp::{Kind, State, flags};
use conntab::tuple::{Direction, L3, protocol};
use conntab::wire::tcp::{Segment, flag};
use conntab::wire::{self, L4};
use conntab::{Connection, Reason, Verdict};

use super::ip::Ip;
use super::ipv6;
use super::sctp;

/// The connection of a packet, as it was before that.
pub(super) struct Known {
    pub dir: Direction,
    pub connection: Connection,
    /// `tcp_timeout_unacknowledged` at that time.
    pub unacknowledged: u32,
}

/// How many of its ticks the kernel counts a second.
const HZ: u32 = 250;

/// Less than this is not shortened by resets of both ends.
const SUSPECT_FLOOR_MS: u32 = 120_000;

pub(super) fn about(ip: &Ip, known: Option<&Known>, verdict: &Verdict) -> Option<String> {
    let (protocol, payload) = transport(ip)?;
    let headers = wire::parse(&ip.bytes, ip.bytes.len() as u32);
    let foreign = if ip.l3 == L3::V4 { protocol::ICMPV6 } else { protocol::ICMP };
    let text = match (verdict.reason, headers.as_ref().map(|h| &h.l4)) {
        (Reason::IcmpOuterDestination, Ok(_)) => outer(ip)?,
        (_, Ok(L4::Tcp(segment))) => return tcp(segment, known, verdict),
        (reason, Ok(L4::Sctp(packet))) => sctp::words(reason, packet, payload, known)?,
        // A later fragment that goes on as it is: its message is elsewhere.
        (Reason::Ipv6Extension, _) if ipv6::fragment_field(&ip.bytes).is_some_and(|field| field > 7) => {
            return None;
        }
        // Of the other family: nobody looks at it.
        (Reason::L4Truncated, _) if protocol == foreign => return None,
        (reason, _) => plain(reason, protocol, payload)?.to_owned(),
    };
    Some(format!("nf_ct_proto_{protocol}: {text}"))
}

/// What FTP's helper listens to.
const COMMANDS: [&str; 4] = ["PORT", "EPRT", "227 ", "229 "];

/// What a helper says that does not let a packet pass, whatever `log_invalid` is.
pub(super) fn helper(ip: &Ip, helper: Name, reason: Reason) -> Option<String> {
    let headers = wire::parse(&ip.bytes, ip.bytes.len() as u32).ok()?;
    let payload = headers.payload(&ip.bytes);
    let why = match reason {
        // What is cut is the first of them that it may become.
        Reason::Helper => {
            let begun = |command: &&str| {
                let length = payload.len().min(command.len());
                command.as_bytes()[..length].eq_ignore_ascii_case(&payload[..length])
            };
            format!("partial matching of `{}'", COMMANDS.into_iter().find(begun)?)
        }
        Reason::Expectation => "cannot add expectation".to_owned(),
        _ => return None,
    };
    Some(format!("nf_ct_{helper}: dropping packet: {why}"))
}

/// Of headers alone.
fn plain(reason: Reason, l4: u8, payload: &[u8]) -> Option<&'static str> {
    let text = match (reason, l4) {
        // Of fewer than four bytes there are no ports to ask about.
        (Reason::L4Truncated, protocol::UDP | protocol::UDPLITE | protocol::SCTP) if payload.len() < 4 => {
            return None;
        }
        (Reason::L4Truncated, protocol::UDP | protocol::UDPLITE | protocol::ICMP | protocol::ICMPV6)
        | (Reason::Ipv6Extension, protocol::ICMPV6) => "short packet",
        (Reason::L4Truncated, protocol::SCTP) => "nf_ct_sctp: short packet",
        (Reason::TcpDataOffset, _) => "truncated packet",
        (Reason::UdpLength, _) => "truncated/malformed packet",
        (Reason::UdpliteCoverage, _) => "invalid checksum coverage",
        (Reason::UdpliteNoChecksum, _) => "checksum missing",
        (Reason::Checksum, protocol::ICMP) => "bad hw icmp checksum",
        (Reason::Checksum, protocol::ICMPV6) => "ICMPv6 checksum failed",
        (Reason::Checksum, _) => "bad checksum",
        (Reason::IcmpType, protocol::ICMP) => "invalid icmp type",
        (Reason::IcmpRedirect | Reason::RedirectOption, _) if payload.len() < 40 => "short redirect",
        // A redirect with a code is no redirect.
        (Reason::IcmpRedirect, _) if payload.get(1) != Some(&0) => return None,
        (Reason::IcmpRedirect, _) => "invalid saddr or hoplimit for redirect",
        _ => return None,
    };
    Some(text)
}

/// An error that was not sent to whom it speaks of.
fn outer(ip: &Ip) -> Option<String> {
    let headers = wire::parse(&ip.bytes, ip.bytes.len() as u32).ok()?;
    let inner = conntab::tuple::Tuple::of_inner(&wire::inner(&ip.bytes, &headers).ok()?);
    let outer = conntab::tuple::Tuple { dst: headers.dst, ..inner };
    // As tuples are written: IPv6 addresses in full.
    let (outer, inner) = (outer.to_string(), inner.to_string());
    let field = |text: &str, name: &str| Some(text.split(' ').find_map(|w| w.strip_prefix(name))?.to_owned());
    Some(format!("outer daddr {} != inner {}", field(&outer, "dst=")?, field(&inner, "src=")?))
}

fn tcp(segment: &Segment, known: Option<&Known>, verdict: &Verdict) -> Option<String> {
    let excess = verdict.excess;
    let judged = known.and_then(|known| Judged::new(segment, known));
    let text = match verdict.reason {
        Reason::Checksum => "bad checksum".to_owned(),
        Reason::TcpDataOffset => "truncated packet".to_owned(),
        Reason::TcpFlags => "invalid tcp flag combination".to_owned(),
        Reason::TcpNotOpening => "invalid new".to_owned(),
        Reason::TcpState => judged?.at("invalid"),
        Reason::TcpStateIgnored => judged?.at("ignored"),
        Reason::TcpChallengeAck => "challenge-ack ignored".to_owned(),
        Reason::TcpRstBelow => "invalid rst".to_owned(),
        Reason::TcpOvershoot => format!("{excess} bytes more than expected"),
        Reason::TcpSeqAbove => {
            let bound = judged.as_ref()?.seq.wrapping_sub(excess).wrapping_add(1);
            format!("SEQ is over upper bound {bound} (over the window of the receiver)")
        }
        Reason::TcpAckAbove => {
            let bound = judged.as_ref()?.sack.wrapping_sub(excess).wrapping_add(1);
            format!("ACK is over upper bound {bound} (ACKed data not seen yet)")
        }
        Reason::TcpSeqBelow => {
            let bound = judged?.end.wrapping_add(excess).wrapping_sub(1);
            format!("SEQ is under lower bound {bound} (already ACKed data retransmitted)")
        }
        Reason::TcpAckBelow => {
            let bound = judged?.sack.wrapping_add(excess).wrapping_sub(1);
            format!("ignored ACK under lower bound {bound} (possible overly delayed)")
        }
        _ => return None,
    };
    let mut text = format!("nf_ct_proto_6: {text}");
    if matches!(verdict.reason, Reason::TcpSeqAbove | Reason::TcpAckAbove)
        && let Some(more) = known.and_then(|known| suspicion(segment, known))
    {
        text += &more;
    }
    Some(text)
}

/// A segment's numbers as its connection takes them.
struct Judged {
    kind: Kind,
    dir: Direction,
    state: State,
    seq: u32,
    end: u32,
    /// The highest byte it acknowledges.
    sack: u32,
}

impl Judged {
    fn new(segment: &Segment, known: &Known) -> Option<Self> {
        let Tracked::Tcp(state, Some(record)) = known.connection.tracked else { return None };
        let kind = Kind::of(segment.flags)?;
        let (dir, flags) = (known.dir, segment.flags);
        let [sender, receiver] = [dir, dir.opposite()].map(|dir| record.ends[dir as usize]);
        let mut seq = segment.seq;
        let carries = |bit| u32::from(flags & bit != 0);
        let mut end = seq
            .wrapping_add(segment.payload)
            .wrapping_add(carries(flag::SYN))
            .wrapping_add(carries(flag::FIN));
        if kind == Kind::Rst && seq == 0 && state == State::SynSent {
            // A refusal's number is taken for the right one.
            seq = if sender.max_win == 0 { end } else { sender.end };
            end = seq;
        }
        let sack = match segment.sack_edge {
            Some(edge) if receiver.flags & flags::SACK_PERMITTED != 0 => edge,
            _ => segment.ack,
        };
        Some(Self { kind, dir, state, seq, end, sack })
    }

    fn at(&self, what: &str) -> String {
        let (kind, dir, state) = (self.kind as u8, self.dir as u8, self.state.as_str());
        format!("packet (index {kind}) in dir {dir} {what}, state {state}")
    }
}

/// Resets or ends of both sides, none of them where it should be: the connection's time is cut short.
fn suspicion(segment: &Segment, known: &Known) -> Option<String> {
    let Tracked::Tcp(_, Some(record)) = known.connection.tracked else { return None };
    let kind = Kind::of(segment.flags)?;
    let last = record.last.kind()?;
    let closes = |kind| matches!(kind, Kind::Rst | Kind::Fin);
    let assured = known.connection.status & conntab::conn::status::ASSURED != 0;
    let both = closes(kind) && closes(last) && record.last.direction() != known.dir;
    let left = known.connection.timeout_ms;
    if !(assured && both && left >= SUSPECT_FLOOR_MS && left > known.unacknowledged * 1000) {
        return None;
    }
    let (kind, dir, last, ticks) = (kind as u8, known.dir as u8, last as u8, known.unacknowledged * HZ);
    Some(format!(
        "; nf_ct_proto_6: packet (index {kind}, dir {dir}) response for index {last} lower timeout to {ticks}"
    ))
}

/// The transport protocol and its bytes, also where a header in front of them runs past the packet.
fn transport(ip: &Ip) -> Option<(u8, &[u8])> {
    let bytes = &ip.bytes;
    if ip.l3 == L3::V4 {
        return Some((*bytes.get(9)?, ip.payload()));
    }
    let (mut protocol, mut at) = (*bytes.get(6)?, 40);
    while let Some(header) = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>()) {
        at += match protocol {
            0 | 43 | 60 => (usize::from(header[1]) + 1) * 8,
            44 => 8,
            // The authentication header counts in words (RFC 4302 section 2.2).
            51 => (usize::from(header[1]) + 2) * 4,
            _ => break,
        };
        protocol = header[0];
    }
    Some((protocol, bytes.get(at..).unwrap_or(&[])))
}
