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
    chosen = [k for k in (0, 60, 43, 51) if rng.random() < .35]
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
            inner = rng.choice(((60, b"\0\1\4\0\0\0\0"), (43, b"\0\4\0\0\0\0\0"), (44, b"\0\0\0\0\0\0\7"), (0, b"\0\1\4\0\0\0\0")))
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
