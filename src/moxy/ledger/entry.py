"""Entry: what the ledger knows of one message, at one destination, for one recipient."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DIGEST_OCTETS = 32

NOT_COME = -1
"""The size of a message that has not come, since its transaction ended before."""


class State(StrEnum):
    """What is known of it. All but `CONFIRMED` are open: they matter when the sender comes again."""

    COMMITTED = "committed"
    """The destination has the message; the sender may not know."""
    CONFIRMED = "confirmed"
    """The sender knows. Kept for people to read, and of no more consequence."""
    UNKNOWN = "unknown"
    """The final dot was sent, and no answer came (RFC 1047)."""
    UNDER_WAY = "under way"
    """The sender left before the destination had answered the final dot. It may answer yet."""
    UNDELIVERED = "undelivered"
    """The destination does not have it, or was not asked for it; the recipient is to be asked alone."""


Key = tuple[str, str, str, bytes, int]
"""Destination, reverse-path, forward-path, digest, size: there is one entry of each."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One destination, one recipient, one message. Paths are without brackets, their domains in lower case."""

    destination: str
    """The destination's name."""
    host: str
    """`host:port` of the server that was spoken with; the destination's name where none was."""
    reverse_path: str
    """The sender; "" for the null reverse-path."""
    forward_path: str
    digest: bytes
    """Of the content without our trace field: 32 octets. Of the transaction's id where the content has not come."""
    size: int
    """Octets of that content; NOT_COME for a transaction that ended before it."""
    state: State
    apart: bool
    """Whether the recipient is to be asked alone when it comes again (D7)."""
    client: str
    """The address of who sent it."""
    hello: str
    """And the name it gave itself."""
    time: float
    """When, in seconds since the epoch."""
    declared: int = 0
    """Octets of the message as its sender declared them at MAIL (SIZE=, RFC 1870); 0 if it did not."""

    @property
    def key(self) -> Key:
        """What it is about. A newer entry with the same key takes its place."""
        return self.destination, self.reverse_path, self.forward_path, self.digest, self.size

    @property
    def open(self) -> bool:
        """Whether it matters when the sender comes again."""
        return self.state is not State.CONFIRMED
