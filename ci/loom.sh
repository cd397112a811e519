#!/usr/bin/env bash
# The loom models: of the table, and of the path (src/models.rs). Usage: ci/loom.sh [preemption bound, default 2] [name filter]
set -euo pipefail
cd "$(dirname "$0")/.."
export LOOM_MAX_PREEMPTIONS="${1:-2}"
[[ "$LOOM_MAX_PREEMPTIONS" =~ ^[0-9]+$ ]] || { echo "usage: ci/loom.sh [preemption bound] [name filter]" >&2; exit 2; }
export RUSTFLAGS="--cfg conntab_loom --cfg crossbeam_loom"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
exec cargo test --release --lib -- "models::${2:-}"
