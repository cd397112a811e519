"""Fragments: datagrams cut into pieces which come in any order, twice, overlapping, cut short, never, or beside others."""
import struct
from packets import ICMP, ICMPV6, SCTP, TCP, UDP, UDPLITE
from packets import icmp, init, ipv4, ipv6, sctp, tcp, udp

HOSTS = (("10.1.0.1", "10.2.0.1"), ("fd00:1::1", "fd00:2::1"))
ROUTER = (("10.255.1.1", "10.255.2.1"), ("fd00:ff:1::1", "fd00:ff:2::1"))
MTU = 1600


def options4(rng):
    """IPv4 options: router alert (copied into each fragment), record route (not copied), padding"""
    return b"".join(rng.sample((b"\x94\4\0\0", b"\1", b"\1\1\1\1", b"\7\7\4" + bytes(4)), rng.randint(1, 2)))


def extensions6(rng, also=()):
    """headers before the fragment header: hop-by-hop, destination options, routing with nothing left to visit"""
    pad = lambda n: b"\1" + bytes([n - 2]) + bytes(n - 2)
    kinds = {0: lambda: b"\0" + pad(6), 60: lambda: b"\0" + pad(6) if rng.random() < .8 else b"\1" + pad(7) + pad(7),
             43: lambda: b"\0\4\0" + bytes(4), 51: lambda: b"\4" + bytes(22)}
    # An authentication header is not put in front: what the kernel makes of it when it cuts the packet again is no packet.
    chosen = [k for k in (0, 60, 43) if rng.random() < .35]
    if rng.random() < .1:
        rng.shuffle(chosen)
        chosen = [k for k in chosen if k != 0]
    return [(k, kinds[k]()) for k in chosen]


def payload(rng, v6, src, dst, size):
    """a transport protocol and its bytes"""
    data = bytes(rng.randrange(256) for _ in range(min(size, 16))) * (size // 16 + 1)
    data = data[:size]
    kind = rng.choices(("udp", "tcp", "ping", "other", "sctp", "bad"), (8, 3, 4, 2, 1, 1))[0]
    if kind == "tcp":
        flags = rng.choice(("S", ".", "P.", "S", "F."))
        return TCP, tcp(src, dst, rng.choice((1000, 1001)), 80, flags, 1000, 0 if flags == "S" else 77, 1000, data,
                        b"\2\4\5\xb4" if flags == "S" else b"")
    if kind == "ping":
        kinds = (128, 129) if v6 else (8, 0)
        return ICMPV6 if v6 else ICMP, icmp(src, dst, rng.choice(kinds), 0, b"\0\1\0\1", data)
    if kind == "other":
        return rng.choice((99, 47, 50, UDPLITE, 253)), b"\0\0\x08\0" + data
    if kind == "sctp":
        return SCTP, sctp(1000, 2000, 0, init(1, 0x11223344, more=struct.pack("!HH", 9, size // 4 * 4 % 1000 + 4) + bytes(size // 4 * 4 % 1000)))
    return UDP, udp(src, dst, rng.choice((5000, 5001)), rng.choice((53, 9)), data, check=7 if kind == "bad" else None)


def cuts(rng, size):
    """where to cut: multiples of eight, most as a sender would"""
    if rng.random() < .5:
        step = rng.choice((8, 16, 40, 400, 1000, 1480, 1456)) if size > 1000 else rng.choice((8, 24, 40, 80, 200))
        step = max(step, (size // 12 + 7) // 8 * 8)
        return [*range(0, size, step), size]
    inner = sorted({rng.randrange(1, max(2, (size + 7) // 8)) * 8 for _ in range(rng.randint(1, 6))})
    return [0, *(at for at in inner if at < size), size]


class Datagram:
    def __init__(self, rng, side, v6, ident):
        self.rng, self.side, self.v6, self.ident = rng, side, v6, ident
        self.src, self.dst = HOSTS[v6][side], HOSTS[v6][1 - side]
        if rng.random() < .12:
            self.dst = ROUTER[v6][rng.randint(0, 1)]
        size = rng.choice((rng.randint(1, 60), rng.randint(60, 400), rng.randint(400, 4000)))
        self.proto, self.body = payload(rng, v6, self.src, self.dst, size)
        self.through = through = self.dst == HOSTS[v6][1 - side]
        self.extensions = extensions6(rng) if v6 and through and rng.random() < .25 else []
        self.options = options4(rng) if not v6 and through and rng.random() < .2 else b""
        self.uneven = through and rng.random() < .2     # headers differ from fragment to fragment
        self.ecn = rng.choice(((0,), (0,), (0,), (1,), (2,), (1, 2), (2, 3), (0, 2), (0, 3)))
        self.df = rng.choice((0, 0, 0, .5, 1))
        self.hops = rng.choice((64, 64, 64, 64, 64, 1, 2))
        if v6 and through and rng.random() < .15:       # headers inside what is fragmented
            inner = rng.choice(((60, b"\0\1\4\0\0\0\0"), (43, b"\0\4\0\0\0\0\0"), (0, b"\0\1\4\0\0\0\0")))
            self.body, self.proto = bytes([self.proto]) + inner[1] + self.body, inner[0]

    def piece(self, begin, end, more, ident=None, proto=None):
        rng, ident = self.rng, self.ident if ident is None else ident
        body = (self.body + bytes(2000))[begin:end] if end <= 65535 else bytes(end - begin)
        tos = rng.choice((0, 0, 0x20)) if self.uneven else 0
        tos |= rng.choice(self.ecn)
        hops = rng.choice((self.hops, self.hops, 9)) if self.uneven else self.hops
        proto = self.proto if proto is None else proto
        if self.v6:
            extensions = self.extensions if not self.uneven or rng.random() < .5 else extensions6(rng)
            head = b"\0" + struct.pack("!HI", begin | more, ident)
            packet = ipv6(self.src, self.dst, proto, body, hops=hops, tclass=tos, extensions=[*extensions, (44, head)])
        else:
            options = self.options if not self.uneven or rng.random() < .5 else rng.choice((b"", options4(rng)))
            field = begin // 8 | more << 13 | (0x4000 if rng.random() < self.df else 0)
            packet = ipv4(self.src, self.dst, proto, body, ttl=hops, tos=tos, ident=ident & 0xFFFF, fragment=field, options=options)
        return packet if len(packet) <= MTU else None

    def pieces(self):
        """(begin, end, more follow) of each fragment, as they are sent"""
        rng = self.rng
        at = cuts(rng, len(self.body))
        if self.v6 and not self.through:
            at = [0, *(x for x in at if 24 <= x < len(self.body)), len(self.body)]
        while any(b - a > 1440 for a, b in zip(at, at[1:])):
            at = sorted({*at, *(a + 1440 // 2 // 8 * 8 for a, b in zip(at, at[1:]) if b - a > 1440)})
        all = [(a, b, b < len(self.body)) for a, b in zip(at, at[1:])]
        order = rng.random()
        if order < .3:
            rng.shuffle(all)
        elif order < .5:
            all.reverse()
        wild = rng.choice(("nothing", "nothing", "repeat", "repeat", "missing", "odd"))
        if not self.through and self.v6 and wild == "odd":
            wild = "nothing"                            # what goes on as it is would be for the router's own reassembly
        for _ in range(rng.randint(1, 3)):
            where = rng.randint(0, len(all))
            begin, end, more = rng.choice(all)
            if wild == "repeat":                        # in whole, in part, or of two
                some = rng.choice((begin, begin + (end - begin) // 2 // 8 * 8)), end
                if rng.random() < .4:
                    some = begin, max(begin + 8, end - (8 if rng.random() < .5 else 0)) // 8 * 8
                if rng.random() < .3:
                    other = rng.choice(all)
                    some = min(begin, other[0]), max(end, other[1])
                if rng.random() < .2:
                    some = max(0, some[0] - 8), some[1]
                all.insert(where, (*some, more if some[1] == end else some[1] < len(self.body)))
            elif wild == "missing" and len(all) > 1:
                all.remove(rng.choice(all))
            elif wild == "odd":
                all.insert(where, rng.choice((
                    (begin, begin, more), (end // 8 * 8, end // 8 * 8, rng.random() < .5), (begin, end, not more),
                    (begin, end - rng.randint(0, 7), True), (begin, end + rng.randint(1, 9), more), (begin, end + 8, more),
                    (max(0, begin - 8), end, more), (0, 0, True), (0, end, False), (65528, 65528 + rng.choice((7, 8, 100)), more),
                    (len(self.body) // 8 * 8 + 8, len(self.body) // 8 * 8 + 16, rng.random() < .5))))
        return [(a, max(a, b), int(m)) for a, b, m in all if a <= 65528]


def steps(rng):
    """datagrams, one after the other or at once"""
    streams = []
    for number in range(rng.randint(1, 6)):
        v6 = rng.random() < .5
        d = Datagram(rng, rng.choice((0, 0, 0, 1)), v6, rng.choice((1, 2, number + 3)))
        stream = []
        for begin, end, more in d.pieces():
            ident = rng.choice((1, 2)) if rng.random() < .03 else None
            proto = rng.choice((17, 6, 99)) if rng.random() < .03 else None
            packet = d.piece(begin, end, more, ident, proto)
            if packet:
                stream.append({"in": d.side, "packet": packet.hex()})
        if rng.random() < .3:                           # and all again
            stream += [dict(s) for s in stream]
        streams.append(stream)
    mixed = rng.random() < .4
    out = []
    while any(streams):
        stream = rng.choice([s for s in streams if s]) if mixed else next(s for s in streams if s)
        out.append(stream.pop(0))
    return out[:60]


def settings(rng):
    """short times, and waits around them"""
    return {"net.ipv4.ipfrag_time": 2, "net.netfilter.nf_conntrack_frag6_timeout": rng.choice((1, 2))}


# ---------------------------------------------------------------- by hand
def udp_of(v6, size, ports=(5000, 53), dst=None):
    src, to = HOSTS[v6]
    to = dst or to
    return udp(src, to, *ports, bytes(i * 7 & 255 for i in range(size - 8)))


def cut(v6, body, ident, begin, end, more, proto=UDP, src=None, dst=None, extensions=(), **header):
    src, dst = src or HOSTS[v6][0], dst or HOSTS[v6][1]
    piece = (body + bytes(2000))[begin:end] if begin < 65000 else bytes(end - begin)
    if v6:
        head = b"\0" + struct.pack("!HI", begin & ~7 | more, ident)
        return ipv6(src, dst, proto, piece, extensions=[*extensions, (44, head)], **header)
    df = header.pop("df", 0)
    return ipv4(src, dst, proto, piece, ident=ident, fragment=begin // 8 | more << 13 | df << 14, **header)


OVERLAPS = (
    ("a repetition", ((0, 80, 1), (0, 80, 1), (80, 400, 0))), ("within one piece", ((0, 80, 1), (8, 40, 1), (80, 400, 0))),
    ("across two that came in order", ((0, 80, 1), (80, 160, 1), (40, 120, 1), (160, 400, 0))),
    ("both again, as one", ((0, 80, 1), (80, 160, 1), (0, 160, 1), (160, 400, 0))),
    ("across one that filled a hole", ((0, 80, 1), (160, 240, 1), (80, 160, 1), (40, 120, 1), (240, 400, 0))),
    ("across two that came backwards", ((160, 240, 1), (80, 160, 1), (120, 200, 1), (0, 80, 1), (240, 400, 0))),
    ("behind a hole, in order", ((160, 240, 1), (240, 320, 1), (200, 280, 1), (0, 160, 1), (320, 400, 0))),
    ("by eight bytes", ((0, 80, 1), (72, 160, 1), (0, 80, 1), (80, 400, 0))),
    ("covers all", ((80, 160, 1), (0, 240, 1), (0, 80, 1), (80, 160, 1), (160, 400, 0))))
ENDS = (
    ("the last again", ((200, 400, 0), (200, 400, 0), (0, 200, 1))), ("its end again", ((200, 400, 0), (320, 400, 0), (0, 200, 1))),
    ("the last again, more to follow", ((200, 400, 0), (200, 400, 1), (0, 200, 1))),
    ("first more to follow, then not", ((200, 400, 1), (200, 400, 0), (0, 200, 1))),
    ("not before all is there", ((200, 400, 1), (0, 200, 1), (200, 400, 0))),
    ("a shorter last", ((200, 400, 0), (200, 392, 0), (0, 200, 1))), ("a longer one", ((200, 392, 0), (392, 400, 0), (0, 200, 1))),
    ("more beyond the last", ((200, 392, 0), (392, 400, 1), (0, 200, 1))),
    ("a last below what is there", ((200, 400, 1), (80, 160, 0), (0, 80, 1), (80, 400, 0))),
    ("an empty last", ((0, 80, 1), (80, 80, 0), (80, 400, 0))), ("an empty one", ((0, 80, 1), (80, 80, 1), (80, 400, 0))),
    ("an empty last far off", ((0, 80, 1), (160, 160, 0), (80, 160, 1))),
    ("an empty last, alone", ((80, 80, 0), (80, 400, 0), (0, 80, 1))), ("an empty first", ((0, 0, 1), (0, 80, 1), (80, 400, 0))))
LENGTHS = (
    ("85 bytes, more to follow", ((0, 80, 1), (80, 165, 1), (160, 400, 0))),
    ("the same, then all of it", ((0, 80, 1), (80, 165, 1), (80, 400, 0))),
    ("a first of 85", ((80, 400, 0), (0, 85, 1), (0, 80, 1))), ("four bytes", ((0, 80, 1), (80, 84, 1), (80, 400, 0))),
    ("beyond 65535", ((0, 80, 1), (65528, 66000, 1), (80, 400, 0), (0, 80, 1))),
    ("beyond 65535, odd", ((0, 80, 1), (65528, 65999, 1), (80, 400, 0))), ("up to 65535", ((0, 80, 1), (65528, 65535, 0), (80, 400, 0))))
ATOMIC = (
    ("its own only fragment, among others", ((0, 80, 1), (0, 400, 0), (80, 400, 0))),
    ("a short one", ((80, 160, 1), (0, 80, 0), (0, 80, 1), (160, 400, 0))), ("the last was there", ((80, 400, 0), (0, 400, 0), (0, 80, 1))),
    ("its end was told", ((400, 400, 0), (0, 400, 0))), ("a first without headers", ((80, 400, 0), (0, 0, 1), (0, 80, 1))))


def by_hand(script):
    """script: the class Script of handmade.py"""
    for v6, family in ((0, "v4"), (1, "v6")):
        for name, about, parts in (("overlaps", "what overlaps, and what only repeats", OVERLAPS),
                                   ("ends", "where a datagram ends, told in different ways", ENDS),
                                   ("lengths", "lengths that are no multiples of eight, or too large", LENGTHS),
                                   ("atomic", "fragments that are whole packets (RFC 6946), with the identification of others", ATOMIC)):
            s = script("frag-%s-%s" % (name, family), about, "fragments")
            for ident, (note, fragments) in enumerate(parts, 1):
                for at, (begin, end, more) in enumerate(fragments):
                    s.packet(0, cut(v6, udp_of(v6, 400), ident, begin, end, more), None if at else note)
            yield s

        s = script("frag-ecn-" + family, "congestion marks of two fragments (RFC 3168 section 5.3)", "fragments")
        for first in range(4):
            for second in range(4):
                mark = lambda ecn: {"tclass" if v6 else "tos": ecn | (0x20 if ecn == first else 0x40)}
                ident = 1 + first * 4 + second
                s.packet(0, cut(v6, udp_of(v6, 160), ident, 0, 80, 1, **mark(first)), "%d and %d" % (first, second))
                s.packet(0, cut(v6, udp_of(v6, 160), ident, 80, 160, 0, **mark(second)))
        yield s

        hops = lambda n: {"hops" if v6 else "ttl": n}
        s = script("frag-headers-" + family, "the first fragment's header counts, whatever the others have", "fragments")
        for ident, (first, second, note) in enumerate(((33, 9, "hops"), (1, 9, "none left in the first"), (9, 1, "in the second"))):
            s.packet(0, cut(v6, udp_of(v6, 400), ident, 80, 400, 0, **hops(second)), note)
            s.packet(0, cut(v6, udp_of(v6, 400), ident, 0, 80, 1, **hops(first)))
        s.packet(0, cut(v6, udp_of(v6, 400), 9, 0, 80, 1), "from either side")
        s.packet(1, cut(v6, udp_of(v6, 400), 9, 80, 400, 0))
        for ident, proto in ((20, 17), (21, 6), (20, 6)):
            s.packet(0, cut(v6, udp_of(v6, 400), ident, 80 if ident == 20 and proto == 6 else 0, 400 if proto == 6 and ident == 20 else 80,
                            not (proto == 6 and ident == 20), proto), "protocol %d" % proto)
        yield s.packet(0, cut(v6, udp_of(v6, 400), 20, 80, 400, 0))

        s = script("frag-sizes-" + family, "when, and how, a router fragments again", "fragments")
        for ident, size in enumerate((81, 88, 89, 96, 128, 160), 1):
            s.packet(0, cut(v6, udp_of(v6, size), ident, 0, 80, 1), "%d bytes" % size)
            s.packet(0, cut(v6, udp_of(v6, size), ident, 80, size, 0))
        for ident, at in enumerate(((0, 80, 320, 400), (0, 320, 400), (0, 8, 400), (0, 1440, 2880, 4000)), 20):
            for begin, end in reversed(list(zip(at, at[1:]))):
                s.packet(0, cut(v6, udp_of(v6, at[-1]), ident, begin, end, end < at[-1]))
        seg = tcp(*HOSTS[v6], 1000, 80, ".", 1000, 77, 1000, bytes(300))
        for ident, at in enumerate(((0, 16, 160, 320), (0, 24, 160, 320)), 30):
            for begin, end in zip(at, at[1:]):
                s.packet(0, cut(v6, seg, ident, begin, end, end < at[-1], TCP))
        yield s

        dst = ROUTER[v6][0]
        s = script("frag-to-router-" + family, "fragments for the router itself, whose answers are fragmented if they must be", "fragments")
        for ident, size in enumerate((800, 3008), 1):
            echo = icmp(HOSTS[v6][0], dst, 128 if v6 else 8, 0, b"\0\7\0\1", bytes(size - 8))
            for begin in range(0, size, 1480 if size > 1480 else 400):
                end = min(size, begin + (1480 if size > 1480 else 400))
                s.packet(0, cut(v6, echo, ident, begin, end, end < size, ICMPV6 if v6 else ICMP, dst=dst))
        for begin, end in ((0, 1480), (1480, 3000)):
            s.packet(0, cut(v6, udp_of(v6, 3000, (1, 9), dst), 5, begin, end, end < 3000, dst=dst), "nobody listens")
        yield s

        time = {"net.ipv4.ipfrag_time": 2, "net.netfilter.nf_conntrack_frag6_timeout": 2}
        s = script("frag-time-" + family, "time counts from the first to arrive", "fragments", {"sysctl": time})
        s.packet(0, cut(v6, udp_of(v6, 400), 1, 0, 80, 1)).packet(0, cut(v6, udp_of(v6, 400), 2, 0, 80, 1)).wait(1500)
        s.packet(0, cut(v6, udp_of(v6, 400), 1, 80, 160, 1)).packet(0, cut(v6, udp_of(v6, 400), 2, 80, 400, 0)).wait(1500)
        s.packet(0, cut(v6, udp_of(v6, 400), 1, 160, 400, 0), "too late").packet(0, cut(v6, udp_of(v6, 400), 1, 0, 160, 1), "anew")
        s.packet(0, cut(v6, udp_of(v6, 400), 3, 0, 80, 1)).wait(500)
        s.steps.append({"sysctl": {name: 30 for name in time}})
        yield s.wait(2500).packet(0, cut(v6, udp_of(v6, 400), 3, 80, 400, 0), "it had the old time")

    s = script("frag-df", "DF: the whole has it if the longest fragment had; no fragment asks for an error", "fragments")
    for ident, (size, first, second) in enumerate((size, a, b) for size in (80, 200, 240) for a, b in ((1, 1), (1, 0), (0, 1))):
        for n, ttl in enumerate((64, 1)):
            s.packet(0, cut(0, udp_of(0, 400), 2 * ident + n, 0, size, 1, df=first, ttl=ttl), "%d bytes %d, %d bytes %d" % (
                size, first, 400 - size, second))
            s.packet(0, cut(0, udp_of(0, 400), 2 * ident + n, size, 400, 0, df=second))
    yield s

    s = script("frag-options", "IPv4 options: those of the first fragment, in all that leave if they are to be copied", "fragments")
    alert, route = b"\x94\4\0\0", b"\7\x0b\4" + bytes(8)
    for ident, (first, second) in enumerate(((alert, alert), (alert, b""), (b"", alert), (route, route), (route, b""), (alert + route, b""))):
        for begin, end in ((0, 80), (80, 240), (240, 400)):
            s.packet(0, cut(0, udp_of(0, 400), ident, begin, end, end < 400, options=second if begin else first, df=ident & 1))
    yield s

    s = script("frag-extensions", "IPv6 extension headers before, in and behind what is fragmented", "fragments")
    hop, dest, routing = (0, b"\0\1\4\0\0\0\0"), (60, b"\0\1\4\0\0\0\0"), (43, b"\0\4\0\0\0\0\0")
    auth = (51, b"\4" + bytes(22))
    chains = ((hop, hop), (hop, None), (None, hop), (dest, dest), (routing, routing), (auth, auth), (auth, None))
    for ident, (first, second) in enumerate(chains):
        for begin, end in ((0, 80), (80, 400)):
            chain = [x for x in (second if begin else first,) if x]
            s.packet(0, cut(1, udp_of(1, 400), ident, begin, end, end < 400, extensions=chain))
    for ident, (kind, header) in enumerate((hop, dest, routing, (44, b"\0\0\0\0\0\0\7"), (44, b"\0\0\1\0\0\0\7"), (44, b"\0\0\x08\0\0\0\7")), 20):
        body = b"\x11" + header + udp_of(1, 400)
        for begin, end in ((0, 80), (80, 408)):
            s.packet(0, cut(1, body, ident, begin, end, end < 408, kind), "header %d within" % kind)
    body = b"\x3c" + dest[1] + b"\x11" + dest[1] + udp_of(1, 400)
    for begin, end in ((0, 16), (16, 416)):
        s.packet(0, cut(1, body, 40, begin, end, end < 416, 60), "the first holds no transport header")
    yield s

    s = script("frag-too-far", "fragments of the same source between two of a datagram, ipfrag_max_dist 3", "fragments",
               {"sysctl": {"net.ipv4.ipfrag_max_dist": 3, "net.ipv4.ipfrag_time": 10}})
    body, ident = udp_of(0, 400), 100
    for between, first, second in ((2, (0, 80), (80, 400)), (3, (0, 80), (80, 400)), (4, (0, 80), (40, 400))):
        ident += 100
        s.packet(0, cut(0, body, ident, *first, 1), "%d between" % between)
        for n in range(between):
            s.packet(0, cut(0, body, ident + 1 + n, 0, 80, 1))
        s.packet(0, cut(0, body, ident, *second, 0)).packet(0, cut(0, body, ident, 0, second[0], 1))
    s.packet(0, cut(0, body, 900, 0, 80, 1), "another source does not count")
    for n in range(5):
        s.packet(0, cut(0, body, 901 + n, 0, 80, 1, src="10.1.0.2"))
    yield s.packet(0, cut(0, body, 900, 80, 400, 0))

    s = script("frag-interfaces", "IPv6 fragments to a group or a link-local address belong to an interface", "fragments")
    for ident, dst in enumerate(("ff02::1", "fe80::5", "fd00:2::1")):
        body = udp_of(1, 400, dst=dst)
        s.packet(0, cut(1, body, ident, 0, 80, 1, dst=dst), dst).packet(1, cut(1, body, ident, 80, 400, 0, dst=dst))
    yield s
