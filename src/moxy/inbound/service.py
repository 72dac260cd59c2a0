"""Service: what every connection of a listener shares, its settings and the parts it works with."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from moxy.accounting.recorder import Recorder
from moxy.delivery import Directory
from moxy.inbound.order import CommitOrder
from moxy.ledger import Ledger, NoLedger
from moxy.mail import Route, Session
from moxy.net.deadlines import Delay, Sweeper
from moxy.net.overhearing import Overhear, unheard
from moxy.routes import RouteTable
from moxy.smtp import limits, replies
from moxy.smtp.extension import EIGHT_BIT, Offer
from moxy.smtp.reply import Reply

if TYPE_CHECKING:
    from moxy.inbound.conclusion import Conclusion
    from moxy.inbound.connection import ClientConnection
    from moxy.inbound.leg import Leg
    from moxy.inbound.proxied import Proxied


SLOW: Final = 0.05
"""Seconds that a destination may think before it is noted who has the message already. Most are quicker."""

QUIET_SECONDS: Final = 1.0
"""Between two complaints about the same."""


@dataclass(slots=True)
class Patience:
    """How long a client may take; seconds, but for the rate (contract §4, T37, T39)."""

    hello: float = 30.0
    """From our greeting to its HELO or EHLO."""
    command: float = 300.0
    """For its next command; a started line does not count."""
    block: float = 180.0
    """Between two blocks of content."""
    content: float = 1800.0
    """For all content of a message."""
    minimum_rate: int = 500
    """Octets a second of content, over any minute that we did not hold it up ourselves."""
    farewell: float = 5.0
    """To take our last reply, after we have closed the session."""


@dataclass(slots=True)
class Bounds:
    """How much a client may send (contract §4). Octets and counts."""

    message_size: int = limits.MESSAGE_SIZE
    """As announced; 0 is no limit."""
    recipients: int = limits.RECIPIENTS
    """RCPT commands in a transaction (RFC 9422 §4.2)."""
    transactions: int = 0
    """MAIL commands in a session (RFC 9422 §4.1); 0 is no limit."""
    domains: int = 0
    """Domains of recipients in a session (RFC 9422 §4.3); 0 is no limit."""
    hops: int = 50
    """Received fields before a loop is called (RFC 5321 §6.3)."""
    bad_commands: int = 10
    """Commands we could not obey before the session is ended."""
    sessions: int = 10_000
    """Clients connected at once."""
    command_line: int = limits.COMMAND_LINE

    @property
    def enforced_size(self) -> int:
        """Where content is cut off: a sixty-fourth above what is announced.

        A client judges its message before it makes all line ends CRLF and puts its own trace field on top; its figure
        is an estimate (RFC 1870 §3), and a message that it believed to fit should pass.
        """
        return self.message_size + self.message_size // 64


def no_relay(client: str) -> Route | None:
    """The default for who may send to domains without a route: nobody."""
    del client
    return None


@dataclass(slots=True)
class Service:
    """The settings of a listener, and the parts that its connections work with."""

    hostname: str
    routes: RouteTable
    directory: Directory
    recorder: Recorder
    sweeper: Sweeper
    banner: str = "ESMTP Moxy"
    patience: Patience = field(default_factory=Patience)
    bounds: Bounds = field(default_factory=Bounds)
    relay: Callable[[str], Route | None] = no_relay
    """The route for recipients without one, for a client's address; None refuses (`allowRelayFrom`)."""
    postmaster: str = ""
    """The address whose route takes the bare <Postmaster> (RFC 5321 §4.5.1); empty: that of our own host name."""
    final: float = 480.0
    """Seconds for the replies of all destinations to the final dot; shorter than the client's own 10 minutes (T37)."""
    ledger: Ledger = field(default_factory=NoLedger)
    """The memory of who has what (contract D8)."""
    spread_first: bool = False
    """Whether a transaction takes recipients of one destination only, the first one's (contract D9)."""
    extensions: frozenset[str] = EIGHT_BIT
    """What is offered of that which destinations may lack (`extension.ANNOUNCED`). `announce` changes it."""
    overhear: Overhear = unheard
    """Who listens in on new connections."""
    clock: Callable[[], float] = time.time
    greeting: Reply = field(init=False)
    lmtp_greeting: Reply = field(init=False)
    helo: Reply = field(init=False)
    goodbye: Reply = field(init=False)
    order: CommitOrder = field(init=False, default_factory=CommitOrder)
    connections: set[ClientConnection | Proxied] = field(init=False, default_factory=set)
    slow: Delay = field(init=False, default_factory=lambda: Delay(SLOW))
    """Calls back when a destination has thought for so long: then it is noted who has the message already."""
    commits: set[Conclusion | Leg] = field(init=False, default_factory=set)
    """Final dots under way. They are finished and recorded even if their client has left (T19)."""
    draining: bool = field(init=False, default=False)
    identify: Callable[[], str] = field(init=False)
    _offers: dict[tuple[bool, bool, bool], tuple[frozenset[str], Reply]] = field(init=False, default_factory=dict)
    _quiet_until: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        # What every session hears, made once.
        self.greeting = replies.greeting(self.hostname, self.banner)
        self.lmtp_greeting = replies.greeting(self.hostname, _lmtp_banner(self.banner))
        self.helo = replies.hello(self.hostname)
        self.goodbye = replies.closing(self.hostname, replies.BYE)
        self.identify = identifiers()

    def announce(self, extensions: frozenset[str]) -> None:
        """Offer these from now on. A session goes on with what its last EHLO was answered."""
        self.extensions = extensions
        self._offers = {}

    def offer(self, session: Session, *, starttls: bool = False) -> tuple[frozenset[str], Reply]:
        """What such a session is offered: the keywords, and the reply to EHLO or LHLO. Made once for each kind."""
        kind = session.lmtp, session.tls, starttls
        offer = self._offers.get(kind)
        if offer is None:
            bounds = self.bounds
            made = Offer(
                self.extensions,
                lmtp=session.lmtp,
                tls=session.tls,
                starttls=starttls,
                size=bounds.message_size,
                recipients=bounds.recipients,
                transactions=bounds.transactions,
                domains=bounds.domains or (1 if self.spread_first else 0),
            )
            offer = self._offers[kind] = made.extensions, made.ehlo_reply(self.hostname)
        return offer

    def trace_date(self) -> str:
        """Now, as the trace field writes it (RFC 5322 §3.3)."""
        return _date_of(int(self.clock()))

    def may_complain(self, of: str) -> bool:
        """Whether what has failed is to be told: once in QUIET_SECONDS, for when a table is down all lookups fail, and
        strangers can have handshakes fail as often as they like.
        """
        now = self.clock()
        if now < self._quiet_until.get(of, 0.0):
            return False
        self._quiet_until[of] = now + QUIET_SECONDS
        return True

    def break_off(self) -> None:
        """We end before all destinations have answered: what is under way is to be known to who comes after us."""
        for commit in self.commits:
            commit.left_waiting(surely=True)

    def drain(self) -> None:
        """Take no new transaction: idle clients get 421 now, the others when their message is answered."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.drain()


def _lmtp_banner(banner: str) -> str:
    """The banner for an LMTP session, which names that protocol where the other was named, or in front."""
    return f"LMTP {_SMTP.sub('', banner)}".rstrip()


_SMTP: Final = re.compile(r"E?SMTP\b ?")

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def _base32(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 32)
        digits = _ALPHABET[digit] + digits
    return digits or "0"


def identifiers() -> Callable[[], str]:
    """Make short names that no two sessions or transactions of this host share: start time, process, running number."""
    prefix = _base32(time.time_ns() // 1_000_000) + _base32(os.getpid())
    numbers = itertools.count()
    return lambda: f"{prefix}{next(numbers):x}"


_dates: dict[int, str] = {}


def _date_of(second: int) -> str:
    """The date of a second, made once: every message of that second shares it."""
    date = _dates.get(second)
    if date is None:
        _dates.clear()
        date = _dates[second] = formatdate(second, localtime=True)
    return date
