//! Tables full of connections, and the traffic of them. Which packets a connection sends follows from its number and two
//! bytes, so that the generator takes next to nothing beside a table of a hundred million.

use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use conntab::packet::packet_flag::CHECKSUM_OK;
use conntab::tuple::Tuple;
use conntab::{CtState, Handle, Packet, Table, Verdict, Worker};

use crate::BURST;
use crate::packets::{self, Slot};
use conntab_bench::{Clock, Random};

/// Packets in a chunk: they are written before the clock starts, and lie in the cache as in a NIC's ring.
pub const CHUNK: usize = 64 * BURST;
/// Connections that ageing has taken out at a time.
const AGEING: usize = 16 * BURST;
/// When the tables' clocks begin.
pub const START: u64 = 1_000_000;

/// What the generator remembers of the flows: 2 bytes each.
pub struct Flows {
    /// Segments sent (low byte, which wraps: a retransmission once in 256) and lives (high byte): the connection of a
    /// place has another tuple after each turnover.
    states: Box<[AtomicU16]>,
}

impl Flows {
    pub fn new(n: usize) -> Self {
        Self { states: (0..n).map(|_| AtomicU16::new(0)).collect() }
    }

    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// The number of the flow in this place.
    fn id(&self, place: u32) -> u32 {
        let life = u32::from(self.states[place as usize].load(Relaxed) >> 8);
        place.wrapping_add(life.wrapping_mul(self.states.len() as u32))
    }

    /// The next segment of the flow in this place.
    pub fn segment(&self, slot: &mut Slot, place: u32) {
        let state = &self.states[place as usize];
        let sent = state.load(Relaxed);
        // (Two threads that write at once make two equal segments: a retransmission.)
        state.store(sent & 0xff00 | (sent + 1) & 0xff, Relaxed);
        packets::established(slot, self.id(place), u32::from(sent & 0xff));
    }

    /// The tuple of the flow in this place.
    pub fn tuple(&self, place: u32, reply: bool) -> Tuple {
        packets::tuple(self.id(place), reply)
    }
}

/// A UDP packet of flow `id`.
pub fn udp(slot: &mut Slot, id: u32) {
    // The ports lie where TCP has them.
    packets::syn(slot, id);
    let b = &mut slot.bytes;
    b[2..4].copy_from_slice(&128u16.to_be_bytes());
    b[9] = 17;
    b[24..28].copy_from_slice(&[0, 108, 0, 0]);
    (slot.headers, slot.wire) = (28, 128);
}

/// A worker with its ring of packets.
pub struct Lane {
    pub worker: Worker,
    pub random: Random,
    slots: Box<[Slot]>,
    pub verdicts: Box<[Verdict]>,
}

impl Lane {
    pub fn new(table: &Table, seed: u64) -> Self {
        Self {
            worker: table.worker().expect("a worker"),
            random: Random(0x2545_f491_4f6c_dd1d ^ seed << 17),
            slots: vec![Slot::EMPTY; CHUNK].into(),
            verdicts: vec![Verdict::default(); CHUNK].into(),
        }
    }

    /// Writes the ring's first packets.
    pub fn write(&mut self, packets: usize, mut write: impl FnMut(usize, &mut Slot, &mut Random)) {
        for (at, slot) in self.slots[..packets].iter_mut().enumerate() {
            write(at, slot, &mut self.random);
        }
    }

    /// Tracks the ring's first packets, and confirms what they open. `lap` is called before the first burst and after
    /// each.
    pub fn run(&mut self, now: u64, packets: usize, mut lap: impl FnMut()) {
        let describe = |slot: &'_ Slot| {
            // SAFETY: the slot's bytes, for as long as the slots are not written again: `packets` ends before.
            let bytes = unsafe { std::slice::from_raw_parts(slot.bytes.as_ptr(), slot.headers as usize) };
            // The NIC has verified the checksum.
            Packet::new(bytes).with_len(slot.wire).with_flags(CHECKSUM_OK)
        };
        let packets: Vec<Packet<'_>> = self.slots[..packets].iter().map(describe).collect();
        lap();
        for (packets, verdicts) in packets.chunks(BURST).zip(self.verdicts.chunks_mut(BURST)) {
            self.worker.track(now, packets, verdicts);
            self.worker.confirm(now, verdicts, u64::MAX);
            lap();
        }
    }

    /// The same; how much CPU time it took, in ns.
    pub fn timed(&mut self, now: u64, packets: usize) -> u64 {
        let clock = Clock::start();
        self.run(now, packets, || ());
        clock.ns()
    }

    /// Every one of the last packets belonged to a connection that both sides know.
    pub fn all_established(&self, packets: usize) {
        let wrong = self.verdicts[..packets].iter().find(|v| v.state != CtState::Established);
        assert!(wrong.is_none(), "{wrong:?}");
    }

    /// Writes a chunk of segments of flows at random among `places`.
    pub fn write_established(&mut self, flows: &Flows, places: Range<u32>, packets: usize) {
        self.write(packets, |_, slot, random| {
            flows.segment(slot, places.start + random.below(places.len()) as u32);
        });
    }

    /// Opens the flows of these places, in bursts.
    fn open(&mut self, flows: &Flows, now: u64, places: &[u32]) {
        self.write(places.len(), |at, slot, _| packets::syn(slot, flows.id(places[at])));
        self.run(now, places.len(), || ());
        let wrong = self.verdicts[..places.len()].iter().find(|v| v.state != CtState::New || v.unconfirmed);
        assert!(wrong.is_none(), "{wrong:?}");
    }

    /// Opens all flows of `places`, then takes `turnovers` times as many out at random and puts others in their places, then
    /// lets all finish their handshakes: ESTABLISHED.
    pub fn establish(
        &mut self,
        flows: &Flows,
        places: Range<u32>,
        turnovers: usize,
        now: impl Fn(u32) -> u64,
    ) {
        let all: Vec<u32> = places.clone().collect();
        if turnovers == 0 {
            for places in all.chunks(CHUNK) {
                self.open(flows, now(places[0]), places);
                self.shake(flows, now(places[0]), places);
            }
            return;
        }
        for places in all.chunks(CHUNK) {
            self.open(flows, START, places);
        }
        let mut done = 0;
        while done < turnovers * all.len() {
            done += self.turn(flows, &places);
        }
        for places in all.chunks(CHUNK) {
            self.shake(flows, START, places);
        }
    }

    /// The answers to SYNs, and the answers to them.
    fn shake(&mut self, flows: &Flows, now: u64, places: &[u32]) {
        for write in [packets::syn_ack as fn(&mut Slot, u32), packets::ack] {
            self.write(places.len(), |at, slot, _| write(slot, flows.id(places[at])));
            self.run(now, places.len(), || ());
            self.all_established(places.len());
        }
    }

    /// Deletes some flows at random and opens others in their places; how many.
    fn turn(&mut self, flows: &Flows, range: &Range<u32>) -> usize {
        let n = AGEING.min(range.len());
        let mut places: Vec<u32> =
            (0..n).map(|_| range.start + self.random.below(range.len()) as u32).collect();
        places.sort_unstable();
        places.dedup();
        for handle in self.handles(flows, &places) {
            assert!(self.worker.delete(handle), "a flow is not there");
        }
        self.worker.reap(START, 0);
        for &place in &places {
            flows.states[place as usize].fetch_add(0x100, Relaxed);
        }
        self.open(flows, START, &places);
        places.len()
    }

    /// The connections of these places. (Both directions are looked up: deleting them touches the lines of both keys.)
    fn handles(&mut self, flows: &Flows, places: &[u32]) -> Vec<Handle> {
        let mut handles = Vec::with_capacity(places.len());
        for places in places.chunks(BURST) {
            for reply in [true, false] {
                let tuples: Vec<Tuple> = places.iter().map(|place| flows.tuple(*place, reply)).collect();
                let mut section = self.worker.section();
                let mut views = [None; BURST];
                section.lookup_burst(START, 0, &tuples, &mut views);
                if !reply {
                    handles.extend(views.iter().flatten().map(|view| view.handle()));
                }
            }
        }
        handles
    }
}
