#!/usr/bin/env python3
"""Ask the running kernel for its SCTP state table: every state, direction and kind of chunk, alone and in company.

usage: sctp_states.py [-o sctp_states.txt]        (root; see rig.py)

Each cell starts a fresh association, leads it to the state by the packets of a named path, raises every timeout by 1000 s
(so that a timeout that was set shows), sends one packet and notes what became of it.
"""
import argparse, datetime, errno, os, random, socket, struct, sys
from packets import SCTP, chunk, init, ipv4, sctp
from rig import CLIENT, SERVER, Rig, attribute, attributes, write

STATES = "NONE CLOSED COOKIE_WAIT COOKIE_ECHOED ESTABLISHED SHUTDOWN_SENT SHUTDOWN_RECD SHUTDOWN_ACK_SENT HEARTBEAT_SENT".split()
DEFAULTS = {"closed": 10, "cookie_wait": 3, "cookie_echoed": 3, "established": 210, "shutdown_sent": 3, "shutdown_recd": 3,
            "shutdown_ack_sent": 3, "heartbeat_sent": 30}
PORT = 38412
DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR, COOKIE_ECHO, COOKIE_ACK = range(12)
SHUTDOWN_COMPLETE = 14
# ECNE, AUTH, I-DATA, unknown ones of all four kinds of handling (RFC 9260 section 3.2), RE-CONFIG, FORWARD-TSN, ASCONF
KINDS = [*range(15), 15, 63, 64, 130, 192, 193, 255]
# What takes part in the state, and one that does not.
ACTING = [INIT, INIT_ACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR, COOKIE_ECHO, COOKIE_ACK,
          SHUTDOWN_COMPLETE, DATA]

# Packets: direction, verification tag, then chunks: type, T where the lowest flag is set, =initiate tag. Tags are a (the
# client's, which the server's packets carry), b (the server's), c and d (later ones of theirs), and others. Or # and bytes,
# +-joined parts that may be repeated.
HANDSHAKE = ">0:1=a <a:2=b >b:10 <a:11"
COMPLETE = HANDSHAKE + " >b:7 <a:8 >b:14"
PATHS = {
    "none": "",
    "closed": ">0:1=a",
    "closed-twice": ">0:1=a >0:1=c",
    "closed-crossed": ">0:1=a <0:1=b",
    "closed-crossed-again": ">0:1=a <0:1=b >0:1=a",
    "closed-crossed-other": ">0:1=a <0:1=b >0:1=c",
    "closed-crossed-other-back": ">0:1=a <0:1=b <0:1=d",
    "closed-crossed-other-both": ">0:1=a <0:1=b <0:1=d >0:1=c",
    "closed-crossed-acked": ">0:1=a <0:1=b <a:2=b",
    "closed-crossed-acked-too": ">0:1=a <0:1=b >b:2=a",
    "closed-crossed-unknown": ">0:1=a <0:1=b >77:4 <78:5",
    "closed-zero": ">0:1=0",
    "closed-cookie-ack": ">0:1=a <a:11",
    "closed-heartbeat": ">0:1=a >b:4",
    "closed-heartbeat-ack": ">b:5",
    "closed-heartbeat-ack-answered": ">b:5 <a:4",
    "closed-abort": HANDSHAKE + " >b:6",
    "closed-abort-early": ">0:1=a <a:2=b >b:6",
    "closed-complete": COMPLETE,
    "closed-complete-init": COMPLETE + " >0:1=c",
    "closed-complete-init-back": COMPLETE + " <0:1=d",
    "closed-init-in-shutdown": HANDSHAKE + " >b:7 >0:1=c",
    "closed-error": ">0:1=a <a:2=b >b:10 <a:9",
    "cookie-wait": ">0:1=a <a:2=b",
    "cookie-wait-init": ">0:1=a <a:2=b >0:1=c",
    "cookie-wait-init-back": ">0:1=a <a:2=b <0:1=d",
    "cookie-wait-init-back-twice": ">0:1=a <a:2=b <0:1=d <0:1=c",
    "cookie-wait-init-same": ">0:1=a <a:2=b <0:1=b",
    "cookie-wait-cookie-ack": ">0:1=a <a:2=b <a:11",
    "cookie-wait-odd-heartbeat": ">0:1=a <a:2=b >77:4",
    "cookie-wait-heartbeat": ">b:4 >0:1=a",
    "cookie-wait-zero": ">0:1=0 <0:2=b",
    "cookie-echoed": ">0:1=a <a:2=b >b:10",
    "cookie-echoed-init": ">0:1=a <a:2=b >b:10 >0:1=c",
    "cookie-echoed-init-back": ">0:1=a <a:2=b >b:10 <0:1=d",
    "cookie-echoed-unreplied": ">b:4 >0:1=a >b:10",
    "established": HANDSHAKE,
    "established-crossed": ">0:1=a <0:1=b <a:2=b >b:10 <a:11",
    "established-init": HANDSHAKE + " >0:1=c",
    "established-init-back": HANDSHAKE + " <0:1=d",
    "established-heartbeat": ">b:4 <a:5",
    "established-odd-heartbeat": HANDSHAKE + " >77:4",
    "established-odd-heartbeat-back": HANDSHAKE + " <77:4",
    "established-odd-heartbeat-both": HANDSHAKE + " >77:4 <77:4",
    "established-odd-heartbeat-data": HANDSHAKE + " >77:4 >b:0",
    "established-odd-heartbeat-right": HANDSHAKE + " >77:4 >b:4",
    "established-odd-heartbeat-answered": HANDSHAKE + " >77:4 <a:5",
    "established-odd-heartbeat-twice": HANDSHAKE + " >77:4,4",
    "established-odd-heartbeat-abort": HANDSHAKE + " >77:4,6",
    "established-odd-heartbeat-refused": HANDSHAKE + " >77:4,0",
    "established-odd-answer": HANDSHAKE + " >77:4 <78:5",
    "established-odd-exchange": HANDSHAKE + " >77:4 <78:5 >79:5",
    "shutdown-sent": HANDSHAKE + " >b:7",
    "shutdown-sent-untimed": HANDSHAKE + " >77:4,7",
    "shutdown-sent-refused": HANDSHAKE + " >b:7,6T",
    "shutdown-recd": HANDSHAKE + " <a:7",
    "shutdown-both": HANDSHAKE + " >b:7 <a:7",
    "shutdown-ack-sent": HANDSHAKE + " >b:7 <a:8",
    "shutdown-ack-sent-server": HANDSHAKE + " <a:7 >b:8",
    "shutdown-ack-first": ">a:8",
    "heartbeat-sent": ">b:4",
    "heartbeat-twice": ">b:4 >77:4",
    "heartbeat-back": ">b:4 <a:4",
    "heartbeat-back-odd": ">b:4 <a:4 <77:4",
}
# Those in which bundles are tried, two chunks and more.
BUNDLED = ["none", "closed", "closed-crossed", "closed-complete", "cookie-wait", "cookie-echoed", "cookie-echoed-unreplied", "established",
           "established-heartbeat", "established-odd-heartbeat", "shutdown-sent", "shutdown-recd", "shutdown-ack-sent", "heartbeat-sent"]
# Chunk lists that are broken, and some that are not though they look so. (INIT with its 20 bytes is 01000014 and 11 x 16.)
SHAPES = ["", "00", "0000", "000000", "00000000", "00000001", "00000002", "00000003", "00000004", "00000005", "0000ffff", "00000011" + "22" * 13,
          "00000011" + "22" * 12, "00000004" + "00000000", "00000004" + "000000", "00000004" + "07", "00000004" + "07000004",
          "00000004" + "07000001", "00000004" + "07000800", "00000001" + "07000004", "00000005" + "07000004",
          "00000005" + "11223344" + "07000004", "00000009" + "11223344" + "07000004", "00000800" + "07000004", "0000fffc" + "07000004",
          "0000fffd" + "07000004", "0000ffff" + "07000004", "07000004", "06000004", "06000002", "060000ff", "07000008000000000600",
          "04000001", "04000003", "0400ffff", "05000002", "0a000001", "0a000004" + "00" * 3, "0b000004" + "0b",
          "01000000", "01000001", "01000004", "01000014", "01000014" + "11" * 8, "01000014" + "11" * 15, "01000014" + "11" * 16,
          "01000014" + "11" * 16 + "00", "01000014" + "11" * 16 + "000000", "01000014" + "11" * 16 + "00000000", "01000004" + "11" * 16,
          "01000008" + "11" * 16, "01000001" + "11" * 16, "01000011" + "11" * 16, "01000015" + "11" * 16, "01000028" + "11" * 16,
          "0100ffff" + "11" * 16, "0101001411111111+22*100", "02000004", "02000014" + "11" * 8, "02000014" + "11" * 15, "02000014" + "11" * 16,
          "02000014" + "11" * 16 + "00000004", "00000004*90+07000004", "03000004*90+07000004", "07000004*90",
          "06000004+07000004*90", "00000004*90+0a000004", "00000004*90+07000000", "0e000004", "0e000004" + "00"]
TAGS = {"a": 0xA1A1A1A1, "b": 0xB2B2B2B2, "c": 0xC3C3C3C3, "d": 0xD4D4D4D4}
BODY = {DATA: bytes(13), SACK: bytes(12), HEARTBEAT: b"\0\1\0\x08ping", HEARTBEAT_ACK: b"\0\1\0\x08ping", SHUTDOWN: bytes(4),
        ERROR: b"\0\1\0\x08\0\0\0\0", COOKIE_ECHO: b"cookies!"}


def number(text):
    return TAGS[text] if text in TAGS else int(text, 16)


def chunks(text):
    if text.startswith("#"):
        parts = [part.partition("*") for part in text[1:].split("+")]
        return b"".join(bytes.fromhex(part) * int(times or 1) for part, _, times in parts)
    out = b""
    for word in text.split(","):
        kind, _, tag = word.partition("=")
        flag, kind = int(kind.endswith("T")), int(kind.rstrip("T"))
        if kind in (INIT, INIT_ACK):
            out += init(kind, number(tag), flag)
        else:
            out += chunk(kind, flag, BODY.get(kind, b""))
    return out


class Sctp(Rig):
    def raise_timeouts(self, by):
        for name, seconds in DEFAULTS.items():
            self.tune_sctp("timeout_" + name, seconds + by)

    def tune_sctp(self, name, value):
        if self.known.get(name) != value:
            self.known[name] = value
            write("net/netfilter/nf_conntrack_sctp_" + name, value)

    def send(self, port, text):
        direction, (tag, _, what) = "><".index(text[0]), text[1:].partition(":")
        ends = [(CLIENT, port), (SERVER, PORT)]
        (src, sport), (dst, dport) = ends if direction == 0 else ends[::-1]
        verdict, words = self.inject(ipv4(src, dst, SCTP, sctp(sport, dport, number(tag), chunks(what))))
        return verdict, words.replace("nf_ct_proto_132:", "").strip()

    def entry(self, port):
        """the association's: direction of the original, state, seconds left, status, tags, packets; or nothing"""
        for direction in (0, 1):
            ends = [(CLIENT, port), (SERVER, PORT)]
            (src, sport), (dst, dport) = ends if direction == 0 else ends[::-1]
            original = attribute(0x8001, attribute(1, socket.inet_aton(src)) + attribute(2, socket.inet_aton(dst))) \
                + attribute(0x8002, attribute(1, bytes([SCTP])) + attribute(2, struct.pack("!H", sport))
                            + attribute(3, struct.pack("!H", dport)))
            found = self.table.ask(0x101, 2, 0, attribute(0x8001, original), (errno.ENOENT,))
            if found is None:
                return None
            if attributes(attributes(found[1])[2])[2] == struct.pack("!H", sport):
                break                                                       # it is the original direction
        proto = attributes(attributes(found[4])[3])
        value = lambda data: int.from_bytes(data, "big")
        return ("><"[direction], STATES[proto[1][0]], value(found[7]), value(found[3]), [value(proto[2]), value(proto[3])],
                [value(attributes(found[k])[1]) for k in (9, 10)])

    def cell(self, port, path, text):
        """what becomes of a packet, told in one line"""
        self.raise_timeouts(0)
        for packet in path.split():
            self.send(port, packet)
        before = self.entry(port)
        self.raise_timeouts(1000)
        verdict, words = self.send(port, text)
        after = self.entry(port)
        own, _, what = text[1:].partition(":")
        given = number(what.partition("=")[2]) if "=" in what and "," not in what else None

        def tag(direction):
            now, was = after[4][direction], before[4][direction] if before else 0
            return "." if now == was else "*" if now == number(own) else "=" if now == given else "%x" % now
        shown = "gone"
        if after:
            # A second may pass in between.
            left = next((str(s) for s in set(DEFAULTS.values()) if after[2] in (s + 1000, s + 999)), "kept")
            shown = "%s %s %s 0x%x %s/%s %d/%d" % (after[0], after[1], left, after[3], tag(0), tag(1), *after[5])
        swapped = "%x" % int.from_bytes(struct.pack("<I", number(own)), "big")
        words = words.replace("failed %s vs" % swapped, "failed * vs")
        return " | ".join(x for x in (verdict, shown, words) if x)


def merged(outcomes):
    """packets with one outcome side by side, up to 12"""
    by = {}
    for text, outcome in outcomes:
        by.setdefault(outcome, []).append(text)
    return ["%s | %s" % (" ".join(texts[i:i + 12]), outcome) for outcome, texts in by.items() for i in range(0, len(texts), 12)]


def packets(name, direction, rng):
    """all that is sent in a state, one way"""
    own, other = ("b", "a") if direction == ">" else ("a", "b")
    later = ("d", "c") if direction == ">" else ("c", "d")
    head = lambda tag: "%s%s:" % (direction, tag)
    tags = [own, other, "0", "77"] + [t for t in later if "=" + t in PATHS[name]]
    for kind in KINDS:
        if kind == INIT:
            yield from (head(0) + "%d=%s" % (kind, x) for x in ("a", "b", "0", "99"))
            yield from (head(t) + "%d=99" % kind for t in tags)
            yield head(0) + "%dT=98" % kind
        elif kind == INIT_ACK:
            yield from (head(t) + "%d=%s" % (kind, x) for t in tags for x in ("a", "b", "0", "99", "c", "d"))
        else:
            yield from (head(t) + str(kind) for t in tags)
            yield from (head(t) + "%dT" % kind for t in (tags if kind in (ABORT, SHUTDOWN_COMPLETE) else [own]))
    if name not in BUNDLED:
        return
    word = lambda k: "%d=99" % k if k in (INIT, INIT_ACK) else str(k)
    for first in ACTING:
        for second in ACTING:
            alone = {first, second} & {INIT, INIT_ACK, SHUTDOWN_COMPLETE}
            for tag in [own] if alone else [own, other, "77", "0"]:
                yield head(tag) + "%s,%s" % (word(first), word(second))
    for _ in range(120):
        first = [rng.choice((COOKIE_ECHO, COOKIE_ACK))] if rng.random() < .3 else []
        rest = rng.choices((DATA, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR, 193),
                           rng.choice(((1, 1, 4, 4, 1, 3, 3, 3, 1), (0, 1, 4, 4, 0, 3, 3, 3, 0), (0, 0, 2, 0, 1, 2, 2, 1, 0))),
                           k=rng.randint(2, 6))
        text = ",".join(str(k) + ("T" if k == ABORT and rng.random() < .4 else "") for k in first + rest)
        yield head(rng.choice((own, own, other, "77", "0"))) + text
    for shape in SHAPES:
        yield head("0" if shape.startswith("01") else own) + "#" + shape


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("-o", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "sctp_states.txt"))
    output = arguments.parse_args().o
    rig, rng = Sctp(), random.Random(1)
    lines, port, cells = [], 1024, 0
    for name, path in PATHS.items():
        lines.append(("path %s %s" % (name, path)).rstrip())
        for direction in "><" if path else ">":
            outcomes = []
            for text in dict.fromkeys(packets(name, direction, rng)):
                port, cells = port + 1 if port < 65535 else 1024, cells + 1
                outcomes.append((text, rig.cell(port, path, text)))
            lines.extend("cell %s %s" % (name, x) for x in merged(outcomes))
    with open(output, "w") as f:
        f.write("""\
# What the SCTP connection tracker of Linux %s does in every state with every kind of chunk.
# Recorded %s by tests/kernel/sctp_states.py; checked by tests/sctp_states.rs. Do not edit.
#
# path NAME PACKET...          how the state is reached from nothing
# cell NAME PACKET... | VERDICT | ENTRY | the kernel's words       each PACKET, sent alone in that state, ends the same
#
# PACKET is direction (> from the client), verification tag, then chunks: type, T if the lowest flag is set, =initiate tag; or #
# and the chunks as bytes (+ joins, * repeats). Tags are hexadecimal; a is the client's (0xa1a1a1a1), b the server's (0xb2b2b2b2), c (0xc3c3c3c3) and
# d (0xd4d4d4d4) are later ones of theirs.
# ENTRY: direction of the original, state, the seconds that were set (before the cell's packet all timeouts were raised by 1000 s,
# which are left out here) or `kept`, status, tags expected in original/reply direction (. as before, * the packet's own, = its
# initiate tag), packets of either direction; `gone` if there is none. In the words * is the packet's tag.
""" % (os.uname().release.split("-")[0], datetime.date.today()))
        f.write("\n".join(lines) + "\n")
    print("%d cells" % cells)


if __name__ == "__main__":
    sys.exit(main())
