//! `conntab-kernel`: conntab beside the running kernel's connection tracker. Scenarios (`docs/scenarios.md`) are played
//! into both, packet by packet, and all that can be seen is compared in the same run; what differs is shrunk to the
//! shortest scenario that still does. `ci/kernel.sh` runs it.
//!
//! `source` gives scenarios, `capture` makes them of captures, `rig` is a router made of the kernel (`network`: where it
//! stands), `record` plays a scenario into it, `bench` compares, `shrink` shortens, `summary` counts. Everything happens in
//! network namespaces of its own.

#[cfg(target_os = "linux")]
mod args;
#[cfg(target_os = "linux")]
mod bench;
#[cfg(target_os = "linux")]
mod capture;
#[cfg(target_os = "linux")]
mod conntrack;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod network;
#[cfg(target_os = "linux")]
mod record;
#[cfg(target_os = "linux")]
mod rig;
#[cfg(target_os = "linux")]
mod run;
#[cfg(target_os = "linux")]
mod shrink;
#[cfg(target_os = "linux")]
mod source;
#[cfg(target_os = "linux")]
mod summary;
#[cfg(target_os = "linux")]
mod tap;
#[cfg(target_os = "linux")]
mod traces;
#[cfg(target_os = "linux")]
mod wire;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    run::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("0 passed, 0 failed, skipped: this is not Linux");
}
