#!/usr/bin/env bash
# Runs real programs across the example firewalls: examples/firewall (Rust, AF_PACKET) and examples/dpdk (C, DPDK).
# Usage: ci/dataplane.sh [rust|dpdk]     (both without an argument; about a minute each)
# LCORES=0,1: DPDK with two lcores, which poll.
#
#   client c0 ------ f0 firewall f1 ------ r0 router r1 ------ s0 server
#   192.0.2.10                             192.0.2.1  198.51.100.1    198.51.100.10
#   2001:db8:1::10                  2001:db8:1::1  2001:db8:2::1      2001:db8:2::10
#
# Needs root, network namespaces and some Debian packages, which it installs; where it cannot run it says why and
# succeeds. The last line is `N passed, N failed`. Everything happens in four namespaces of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"

prefix=ctfw-$$
client=$prefix-client firewall=$prefix-firewall router=$prefix-router server=$prefix-server
spaces=("$client" "$firewall" "$router" "$server")
client4=192.0.2.10     client6=2001:db8:1::10
router4=192.0.2.1      router6=2001:db8:1::1
server4=198.51.100.10  server6=2001:db8:2::10
tmp='' socket='' firewall_pid='' passed=0 failed=0

# ---------------------------------------------------------------------------------------------------------------------
# What must be there

skip() {
    echo "$passed passed, $failed failed, skipped: $*"
    ((failed == 0)) || exit 1
    exit 0
}

# have PROGRAM:PACKAGE...: installs what is missing, as root can
have() {
    local pair missing=()
    for pair in "$@"; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
    done
    ((${#missing[@]} > 0)) || return 0
    command -v apt-get >/dev/null || return 1
    apt-get update -q >/dev/null 2>&1 || :
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null 2>&1
}

# ---------------------------------------------------------------------------------------------------------------------
# The network

in_ns() { local ns=$1; shift; ip netns exec "$ns" "$@"; }

network_down() {
    local ns pids
    for ns in "${spaces[@]}"; do
        pids=$(ip netns pids "$ns" 2>/dev/null) || continue
        # Only what lives in our own namespaces.
        # shellcheck disable=SC2086  # process ids
        [[ -z $pids ]] || kill -9 $pids 2>/dev/null || :
        ip netns del "$ns" 2>/dev/null || :
    done
}

cleanup() {
    local code=$?
    trap - EXIT
    network_down
    [[ -z $tmp ]] || rm -rf "$tmp"
    exit "$code"
}

# wire NS1 IF1 NS2 IF2: a veth pair on which a frame is one packet, with its checksum complete
wire() {
    local ns dev
    ip link add "$2" netns "$1" type veth peer name "$4" netns "$3"
    while read -r ns dev; do
        for feature in tx rx sg tso gso gro lro; do
            in_ns "$ns" ethtool -K "$dev" $feature off >/dev/null 2>&1 || :
        done
        in_ns "$ns" ip link set "$dev" up
    done <<<"$1 $2"$'\n'"$3 $4"
}

# address NS IF V4 V6
address() {
    in_ns "$1" ip addr add "$3/24" dev "$2"
    in_ns "$1" ip addr add "$4/64" dev "$2" nodad
}

network_up() {
    local ns
    for ns in "${spaces[@]}"; do
        ip netns add "$ns"
        in_ns "$ns" sysctl -q -e -w net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.default.accept_dad=0 \
            net.ipv6.conf.default.router_solicitations=0 net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=100000 \
            net.ipv4.icmp_msgs_burst=100000 net.ipv6.icmp.ratelimit=0 net.ipv6.icmp.ratemask= \
            net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0
        in_ns "$ns" ip link set lo up
    done
    in_ns "$firewall" sysctl -q -w net.ipv6.conf.default.disable_ipv6=1
    in_ns "$router" sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    wire "$client" c0 "$firewall" f0
    wire "$firewall" f1 "$router" r0
    wire "$router" r1 "$server" s0
    address "$client" c0 $client4 $client6
    address "$router" r0 $router4 $router6
    address "$router" r1 198.51.100.1 2001:db8:2::1
    address "$server" s0 $server4 $server6
    # A narrower link beyond the router, for "fragmentation needed" and "packet too big"
    in_ns "$router" ip link set r1 mtu 1400
    in_ns "$server" ip link set s0 mtu 1400
    in_ns "$client" ip route add default via $router4
    in_ns "$client" ip route add default via $router6
    in_ns "$server" ip route add default via 198.51.100.1
    in_ns "$server" ip route add default via 2001:db8:2::1
}

# background NS COMMAND...: runs until network_down; the shell is to say nothing about its end
background() {
    ip netns exec "$@" >/dev/null 2>&1 &
    disown
}

wait_port() {
    for _ in {1..100}; do
        [[ -z $(in_ns "$1" ss -Hln "--$2" "sport = :$3") ]] || return 0
        sleep 0.1
    done
    echo "dataplane.sh: nothing listens on $2 port $3" >&2
    exit 1
}

# web NS: a web server at ports 80 and 8080
web() {
    cat >"$tmp/$1.conf" <<END
daemon off;
user root;
worker_processes 1;
pid $tmp/$1.pid;
error_log $tmp/$1.log;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path $tmp/body;
    proxy_temp_path $tmp/proxy;
    fastcgi_temp_path $tmp/fastcgi;
    uwsgi_temp_path $tmp/uwsgi;
    scgi_temp_path $tmp/scgi;
    server {
        listen 80 backlog=1024;
        listen [::]:80;
        listen 8080;
        root $tmp/www;
        location = /short { keepalive_timeout 0; return 200 "short"; }
    }
}
END
    background "$1" nginx -e "$tmp/$1.log" -c "$tmp/$1.conf"
    wait_port "$1" tcp 80
}

# ftp NS PORT: a server of FTP, for anybody
ftp() {
    cat >"$tmp/$1-$2.ftp" <<END
listen_ipv6=YES
listen_port=$2
background=NO
anonymous_enable=YES
no_anon_password=YES
anon_root=$tmp/www
secure_chroot_dir=$tmp/empty
nopriv_user=nobody
connect_from_port_20=YES
seccomp_sandbox=NO
xferlog_enable=NO
END
    background "$1" vsftpd "$tmp/$1-$2.ftp"
    wait_port "$1" tcp "$2"
}

servers_up() {
    mkdir -p "$tmp/www" "$tmp/empty"
    # FTP's server gives up being root.
    chmod 755 "$tmp" "$tmp/www"
    head -c 50000000 /dev/urandom >"$tmp/www/large"
    head -c 300000 /dev/urandom >"$tmp/www/small"
    web "$server"
    web "$client"
    background "$server" iperf3 -s -p 5201
    wait_port "$server" tcp 5201
    # FTP: outside; inside; and inside at a port that has no helper
    ftp "$server" 21
    ftp "$client" 21
    ftp "$client" 2121
    # Echoes, inside: one that is listed, and one that is not
    background "$client" socat UDP4-RECVFROM:5353,fork EXEC:cat
    background "$client" socat UDP4-RECVFROM:5354,fork EXEC:cat
    wait_port "$client" udp 5354
}

# ---------------------------------------------------------------------------------------------------------------------
# The firewall

# control COMMAND: what the firewall answers
control() { echo "$1" | socat -t 20 - "UNIX-CONNECT:$socket"; }

# stat NAME: of the statistics read last
stat() { awk -v name="$1" '$1 == name { print $2; found = 1 } END { if (!found) print "none" }' "$tmp/stats"; }

# sent NS IF: frames that left this interface
sent() { in_ns "$1" cat "/sys/class/net/$2/statistics/tx_packets"; }

# Reads the statistics and the kernel's counters at a moment when nothing moves.
settle() {
    local before after
    for _ in {1..40}; do
        before=$(sent "$client" c0; sent "$router" r0; sent "$firewall" f0; sent "$firewall" f1)
        sleep 0.3
        control stats >"$tmp/stats"
        after=$(sent "$client" c0; sent "$router" r0; sent "$firewall" f0; sent "$firewall" f1)
        [[ $before != "$after" ]] || break
    done
    read -r c0 r0 f0 f1 <<<"${after//$'\n'/ }"
}

build_rust() { cargo build --release --quiet --example firewall; }
start_rust() {
    ip netns exec "$firewall" "${CARGO_TARGET_DIR:-target}/release/examples/firewall" "${rules[@]}" f0 f1 >"$tmp/firewall.log" 2>&1 &
}

build_dpdk() {
    have pkg-config:pkg-config make:make cc:gcc || skip "a C compiler cannot be installed"
    if ! pkg-config --exists libdpdk; then
        apt-get update -q >/dev/null 2>&1 || :
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends dpdk-dev >/dev/null 2>&1 || :
    fi
    pkg-config --exists libdpdk || skip "DPDK (dpdk-dev) cannot be installed"
    make --silent --no-print-directory -C examples/dpdk firewall check
}
start_dpdk() {
    local lcores
    lcores=${LCORES:-$(taskset -cp $$ | sed -E 's/.*: ([0-9]+).*/\1/')}
    RUNTIME_DIRECTORY=$tmp ip netns exec "$firewall" examples/dpdk/firewall --no-huge --no-pci -m 256 -l "$lcores" --no-shconf --no-telemetry \
        --file-prefix "$prefix" --vdev=net_af_packet0,iface=f0,framecnt=8192 \
        --vdev=net_af_packet1,iface=f1,framecnt=8192 -- "${rules[@]}" >"$tmp/firewall.log" 2>&1 &
}

start_firewall() {
    socket=$tmp/control
    # Short timeouts, so that connections end while we look
    rules=(--allow "tcp/80,udp/5353,tcp/21,tcp/2121" --ftp 21 --control "$socket" --set udp_timeout=3 --set udp_timeout_stream=3
        --set icmp_timeout=3 --set icmpv6_timeout=3 --set tcp_timeout_close=3 --set tcp_timeout_time_wait=20
        --set tcp_timeout_syn_sent=20)
    "start_$1"
    firewall_pid=$!
    for _ in {1..150}; do
        [[ ! -S $socket ]] || return 0
        kill -0 "$firewall_pid" 2>/dev/null || break
        sleep 0.1
    done
    echo "the firewall does not start:" >&2
    cat "$tmp/firewall.log" >&2
    return 1
}

# ---------------------------------------------------------------------------------------------------------------------
# The programs

# ok WHAT COMMAND...: must succeed
ok() {
    local what=$1
    shift
    if "$@" >"$tmp/output" 2>&1; then
        passed=$((passed + 1))
        printf 'ok    %s\n' "$what"
    else
        failed=$((failed + 1))
        printf 'FAILS %s\n' "$what"
        sed 's/^/      | /' "$tmp/output" | tail -n 20
    fi
}

# not COMMAND...: must fail
not() { ! "$@"; }

# equal A B: two numbers or texts
equal() { [[ $1 == "$2" ]] || { echo "$1 is not $2"; return 1; }; }

# sums TEXT: says an equation, which must hold
sums() { echo "$1"; (($1)); }

inside() { in_ns "$client" timeout 60 "$@" </dev/null; }
outside() { in_ns "$server" timeout 60 "$@" </dev/null; }
fetch=(curl -q -s -S -f --noproxy '*')

same_file() {
    inside "${fetch[@]}" "http://$1/large" | sha256sum >"$tmp/hash"
    equal "$(<"$tmp/hash")" "$(sha256sum <"$tmp/www/large")"
}

# What a UDP echo server answers to `hello`: udp_echo ADDRESS PORT
udp_echo() { [[ $(echo hello | in_ns "$server" timeout 5 socat -t 1 - "UDP4:$1:$2") == hello ]]; }

# ftp_file SIDE HOST ARGUMENT...: the file, by FTP
ftp_file() {
    local side=$1 host=$2
    shift 2
    "$side" "${fetch[@]}" --max-time 30 "$@" "ftp://$host/small" | sha256sum >"$tmp/hash"
    equal "$(<"$tmp/hash")" "$(sha256sum <"$tmp/www/small")"
}

# A RST comes back: curl's exit code 7, and not that of a time that has run out
tcp_refused() {
    local code=0
    inside "${fetch[@]}" --max-time 2 "http://$1:81/" || code=$?
    equal $code 7
}

# An ICMP error that says so comes back to whoever sends to a closed UDP port.
udp_refused() {
    inside bash -c "exec 3<>/dev/udp/$1/9; echo >&3; read -r -t 3 -u 3" >"$tmp/refused" 2>&1 || :
    cat "$tmp/refused"
    grep -q refused "$tmp/refused"
}

# traces ADDRESS FIRST ARGUMENT...: traceroute meets the router (time exceeded), then the server
traces() {
    local address=$1 first=$2
    shift 2
    inside traceroute -n -q 1 -w 2 -m 4 "$@" "$address" >"$tmp/trace"
    cat "$tmp/trace"
    grep -Eq "^ *1 +$first " "$tmp/trace" && grep -Eq "^ *2 +$address " "$tmp/trace"
}

# too_big ADDRESS WORDS ARGUMENT...: the router says that a packet does not fit
too_big() {
    local address=$1 words=$2
    shift 2
    inside ping -n -c 1 -W 2 -s 1420 -M 'do' "$@" "$address" >"$tmp/ping" 2>&1 || :
    cat "$tmp/ping"
    grep -Eq "$words" "$tmp/ping"
}

# iperf ARGUMENT...: Mbit/s of what the receiver got, and lost packets in percent, to $tmp/iperf
iperf() {
    inside iperf3 -J -p 5201 "$@" >"$tmp/iperf.json" || { cat "$tmp/iperf.json"; return 1; }
    python3 - "$tmp/iperf.json" >"$tmp/iperf" <<'END'
import json, sys
end = json.load(open(sys.argv[1]))["end"]
got = end.get("sum_received") or end["sum"]
lost = end["sum"].get("lost_percent", 0) if "sum" in end else 0
print(f"{got['bits_per_second'] / 1e6:.0f} {lost:.2f}")
END
}
iperf_says() {
    printf '      %s: %s Mbit/s, %s %% of packets lost\n' "$1" "$(cut -d ' ' -f 1 "$tmp/iperf")" "$(cut -d ' ' -f 2 "$tmp/iperf")"
}
udp_loss_small() { awk '{ exit !($2 < 5) }' "$tmp/iperf"; }

# A frame with a VLAN tag, from the client, is a packet, and leaves for the router with its tag.
tagged() {
    local receiver
    cat >"$tmp/tagged.py" <<'END'
import socket, struct, sys

SOL_PACKET, PACKET_AUXDATA, VLAN_VALID = 263, 8, 0x10
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
if sys.argv[1] == "send":
    raw.bind(("c0", 0))
    ip = [0x4500, 34, 0, 0, 0x4011, 0, 0xC000, 0x020A, 0xC000, 0x0201]
    ip[5] = ~((sum(ip) & 0xFFFF) + (sum(ip) >> 16)) & 0xFFFF
    udp = struct.pack("!4H", 1111, 2222, 14, 0) + b"tagged"
    link = b"\xff" * 6 + b"\x02" + b"\0" * 5 + struct.pack("!3H", 0x8100, 0x2005, 0x0800)
    raw.send(link + struct.pack("!10H", *ip) + udp)
    sys.exit()
raw.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
raw.bind(("r0", 3))
raw.settimeout(5)
print("ready", flush=True)
while True:
    frame, messages, _, _ = raw.recvmsg(2048, 64)
    # The kernel has taken the tag out of the frame.
    if b"tagged" in frame and messages:
        status, _, _, _, _, tci, tpid = struct.unpack("3I4H", messages[0][2][:20])
        print(f"status={status:#x} tci={tci:#x} type={tpid:#x}")
        sys.exit(not (status & VLAN_VALID and tci == 0x2005 and tpid == 0x8100))
END
    in_ns "$router" timeout 10 python3 "$tmp/tagged.py" receive >"$tmp/tagged" 2>&1 &
    receiver=$!
    for _ in {1..50}; do
        ! grep -q ready "$tmp/tagged" || break
        sleep 0.1
    done
    in_ns "$client" python3 "$tmp/tagged.py" send
    wait "$receiver" || { cat "$tmp/tagged"; return 1; }
    control dump | grep 'dport=2222'
}

# strange HEX: a frame from outside to everybody, from its type on
strange() {
    in_ns "$router" python3 -c 'import socket, sys
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
raw.bind(("r0", 0))
raw.send(b"\xff" * 6 + b"\x02" + b"\0" * 5 + bytes.fromhex(sys.argv[1]) + b"\0" * 46)' "$1"
}

programs() {
    local before
    ok "ping, v4" inside ping -n -q -c 5 -i 0.1 -W 2 $server4
    ok "ping, v6" inside ping -n -q -c 5 -i 0.1 -W 2 $server6
    ok "50 MB by curl, v4: the same file" same_file $server4
    ok "50 MB by curl, v6: the same file" same_file "[$server6]"
    ok "iperf3, TCP up" iperf -c $server4 -t 3
    iperf_says "TCP up"
    ok "iperf3, TCP down" iperf -c $server6 -t 3 -R
    iperf_says "TCP down"
    ok "iperf3, UDP at 50 Mbit/s" iperf -c $server4 -t 2 -u -b 50M
    iperf_says UDP
    ok "its loss is below 5%" udp_loss_small

    ok "UDP to a closed port: port unreachable comes back, v4" udp_refused $server4
    ok "UDP to a closed port: port unreachable comes back, v6" udp_refused $server6
    ok "TCP to a closed port is refused" tcp_refused $server4
    ok "traceroute by UDP: time exceeded, then port unreachable, v4" traces $server4 $router4
    ok "traceroute by UDP, v6" traces $server6 $router6
    ok "traceroute by ICMP, v4" traces $server4 $router4 -I
    ok "traceroute by TCP, v6" traces $server6 $router6 -T -p 80
    ok "a packet too long for the next link: fragmentation needed, v4" too_big $server4 'rag needed|too long'
    ok "a packet too long for the next link: packet too big, v6" too_big $server6 'too big|too long'
    settle
    ok "the ICMP errors were judged RELATED" sums "$(stat port1.related) >= 8"

    ok "a frame with a VLAN tag is tracked, and keeps it" tagged
    before=$(stat port0.fragment)
    ok "fragments do not pass, v6" not inside ping -n -q -c 2 -i 0.2 -W 1 -s 2000 $server6
    settle
    ok "they were counted, v6" sums "$(stat port0.fragment) == $before + 4"
    # Not with DPDK's driver for AF_PACKET, which has the kernel put fragments of IPv4 together.
    if [[ $which == rust ]]; then
        ok "fragments do not pass, v4" not inside ping -n -q -c 2 -i 0.2 -W 1 -s 2000 $server4
        settle
        ok "they were counted, v4" sums "$(stat port0.fragment) == $before + 8"
    fi

    before=$(stat port1.dropped)
    strange 0806000108000604000100
    strange 8100000181000002810000030800450000200000000040113d17c0000201c000020a
    strange 88641100000100220021450000200000000040113d17c0000201c000020a
    settle
    ok "from outside: no frame whose IP packet nobody has seen" sums "$(stat port1.dropped) == $before + 2"
    before=$(stat port1.dropped)
    ok "from outside: no connection to a service that is not listed" not outside "${fetch[@]}" --max-time 2 http://$client4:8080/
    ok "from outside: one that is listed, TCP" outside "${fetch[@]}" --max-time 5 -o /dev/null http://$client4/large
    ok "from outside: one that is listed, UDP" udp_echo $client4 5353
    ok "from outside: one that is not, UDP" not udp_echo $client4 5354
    before=$(stat port1.related)
    ok "FTP from outside, passive (EPSV): its data connection passes" ftp_file outside $client4
    ok "FTP from outside, passive (PASV)" ftp_file outside $client4 --disable-epsv
    ok "FTP from outside, passive, v6" ftp_file outside "[$client6]"
    ok "FTP from inside, active (EPRT): the server's connection passes" ftp_file inside $server4 --ftp-port -
    ok "FTP from inside, active (PORT)" ftp_file inside $server4 --ftp-port - --disable-eprt
    ok "FTP from inside, passive" ftp_file inside $server4
    ok "FTP without a helper: its data connection does not pass" not ftp_file outside $client4:2121 --connect-timeout 2
    settle
    ok "the data connections from outside were RELATED" sums "$(stat port1.related) >= $before + 5"
    ok "each was expected" equal "$(stat expect_new)" 6
    ok "and nothing is expected any more" equal "$(stat expect_create)" "$(stat expect_delete)"
    before=$(stat port1.dropped)
    ok "from outside: no ping, v4" not outside ping -n -q -c 2 -i 0.2 -W 1 $client4
    ok "from outside: no ping, v6" not outside ping -n -q -c 2 -i 0.2 -W 1 $client6
    settle
    ok "what did not pass was counted" sums "$(stat port1.dropped) >= $before + 4"
}

# A thousand connections, each for one request; the server closes them.
short_connections() {
    local before after sent_before received_before
    settle
    before=$(stat insert) sent_before=$((c0 + r0)) received_before=$(($(stat port0.rx) + $(stat port1.rx)))
    ok "1,000 short HTTP connections" inside "${fetch[@]}" -Z --parallel-max 20 --resolve "six.example:80:[$server6]" \
        -o /dev/null "http://$server4/short?[1-500]" -o /dev/null "http://six.example/short?[1-500]"
    settle
    after=$(stat insert)
    ok "they are 1,000 new connections" equal $((after - before)) 1000
    ok "no packet of theirs was missed" equal $((c0 + r0 - sent_before)) \
        $(($(stat port0.rx) + $(stat port1.rx) - received_before))
    control dump >"$tmp/dump"
    ok "the table holds them, in TIME_WAIT" sums \
        "$(grep -Ec 'TIME_WAIT .* dport=80 .*\[ASSURED\]' "$tmp/dump" || :) >= 1000"
}

# Reads table, events and statistics at one moment: what is counted is the same before and after, and nothing that has
# expired (which a dump does not show) waits to be swept.
snapshot() {
    local before
    for _ in {1..20}; do
        settle
        before=$(ends)
        control events >>"$tmp/events"
        control dump >"$tmp/dump"
        control stats >"$tmp/stats"
        [[ $before == "$(ends)" && $(stat connections) == "$(wc -l <"$tmp/dump")" ]] || continue
        return 0
    done
    echo "the table does not come to rest"
    return 1
}
ends() { echo "$(stat insert) $(stat expired) $(stat deleted) $(stat early_drop) $(stat connections)"; }

# How many events of this kind there were
events() { grep -F "[$1]" "$tmp/events" | grep -Fvc mask-src= || :; }

# received PORT SENT: what was sent to this port was received, or counted as missed. DPDK's driver for AF_PACKET does not
# count what finds its ring full (not in 22.11): a little of the bulk may be lost on a busy machine, as TCP can bear.
received() {
    local gap=$(($2 - $(stat "port$1.rx") - $(stat "port$1.missed")))
    echo "$2 sent, $gap of them neither received nor missed"
    case $which in
    rust) ((gap == 0)) ;;
    dpdk) ((gap >= 0 && gap <= $2 / 20)) ;;
    esac
}

# Everything that must agree, whatever was done
books() {
    local port other new destroy live
    ok "$1: a moment of rest" snapshot
    new=$(events NEW) destroy=$(events DESTROY) live=$(wc -l <"$tmp/dump")
    printf '      %s connections, %s ended, %s live\n' "$(stat insert)" "$destroy" "$live"
    ok "$1: events NEW == DESTROY + live" sums "$new == $destroy + $live"
    ok "$1: events NEW == insert" equal "$new" "$(stat insert)"
    ok "$1: events DESTROY == expired + deleted + evicted" \
        sums "$destroy == $(stat expired) + $(stat deleted) + $(stat early_drop)"
    ok "$1: the table counts what the dump shows" equal "$(stat connections)" "$live"
    for name in events_lost lost insert_failed drop early_drop chaintoolong reclaim_stalled busy; do
        # Two workers may meet at a connection; one that was interrupted there makes the other judge without it.
        [[ $name != busy || ${LCORES:-} != *[,-]* ]] || continue
        ok "$1: $name is 0" equal "$(stat $name)" 0
    done
    ok "$1: INVALID is what the ports counted" sums "$(stat invalid) == $(stat port0.invalid) + $(stat port1.invalid)"
    for port in 0 1; do
        other=$((1 - port))
        ok "$1: port $port: received is the sum of the verdicts" sums "$(stat port$port.rx) == $(stat port$port.truncated) +
            $(stat port$port.bridged) + $(stat port$port.new) + $(stat port$port.established) + $(stat port$port.related) +
            $(stat port$port.invalid) + $(stat port$port.untracked) + $(stat port$port.drop) + $(stat port$port.fragment)"
        ok "$1: port $port: what passed was sent by port $other" sums "$(stat port$port.rx) - $(stat port$port.truncated) -
            $(stat port$port.dropped) == $(stat port$other.tx) + $(stat port$other.tx_failed)"
    done
    ok "$1: port 0 received what the client sent" received 0 $((c0 - c0_base))
    ok "$1: port 1 received what the router sent" received 1 $((r0 - r0_base))
    ok "$1: the kernel sent what port 0 sent" sums "$(stat port0.tx) == $((f0 - f0_base))"
    ok "$1: the kernel sent what port 1 sent" sums "$(stat port1.tx) == $((f1 - f1_base))"
}

table_empty() {
    for _ in {1..40}; do
        [[ -n $(control dump) ]] || return 0
        sleep 1
    done
    control dump
    return 1
}

stops() {
    local slow
    # Whoever asks a letter at a time is not waited for.
    python3 -c 'import socket, sys, time
asks = socket.socket(socket.AF_UNIX)
asks.connect(sys.argv[1])
for _ in range(40):
    asks.send(b"d")
    time.sleep(0.5)' "$socket" 2>/dev/null &
    slow=$!
    sleep 1
    kill -TERM "$firewall_pid"
    for _ in {1..50}; do
        kill -0 "$firewall_pid" 2>/dev/null || break
        sleep 0.1
    done
    kill "$slow" 2>/dev/null || :
    not kill -0 "$firewall_pid" || return 1
    wait "$firewall_pid" && [[ ! -e $socket ]]
}

dataplane() {
    printf '\n== %s (%d s)\n' "$1" "$SECONDS"
    "build_$1" || { failed=$((failed + 1)); echo "FAILS the build"; return; }
    tmp=$(mktemp -d)
    network_up
    servers_up
    if ! start_firewall "$1"; then
        failed=$((failed + 1))
    else
        sleep 1
        c0='' r0='' f0='' f1=''
        c0_base=0 r0_base=0 f0_base=0 f1_base=0
        settle
        # What had arrived before the firewall listened is none of its own.
        c0_base=$((c0 - $(stat port0.rx))) r0_base=$((r0 - $(stat port1.rx)))
        f0_base=$((f0 - $(stat port0.tx))) f1_base=$((f1 - $(stat port1.tx)))
        programs
        short_connections
        books "after the traffic"
        ok "then everything expires" table_empty
        books "at the end"
        printf '      %s packets from inside, %s from outside, %s + %s missed\n' \
            "$(stat port0.rx)" "$(stat port1.rx)" "$((c0 - c0_base - $(stat port0.rx)))" "$((r0 - r0_base - $(stat port1.rx)))"
        ok "SIGTERM: it ends in order, whoever is at the control socket" stops
    fi
    network_down
    rm -rf "$tmp"
    tmp=
}

main() {
    local which
    for which in "$@"; do
        [[ $which == rust || $which == dpdk ]] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
    done
    ((EUID == 0)) || skip "not root"
    have ip:iproute2 ss:iproute2 ethtool:ethtool sysctl:procps nginx:nginx-light vsftpd:vsftpd curl:curl taskset:util-linux ping:iputils-ping iperf3:iperf3 \
        traceroute:traceroute socat:socat python3:python3 || skip "its Debian packages cannot be installed"
    trap cleanup EXIT
    trap 'exit 1' INT TERM HUP
    { ip netns add "$prefix-try" && ip netns del "$prefix-try"; } 2>/dev/null || skip "no network namespaces"
    (($# > 0)) || set -- rust dpdk
    for which in "$@"; do dataplane "$which"; done
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    ((failed == 0))
}

main "$@"
