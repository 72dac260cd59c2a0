"""SMTP service extensions: what we offer to clients, what destinations offer to us (RFC 5321 §2.2).

`Offer` is our side: the keywords of the EHLO reply and the MAIL and RCPT parameters that become legal with them.
`Extensions` is the other side: a destination's EHLO reply, read.

A new extension is a row in `MAIL_PARAMETERS` or `RCPT_PARAMETERS`, a keyword in `Offer.keywords`, and whatever
`Extensions` must tell of it.

Bugs: CHUNKING, SMTPUTF8, DSN, STARTTLS and the others of contract T7 to T16 have no row yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from moxy.smtp import limits, replies
from moxy.smtp.reply import Reply

MAX_SIZE_DIGITS: Final = 20  # RFC 1870 §3: size-value ::= 1*20DIGIT


def _size(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= MAX_SIZE_DIGITS


def _body(value: str) -> bool:
    return value.upper() in ("7BIT", "8BITMIME")


Parameters = Mapping[str, Callable[[str], bool]]

MAIL_PARAMETERS: Final[Parameters] = {
    "SIZE": _size,  # RFC 1870 §3
    "BODY": _body,  # RFC 6152 §2
}
RCPT_PARAMETERS: Final[Parameters] = {}


def parse_parameters(text: bytes, legal: Parameters) -> dict[str, str] | Reply:
    """Read the parameters behind a path (`SIZE=1000 BODY=8BITMIME`); the keywords come out in upper case.

    Returns the reply to give where one is unknown (555), repeated or ill-formed (501): RFC 5321 §4.1.1.11.
    """
    parameters: dict[str, str] = {}
    try:
        words = text.decode("ascii").split()
    except UnicodeDecodeError:
        return replies.BAD_PARAMETERS
    for word in words:
        keyword, _, value = word.partition("=")
        keyword = keyword.upper()
        check = legal.get(keyword)
        if check is None:
            return replies.UNKNOWN_PARAMETER
        if keyword in parameters or not check(value):
            return replies.BAD_PARAMETERS
        parameters[keyword] = value
    return parameters


class Offer:
    """What one listener offers in reply to EHLO. `size` is the largest message in octets (0: no limit; RFC 1870)."""

    __slots__ = ("keywords", "size")

    def __init__(self, *, size: int = limits.MESSAGE_SIZE) -> None:
        self.size = size
        self.keywords = (
            "PIPELINING",  # RFC 2920
            f"SIZE {size}",
            "8BITMIME",  # RFC 6152
            "ENHANCEDSTATUSCODES",  # RFC 2034
        )

    def ehlo_reply(self, hostname: str) -> Reply:
        """The reply to EHLO; its first line begins with our host name (RFC 5321 §4.1.1.1)."""
        return Reply(250, "", hostname, *self.keywords)


class Extensions:
    """What a destination announced: keywords in upper case with their arguments (RFC 5321 §4.1.1.1).

    After HELO, or before any EHLO, it is empty: nothing is believed that was not announced.
    """

    __slots__ = ("_announced", "eight_bit", "pipelining", "size")

    def __init__(self, announced: Mapping[str, str] | None = None) -> None:
        self._announced = dict(announced or {})
        self.pipelining = "PIPELINING" in self._announced
        self.eight_bit = "8BITMIME" in self._announced
        argument = self._announced.get("SIZE", "")
        self.size = int(argument) if _size(argument) else 0
        """Largest message the destination takes, in octets; 0 when it did not say (RFC 1870 §4)."""

    @classmethod
    def of(cls, reply: Reply) -> Extensions:
        """Read the reply to EHLO: each line after the first is a keyword and its arguments."""
        announced: dict[str, str] = {}
        for line in reply.lines[1:]:
            keyword, _, argument = line.strip().partition(" ")
            announced[keyword.upper()] = argument.strip()
        return cls(announced)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self._announced
