"""SMTP service extensions: what we offer to clients, what destinations offer to us (RFC 5321 §2.2).

`Offer` is our side: the keywords of the EHLO reply. `Extensions` is the other side: a destination's EHLO reply, read.
The parameters of MAIL and RCPT that come with an extension stand in `parameter`.

A new extension is a keyword in `ALWAYS` or `ANNOUNCED`, and whatever `Extensions` must tell of it.

Bugs: FUTURERELEASE is announced with the widest bounds, and DELIVERBY without any: a destination that takes less says
so itself when it gets MAIL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from moxy.smtp import limits
from moxy.smtp.clientname import XCLIENT_KEYWORD
from moxy.smtp.parameter import is_size
from moxy.smtp.reply import Reply

ALWAYS: Final = frozenset({"PIPELINING", "SIZE", "ENHANCEDSTATUSCODES", "CHUNKING"})
"""What every session is offered: it is between the client and us alone, or we make of it what a destination takes."""

ANNOUNCED: Final[Mapping[str, str]] = {
    "PIPELINING": "PIPELINING",  # RFC 2920
    "SIZE": "SIZE {size}",  # RFC 1870
    "8BITMIME": "8BITMIME",  # RFC 6152
    "ENHANCEDSTATUSCODES": "ENHANCEDSTATUSCODES",  # RFC 2034
    "CHUNKING": "CHUNKING",  # RFC 3030 §2; T12
    "PRDR": "PRDR",  # draft-hall-prdr
    "STARTTLS": "STARTTLS",  # RFC 3207
    "BINARYMIME": "BINARYMIME",  # RFC 3030 §3
    "SMTPUTF8": "SMTPUTF8",  # RFC 6531
    "DSN": "DSN",  # RFC 3461
    "REQUIRETLS": "REQUIRETLS",  # RFC 8689
    "DELIVERBY": "DELIVERBY",  # RFC 2852 §4
    "FUTURERELEASE": "FUTURERELEASE 999999999 9999-12-31T23:59:59Z",  # RFC 4865 §4
    "MT-PRIORITY": "MT-PRIORITY",  # RFC 6710
}
"""All that can be offered, each as it is announced. What is not in ALWAYS is offered where destinations have it."""

NEEDED: Final[Mapping[str, str]] = {
    "BINARYMIME": "CHUNKING",  # RFC 3030 §3
    "SMTPUTF8": "8BITMIME",  # RFC 6531 §3.1
}
"""What may only be offered together with another."""

FOR_ALL: Final = frozenset({"8BITMIME", "BINARYMIME", "DSN", "DELIVERBY", "FUTURERELEASE", "MT-PRIORITY"})
"""What a sender can do without: it is offered if all destinations have it (docs/decisions/016, T8)."""

FOR_ANY: Final = frozenset({"SMTPUTF8", "REQUIRETLS"})
"""That without which a sender gives the message up: it is offered if any destination has it."""

EIGHT_BIT: Final = frozenset({"8BITMIME"})
"""What is offered as long as nothing is known of destinations."""


class Offer:
    """What we offer in reply to EHLO, or with `lmtp` to LHLO; `tls`: inside TLS; `starttls`: where it may begin.

    `extensions` are keywords of ANNOUNCED; those that cannot be offered here are left out. `size` is the largest
    message in octets (0: no limit; RFC 1870). The others are the limits of RFC 9422: RCPT commands in a transaction,
    MAIL commands in a session, domains of recipients in a session; 0 is not announced.
    """

    __slots__ = ("extensions", "keywords")

    def __init__(
        self,
        extensions: frozenset[str] = EIGHT_BIT,
        *,
        lmtp: bool = False,
        tls: bool = False,
        starttls: bool = False,
        size: int = limits.MESSAGE_SIZE,
        recipients: int = 0,
        transactions: int = 0,
        domains: int = 0,
    ) -> None:
        offered = ALWAYS | extensions
        if not lmtp:
            offered |= {"PRDR"}  # LMTP needs none: it answers for each recipient by itself
        if starttls:
            offered |= {"STARTTLS"}
        if not tls:
            offered -= {"REQUIRETLS"}  # RFC 8689 §2
        self.extensions = frozenset(keyword for keyword in offered if NEEDED.get(keyword, keyword) in offered)
        """The keywords of all that is offered, without arguments."""
        self.keywords = [line.format(size=size) for keyword, line in ANNOUNCED.items() if keyword in self.extensions]
        """As they are announced, with their arguments."""
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
        "_announced", "bounded", "chunking", "domains", "eight_bit", "pipelining", "prdr", "recipients", "size",
        "transactions",
    )  # fmt: skip

    def __init__(self, announced: Mapping[str, str] | None = None) -> None:
        self._announced = dict(announced or {})
        self.pipelining = "PIPELINING" in self._announced
        self.eight_bit = "8BITMIME" in self._announced
        argument = self._announced.get("SIZE", "")
        self.size = int(argument) if is_size(argument) else 0
        """Largest message the destination takes, in octets; 0 when it did not say (RFC 1870 §4)."""
        self.prdr = "PRDR" in self._announced
        self.chunking = "CHUNKING" in self._announced
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
        """The words behind a keyword, in upper case: of AUTH, for one, its mechanisms (RFC 4954 §3)."""
        return frozenset(self._announced.get(keyword, "").upper().split())
