#!/usr/bin/env bash
# Stops a worker at every named step of the library (proof/stall/src/steps.rs), and then wherever a signal meets it: the others go on, and
# when it does, everything is back. And what this finds of planted defects. Usage: ci/stall.sh [--short] [--seed N]
# The short form takes about a minute; last line: N passed, N failed.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=25 points=300 seed=1
while [ $# -gt 0 ]; do
  case "$1" in
    --short) rounds=3 points=20 ;;
    --seed) seed=${2:?} && shift ;;
    *) echo "usage: ci/stall.sh [--short] [--seed N]" >&2; exit 2 ;;
  esac
  shift
done

passed=0 failed=0
judge() { # command
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

# The library as it ships, stopped by signals.
cargo build --quiet --release -p conntab-stall
judge target/release/conntab-stall --seed "$seed" --anywhere "$points"

# Compiled with its steps, and with the defects that can be switched on (src/sync.rs).
mutated=target/linearize-mutate
RUSTFLAGS="--cfg conntab_mutate" cargo build --quiet --release -p conntab-stall --target-dir "$mutated"
judge "$mutated/release/conntab-stall" --seed "$seed" --rounds "$rounds"
for defect in record-waits insert-waits move-waits spare-lost loser-lost permit-lost; do
  CONNTAB_MUTATION=$defect judge "$mutated/release/conntab-stall" --seed "$seed" --rounds 1 --planted "$defect"
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
