//! The scopes that are explored, the small ones first.

use crate::scope::{Op::*, PLAIN, Scope};

const A: u8 = 0;
const B: u8 = 1;
const C: u8 = 2;
const D: u8 = 3;

/// What takes a second or so each.
pub const SHORT: &[Scope] = &[
    Scope {
        name: "delete, delete, lookup",
        there: &[[A, B]],
        programs: &[&[Delete(A)], &[Delete(B)], &[Lookup(A), Lookup(B)]],
        ..PLAIN
    },
    Scope {
        name: "same tags: delete, lookup",
        hash: [0, 0, 0, 0],
        there: &[[A, A], [B, B]],
        programs: &[&[Delete(A)], &[Lookup(B), Lookup(A)]],
        ..PLAIN
    },
    Scope {
        name: "reuse: delete, insert, lookup",
        entries: 2,
        there: &[[A, B]],
        programs: &[&[Delete(A), Insert([C, C]), Insert([B, D])], &[Lookup(A), Lookup(B)]],
        ..PLAIN
    },
    Scope {
        name: "expired: insert, refresh",
        heads: 2,
        there: &[[A, B]],
        expired: 1,
        programs: &[&[Insert([B, A])], &[Refresh(A)]],
        ..PLAIN
    },
    Scope {
        name: "expired: reap, refresh, lookup",
        there: &[[A, B]],
        expired: 1,
        programs: &[&[Reap(A)], &[Refresh(B)], &[Lookup(A)]],
        ..PLAIN
    },
    Scope {
        name: "expired: insert, reap",
        heads: 2,
        there: &[[A, B]],
        expired: 1,
        programs: &[&[Insert([A, B])], &[Reap(A)]],
        ..PLAIN
    },
    Scope {
        name: "insert, insert: mirrored",
        heads: 2,
        programs: &[&[Insert([A, B])], &[Insert([B, A])]],
        ..PLAIN
    },
    Scope { name: "insert, insert: one key", programs: &[&[Insert([A, A])], &[Insert([A, A])]], ..PLAIN },
    Scope {
        name: "insert, insert: half",
        heads: 2,
        programs: &[&[Insert([A, B])], &[Insert([B, C])]],
        ..PLAIN
    },
    Scope {
        name: "insert, insert: one tag, overflow",
        hash: [0, 0, 0, 0],
        programs: &[&[Insert([A, B])], &[Insert([B, A])]],
        ..PLAIN
    },
    Scope {
        name: "insert, insert, lookup",
        heads: 2,
        programs: &[&[Insert([A, B])], &[Insert([B, A])], &[Lookup(A), Lookup(B)]],
        ..PLAIN
    },
    Scope {
        name: "insert, delete",
        heads: 2,
        there: &[[A, B]],
        programs: &[&[Insert([B, A])], &[Delete(A)]],
        ..PLAIN
    },
    Scope {
        name: "insert and delete, insert",
        heads: 2,
        programs: &[&[Insert([A, B]), Delete(B)], &[Insert([B, A])]],
        ..PLAIN
    },
    Scope {
        name: "no room",
        overs: 1,
        there: &[[A, B]],
        programs: &[&[Insert([C, D])], &[Delete(A)], &[Lookup(C)]],
        ..PLAIN
    },
    Scope {
        name: "inserts, lookup: an index again",
        entries: 2,
        programs: &[&[Insert([A, A]), Insert([B, B])], &[Insert([A, A])], &[Lookup(A)]],
        ..PLAIN
    },
    Scope {
        name: "overflow: sweep, insert",
        slots: 1,
        overs: 4,
        entries: 4,
        there: &[[A, A], [B, B], [C, C]],
        programs: &[&[Delete(B)], &[Delete(C)], &[Insert([D, D])]],
        ..PLAIN
    },
    Scope {
        name: "overflow: in turns",
        overs: 3,
        entries: 5,
        there: &[[A, B], [C, C]],
        programs: &[&[Delete(C), Insert([C, C])], &[Insert([D, D]), Delete(D)]],
        ..PLAIN
    },
    Scope {
        name: "marks: insert behind, unlink",
        slots: 1,
        overs: 3,
        entries: 4,
        there: &[[A, A], [B, B]],
        programs: &[&[Delete(B), Insert([D, D])], &[Insert([C, C])]],
        ..PLAIN
    },
    Scope {
        name: "marks: two behind one head",
        slots: 1,
        overs: 3,
        entries: 4,
        there: &[[A, A]],
        programs: &[&[Insert([B, B])], &[Insert([C, C])]],
        ..PLAIN
    },
    Scope {
        name: "marks: two mark one head",
        slots: 1,
        overs: 3,
        entries: 4,
        hash: [1, 1, 0, 2],
        there: &[[A, A], [B, B]],
        programs: &[&[Insert([C, C])], &[Insert([D, D])]],
        ..PLAIN
    },
    Scope {
        name: "marks: unlink one of two, insert",
        slots: 1,
        overs: 4,
        entries: 5,
        there: &[[A, A], [B, B], [C, C]],
        programs: &[&[Delete(B)], &[Delete(C), Insert([D, D])]],
        ..PLAIN
    },
    Scope {
        name: "overflow: insert, insert",
        slots: 1,
        there: &[[A, A]],
        programs: &[&[Insert([B, B])], &[Insert([B, B])]],
        ..PLAIN
    },
    Scope {
        name: "overflow: delete, insert",
        slots: 1,
        there: &[[A, A], [B, B]],
        programs: &[&[Delete(B)], &[Insert([C, C])]],
        ..PLAIN
    },
    Scope {
        name: "overflow: delete, delete, insert",
        there: &[[A, B], [C, D]],
        entries: 3,
        programs: &[&[Delete(C)], &[Insert([C, D])], &[Lookup(D)]],
        ..PLAIN
    },
    Scope {
        name: "overflow: neighbours",
        slots: 1,
        overs: 3,
        entries: 4,
        there: &[[A, A], [B, B], [C, C]],
        programs: &[&[Delete(B)], &[Delete(C)], &[Lookup(C)]],
        ..PLAIN
    },
    Scope {
        name: "overflow: front and insert",
        slots: 1,
        overs: 3,
        entries: 4,
        there: &[[A, A], [B, B]],
        programs: &[&[Delete(B)], &[Insert([C, C]), Delete(C)], &[Lookup(C)]],
        ..PLAIN
    },
    Scope {
        name: "overflow: one bucket, two cleaners",
        overs: 2,
        entries: 4,
        there: &[[A, B], [C, C], [D, D]],
        programs: &[&[Delete(C)], &[Delete(D)], &[Insert([C, C])]],
        ..PLAIN
    },
    Scope {
        name: "overflow: bucket reuse",
        slots: 1,
        overs: 2,
        entries: 4,
        there: &[[A, A], [B, B]],
        programs: &[&[Delete(B), Insert([C, C])], &[Lookup(B), Lookup(C)]],
        ..PLAIN
    },
    Scope {
        name: "growth: insert",
        grows: true,
        programs: &[&[Grow, Advance], &[Insert([A, B])], &[Lookup(A)]],
        ..PLAIN
    },
    Scope {
        name: "growth: delete",
        grows: true,
        there: &[[A, B]],
        programs: &[&[Grow, Advance], &[Delete(A)], &[Lookup(B)]],
        ..PLAIN
    },
    Scope {
        name: "growth: two move, delete",
        grows: true,
        there: &[[A, B]],
        programs: &[&[Grow, Advance], &[Advance], &[Delete(A)]],
        ..PLAIN
    },
    Scope {
        name: "growth: with overflow, delete",
        grows: true,
        slots: 1,
        overs: 4,
        hash: [0, 0, 0, 1],
        there: &[[A, A], [B, B]],
        programs: &[&[Grow, Advance], &[Delete(B)], &[Lookup(A)]],
        ..PLAIN
    },
    Scope {
        name: "growth: with overflow, insert",
        grows: true,
        slots: 1,
        overs: 4,
        hash: [0, 0, 2, 1],
        there: &[[A, A]],
        programs: &[&[Grow, Advance], &[Insert([B, B])]],
        ..PLAIN
    },
    Scope {
        name: "growth: a chain stays together",
        grows: true,
        slots: 1,
        overs: 4,
        hash: [0, 2, 1, 3],
        there: &[[A, A], [B, B]],
        programs: &[&[Grow, Advance], &[Lookup(B), Insert([C, C])]],
        ..PLAIN
    },
    Scope {
        name: "growth: two heads",
        grows: true,
        heads: 2,
        there: &[[A, C]],
        programs: &[&[Grow, Advance, Advance], &[Delete(A), Insert([B, D])]],
        ..PLAIN
    },
];

/// What takes minutes.
pub const LONG: &[Scope] = &[
    Scope {
        name: "insert, insert, lookup: one tag",
        hash: [0, 0, 0, 0],
        programs: &[&[Insert([A, B])], &[Insert([B, A])], &[Lookup(A)]],
        ..PLAIN
    },
    Scope {
        name: "three inserts: one key",
        programs: &[&[Insert([A, A])], &[Insert([A, A])], &[Insert([A, A])]],
        ..PLAIN
    },
    Scope {
        name: "growth: two heads, insert, delete",
        grows: true,
        heads: 2,
        there: &[[A, C]],
        programs: &[&[Grow, Advance, Advance], &[Insert([A, B])], &[Delete(C)]],
        ..PLAIN
    },
    Scope {
        name: "three inserts: a late helper",
        heads: 2,
        programs: &[&[Insert([A, A])], &[Insert([A, B])], &[Insert([B, B])]],
        ..PLAIN
    },
];
