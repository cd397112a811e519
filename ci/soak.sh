#!/usr/bin/env bash
# The soak (proof/field): two threads of mixed traffic, one table that lives throughout and fresh ones that grow, and every count
# compared; then planted defects of the library (src/sync.rs), which it must find.
# Usage: ci/soak.sh [--short] [--minutes N]    30 minutes, or 20 seconds. Last line: N passed, N failed.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=1800
while [ $# -gt 0 ]; do
  case "$1" in
    --short) seconds=20 ;;
    --minutes) seconds=$((60 * ${2:?})) && shift ;;
    *) echo "usage: ci/soak.sh [--short] [--minutes N]" >&2; exit 2 ;;
  esac
  shift
done

passed=0 failed=0
judge() { # command
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

cargo build --quiet --release -p conntab-field
mutated=target/linearize-mutate
RUSTFLAGS="--cfg conntab_mutate" cargo build --quiet --release -p conntab-field --target-dir "$mutated"
for defect in permit-lost expired-uncounted clear-one limit-plus-one; do
  CONNTAB_MUTATION=$defect judge "$mutated/release/conntab-field" soak --seconds 4 --planted "$defect"
done
judge target/release/conntab-field soak --seconds "$seconds"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
