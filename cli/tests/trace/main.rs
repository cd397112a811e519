//! `conntab trace` against what live kernels decided (`tests/corpus`, `tests/recorded`): every packet that came out, every
//! line of the table, every event. And what it says to files that are no scenarios.

mod bad;
mod command;
mod conformance;
mod mutated;
mod scenarios;

use scenarios::{Exceptions, of};

const FOLDERS: [&str; 2] = ["tests/corpus", "tests/recorded"];

/// An ordinary time, and one just before the table's 32-bit ticks wrap.
const ORIGINS: [u64; 2] = [1_000_000, (1 << 32) - 700];

#[test]
fn every_scenario_ends_as_in_the_kernel() {
    let exceptions = Exceptions::read();
    let mut failures = Vec::new();
    let mut compared = 0;
    for scenario in FOLDERS.into_iter().flat_map(of) {
        let excepted = exceptions.has(&scenario);
        let difference = ORIGINS.into_iter().find_map(|origin| {
            scenario.differs(origin).map(|difference| format!("(clock from {origin}) {difference}"))
        });
        match difference {
            None if excepted => failures.push(format!("{}: is excepted, but equal", scenario.name)),
            Some(difference) if !excepted => failures.push(format!("{}: {difference}", scenario.name)),
            None => compared += 1,
            Some(_) => {}
        }
    }
    assert!(failures.is_empty(), "{} scenarios\n{}", failures.len(), failures.join("\n"));
    assert!(compared > 270, "only {compared} were compared");
}

/// A list that names what is not there proves nothing.
#[test]
fn every_exception_is_about_something() {
    let exceptions = Exceptions::read();
    let all: Vec<_> = FOLDERS.into_iter().flat_map(of).collect();
    for area in exceptions.areas.keys() {
        assert!(all.iter().any(|scenario| scenario.field("area") == area), "area {area}");
    }
    for name in exceptions.scenarios.keys() {
        assert!(all.iter().any(|scenario| scenario.name == *name), "{name}");
    }
}
