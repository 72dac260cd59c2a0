"""Settings: how a destination's hosts are spoken with (`[delivery]`, `[destination.NAME]` of the configuration)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from moxy.net.tlsclient import TlsClient
from moxy.outbound.identity import PERSONAL, Identity


@dataclass(frozen=True, slots=True)
class Encryption:
    """How connections over a network are encrypted. Those to Unix sockets are not."""

    client: TlsClient
    """Who shakes hands, and judges the certificate."""
    optional: bool = True
    """Where it is not to be had, is mail sent in clear?"""
    implicit: bool = False
    """Does TLS begin with the connection, without STARTTLS (RFC 8314 §3)? It is never optional then."""
    name: str = ""
    """What the certificate is for, and what is asked for by SNI; "": the host's own name."""


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are to a destination that wants to know (RFC 4954)."""

    user: str
    secret: str = field(repr=False)
    mechanisms: tuple[str, ...]
    """Those that may be used; the first that is offered is."""
    in_clear: bool = False
    """May the secret itself be told to whom others can listen?"""


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
    chunking: Literal["as-received", "always", "never"] = "as-received"
    """Whether content goes by BDAT to a host that offers CHUNKING: if it came so, always, or only binary one (T12)."""
    identity: Identity = "header"
    """How they hear who the client is (T25 to T28)."""
    encryption: Encryption | None = None
    """How connections are encrypted; None: not at all."""
    login: Login | None = None
    """How we authenticate; None: not at all."""

    def __post_init__(self) -> None:
        if self.identity in PERSONAL:
            object.__setattr__(self, "lease", "session")
