//! The lists in `docs/` say what the code says. `CONNTAB_WRITE_DOCS=1 cargo test --test docs` writes them anew.

use std::fmt::Write as _;
use std::path::Path;

use conntab::reason::Reason;
use conntab::timeout::Tunables;

fn source(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file)
}

/// The `///` lines above each line of `text` for which `name` finds a name, joined.
fn described(text: &str, name: impl Fn(&str) -> Option<&str>) -> Vec<(String, String)> {
    let mut doc: Vec<&str> = Vec::new();
    let mut all = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            doc.push(text.trim());
        } else {
            if let Some(name) = name(line) {
                all.push((name.to_owned(), doc.join(" ")));
            }
            doc.clear();
        }
    }
    all
}

fn reasons() -> String {
    let text = source("src/reason.rs");
    let list = described(&text, |line| {
        line.strip_suffix("\";").and_then(|rest| rest.rsplit_once(", \"")).map(|r| r.1)
    });
    let mut page = String::from(
        "# Reason codes\n\nWhy a packet got the verdict it got. Numbers and names are stable: a number is never given a second \
         meaning. `excess` in the verdict says by how much a bound was broken, where there is one.\n\n\
         | code | name | meaning |\n|---|---|---|\n",
    );
    for reason in Reason::ALL {
        let (_, meaning) = list.iter().find(|(name, _)| name == reason.as_str()).expect("described");
        writeln!(page, "| {} | `{}` | {meaning} |", reason.code(), reason.as_str()).expect("a string");
        assert_eq!(Reason::from_code(reason.code()), Some(*reason));
    }
    assert_eq!(list.len(), Reason::ALL.len());
    page
}

fn tunables() -> String {
    let text = source("src/timeout.rs");
    let list = described(&text, |line| line.split_once(" = ").map(|(name, _)| name));
    let defaults = Tunables::default();
    let mut page = String::from(
        "# Tunables\n\nThe kernel's sysctl names without `nf_conntrack_`, and its defaults; timeouts in seconds. Only `acct` and \
         `timestamp` are 0 there: here they also need room (`Config::acct`, `Config::timestamp`). All may be changed while packets flow: \
         in Rust by `Table::set`, in the command by `--set name=value`.\n\n\
         | name | default | most | meaning |\n|---|---|---|---|\n",
    );
    for (name, most) in Tunables::NAMES.iter().zip(Tunables::LIMITS) {
        let (_, meaning) = list.iter().find(|(described, _)| described == name).expect("described");
        let default = defaults.get(name).expect("a tunable");
        writeln!(page, "| `{name}` | {default} | {most} | {meaning} |").expect("a string");
    }
    page
}

#[test]
fn lists_are_current() {
    for (file, page) in [("docs/reasons.md", reasons()), ("docs/tunables.md", tunables())] {
        if std::env::var_os("CONNTAB_WRITE_DOCS").is_some() {
            std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(file), &page).expect(file);
        }
        assert!(source(file) == page, "{file} is out of date: CONNTAB_WRITE_DOCS=1 cargo test --test docs");
    }
}

/// What stands in files below `folder`.
fn sources(folder: &Path) -> Vec<(std::path::PathBuf, String)> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false => vec![(path.clone(), std::fs::read_to_string(path).expect("text"))],
        })
        .collect()
}

/// Guarantees and invariants name the loom models that show them ("Models: ..."): each that they name is there, and each that is
/// there shows something.
#[test]
fn guarantees_name_their_models() {
    let (mut named, mut there) = (Vec::new(), Vec::new());
    for (path, text) in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        for list in text.split("Models: ").skip(1) {
            let list = list.split(".\n").next().expect("a list");
            named.extend(
                list.split('`').skip(1).step_by(2).filter(|name| !name.contains('/')).map(str::to_owned),
            );
        }
        if path.iter().any(|part| part == "models" || part == "models.rs") {
            let tests = text.split("#[test]\nfn ").skip(1);
            there.extend(tests.map(|test| test.split('(').next().expect("a name").to_owned()));
        }
    }
    named.sort_unstable();
    named.dedup();
    there.sort_unstable();
    assert!(there.len() > 80, "{} models", there.len());
    assert_eq!(named, there, "named by a guarantee, and there");
}
