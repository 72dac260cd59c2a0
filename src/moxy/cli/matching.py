"""What the options of `moxylogalyze` ask for: patterns of addresses, clients and destinations, and points in time.

Rules: a reader takes the text of an option and returns a `Test` of one field of a line as the log has it, or raises
ValueError with a text for the user. `*` stands for any characters, none included. Domains and host names are compared
without case, local parts exactly.

Bugs: addresses are compared as they are spelled: `"joe"@example.org` is not `joe@example.org`, though it is the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from fnmatch import fnmatchcase

from moxy.config import values
from moxy.config.values import shown
from moxy.mail.client import ClientPattern
from moxy.smtp.domain import canonical

Test = Callable[[bytes], bool]

_DESTINATION = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}|\*))?")
_SPECIAL = re.compile(rb"[\[?]")


def folded(address: bytes) -> bytes:
    """An address with its domain as `folded_domain`; `Postmaster` alone is one to this end (RFC 5321 §4.1.1.3)."""
    start = address.rfind(b"@") + 1
    return address[:start] + folded_domain(address[start:])


def folded_domain(domain: bytes) -> bytes:
    """A domain, or a pattern for domains, in lower case and with A-labels in place of U-labels (contract T48)."""
    if domain.isascii():
        return domain.lower()
    return b".".join([_a_label(label) for label in domain.split(b".")])


def _a_label(label: bytes) -> bytes:
    try:
        return canonical(label.decode()).encode()
    except ValueError:  # a part of a pattern, or what no client could have said
        return label.lower()


def sender(text: str) -> Test:
    """`joe@example.org`, `*@example.org`; nothing or `<>` is the null reverse-path."""
    if text in ("", "<>"):
        return lambda address: not address
    return recipient(text)


def recipient(text: str) -> Test:
    """`ann@example.net`, `*@*.example.net`, `postmaster`, `*`."""
    if "@" not in text and text != "*" and text.lower() != "postmaster":
        raise ValueError(f"expected an address (`joe@example.org`, `*@example.org`), not {shown(text)}")
    pattern = _pattern(folded(text.encode(errors="surrogateescape")))
    return lambda address: fnmatchcase(folded(address), pattern)


def client(text: str) -> Test:
    """`192.0.2.1`, `192.0.2.*`, `192.0.2.0/24`, `2001:db8::/32`."""
    if "*" in text:
        pattern = _pattern(text.lower().encode(errors="surrogateescape"))
        return lambda address: fnmatchcase(address.lower(), pattern)
    matches = ClientPattern.parse(text).matches
    return lambda address: matches(address.decode())


def destination(text: str) -> Test:
    """`mail.example.org:25`, `*.example.org`, `[2001:db8::1]:25`; without a port it is any port."""
    match = _DESTINATION.fullmatch(text if text.count(":") < 2 or "[" in text else f"[{text}]")
    if match is None or not match[1]:
        raise ValueError(f"expected a host, or host:port (`mail.example.org:25`), not {shown(text)}")
    pattern = _pattern(f"{match[1].lower()}:{match[2] or '*'}".encode(errors="surrogateescape"))
    return lambda host: fnmatchcase(host.lower(), pattern)


def moment(text: str, now: float) -> float:
    """Seconds since the epoch for an ISO 8601 date or time (local where no zone is told), or for `3d`, `12h` ago."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        pass
    try:
        return now - values.duration(text)
    except ValueError:
        expected = "a date or a time (`2026-11-20`, `2026-11-20T12:00`), or how long ago (`3d`, `12h`)"
        raise ValueError(f"expected {expected}, not {shown(text)}") from None


def _pattern(text: bytes) -> bytes:
    """For fnmatch, with `*` as the only special character."""
    return _SPECIAL.sub(rb"[\g<0>]", text)
