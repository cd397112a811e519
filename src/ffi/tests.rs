//! Struct by struct and field by field: what C sees is what Rust sees.

use std::mem::offset_of;

use super::*;
use crate::packet::Packet;

/// Lines of `ffi-tests/layout.txt`, which a C program prints too (ci/ffi.sh compares).
macro_rules! layout {
    ($($name:ident $of:ident { $($field:ident),+ $(,)? })+) => {{
        // A field that is not named here does not compile.
        $( fn $of(all: $name) { let $name { $($field: _),+ } = all; } )+
        $( let _ = $of; )+
        let mut text = String::new();
        $(
            let short = stringify!($name).trim_start_matches("conntab_");
            text += &format!("{short} {}\n", size_of::<$name>());
            $(
                let size = size_of_field(|all: &$name| &raw const all.$field);
                text += &format!("{short}.{} {} {size}\n", stringify!($field), offset_of!($name, $field));
            )+
        )+
        text
    }};
}

/// The size of the field that `_at` leads to.
fn size_of_field<S, F>(_at: impl Fn(&S) -> *const F) -> usize {
    size_of::<F>()
}

#[test]
fn c_and_rust_agree() {
    let ours = layout! {
        conntab_tuple tuple {
            src, dst, sport, dport, l4, l3, reserved,
        }
        conntab_counters counters {
            packets, bytes,
        }
        conntab_connection connection {
            conn, original, reply, zone_orig, zone_reply, status, proto_state, has_counters, has_delta_time, reserved, mark, timeout_ms, gre_timeout, gre_stream_timeout, reserved2, counters, delta_time, master, master_tuple, helper,
        }
        conntab_config config {
            max, hashsize, workers, user_data, events, timeout_policies, acct, timestamp, nat6, prefault, pages, fixed_key, reserved, hash_key, memory, memory_size, max_reserve, expect_max, helper_max, reserved2,
        }
        conntab_stats stats {
            found, invalid, insert, insert_failed, drop, early_drop, error, search_restart, clash_resolve, chaintoolong, ignored, busy, expired, deleted, not_confirmed, reclaim_stalled, events_lost, late_sweep, connections, max, entries, free, waiting, overflow, overflow_used, lost, insert_restarts, attempts_exhausted, overflow_exhausted, bounds, buckets, memory, expect_new, expect_create, expect_delete, expect_full, helper_full, expectations, helper_records,
        }
        conntab_reaped reaped {
            examined, expired, chains, wrapped,
        }
        conntab_packet packet {
            l3, caplen, len, zone_orig, zone_reply, hook, reserved, flags, hash,
        }
        conntab_verdict verdict {
            conn, mark, status, reason, state, dir, unconfirmed, proto_state, excess, pending, reserved,
        }
        conntab_view view {
            conn, mark, status, dir, reserved, user_data,
        }
        conntab_event event {
            at, kind, reserved, changes, reserved2, expectation, connection,
        }
        conntab_announcement announcement {
            from, to, port, protocol, class_id, flags, helper, reserved,
        }
        conntab_heading heading {
            original, reply, dir, established, reserved, seq,
        }
        conntab_class class {
            name, timeout, max, reserved,
        }
        conntab_helper helper {
            name, classes, help, user, protocol, l3, reserved,
        }
        conntab_expectation expectation {
            tuple, master_tuple, master, timeout_ms, zone, class_id, flags, helper, class_name,
        }
        conntab_defrag_config defrag_config {
            ipfrag_high_thresh, ipfrag_time, ipfrag_max_dist, frag6_high_thresh, frag6_timeout, queues, prefault, fixed_key, reserved, hash_key,
        }
        conntab_whole whole {
            packet, largest, least_header, reason,
        }
        conntab_defrag_counters defrag_counters {
            fragments, reassembled, timeouts, overlaps, failed, too_far, repeated, refused, no_room, waiting, memory_v4, memory_v6,
        }
    };
    assert_eq!(ours, include_str!("../../ffi-tests/layout.txt"));
}

/// conntab_track takes C's packets for ours. (That verdicts are the same bytes is asserted beside them.)
#[test]
fn packets_are_the_same_bytes() {
    let both = |ours: &[usize], theirs: &[usize]| assert_eq!(ours, theirs);
    both(
        &Packet::OFFSETS,
        &[
            offset_of!(conntab_packet, l3),
            offset_of!(conntab_packet, caplen),
            offset_of!(conntab_packet, len),
            offset_of!(conntab_packet, zone_orig),
            offset_of!(conntab_packet, zone_reply),
            offset_of!(conntab_packet, hook),
            offset_of!(conntab_packet, reserved),
            offset_of!(conntab_packet, flags),
            offset_of!(conntab_packet, hash),
        ],
    );
}
