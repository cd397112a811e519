#!/usr/bin/env bash
# The library under AddressSanitizer (with LeakSanitizer), ThreadSanitizer and Valgrind; and what each of them finds of planted
# defects. Usage: ci/sanitize.sh [--short] [--seconds N] [asan|tsan|valgrind]...   (all of them)
#
#   asan      threads at one table (proof/stress), the tests of the library and of the command. (The C ABI's: ci/ffi.sh sanitizers.)
#   tsan      threads at one table, where words that nobody may race for are no atomics (`Ordered` in src/sync.rs)
#   valgrind  the C suites and examples (ci/ffi.sh valgrind, ci/ffi.sh sanitizers), threads at one table
#
# The short form, about a minute beyond building, runs the threads and some planted defects; ci/ffi.sh has Valgrind then.
# The last line is `N passed, N failed`: tests, scenarios of proof/stress, planted defects, suites and examples in C.
#
# What is missing here is told, and skipped. The switch of the sanitizers is unstable: RUSTC_BOOTSTRAP lets a stable toolchain take it.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"

short=no seconds=20 parts=()
while [ $# -gt 0 ]; do
  case "$1" in
    --short) short=yes seconds=1 ;;
    --seconds) seconds=${2:?} && shift ;;
    asan | tsan | valgrind) parts+=("$1") ;;
    *) echo "usage: ci/sanitize.sh [--short] [--seconds N] [asan|tsan|valgrind]..." >&2; exit 2 ;;
  esac
  shift
done
[ "${#parts[@]}" -gt 0 ] || parts=(asan tsan valgrind)

passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
host=$(rustc -vV | sed -n 's/^host: //p')
scenarios=(path chains clash expiry full growth expect fragments workers)

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

pass() { passed=$((passed + 1)); }

fail() { # what: the end of the log is shown
  failed=$((failed + 1))
  printf 'FAILED: %s\n' "$1"
  tail -n 60 "$log"
}

# A sanitizer ends the process where it finds something.
export ASAN_OPTIONS="${ASAN_OPTIONS:-exitcode=66:detect_leaks=1:detect_stack_use_after_return=1}"
export LSAN_OPTIONS="${LSAN_OPTIONS:-exitcode=66}"
export TSAN_OPTIONS="${TSAN_OPTIONS:-exitcode=66:halt_on_error=1}"

# built DIRECTORY RUSTFLAGS: proof/stress, with debug assertions; and with lines, for whoever reads what was found
built() {
  CARGO_PROFILE_CHECKED_DEBUG=line-tables-only RUSTC_BOOTSTRAP=1 RUSTFLAGS="$2" cargo build --quiet --profile checked -p conntab-stress --target "$host" --target-dir "$1" \
    >"$log" 2>&1 || { fail "building proof/stress with $2"; return 1; }
}

# stress COMMAND...: all scenarios
stress() {
  local name
  for name in "${scenarios[@]}"; do
    if "$@" --seconds "$seconds" "$name" >"$log" 2>&1; then
      pass
      cat "$log"
    else
      fail "$name"
    fi
  done
}

# planted NAME WHAT COMMAND...: the command must end as a sanitizer ends it, and say what it has found
planted() {
  local name=$1 what=$2 status=0 begun=${EPOCHREALTIME/./} took
  shift 2
  "$@" >"$log" 2>&1 || status=$?
  if [ "$status" = 66 ] && grep -q "$what" "$log"; then
    pass
    took=$((${EPOCHREALTIME/./} - begun))
    printf 'planted %s: found after %d.%d s\n' "$name" $((took / 1000000)) $((took / 100000 % 10))
  else
    fail "planted $name: NOT FOUND (status $status)"
  fi
}

# tests CARGO-TEST-ARGUMENTS...: each test counts
tests() {
  local status=0 counts
  RUSTC_BOOTSTRAP=1 cargo "$@" >"$log" 2>&1 || status=$?
  counts=$(awk '/^test result: / { good += $4; bad += $6 } END { print good + 0, bad + 0 }' "$log")
  passed=$((passed + ${counts% *}))
  if [ "$status" = 0 ] && [ "${counts#* }" = 0 ]; then
    printf '%s tests\n' "${counts% *}"
  else
    failed=$((failed + ${counts#* }))
    # What ended without a result: it was the sanitizer.
    [ "${counts#* }" != 0 ] || failed=$((failed + 1))
    grep -E '^(failures:|test .* FAILED|==.*ERROR|error)|panicked at' "$log"
    tail -n 60 "$log"
  fi
}

part_asan() {
  local flags="-Zsanitizer=address --cfg conntab_asan" program=target/asan/$host/checked/conntab-stress
  step "AddressSanitizer: threads at one table"
  built target/asan "$flags" || return
  stress "$program"
  planted packet-too-short heap-buffer-overflow "$program" --planted packet-too-short
  planted region-freed heap-use-after-free "$program" --planted region-freed
  planted worker-forgotten 'detected memory leaks' "$program" --planted worker-forgotten
  [ "$short" = no ] || return
  step "AddressSanitizer: the tests"
  # Two measure the memory that the process has, which here is the sanitizer's, too: what is freed it keeps for a while.
  RUSTFLAGS=$flags tests test --profile checked -p conntab -p conntab-cli --features conntab/capi --no-fail-fast --target "$host" \
    --target-dir target/asan --lib --bins --tests -- --skip memory_is_what_the_table_says \
    --skip calls_beside_a_worker_that_stands_still
}

# mutation:scenario
races='slot-relaxed:clash slot-acquire:clash ring-publish-relaxed:expiry record-leave-relaxed:path help-leave-relaxed:expect'
# These need more luck.
more_races='skip-epoch:clash placed-skips-epoch:clash bucket-skip-epoch:chains link-relaxed:chains ring-take-relaxed:expiry record-enter-relaxed:path
help-enter-relaxed:expect help-enter-entered:expect'

part_tsan() {
  local program=target/tsan/$host/checked/conntab-stress pair
  step "ThreadSanitizer: threads at one table"
  built target/tsan "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg conntab_tsan --cfg conntab_mutate" || return
  stress "$program"
  # Once more, giving turns away in the middle of operations.
  CONNTAB_PERTURB=1 stress "$program"
  [ "$short" = yes ] || races+=" $more_races"
  for pair in $races; do
    CONNTAB_MUTATION=${pair%:*} planted "${pair%:*}" 'ThreadSanitizer: data race' \
      "$program" --seconds 300 "${pair#*:}"
  done
}

part_valgrind() {
  if [ "$short" = yes ]; then
    echo "the C suites run under Valgrind in ci/ffi.sh; the long form runs more"
    return
  fi
  step "the C suites under Valgrind and with gcc's sanitizers"
  local line
  ci/ffi.sh valgrind sanitizers >"$log" 2>&1
  cat "$log"
  line=$(tail -n 1 "$log")
  [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]] || { fail "ci/ffi.sh"; return; }
  passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
  if ! command -v valgrind >/dev/null; then
    echo "valgrind is not installed: nothing runs under it"
    return
  fi
  step "Valgrind: threads at one table"
  cargo build --quiet --profile checked -p conntab-stress >"$log" 2>&1 || { fail "building proof/stress"; return; }
  local memcheck=(valgrind --quiet --fair-sched=yes --leak-check=full '--errors-for-leak-kinds=definite,indirect'
    --error-exitcode=66)
  local program=${CARGO_TARGET_DIR:-target}/checked/conntab-stress
  stress "${memcheck[@]}" "$program" --threads 2
  planted packet-too-short 'Invalid read' "${memcheck[@]}" "$program" --planted packet-too-short
  planted region-freed 'Invalid read' "${memcheck[@]}" "$program" --planted region-freed
  planted worker-forgotten 'definitely lost' "${memcheck[@]}" "$program" --planted worker-forgotten
}

for part in "${parts[@]}"; do "part_$part"; done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
