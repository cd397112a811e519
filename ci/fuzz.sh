#!/usr/bin/env bash
# Fuzzing (fuzz/): each target over its seeds, and for some time beyond them; then defects planted in the models that the targets compare
# with, which must be found. Usage: ci/fuzz.sh [--short] [--seconds N] [--jobs N] [TARGET...]
# 900 seconds each, two side by side; --short: 4 seconds each, a minute in all without building. Last line: N passed, N failed.
# What is found lies in fuzz/artifacts/TARGET; what is new in coverage, in fuzz/corpus/TARGET.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"

seconds=900 jobs=2 chosen=()
while [ $# -gt 0 ]; do
  case "$1" in
    --short) seconds=4 ;;
    --seconds) seconds=${2:?} && shift ;;
    --jobs) jobs=${2:?} && shift ;;
    -*) echo "usage: ci/fuzz.sh [--short] [--seconds N] [--jobs N] [TARGET...]" >&2; exit 2 ;;
    *) chosen+=("$1") ;;
  esac
  shift
done
targets=(path table ffi defrag helper payload text scenario pcap wire_parse wire_ethernet)
[ ${#chosen[@]} = 0 ] && chosen=("${targets[@]}")
# Defect, and the target whose comparison must find it.
planted=(path-stream-late:path table-expires-late:table ffi-deleted-twice:ffi defrag-late:defrag helper-any-source:helper text-unreplied:text)

if ! command -v c++ >/dev/null; then
  echo "c++ is not installed: nothing is fuzzed"
  echo "0 passed, 0 failed"
  exit
fi

# As cargo-fuzz would, but without a nightly toolchain. (Comparisons are not traced: the sweeps over a table make them dear.)
triple=$(rustc -vV | sed -n "s/^host: //p")
sancov="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
RUSTC_BOOTSTRAP=1 RUSTFLAGS="$sancov -Cllvm-args=-sanitizer-coverage-pc-table -Zsanitizer=address --cfg fuzzing --cfg conntab_asan" \
  cargo build --quiet --release --manifest-path fuzz/Cargo.toml --target "$triple" --target-dir target/fuzz || {
  echo "0 passed, 1 failed"
  exit 1
}
logs=target/fuzz/logs
rm -rf "$logs"
mkdir -p "$logs"

# run NAME TARGET CORPUS ARGUMENTS...: its last figures; what it says is in $logs/NAME.
run() {
  local name=$1 target=$2 corpus=$3 dictionary=()
  shift 3
  mkdir -p "$corpus" "fuzz/artifacts/$target"
  [ -f "fuzz/dictionaries/$target" ] && dictionary=("-dict=fuzz/dictionaries/$target")
  "target/fuzz/$triple/release/$target" "$corpus" "fuzz/seeds/$target" -max_len=4096 -timeout=20 -print_final_stats=1 \
    "${dictionary[@]}" "$@" >"$logs/$name" 2>&1
}

fuzz() { # target
  local target=$1 result=found figures executed
  run "$target" "$target" "fuzz/corpus/$target" -max_total_time="$seconds" -artifact_prefix="fuzz/artifacts/$target/" && result=nothing
  figures=$(grep -ao 'cov: [0-9]* ft: [0-9]* corp: [0-9]*' "$logs/$target" | tail -n 1)
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$target")
  printf '%-14s %9s executions in %d s, %s, findings: %s\n' "$target" "${executed:-?}" "$seconds" "${figures:-no coverage}" "$result"
  [ $result = nothing ] || { grep -aE 'panicked|ERROR|SUMMARY|Test unit written|Base64|ffi\.c:' -A 3 "$logs/$target" | head -n 20; false; }
}

find_planted() { # defect:target
  local defect=${1%:*} target=${1#*:} executed result
  # Seeds of another run's finding would make it easy: from the seeds alone, and within a bounded number of runs.
  CONNTAB_PLANTED=$defect run "$defect" "$target" "$logs/none-$target" -runs=200000 -max_total_time=120 -seed=1 -artifact_prefix="$logs/$defect-"
  result=$?
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$logs/$defect")
  if [ $result != 0 ]; then
    echo "planted $defect: found by $target after ${executed:-?} executions"
  else
    echo "planted $defect: NOT FOUND by $target in ${executed:-?} executions"
    false
  fi
}

passed=0 failed=0
# Each in a process of its own, as many as JOBS at a time; their exit codes are counted.
all() { # function arguments...
  local function=$1 argument running=0
  shift
  for argument; do
    if [ "$running" -ge "$jobs" ]; then
      count
      running=$((running - 1))
    fi
    "$function" "$argument" &
    running=$((running + 1))
  done
  while [ "$running" -gt 0 ]; do
    count
    running=$((running - 1))
  done
}
count() { if wait -n; then passed=$((passed + 1)); else failed=$((failed + 1)); fi; }

all fuzz "${chosen[@]}"
plant=()
for defect in "${planted[@]}"; do
  case " ${chosen[*]} " in *" ${defect#*:} "*) plant+=("$defect") ;; esac
done
[ ${#plant[@]} = 0 ] || all find_planted "${plant[@]}"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
