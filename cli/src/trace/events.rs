//! The text of an event.
