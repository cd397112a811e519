//! What happened to fragments, counted.

macro_rules! counters {
    ($( $(#[doc = $doc:literal])+ $name:ident; )+) => {
        /// The counters of a [`super::Defrag`], and what waits.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct DefragStats { $( $(#[doc = $doc])+ pub $name: u64, )+ }

        impl DefragStats {
            /// Name and value of every counter.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name)),+].into_iter()
            }
        }
    };
}

counters! {
    /// Fragments handed in (`ReasmReqds`).
    fragments;
    /// Datagrams put together (`ReasmOKs`).
    reassembled;
    /// Datagrams given up because their time was over (`ReasmTimeout`).
    timeouts;
    /// Datagrams given up because of an overlap (`ReasmOverlaps`).
    overlaps;
    /// Datagrams given up for any other reason of their own: ends that contradict each other, length, marks of congestion.
    failed;
    /// IPv4 datagrams begun anew because too many fragments of their source had come in between.
    too_far;
    /// Fragments that brought nothing new.
    repeated;
    /// Fragments dropped alone, their datagram going on without them.
    refused;
    /// Fragments not taken for want of memory, or of room for another datagram.
    no_room;
    /// Datagrams that wait now.
    waiting;
    /// Bytes that they take, IPv4.
    memory_v4;
    /// Bytes that they take, IPv6.
    memory_v6;
}
