//! Every measurement runs, on tables so small that the figures say nothing, and the report fits its files.

use std::path::{Path, PathBuf};
use std::process::Command;

fn run(args: &[&str]) -> (bool, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_conntab-measure")).args(args).output().expect("the program");
    let text = String::from_utf8(output.stdout).expect("text") + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

/// The rows of a measurement, under this head.
fn rows(args: &str, head: &str) -> Vec<Vec<String>> {
    let (well, text) = run(&args.split_whitespace().collect::<Vec<_>>());
    assert!(well, "{args}: {text}");
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some(head), "{text}");
    let rows: Vec<Vec<String>> = lines.map(|line| line.split(',').map(str::to_owned).collect()).collect();
    assert!(rows.iter().all(|row| row.len() == head.split(',').count()), "{text}");
    rows
}

/// The different values of a column.
fn column(rows: &[Vec<String>], at: usize) -> Vec<&str> {
    let mut values: Vec<&str> = rows.iter().map(|row| &*row[at]).collect();
    values.dedup();
    values
}

#[test]
fn latency() {
    let head = "load,case,p50,p99,p99.9,p99.99,max,pauses_over_1ms,bursts,unit";
    let rows = rows("latency --flows 4k --slices 2 --ms 2 --rounds 1", head);
    let loads = ["steady", "growth", "sweep", "reaping", "dump", "flood", "flood-inside"];
    assert_eq!(column(&rows, 0), loads);
    for row in &rows {
        let [p50, max, bursts] = [2, 6, 8].map(|at| row[at].parse::<u64>().expect("a number"));
        assert!(p50 > 0 && p50 <= max && bursts > 0, "{row:?}");
    }
}

#[test]
fn scale() {
    let rows = rows(
        "scale --flows 2k,5k --turnovers 1 --samples 2 --chunks 1",
        "flows,threads,sharing,workload,min,median,max,unit",
    );
    assert_eq!(column(&rows, 0), ["2000", "5000"]);
    assert_eq!(rows.len(), 2 * (3 + 2 + 3));
}

#[test]
fn reap() {
    let rows = rows("reap --flows 20k --samples 1", "scheme,flows,figure,min,median,max,unit");
    let of = |scheme: &str, figure: &str| {
        let row = rows.iter().find(|row| row[0] == scheme && row[2] == figure);
        row.map(|row| row[4].parse::<f64>().expect("a number"))
    };
    for scheme in ["hints", "sweep", "wheel"] {
        assert!(of(scheme, "sweep") > Some(0.0) && of(scheme, "core_10s").is_some());
    }
    assert!(of("hints", "expire") > Some(0.0));
    assert_eq!((of("hints", "memory"), of("wheel", "memory")), (Some(4.0), Some(8.0)));
}

#[test]
fn flood() {
    let rows = rows(
        "flood --max 8k --assured 50,100 --samples 1 --chunks 2",
        "connections,assured_percent,workload,min,median,max,unit",
    );
    let of = |percent: &str, workload: &str| {
        rows.iter().find(|row| row[1] == percent && row[2] == workload).map(|row| &*row[4])
    };
    assert_eq!([of("50", "served"), of("100", "served")], [Some("100"); 2]);
    assert_eq!([of("50", "entered"), of("100", "entered")], [Some("100"), Some("0")]);
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// docs/performance.md and its plots are those of the CSV files beside it.
#[test]
fn the_report_is_that_of_the_figures() {
    let (well, text) = run(&["report", "--check", "--docs", docs().to_str().expect("text")]);
    assert!(well, "{text}");
}

/// All tables and plots, of made-up figures; a second time there is nothing to change.
#[test]
fn a_report_of_everything() {
    let docs_of = std::env::temp_dir().join(format!("conntab-measure-{}", std::process::id()));
    let folder = docs_of.join("performance");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::copy(docs().join("performance.md"), docs_of.join("performance.md")).expect("the page");
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a file");
    write("machine.txt", "processor: one | two\n");
    write(
        "peers.csv",
        "# x\nstructure,key_bytes,flows,threads,workload,min,median,max,unit\n\
         conntab,40,10000000,1,burst32-hit,1,2,3,Mops/s\nz32,40,10000000,1,burst32-hit,2,3,4,Mops/s\n\
         conntab,40,10000000,2,burst32-hit,1,2,3,Mops/s\nconntab,40,10000000,1,memory,170,170,170,B/flow\n",
    );
    write(
        "kernel.csv",
        "tracker,flows,workload,min,median,max,unit\nkernel,1000000,established,600,700,800,ns/packet\n",
    );
    write(
        "latency.csv",
        "load,case,p50,p99,p99.9,p99.99,max,pauses_over_1ms,bursts,unit\n\
         steady,alone,1000,2000,3000,4000,5000,0,100,ns cpu\nsteady,loaded,1000,2000,6000,4000,5000,1,100,ns cpu\n",
    );
    write("reap.csv", "scheme,flows,figure,min,median,max,unit\nhints,10000000,core_1s,1,1,1,% of a core\n");
    write(
        "scale.csv",
        "flows,threads,sharing,workload,min,median,max,unit\n10000,1,-,track,1,2,3,ns/packet\n\
         1000000,1,-,track,4,5,6,ns/packet\n10000,2,mixed,track,4,5,6,ns/packet\n",
    );
    write(
        "flood.csv",
        "connections,assured_percent,workload,min,median,max,unit\n1000000,50,served,100,100,100,%\n",
    );
    let args = |check| {
        let mut args = vec!["report", "--docs", docs_of.to_str().expect("text")];
        args.extend(check);
        args
    };
    assert!(!run(&args(Some("--check"))).0, "it is stale");
    let (well, text) = run(&args(None));
    assert!(well, "{text}");
    let (well, text) = run(&args(Some("--check")));
    assert!(well, "{text}");
    let page = std::fs::read_to_string(docs_of.join("performance.md")).expect("the page");
    for part in ["one / two", "| conntab (40 B) | **2** 1–3 | 170 |", "| steady | 1.00 | 1.00 | 2.00 |"] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(!page.contains("(Not measured yet.)"));
    for plot in ["peers", "peers-2", "scale", "latency", "reap"] {
        let svg = std::fs::read_to_string(folder.join(plot).with_extension("svg")).expect("a plot");
        assert!(svg.trim_end().ends_with("</svg>"));
    }
    std::fs::remove_dir_all(docs_of).expect("our own folder");
}
