"""Fuzz the PROXY header: any octets in any cut are one header, the wish for more, or a ProxyHeaderError.

A header is known when its last octet has come and not before, and what follows it is not looked at. The wish for more
is bounded. What was read, and what was made up, is the same when it is written and read again.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from random import Random

from fuzzing import main, noise

from moxy.smtp.proxyheader import LIMIT, SIGNATURE, V1_LIMIT, ClientTls, ProxyHeader, ProxyHeaderError, read, write

WORDS = [b"PROXY", b"PROXY TCP4", b"PROXY TCP6", b"TCP4", b"UNKNOWN", b"192.0.2.1", b"2001:db8::1", b"::ffff:1.2.3.4"]
WORDS += [b" 25", b" 0", b" 65535", b" 65536", b"01", b"%eth0", b" ", b"\r\n", b"EHLO a\r\n", b"\x21\x11", b"\x20\x00"]
WORDS += [SIGNATURE, b"\x00\x0c", b"\x00\x24", b"\x20\x00\x05", b"\x02\x00\x01a", b"\x01\x00\x00\x00\x00", b"\x00" * 30]
TEXTS = ["", "TLSv1.3", "a" * 255, "b" * 256, "é" * 100, "mx.test"]


def made_up(random: Random) -> ProxyHeader:
    """A header that says all it can."""
    tls = ClientTls(*random.choices(TEXTS, k=3), verified=random.random() < 0.5) if random.random() < 0.5 else None
    rest = {"tls": tls, "authority": random.choice(TEXTS)}
    ports = random.choice([0, 25, 65535]), random.randrange(65536)
    kind = random.randrange(5)
    if kind == 0:
        return ProxyHeader(local=True)
    if kind == 1:
        return ProxyHeader(**rest)
    if kind == 2:
        return ProxyHeader(f"/run/{'s' * random.randrange(100)}", 0, random.choice(["", "/a"]), 0, **rest)
    packed = random.randbytes(32)
    four, six = IPv4Address, IPv6Address
    pair = (four(packed[:4]), four(packed[4:8])) if kind == 3 else (six(packed[:16]), six(packed[16:]))
    return ProxyHeader(str(pair[0]), ports[0], str(pair[1]), ports[1], **rest)


def readable(header: ProxyHeader) -> ProxyHeader:
    """What is left of it when it is written: no text that is too long, and no destination of nobody."""

    def short(text: str) -> str:
        return text if len(text.encode()) <= 255 else ""

    tls = header.tls
    if tls is not None:
        tls = replace(tls, version=short(tls.version), cipher=short(tls.cipher), common_name=short(tls.common_name))
    if not header.source:
        header = replace(header, destination="")
    return replace(header, tls=tls, authority=short(header.authority))


def check_written(header: ProxyHeader) -> None:
    octets = write(header, 2)
    assert read(octets) == (readable(header), len(octets))
    line = write(header, 1)
    assert len(line) <= V1_LIMIT
    found = read(line)
    told = not header.source.startswith("/") and not header.local
    expected = replace(header, tls=None, authority="") if told and header.source else ProxyHeader()
    assert found == (expected, len(line))


def check_header(header: ProxyHeader) -> None:
    for place, port in ((header.source, header.source_port), (header.destination, header.destination_port)):
        assert 0 <= port <= 65535
        assert "%" not in place or place.startswith("/")
        assert not place or place.startswith("/") or str(ip_address(place)) == place
    texts = [header.authority]
    if header.tls is not None:
        texts += [header.tls.version, header.tls.cipher, header.tls.common_name]
    assert all(text.isprintable() and len(text) <= 4 * 255 for text in texts)
    if not header.source.startswith("/"):
        check_written(header)


def refused(octets: bytes) -> bool:
    try:
        read(octets)
    except ProxyHeaderError:
        return True
    return False


def check_cuts(octets: bytes) -> None:
    """Every beginning, as if nothing more had come yet."""
    known: tuple[ProxyHeader, int] | None = None
    for cut in range(len(octets) + 1):
        try:
            found = read(octets[:cut])
        except ProxyHeaderError:
            assert known is None
            for longer in (octets, octets[: cut + 1]):
                assert refused(longer)
            return
        if found is None:
            assert known is None
            assert cut < LIMIT
        elif known is None:
            assert found[1] == cut
            known = found
            check_header(found[0])
        else:
            assert found == known


def stream(random: Random) -> bytes:
    chance = random.random()
    if chance < 0.3:
        octets = bytearray(write(made_up(random), random.choice([1, 2])) + b"EHLO a\r\n")
        for _ in range(random.choice([0, 1, 1, 3])):
            octets[random.randrange(len(octets))] = random.choice([0, 1, 0x20, 0x21, 0xFF, random.randrange(256)])
        return bytes(octets)
    if chance < 0.6:
        rest = noise(random, WORDS, 6)
        command, family = random.choice([0x20, 0x21]), random.choice([0, 0x11, 0x21, 0x31])
        return SIGNATURE + struct.pack("!BBH", command, family, max(0, len(rest) - random.randrange(3))) + rest
    return random.choice([b"", b"PROXY TCP4 ", b"PROXY TCP6 ::1 ::1 ", b"PROXY TCP6 ::1 fe80::1%eth0 1 2\r\n"]) + noise(
        random, WORDS, 8
    )


def case(random: Random) -> None:
    check_written(made_up(random))
    octets = stream(random)
    check_cuts(octets[:600])
    try:
        found = read(octets)
    except ProxyHeaderError:
        return
    assert found is None or found[1] <= min(LIMIT, len(octets))
    assert found is not None or len(octets) < LIMIT


if __name__ == "__main__":
    main(case)
