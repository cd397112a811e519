//! A table full of connections that has seen its turnovers, and the work that is measured on it.
//!
//! Every measure works in chunks: the packets of a chunk are written, connections deleted and freed entries reclaimed
//! outside the clock; then the clock runs over all bursts of the chunk.

use std::time::Duration;

use conntab::packet::packet_flag::CHECKSUM_OK;
use conntab::tuple::Tuple;
use conntab::{Config, CtState, Handle, Packet, Table, Verdict, Worker};

use crate::packets::{self, Slot};
use crate::{BURST, Clock, Random};

/// Bursts in a chunk.
const CHUNK: usize = 64;
/// Bursts in a chunk that opens connections: the table may lack so many of them meanwhile.
const OPENING: usize = 16;
/// As many events as deleting and opening a chunk makes.
const EVENTS: u32 = (2 * OPENING * BURST) as u32;
/// Milliseconds per chunk: the clock of a table that sees some 20 M packets a second would move a tenth of it, but
/// then a tick would be shared by more than a burst of a small table's packets.
const TICK: u64 = 1;

#[derive(Clone, Copy)]
struct Flow {
    id: u32,
    /// Segments after the handshake.
    sent: u32,
    handle: Handle,
}

pub struct World {
    table: Table,
    worker: Worker,
    flows: Vec<Flow>,
    /// Never used yet.
    next_id: u32,
    now: u64,
    random: Random,
    slots: Box<[Slot]>,
    verdicts: Box<[Verdict]>,
}

fn describe(slot: &Slot) -> Packet<'_> {
    // The NIC has verified the checksum.
    Packet::new(&slot.bytes[..slot.headers as usize]).with_len(slot.wire).with_flags(CHECKSUM_OK)
}

fn describe_all(slots: &[Slot]) -> Vec<Packet<'_>> {
    slots.iter().map(describe).collect()
}

impl World {
    /// `n` ESTABLISHED connections, after `turnovers` times `n` deletions and openings at random.
    pub fn new(n: usize, turnovers: usize) -> Self {
        let begin = std::time::Instant::now();
        let mut config = Config { max: n as u32, workers: 1, events: EVENTS, ..Config::default() };
        config.tunables.events = 0;
        let table = Table::new(config).expect("memory");
        let mut world = Self {
            worker: table.worker().expect("the first worker"),
            flows: vec![Flow { id: 0, sent: 0, handle: Handle::NONE }; n],
            next_id: 0,
            now: 1_000_000,
            slots: vec![Slot::EMPTY; CHUNK * BURST].into(),
            verdicts: vec![Verdict::default(); CHUNK * BURST].into(),
            random: Random(0x2545_f491_4f6c_dd1d),
            table,
        };
        let all: Vec<u32> = (0..n as u32).collect();
        for places in all.chunks(OPENING * BURST) {
            world.write_syns(places);
            world.open(places.len(), true);
            world.note(places);
        }
        let filled = begin.elapsed();
        let mut done = 0;
        while done < turnovers * n {
            let places = world.delete(OPENING * BURST);
            world.write_syns(&places);
            world.open(places.len(), true);
            world.note(&places);
            done += places.len();
        }
        let churned = begin.elapsed();
        for places in all.chunks(CHUNK * BURST) {
            for write in [packets::syn_ack as fn(&mut Slot, u32), packets::ack] {
                for (slot, &place) in world.slots.iter_mut().zip(places) {
                    write(slot, world.flows[place as usize].id);
                }
                world.track(places.len());
            }
            assert!(
                world.verdicts[..places.len()].iter().all(|v| v.state == CtState::Established
                    && v.proto_state == conntab::proto::tcp::State::Established as u8),
                "a handshake failed"
            );
        }
        let stats = world.table.stats();
        assert_eq!(world.table.count() as usize, n);
        assert_eq!((stats.early_drop, stats.expired, stats.drop, stats.invalid), (0, 0, 0, 0));
        eprintln!(
            "{n} connections, {} buckets, {} MB: {:.1} s to fill, {:.1} s for {turnovers} turnovers, {:.1} s for \
             handshakes; huge pages: {}",
            world.buckets(),
            world.table.memory() >> 20,
            filled.as_secs_f64(),
            (churned - filled).as_secs_f64(),
            (begin.elapsed() - churned).as_secs_f64(),
            huge_pages(),
        );
        world
    }

    pub fn buckets(&self) -> usize {
        self.table.config().buckets() as usize
    }

    /// SYNs of new flows, which shall take the places of others.
    fn write_syns(&mut self, places: &[u32]) {
        for (slot, &place) in self.slots.iter_mut().zip(places) {
            self.flows[place as usize] = Flow { id: self.next_id, sent: 0, handle: Handle::NONE };
            packets::syn(slot, self.next_id);
            self.next_id = self.next_id.checked_add(1).expect("flows are not reused");
        }
    }

    /// Remembers the handles of what was opened.
    fn note(&mut self, places: &[u32]) {
        for (verdict, &place) in self.verdicts.iter().zip(places) {
            assert!(verdict.state == CtState::New && !verdict.unconfirmed, "{verdict:?}");
            self.flows[place as usize].handle = verdict.conn;
        }
    }

    /// Deletes `n` connections chosen at random and reclaims their entries; returns their places.
    fn delete(&mut self, n: usize) -> Vec<u32> {
        let places = self.choose(n);
        // The memory latencies of single deletions would make most of the time of the turnovers: bring in the lines.
        for reply in [false, true] {
            let tuple = |place: &u32| packets::tuple(self.flows[*place as usize].id, reply);
            let tuples: Vec<Tuple> = places.iter().map(tuple).collect();
            let mut section = self.worker.section();
            for tuples in tuples.chunks(BURST) {
                section.lookup_burst(self.now, 0, tuples, &mut [None; BURST]);
            }
        }
        for &place in &places {
            assert!(self.worker.delete(self.flows[place as usize].handle));
        }
        self.worker.reap(self.now, 0);
        places
    }

    /// `n` different places, at random.
    fn choose(&mut self, n: usize) -> Vec<u32> {
        let mut places = Vec::with_capacity(n);
        while places.len() < n {
            let place = self.random.below(self.flows.len());
            let flow = &mut self.flows[place];
            // Marks what is chosen already.
            if flow.sent != u32::MAX {
                flow.sent = u32::MAX;
                places.push(place as u32);
            }
        }
        places
    }

    fn track(&mut self, packets: usize) -> Duration {
        let packets = describe_all(&self.slots[..packets]);
        let clock = Clock::start();
        for (packets, verdicts) in packets.chunks(BURST).zip(self.verdicts.chunks_mut(BURST)) {
            self.worker.track(self.now, packets, verdicts);
        }
        clock.stop()
    }

    fn open(&mut self, packets: usize, confirm: bool) -> Duration {
        let packets = describe_all(&self.slots[..packets]);
        let clock = Clock::start();
        for (packets, verdicts) in packets.chunks(BURST).zip(self.verdicts.chunks_mut(BURST)) {
            self.worker.track(self.now, packets, verdicts);
            if confirm {
                self.worker.confirm(self.now, verdicts, u64::MAX);
            }
        }
        clock.stop()
    }

    /// Runs `bursts` bursts in chunks of at most `most`.
    fn chunks(bursts: u64, most: usize, mut work: impl FnMut(usize) -> Duration) -> Duration {
        let mut sum = Duration::ZERO;
        let mut left = bursts;
        while left > 0 {
            let now = left.min(most as u64);
            sum += work(now as usize);
            left -= now;
        }
        sum
    }

    fn tuples(&mut self, n: usize, there: bool) -> Vec<Tuple> {
        let mut tuples = Vec::with_capacity(n);
        for _ in 0..n {
            let place = self.random.below(self.flows.len());
            let id = if there { self.flows[place].id } else { !self.random.below(1 << 30) as u32 };
            tuples.push(packets::tuple(id, self.random.word() >> 63 == 1));
        }
        tuples
    }

    /// Single lookups in a read section.
    pub fn lookup(&mut self, bursts: u64) -> Duration {
        Self::chunks(bursts, CHUNK, |bursts| {
            let tuples = self.tuples(bursts * BURST, true);
            let mut found = 0;
            let clock = Clock::start();
            let mut section = self.worker.section();
            for tuple in &tuples {
                found += usize::from(section.lookup(self.now, 0, tuple).is_some());
            }
            let time = clock.stop();
            assert_eq!(found, tuples.len());
            time
        })
    }

    fn burst(&mut self, bursts: u64, there: bool) -> Duration {
        Self::chunks(bursts, CHUNK, |bursts| {
            let tuples = self.tuples(bursts * BURST, there);
            let mut found = 0;
            let clock = Clock::start();
            let mut section = self.worker.section();
            for tuples in tuples.chunks(BURST) {
                let mut views = [None; BURST];
                section.lookup_burst(self.now, 0, tuples, &mut views);
                found += views.iter().flatten().count();
            }
            let time = clock.stop();
            assert_eq!(found, if there { tuples.len() } else { 0 });
            time
        })
    }

    /// Lookups in bursts that find their connections.
    pub fn burst_hit(&mut self, bursts: u64) -> Duration {
        self.burst(bursts, true)
    }

    /// Lookups in bursts that find nothing.
    pub fn burst_miss(&mut self, bursts: u64) -> Duration {
        self.burst(bursts, false)
    }

    /// A burst of the established connections' segments.
    pub fn established(&mut self, bursts: u64) -> Duration {
        Self::chunks(bursts, CHUNK, |bursts| {
            let n = bursts * BURST;
            for slot in &mut self.slots[..n] {
                let place = self.random.below(self.flows.len());
                let flow = &mut self.flows[place];
                packets::established(slot, flow.id, flow.sent);
                flow.sent += 1;
            }
            self.now += TICK;
            let time = self.track(n);
            let right = |v: &Verdict| v.state == CtState::Established && v.reason == conntab::Reason::None;
            assert!(
                self.verdicts[..n].iter().all(right),
                "{:?}",
                self.verdicts[..n].iter().find(|v| !right(v))
            );
            time
        })
    }

    /// SYNs of new connections, not confirmed.
    pub fn syns(&mut self, bursts: u64) -> Duration {
        Self::chunks(bursts, OPENING, |bursts| {
            let n = bursts * BURST;
            let places = self.delete(OPENING * BURST);
            for slot in &mut self.slots[..n] {
                packets::syn(slot, self.next_id);
                self.next_id = self.next_id.wrapping_add(1);
            }
            self.now += TICK;
            let time = self.open(n, false);
            self.write_syns(&places);
            self.open(places.len(), true);
            self.note(&places);
            time
        })
    }

    /// SYNs of new connections, confirmed.
    pub fn openings(&mut self, bursts: u64) -> Duration {
        Self::chunks(bursts, OPENING, |bursts| {
            let places = self.delete(bursts * BURST);
            self.write_syns(&places);
            self.now += TICK;
            let time = self.open(places.len(), true);
            self.note(&places);
            time
        })
    }

    /// `work` with events on, which the host drains outside the clock.
    fn told(&mut self, bursts: u64, work: fn(&mut Self, u64) -> Duration) -> Duration {
        self.table.set("events", 1).expect("a tunable");
        let time = Self::chunks(bursts, OPENING, |bursts| {
            let time = work(self, bursts as u64);
            self.table.events().for_each(drop);
            time
        });
        assert_eq!(self.table.stats().events_lost, 0);
        self.table.set("events", 0).expect("a tunable");
        time
    }

    /// SYNs of new connections, confirmed, with a NEW event each.
    pub fn openings_told(&mut self, bursts: u64) -> Duration {
        self.told(bursts, Self::openings)
    }

    /// `confirm` alone.
    pub fn confirm(&mut self, bursts: u64) -> Duration {
        Self::chunks(bursts, OPENING, |bursts| {
            let places = self.delete(bursts * BURST);
            self.write_syns(&places);
            self.now += TICK;
            let packets = describe_all(&self.slots[..places.len()]);
            let mut time = Duration::ZERO;
            for (packets, verdicts) in packets.chunks(BURST).zip(self.verdicts.chunks_mut(BURST)) {
                self.worker.track(self.now, packets, verdicts);
                let clock = std::time::Instant::now();
                self.worker.confirm(self.now, verdicts, u64::MAX);
                time += clock.elapsed();
            }
            self.note(&places);
            time
        })
    }

    /// `delete`, one by one, of connections that were not touched for long.
    pub fn deletions(&mut self, bursts: u64) -> Duration {
        Self::chunks(bursts, OPENING, |bursts| {
            let places = self.choose(bursts * BURST);
            let handles: Vec<Handle> =
                places.iter().map(|place| self.flows[*place as usize].handle).collect();
            let clock = Clock::start();
            for handle in handles {
                self.worker.delete(handle);
            }
            let time = clock.stop();
            self.worker.reap(self.now, 0);
            self.write_syns(&places);
            self.open(places.len(), true);
            self.note(&places);
            time
        })
    }
}

/// How much of the process lies on huge pages.
fn huge_pages() -> String {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    line.map_or("unknown".to_owned(), |value| value.trim().to_owned())
}
