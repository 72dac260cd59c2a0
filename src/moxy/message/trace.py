"""The trace of a message: the `Received:` field that we put on top, and the count of those that are there already.

Rules:
- Nothing that the peer said can end the field or open a comment: what could is replaced or left out. The field leaves
  ASCII only in a recipient, and only where the client asked for SMTPUTF8.
- The message itself is only looked at, never held: HopCounter keeps a few octets between two chunks.

RFC 5321 §4.4 (trace information), §6.3 (loops); RFC 3848 (protocol keywords), RFC 6531 §3.7.3 (more of them, and
addresses beyond ASCII); RFC 5322 §3.3 (its date).

Bugs: only CRLF ends a line here; where bare LFs are let through, fields between them are not counted. A recipient with
a quoted local part is not named.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9._:\[\]-]")
_PLAIN: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.:@\[\]-]"
_PLAIN_MAILBOX: Final = re.compile(f"{_PLAIN}+")
# The same and RFC 6531 §3.3 (UTF8-non-ascii), without C1 controls, blanks and the Unicode line ends.
_UTF8_MAILBOX: Final = re.compile(rf"(?:{_PLAIN}|[^\x00-\xa0\s])+")
_NAME_LIMIT: Final = 255


def received(
    *,
    hello: str,
    client: str,
    hostname: str,
    protocol: str,
    id: str,
    recipient: str | None,
    date: str,
    utf8: bool = False,
    tls: str = "",
) -> bytes:
    """The `Received:` field for one message, folded, with its CRLF (RFC 5321 §4.4).

    `hello` is what the client called itself, `client` its address without brackets, "" if it has none; `protocol` is
    the keyword of RFC 3848. `recipient` is a mailbox without angle brackets, given only where the message has no other
    (T44: a field that named several would tell each of the others); `date` is as in RFC 5322 §3.3. `utf8`: the client
    asked for SMTPUTF8. `tls` is version and cipher, "" where there are none.
    """
    if utf8:
        protocol = f"UTF8{protocol.removeprefix('E')}"
    mailbox = _UTF8_MAILBOX if utf8 else _PLAIN_MAILBOX
    clause = f"\r\n\tfor <{recipient}>" if recipient and mailbox.fullmatch(recipient) else ""
    return f"{_origin(hello, client, hostname, protocol, tls)}{id}{clause};\r\n\t{date}\r\n".encode()


_BY: Final = b"\r\n\tby "


def without_origin(block: bytes) -> bytes:
    """Content that begins with a field of `received`, without the clause in it that names the client."""
    return b"Received: by " + block[block.index(_BY) + len(_BY) :]


@lru_cache(maxsize=1024)
def _origin(hello: str, client: str, hostname: str, protocol: str, tls: str) -> str:
    """The part that all messages of a session share."""
    literal = f"IPv6:{client}" if ":" in client else client
    address = f" ([{_name(literal)}])" if client else ""
    how = f" ({tls})\r\n\t" if tls else " "
    return f"Received: from {_name(hello)}{address}\r\n\tby {hostname} with {protocol}{how}id "


def _name(text: str) -> str:
    """`text`, which the peer chose, as a domain or address without anything that means something in a field."""
    return _NOT_IN_A_NAME.sub("?", text[:_NAME_LIMIT]) or "unknown"


_FIELD: Final = b"\r\nreceived:"
_END_OF_HEADER: Final = b"\r\n\r\n"
_TAIL: Final = len(_FIELD) - 1  # the longest part of either that can stand before a cut without being whole


class HopCounter:
    """Counts the `Received:` fields of a message while it streams through (RFC 5321 §6.3).

    Feed the content in wire form, in any cut, until `done`: dot-stuffing does not matter, since no field begins with a
    dot. `count` is right once the header section is over, or the message.
    """

    __slots__ = ("_tail", "count", "done")

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the message begins where a line begins
        self.count = 0
        """Fields found so far."""
        self.done = False
        """Whether the header section is over: there is nothing more to find."""

    def feed(self, chunk: bytes) -> None:
        """Look at the next octets of the message."""
        if self.done:
            return
        end = chunk.find(_END_OF_HEADER)
        if end >= 0:
            chunk = chunk[: end + len(_END_OF_HEADER)]  # so that a large chunk is not copied for a small header
        text = self._tail + chunk
        end = text.find(_END_OF_HEADER)
        if end >= 0:
            text = text[:end]
            self.done = True
        self.count += text.lower().count(_FIELD)
        self._tail = text[-_TAIL:]
