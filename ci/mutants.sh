#!/usr/bin/env bash
# Shows that the models can fail: every mutation (a removed fence, step or check; src/sync.rs) must be caught by each model that
# ci/mutants.txt names beside it, and every mutation that the code knows must be there. One build; CONNTAB_MUTATION chooses at run time.
# Usage: ci/mutants.sh [--short] [FILTER]    FILTER: a part of the mutations' names. The long form first runs each model without a
# mutation; the short form takes the first model of each mutation, and leaves it to ci/loom.sh to show that it holds without.
# Last line: N passed, N failed.
set -euo pipefail
cd "$(dirname "$0")/.."

short='' filter=''
while [ $# -gt 0 ]; do
  case "$1" in
    --short) short=1 ;;
    -*) echo "usage: ci/mutants.sh [--short] [FILTER]" >&2; exit 2 ;;
    *) filter=$1 ;;
  esac
  shift
done
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-2}"
export RUSTFLAGS="--cfg conntab_loom --cfg crossbeam_loom --cfg conntab_mutate"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom-mutate"

binary=$(cargo test --quiet --release --lib --no-run --message-format=json |
  grep -o '"executable":"[^"]*"' | tail -1 | cut -d'"' -f4) || true
[ -n "$binary" ] || { echo "no test binary (does the crate build?)"; exit 1; }
models=$("$binary" --list | sed -n 's/: test$//p')
export binary models

# shellcheck disable=SC2317 # called by xargs
try() { # mutation model: one line
  local test status=0 result
  if ! test=$(grep -E "(^|::)models::(.*::)?$2\$" <<<"$models"); then
    result='NO MODEL'
  else
    CONNTAB_MUTATION="$1" timeout "${MODEL_TIMEOUT:-600}" "$binary" --exact "$test" --test-threads 1 >/dev/null 2>&1 || status=$?
    case "$1:$status" in
      *:124) result='TIMED OUT' ;; # which proves nothing
      none:0) result='holds' ;;
      none:*) result='BROKEN' ;;
      *:0) result='NOT CAUGHT' ;;
      *) result='caught' ;;
    esac
  fi
  printf '%-10s  %-24s %s\n' "$result" "$1" "$2"
}
export -f try

table=$(grep -v '^#' ci/mutants.txt)
mapfile -t unlisted < <(comm -23 <(grep -rhoE '(mutated|order)\("[a-z-]+"' src | cut -d'"' -f2 | sort -u) <(cut -d: -f1 <<<"$table" | sort -u))
pairs=$(while read -r line; do
  mutation=${line%%:*}
  [[ "$mutation" == *"$filter"* ]] || continue
  for model in ${line#*:}; do
    echo "$mutation $model"
    [ -z "$short" ] || break
  done
done <<<"$table")
# Models without a mutation take longest, so they come first.
results=$(mktemp)
trap 'rm -f "$results"' EXIT
{ [ -n "$short" ] || cut -s -d' ' -f2 <<<"$pairs" | sort -u | sed 's/^/none /'; echo "$pairs"; } |
  xargs -P "$(nproc)" -L 1 bash -c 'try "$@"' try 2>/dev/null | tee "$results"
[ "${#unlisted[@]}" = 0 ] || printf 'NOT LISTED  %s\n' "${unlisted[@]}"
passed=$(grep -cE '^(caught|holds) ' "$results" || true)
failed=$(($(grep -cvE '^(caught|holds) ' "$results" || true) + ${#unlisted[@]}))
echo "$SECONDS s; $(cut -d' ' -f1 <<<"$pairs" | sort -u | wc -l) mutations"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
