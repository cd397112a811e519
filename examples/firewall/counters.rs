//! What the ports count. The thread with the packets writes, the control socket reads.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($( $(#[doc = $doc:literal])+ $name:ident; )+) => {
        /// Counters of a port. `rx` is the sum of `truncated`, `bridged` and the seven states; what neither was dropped nor
        /// truncated is `tx` or `tx_failed` of the other port.
        #[derive(Debug, Default)]
        pub struct Counters { $( $(#[doc = $doc])+ pub $name: Counter, )+ }

        impl Counters {
            /// A line for each.
            pub fn write(&self, out: &mut String, port: usize) -> fmt::Result {
                $( writeln!(out, "port{port}.{} {}", stringify!($name), self.$name.0.load(Relaxed))?; )+
                Ok(())
            }
        }
    };
}

counters! {
    /// Frames received.
    rx;
    /// Frames that the kernel had no room for.
    missed;
    /// Frames longer than a buffer; dropped.
    truncated;
    /// Frames that hold no IP packet, such as ARP.
    bridged;
    /// Packets by their state, after confirming.
    new;
    /// Likewise.
    established;
    /// Likewise.
    related;
    /// Likewise.
    invalid;
    /// Likewise.
    untracked;
    /// Likewise: no room, or a clash.
    drop;
    /// Likewise.
    fragment;
    /// Frames that did not pass.
    dropped;
    /// Frames sent.
    tx;
    /// Frames that could not be sent.
    tx_failed;
}

/// A number that one thread counts up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts up.
    pub fn add(&self, n: usize) {
        self.0.store(self.0.load(Relaxed) + n as u64, Relaxed);
    }
}
