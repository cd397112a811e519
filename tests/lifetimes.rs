//! What outlives what; sizes at their extremes.

mod common;

use std::thread;

use common::*;

fn is_send<T: Send>() {}

#[test]
fn a_dump_and_a_worker_outlive_their_table() {
    is_send::<conntab::Worker>();
    is_send::<conntab::Dump>();
    let table = table(1024);
    let mut w = table.worker().unwrap();
    for n in 0..500 {
        pass(&mut w, 0, &udp(host(n), SERVER, 1, 1));
    }
    let mut dump = table.dump(0);
    assert!(dump.next().is_some());
    let mut held = judge(&mut w, 0, &[&udp(CLIENT, SERVER, 9, 9)]);
    drop(table);
    // The worker goes to another thread in the middle of its burst.
    let conn = thread::spawn(move || {
        assert_eq!(w.confirm(0, &mut held, 1), 1);
        assert!(w.section().get(held[0].conn).is_some());
        let late = judge(&mut w, 0, &[&udp(CLIENT, SERVER, 10, 10)]);
        drop(w); // in the middle of a burst
        late[0].conn
    })
    .join()
    .unwrap();
    assert!(!conn.is_none());
    let rest = thread::spawn(move || dump.count()).join().unwrap();
    assert_eq!(rest, 500);
}

#[test]
fn memory_of_extremes() {
    use conntab::Config;
    for (max, hashsize, workers, user_data) in [
        (64, 0, 1, 0),
        (1 << 28, 0, 1024, 64),
        (1 << 28, 1 << 28, 1024, 64),
        (u32::MAX, 0, 1, 0),
        (64, 1 << 31, 1, 0),
        (64, 3, 1, 0),
        (64, 0, 0, 0),
        (64, 0, 1, u32::MAX),
        (0, 0, 1, 0),
    ] {
        let c = Config {
            max,
            hashsize,
            workers,
            user_data,
            acct: true,
            timestamp: true,
            nat6: true,
            ..Config::default()
        };
        assert_eq!(c.memory().is_ok(), c.check().is_ok());
    }
}
