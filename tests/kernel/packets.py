"""Packets for scenarios: IPv4 and IPv6 and what they carry, right by default and wrong where asked to be.

Every builder returns bytes. Lengths and checksums are computed unless given, so each can be made wrong alone.
"""
import socket, struct

ICMP, TCP, UDP, GRE, ICMPV6, SCTP, UDPLITE = 1, 6, 17, 47, 58, 132, 136
FLAG = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16, "U": 32, "E": 64, "C": 128}


def checksum(data):
    """RFC 1071"""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def address(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def pseudo(src, dst, proto, length):
    """the pseudo header of a transport checksum"""
    if ":" in src:
        return address(src) + address(dst) + struct.pack("!IHBB", length, 0, 0, proto)
    return address(src) + address(dst) + struct.pack("!BBH", 0, proto, length)


def ipv4(src, dst, proto, body, ttl=64, tos=0, ident=0, fragment=0x4000, options=b"", total=None, ihl=None, check=None):
    options += b"\0" * (-len(options) % 4)
    size = 20 + len(options)
    head = struct.pack("!BBHHHBBH", 0x40 | (size // 4 if ihl is None else ihl), tos,
                       (size + len(body)) & 0xFFFF if total is None else total, ident, fragment, ttl, proto, 0)
    head += address(src) + address(dst) + options
    check = checksum(head) if check is None else check
    return head[:10] + struct.pack("!H", check) + head[12:] + body


def ipv6(src, dst, proto, body, hops=64, tclass=0, label=0, extensions=(), length=None):
    """extensions: (protocol number, header without its next-header byte), in order"""
    numbers = [n for n, _ in extensions] + [proto]
    chain = b"".join(bytes([numbers[i + 1]]) + rest for i, (_, rest) in enumerate(extensions))
    length = (len(chain) + len(body)) & 0xFFFF if length is None else length
    return struct.pack("!IHBB", 6 << 28 | tclass << 20 | label, length, numbers[0], hops) + address(src) \
        + address(dst) + chain + body


def ip(src, dst, proto, body, **more):
    return (ipv6 if ":" in src else ipv4)(src, dst, proto, body, **more)


def tcp(src, dst, sport, dport, flags, seq, ack, window, data=b"", options=b"", offset=None, check=None, urgent=0):
    options += b"\0" * (-len(options) % 4)
    bits = sum(FLAG[c] for c in flags if c != "-")
    offset = 5 + len(options) // 4 if offset is None else offset
    body = struct.pack("!HHIIBBHHH", sport, dport, seq % 2**32, ack % 2**32, offset << 4, bits, window, 0, urgent)
    body += options + data
    right = checksum(pseudo(src, dst, TCP, len(body)) + body)
    check = right if check is None else (right + check) & 0xFFFF
    return body[:16] + struct.pack("!H", check) + body[18:]


def udp(src, dst, sport, dport, data=b"", length=None, check=None):
    body = struct.pack("!HHHH", sport, dport, 8 + len(data) if length is None else length, 0) + data
    if check is None:
        check = checksum(pseudo(src, dst, UDP, len(body)) + body) or 0xFFFF
    return body[:6] + struct.pack("!H", check) + body[8:]


def udplite(src, dst, sport, dport, data=b"", coverage=0, proto=UDPLITE, check=None):
    """proto: the number in the pseudo header (RFC 3828: 136)"""
    body = struct.pack("!HHHH", sport, dport, coverage, 0) + data
    covered = body[:coverage] if 8 <= coverage <= len(body) else body
    if check is None:
        check = checksum(pseudo(src, dst, proto, len(body)) + covered) or 0xFFFF
    return body[:6] + struct.pack("!H", check) + body[8:]


def icmp(src, dst, kind, code, rest, data=b"", check=None):
    """rest: bytes 4 to 7. ICMPv6 if the addresses are IPv6"""
    body = struct.pack("!BBH", kind, code, 0) + rest + data
    right = checksum((pseudo(src, dst, ICMPV6, len(body)) if ":" in src else b"") + body)
    check = right if check is None else (right + check) & 0xFFFF
    return body[:2] + struct.pack("!H", check) + body[4:]


CASTAGNOLI = [0] * 256
for _byte in range(256):
    _crc = _byte
    for _ in range(8):
        _crc = _crc >> 1 ^ (0x82F63B78 if _crc & 1 else 0)
    CASTAGNOLI[_byte] = _crc


def crc32c(data):
    """RFC 9260 appendix A"""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CASTAGNOLI[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def chunk(kind, flags=0, body=b"", length=None, pad=True):
    """an SCTP chunk, padded to four bytes"""
    return struct.pack("!BBH", kind, flags, 4 + len(body) if length is None else length) + body + b"\0" * (pad and -len(body) % 4)


def init(kind, tag, flags=0, more=b""):
    """INIT (1) or INIT ACK (2) with this initiate tag"""
    return chunk(kind, flags, struct.pack("!IIHHI", tag, 65535, 10, 10, 1000) + more)


def sctp(sport, dport, vtag, chunks=b"", check=None):
    """chunks: bytes. check: added to the right checksum"""
    head = struct.pack("!HHI", sport, dport, vtag)
    crc = crc32c(head + bytes(4) + chunks) + (check or 0) & 0xFFFFFFFF
    return head + struct.pack("<I", crc) + chunks


def option(kind, data=b""):
    """a TCP option"""
    return bytes([kind, 2 + len(data)]) + data


NOP, MSS, SACK_OK = b"\1", option(2, b"\5\xb4"), option(4)
