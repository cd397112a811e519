#!/usr/bin/env bash
# Everything that must hold before a change lands. Usage: ci/test.sh
# As root it installs the Debian packages it uses; otherwise what is missing is skipped and named.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

if ! command -v shellcheck >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  step "Debian packages"
  apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends shellcheck >/dev/null
fi

step "formatting"
cargo fmt --all --check
if command -v shellcheck >/dev/null; then
  step "shell scripts"
  shellcheck ci/*.sh captures/*.sh
else
  echo "shellcheck is not installed: scripts are not checked"
fi

step "lints"
cargo clippy --workspace --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet

step "tests"
cargo test --workspace --release

step "dataplanes: real programs across the example firewalls"
ci/dataplane.sh

step "loom models, preemption bound 2"
ci/loom.sh 2

step "mutations: each must be caught"
ci/mutations.sh

step "done"
