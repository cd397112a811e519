//! The `conntab` command.
fn main() {}
