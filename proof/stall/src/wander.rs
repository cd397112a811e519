//! A thread that does all sorts of things until a signal stops it, and goes on when it is let go, until it is told that it is enough.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use conntab::{Handle, Packet, Verdict};
use conntab_bench::Random;

use crate::scene::{Scene, Stage};
use crate::stop::Anywhere;
use crate::traffic::{BURST, Driver, Raw, Tally, VICTIM, established};

/// Of established traffic, it has packets of so many flows.
pub const TOUCHED: usize = 32;

/// First packets of flows of its own. They are made beforehand, so that a signal meets it where it uses them.
const FLOWS: u32 = 8192;

fn fresh() -> &'static [Packet<'static>] {
    static RAW: OnceLock<Vec<Raw>> = OnceLock::new();
    static PACKETS: OnceLock<Vec<Packet<'static>>> = OnceLock::new();
    let raw = RAW.get_or_init(|| (VICTIM..VICTIM + FLOWS).map(|flow| Raw::udp(flow, false)).collect());
    PACKETS.get_or_init(|| raw.iter().map(Raw::packet).collect())
}

pub fn wander(stage: &Stage<'_>, anywhere: &Anywhere, seed: u64, begun: &AtomicBool) -> Tally {
    let mut chance = Random(seed | 1);
    let mut d = Driver::without_clock(stage.table);
    let (fresh, mut next) = (fresh(), 0);
    let mut mine: Vec<Handle> = Vec::with_capacity(1024);
    let mut verdicts = [Verdict::default(); BURST];
    let mut max = stage.most;
    anywhere.here();
    while !anywhere.is_enough() {
        begun.store(true, SeqCst);
        match chance.below(if stage.scene == Scene::Raise { 16 } else { 8 }) {
            0 | 1 => {
                let first = 2 * chance.below((TOUCHED * 2 - BURST) / 2 + 1);
                d.pass(stage.time(), &established()[first..first + BURST], &mut verdicts);
            }
            2 | 3 => {
                stage.at.store(VICTIM + next as u32, SeqCst);
                d.pass(stage.time(), &fresh[next..next + BURST], &mut verdicts);
                mine.extend(verdicts.iter().map(|verdict| verdict.conn).filter(|conn| !conn.is_none()));
                next = (next + BURST) % fresh.len();
                if mine.len() > 600 {
                    d.delete(&mine);
                    mine.clear();
                }
            }
            4 => {
                d.delete(&mine);
                mine.clear();
            }
            5 => d.reap(stage.time(), 1024),
            6 => {
                let burst = &fresh[next..next + BURST];
                Anywhere::inside(|| d.worker.track(stage.time(), burst, &mut verdicts));
                d.count(&verdicts);
            }
            7 => {
                if let Some(conn) = mine.pop() {
                    d.tally.deleted += u64::from(Anywhere::inside(|| stage.table.delete(conn)));
                }
            }
            _ => {
                max = (max + max / 4).min(4 * stage.most);
                let _ = Anywhere::inside(|| stage.table.set_max(max));
            }
        }
    }
    d.delete(&mine);
    d.tally
}
