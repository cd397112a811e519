#!/usr/bin/env python3
"""Random scenarios for a recorder of the format of docs/scenarios.md: plausible and implausible packets, by topic.

usage: scenarios.py --seed N --count N --area AREA,... -o DIR   AREA: of AREAS below, or all
       scenarios.py --seed N --area AREA,... --stream           one a line, an area after the other, without end
       scenarios.py --handmade -o DIR                           those of handmade.py

Every scenario is made from (seed, area, number) alone. What is written has no verdicts: play it to a live kernel to record
them (tests/recorded holds some that were). Rules are written twice, as nft text and in the structured form; both come
from one description (`Rules`), so they cannot disagree.
"""
import argparse, itertools, json, os, random, struct, sys
import fragments, handmade, helpers
from associations import Association
from endpoints import Talk
from packets import FLAG, GRE, ICMP, ICMPV6, TCP, UDP, UDPLITE
from packets import address, checksum, icmp, ip, ipv4, ipv6, tcp, udp, udplite

CT = "net.netfilter.nf_conntrack_"
HOSTS = (("10.1.0.1", "10.2.0.1"), ("fd00:1::1", "fd00:2::1"))
ROUTER = (("10.255.1.1", "10.255.2.1"), ("fd00:ff:1::1", "fd00:ff:2::1"))
TCP_STATES = "syn_sent syn_recv established fin_wait close_wait last_ack time_wait close max_retrans unacknowledged".split()


def switches(rng, wild=.35):
    """TCP settings other than the defaults"""
    out = {}
    if rng.random() < wild:
        for name, values, chance in (("tcp_loose", (0,), .4), ("tcp_be_liberal", (1,), .25),
                                     ("tcp_max_retrans", (0, 1, 2, 5), .3),
                                     ("tcp_ignore_invalid_rst", (1,), .3), ("checksum", (0,), .1), ("acct", (0,), .05)):
            if rng.random() < chance:
                out[CT + name] = rng.choice(values)
    if rng.random() < wild:
        for name in TCP_STATES:
            if rng.random() < .4:
                out[CT + "tcp_timeout_" + name] = rng.randint(5, 900)
    if rng.random() < .03:
        out[CT + "timestamp"] = 1
    return out


def scenario(about, steps, config=None, **more):
    return {"about": about, **more, "config": config or {}, "steps": steps}


# ---------------------------------------------------------------- rules
class Rules:
    """rules in the structured form, and the nft text that says the same"""
    HOOK = {"raw": ("prerouting", "raw"), "mangle": ("prerouting", "mangle"), "forward": ("forward", "0")}

    def __init__(self, nat_hooks=()):
        self.rules, self.nat_hooks = [], list(nat_hooks)

    def add(self, at, do, **conditions):
        self.rules.append({"at": at, "if": conditions, "do": do})
        return self

    @staticmethod
    def condition(c):
        out = []
        if "in" in c:
            out.append('iifname "r%d"' % c["in"])
        if "out" in c:
            out.append('oifname "r%d"' % c["out"])
        if "state" in c:
            out.append("ct state " + ",".join(c["state"]).lower())
        if "family" in c and "dscp" not in c and "daddr" not in c:
            out.append("meta nfproto " + {"ip": "ipv4", "ip6": "ipv6"}[c["family"]])
        family = c.get("family", "ip")
        if "dscp" in c:
            out.append("%s dscp %d" % (family, c["dscp"]))
        if "daddr" in c:
            out.append("%s daddr %s" % (family, c["daddr"]))
        if "sport" in c or "dport" in c:
            out += ["%s %s %d" % (c["proto"], k, c[k]) for k in ("sport", "dport") if k in c]
        elif "proto" in c and "tcp_flags" not in c:
            out.append("meta l4proto " + c["proto"])
        if "length_over" in c:
            out.append("meta length > %d" % c["length_over"])
        if "tcp_flags" in c:
            names = {"F": "fin", "S": "syn", "R": "rst", "A": "ack"}
            of, are = ("|".join(names[x] for x in c["tcp_flags"][k]) for k in ("of", "are"))
            out.append("tcp flags & (%s) == %s" % (of, "(%s)" % are if "|" in are else are or "0"))
        return out

    def text(self):
        policies, chains = [], {}
        for rule in self.rules:
            (kind, value), = rule["do"].items()
            number = lambda v: "meta length" if v == "length" else hex(v)
            if kind == "timeout":
                policies.append(" ct timeout t%d { protocol %s; l3proto %s; policy = { %s };\n}\n" % (
                    len(policies), rule["if"]["proto"], rule["if"]["family"],
                    ", ".join("%s: %d" % x for x in value.items())))
            verb = {"notrack": "notrack", "drop": "drop", "zone": "ct zone set %s" % value,
                    "zone_orig": "ct original zone set %s" % value,
                    "mark": kind == "mark" and "ct mark set " + number(value),
                    "mark_or": kind == "mark_or" and "ct mark set ct mark or " + number(value),
                    "timeout": 'ct timeout set "t%d"' % (len(policies) - 1),
                    "reject": "reject" if value == "port-unreachable" else "reject with tcp reset"}[kind]
            chains.setdefault(rule["at"], []).append(" ".join(self.condition(rule["if"]) + [verb]))
        text = "".join(" chain %s { type filter hook %s priority %s; %s\n}\n" % (at, *self.HOOK[at], "; ".join(rules))
                       for at, rules in chains.items())
        out = "table inet user {%s%s}\n" % ("\n" + "".join(policies), text) if self.rules else ""
        if self.nat_hooks:
            out += "table inet usernat {\n" + "".join(" chain %s { type nat hook %s priority %s;\n}\n" % x for x in (
                ("pre", "prerouting", "dstnat"), ("post", "postrouting", "srcnat")) if x[2] in self.nat_hooks) + "}\n"
        return out

    def config(self, **more):
        if not self.rules and not self.nat_hooks:
            return more
        return {**more, "nft": self.text(), "host": {"rules": self.rules, "nat_hooks": self.nat_hooks}}


# ---------------------------------------------------------------- TCP
def talk(rng, **more):
    t = Talk(rng, v6=more.pop("v6", rng.random() < .25), swap=more.pop("swap", rng.random() < .15),
             odd_ip=rng.choice((0, 0, .1)), **more)
    if rng.random() < .02:                              # both behind the same side: the route leads back
        t.hosts = t.hosts[::-1]
    return t


def tcp_body(rng, t, length, weights=None):
    """begins somehow and goes on somehow"""
    begin = rng.choices(("handshake", "part", "crossed", "middle", "closed", "nothing", "refused"), (8, 3, 1, 2, 3, 1, 1))[0]
    if begin == "handshake":
        t.handshake()
    elif begin == "part":
        t.handshake(rng.randint(1, 2))
    elif begin == "crossed":
        t.handshake(rng.randint(1, 3), crossed=True)
    elif begin == "middle":
        for who in (0, 1):
            t.ends[who].next, t.ends[1 - who].heard = t.ends[who].isn, t.ends[who].isn
        t.speak(rng.randint(0, 1), rng.choice((".", "P.", ".", "F.")), rng.choice((0, 0, 100)))
        t.speak(rng.randint(0, 1), rng.choice((".", "P.")), rng.choice((0, 100)))
    elif begin == "closed":
        t.handshake()
        if rng.random() < .5:
            t.converse()
        t.close(rng.randint(0, 1), rng.randint(1, 4))
    elif begin == "refused":
        t.speak(0, "S")
        me = t.ends[0]
        t.segment(1, "R.", 0, me.isn + rng.choice((1, 1, 0, 2)), 0)
    weights = weights or rng.choice(((6, 2, 1, .5, .3), (3, 3, 3, 1, .5), (1, 1, 6, 2, 1), (2, 1, 1, 4, .5), (1, 5, 1, 1, 1),
                                     (1, 1, 1, 1, 4), (10, 1, .3, .1, .1)))
    if begin == "handshake" and rng.random() < .1:
        for e in t.ends:
            e.windows = (65535,) + e.windows
        weights = (3, 2, 3, 1, .2)
        for _ in range(rng.randint(2, 6)):
            t.leap()
    while len(t.steps) < length:
        what = rng.choices((t.converse, t.fault, t.probe, t.reset, t.nonsense), weights)[0]
        what()
        if rng.random() < .03:
            t.close(rng.randint(0, 1), rng.randint(1, 4))
        if rng.random() < .03:
            t.reopen(rng.randint(0, 1), rng.choice((1, 1000, 100000, -1000, -200000, 2**31, rng.getrandbits(32))))


def wild_segments(rng, length):
    """segments without any model of their ends, from few numbers, so that they often meet"""
    t = talk(rng, ports=(1000, 80))
    base = [rng.choice((1000, rng.getrandbits(32), 2**32 - 100, 2**31 - 50)) for _ in "cs"]
    near = [0, 0, 1, 1, 2, 100, 101, 102, -1, rng.randint(1, 3000)] + rng.sample([1000, 65535, 65536, 66000, 66001, -66000,
                                                                                  -66001, 131072, 2**20, 2**31, -2**31 + 1],
                                                                                  3)
    windows = rng.choice(((65535, 1000, 0), (100, 1, 0), (5000,), (65535,), (100, 101, 99)))
    usual = rng.choice(((6, 4, 2, 4, 4, 1, 1), (2, 2, 1, 6, 6, 1, 1), (3, 3, 3, 3, 3, 3, 3), (2, 2, 6, 4, 2, 1, 1),
                        (1, 1, 1, 2, 2, 6, 6)))
    for _ in range(length):
        who = rng.randint(0, 1)
        flags = rng.choices(("S", "S.", "F.", ".", "P.", "R", "R."), usual)[0]
        if rng.random() < .03:
            flags = "".join(c for c in FLAG if rng.random() < .4) or "-"
        seq = base[who] + rng.choice(near)
        ack = base[1 - who] + rng.choice(near) if "." in flags else rng.choice((0, 0, 0, base[1 - who] + 1))
        sizes = (0, 0, 0, 1, 99, 100, 1000) if rng.random() < .7 and flags != "S" else (0, 0, 0, 0, 1, 100)
        size = rng.choice(sizes)
        options = b""
        if "S" in flags and rng.random() < .5:
            options = b"".join(rng.sample((b"\2\4\5\xb4", b"\1\3\3" + bytes([rng.randint(0, 15)]), b"\1\1\4\2",
                                           b"\1\1\x08\x0a" + bytes(8)), rng.randint(1, 3)))
        elif rng.random() < .15:
            options = rng.choice((t.blocks(ack, True), t.blocks(ack, False), b"\1\1\x08\x0a" + bytes(8),
                                  t.blocks(base[1 - who] + rng.choice(near), True)))
        t.segment(who, flags, seq, ack, rng.choice(windows), size, options)
        if rng.random() < .12:
            t.again(*t.sent[-1])
    return t.steps


def retuned(rng, steps, names):
    """some settings change on the way"""
    out = []
    for step in steps:
        if rng.random() < .08:
            name = rng.choice(names)
            value = {"tcp_loose": (0, 1), "tcp_be_liberal": (0, 1), "tcp_max_retrans": (0, 1, 2, 3, 255),
                     "tcp_ignore_invalid_rst": (0, 1),
                     "acct": (0, 1), "checksum": (0, 1)}.get(name)
            out.append({"sysctl": {CT + name: rng.choice(value) if value else rng.randint(5, 900)}})
        out.append(step)
    return out


def make_tcp(rng):
    kind = rng.random()
    if kind < .15:
        steps = wild_segments(rng, rng.randint(6, 30))
    elif kind < .8:
        t = talk(rng)
        tcp_body(rng, t, rng.randint(6, 32))
        steps = t.steps
    elif kind < .9:                                     # several flows, mixed
        talks = [talk(rng, ports=(1000 + i, 80), v6=False, swap=False) for i in range(rng.randint(2, 4))]
        for t in talks:
            tcp_body(rng, t, rng.randint(4, 12))
        queues, steps = [list(t.steps) for t in talks], []
        while any(queues):
            steps.append(rng.choice([q for q in queues if q]).pop(0))
    else:                                               # the same ports from either side
        t = talk(rng, ports=(80, 80))
        tcp_body(rng, t, rng.randint(6, 20))
        u = talk(rng, ports=(80, 80), v6=t.v6, swap=not t.swap)
        tcp_body(rng, u, rng.randint(2, 10))
        steps = t.steps + u.steps
    if rng.random() < .2:
        steps = retuned(rng, steps, ["tcp_loose", "tcp_be_liberal", "tcp_max_retrans", "tcp_ignore_invalid_rst", "acct",
                                     "checksum"]
                        + ["tcp_timeout_" + s for s in TCP_STATES])
    return scenario("two ends, a bad wire", steps, {"sysctl": s} if (s := switches(rng)) else None)


# ---------------------------------------------------------------- UDP, UDP-Lite
def make_udp(rng):
    steps, udp_sysctl = [], {}
    if rng.random() < .25:
        udp_sysctl = {CT + "udp_timeout": rng.randint(3, 200), CT + "udp_timeout_stream": rng.randint(3, 400)}
    if rng.random() < .15:
        udp_sysctl[CT + "checksum"] = 0
    if rng.random() < .05:
        udp_sysctl[CT + "acct"] = 0
    for _ in range(rng.randint(5, 22)):
        v6 = rng.random() < .3
        side = rng.choice((0, 0, 1))
        src, dst = HOSTS[v6][side], HOSTS[v6][1 - side]
        a, b = rng.choice(((5000, 53), (5000, 53), (5001, 53), (53, 53), (0, 0), (0, 53), (5000, 0), (65535, 65535),
                           (123, 123)))
        if side:
            a, b = b, a
        data = bytes(rng.getrandbits(8) for _ in range(rng.choice((0, 1, 1, 2, 33, 512, 1400))))
        more, ipmore, pad = {}, {}, b""
        what = rng.random()
        if what < .06:
            more["check"] = rng.choice((0, 0, 0x1234, 0xffff))
        elif what < .14:
            more["length"] = rng.choice((0, 7, 8, 9, 8 + len(data) - 1, 8 + len(data) + 1, 65535, 1))
        elif what < .18:
            pad = bytes(rng.randint(1, 20))
        elif what < .22:
            ipmore = rng.choice(({"tclass": 3}, {"hops": 255}, {"hops": 2}) if v6 else ({"options": b"\1\1\1\0"}, {"tos": 3},
                                                                                        {"fragment": 0},
                                                                                        {"options": b"\x94\4\0\0"}))
        body = udp(src, dst, a, b, data, **more)
        if rng.random() < .06:
            body = body[:rng.randint(0, 7)]
        steps.append({"in": side, "packet": (ip(src, dst, UDP, body, **ipmore) + pad).hex()})
        if rng.random() < .12:
            steps.append(dict(rng.choice([s for s in steps if "packet" in s])))
        if rng.random() < .04:
            steps.append({"sysctl": {CT + rng.choice(("udp_timeout", "udp_timeout_stream")): rng.randint(3, 200)}})
    return scenario("datagrams either way", steps, {"sysctl": udp_sysctl} if udp_sysctl else None)


def make_udplite(rng):
    steps = []
    for _ in range(rng.randint(5, 18)):
        v6 = rng.random() < .3
        side = rng.choice((0, 0, 1))
        src, dst = HOSTS[v6][side], HOSTS[v6][1 - side]
        a, b = (5000, 53) if rng.random() < .7 else (0, 0)
        if side:
            a, b = b, a
        data = bytes(rng.getrandbits(8) for _ in range(rng.choice((0, 1, 4, 33, 100))))
        size = 8 + len(data)
        more = {"proto": rng.choice((17, 17, 17, 136)), "coverage": rng.choice((0, 0, 8, 8, 9, size, size - 1, size + 1, 7,
                                                                                1, 65535))}
        if rng.random() < .1:
            more["check"] = rng.choice((0, 0x1234))
        body = udplite(src, dst, a, b, data, **more)
        if rng.random() < .06:
            body = body[:rng.randint(0, 7)]
        pad = bytes(rng.randint(1, 9)) if rng.random() < .06 else b""
        steps.append({"in": side, "packet": (ip(src, dst, UDPLITE, body) + pad).hex()})
    config = {}
    if rng.random() < .3:
        config = {"sysctl": {CT + "checksum": 0}}
    return scenario("UDP-Lite: coverage and checksums", steps, config)


# ---------------------------------------------------------------- SCTP
SCTP_STATES = "closed cookie_wait cookie_echoed established shutdown_sent shutdown_recd shutdown_ack_sent heartbeat_sent".split()


def sctp_body(rng, a, length):
    """begins somehow and goes on somehow"""
    begin = rng.choices(("handshake", "part", "crossed", "heartbeat", "nothing", "closed"), (8, 3, 3, 2, 1, 3))[0]
    if begin == "handshake":
        a.handshake()
    elif begin == "part":
        a.handshake(rng.randint(1, 3))
    elif begin == "crossed":
        a.crossed(rng.randint(2, 8))
    elif begin == "heartbeat":
        a.heartbeat()
    elif begin == "closed":
        a.handshake()
        a.shutdown(rng.randint(1, 3))
    weights = rng.choice(((6, 2, 1, 1, 1, 1, 2, .5), (2, 2, 1, 1, 1, 1, 6, 1), (2, 1, 4, 1, 1, 1, 1, .2), (2, 2, 1, 4, 1, 1, 2, .2),
                          (1, 1, 1, 1, 4, 1, 1, .2), (2, 1, 1, 1, 1, 1, 2, 5)))
    while len(a.steps) < length:
        rng.choices((a.converse, a.heartbeat, a.restart, a.moved, a.shutdown, a.again, a.fault, a.nonsense), weights)[0]()
        if rng.random() < .05:
            a.handshake(rng.randint(1, 4), rng.randint(0, 1))


def make_sctp(rng):
    sysctl = {CT + "sctp_timeout_" + name: rng.randint(5, 900) for name in SCTP_STATES if rng.random() < .1}
    if rng.random() < .1:
        sysctl[CT + "checksum"] = 0
    if rng.random() < .03:
        sysctl[CT + "acct"] = 0
    a = Association(rng, v6=rng.random() < .3, swap=rng.random() < .15)
    sctp_body(rng, a, rng.randint(6, 32))
    steps = a.steps
    if rng.random() < .2:                               # another path of the same association
        b = Association(rng, v6=a.v6, swap=a.swap, ports=a.ports, path=1)
        b.tags = list(a.tags)
        b.heartbeat()
        sctp_body(rng, b, rng.randint(2, 12))
        queues, steps = [list(a.steps), list(b.steps)], []
        while any(queues):
            steps.append(rng.choice([q for q in queues if q]).pop(0))
    if rng.random() < .2:
        steps = retuned(rng, steps, ["acct", "checksum"] + ["sctp_timeout_" + s for s in SCTP_STATES])
    return scenario("two SCTP ends, a bad wire", steps, {"sysctl": sysctl} if sysctl else None)


# ---------------------------------------------------------------- ICMP, ICMPv6
V6_EXTENSIONS = {
    0: lambda r: b"\0" + b"\1\4" + bytes(4), 60: lambda r: b"\0" + b"\1\4" + bytes(4),
    43: lambda r: b"\0" + bytes([r.choice((0, 2, 4))]) + b"\0" + bytes(4), 51: lambda r: b"\4" + bytes(2) + bytes(20),
    44: lambda r: b"\0" + struct.pack("!HI", r.choice((0, 0, 1, 8, 9)), 77),
}


def inner_packet(rng, v6, src, dst, proto, ports, kind=None):
    """a packet as an ICMP error may quote it"""
    data = bytes(rng.choice((0, 1, 20, 100)))
    if proto == TCP:
        body = tcp(src, dst, *ports, rng.choice(("S", ".", "P.")), 1000, 0, 100, data)
    elif proto == UDP:
        body = udp(src, dst, *ports, data)
    elif proto == UDPLITE:
        body = udplite(src, dst, *ports, data, proto=17)
    elif proto in (ICMP, ICMPV6):
        kind = kind if kind is not None else (128 if v6 else 8)
        body = icmp(src, dst, kind, 0, struct.pack("!HH", ports[0], 1), data)
    elif proto == GRE:
        body = rng.choice((struct.pack("!HH", 0, 0x800), struct.pack("!HH", 0, 0x800), struct.pack("!HHHH", 0x3001, 0x880b,
                                                                                                   0, 7),
                                                                                                   struct.pack("!HHHH",
                                                                                                               0x3001, 0x800,
                                                                                                               0, 7))) + data
    elif proto == 132:
        body = struct.pack("!HHII", *ports, 1, 0) + data
    else:
        body = data
    more = {}
    if rng.random() < .12:
        if v6:
            more["extensions"] = [(n, V6_EXTENSIONS[n](rng)) for n in rng.choices((0, 60, 43, 51, 44), k=rng.randint(1, 2))]
        else:
            more = rng.choice(({"fragment": 0x2000}, {"fragment": 0x2000}, {"fragment": 1}, {"fragment": 0x2005},
                               {"options": b"\1\1\1\1"},
                               {"ihl": 4}, {"ihl": 15}, {"total": 5000}, {"total": 0}, {"check": 0}, {"ttl": 0}))
    return ip(src, dst, proto, body, **more)


def icmp_error(rng, v6, src, dst, quoted, kind=None, code=None, check=None, **more):
    kind = rng.choice((1, 1, 2, 3, 4) if v6 else (3, 3, 3, 11, 12, 4, 5)) if kind is None else kind
    code = rng.choice((0, 1, 3, 3, 4, 13)) if code is None else code
    rest = bytes(4) if rng.random() < .8 else struct.pack("!I", rng.getrandbits(32))
    if v6 and kind == 137:
        option = b"\4" + bytes([1 + (len(quoted) + 7) // 8]) + bytes(6) + quoted
        data = address(dst) + address(dst) + option
    else:
        data = quoted
    return ip(src, dst, ICMPV6 if v6 else ICMP, icmp(src, dst, kind, code, rest, data, check), **more)


FLOW_PROTOS = (TCP, UDP, UDPLITE, ICMP, GRE, 132, 99)


def make_icmp_family(rng, v6):
    hosts, own = HOSTS[v6], ICMPV6 if v6 else ICMP
    others = ("10.1.0.77", "10.2.0.77") if not v6 else ("fd00:1::77", "fd00:2::77")
    routers = ("10.1.0.254", "10.9.9.9") if not v6 else ("fd00:1::fe", "fd00:9::9")
    request, answer = (128, 129) if v6 else (8, 0)
    steps = []

    def put(side, packet, note=None):
        steps.append({"in": side, "packet": packet.hex(), **({"note": note} if note else {})})

    def open_flow(proto, ports, replied):
        for side in (0, 1) if replied else (0,):
            src, dst = hosts[side], hosts[1 - side]
            p = ports if side == 0 else ports[::-1]
            if proto == TCP:
                body = tcp(src, dst, *p, "S" if side == 0 else "S.", 1000, 1001 * side, 1000)
            elif proto == ICMP:
                body = icmp(src, dst, answer if side else request, 0, struct.pack("!HH", ports[0], 1), b"ping")
            elif proto == UDPLITE:
                body = udplite(src, dst, *p, b"x", proto=17)
            elif proto == GRE:
                body = rng.choice((struct.pack("!HH", 0, 0x800) + b"x", struct.pack("!HHHH", 0x3001, 0x880b, 0, 7)))
            elif proto == 132:
                body = struct.pack("!HHII", *p, 0, 0) + b"\1\0\0\x14" + struct.pack("!IIHHI", 5, 1000, 1, 1, 7)
            else:
                body = udp(src, dst, *p, b"x") if proto == UDP else b"x"
            put(side, ip(src, dst, own if proto == ICMP else proto, body))

    protos = [p for p in FLOW_PROTOS if p != 132]
    flows = []
    for _ in range(rng.randint(0, 3)):
        flow = (rng.choice(protos), (rng.randint(1, 65535), rng.choice((53, 80))))
        flows.append(flow)
        open_flow(*flow, rng.random() < .5)
    for _ in range(rng.randint(5, 16)):
        what = rng.random()
        if what < .22:                                  # a query, an answer, any type
            side = rng.randint(0, 1)
            kind = rng.choice((request, request, answer, answer, *((139, 140) if v6 else (13, 14, 15, 16, 17, 18)),
                               rng.randint(0, 20), rng.randint(0, 255), *((rng.randint(127, 160),) if v6 else ())))
            more = {"check": 5} if rng.random() < .06 else {}
            body = icmp(hosts[side], hosts[1 - side], kind, rng.choice((0, 0, 0, 1, 5)),
                        struct.pack("!HH", rng.choice((1, 1, 2, 0)), rng.randint(0, 3)),
                        bytes(rng.choice((0, 4, 12, 56))), **more)
            if rng.random() < .06:
                body = body[:rng.randint(0, 7)]
            put(side, ip(hosts[side], hosts[1 - side], own, body))
            continue
        if v6 and what < .34:                           # discovery and redirects
            kind = rng.choice((133, 134, 135, 136, 137, 137, 130, 131, 132, 143, 138, 148, 149, 151, 152, 153))
            if kind in (130, 131, 132, 143) and rng.random() < .5:     # as hosts send it: behind a router alert
                group = rng.choice(("ff02::1", "ff02::16", "ff02::2", "ff02::1:ff00:1", "ff05::1:3"))
                rest, body = (b"\0\0\0\1", b"\4\0\0\0" + address("ff02::1:3")) if kind == 143 else (bytes(4), bytes(16))
                put(1, ipv6("fe80::1", group, ICMPV6, icmp("fe80::1", group, kind, 0, rest, body), hops=1,
                            extensions=[(0, b"\0" + b"\5\2\0\0\1\0")]))
                continue
            link = "fe80::1" if rng.random() < .4 else hosts[1]
            dst = rng.choice((hosts[0], hosts[0], "ff02::1")) if kind != 137 else hosts[0]
            flow = rng.choice(flows) if flows else (UDP, (1, 2))
            quoted = inner_packet(rng, True, hosts[0], hosts[1], own if flow[0] == ICMP else flow[0], flow[1])
            hops = rng.choice((255, 255, 64))
            if kind == 137:
                put(1, icmp_error(rng, True, link, dst, quoted[:rng.choice((0, 40, 44, 48, 2000))], 137,
                                  rng.choice((0, 0, 0, 1)), rng.choice((None, None, None, 3)), hops=hops))
            else:
                put(1, ip(link, dst, ICMPV6, icmp(link, dst, kind, 0, bytes(4), bytes(rng.choice((0, 4, 16, 20))),
                                                  rng.choice((None, None, None, 3))), hops=hops))
            continue
        if flows and rng.random() < .85:
            proto, ports = rng.choice(flows)
        else:
            proto, ports = rng.choice(protos + [132]), (rng.randint(1, 65535), 53)
        number = own if proto == ICMP else proto
        back = rng.random() < .3                        # quotes a reply
        side = 0 if back else 1                         # where the error comes from
        src, dst = (hosts[1], hosts[0]) if back else hosts
        quoted = inner_packet(rng, v6, src, dst, number, ports[::-1] if back and proto != ICMP else ports,
                              kind=answer if back else rng.choice((request, request, request, answer)))
        outer_src, outer_dst = rng.choice((dst, dst, routers[side])), src
        wrong = rng.random()
        more = {}
        if wrong < .06:
            side = 1 - side
        elif wrong < .10:
            outer_dst = others[1 - side]
        elif wrong < .28:
            quoted = quoted[:rng.choice((0, 10, 19, 20, 21, 23, 24, 27, 28, 39, 40, 41, 43, 44, 47, 48))]
        elif wrong < .33:
            more["check"] = 9
        elif wrong < .40:                               # an error about an error
            quoted = icmp_error(rng, v6, src, dst, quoted)
            outer_src, outer_dst = dst, src
        elif wrong < .43:
            quoted = bytes([quoted[0] ^ 0x20]) + quoted[1:] if quoted else quoted
        elif wrong < .46:                               # of the other family, quoted whole
            quoted = inner_packet(rng, not v6, *HOSTS[not v6], UDP, ports)
        if v6 and rng.random() < .05:
            more["extensions"] = [(60, V6_EXTENSIONS[60](rng))]
        kind = None
        if rng.random() < .1:
            kind = rng.choice((0, 5, 100, 101, 126, 127) if v6 else (3, 4, 5, 11, 12))
        put(side, icmp_error(rng, v6, outer_src, outer_dst, quoted, kind=kind, **more))
        if flows and rng.random() < .1:                 # the flow goes on
            open_flow(*rng.choice(flows), rng.random() < .5)
    config = {}
    if rng.random() < .1:
        config = {"sysctl": {CT + "checksum": 0}}
    elif rng.random() < .1:
        config = {"sysctl": {CT + ("icmpv6_timeout" if v6 else "icmp_timeout"): rng.randint(3, 300)}}
    return scenario("queries, and errors about flows", steps, config)


def make_icmp(rng):
    return make_icmp_family(rng, False)


def make_icmpv6(rng):
    return make_icmp_family(rng, True)


IP_OPTIONS = (b"\1\1\1\1", b"\1\1\1\0", b"\x94\4\0\0", b"\x94\4\0\1", b"\7\7\4" + bytes(4) + b"\0",
              b"\7\x0b\4" + bytes(8) + b"\0", b"\7\7\x08" + bytes(4) + b"\0", b"\7\7\5" + bytes(5),
              b"\x82\x0b" + bytes(9) + b"\0", b"\x88\4\0\1", b"\xc8\4ab",
              b"\xc8\1ab", b"\xc8\x0cab", b"\x94\3\0\0", b"\0\0\0\0", b"\1\0\xc8\xff", b"\x83\7\4\x0a\2\0\5\0",
              b"\x89\7\4\x0a\2\0\5\0", b"\x83\7\x08\x0a\2\0\5\0")


def make_options(rng):
    """IPv4 options, known, unknown and broken"""
    steps = []
    for _ in range(rng.randint(4, 10)):
        side = rng.choice((0, 0, 1))
        src, dst = HOSTS[0][side], HOSTS[0][1 - side]
        a, b = ((5, 6), (6, 5))[side]
        proto, body = rng.choice(((UDP, udp(src, dst, a, b, bytes(20))), (TCP, tcp(src, dst, a, b, "S", 1, 0, 100)),
                                  (99, bytes(20)),
                                  (ICMP, icmp(src, dst, 8, 0, b"\0\1\0\1", b"ping"))))
        steps.append({"in": side, "packet": ipv4(src, dst, proto, body,
                                                 options=b"".join(rng.sample(IP_OPTIONS, rng.choice((1, 1, 1, 2)))),
                                                 **rng.choice(({}, {}, {}, {"ttl": 1}))).hex()})
    return scenario("IPv4 options", steps)


# ---------------------------------------------------------------- other
def gre_packet(rng, call=None):
    """GRE with any flags: RFC 2784, 2890, 2637"""
    version = rng.choice((0, 0, 1, 1, rng.randint(0, 7)))
    bits = rng.choice((0, 0x2000, 0x8000, 0x1000, 0xb000, 0x3000, rng.getrandbits(13) << 3))
    proto = rng.choice((0x880b, 0x880b, 0x800)) if version == 1 else rng.choice((0x800, 0x86dd, 0x6558, 0x880b, 0))
    if version == 1:
        bits = rng.choice((0x2000, 0x3000, 0x2080, 0x3080, 0x3081 & 0xfff8, rng.getrandbits(13) << 3))
    rest = struct.pack("!HH", rng.choice((0, 4, 100)), rng.choice((7, 9, 0, 65535)) if call is None else call)
    body = struct.pack("!HH", bits & 0xfff8 | version, proto) + rest + bytes(rng.choice((0, 4, 8, 30)))
    return body[:rng.randint(0, 9)] if rng.random() < .12 else body


def make_gre(rng):
    steps = []
    v6 = rng.random() < .3
    hosts = HOSTS[v6]
    for _ in range(rng.randint(4, 16)):
        side = rng.choice((0, 0, 1))
        body = rng.choice((gre_packet(rng), struct.pack("!HH", 0, 0x800) + b"x", struct.pack("!HHHH", 0x2001, 0x880b, 0, 7)))
        steps.append({"in": side, "packet": ip(hosts[side], hosts[1 - side], GRE, body).hex()})
    return scenario("GRE of every version", steps, {"sysctl": {CT + "gre_timeout": rng.randint(3, 99),
                                                               CT + "gre_timeout_stream": rng.randint(3, 999)}}
                    if rng.random() < .2 else None)


def make_generic(rng):
    """protocols without a tracker"""
    steps, protos = [], rng.sample([2, 4, 33, 41, 46, 50, 51, 89, 94, 97, 99, 103, 108, 112, 115, 137, 253, 254, 255, 3, 0,
                                    61], 3)
    for _ in range(rng.randint(4, 14)):
        v6 = rng.random() < .3
        side = rng.choice((0, 0, 1))
        src, dst = HOSTS[v6][side], HOSTS[v6][1 - side]
        if rng.random() < .15:
            dst = dst[:-1] + "9"
        proto = rng.choice(protos)
        if v6 and proto in (0, 51, 61):
            proto = 253
        steps.append({"in": side, "packet": ip(src, dst, proto, bytes(rng.choice((0, 1, 4, 8, 20, 60)))).hex()})
    return scenario("protocols without a tracker", steps,
                    {"sysctl": {CT + "generic_timeout": rng.randint(3, 900)}} if rng.random() < .2 else None)


def make_extensions(rng):
    """IPv6 extension headers in every order, whole and cut"""
    steps = []
    for _ in range(rng.randint(4, 14)):
        side = rng.choice((0, 0, 1))
        src, dst = HOSTS[1][side], HOSTS[1][1 - side]
        chain = []
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4, 7))):
            n = rng.choice((60, 60, 43, 51, 60, 60, 135, 139, 140, 60))
            rest = b"\0" + b"\1\4" + bytes(4)
            if n == 60 and rng.random() < .3:
                rest = b"\1" + b"\1\x0c" + bytes(12)
            if n == 43:
                rest = b"\0" + bytes([rng.choice((0, 2, 4, 9)), rng.choice((0, 0, 0, 1))]) + bytes(4)
            if n == 51:
                rest = rng.choice((b"\4" + bytes(22), b"\1" + bytes(10), b"\2" + bytes(14), b"\0" + bytes(6)))
            if n in (135, 139, 140):
                rest = b"\0" + bytes(6)
            if rng.random() < .06:
                rest = bytes([rng.choice((1, 5, 31, 255))]) + rest[1:]
            chain.append((n, rest))
        if rng.random() < .35:
            chain.insert(0, (0, rng.choice((b"\0" + b"\1\4" + bytes(4), b"\0" + b"\5\2\0\0\1\0"))))
        a, b = ((5, 6), (6, 5))[side]
        proto, body = rng.choice(((UDP, udp(src, dst, a, b, b"x")), (UDP, udp(src, dst, a, b, b"x")),
                                  (TCP, tcp(src, dst, a, b, "S", 1, 0, 100)), (59, b"xyz"),
                                  (ICMPV6, icmp(src, dst, 128, 0, b"\0\1\0\1", b"ping")), (50, bytes(12)),
                                  (GRE, b"\0\0\x86\xddx"), (ICMP, icmp("10.1.0.1", "10.2.0.1", 8, 0, bytes(4)))))
        packet = ipv6(src, dst, proto, body, extensions=chain)
        if rng.random() < .15:                          # cut, and the length adapted
            cut = rng.randint(0, len(packet) - 41)
            packet = packet[:4] + struct.pack("!H", cut) + packet[6:40 + cut]
        steps.append({"in": side, "packet": packet.hex()})
    return scenario("extension headers", steps)


def make_lengths(rng):
    """IP headers and lengths that are odd"""
    steps = []
    for _ in range(rng.randint(4, 12)):
        v6 = rng.random() < .4
        side = 0 if rng.random() < .7 else 1
        src, dst = HOSTS[v6][side], HOSTS[v6][1 - side]
        a, b = ((5, 6), (6, 5))[side]
        proto, body = rng.choice(((UDP, udp(src, dst, a, b, bytes(20))),
                                  (TCP, tcp(src, dst, a, b, "S", 1, 0, 100, bytes(20))), (99, bytes(20))))
        size = len(body)
        if v6:
            more = rng.choice(({"length": size - 1}, {"length": size + 1}, {"length": 0}, {"length": 4}, {"length": 8},
                               {"length": 65535}, {"length": size - 20}, {}))
        else:
            more = rng.choice(({"total": 20 + size - 1}, {"total": 20 + size + 1}, {"total": 0}, {"total": 19},
                               {"total": 20}, {"total": 24}, {"total": 28}, {"ihl": 4}, {"ihl": 6},
                               {"ihl": 15}, {"check": 0x1111}, {"fragment": 0x8000}, {"fragment": 0xc000}, {"total": 65535},
                               {}, {"total": size}))
        packet = ip(src, dst, proto, body, **more)
        pad = rng.choice((0, 0, 1, 6, 46))
        packet += bytes(pad)
        if rng.random() < .08:
            packet = bytes([packet[0] & 15 | rng.choice((0, 5, 7, 15)) << 4]) + packet[1:]
        if rng.random() < .1:
            packet = packet[:rng.randint(1, 45)]
        steps.append({"in": side, "packet": packet.hex()})
    return scenario("lengths, versions, padding", steps)


def make_itself(rng):
    """packets from an address to itself, and between the two where both tuples of a flow are nearly one"""
    steps = []
    for _ in range(rng.randint(4, 12)):
        v6 = rng.random() < .4
        side = rng.randint(0, 1)
        src = HOSTS[v6][side]
        dst = src if rng.random() < .8 else HOSTS[v6][1 - side]
        a, b = rng.choice(((7, 7), (7, 7), (7, 8), (8, 7)))
        proto = rng.choice((UDP, UDP, TCP, TCP, ICMP, GRE, 99, UDPLITE, "error"))
        if proto == TCP:
            body = tcp(src, dst, a, b, rng.choice(("S", "S", "S.", ".", "R", "F.")), rng.choice((1000, 1001)),
                       rng.choice((0, 1001)), 100)
        elif proto == ICMP:
            kind = rng.choice((128, 129) if v6 else (8, 0))
            proto, body = ICMPV6 if v6 else ICMP, icmp(src, dst, kind, 0, b"\0\1\0\1", b"ping")
        elif proto == "error":
            quoted = ip(src, dst, UDP, udp(src, dst, a, b, b"x"))
            proto, body = ICMPV6 if v6 else ICMP, icmp(dst, src, 1 if v6 else 3, 3, bytes(4), quoted)
            src, dst = dst, src
        else:
            body = {UDP: udp(src, dst, a, b, b"x"), UDPLITE: udplite(src, dst, a, b, b"x", proto=17), GRE: b"\0\0\x08\0x",
                    99: b"x"}[proto]
        steps.append({"in": side, "packet": ip(src, dst, proto, body).hex()})
    return scenario("an address and itself", steps)


def make_other(rng):
    return rng.choices((make_gre, make_generic, make_extensions, make_lengths, make_options, make_itself),
                       (4, 2, 4, 3, 1, 2))[0](rng)


# ---------------------------------------------------------------- expiry
def make_expiry(rng):
    """Short timeouts and waits. Time advances in units of half a second with 250 ms between, so that no wait ends near the
    edge of a timeout, which is in whole seconds."""
    what = rng.choice(("tcp", "tcp", "tcp", "udp", "udp", "icmp", "gre", "sctp", "sctp", "mixed"))
    sysctl, steps, elapsed = {}, [], 0
    short = lambda: rng.choice((1, 1, 2, 2, 3))
    packets = []
    v6 = rng.random() < .25
    if what in ("tcp", "mixed"):
        t = Talk(rng, v6=v6, ports=(1000, 80))
        tcp_body(rng, t, rng.randint(4, 14), (4, 2, 1, .6, .2))
        packets += t.steps
        for name in TCP_STATES:
            if rng.random() < .6:
                sysctl[CT + "tcp_timeout_" + name] = short()
        sysctl.update({k: v for k, v in switches(rng, .2).items() if "timeout" not in k})
    hosts = HOSTS[v6]
    if what in ("udp", "mixed"):
        sysctl[CT + "udp_timeout"], sysctl[CT + "udp_timeout_stream"] = short(), rng.choice((1, 2, 3, 60))
        for _ in range(rng.randint(4, 10)):
            side = rng.choice((0, 0, 1))
            a, b = ((5000, 53), (53, 5000))[side]
            packets.append({"in": side, "packet": ip(hosts[side], hosts[1 - side], UDP, udp(hosts[side], hosts[1 - side], a,
                                                                                            b, b"x")).hex()})
    if what in ("icmp", "mixed"):
        sysctl[CT + ("icmpv6_timeout" if v6 else "icmp_timeout")] = short()
        for _ in range(rng.randint(3, 8)):
            side = rng.choice((0, 0, 1))
            kind = (129 if side else 128) if v6 else (0 if side else 8)
            body = icmp(hosts[side], hosts[1 - side], kind, 0, b"\0\1\0\1", b"ping")
            packets.append({"in": side, "packet": ip(hosts[side], hosts[1 - side], ICMPV6 if v6 else ICMP, body).hex()})
    if what in ("gre", "mixed"):
        sysctl[CT + "gre_timeout"], sysctl[CT + "gre_timeout_stream"] = short(), short()
        sysctl[CT + "generic_timeout"] = short()
        for _ in range(rng.randint(3, 8)):
            side = rng.choice((0, 0, 1))
            proto = rng.choice((GRE, GRE, 99))
            packets.append({"in": side, "packet": ip(hosts[side], hosts[1 - side], proto,
                                                     struct.pack("!HH", 0, 0x800) + b"x").hex()})
    if what in ("sctp", "mixed"):
        a = Association(rng, v6=v6, ports=(3000, 38412))
        sctp_body(rng, a, rng.randint(4, 14))
        packets += a.steps
        sysctl.update({CT + "sctp_timeout_" + name: short() for name in SCTP_STATES if rng.random() < .6})
    if what == "mixed":
        rng.shuffle(packets)
        packets = packets[:24]
    # A wait is 250, 500 (a phase later) or whole seconds on top; the sum of phases never comes back to a whole second.
    # Waits are whole seconds plus 300 ms once: every packet is then sent at 0 or .3 of a second after the start, and
    # all differences are 0, .3 or .7 away from a whole second.
    chance = rng.choice((.15, .3, .5))
    phase = 0
    for packet in packets:
        if rng.random() < chance and elapsed < 4000:
            want = rng.choice((0, 300, 500))            # phase after the wait
            wait = (want - phase) % 1000 + rng.choice((0, 0, 1000, 1000, 2000))
            wait = wait or 1300
            if wait % 1000 == 0:
                wait += 300
            phase = (phase + wait) % 1000
            if elapsed + wait <= 4800:
                elapsed += wait
                steps.append({"wait_ms": wait})
        if rng.random() < .03:
            name = rng.choice([k for k in sysctl if "timeout" in k] or [CT + "udp_timeout"])
            steps.append({"sysctl": {name: rng.choice((1, 2, 3, 50))}})
        steps.append(packet)
    steps.append({"wait_ms": 1300})
    return safe(scenario("short timeouts", steps, {"sysctl": sysctl}))


def safe(s):
    """every two moments of a timed scenario differ by a time that is at least 200 ms away from a whole second (or they are
    the same moment): moves waits until that holds"""
    moments, now = [0], 0
    for step in s["steps"]:
        if "wait_ms" in step:
            wait = step["wait_ms"]
            while any(min((now + wait - m) % 1000, -(now + wait - m) % 1000) < 200 for m in moments if m != now + wait):
                wait += 50
                if wait - step["wait_ms"] >= 1000:
                    wait = None
                    break
            if wait is None:                            # nowhere left: a whole number of seconds would be at an edge
                step["wait_ms"] = 0
                continue
            step["wait_ms"] = wait
            now += wait
            moments.append(now)
    s["steps"] = [x for x in s["steps"] if x.get("wait_ms", 1)]
    return s


# ---------------------------------------------------------------- policy
def any_packets(rng, length, v6=None):
    """a mix of flows that rules can tell apart"""
    steps = []
    queues = []
    for _ in range(rng.randint(2, 4)):
        six = rng.random() < .25 if v6 is None else v6
        what = rng.choice(("tcp", "tcp", "udp", "udp", "icmp", "err"))
        port = rng.choice((53, 80, 80, 443))
        hosts, queue = HOSTS[six], []
        if what == "tcp":
            t = Talk(rng, v6=six, ports=(rng.randint(1000, 1003), port))
            t.odd_ip = 0
            tcp_body(rng, t, rng.randint(3, 12), (6, 2, 1, 1, .3))
            queue = t.steps
            if rng.random() < .4:
                queue = [dict(s, packet=dscp(s["packet"], rng.choice((0, 1, 2)))) for s in queue]
        elif what == "udp":
            for _ in range(rng.randint(2, 6)):
                side = rng.choice((0, 0, 1))
                a, b = ((5000, port), (port, 5000))[side]
                packet = ip(hosts[side], hosts[1 - side], UDP, udp(hosts[side], hosts[1 - side], a, b,
                                                                   bytes(rng.choice((1, 20, 200))))).hex()
                queue.append({"in": side, "packet": dscp(packet, rng.choice((0, 1, 2)))})
        else:
            for _ in range(rng.randint(2, 4)):
                side = rng.choice((0, 0, 1))
                if what == "icmp":
                    kind = (129 if side else 128) if six else (0 if side else 8)
                    packet = ip(hosts[side], hosts[1 - side], ICMPV6 if six else ICMP, icmp(hosts[side], hosts[1 - side],
                                                                                            kind, 0, b"\0\1\0\1",
                                                                                            bytes(rng.choice((4, 60)))))
                    queue.append({"in": side, "packet": dscp(packet.hex(), rng.choice((0, 1, 2)))})
                else:
                    quoted = inner_packet(rng, six, hosts[0], hosts[1], UDP, (5000, port))
                    queue.append({"in": 1, "packet": icmp_error(rng, six, hosts[1], hosts[0], quoted).hex()})
        queues.append(queue)
    while any(queues) and len(steps) < length:
        steps.append(rng.choice([q for q in queues if q]).pop(0))
    return steps


def dscp(packet, value):
    data = bytearray.fromhex(packet)
    if data[0] >> 4 == 4:
        data[1] = value << 2
        size = (data[0] & 15) * 4
        data[10:12] = b"\0\0"
        data[10:12] = struct.pack("!H", checksum(bytes(data[:size])))
    else:
        head = struct.unpack("!I", bytes(data[:4]))[0] & ~0x0FC00000 | value << 22
        data[:4] = struct.pack("!I", head)
    return data.hex()


TCP_POLICY = "syn_sent syn_recv established fin_wait close_wait last_ack time_wait close retrans unack".split()


def random_rules(rng):
    rules = Rules(("dstnat", "srcnat") if rng.random() < .25 else ())

    def where(states=False):
        c = {}
        if rng.random() < .35:
            c["in"] = rng.randint(0, 1)
        if rng.random() < .7:
            c["proto"] = rng.choice(("tcp", "udp", "tcp", "udp", "icmp"))
            if c["proto"] != "icmp" and rng.random() < .7:
                c[rng.choice(("dport", "dport", "sport"))] = rng.choice((53, 80, 5000, 1000))
        if rng.random() < .2:
            c["family"] = rng.choice(("ip", "ip", "ip6"))
        if rng.random() < .2:
            c["dscp"] = rng.choice((1, 2))
            c.setdefault("family", "ip")
        if rng.random() < .15:
            c["length_over"] = rng.choice((40, 60, 100))
        if rng.random() < .08 and "dscp" not in c:
            c["daddr"] = rng.choice(("10.2.0.1", "10.1.0.1", "fd00:2::1"))
            c["family"] = "ip6" if ":" in c["daddr"] else "ip"
        if states and rng.random() < .35:
            c["state"] = rng.choice((["NEW"], ["ESTABLISHED"], ["ESTABLISHED", "RELATED"], ["INVALID"], ["RELATED"],
                                     ["UNTRACKED"], ["NEW", "INVALID"]))
        if c.get("proto") == "icmp" and c.get("family") == "ip6":
            del c["proto"]
        if rng.random() < .1 and c.get("proto") == "tcp":
            c["tcp_flags"] = rng.choice(({"of": "FSRA", "are": "S"}, {"of": "FSRA", "are": "A"}, {"of": "SA", "are": "SA"},
                                         {"of": "R", "are": "R"}, {"of": "FA", "are": "FA"}))
        return c

    for _ in range(rng.randint(1, 4)):
        kind = rng.choice(("notrack", "zone", "zone", "zone_orig", "mark", "mark", "mark_or", "drop", "drop", "reject",
                           "timeout", "timeout"))
        if kind == "notrack":
            rules.add("raw", {"notrack": True}, **where())
        elif kind == "zone":
            rules.add("raw", {"zone": rng.choice((1, 2, 65535))}, **where())
        elif kind == "zone_orig" and not rules.nat_hooks:      # with NAT chains a clash draws a port at random
            # Not a zone of both directions: two connections that differ in nothing but that are one here
            # (docs/conformance.md).
            rules.add("raw", {"zone_orig": rng.choice((3, 7))}, **{**where(), "in": rng.randint(0, 1)})
        elif kind == "mark":
            rules.add("mangle", {"mark": rng.choice((1, 42, "length", 0xffffffff, 0))}, **where(True))
        elif kind == "mark_or":
            rules.add("mangle", {"mark_or": rng.choice((1, 2, 0x100))}, **where(True))
        elif kind == "drop":
            at = rng.choice(("raw", "mangle", "mangle", "forward", "forward"))
            rules.add(at, {"drop": True}, **where(at != "raw"))
        elif kind == "reject":
            c = where(True)
            at = rng.choice(("forward", "forward", "forward", "mangle", "raw"))
            if at == "raw":
                c.pop("state", None)
            if c.get("proto") == "tcp" and rng.random() < .6:
                rules.add(at, {"reject": "tcp-reset"}, **c)
            else:
                rules.add(at, {"reject": "port-unreachable"}, **c)
        else:
            proto = rng.choice(("udp", "tcp"))
            names = ("unreplied", "replied") if proto == "udp" else TCP_POLICY
            policy = {n: rng.randint(3, 800) for n in names if rng.random() < .7} or {names[0]: 7}
            rules.add("mangle", {"timeout": policy}, **{"family": rng.choice(("ip", "ip", "ip6")), "proto": proto,
                                                        "dport": rng.choice((53, 80))})
    return rules


def make_router(rng):
    """what the router itself does: TTL, its own addresses, broadcast, multicast, martians"""
    steps, hosts4, hosts6 = [], *HOSTS
    for _ in range(rng.randint(4, 12)):
        v6 = rng.random() < .35
        side = rng.choice((0, 0, 1))
        hosts = HOSTS[v6]
        src, dst = hosts[side], hosts[1 - side]
        what = rng.randint(0, 7)
        more = {}
        if what == 0:
            more = {"hops": rng.choice((0, 1, 1))} if v6 else {"ttl": rng.choice((0, 1, 1))}
        elif what in (1, 2):
            dst = ROUTER[v6][rng.randint(0, 1)]
        elif what == 3:
            dst = rng.choice(("ff02::1", "ff02::2", "ff05::7", "ff0e::9")) if v6 else rng.choice(("255.255.255.255",
                                                                                                  "224.0.0.1", "224.0.0.251",
                                                                                                  "239.1.2.3",
                                                                                                  "10.255.1.255",
                                                                                                  "10.255.1.0"))
        elif what == 4:
            src = rng.choice(("::1", "::", "ff02::5", ROUTER[1][side])) if v6 else rng.choice(("127.0.0.1", "0.0.0.0",
                                                                                               "224.0.0.5",
                                                                                               "255.255.255.255",
                                                                                               ROUTER[0][side], "240.0.0.1"))
        elif what == 5:                                 # the route leads back
            dst = ("fd00:1::99", "fd00:2::99")[side] if v6 else ("10.1.0.99", "10.2.0.99")[side]
        elif what == 6:
            dst = rng.choice(("::1", "fe80::1", "::")) if v6 else rng.choice(("127.0.0.1", "0.0.0.0", "240.0.0.1"))
        kind = rng.choice(("udp", "udp", "tcp", "tcp", "ping", "other", "error"))
        if kind == "udp":
            body = (UDP, udp(src, dst, 5000, rng.choice((53, 9)), b"x"))
        elif kind == "tcp":
            flags = rng.choice(("S", "S", "S", ".", "S.", "F.", "R"))
            body = (TCP, tcp(src, dst, rng.choice((1000, 1001)), rng.choice((80, 9)), flags, 1000, 0 if flags == "S" else 77,
                             100, bytes(rng.choice((0, 0, 5)))))
        elif kind == "ping":
            body = (ICMPV6 if v6 else ICMP, icmp(src, dst, 128 if v6 else 8, 0, b"\0\1\0\1", b"ping"))
        elif kind == "error":
            quoted = ip(dst, src, UDP, udp(dst, src, 53, 5000, b"x"))
            body = (ICMPV6 if v6 else ICMP, icmp(src, dst, 1 if v6 else 3, 4 if v6 else 3, bytes(4), quoted))
        else:
            body = (rng.choice((99, GRE, UDPLITE, 2, 50, 58, 1)), b"\0\0\x08\0x" + bytes(rng.choice((0, 0, 7))))
        steps.append({"in": side, "packet": ip(src, dst, *body, **more).hex()})
        if rng.random() < .2:
            steps.append(dict(steps[-1]))
    rules = Rules(("dstnat", "srcnat")) if rng.random() < .2 else Rules()
    return scenario("the router itself: TTL, its own addresses, broadcast, multicast, martians", steps, rules.config())


def make_policy(rng):
    if rng.random() < .25:
        return make_router(rng)
    steps = any_packets(rng, rng.randint(6, 24))
    sysctl = switches(rng, .15)
    if rng.random() < .3:
        steps = retuned(rng, steps, ["acct", "udp_timeout", "udp_timeout_stream", "icmp_timeout",
                                     "tcp_loose"] + ["tcp_timeout_" + s for s in TCP_STATES])
    rules = random_rules(rng)
    if rng.random() < .15:                              # rules that come later
        later = random_rules(rng)
        if any("zone_orig" in r["do"] for r in rules.rules + later.rules):
            later.nat_hooks = []
            later.rules = [r for r in later.rules if "zone_orig" not in r["do"] or not rules.nat_hooks]
        text = later.text().replace("table inet user", "table inet later")
        steps.insert(rng.randint(1, len(steps)), {"nft": text, "host": {"rules": later.rules, "nat_hooks": later.nat_hooks}})
    return scenario("rules", steps, rules.config(**({"sysctl": sysctl} if sysctl else {})))


def make_fragments(rng):
    steps, sysctl = fragments.steps(rng), {}
    if rng.random() < .15:
        sysctl = fragments.settings(rng)
        for _ in range(rng.randint(1, 2)):
            steps[rng.randrange(len(steps))]["wait_ms"] = rng.choice((300, 3000))
    if rng.random() < .2:
        sysctl["net.ipv4.ipfrag_max_dist"] = rng.choice((0, 1, 2, 4))
    rules = random_rules(rng) if rng.random() < .15 else Rules()
    return scenario("fragments", steps, rules.config(**({"sysctl": sysctl} if sysctl else {})))


def make_helper(rng):
    script = rng.choices((helpers.conversation, helpers.barrage), (4, 1))[0](rng)
    return script.scenario


AREAS = {"tcp": make_tcp, "udp": make_udp, "udplite": make_udplite, "icmp": make_icmp, "icmpv6": make_icmpv6,
         "sctp": make_sctp,
         "other": make_other,
         "expiry": make_expiry, "policy": make_policy, "fragments": make_fragments, "helper": make_helper}


def head(name, area, s):
    return {"name": name, "about": s["about"], "area": area, **{k: s[k] for k in ("source", "random") if k in s},
            "config": s["config"]}


def write(folder, name, area, s):
    steps = [json.dumps(x, separators=(",", ":")) for x in s["steps"]]
    with open(os.path.join(folder, name + ".json"), "w") as f:
        f.write(json.dumps(head(name, area, s))[:-1] + ', "steps": [\n' + ",\n".join(steps) + "\n]}\n")


def make(seed, area, number):
    return AREAS[area](random.Random("%d %s %d" % (seed, area, number)))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--count", type=int, default=100)
    arguments.add_argument("--area", default="all")
    arguments.add_argument("--handmade", action="store_true")
    arguments.add_argument("--stream", action="store_true")
    arguments.add_argument("-o")
    a = arguments.parse_args()
    areas = list(AREAS) if a.area == "all" else a.area.split(",")
    if unknown := set(areas) - set(AREAS):
        arguments.error("area %s: there are %s" % (", ".join(unknown), ", ".join(AREAS)))
    if a.stream:
        numbers = {area: itertools.count() for area in areas}      # an area named twice comes twice as often
        for area in itertools.cycle(areas):
            number = next(numbers[area])
            s = make(a.seed, area, number)
            print(json.dumps({**head("%s-%d-%04d" % (area, a.seed, number), area, s), "steps": s["steps"]}))
    if not a.o:
        arguments.error("-o DIR or --stream")
    os.makedirs(a.o, exist_ok=True)
    if a.handmade:
        for script in handmade.everything():
            write(a.o, script.name, script.area, script.scenario)
        return
    for area in areas:
        for number in range(a.count):
            write(a.o, "%s-%d-%04d" % (area, a.seed, number), area, make(a.seed, area, number))


if __name__ == "__main__":
    main()
