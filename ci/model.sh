#!/usr/bin/env bash
# The exhaustive model of the table's protocol (proof/model), and what it finds of planted defects.
# Usage: ci/model.sh [--short] [name filter]. The short form takes half a minute on one core; last line: N passed, N failed.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo run --quiet --release -p conntab-model -- "$@"
