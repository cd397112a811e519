//! Edges: connections to themselves, clocks at their ends, the longest timeouts, translated ICMP, lines of other kernels.

mod common;

use common::*;
use conntab::conn::status;
use conntab::helper::Announce;
use conntab::tuple::{Direction, L3, Tuple, addr, protocol};
use conntab::{Config, Connection, CtState, Packet, Reason, Table, Verdict};

fn tuple(l4: u8, src: [u8; 4], dst: [u8; 4], sport: u16, dport: u16) -> Tuple {
    Tuple { src: addr(src.into()), dst: addr(dst.into()), sport, dport, l4, l3: L3::V4 }
}

/// Live kernel 6.18: the second packet of a flow whose tuple is its own inverse is ESTABLISHED/reply, and the third UDP
/// one, 2.6 s later, makes it ASSURED (as recorded).
#[test]
fn a_flow_to_itself() {
    let table = table(1024);
    let mut w = table.worker().unwrap();
    let p = udp(SERVER, SERVER, 5000, 5000);
    assert_eq!(pass(&mut w, 1000, &p).state, CtState::New);
    let v = pass(&mut w, 1100, &p);
    assert_eq!((v.state, v.dir), (CtState::Established, Direction::Reply), "as the kernel");
    assert_ne!(pass(&mut w, 3700, &p).status & status::ASSURED, 0);
}

#[test]
fn a_generic_flow_to_itself() {
    let table = table(1024);
    let mut w = table.worker().unwrap();
    let p = ipv4(253, SERVER, SERVER, b"abcd");
    pass(&mut w, 1000, &p);
    let v = pass(&mut w, 1100, &p);
    assert_eq!((v.state, v.dir), (CtState::Established, Direction::Reply));
}

#[test]
fn a_tcp_connection_to_itself() {
    let table = table(1024);
    let mut w = table.worker().unwrap();
    let a = (SERVER, 5000);
    pass(&mut w, 1000, &tcp(a, a, SYN, 100, 0, 0));
    let seen: Vec<_> =
        [tcp(a, a, SYN, 100, 0, 0), tcp(a, a, SYN_ACK, 100, 101, 0), tcp(a, a, ACK, 101, 101, 0)]
            .iter()
            .map(|p| pass(&mut w, 1100, p).state)
            .collect();
    assert_eq!(seen, [CtState::Established; 3], "as the kernel");
}

/// Masquerade with a changed id (kernel: status 0x198, SRC_NAT alone).
#[test]
fn icmp_masquerade_is_source_nat_alone() {
    let table = table(1024);
    let mut w = table.worker().unwrap();
    let echo = ipv4(1, CLIENT, SERVER, &[8, 0, 0, 0, 0, 77, 0, 1]);
    let mut v = judge(&mut w, 0, &[&echo]);
    let reply = tuple(protocol::ICMP, SERVER, [192, 0, 2, 1], 15434, 0);
    w.set_reply_tuple(&mut v[0], &reply).unwrap();
    assert_eq!(v[0].status, status::SRC_NAT, "{:#x}: `ct status dnat accept` would match", v[0].status);
}

/// "SRC_NAT and DST_NAT are set in the status as they then hold."
#[test]
fn the_nat_bits_hold_what_holds() {
    let table = table(1024);
    let mut w = table.worker().unwrap();
    let mut v = judge(&mut w, 0, &[&udp(CLIENT, SERVER, 5000, 53)]);
    w.set_reply_tuple(&mut v[0], &tuple(protocol::UDP, SERVER, [192, 0, 2, 1], 53, 40000)).unwrap();
    // The host thinks again (a DNAT instead, or nothing).
    w.set_reply_tuple(&mut v[0], &tuple(protocol::UDP, SERVER, CLIENT, 53, 5000)).unwrap();
    assert_eq!(v[0].status, 0, "no translation holds");
}

#[test]
fn delta_time_of_an_unconfirmed_connection() {
    let mut c = config(1024);
    c.timestamp = true;
    let table = Table::new(c).unwrap();
    let mut w = table.worker().unwrap();
    let now = 1_000_000_000;
    let v = judge(&mut w, now, &[&udp(CLIENT, SERVER, 1, 1)]);
    let copy = w.section().get(v[0].conn).unwrap().copy(now).unwrap();
    assert!(matches!(copy.delta_time, None | Some(0)), "{copy}");
}

/// A flow of one way only for 25 days (syslog, a sensor), then answered: it becomes a stream with the packet after.
#[test]
fn a_udp_monologue_of_25_days() {
    let table = table(1024);
    let mut w = table.worker().unwrap();
    let (there, back) = (udp(CLIENT, SERVER, 514, 514), udp(SERVER, CLIENT, 514, 514));
    let mut now = 1000;
    while now < 25 * 86_400_000 {
        pass(&mut w, now, &there);
        now += 20_000;
    }
    assert_eq!(table.stats().insert, 1, "one connection all the time");
    pass(&mut w, now, &back);
    let v = pass(&mut w, now + 3000, &there);
    assert_eq!(v.state, CtState::Established);
    assert_ne!(v.status & status::ASSURED, 0, "answered, and older than two seconds");
}

/// Zones that differ by direction in one burst and one by one.
#[test]
fn a_burst_judges_zones_as_if_one_by_one() {
    let p = udp(CLIENT, SERVER, 1, 2);
    let packet = |zone_reply| {
        let mut packet = Packet::new(&p);
        (packet.zone_orig, packet.zone_reply) = (1, zone_reply);
        packet
    };
    let run = |bursts: &[&[Packet<'_>]]| {
        let table = table(1024);
        let mut w = table.worker().unwrap();
        let mut all = vec![];
        for burst in bursts {
            let mut v = vec![Verdict::default(); burst.len()];
            w.track(0, burst, &mut v);
            w.confirm(0, &mut v, u64::MAX);
            all.extend(v.iter().map(|v| (v.state, v.reason)));
        }
        all
    };
    let (a, b) = (packet(0), packet(2));
    assert_eq!(run(&[&[a], &[b]]), run(&[&[a, b]]));
}

/// FromStr "reads one" line of the kernel; these are from kernels 5 and 6.
#[test]
fn lines_of_the_kernel() {
    for line in [
        "ipv4     2 sctp     132 209 ESTABLISHED src=10.1.0.1 dst=10.2.0.1 sport=1000 dport=2000 src=10.2.0.1 dst=10.1.0.1 sport=2000 dport=1000 [ASSURED] mark=0 zone=0 use=2",
        "ipv4     2 tcp      6 431955 ESTABLISHED src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 [ASSURED] mark=0 secctx=system_u:object_r:unlabeled_t:s0 zone=0 use=2",
        "ipv4     2 tcp      6 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 [OFFLOAD] mark=0 zone=0 use=2",
        "ipv4     2 tcp      6 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 [HW_OFFLOAD] mark=0 zone=0 use=2",
    ] {
        let read = line.parse::<Connection>();
        assert!(read.is_ok(), "{line}");
    }
}

#[test]
fn an_error_message_carries_no_control_characters() {
    let error = "ipv4 2 udp 17 \u{1b}]0;owned\u{7}\u{1b}[2J".parse::<Connection>().unwrap_err().to_string();
    assert!(!error.chars().any(char::is_control), "{error:?}");
}

#[test]
fn time_at_its_ends() {
    for start in [
        0u64,
        1,
        u64::from(u32::MAX) - 1,
        u64::from(u32::MAX),
        1 << 32,
        (1 << 31) - 1,
        1 << 31,
        u64::MAX - 40_000,
        u64::MAX,
    ] {
        let mut c = config(1024);
        c.timestamp = true;
        let table = Table::new(c).unwrap();
        let mut w = table.worker().unwrap();
        let p = udp(CLIENT, SERVER, 1, 1);
        pass(&mut w, start, &p);
        assert_eq!(table.dump(start).next().unwrap().timeout_ms, 30_000);
        let later = start.wrapping_add(29_999);
        assert_eq!(w.reap(later, u32::MAX).expired, 0, "{start}");
        assert_eq!(table.dump(later).count(), 1);
        let end = start.wrapping_add(30_000);
        assert_eq!(table.dump(end).count(), 0);
        assert_eq!(w.reap(end, u32::MAX).expired, 1, "{start}");
        assert_eq!(table.count(), 0);
    }
}

#[test]
fn the_longest_timeout() {
    let day = 86_400_000u64;
    for start in [0u64, u64::from(u32::MAX) - day, (1 << 31) - day, 5 << 32] {
        let mut c = config(1024);
        c.tunables.udp_timeout = 1_728_000;
        c.tunables.icmp_timeout = 0;
        let table = Table::new(c).unwrap();
        let mut w = table.worker().unwrap();
        pass(&mut w, start, &udp(CLIENT, SERVER, 1, 1));
        // Swept twice a day.
        for half in 1..40 {
            assert_eq!(w.reap(start + half * day / 2, u32::MAX).expired, 0, "{start} {half}");
        }
        assert_eq!(w.reap(start + 20 * day - 1, u32::MAX).expired, 0);
        assert_eq!(w.reap(start + 20 * day, u32::MAX).expired, 1);
        let echo = ipv4(1, CLIENT, SERVER, &[8, 0, 0, 0, 0, 77, 0, 1]);
        for _ in 0..3 {
            assert_eq!(pass(&mut w, start, &echo).state, CtState::New);
        }
        w.reap(start, u32::MAX);
        assert_eq!((table.count(), table.stats().late_sweep), (0, 0));
    }
}

#[test]
fn misuse_of_confirm_is_harmless() {
    let table = table(1024);
    let mut w = table.worker().unwrap();
    let packets: Vec<_> = (0..64u32).map(|n| udp(host(n), SERVER, 1, 1)).collect();
    let refs: Vec<&[u8]> = packets.iter().map(|p| &p[..]).collect();
    let old = judge(&mut w, 0, &refs);
    let new = judge(&mut w, 0, &refs);
    assert_eq!(w.confirm(0, &mut old.clone(), u64::MAX), 0, "an older track's");
    let mut many = [new.clone(), new.clone(), old.clone()].concat();
    many.reverse();
    assert_eq!(w.confirm(0, &mut many[..], u64::MAX), 0, "the first 64 are old ones'");
    let mut twice: Vec<_> = new.iter().rev().flat_map(|v| [*v, *v]).collect();
    assert_eq!(w.confirm(0, &mut twice, u64::MAX), 32);
    assert_eq!(w.confirm(0, &mut new.clone(), u64::MAX), 32);
    // What callers may scribble.
    let mut v = judge(&mut w, 0, &[&udp(host(999), SERVER, 1, 1)]);
    let mut forged = v[0];
    forged.unconfirmed = false;
    forged.state = CtState::Drop;
    assert_eq!(w.confirm(0, &mut [forged], 1), 1);
    v[0].conn = conntab::Handle::from_u64(u64::MAX);
    assert_eq!(w.confirm(0, &mut v, 1), 0);
    assert_eq!(table.count(), 65);
    for n in [0, 1, u64::MAX, u64::MAX << 32, 5 << 32, 0xffff_ffff] {
        let h = conntab::Handle::from_u64(n);
        assert!(!w.delete(h) && !table.delete(h) && !w.set_mark(h, 1));
    }
    assert_eq!(v[0].reason, Reason::None);
}

/// As much as can be asked for sweeps the expectations, too.
#[test]
fn the_largest_budget() {
    let table = Table::new(Config { expect_max: 64, ..config(1024) }).unwrap();
    let mut w = table.worker().unwrap();
    let mut verdicts = judge(&mut w, 1000, &[&udp(CLIENT, SERVER, 1, 1)]);
    let to = addr(SERVER.into());
    let announce = Announce { protocol: protocol::UDP, from: None, to, port: 9, class: 0 };
    w.expect(1000, verdicts[0].conn, &announce.into(), 5, 1).unwrap();
    w.confirm(1000, &mut verdicts, 1);
    w.reap(5999, u32::MAX);
    assert_eq!(table.usage().expectations, 1);
    w.reap(6000, u32::MAX);
    assert_eq!(table.usage().expectations, 0);
}
