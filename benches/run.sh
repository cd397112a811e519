#!/usr/bin/env bash
# All measurements, in order, into docs/performance/*.csv, and the report made of them: tables and plots of
# docs/performance.md. For a quiet machine.
#
# Usage: benches/run.sh [--quick] [NAME...]    NAME: machine peers kernel latency scale reap flood report; all of them
#                                              without one. `benches/run.sh report` makes tables and plots anew.
# --quick: fewer samples and smaller tables, ten minutes. Otherwise about two hours and 23 GB of memory (or less, with
# fewer flows in `scale`). `kernel` needs root, `peers` the packages dpdk-dev and liburcu-dev; without them they are
# skipped, and their last figures stay.
set -euo pipefail
cd "$(dirname "$0")/.."

quick=''
if [[ "${1:-}" = --quick ]]; then
  quick=--quick
  shift
fi
names=("$@")
[[ ${#names[@]} -gt 0 ]] || names=(machine peers kernel latency scale reap flood report)
out=docs/performance
mkdir -p "$out"

# A measurement whose output is taken only if it ends well.
csv() { # name command...
  local name=$1
  shift
  echo "== $name: $* ($SECONDS s)" >&2
  if "$@" >"$out/$name.csv.new"; then
    mv "$out/$name.csv.new" "$out/$name.csv"
  else
    rm -f "$out/$name.csv.new"
    echo "run.sh: $name failed; its last figures stay" >&2
    failed=1
  fi
}

# What a table was measured on; a private name of the machine is no part of it.
machine() {
  local model caches
  model=$(lscpu | sed -n 's/^Model name: *//p' | head -1)
  caches=$(lscpu | sed -n 's/^\(L[123]d\{0,1\}\) cache: */\1 /p' | paste -sd, | sed 's/,/, /g')
  echo "date: $(date -u +%F)"
  echo "commit: $(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)$(git diff --quiet HEAD -- src benches 2>/dev/null || echo ' with changes')"
  echo "measured: ${quick:-in full}"
  echo "processor: $model, $(nproc) of $(lscpu | sed -n 's/^Hypervisor vendor: */a virtual machine (/p' | sed 's/$/)/')"
  echo "caches: $caches"
  echo "memory: $(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo | awk '{printf "%.1f GB", $1 / 1048576}')"
  echo "huge pages: $(sed 's/.*\[\(.*\)\].*/\1/' /sys/kernel/mm/transparent_hugepage/enabled 2>/dev/null || echo none) (transparent)"
  echo "kernel: $(uname -sr)"
  echo "compiler: $(rustc --version)"
}

failed=0
cargo build --release -q -p conntab-measure
measure=("${CARGO_TARGET_DIR:-target}/release/conntab-measure")

for name in "${names[@]}"; do
  case "$name" in
    machine) machine >"$out/machine.txt" ;;
    peers)
      if [[ ! -d benches/peers ]]; then
        echo "run.sh: no benches/peers: skipped" >&2
      else
        csv peers cargo run -q --release -p conntab-peers -- ${quick:+"$quick"}
      fi
      ;;
    kernel)
      if [[ ! -x benches/kernel/run.sh || $EUID -ne 0 ]]; then
        echo "run.sh: kernel needs benches/kernel and root: skipped" >&2
      else
        csv kernel benches/kernel/run.sh ${quick:+"$quick"}
      fi
      ;;
    latency)
      if [[ -n "$quick" ]]; then
        csv latency "${measure[@]}" latency --slices 10 --ms 50 --rounds 1
      else
        csv latency "${measure[@]}" latency
      fi
      ;;
    scale)
      if [[ -n "$quick" ]]; then
        csv scale "${measure[@]}" scale --flows 10k,100k,1M,10M --turnovers 1 --samples 5 --chunks 32
      else
        csv scale "${measure[@]}" scale
      fi
      ;;
    reap)
      if [[ -n "$quick" ]]; then
        csv reap "${measure[@]}" reap --samples 1
      else
        csv reap "${measure[@]}" reap --samples 5
      fi
      ;;
    flood)
      if [[ -n "$quick" ]]; then
        csv flood "${measure[@]}" flood --samples 5 --chunks 32
      else
        csv flood "${measure[@]}" flood
      fi
      ;;
    report) "${measure[@]}" report ;;
    *)
      echo "run.sh: there is no measurement called $name" >&2
      exit 2
      ;;
  esac
done
exit "$failed"
