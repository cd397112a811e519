//! L2: helpers: what a connection's payload says about connections to come.
//!
//! A parser is a pure function: (its state, direction, tuple, sequence number, payload) to [`Heard`]. It allocates nothing, looks at
//! each byte a fixed number of times at most, and panics on none.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

pub mod announce;

pub use announce::{Announce, Heard};
