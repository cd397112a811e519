#!/usr/bin/env bash
# The ABI of the header, as text: value of every constant, size of every struct, place of every field, every function and callback. It is
# compared with include/conntab.abi, and the names of the functions with include/conntab.symbols.
# CONNTAB_WRITE_DOCS=1 ci/abi.sh writes both anew: docs/abi.md tells when that may be done.
# Usage: ci/abi.sh [shared library, whose exported symbols are then compared, too]
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C
library="${1:-}"
baseline=include/conntab.abi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

# The header without comments, a declaration a line.
cc -E -P -fpreprocessed -dD -x c include/conntab.h >"$work/plain.h"
sed -n 's/^#define \(CONNTAB_[A-Z0-9_]*\)  *[^ ].*/\1/p' "$work/plain.h" >"$work/constants"
grep -v '^#' "$work/plain.h" | tr '\n' ' ' | sed 's/extern "C" {//; s/  */ /g; s/{/\n{\n/g; s/; */;\n/g; s/}/\n}/g' >"$work/lines"

# A program that prints the ABI. What it prints of a field is its offset, size and declaration.
{
  echo '#include <stdio.h>'
  echo '#include "conntab.h"'
  echo 'int main(void) {'
  while read -r name; do
    case "$name" in CONNTAB_VERSION_*) continue ;; esac
    printf 'printf("constant %s %%ld\\n", (long)%s);\n' "$name" "$name"
  done <"$work/constants"
  awk '
    /^typedef struct [a-z_]+ *$/ { name = $3; next }
    /^\{/ { printf "printf(\"struct %s size %%zu\\n\", sizeof(struct %s));\n", name, name; inside = 1; next }
    /^\}/ { inside = 0; next }
    inside && NF {
      declaration = $0; sub(/^ */, "", declaration); sub(/;.*/, "", declaration)
      field = declaration; sub(/\[.*/, "", field); sub(/.*[ *]/, "", field)
      printf "printf(\"field %s offset %%zu size %%zu: %s\\n\", offsetof(struct %s, %s), sizeof(((struct %s *)0)->%s));\n",
        name, declaration, name, field, name, field; next
    }
    /^typedef struct [a-z_]+ [a-z_]+;/ { printf "printf(\"opaque %s\\n\");\n", $3; next }
    /^ *typedef .*\(\*/ { sub(/^ */, ""); sub(/;.*/, ""); printf "printf(\"callback %s\\n\");\n", $0; next }
    /\(/ { sub(/^ */, ""); sub(/;.*/, ""); printf "printf(\"function %s\\n\");\n", $0 }
  ' "$work/lines"
  echo 'return 0; }'
} >"$work/print.c"
cc -std=c11 -Iinclude -o "$work/print" "$work/print.c"
{
  echo "# The ABI of the header on 64-bit targets: ci/abi.sh, docs/abi.md."
  "$work/print" | grep '^constant'
  "$work/print" | grep '^callback'
  "$work/print" | grep -E '^(struct|field|opaque)'
  "$work/print" | grep '^function' | sort
} >"$work/abi"
sed -n 's/^function .*\b\(conntab_[a-z0-9_]*\)(.*/\1/p' "$work/abi" | sort >"$work/symbols"

# The same as a library with debugging information, for abidiff: $1 the text, $2 the library.
stub() {
  {
    echo '#include <stddef.h>'
    echo '#include <stdint.h>'
    sed -n 's/^callback \(.*\)/\1;/p' "$1"
    awk '
      $1 == "opaque" { printf "typedef struct %s %s;\n", $2, $2 }
      $1 == "struct" { if (open) print "} " open ";"; open = $2; printf "typedef struct %s {\n", open; next }
      $1 == "field" { line = $0; sub(/^[^:]*: /, "", line); print line ";"; next }
      $1 == "function" || $1 == "opaque" { if (open) { print "} " open ";"; open = "" } }
    ' "$1" | awk '/^typedef struct [a-z_]+ [a-z_]+;$/ { print; next } { rest = rest $0 "\n" } END { printf "%s", rest }'
    sed -n 's/^function \(.*\)/\1 { __builtin_trap(); }/p' "$1"
  } >"$2.c"
  cc -g -w -shared -fPIC -o "$2" "$2.c"
}

compare() { # what, committed, present
  if diff -u "$2" "$3" >"$work/diff"; then
    echo "ok: $1"
  else
    bad=1
    echo "NOT OK: $1 ($2 is what was agreed on):"
    grep '^[-+][^-+]' "$work/diff"
  fi
}

changed() { # whether something that was there is not there any more, a grown struct apart
  comm -23 <(grep -v '^struct' "$baseline" | sort) <(grep -v '^struct' "$work/abi" | sort) | grep -q .
}

if [ -n "${CONNTAB_WRITE_DOCS:-}" ]; then
  if [ -f "$baseline" ] && changed; then
    echo "note: something was removed or changed, not only added: programs that were built before may break (docs/abi.md)"
  fi
  cp "$work/abi" "$baseline"
  cp "$work/symbols" include/conntab.symbols
fi
compare "constants, structs and functions" "$baseline" "$work/abi"
compare "names of functions" include/conntab.symbols "$work/symbols"
if [ "$bad" = 1 ]; then
  if changed; then echo "It BREAKS programs that were built before."; else echo "It only adds."; fi
  echo "See docs/abi.md; CONNTAB_WRITE_DOCS=1 ci/abi.sh takes it over."
fi

if command -v abidiff >/dev/null; then
  stub "$baseline" "$work/before.so"
  stub "$work/abi" "$work/after.so"
  if abidiff "$work/before.so" "$work/after.so" >"$work/abidiff"; then
    echo "ok: abidiff"
  else
    bad=1
    echo "NOT OK: abidiff:"
    cat "$work/abidiff"
  fi
else
  echo "skipped: abidiff is not installed (abigail-tools)"
fi

if [ -n "$library" ]; then
  node=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1 | sed 's/^\(0\.[0-9]*\).*/\1/; s/^\([1-9][0-9]*\)\..*/\1/')
  sed "s/\$/@@CONNTAB_$node/" include/conntab.symbols >"$work/versioned"
  nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' | sort >"$work/exported"
  compare "symbols exported by ${library##*/}" "$work/versioned" "$work/exported"
fi
exit "$bad"
