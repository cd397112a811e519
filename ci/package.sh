#!/usr/bin/env bash
# Everything that a C programmer gets, from a clean build: installs it into a directory of its own, builds programs against it in
# every way that pkg-config offers, runs them, compares the ABI, removes it again; and the crate as cargo packs it.
# Usage: ci/package.sh. Last line: N passed, N failed. Skipped is what needs a tool that is not there; it is named.
# shellcheck disable=SC2016 # what stands in single quotes is for another shell
# shellcheck disable=SC2317 # functions are called by `check`
set -euo pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/packaging"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=()

check() { # name, command ...
  local name="$1"
  shift
  if "$@" >"$work/log" 2>&1; then
    passed=$((passed + 1))
    echo "ok: $name"
  else
    failed=$((failed + 1))
    echo "NOT OK: $name: $*"
    tail -n 40 "$work/log"
  fi
}
finish() {
  for what in "${skipped[@]}"; do echo "skipped: $what"; done
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ]
  exit
}
have() { command -v "$1" >/dev/null; }
same() { diff -u "$1" "$2"; }
quiet() { # a command that must succeed and say nothing
  local said
  said=$("$@" 2>&1) || { echo "$said"; return 1; }
  [ -z "$said" ] || { echo "$said"; return 1; }
}
# What a program needs of libconntab, as the dynamic linker sees it.
needs() { readelf -dW "$1" | sed -n 's/.*(NEEDED).*\[\(libconntab.*\)\]/\1/p'; }
files() { (cd "$1" && find . ! -type d | sort); }

# --- Build and install ---------------------------------------------------------------------------------------------------------
rm -rf "$CARGO_TARGET_DIR"
prefix="$work/usr"
mkdir -p "$prefix/lib" "$prefix/share/doc"
touch "$prefix/lib/of-somebody-else" "$prefix/share/doc/of-somebody-else"
files "$prefix" >"$work/before"
check "make" make
check "make install" make install PREFIX="$prefix"
[ "$failed" = 0 ] || finish
lib="$prefix/lib"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
soname=$(readelf -dW "$lib/libconntab.so" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
check "soname $soname" test -e "$lib/$soname"
check "the soname tells major and minor version while the major one is 0" grep -qx "$soname\(\..*\)\?" <<<"libconntab.so.$version"

# --- The header alone ----------------------------------------------------------------------------------------------------------
strict=(-fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Werror "-I$prefix/include")
echo '#include <conntab.h>' >"$work/header.c"
for cc in cc clang; do
  have "$cc" || { skipped+=("the header with $cc: not installed"); continue; }
  for std in c99 c11 c17; do
    check "the header as $std, $cc" "$cc" -x c -std="$std" "${strict[@]}" -Wstrict-prototypes -Wc++-compat "$work/header.c"
  done
done
for cxx in c++ clang++; do
  have "$cxx" || { skipped+=("the header with $cxx: not installed"); continue; }
  for std in c++11 c++17 c++20; do
    check "the header as $std, $cxx" "$cxx" -x c++ -std="$std" "${strict[@]}" -Wold-style-cast "$work/header.c"
  done
done

# --- Programs ------------------------------------------------------------------------------------------------------------------
cat >"$work/app.c" <<'C'
#include <conntab.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    const uint32_t header = CONNTAB_VERSION_MAJOR * 1000000 + CONNTAB_VERSION_MINOR * 1000 + CONNTAB_VERSION_PATCH;
    if (conntab_version() != header)
        return 1;

    struct conntab_config config;
    if (conntab_config_init(&config, sizeof config) != CONNTAB_OK)
        return 2;
    config.max = 1024;
    config.prefault = 0;
    conntab_table *table = NULL;
    conntab_worker *worker = NULL;
    if (conntab_table_new(&config, sizeof config, &table) != CONNTAB_OK || conntab_worker_new(table, &worker) != CONNTAB_OK)
        return 3;

    const uint8_t query[] = {
        0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 0, 1, 10, 2, 0, 1,
        0x13, 0x88, 0, 53, 0, 8, 0, 0,
    };
    struct conntab_packet packet;
    memset(&packet, 0, sizeof packet);
    packet.l3 = query;
    packet.caplen = packet.len = sizeof query;
    struct conntab_verdict verdict;
    if (conntab_track(worker, 1000, &packet, 1, &verdict) != 1 || verdict.state != CONNTAB_NEW)
        return 4;
    if (conntab_confirm(worker, 1000, &verdict, 1, 1) != 1 || conntab_table_count(table) != 1)
        return 5;

    conntab_dump *dump = conntab_dump_new(table, 1000);
    struct conntab_connection connection;
    char line[400];
    while (conntab_dump_next(dump, &connection, sizeof connection) == 1) {
        conntab_connection_text(&connection, sizeof connection, line, sizeof line);
        puts(line);
    }
    conntab_dump_free(dump);
    conntab_worker_free(worker);
    conntab_table_free(table);
    return 0;
}
C
line='ipv4     2 udp      17 30 src=10.1.0.1 dst=10.2.0.1 sport=5000 dport=53 [UNREPLIED] src=10.2.0.1 dst=10.1.0.1 sport=53 dport=5000 mark=0 zone=0 use=1'
runs() { # program [environment ...]
  local program="$1" said
  shift
  said=$(env "$@" "$program")
  grep -qxF "$line" <<<"$said" || { echo "it says: $said"; return 1; }
}
if have pkg-config; then
  export PKG_CONFIG_PATH="$lib/pkgconfig"
  check "pkg-config knows the version" test "$(pkg-config --modversion conntab)" = "$version"
  read -ra flags <<<"$(pkg-config --cflags --libs conntab)"
  read -ra all <<<"$(pkg-config --cflags --libs --static conntab)"
  # The static library beside a dynamic libc: the library by its file, and what pkg-config adds to it.
  mixed=("${all[@]/#-lconntab/-l:libconntab.a}")
  for language in c c++; do
    compiler=cc
    [ "$language" = c ] || compiler=c++
    compile=("$compiler" -Wall -Wextra -Werror -x "$language" "$work/app.c" -x none)
    check "$language, shared: builds" quiet "${compile[@]}" -o "$work/shared" "${flags[@]}"
    check "$language, shared: runs" runs "$work/shared" LD_LIBRARY_PATH="$lib"
    check "$language, shared: wants $soname" test "$(needs "$work/shared")" = "$soname"
    check "$language, static library: builds" quiet "${compile[@]}" -o "$work/mixed" "${mixed[@]}"
    check "$language, static library: runs" runs "$work/mixed"
    check "$language, static library: wants no other" test -z "$(needs "$work/mixed")"
    check "$language, --static: builds" quiet "${compile[@]}" -static -o "$work/static" "${all[@]}"
    check "$language, --static: runs" runs "$work/static"
    check "$language, static-pie: builds" quiet "${compile[@]}" -fPIE -static-pie -o "$work/static" "${all[@]}"
    check "$language, static-pie: runs" runs "$work/static"
  done
else
  skipped+=("programs: pkg-config is not installed")
fi

# --- Symbols and ABI -----------------------------------------------------------------------------------------------------------
check "the ABI is what was agreed on" ci/abi.sh "$lib/libconntab.so"
check "abi.sh sees a field that moves" bash -c '
  cp -r Cargo.toml ci include "$1" && cd "$1" && sed -i "s/  uint32_t excess;/  uint64_t excess;/" include/conntab.h &&
  ! ci/abi.sh >said && grep -q "^It BREAKS" said' - "$(mktemp -d -p "$work")"
nm -g --defined-only "$lib/libconntab.a" | awk 'NF == 3 { print $3 }' | sort >"$work/global"
check "the static library defines no other global name" same include/conntab.symbols "$work/global"
cat >"$work/other.rs" <<'RUST'
//! Another library written in Rust.
#[unsafe(no_mangle)]
pub extern "C" fn other() -> u32 { std::thread::spawn(|| String::from("42")).join().unwrap().parse().unwrap() }
RUST
cat >"$work/two.c" <<'C'
#include <conntab.h>
unsigned other(void);
int main(void) { return other() == 42 && conntab_version() > 0 ? 0 : 1; }
C
check "another library written in Rust: builds" rustc --edition 2024 --crate-type staticlib -o "$work/libother.a" "$work/other.rs"
check "both in one program: links" cc "-I$prefix/include" -o "$work/two" "$work/two.c" \
  -Wl,--whole-archive "$lib/libconntab.a" -Wl,--no-whole-archive "$work/libother.a" -lutil -lrt -lpthread -lm -ldl
check "both in one program: runs" "$work/two"
check "the shared library has no text relocations and no executable stack" bash -c '
  ! readelf -dW "$1" | grep -q TEXTREL && readelf -lW "$1" | grep GNU_STACK | grep -q "RW "' - "$lib/libconntab.so"

# --- Manual pages, the command -------------------------------------------------------------------------------------------------
documented() {
  local name
  while read -r name; do [ -e "$prefix/share/man/man3/$name.3" ] || { echo "$name has none"; return 1; }; done <include/conntab.symbols
}
check "each function has a manual page" documented
if have groff; then
  for page in docs/man/*; do check "$page" quiet groff -man -ww -z -Tutf8 "$page"; done
else
  skipped+=("manual pages: groff is not installed (groff-base)")
fi
check "the command runs" "$prefix/bin/conntab" --version

# --- Staging, uninstall --------------------------------------------------------------------------------------------------------
# Nothing is built any more: root may have no cargo.
staged=(PREFIX=/usr LIBDIR=/usr/lib/some-abi CARGO=false DESTDIR="$work/stage")
check "make install DESTDIR=, without cargo" make install "${staged[@]}"
pc="$work/stage/usr/lib/some-abi/pkgconfig/conntab.pc"
check "conntab.pc knows nothing of DESTDIR" bash -c '! grep -F "$1" "$2" && grep -qx "prefix=/usr" "$2" &&
  grep -qxF "libdir=\${prefix}/lib/some-abi" "$2" && ! grep -q @ "$2"' - "$work" "$pc"
check "make install-strip" make install-strip "${staged[@]}"
check "stripped: same symbols" ci/abi.sh "$work/stage/usr/lib/some-abi/libconntab.so"
check "make uninstall DESTDIR=" make uninstall "${staged[@]}"
check "nothing is left" quiet files "$work/stage"
check "make uninstall" make uninstall PREFIX="$prefix"
files "$prefix" >"$work/after"
check "nothing is left but what was there before" same "$work/before" "$work/after"
check "make uninstall once more" make uninstall PREFIX="$prefix"

# --- The crate -----------------------------------------------------------------------------------------------------------------
check "cargo package" cargo package -p conntab --allow-dirty
cargo package -p conntab --allow-dirty --list 2>/dev/null |
  grep -vE '^(src/.*\.rs|docs/[a-z]+\.md|examples/firewall/[a-z]+\.rs|include/conntab\.h|[A-Z]+\.md|LICENSE-(APACHE|MIT)|Cargo\.(toml|toml\.orig|lock)|\.cargo_vcs_info\.json)$' \
    >"$work/surplus" || true
check "the crate holds only what its users need" same /dev/null "$work/surplus"
check "rustdoc, all features, without a warning" env RUSTDOCFLAGS="-D warnings" \
  cargo doc -p conntab --no-deps --all-features --document-private-items

finish
