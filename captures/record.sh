#!/usr/bin/env bash
# Records the captures of this folder: real programs talk across a router whose kernel tracks their connections;
# the packets go to NAME.pcap (one to NAME.pcapng), the kernel's own table to NAME.1.table, NAME.2.table ... and its
# events to NAME.events.
# README.md describes the files and shows the topology. Everything happens in four network namespaces of its own.
#
# shellcheck disable=SC2016,SC2086  # addresses and process ids hold no spaces, and some text is for another shell
set -euo pipefail

usage() {
    cat <<END
usage: captures/record.sh [NAME...]

Records the named captures, or all of them, into the folder of this script.
Needs root, a kernel with conntrack and its events, nf_tables, veth and network namespaces, and about seven minutes for all.

names: ${all_names[*]}
END
}

all_names=(http dns ping-traceroute refused-halfclosed scan scan-odd)

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
prefix=ctcap-$$
client=$prefix-client r1=$prefix-r1 r2=$prefix-r2 server=$prefix-server
spaces=("$client" "$r1" "$r2" "$server")
tmp=

# Addresses and names are those reserved for documentation.
client4=192.0.2.10     client6=2001:db8:1::10
server4=203.0.113.10   server6=2001:db8:3::10
noroute4=198.18.0.1    noroute6=2001:db8:ff::1      # r2 answers "unreachable" for these ...
prohibit4=198.18.0.2   prohibit6=2001:db8:ff::2     # ... and "prohibited" for these
name=server.example

say()  { printf '%s\n' "$*" >&2; }
fail() { say "record.sh: $*"; exit 1; }

# ---------------------------------------------------------------------------------------------------------------------
# What must be there

check_programs() {
    local missing=() packages=() pair
    for pair in nft:nftables conntrack:conntrack tcpdump:tcpdump dumpcap:wireshark-common nginx:nginx-light curl:curl dnsmasq:dnsmasq-base \
        dig:bind9-dnsutils host:bind9-host ping:iputils-ping traceroute:traceroute nmap:nmap ncat:ncat \
        socat:socat ethtool:ethtool ip:iproute2 sysctl:procps taskset:util-linux; do
        command -v "${pair%%:*}" >/dev/null || { missing+=("${pair%%:*}"); packages+=("${pair##*:}"); }
    done
    ((${#missing[@]} == 0)) || fail "missing: ${missing[*]} (Debian: apt-get install ${packages[*]})"
    [[ -e /proc/net/nf_conntrack ]] || fail "this kernel has no /proc/net/nf_conntrack (CONFIG_NF_CONNTRACK_PROCFS)"
}

# ---------------------------------------------------------------------------------------------------------------------
# The network

in_ns() { local ns=$1; shift; ip netns exec "$ns" "$@"; }

network_down() {
    local ns pids
    for ns in "${spaces[@]}"; do
        pids=$(ip netns pids "$ns" 2>/dev/null) || continue
        # Only what lives in our own namespaces: the servers, a recorder, clients left open on purpose.
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

# wire NS1 IF1 MAC1 NS2 IF2 MAC2: a veth pair between two namespaces
wire() {
    ip link add "$2" netns "$1" address "$3" type veth peer name "$5" netns "$4" address "$6"
    local ns dev
    while read -r ns dev; do
        # No link-local addresses: they would only bring neighbour discovery of their own.
        in_ns "$ns" ip link set "$dev" addrgenmode none
        offloads_off "$ns" "$dev"
        in_ns "$ns" ip link set "$dev" up
    done <<<"$1 $2"$'\n'"$4 $5"
}

# One frame must be one packet as the tracker saw it, with its checksum complete: nothing may be merged, cut later or
# summed later. GRO counts on the receiving end, the others on the sending end; so all of it at both ends.
must_be_off='rx-checksumming|tx-checksumming|scatter-gather|tcp-segmentation-offload|generic-segmentation-offload'
must_be_off+='|generic-receive-offload|large-receive-offload|tx-udp-segmentation|tx-gso-list|rx-gro-list'
must_be_off+='|rx-udp-gro-forwarding'
offloads_off() {
    local ns=$1 dev=$2 feature left
    for feature in tx rx sg tso gso gro lro tx-udp-segmentation tx-gso-list tx-gso-partial rx-gro-list \
        rx-udp-gro-forwarding; do
        in_ns "$ns" ethtool -K "$dev" "$feature" off >/dev/null 2>&1 || :    # some are fixed; what counts is below
    done
    left=$(in_ns "$ns" ethtool -k "$dev" | grep -E "^($must_be_off): on" || :)
    [[ -z $left ]] || fail "offloads still on at $dev: $left"
}

# address NS IF V4 V6
address() {
    in_ns "$1" ip addr add "$3/24" dev "$2"
    in_ns "$1" ip addr add "$4/64" dev "$2" nodad
}

# background NS PROGRAM ARGUMENT...: runs until network_down; the shell is to say nothing about its end
background() {
    ip netns exec "$@" >/dev/null 2>&1 &
    disown
}

# neighbour NS IF MAC V4 V6: a permanent entry, so that no packet is ever tracked and then lost waiting for ARP or ND
neighbour() {
    in_ns "$1" ip neigh replace "$4" lladdr "$3" dev "$2" nud permanent
    in_ns "$1" ip neigh replace "$5" lladdr "$3" dev "$2" nud permanent
}

network_up() {
    local ns
    for ns in "${spaces[@]}"; do
        ip netns add "$ns"
        in_ns "$ns" sysctl -q -e -w \
            net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 \
            net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0 \
            net.ipv4.conf.all.accept_redirects=0 net.ipv4.conf.default.accept_redirects=0 \
            net.ipv6.conf.all.accept_redirects=0 net.ipv6.conf.default.accept_redirects=0 \
            net.ipv6.conf.all.accept_ra=0 net.ipv6.conf.default.accept_ra=0 \
            net.ipv6.conf.all.router_solicitations=0 net.ipv6.conf.default.router_solicitations=0 \
            net.ipv6.conf.all.dad_transmits=0 net.ipv6.conf.default.dad_transmits=0 \
            net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
            net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_ratemask=0 \
            net.ipv4.icmp_msgs_per_sec=1000000 net.ipv4.icmp_msgs_burst=1000000 \
            net.ipv6.icmp.ratelimit=0 net.ipv6.icmp.ratemask=
        in_ns "$ns" ip link set lo up
    done
    for ns in "$r1" "$r2"; do
        in_ns "$ns" sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    done

    wire "$client" c0   02:00:00:00:01:10  "$r1" near     02:00:00:00:01:01
    wire "$r1"     far  02:00:00:00:02:01  "$r2" r2near   02:00:00:00:02:02
    wire "$r2"     r2far 02:00:00:00:03:01 "$server" s0   02:00:00:00:03:10

    address "$client" c0     $client4     $client6
    address "$r1"     near   192.0.2.1    2001:db8:1::1
    address "$r1"     far    198.51.100.1 2001:db8:2::1
    address "$r2"     r2near 198.51.100.2 2001:db8:2::2
    address "$r2"     r2far  203.0.113.1  2001:db8:3::1
    address "$server" s0     $server4     $server6

    neighbour "$client" c0     02:00:00:00:01:01 192.0.2.1    2001:db8:1::1
    neighbour "$r1"     near   02:00:00:00:01:10 $client4     $client6
    neighbour "$r1"     far    02:00:00:00:02:02 198.51.100.2 2001:db8:2::2
    neighbour "$r2"     r2near 02:00:00:00:02:01 198.51.100.1 2001:db8:2::1
    neighbour "$r2"     r2far  02:00:00:00:03:10 $server4     $server6
    neighbour "$server" s0     02:00:00:00:03:01 203.0.113.1  2001:db8:3::1

    in_ns "$client" ip route add default via 192.0.2.1
    in_ns "$client" ip route add default via 2001:db8:1::1
    in_ns "$r1" ip route add default via 198.51.100.2
    in_ns "$r1" ip route add default via 2001:db8:2::2
    in_ns "$r2" ip route add 192.0.2.0/24 via 198.51.100.1
    in_ns "$r2" ip route add 2001:db8:1::/64 via 2001:db8:2::1
    in_ns "$server" ip route add default via 203.0.113.1
    in_ns "$server" ip route add default via 2001:db8:3::1
    in_ns "$r2" ip route add unreachable $noroute4
    in_ns "$r2" ip route add unreachable $noroute6
    in_ns "$r2" ip route add prohibit $prohibit4
    in_ns "$r2" ip route add prohibit $prohibit6

    # The kernel repeats its multicast listener reports for a while after an address has come up; let them pass.
    sleep 3
}

# A rule that names `ct state` is what makes the kernel track in this namespace. Nothing is dropped. The counters say
# what state the kernel gave to each packet as it came in, from either side.
tracking_on() {
    in_ns "$r1" sysctl -q -w net.netfilter.nf_conntrack_acct=1
    in_ns "$r1" nft -f - <<END
table inet seen {
    counter new {}
    counter established {}
    counter related {}
    counter invalid {}
    counter untracked {}
    chain arrivals {
        type filter hook prerouting priority mangle; policy accept;
        ct state new counter name new
        ct state established counter name established
        ct state related counter name related
        ct state invalid counter name invalid
        ct state untracked counter name untracked
    }
}
END
}

# ---------------------------------------------------------------------------------------------------------------------
# The servers

start_nginx() {
    mkdir -p "$tmp/www"
    local n
    for n in 1 2 3 4 5; do
        seq -f "page $n, line %g" $((n * n * 12)) >"$tmp/www/page$n"
    done
    seq -f 'this file takes long, line %06g' 100000 >"$tmp/www/large"
    cat >"$tmp/nginx.conf" <<END
daemon off;
user root;
worker_processes 1;
pid $tmp/nginx.pid;
error_log $tmp/nginx.log;
events { worker_connections 64; }
http {
    access_log off;
    default_type text/plain;
    client_body_temp_path $tmp/body;
    proxy_temp_path $tmp/proxy;
    fastcgi_temp_path $tmp/fastcgi;
    uwsgi_temp_path $tmp/uwsgi;
    scgi_temp_path $tmp/scgi;
    server {
        listen 80;
        listen [::]:80;
        root $tmp/www;
        location = /large { limit_rate 24k; }
        location = /upload { return 200 "thank you\n"; }
        # 444 closes without an answer, and with this setting it closes with a reset
        reset_timedout_connection on;
        location = /reset { return 444; }
    }
}
END
    background "$server" nginx -e "$tmp/nginx.log" -c "$tmp/nginx.conf"
    wait_port tcp 80
}

start_dnsmasq() {
    local long
    long=$(printf 'the quick brown fox jumps over the lazy dog %.0s' 1 2 3 4 5)
    background "$server" dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= \
        --no-resolv --no-hosts --no-daemon --log-facility="$tmp/dnsmasq.log" --interface=s0 --bind-interfaces \
        --host-record="$name,$server4,$server6" --mx-host="example,$name,10" \
        --txt-record="long.example,$long" --txt-record="long.example,$long" --txt-record="long.example,$long" \
        --txt-record="long.example,$long" --txt-record="long.example,$long" \
        --ptr-record=10.113.0.203.in-addr.arpa,"$name" --local=/example/
    wait_port udp 53
    wait_port tcp 53
}

# start_service PORT COMMAND: a shell command for each connection, which may go on after one side has been closed
start_service() {
    background "$server" socat -t 60 "TCP6-LISTEN:$1,ipv6only=0,reuseaddr,fork" "SYSTEM:$2"
    wait_port tcp "$1"
}

wait_port() {
    for _ in {1..50}; do
        [[ -z $(in_ns "$server" ss -Hln "--$1" "sport = :$2") ]] || return 0
        sleep 0.1
    done
    fail "nothing listens on $1 port $2"
}

# ---------------------------------------------------------------------------------------------------------------------
# The recorder and the tables

recorder='' listener='' events_buffer=8388608 capture_name='' capture='' precision=micro tables=0 complaints=0

# What makes this recording useless, but perhaps not the next one
complain() {
    say "$capture_name: $*"
    complaints=$((complaints + 1))
}

start_capture() {
    local log=$tmp/recorder.log ready
    : >"$log"
    case $capture in
    *.pcapng)
        ready='^File:'
        # dumpcap notes the model of the processor unless it finds none. (`ip netns exec` gives each command mounts of
        # its own, so this one goes with it.)
        ip netns exec "$r1" sh -c 'mount --bind /dev/null /proc/cpuinfo && exec "$@"' - \
            dumpcap -q -i far -s 262144 -B 32 -w "$tmp/$capture" 2>"$log" & ;;
    *)
        ready='listening on'
        # Each packet goes to the file as it comes, the ring is large, and no packet is cut.
        ip netns exec "$r1" tcpdump -i far -n -s 262144 -B 32768 --immediate-mode -U -Z root \
            --time-stamp-precision="$precision" -w "$tmp/$capture" 2>"$log" & ;;
    esac
    recorder=$!
    for _ in {1..100}; do
        ! grep -q "$ready" "$log" || { sleep 0.5; return 0; }
        kill -0 "$recorder" 2>/dev/null || fail "the recorder ended: $(<"$log")"
        sleep 0.1
    done
    fail "the recorder does not begin"
}

stop_capture() {
    sleep 0.5
    kill -INT "$recorder"
    wait "$recorder" || :
    recorder=
    case $capture in
    *.pcapng) grep -Eq 'received/dropped on interface.*: [0-9]+/0 \(pcap:0/dumpcap:0/flushed:0/' "$tmp/recorder.log" ;;
    *) grep -q '^0 packets dropped by kernel' "$tmp/recorder.log" ;;
    esac || complain "packets lost: $(<"$tmp/recorder.log")"
}

# The kernel keeps events only of connections that begin while somebody listens: so this comes before any packet.
start_events() {
    ip netns exec "$r1" conntrack -E -o timestamp -b $events_buffer >"$tmp/$capture_name.events" 2>"$tmp/events.log" &
    listener=$!
    for _ in {1..100}; do
        [[ -z $(listening) ]] || return 0
        kill -0 "$listener" 2>/dev/null || fail "conntrack -E ended: $(<"$tmp/events.log")"
        sleep 0.1
    done
    fail "conntrack -E does not begin"
}

# How many messages were lost to the netlink socket that is in the groups of the events; nothing without such a socket
listening() { in_ns "$r1" awk '$2 == 12 && $4 != "00000000" { print $9 }' /proc/net/netlink; }

# Called right after a table was read: what had expired by then, the reading has ended, so its event is there. No event
# may be lost, and as many must be in the file as `conntrack` says.
stop_events() {
    local lost lines
    sleep 0.5
    lost=$(listening)
    kill -INT "$listener"
    wait "$listener" || :
    listener=
    lines=$(wc -l <"$tmp/$capture_name.events")
    [[ $lost == 0 ]] || complain "${lost:-all} events lost"
    grep -q " $lines flow events have been shown" "$tmp/events.log" ||
        complain "$lines events in the file, but: $(<"$tmp/events.log")"
    ! grep -Evq '^\[[0-9]+\.[0-9]{6}\]'$'\t'' *\[(NEW|UPDATE|DESTROY)\] ' "$tmp/$capture_name.events" ||
        complain "unwanted lines among the events"
}

# Prints the middle of the times before and after reading, then the table.
read_table() {
    in_ns "$r1" bash -c '
        before=$EPOCHREALTIME
        lines=$(</proc/net/nf_conntrack)
        after=$EPOCHREALTIME
        before=${before/[.,]/} after=${after/[.,]/}
        middle=$(((before + after) / 2))
        printf "%d.%06d\n" $((middle / 1000000)) $((middle % 1000000))
        [[ -z $lines ]] || printf "%s\n" "$lines"'
}

# The lines without what passes by itself (seconds left) or means nothing (use count), in an order of their own
settled() { tail -n +2 "$1" | sed -E 's/^(\S+ +\S+ +\S+ +\S+) +[0-9]+/\1/; s/ use=[0-9]+//' | sort; }

# save_table REMARK: at a quiet moment. Nothing has changed for 1.5 s before, and no entry is about to expire.
save_table() {
    local release
    release=$(uname -r)
    for _ in {1..20}; do
        read_table >"$tmp/first"
        sleep 1.5
        read_table >"$tmp/second"
        if [[ $(settled "$tmp/first") == "$(settled "$tmp/second")" ]] &&
            awk 'NR > 1 && $5 < 3 { exit 1 }' "$tmp/second"; then
            tables=$((tables + 1))
            {
                echo "# at=$(head -n 1 "$tmp/second") kernel=${release%%-*} host: $1"
                tail -n +2 "$tmp/second"
            } >"$tmp/$capture_name.$tables.table"
            sleep 0.5
            return 0
        fi
    done
    complain "the table does not come to rest"
}

# What the kernel made of each packet, once the capture is complete
save_states() {
    local state
    for state in new established related invalid untracked; do
        printf '%s %s\n' "$state" \
            "$(in_ns "$r1" nft list counter inet seen "$state" | sed -nE 's/.*packets ([0-9]+).*/\1/p')"
    done >"$tmp/$capture_name.states"
}

# A capture is good if it holds exactly the packets that the tracker was given, none of them a fragment, and none close
# to the moment a table was saved.
check_capture() {
    local file=$tmp/$capture in_file seen other table at near size
    in_file=$(tcpdump -r "$file" --count 2>/dev/null | awk '{ print $1 }')
    seen=$(awk '{ n += $2 } END { print n }' "$tmp/$capture_name.states")
    [[ $in_file == "$seen" ]] || complain "$in_file packets in the file, $seen tracked"
    other=$(tcpdump -n -c 3 -r "$file" '(not ip and not ip6) or ip[6:2] & 0x3fff != 0 or ip6 proto 44' 2>/dev/null)
    [[ -z $other ]] || complain "unwanted packets: $other"
    for table in "$tmp/$capture_name".*.table; do
        at=$(sed -nE '1s/^# at=([0-9.]+) .*/\1/p' "$table")
        near=$(tcpdump -n -tt -r "$file" 2>/dev/null |
            awk -v at="$at" '{ d = $1 - at; if (d < 0) d = -d; if (d < 0.3) n++ } END { print n + 0 }')
        ((near == 0)) || complain "$near packets close to $at"
    done
    size=$(stat -c %s "$file")
    ((size < 500000)) || complain "$size bytes are too many"
}

# ---------------------------------------------------------------------------------------------------------------------
# The traffic. Each function runs while the recorder does, and saves its tables.

# Clients fail here on purpose (refused, unreachable, killed): their exit codes mean nothing.
try() { in_ns "$client" "$@" </dev/null >/dev/null 2>&1 || :; }

# web ADDRESS CURL-ARGUMENT...: to the web server at this address
web() {
    local address=$1
    shift
    try curl -q -s --noproxy '*' --resolve "$name:80:$(bracketed "$address")" "$@"
}
bracketed() { if [[ $1 == *:* ]]; then echo "[$1]"; else echo "$1"; fi; }

servers_http() { start_nginx; }
traffic_http() {
    local a
    for a in $server4 $server6; do
        web $a "http://$name/page[1-5]"                                         # five requests on one connection
        web $a --parallel --parallel-immediate "http://$name/page[1-4]"         # a connection each
        web $a -I "http://$name/page5"
        web $a -H 'Connection: close' "http://$name/page2"                      # here the server closes first
        web $a --data-binary "@$tmp/www/page5" "http://$name/upload"
        web $a --max-time 1.2 "http://$name/large"                              # given up in the middle
    done
    # Killed in the middle, and what has come has not all been read: that ends with a reset.
    for a in $server4 $server6; do
        background "$client" curl -q -s --noproxy '*' --limit-rate 4k "http://$(bracketed $a)/large"
        sleep 1.3
        kill -9 $!
    done
    save_table 'right after the traffic'
    sleep 11
    save_table 'the reset connections are gone'
}

query() { try dig +retry=0 +timeout=2 "$@"; }

servers_dns() { start_dnsmasq; }
traffic_dns() {
    local a
    for a in $server4 $server6; do
        query "@$a" $name A
        query "@$a" $name AAAA
        query "@$a" example MX
        query "@$a" nothing.example A                           # NXDOMAIN
        query "@$a" +tcp $name A
        query "@$a" +tcp +keepopen $name A $name AAAA example MX # three queries on one connection
        query "@$a" +bufsize=512 long.example TXT               # cut short, so asked again over TCP
        query "@$a" -p 5300 $name A                             # nobody listens: port unreachable
        try host -W 2 $name $a
    done
    query "@$server4" -x $server4
    # The same source port again and again, more than two seconds apart: the flow becomes a stream.
    for _ in 1 2 3; do
        query -b "$client4#40053" "@$server4" $name A
        query -b "$client6#40053" "@$server6" $name AAAA
        sleep 2.7
    done
    # The same source port twice, but too fast to be a stream
    query -b "$client4#40054" "@$server4" $name A
    query -b "$client4#40054" "@$server4" $name AAAA
    save_table 'right after the traffic'
    sleep 33
    save_table 'single questions have expired, streams remain'
}

servers_ping-traceroute() {
    start_nginx
    # A narrower link beyond r2, for "fragmentation needed" and "packet too big"
    in_ns "$r2" ip link set r2far mtu 1400
    in_ns "$server" ip link set s0 mtu 1400
}
traffic_ping-traceroute() {
    local a
    try ping -n -c 3 -i 0.3 $server4
    try ping -n -6 -c 3 -i 0.3 $server6
    try ping -n -c 2 -i 0.3 -s 1200 $server4
    try ping -n -6 -c 2 -i 0.3 -s 1200 $server6
    try ping -n -c 2 -i 0.3 -t 2 $server4                        # time exceeded, from r2
    try ping -n -6 -c 2 -i 0.3 -t 2 $server6
    try ping -n -c 1 -W 1 -M 'do' -s 1420 $server4                 # fragmentation needed, from r2
    try ping -n -6 -c 1 -W 1 -M 'do' -s 1420 $server6              # packet too big, from r2
    for a in $noroute4 $prohibit4; do try ping -n -c 2 -i 0.3 -W 1 $a; done
    for a in $noroute6 $prohibit6; do try ping -n -6 -c 2 -i 0.3 -W 1 $a; done
    # From two hops on: a probe that dies in the tracking router itself never reaches its far side.
    for a in $server4 $server6; do
        try traceroute -n -f 2 -m 6 -w 1 $a
        try traceroute -n -f 2 -m 6 -w 1 -I $a
        try traceroute -n -f 2 -m 6 -w 1 -T -p 80 $a
        try traceroute -n -f 2 -m 6 -w 1 -T -p 81 $a             # a closed port
        try traceroute -n -f 2 -m 6 -w 1 -U -p 53 $a             # one fixed port
    done
    for a in $noroute4 $noroute6; do try traceroute -n -f 2 -m 4 -w 1 $a; done
    save_table 'right after the traffic'
    sleep 12
    save_table 'TCP connections that ended with a reset are gone'
    sleep 20
    save_table 'what nobody answered for 30 seconds is gone'
}

servers_refused-halfclosed() {
    start_nginx
    start_service 7001 'sleep 600'                                              # says nothing, closes nothing
    start_service 7002 'cat; for i in 1 2 3; do sleep 0.4; echo line \$i; done' # echoes, and goes on after the end
}
# As web and try, but with a shell in between, so that the input of the program lives in the namespace too
client_shell() { try timeout 20 bash -c "$1"; }
traffic_refused-halfclosed() {
    local a
    for a in $server4 $server6; do
        web $a --resolve "$name:81:$(bracketed $a)" "http://$name:81/"      # refused
        try ncat -w 2 $a 82                                                 # refused
        # The end of its input makes ncat close its sending side. Half closed, the answer goes on.
        client_shell "echo hello | ncat $a 7002"
        # The other way round: the server has said all and closes its sending side, and still reads what the client
        # has announced.
        client_shell "{ printf 'POST /upload HTTP/1.0\r\nContent-Length: 21\r\n\r\n'
            for i in 1 2 3; do sleep 0.4; echo line \$i; done; } | socat -t 60 - TCP:$(bracketed $a):80"
        # These three stay, until the tables are saved: open and never used,
        background "$client" bash -c "sleep 600 | ncat $a 80"
        # open and idle after some data,
        background "$client" bash -c "{ echo hello; sleep 600; } | ncat $a 7001"
        # and half closed.
        background "$client" bash -c "echo hello | ncat $a 7001"
    done
    for a in $server4 $server6; do
        web $a "http://$name/reset"                                         # reset by the server, after a request
    done
    save_table 'right after the traffic'
    sleep 10
    save_table 'the reset connections are gone'
}

# Host discovery only where the arguments ask for it (-P...), and never by ARP or ND
scan() {
    [[ " $*" == *" -P"* ]] || set -- -Pn "$@"
    try nmap -n --send-ip --disable-arp-ping --max-retries 1 --host-timeout 30s "$@"
}

servers_scan() { start_nginx; start_dnsmasq; }
traffic_scan() {
    local ports=21,22,53,80,443,8080 kind
    for kind in -sS -sT; do
        scan $kind -p $ports $server4
        scan -6 $kind -p $ports $server6
    done
    save_table 'after the SYN and connect scans'
    for kind in -sF -sX -sN -sA -sW -sM; do
        scan $kind -p $ports $server4
        scan -6 $kind -p $ports $server6
    done
    scan -sU -p 53,69,123,161 $server4
    scan -6 -sU -p 53,69,123,161 $server6
    # One source port for all: each scan meets what the one before has left.
    for kind in -sS -sS -sA -sF -sS; do
        scan $kind -g 40080 -p 22,53,80 $server4
        scan -6 $kind -g 40080 -p 22,53,80 $server6
    done
    scan -PE -PP -PS80 -PA80 -PU40125 -sn $server4              # host discovery: echo, timestamp, SYN, ACK, UDP
    save_table 'right after the traffic'
    sleep 12
    save_table 'what ended with a reset is gone'
}

servers_scan-odd() { start_nginx; start_dnsmasq; }
traffic_scan-odd() {
    local kind
    # Wrong checksums
    for kind in -sS -sA -sU; do
        scan --badsum $kind -p 53,80 $server4
        scan -6 --badsum $kind -p 53,80 $server6
    done
    # IP protocols: ICMP, IGMP, TCP, UDP, GRE, ESP, PIM, UDP-Lite and one that nobody uses
    scan -sO -p 1,2,6,17,47,50,103,136,253 $server4
    # TCP flags that cannot be
    scan --scanflags SYNFIN -p 22,80 $server4
    scan --scanflags SYNRST -p 22,80 $server4
    scan --scanflags URGACKPSHRSTSYNFIN -p 22,80 $server4
    scan --scanflags SYNECECWR -p 22,80 $server4
    scan --scanflags SYNURG -p 22,80 $server4
    save_table 'right after the traffic'
    sleep 12
    save_table 'what ended with a reset is gone'
}

# ---------------------------------------------------------------------------------------------------------------------

record_once() {
    tables=0 complaints=0
    rm -rf "${tmp:?}"/*
    network_up
    "servers_$capture_name"
    sleep 1
    start_events
    tracking_on
    start_capture
    "traffic_$capture_name"
    stop_capture
    # Nothing may have passed between the last table and the end of the recording.
    read_table >"$tmp/after"
    [[ $(settled "$tmp/after") == "$(settled "$tmp/$capture_name.$tables.table")" ]] ||
        complain "the table has changed since it was saved"
    stop_events
    save_states
    check_capture
    network_down
}

record() {
    capture_name=$1 capture=$1.pcap precision=micro
    case $1 in
    dns) capture=dns.pcapng ;;             # one in the other format ...
    scan) precision=nano ;;                # ... and one with finer time stamps
    esac
    for _ in 1 2 3; do
        record_once        # not in a condition: there `set -e` would not hold
        ((complaints > 0)) || break
    done
    ((complaints == 0)) || fail "$1: no good recording in three attempts"
    rm -f "$here/$1".{pcap,pcapng,states,events} "$here/$1".*.table
    install -m 644 "$tmp/$capture" "$tmp/$1".{states,events} "$tmp/$1".*.table "$here/"
    say "$capture: $(stat -c %s "$here/$capture") bytes, $(tr '\n' ' ' <"$here/$1.states")"
}

main() {
    local n
    for n in "$@"; do
        case $n in -h | --help) usage; exit 0 ;; esac
        [[ " ${all_names[*]} " == *" $n "* ]] || { usage >&2; exit 2; }
    done
    ((EUID == 0)) || fail "needs root (network namespaces)"
    check_programs
    # One processor for all: then a veth hands each packet on in the order in which it was tracked, and the order in the
    # file is the order in which the tracker saw the packets.
    taskset -cp "$(taskset -cp $$ | sed -E 's/.*: ([0-9]+).*/\1/')" $$ >/dev/null
    umask 022
    tmp=$(mktemp -d)
    trap cleanup EXIT
    trap 'exit 1' INT TERM HUP
    (($# > 0)) || set -- "${all_names[@]}"
    for n in "$@"; do record "$n"; done
}

main "$@"
