"""Ground: what every connection of a process to its destinations needs to know."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from structlog import get_logger

from moxy.mail import Host
from moxy.net.deadlines import Sweeper
from moxy.net.names import Names
from moxy.net.overhearing import Overhear, unheard
from moxy.outbound.profile import Profile

log = get_logger("moxy.outbound")

_OBJECTIONS: Final = {
    "name_not_resolved": "was not found: {reason}",
    "not_connected": "was not reached: {reason}",
    "destination_refuses_sessions": "refuses sessions: {reply}",
    "tls_not_offered": "offers no TLS",
    "tls_refused": "does not begin TLS: {reply}",
    "tls_failed": "is not safe: {reason}",
    "not_let_in": "does not let us in: {reason}",
}
"""What keeps a probe from its end, in words that go on from the host's name."""

_ALWAYS_TOLD: Final = frozenset({"not_let_in"})
"""What a probe tells as mail does: for some time after it the host is not asked again, and nobody else would tell."""


@dataclass(slots=True)
class Ground:
    """What every connection of a process to its destinations needs to know."""

    hostname: str
    sweeper: Sweeper
    loop: asyncio.AbstractEventLoop
    hide: bool = True
    """Replace destinations' own names in their replies."""
    names: Names = field(default_factory=Names, compare=False)
    """Who knows the hosts' addresses."""
    listening: frozenset[tuple[str, int]] = frozenset()
    """Addresses and ports we listen on ourselves: who is sent there is sent in a circle (T44)."""
    connect: float = 5.0
    """Seconds for a connection to one address (T38)."""
    connect_total: float = 20.0
    """Seconds to find a host that answers, over all candidates of a recipient (T38)."""
    reply: float = 60.0
    """Seconds for the greeting, EHLO, MAIL, RCPT and RSET."""
    data: float = 60.0
    """Seconds for the 354."""
    idle: float = 60.0
    """Seconds an unused connection is kept."""
    prove: float = 5.0
    """Seconds for a kept connection to prove that it is alive."""
    overhear: Overhear = unheard
    """Who listens in on new connections."""
    unforwarded: set[Host] = field(default_factory=set, compare=False)
    """Hosts of which the operator knows that they take no XFORWARD."""
    profile: Profile = field(default_factory=Profile, compare=False)
    """What is known of the hosts' extensions."""
    probing: bool = False
    """Is a connection only made to learn of them? Then that there is none is mostly no matter for a warning."""

    objection: str = field(default="", compare=False)
    """The last reason why a probe got no further; it goes on from the host's name."""

    def complain(self, event: str, **facts: object) -> None:
        """Tell the operator that a connection cannot be had as it should be."""
        if self.probing:
            self.objection = _OBJECTIONS[event].format_map(facts)
        if self.probing and event not in _ALWAYS_TOLD:
            log.debug(event, **facts)
        else:
            log.warning(event, **facts)
