//! The order of things: which structures stand in memory together, and who is measured when.

use std::time::Instant;

use ::conntab::bench::Chains;

use crate::field::{Field, Work};
use crate::memory::{self, Resident};
use crate::report::{Report, Row};
use crate::{Maker, Size, makers, missing};

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names; empty: all. Yardsticks are always there.
    pub structures: Vec<String>,
    /// Sizes, one after another.
    pub flows: Vec<usize>,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// Workloads; empty: all.
    pub workloads: Vec<String>,
    /// Samples of each row of `single-hit`, bursts and churn.
    pub rounds: usize,
    /// Samples of each row of `insert` and `insert-grow`: each builds the structure anew.
    pub fill_rounds: usize,
    /// Instead of each structure's own.
    pub turnovers: Option<usize>,
    /// Operations of a sample in each thread.
    pub ops: usize,
    /// Bytes that structures may take together; `None`: what the machine has left.
    pub memory: Option<usize>,
}

/// Workloads in the order of the report.
pub const WORKLOADS: [&str; 9] = [
    "single-hit",
    "burst32-hit",
    "burst32-miss",
    "insert",
    "insert-grow",
    "churn",
    "churn-mixed",
    "memory",
    "memory-index",
];

fn workload(name: &str) -> (usize, &'static str) {
    let place = WORKLOADS.iter().position(|known| *known == name).expect("a workload");
    (place, WORKLOADS[place])
}

fn name(work: Work) -> &'static str {
    match work {
        Work::Single => "single-hit",
        Work::Hit => "burst32-hit",
        Work::Miss => "burst32-miss",
        Work::Churn => "churn",
        Work::ChurnMixed => "churn-mixed",
    }
}

/// Writes lines of the report.
pub type Out<'o> = &'o mut dyn FnMut(&str);

/// A run.
pub struct Run<'p> {
    plan: &'p Plan,
    makers: Vec<Maker>,
    report: Report,
    begin: Instant,
    /// Bytes that a structure of this name takes when it holds so many flows and nothing else is in its process.
    resident: &'p dyn Fn(&str, usize) -> Result<usize, String>,
}

impl<'p> Run<'p> {
    /// Prepares it.
    pub fn new(plan: &'p Plan, resident: &'p dyn Fn(&str, usize) -> Result<usize, String>) -> Self {
        let mut makers = makers();
        let wanted = |maker: &Maker| {
            let named = |name: &str| plan.structures.iter().any(|wanted| wanted == name);
            maker.yardstick || plan.structures.is_empty() || maker.names().any(named)
        };
        makers.retain(wanted);
        Self { plan, makers, report: Report::default(), begin: Instant::now(), resident }
    }

    /// All of it.
    pub fn run(&mut self, out: Out<'_>) {
        for (name, why) in missing() {
            out(&format!("# {name}: not measured: {why}"));
        }
        out(crate::report::HEAD);
        let makers = std::mem::take(&mut self.makers);
        for maker in &makers {
            // What libraries take when they are first used must not be counted against a row.
            let _ = Field::new(maker, Size { flows: 2000, threads: 1, grow: false });
        }
        for &flows in &self.plan.flows {
            self.fills(&makers, flows);
            self.memory(&makers, flows);
            self.full(&makers, flows);
            for line in self.report.take() {
                out(&line);
            }
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.plan.workloads.is_empty() || self.plan.workloads.iter().any(|wanted| wanted == name)
    }

    fn say(&self, text: &str) {
        eprintln!("{:7.1} s  {text}", self.begin.elapsed().as_secs_f64());
    }

    fn add(&mut self, (place, structure): (usize, &'static str), size: Size, name: &str, value: f64) {
        let workload = workload(name);
        let unit = if name.starts_with("memory") { "B/flow" } else { "Mops/s" };
        let Size { flows, threads, .. } = size;
        self.report.add(Row { flows, workload, threads, place, structure, unit }, value);
    }

    fn check_pages(&mut self, field: &Field<'_>, what: &str, flows: usize) {
        if let Some(small) = field.on_small_pages() {
            let name = field.maker.name;
            self.report.remark(format!(
                "invalid: {name} {what} at {flows} flows: {} MB on small pages",
                small >> 20
            ));
        }
    }

    /// Insertion into an empty structure, presized and growing.
    fn fills(&mut self, makers: &[Maker], flows: usize) {
        for (grow, name) in [(false, "insert"), (true, "insert-grow")] {
            if !self.wants(name) {
                continue;
            }
            for round in 0..self.plan.fill_rounds {
                for &threads in &self.plan.threads {
                    self.say(&format!("{flows} flows: {name}, round {}, {threads} threads", round + 1));
                    for (place, maker) in makers.iter().enumerate().filter(|(_, maker)| !maker.yardstick) {
                        let size = Size { flows, threads, grow };
                        // Small ones several times: a filling takes too short.
                        let times = (self.plan.ops / 5 / flows).clamp(1, 20);
                        let mut sum = 0.0;
                        for _ in 0..times {
                            match Field::new(maker, size) {
                                Ok(field) => {
                                    sum += 1.0 / field.filled;
                                    self.check_pages(&field, name, flows);
                                }
                                Err(why) => {
                                    sum = f64::NAN;
                                    self.report.remark(format!("{} {name}: not measured: {why}", maker.name));
                                    break;
                                }
                            }
                        }
                        if sum.is_finite() {
                            self.add((place, maker.name), size, name, times as f64 / sum);
                        }
                    }
                }
            }
        }
    }

    fn memory(&mut self, makers: &[Maker], flows: usize) {
        if !self.wants("memory") && !self.wants("memory-index") {
            return;
        }
        for (place, maker) in makers.iter().enumerate().filter(|(_, maker)| !maker.yardstick) {
            self.say(&format!("{flows} flows: memory of {}", maker.name));
            match (self.resident)(maker.name, flows) {
                Ok(bytes) => {
                    let size = Size { flows, threads: 1, grow: false };
                    let all = bytes as f64 / flows as f64;
                    self.add((place, maker.name), size, "memory", all);
                    self.add((place, maker.name), size, "memory-index", all - 128.0);
                }
                Err(why) => self.report.remark(format!("{} memory: not measured: {why}", maker.name)),
            }
        }
    }

    /// What is measured on full structures: all that fit stand in memory together, yardsticks and those that must be aged always.
    fn full(&mut self, makers: &[Maker], flows: usize) {
        if !Work::ALL.iter().any(|work| self.wants(name(*work))) {
            return;
        }
        let threads = self.plan.threads.iter().copied().max().unwrap_or(1);
        let size = Size { flows, threads, grow: false };
        let stays = |maker: &Maker| maker.yardstick || maker.turnovers > 0;
        let bytes = |maker: &Maker| (maker.bytes)(flows) + 12 * flows;
        let room = self.plan.memory.unwrap_or(conntab_bench::free_memory() as usize / 16 * 15);
        let mut left = room.saturating_sub(makers.iter().filter(|maker| stays(maker)).map(bytes).sum());
        let all = left;
        let mut groups: Vec<Vec<usize>> = vec![Vec::new()];
        for (place, maker) in makers.iter().enumerate().filter(|(_, maker)| !stays(maker)) {
            let full = bytes(maker) > left && groups.last().is_some_and(|group| !group.is_empty());
            if full {
                groups.push(Vec::new());
                left = all;
            }
            left = left.saturating_sub(bytes(maker));
            groups.last_mut().expect("one").push(place);
        }
        let mut fields: Vec<Option<Field<'_>>> = makers.iter().map(|_| None).collect();
        for (group_no, group) in groups.iter().enumerate() {
            for (place, maker) in makers.iter().enumerate() {
                if group.contains(&place) || stays(maker) {
                    if fields[place].is_none() {
                        fields[place] = self.field(maker, size);
                    }
                } else {
                    fields[place] = None;
                }
            }
            if group_no == 0 {
                self.chain(&mut fields, size);
            }
            let names: Vec<_> = fields.iter().flatten().map(|field| field.maker.name).collect();
            self.report.remark(format!("{flows} flows, interleaved: {}", names.join(" ")));
            self.rounds(&mut fields, size);
        }
    }

    /// Gives the yardsticks as many keys in overflow buckets as conntab's tables have now.
    fn chain(&mut self, fields: &mut [Option<Field<'_>>], size: Size) {
        for place in 0..fields.len() {
            let Some(field) = &fields[place] else { continue };
            let Some(chains) = field.chains() else { continue };
            let maker = field.maker;
            let keys = if maker.both { 2 } else { 1 };
            assert_eq!(chains.slots, (size.flows * keys) as u64, "a slot for each key");
            let Chains { heads, linked, slots, second, further } = chains;
            self.report.remark(format!(
                "{} at {} flows: of {slots} keys {:.2}% in second buckets of chains, {:.3}% in further ones; \
                 {:.2}% of {heads} heads have an overflow bucket",
                maker.name,
                size.flows,
                second as f64 / slots as f64 * 100.0,
                further as f64 / slots as f64 * 100.0,
                linked as f64 / heads as f64 * 100.0,
            ));
            fields.iter_mut().flatten().filter(|field| field.maker.like == maker.name).for_each(
                |yardstick| {
                    yardstick.chain(&chains);
                },
            );
        }
    }

    fn field<'m>(&mut self, maker: &'m Maker, size: Size) -> Option<Field<'m>> {
        self.say(&format!("{} flows: filling {}", size.flows, maker.name));
        let mut field = match Field::new(maker, size) {
            Ok(field) => field,
            Err(why) => {
                self.report.remark(format!("{}: not measured: {why}", maker.name));
                return None;
            }
        };
        let turnovers = self.plan.turnovers.unwrap_or(maker.turnovers);
        if maker.turnovers > 0 && turnovers > 0 {
            field.age(turnovers);
            self.report
                .remark(format!("{} at {} flows: after {turnovers} turnovers", maker.name, size.flows));
        }
        field.collapse();
        self.check_pages(&field, "full", size.flows);
        Some(field)
    }

    fn rounds(&mut self, fields: &mut [Option<Field<'_>>], full: Size) {
        // Once without counting: what was filled long ago has left the caches, and perhaps the host's memory.
        for field in fields.iter_mut().flatten() {
            field.sample(Work::Hit, full.threads, self.plan.ops, 0xffff, "");
        }
        let before = Resident::now().small();
        let works: Vec<Work> = Work::ALL.into_iter().filter(|work| self.wants(name(*work))).collect();
        for round in 0..self.plan.rounds {
            // A system that looks for idle memory may have split huge pages meanwhile.
            memory::collapse(&memory::large());
            for &threads in &self.plan.threads {
                self.say(&format!("{} flows: round {}, {threads} threads", full.flows, round + 1));
                for (w, &work) in works.iter().enumerate() {
                    let seed = (round * Work::ALL.len() + w) as u64;
                    let size = Size { threads, ..full };
                    // What has churned is not what was filled any more: it is measured last, and again in the next round.
                    for (place, field) in fields.iter_mut().enumerate() {
                        let Some(field) = field else { continue };
                        let maker = field.maker;
                        if maker.works.contains(&work) {
                            let value = field.sample(work, threads, self.plan.ops, seed, "");
                            self.add((place, maker.name), size, name(work), value);
                        }
                        for (n, (other, works)) in maker.others.iter().enumerate() {
                            if works.contains(&work) && field.has(other) {
                                // Keys that have not just been looked up.
                                let seed = seed + 1000 * (n as u64 + 1);
                                let value = field.sample(work, threads, self.plan.ops, seed, other);
                                self.add((place, other), size, name(work), value);
                            }
                        }
                    }
                }
            }
        }
        let split = Resident::now().small().saturating_sub(before);
        if split > (16 << 20).max(full.flows * 4) {
            self.report.remark(format!("invalid: {} MB on small pages after the rounds", split >> 20));
        }
        for field in fields.iter().flatten() {
            if let Some(remark) = field.remark() {
                self.report.remark(format!("{}: {remark}", field.maker.name));
            }
        }
    }
}

/// Fills one structure in this process, which does nothing else: bytes that became resident.
pub fn resident(name: &str, flows: usize) -> Result<usize, String> {
    let makers = makers();
    let maker = makers.iter().find(|maker| maker.name == name).ok_or("no such structure")?;
    let size = Size { flows, threads: 1, grow: false };
    // Once in small, for what libraries and threads take by themselves.
    drop(Field::new(maker, Size { flows: 2000, ..size })?);
    let field = Field::new(maker, size)?;
    Ok(field.after.all.saturating_sub(field.before.all))
}
