"""Two SCTP ends that mostly keep to RFC 9260, a wire that does not, and strangers.

An `Association` is one trace in the making, like `endpoints.Talk` is for TCP: its ends know their tags; `advance` adds what would
come next, `fault` and `nonsense` what would not. What a tracker makes of it is not decided here.
"""
import struct
from packets import SCTP, chunk, init, ip, sctp

DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR, COOKIE_ECHO, COOKIE_ACK = range(12)
COMPLETE = 14
CONTROL = (HEARTBEAT, HEARTBEAT_ACK, ABORT, SHUTDOWN, SHUTDOWN_ACK, ERROR)
ALL = (*range(15), 15, 64, 128, 130, 192, 193, 255)


class Association:
    def __init__(self, rng, v6=False, ports=None, swap=False, path=0):
        """path: which of the ends' addresses is used (an association with several shares its tags)"""
        self.rng, self.v6, self.swap = rng, v6, swap
        self.hosts = ("fd00:1::%x" % (path + 1), "fd00:2::%x" % (path + 1)) if v6 else ("10.1.0.%d" % (path + 1), "10.2.0.%d" % (path + 1))
        if swap:
            self.hosts = self.hosts[::-1]
        self.ports = ports or (rng.choice((3000, 36412, 1, 65535)), 38412)
        # What packets to this end carry.
        self.tags = [self.tag(), self.tag()]
        self.old = list(self.tags)
        self.next = 0
        self.sent, self.steps = [], []

    def tag(self):
        return self.rng.choice((self.rng.getrandbits(32) | 1, self.rng.getrandbits(32) | 1, self.rng.randint(1, 9)))

    # ------------------------------------------------------------ putting packets on the wire
    def put(self, who, vtag, chunks, keep=True, **wrong):
        """wrong: check, see packets.sctp; cut: bytes that are there"""
        cut = wrong.pop("cut", None)
        sport, dport = self.ports if who == 0 else self.ports[::-1]
        body = sctp(sport, dport, vtag, chunks, **wrong)[:cut]
        packet = ip(self.hosts[who], self.hosts[1 - who], SCTP, body)
        self.steps.append({"in": who ^ self.swap, "packet": packet.hex()})
        if keep:
            self.sent.append((who, vtag, chunks))

    def again(self):
        if self.sent:
            self.put(*self.rng.choice(self.sent[-4:]), keep=False)

    def chunk(self, kind, who=0):
        r = self.rng
        flags = r.choice((0, 0, 0, 1, 3, 255)) if kind != DATA else 3
        if kind in (ABORT, COMPLETE):
            flags = int(r.random() < .3)
        if kind in (INIT, INIT_ACK):
            tag = r.choice((self.tags[who], self.tags[who], self.old[who], self.tags[1 - who], self.tag(), 0))
            return init(kind, tag, 0, r.choice((b"", b"\0\5\0\x08" + bytes(4))))
        size = {DATA: 12 + r.randint(1, 50), SACK: 12, HEARTBEAT: 8, HEARTBEAT_ACK: 8, SHUTDOWN: 4, ERROR: 8, COOKIE_ECHO: r.randint(4, 60)}
        return chunk(kind, flags, bytes(r.getrandbits(8) for _ in range(size.get(kind, r.choice((0, 4))))))

    def send(self, who, *kinds, vtag=None):
        self.put(who, self.tags[1 - who] if vtag is None else vtag, b"".join(self.chunk(k, who) for k in kinds))

    # ------------------------------------------------------------ what ends do
    def init(self, who=0):
        self.put(who, 0, init(INIT, self.tags[who]))

    def init_ack(self, who=1):
        self.put(who, self.tags[1 - who], init(INIT_ACK, self.tags[who], 0, b"\0\7\0\x0ccookies!"))

    def handshake(self, steps=4, who=0):
        acts = (lambda: self.init(who), lambda: self.init_ack(1 - who),
                lambda: self.send(who, COOKIE_ECHO, *self.rng.choice(((), (), (DATA,), (DATA, DATA)))),
                lambda: self.send(1 - who, COOKIE_ACK, *self.rng.choice(((), (), (SACK,), (SACK, DATA)))))
        for act in acts[:steps]:
            act()

    def crossed(self, steps=6):
        first = self.rng.randint(0, 1)
        acts = [lambda: self.init(first), lambda: self.init(1 - first), lambda: self.init_ack(first), lambda: self.init_ack(1 - first),
                lambda: self.send(0, COOKIE_ECHO), lambda: self.send(1, COOKIE_ACK), lambda: self.send(1, COOKIE_ECHO),
                lambda: self.send(0, COOKIE_ACK)]
        if self.rng.random() < .3:
            tail = acts[2:]
            self.rng.shuffle(tail)
            acts[2:] = tail
        for act in acts[:steps]:
            act()

    def converse(self):
        who = self.rng.randint(0, 1)
        self.send(who, *self.rng.choice(((DATA,), (SACK,), (SACK, DATA), (DATA, DATA, DATA), (HEARTBEAT,), (HEARTBEAT_ACK,),
                                         (HEARTBEAT, DATA), (ERROR,), (12,), (13, SACK), (193, DATA))))

    def heartbeat(self):
        who = self.rng.randint(0, 1)
        self.send(who, HEARTBEAT)
        if self.rng.random() < .7:
            self.send(1 - who, HEARTBEAT_ACK)

    def shutdown(self, steps=3, who=None):
        who = self.rng.randint(0, 1) if who is None else who
        for act in ((who, SHUTDOWN), (1 - who, SHUTDOWN_ACK), (who, COMPLETE))[:steps]:
            self.send(act[0], act[1])

    def restart(self):
        """one end begins anew, with other tags; the other does too, or notices"""
        who, r = self.rng.randint(0, 1), self.rng
        self.old = list(self.tags)
        self.tags[who] = self.tag()
        self.init(who)
        if r.random() < .5:
            self.tags[1 - who] = self.tag()
        if r.random() < .8:
            self.init_ack(1 - who)
        if r.random() < .6:
            self.send(who, COOKIE_ECHO)
            self.send(1 - who, COOKIE_ACK)

    def moved(self):
        """both have new tags that nobody saw them agree on: a HEARTBEAT tells"""
        r, who = self.rng, self.rng.randint(0, 1)
        self.old = list(self.tags)
        self.tags = [self.tag(), self.tag()] if r.random() < .7 else [self.tag(), self.tags[1]][::r.choice((1, -1))]
        for _ in range(r.randint(1, 2)):
            self.send(who, HEARTBEAT, *r.choice(((), (), (), (SACK,), (DATA,), (SHUTDOWN,))))
        if r.random() < .2:
            self.send(1 - who, HEARTBEAT)
        if r.random() < .8:
            self.send(1 - who, HEARTBEAT_ACK)
        if r.random() < .6:
            self.send(who, *r.choice(((DATA,), (HEARTBEAT_ACK,), (HEARTBEAT,), (SHUTDOWN,))))

    # ------------------------------------------------------------ what they do not
    def fault(self):
        """right chunks with a wrong tag, out of order, in odd company"""
        r, who = self.rng, self.rng.randint(0, 1)
        what = r.random()
        tag = r.choice((self.tags[who], self.tags[1 - who], self.tags[1 - who], self.old[0], self.old[1], 0, self.tag()))
        if what < .5:
            self.send(who, r.choice(ALL), vtag=tag)
        elif what < .8:
            kinds = [r.choice((COOKIE_ECHO, COOKIE_ACK))] if r.random() < .3 else []
            kinds += r.choices((DATA, SACK, *CONTROL, 193), (1, 1, 3, 3, 1, 2, 2, 2, 1), k=r.randint(1, 5))
            self.send(who, *kinds, vtag=tag)
        else:
            self.send(who, *r.choices(ALL, k=r.randint(2, 3)), vtag=tag)

    def nonsense(self):
        """broken packets"""
        r, who = self.rng, self.rng.randint(0, 1)
        tag = self.tags[1 - who]
        kinds = r.choices((DATA, SACK, INIT, HEARTBEAT, SHUTDOWN, ABORT, COOKIE_ECHO, INIT_ACK), k=r.randint(1, 3))
        if kinds[0] == INIT:
            tag = 0
        body = b"".join(self.chunk(k, who) for k in kinds)
        what = r.random()
        if what < .25:
            self.put(who, tag, body, keep=False, check=r.choice((1, 0x100, 0x12345678)))
        elif what < .5:
            at = r.choice([0] + [i for i in range(0, len(body) - 3, 4)])
            body = body[:at + 2] + struct.pack("!H", r.choice((0, 0, 1, 2, 3, 4, 5, 8, 20, 255, 65532, 65535))) + body[at + 4:]
            self.put(who, tag, body, keep=False)
        elif what < .65:
            self.put(who, tag, body[:r.randint(0, len(body))], keep=False)
        elif what < .8:
            self.put(who, tag, body, keep=False, cut=r.choice((0, 1, 3, 4, 7, 8, 11, 12, 13, 15, 16, r.randint(0, 12 + len(body)))))
        elif what < .9:
            self.put(who, tag, body + bytes(r.randint(1, 9)), keep=False)
        else:
            self.put(who, tag, chunk(r.choice((DATA, SACK, SHUTDOWN, 193)), 0) * r.choice((5, 40, 120)) + r.choice((b"", body)), keep=False)
