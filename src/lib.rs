//! **conntab**: an embeddable, lock-free connection-tracking table for userspace dataplanes.
//!
//! # The house
//! Bottom-up; a file may use what stands in its own layer or below, never above (a test checks it).
//!
//! | layer | files | what |
//! |---|---|---|
//! | L0 | `sync` `memory` `net` `reason` | atomics or loom's; reserved memory; reason codes |
//! | L1 | `wire` `table` | bytes to header fields; the concurrent table, which knows no packets |
//! | L2 | `tuple` `hash` `timeout` `proto` | what identifies a connection; tunables; the trackers, pure functions |
//! | L3 | `config` `packet` `conn` `connection` | what goes in and comes out; a connection's two cache lines; its text |
//! | L4 | `shared` `worker` `track` `confirm` `early_drop` `reap` `section` `control` `stats` `limit` `scratch` `models` `stalled` | the path of a packet, and what is done beside it |
#![deny(missing_docs)]

pub mod config;
pub mod conn;
pub mod connection;
pub mod net;
pub mod packet;
pub mod proto;
pub mod reason;
pub mod timeout;
pub mod tuple;
pub mod wire;

mod confirm;
mod control;
mod early_drop;
mod hash;
mod limit;
mod memory;
#[cfg(all(test, conntab_loom))]
mod models;
mod reap;
mod scratch;
mod section;
mod shared;
#[cfg(all(test, not(conntab_loom)))]
mod stalled;
mod stats;
mod sync;
mod table;
mod track;
mod worker;

pub use config::Config;
pub use connection::Connection;
pub use control::{Dump, Table};
pub use packet::{CtState, Handle, MAX_BURST, Packet, Verdict};
pub use reap::Reaped;
pub use reason::Reason;
pub use section::{Section, View};
pub use stats::{Stats, Usage};
pub use worker::{NatError, Worker};

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
