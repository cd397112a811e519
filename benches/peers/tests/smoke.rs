//! Every structure, small: finds all its keys, misses the others, and the rows are well formed.

use conntab_peers::report::HEAD;
use conntab_peers::run::{Plan, Run, WORKLOADS, resident};

#[test]
fn every_structure_in_every_workload() {
    let plan = Plan {
        structures: Vec::new(),
        flows: vec![2000],
        threads: vec![1, 2],
        workloads: Vec::new(),
        rounds: 2,
        fill_rounds: 1,
        turnovers: Some(2),
        ops: 20_000,
        memory: None,
    };
    let mut lines = Vec::new();
    // Answers are asserted where samples are taken. (The memory is not right here: other structures have used it before.)
    Run::new(&plan, &resident).run(&mut |line| lines.push(line.to_owned()));
    let rows: Vec<Vec<&str>> = lines
        .iter()
        .filter(|line| !line.starts_with('#') && *line != HEAD)
        .map(|line| line.split(',').collect())
        .collect();
    for row in &rows {
        let [structure, key_bytes, flows, threads, workload, min, median, max, unit] = row[..] else {
            panic!("{row:?}");
        };
        let [min, median, max] = [min, median, max].map(|text| text.parse::<f64>().expect("a number"));
        assert!(min <= median && median <= max, "{row:?}");
        assert!(!structure.is_empty() && WORKLOADS.contains(&workload), "{row:?}");
        assert!(key_bytes == "40" && flows == "2000" && (threads == "1" || threads == "2"), "{row:?}");
        assert_eq!(unit, if workload.starts_with("memory") { "B/flow" } else { "Mops/s" });
        if unit == "Mops/s" {
            assert!(min > 0.0 && max.is_finite(), "{row:?}");
        }
    }
    let count = |workload: &str, threads: &str| {
        rows.iter().filter(|row| row[4] == workload && row[3] == threads).count()
    };
    let tables = conntab_peers::makers().iter().filter(|maker| !maker.yardstick).count();
    for threads in ["1", "2"] {
        // Yardsticks, those with overflow buckets, and the other hands of conntab's table.
        for workload in ["single-hit", "burst32-hit"] {
            assert_eq!(count(workload, threads), tables + 3 + 3 + 1, "{lines:#?}");
        }
        assert_eq!(count("burst32-miss", threads), tables + 2 + 3, "{lines:#?}");
        for workload in ["insert", "churn", "churn-mixed"] {
            assert_eq!(count(workload, threads), tables, "{workload}");
        }
        for structure in ["conntab", "onekey"] {
            let row =
                rows.iter().find(|row| row[0] == structure && row[3] == threads && row[4] == "insert-grow");
            assert!(row.is_some(), "{structure} grows: {lines:#?}");
        }
    }
    let counted = |structure: &str| {
        lines.iter().any(|line| line.starts_with(&format!("# {structure} at 2000 flows: of ")))
    };
    assert!(counted("conntab") && counted("onekey"), "{lines:#?}");
    assert!(
        !lines.iter().any(|line| line.contains("invalid") || line.contains("bucket nodes")),
        "{lines:#?}"
    );
}
