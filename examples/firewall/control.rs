//! The control socket: a command a connection, on a thread of its own. Nothing it does makes a packet wait.
//!
//! `echo stats | socat -t 5 - UNIX-CONNECT:PATH`

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, thread};

use conntab::Table;

use crate::bridge::Clock;
use crate::counters::Counters;

/// What the commands look at.
pub struct Control {
    pub table: Table,
    pub counters: Arc<[Counters; 2]>,
    pub clock: Clock,
}

/// The socket's file, which goes when this is dropped.
pub struct Socket(String);

impl Drop for Socket {
    fn drop(&mut self) {
        // If it is gone already, so much the better.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens at `path` from now on.
pub fn serve(path: String, control: Control) -> io::Result<Socket> {
    if fs::symlink_metadata(&path).is_ok_and(|file| file.file_type().is_socket()) {
        fs::remove_file(&path)?;
    }
    // Ours alone, whatever the umask.
    // SAFETY: no pointers. No other thread of this program makes files.
    let mask = unsafe { libc::umask(0o077) };
    let listener = UnixListener::bind(&path);
    // SAFETY: as above.
    unsafe { libc::umask(mask) };
    let listener = listener?;
    thread::Builder::new().name("control".into()).spawn(move || {
        for client in listener.incoming() {
            if let Err(error) = client.and_then(|client| control.answer(&client)) {
                eprintln!("control: {error}");
            }
        }
    })?;
    Ok(Socket(path))
}

impl Control {
    fn answer(&self, client: &UnixStream) -> io::Result<()> {
        client.set_read_timeout(Some(Duration::from_secs(5)))?;
        client.set_write_timeout(Some(Duration::from_secs(5)))?;
        let mut command = String::new();
        BufReader::new(client.take(64)).read_line(&mut command)?;
        let mut out = BufWriter::new(client);
        match command.trim() {
            "stats" => out.write_all(stats(&self.table, &self.counters).as_bytes())?,
            "dump" => {
                for connection in self.table.dump(self.clock.now()) {
                    writeln!(out, "{connection}")?;
                }
            }
            // Those that have waited since the last time.
            "events" => {
                for event in self.table.events() {
                    writeln!(out, "[{}.{:03}] {event}", event.at / 1000, event.at % 1000)?;
                }
            }
            _ => writeln!(out, "commands: stats, dump, events")?,
        }
        out.flush()
    }
}

/// A line for each counter.
pub fn stats(table: &Table, counters: &[Counters; 2]) -> String {
    let mut text = String::new();
    let usage = table.usage();
    for (name, value) in table.stats().iter().chain([
        ("connections", usage.connections.into()),
        ("max", usage.max.into()),
        ("entries", usage.entries),
        ("free", usage.free),
        ("waiting", usage.waiting),
        ("overflow", usage.overflow),
        ("overflow_used", usage.overflow_used),
        ("lost", usage.lost),
    ]) {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name} {value}");
    }
    for (port, counters) in counters.iter().enumerate() {
        let _ = counters.write(&mut text, port);
    }
    text
}
