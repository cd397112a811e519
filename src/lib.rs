//! **conntab**: an embeddable, lock-free connection-tracking table for userspace dataplanes.
//!
//! Make a [`Table`] from a [`Config`]; give each thread a [`Worker`] of it; let it [`track`](Worker::track) bursts of
//! [`Packet`]s into [`Verdict`]s, apply rules, and [`confirm`](Worker::confirm) what leaves the box. Now and then
//! [`reap`](Worker::reap). To look without touching there is a read [`Section`]; from outside the packet path a [`Table`] can
//! be dumped, flushed and tuned. The README has an example, `examples/firewall` a whole firewall.
//!
//! - **Threads.** A [`Table`] is used from any thread. A [`Worker`] may move between threads (`Send`) but belongs to one at
//!   a time; when it has nothing to do it must be [`idle`](Worker::idle).
//! - **Time.** `now` is an argument: milliseconds of any monotonic clock, the same for all workers of a table. Their
//!   readings may differ by a second.
//! - **Memory** is taken when the table is made, and when [`Table::set_max`] raises its `max`; nothing is allocated on the
//!   packet path.
//! - **Answers.** Each verdict has a state as rules know it ([`CtState`]) and, where there is something to say, a
//!   [`Reason`].
//!
//! # The house
//! Bottom-up; a file may use what stands in its own layer or below, never above (a test checks it).
//!
//! | layer | files | what |
//! |---|---|---|
//! | L0 | `sync` `memory` `net` `reason` | atomics or loom's; reserved memory; reason codes |
//! | L1 | `wire` `table` `ring` | bytes to header fields; the concurrent table, which knows no packets; bounded queues |
//! | L2 | `tuple` `hash` `timeout` `proto` `helper` | what identifies a connection; tunables; the trackers and the parsers of payloads, pure functions |
//! | L3 | `config` `packet` `conn` `connection` `expect` `event` | what goes in and comes out; a connection's two cache lines; its text |
//! | L4 | `shared` `worker` `track` `further` `open` `confirm` `policy` `notify` `early_drop` `related` `help` `reap` `section` `control` `grow` `stats` `limit` `scratch` `defrag` `models` `stalled` `bench` | the path of a packet, and what is done beside it |
//! | L5 | `ffi` | the C ABI (feature `capi`) |
#![deny(missing_docs)]

pub mod config;
pub mod conn;
pub mod connection;
pub mod event;
pub mod helper;
pub mod net;
pub mod packet;
pub mod proto;
pub mod reason;
pub mod timeout;
pub mod tuple;
pub mod wire;

#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod bench;
mod confirm;
mod control;
pub mod defrag;
mod early_drop;
pub mod expect;
#[cfg(feature = "capi")]
#[allow(non_camel_case_types, dead_code, unused_imports, reason = "the names and the users are C's")]
mod ffi;
mod further;
mod grow;
mod hash;
mod help;
mod limit;
mod memory;
#[cfg(all(test, conntab_loom))]
mod models;
mod notify;
mod open;
mod policy;
mod reap;
mod related;
mod ring;
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
pub use defrag::{Defrag, DefragConfig};
pub use event::{Event, EventKind};
pub use expect::{ExpectError, Expectation, HelperError};
pub use help::Expectations;
pub use helper::{Helper, HelperId};
pub use notify::Events;
pub use packet::{CtState, Handle, MAX_BURST, Packet, Verdict};
pub use policy::PolicyError;
pub use reap::Reaped;
pub use reason::Reason;
pub use section::{Section, View};
pub use stats::{Stats, Usage};
#[cfg(all(conntab_mutate, not(conntab_loom)))]
#[doc(hidden)]
pub use sync::on_step;
pub use worker::{NatError, Worker};

/// The bare table beside a plain map, for the fuzz target `table`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub use table::tests::plain::play as play_table;

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
