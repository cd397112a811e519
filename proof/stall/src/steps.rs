//! Every named step of the library, what a thread does to come by, and what it holds back while it stands there.

use std::path::{Path, PathBuf};

use crate::scene::Scene::{self, *};

/// What a thread that stands at a step keeps from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Nothing.
    Nothing,
    /// The reuse of freed entries: it has entered.
    Reuse,
    /// That, and the record of a TCP connection.
    Record,
}

use Holds::{Nothing, Record, Reuse};

/// A step, reached in a scene.
pub struct Step {
    pub name: &'static str,
    pub scene: Scene,
    pub holds: Holds,
}

const fn at(name: &'static str, scene: Scene, holds: Holds) -> Step {
    Step { name, scene, holds }
}

pub const STEPS: &[Step] = &[
    // track
    at("clock-raised", Open, Nothing),
    at("epoch-entered", Open, Reuse),
    at("epoch-renewed", Tcp, Reuse),
    at("track-entered", Open, Reuse),
    at("track-found", Tcp, Reuse),
    at("record-entered", Tcp, Record),
    at("record-leaving", Tcp, Record),
    at("commit-read", Tcp, Record),
    at("commit-written", Tcp, Record),
    at("commit-read", Udp, Reuse),
    at("commit-written", Udp, Reuse),
    at("hint-shortening", Reset, Reuse),
    at("permits-granted", Open, Reuse),
    at("early-drop-looked", Full, Reuse),
    at("open-permitted", Open, Reuse),
    at("pop-read", Recycle, Reuse),
    at("alloc-fetched", Open, Reuse),
    at("alloc-taken", Open, Reuse),
    at("open-written", Open, Reuse),
    at("track-judged", Open, Reuse),
    at("release-begun", Abandon, Reuse),
    // confirm
    at("confirm-entered", Open, Reuse),
    at("confirm-prepared", Open, Reuse),
    at("insert-expired", Late, Reuse),
    at("insert-begun", Open, Reuse),
    at("insert-half-placed", Open, Reuse),
    at("insert-placed", Open, Reuse),
    at("insert-ready", Open, Reuse),
    at("insert-scanned", Open, Reuse),
    at("insert-live", Open, Reuse),
    at("insert-yielded", Clash, Reuse),
    at("insert-killed-another", Clash, Reuse),
    at("insert-lost", Clash, Reuse),
    at("insert-cleared", Clash, Reuse),
    at("place-overflow-taken", Crowd, Reuse),
    at("place-linked", Crowd, Reuse),
    at("place-marked", Crowd, Reuse),
    at("place-closed", Closed, Reuse),
    at("confirm-inserted", Open, Reuse),
    at("confirm-told", Open, Reuse),
    at("event-claimed", Events, Reuse),
    at("event-taken", Listen, Nothing),
    // delete
    at("delete-dead", Delete, Reuse),
    at("delete-half-cleared", Delete, Reuse),
    at("delete-cleared", Delete, Reuse),
    at("retire-linked", Delete, Reuse),
    at("retire-pushed", Delete, Reuse),
    at("delete-done", Delete, Reuse),
    at("permits-given", Delete, Reuse),
    at("control-deleted", Control, Reuse),
    at("close-begun", Crowd, Reuse),
    at("close-slot", Crowd, Reuse),
    at("close-slots", Crowd, Reuse),
    at("close-closed", Crowd, Reuse),
    at("sweep-unlinked", Crowd, Reuse),
    // reap
    at("reap-piece", Reap, Nothing),
    at("hint-forgetting", Reap, Reuse),
    at("hint-postponed", Expire, Reuse),
    at("reap-visited", Expire, Reuse),
    at("reap-swept", Reap, Reuse),
    at("epoch-left", Reap, Nothing),
    // reclaim
    at("reclaim-entered", Reap, Reuse),
    at("reclaim-taken", Reap, Reuse),
    at("reclaim-buckets-taken", Crowd, Reuse),
    at("reclaim-handed", Reap, Reuse),
    at("reclaim-flushed", Reap, Reuse),
    at("reclaim-called", Reap, Reuse),
    at("push-linked", Reap, Reuse),
    at("reclaim-freed", Reap, Reuse),
    // grow: the control call
    at("max-begun", Grow, Nothing),
    at("extend-committed", Grow, Nothing),
    at("max-extended", Grow, Nothing),
    at("grow-committed", Grow, Nothing),
    at("grow-begun", Grow, Nothing),
    at("move-slot-frozen", Grow, Reuse),
    at("move-bucket-frozen", Grow, Reuse),
    at("fill-slot", Grow, Reuse),
    at("fill-slots", Grow, Reuse),
    at("fill-spare", Grow, Reuse),
    at("move-half-copied", Grow, Reuse),
    at("move-copied", Grow, Reuse),
    at("move-moved", Grow, Reuse),
    at("grow-advanced", Grow, Reuse),
    at("grow-opened", Grow, Reuse),
    at("grow-ended", Grow, Reuse),
    at("heads-handed", Grow, Reuse),
    at("heads-claimed", Grow, Nothing),
    at("max-doubled", Grow, Nothing),
    at("max-set", Grow, Nothing),
    // grow: a worker that helps
    at("move-slot-frozen", Help, Reuse),
    at("move-bucket-frozen", Help, Reuse),
    at("fill-slot", Help, Reuse),
    at("move-half-copied", Help, Reuse),
    at("move-copied", Help, Reuse),
    at("move-moved", Help, Reuse),
    at("grow-advanced", Help, Reuse),
    at("place-frozen", MeetPlace, Reuse),
    at("clear-frozen", MeetClear, Reuse),
    // what is expected
    at("help-making", Expect, Reuse),
    at("help-entered", Expect, Reuse),
    at("expect-occupied", Expect, Reuse),
    at("expect-placed", Expect, Reuse),
    at("expect-live", Expect, Reuse),
    at("help-leaving", Expect, Reuse),
    at("expect-taken", Expect, Reuse),
    at("help-dead", Expect, Reuse),
    // beside the path
    at("tunable-stored", Tune, Nothing),
    at("policy-storing", Policy, Nothing),
    at("dump-entered", Dump, Reuse),
    at("section-opened", Section, Reuse),
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The names that the source gives to calls of this function.
fn names(sources: &[String], function: &str) -> Vec<String> {
    let call = format!("{function}(");
    // (`if` may choose between two.)
    let calls = sources.iter().flat_map(|text| text.split(call.as_str()).skip(1));
    let calls = calls.map(|call| call.split(')').next().unwrap_or_default());
    let mut names: Vec<String> =
        calls.flat_map(|call| call.split('"').skip(1).step_by(2)).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Two lists that must be the same.
fn same(what: &str, named: &[String], listed: &[&str]) -> Result<(), String> {
    let unlisted: Vec<_> = named.iter().filter(|name| !listed.contains(&name.as_str())).collect();
    let unnamed: Vec<_> = listed.iter().filter(|name| named.iter().all(|named| named != *name)).collect();
    match unlisted.is_empty() && unnamed.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "{what} in the source that are not listed: {unlisted:?}; the other way round: {unnamed:?}"
        )),
    }
}

/// The steps that the library's source names are those listed above, and its defects those that can be planted.
pub fn check(planted: &[&str]) -> Result<usize, String> {
    let mut all = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src"), &mut all)?;
    let read = |file: &PathBuf| {
        std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
    };
    let sources = all.iter().map(read).collect::<Result<Vec<String>, String>>()?;
    let steps = names(&sources, "passing");
    same("steps", &steps, &STEPS.iter().map(|step| step.name).collect::<Vec<_>>())?;
    // Other instruments plant defects, too, and some of these are a model's mutations.
    let mut defects: Vec<String> =
        ["planted", "mutated"].iter().flat_map(|kind| names(&sources, kind)).collect();
    defects.retain(|name| planted.contains(&name.as_str()));
    defects.extend(names(&sources, "waits"));
    same("defects", &defects, planted)?;
    Ok(steps.len())
}
