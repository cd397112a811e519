//! Those who must not wait: one thread with established traffic, and one that opens, deletes and reaps.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use conntab::{CtState, Handle, Reason, Verdict};

use crate::scene::Stage;
use crate::stop::sleeps;
use crate::traffic::{BURST, CHURN, Driver, Raw, established};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Normal,
    /// The same flows as the thread that stands still opens are opened, too, and kept.
    Contend,
    /// What was kept is deleted first.
    Clear,
}

/// What a slice came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slice {
    /// CPU time in calls, in ns; that of the longest of each kind.
    pub spent: u64,
    pub longest: [u64; 4],
    /// How often the thread slept.
    pub slept: u64,
    /// Packets judged by their connection's state; packets of the first connection.
    pub busy: u64,
    pub of_first: u64,
}

/// Established traffic: each flow in both directions, twice in a slice.
pub struct Established<'s, 't> {
    stage: &'s Stage<'t>,
    conns: &'s [Handle],
    /// So many flows are the other thread's, too: its packets may be at their records.
    touched: usize,
    done: &'s AtomicBool,
    pub d: Driver,
}

impl<'s, 't> Established<'s, 't> {
    pub fn new(stage: &'s Stage<'t>, conns: &'s [Handle], touched: usize, done: &'s AtomicBool) -> Self {
        Self { stage, conns, touched, done, d: Driver::new(stage.table) }
    }

    pub fn slice(&mut self, _: Work) -> Result<Slice, String> {
        let (busy, slept) = (self.d.tally.busy, sleeps());
        (self.d.spent, self.d.longest) = (0, [0; 4]);
        let mut of_first = 0;
        let packets = &established()[..2 * self.conns.len()];
        for _ in 0..2 {
            for (at, burst) in packets.chunks(BURST).enumerate() {
                let mut verdicts = [Verdict::default(); BURST];
                let verdicts = &mut verdicts[..burst.len()];
                self.d.pass(self.stage.time(), burst, verdicts);
                for (i, verdict) in verdicts.iter().enumerate() {
                    let flow = (at * BURST + i) / 2;
                    of_first += u64::from(flow == 0);
                    let known = (verdict.conn, verdict.state) == (self.conns[flow], CtState::Established);
                    let busy = verdict.reason == Reason::Busy && flow < self.touched;
                    if !known || !(verdict.reason == Reason::None || busy) {
                        self.done.store(true, SeqCst);
                        return Err(format!("established flow {flow}: {verdict:?}"));
                    }
                }
            }
        }
        let slept = sleeps() - slept;
        self.d.worker.idle();
        self.done.store(true, SeqCst);
        let Driver { spent, longest, tally, .. } = self.d;
        Ok(Slice { spent, longest, slept, busy: tally.busy - busy, of_first })
    }
}

/// New connections, confirmed and deleted, and a slice of reaping now and then, for as long as the other one's slice takes.
pub struct Churn<'s, 't> {
    stage: &'s Stage<'t>,
    done: &'s AtomicBool,
    next: u32,
    /// What it has opened of the other thread's.
    kept: Vec<Handle>,
    pub d: Driver,
}

/// New connections of a slice, at most: far fewer than there are free entries.
const BURSTS: u32 = 48;

impl<'s, 't> Churn<'s, 't> {
    pub fn new(stage: &'s Stage<'t>, done: &'s AtomicBool) -> Self {
        Self { stage, done, next: CHURN, kept: Vec::with_capacity(256), d: Driver::new(stage.table) }
    }

    pub fn slice(&mut self, work: Work) -> Result<Slice, String> {
        (self.d.spent, self.d.longest) = (0, [0; 4]);
        let slept = sleeps();
        let at = self.stage.at.load(SeqCst);
        if work == Work::Contend && at != 0 {
            for reply in [false, true] {
                let raw = (at..at + BURST as u32).map(|flow| Raw::udp(flow, reply));
                let verdicts = self.d.send(self.stage.time(), raw);
                self.kept.extend(verdicts.iter().map(|verdict| verdict.conn).filter(|conn| !conn.is_none()));
            }
        } else if work == Work::Clear {
            let kept = std::mem::take(&mut self.kept);
            self.d.delete(&kept);
        }
        for burst in 1..=BURSTS {
            let conns = self.d.open(self.stage.time(), self.next);
            self.next += BURST as u32;
            self.d.delete(&conns);
            if burst % 8 == 0 {
                self.d.reap(self.stage.time(), 1024);
            }
            if self.done.load(SeqCst) {
                break;
            }
        }
        let slept = sleeps() - slept;
        self.d.worker.idle();
        while !self.done.swap(false, SeqCst) {
            std::thread::yield_now();
        }
        let Driver { spent, longest, .. } = self.d;
        Ok(Slice { spent, longest, slept, ..Slice::default() })
    }

    pub fn end(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        self.d.delete(&kept);
    }
}
