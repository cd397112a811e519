//! conntab's side: a table that has seen its turnovers, and packets through `track` and `confirm` in bursts of 32.

use std::time::Duration;

use conntab::packet::packet_flag::CHECKSUM_OK;
use conntab::tuple::{Tuple, protocol};
use conntab::{Config, CtState, Handle, Packet, Reason, Table, Verdict, Worker};

use conntab_bench::{Clock, Random};

use crate::packets::{self, Slot};
use crate::traffic::{CHUNK, Protocol, Traffic};
use crate::{Error, Tracker};

const BURST: usize = 32;
/// Connections that a step of a turnover deletes and opens.
const STEP: usize = 512;

pub struct Conntab {
    table: Table,
    worker: Worker,
    /// Milliseconds: one for each chunk.
    now: u64,
    slots: Box<[Slot]>,
    verdicts: Box<[Verdict]>,
    traffic: Traffic,
}

fn config(flows: usize) -> Config {
    let mut config = Config { max: (flows as u32).max(64), workers: 1, ..Config::default() };
    // As the script sets the kernel's.
    config.tunables.udp_timeout = 600;
    config.tunables.udp_timeout_stream = 600;
    config
}

/// `n` different places of `all`, at random.
fn choose(random: &mut Random, all: usize, n: usize, chosen: &mut [bool]) -> Vec<usize> {
    let mut places = Vec::with_capacity(n);
    while places.len() < n {
        let place = random.below(all);
        if !std::mem::replace(&mut chosen[place], true) {
            places.push(place);
        }
    }
    places.iter().for_each(|&place| chosen[place] = false);
    places
}

impl Conntab {
    /// `flows` connections after `turnovers` times as many deletions and openings at random, and room for `room` more.
    pub fn new(protocol: Protocol, flows: usize, turnovers: usize, room: usize) -> Result<Self, Error> {
        let table = Table::new(config(flows + room))?;
        let mut this = Self {
            worker: table.worker()?,
            table,
            now: 1_000_000,
            slots: vec![Slot::EMPTY; CHUNK].into(),
            verdicts: vec![Verdict::default(); CHUNK].into(),
            traffic: Traffic::new(protocol, std::iter::empty(), 0),
        };
        let mut ids: Vec<u32> = Vec::with_capacity(flows);
        let mut handles = Vec::with_capacity(flows);
        while ids.len() < flows {
            let n = STEP.min(flows - ids.len());
            ids.extend(ids.len() as u32..(ids.len() + n) as u32);
            handles.extend(this.open(n)?);
        }
        let (mut random, mut chosen) = (Random(0x2545_f491_4f6c_dd1d), vec![false; flows]);
        let (mut done, mut next_id) = (0, flows as u32);
        while done < turnovers * flows {
            let places = choose(&mut random, flows, STEP.min(flows), &mut chosen);
            this.bring_in(places.iter().map(|&place| ids[place]));
            this.delete(places.iter().map(|&place| handles[place]))?;
            for (&place, handle) in places.iter().zip(this.open(places.len())?) {
                (ids[place], handles[place]) = (next_id, handle);
                next_id += 1;
            }
            done += places.len();
        }
        for ids in ids.chunks(CHUNK) {
            for write in &protocol.opening()[1..] {
                this.slots.iter_mut().zip(ids).for_each(|(slot, &id)| write(slot, id));
                this.play(ids.len(), false);
                this.check(ids.len(), CtState::Established)?;
            }
        }
        this.traffic = Traffic::new(protocol, ids.into_iter(), next_id);
        Ok(this)
    }

    /// Its traffic from here on.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    pub fn about(&self) -> String {
        let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
        let huge =
            text.lines().find_map(|line| line.strip_prefix("AnonHugePages:")).map_or("unknown", str::trim);
        let (table, buckets) = (self.table.memory() >> 10, self.table.config().buckets());
        format!("conntab: {buckets} buckets, {table} kB, {huge} of the process on 2 MB pages")
    }

    /// Opens the next `n` connections.
    fn open(&mut self, n: usize) -> Result<Vec<Handle>, Error> {
        self.traffic.fresh(&mut self.slots[..n]);
        self.play(n, true);
        self.check(n, CtState::New)?;
        Ok(self.verdicts[..n].iter().map(|verdict| verdict.conn).collect())
    }

    /// Brings the lines of these connections into the cache: single deletions would wait for each.
    fn bring_in(&mut self, ids: impl Iterator<Item = u32> + Clone) {
        let l4 = if self.traffic.protocol == Protocol::Tcp { protocol::TCP } else { protocol::UDP };
        for reply in [false, true] {
            let tuples: Vec<Tuple> =
                ids.clone().map(|id| Tuple { l4, ..packets::tuple(id, reply) }).collect();
            let mut section = self.worker.section();
            for tuples in tuples.chunks(BURST) {
                section.lookup_burst(self.now, 0, tuples, &mut [None; BURST]);
            }
        }
    }

    fn delete(&mut self, handles: impl Iterator<Item = Handle>) -> Result<(), Error> {
        for handle in handles {
            if !self.worker.delete(handle) {
                return Err("conntab: a connection is gone".into());
            }
        }
        self.worker.reap(self.now, 0);
        Ok(())
    }

    /// The first `n` slots through the path.
    fn play(&mut self, n: usize, confirm: bool) -> Duration {
        let describe = |slot| -> Packet<'_> {
            let slot: &Slot = slot;
            Packet::new(&slot.bytes[..slot.headers as usize]).with_len(slot.wire).with_flags(CHECKSUM_OK)
        };
        let packets: Vec<Packet<'_>> = self.slots[..n].iter().map(describe).collect();
        self.now += 1;
        let clock = Clock::start();
        for (packets, verdicts) in packets.chunks(BURST).zip(self.verdicts.chunks_mut(BURST)) {
            let verdicts = &mut verdicts[..packets.len()];
            self.worker.track(self.now, packets, verdicts);
            if confirm {
                self.worker.confirm(self.now, verdicts, u64::MAX);
            }
        }
        clock.stop()
    }

    fn check(&self, n: usize, state: CtState) -> Result<(), Error> {
        let right = |v: &&Verdict| v.state == state && v.reason == Reason::None && !v.unconfirmed;
        match self.verdicts[..n].iter().find(|v| !right(v)) {
            None => Ok(()),
            Some(wrong) => Err(format!("conntab: not {}: {wrong:?}", state.as_str()).into()),
        }
    }
}

impl Tracker for Conntab {
    fn established(&mut self, chunks: usize) -> Result<Option<f64>, Error> {
        let mut time = Duration::ZERO;
        for _ in 0..chunks {
            self.traffic.established(&mut self.slots);
            time += self.play(CHUNK, false);
            self.check(CHUNK, CtState::Established)?;
        }
        Ok(Some(time.as_nanos() as f64))
    }

    fn new_connections(&mut self, chunks: usize) -> Result<Option<f64>, Error> {
        let (mut time, mut handles) = (Duration::ZERO, Vec::with_capacity(chunks * CHUNK));
        for _ in 0..chunks {
            self.traffic.fresh(&mut self.slots);
            time += self.play(CHUNK, true);
            self.check(CHUNK, CtState::New)?;
            handles.extend(self.verdicts.iter().map(|verdict| verdict.conn));
        }
        self.delete(handles.into_iter())?;
        // Until the epochs have moved on and all of it can be used again
        for _ in 0..8 {
            self.worker.reap(self.now, 0);
        }
        Ok(Some(time.as_nanos() as f64))
    }

    fn bytes_per_flow(&self, flows: usize) -> Result<f64, Error> {
        Ok(config(flows).memory()? as f64 / flows as f64)
    }
}
