//! **conntab**: an embeddable, lock-free connection-tracking table.
#![deny(missing_docs)]

#[allow(dead_code, reason = "the packet path that uses it comes next")]
mod memory;
pub mod proto;
pub mod reason;
mod sync;
#[allow(dead_code, reason = "the packet path that uses it comes next")]
mod table;
pub mod timeout;
pub mod tuple;
pub mod wire;
