//! Where scenarios come from: the random generator, or files.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::record::packets;

pub trait Source: Send {
    /// The next scenario, if there is one more.
    fn next(&mut self) -> io::Result<Option<Value>>;
}

/// `scenarios.py`, which makes the same scenarios of the same seed.
pub struct Random {
    generator: Child,
    lines: BufReader<ChildStdout>,
    /// Packets that are still wanted.
    left: usize,
}

impl Random {
    pub fn new(seed: u64, areas: &str, packets: usize) -> io::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios.py");
        let mut generator = Command::new("python3")
            .arg(script)
            .args(["--stream", "--seed", &seed.to_string(), "--area", areas])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = generator.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
        Ok(Self { generator, lines: BufReader::new(lines), left: packets })
    }
}

impl Source for Random {
    fn next(&mut self) -> io::Result<Option<Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            return Err(io::Error::other("scenarios.py has ended"));
        }
        let scenario: Value = serde_json::from_str(&line)?;
        self.left = self.left.saturating_sub(packets(&scenario));
        Ok(Some(scenario))
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        // It would write for ever.
        let _ = self.generator.kill();
        let _ = self.generator.wait();
    }
}

/// Scenarios in files, or in whole directories.
pub struct Files {
    files: std::vec::IntoIter<PathBuf>,
    /// Scenarios, and areas after the word `area`, that are left out.
    except: Vec<String>,
}

impl Files {
    pub fn new(paths: &[PathBuf], except: Option<&Path>) -> io::Result<Self> {
        let except = except.map_or(Ok(String::new()), std::fs::read_to_string)?;
        let except = except.lines().filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect();
        let mut files = Vec::new();
        for path in paths {
            if path.is_dir() {
                let mut entries: Vec<_> = std::fs::read_dir(path)?
                    .map(|entry| entry.map(|e| e.path()))
                    .collect::<Result<_, _>>()?;
                entries.retain(|file| file.extension().is_some_and(|e| e == "json"));
                entries.sort();
                files.append(&mut entries);
            } else {
                files.push(path.clone());
            }
        }
        Ok(Self { files: files.into_iter(), except })
    }
}

impl Source for Files {
    fn next(&mut self) -> io::Result<Option<Value>> {
        for path in self.files.by_ref() {
            let fails = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
            let text = std::fs::read(&path).map_err(fails)?;
            let scenario: Value = serde_json::from_slice(&text).map_err(|e| fails(e.into()))?;
            let field = |name: &str| scenario[name].as_str().unwrap_or_default();
            let names = [field("name").to_owned(), format!("area {}", field("area"))];
            if !names.iter().any(|name| self.except.contains(name)) {
                return Ok(Some(scenario));
            }
        }
        Ok(None)
    }
}
