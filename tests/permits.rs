//! Permits, `max`, the count: no worker starves another, and none is lost.

mod common;

use common::*;
use conntab::{Config, CtState, Reason, Table};

fn small(max: u32, workers: u32) -> Table {
    let mut c = config(max);
    c.workers = workers;
    Table::new(c).unwrap()
}

/// One connection in a table of 64; a second worker must be able to open one.
#[test]
fn permits_kept_by_an_idle_worker_starve_another() {
    let table = small(64, 2);
    let (mut a, mut b) = (table.worker().unwrap(), table.worker().unwrap());
    assert_eq!(pass(&mut a, 0, &udp(CLIENT, SERVER, 1, 1)).state, CtState::New);
    a.idle();
    a.reap(0, 100_000);
    for n in 0..32 {
        b.reap(n, 100_000);
        let v = pass(&mut b, n, &udp(host(n as u32), SERVER, 2, 2));
        assert_eq!((v.state, v.reason), (CtState::New, Reason::None), "try {n}, count {}", table.count());
    }
}

/// A dedicated reaper worker takes all permits of the tracking one: empty table, everything refused, for ever.
#[test]
fn a_reaper_of_its_own_starves_the_tracker() {
    let table = small(64, 2);
    let (mut a, mut reaper) = (table.worker().unwrap(), table.worker().unwrap());
    for n in 0..64 {
        assert_eq!(pass(&mut a, 0, &udp(host(n), SERVER, 2, 2)).state, CtState::New);
    }
    assert_eq!(reaper.reap(1_000_000, u32::MAX).expired, 64);
    assert_eq!(table.count(), 0);
    a.idle();
    let refused = (0..32u32)
        .filter(|n| {
            pass(&mut a, 1_000_000 + u64::from(*n), &udp(host(1000 + n), SERVER, 2, 2)).reason
                == Reason::TableFull
        })
        .count();
    assert_eq!(refused, 0, "of 32 new flows, with {} connections in a table of 64", table.count());
}

/// 16 workers (the default) and max = 960: the sixteenth gets no permit, and opens its connections by evicting the other
/// workers', or not at all, though 945 of 960 places are free.
#[test]
fn a_nearly_empty_table_evicts_and_refuses() {
    let table = Table::new(config(960)).unwrap();
    let mut workers: Vec<_> = (0..16).map(|_| table.worker().unwrap()).collect();
    let mut refused = 0;
    for round in 0..4u32 {
        for (n, w) in workers.iter_mut().enumerate() {
            let v = pass(w, 0, &udp(host(round * 16 + n as u32), SERVER, 2, 2));
            refused += u32::from(v.state == CtState::Drop);
            w.idle();
        }
    }
    let evicted = table.stats().early_drop;
    assert_eq!((refused, evicted), (0, 0), "of 64 connections in a table of 960, {} are left", table.count());
}

/// "Connections there are at this moment".
#[test]
fn the_count_after_a_delete() {
    let table = small(1024, 2);
    let mut w = table.worker().unwrap();
    let v = pass(&mut w, 0, &udp(CLIENT, SERVER, 1, 1));
    assert_eq!(table.count(), 1);
    assert!(w.delete(v.conn));
    assert_eq!(table.dump(0).count(), 0);
    assert_eq!(table.count(), 0, "nothing is in the table");
}

/// A full table of which one connection near the place has expired and is ASSURED: it should go before a live one.
#[test]
fn early_drop_prefers_the_dead() {
    let mut c = Config { max: 64, hash_key: Some([1, 2, 3, 4]), workers: 1, ..config(64) };
    c.tunables.tcp_timeout_established = 100;
    let table = Table::new(c).unwrap();
    let mut w = table.worker().unwrap();
    // 64 established, ASSURED connections, which all expire.
    for n in 0..64u16 {
        let (a, b) = ((host(n.into()), 1000), (SERVER, 80));
        pass(&mut w, 0, &tcp(a, b, SYN, 100, 0, 0));
        pass(&mut w, 0, &tcp(b, a, SYN_ACK, 500, 101, 0));
        pass(&mut w, 0, &tcp(a, b, ACK, 101, 501, 0));
    }
    assert!(table.dump(0).all(|c| c.status & conntab::conn::status::ASSURED != 0));
    let now = 200_000;
    assert_eq!(table.dump(now).count(), 0, "all have expired");
    let refused = (0..200u32)
        .filter(|n| pass(&mut w, now, &udp(host(1000 + n), SERVER, 2, 2)).state == CtState::Drop)
        .count();
    // (Some places have nothing at all within eight buckets.)
    assert!(refused < 20, "{refused} of 200 new flows in a table of nothing but expired connections");
}

/// `drop`: "Packets dropped because the table was full or a connection could not be confirmed."
#[test]
fn drop_counts_packets() {
    let table = small(1024, 2);
    let (mut a, mut b) = (table.worker().unwrap(), table.worker().unwrap());
    let syn = tcp((CLIENT, 1000), (SERVER, 80), SYN, 100, 0, 0);
    let mut first = judge(&mut a, 0, &[&syn]);
    let mut second = judge(&mut b, 0, &[&syn, &syn, &syn]);
    a.confirm(0, &mut first, 1);
    b.confirm(0, &mut second, 7);
    let dropped = second.iter().filter(|v| v.state == CtState::Drop).count();
    assert_eq!(dropped, 3);
    assert_eq!(table.stats().drop, 3, "packets dropped");
}

/// Accounting of permits over every path, one worker: whatever happens, at the end nothing is kept or lost.
#[test]
fn no_permit_is_lost() {
    let table = small(200, 3);
    let mut rng = 12345u32;
    let mut next = move |n: u32| {
        rng ^= rng << 13;
        rng ^= rng >> 17;
        rng ^= rng << 5;
        rng % n
    };
    let mut now = u64::from(u32::MAX) - 50_000;
    for _ in 0..300 {
        let mut ws = [table.worker().unwrap(), table.worker().unwrap(), table.worker().unwrap()];
        for _ in 0..20 {
            let mut held: Vec<Vec<conntab::Verdict>> = Vec::new();
            for w in &mut ws {
                let packets: Vec<Vec<u8>> = (0..1 + next(64))
                    .map(|_| {
                        let (h, p) = (host(next(60)), next(3) as u16 + 1);
                        match next(8) {
                            0 => udp(SERVER, h, 53, p),
                            1 => tcp((h, p), (SERVER, 80), SYN, 1, 0, 0),
                            2 => tcp((h, p), (SERVER, 80), RST, 2, 0, 0),
                            3 => tcp((h, p), (SERVER, 80), ACK, next(5), next(5), 3),
                            4 => tcp((SERVER, 80), (h, p), SYN_ACK, 500, 2, 0),
                            5 => unreachable(SERVER, &udp(h, SERVER, p, 53)),
                            _ => udp(h, SERVER, p, 53),
                        }
                    })
                    .collect();
                let refs: Vec<&[u8]> = packets.iter().map(|p| &p[..]).collect();
                held.push(judge(w, now, &refs));
                assert!(table.count() <= 200);
            }
            for (w, v) in ws.iter_mut().zip(&mut held) {
                let keep = u64::from(next(u32::MAX)) << 32 | u64::from(next(u32::MAX));
                if next(5) != 0 {
                    w.confirm(now, v, keep);
                }
                if next(3) == 0 {
                    w.confirm(now, v, !keep);
                }
                if let Some(v) = v.first() {
                    match next(6) {
                        0 => drop(w.delete(v.conn)),
                        1 => drop(table.delete(v.conn)),
                        2 => drop(w.reap(now, 2048)),
                        3 => w.idle(),
                        _ => {}
                    }
                }
            }
            now += u64::from(next(8000));
        }
    }
    // All workers are gone: nothing is kept; the count is the number of connections in the table.
    let mut w = table.worker().unwrap();
    let live = table.count();
    assert_eq!(table.flush(), live);
    assert_eq!(table.count(), 0);
    w.reap(now, 0);
    w.reap(now, 0);
    let s = table.stats();
    assert_eq!(s.insert, s.expired + s.deleted + s.early_drop, "{s:?}");
    drop(w);
    let u = table.usage();
    assert_eq!((u.free, u.waiting, u.lost, u.bounds), (u.entries, 0, 0, 0), "{u:?}");
}
