//! `docs/conformance.md` says what these tests find. `CONNTAB_WRITE_DOCS=1 cargo test -p conntab-cli --test trace` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::scenarios::{Exceptions, of, root};
use crate::{FOLDERS, ORIGINS};

const HEAD: &str = "\
# Conformance

What a live Linux kernel decided, packet by packet, and what conntab decides: `conntab trace` plays every recorded scenario
([scenarios.md](scenarios.md) is the format), and all that was seen is compared after every step: state and direction, the bytes of what came out of either
side, local delivery, the reason, every line of the table (counters, status bits, window scales and flags, marks, zones, seconds), every event.
Each scenario is played twice, the second time with the table's clock about to wrap.

`tests/corpus` was recorded by topic of the tracker, `tests/recorded` adds the router around it and what its rules do.
";

const LIVE: &str = "
## Beside the running kernel

`ci/kernel.sh` (root) plays packets into the kernel it runs on and into conntab, in one run, and compares all that is compared above after each packet:
random packets by area and seed (`tests/kernel/scenarios.py`; the same seed, the same packets), the scenarios of `tests/corpus` and `tests/recorded` once more
(`--scripted`), or a capture (`--pcap FILE`). What differs is recorded twice more, each time in a router of its own, before it counts; then it is shrunk to
the shortest scenario that still differs and written below `target/kernel`, for `conntab trace`. `ci/test.sh` runs the scripted ones, 20,000 random packets with
a fixed seed and 20,000 with a fresh one.

A capture is played flow by flow: who sends first is on side 0, addresses become those of the router's sides (also in what ICMP errors quote), silences are
shortened to a second (`--real-time`: not). Checksums stay as right or wrong as they were; those left to a network card are completed, as are packets that
were not captured whole; segments longer than the router takes are cut; a packet at its last hop gets one more. What was done is told.

The longest run so far:

";

const TAIL: &str = "
## Random recordings

On 2026-11-22 random scenarios of `tests/kernel/scenarios.py` (seeds 1 to 11, while it grew; SCTP: 21 and 22) and `tests/kernel/helpers.py` (seeds 2 and 3) were recorded on a live kernel,
6.18.44, and played by `conntab trace`. They are too many to keep; some are in `tests/recorded` (`random-*`). Equal: in all that is compared above.

| area | scenarios | packets | differing |
|---|---|---|---|
| tcp | 14922 | 302875 | 0 |
| udp | 540 | 8237 | 0 |
| udplite | 452 | 5225 | 0 |
| icmp | 1873 | 25770 | 0 |
| icmpv6 | 1871 | 25233 | 0 |
| expiry | 681 | 6762 | 0 |
| other | 3023 | 26992 | 0, and 178 not played |
| policy | 4152 | 46768 | 85 |
| sctp | 1300 | 27692 | 0 |
| helper | 2000 | 82594 | 0 |
| **all** | 30814 | 558148 | 85 |

Not played: IPv4 options of which a router writes its clock (118), its own answers along a recorded route (33), CIPSO (27). Of the 85, 81 had SCTP packets, which
were tracked by their ports alone at that time (of seed 31, recorded since, none of 250 differs), and in 4 the kernel draws a source port, as NAT chains exist and the tuple is taken. Ten more differed at first, where
the recorder had lost a packet under load or read a line twice; recorded again they are equal.

## Tolerated

- one second more or less left (packets take no time here)
- the step in which a DESTROY is seen: the kernel finds out lazily that a connection has expired
- the IPv4 identification and the IPv6 flow label of packets that the router makes itself: drawn, or hashed with a secret of the machine

## Not covered

- a full table and early drop: the kernel's setting is global
- races of several processors
- what the router would do with IPv4's timestamp and CIPSO options: not played
- what a router answers to, and how it cuts up again, what has a second IPv6 fragment header behind the first (random fragments have none since; by hand they do); an IPv6 authentication header in front of a fragment header
- labels, synproxy, flow offload
- one zone given to both directions by one rule and to the original direction alone by another: the kernel then keeps two connections
  that differ in nothing but that, here the second clashes with the first (random scenarios use other zones)
";

fn page() -> String {
    let exceptions = Exceptions::read();
    let mut page = String::from(HEAD);
    let mut kernels = BTreeSet::new();
    for folder in FOLDERS {
        let mut areas: BTreeMap<String, [usize; 4]> = BTreeMap::new();
        for scenario in of(folder) {
            kernels.insert(scenario.field("kernel").to_owned());
            let excepted = exceptions.has(&scenario);
            let equal = ORIGINS.into_iter().all(|origin| scenario.differs(origin).is_none());
            let area = areas.entry(scenario.field("area").to_owned()).or_default();
            area[0] += 1;
            area[1] += scenario.packets();
            area[2] += usize::from(equal);
            area[3] += usize::from(excepted);
        }
        write!(
            page,
            "\n## {folder}\n\n| area | scenarios | packets | equal | excepted |\n|---|---|---|---|---|\n"
        )
        .expect("a string");
        let total = areas.values().fold([0; 4], |sum, area| std::array::from_fn(|i| sum[i] + area[i]));
        for (name, [scenarios, packets, equal, excepted]) in &areas {
            writeln!(page, "| {name} | {scenarios} | {packets} | {equal} | {excepted} |").expect("a string");
        }
        let [scenarios, packets, equal, excepted] = total;
        writeln!(page, "| **all** | {scenarios} | {packets} | {equal} | {excepted} |").expect("a string");
    }
    let kernels: Vec<_> = kernels.into_iter().collect();
    write!(page, "\nKernel: {}.\n\n## Excepted\n\n", kernels.join(", ")).expect("a string");
    for (area, reason) in &exceptions.areas {
        writeln!(page, "- area {area}: {reason}").expect("a string");
    }
    for (name, reason) in &exceptions.scenarios {
        writeln!(page, "- {name}: {reason}").expect("a string");
    }
    page.push_str(LIVE);
    let long = std::fs::read_to_string(root().join("tests/kernel/long-run.md")).expect("the long run");
    page.push_str(&long);
    page.push_str(TAIL);
    page
}

#[test]
fn the_page_is_current() {
    let (file, page) = (root().join("docs/conformance.md"), page());
    if std::env::var_os("CONNTAB_WRITE_DOCS").is_some() {
        std::fs::write(&file, &page).expect("docs/conformance.md");
    }
    assert!(
        std::fs::read_to_string(&file).is_ok_and(|there| there == page),
        "docs/conformance.md is out of date: CONNTAB_WRITE_DOCS=1 cargo test -p conntab-cli --test trace"
    );
}
