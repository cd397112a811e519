//! conntab's table side by side with other concurrent tables and with yardsticks: see README.md.
//!
//! Each structure is a [`Peer`], which gives each thread a [`Hands`]; [`field`] fills it and takes samples of it, [`run`]
//! interleaves the structures, [`report`] writes the rows.

use ::conntab::bench::Chains;

use crate::field::Work;

pub mod conntab;
pub mod field;
pub mod keys;
pub mod maps;
pub mod memory;
#[cfg(has_urcu)]
pub mod rculfhash;
pub mod report;
#[cfg(has_dpdk)]
pub mod rte_hash;
pub mod run;
pub mod yardstick;

/// A key of 40 bytes: five words, the very ones that conntab hashes and compares.
pub type Key = ::conntab::bench::Words;

/// The tuned size of a burst.
pub const BURST: usize = ::conntab::bench::BURST;

/// Where an expert of the structure keeps hold of an entry outside of it: conntab's handle, rculfhash's node. 0: nothing.
pub type Name = u64;

/// A structure under measurement, full or empty.
pub trait Peer: Sync {
    /// The access of thread `n`, made in that thread.
    fn hands(&self, n: usize) -> Box<dyn Hands + '_>;
    /// The same structure, used in another way ([`Maker::others`]); `None`: it is not ready for that.
    fn other_hands(&self, _: usize, _name: &str) -> Option<Box<dyn Hands + '_>> {
        None
    }
    /// Where the slots of conntab's table stand; nobody works on it.
    fn chains(&self) -> Option<Chains> {
        None
    }
    /// Gives a yardstick as many overflow buckets as a table has, and as many keys in them. Nobody works on it.
    fn chain(&mut self, _: &Chains) {}
    /// What must be told of it, if anything.
    fn remark(&self) -> Option<String> {
        None
    }
}

/// One thread's access to a structure. All loops over keys are inside, as each structure's own expert would write them.
///
/// `flows` are the numbers of the keys' flows, below the number of flows: only yardsticks look at them.
pub trait Hands {
    /// One call per key, inside a read section that is renewed every [`BURST`] calls; touches what it finds; how many it
    /// found.
    fn single(&mut self, keys: &[Key], flows: &[u32], now: u32) -> usize;
    /// The same in bursts of [`BURST`].
    fn burst(&mut self, keys: &[Key], flows: &[u32], now: u32) -> usize {
        self.single(keys, flows, now)
    }
    /// [`Self::burst`] for keys that are not there: only yardsticks must be told.
    fn miss(&mut self, keys: &[Key], flows: &[u32], now: u32) -> usize {
        self.burst(keys, flows, now)
    }
    /// Inserts new flows and writes their names; how many it inserted.
    fn insert(&mut self, _keys: &[Key], _names: &mut [Name], _now: u32) -> usize {
        unreachable!("a yardstick is no table")
    }
    /// Deletes flows; how many there were. What they held must come back by itself or by `reclaim`.
    fn delete(&mut self, _keys: &[Key], _names: &[Name]) -> usize {
        unreachable!("a yardstick is no table")
    }
    /// Called every few hundred deletions, inside the clock.
    fn reclaim(&mut self) {}
}

/// What is needed to make a structure.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Flows that it will hold.
    pub flows: usize,
    /// Threads that will change it at once.
    pub threads: usize,
    /// Make it small and let it grow, instead of presizing it.
    pub grow: bool,
}

/// A structure by name.
pub struct Maker {
    /// As in the rows.
    pub name: &'static str,
    /// Makes it; the error says why it cannot be made like this.
    pub make: fn(Size) -> Result<Box<dyn Peer>, String>,
    /// Bytes it will take at so many flows, more or less: for the plan.
    pub bytes: fn(usize) -> usize,
    /// It is no table: only lookups can be measured.
    pub yardstick: bool,
    /// Conntab's table of the same size, whose overflow buckets a yardstick has; "": none.
    pub like: &'static str,
    /// What can be measured once it is full.
    pub works: &'static [Work],
    /// Has two keys per flow: its lookups go in either direction.
    pub both: bool,
    /// Deletions and insertions at random that it sees before it is measured, in multiples of its flows, by default.
    pub turnovers: usize,
    /// Deletions take names.
    pub names: bool,
    /// Rows of [`Peer::other_hands`]: their names, and what can be measured.
    pub others: &'static [(&'static str, &'static [Work])],
}

impl Maker {
    /// The name of this structure and of its other rows.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.others.iter().map(|(name, _)| *name))
    }
}

/// All structures, in the order in which each round takes them. The yardsticks stand apart from each other: they share
/// nothing, but each finds the processor's cache as another structure has left it.
pub fn makers() -> Vec<Maker> {
    const HITS: &[Work] = &[Work::Single, Work::Hit];
    const LOOKUPS: &[Work] = &[Work::Single, Work::Hit, Work::Miss];
    let table = |name, make, bytes| Maker {
        name,
        make,
        bytes,
        yardstick: false,
        like: "",
        works: &Work::ALL,
        both: false,
        turnovers: 0,
        names: false,
        others: &[],
    };
    let yardstick = |name, make, bytes, works| Maker { yardstick: true, works, ..table(name, make, bytes) };
    let mut makers = vec![
        Maker {
            like: "conntab",
            others: &[("z32over", LOOKUPS), ("z32serial", LOOKUPS)],
            ..yardstick("z32", yardstick::z32, |n| n * 170, LOOKUPS)
        },
        Maker {
            both: true,
            turnovers: 20,
            names: true,
            others: &[("conntab_word", HITS)],
            ..table("conntab", conntab::both, |n| n * 180)
        },
    ];
    #[cfg(has_urcu)]
    makers.push(Maker { names: true, ..table("rculfhash", rculfhash::make, |n| n * 180) });
    makers.push(table("papaya", maps::papaya, |n| n * 210));
    makers.push(yardstick("y32", yardstick::y32, |n| n * 130, HITS));
    makers.push(Maker { turnovers: 20, names: true, ..table("onekey", conntab::one, |n| n * 160) });
    #[cfg(has_dpdk)]
    makers.push(table("rte_hash", rte_hash::make, |n| n * 250));
    makers.push(table("scc_map", maps::scc_map, |n| n * 230));
    makers.push(Maker {
        like: "onekey",
        others: &[("z32smallover", LOOKUPS)],
        ..yardstick("z32small", yardstick::z32small, |n| n * 150, LOOKUPS)
    });
    makers.push(table("scc_index", maps::scc_index, |n| n * 230));
    makers.push(table("dashmap", maps::dashmap, |n| n * 230));
    makers
}

/// Structures that this build leaves out, with the reason.
pub fn missing() -> Vec<(&'static str, &'static str)> {
    let mut missing = Vec::new();
    if cfg!(not(has_urcu)) {
        missing.push(("rculfhash", "liburcu-dev was not found by pkg-config when this was built"));
    }
    if cfg!(not(has_dpdk)) {
        missing.push(("rte_hash", "libdpdk-dev was not found by pkg-config when this was built"));
    }
    missing
}
