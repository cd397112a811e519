//! The command line. What is said here is what `conntab replay --help` and the others show: it is the manual.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use conntab::timeout::Tunables;

use crate::time::Time;

/// Connection tracking in userspace, from the command line
#[derive(Debug, Parser)]
#[command(name = "conntab", version, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Replay(Replay),
    Trace(Trace),
}

/// Play a capture and print the connections as they stand after it
///
/// Plays a capture through the connection table, with the capture's own clock, as a router would track it that forwards
/// every packet (those that are INVALID included), and prints the table as it stands after the last packet. A summary
/// goes to standard error.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Capture to play: pcap or pcapng; - for standard input
    ///
    /// Link types: Ethernet (with VLAN tags), raw IP, Linux cooked (both versions), BSD null and loopback. Of a capture
    /// that is cut short or corrupt everything up to the bad byte is used.
    pub(crate) file: PathBuf,

    /// Print one line for each packet, before the table
    #[arg(long)]
    pub(crate) verdicts: bool,

    /// Print what happens to connections, as `conntrack -E -o timestamp` does, before the table
    #[arg(long)]
    pub(crate) events: bool,

    /// How to print verdicts, events and table
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,

    /// Most connections the table holds, 64 to 268435456 (nf_conntrack_max)
    #[arg(long, value_name = "N", default_value_t = 262_144, value_parser = clap::value_parser!(u32).range(64..=1 << 28))]
    pub(crate) max: u32,

    /// Play no packet after TIME and show the table as of TIME
    ///
    /// Seconds since the epoch, with a fraction or without (as `date +%s.%N` prints them), or a date and time with its
    /// zone: 2026-11-22T12:30:45.5Z, 2026-11-22T13:30:45+01:00. TIME may lie after the last packet: connections expire
    /// until then.
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Time>,

    /// Set a tunable by its sysctl name; may be repeated
    ///
    /// For example: --set tcp_timeout_established=60 --set tcp_loose=0. The names are listed below; net.netfilter. and
    /// nf_conntrack_ before them may be left out.
    #[arg(long, value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) set: Vec<Setting>,

    /// Judge checksums
    ///
    /// They are not judged otherwise: captures taken on the sending host carry those that its network card was to
    /// finish.
    #[arg(long)]
    pub(crate) checksum: bool,

    /// Do not count packets and bytes of connections
    #[arg(long)]
    pub(crate) no_acct: bool,

    /// Do not print the summary
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Play scenarios and write what a router with this table did
///
/// Plays each scenario: packets that come in from the two sides of a router, rules, settings, and time that passes. Writes
/// it to DIR under its own name in recorded form: what became of each packet, the table and the events after each step.
/// docs/scenarios.md tells the format, which is also that of recordings made with a kernel.
#[derive(Debug, Args)]
pub(crate) struct Trace {
    /// Directory for the recorded forms; made if it is not there
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,

    /// Scenarios, recorded or not
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Lines as in /proc/net/nf_conntrack
    Text,
    /// JSON: a line for each verdict and each event, then {"connections": [...], "summary": {...}}
    Json,
}

#[derive(Clone, Debug)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: u32,
}

/// `NAME=VALUE`, if the table would take it.
fn setting(text: &str) -> Result<Setting, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let name = name.strip_prefix("net.netfilter.").unwrap_or(name);
    let name = name.strip_prefix("nf_conntrack_").unwrap_or(name);
    let value = value.parse().map_err(|_| format!("'{value}' is not a number that {name} could take"))?;
    Tunables::default().set(name, value).map_err(|e| e.to_string())?;
    Ok(Setting { name: name.to_owned(), value })
}

impl Replay {
    /// The tunables to begin with.
    pub(crate) fn tunables(&self) -> Result<Tunables, conntab::config::ConfigError> {
        let mut tunables = Tunables { checksum: self.checksum.into(), ..Tunables::default() };
        for Setting { name, value } in &self.set {
            tunables.set(name, *value)?;
        }
        Ok(tunables)
    }
}

/// What follows the options. A paragraph is one line here: clap wraps it to the terminal.
const MANUAL: &str = "\
Verdicts:
  One line for each packet, in columns: time (seconds since the epoch), verdict, direction, reason, tuple.

    1795350603.512345000 NEW         original -              tcp src=192.0.2.10 dst=203.0.113.10 ...
    1795350603.512601000 ESTABLISHED reply    -              tcp src=203.0.113.10 dst=192.0.2.10 ...
    1795350604.100372000 INVALID     -        icmp-no-flow   icmp src=203.0.113.1 dst=192.0.2.10 ...

  A column with nothing to say holds '-': the direction of a packet without a connection, the reason where there is \
none to name, the tuple where the headers make no sense, the verdict of a frame without IP.

  NEW, ESTABLISHED, RELATED, INVALID and UNTRACKED are what a rule sees as ct state. DROP: the table is full, or the \
packet lost a clash. FRAGMENT: it waits for the other fragments of its datagram (the one that completes it is judged as the whole), or was \
dropped as such: then the reason says why.

Events:
  One line for each connection that begins (NEW), is replied to, changes its TCP state or becomes ASSURED (UPDATE), or \
ends (DESTROY): time (seconds since the epoch) and what `conntrack -E` prints of it.

    [1795350603.512345]\t    [NEW] tcp      6 120 SYN_SENT src=192.0.2.10 dst=203.0.113.10 ...
    [1795350603.512601]\t [UPDATE] tcp      6 60 SYN_RECV src=192.0.2.10 dst=203.0.113.10 ...
    [1795350635.020000]\t[DESTROY] udp      17 src=192.0.2.10 dst=203.0.113.10 ...

  A DESTROY shows the seconds that were left, if there were any, and the counters; an UPDATE shows the TCP state if it \
is that which changed. What has expired is told at the time at which it did, to the \
millisecond. With --verdicts the events of a packet follow its verdict.

Table:
  The lines of /proc/net/nf_conntrack, sorted by family, protocol and tuple. The number after the protocol's is the \
seconds left, counted from the time of the last packet or from --at.

JSON:
  Each verdict is an object on a line of its own: time, verdict, direction, reason, family, protocol, \
protocol_number, src, dst, and sport and dport or what stands for them. So is each event: event (NEW, UPDATE, \
DESTROY), time, changes (an array: reply, assured, protoinfo), and what connections have in the table; state is always \
there, the counters at the end only. Last comes one object with connections (an \
array) and summary. It does not depend on when or where it is made. Examples:

    conntab replay -o json FILE | jq '.connections[] | select(.state == \"SYN_SENT\")'
    conntab replay -o json FILE | jq '.summary.invalid'
    conntab replay -o json --verdicts FILE | jq -c 'select(.verdict == \"INVALID\")'
    conntab replay -o json --events FILE | jq -c 'select(.event == \"DESTROY\") | [.original.bytes, .reply.bytes]'

Time:
  The clock is that of the capture; where it goes back, it is held (a single time in the \
future holds it to the end). Gaps, however long, pass as they would have on \
the wire: connections expire in them.

Limits:
  A capture of all interfaces of a router (tcpdump -i any) holds every forwarded packet twice, and each would be \
tracked: take one interface. Memory is the table's and that of an index for sorting it (with --events \
also of one of deadlines), whatever the length of the capture.

Exit status:
  0  played; also if the capture is damaged and some of it could be used (standard error then says so)
  1  an error: one line on standard error
  2  wrong usage
";

/// The same for `trace`.
const TRACE_MANUAL: &str = "\
Example:
    conntab trace -o /tmp/played tests/corpus/*.json

What differs from a recording:
  t_ms is the sum of the waits: packets take no time. The IPv4 identification and the IPv6 flow label of packets that the \
router makes itself are its own.

Exit status:
  0  all were played
  1  an error: one line on standard error for each file that was not played; the others were
  2  wrong usage
";

/// The command with its manual complete: the list of tunables comes from the library.
pub(crate) fn command() -> clap::Command {
    let defaults = Tunables { checksum: 0, ..Tunables::default() };
    let mut manual = format!("{MANUAL}\nTunables and their defaults here, times in seconds:\n");
    for names in Tunables::NAMES.chunks(2) {
        for name in names {
            let setting = format!("{name}={}", defaults.get(name).unwrap_or_default());
            manual.push_str(&format!("  {setting:<38}"));
        }
        manual.truncate(manual.trim_end().len());
        manual.push('\n');
    }
    Cli::command()
        .mut_subcommand("replay", |replay| replay.after_long_help(manual))
        .mut_subcommand("trace", |trace| trace.after_long_help(TRACE_MANUAL))
}
