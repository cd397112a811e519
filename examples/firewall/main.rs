//! A stateful firewall: who is inside may open connections, who is outside may only answer.
//!
//! `cargo run --example firewall` shows it with made-up packets, anywhere.
//!
//! `firewall [OPTION...] INSIDE OUTSIDE` is the real thing on Linux, as root: a bump in the wire between two network interfaces,
//! whose frames it takes and sends by AF_PACKET sockets. `ci/dataplane.sh rust` runs real programs across it. It is one
//! thread; `examples/dpdk` is the same firewall in C over DPDK, with the same rules, options and control socket.
//!
//! `rules.rs` is what a host of this library writes: the way of a burst. The rest is what it needs around that.

mod demo;
mod rules;

#[cfg(target_os = "linux")]
mod bridge;
#[cfg(target_os = "linux")]
mod control;
#[cfg(target_os = "linux")]
mod counters;
#[cfg(target_os = "linux")]
mod port;

use std::error::Error;
use std::process::ExitCode;

use conntab::Config;
use rules::Rules;

const USAGE: &str = "\
usage: firewall [OPTION...] INSIDE OUTSIDE     between two interfaces (Linux, root)
       firewall                                a demonstration with made-up packets

  --allow PROTO/PORT,...   services inside that may be connected to from outside, such as tcp/80,udp/53
  --ftp PORT               connections to this TCP port have the helper of FTP: their data connections pass as RELATED
  --pass-fragments         let fragments through unjudged. They are dropped otherwise: this example does not put them together
                           (conntab::Defrag would), and a fragment may hold anything
  --set NAME=VALUE         a tunable, such as tcp_timeout_established=3600 (docs/tunables.md); may be repeated
  --max N                  the most connections (65536)
  --control PATH           answers the commands `stats`, `dump` and `events` at this UNIX socket
  --idle-us N              the longest rest when no packet comes, in microseconds (10000)

Offloads of both interfaces must be off (ethtool -K NAME tx off rx off tso off gso off gro off): a frame must be one packet,
with its checksum complete.";

/// What the command line asks for.
struct Options {
    rules: Rules,
    config: Config,
    interfaces: Vec<String>,
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    control: Option<String>,
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    idle_us: u32,
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        rules: Rules::default(),
        // Events: what waits between two commands `events`. Two ports, but one thread: one worker.
        config: Config {
            max: 65_536,
            workers: 1,
            events: 65_536,
            expect_max: 1024,
            acct: true,
            timestamp: true,
            ..Config::default()
        },
        interfaces: Vec::new(),
        control: None,
        idle_us: 10_000,
    };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--allow" => options.rules.allow(&value()?)?,
            "--ftp" => options.rules.ftp = Some(value()?.parse()?),
            "--pass-fragments" => options.rules.pass_fragments = true,
            "--set" => {
                let value = value()?;
                let (name, number) = value.split_once('=').ok_or("--set NAME=VALUE")?;
                options.config.tunables.set(name, number.parse()?)?;
            }
            "--max" => options.config.max = value()?.parse()?,
            "--control" => options.control = Some(value()?),
            "--idle-us" => options.idle_us = value()?.parse()?,
            _ if arg.starts_with('-') => return Err(format!("unknown option {arg}\n{USAGE}").into()),
            _ => options.interfaces.push(arg),
        }
    }
    Ok(options)
}

#[cfg(target_os = "linux")]
fn run(options: Options) -> Result<(), Box<dyn Error>> {
    bridge::run(options)
}

#[cfg(not(target_os = "linux"))]
fn run(_options: Options) -> Result<(), Box<dyn Error>> {
    Err("AF_PACKET is Linux's; without arguments there is a demonstration".into())
}

fn start() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).peekable();
    match args.peek().map(String::as_str) {
        None => Ok(demo::run()?),
        Some("-h" | "--help") => {
            println!("{USAGE}");
            Ok(())
        }
        Some(_) => {
            let options = options(args)?;
            if options.interfaces.len() != 2 {
                return Err(USAGE.into());
            }
            run(options)
        }
    }
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("firewall: {error}");
            ExitCode::FAILURE
        }
    }
}
