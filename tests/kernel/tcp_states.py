#!/usr/bin/env python3
"""Ask the running kernel for its TCP state table: every state, direction and kind of segment.

usage: tcp_states.py [-o tcp_states.txt]        (root; see rig.py)

Each cell starts a fresh flow, leads it to the state by the segments of a named path, raises every timeout by 1000 s
(so that a timeout that was set shows), sends one segment and notes what became of it.
"""
import argparse, datetime, os, sys
from rig import DEFAULTS, FLAG, TIMEOUTS, Rig, packet

WINDOW = 10000
ISN = (1000000, 5000000)
HANDSHAKE = ">S <S. >."
# How each state is reached. `>` is from the client. Each segment continues where its end left off, and acknowledges
# all it saw of the other end; `@` acknowledges no further than that end's first byte (segments that cross on the wire).
PATHS = {
    "none": "",
    "syn-sent": ">S",
    "syn-sent-acked": ">S <.",
    "syn-sent2": ">S <S",
    "syn-recv": ">S <S.",
    "syn-recv-crossed": ">S <S >S.",
    "established": HANDSHAKE,
    "established-syn-ignored": HANDSHAKE + " >S+70000",
    "established-syn-answered": HANDSHAKE + " >S+70000 <.",
    "last-ack-syn-ignored": HANDSHAKE + " <F. >. >F. >S",
    "picked-up": ">.",
    "picked-up-replied": ">. <. >.",
    "fin-wait": HANDSHAKE + " >F.",
    "fin-wait-server": HANDSHAKE + " <F.",
    "close-wait": HANDSHAKE + " >F. <.",
    "close-wait-server": HANDSHAKE + " <F. >.",
    "last-ack": HANDSHAKE + " >F. <. <F.",
    "last-ack-server": HANDSHAKE + " <F. >. >F.",
    "last-ack-crossed": HANDSHAKE + " >F. <F.@",
    "time-wait": HANDSHAKE + " >F. <. <F. >.",
    "time-wait-server": HANDSHAKE + " <F. >. >F. <.",
    "close": HANDSHAKE + " >R.",
    "close-server": HANDSHAKE + " <R.",
    "close-data": HANDSHAKE + " >R. <.",
    "close-syn-recv": ">S <S. >R",
    "close-time-wait": HANDSHAKE + " >F. <. <F. >. <R",
}
KINDS = ["S", "S.", "F.", ".", "R", "R.", "FS", "-"]
# Where the segment under test stands: (name, added to its sequence number, added to its acknowledgement)
PLACES = [("exact", 0, 0), ("inside", 50, 0), ("one-under", -1, 0), ("over", 1000000, 0), ("under", -200000, 0),
          ("ack-over", 0, 1000000), ("ack-under", 0, -200000)]


class Ends:
    """what each end sends next"""
    def __init__(self):
        self.next = list(ISN)

    def segment(self, text):
        direction, kind, crossed = "><".index(text[0]), text[1:].rstrip("@"), text.endswith("@")
        kind, _, offset = kind.partition("+")
        syn = "S" in kind
        seq = ISN[direction] if syn else max(self.next[direction], ISN[direction] + 1)
        ack = (ISN[1 - direction] + 1 if crossed else max(self.next[1 - direction], ISN[1 - direction] + 1)) if "." in kind else 0
        if not offset:
            self.next[direction] = seq + (1 if syn or "F" in kind else 0)
        return direction, kind, seq + int(offset or 0), ack

    def probe(self, direction, kind, add_seq, add_ack):
        _, _, seq, ack = Ends.segment(self, "><"[direction] + kind)
        return direction, kind, (seq + add_seq) % 2**32, (ack + add_ack) % 2**32 if "." in kind else 0


def show(segment):
    return "%s%s:%d:%d" % ("><"[segment[0]], *segment[1:])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("-o", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "tcp_states.txt"))
    output = arguments.parse_args().o
    rig = Rig()
    rig.tune(loose=1, be_liberal=0, max_retrans=3, ignore_invalid_rst=0)
    lines, port = [], 1024
    for name, path in PATHS.items():
        ends = Ends()
        segments = [ends.segment(x) for x in path.split()]
        lines.append("path %s %s" % (name, " ".join(show(s) for s in segments)))
        for direction in (0, 1) if path else (0,):
            for kind in KINDS:
                for place, add_seq, add_ack in PLACES:
                    if "ack" in place and "." not in kind:
                        continue
                    port += 1
                    rig.tune(**{"timeout_" + t: DEFAULTS[t] for t in TIMEOUTS})
                    for s in segments:
                        rig.inject(packet(s[0], port, s[1], s[2], s[3], WINDOW))
                    rig.tune(**{"timeout_" + t: DEFAULTS[t] + 1000 for t in TIMEOUTS})
                    copy = Ends()
                    copy.next = list(ends.next)
                    s = copy.probe(direction, kind, add_seq, add_ack)
                    verdict, words = rig.inject(packet(s[0], port, s[1], s[2], s[3], WINDOW))
                    lines.append(" | ".join(x for x in ("cell %s %s %s %s" % (name, "><"[direction], kind, place), show(s),
                                                         verdict, rig.entry(port), words) if x))
    for bits in range(256):
        flags = "".join(name for name, bit in FLAG.items() if bits & bit) or "-"
        verdicts = []
        for path in ("", HANDSHAKE):
            port, ends = port + 1, Ends()
            for s in [ends.segment(x) for x in path.split()]:
                rig.inject(packet(s[0], port, s[1], s[2], s[3], WINDOW))
            verdict, words = rig.inject(packet(0, port, flags, ISN[0] + 1, ISN[1] + 1 if bits & 16 else 0, WINDOW))
            verdicts.append(verdict + (" " + words if words else ""))
        lines.append("flags 0x%02x %s | %s" % (bits, flags, " | ".join(verdicts)))
    with open(output, "w") as f:
        f.write("""\
# What the TCP connection tracker of Linux %s does in every state with every kind of segment.
# Recorded %s by tests/kernel/tcp_states.py; checked by tests/tcp_states.rs. Do not edit.
#
# path NAME SEGMENT...          how the state is reached from nothing, tcp_loose=1, other settings at their defaults
# cell NAME DIRECTION KIND PLACE | SEGMENT | VERDICT | ENTRY | the kernel's words
# flags BITS LETTERS | as a first packet | in ESTABLISHED, original direction
#
# SEGMENT is direction (> from the client), flags (. is ACK, - none), seq, ack; no payload, no options, window %d.
# PLACE says how its numbers differ from what that end would send next.
# Before the cell's segment all timeouts were raised by 1000 s. ENTRY: direction of the original, state, seconds left,
# then status, wscale, flags and packets as ctnetlink shows them; `gone` if there is none.
""" % (os.uname().release.split("-")[0], datetime.date.today(), WINDOW))
        f.write("\n".join(lines) + "\n")
    print("%d cells" % sum(line.startswith("cell") for line in lines))


if __name__ == "__main__":
    sys.exit(main())
