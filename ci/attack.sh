#!/usr/bin/env bash
# Attacks on a table (proof/field), each with its figure; then planted defects, which they must find: mistakes of the attack or of its
# host, and of the library (src/sync.rs).
# Usage: ci/attack.sh [--short] [NAME...]    NAME: these attacks alone. The short form takes less than a minute without building, the
# long one (floods of 50 million packets) some minutes. Last line: N passed, N failed.
set -euo pipefail
cd "$(dirname "$0")/.."

short=() names=()
while [ $# -gt 0 ]; do
  case "$1" in
    --short) short=(--short) ;;
    -*) echo "usage: ci/attack.sh [--short] [NAME...]" >&2; exit 2 ;;
    *) names+=("$1") ;;
  esac
  shift
done

passed=0 failed=0
judge() { # command
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

cargo build --quiet --release -p conntab-field
field=target/release/conntab-field
[ ${#names[@]} -gt 0 ] || mapfile -t names < <("$field" attack)
for name in "${names[@]}"; do
  judge "$field" attack "${short[@]}" "$name"
done

wanted() { # attack
  local name
  for name in "${names[@]}"; do [ "$name" != "$1" ] || return 0; done
  return 1
}

# The attack's own: defect, attack. It allocates on the path; its tuples are made with the key; its guess at the key is wrong; it guesses a
# sequence number; ...
while read -r defect attack; do
  if wanted "$attack"; then judge "$field" attack --short --planted "$defect" "$attack"; fi
done <<'END'
allocates syn-flood
key-known collisions
key-unknown leaked-key
guessed sprays
quoted-passes icmp-errors
twice-the-room fragments
beside fragments
trusting expectations
late spoofed-reply
one-zone zones
forgives tick-wrap
hurries clock-still
further-apart clocks-apart
too-soon clock-jumps
impatient fragment-clock
END

# The library's.
mutated=target/linearize-mutate
RUSTFLAGS="--cfg conntab_mutate" cargo build --quiet --release -p conntab-field --target-dir "$mutated"
while read -r defect attack; do
  if wanted "$attack"; then
    CONNTAB_MUTATION=$defect judge "$mutated/release/conntab-field" attack --short --planted "$defect" "$attack"
  fi
done <<'END'
early-drop-assured syn-flood
early-drop-assured udp-flood
early-drop-assured zones
limit-plus-one syn-flood
permit-lost clock-still
expired-uncounted clock-jumps
END

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
