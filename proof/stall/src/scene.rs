//! Scenes in which a thread comes by all the steps, and what it and the others know of each other.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use conntab::Table;

use crate::stop::Stop;

/// A scene. The thread plays it again and again until it was stopped and let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Established traffic of one connection.
    Tcp,
    Udp,
    /// A connection is reset: its timeout becomes shorter.
    Reset,
    /// Connections are opened and deleted.
    Open,
    /// The same with entries that have been used before.
    Recycle,
    /// Connections are opened, and not confirmed.
    Abandon,
    /// Many: chains get overflow buckets, and lose them.
    Crowd,
    /// The table is full.
    Full,
    /// When the connection is confirmed, another that has expired has its tuples.
    Late,
    /// Another is about to insert the same.
    Clash,
    /// Another has closed an overflow bucket, and not unlinked it.
    Closed,
    Delete,
    Control,
    Reap,
    Expire,
    /// `max` is raised by this thread; by another, which stands still.
    Grow,
    Help,
    /// Another has frozen a chain, where something is to be placed, or cleared.
    MeetPlace,
    MeetClear,
    /// Events are told; are taken.
    Events,
    Listen,
    Expect,
    Tune,
    Policy,
    Dump,
    Section,
    /// All sorts of things, until a signal comes; the same with another `max` now and then.
    Wander,
    Raise,
}

use Scene::*;

impl Scene {
    /// Whether the table grows.
    pub fn grows(self) -> bool {
        matches!(self, Grow | Help | MeetPlace | MeetClear | Raise)
    }

    /// Whether a second thread stands still on the way to the step.
    pub fn takes_two(self) -> bool {
        matches!(self, Clash | Closed | Help | MeetPlace | MeetClear)
    }

    /// Whether it must meet one chain of all: then the table is small.
    pub fn is_narrow(self) -> bool {
        matches!(self, MeetPlace | MeetClear)
    }

    /// Whether events are told.
    pub fn tells(self) -> bool {
        matches!(self, Events | Listen)
    }
}

/// What the thread and the others know of each other.
pub struct Stage<'t> {
    pub table: &'t Table,
    pub scene: Scene,
    /// The time, in ms: one clock for all.
    pub now: AtomicU64,
    /// The burst of flows that the thread is opening.
    pub at: AtomicU32,
    /// Others that stand still so that it comes by its step.
    pub helpers: Mutex<Vec<&'static Stop>>,
    /// Events taken, by kind.
    pub told: [AtomicU64; 5],
    /// Connections that the scene may hold beside the established.
    pub room: u32,
    pub most: u32,
}

impl Stage<'_> {
    pub fn time(&self) -> u64 {
        self.now.load(SeqCst)
    }

    pub fn later(&self, ms: u64) -> u64 {
        self.now.fetch_add(ms, SeqCst) + ms
    }

    /// Takes events, so many at most.
    pub fn listen(&self, most: usize) {
        for event in self.table.events().take(most) {
            self.told[event.kind as usize].fetch_add(1, SeqCst);
        }
    }

    /// The helpers go on, and come to their ends: one thread alone shall stand still.
    pub fn resume_helpers(&self) -> Result<(), String> {
        let helpers = std::mem::take(&mut *self.helpers.lock().expect("nobody panics"));
        helpers.iter().for_each(|stop| stop.resume());
        for stop in helpers {
            stop.ended()?;
        }
        Ok(())
    }
}
