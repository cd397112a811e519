//! The plots of docs/performance.md.

use std::error::Error;

use plotters::prelude::*;

use crate::report::{Csv, Row, count, distinct};

type Plot = Result<String, Box<dyn Error>>;
type Draw = fn(&Csv) -> Plot;

/// Name of the plot, the CSV file it is made of, how.
pub const ALL: [(&str, &str, Draw); 5] = [
    ("peers", "peers", |csv| peers(csv, "1")),
    ("peers-2", "peers", |csv| peers(csv, "2")),
    ("scale", "scale", scale),
    ("latency", "latency", latency),
    ("reap", "reap", reap),
];

/// Distinct in grey as well.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 90, 160),
    RGBColor(215, 120, 0),
    RGBColor(110, 110, 110),
    RGBColor(0, 140, 100),
    RGBColor(170, 40, 90),
    RGBColor(120, 80, 180),
];

fn colour(at: usize) -> RGBColor {
    COLOURS[at % COLOURS.len()]
}

/// Draws on a white sheet of this size.
fn sheet(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn Error>>) -> Plot {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE)?;
        draw(&root)?;
        root.present()?;
    }
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// A bar: its name, its length, its colour.
type Bar = (String, f64, RGBColor);

/// One panel: a bar for each name, with its value behind it.
fn bars(area: &Area<'_>, title: &str, bars: &[Bar]) -> Result<(), Box<dyn Error>> {
    const NAMES: i32 = 110;
    const VALUES: i32 = 60;
    let most = bars.iter().map(|bar| bar.1).fold(f64::MIN_POSITIVE, f64::max);
    let room = area.dim_in_pixel().0 as i32 - NAMES - VALUES;
    let style = ("sans-serif", 12).into_font();
    area.draw(&Text::new(title.to_owned(), (8, 6), ("sans-serif", 14).into_font().style(FontStyle::Bold)))?;
    for (at, (name, value, colour)) in bars.iter().enumerate() {
        let y = 28 + 18 * at as i32;
        let end = NAMES + (value / most * f64::from(room)).round() as i32;
        area.draw(&Text::new(name.clone(), (8, y + 1), style.clone()))?;
        area.draw(&Rectangle::new([(NAMES, y), (end, y + 13)], colour.filled()))?;
        area.draw(&Text::new(crate::figures::short(*value), (end + 5, y + 1), style.clone()))?;
    }
    Ok(())
}

/// Panels of bars, below each other in two columns.
fn panels(all: &[(String, Vec<Bar>)]) -> Plot {
    let tallest = all.iter().map(|(_, bars)| bars.len()).max().unwrap_or(0) as u32;
    let rows = all.len().div_ceil(2).max(1);
    let height = 28 + 18 * tallest + 16;
    sheet((900, height * rows as u32), |root| {
        for (area, (title, values)) in root.split_evenly((rows, 2)).iter().zip(all) {
            bars(area, title, values)?;
        }
        Ok(())
    })
}

/// All structures at the largest size that was measured, a panel for each workload.
fn peers(csv: &Csv, threads: &str) -> Plot {
    let rows: Vec<Row<'_>> = csv.rows().filter(|row| row.get("threads") == threads).collect();
    let most = rows.iter().map(|row| row.number("flows")).fold(0., f64::max);
    let rows: Vec<Row<'_>> = rows.into_iter().filter(|row| row.number("flows") == most).collect();
    let panel = |workload: &str| {
        let of: Vec<&Row<'_>> = rows.iter().filter(|row| row.get("workload") == workload).collect();
        let unit = of.first().map_or("", |row| row.get("unit"));
        let bar = |row: &&Row<'_>| {
            let name = row.get("structure");
            let colour = match name {
                "conntab" | "onekey" => colour(0),
                name if name.starts_with("z32") || name == "y32" => colour(2),
                _ => colour(1),
            };
            (name.to_owned(), row.number("median"), colour)
        };
        let mut bars: Vec<_> = of.iter().map(bar).filter(|bar| bar.1.is_finite()).collect();
        bars.sort_by(|a, b| b.1.total_cmp(&a.1));
        let plural = if threads == "1" { "" } else { "s" };
        let flows = count(&most.to_string());
        (format!("{workload}, {unit}: {flows} flows, {threads} thread{plural}"), bars)
    };
    panels(&distinct(rows.iter().map(|row| row.get("workload"))).into_iter().map(panel).collect::<Vec<_>>())
}

fn reap(csv: &Csv) -> Plot {
    let panel = |figure: &str| {
        let of: Vec<Row<'_>> = csv.rows().filter(|row| row.get("figure") == figure).collect();
        let unit = of.first().map_or("", |row| row.get("unit"));
        let flows = of.first().map_or(String::new(), |row| count(row.get("flows")));
        let bar =
            |(at, row): (usize, &Row<'_>)| (row.get("scheme").to_owned(), row.number("median"), colour(at));
        (
            format!("{}, {unit}: {flows} flows", figure.replace('_', " in ")),
            of.iter().enumerate().map(bar).collect(),
        )
    };
    panels(&["core_1s", "core_10s", "find", "expire", "open", "memory"].map(panel))
}

/// A line: its name, its points, its colour, whether it is thin.
type Line = (String, Vec<(f64, f64)>, RGBColor, bool);

fn scale(csv: &Csv) -> Plot {
    let rows: Vec<Row<'_>> = csv.rows().collect();
    let key = |row: &Row<'_>| (row.get("workload").to_owned(), row.get("sharing").to_owned());
    let keys = distinct(rows.iter().map(key));
    let workloads = distinct(keys.iter().map(|key| key.0.clone()));
    let lines: Vec<Line> = keys
        .iter()
        .map(|wanted| {
            let of = rows.iter().filter(|row| key(row) == *wanted);
            let points = of.map(|row| (row.number("flows"), row.number("median"))).collect();
            let place = workloads.iter().position(|name| *name == wanted.0).unwrap_or(0);
            let alone = wanted.1 == "-";
            let name = if alone {
                format!("{}, 1 thread", wanted.0)
            } else {
                format!("{}, 2 {}", wanted.0, wanted.1)
            };
            // Threads that share have a colour of their own.
            (name, points, colour(if wanted.1 == "mixed" { place + 3 } else { place }), !alone)
        })
        .collect();
    let points = || lines.iter().flat_map(|line| &line.1);
    let (least, most) = points().fold((f64::MAX, 1f64), |(a, b), point| (a.min(point.0), b.max(point.0)));
    let top = points().map(|point| point.1).fold(1., f64::max);
    sheet((900, 480), |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d((least * 0.8..most * 1.25).log_scale(), 0f64..top * 1.1)?;
        chart
            .configure_mesh()
            .x_desc("flows")
            .y_desc("ns of CPU time per packet")
            .x_label_formatter(&|x| count(&format!("{x:.0}")))
            .light_line_style(WHITE)
            .draw()?;
        for (name, points, colour, thin) in &lines {
            let style = colour.stroke_width(if *thin { 1 } else { 3 });
            chart
                .draw_series(LineSeries::new(points.iter().copied(), style))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        }
        let place = SeriesLabelPosition::UpperLeft;
        chart.configure_series_labels().position(place).background_style(WHITE.mix(0.8)).draw()?;
        Ok(())
    })
}

fn latency(csv: &Csv) -> Plot {
    const STEPS: [&str; 5] = ["p50", "p99", "p99.9", "p99.99", "max"];
    let rows: Vec<Row<'_>> = csv.rows().filter(|row| row.get("unit") == "ns cpu").collect();
    let loads = distinct(rows.iter().map(|row| row.get("load")));
    let values = || rows.iter().flat_map(|row| STEPS.map(|step| row.number(step) / 1000.));
    let (least, most) = values().fold((f64::MAX, 1f64), |(a, b), value| (a.min(value), b.max(value)));
    let lines = loads.len().div_ceil(2).max(1);
    sheet((900, 280 * lines as u32), |root| {
        for (area, load) in root.split_evenly((lines, 2)).iter().zip(&loads) {
            let mut chart = ChartBuilder::on(area)
                .caption(format!("{load}: us of CPU time per burst"), ("sans-serif", 14))
                .margin(8)
                .x_label_area_size(24)
                .y_label_area_size(48)
                .build_cartesian_2d(-0.3..4.3f64, (least * 0.8..most * 1.5).log_scale())?;
            chart
                .configure_mesh()
                .x_labels(5)
                .x_label_formatter(&|x| STEPS.get(x.round() as usize).copied().unwrap_or("").to_owned())
                .light_line_style(WHITE)
                .draw()?;
            for (at, case) in ["alone", "loaded"].into_iter().enumerate() {
                let row = rows.iter().find(|row| row.get("load") == *load && row.get("case") == case);
                let points: Vec<(f64, f64)> = row.map_or(Vec::new(), |row| {
                    STEPS.iter().enumerate().map(|(x, step)| (x as f64, row.number(step) / 1000.)).collect()
                });
                let style = colour(1 - at).stroke_width(2);
                chart
                    .draw_series(LineSeries::new(points.clone(), style))?
                    .label(case)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
                chart.draw_series(
                    points.iter().map(|point| Circle::new(*point, 3, colour(1 - at).filled())),
                )?;
            }
            let place = SeriesLabelPosition::UpperLeft;
            chart.configure_series_labels().position(place).background_style(WHITE.mix(0.8)).draw()?;
        }
        Ok(())
    })
}
