"""Flow: back-pressure from any number of writers to the one reader that feeds them."""

from __future__ import annotations

from collections.abc import Callable


def _nothing() -> None:
    """What there is to do without a reader."""


class Flow:
    """Pauses the reader while at least one writer cannot take more: the slowest destination sets the pace (D4)."""

    __slots__ = ("_blocked", "_pause", "_resume")

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause = pause
        self._resume = resume
        self._blocked = 0

    @property
    def blocked(self) -> bool:
        """Is any writer full now?"""
        return self._blocked > 0

    def block(self) -> None:
        """One more writer is full."""
        self._blocked += 1
        if self._blocked == 1:
            self._pause()

    def release(self) -> None:
        """The reader is gone. (It is forgotten, too: a cycle of references would wait for the collector of cycles.)"""
        self._pause = self._resume = _nothing

    def unblock(self) -> None:
        """A writer that was full can take more, or is gone."""
        self._blocked -= 1
        if self._blocked == 0:
            self._resume()
