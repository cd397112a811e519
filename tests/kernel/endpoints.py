"""Two TCP ends that mostly keep to the rules, a wire that does not, and a guess of the windows in between.

A `Talk` is one connection's trace in the making. Its ends remember what they sent and what they have to acknowledge;
`speak` adds a segment that such an end might send, `fault` what a bad wire makes of it, `probe` one aimed at an edge of the
windows that a tracker in between must keep (van Rooij 2000). What a tracker makes of it is not decided here.
"""
import struct
from packets import MSS, NOP, SACK_OK, ip, option, tcp

WRAP = 2**32


class End:
    def __init__(self, rng):
        self.isn = rng.choice((rng.getrandbits(32), WRAP - rng.randint(1, 5000), rng.randint(0, 70000),
                               2**31 - rng.randint(0, 3000)))
        self.next = self.isn            # what it sends next
        self.heard = 0                  # what it expects next of its peer
        self.wscale = rng.choice((None, 0, 1, 2, 7, 7, 8, 14, 15, rng.randint(0, 15)))
        self.sack, self.stamps = rng.random() < .6, rng.random() < .3
        self.windows = rng.choice(((65535,), (65535, 0), (1000, 2000, 0), (100, 1, 0, 60000), (5000, 5001), (20, 400),
                                   (29200, 502, 501)))
        self.fin = False
        # As a tracker may see it: how far it sent, how far it may send, and the greatest window it offered.
        self.end = self.limit = None
        self.window = 0
        self.acked = 0                  # the highest acknowledgement it sent


class Talk:
    def __init__(self, rng, v6=False, ports=None, swap=False, odd_ip=0.0):
        self.rng, self.v6 = rng, v6
        self.hosts = ("fd00:1::1", "fd00:2::1") if v6 else ("10.1.0.1", "10.2.0.1")
        self.ports = ports or (rng.choice((1000, 1024, 40000, 65535, 80, rng.randint(1, 65535))),
                               rng.choice((80, 443, 22, 8080)))
        self.swap = swap                # the client is on side 1
        if swap:
            self.hosts = self.hosts[::-1]
        self.odd_ip = odd_ip
        self.ends = [End(rng), End(rng)]
        self.sent = []                  # everything, to repeat it: (who, segment)
        self.steps = []
        self.stamp = rng.getrandbits(31)

    # ------------------------------------------------------------ putting segments on the wire
    def wire(self, who, body_of, **more):
        r = self.rng
        src, dst = self.hosts[who], self.hosts[1 - who]
        if not more and r.random() < self.odd_ip:
            if self.v6:
                more = r.choice(({"tclass": 3}, {"tclass": 1}, {"label": 12345}, {"hops": 255},
                                 {"extensions": [(60, b"\0" + b"\1\4\0\0\0\0")]},
                                 {"extensions": [(0, b"\0" + b"\5\2\0\0\1\0"), (60, b"\0" + b"\1\4\0\0\0\0")]}))
            else:
                more = r.choice(({"tos": 3}, {"tos": 2}, {"tos": 0xb8}, {"fragment": 0}, {"ident": 7, "fragment": 0},
                                 {"ttl": 2},
                                 {"options": b"\1\1\1\1"}, {"options": b"\1\1\1\0"}, {"options": b"\x94\4\0\0"}))
        padding = more.pop("padding", b"")
        packet = ip(src, dst, 6, body_of(src, dst), **more) + padding
        self.steps.append({"in": who ^ self.swap, "packet": packet.hex()})

    def segment(self, who, flags, seq, ack, window, size=0, options=b"", keep=True, note=None, **wrong):
        """sends a segment, whatever its numbers. wrong: see packets.tcp; and cut: bytes of it that are there"""
        sport, dport = self.ports if who == 0 else self.ports[::-1]
        cut = wrong.pop("cut", None)
        more = wrong.pop("ip", {})

        def body(src, dst):
            return tcp(src, dst, sport, dport, flags, seq, ack, window, bytes(size), options, **wrong)[:cut]
        self.wire(who, body, **dict(more))
        if note:
            self.steps[-1]["note"] = note
        if keep and cut is None and not wrong:
            self.sent.append((who, (flags, seq % WRAP, ack % WRAP, window, size, options)))
            self.watch(who, flags, seq, ack, window, size)

    def again(self, who, segment):
        self.segment(who, *segment, keep=False)

    def watch(self, who, flags, seq, ack, window, size):
        """what a tracker may now believe of the windows"""
        me, peer = self.ends[who], self.ends[1 - who]
        if "R" in flags:
            return
        scale = 0
        if me.wscale is not None and peer.wscale is not None and "S" not in flags:
            scale = min(me.wscale, 14)
        window <<= scale
        end = seq + size + ("S" in flags) + ("F" in flags)
        me.window = max(me.window, window, 1)
        if me.end is None or 0 < (end - me.end) % WRAP < 2**31:
            me.end = end % WRAP
        if me.limit is None:
            me.limit = me.end
        if "." in flags:
            if 0 < (ack - me.acked) % WRAP < 2**31 or not me.acked:
                me.acked = ack % WRAP
            reach = (ack + max(window, 1)) % WRAP
            if peer.limit is None or 0 < (reach - peer.limit) % WRAP < 2**31:
                peer.limit = reach

    # ------------------------------------------------------------ what a sane end would do
    def options(self, who, flags):
        me, peer = self.ends[who], self.ends[1 - who]
        if "S" in flags:
            out = MSS if self.rng.random() < .8 else b""
            if me.sack:
                out += NOP + NOP + SACK_OK
            if me.wscale is not None:
                out += NOP + option(3, bytes([me.wscale]))
            if me.stamps:
                out += NOP + NOP + option(8, struct.pack("!II", self.tick(), 0))
            return out
        if me.stamps and peer.stamps:
            return NOP + NOP + option(8, struct.pack("!II", self.tick(), self.stamp - 5))
        return b""

    def tick(self):
        self.stamp = (self.stamp + self.rng.randint(1, 20)) % WRAP
        return self.stamp

    def blocks(self, ack, right=True):
        """SACK blocks above ack, or wherever"""
        r, out = self.rng, b""
        left = ack
        for _ in range(r.choice((1, 1, 2, 3))):
            left += r.randint(1, 2000) if right else r.choice((-1000, 0, 1, 5000, 70000, 200000, r.getrandbits(32)))
            edge = left + r.randint(1, 1400)
            out += struct.pack("!II", left % WRAP, edge % WRAP)
            left = edge
        return NOP + NOP + option(5, out)

    def speak(self, who, flags, size=0, **more):
        """the next segment of this end as it should be"""
        me, peer, r = self.ends[who], self.ends[1 - who], self.rng
        seq = me.isn if "S" in flags else me.next
        ack = me.heard if "." in flags else 0
        opts = more.pop("options", None)
        if opts is None:
            opts = self.options(who, flags)
        self.segment(who, flags, seq, ack, more.pop("window", r.choice(me.windows)), size, opts, **more)
        after = (seq + size + ("S" in flags) + ("F" in flags)) % WRAP
        if "R" not in flags and (after - me.next) % WRAP < 2**31:
            me.next = after
        me.fin |= "F" in flags
        if r.random() < .97 or "S" in flags:            # the peer has mostly heard it
            peer.heard = after if "R" not in flags else peer.heard

    def handshake(self, upto=3, crossed=False):
        if crossed:
            self.speak(0, "S"), self.speak(1, "S")
            for who in self.rng.sample((0, 1), upto - 1 if upto > 1 else 0):
                self.speak(who, "S.")
            return
        for who, flags in [(0, "S"), (1, "S."), (0, ".")][:upto]:
            self.speak(who, flags)

    def close(self, first, upto=4):
        for who, flags in [(first, "F."), (1 - first, "."), (1 - first, "F."), (first, ".")][:upto]:
            self.speak(who, flags)

    def reopen(self, who, gap):
        """a new incarnation, begun by who"""
        me, peer = self.ends[who], self.ends[1 - who]
        me.isn = me.next = (me.next + gap) % WRAP
        peer.isn = peer.next = self.rng.getrandbits(32)
        for e in self.ends:
            e.fin = False
        for w, flags in [(who, "S"), (1 - who, "S."), (who, ".")]:
            self.speak(w, flags)

    def converse(self):
        """one thing that a sane end does next"""
        r = self.rng
        who = r.randint(0, 1)
        if self.ends[who].fin and r.random() < .8:
            return self.speak(who, ".")
        what = r.random()
        if what < .04:
            return self.leap()
        if what < .5:
            size = r.choice((1, 10, 100, 536, 1400, 1400))
            self.speak(who, r.choice(("P.", ".", "P.", "P.U", ".E", "P.C")) if r.random() < .2 else "P.", size)
            if r.random() < .7:
                self.speak(1 - who, ".")
        elif what < .75:
            self.speak(who, ".")
        elif what < .8:                                 # duplicate ACKs
            for _ in range(r.randint(2, 4)):
                self.speak(who, ".", window=self.ends[who].windows[0])
        elif what < .84:                                # keep-alive, and its answer
            me = self.ends[who]
            self.segment(who, ".", me.next - 1, me.heard, me.windows[0], r.choice((0, 0, 1)), self.options(who, "."))
            self.speak(1 - who, ".")
        elif what < .88:                                # zero window, probe, reopening
            self.speak(who, ".", window=0)
            peer = self.ends[1 - who]
            self.segment(1 - who, ".", peer.next - r.randint(0, 1), peer.heard, peer.windows[0], r.randint(0, 1))
            self.speak(who, ".")
        elif what < .92:                                # SACK
            me = self.ends[who]
            self.segment(who, ".", me.next, me.heard, me.windows[0], 0, self.blocks(me.heard, r.random() < .6))
        elif what < .96 and not self.ends[who].fin:
            self.speak(who, r.choice(("F.", "FP.", "F.")), r.choice((0, 0, 100)))
        else:
            me = self.ends[who]
            self.segment(who, r.choice(("R", "R.")), me.next, me.heard, 0)

    # ------------------------------------------------------------ a bad wire
    def fault(self):
        r = self.rng
        if not self.sent:
            return self.converse()
        what = r.randint(0, 5)
        if what == 0:                                   # retransmission of the last, once or often
            for _ in range(r.choice((1, 1, 2, 3, 4))):
                self.again(*self.sent[-1])
        elif what == 1:                                 # anything seen before once more
            self.again(*r.choice(self.sent))
        elif what == 2 and len(self.sent) > 2:          # a burst of old ones
            i = r.randrange(len(self.sent) - 1)
            for old in self.sent[i:i + 3]:
                self.again(*old)
        elif what == 3:                                 # reordering: the later of two first
            who = r.randint(0, 1)
            me = self.ends[who]
            a, b = r.randint(1, 1400), r.randint(1, 1400)
            self.segment(who, "P.", me.next + a, me.heard, me.windows[0], b)
            if r.random() < .6:
                peer = self.ends[1 - who]
                self.segment(1 - who, ".", peer.next, me.next, peer.windows[0], 0,
                             NOP + NOP + option(5, struct.pack("!II", (me.next + a) % WRAP, (me.next + a + b) % WRAP)))
            self.segment(who, "P.", me.next, me.heard, me.windows[0], a)
            me.next = (me.next + a + b) % WRAP
            self.ends[1 - who].heard = me.next
        elif what == 4:                                 # lost: the peer will acknowledge what was not seen
            who = r.randint(0, 1)
            me, n = self.ends[who], r.choice((1, 100, 1400))
            me.next = (me.next + n) % WRAP
            self.ends[1 - who].heard = me.next
            self.speak(1 - who, ".")
        else:                                           # part of something old, and new data behind it
            who = r.randint(0, 1)
            me = self.ends[who]
            back, n = r.randint(1, 2000), r.randint(1, 1400)
            self.segment(who, "P.", me.next - back, me.heard, me.windows[0], n)

    def leap(self):
        """data at the far end of the window, acknowledged: with great windows a few of these go round the sequence space"""
        r = self.rng
        who = r.randint(0, 1)
        me, peer = self.ends[who], self.ends[1 - who]
        if me.limit is None or not 0 <= (me.limit - me.next) % WRAP < 2**31:
            return self.converse()
        size = min(r.choice((1, 100, 1400)), max(0, (me.limit - me.next) % WRAP))
        self.segment(who, "P.", me.limit - size, me.heard, me.windows[0], size, self.options(who, "."))
        me.next = me.limit % WRAP
        peer.heard = me.next
        for _ in range(r.choice((1, 1, 2))):
            self.segment(1 - who, ".", peer.next, peer.heard + r.choice((0, 0, 0, 1, -1)),
                         r.choice((65535, peer.windows[0])), 0, self.options(1 - who, "."))

    # ------------------------------------------------------------ edges
    def edges(self, who):
        """sequence numbers and acknowledgements about which a tracker must be careful"""
        me, peer = self.ends[who], self.ends[1 - who]
        end, limit = (me.end if me.end is not None else me.next), (me.limit if me.limit is not None else me.next)
        theirs = peer.end if peer.end is not None else peer.next
        slack = max(me.window, 66000)
        return ((limit, end, end - peer.window - 1, limit + peer.window, me.next, me.isn, peer.acked, end - 66000),
                (theirs, theirs - slack - 1, theirs - slack, me.heard, me.acked, peer.isn, theirs - 66000, theirs - 1))

    def probe(self):
        r = self.rng
        who = r.randint(0, 1)
        me = self.ends[who]
        seqs, acks = self.edges(who)
        near = lambda: r.choice((0, 0, 0, 1, -1, 1, -1, 2, -2, r.randint(-40, 40), r.randint(-3000, 3000)))
        seq = ack = None
        if r.random() < .65:
            seq = r.choice(seqs) + near()
        if r.random() < .5 or seq is None:
            ack = r.choice(acks) + near()
        if r.random() < .06:
            seq = r.getrandbits(32)
        if r.random() < .06:
            ack = r.getrandbits(32)
        seq = me.next if seq is None else seq
        ack = me.heard if ack is None else ack
        flags = r.choice((".", ".", ".", "P.", "P.", "F.", "R", "R", "R.", "R.", "S", "S", "S."))
        size = r.choice((0, 0, 1, 10, 100, 1000, 1400)) if flags in (".", "P.", "F.") or r.random() < .08 else 0
        if "." not in flags:
            ack = r.choice((0, 0, 0, ack))
        if "R" in flags and r.random() < .15:
            ack = 0
        if size and r.random() < .4:
            seq -= size                                 # its end is at the edge
        options = self.options(who, flags)
        if flags == "." and r.random() < .15:
            options = self.blocks(ack, r.random() < .4)
        if "S" in flags and r.random() < .3:
            options = r.choice((b"", MSS, NOP + option(3, bytes([r.randint(0, 15)])), MSS + SACK_OK))
        if "S" in flags and r.random() < .4:            # an end that has begun anew
            me.isn, me.next = seq % WRAP, (seq + 1) % WRAP
            if r.random() < .7:
                self.ends[1 - who].heard = me.next
        self.segment(who, flags, seq, ack, r.choice(me.windows + (65535,)), size, options)

    def reset(self):
        """a RST of some kind"""
        r = self.rng
        who = r.randint(0, 1)
        me, peer = self.ends[who], self.ends[1 - who]
        limit = me.limit if me.limit is not None else me.next
        seq = r.choice((me.next, me.next, peer.acked, peer.acked - 1, peer.acked + 1, me.next + 1, me.next - 1, limit,
                        limit + 1, limit - 1,
                        me.isn, me.isn + 1, 0, me.next + r.randint(2, 1000), r.getrandbits(32)))
        ack = r.choice((me.heard, me.heard, 0, peer.isn, (peer.isn + 1), me.heard + 1, me.heard - 1, peer.next,
                        r.getrandbits(32)))
        flags = r.choice(("R", "R.", "R.", "RP.", "R"))
        self.segment(who, flags, seq, ack if "." in flags or r.random() < .2 else 0, r.choice((0, 0, 1000)),
                     r.choice((0, 0, 0, 0, 7)))

    def nonsense(self):
        """wrong flags, lengths, checksums, options"""
        r = self.rng
        who = r.randint(0, 1)
        me = self.ends[who]
        seq, ack, window = me.next, me.heard, me.windows[0]
        what = r.randint(0, 7)
        if what <= 2:
            flags = r.choice(("-", "F", "FS", "SR", "S.F", "FR", "FR.", "P", "U", "PU", "FPU", "FSRP.UEC", "SP", "SU", "S.U",
                              "SPU", "S.P", "S.EC",
                              "SEC", "S.E", ".E", ".C", "FU.", "FP.", "RU", "RP", "R.U", "RE", "E", "C", ".U", "P.U", "F.EC",
                              "SP.U"))
            self.segment(who, flags, seq, ack if "." in flags else 0, window, r.choice((0, 0, 5)), keep=False)
        elif what == 3:
            self.segment(who, r.choice(("P.", ".", "S", "R")), seq, ack, window, r.choice((0, 9)), keep=False,
                         check=r.choice((1, 0x100, 0x8000)))
        elif what == 4:
            self.segment(who, ".", seq, ack, window, 0, keep=False, cut=r.choice((1, 4, 8, 13, 16, 19)))
        elif what == 5:
            self.segment(who, "P.", seq, ack, window, r.choice((0, 40)), keep=False, offset=r.choice((0, 4, 6, 10, 15)))
        elif what == 6:
            options = r.choice((b"\x03\x03", b"\x08\x0a\0\0", b"\x05\x0a" + bytes(4), b"\x02\x00\x00\x00",
                                b"\xfd\x04\x00\x00", b"\0\3\3\7",
                                b"\x03\x01\x07\x00", b"\x01\x01\x01\x03", b"\x05\x09" + bytes(10), b"\x13\x12" + bytes(18),
                                b"\x22\x02\x01\x01",
                                b"\x03\x04\x07\x00", b"\x04\x03\x00\x01"))
            self.segment(who, r.choice((".", "S", "S.", "P.")), seq, ack, window, 0, options, keep=False)
        else:
            self.segment(who, "P.", seq, ack, window, 3, keep=False, ip={"padding": bytes(r.choice((1, 4, 18)))})
