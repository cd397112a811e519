//! docs/performance.md: the tables between its markers and the plots beside it, made of docs/performance/*.csv. The prose
//! around the markers stays.
//!
//! `<!-- table: NAME -->` begins a table and `<!-- end -->` ends it.

use std::fs;
use std::path::Path;

use crate::charts;
use crate::figures::short;

/// A CSV file: lines that begin with # are comments.
#[derive(Debug, Default)]
pub struct Csv {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Csv {
    pub fn parse(text: &str) -> Result<Self, String> {
        let cells = |line: &str| line.split(',').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let columns = lines.next().map(cells).unwrap_or_default();
        let rows: Vec<Vec<String>> = lines.map(cells).collect();
        match rows.iter().find(|row| row.len() != columns.len()) {
            Some(row) => Err(format!("{} cells are needed: {}", columns.len(), row.join(","))),
            None => Ok(Self { columns, rows }),
        }
    }

    /// The file of this name; `None`: it was not measured yet.
    fn read(folder: &Path, name: &str) -> Result<Option<Self>, String> {
        let path = folder.join(name).with_extension("csv");
        match fs::read_to_string(&path) {
            Ok(text) => {
                let csv = Self::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?;
                Ok((!csv.rows.is_empty()).then_some(csv))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("{}: {e}", path.display())),
        }
    }

    /// All rows, by column name.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row { csv: self, cells })
    }
}

#[derive(Clone, Copy)]
pub struct Row<'c> {
    csv: &'c Csv,
    cells: &'c [String],
}

impl<'c> Row<'c> {
    /// The cell in this column; empty if there is no such column.
    pub fn get(&self, column: &str) -> &'c str {
        let place = self.csv.columns.iter().position(|name| name == column);
        place.map_or("", |place| &self.cells[place])
    }

    pub fn number(&self, column: &str) -> f64 {
        self.get(column).parse().unwrap_or(f64::NAN)
    }
}

/// 1000000 as 1 M.
pub fn count(text: &str) -> String {
    match text.parse::<u64>() {
        Ok(n) if n >= 1_000_000 && n.is_multiple_of(100_000) => format!("{} M", short(n as f64 / 1e6)),
        Ok(n) if n >= 1000 && n.is_multiple_of(100) => format!("{} k", short(n as f64 / 1e3)),
        _ => text.to_owned(),
    }
}

/// Keeps the first of each.
pub fn distinct<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut kept = Vec::new();
    for item in items {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

fn line(cells: impl IntoIterator<Item = String>) -> String {
    let cells: Vec<String> = cells.into_iter().collect();
    format!("| {} |\n", cells.join(" | "))
}

/// Medians, with `min` to `max` behind them, of rows by one thing and columns by another.
fn pivot(
    rows: &[Row<'_>],
    corner: &str,
    down: impl Fn(&Row<'_>) -> String,
    across: impl Fn(&Row<'_>) -> String,
) -> String {
    let columns = distinct(rows.iter().map(&across));
    let mut text = line(std::iter::once(corner.to_owned()).chain(columns.iter().cloned()));
    text += &format!("|---|{}\n", "--:|".repeat(columns.len()));
    for name in distinct(rows.iter().map(&down)) {
        let cell = |column: &String| {
            let row = rows.iter().find(|row| down(row) == name && across(row) == *column);
            row.map_or(String::new(), |row| {
                let (min, median, max) = (row.get("min"), row.get("median"), row.get("max"));
                if min == max { median.to_owned() } else { format!("**{median}** {min}–{max}") }
            })
        };
        text += &line(std::iter::once(name.clone()).chain(columns.iter().map(cell)));
    }
    text
}

fn peers(csv: &Csv) -> String {
    let rows: Vec<Row<'_>> = csv.rows().collect();
    let mut text = String::new();
    for (flows, threads) in distinct(rows.iter().map(|row| (row.get("flows"), row.get("threads")))) {
        let here: Vec<Row<'_>> = rows
            .iter()
            .filter(|row| (row.get("flows"), row.get("threads")) == (flows, threads))
            .copied()
            .collect();
        let plural = if threads == "1" { "" } else { "s" };
        text += &format!("{} flows, {threads} thread{plural}:\n\n", count(flows));
        let structure = |row: &Row<'_>| match row.get("key_bytes") {
            "" => row.get("structure").to_owned(),
            bytes => format!("{} ({bytes} B)", row.get("structure")),
        };
        text += &pivot(&here, "", structure, |row| format!("{} {}", row.get("workload"), row.get("unit")));
        text += "\n";
    }
    text.trim_end().to_owned() + "\n"
}

fn kernel(csv: &Csv) -> String {
    let rows: Vec<Row<'_>> = csv.rows().collect();
    let across = |row: &Row<'_>| match row.get("flows") {
        "" => row.get("tracker").to_owned(),
        flows => format!("{}, {}", row.get("tracker"), count(flows)),
    };
    pivot(&rows, "", |row| format!("{} ({})", row.get("workload"), row.get("unit")), across)
}

fn latency(csv: &Csv) -> String {
    const COLUMNS: [&str; 7] = ["p50", "p99", "p99.9", "p99.99", "max", "pauses_over_1ms", "bursts"];
    let mut text = line(["load", "case", "clock"].iter().chain(&COLUMNS).map(|name| name.replace('_', " ")));
    text += &format!("|---|---|---|{}\n", "--:|".repeat(COLUMNS.len()));
    for row in csv.rows() {
        let names = ["load", "case", "unit"].map(|column| row.get(column).to_owned());
        text += &line(names.into_iter().chain(COLUMNS.iter().map(|column| row.get(column).to_owned())));
    }
    text
}

/// How much worse a load makes the bursts beside it.
fn latency_ratios(csv: &Csv) -> String {
    let cpu: Vec<Row<'_>> = csv.rows().filter(|row| row.get("unit") == "ns cpu").collect();
    let columns = ["p50", "p99", "p99.9", "p99.99"];
    let mut text = line(
        ["load".to_owned()]
            .into_iter()
            .chain(columns.map(str::to_owned))
            .chain(["pauses alone".to_owned(), "pauses loaded".to_owned()]),
    );
    text += "|---|--:|--:|--:|--:|--:|--:|\n";
    for load in distinct(cpu.iter().map(|row| row.get("load"))) {
        let of = |case: &str| cpu.iter().find(|row| row.get("load") == load && row.get("case") == case);
        if let (Some(alone), Some(loaded)) = (of("alone"), of("loaded")) {
            let ratio = |column: &str| format!("{:.2}", loaded.number(column) / alone.number(column));
            let pauses = [alone, loaded].map(|row| row.get("pauses_over_1ms").to_owned());
            text += &line([load.to_owned()].into_iter().chain(columns.map(ratio)).chain(pauses));
        }
    }
    text
}

fn reap(csv: &Csv) -> String {
    let rows: Vec<Row<'_>> = csv.rows().collect();
    let figure = |row: &Row<'_>| {
        format!(
            "{} ({})",
            row.get("figure").replace("stores_", "stores: ").replace('_', " in "),
            row.get("unit")
        )
    };
    pivot(&rows, "", figure, |row| row.get("scheme").to_owned())
}

fn scale(csv: &Csv) -> String {
    let rows: Vec<Row<'_>> = csv.rows().collect();
    let across = |row: &Row<'_>| match row.get("sharing") {
        "-" => format!("{}, 1 thread", row.get("workload")),
        sharing => format!("{}, {} {sharing}", row.get("workload"), row.get("threads")),
    };
    pivot(&rows, "flows", |row| count(row.get("flows")), across)
}

fn flood(csv: &Csv) -> String {
    let rows: Vec<Row<'_>> = csv.rows().collect();
    let workload = |row: &Row<'_>| format!("{} ({})", row.get("workload"), row.get("unit"));
    pivot(&rows, "", workload, |row| format!("{} % ASSURED", row.get("assured_percent")))
}

/// `key: value` lines.
fn machine(text: &str) -> String {
    let mut table = "| | |\n|---|---|\n".to_owned();
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        table += &line([key.trim().to_owned(), value.trim().replace('|', "/")]);
    }
    table
}

/// What has not been measured.
const NOTHING: &str = "(Not measured yet.)\n";

type Table = (&'static str, &'static str, fn(&Csv) -> String);

/// Name, file, and how the table is made of it.
const TABLES: [Table; 7] = [
    ("peers", "peers", peers),
    ("kernel", "kernel", kernel),
    ("latency", "latency", latency),
    ("latency-ratios", "latency", latency_ratios),
    ("reap", "reap", reap),
    ("scale", "scale", scale),
    ("flood", "flood", flood),
];

/// The text with `table` between the markers of this name.
fn between(text: &str, name: &str, table: &str) -> Result<String, String> {
    let (begin, end) = (format!("<!-- table: {name} -->\n"), "<!-- end -->");
    let from =
        text.find(&begin).ok_or(format!("performance.md has no marker '{}'", begin.trim()))? + begin.len();
    let to = from + text[from..].find(end).ok_or(format!("the table {name} has no end"))?;
    Ok(format!("{}\n{table}\n{}", &text[..from], &text[to..]))
}

/// What the files should be: their names below `docs`, and their text.
fn wanted(docs: &Path) -> Result<Vec<(String, String)>, String> {
    let folder = docs.join("performance");
    let page = docs.join("performance.md");
    let mut text = fs::read_to_string(&page).map_err(|e| format!("{}: {e}", page.display()))?;
    let about = fs::read_to_string(folder.join("machine.txt"));
    text = between(&text, "machine", &about.map_or(NOTHING.to_owned(), |about| machine(&about)))?;
    let mut files = Vec::new();
    for (name, file, make) in TABLES {
        let csv = Csv::read(&folder, file)?;
        text = between(&text, name, &csv.as_ref().map_or(NOTHING.to_owned(), make))?;
    }
    for (name, file, draw) in charts::ALL {
        if let Some(csv) = Csv::read(&folder, file)? {
            let plot = draw(&csv).map_err(|e| format!("{name}: {e}"))?;
            files.push((format!("performance/{name}.svg"), plot));
        }
    }
    files.push(("performance.md".to_owned(), text));
    Ok(files)
}

/// Writes the tables and the plots; or (`check`) says which of them are not what they should be.
pub fn run(docs: &Path, check: bool) -> Result<(), String> {
    let mut stale = Vec::new();
    for (name, text) in wanted(docs)? {
        let path = docs.join(&name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        if check {
            stale.push(name);
        } else {
            fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
            println!("{} written", path.display());
        }
    }
    match stale.is_empty() {
        true => Ok(()),
        false => Err(format!("not what the CSV files say: {} (benches/run.sh report)", stale.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv() {
        let csv = Csv::parse("# a comment\na,b\n1,x\n\n2,y\n").expect("a CSV");
        assert_eq!(
            csv.rows().map(|row| (row.number("a"), row.get("b"))).collect::<Vec<_>>(),
            [(1., "x"), (2., "y")]
        );
        assert_eq!(csv.rows().map(|row| row.get("c")).collect::<String>(), "");
        assert!(Csv::parse("a,b\n1\n").is_err());
    }

    #[test]
    fn tables_go_between_their_markers() {
        let page = "before\n<!-- table: x -->\nold\n<!-- end -->\nafter\n";
        let new = between(page, "x", "| a |\n").expect("the marker");
        assert_eq!(new, "before\n<!-- table: x -->\n\n| a |\n\n<!-- end -->\nafter\n");
        assert_eq!(between(&new, "x", "| a |\n").as_deref(), Ok(&*new));
        assert!(between(page, "y", "").is_err());
    }

    #[test]
    fn counts() {
        assert_eq!(["10000", "1000000", "300", "2500000"].map(count), ["10 k", "1 M", "300", "2.5 M"]);
    }
}
