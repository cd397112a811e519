//! The life bits: what an entry's word says to the table.
//!
//! ```text
//!  63                                  11 10        3 2    0
//! +--------------------------------------+-----------+------+
//! |        the entry's own bits          |  attempt  | life |
//! +--------------------------------------+-----------+------+
//!
//! FREE -> UNCONF -> INS -> READY -> LIVE -> DEAD -> (epoch) FREE
//!                    ^       |
//!                    |       v
//!                    +--- KILLED -> (epoch) FREE
//! ```
//!
//! Invariants. (W1) FREE, UNCONF, INS and KILLED words are written by the entry's owner alone; READY and LIVE are
//! left by compare-exchange alone. (W2) `attempt` grows with every INS of one life, and every compare-exchange
//! compares it: a verdict about one attempt never applies to the next. (W3) The own bits change only while LIVE (by
//! anyone, by compare-exchange) or UNCONF (by the owner). A freed entry stays DEAD or KILLED until it is
//! allocated again; FREE (0) is an entry never used, or released without having been placed.
//! Models: (W1) `ready_is_not_live`, `delete_against_delete`; (W2) `late_helper`, `late_helper_of_a_former_life`; (W3) `kill_against_refresh`.

pub(crate) const FREE: u64 = 0;
pub(crate) const UNCONF: u64 = 1;
pub(crate) const INS: u64 = 2;
pub(crate) const READY: u64 = 3;
pub(crate) const LIVE: u64 = 4;
pub(crate) const DEAD: u64 = 5;
pub(crate) const KILLED: u64 = 6;

const LIFE: u64 = 0b111;
const ATTEMPT_SHIFT: u32 = 3;
const ATTEMPT: u64 = 0xff << ATTEMPT_SHIFT;

/// The bits of the word that belong to the table.
#[cfg(test)]
pub(crate) const TABLE_BITS: u32 = 11;

/// Attempts of one insert. Fewer than the field could count, so it cannot wrap within one life; and few enough
/// that what an insert may retire within one pin (two overflow buckets an attempt) stays small.
pub(crate) const ATTEMPTS: u64 = 32;

#[inline(always)]
pub(crate) fn life(word: u64) -> u64 {
    word & LIFE
}

#[inline(always)]
pub(crate) fn attempt(word: u64) -> u64 {
    (word & ATTEMPT) >> ATTEMPT_SHIFT
}

/// `word` in another state of life.
#[inline(always)]
pub(crate) fn with_life(word: u64, life: u64) -> u64 {
    word & !LIFE | life
}

/// `word` in another state of life, at another attempt.
#[inline(always)]
pub(crate) fn with_attempt(word: u64, life: u64, attempt: u64) -> u64 {
    word & !(LIFE | ATTEMPT) | attempt << ATTEMPT_SHIFT | life
}
