#!/usr/bin/env bash
# Everything that must hold before a change lands. Usage: ci/test.sh
# As root it installs the Debian packages it uses; otherwise what is missing is skipped and named.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

# What is used, and the package it is in.
packages=()
while read -r tool package; do
  command -v "$tool" >/dev/null || packages+=("$package")
done <<'END'
shellcheck shellcheck
make make
c++ g++
pkg-config pkg-config
groff groff-base
abidiff abigail-tools
END
# Libraries of benches/peers; DPDK's is the example dataplane's, too.
for library in liburcu-cds:liburcu-dev libdpdk:dpdk-dev; do
  pkg-config --exists "${library%:*}" 2>/dev/null || packages+=("${library#*:}")
done
if [ "${#packages[@]}" -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  step "Debian packages: ${packages[*]}"
  apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends "${packages[@]}" >/dev/null
fi

step "formatting"
cargo fmt --all --check
if command -v shellcheck >/dev/null; then
  step "shell scripts"
  shellcheck ci/*.sh captures/*.sh benches/*.sh benches/*/*.sh
else
  echo "shellcheck is not installed: scripts are not checked"
fi

step "lints"
cargo clippy --workspace --all-targets -- -D warnings
cargo clippy --workspace --all-targets --features capi -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet

step "tests"
cargo test --workspace --release

step "tests with debug assertions and overflow checks"
cargo test --profile checked -p conntab -p conntab-cli

if command -v make >/dev/null; then
  step "C libraries: installed, used, removed"
  ci/package.sh
else
  echo "make is not installed: the C libraries are not checked"
fi
step "C ABI"
ci/ffi.sh

step "dataplanes: real programs across the example firewalls"
ci/dataplane.sh

step "live kernel: the same packets into the running kernel and into conntab"
ci/kernel.sh --scripted
ci/kernel.sh --seed 1 --packets 20000
ci/kernel.sh --packets 20000

# The instruments of docs/testing.md, in their short forms.
step "the table's protocol, every interleaving of small scopes"
ci/model.sh --short
step "loom models, preemption bound 2"
ci/loom.sh --short
step "mutations: each must be caught"
ci/mutants.sh --short
step "histories of real threads: linearizable"
ci/linearize.sh --short
step "a worker that stands still stops nobody"
ci/stall.sh --short
step "attacks"
ci/attack.sh --short
step "soak"
ci/soak.sh --short
step "sanitizers"
ci/sanitize.sh --short
step "fuzzing"
ci/fuzz.sh --short

step "done"
