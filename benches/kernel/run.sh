#!/usr/bin/env bash
# What the running kernel's conntrack costs, beside conntab on the same packets. CSV on stdout:
# tracker,flows,workload,min,median,max,unit; the last lines are the ratios. README.md tells how to read it.
#
# Usage: benches/kernel/run.sh [--quick] [FLOWS...]    (1, 100000 and 1000000: four minutes; --quick: one)
# CPU=1: the processor to use (the last one otherwise).
#
# Everything happens in a network namespace of its own, on one processor:
#
#   program --- drop0 (TUN) ----> conntrack -> dropped                                `established`
#   program --- forward0 (TUN) -> conntrack -> routed -> confirmed -> sink0, drops    `new`
#
# A rule in front of conntrack exempts packets with DSCP CS1 (`notrack`); both kinds take the same way otherwise, and
# their difference is conntrack. Needs root: for the namespace, and because the kernel's hash table and its limit belong
# to the whole machine. They are set for each size and put back afterwards.
set -euo pipefail
cd "$(dirname "$0")/../.."

ns=conntab-kernel-$$
hashsize_file=/sys/module/nf_conntrack/parameters/hashsize
max_file=/proc/sys/net/netfilter/nf_conntrack_max
hashsize='' max='' tmp=''

fail() { echo "run.sh: $*" >&2; exit 1; }

cleanup() {
    local code=$?
    trap - EXIT
    # Only what lives in our own namespace
    ip netns pids "$ns" 2>/dev/null | xargs -r kill -9 2>/dev/null || :
    ip netns del "$ns" 2>/dev/null || :
    [[ -z $hashsize ]] || echo "$hashsize" >$hashsize_file || :
    [[ -z $max ]] || echo "$max" >$max_file || :
    [[ -z $tmp ]] || rm -rf "$tmp"
    exit "$code"
}

check() {
    local pair
    ((EUID == 0)) || fail "needs root (a network namespace, and the size of the kernel's hash table)"
    for pair in ip:iproute2 nft:nftables taskset:util-linux cargo:cargo; do
        command -v "${pair%%:*}" >/dev/null || fail "needs ${pair%%:*} (package ${pair##*:})"
    done
    modprobe -aq nf_conntrack nf_tables tun 2>/dev/null || :
    [[ -c /dev/net/tun ]] || fail "the kernel has no TUN devices"
    [[ -e $hashsize_file && -e $max_file ]] || fail "the kernel has no conntrack"
}

network_up() {
    local device
    ip netns add "$ns"
    ip netns exec "$ns" sysctl -q -w net.ipv6.conf.default.disable_ipv6=1 net.ipv6.conf.all.disable_ipv6=1 \
        net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
        net.netfilter.nf_conntrack_acct=0 net.netfilter.nf_conntrack_timestamp=0
    # The NIC has verified the checksums; and no UDP flow is to expire while a row is measured.
    ip netns exec "$ns" sysctl -q -w net.netfilter.nf_conntrack_checksum=0 \
        net.netfilter.nf_conntrack_udp_timeout=600 net.netfilter.nf_conntrack_udp_timeout_stream=600
    # Both drop what is sent to them.
    ip -n "$ns" link add sink0 type dummy 2>/dev/null || ip -n "$ns" link add sink0 type ifb 2>/dev/null ||
        fail "the kernel has neither dummy nor ifb devices"
    ip -n "$ns" link set sink0 txqueuelen 0
    for device in drop0 forward0; do
        ip -n "$ns" tuntap add dev $device mode tun
    done
    for device in lo sink0 drop0 forward0; do
        ip -n "$ns" link set $device up
    done
    ip -n "$ns" route add 10.0.0.0/8 dev sink0
    ip -n "$ns" route add 198.18.0.0/15 dev sink0
    ip netns exec "$ns" nft -f - <<'END'
table ip bench {
    counter new { }
    counter established { }
    counter untracked { }
    counter other { }
    chain before {
        type filter hook prerouting priority raw; policy accept;
        ip dscp cs1 notrack
    }
    chain after {
        type filter hook prerouting priority mangle; policy accept;
        counter name ct state map {
            new : "new", established : "established", untracked : "untracked", related : "other", invalid : "other"
        }
        # Does nothing to a packet that was tracked: it makes the rules cost the same for both kinds.
        ip dscp != cs1 notrack
        iifname "drop0" drop
    }
}
END
}

# measure FLOWS: two buckets a flow, so that the kernel's chains are short: each connection hangs in two of them
measure() {
    local buckets=65536
    while ((buckets < 2 * $1)); do buckets=$((2 * buckets)); done
    echo "$((2 * $1 + 65536))" >$max_file
    echo $buckets >$hashsize_file || fail "the hash table cannot be resized from here (a container?)"
    echo "# kernel: $(<$hashsize_file) buckets"
    ip netns exec "$ns" taskset -c "$cpu" "$program" "$1" "$rounds" "$chunks" "$turnovers"
}

main() {
    local rounds=31 chunks=64 turnovers=5 flows=() cpu program
    for arg; do
        case $arg in
        --quick) rounds=11 chunks=16 turnovers=2 ;;
        -h | --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
        *)
            [[ $arg =~ ^[1-9][0-9]*$ ]] || fail "what is $arg? (--help tells more)"
            flows+=("$arg")
            ;;
        esac
    done
    ((${#flows[@]} > 0)) || flows=(1 100000 1000000)
    check
    cargo build --release --quiet --package conntab-kernel-bench
    program=${CARGO_TARGET_DIR:-target}/release/conntab-kernel-bench
    cpu=${CPU:-$(taskset -cp $$ | sed -E 's/.*[^0-9]//')}

    tmp=$(mktemp -d)
    trap cleanup EXIT
    trap 'exit 1' INT TERM HUP
    hashsize=$(<$hashsize_file) max=$(<$max_file)
    network_up

    echo "# $(uname -sr), $(sed -n '/^model name/{s/.*: //p;q}' /proc/cpuinfo), CPU $cpu; $(rustc --version)"
    echo "# conntab $(git describe --always --dirty 2>/dev/null || echo 'of unknown version'), $rounds rounds"
    echo "tracker,flows,workload,min,median,max,unit"
    local n
    for n in "${flows[@]}"; do
        # In the background, or a signal would have to wait for its end
        measure "$n" >"$tmp/out" &
        wait $!
        grep -v '^kernel/' "$tmp/out"
        grep '^kernel/' "$tmp/out" >>"$tmp/ratios"
    done
    cat "$tmp/ratios"
}

main "$@"
