//! The rows.

use std::collections::BTreeMap;

/// Head of the rows.
pub const HEAD: &str = "structure,key_bytes,flows,threads,workload,min,median,max,unit";

/// What identifies a row: flows, threads and workload before the structure, so that those that compare stand together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// How many flows.
    pub flows: usize,
    /// Place of the workload in the order of the report, and its name.
    pub workload: (usize, &'static str),
    /// Threads at work.
    pub threads: usize,
    /// Place of the structure in the order of the rounds.
    pub place: usize,
    /// Its name.
    pub structure: &'static str,
    /// Of the values.
    pub unit: &'static str,
}

/// Samples by row.
#[derive(Default)]
pub struct Report {
    samples: BTreeMap<Row, Vec<f64>>,
    /// Lines that were remarked, without `# `.
    remarks: Vec<String>,
}

impl Report {
    /// One more sample.
    pub fn add(&mut self, row: Row, value: f64) {
        self.samples.entry(row).or_default().push(value);
    }

    /// A comment, once however often it is made.
    pub fn remark(&mut self, text: String) {
        if !self.remarks.contains(&text) {
            self.remarks.push(text);
        }
    }

    /// Writes what there is as lines, and forgets it.
    pub fn take(&mut self) -> Vec<String> {
        let mut lines: Vec<String> = self.remarks.drain(..).map(|text| format!("# {text}")).collect();
        for (row, values) in std::mem::take(&mut self.samples) {
            let [min, median, max] = conntab_bench::three(values).expect("a row has samples");
            let Row { structure, flows, threads, workload: (_, workload), unit, .. } = row;
            lines.push(format!(
                "{structure},40,{flows},{threads},{workload},{min:.2},{median:.2},{max:.2},{unit}"
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let mut report = Report::default();
        let row = Row { flows: 10, workload: (0, "w"), threads: 1, place: 0, structure: "s", unit: "u" };
        for value in [3.0, 1.0, 2.0] {
            report.add(row.clone(), value);
        }
        report.remark("twice".to_owned());
        report.remark("twice".to_owned());
        assert_eq!(report.take(), ["# twice", "s,40,10,1,w,1.00,2.00,3.00,u"]);
        for value in [4.0, 1.0] {
            report.add(row.clone(), value);
        }
        assert_eq!(report.take(), ["s,40,10,1,w,1.00,2.50,4.00,u"]);
    }
}
