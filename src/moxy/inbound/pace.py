"""Pace: how fast the content of one message comes, and how long it may take (contract §4, T39).

Rules:
- Content may be slow, but neither stand still nor trickle: a single octet does not buy another minute.
- Time in which we did not read does not count against the client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from moxy.smtp import replies
from moxy.smtp.reply import Reply

if TYPE_CHECKING:
    from moxy.inbound.service import Patience

MINUTE: Final = 60.0


class Pace:
    """The clocks of one message. They start with its 354, or its first chunk, and go on between two chunks.

    All times are on the loop's clock.
    """

    __slots__ = ("_block_deadline", "_content_deadline", "_looked", "_octets_before", "_patience", "held_up", "octets")

    def __init__(self, patience: Patience, now: float) -> None:
        self._patience = patience
        self._content_deadline = now + patience.content
        self._block_deadline = now + patience.block
        self._looked = now
        self._octets_before = 0  # when we last looked
        self.octets = 0
        """Of content, so far."""
        self.held_up = False
        """Did we stop reading since we last looked?"""

    @property
    def deadline(self) -> float:
        """When to look again."""
        return min(self._looked + MINUTE, self._block_deadline, self._content_deadline)

    def judge(self, now: float, *, reading: bool) -> Reply | None:
        """Look at what has come. None if the client may go on; else what ends the session. Are we `reading` now?"""
        patience = self._patience
        arrived = self.octets - self._octets_before
        held_up = self.held_up or not reading
        if arrived or held_up:
            self._block_deadline = now + patience.block
        if now >= self._content_deadline or now >= self._block_deadline:
            return replies.TIMEOUT
        if arrived and not held_up and arrived < patience.minimum_rate * (now - self._looked):
            return replies.TOO_SLOW
        self._octets_before = self.octets
        self.held_up = False
        self._looked = now
        return None
