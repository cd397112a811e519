#!/usr/bin/env bash
# Shows that the models can fail: every mutation (a removed fence, step or check; src/sync.rs) must be caught by the
# model named beside it. One build; CONNTAB_MUTATION chooses the mutation at run time. Exit 1 if any survives, or if a
# model fails without one.
# Usage: ci/mutations.sh [name filter]. With MODELS_HOLD=1 the models are not tried without a mutation: ci/loom.sh has just done so.
set -euo pipefail
cd "$(dirname "$0")/.."
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-2}"
export RUSTFLAGS="--cfg conntab_loom --cfg crossbeam_loom --cfg conntab_mutate"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom-mutate"
filter="${1:-}"

binary=$(cargo test --release --lib --no-run --message-format=json |
  grep -o '"executable":"[^"]*"' | tail -1 | cut -d'"' -f4) || true
[ -n "$binary" ] || { echo "no test binary (does the crate build?)"; exit 1; }

models=$("$binary" --list | sed -n 's/: test$//p')

# shellcheck disable=SC2317 # called by xargs
try() { # mutation model: one line, and 1 if it is not as it must be
  local test status=0
  test=$(grep -E "(^|::)models::(.*::)?$2\$" <<<"$models") || { echo "no model $2"; return 1; }
  CONNTAB_MUTATION="$1" timeout "${MODEL_TIMEOUT:-600}" "$binary" --exact "$test" --test-threads 1 >/dev/null 2>&1 || status=$?
  # A time-out proves nothing.
  if [ "$status" = 124 ]; then printf 'TIMED OUT   %-22s %s\n' "$1" "$2"; return 1
  elif [ "$1" = none ]; then [ "$status" = 0 ] || { echo "BROKEN      $2 fails without a mutation"; return 1; }
  elif [ "$status" = 0 ]; then printf 'NOT caught  %-22s %s\n' "$1" "$2"; return 1
  else printf 'caught      %-22s %s\n' "$1" "$2"; fi
}
export -f try
export binary models

# mutation: models
table='
no-fence: insert_insert_one_key insert_insert_mirrored insert_insert_half
burst-no-fence: insert_burst_mirrored
helper-no-fence: helper_fences
ready-early: insert_insert_mirrored
ready-relaxed: helper_publishes
attempt-ignored: late_helper
attempt-not-counted: late_helper
placed-skips-epoch: late_helper_of_a_former_life
loser-no-restart: insert_insert_one_key
loser-no-help: insert_insert_one_key
expired-skip: expiry_against_insert
kill-blind: delete_against_delete kill_against_refresh
clear-one: insert_against_delete
first-tag-only: lookup_against_delete
reader-any-life: lookup_against_insert lookup_against_delete
slot-relaxed: lookup_against_insert_of_a_used_entry
slot-acquire: lookup_against_insert_of_a_used_entry
skip-epoch: index_reuse
retire-early: retired_means_unreachable
bucket-skip-epoch: bucket_reuse
retire-before-unlink: retired_bucket_is_unlinked
close-no-fence: two_clean_one_bucket
close-meta-first: unlink_against_insert
close-reopen: closed_is_never_reopened
unlink-from-closed: neighbours_unlink
link-stale: sweep_against_close
link-relaxed: link_publishes_the_bucket
link-unmarked: two_link_behind_one_head
mark-never: lookup_against_insert_behind
mark-once: insert_against_unlink_and_insert mark_of_another_against_unlink_and_insert
mark-not-raced: two_link_behind_one_head
mark-blind: two_mark_one_head
unlink-unmarks: lookup_against_unlink_and_insert
unmark-late: insert_against_unlink_and_insert
fill-unmarked: lookup_against_move_of_marks insert_against_move_of_marks
chain-relaxed: lists
stack-relaxed: stack_publishes_links
stack-no-version: stack_against_stack
root-acquire: ends_whoever_comes_last
root-relaxed: ends_whoever_comes_last
done-relaxed: ends_whoever_comes_last
end-early: ends_whoever_comes_last
end-blind: a_late_helper_ends_nothing
moved-acquire: lookup_against_migrate burst_against_migrate
moved-relaxed: lookup_against_migrate
moved-early: lookup_against_migrate
moved-by-all: two_migrate
moved-retires-early: moved_chain_is_unreachable
move-no-dead: delete_against_migrate
clear-frozen: delete_against_migrate
fill-blind: delete_against_migrate
fill-link-relaxed: two_migrate
freeze-relaxed: used_entry_across_growth
slot-not-frozen: insert_against_migrate
meta-not-frozen: insert_against_begin
array-skip-epoch: an_array_is_kept_for_those_inside
record-enter-odd: record_writers_take_turns
record-enter-relaxed: record_writers_take_turns
record-leave-relaxed: record_writers_take_turns record_is_read_whole
record-enter-no-fence: record_is_read_whole
record-read-no-fence: record_is_read_whole
shorten-no-fence: hint_is_never_later_than_the_expiry
postpone-no-fence: hint_is_never_later_than_the_expiry
postpone-no-look: hint_is_never_later_than_the_expiry
forget-blind: hint_of_the_next_life_is_not_forgotten
forget-on-the-way: hint_given_on_the_way_in_is_not_forgotten
begin-relaxed: hint_of_the_next_life_is_not_forgotten
limit-plus-one: max_is_never_exceeded
tuning-relaxed: a_new_version_comes_with_its_values
policy-set-relaxed: a_policy_that_is_there_is_whole
policy-set-unlocked: of_two_that_set_a_policy_one_is_the_last
ring-publish-relaxed: a_record_is_taken_whole_and_once two_producers_share_a_queue
ring-take-relaxed: a_record_is_taken_whole_and_once
changes-relaxed: who_tells_of_a_change_sees_it_made
changes-take-relaxed: who_tells_of_a_change_sees_it_made
expect-take-blind: one_packet_takes_what_comes_once what_is_expected_ends_once
expect-live-early: what_is_new_is_not_over
expect-no-fence: two_never_expect_the_same
expect-look-once: two_never_expect_the_same
expect-write-no-fence: a_place_is_used_again
expect-read-no-fence: a_place_is_used_again
expect-no-generation: a_place_is_used_again
help-enter-entered: helpers_take_turns
help-enter-relaxed: helpers_take_turns
help-leave-relaxed: helpers_take_turns
help-leave-no-look: the_last_to_leave_clears_up
help-bury-entered: the_last_to_leave_clears_up
help-make-relaxed: a_record_is_used_again
'

survivors=0
# Every defect that the code knows must stand in the table.
while read -r mutation; do
  grep -q "^$mutation:" <<<"$table" || { echo "NOT listed  $mutation"; survivors=1; }
done < <(grep -rhoE '(mutated|order)\("[a-z-]+"' src | cut -d'"' -f2 | sort -u)
pairs=$(while read -r line; do
  mutation=${line%%:*}
  [[ -n "$mutation" && "$mutation" == *"$filter"* ]] || continue
  for model in ${line#*:}; do echo "$mutation $model"; done
done <<<"$table")
[ -n "$pairs" ] || { echo "no mutation has '$filter' in its name"; exit 1; }
# Each model must hold without a mutation, too: those take longest, so they come first.
{ [ "${MODELS_HOLD:-0}" = 1 ] || cut -d' ' -f2 <<<"$pairs" | sort -u | sed 's/^/none /'; echo "$pairs"; } |
  xargs -P "$(nproc)" -L 1 bash -c 'try "$@"' try || survivors=1
exit "$survivors"
