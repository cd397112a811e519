//! The command: where it writes, what it says, how it ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::scenarios::root;

/// A directory that goes when it is dropped.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("conntab-trace-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn trace(output: &Path, files: &[&Path]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conntab"));
    command.arg("trace").arg("-o").arg(output).args(files).output().unwrap()
}

fn errors(output: &Output) -> Vec<String> {
    String::from_utf8(output.stderr.clone()).unwrap().lines().map(str::to_owned).collect()
}

const UDP: &str = "4500001d0000400040111ecc0a0100010a0200010001003500097aa171";

fn scenario(steps: &str) -> String {
    format!(r#"{{"name": "x", "area": "udp", "steps": [{steps}]}}"#)
}

#[test]
fn a_recorded_scenario_comes_out_in_recorded_form() {
    let dir = TempDir::new();
    let file = root().join("tests/corpus/udp-life-v4.json");
    let output = trace(&dir.0.join("a/b"), &[&file]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    let text = std::fs::read_to_string(dir.0.join("a/b/udp-life-v4.json")).unwrap();
    let played: Value = serde_json::from_str(&text).unwrap();
    // A head, one step a line, an end.
    assert_eq!(text.lines().count(), 2 + played["steps"].as_array().unwrap().len());
    let recorded: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(conntab_cli::trace::difference(&recorded, &played), None);
    for name in ["name", "about", "area", "config"] {
        assert_eq!(recorded[name], played[name], "{name}");
    }
    assert!(played["kernel"].as_str().unwrap().starts_with("conntab "), "{}", played["kernel"]);
    // Played again it is the same.
    let again = trace(&dir.0.join("c"), &[&dir.0.join("a/b/udp-life-v4.json")]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(std::fs::read_to_string(dir.0.join("c/udp-life-v4.json")).unwrap(), text);
}

#[test]
fn a_bad_file_does_not_stop_the_others() {
    let dir = TempDir::new();
    let bad = dir.write("bad.json", &scenario(r#"{"in": 7, "packet": ""}"#));
    let good = dir.write("good.json", &scenario(&format!(r#"{{"in": 0, "packet": "{UDP}"}}"#)));
    let missing = dir.0.join("missing.json");
    let out = dir.0.join("out");
    let output = trace(&out, &[&bad, &missing, &good]);
    assert_eq!(output.status.code(), Some(1));
    let lines = errors(&output);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0], format!("conntab: {}: step 0: in is a number from 0 to 1, not 7", bad.display()));
    assert!(lines[1].starts_with(&format!("conntab: {}: No such file", missing.display())), "{}", lines[1]);
    assert_eq!(lines[2], "conntab: 2 of 3 scenarios were not played");
    assert!(out.join("good.json").exists() && !out.join("bad.json").exists());
}

#[test]
fn nothing_is_written_over() {
    let dir = TempDir::new();
    let text = scenario("");
    let file = dir.write("x.json", &text);
    let output = trace(&dir.0, &[&file]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(errors(&output)[0].contains("its own place"), "{output:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    // Two of one name.
    let other = dir.write("x.scenario", &text);
    let output = trace(&dir.0.join("out"), &[&file, &other]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(errors(&output)[0].contains("is called the same"), "{output:?}");
}

#[test]
fn wrong_usage() {
    for args in [&["trace"][..], &["trace", "x.json"], &["trace", "-o", "/tmp/x"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_conntab")).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
    let dir = TempDir::new();
    let file = dir.write("file", "");
    let output = trace(&file.join("out"), &[&file]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(errors(&output).len(), 1, "{output:?}");
}
