"""Fuzz addresses: what stands in a command is a path or an AddressError, and a path reads back equal, however spelled.

Both parsers agree, no text leaves its brackets, and the canonical spelling of a domain is its own.
"""

from __future__ import annotations

from random import Random

from fuzzing import main, noise

from moxy.smtp.address import (
    LOCAL_PART_LIMIT,
    PATH_LIMIT,
    AddressError,
    ForwardPath,
    Path,
    ReversePath,
    parse_hello,
    scan_path,
)
from moxy.smtp.domain import DOMAIN_LIMIT, canonical

WORDS = [
    b"a",
    b"Postmaster",
    b"b-c",
    b"x.test",
    b"_d",
    b".",
    b"..",
    b'"',
    b'"a b"',
    b'"\\',
    b"\\",
    b"@",
    b"@a.test,@b:",
]
WORDS += [
    b"[",
    b"]",
    b"[192.0.2.1]",
    b"[IPv6:2001:DB8::1]",
    b"[IPv6:::ffff:192.0.2.1]",
    b"[x25:1]",
    b"%eth0",
    b":",
    b",",
]
WORDS += [b"XN--", b"xn--bcher-kva", b"l" * 64, b"d" * 63 + b".", b"a@b", b"a@x.test", b"%", b"!", b"\x7f", b"\t"]
LETTERS = "éBücher\u00df\u0130\u0131\u200c\u200d\u3002\uff0e\uff21\u05d0\u0661\u0300"
LETTERS += "\u2028\x85\ud7ff\ufffd\U0001f600\U0010ffff\u03c2ǰ"


def text(random: Random) -> bytes:
    """A path as it might come, in octets."""
    words = WORDS + [letter.encode() for letter in random.sample(LETTERS, 6)] if random.random() < 0.5 else WORDS
    octets = noise(random, words, random.choice([4, 8, 20]))
    return octets if random.random() < 0.3 else octets + b"@" + noise(random, words, 5)


def scanned(octets: bytes, kind: type[Path], utf8: bool) -> Path | None:
    line = b"MAIL FROM:<" + octets + b"> SIZE=1"
    try:
        path, end = scan_path(line, len(b"MAIL FROM:"), kind, utf8)
    except AddressError as error:
        sentence = str(error)
        assert sentence.isascii()
        assert sentence.isprintable()
        assert len(sentence) < 100
        return None
    return path if line[end:] == b" SIZE=1" else None


def parsed(spelling: str, kind: type[Path], utf8: bool) -> Path | None:
    try:
        return kind.parse(spelling, utf8)
    except AddressError:
        return None


def same(one: Path, other: Path | None) -> bool:
    return other is not None and (one.text, one.local, one.domain) == (other.text, other.local, other.domain)


def check_path(path: Path, utf8: bool) -> None:
    kind = type(path)
    assert utf8 or path.text.isascii()
    assert all(character.isprintable() or character > "\x9f" for character in path.text)
    assert len(path.local.encode()) <= LOCAL_PART_LIMIT
    assert same(path, scanned(path.text.encode(), kind, utf8))
    assert same(path, parsed(path.text, kind, utf8))
    assert path.text == (f"{path.local}@{path.text[len(path.local) + 1 :]}" if path.domain else path.local)
    if path.domain:
        check_domain(path.domain)
        routed = f"@r.test:{path.text}".encode()
        assert len(routed) > PATH_LIMIT or same(path, scanned(routed, kind, utf8))
        again = parsed(path.key, kind, utf8)
        assert len(path.key) > 500 or (again is not None and again == path and again.key == path.key)


def check_domain(domain: str) -> None:
    assert domain.isascii()
    assert domain.isprintable()
    assert 0 < len(domain) <= DOMAIN_LIMIT
    assert canonical(domain) == canonical(domain.upper()) == domain


def case(random: Random) -> None:
    octets, kind, utf8 = text(random), random.choice([ForwardPath, ReversePath]), random.random() < 0.5
    path = scanned(octets, kind, utf8)
    if path is not None:
        check_path(path, utf8)
    spelling = octets.decode(errors="replace")
    found = parsed(spelling, kind, utf8)
    if found is not None:
        check_path(found, utf8)
    domain = spelling.rpartition("@")[2]
    for name in (domain, domain.lower(), domain.upper()):
        try:
            check_domain(canonical(name))
        except ValueError as error:
            sentence = str(error)
            assert sentence.isascii()
            assert sentence.isprintable()
    try:
        hello = parse_hello(octets)
    except AddressError:
        return
    assert parse_hello(hello.encode()) == hello
    assert hello.isprintable()


if __name__ == "__main__":
    main(case)
