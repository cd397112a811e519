//! The manual pages of the command, from its command line:
//! `CONNTAB_WRITE_DOCS=1 cargo test -p conntab-cli manual` writes them anew into docs/man.

use std::fmt::Write as _;
use std::path::Path;

use clap_mangen::Man;

/// Each line of a manual that follows the options is a heading, a paragraph, or stays as it is: examples, columns.
fn more(text: &str) -> String {
    let mut out = String::new();
    let mut literal = false;
    let mut begins = false;
    for line in text.lines() {
        let words = line.trim();
        if words.is_empty() {
            begins = true;
            continue;
        }
        let stays = line.starts_with("    ") || words.contains("  ") || words.contains('=');
        let heading = line.strip_suffix(':').filter(|_| !line.starts_with(' '));
        if literal && !stays {
            out += ".fi\n";
        }
        if begins && heading.is_none() {
            out += ".PP\n";
        }
        if stays && !literal {
            out += ".nf\n";
        }
        begins = false;
        literal = stays;
        match heading {
            Some(heading) => writeln!(out, ".SH {}", heading.to_uppercase()),
            None => writeln!(out, "\\&{}", words.replace('\\', "\\e").replace('-', "\\-")),
        }
        .expect("a string");
    }
    out + if literal { ".fi\n" } else { "" }
}

/// A page; `more` follows the options.
fn page(command: &clap::Command) -> String {
    let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let name = command.get_display_name().unwrap_or("conntab").to_uppercase();
    let has_subcommands = command.has_subcommands();
    let man = Man::new(command.clone().disable_help_subcommand(true));
    let mut out = Vec::new();
    man.render_name_section(&mut out).expect("a vector");
    man.render_synopsis_section(&mut out).expect("a vector");
    man.render_description_section(&mut out).expect("a vector");
    man.render_options_section(&mut out).expect("a vector");
    if has_subcommands {
        man.render_subcommands_section(&mut out).expect("a vector");
    }
    let version = env!("CARGO_PKG_VERSION");
    let page = String::from_utf8(out).expect("UTF-8");
    // Each section defines the apostrophe anew.
    let (quote, page) = page.split_at(page.find(".SH").expect("a section"));
    let page = page.replace(quote, "").replace(".br\n\n.br\n", "\n");
    format!(
        ".\\\" Generated from the command line; do not edit.\n{quote}.TH {name} 1 \"\" \"conntab {version}\" \"User commands\"\n\
         {page}{}",
        self::more(&text)
    )
}

#[test]
fn the_manual_pages_are_current() {
    let mut command = crate::args::command().disable_help_subcommand(true);
    command.build();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/man");
    for command in std::iter::once(&command).chain(command.get_subcommands()) {
        let name = command.get_display_name().unwrap_or(command.get_name());
        let file = dir.join(format!("{name}.1"));
        let text = page(command);
        if std::env::var_os("CONNTAB_WRITE_DOCS").is_some() {
            std::fs::write(&file, &text).expect("a writable page");
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            committed == text,
            "{name}.1 is out of date: CONNTAB_WRITE_DOCS=1 cargo test -p conntab-cli manual"
        );
    }
}
