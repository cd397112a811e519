#!/usr/bin/env bash
# Histories of real threads at a real table, checked for linearizability (proof/linearize); and what it finds of planted defects.
# Usage: ci/linearize.sh [--short] [--seed N] [--histories N]. The short form takes about a minute; last line: N passed, N failed.
set -euo pipefail
cd "$(dirname "$0")/.."

histories=200000 seed=1
planted=(kill-blind reader-any-life ready-early attempt-not-counted loser-no-restart moved-early fill-blind slot-not-frozen meta-not-frozen)
while [ $# -gt 0 ]; do
  case "$1" in
    --short) histories=10000 planted=(kill-blind reader-any-life ready-early slot-not-frozen) ;;
    --seed) seed=${2:?} && shift ;;
    --histories) histories=${2:?} && shift ;;
    *) echo "usage: ci/linearize.sh [--short] [--seed N] [--histories N]" >&2; exit 2 ;;
  esac
  shift
done

passed=0 failed=0
judge() { # command
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

cargo build --quiet --release -p conntab-linearize
judge target/release/conntab-linearize --seed "$seed" --histories "$histories"

# The same where threads give their turn away in the middle of operations, so that they overlap on a busy machine, too (src/sync.rs);
# and then with a defect of the table switched on.
export CONNTAB_PERTURB=1
mutated=target/linearize-mutate
RUSTFLAGS="--cfg conntab_mutate" cargo build --quiet --release -p conntab-linearize --target-dir "$mutated"
judge "$mutated/release/conntab-linearize" --seed "$seed" --histories "$histories"
for defect in "${planted[@]}"; do
  CONNTAB_MUTATION=$defect judge "$mutated/release/conntab-linearize" --seed "$seed" --histories 1000000 --planted "$defect"
done

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
