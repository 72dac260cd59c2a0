"""The acceptance ledger: the memory of who has which message, for when a sender may come with it again.

Why: a destination may have a message whose sender does not know it: the reply was lost, or other destinations refused.
The sender will try again, and must then hear the truth for each recipient without anybody getting a second copy
(contract D7, D8). What went well and is known to both ends is not remembered: the ledger is for the rest.

Rules:
- `concerns` costs a look at memory; the file is read only for those whom it concerns, and written only where a message
  ended otherwise than well.
- Trouble with the file never reaches mail: it is told and counted, and mail goes on without the memory.
- No method raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from moxy.ledger.entry import NOT_COME, Entry, State

__all__ = ["NOT_COME", "Entry", "Ledger", "NoLedger", "State"]


class Ledger(Protocol):
    """One for each worker; all of them see the same entries. `failures` counts what could not be written or read."""

    failures: int

    def concerns(self, reverse_path: str, forward_path: str) -> bool:
        """Whether there may be an open entry about this pair. False is certain, whichever worker has written last."""
        ...

    async def recall(self, reverse_path: str, forward_path: str) -> list[Entry]:
        """The open entries about this pair; none where they cannot be read in time."""
        ...

    async def rivals(self, entry: Entry) -> list[Entry]:
        """The open entries, older than this one, about other recipients of its message, who are apart as well."""
        ...

    async def write(self, entries: Sequence[Entry]) -> None:
        """Returns when they are in the file, or cannot be in time. What the file had under their keys, and what
        was noted under them, is gone.
        """
        ...

    def note(self, entries: Sequence[Entry]) -> None:
        """To be written soon, unless settled, or written otherwise, before."""
        ...

    def settle(self, entries: Sequence[Entry]) -> None:
        """Their sender has the truth: what is in the file under their keys becomes CONFIRMED, and what was only noted
        is forgotten. No waiting.
        """
        ...

    def close(self) -> None:
        """Write what is noted, and end. May take a moment."""
        ...


class NoLedger:
    """Remembers nothing: for a configuration without a ledger, and for programs that need none. Implements `Ledger`."""

    failures = 0

    def concerns(self, reverse_path: str, forward_path: str) -> bool:
        """Never."""
        del reverse_path, forward_path
        return False

    async def recall(self, reverse_path: str, forward_path: str) -> list[Entry]:
        """Nothing."""
        del reverse_path, forward_path
        return []

    async def rivals(self, entry: Entry) -> list[Entry]:
        """None."""
        del entry
        return []

    async def write(self, entries: Sequence[Entry]) -> None:
        """Nowhere."""

    def note(self, entries: Sequence[Entry]) -> None:
        """Nowhere."""

    def settle(self, entries: Sequence[Entry]) -> None:
        """There is nothing to settle."""

    def close(self) -> None:
        """There is nothing to close."""
