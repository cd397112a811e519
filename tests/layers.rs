//! A lower layer never names an upper one. The layers are those of the table in `src/lib.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn layers() -> BTreeMap<String, u32> {
    let lib = std::fs::read_to_string(root().join("lib.rs")).expect("lib.rs");
    let mut layers = BTreeMap::new();
    for row in lib.lines().filter_map(|line| line.strip_prefix("//! | L")) {
        let mut cells = row.split('|');
        let layer: u32 = cells.next().and_then(|cell| cell.trim().parse().ok()).expect("a number");
        for name in cells.next().expect("files").split('`').skip(1).step_by(2) {
            assert_eq!(layers.insert(name.to_owned(), layer), None, "{name} twice");
        }
    }
    layers
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a file names by `crate::`, `use crate::{...}` included. Comments count too: a lower layer that
/// explains itself by an upper one has its layers wrong.
fn named(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + 7..];
        let list = rest.strip_prefix('{').map(|rest| rest.split('}').next().unwrap_or(rest));
        for item in list.unwrap_or(rest).split(',').take(if list.is_some() { usize::MAX } else { 1 }) {
            let name: String =
                item.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            names.push(name);
        }
    }
    names
}

/// The upper modules that a file of this module names.
fn offences(layers: &BTreeMap<String, u32>, module: &str, text: &str) -> Vec<String> {
    let own = layers[module];
    let upper = |name: &String| layers.get(name).is_some_and(|layer| *layer > own);
    named(text).into_iter().filter(upper).collect()
}

#[test]
fn a_lower_layer_never_names_an_upper_one() {
    let layers = layers();
    let mut all = Vec::new();
    files(&root(), &mut all);
    assert!(all.len() > 30);
    for file in all {
        let inner = file.strip_prefix(root()).expect("below src");
        let module = inner.components().next().expect("a name").as_os_str().to_string_lossy();
        let module = module.trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        assert!(layers.contains_key(module), "{module} is missing in the table of src/lib.rs");
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let offences = offences(&layers, module, &text);
        assert!(offences.is_empty(), "{} (L{}) names {offences:?}", inner.display(), layers[module]);
    }
}

#[test]
fn the_test_can_fail() {
    let layers = layers();
    assert_eq!(offences(&layers, "wire", "use crate::worker::Worker;"), ["worker"]);
    assert_eq!(offences(&layers, "table", "use crate::{memory, tuple::Key, track};"), ["tuple", "track"]);
    assert!(offences(&layers, "worker", "use crate::{memory, tuple::Key};").is_empty());
}
