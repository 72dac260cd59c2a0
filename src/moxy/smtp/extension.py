"""SMTP service extensions: what we offer to clients, what destinations offer to us (RFC 5321 §2.2).

`Offer` is our side: the keywords of the EHLO reply and the MAIL and RCPT parameters that become legal with them.
`Extensions` is the other side: a destination's EHLO reply, read.

A new extension is a row in `MAIL_PARAMETERS` or `RCPT_PARAMETERS`, a keyword in `Offer.keywords`, and whatever
`Extensions` must tell of it.

Bugs: CHUNKING, SMTPUTF8, DSN, STARTTLS and the others of contract T7 to T16 have no row yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from moxy.smtp import limits, replies
from moxy.smtp.clientname import XCLIENT_KEYWORD
from moxy.smtp.reply import Reply

MAX_SIZE_DIGITS: Final = 20  # RFC 1870 §3: size-value ::= 1*20DIGIT


def _size(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= MAX_SIZE_DIGITS


def _body(value: str) -> bool:
    return value.upper() in ("7BIT", "8BITMIME")


def _no_value(value: str) -> bool:
    return not value


Parameters = Mapping[str, Callable[[str], bool]]

MAIL_PARAMETERS: Final[Parameters] = {
    "SIZE": _size,  # RFC 1870 §3
    "BODY": _body,  # RFC 6152 §2
    "PRDR": _no_value,  # draft-hall-prdr §4.2
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
        keyword, equals, value = word.partition("=")
        keyword = keyword.upper()
        check = legal.get(keyword)
        if check is None:
            return replies.UNKNOWN_PARAMETER
        if keyword in parameters or (equals and not value) or not check(value):
            return replies.BAD_PARAMETERS
        parameters[keyword] = value
    return parameters


class Offer:
    """What we offer in reply to EHLO, or with `lmtp` to LHLO.

    `size` is the largest message in octets (0: no limit; RFC 1870). The others are the limits of RFC 9422: RCPT
    commands in a transaction, MAIL commands in a session, domains of recipients in a session; 0 is not announced.
    """

    __slots__ = ("keywords",)

    def __init__(
        self,
        *,
        lmtp: bool = False,
        size: int = limits.MESSAGE_SIZE,
        recipients: int = 0,
        transactions: int = 0,
        domains: int = 0,
    ) -> None:
        self.keywords = [
            "PIPELINING",  # RFC 2920
            f"SIZE {size}",
            "8BITMIME",  # RFC 6152
            "ENHANCEDSTATUSCODES",  # RFC 2034
        ]
        if not lmtp:
            self.keywords.append("PRDR")  # LMTP needs none: it answers for each recipient by itself
        bounds = {"RCPTMAX": recipients, "MAILMAX": transactions, "RCPTDOMAINMAX": domains}
        words = [f"{name}={min(bound, limits.ANNOUNCED)}" for name, bound in bounds.items() if bound]
        if words:
            self.keywords.append(" ".join(["LIMITS", *words]))  # RFC 9422 §3

    def ehlo_reply(self, hostname: str) -> Reply:
        """The reply to EHLO or LHLO; its first line begins with our host name (RFC 5321 §4.1.1.1)."""
        return Reply(250, "", hostname, *self.keywords)


def offering_xclient(reply: Reply) -> Reply:
    """The reply to EHLO or LHLO for those who may say XCLIENT."""
    return Reply(reply.code, reply.status, *reply.lines, XCLIENT_KEYWORD)


_LIMIT: Final = re.compile(r"([A-Za-z0-9_-]+)=([1-9][0-9]{0,5})", re.ASCII)


def _limits(argument: str) -> dict[str, int]:
    """The limits in the argument of LIMITS, by name in upper case. What is no limit with a number says nothing to us.

    That is as RFC 9422 §3 and §4 want it: a client ignores limits that it does not know, and those with a bad value. Of
    a limit that comes twice the smaller number is the safe one.
    """
    found: dict[str, int] = {}
    for word in argument.split():
        match = _LIMIT.fullmatch(word)
        if match is not None:
            name, bound = match[1].upper(), int(match[2])
            found[name] = min(bound, found.get(name, bound))
    return found


class Extensions:
    """What a destination announced: keywords in upper case with their arguments (RFC 5321 §4.1.1.1).

    After HELO, or before any EHLO, it is empty: nothing is believed that was not announced.
    """

    __slots__ = (
        "_announced", "bounded", "domains", "eight_bit", "pipelining", "prdr", "recipients", "size", "transactions",
    )  # fmt: skip

    def __init__(self, announced: Mapping[str, str] | None = None) -> None:
        self._announced = dict(announced or {})
        self.pipelining = "PIPELINING" in self._announced
        self.eight_bit = "8BITMIME" in self._announced
        argument = self._announced.get("SIZE", "")
        self.size = int(argument) if _size(argument) else 0
        """Largest message the destination takes, in octets; 0 when it did not say (RFC 1870 §4)."""
        self.prdr = "PRDR" in self._announced
        bounds = _limits(self._announced.get("LIMITS", ""))
        self.transactions = bounds.get("MAILMAX", 0)
        """MAIL commands that it takes in one session, refused ones too; 0 when it did not say (RFC 9422 §4.1)."""
        self.recipients = bounds.get("RCPTMAX", 0)
        """RCPT commands that it takes in one transaction, refused ones too; 0 when it did not say (RFC 9422 §4.2)."""
        self.domains = bounds.get("RCPTDOMAINMAX", 0)
        """Different domains that it takes in the recipients of a session; 0 when it did not say (RFC 9422 §4.3)."""
        self.bounded = self.recipients > 0 or self.domains > 0
        """Did it say how many recipients it takes?"""

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

    def words(self, keyword: str) -> frozenset[str]:
        """The words behind a keyword, in upper case."""
        return frozenset(self._announced.get(keyword, "").upper().split())
