#!/usr/bin/env bash
# Plays packets into the running kernel and into conntab and compares what both decide: verdicts, packets that come out,
# the table and the events after each packet. Usage:
#   ci/kernel.sh [--seed N] [--packets N] [--area tcp,udp,...]   random packets (20,000 with a fresh seed)
#   ci/kernel.sh --scripted                 the scenarios of tests/corpus, tests/recorded, and those that tests/kernel makes by hand
#   ci/kernel.sh --pcap FILE                a capture, rewritten onto the router's two sides (docs/conformance.md)
#   ci/kernel.sh SCENARIO.json...           these (docs/scenarios.md)
# More options: ci/kernel.sh --help. What differs is shrunk to the shortest scenario that still does and written below
# target/kernel; `conntab trace` plays it.
#
# Needs root, Python 3, `ip` and `nft`, and a kernel with conntrack, nf_tables, NFLOG, TUN and network namespaces; elsewhere
# it says what is missing and succeeds. It changes nothing outside of network namespaces of its own. The last line is
# `N passed, N failed`: scenarios.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
    echo "0 passed, 0 failed, skipped: $*"
    exit 0
}

[[ $(uname -s) = Linux ]] || skip "this is not Linux"
((EUID == 0)) || skip "needs root (network namespaces)"
for pair in python3:python3 ip:iproute2 nft:nftables; do
    command -v "${pair%%:*}" >/dev/null && continue
    command -v apt-get >/dev/null || skip "needs ${pair%%:*} (package ${pair##*:})"
    apt-get update -q >/dev/null 2>&1 || :
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${pair##*:}" >/dev/null 2>&1 ||
        skip "needs ${pair%%:*} (package ${pair##*:})"
done
# Where they are modules.
modprobe -aq nf_conntrack nf_conntrack_netlink nf_tables nft_ct nft_log nfnetlink_log nf_nat tun 2>/dev/null || :

cargo build --release --quiet --package conntab-kernel
program=${CARGO_TARGET_DIR:-target}/release/conntab-kernel
if [[ ${1:-} != --scripted ]]; then
    exec "$program" "$@"
fi
shift
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 tests/kernel/scenarios.py --handmade -o "$tmp"
python3 tests/kernel/helpers.py -o "$tmp"
"$program" --except tests/corpus/EXCEPTIONS.txt "$@" tests/corpus tests/recorded "$tmp"
