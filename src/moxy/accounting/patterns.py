"""What the words of a log line look like: the patterns by which a line that `LineFormat` wrote is read back.

A stranger chooses the addresses, and in a quoted local part nearly everything may stand: a line must not be read by
what stands between two words but by the grammar of the words themselves. Then no address can pose as another field.

Rules:
- Patterns are for octets: a log holds what came, and that need not be UTF-8.
- Each matches in time that grows with the line and not with its square: whatever is repeated can match in one way.
- Where an address may have a character beyond ASCII, `escaped` may have written `\\xNN`: a backslash may stand there.

RFC 5321 §4.1.2 (paths), §4.1.3 (address literals); RFC 6531 §3.3 (octets beyond ASCII).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

# Only classes are repeated possessively: before Python 3.11.5, `re` gets possessive groups wrong.
_LOCAL_PART: Final = rb"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~.\\\x80-\xff]"
_QUOTED_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*"'
_DOMAIN: Final = rb"[A-Za-z0-9_.\-\\\x80-\xff]"
_LITERAL: Final = rb"\[[!#-;=?-Z^-~]++\]"
_PATH: Final = rb"(?:" + _LOCAL_PART + rb"++|" + _QUOTED_STRING + rb")@(?:" + _DOMAIN + rb"++|" + _LITERAL + rb")"
_RECIPIENT: Final = rb"(?:" + _PATH + rb"|(?i:postmaster))"
_SOCKET: Final = rb"[0-9A-Za-z_.@+/-]"  # the path of a Unix socket (moxy.routes.hosts)
_UNNAMED: Final = rb"\+[0-9]{1,9}"
_RECIPIENTS: Final = rb"(?:" + _RECIPIENT + rb"(?:," + _RECIPIENT + rb")*(?:," + _UNNAMED + rb")?|" + _UNNAMED + rb")"

_ONE_OF_RECIPIENTS: Final = re.compile(_RECIPIENT + rb"|" + _UNNAMED)


class Piece(NamedTuple):
    """A part of a line: its pattern, without groups that have names or numbers.

    `starts` are the octets that it may begin with, `goes_on` those that could make it longer where it ends.
    """

    pattern: bytes
    starts: frozenset[int]
    goes_on: frozenset[int] = frozenset()
    may_be_empty: bool = False


def octets_of(character_class: bytes) -> frozenset[int]:
    """The octets that a pattern for one of them matches."""
    pattern = re.compile(character_class, re.DOTALL)
    return frozenset(octet for octet in range(256) if pattern.fullmatch(bytes([octet])))


def literal(text: str) -> Piece:
    """Text that stands in the format. rsyslog writes a tab as `#011`."""
    octets = text.encode()
    pattern = rb"(?:\t|#011)".join([re.escape(part) for part in octets.split(b"\t")])
    starts = octets[:1] + b"#" if octets.startswith(b"\t") else octets[:1]
    return Piece(pattern, frozenset(starts), may_be_empty=not octets)


def joined(pieces: Sequence[Piece]) -> Piece:
    """Pieces one behind the other, as one."""
    starts: frozenset[int] = frozenset()
    goes_on: frozenset[int] = frozenset()
    empty = True
    for piece in pieces:
        if empty:
            starts |= piece.starts
        goes_on = goes_on | piece.goes_on if piece.may_be_empty else piece.goes_on
        empty = empty and piece.may_be_empty
    return Piece(b"".join([piece.pattern for piece in pieces]), starts, goes_on, empty)


def recipients(octets: bytes) -> list[bytes]:
    """What `%rcpts` stood for, one by one. A last one like `+97` stands for so many others that were not written."""
    if b'"' not in octets:
        return octets.split(b",")
    return _ONE_OF_RECIPIENTS.findall(octets)


def unnamed(recipient: bytes) -> int:
    """How many recipients one from `recipients` stands for without naming them: 97 for `+97`, 0 for an address."""
    return int(recipient) if recipient.startswith(b"+") and recipient[1:].isdigit() else 0


_PATH_STARTS: Final = octets_of(_LOCAL_PART) | frozenset(b'"')
_DIGIT: Final = octets_of(rb"[0-9]")

WORDS: Final = {
    "shost": Piece(
        rb"(?:unix|[0-9A-Fa-f:.]++(?:%[0-9A-Za-z_.-]++)?)",
        octets_of(rb"[0-9A-Fa-fu:.]"),
        octets_of(rb"[0-9A-Za-z:._%-]"),
    ),
    "sender": Piece(rb"(?:" + _PATH + rb")?", _PATH_STARTS, octets_of(_DOMAIN), may_be_empty=True),
    "dhost": Piece(
        rb"(?:unix:/" + _SOCKET + rb"++|(?:[0-9A-Za-z_.-]++|\[[0-9A-Za-z:._%-]++\]):[0-9]{1,5}+)",
        octets_of(rb"[0-9A-Za-z_.\[-]"),
        octets_of(_SOCKET),
    ),
    # A comma may follow: what is behind it is no recipient then, and the line would not end as it must.
    "rcpts": Piece(_RECIPIENTS, _PATH_STARTS, octets_of(_DOMAIN) | frozenset(b"@")),
    "msize": Piece(rb"[0-9]{1,18}+", _DIGIT, _DIGIT),
}
"""Every `%word` but `%date`, whose pattern is that of its format. A word means what `LineFormat` says."""
