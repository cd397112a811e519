"""Scenarios made by hand: one rule each, as an experiment that showed it; and what the kernel's own selftests do.

`scenarios.py --handmade -o DIR` writes them. The selftests (tools/testing/selftests/net/netfilter) are told anew here, by what
they send and not by their text; `source` names the one in question.
"""
import struct
from endpoints import Talk
from packets import GRE, ICMP, ICMPV6, MSS, NOP, SACK_OK, TCP, UDP, UDPLITE, icmp, ip, ipv4, ipv6, option, tcp, udp, udplite

CT = "net.netfilter.nf_conntrack_"
C4, S4, C6, S6 = "10.1.0.1", "10.2.0.1", "fd00:1::1", "fd00:2::1"


class Script:
    def __init__(self, name, about, area, config=None, source=None):
        self.name, self.area, self.scenario = name, area, {"about": about, "config": config or {}, "steps": []}
        if source:
            self.scenario["source"] = "tools/testing/selftests/net/netfilter/" + source
        self.steps = self.scenario["steps"]

    def packet(self, side, data, note=None):
        self.steps.append({"in": side, "packet": data.hex(), **({"note": note} if note else {})})
        return self

    def wait(self, ms):
        self.steps.append({"wait_ms": ms})
        return self

    def sysctl(self, **values):
        self.steps.append({"sysctl": {CT + k: v for k, v in values.items()}})
        return self

    def udp(self, side, sport, dport, data=b"x", hosts=(C4, S4), note=None, **more):
        src, dst = hosts[side], hosts[1 - side]
        return self.packet(side, ip(src, dst, UDP, udp(src, dst, sport, dport, data), **more), note)

    def lite(self, side, data=b"x"):
        a, b = ((5000, 53), (53, 5000))[side]
        hosts = (C4, S4)
        return self.packet(side, ipv4(hosts[side], hosts[1 - side], UDPLITE, udplite(hosts[side], hosts[1 - side], a, b, data, proto=17)))

    def tcp(self, side, flags, seq, ack, window=65535, data=b"", options=b"", ports=(1000, 80), hosts=(C4, S4), note=None, **wrong):
        src, dst = hosts[side], hosts[1 - side]
        a, b = ports if side == 0 else ports[::-1]
        return self.packet(side, ip(src, dst, TCP, tcp(src, dst, a, b, flags, seq, ack, window, data, options, **wrong)), note)

    def error4(self, side, quoted, kind=3, code=3, note=None, outer=None):
        src, dst = outer or ((S4, C4) if side else (C4, S4))
        return self.packet(side, ipv4(src, dst, ICMP, icmp(src, dst, kind, code, bytes(4), quoted)), note)


def rules_of_ours():
    s = Script("udplite-stream", "the packet after the answer makes a stream at once, UDP's two seconds are not waited for", "udplite")
    yield s.lite(0).lite(1).lite(0).lite(1).wait(2300).lite(1)
    s = Script("udplite-unanswered", "packets before the answer only refresh", "udplite")
    yield s.lite(0).lite(0).wait(1200).lite(0).lite(1)

    s = Script("expiry-shortened", "timeouts that become shorter by a second or less", "expiry",
               {"sysctl": {CT + "tcp_timeout_syn_sent": 3, CT + "tcp_timeout_syn_recv": 2, CT + "icmp_timeout": 3, CT + "udp_timeout": 3}})
    s.tcp(0, "S", 1, 0).tcp(1, "S.", 1, 2)
    echo = ipv4(C4, S4, ICMP, icmp(C4, S4, 8, 0, b"\0\1\0\1"))
    s.packet(0, echo).udp(0, 5, 6).wait(1300).sysctl(icmp_timeout=1, udp_timeout=2).packet(0, echo).udp(0, 5, 6)
    yield s.wait(1300).wait(1200)

    s = Script("icmp-inner-header-length", "the header length in a quoted packet is believed, even below 20", "icmp")
    s.udp(0, 0x0a02, 1).udp(0, 0x4000, 33).packet(0, ipv4(C4, S4, 99, b"x"))
    whole = lambda **more: ipv4(C4, S4, UDP, bytes(8), **more)
    for ihl in (4, 3, 0, 5, 6, 7, 8, 15):
        s.error4(1, whole(ihl=ihl, total=33), note="UDP, header length %d words" % ihl)
    for ihl in (0, 3, 5, 6, 7):
        s.error4(1, ipv4(C4, S4, 99, b"1234", ihl=ihl), note="protocol 99, %d words" % ihl)
    yield s

    s = Script("ipv6-extensions-cut", "extension headers that end early or claim too much: two bytes of each are enough", "other")
    ah = bytes(22)
    for k in (1, 2, 4, 7, 8, 9):
        for n, name in ((99, "generic"), (GRE, "GRE"), (UDP, "UDP"), (60, "options again"), (59, "none")):
            s.packet(0, ipv6(C6, S6, 60, (bytes([n, 0, 1, 4, 0, 0, 0, 0, n + 1]))[:k]), "options cut to %d, then %s" % (k, name))
    for n in (99, GRE, UDP):
        s.packet(0, ipv6(C6, S6, 60, bytes([n, 5, 1, 4, 0, 0, 0, 0])), "options say 48 bytes of 8, then %d" % n)
        s.packet(0, ipv6(C6, S6, 43, bytes([n, 9, 0, 0])), "routing says 80 bytes of 4, then %d" % n)
        for k in (1, 2, 8, 12, 24):
            s.packet(0, ipv6(C6, S6, 51, (bytes([n, 4]) + ah)[:k]), "AH cut to %d, then %d" % (k, n))
    yield s

    s = Script("ipv6-fragment-header-alone", "a fragment header with nothing behind it is no fragment, and is counted", "other")
    for n in (0, 1, 8):
        s.packet(0, ipv6(C6, S6, 44, bytes([180 + n, 0, 0, 0, 0, 0, 0, 7]) + bytes(n)), "atomic, %d bytes behind it" % n)
    for k in (4, 5, 7):
        s.packet(0, ipv6(C6, S6, 44, bytes([190 + k, 0, 0, 0, 0, 0, 0, 7])[:k]), "atomic, cut to %d" % k)
        s.packet(0, ipv6(C6, S6, 44, bytes([200 + k, 0, 0, 1, 0, 0, 0, 7])[:k]), "the first of many, cut to %d" % k)
    s.packet(0, ipv6(C6, S6, 44, bytes([210, 0, 0, 1, 0, 0, 0, 7])), "the first of many, nothing behind it")
    for k in (2, 3, 4, 8):
        s.packet(0, ipv6(C6, S6, 44, bytes([44, 0, 0, 0, 0, 0, 0, 7]) + bytes([220, 0, 0, 0, 0, 0, 0, 7])[:k]), "atomic twice, the second cut to %d" % k)
    yield s

    s = Script("ipv6-first-fragment-cut", "a first fragment that breaks off within its headers, or is no multiple of 8 long, goes on as it is", "other")
    whole = {TCP: tcp(C6, S6, 5, 6, "S", 1, 0, 100, options=b"\2\4\5\xb4"), UDP: udp(C6, S6, 5, 6, b"hello"), ICMPV6: icmp(C6, S6, 128, 0, b"\0\1\0\1", b"ping"),
             UDPLITE: udplite(C6, S6, 5, 6, b"x", proto=17), GRE: bytes(8), 99: bytes(8)}
    for proto, body in whole.items():
        for n in (0, 1, 7, 8, 12, 19, 20, 24):
            if n <= len(body):
                s.packet(0, ipv6(C6, S6, 44, bytes([proto, 0, 0, 0, 0, 0, n, proto]) + body[:n]), "protocol %d, atomic, %d bytes of it" % (proto, n))
        for n in (1, 7, 12, 13):
            s.packet(0, ipv6(C6, S6, 44, bytes([proto, 0, 0, 1, 0, 1, n, proto]) + body[:n]), "protocol %d, more to follow, %d bytes of it" % (proto, len(body[:n])))
    for k in (1, 2, 8, 9):
        s.packet(0, ipv6(C6, S6, 44, bytes([60, 0, 0, 0, 0, 2, 0, k]) + (bytes([98, 0, 1, 4, 0, 0, 0, 0, 1]))[:k]), "atomic, options cut to %d" % k)
    s.packet(0, ipv6(C6, S6, 44, bytes([17, 0, 0, 9, 0, 3, 0, 1]) + bytes(7)), "a later fragment, more to follow, 7 bytes")
    yield s


def everything():
    yield from rules_of_ours()
