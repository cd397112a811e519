#!/usr/bin/env python3
"""Random TCP traces, plausible and not, judged by the running kernel.

usage: tcp_fuzz.py [-n FLOWS] [-s SEED] [--new] -o FILE        (root; see rig.py)

Every flow has its own settings and timeouts; before some segments all timeouts are raised, so that the table shows
which segment set which timeout. With --new a flow is kept only if it shows something that none before it did.
"""
import argparse, os, random, re, struct, sys
from rig import SWITCHES, TIMEOUTS, Rig, packet

# Traces for rules that chance seldom meets: direction, flags, seq, ack, window, length.
SCRIPTED = {
    "the first data overruns the window of a flow picked up": [
        (0, ".", 1000, 0, 10, 0), (0, "P.", 1005, 0, 10, 100), (1, ".", 5000, 1105, 2000, 0), (0, "P.", 1105, 5000, 10, 500),
        (1, "P.", 5000, 1605, 20, 700), (0, "P.", 900, 5700, 10, 10), (1, "P.", 4000, 1605, 20, 10)],
    "overshoot while the receiver's window has become smaller": [
        (0, "S", 1000000, 0, 5000, 0), (1, "S.", 5000000, 1060000, 60000, 0), (0, "R", 1050000, 0, 5000, 0),
        (1, "S.", 5000100, 1060000, 10, 0), (0, "R", 1000005, 0, 5000, 0)],
    "after resynchronising, a RST that acknowledges what its own end sent": [
        (0, "S", 1000000, 0, 5000, 0), (1, "S.", 5000000, 1000001, 5000, 0), (0, ".", 1000001, 5000001, 5000, 0),
        (0, "S", 9000000, 0, 5000, 0), (1, "S.", 6000000, 9000001, 5000, 0), (1, ".", 6000001, 9000001, 5000, 0),
        (1, "R.", 8000000, 6000001, 5000, 0)],
    "the same before": [
        (0, "S", 1000000, 0, 5000, 0), (1, "S.", 6000000, 1000001, 5000, 0), (1, ".", 6000001, 1000001, 5000, 0),
        (1, "R.", 8000000, 6000001, 5000, 0)],
    "an ignored ACK counts as the first of its repeats": [
        (0, "S", 1000000, 0, 5000, 0), (1, ".", 6000001, 1000001, 5000, 0), (1, "S.", 6000000, 1000001, 5000, 0),
        *3 * [(1, ".", 6000001, 1000001, 5000, 0)], (0, ".", 1000001, 6000001, 5000, 0)],
    "FINs out of window from both ends": [
        (0, "S", 1000000, 0, 5000, 0), (1, "S.", 5000000, 1000001, 5000, 0), (0, ".", 1000001, 5000001, 5000, 0),
        (0, "F.", 3000000, 5000001, 5000, 0), (1, "F.", 9000000, 1000001, 5000, 0)],
}
# The last of them with these seconds left; see SUSPECT_FLOOR in special.rs.
LEFT = (119, 121)

KINDS = ["S", "S.", "F.", ".", "P.", "R", "R."]


def options(rng, flags, ack, near):
    """a SYN's window scale and SACK permission, or SACK blocks"""
    out = b""
    if "S" in flags:
        if rng.random() < .6:
            out += b"\1\3\3" + bytes([rng.choice((0, 1, 2, 7, 9, 14, 15, 200))])
        if rng.random() < .6:
            out += b"\1\1\4\2"
        return out
    if "." in flags and rng.random() < .12:
        blocks = b""
        for _ in range(rng.randint(1, 3)):
            right = rng.choice((ack, near, near)) + rng.choice((0, 0, 1, -1, 10, 1000, -1000, 100000))
            blocks += struct.pack("!II", (right - 10) % 2**32, right % 2**32)
        out = b"\1\1\5" + bytes([2 + len(blocks)]) + blocks
        if rng.random() < .3 and len(out) <= 28:
            out = b"\1\1\x08\x0a" + bytes(8) + out
    return out


class Trace:
    """two ends that mostly keep to the rules"""
    def __init__(self, rng):
        self.rng = rng
        self.isn = [rng.choice((rng.getrandbits(32), 2**32 - rng.randint(1, 3000), rng.randint(0, 99999))) for _ in "cs"]
        self.next = list(self.isn)
        self.wild = rng.choice((0, .03, .1, .3, .6))
        self.windows = rng.choice(((65535,), (1000, 2000, 0), (100, 1, 0, 60000), (5000, 5001), (20, 400)))
        self.sent = []

    def off(self):
        r = self.rng
        if r.random() >= self.wild:
            return 0
        return r.choice((1, -1, 1, -1, r.randint(-30, 30), r.randint(-3000, 3000), r.randint(-70000, 70000),
                         r.choice((-66002, -66001, -66000, -65999)), 1000000, -1000000, r.getrandbits(32)))

    def make(self, direction, flags, length=0):
        r = self.rng
        mine, other = self.next[direction], self.next[1 - direction]
        if flags in ("S", "S.") and r.random() < .8:
            mine = self.isn[direction]
        if r.random() < self.wild / 3:
            mine = r.choice([s[1][2] for s in self.sent] or [mine])             # an older number
        seq = (mine + self.off()) % 2**32
        ack = (other + self.off()) % 2**32 if "." in flags else r.choice((0, 0, 0, r.getrandbits(32)))
        if "R" in flags:
            if self.sent and r.random() < .2:
                seq = self.sent[-1][1][3]
            if r.random() < .1:
                ack = 0
            if r.random() < .1:
                seq = 0
        size = length + ("S" in flags) + ("F" in flags)
        if not (seq - mine) % 2**32 and (seq + size - self.next[direction]) % 2**32 < 2**31 and "R" not in flags:
            self.next[direction] = (seq + size) % 2**32
        return direction, (flags, 0, seq, ack, r.choice(self.windows), length, options(r, flags, ack, other))

    def segment(self):
        r = self.rng
        if self.sent and r.random() < .15:
            return self.sent[-1]
        if self.sent and r.random() < .05:
            return r.choice(self.sent)
        direction = r.randint(0, 1)
        flags = r.choices(KINDS, self.weights)[0]
        if r.random() < .02:
            flags = r.choice(("FS", "-", "SPU", "RU", "FP.U", "F", ".EC"))
        if "S" in flags and r.random() < .3:
            self.isn[direction] = (self.isn[direction] + r.choice((1, 1000, 100000, -1000, -100000))) % 2**32
            self.next[direction] = self.isn[direction]
        length = r.choice((0, 0, 0, 1, 10, 100, 1000, r.randint(0, 1400))) if flags in (".", "P.", "F.") or r.random() < .05 else 0
        return self.make(direction, flags, length)

    def run(self):
        r = self.rng
        begin = r.choices(("handshake", "close", "crossed", "middle", "nothing"), (5, 4, 1, 1, 1))[0]
        script = {"handshake": [(0, "S"), (1, "S."), (0, ".")],
                  "close": [(0, "S"), (1, "S."), (0, "."), (x := r.randint(0, 1), "F."), (1 - x, "."), (1 - x, "F."), (x, ".")],
                  "crossed": [(0, "S"), (1, "S"), (r.randint(0, 1), "S.")],
                  "middle": [(0, "."), (1, ".")], "nothing": []}[begin]
        if begin == "close" or r.random() < .3:
            script = script[:r.randint(1, max(1, len(script)))]
        self.weights = r.choice(((1, 1, 1, 6, 6, 1, 1), (6, 4, 1, 4, 2, 1, 1), (1, 1, 3, 4, 4, 2, 2), (2, 2, 2, 2, 2, 4, 4),
                                 (0, 0, 0, 5, 5, 0, 0), (5, 5, 2, 4, 1, 2, 2), (3, 3, 5, 4, 2, 1, 1)))
        for direction, flags in script:
            self.sent.append(self.make(direction, flags))
            yield self.sent[-1]
            while r.random() < .15:
                self.sent.append(self.segment())
                yield self.sent[-1]
        for _ in range(r.randint(3, 25)):
            self.sent.append(self.segment())
            yield self.sent[-1]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("-n", type=int, default=300)
    arguments.add_argument("-s", type=int, default=1)
    arguments.add_argument("--new", action="store_true")
    arguments.add_argument("-o", required=True)
    a = arguments.parse_args()
    rng = random.Random(a.s)
    with open(a.o, "w") as out:
        out.write("""\
# Random TCP traces as judged by Linux %s, recorded by tests/kernel/tcp_fuzz.py -n %d -s %d%s. Do not edit.
#
# flow, then tcp_* settings as they differ from the defaults
# DIRECTION FLAGS SEQ ACK WINDOW LENGTH OPTIONS RAISED | VERDICT | ENTRY | the kernel's words
# RAISED: by how much all timeouts were raised in all, in seconds. The rest as in tcp_states.txt.
""" % (os.uname().release.split("-")[0], a.n, a.s, " --new" if a.new else ""))
        rig, port, shown = Rig(), 1024, set()
        for name, trace in SCRIPTED.items():
            for left in LEFT if name.startswith("FINs") else (0,):
                port += 1
                rig.tune(**SWITCHES, **{"timeout_" + t: left or 1000 for t in TIMEOUTS})
                rig.tune(timeout_unacknowledged=30, timeout_max_retrans=40)
                out.write("# %s\nflow " % name + " ".join(
                    "timeout_%s=%d" % (t, {"unacknowledged": 30, "max_retrans": 40}.get(t, left or 1000)) for t in TIMEOUTS) + "\n")
                for s in trace:
                    verdict, words = rig.inject(packet(s[0], port, *s[1:]))
                    out.write(" | ".join(x for x in ("%s %s %d %d %d %d - 0" % ("><"[s[0]], *s[1:]), verdict,
                                                     rig.entry(port), words) if x) + "\n")
        for number in range(a.n):
            port += 1
            if port == 60000:
                rig, port = Rig(), 1025
            switches = {"loose": 1 if rng.random() < .8 else 0, "be_liberal": int(rng.random() < .15),
                        "max_retrans": rng.choice((3, 3, 3, 1, 0, 5)), "ignore_invalid_rst": int(rng.random() < .2)}
            seconds = rng.sample(range(10, 500, 5), len(TIMEOUTS))
            if rng.random() < .5:
                seconds[TIMEOUTS.index("established")] = 432000
            timeouts = dict(zip(TIMEOUTS, seconds))
            rig.tune(**switches)
            changed = {k: v for k, v in switches.items() if v != SWITCHES[k]}
            settings = [*changed.items(), *(("timeout_" + k, v) for k, v in timeouts.items())]
            lines = ["flow " + " ".join("%s=%d" % x for x in settings)]
            raised, before, shows = 0, "gone", set()
            for direction, (flags, _, seq, ack, window, length, opts) in Trace(rng).run():
                raised = max(0, raised + rng.choice((0, 0, 0, 0, 1000, 1000, 2000, -1000)))
                rig.tune(**{"timeout_" + k: v + raised for k, v in timeouts.items()})
                verdict, words = rig.inject(packet(direction, port, flags, seq, ack, window, length, opts))
                entry = rig.entry(port)
                lines.append(" | ".join(x for x in ("%s %s %d %d %d %d %s %d" % (
                    "><"[direction], flags, seq, ack, window, length, opts.hex() or "-", raised), verdict,
                    entry, words) if x))
                state = " ".join(entry.split()[:2] + entry.split()[3:4])
                shows.add((before, direction, flags.replace("P", ""), verdict, state, re.sub(r"\d+", "", words)))
                before = state
            if not a.new or shows - shown:
                shown |= shows
                out.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
