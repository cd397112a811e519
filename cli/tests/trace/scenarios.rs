//! The recorded scenarios, what is excepted of them, and what came of playing them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

pub struct Scenario {
    pub name: String,
    pub text: Vec<u8>,
    pub recorded: Value,
}

impl Scenario {
    pub fn field(&self, name: &str) -> &str {
        self.recorded[name].as_str().unwrap_or_default()
    }

    pub fn packets(&self) -> usize {
        let steps = self.recorded["steps"].as_array();
        steps.into_iter().flatten().filter(|step| step.get("packet").is_some()).count()
    }

    /// Plays it; what differs, or why it could not be played.
    pub fn differs(&self, origin: u64) -> Option<String> {
        let played = match conntab_cli::trace::play(&self.text, origin) {
            Ok(played) => played,
            Err(problem) => return Some(format!("not played: {problem}")),
        };
        let played = serde_json::from_str(&played).expect("what is written can be read");
        // A value that the kernel drew.
        if self.recorded.get("random").is_some() {
            return None;
        }
        conntab_cli::trace::difference(&self.recorded, &played)
    }
}

/// All recorded scenarios of a folder, by name.
pub fn of(folder: &str) -> Vec<Scenario> {
    let folder = root().join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "json"));
    files.sort();
    let scenarios = files.into_iter().map(|file| {
        let text = std::fs::read(&file).expect("a readable file");
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        Scenario { recorded: serde_json::from_slice(&text).expect("JSON"), name, text }
    });
    scenarios.collect()
}

/// Scenarios, or areas, that are excepted, each with its reason.
pub struct Exceptions {
    pub areas: BTreeMap<String, String>,
    pub scenarios: BTreeMap<String, String>,
}

impl Exceptions {
    pub fn read() -> Self {
        let text =
            std::fs::read_to_string(root().join("tests/corpus/EXCEPTIONS.txt")).expect("the exceptions");
        let mut all = Self { areas: BTreeMap::new(), scenarios: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let (name, reason) = line.split_once(": ").unwrap_or_else(|| panic!("no reason: {line}"));
            match name.strip_prefix("area ") {
                Some(area) => all.areas.insert(area.to_owned(), reason.to_owned()),
                None => all.scenarios.insert(name.to_owned(), reason.to_owned()),
            };
        }
        all
    }

    pub fn has(&self, scenario: &Scenario) -> bool {
        self.areas.contains_key(scenario.field("area")) || self.scenarios.contains_key(&scenario.name)
    }
}
