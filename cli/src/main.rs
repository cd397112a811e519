//! The `conntab` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    conntab_cli::run()
}
