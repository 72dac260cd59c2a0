"""Relaying out: which clients may send to domains that no table knows, and where such mail goes.

The original's `allowRelayFrom` and `sendRelayTo`. Everyone else is refused ("relaying denied").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from moxy.mail.client import ClientPattern
from moxy.mail.route import Route

REMEMBERED_CLIENTS: Final = 4096
"""Answers kept. A client sends many recipients, and going through a long list of patterns for each would show."""


class RelayPolicy:
    """Mail from an address that one of `clients` matches may go anywhere, through `route`; None: nowhere."""

    __slots__ = ("_answers", "clients", "route")

    def __init__(self, clients: Sequence[ClientPattern], route: Route | None) -> None:
        self.clients = tuple(clients)
        self.route = route
        self._answers: dict[str, Route | None] = {}

    def route_for(self, client: str) -> Route | None:
        """The route for mail to unknown domains from the client address `client`, or None: it may not relay."""
        try:
            return self._answers[client]
        except KeyError:
            pass
        if len(self._answers) >= REMEMBERED_CLIENTS:
            self._answers.clear()
        allowed = any(pattern.matches(client) for pattern in self.clients)
        answer = self._answers[client] = self.route if allowed else None
        return answer
