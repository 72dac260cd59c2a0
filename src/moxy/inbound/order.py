"""The order of commit: which destination is the likeliest to refuse a message at its dot (contract D5).

While nobody has a message, a refusal keeps it from all, and the client hears one true answer. So whoever refuses most
often is asked first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from moxy.inbound.leg import Leg

WEIGHT: Final = 0.1
"""The share of the latest verdict in what is thought of a destination: some twenty messages are remembered."""

FORGOTTEN: Final = 0.001
"""Below this, nothing is thought of a destination any more: some forty messages after its last refusal."""

DESTINATIONS: Final = 4096
"""Destinations that are remembered, those that answered last. Who never refused is not among them."""


class CommitOrder:
    """What was learned from the verdicts on earlier dots."""

    def __init__(self) -> None:
        self._reluctance: dict[str, float] = {}

    def learn(self, destination: str, refused: bool) -> None:
        """A destination, by its name, has answered a dot."""
        before = self._reluctance.get(destination, 0.0)
        if not (before or refused):
            return
        self._reluctance.pop(destination, None)
        after = before + WEIGHT * (refused - before)
        if after >= FORGOTTEN:
            self._reluctance[destination] = after
        if len(self._reluctance) > DESTINATIONS:
            del self._reluctance[next(iter(self._reluctance))]

    def sorted(self, legs: Iterable[Leg]) -> list[Leg]:
        """The likeliest refusal first: by what was learned, then by recipients refused just now, then the slowest."""
        return sorted(legs, key=self._likelihood, reverse=True)

    def _likelihood(self, leg: Leg) -> tuple[float, int, float]:
        delivery = leg.delivery
        return self._reluctance.get(delivery.name, 0.0), delivery.refusals, delivery.delay
