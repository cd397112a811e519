//! What a host decides for single connections: timeout policies, null NAT bindings, timestamps.

mod common;

use common::{ACK, CLIENT, SERVER, SYN, SYN_ACK, config, ipv4, judge, pass, tcp, udp};
use conntab::conn::status;
use conntab::connection::Tracked;
use conntab::timeout::Tunables;
use conntab::{Config, PolicyError, Table};

const C: ([u8; 4], u16) = (CLIENT, 1000);
const S: ([u8; 4], u16) = (SERVER, 80);

fn with_policies() -> Table {
    let table = Table::new(Config { timeout_policies: 3, ..config(1024) }).expect("a table");
    let short = Tunables {
        tcp_timeout_syn_sent: 5,
        tcp_timeout_established: 50,
        udp_timeout: 2,
        udp_timeout_stream: 9,
        gre_timeout: 3,
        gre_timeout_stream: 4,
        generic_timeout: 7,
        ..table.tunables()
    };
    table.set_timeout_policy(2, &short).expect("a policy");
    table
}

/// Seconds left of the only connection.
fn left(table: &Table, now: u64) -> u32 {
    let mut all = table.dump(now);
    let seconds = all.next().expect("a connection").timeout_ms / 1000;
    assert!(all.next().is_none());
    seconds
}

#[test]
fn a_policy_replaces_timeouts_from_the_first_packet_on() {
    let table = with_policies();
    let mut worker = table.worker().expect("a worker");
    let mut verdicts = judge(&mut worker, 0, &[&tcp(C, S, SYN, 100, 0, 0)]);
    worker.set_timeout_policy(&verdicts[0], 2).expect("attached");
    worker.confirm(0, &mut verdicts, 1);
    assert_eq!(left(&table, 0), 5);
    pass(&mut worker, 0, &tcp(S, C, SYN_ACK, 500, 101, 0));
    assert_eq!(left(&table, 0), 60, "as it was when the policy was made");
    table.set("tcp_timeout_established", 77).expect("a tunable");
    pass(&mut worker, 0, &tcp(C, S, ACK, 101, 501, 0));
    assert_eq!(left(&table, 0), 50);
    // The switches are not the policy's: this is out of any window.
    let far = tcp(C, S, ACK, 0x4000_0000, 501, 0);
    assert_eq!(pass(&mut worker, 0, &far).state, conntab::CtState::Invalid);
    table.set("tcp_be_liberal", 1).expect("a tunable");
    assert_eq!(pass(&mut worker, 0, &far).state, conntab::CtState::Established);
}

#[test]
fn a_policy_that_changes_changes_its_connections() {
    let table = with_policies();
    let mut worker = table.worker().expect("a worker");
    let there = udp(CLIENT, SERVER, 1, 2);
    let mut verdicts = judge(&mut worker, 0, &[&there]);
    worker.set_timeout_policy(&verdicts[0], 2).expect("attached");
    worker.confirm(0, &mut verdicts, 1);
    assert_eq!(left(&table, 0), 2);
    pass(&mut worker, 0, &udp(SERVER, CLIENT, 2, 1));
    assert_eq!(left(&table, 0), 2);
    table.set_timeout_policy(2, &Tunables { udp_timeout: 11, ..Tunables::default() }).expect("a policy");
    pass(&mut worker, 0, &there);
    assert_eq!(left(&table, 0), 11);
}

#[test]
fn gre_and_protocols_without_tracker_have_policies_too() {
    for (protocol, bytes, expected) in [(47, &[0, 0, 8, 0][..], [3, 4]), (253, &[0; 4], [7, 7])] {
        let table = with_policies();
        let mut worker = table.worker().expect("a worker");
        let there = ipv4(protocol, CLIENT, SERVER, bytes);
        let mut verdicts = judge(&mut worker, 0, &[&there]);
        worker.set_timeout_policy(&verdicts[0], 2).expect("attached");
        worker.confirm(0, &mut verdicts, 1);
        assert_eq!(left(&table, 0), expected[0]);
        pass(&mut worker, 0, &ipv4(protocol, SERVER, CLIENT, bytes));
        pass(&mut worker, 0, &there);
        assert_eq!(left(&table, 0), expected[1]);
        if protocol == 47 {
            assert_eq!(table.dump(0).next().expect("it").tracked, Tracked::Gre(3, 4));
        }
    }
}

#[test]
fn what_cannot_be_attached_is_refused() {
    let table = with_policies();
    let mut worker = table.worker().expect("a worker");
    assert!(table.set_timeout_policy(0, &Tunables::default()).is_err());
    let error = table.set_timeout_policy(4, &Tunables::default()).expect_err("there are three");
    assert!(error.to_string().contains("from 1 to 3"), "{error}");
    let long = Tunables { udp_timeout: u32::MAX, ..Tunables::default() };
    assert!(table.set_timeout_policy(1, &long).expect_err("too long").to_string().contains("udp_timeout"));

    let there = udp(CLIENT, SERVER, 1, 2);
    let mut verdicts = judge(&mut worker, 0, &[&there]);
    for number in [0, 1, 3, 255] {
        assert_eq!(worker.set_timeout_policy(&verdicts[0], number), Err(PolicyError::Unknown(number)));
    }
    // A policy made in the middle of a burst can be attached in it.
    table.set_timeout_policy(3, &Tunables { udp_timeout: 20, ..Tunables::default() }).expect("a policy");
    worker.set_timeout_policy(&verdicts[0], 3).expect("attached");
    worker.confirm(0, &mut verdicts, 1);
    assert_eq!(left(&table, 0), 20);
    assert_eq!(worker.set_timeout_policy(&verdicts[0], 3), Err(PolicyError::NotUnconfirmed));
    let mut other = table.worker().expect("another");
    let verdicts = judge(&mut worker, 0, &[&udp(CLIENT, SERVER, 3, 2)]);
    assert_eq!(other.set_timeout_policy(&verdicts[0], 3), Err(PolicyError::NotUnconfirmed));
    assert!(Table::new(Config { timeout_policies: 256, ..config(64) }).is_err());
}

#[test]
fn nat_hooks_bind_what_is_confirmed_from_then_on() {
    let table = Table::new(config(64)).expect("a table");
    let mut worker = table.worker().expect("a worker");
    let done = status::SRC_NAT_DONE | status::DST_NAT_DONE;
    assert_eq!(pass(&mut worker, 0, &udp(CLIENT, SERVER, 1, 2)).status & done, 0);
    table.set("nat_hooks", 1).expect("a tunable");
    let mut verdicts = judge(&mut worker, 0, &[&udp(CLIENT, SERVER, 3, 2)]);
    assert_eq!(verdicts[0].status & done, 0, "not before it leaves");
    worker.confirm(0, &mut verdicts, 1);
    assert_eq!(verdicts[0].status, status::CONFIRMED | done);
    assert_eq!(pass(&mut worker, 0, &udp(CLIENT, SERVER, 1, 2)).status & done, 0, "it was confirmed before");
    let mut all: Vec<u16> = table.dump(0).map(|c| c.status).collect();
    all.sort_unstable();
    assert_eq!(all, [0x8, 0x188]);
}

#[test]
fn a_connection_that_the_host_resets() {
    let table = Table::new(Config { events: 16, ..config(64) }).expect("a table");
    let mut worker = table.worker().expect("a worker");
    let syn = judge(&mut worker, 0, &[&tcp(C, S, SYN, 100, 0, 0)]);
    assert!(!worker.set_closing(0, syn[0].conn), "not before it is confirmed");
    pass(&mut worker, 0, &tcp(C, S, SYN, 100, 0, 0));
    pass(&mut worker, 0, &tcp(S, C, SYN_ACK, 500, 101, 0));
    let conn = pass(&mut worker, 0, &tcp(C, S, ACK, 101, 501, 0)).conn;
    table.events().for_each(drop);
    assert!(worker.set_closing(0, conn));
    let shown = table.dump(0).next().expect("it");
    assert!(matches!(shown.tracked, Tracked::Tcp(conntab::proto::tcp::State::Close, Some(_))), "{shown:?}");
    assert_eq!((shown.timeout_ms, shown.counters.expect("counted")[0].packets), (10_000, 2));
    let [told] = &table.events().collect::<Vec<_>>()[..] else { panic!("one event") };
    assert_eq!((told.changes, told.connection.status), (conntab::event::change::PROTOINFO, 0xe));
    assert!(worker.set_closing(5000, conn), "again: no change");
    assert_eq!((table.events().count(), left(&table, 5000)), (0, 5));
    let udp = pass(&mut worker, 5000, &udp(CLIENT, SERVER, 1, 2)).conn;
    assert!(!worker.set_closing(5000, udp) && worker.delete(conn) && !worker.set_closing(5000, conn));
}

#[test]
fn timestamps_on_and_off() {
    let table = Table::new(Config { timestamp: true, ..config(64) }).expect("a table");
    let mut worker = table.worker().expect("a worker");
    pass(&mut worker, 1000, &udp(CLIENT, SERVER, 1, 2));
    table.set("timestamp", 0).expect("a tunable");
    pass(&mut worker, 1000, &udp(CLIENT, SERVER, 3, 2));
    let mut ages: Vec<_> = table.dump(6500).map(|c| (c.original.sport, c.delta_time)).collect();
    ages.sort_unstable();
    assert_eq!(ages, [(1, Some(5)), (3, None)]);
}
