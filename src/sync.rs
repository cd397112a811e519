//! L0: the one switch between the machine's atomics and loom's.
//!
//! Everything that takes part in a concurrent protocol takes its atomics from here, so that the models of
//! `ci/loom.sh` run the very code that ships.

#[cfg(conntab_loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, fence};
#[cfg(not(conntab_loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, fence};

pub(crate) use std::sync::atomic::Ordering;
