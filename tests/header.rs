//! `include/conntab.h` is what `src/ffi` says. `CONNTAB_WRITE_DOCS=1 cargo test --test header` writes it anew.
//!
//! Each file of `src/ffi` is a chapter, and cbindgen is run for each alone: so what belongs together stands together.
//! The manual pages of the C library (docs/man) are made of the header.

mod man;

use std::path::{Path, PathBuf};

/// The chapters: file, title.
const CHAPTERS: [(&str, &str); 12] = [
    ("version", "Version"),
    ("error", "Errors and reasons"),
    ("connection", "Tuples and connections"),
    ("config", "Configuration"),
    ("table", "The table: tunables, timeout policies, dump, statistics"),
    ("worker", "Workers"),
    ("packet", "Packets and bursts"),
    ("defrag", "Fragments"),
    ("section", "Read sections: lookups that change nothing"),
    ("helper", "Helpers: those of the host, those that are shipped"),
    ("expect", "Expectations"),
    ("event", "Events"),
];

const PREFACE: &str = r#"/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * conntab: an embeddable, lock-free connection-tracking table for userspace dataplanes.
 *
 *   struct conntab_config config;
 *   conntab_config_init(&config, sizeof config);
 *   conntab_table *table;
 *   conntab_worker *worker;
 *   conntab_table_new(&config, sizeof config, &table);       all memory is reserved here
 *   conntab_worker_new(table, &worker);                      one for each thread
 *   for (;;) {
 *       ... a burst of packets ...
 *       conntab_track(worker, now, packets, n, verdicts);    NEW, ESTABLISHED, RELATED, INVALID ...
 *       ... rules: which packets leave ...
 *       conntab_confirm(worker, now, verdicts, n, keep);     what leaves enters the table
 *       conntab_reap(worker, now, 1024, NULL);               now and then: expiry, in slices
 *   }
 *
 * Rules that hold throughout:
 *  - Threads. A table may be used by any thread at any time. A worker belongs to one thread at a time (it may move).
 *    No packet ever waits for another thread.
 *  - Time. `now` is the host's: milliseconds of any monotonic clock, the same for all workers of a table.
 *  - Errors are negative numbers, CONNTAB_E*; conntab_strerror names them. NULL for what must not be NULL is
 *    CONNTAB_EINVAL, never a crash. _free(NULL) is fine.
 *  - Structs that may grow are passed with their size: sizeof of the struct as your header has it.
 *  - Handles (uint64_t conn) are index and generation. One that is stale, forged or 0 is refused, never followed.
 *  - Ownership. What a _new call makes is the caller's, who gives it back by the _free call of the same name. Nothing else
 *    needs freeing.
 *  - fork: the child of a process may not use the parent's tables (they are not shared with it), but may exit or exec.
 *
 * Generated from src/ffi; do not edit.
 */
#ifndef CONNTAB_H
#define CONNTAB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
"#;

const END: &str = "
#ifdef __cplusplus
}
#endif

#endif /* CONNTAB_H */
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn chapter(file: &str) -> String {
    let config = cbindgen::Config {
        language: cbindgen::Language::C,
        style: cbindgen::Style::Both,
        documentation_style: cbindgen::DocumentationStyle::Doxy,
        no_includes: true,
        usize_is_size_t: true,
        line_length: 100,
        ..cbindgen::Config::default()
    };
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(root().join("src/ffi").join(file).with_extension("rs"))
        .generate()
        .expect(file);
    let mut text = Vec::new();
    bindings.write(&mut text);
    // A value with a sign is an expression: it wants parentheses.
    let text = String::from_utf8(text).expect("UTF-8");
    let lines = text.lines().map(|line| match line.rsplit_once(' ') {
        Some((define, value)) if define.starts_with("#define ") && value.starts_with('-') => {
            format!("{define} ({value})")
        }
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn header() -> String {
    let mut header = PREFACE.to_owned();
    for (file, title) in CHAPTERS {
        let rule = "=".repeat(100);
        header += &format!("\n/* {rule}\n * {title}\n * {rule} */\n\n");
        header += chapter(file).trim();
        header.push('\n');
    }
    header + END
}

#[test]
fn the_header_is_current() {
    let file = root().join("include/conntab.h");
    let header = header();
    if std::env::var_os("CONNTAB_WRITE_DOCS").is_some() {
        std::fs::write(&file, &header).expect("a writable header");
    }
    let committed = std::fs::read_to_string(&file).expect("include/conntab.h");
    assert!(committed == header, "out of date: CONNTAB_WRITE_DOCS=1 cargo test --test header");
}

#[test]
fn the_manual_pages_are_current() {
    let dir = root().join("docs/man");
    let pages = man::pages(&header(), &CHAPTERS);
    if std::env::var_os("CONNTAB_WRITE_DOCS").is_some() {
        for (name, text) in &pages {
            std::fs::write(dir.join(name), text).expect("a writable page");
        }
    }
    for (name, text) in &pages {
        let committed = std::fs::read_to_string(dir.join(name)).expect(name);
        assert!(committed == *text, "{name} is out of date: CONNTAB_WRITE_DOCS=1 cargo test --test header");
    }
    let there = std::fs::read_dir(dir).expect("docs/man").map(|file| file.expect("a file").file_name());
    assert_eq!(there.filter(|name| name.to_string_lossy().ends_with(".3")).count(), pages.len());
}

#[test]
fn every_file_is_a_chapter() {
    let mut files: Vec<_> = std::fs::read_dir(root().join("src/ffi"))
        .expect("src/ffi")
        .map(|file| file.expect("a file").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .filter(|name| name != "mod" && name != "tests")
        .collect();
    files.sort();
    let mut chapters = CHAPTERS.map(|(file, _)| file.to_owned());
    chapters.sort();
    assert_eq!(files, chapters);
}
