//! What the `conntab` command is made of. The command itself is a thin shell around [`run`]; this library exists so
//! that tests can reach the parts, and promises nothing to others.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod args;
pub mod capture;
mod error;
mod json;
#[cfg(test)]
mod manual;
mod replay;
mod summary;
mod text;
pub mod time;
pub mod trace;

use std::process::ExitCode;

use clap::FromArgMatches;

use args::{Cli, Command};
use error::Error;

/// The command: reads the command line, does it, reports. Wrong usage ends the process with status 2.
pub fn run() -> ExitCode {
    let cli = Cli::from_arg_matches(&args::command().get_matches()).unwrap_or_else(|e| e.exit());
    let done = match cli.command {
        Command::Replay(args) => replay::run(&args),
        Command::Trace(args) => trace::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough (`| head`).
        Err(Error::Output(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("conntab: {e}");
            ExitCode::FAILURE
        }
    }
}
