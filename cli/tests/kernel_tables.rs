//! The kernel's own tables: each capture in `captures/` was recorded while a kernel tracked its packets, and the tables
//! beside it are what the kernel showed at some moments. A replay up to that moment must show the same.
//!
//! Checksums are judged, as the kernel did: the captures were taken with every checksum complete, and some packets of
//! port scans carry wrong ones on purpose.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../captures")
}

fn replay(capture: &Path, args: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_conntab")).arg("replay").arg(capture).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Lines without the seconds left and without `use=`, each with its seconds.
fn lines(table: &str) -> Vec<(String, u32)> {
    let mut lines: Vec<_> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words: Vec<&str> =
                line.split_ascii_whitespace().filter(|word| !word.starts_with("use=")).collect();
            let seconds = words.remove(4).parse().unwrap();
            (words.join(" "), seconds)
        })
        .collect();
    lines.sort_unstable();
    lines
}

/// What differs between the kernel's table and ours, in lines to read.
fn differences(kernel: &str, ours: &str) -> Vec<String> {
    let (kernel, ours) = (lines(kernel), lines(ours));
    let mut differences = Vec::new();
    let (mut k, mut o) = (kernel.iter().peekable(), ours.iter().peekable());
    loop {
        match (k.peek(), o.peek()) {
            (None, None) => return differences,
            (Some(a), Some(b)) if a.0 == b.0 => {
                // The clock may have turned between the packet and its record, and between two reads of the table.
                if a.1.abs_diff(b.1) > 1 {
                    differences.push(format!("kernel: {} s left, ours: {} s: {}", a.1, b.1, a.0));
                }
                k.next();
                o.next();
            }
            (Some(a), b) if b.is_none_or(|b| a.0 < b.0) => {
                differences.push(format!("kernel only: {}", a.0));
                k.next();
            }
            (_, Some(b)) => {
                differences.push(format!("ours only:   {}", b.0));
                o.next();
            }
            (Some(_), None) => unreachable!("the arm before last takes it"),
        }
    }
}

/// Every capture with its tables, `NAME.1.table` and on.
fn recorded() -> Vec<(PathBuf, Vec<PathBuf>)> {
    let mut captures: Vec<PathBuf> = std::fs::read_dir(captures())
        .unwrap_or_else(|e| panic!("{}: {e}", captures().display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "pcap" || e == "pcapng"))
        .collect();
    assert!(!captures.is_empty(), "no captures to compare with");
    captures.sort();
    let tables = |capture: &PathBuf| -> Vec<PathBuf> {
        (1..).map(|n| capture.with_extension(format!("{n}.table"))).take_while(|path| path.exists()).collect()
    };
    captures.into_iter().map(|capture| (capture.clone(), tables(&capture))).collect()
}

#[test]
fn tables_equal_the_kernels() {
    let mut differing = Vec::new();
    for (capture, tables) in recorded() {
        assert!(!tables.is_empty(), "{} has no table", capture.display());
        for path in tables {
            let kernel = std::fs::read_to_string(&path).unwrap();
            let at = kernel.strip_prefix("# at=").and_then(|rest| rest.split_ascii_whitespace().next());
            let at = at.unwrap_or_else(|| panic!("{} does not begin with '# at=TIME'", path.display()));
            let ours = replay(&capture, &["--at", at, "--checksum", "--quiet"]);
            differing.extend(
                differences(&kernel, &ours).into_iter().map(|line| format!("{}: {line}", path.display())),
            );
        }
    }
    assert!(differing.is_empty(), "{} differences:\n{}", differing.len(), differing.join("\n"));
}

/// `NAME.states`: how many packets the kernel's rules saw in each state.
#[test]
fn verdicts_add_up_to_the_kernels() {
    for (capture, _) in recorded() {
        let Ok(states) = std::fs::read_to_string(capture.with_extension("states")) else { continue };
        let kernel: BTreeMap<&str, u64> = states
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(s, n)| (s, n.parse().unwrap()))
            .collect();
        let json = replay(&capture, &["-o", "json", "--checksum", "--quiet", "--verdicts"]);
        let table = &json[json.find("{\"connections\"").unwrap()..];
        let object: serde_json::Value = serde_json::from_str(table).unwrap();
        let ours: BTreeMap<&str, u64> = object["summary"]["verdicts"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(state, n)| (state.as_str(), n.as_u64().unwrap()))
            .filter(|(state, n)| *n > 0 || kernel.contains_key(state))
            .collect();
        assert_eq!(ours, kernel, "{}", capture.display());
    }
}
