//! The kernel's own events: `NAME.events` in `captures/` is what `conntrack -E -o timestamp` printed while the kernel
//! tracked the packets of `NAME.pcap`. A replay must print the same.
//!
//! Compared up to each moment at which a table was saved: reading the table ends whatever has expired, so that the kernel,
//! whose collector comes by when it likes, has then told of every end there was. And nothing may be left over behind the
//! last of these moments.
//!
//! What packets cause (NEW, UPDATE, and a DESTROY with seconds left) is compared in order. What expired (a DESTROY without
//! them) is not: when the kernel notices that is chance.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The kernel's tick (HZ=250), twice: that of the packet and that of the timeout.
const TICKS: f64 = 0.008;

/// From the packet to the line of `conntrack`, with all programs of the recording on one processor.
const PRINTED: f64 = 0.1;

#[derive(Clone, Debug, PartialEq, PartialOrd)]
struct Line {
    /// All but the time, with `*` for the seconds left.
    text: String,
    seconds: Option<u32>,
    time: f64,
}

impl Line {
    fn parse(line: &str) -> Self {
        let (time, event) = line.strip_prefix('[').unwrap().split_once("]\t").unwrap();
        assert_eq!(time.split_once('.').unwrap().1.len(), 6, "{line}");
        // Kind, protocol and its number; where they stand is compared with the text.
        let word = event.split_ascii_whitespace().nth(3).unwrap();
        let seconds = word.parse().ok();
        let text =
            if seconds.is_some() { event.replacen(&format!(" {word} "), " * ", 1) } else { event.to_owned() };
        Self { text, seconds, time: time.parse().unwrap() }
    }

    fn has_expired(&self) -> bool {
        self.text.starts_with("[DESTROY]") && self.seconds.is_none()
    }
}

fn lines(text: &str) -> Vec<Line> {
    text.lines().filter(|line| line.starts_with('[')).map(Line::parse).collect()
}

/// What is wrong with our line where the kernel's stands.
fn difference(kernel: Option<&Line>, ours: Option<&Line>) -> Option<String> {
    let (Some(k), Some(o)) = (kernel, ours) else {
        return (kernel != ours).then(|| format!("kernel: {kernel:?}\nours:   {ours:?}"));
    };
    let seconds = match (k.seconds, o.seconds) {
        // As in tables: the kernel's clock ticks.
        (Some(k), Some(o)) => k.abs_diff(o) <= 1,
        (k, o) => k == o,
    };
    let late = k.time - o.time;
    let time = -TICKS <= late && (k.has_expired() || late <= PRINTED);
    (k.text != o.text || !seconds || !time).then(|| format!("kernel: {k:?}\nours:   {o:?}"))
}

fn differences(kernel: &[Line], ours: &[Line]) -> Option<String> {
    (0..kernel.len().max(ours.len())).find_map(|n| difference(kernel.get(n), ours.get(n)))
}

fn captures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../captures");
    let mut captures: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "pcap" || e == "pcapng"))
        .collect();
    captures.sort();
    assert!(!captures.is_empty(), "no captures to compare with");
    captures
}

/// The moments at which tables were saved.
fn moments(capture: &Path) -> Vec<String> {
    (1..)
        .map(|n| capture.with_extension(format!("{n}.table")))
        .map_while(|path| std::fs::read_to_string(path).ok())
        .map(|table| table.strip_prefix("# at=").unwrap().split_ascii_whitespace().next().unwrap().to_owned())
        .collect()
}

fn replay(capture: &Path, at: &str, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_conntab"))
        .arg("replay")
        .arg(capture)
        .args(["--checksum", "--quiet", "--at", at])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What is printed with `--events` beside the events is what is printed without; and time never goes back.
#[test]
fn events_change_nothing_else() {
    for capture in captures() {
        for at in moments(&capture) {
            let with = replay(&capture, &at, &["--events"]);
            let table: Vec<_> = with.lines().filter(|line| !line.starts_with('[')).collect();
            assert_eq!(table.join("\n"), replay(&capture, &at, &[]).trim_end(), "{} {at}", capture.display());
            let times: Vec<f64> = lines(&with).iter().map(|line| line.time).collect();
            assert!(times.is_sorted(), "{} {at}", capture.display());
        }
    }
}

#[test]
fn events_equal_the_kernels() {
    let mut differing = Vec::new();
    for capture in captures() {
        let recorded = lines(&std::fs::read_to_string(capture.with_extension("events")).unwrap());
        assert!(!recorded.is_empty(), "{}: no events", capture.display());
        let moments = moments(&capture);
        for at in &moments {
            let until: f64 = at.parse().unwrap();
            let kernel: Vec<Line> = recorded.iter().filter(|line| line.time < until).cloned().collect();
            let ours = lines(&replay(&capture, at, &["--events"]));
            let [kernel, ours] =
                [kernel, ours].map(|all| all.into_iter().partition::<Vec<_>, _>(Line::has_expired));
            for (mut kernel, mut ours, what) in
                [(kernel.1, ours.1, "by packets"), (kernel.0, ours.0, "expired")]
            {
                if what == "expired" {
                    // By text, then by time.
                    kernel.sort_by(|a, b| a.partial_cmp(b).unwrap());
                    ours.sort_by(|a, b| a.partial_cmp(b).unwrap());
                }
                if let Some(difference) = differences(&kernel, &ours) {
                    differing.push(format!("{} until {at}, {what}:\n{difference}", capture.display()));
                }
            }
        }
        let last: f64 = moments.last().unwrap().parse().unwrap();
        let later: Vec<_> = recorded.iter().filter(|line| line.time >= last).collect();
        assert!(later.is_empty(), "{}: behind the last table: {later:?}", capture.display());
    }
    assert!(differing.is_empty(), "{} differences:\n{}", differing.len(), differing.join("\n"));
}
