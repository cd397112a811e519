//! The parsers of payloads: against recordings of a live kernel, against what was meant, and what holds for any bytes.

mod invariants;
mod meant;
mod recorded;
