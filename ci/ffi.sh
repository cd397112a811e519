#!/usr/bin/env bash
# The tests of the C ABI (ffi-tests/, examples/c/): plain (linked statically, then dynamically), under Valgrind, with
# AddressSanitizer and UndefinedBehaviorSanitizer. Usage: ci/ffi.sh [plain|valgrind|sanitizers]... (all of them)
# As root it installs the Debian packages it uses; otherwise what is missing is skipped and named.
# shellcheck disable=SC2317 # functions are called by way of `check`
set -uo pipefail
cd "$(dirname "$0")/.." || exit
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"

parts=("$@")
[ $# -gt 0 ] || parts=(plain valgrind sanitizers)
for part in "${parts[@]}"; do
  case "$part" in
    plain | valgrind | sanitizers) ;;
    *) echo "usage: ci/ffi.sh [plain|valgrind|sanitizers]..." >&2; exit 2 ;;
  esac
done
wanted() { [[ " ${parts[*]} " == *" $1 "* ]]; }

passed=0 failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# check NAME COMMAND...: one test; what it printed at last is shown if it fails.
check() {
  local name=$1
  shift
  if "$@" >"$log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED: %s (%s)\n' "$name" "$*"
    tail -n 30 "$log"
    return 1
  fi
}

finish() {
  printf '%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" = 0 ]
  exit
}

has() { command -v "$1" >/dev/null; }
has_cmocka() { echo '#include <cmocka.h>' | gcc -include stdarg.h -include stddef.h -include stdint.h -include setjmp.h \
  -E - >/dev/null 2>&1; }

if [ "$(id -u)" = 0 ] && has apt-get && ! { has gcc && has g++ && has make && has valgrind && has_cmocka; }; then
  (apt-get update -q && apt-get install -y -q --no-install-recommends gcc g++ make valgrind libcmocka-dev libc6-dbg) \
    >/dev/null
fi
if ! { has gcc && has g++ && has make && has_cmocka; }; then
  echo "gcc, g++, make or cmocka is not installed: the C ABI is not tested"
  finish
fi

out=$PWD/target/ffi
suites=(names config table worker packet defrag section helper event threads process)
examples=(minimal burst events dump helper)
captures=(http ping-traceroute refused-halfclosed scan scan-odd)
export CONNTAB_SO=$out/release/libconntab.so

# library DIRECTORY TYPES CARGO-ARGUMENTS...
library() {
  local dir=$1 types=$2
  shift 2
  cargo rustc --quiet --release --features capi --crate-type "$types" --target-dir "$dir" \
    --config 'profile.release.panic="abort"' "$@"
}

# programs DIRECTORY LIBCONNTAB MAKE-VARIABLES...
programs() {
  local dir=$1 lib=$2
  shift 2
  mkdir -p "$dir" && make --silent -j2 -C ffi-tests OUT="$dir" LIBCONNTAB="$lib" "$@"
}

same() { diff -u "$@"; }
example() { "$1" | LC_ALL=C sort | diff -u "examples/c/$2.out" -; }
plays() {
  local expected
  expected=$(target/release/conntab replay --quiet "$2") && [ -n "$expected" ] && diff <(echo "$expected") <("$1" "$2")
}

# everything DIRECTORY KIND: all programs of a directory.
everything() {
  local dir=$1 kind=$2 name
  for name in "${suites[@]}"; do check "$kind: suite $name" "$dir/test_$name"; done
  check "$kind: C++" "$dir/raii"
  for name in "${examples[@]}"; do check "$kind: examples/c/$name.c" example "$dir/example_$name" "$name"; done
  for name in "${captures[@]}"; do check "$kind: replay $name" plays "$dir/replay" "captures/$name.pcap"; done
}

check "the command" cargo build --quiet --release -p conntab-cli

# ---- Linked statically. ----
check "the library" library "$out" staticlib,cdylib
check "programs" programs "$out/static" "$out/release/libconntab.a"

plain() {
  everything "$out/static" static
  check "layout of the structs (ffi-tests/layout.txt)" same ffi-tests/layout.txt <("$out/static/layout")
  check "layout of the structs in Rust" cargo test --quiet --release --features capi --lib ffi::
  readme_example() {
    awk '/^<!-- examples\/c\/minimal.c -->$/ { found = 1; next } found && /^```c$/ { inside = 1; next }
         inside && /^```$/ { exit } inside' README.md | diff -u examples/c/minimal.c -
  }
  check "the example of the README" readme_example

  # ---- Linked dynamically. What the programs import must be all there is. ----
  check "programs, shared" programs "$out/shared" "-L$out/release -Wl,-rpath,$out/release -lconntab" DEFINES=-DFFI_SHARED &&
    everything "$out/shared" shared
  declared() { gcc -E -P include/conntab.h | grep -oE '\bconntab_[a-z0-9_]+ ?\(' | tr -d ' (' | LC_ALL=C sort -u; }
  called() { nm -D --undefined-only "$out"/shared/test_* | grep -oE '\bconntab_[a-z0-9_]+' | LC_ALL=C sort -u; }
  exported() { nm -D --defined-only "$CONNTAB_SO" | grep -oE '\bconntab_[a-z0-9_]+' | LC_ALL=C sort -u; }
  check "a suite calls every function of the header" same <(declared) <(called)
  check "the library exports the functions of the header, and no others" same <(declared) <(exported)
}
if wanted plain; then plain; fi

# Stress runs are shorter from here on.
export FFI_SLOW=1

# ---- Under Valgrind: no error, nothing lost. ----
if ! wanted valgrind; then
  :
elif has valgrind; then
  checked() {
    valgrind --quiet --fair-sched=yes --leak-check=full --errors-for-leak-kinds=definite,indirect --error-exitcode=99 "$@"
  }
  for name in "${suites[@]}"; do check "Valgrind: suite $name" checked "$out/static/test_$name"; done
  for name in raii "${examples[@]/#/example_}"; do check "Valgrind: $name" checked "$out/static/$name"; done
  check "Valgrind: replay" checked "$out/static/replay" captures/http.pcap
else
  echo "valgrind is not installed: nothing runs under it"
fi

# ---- With sanitizers. rustc has them behind a switch that it takes from nightly, or from this variable. ----
target=$(rustc -vV | sed -n 's/^host: //p')
if ! wanted sanitizers; then
  :
elif echo 'int main(void) { return 0; }' | gcc -x c -fsanitize=address,undefined -o /dev/null - 2>/dev/null; then
  sanitized() {
    RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=address --cfg conntab_asan' library "$out/asan" staticlib --target "$target"
  }
  check "the library, with AddressSanitizer" sanitized
  check "programs, with sanitizers" programs "$out/asan/programs" "$out/asan/$target/release/libconntab.a" \
    SAN="-fsanitize=address,undefined -fno-sanitize-recover=all" &&
    everything "$out/asan/programs" sanitizers
else
  echo "gcc has no sanitizers here: nothing runs with them"
fi

finish
