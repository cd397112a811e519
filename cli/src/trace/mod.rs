//! `conntab trace`: scenarios in, what a router with this table did out (`docs/scenarios.md` is the format).
//!
//! `scenario` and `rules` read a file, `player` lets its time pass and its packets come, `router` is what they go
//! through, `answer` what it says itself, `tracker` all that is known of the table, `record` the text of what was seen,
//! `compare` tells two such texts apart.

mod answer;
mod compare;
mod events;
mod fragments;
mod hopopts;
mod ip;
mod ipv4;
mod ipv6;
mod matching;
mod options;
mod player;
mod record;
mod reject;
mod route;
mod router;
mod rules;
mod scenario;
mod sctp;
mod service;
mod tracker;
mod transit;
mod value;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use compare::difference;

use crate::args::Trace;
use crate::error::Error;

/// Why a scenario cannot be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The step, counted from 0, if it is about one.
    pub step: Option<usize>,
    /// What is wrong, in one line.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = self.step {
            write!(f, "step {step}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl std::error::Error for Problem {}

/// Plays the scenario in `text` and returns its recorded form. `origin`: the table's clock when it begins, in
/// milliseconds; nothing in the result depends on it.
pub fn play(text: &[u8], origin: u64) -> Result<String, Problem> {
    let scenario = scenario::parse(text)?;
    let seen = player::play(&scenario, origin)?;
    Ok(record::text(&scenario, &seen))
}

/// Any time will do.
const ORIGIN: u64 = 1_000_000;

pub(crate) fn run(args: &Trace) -> Result<(), Error> {
    std::fs::create_dir_all(&args.output).map_err(|source| Error::open(&args.output, source))?;
    let mut written: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    let mut failed = 0;
    for file in &args.files {
        match play_file(file, &args.output, &mut written) {
            Ok(()) => {}
            // The disk is full, or the like: the next file would fare no better.
            Err(e @ Error::Output(_)) => return Err(e),
            Err(e) => {
                eprintln!("conntab: {e}");
                failed += 1;
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(Error::NotPlayed { failed, files: args.files.len() }) }
}

fn play_file<'a>(
    file: &'a Path,
    output: &Path,
    written: &mut BTreeMap<PathBuf, &'a Path>,
) -> Result<(), Error> {
    let fails = |source| Error::open(file, source);
    let scenario = |what: String| Error::scenario(file, Problem { step: None, what });
    let text = std::fs::read(file).map_err(fails)?;
    let name = file.file_stem().ok_or_else(|| scenario("it has no name".to_owned()))?;
    let mut target = output.join(name).into_os_string();
    target.push(".json");
    let target = PathBuf::from(target);
    if let Some(first) = written.get(&target) {
        return Err(scenario(format!("{} is called the same", first.display())));
    }
    if std::fs::canonicalize(&target).is_ok_and(|there| std::fs::canonicalize(file).is_ok_and(|f| f == there))
    {
        return Err(scenario(
            "its recorded form would take its own place: name another directory".to_owned(),
        ));
    }
    let recorded = play(&text, ORIGIN).map_err(|problem| Error::scenario(file, problem))?;
    replace(&target, &recorded)?;
    written.insert(target, file);
    Ok(())
}

/// Writes a file so that it is there whole or not at all.
fn replace(target: &Path, text: &str) -> io::Result<()> {
    let mut new = target.as_os_str().to_owned();
    new.push(".tmp");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, target)
}
