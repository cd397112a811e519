#!/usr/bin/env bash
# The loom models, of the table and of the path (src/models.rs): every interleaving of their threads up to a number of preemptions.
# Usage: ci/loom.sh [--short] [--bound N] [--limit SECONDS] [FILTER]    FILTER: a part of the models' names.
# The short form has bound 2, the long one 3, where the largest models do not end in the time that each may take (half an hour unless
# said): they are named, and count neither as passed nor as failed. Each line tells a model's time; last line: N passed, N failed.
set -euo pipefail
cd "$(dirname "$0")/.."

bound=3 limit=1800 filter=''
while [ $# -gt 0 ]; do
  case "$1" in
    --short) bound=2 ;;
    --bound) bound=${2:?} && shift ;;
    --limit) limit=${2:?} && shift ;;
    -*) echo "usage: ci/loom.sh [--short] [--bound N] [--limit SECONDS] [FILTER]" >&2; exit 2 ;;
    *) filter=$1 ;;
  esac
  shift
done
export limit LOOM_MAX_PREEMPTIONS="$bound" RUSTFLAGS="--cfg conntab_loom --cfg crossbeam_loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"

binary=$(cargo test --quiet --release --lib --no-run --message-format=json |
  grep -o '"executable":"[^"]*"' | tail -1 | cut -d'"' -f4) || true
[ -n "$binary" ] || { echo "no test binary (does the crate build?)"; exit 1; }
export binary

# shellcheck disable=SC2317 # called by xargs
try() { # model: one line
  local output status=0 start=${EPOCHREALTIME/[.,]/} took
  output=$(timeout "$limit" "$binary" --exact "$1" --test-threads 1 2>&1) || status=$?
  case "$status" in
    0) result='passed' ;;
    124) result='no end' ;;
    *) result='FAILED'; printf '%s\n' "$output" | tail -n 40 ;;
  esac
  took=$(((${EPOCHREALTIME/[.,]/} - start) / 100000))
  printf '%s %5d.%d s  %s\n' "$result" "$((took / 10))" "$((took % 10))" "$1"
}
export -f try

# The largest first, so that none is left over in the end.
largest='expiry_against_insert|closed_is_never_reopened|insert_cycle|insert_against_move_of_marks|mark_of_another'
results=$(mktemp)
trap 'rm -f "$results"' EXIT
models=$("$binary" --list | sed -n 's/: test$//p' | grep -E '(^|::)models::' | grep -F -- "$filter")
{ grep -E "$largest" <<<"$models" || true; grep -vE "$largest" <<<"$models" || true; } |
  xargs -P "$(nproc)" -I{} bash -c 'try "$@"' try {} | tee "$results"
count() { grep -c "^$1 " "$results" || true; }
echo "bound $bound: $SECONDS s in all; $(count 'no end') did not end within $limit s"
echo "$(count passed) passed, $(count FAILED) failed"
[ "$(count FAILED)" = 0 ] && [ "$(count passed)" -gt 0 ]
