//! The loop: a burst from each port in turn, judged, and what passes sent by the other port.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use conntab::packet::packet_flag::CHECKSUM_OK;
use conntab::wire;
use conntab::{CtState, Packet, Table, Verdict, Worker};

use crate::Options;
use crate::control::{self, Control};
use crate::counters::Counters;
use crate::port::{self, BURST, Port};
use crate::rules::{Rules, Side};

/// The table is swept for what has expired about once in this many slices, one slice each 10 ms.
const SLICES: u64 = 100;
const SLICE_MS: u64 = 10;

/// Milliseconds since the start: the table's clock.
#[derive(Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// The time, from 1 on.
    pub fn now(self) -> u64 {
        self.0.elapsed().as_millis() as u64 + 1
    }
}

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_signal: libc::c_int) {
    STOP.store(true, Relaxed);
}

/// Runs until SIGINT or SIGTERM.
pub fn run(mut options: Options) -> Result<(), Box<dyn Error>> {
    let mut ports = [Port::open(&options.interfaces[0])?, Port::open(&options.interfaces[1])?];
    let table = Table::new(options.config)?;
    options.rules.prepare(&table)?;
    let mut worker = table.worker()?;
    let counters = Arc::new([Counters::default(), Counters::default()]);
    let clock = Clock(Instant::now());
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler does nothing but store to an atomic.
        unsafe { libc::signal(signal, stop as extern "C" fn(libc::c_int) as libc::sighandler_t) };
    }
    // The control socket has a thread of its own: to dump the table makes no packet wait.
    let control = Control { table: table.clone(), counters: Arc::clone(&counters), clock };
    let socket = options.control.map(|path| control::serve(path, control)).transpose()?;
    println!("{} is inside, {} outside", options.interfaces[0], options.interfaces[1]);

    let slice = (table.usage().entries / SLICES + 1) as u32;
    let mut reaped = clock.now();
    while !STOP.load(Relaxed) {
        let now = clock.now();
        let mut received = 0;
        for (from, side) in [Side::Inside, Side::Outside].into_iter().enumerate() {
            let n = ports[from].receive()?;
            if n > 0 {
                burst(&ports, &counters, from, side, &options.rules, &mut worker, now);
            }
            received += n;
        }
        if now >= reaped + SLICE_MS {
            reaped = now;
            worker.reap(now, slice);
            for (port, counters) in ports.iter().zip(counters.iter()) {
                counters.missed.add(port.missed());
            }
        }
        if received == 0 {
            // A worker that rests must say so, or it holds back what the others have freed.
            worker.idle();
            port::wait(&ports, options.idle_us)?;
        }
    }
    drop(socket);
    print!("{}", control::stats(&table, &counters));
    Ok(())
}

/// The burst that lies in port `from`.
fn burst(
    ports: &[Port; 2],
    counters: &[Counters; 2],
    from: usize,
    side: Side,
    rules: &Rules,
    worker: &mut Worker,
    now: u64,
) {
    let (port, out, count) = (&ports[from], &ports[1 - from], &counters[from]);
    let mut packets = [Packet::new(&[]); BURST];
    // Which packet each frame holds; none: it is bridged.
    let mut place = [None; BURST];
    let mut n = 0;
    for (frame, place) in port.frames().zip(&mut place) {
        let Some(frame) = frame else { continue };
        // ARP and other strangers have no connection.
        let Ok(link) = wire::ethernet(frame.bytes) else { continue };
        let flags = if frame.checksum_ok { CHECKSUM_OK } else { 0 };
        packets[n] = Packet::new(&frame.bytes[link.l3_offset..]).with_flags(flags);
        *place = Some(n);
        n += 1;
    }
    let mut verdicts = [Verdict::default(); BURST];
    let pass = rules.filter(worker, now, side, &packets[..n], &mut verdicts);
    let mut sending: [&[u8]; BURST] = [&[]; BURST];
    let mut leave = 0;
    for (frame, place) in port.frames().zip(place) {
        count.rx.add(1);
        let Some(frame) = frame else {
            count.truncated.add(1);
            continue;
        };
        let passes = match place {
            None => {
                count.bridged.add(1);
                stranger_passes(frame.bytes, side)
            }
            Some(i) => {
                count_state(count, verdicts[i].state);
                pass & 1 << i != 0
            }
        };
        if passes {
            sending[leave] = frame.bytes;
            leave += 1;
        } else {
            count.dropped.add(1);
        }
    }
    let sent = out.send(&sending[..leave]);
    counters[1 - from].tx.add(sent);
    counters[1 - from].tx_failed.add(leave - sent);
}

/// Whether a frame without an IP packet passes: who is inside may send what they like, who is outside ARP and nothing else.
/// Nobody has judged what is in such a frame: a third VLAN tag, PPPoE, MPLS or LLC may have an IP packet behind it.
fn stranger_passes(frame: &[u8], side: Side) -> bool {
    // Type and tag, up to two times; type.
    let mut types = frame.get(12..).unwrap_or(&[]).chunks(4).take(3);
    let kind = types.find(|kind| !matches!(kind, [0x81, 0x00, ..] | [0x88, 0xa8, ..] | [0x91, 0x00, ..]));
    side == Side::Inside || matches!(kind, Some([0x08, 0x06, ..]))
}

fn count_state(counters: &Counters, state: CtState) {
    match state {
        CtState::New => &counters.new,
        CtState::Established => &counters.established,
        CtState::Related => &counters.related,
        CtState::Invalid => &counters.invalid,
        CtState::Untracked => &counters.untracked,
        CtState::Drop => &counters.drop,
        CtState::Fragment => &counters.fragment,
    }
    .add(1);
}
