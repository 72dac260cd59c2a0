"""Settings: how a destination's hosts are spoken with (`[delivery]`, `[destination.NAME]` of the configuration)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Settings:
    """How a destination's hosts are spoken with."""

    protocol: Literal["smtp", "lmtp"] = "smtp"
    """What they speak."""
    lease: Literal["transaction", "session"] = "transaction"
    """How long a client keeps a connection: for a transaction (shared), or until it leaves (one to one)."""
    connections: int = 40
    """Most connections at once to a host. Postfix takes 50 from one client by default."""
    transactions: int = 100
    """Most transactions on one connection."""
    eight_bit: Literal["refuse", "pass"] = "refuse"
    """What to do with 8-bit content for a host without 8BITMIME (T9)."""
