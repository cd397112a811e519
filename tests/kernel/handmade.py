"""Scenarios made by hand: one rule each, as an experiment that showed it; and what the kernel's own selftests do.

`scenarios.py --handmade -o DIR` writes them. The selftests (tools/testing/selftests/net/netfilter) are told anew here, by
what they send and not by their text; `source` names the one in question.
"""
import struct
import fragments
from packets import GRE, ICMP, ICMPV6, MSS, NOP, SACK_OK, TCP, UDP, UDPLITE
from packets import address, icmp, ip, ipv4, ipv6, option, tcp, udp, udplite

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
        return self.packet(side, ipv4(hosts[side], hosts[1 - side], UDPLITE, udplite(hosts[side], hosts[1 - side], a, b,
                                                                                     data, proto=17)))

    def tcp(self, side, flags, seq, ack, window=65535, data=b"", options=b"", ports=(1000, 80), hosts=(C4, S4), note=None,
            **wrong):
        src, dst = hosts[side], hosts[1 - side]
        a, b = ports if side == 0 else ports[::-1]
        return self.packet(side, ip(src, dst, TCP, tcp(src, dst, a, b, flags, seq, ack, window, data, options, **wrong)),
                           note)

    def error4(self, side, quoted, kind=3, code=3, note=None, outer=None):
        src, dst = outer or ((S4, C4) if side else (C4, S4))
        return self.packet(side, ipv4(src, dst, ICMP, icmp(src, dst, kind, code, bytes(4), quoted)), note)


def rules_of_ours():
    s = Script("udplite-stream", "the packet after the answer makes a stream at once, UDP's two seconds are not waited for",
               "udplite")
    yield s.lite(0).lite(1).lite(0).lite(1).wait(2300).lite(1)
    s = Script("udplite-unanswered", "packets before the answer only refresh", "udplite")
    yield s.lite(0).lite(0).wait(1200).lite(0).lite(1)

    s = Script("expiry-shortened", "timeouts that become shorter by a second or less", "expiry",
               {"sysctl": {CT + "tcp_timeout_syn_sent": 3, CT + "tcp_timeout_syn_recv": 2, CT + "icmp_timeout": 3,
                           CT + "udp_timeout": 3}})
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

    s = Script("icmp-family", "ICMP in IPv6 packets, ICMPv6 in IPv4 packets, whole and cut", "icmp")
    for n in (0, 7, 8, 12):
        s.packet(0, ipv4(C4, S4, ICMPV6, icmp(C6, S6, 128, 0, bytes(4), b"ping")[:n]))
        s.packet(0, ipv6(C6, S6, ICMP, icmp(C4, S4, 8, 0, bytes(4), b"ping")[:n]))
    yield s

    s = Script("ipv6-extensions-cut", "extension headers that end early or claim too much: two bytes of each are enough",
               "other")
    ah = bytes(22)
    for k in (1, 2, 4, 7, 8, 9):
        for n, name in ((99, "generic"), (GRE, "GRE"), (UDP, "UDP"), (60, "options again"), (59, "none")):
            header = bytes([n, 0, 1, 4, 0, 0, 0, 0, n + 1])[:k]
            s.packet(0, ipv6(C6, S6, 60, header), "options cut to %d, then %s" % (k, name))
    for n in (99, GRE, UDP):
        s.packet(0, ipv6(C6, S6, 60, bytes([n, 5, 1, 4, 0, 0, 0, 0])), "options say 48 bytes of 8, then %d" % n)
        s.packet(0, ipv6(C6, S6, 43, bytes([n, 9, 0, 0])), "routing says 80 bytes of 4, then %d" % n)
        for k in (1, 2, 8, 12, 24):
            s.packet(0, ipv6(C6, S6, 51, (bytes([n, 4]) + ah)[:k]), "AH cut to %d, then %d" % (k, n))
    yield s

    s = Script("ipv6-fragment-header-alone", "a fragment header with nothing behind it is no fragment, and is counted",
               "other")
    for n in (0, 1, 8):
        s.packet(0, ipv6(C6, S6, 44, bytes([180 + n, 0, 0, 0, 0, 0, 0, 7]) + bytes(n)), "atomic, %d bytes behind it" % n)
    for k in (4, 5, 7):
        s.packet(0, ipv6(C6, S6, 44, bytes([190 + k, 0, 0, 0, 0, 0, 0, 7])[:k]), "atomic, cut to %d" % k)
        s.packet(0, ipv6(C6, S6, 44, bytes([200 + k, 0, 0, 1, 0, 0, 0, 7])[:k]), "the first of many, cut to %d" % k)
    s.packet(0, ipv6(C6, S6, 44, bytes([210, 0, 0, 1, 0, 0, 0, 7])), "the first of many, nothing behind it")
    for k in (2, 3, 4, 8):
        s.packet(0, ipv6(C6, S6, 44, bytes([44, 0, 0, 0, 0, 0, 0, 7]) + bytes([220, 0, 0, 0, 0, 0, 0, 7])[:k]),
                 "atomic twice, the second cut to %d" % k)
    yield s

    s = Script("ipv6-first-fragment-cut",
               "a first fragment that breaks off within its headers, or is no multiple of 8 long, goes on as it is", "other")
    whole = {TCP: tcp(C6, S6, 5, 6, "S", 1, 0, 100, options=b"\2\4\5\xb4"), UDP: udp(C6, S6, 5, 6, b"hello"),
             ICMPV6: icmp(C6, S6, 128, 0, b"\0\1\0\1", b"ping"),
             UDPLITE: udplite(C6, S6, 5, 6, b"hello", proto=17), GRE: bytes(13), 99: bytes(13)}
    for proto, body in whole.items():
        for n in (0, 1, 7, 8, 12, 19, 20, 24):
            if n <= len(body):
                s.packet(0, ipv6(C6, S6, 44, bytes([proto, 0, 0, 0, 0, 0, n, proto]) + body[:n]),
                         "protocol %d, atomic, %d bytes of it" % (proto, n))
        for n in (1, 7, 12, 13):
            s.packet(0, ipv6(C6, S6, 44, bytes([proto, 0, 0, 1, 0, 1, n, proto]) + body[:n]),
                     "protocol %d, more to follow, %d bytes of it" % (proto, len(body[:n])))
    for k in (1, 2, 8, 9):
        s.packet(0, ipv6(C6, S6, 44, bytes([60, 0, 0, 0, 0, 2, 0, k]) + (bytes([98, 0, 1, 4, 0, 0, 0, 0, 1]))[:k]),
                 "atomic, options cut to %d" % k)
    s.packet(0, ipv6(C6, S6, 44, bytes([17, 0, 0, 9, 0, 3, 0, 1]) + bytes(7)), "a later fragment, more to follow, 7 bytes")
    yield s


def router():
    """what the router around the table does"""
    s = Script("router-link-local",
               "link-local addresses are not forwarded; their sender is told where there is a way to it", "router")
    for side, me, other, same in ((0, C6, S6, "fd00:1::99"), (1, S6, C6, "fd00:2::99")):
        link = "fe80::1"
        for src, dst in ((link, other), (link, same), (link, "fe80::2"), (me, "fe80::2"),
                         (link, "fd00:ff:%d::1" % (side + 1)), ("::", other)):
            s.packet(side, ipv6(src, dst, UDP, udp(src, dst, 5000, 80, b"x")), "%s to %s" % (src, dst))
        s.packet(side, ipv6(link, other, UDP, udp(link, other, 5000, 80, b"x"), hops=1), "hop limit 1")
        quoted = ipv6(other, link, UDP, udp(other, link, 80, 5000))
        s.packet(side, ipv6(link, other, ICMPV6, icmp(link, other, 1, 4, bytes(4), quoted)), "an error is not answered")
    yield s

    s = Script("router-neighbour", "neighbour solicitations for the router's own addresses, right and wrong", "router")
    for side, host in ((0, C6), (1, S6)):
        own, there, link = "fd00:ff:%d::1" % (side + 1), "fd00:ff:%d::1" % (2 - side), b"\1\1\2\0\0\0\0\x21"
        for src in (host, "fd00:ff:%d::2" % (side + 1), "fd00:ff:%d::9" % (side + 1), "fe80::1", "::"):
            for dst in ("ff02::1:ff00:1", own, "ff02::1"):
                for target, options in ((own, link), (own, b""), (there, link)):
                    if src != "::" or dst.startswith("ff02"):
                        body = icmp(src, dst, 135, 0, bytes(4), address(target) + (b"" if src == "::" else options))
                        note = "%s asks %s for %s" % (src, dst, target) + (", without its own" if not options else "")
                        s.packet(side, ipv6(src, dst, ICMPV6, body, hops=255), note)
        unknown = "fd00:%d::77" % (side + 1)
        for dst in (own, "ff02::1:ff00:1"):
            for options in (b"", b"", link, b""):
                s.packet(side, ipv6(unknown, dst, ICMPV6, icmp(unknown, dst, 135, 0, bytes(4), address(own) + options), hops=255),
                         "%s told" % ("address" if options else "nothing"))
            unknown = unknown[:-1] + "8"
        for note, code, hops, check, rest in (("code 1", 1, 255, None, link), ("hop limit 254", 0, 254, None, link),
                                              ("bad checksum", 0, 255, 1, link),
                                              ("an empty option", 0, 255, None, b"\1\0" + bytes(6)),
                                              ("an option cut", 0, 255, None, b"\1\2" + bytes(6)),
                                              ("an unknown option", 0, 255, None, b"\x21\1" + bytes(6)),
                                              ("a stray byte", 0, 255, None, b"\1")):
            s.packet(side, ipv6(host, own, ICMPV6, icmp(host, own, 135, code, bytes(4), address(own) + rest, check),
                                hops=hops), note)
        s.packet(side, ipv6(host, own, ICMPV6, icmp(host, own, 135, 0, bytes(4), address(own)[:12]), hops=255),
                 "a target cut")
    yield s

    s = Script("router-options-end",
               "what stands behind the end of IPv4 options is cleared; a router alert that is too short", "router")
    for options in (b"\1\0\xc8\xff", b"\0\1\1\1", b"\0\0\0\0", b"\1\1\1\0" + b"\7\7\4" + bytes(5), b"\x94\3\0\0",
                    b"\x94\2\0\0", b"\x94\3\0\1\0\7\7\4"):
        for ttl in (64, 1):
            s.packet(0, ipv4(C4, S4, UDP, udp(C4, S4, 5, 6, b"x"), options=options, ttl=ttl),
                     "options %s, TTL %d" % (options.hex(), ttl))
    yield s

    def text(name, at, hook, rules):
        return "table inet %s {\n chain %s { type filter hook prerouting priority %s; %s\n}\n}\n" % (name, at, hook, rules)
    rules = lambda zone, mark: [{"at": "raw", "if": {"proto": "udp"}, "do": {"zone": zone}},
                                {"at": "mangle", "if": {"proto": "udp"}, "do": mark}]
    nft = lambda name, zone, mark: text(name, "raw", "raw", "meta l4proto udp ct zone set %d" % zone) \
        + text(name + "2", "mangle", "mangle", "meta l4proto udp ct mark set " + mark)
    s = Script("rules-later", "rules that come later are asked first", "policy", {"nft": nft("user", 2, "0x7"),
                                                                                  "host": {"rules": rules(2, {"mark": 7}),
                                                                                           "nat_hooks": []}})
    s.udp(0, 5, 6)
    s.steps.append({"nft": nft("later", 1, "ct mark or 0x100"), "host": {"rules": rules(1, {"mark_or": 256}),
                                                                         "nat_hooks": []}})
    yield s.udp(0, 5, 6).udp(1, 6, 5).udp(0, 5, 7)


TS = lambda v, e: NOP + NOP + option(8, struct.pack("!II", v, e))
SYN_OPTIONS = MSS + SACK_OK + option(8, struct.pack("!II", 1, 0)) + NOP + option(3, b"\x08")


def selftests():
    """what the kernel's selftests send, as far as one router and two sides can tell it"""
    for six, hosts in ((False, (C4, S4)), (True, (C6, S6))):
        end = "-v6" if six else ""

        def script(name, about, source, **sysctl):
            return Script(name + end, about, "tcp", {"sysctl": {CT + k: v for k, v in sysctl.items()}} if sysctl else None,
                          source)

        def at(s):
            def segment(side, *rest, **more):
                return s.tcp(side, *rest, hosts=hosts, **more)
            return segment

        s = script("selftest-syn-challenge-ack", "a SYN meets an old connection's end, which answers with a challenge ACK",
                   "packetdrill/conntrack_syn_challenge_ack.pkt")
        t = at(s)
        t(0, "S", 0, 0, 65535, options=SYN_OPTIONS)
        t(1, ".", 145824453, 643160523, 240, options=TS(1, 1), note="challenge ACK of the old incarnation")
        t(0, "R", 643160523, 0, 0)
        t(0, "S", 0, 0, 65535, options=SYN_OPTIONS)
        t(1, "S.", 145758918, 1, 240, options=MSS + SACK_OK + NOP + option(3, b"\0"))
        t(0, ".", 1, 145758919, 256)
        yield s

        s = script("selftest-synack-old", "an old SYN/ACK is answered with a RST, the SYN is repeated",
                   "packetdrill/conntrack_synack_old.pkt")
        t = at(s)
        t(0, "S", 0, 0, 65535, options=SYN_OPTIONS)
        t(1, "S.", 145824453, 643160523, 240, options=MSS + NOP + option(3, b"\0"), note="old")
        t(0, "R", 643160523, 0, 0)
        t(0, "S", 0, 0, 65535, options=SYN_OPTIONS)
        t(1, "S.", 145758918, 1, 240, options=MSS + NOP + option(3, b"\0"))
        t(0, ".", 1, 145758919, 256)
        yield s

        s = script("selftest-synack-reuse",
                   "another SYN in an established connection, a challenge ACK, a RST, and the SYN again",
                   "packetdrill/conntrack_synack_reuse.pkt")
        t = at(s)
        t(1, "S", 0, 0, 65535, options=MSS + SACK_OK + NOP + option(3, b"\7"))
        t(0, "S.", 7000, 1, 65535, options=SYN_OPTIONS)
        t(1, ".", 1, 7001, 65535)
        t(1, "S", 1000, 0, 65535, options=MSS, note="begun anew")
        t(0, ".", 7001, 1, 256, note="challenge ACK")
        t(1, "R", 1, 0, 0)
        t(1, "S", 1000, 0, 65535, options=MSS)
        t(0, "S.", 9000, 1001, 65535, options=SYN_OPTIONS)
        t(1, ".", 1001, 9001, 65535)
        yield s

        for last, about in ((3001, "exact"), (3002, "one too far"), (2001, "older"), (3001 + 65535, "at the edge")):
            s = script("selftest-inexact-rst-%d" % last, "a RST that is not exact after a FIN: " + about,
                       "packetdrill/conntrack_inexact_rst.pkt")
            t = at(s)
            t(0, "S", 0, 0, 65535, options=SYN_OPTIONS)
            t(1, "S.", 1, 1, 65535, options=MSS)
            t(0, ".", 1, 2)
            for n in range(3):
                t(1, ".", 2 + 1000 * n, 1, data=bytes(1000))
            for n in range(3):
                t(0, ".", 1, 1002 + 1000 * n)
            t(0, "P.", 1, 3002, data=bytes(1000))
            t(1, ".", 3002, 1001)
            t(0, "F.", 1001, 3002)
            t(1, ".", 3002, 1002)
            t(1, "P.", 3002, 1002, data=bytes(100))
            t(0, "R", last - 2000, 0, 0)
            t(1, "R", last, 0, 0)
            t(1, "P.", 3102, 1002, data=bytes(100))
            yield s

        for liberal in (0, 1):
            s = script("selftest-rst-invalid-%d" % liberal, "RSTs out of window", "packetdrill/conntrack_rst_invalid.pkt",
                       tcp_be_liberal=liberal)
            t = at(s)
            t(0, "S", 0, 0, 65535, options=SYN_OPTIONS)
            t(1, "S.", 1, 1, 65535, options=MSS + SACK_OK + NOP + option(3, b"\7"))
            t(0, ".", 1, 2)
            for n in range(3):
                t(1, ".", 2 + 1000 * n, 1, data=bytes(1000))
            for n in range(3):
                t(0, ".", 1, 1002 + 1000 * n)
            for seq in (0, 1, 1000, 3001, 3003, 3002 + 65535, 3002 + 2**24, 3002 + 2**25, 2**31 + 3002):
                t(1, "R.", seq, 1, 0, note="RST from the server at %d" % seq)
            for seq in (0, 2**31, 65535 * 128 + 1, 65535 * 128 + 2, 65535 * 128 + 3):
                t(0, "R", seq, 0, 0, note="RST from the client at %d" % seq)
            t(1, ".", 3002, 1, data=bytes(1000))
            t(1, "R", 4002, 1, 0)
            yield s

        s = script("selftest-ack-loss-stall", "data acknowledged already comes again, as its acknowledgements were lost",
                   "packetdrill/conntrack_ack_loss_stall.pkt")
        t = at(s)
        t(0, "S", 0, 0, 32792, options=MSS + NOP + option(3, b"\7"))
        t(1, "S.", 0, 1, 65535, options=SYN_OPTIONS)
        t(0, ".", 1, 1, 65535)
        for n in range(30):
            t(0, "P.", 1 + 1460 * n, 1, 257, data=bytes(1460))
            if n < 27:
                t(1, ".", 1, 1461 + 1460 * n, max(0, 256 - 11 * n))
        for n in (27, 28, 3, 27):
            t(0, "P.", 1 + 1460 * n, 1, 257, data=bytes(1460), note="again")
            t(1, ".", 1, 1 + 1460 * 30, 0, options=NOP + NOP + option(5, struct.pack("!II", 1 + 1460 * n, 1461 + 1460 * n)))
        t(1, ".", 1, 1 + 1460 * 30, 250)
        t(0, "P.", 1 + 1460 * 30, 1, 257, data=bytes(1460))
        yield s

        s = script("selftest-tcp-unreplied", "a SYN that nobody answers does not live on by being repeated",
                   "conntrack_tcp_unreplied.sh", tcp_timeout_syn_sent=2)
        t = at(s)
        t(0, "S", 100, 0, options=SYN_OPTIONS)
        for ms in (1300, 500, 500, 1000):
            s.wait(ms)
            t(0, "S", 100, 0, options=SYN_OPTIONS)
        yield s

    for six in (False, True):
        hosts, own = ((C6, S6), ICMPV6) if six else ((C4, S4), ICMP)
        router = "fd00:2::fe" if six else "10.2.0.254"
        s = Script("selftest-icmp-related" + ("-v6" if six else ""),
                   "too large for a link behind, and a port where nobody listens", "icmpv6" if six else "icmp", None,
                   "conntrack_icmp_related.sh")
        echo = lambda size: ip(*hosts, own, icmp(*hosts, 128 if six else 8, 0, b"\0\7\0\1", bytes(size)))
        back = ip(*hosts[::-1], own, icmp(*hosts[::-1], 129 if six else 0, 0, b"\0\7\0\1", bytes(1000)))
        s.packet(0, echo(1000)).packet(1, back).packet(0, echo(1400))
        s.packet(1, ip(router, hosts[0], own, icmp(router, hosts[0], 2 if six else 3, 0 if six else 4,
                                                   struct.pack("!I", 1280), echo(1400)[:500 if not six else 1200])),
                                                   "too large")
        s.udp(0, 5000, 4404, bytes(100), hosts=hosts)
        quoted = ip(*hosts, UDP, udp(*hosts, 5000, 4404, bytes(100)))
        s.packet(1, ip(*hosts[::-1], own, icmp(*hosts[::-1], 1 if six else 3, 4 if six else 3, bytes(4), quoted)),
                 "nobody listens")
        s.udp(0, 5000, 4405, bytes(1400), hosts=hosts)
        quoted = ip(*hosts, UDP, udp(*hosts, 5000, 4405, bytes(1400)))
        s.packet(1, ip(router, hosts[0], own, icmp(router, hosts[0], 2 if six else 3, 0 if six else 4,
                                                   struct.pack("!I", 1280), quoted[:548])), "too large")
        yield s.udp(0, 5000, 4405, bytes(1000), hosts=hosts)

    rules = [{"at": "raw", "if": {"family": "ip", "dscp": n}, "do": {"zone": n}} for n in range(1, 21)]
    each = "; ".join("ip dscp %d ct zone set %d" % (n, n) for n in range(1, 21))
    text = "table inet user {\n chain pre { type filter hook prerouting priority raw; " + each + "\n}\n}\n"
    s = Script("selftest-zones-many", "one tuple in many zones", "policy",
               {"nft": text, "host": {"rules": rules, "nat_hooks": []}}, "nft_zones_many.sh")
    for n in range(21):
        s.packet(0, ipv4(C4, S4, UDP, udp(C4, S4, 12345, 12345, b"x"), tos=n << 2))
    for n in (0, 3, 20, 21):
        s.packet(1, ipv4(S4, C4, UDP, udp(S4, C4, 12345, 12345, b"x"), tos=n << 2))
    yield s


def everything():
    yield from rules_of_ours()
    yield from router()
    yield from selftests()
    yield from fragments.by_hand(Script)
