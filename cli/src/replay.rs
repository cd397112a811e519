//! `conntab replay`: a capture in, verdicts, events and the table out.

mod clock;
mod deadlines;

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::time::Instant;

use conntab::config::Config;
use conntab::defrag::{Defrag, DefragConfig, Pushed};
use conntab::event::{Event, EventKind};
use conntab::packet::packet_flag;
use conntab::tuple::{L3, Tuple, Zone};
use conntab::{Connection, CtState, Handle, Packet, Reason, Table, Verdict, Worker};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use crate::args::{Output, Replay};
use crate::capture::{Capture, CaptureError, Frame};
use crate::error::Error;
use crate::summary::Summary;
use crate::text::Judged;
use crate::time::Time;
use crate::{json, text};

use clock::Clock;
use deadlines::Deadlines;

/// From this size on it takes long enough to be worth a progress bar.
const LONG_FILE: u64 = 50 << 20;

/// They are printed after every packet and every end, none of which makes more than a few.
const QUEUE_OF_EVENTS: u32 = 64;

/// Often enough for the eye, seldom enough not to matter.
const PACKETS_BETWEEN_PROGRESS: u64 = 1 << 14;

pub(crate) fn run(args: &Replay) -> Result<(), Error> {
    let name = args.file.display().to_string();
    let (reader, size): (Box<dyn Read>, u64) = if name == "-" {
        (Box::new(io::stdin().lock()), 0)
    } else {
        let opened = File::open(&args.file).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, file) = opened.map_err(|source| Error::Open { file: name.clone(), source })?;
        (Box::new(file), size)
    };
    let fails = |source| Error::Capture { file: name.clone(), source };
    let mut capture = Capture::new(reader).map_err(fails)?;
    let mut player = Player::new(args)?;
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let bar = progress_bar(args, size);
    let began = Instant::now();

    let mut frames = 0_u64;
    loop {
        match capture.next() {
            Ok(Some(frame)) => player.play(&frame, &mut out)?,
            Ok(None) => break,
            Err(e) if e.is_loss_of_rest() && frames > 0 => {
                player.summary.incomplete = Some(e.to_string());
                break;
            }
            Err(e) => return Err(fails(e)),
        }
        frames += 1;
        if frames.is_multiple_of(PACKETS_BETWEEN_PROGRESS) {
            bar.set_position(capture.position());
        }
    }
    // Not one packet could be used: why?
    if frames == 0 && player.summary.incomplete.is_none() {
        if let Some(error) = capture.take_unsupported() {
            return Err(fails(error));
        }
        if capture.damaged() > 0 {
            return Err(fails(CaptureError::Damaged(capture.damaged())));
        }
    }
    player.summary.damaged = capture.damaged();
    player.summary.foreign = capture.foreign();
    let took = began.elapsed();
    bar.finish_and_clear();
    if let Some(why) = &player.summary.incomplete {
        eprintln!("conntab: {name}: {why}; what came before it was used ({frames} packets)");
    }
    if capture.damaged() > 0 {
        eprintln!("conntab: {name}: {} damaged packet blocks were passed over", capture.damaged());
    }

    let Ending { mut worker, now, order, summary } = player.finish(&mut out)?;
    let mut section = worker.section();
    let mut connections = order.iter().filter_map(|(_, handle)| section.get(*handle)?.copy(now));
    match args.output {
        Output::Text => connections.try_for_each(|connection| writeln!(out, "{connection}"))?,
        Output::Json => json::table(&mut out, connections, &summary)?,
    }
    out.flush()?;
    if !args.quiet {
        // Nobody is left to be told if this fails.
        let _ = summary.write(&mut io::stderr().lock(), took);
    }
    Ok(())
}

/// Shown only for a long file, and only where it does not mix with the output.
fn progress_bar(args: &Replay, size: u64) -> ProgressBar {
    if size < LONG_FILE || ((args.verdicts || args.events) && io::stdout().is_terminal()) {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(size), ProgressDrawTarget::stderr())
        .with_finish(ProgressFinish::AndClear);
    let style = "{wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

/// The table and what feeds it.
struct Player {
    defrag: Defrag,
    /// The latest packet that was put together.
    whole: Vec<u8>,
    table: Table,
    worker: Worker,
    clock: Clock,
    at: Option<Time>,
    output: Output,
    verdicts: bool,
    events: bool,
    deadlines: Deadlines,
    summary: Summary,
}

impl Player {
    fn new(args: &Replay) -> Result<Self, Error> {
        let table = Table::new(Config {
            max: args.max,
            workers: 1,
            acct: !args.no_acct,
            // A small capture shall not pay for a large table.
            prefault: false,
            events: if args.events { QUEUE_OF_EVENTS } else { 0 },
            tunables: args.tunables()?,
            ..Config::default()
        })?;
        let worker = table.worker()?;
        Ok(Self {
            defrag: Defrag::new(DefragConfig { prefault: false, ..DefragConfig::default() })?,
            whole: Vec::new(),
            table,
            worker,
            clock: Clock::default(),
            at: args.at,
            output: args.output,
            verdicts: args.verdicts,
            events: args.events,
            deadlines: Deadlines::default(),
            summary: Summary::default(),
        })
    }

    /// One frame: tracked and, as on a router that forwards everything, confirmed before the next. Not in bursts: the
    /// answer may be the very next packet, and would be NEW of its own in the burst of its question.
    fn play(&mut self, frame: &Frame<'_>, out: &mut impl Write) -> io::Result<()> {
        let time = Time(frame.time);
        if self.at.is_some_and(|at| time > at) {
            self.summary.not_played += 1;
            return Ok(());
        }
        self.summary.packets += 1;
        self.tick(time, out)?;

        let offset = match frame.link.ip_offset(frame.bytes) {
            Ok(offset) => offset,
            Err(reason) => {
                self.summary.not_ip += 1;
                return self.report(out, &Judged { time, verdict: None, reason, tuple: None });
            }
        };
        let bytes = &frame.bytes[offset..];
        let wire_len = frame.wire_len.saturating_sub(offset as u32);
        let now = self.clock.now();
        let fragment = Packet::new(bytes).with_len(wire_len);
        // A fragment is as its datagram is, once that is complete; before, there is nothing to say.
        let (mut buffer, mut dropped) = (std::mem::take(&mut self.whole), None);
        let packet = match self.defrag.push(now, &fragment, 0) {
            Pushed::Whole(whole) => {
                buffer.clear();
                buffer.extend_from_slice(whole.bytes());
                Packet::new(&buffer).with_flags(packet_flag::REASSEMBLED)
            }
            Pushed::Dropped(reason) => {
                dropped = Some(reason);
                fragment
            }
            Pushed::Held | Pushed::NotAFragment => fragment,
        };
        let told = self.judge(time, now, packet, dropped, out);
        self.whole = buffer;
        told
    }

    /// A packet that is whole, or will never be.
    fn judge(
        &mut self,
        time: Time,
        now: u64,
        packet: Packet<'_>,
        dropped: Option<Reason>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let packet = [packet];
        let mut verdict = [Verdict::default()];
        self.worker.track(now, &packet, &mut verdict);
        self.worker.confirm(now, &mut verdict, 1);
        let [mut verdict] = verdict;
        if let Some(reason) = dropped.filter(|_| verdict.state == CtState::Fragment) {
            verdict.reason = reason;
        }
        self.summary.count(&verdict);
        if self.verdicts {
            let tuple = text::tuple_of(&packet[0]);
            let reason = verdict.reason;
            self.report(out, &Judged { time, verdict: Some(&verdict), reason, tuple })?;
        }
        if self.events {
            self.note_deadline(now, &packet[0], &verdict);
            // The table's clock is coarser than the capture's.
            self.print_events(out, now, self.summary.last)?;
        }
        Ok(())
    }

    /// Remembers when the connection of this packet will expire.
    fn note_deadline(&mut self, now: u64, packet: &Packet<'_>, verdict: &Verdict) {
        let mut section = self.worker.section();
        let view = if verdict.state == CtState::Invalid {
            // A packet that is INVALID for its connection may shorten its time all the same (resets of both ends).
            text::tuple_of(packet).and_then(|tuple| section.lookup(now, 0, &tuple))
        } else {
            section.get(verdict.conn)
        };
        if let Some(conn) = view.and_then(|view| view.copy(now)) {
            self.deadlines.note(conn.handle, now + u64::from(conn.timeout_ms));
        }
    }

    /// Lets time pass up to `until`, and tells of the connections that expire, each at its time.
    fn pass_deadlines(&mut self, until: Time, out: &mut impl Write) -> io::Result<()> {
        while let Some((at, handle)) = self.deadlines.take(until.millis()) {
            let Some(conn) = self.worker.section().get(handle).and_then(|view| view.copy(at)) else {
                continue;
            };
            if conn.timeout_ms > 0 {
                self.deadlines.note(handle, at + u64::from(conn.timeout_ms));
                continue;
            }
            // Up to just before: a sweep of this very moment would end more at once than the queue holds.
            self.clock.advance(Time::from_millis(at.saturating_sub(1)), &self.table, &mut self.worker);
            self.worker.end_expired(at, handle);
            self.print_events(out, at, Time::from_millis(at))?;
        }
        Ok(())
    }

    /// Prints the events that wait. Those of the table's time `now` are shown as of `time`.
    fn print_events(&mut self, out: &mut impl Write, now: u64, time: Time) -> io::Result<()> {
        for event in self.table.events() {
            if event.kind == EventKind::Destroy {
                self.deadlines.forget(event.connection.handle);
            }
            let time = if event.at == now { time } else { Time::from_millis(event.at) };
            self.print(out, time, &event)?;
        }
        Ok(())
    }

    fn print(&self, out: &mut impl Write, time: Time, event: &Event) -> io::Result<()> {
        match self.output {
            Output::Text => text::event(out, time, event),
            Output::Json => json::event(out, time, event),
        }
    }

    fn tick(&mut self, time: Time, out: &mut impl Write) -> io::Result<()> {
        match self.summary.first {
            Some(first) => self.summary.first = Some(first.min(time)),
            None => self.summary.first = Some(time),
        }
        if time < self.summary.last {
            self.summary.went_back += 1;
        }
        self.summary.last = self.summary.last.max(time);
        self.pass_deadlines(self.summary.last, out)?;
        self.clock.advance(self.summary.last, &self.table, &mut self.worker);
        Ok(())
    }

    fn report(&self, out: &mut impl Write, judged: &Judged<'_>) -> io::Result<()> {
        match (self.verdicts, self.output) {
            (false, _) => Ok(()),
            (true, Output::Text) => text::verdict(out, judged),
            (true, Output::Json) => json::verdict(out, judged),
        }
    }

    /// The end: time passes up to it, and the connections are brought in order.
    fn finish(mut self, out: &mut impl Write) -> io::Result<Ending> {
        let end = self.at.unwrap_or(self.summary.last);
        self.pass_deadlines(end, out)?;
        self.clock.advance(end, &self.table, &mut self.worker);
        // What has expired unseen is to be counted as such.
        self.clock.sweep(&mut self.worker);
        let now = self.clock.now();
        let key = |c: &Connection| (c.original.l3, c.original.l4, c.original, c.zone_orig, c.zone_reply);
        let mut order: Vec<_> = self.table.dump(now).map(|c| (key(&c), c.handle)).collect();
        order.sort_unstable_by_key(|(key, _)| *key);
        let stats = self.table.stats();
        self.summary.connections = order.len() as u64;
        self.summary.created = stats.insert;
        self.summary.expired = stats.expired;
        self.summary.evicted = stats.early_drop;
        self.summary.ended = stats.deleted;
        Ok(Ending { worker: self.worker, now, order, summary: self.summary })
    }
}

/// Family, protocol, tuple, zones: the order in which connections are printed.
type SortKey = (L3, u8, Tuple, Zone, Zone);

/// What is left when the last packet has been played. The connections themselves stay in the table until they are
/// printed, one by one: copies of all of them would take more memory than it does.
struct Ending {
    worker: Worker,
    now: u64,
    order: Vec<(SortKey, Handle)>,
    summary: Summary,
}
