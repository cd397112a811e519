//! Planted defects: each removes or misplaces a step of the protocol, and a property must find it in the scope named here. Most have
//! the name of the same mutation of the code (`ci/mutants.txt`).

/// A defect.
pub struct Defect {
    pub name: &'static str,
    /// Where it is looked for.
    pub scope: &'static str,
    pub what: &'static str,
}

const fn defect(name: &'static str, scope: &'static str, what: &'static str) -> Defect {
    Defect { name, scope, what }
}

pub const DEFECTS: &[Defect] = &[
    defect("no-fence", "insert, insert: one key", "the scan begins before READY is seen by all"),
    defect("no-scan", "insert, insert: one key", "READY -> LIVE without a look at others"),
    defect("commit-by-store", "insert, insert: one key", "READY -> LIVE by a store"),
    defect("ready-early", "insert, insert: mirrored", "READY before the second slot is placed"),
    defect(
        "attempt-ignored",
        "three inserts: a late helper",
        "a verdict about one attempt applied to the next",
    ),
    defect("attempt-not-counted", "insert, insert: one key", "all attempts look the same"),
    defect("loser-no-help", "insert, insert: one key", "a loser tries again without helping the winner"),
    defect("kill-without-order", "insert, insert: one key", "of two READY each may kill the other"),
    defect("expired-skip", "expired: insert, refresh", "what has expired is passed by, and wins the clash"),
    defect("kill-blind", "delete, delete, lookup", "LIVE -> DEAD by a store"),
    defect(
        "placed-skips-epoch",
        "inserts, lookup: an index again",
        "an entry that was placed is reused at once",
    ),
    defect("clear-one", "delete, delete, lookup", "a cleaner forgets the second slot"),
    defect("retire-early", "delete, delete, lookup", "retired before its slots are cleared"),
    defect("first-tag-only", "same tags: delete, lookup", "a lookup ends at the first tag that matches"),
    defect("reader-any-life", "delete, delete, lookup", "a lookup accepts what is not LIVE"),
    defect("skip-epoch", "reuse: delete, insert, lookup", "a deleted entry is reused at once"),
    defect("bucket-skip-epoch", "overflow: delete, insert", "an unlinked bucket is reused at once"),
    defect(
        "link-before-open",
        "overflow: insert, insert",
        "a bucket is linked before it holds what it brings",
    ),
    defect("close-meta-first", "overflow: delete, insert", "a bucket's meta is closed before its slots"),
    defect("close-reopen", "overflow: in turns", "slots are opened again when a close fails"),
    defect(
        "unlink-from-closed",
        "overflow: neighbours",
        "a bucket is unlinked from one that is closed itself",
    ),
    defect("retire-before-unlink", "overflow: neighbours", "a bucket is retired, then unlinked"),
    defect("link-stale", "overflow: sweep, insert", "the link past a bucket was read before it was closed"),
    defect(
        "link-unmarked",
        "marks: two behind one head",
        "the first link comes without the mark of what is behind it",
    ),
    defect("mark-never", "marks: insert behind, unlink", "what is placed behind a link leaves no mark"),
    defect("mark-once", "marks: insert behind, unlink", "one mark for all rounds of an insert"),
    defect("mark-not-raced", "marks: two behind one head", "no mark where another was faster to link"),
    defect("mark-blind", "marks: two mark one head", "a mark that failed is taken for done"),
    defect(
        "unlink-unmarks",
        "marks: unlink one of two, insert",
        "marks go with a bucket that is not the last",
    ),
    defect("unmark-late", "marks: insert behind, unlink", "marks go after the last link"),
    defect("fill-unmarked", "growth: a chain stays together", "a copied chain has no marks"),
    defect("slot-not-frozen", "growth: insert", "a slot is copied while it may change"),
    defect(
        "meta-not-frozen",
        "growth: with overflow, insert",
        "a chain is copied while it may become longer",
    ),
    defect("clear-frozen", "growth: delete", "a frozen slot is cleared"),
    defect("fill-blind", "growth: insert", "a copy is written twice"),
    defect("move-no-dead", "growth: delete", "what is dead is not copied"),
    defect("moved-early", "growth: insert", "MOVED before the copies"),
    defect("moved-by-all", "growth: with overflow, delete", "each who moves a chain retires it"),
    defect("end-early", "growth: two heads", "growth ends before the last chain has moved"),
];
