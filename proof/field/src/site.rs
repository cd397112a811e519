//! A table in the soak, all that was seen of it, and whether that agrees with what it has counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use conntab::helper::Ftp;
use conntab::{Config, CtState, EventKind, Stats, Table};

use crate::host;
use crate::packets::{SERVER, udp};
use crate::traffic::Seen;

/// Room for what a thread can tell between two looks at its queue: 32 bursts, a slice of the reaper.
pub const QUEUE: u32 = 1 << 15;

/// A table and all that was seen of it.
pub struct Site {
    pub table: Table,
    /// Events by kind.
    told: [AtomicU64; 5],
    pub seen: Mutex<Seen>,
}

impl Site {
    pub fn new(max: u32, most: u32, events: u32) -> Result<Self, String> {
        let mut config = Config {
            max_reserve: most,
            events,
            acct: true,
            timestamp: true,
            user_data: 8,
            expect_max: 512,
            helper_max: 16_384,
            ..host::config(max)
        };
        let t = &mut config.tunables;
        (t.udp_timeout, t.udp_timeout_stream, t.icmp_timeout, t.generic_timeout) = (10, 30, 5, 10);
        (t.tcp_timeout_syn_sent, t.tcp_timeout_established, t.tcp_timeout_time_wait) = (20, 60, 5);
        let table = host::table(config)?;
        table.add_helper(Arc::new(Ftp)).map_err(|error| error.to_string())?;
        Ok(Self { table, told: Default::default(), seen: Mutex::default() })
    }

    pub fn read_events(&self) {
        for event in self.table.events() {
            self.told[event.kind as usize].fetch_add(1, Relaxed);
        }
    }

    fn told(&self, kind: EventKind) -> u64 {
        self.told[kind as usize].load(Relaxed)
    }

    /// Every count agrees with every other. Nobody is at work.
    pub fn books(&self) -> Result<Stats, String> {
        self.read_events();
        let stats = host::balanced(&self.table)?;
        let usage = self.table.usage();
        let seen = *self.seen.lock().map_err(|error| error.to_string())?;
        equal!(stats.insert, seen.opened, "inserted, and seen to be");
        equal!(stats.drop, seen.dropped, "drop, and packets seen to be dropped");
        equal!(stats.invalid, seen.invalid, "invalid, and packets seen to be");
        equal!(stats.expect_create - stats.expect_delete, u64::from(usage.expectations), "expectations");
        equal!(stats.late_sweep, 0, "late sweeps");
        if self.table.config().events == 0 {
            return Ok(stats);
        }
        let live = u64::from(usage.connections);
        let missing = [
            (EventKind::New, stats.insert),
            (EventKind::Destroy, stats.insert - live),
            (EventKind::ExpectNew, stats.expect_create),
            (EventKind::ExpectDestroy, stats.expect_delete),
        ];
        let mut lost = 0;
        for (kind, happened) in missing {
            let told = self.told(kind);
            hold!(told <= happened, "{told} events {}, but {happened} happened", kind.as_str());
            lost += happened - told;
        }
        // (What is lost beside these are UPDATEs.)
        hold!(lost <= stats.events_lost, "{lost} events are missing, {} were lost", stats.events_lost);
        Ok(stats)
    }

    /// Ends all connections: in pieces, so that no event is lost, or at once.
    fn drain(&self) {
        if self.table.config().events == QUEUE {
            loop {
                let some: Vec<_> =
                    self.table.dump(0).take(4096).map(|connection| connection.handle).collect();
                for conn in &some {
                    self.table.delete(*conn);
                }
                self.read_events();
                if some.len() < 4096 {
                    break;
                }
            }
        }
        // What has expired is not shown.
        self.table.flush();
        self.read_events();
    }

    /// Empty, then full to the last place, then empty: no permit, entry, slot or bucket is lost.
    pub fn settle(&self, now: u64) -> Result<(Stats, u32), String> {
        self.drain();
        let stats = self.books()?;
        let reaps = host::all_free(&self.table, now)?;
        let max = self.table.usage().max;
        let mut worker = host::worker(&self.table)?;
        let packet = |n: u32| udp((0x1400_0000 + n, 9), (SERVER, 9), &[]);
        for n in 0..max {
            let verdict = host::pass(&mut worker, now, &packet(n));
            hold!(!verdict.conn.is_none() && !verdict.unconfirmed, "no place for {n} of {max}: {verdict:?}");
            if n % 4096 == 0 {
                self.read_events();
            }
        }
        worker.idle();
        equal!(
            (self.table.count(), self.table.dump(now).count() as u32),
            (max, max),
            "connections once full"
        );
        for n in 0..max {
            let tuple = host::tuple(conntab::tuple::protocol::UDP, (0x1400_0000 + n, 9), (SERVER, 9));
            hold!(worker.section().lookup(now, 0, &tuple).is_some(), "connection {n} of {max} is not found");
        }
        // One more takes another's place, or is refused.
        let more = host::pass(&mut worker, now, &packet(max));
        drop(worker);
        equal!(self.table.count(), max, "connections after one more than there may be");
        let mut seen = self.seen.lock().map_err(|error| error.to_string())?;
        seen.opened += u64::from(max) + u64::from(more.state == CtState::New);
        seen.dropped += u64::from(more.state == CtState::Drop);
        drop(seen);
        self.drain();
        self.books()?;
        Ok((stats, reaps.max(host::all_free(&self.table, now)?)))
    }
}
