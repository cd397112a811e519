#!/usr/bin/env bash
# The loom models of the table. Usage: ci/loom.sh [preemption bound, default 2] [name filter]
set -euo pipefail
cd "$(dirname "$0")/.."
export LOOM_MAX_PREEMPTIONS="${1:-2}"
export RUSTFLAGS="--cfg conntab_loom --cfg crossbeam_loom"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
exec cargo test --release --lib -- "table::tests::models::${2:-}"
