//! The manual pages of section 3, from `include/conntab.h`: a page for each chapter and one for what holds throughout.

use std::fmt::Write as _;

/// What a comment of the header describes.
struct Item<'a> {
    doc: String,
    /// The declaration without what ends it.
    text: &'a str,
}

impl Item<'_> {
    /// What it declares, if it is a macro: name and value.
    fn constant(&self) -> Option<(&str, &str)> {
        self.text.strip_prefix("#define ")?.split_once(' ')
    }

    fn structure(&self) -> Option<&str> {
        self.text.strip_prefix("typedef struct ")?.split_whitespace().next()
    }

    fn function(&self) -> Option<&str> {
        if self.constant().is_some() || self.structure().is_some() {
            return None;
        }
        let (before, _) = self.text.split_once('(').expect("a function");
        before.rsplit([' ', '*']).next()
    }
}

/// The text of a comment, without what begins its lines.
fn words(comment: &str) -> String {
    let lines = comment.lines().map(|line| {
        let line = line.trim_start().trim_start_matches('*');
        line.strip_prefix(' ').unwrap_or(line)
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// The items of `text` that are described by comments which begin like `begin`, each with the declaration up to `end`.
fn items<'a>(text: &'a str, begin: &str, end: &str) -> Vec<Item<'a>> {
    text.split(begin)
        .skip(1)
        .map(|part| {
            let (doc, rest) = part.split_once("*/").expect("a comment that ends");
            Item { doc: words(doc), text: rest.trim_start().split(end).next().expect("a declaration") }
        })
        .collect()
}

/// Text as roff takes it: `code` is set in italics.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e");
    let mut out = String::new();
    for (i, part) in text.split('`').enumerate() {
        out += if i == 0 { "" } else { ["\\fR", "\\fI"][i % 2] };
        out += part;
    }
    let lines = out.lines().map(|line| match line.chars().next() {
        Some('.' | '\'') => format!("\\&{line}"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn paragraphs(doc: &str) -> String {
    doc.split("\n\n").map(|paragraph| roff(paragraph) + "\n").collect::<Vec<_>>().join(".PP\n")
}

/// Lines as they are, in bold.
fn declared(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("\\fB{line}\\fR\n")).collect()
}

fn begin(name: &str, names: &[&str], about: &str) -> String {
    let mut names = names.to_vec();
    names.insert(0, name);
    format!(
        ".\\\" Generated from include/conntab.h; do not edit.\n.TH {} 3 \"\" \"conntab {}\" \"C library\"\n.nh\n.ad l\n.SH NAME\n{} \\- {about}\n",
        name.to_uppercase(),
        env!("CARGO_PKG_VERSION"),
        names.join(", "),
    )
}

const COMPILE: &str =
    ".PP\nCompile and link with \\fIcc ... $(pkg\\-config \\-\\-cflags \\-\\-libs conntab)\\fR.\n";

fn see_also(pages: &[String], but: &str) -> String {
    let others: Vec<_> =
        pages.iter().filter(|page| *page != but).map(|page| format!(".BR {page} (3)")).collect();
    format!(".SH SEE ALSO\n{}\n", others.join(" ,\n"))
}

fn chapter(page: &str, about: &str, text: &str, pages: &[String]) -> String {
    let items = items(text, "\n/**\n", "\n\n");
    let names: Vec<_> = items.iter().filter_map(|item| item.function().or(item.structure())).collect();
    let mut out = begin(page, &names, about);
    out += ".SH SYNOPSIS\n.nf\n\\fB#include <conntab.h>\\fR\n";
    for item in items.iter().filter(|item| item.function().is_some()) {
        out += ".PP\n";
        out += &declared(item.text);
    }
    out += ".fi\n";
    out += COMPILE;
    if items.iter().any(|item| item.function().is_some()) {
        out += ".SH FUNCTIONS\n";
    }
    for item in &items {
        if let Some(name) = item.function() {
            write!(out, ".SS {name}\n{}", paragraphs(&item.doc)).expect("a string");
        }
    }
    if items.iter().any(|item| item.structure().is_some()) {
        out += ".SH TYPES\n";
    }
    for item in &items {
        if let Some(name) = item.structure() {
            write!(out, ".SS struct {name}\n{}", paragraphs(&item.doc)).expect("a string");
            for field in self::items(item.text, "\n  /**\n", "\n") {
                write!(out, ".TP\n\\fB{}\\fR\n{}", field.text, paragraphs(&field.doc)).expect("a string");
            }
        }
    }
    if items.iter().any(|item| item.constant().is_some()) {
        out += ".SH CONSTANTS\n";
    }
    for item in &items {
        if let Some((name, value)) = item.constant() {
            let value = value.replace('-', "\\-");
            write!(out, ".TP\n\\fB{name}\\fR = {value}\n{}", paragraphs(&item.doc)).expect("a string");
        }
    }
    out + &see_also(pages, page)
}

/// The page of the whole, from the comment that begins the header.
fn overview(preface: &str, pages: &[String]) -> String {
    let text = words(preface);
    let (title, rest) = text.split_once("\n\n").expect("a title");
    let (example, rules) = rest.split_once("\n\n").expect("an example");
    let (heading, rules) = rules.split_once("\n").expect("rules");
    let about = title.trim_end_matches('.').split_once(": ").expect("name: what it is").1;
    let mut out = begin("conntab", &[], about);
    out += ".SH SYNOPSIS\n.nf\n\\fB#include <conntab.h>\\fR\n.PP\n";
    for line in example.lines() {
        let line = line.strip_prefix("  ").unwrap_or(line);
        let dots = if line.starts_with('.') { "\\&" } else { "" };
        writeln!(out, "{dots}{line}").expect("a string");
    }
    out += ".fi\n";
    out += COMPILE;
    write!(out, ".SH DESCRIPTION\n{}\n", roff(heading)).expect("a string");
    let (rules, _) = rules.split_once("\n\n").expect("an end");
    for rule in rules.split("\n - ") {
        let rule = rule.trim_start().trim_start_matches("- ");
        let lines: Vec<_> = rule.lines().map(str::trim).collect();
        write!(out, ".IP \\(bu 2\n{}\n", roff(&lines.join("\n"))).expect("a string");
    }
    out + &see_also(pages, "conntab")
}

/// File names and texts. `chapters`: the name and title of each.
pub fn pages(header: &str, chapters: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut names = vec!["conntab".to_owned()];
    names.extend(chapters.iter().map(|(name, _)| format!("conntab-{name}")));
    let rule = format!("/* {}\n * ", "=".repeat(100));
    let mut parts = header.split(&rule);
    let preface =
        parts.next().and_then(|text| text.split("/*").nth(2)).and_then(|text| text.split("*/").next());
    let mut all = vec![("conntab.3".to_owned(), overview(preface.expect("a preface"), &names))];
    for ((part, (_, title)), page) in parts.zip(chapters).zip(&names[1..]) {
        let text = part.strip_prefix(title).expect("the chapters in order");
        let text = text.split("#ifdef __cplusplus").next().expect("a text");
        let about = if title.starts_with("The ") || title.starts_with("Read ") {
            title[..1].to_lowercase() + &title[1..]
        } else {
            title.to_lowercase()
        };
        all.push((format!("{page}.3"), chapter(page, &about, text, &names)));
    }
    all
}
