#!/usr/bin/env python3
"""Scenarios of the helpers of FTP, IRC and TFTP: those made by hand, or random ones.

usage: helpers.py -o DIR                              by hand: one question each
       helpers.py --seed N --count N -o DIR           random control dialogues, mutated, with the connections they announce

For a recorder, as scenarios.py.
"""
import argparse, json, os, random
from handmade import C4, C6, CT, S4, S6, Script
from packets import TCP, UDP, ip, tcp, udp

PORT = {"ftp": 21, "irc": 6667, "tftp": 69}
A4, B4 = "167837697", "167903233"                 # 10.1.0.1, 10.2.0.1 as DCC has them
CTCP = "\x01"


def config(*helpers, mark=None, zone=None, drop=None, longest=None, **sysctl):
    """rules that attach helpers; a mark for masters, a zone for all, a port and a length that are dropped"""
    nft, rules, hook = "table inet user {", [], ""
    for helper in helpers:
        proto = "udp" if helper == "tftp" else "tcp"
        nft += ' ct helper %s { type "%s" protocol %s;\n}\n' % (helper, helper, proto)
        hook += ' %s dport %d ct helper set "%s"\n' % (proto, PORT[helper], helper)
        rules.append({"at": "mangle", "if": {"proto": proto, "dport": PORT[helper]}, "do": {"helper": helper}})
        if mark:
            hook += " %s dport %d ct mark set 0x%x\n" % (proto, PORT[helper], mark)
            rules.append({"at": "mangle", "if": {"proto": proto, "dport": PORT[helper]}, "do": {"mark": mark}})
    if zone:
        nft += " chain raw { type filter hook prerouting priority raw; ct zone set %d\n}\n" % zone
        rules.append({"at": "raw", "if": {}, "do": {"zone": zone}})
    if drop:
        nft += " chain forward { type filter hook forward priority 0; tcp dport %d drop\n}\n" % drop
        rules.append({"at": "forward", "if": {"proto": "tcp", "dport": drop}, "do": {"drop": True}})
    if longest:
        nft += " chain forward { type filter hook forward priority 0; meta length > %d drop\n}\n" % longest
        rules.append({"at": "forward", "if": {"length_over": longest}, "do": {"drop": True}})
    nft += " chain pre { type filter hook prerouting priority mangle;\n%s}\n}\n" % hook
    out = {"nft": nft, "host": {"rules": rules, "nat_hooks": []}}
    if sysctl:
        out["sysctl"] = {CT + k: v for k, v in sysctl.items()}
    return out


class Talk:
    """a control connection over TCP; side 0 is its client"""
    def __init__(self, script, helper="ftp", client=1000, hosts=(C4, S4), begin="SYN", isn=(1000000, 5000000), window=65535):
        self.script, self.hosts, self.ports, self.window = script, hosts, (client, PORT[helper]), window
        self.next = list(isn)
        if begin == "SYN":
            self.segment(0, "S")
            self.segment(1, "S.")
            self.segment(0, ".")
        else:
            self.next = [n + 1 for n in isn]
        self.base = list(self.next)

    def segment(self, side, flags, data=b"", seq=None, note=None):
        data = data.encode("latin1") if isinstance(data, str) else data
        at = self.next[side] if seq is None else seq
        self.script.tcp(side, flags, at, self.next[1 - side] if "." in flags else 0, self.window, data, ports=self.ports,
                        hosts=self.hosts, note=note)
        if seq is None:
            self.next[side] += len(data) + ("S" in flags) + ("F" in flags)

    def say(self, side, data, seq=None, note=None):
        self.segment(side, "P.", data, seq, note)
        return self

    def at(self, side, place, data, flags="P."):
        """data at a place of the stream, wherever that is"""
        self.segment(side, flags, data, (self.base[side] + place) % 2**32)
        self.next[side] = max(self.next[side], self.base[side] + place + len(data))

    def lines(self):
        """both ends have ended a line"""
        return self.say(1, "220 r\r\n").say(0, "U\r\n")


def probes(name, about, helper, texts, hosts=(C4, S4), side=0):
    """many texts at one place of one connection: none ends in a newline where that would count"""
    s = Script(name, about, "helper", config(helper))
    t = Talk(s, helper, hosts=hosts)
    if helper == "ftp":
        t.lines()
    for text in texts:
        t.say(side, text, t.next[side])
    return s


def numbered(texts, first=5000):
    """`%p` is a port, `%h` one in two halves, each time another"""
    for text in texts:
        while "%p" in text or "%h" in text:
            if "%h" in text and ("%p" not in text or text.index("%h") < text.index("%p")):
                text = text.replace("%h", "%d,%d" % divmod(first, 256), 1)
            else:
                text = text.replace("%p", str(first), 1)
            first += 1
        yield text


# ---------------------------------------------------------------- by hand: the text of commands
PORTS = ["PORT ", "port ", "pOrT ", "PORTS ", "PORT\tx ", "PORT\r\n ", "PORT  ", "PORT\t", "PORT", " PORT ", "XPORT ", "NOOP\r\nPORT ",
         "\r\nPORT ", "STOR x\r\nPORT "]
PORTS = [p + "10,1,0,1,%h\rx" for p in PORTS] + ["PORT 10,1,0,1,%h" + e for e in (
    "\r", "\n", "", " \r", ";\r", ",\r", ",5\r", ".\r", " x\r", "\r\nPORT 10,1,0,1,%h\r", "\rx", "x\r", "\0\r")] + [
    "PORT %s\rx" % n for n in (
        "010,1,0,1,%h", "0010,01,000,0001,%h", "00000000000010,1,0,1,%h", "266,1,0,1,%h", "10,257,0,1,%h", "10,1,256,1,%h",
        "10,1,0,257,%h", "10,1,0,4294967297,%h", "4294967306,1,0,1,%h", "10 ,1,0,1,%h", "10, 1,0,1,%h", "10,1,,1,%h",
        ",,,,,", "10,1,0,1,,", "10,1,0,1,19,", "10,1,0,1,,200", "10,1,0,1,19", "10,1,0,1,", "10,1,0,1", "10", "", "x",
        "10,1,0,1,-5,7", "10.1.0.1,%h", "10,1,0,1,0,0", "10,1,0,1,0,1", "10,1,0,1,3,255", "10,1,0,1,255,255",
        "10,1,0,1,256,0", "10,1,0,1,0,5000", "10,1,0,1,0,65536", "10,1,0,1,1,70000", "10,1,0,1,300,5",
        "10,1,0,1,4294967300,0", "10,1,0,1,0,4294972297", "10,2,0,1,%h", "10,1,0,2,%h", "0,0,0,0,%h", "255,255,255,255,%h",
        "127,0,0,1,%h", "10,1,0,1," + "0" * 900 + "19,7")] + [
    "P", "PO", "POR", "PORT", "PORT ", "PORT 1", "POX", "PORX", "X"]

EPRTS = ["EPRT |1|10.1.0.1|%p|", "eprt |1|10.1.0.1|%p|", "EPRT|1|10.1.0.1|%p|", "EPRT  |1|10.1.0.1|%p|", "EPRTx |1|10.1.0.1|%p|",
         "EPRT x |1|10.1.0.1|%p|", "EPRT ||10.1.0.1|%p|"] + [
    "EPRT |%s|10.1.0.1|%%p|" % f for f in ("01", "11", "2", "3", "0", "1 ", "x")] + [
    "EPRT |1|%s|%%p|x" % a for a in (
        "10.1.0.99", "10.2.0.1", "010.001.000.001", "0010.1.0.1", "266.1.0.1", "10.257.0.1", "10.1.256.1", "10.1..1", "10.1.0.1.",
        "10.1.0", "10,1,0,1", "10.1.0.1 ", " 10.1.0.1", "10.1.0.1x", "...", ".10.1.0.1", "10.1.0.4294967297", "", "fd00:1::1",
        "10.1.0.1\0")] + [
    "EPRT |1|10.1.0.1|%s" % p for p in (
        "0|", "1|", "65535|", "65536|", "70000|", "|", "05555|", " 5|", "5 |", "x|", "5!", "5", "5\r\n", "4294967301|", "5|junk", "5||")] + [
    "EPRT %s" % t.replace("!", d) for t in ("!1!10.1.0.1!%p!",) for d in "~A,:/.1 (\x01\x7f\xff\r"] + [
    "EPRT |2|fd00:1::1|%p|", "EPRT |1!10.1.0.1|%p|", "EPRT |1|10.1.0.1!%p|", "EPRT 1|10.1.0.1|%p|", "EPRT 10,1,0,1,30,30\rx",
    "E", "EP", "EPR", "EPRT", "EPRT ", "EPRT |", "EPRT |1", "EPRT |1|", "EPRT |1|1", "EPRT |1|10.1.0.1", "EPRT |1|10.1.0.1|", "EPS", "EPSV"]

EPRTS6 = ["EPRT |2|%s|%%p|x" % a for a in (
    "fd00:1::1", "FD00:1::1", "fd00:1:0:0:0:0:0:1", "fd00:0001:0000:0000:0000:0000:0000:0001", "fd00:00001::1", "0000fd00:1::1",
    "fd00:1::0.0.0.1", "fd00:1:0:0:0:0:0.0.0.1", "fd00:1::000.00.0.0001", "fd00:1::0:1", "fd00:1:0:0:0:0::1", "fd00:1:0::1",
    "fd00:1::99", "fd00:2::1", "::", "::1", "1::", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "fd00:1::256.0.0.1", "fd00:1::0.0.1",
    "fd00:1::0.0.0.1.2", "fd00:1::0.0..1", "fd00:1::1.2.3.a", "fd00:1::a.2.3.4", "1:2:3:4:5:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4",
    "fd00:1:0:0:0:0:0::1", "1::2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "fd00:1::0::1", ":::", ":", "", "1", "fd00:1::1:",
    ":fd00:1::1", "fd00:1:::1", "fd00:1::10001", "fd00:1::100000001", "1fd00:1::1", "fd00:1::1%r0", "fd00:1::1/64", " fd00:1::1",
    "fd00:1::1 ", "[fd00:1::1]", "0xfd00:1::1", "fd00:1::g", "10.1.0.1", "fd00:1::1\0" + "5")] + [
    "EPRT |2|fd00:1::%s|" % e for e in ("1\0005", "1\0", "0.0.0.1:5", "0.0.0.1:0", "0.0.0.1:a", "0.0.0.1:5:6", "0.0.0.1:", "0.0.0.2:5",
                                        "1:5", "1\n5", "1|0", "1|65536", "1|70000", "1|")] + [
    "EPRT !2!fd00:1::1!%p!".replace("!", d) for d in ":df./AF2~"] + [
    "EPRT !2!fd00:1::0.0.0.1!%p!".replace("!", d) for d in ":d."] + [
    "EPRT |1|10.1.0.1|%p|", "EPRT |3|fd00:1::1|%p|", "EPRT |2|fd00:1::1", "EPRT |2|fd00:1", "EPRT |2|fd00:1::1|%p", "EPRT |2|fd00:1::1|%p|",
    "PORT 10,1,0,1,%h\rx", "PORT 253,0,0,1,%h\rx", "PORT 253,0,0,2,%h\rx", "PORT 0,0,0,1,%h\rx", "PORT 1,2\rx"]

PASVS = ["227 Entering Passive Mode (10,2,0,1,%h)", "227 Entering Passive Mode 10,2,0,1,%h\r", "227 =10,2,0,1,%h.", "227 (10,2,0,1,%h",
         "227 10,2,0,1,%h\nx", "227(10,2,0,1,%h)", "227-x (10,2,0,1,%h)", "227\t(10,2,0,1,%h)", "2270 (10,2,0,1,%h)", "228 (10,2,0,1,%h)",
         "227  10,2,0,1,%h)", "227 Mode 5 (10,2,0,1,%h)", "227 (x) 10,2,0,1,%h)", "227 \r\n(10,2,0,1,%h)", "227 x\r\n227 (10,2,0,1,%h)",
         "227 (10,2,0,1,%hx", "227 (10,2,0,1,%h,7)", "227 (10,2,0,1,%h )", "227 [ 10,2,0,1,%h]", "227 x10,2,0,1,%h)",
         "227 ,10,2,0,1,%h)", "227 (,,,,,)", "227 (10,2,0,%h)", "227 (10,1,0,1,%h)", "227 (10,2,0,2,%h)", "227 (0,0,0,0,%h)",
         "227 (10,2,0,2,%h) (10,2,0,1,%h)", "227 (266,2,0,1,%h)", "227 (10,2,0,1,0,0)", "227 (10,2,0,1,999,5)", "227 (10,2,,1,%h)",
         "150 x\r\n227 (10,2,0,1,%h)", "227 (10,2,0,1,%h)\r\n227 (10,2,0,1,%h)", "227 -10,2,0,1,%h)", "2", "22", "22\r", "227", "227 ",
         "227 (", "227 (1", "227 (10,2,0,1,5", "227 (10,2,0,1,5,", "227 no numbers", "227 one 1 two 2", "227\r", "227x", "PORT 10,2,0,1,%h\rx",
         "EPRT |1|10.2.0.1|%p|"]

EPSVS = ["229 Entering Extended Passive Mode (|||%p|)", "229 (|||%p|", "229 |||%p|", "229(|||%p|)", "229-(|||%p|)", "229 x(|||%p|)",
         "229 (x) (|||%p|)", "229 (((|||%p|)", "229 ((((%p()", "229 (||%p|)", "229 (||||%p|)", "229 (|1|10.2.0.1|%p|)", "229 (|1||%p|)",
         "229 (||!%p|)", "229 (|!|%p|)", "229 (|||%p!)", "229 (|||%p\r", "229 (|||%p)", "229 (||| %p|)", "229 (|||%p |)", "229 (||||)",
         "229 (|||0%p|)", "229 (|||0|)", "229 (|||1|)", "229 (|||65535|)", "229 (|||65536|)", "229 (|||70000|)", "229 (|||4294973296|)",
         "229 (|||-5|)", "229 (|||%p|)(|||%p|)"] + ["229 (!!!%p!)".replace("!", d) for d in "!\"A~/, \x01\x7f\xff\r2\0"] + [
    "229", "229 ", "229 (", "229 (|", "229 (||", "229 (|||", "229 (|||5", "229 (|||5|", "229 x", "229 \r", "22x", "229x"]

OFFERS = ["%s f A4 %%p 5\n" % k for k in ("SEND", "CHAT", "MOVE", "TSEND", "SCHAT", "SSEND", "XMIT", "RESUME", "ACCEPT", "TCHAT", "GET",
                                        "send", "SENDX", "SEND\t", "")] + [
    "SEND f A4 %p", "SEND f A4 %p\n", "SEND f A4 %p\r\n", "SEND f A4 %p" + CTCP, "SEND f A4 %p" + CTCP + "\nx", "SEND f A4 %p x\n", "SEND f A4 %px\n",
    "SEND f f A4 %p\n", "SEND \"f f\" A4 %p\n", "SEND  f A4 %p\n", "SEND  A4 %p\n", "SEND f  A4 %p\n", "SEND f A4  %p\n", "SEND f A4     %p\n",
    "SEND f\tA4 %p\n", "SEND f A4\t%p\n", "SEND f\r\n A4 %p\n", "SEND f A4\n %p\n", "SEND f\n A4 %p", "SEND A4 %p 5\n",
    "SEND f 0A4 0%p\n", "SEND f 4462804993 %p\n", "SEND f 18446744073877389313 %p\n", "SEND f 0x0A010001 %p\n", "SEND f 10.1.0.1 %p\n",
    "SEND f -A4 %p\n", "SEND f +A4 %p\n", "SEND f A4x %p\n", "SEND f A4,%p\n", "SEND f A4 0\n", "SEND f A4 1\n", "SEND f A4 65535\n", "SEND f A4 65536\n",
    "SEND f A4 70000\n", "SEND f A4 -5\n", "SEND f A4 +5\n", "SEND f A4 x\n", "SEND f A4 \n", "SEND f A4\n", "SEND f B4 %p\n", "SEND f 0 %p\n",
    "SEND f 1 %p\n", "SEND f 2130706433 %p\n", "SEND f 4294967295 %p\n", "SEND f 167837698 %p\n", "SEND " + "f" * 900 + " A4 %p\n",
    "SEND a A4 %p 5" + CTCP + "\r\nPRIVMSG b :" + CTCP + "DCC SEND b A4 %p\n", "SEND a 5 %p 5" + CTCP + "\r\nPRIVMSG b :" + CTCP + "DCC SEND b A4 %p\n",
    "SEND " + CTCP + "DCC SEND b A4 %p\n", "CHAT a A4 5\n", "CHAT a A4 6\r\n", "CHAT aa A4 7\n", "CHAT  A4 8\n8", "CHAT  A4 9\n99", "SEND", "SEND ", "SEND f",
    "SEND f ", "SEND f A4", "SEND f A4 ", "SEND f A4 5"]
OFFERS += [CTCP.join((k, between, "DCC SEND f A4 %p\n")) for k in ("RESUME f A4 7 7", "SENDX", "", "SEND f 5 7", "SEND f A4 0")
           for between in (" :", ":", "\r\nPRIVMSG b :", "\n :x :")] + ["x :" + CTCP + "DCC y :" + CTCP + "DCC SEND f A4 %p\n",
                                                                      " :" + CTCP + "DCC SEND f A4 %p\n", ":" + CTCP + "DCC SEND f A4 %p\n"]
OFFERS = ["PRIVMSG b :" + CTCP + "DCC " + o for o in OFFERS] + [p + CTCP + "DCC SEND f A4 %p 5\r\n" for p in (
    "privmsg b :", "PrIvMsG b :", "NOTICE b :", "", ":", "PRIVMSG b ", "PRIVMSG :", "PRIVMSG  :", "PRIVMSG ", "PRIVMSG", "PRIVMSG b c :", "PRIVMSG #c,d :",
    "PRIVMSG b:", "PRIVMSG b: :", "PRIVMSG b :a :", "PRIVMSG b :x", "PRIVMSG b : ", "PRIVMSG b\r\nNOTICE c :", "PRIVMSG b :x\r\nPRIVMSG b :", " PRIVMSG b :",
    "\r\n\n PRIVMSG b :", "\tPRIVMSG b :", "\0PRIVMSG b :", ":a PRIVMSG b :", "x PRIVMSG b :", "x\r\nPRIVMSG b :", "PRIVMSG\tb :", "PRIVMSGX b :",
    "PRIVMSG b\t:", "PRIVMSG " + "b" * 900 + " :", " " * 500 + "PRIVMSG b :")] + ["PRIVMSG b :" + CTCP + t + "SEND f A4 %p 5\r\n" for t in (
        "DCC  ", "DCC", "DCC\t", "dcc ", "DCC x ", CTCP + "DCC ")] + ["PRIVMSG b :DCC SEND f A4 %p 5\r\n", "", CTCP, "PRIVMSG b :" + CTCP + "DCC"]


def texts():
    for k, part in enumerate((PORTS[:40], PORTS[40:])):
        yield probes("ftp-port-text-%d" % k, "PORT, right and wrong", "ftp", numbered(part))
    for k, part in enumerate((EPRTS[:40], EPRTS[40:])):
        yield probes("ftp-eprt-text-%d" % k, "EPRT, right and wrong", "ftp", numbered(part))
    for k, part in enumerate((EPRTS6[:45], EPRTS6[45:])):
        yield probes("ftp-eprt-text-v6-%d" % k, "EPRT over IPv6, right and wrong; PORT over IPv6", "ftp", numbered(part), (C6, S6))
    yield probes("ftp-eprt-words-v6", "EPRT: each part of an address counts; PORT: four bytes of it", "ftp", numbered(
        ["EPRT |2|%s|%%p|" % a for a in (
            "fd00:1:2:3:4:5:6:7", "fd00:1:2:3:4:5:6:8", "fd00:1:2:3:4:5:7:7", "fd00:1:2:3:4:6:6:7", "fd00:1:2:3:5:5:6:7",
            "fd00:1:2:4:4:5:6:7", "fd00:1:3:3:4:5:6:7", "fd00:2:2:3:4:5:6:7", "fd01:1:2:3:4:5:6:7")]
        + ["PORT 253,0,0,1,%h\rx", "PORT 253,0,0,2,%h\rx", "PORT 253,0,1,1,%h\rx"]), ("fd00:1:2:3:4:5:6:7", S6))
    yield probes("ftp-pasv-text", "227, right and wrong", "ftp", numbered(PASVS), side=1)
    yield probes("ftp-epsv-text", "229, right and wrong", "ftp", numbered(EPSVS), side=1)
    yield probes("ftp-passive-text-v6", "227 and 229 over IPv6", "ftp", numbered(
        ["227 (10,2,0,1,%h)", "227 (253,0,0,2,%h)", "227 (253,0,0,1,%h)", "227 (0,0,0,0,%h)", "227 x", "229 (|||%p|)", "229 (|2|fd00:2::1|%p|)"]),
        (C6, S6), side=1)
    yield probes("ftp-wrong-way", "answers from the client", "ftp", numbered(
        ["227 (10,1,0,1,%h)", "227 (10,2,0,1,%h)", "229 (|||%p|)", "2", "227", "PASV\r", "EPSV\r"]))
    offers = [o.replace("A4", A4).replace("B4", B4) for o in numbered(OFFERS)]
    for k in range(0, len(offers), 40):
        yield probes("irc-text-%d" % (k // 40), "DCC offers, right and wrong", "irc", offers[k:k + 40])
    yield probes("irc-server", "offers from the server are not heard", "irc",
                 [p + "PRIVMSG b :" + CTCP + "DCC SEND f %s 5000 5\r\n" % a for a in (A4, B4) for p in ("", ":a ")], side=1)
    s = Script("irc-v6", "IRC's helper is not attached over IPv6", "helper", config("irc"))
    t = Talk(s, "irc", hosts=(C6, S6))
    for a in (A4, "4244635649"):
        t.say(0, "PRIVMSG b :" + CTCP + "DCC SEND f %s 5000 5\r\n" % a)
    yield s


# ---------------------------------------------------------------- by hand: where lines begin
def places():
    """`P` alone is dropped where a line is known to begin"""
    dialogues = {
        "none": [(0, "P"), (0, "PORT 10,1,0,1,30,1\r\n"), (20, "P")],
        "one": [(0, "AA\r\n"), (4, "P"), (0, "P"), (3, "P"), (5, "P")],
        "three": [(0, "AA\n"), (3, "BB\n"), (6, "CC\n"), (0, "P"), (3, "P"), (6, "P"), (9, "P")],
        "again": [(0, "AA\n"), (3, "BB\n"), (3, "BB\n"), (0, "AA\n"), (3, "P"), (6, "P"), (6, "CC\n"), (3, "P"), (6, "P"), (9, "P")],
        "back": [(20, "XX\n"), (10, "XX\n"), (0, "AA\n"), (3, "P"), (13, "P"), (23, "P")],
        "between": [(0, "AA\n"), (20, "BB\n"), (10, "CC\n"), (5, "DD\n"), (3, "P"), (8, "P"), (13, "P"), (23, "P")],
        "ends": [(0, "A\r"), (2, "P"), (2, "\n"), (3, "P"), (3, "A\nB"), (5, "P"), (6, "P"), (3, "A\nB\n"), (5, "P"), (7, "P")],
        "dropped": [(0, "AA\n"), (3, "PORT\n"), (8, "P"), (3, "BB\n"), (6, "P"), (6, "EPRT x\n"), (13, "P")],
        "heard": [(0, "AA\n"), (3, "PORT 10,1,0,1,30,1\r\n"), (23, "P"), (23, "PORT 10,1,0,2,30,2\r\n"), (43, "P")],
        "flags": [(0, "AA\n"), (3, "P", "."), (3, "P", "PU."), (3, "BB\n", "F."), (6, "P"), (7, "P"), (6, "P", "R.")],
        "far": [(0, "AA\n"), (60000, "BB\n"), (3, "P"), (60003, "P")],
        "split": [(0, "AA\n"), (3, "PORT 10,1,"), (13, "0,1,30,2\r\n"), (3, "PORT 10,1,0,1,30,2\r\n")],
    }
    for k in (0, 6):
        s = Script("ftp-places-%d" % (k // 6), "where lines begin: behind the two furthest segments that end in a newline", "helper", config("ftp"))
        for n, (name, dialogue) in enumerate(list(dialogues.items())[k:k + 6]):
            t = Talk(s, client=1000 + n)
            s.steps[-1]["note"] = name
            for place, *rest in dialogue:
                t.at(0, place, *rest)
        yield s
    s = Script("ftp-places-wrap", "where lines begin while sequence numbers wrap", "helper", config("ftp"))
    for n, isn in enumerate((2**32 - 8, 2**32 - 4, 2**32 - 1, 2**31 - 5)):
        t = Talk(s, client=1000 + n, isn=(isn, 2**32 - 6))
        for side, letter in ((0, "P"), (1, "2")):
            for place, text in ((0, letter), (0, "AA\n"), (3, letter), (9, "BB\n"), (3, "CC\n"), (3, letter), (6, letter), (12, letter)):
                t.at(side, place, text)
    yield s
    s = Script("ftp-places-ends", "each end has lines of its own", "helper", config("ftp"))
    t = Talk(s)
    for side, place, text in ((1, 0, "xx\n"), (0, 3, "P"), (0, 0, "P"), (1, 3, "P"), (1, 3, "2"), (0, 0, "AAAA\n"), (0, 3, "P"), (0, 5, "P"), (1, 5, "2"),
                              (1, 3, "22\n"), (1, 6, "2"), (1, 3, "227\n"), (1, 7, "2"), (1, 3, "227 \n"), (1, 3, "229 \n")):
        t.at(side, place, text)
    yield s
    s = Script("ftp-midstream", "a control connection picked up: nothing is heard before an answer was seen", "helper", config("ftp"))
    for n, first in enumerate((0, 1)):
        t = Talk(s, client=1000 + n, begin="", hosts=(C4, S4))
        letters = "P2"
        t.at(first, 0, "AA\n")
        t.at(first, 3, letters[first])
        t.at(first, 3, "BB\n")
        t.at(1 - first, 0, "AA\n")
        t.at(1 - first, 3, letters[1 - first])
        t.at(first, 3, letters[first])
        t.at(first, 6, "CC\n")
        t.at(first, 9, letters[first])
        t.at(0, 9, "PORT 10,1,0,1,30,%d\r\n" % n)
    yield s
    s = Script("irc-midstream", "IRC: nothing is heard before an answer was seen; FIN and RST may carry offers", "helper", config("irc"))
    t = Talk(s, "irc", begin="")
    offer = "PRIVMSG b :" + CTCP + "DCC SEND f " + A4 + " %d 5\r\n"
    t.say(0, offer % 5000).say(0, offer % 5001).say(1, "x").say(0, offer % 5002)
    t.segment(0, "F.", offer % 5003)
    t.segment(0, "R.", offer % 5004)
    yield s
    s = Script("ftp-old-data", "segments that the tracker ignores are heard, invalid ones are not", "helper", config("ftp"))
    t = Talk(s, window=1000)
    t.at(0, 0, "A" * 900 + "\n")
    t.at(1, 0, "B" * 900 + "\n")
    t.at(0, 901, "C" * 900 + "\n")
    t.at(1, 901, "D" * 900 + "\n")
    t.at(0, 901, "P")
    t.at(0, 1802, "E" * 900)
    t.at(0, 2702, "E" * 900)
    t.at(1, 1802, "E" * 900)
    for place in (901, 1802):
        t.at(0, place, "P")
    t.segment(0, "P.", "P", t.base[0] + 901 + 100000)
    t.segment(0, "P.", "AA\n", t.base[0] + 200000)
    t.segment(0, "P.", "P", t.base[0] + 200003)
    yield s


# ---------------------------------------------------------------- by hand: expectations and the connections that meet them
def child(s, side, sport, dport, flags="S", seq=1, ack=0, data=b"", hosts=(C4, S4), note=None, src=None):
    """a segment of a connection from this side's host to the other's"""
    ends = (src or hosts[side], hosts[1 - side])
    return s.packet(side, ip(*ends, TCP, tcp(*ends, sport, dport, flags, seq, ack, 65535, data)), note)


def udp_child(s, side, sport, dport, data=b"x", hosts=(C4, S4), note=None):
    return s.udp(side, sport, dport, data, hosts, note)


def port(n, host="10,1,0,1"):
    return "PORT %s,%d,%d\r\n" % (host, *divmod(n, 256))


def offer(n, address=A4):
    return "PRIVMSG b :" + CTCP + "DCC SEND f %s %d 5\r\n" % (address, n)


RRQ = b"\0\1file\0octet\0"


def expectations():
    s = Script("ftp-child-dropped", "an expectation is used up by a packet that a rule drops", "helper", config("ftp", drop=5000))
    Talk(s).lines().say(0, port(5000))
    child(s, 1, 20, 5000, note="dropped")
    child(s, 1, 20, 5000)
    yield s

    s = Script("ftp-child-retransmits", "a SYN of an expected connection that is sent again, reset, and sent once more", "helper", config("ftp"))
    Talk(s).lines().say(0, port(5000))
    for flags in "SSS":
        child(s, 1, 20, 5000, flags)
    child(s, 1, 20, 5000, "R")
    child(s, 1, 20, 5000)
    yield s

    s = Script("ftp-child-kinds", "which packets may begin an expected connection", "helper", config("ftp"))
    t = Talk(s).lines()
    for n, flags in enumerate(("S.", "R", "F.", ".", "P.", "-", "S")):
        t.say(0, port(5000 + n))
        child(s, 1, 20, 5000 + n, flags, ack=7 if "." in flags else 0, note=flags)
        child(s, 0, 5000 + n, 20, ".", seq=7, ack=2)
        child(s, 1, 20, 5000 + n, ".", seq=2, ack=7)
    yield s

    s = Script("ftp-child-loose0", "without tcp_loose an expected connection begins with a SYN", "helper", config("ftp", tcp_loose=0))
    t = Talk(s).lines().say(0, port(5000))
    child(s, 1, 20, 5000, ".", ack=7)
    child(s, 1, 20, 5000)
    yield s

    s = Script("ftp-child-near", "packets beside an expectation", "helper", config("ftp"))
    t = Talk(s).lines().say(0, port(5000))
    child(s, 1, 20, 5001)
    child(s, 1, 20, 5000, src="10.2.0.2")
    child(s, 0, 20, 5000)
    child(s, 0, 5000, 20, note="the way back")
    udp_child(s, 1, 20, 5000)
    child(s, 1, 5000, 20)
    child(s, 1, 5000, 5000)
    child(s, 1, 20, 5000, note="used up")
    yield s

    s = Script("ftp-child-there", "the announced connection is there already, or its tuple from the other end", "helper", config("ftp"))
    t = Talk(s).lines()
    child(s, 1, 20, 5000)
    t.say(0, port(5000))
    child(s, 1, 20, 5000)
    child(s, 0, 5000, 20, "S.", seq=9, ack=2)
    child(s, 1, 21, 5000)
    yield s

    s = Script("ftp-child-of-a-child", "an expected connection that has a helper by rule", "helper", config("ftp", mark=5))
    Talk(s).lines().say(0, port(21))
    t = Talk(s, hosts=(S4, C4), client=20, begin="")
    for side, flags, seq, ack, data in ((1, "S", 1, 0, b""), (0, "S.", 100, 2, b""), (1, ".", 2, 101, b""), (1, "P.", 2, 101, b"AA\n"),
                                        (1, "P.", 5, 101, b"PORT 10,2,0,1,30,30\r\n")):
        a, b = ((20, 21), (21, 20))[1 - side]
        child(s, side, a, b, flags, seq, ack, data)
    child(s, 0, 20, 7710)
    yield s

    s = Script("ftp-mark", "the master's mark is its children's, as it was when they began", "helper", config("ftp", mark=7))
    t = Talk(s).lines().say(0, port(5000))
    child(s, 1, 20, 5000)
    t.say(0, port(5001))
    child(s, 1, 20, 5001, src="10.2.0.2")
    child(s, 1, 20, 5001)
    child(s, 0, 5001, 20, "S.", seq=9, ack=2)
    yield s

    s = Script("ftp-zone", "an expectation holds in its master's zone", "helper", config("ftp", zone=5))
    Talk(s).lines().say(0, port(5000))
    child(s, 1, 20, 5000)
    child(s, 1, 20, 5000)
    yield s

    s = Script("ftp-clash", "what another master expects cannot be expected: the packet is dropped, and what was expected before is gone or not", "helper",
               config("ftp", "irc"))
    one, two, three = Talk(s).lines(), Talk(s, client=1001).lines(), Talk(s, "irc", client=1002)
    one.say(0, port(5000))
    two.say(0, port(5001)).say(0, port(5000), note="clash").say(0, port(5002))
    three.say(0, offer(5000), note="wider").say(0, offer(5003))
    one.say(0, port(5003), note="narrower").say(0, port(5003))
    three.say(0, offer(5003), note="again")
    child(s, 1, 20, 5000)
    child(s, 1, 20, 5002)
    child(s, 1, 20, 5003)
    yield s

    s = Script("irc-limit", "at the ninth the oldest goes; one announced again is a new one", "helper", config("irc"))
    t = Talk(s, "irc")
    for n in (0, 1, 1, *range(2, 11), 5, 11, 12):
        t.say(0, offer(5000 + n))
    for n in (0, 5, 12):
        child(s, 1, 20, 5000 + n)
    yield s

    s = Script("irc-anyone", "anyone may come, once", "helper", config("irc"))
    t = Talk(s, "irc").say(0, offer(5000)).say(0, offer(5001))
    child(s, 1, 20, 5000, src="10.9.9.9")
    child(s, 1, 20, 5000, src="10.9.9.8")
    child(s, 0, 20, 5001, src="10.1.0.7", hosts=("10.1.0.7", C4), note="from the same side")
    child(s, 1, 20, 5001, src="10.9.9.9")
    yield s

    s = Script("ftp-master-expires", "what a master expects goes with it", "helper", config("ftp", "irc", tcp_timeout_close=2))
    one, two = Talk(s).lines(), Talk(s, "irc", client=1001)
    one.say(0, port(5000))
    for n in (6000, 6001, 6002):
        two.say(0, offer(n))
    child(s, 1, 20, 6001)
    one.segment(0, "R.")
    two.segment(0, "R.")
    s.wait(1200)
    child(s, 1, 20, 6000)
    s.wait(1800)
    child(s, 1, 20, 5000)
    child(s, 1, 20, 6002)
    child(s, 0, 6001, 20, "S.", seq=9, ack=2, note="a child lives on")
    child(s, 1, 20, 6001, ".", seq=2, ack=10)
    yield s

    s = Script("irc-master-dies", "what a dead master expected is told of, the newest first", "helper", config("irc", tcp_timeout_close=1))
    t = Talk(s, "irc")
    for n in (5000, 5003, 5001, 5002, 5000):
        t.say(0, offer(n))
    t.segment(0, "R.")
    yield s.wait(1500)

    s = Script("ftp-master-begins-again", "what a master expected goes when a new one takes its place", "helper", config("ftp"))
    t = Talk(s).lines().say(0, port(5000))
    t.segment(0, "R.")
    t.segment(0, "S", seq=3000000)
    child(s, 1, 20, 5000)
    yield s

    s = Script("tftp-text", "what TFTP's helper hears", "helper", config("tftp"))
    for n, data in enumerate([bytes([0, k]) + b"file\0octet\0" for k in range(8)] + [b"\1\1file\0octet\0", b"\1\0file\0octet\0", b"\0\1", b"\0\1x", b"\0\2",
                                                                                   b"\0", b"", b"\0\1" + bytes(500)]):
        udp_child(s, 0, 3000 + n, 69, data)
    yield s
    s = Script("tftp-again", "requests sent again, from either end, and when the exchange goes on", "helper", config("tftp"))
    udp_child(s, 0, 3000, 69, RRQ)
    udp_child(s, 0, 3000, 69, RRQ)
    udp_child(s, 1, 69, 3000, RRQ, note="from the server")
    udp_child(s, 0, 3000, 69, RRQ)
    udp_child(s, 1, 69, 3000, b"\0\2x\0octet\0")
    udp_child(s, 1, 4444, 3000, b"\0\3\0\1")
    udp_child(s, 1, 4444, 3000, b"\0\3\0\2")
    udp_child(s, 0, 3000, 4444, b"\0\4\0\1")
    udp_child(s, 0, 3001, 69, b"\0\5", note="no request")
    udp_child(s, 1, 69, 3001, b"\0\2x\0octet\0", note="from the server")
    udp_child(s, 0, 3000, 70, b"\0\3")
    yield s
    s = Script("tftp-v6", "TFTP over IPv6", "helper", config("tftp", mark=3))
    udp_child(s, 0, 3000, 69, RRQ, (C6, S6))
    udp_child(s, 1, 4444, 3000, b"\0\3\0\1", (C6, S6))
    udp_child(s, 0, 3000, 4444, b"\0\4\0\1", (C6, S6))
    yield s
    s = Script("tftp-clash", "two masters that expect the same", "helper", config("tftp"))
    for n, src in enumerate((C4, C4, "10.1.0.2")):
        udp_child(s, 0, 3000, 69, RRQ, (src, S4))
    udp_child(s, 0, 3000, 69, RRQ, (C4, "10.2.0.2"))
    yield s
    s = Script("tftp-master-expires", "what a master expects goes with it; what it heard keeps it", "helper", config("tftp", udp_timeout=2))
    udp_child(s, 0, 3000, 69, RRQ)
    udp_child(s, 0, 3001, 69, RRQ)
    udp_child(s, 1, 4444, 3001, b"\0\3\0\1")
    s.wait(1300)
    udp_child(s, 0, 3001, 69, RRQ)
    s.wait(1300)
    udp_child(s, 1, 4445, 3000, b"\0\3\0\1", note="its master has expired")
    udp_child(s, 1, 4445, 3001, b"\0\3\0\1")
    s.wait(2300).wait(200)
    yield s

    s = Script("helper-expiry", "how long is expected: no longer than that, and an expectation announced again begins anew", "helper",
               config("ftp", "irc", "tftp", udp_timeout=600, tcp_timeout_unacknowledged=600))
    one, two = Talk(s).lines(), Talk(s, "irc", client=1001)
    one.say(0, port(5000))
    two.say(0, offer(6000)).say(0, offer(6001))
    udp_child(s, 0, 3000, 69, RRQ)
    udp_child(s, 0, 3001, 69, RRQ)
    s.wait(2000)
    two.say(0, offer(6001))
    udp_child(s, 0, 3001, 69, RRQ)
    s.wait(292000)
    child(s, 1, 20, 6000)
    # At this distance the kernel's timers run up to half a minute late.
    s.wait(46000)
    child(s, 1, 20, 5000)
    child(s, 1, 20, 6001)
    udp_child(s, 1, 4444, 3000)
    udp_child(s, 1, 4444, 3001)
    yield s

    s = Script("ftp-late-helper", "a helper is attached to connections that begin", "helper", config("ftp"))
    s.scenario["config"] = {}
    t = Talk(s)
    late = config("ftp")
    s.steps.append({"nft": late["nft"], "host": late["host"]})
    t.lines().say(0, port(5000))
    Talk(s, client=1001).lines().say(0, port(5001))
    yield s

    s = Script("ftp-dropped-by-rule", "what a rule drops is not heard", "helper", config("ftp", drop=21))
    t = Talk(s).lines().say(0, port(5000))
    yield s
    s = Script("ftp-dropped-long", "what a rule drops is not heard, and ends no line", "helper", config("ftp", longest=100))
    t = Talk(s).lines()
    t.at(0, 3, port(5000, "10,1,0," + "0" * 60 + "1"))
    t.at(0, 3, "A" * 70 + "\n")
    t.at(0, 74, "P")
    t.at(0, 3, port(5001))
    yield s


# ---------------------------------------------------------------- random
def mutated(rng, text):
    """a text with a few bytes other than they should be"""
    data = bytearray(text.encode("latin1"))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(data) + 1)
        what = rng.randrange(6)
        if what == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            del data[at:at + rng.choice((1, 1, 2, 5))]
        elif what == 2:
            data[at:at] = bytes(rng.choice(b" \r\n,.|:()0123456789\0\1DPE") for _ in range(rng.choice((1, 1, 2))))
        elif what == 3:
            data[at:at] = data[at:at + rng.randint(1, 8)]
        elif what == 4 and at < len(data):
            data[at] = rng.choice(b" \r\n,.|:()0123456789\0\1DPE")
        else:
            data = bytearray(bytes(data).swapcase())
    return bytes(data)


class Chat:
    """a master with its history, and what it announces"""
    PORTS = (5000, 5001, 5002, 5003, 1, 1023, 65535)

    def __init__(self, rng, script, helper, client, hosts):
        self.rng, self.helper, self.hosts, self.v6 = rng, helper, hosts, ":" in hosts[0]
        self.talk = Talk(script, helper, client, hosts, begin="SYN" if rng.random() < .9 else "",
                         isn=tuple(rng.choice((1000000, 2**32 - 30, rng.getrandbits(32))) for _ in "cs"))
        self.sent, self.expected = [], []
        if helper == "ftp" and rng.random() < .8:
            self.talk.lines()

    def line(self):
        """(side, text): something of the protocol; what it announces is expected"""
        rng = self.rng
        if self.helper == "irc":
            if rng.random() < .25:
                return rng.choice(((0, "NICK a\r\n"), (1, ":s 001 a :hello\r\n"), (0, "PRIVMSG b :hello\r\n"), (1, ":b!b@c PRIVMSG a :" + offer(5000)[11:])))
            n = rng.choice(self.PORTS)
            a = int.from_bytes(bytes(int(x) for x in self.hosts[0].split(".")), "big") if not self.v6 else A4
            self.expected.append((1, n))
            return 0, "PRIVMSG %s :%sDCC %s %s %s %d%s%s\r\n" % (
                rng.choice(("b", "#c", "bob")), CTCP, rng.choice(("SEND", "CHAT", "MOVE", "TSEND", "SCHAT", "RESUME")), rng.choice(("f", "a.txt", "chat")),
                a if rng.random() < .9 else B4, n, rng.choice(("", " 123")), rng.choice((CTCP, CTCP, "")))
        what = rng.randrange(9)
        n = rng.choice(self.PORTS)
        own = [h.replace(".", ",") for h in self.hosts]
        if what == 0:
            return 0, rng.choice(("NOOP\r\n", "USER x\r\n", "PASV\r\n", "EPSV\r\n", "LIST\r\n", "PWD\n", "E\r\n", "\r\n"))
        if what == 1:
            return 1, rng.choice(("200 ok\r\n", "331 go on\r\n", "220-a\r\n220 b\r\n", "226 done\n", "22\r\n"))
        side = 0 if what < 6 else 1
        self.expected.append((1 - side, n))
        wrong = rng.random() < .08
        if what in (2, 3):
            a = "253,0,0,1" if self.v6 else own[1] if wrong else own[0]
            return 0, rng.choice(("PORT", "PORT", "port")) + " %s,%d,%d\r\n" % (a, *divmod(n, 256))
        if what in (4, 5):
            a = self.hosts[1] if wrong else self.hosts[0]
            return 0, "EPRT !%d!%s!%d!\r\n".replace("!", rng.choice("|||!,")) % (2 if self.v6 else 1, a, n)
        if what == 6:
            a = "253,0,0,2" if self.v6 else own[0] if wrong else own[1]
            return 1, rng.choice(("227 Entering Passive Mode (%s,%d,%d).\r\n", "227 %s,%d,%d\r\n", "227 =%s,%d,%d\r\n")) % (a, *divmod(n, 256))
        return 1, "229 Entering Extended Passive Mode (|||%d|)\r\n" % n

    def go_on(self):
        rng, talk = self.rng, self.talk
        if self.sent and rng.random() < .15:
            side, seq, data = rng.choice(self.sent[-4:])
            cut = rng.choice((0, 0, 0, rng.randrange(len(data) or 1)))
            talk.segment(side, "P.", data[cut:] + rng.choice((b"", b"", b"NOOP\r\n")), (seq + cut) % 2**32)
            return
        side, text = self.line()
        for _ in range(rng.choice((0, 0, 0, 0, 0, 1, 2))):
            text += rng.choice((self.line()[1], "x\r\n"))
        data = mutated(rng, text) if rng.random() < .3 else text.encode("latin1")
        pieces = [data]
        if rng.random() < .15 and len(data) > 1:
            cut = rng.randrange(1, len(data))
            pieces = [data[:cut], data[cut:]]
        places, at = [], talk.next[side]
        for piece in pieces:
            places.append((side, at % 2**32, piece))
            at += len(piece)
        talk.next[side] = at
        if rng.random() < .15:
            places.reverse()
        if rng.random() < .1:
            del places[rng.randrange(len(places))]
        for side, seq, piece in places:
            talk.segment(side, rng.choice(("P.", "P.", "P.", ".", "PU.", "F.") if rng.random() < .1 else ("P.",)), piece, seq)
            self.sent.append((side, seq, piece))


def conversation(rng):
    """masters of the helpers, and connections beside them"""
    kinds = rng.choice((("ftp",), ("ftp",), ("irc",), ("tftp",), ("ftp", "irc"), ("ftp", "irc", "tftp")))
    more = {}
    if rng.random() < .2:
        more["mark"] = rng.choice((1, 0xff))
    if rng.random() < .15:
        more["zone"] = 5
    if rng.random() < .15:
        more["drop"] = rng.choice((5000, 5001, 20))
    if rng.random() < .1:
        more["tcp_loose"] = 0
    slow = rng.random() < .06
    if slow:
        more.update(tcp_timeout_close=1, udp_timeout=1)
    s = Script("", "a random conversation: " + ", ".join(kinds), "helper", config(*kinds, **more))
    v6 = rng.random() < .25
    clients = (C6, "fd00:1::2") if v6 else (C4, "10.1.0.2")
    servers = (S6, "fd00:2::2") if v6 else (S4, "10.2.0.2")
    pick = lambda: (rng.choice(clients + clients[:1] * 3), rng.choice(servers + servers[:1] * 3))
    chats = [Chat(rng, s, kind, 1000 + n, pick()) for n, kind in enumerate(rng.choice([k for k in kinds if k != "tftp"] or ["ftp"]) for _ in range(rng.choice((1, 1, 2, 3))))
             ] if kinds != ("tftp",) else []
    children, requests = [], []
    length = len(s.steps) + rng.randint(10, 40)
    while len(s.steps) < length:
        what = rng.random()
        if "tftp" in kinds and what < (.9 if not chats else .25):
            hosts, n = pick(), rng.choice((3000, 3001))
            if requests and rng.random() < .55:
                hosts, n = rng.choice(requests[-3:])
                side, other = rng.choice(((1, 69), (1, 4444), (1, 4444), (1, 4445), (0, 4444), (0, 69)))
                data = rng.choice((b"\0\3\0\1data", b"\0\4\0\1", b"\0\1x", b"\0\2x\0", b"\0\5", b""))
                udp_child(s, side, *((other, n) if side else (n, other)), data, hosts)
            else:
                udp_child(s, 0, n, 69, rng.choice((RRQ, RRQ, b"\0\2file\0octet\0", b"\0\1", b"\0\3x", b"\1\0", b"\0", mutated(rng, "\0\1file\0octet\0"))), hosts)
                requests.append((hosts, n))
        elif slow and what > .9:
            s.wait(rng.choice((400, 1500)))
        elif not chats or what < .6:
            if chats:
                rng.choice(chats).go_on()
        elif what < .63:
            t = rng.choice(chats).talk
            t.segment(rng.randint(0, 1), rng.choice(("R.", "R", "F.")))
        elif children and what < .78:
            c = rng.choice(children[-3:])
            side, a, b, hosts, seq = c
            flags = rng.choice((("S", 0), ("S.", 1), (".", 0), ("P.", 0), ("P.", 1), ("F.", 0), ("R", 0), ("R.", 1)))
            me = side if flags[1] == 0 else 1 - side
            child(s, me, *((a, b) if me == side else (b, a)), flags[0], seq[me], seq[1 - me] if "." in flags[0] else 0, b"x" if "P" in flags[0] else b"", hosts)
            seq[me] += 1 if flags[0] != "." else 0
        else:
            chat = rng.choice(chats)
            if not chat.expected:
                continue
            side, n = rng.choice(chat.expected[-3:])
            hosts, a = chat.hosts, rng.choice((20, 20, 40000))
            if rng.random() < .15:
                n += rng.choice((1, -1))
            if rng.random() < .15:
                hosts = pick()
            if rng.random() < .1:
                side = 1 - side
            flags = rng.choice(("S", "S", "S", "S", "S", "S", "S", "S.", ".", "P.", "R", "F.")) if rng.random() < .5 else "S"
            seq = [1, 1]
            child(s, side, a, n % 65536, flags, 1, 7 if "." in flags else 0, b"x" if "P" in flags else b"", hosts)
            seq[side] = 2
            children.append((side, a, n % 65536, hosts, seq))
    return s


def barrage(rng):
    """many texts at one place, most of them a little wrong"""
    six = rng.random() < .3
    hosts = (C6, S6) if six else (C4, S4)
    kind = rng.choice(("irc", "client", "client", "server")) if not six else rng.choice(("client", "client", "server"))
    good = {"irc": OFFERS, "client": EPRTS6 if six else PORTS + EPRTS, "server": PASVS + EPSVS}[kind]
    usual = {"irc": good[:6], "client": good[:1] + EPRTS[:1], "server": PASVS[:3] + EPSVS[:2]}[kind]
    texts = []
    for text in numbered(rng.choice(good if rng.random() < .4 else usual) for _ in range(60)):
        text = text.replace("A4", A4).replace("B4", B4)
        text = mutated(rng, text).decode("latin1") if rng.random() < .8 else text
        texts.append(text if kind == "irc" or text[-1:] != "\n" else text + "x")
    s = probes("", "a barrage of texts: " + kind, "irc" if kind == "irc" else "ftp", texts, hosts, 1 if kind == "server" else 0)
    return s


def everything():
    yield from texts()
    yield from places()
    yield from expectations()


def write(folder, script):
    with open(os.path.join(folder, script.name + ".json"), "w") as f:
        json.dump({"name": script.name, "area": script.area, **script.scenario}, f)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--count", type=int, default=0)
    arguments.add_argument("-o", required=True)
    a = arguments.parse_args()
    os.makedirs(a.o, exist_ok=True)
    if not a.count:
        for script in everything():
            write(a.o, script)
    for number in range(a.count):
        rng = random.Random("%d helper %d" % (a.seed, number))
        script = rng.choice((conversation, conversation, barrage))(rng)
        script.name = "helper-%d-%04d" % (a.seed, number)
        write(a.o, script)


if __name__ == "__main__":
    main()
