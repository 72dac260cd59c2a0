"""Settings: how a destination's hosts are spoken with (`[delivery]`, `[destination.NAME]` of the configuration)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Identity = Literal["none", "header", "xforward", "xclient", "proxy-v1", "proxy-v2", "helo"]

PERSONAL: Final[frozenset[str]] = frozenset({"xclient", "proxy-v1", "proxy-v2", "helo"})
"""Identities that a connection has from its beginning to its end: nobody else may be served by it (T25)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a destination's hosts are spoken with."""

    protocol: Literal["smtp", "lmtp"] = "smtp"
    """What they speak."""
    lease: Literal["transaction", "session"] = "transaction"
    """How long a client keeps a connection: for a transaction (shared), or until it leaves (one to one).

    Always the latter where the identity is the connection's (`PERSONAL`), whatever is given.
    """
    connections: int = 40
    """Most connections at once to a host. Postfix takes 50 from one client by default."""
    transactions: int = 100
    """Most transactions on one connection."""
    eight_bit: Literal["refuse", "pass"] = "refuse"
    """What to do with 8-bit content for a host without 8BITMIME (T9)."""
    identity: Identity = "header"
    """How they hear who the client is (T25 to T28)."""

    def __post_init__(self) -> None:
        if self.identity in PERSONAL:
            object.__setattr__(self, "lease", "session")
