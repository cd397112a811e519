//! **conntab**: an embeddable, lock-free connection-tracking table.
#![deny(missing_docs)]

pub mod proto;
pub mod reason;
mod sync;
pub mod timeout;
pub mod tuple;
pub mod wire;
