"""A small rig to ask a live Linux kernel what its connection tracker makes of TCP segments.

Needs root, Python 3, `ip` and `nft`. Everything happens inside a network namespace of this process's own, which
vanishes with it. One veth pair: frames injected raw at w0 arrive at r0, are tracked, forwarded to r1
and gone; both directions of a flow take this way, so no end host's TCP ever answers.

What was decided is read from NFLOG (rules right behind the tracker; the kernel's own words for invalid packets) and,
entry by entry, from ctnetlink.
"""
import ctypes, errno, os, socket, struct, subprocess

CLIENT, SERVER = "10.1.0.1", "10.2.0.1"
STATES = "NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2".split()
TIMEOUTS = "syn_sent syn_recv established fin_wait close_wait last_ack time_wait close max_retrans unacknowledged".split()
DEFAULTS = dict(zip(TIMEOUTS, (120, 60, 432000, 120, 60, 30, 120, 10, 300, 300)))
SWITCHES = {"loose": 1, "be_liberal": 0, "max_retrans": 3, "ignore_invalid_rst": 0}

SETUP = """\
link add r0 mtu 65535 address 02:00:00:00:00:10 type veth peer name w0 mtu 65535 address 02:00:00:00:00:11
link add r1 mtu 65535 address 02:00:00:00:00:20 type veth peer name w1 mtu 65535 address 02:00:00:00:00:21
link set lo up
link set r1 arp off up
link set w1 arp off up
link set r0 up
link set w0 up
route add default dev r1
"""
RULES = 'table ip seen { chain verdict { type filter hook prerouting priority -145;\n' + "".join(
    ' ct state %s ct direction %s log prefix "%s/%s" group 1 queue-threshold 1 snaplen 1\n' % (s, d, s.upper(), d[0])
    for s in ("new", "established") for d in ("original", "reply")) + \
    ' ct state invalid log prefix "INVALID/-" group 1 queue-threshold 1 snaplen 1\n}\n}\n'


def write(name, value):
    with open("/proc/sys/" + name, "w") as f:
        f.write(str(value))


def run(argv, text):
    done = subprocess.run(argv, input=text, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError("%s: %s" % (" ".join(argv), done.stderr.strip()))


def attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


def attributes(data):
    out, at = {}, 0
    while at + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, at)
        if size < 4:
            break
        out[kind & 0x3FFF] = data[at + 4:at + size]
        at += (size + 3) & ~3
    return out


class Netlink:
    """a socket to nfnetlink: requests one at a time"""
    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        self.socket.bind((0, 0))
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)      # SO_RCVBUFFORCE

    def send(self, kind, family, group, payload):
        body = struct.pack("!BBH", family, 0, group) + payload
        self.socket.send(struct.pack("=IHHII", 16 + len(body), kind, 5, 1, 0) + body)

    def messages(self, flags=0):
        data, at = self.socket.recv(1 << 20, flags), 0
        while at + 16 <= len(data):
            size, kind = struct.unpack_from("=IH", data, at)
            yield kind, data[at + 16:at + size]
            at += (size + 3) & ~3

    def ask(self, kind, family, group, payload, allowed=()):
        """the answer's attributes, or None"""
        self.send(kind, family, group, payload)
        found = None
        while True:
            for kind, body in self.messages():
                if kind != 2:
                    found = attributes(body[4:])
                    continue
                error = -struct.unpack_from("=i", body)[0]
                if error and error not in allowed:
                    raise OSError(error, os.strerror(error))
                return found


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


FLAG = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16, "U": 32, "E": 64, "C": 128}


def packet(direction, port, flags, seq, ack, window, length=0, options=b""):
    """an IPv4 packet; direction 0 is from the client; flags as tcpdump writes them, `.` is ACK, `-` none"""
    ends = [(CLIENT, port), (SERVER, 80)]
    (src, sport), (dst, dport) = ends if direction == 0 else ends[::-1]
    bits = sum(FLAG[c] for c in flags if c != "-")
    tcp = struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, (20 + len(options)) << 2, bits,
                      window, 0, 0) + options
    addresses = socket.inet_aton(src) + socket.inet_aton(dst)
    total = len(tcp) + length
    check = checksum(addresses + struct.pack("!HH", 6, total) + tcp)        # the payload is all zeros
    tcp = tcp[:16] + struct.pack("!H", check) + tcp[18:] + b"\0" * length
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + total, 0, 0x4000, 64, 6, 0) + addresses
    return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + tcp


class Rig:
    def __init__(self):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(0x40000000):                                        # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "unshare: root is needed")
        write("net/ipv6/conf/default/disable_ipv6", 1)
        run(["ip", "-batch", "-"], SETUP)
        write("net/ipv4/ip_forward", 1)
        for device in ("all", "r0"):
            write("net/ipv4/conf/%s/rp_filter" % device, 0)
        self.log, self.table = Netlink(), Netlink()
        for group in (0, 1):
            for kind, value in ((1, b"\1"), (2, struct.pack("!IBx", 0, 1)), (5, struct.pack("!I", 1))):
                self.log.ask(0x401, 0, group, attribute(kind, value))       # bind, meta data only, no batching
        run(["nft", "-f", "-"], RULES)
        write("net/netfilter/nf_log/2", "nfnetlink_log")
        write("net/netfilter/nf_conntrack_log_invalid", 255)
        write("net/netfilter/nf_conntrack_acct", 1)
        self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.wire.bind(("w0", 0))
        self.known = {}

    def tune(self, **values):
        """tcp_* sysctls, by the names in TIMEOUTS (with timeout_) and SWITCHES"""
        for name, value in values.items():
            if self.known.get(name) != value:
                self.known[name] = value
                write("net/netfilter/nf_conntrack_tcp_" + name, value)

    def inject(self, data):
        """verdict/direction, and the kernel's words if it had any"""
        self.wire.send(bytes.fromhex("0200000000100200000000110800") + data)
        verdict, words = "", []
        while not verdict:
            for kind, body in self.log.messages():
                if kind != 0x400:
                    continue
                prefix = attributes(body[4:]).get(10, b"").rstrip(b"\0").decode()
                if struct.unpack_from("!H", body, 2)[0] == 1:
                    verdict = prefix
                else:
                    words.append(prefix.replace("nf_ct_proto_6:", "").strip())
        return verdict, "; ".join(words)

    def entry(self, port):
        """the flow's entry from either end, as text, or `gone`"""
        for direction in (0, 1):
            ends = [(CLIENT, port), (SERVER, 80)]
            (src, sport), (dst, dport) = ends if direction == 0 else ends[::-1]
            original = attribute(0x8001, attribute(1, socket.inet_aton(src)) + attribute(2, socket.inet_aton(dst))) \
                + attribute(0x8002, attribute(1, b"\6") + attribute(2, struct.pack("!H", sport))
                            + attribute(3, struct.pack("!H", dport)))
            found = self.table.ask(0x101, 2, 0, attribute(0x8001, original), (errno.ENOENT,))
            if found is None:
                return "gone"
            if attributes(attributes(found[1])[2])[2] == struct.pack("!H", sport):
                break                                                       # it is the original direction
        tcp = attributes(attributes(found[4])[1])
        number = lambda data: int.from_bytes(data, "big")
        counts = [attributes(found[k]) for k in (9, 10)]
        return "%s %s %d status=0x%x wscale=%d/%d flags=0x%02x/0x%02x packets=%d/%d" % (
            "><"[direction], STATES[tcp[1][0]], number(found[7]), number(found[3]), tcp[2][0], tcp[3][0], tcp[4][0],
            tcp[5][0], number(counts[0][1]), number(counts[1][1]))
