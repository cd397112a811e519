//! A capture of any length needs no more memory than the table.
#![cfg(target_os = "linux")]

mod common;

use std::io::Write;
use std::process::{Command, Stdio};

use common::*;

/// Peak resident memory, in kB, of a replay that is fed this many packets of the same hundred flows through a pipe.
fn peak(packets: u32) -> u64 {
    let order = Order::Little;
    let mut child = Command::new(env!("CARGO_BIN_EXE_conntab"))
        .args(["replay", "-", "--max", "1024"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let mut chunk = pcap_header(order, MICRO, 101);
    for n in 0..packets {
        let mut packet = udp(([192, 0, 2, 1], (n % 100) as u16), ([203, 0, 113, 9], 53));
        // Trailing bytes, as padding is: the file grows, the flows do not.
        packet.resize(1400, 0);
        pcap_record(&mut chunk, order, n / 1000, 0, &packet);
        if chunk.len() > 1 << 20 {
            pipe.write_all(&chunk).unwrap();
            chunk.clear();
        }
    }
    pipe.write_all(&chunk).unwrap();
    // All but what a pipe holds has been played by now, and the child waits for more.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    drop(pipe);
    assert!(child.wait().unwrap().success());
    peak
}

#[test]
fn memory_does_not_grow_with_the_capture() {
    let (short, long) = (peak(2_000), peak(60_000));
    assert!(long <= short + 2048, "{short} kB for 3 MB of capture, {long} kB for 84 MB");
}
