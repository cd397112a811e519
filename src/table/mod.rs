//! L1: a concurrent table of entry indices under two keys.
