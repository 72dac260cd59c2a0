"""Record: what happened to one message at one destination. The only thing a sink ever sees.

Octets are counted once per delivery, after unstuffing, without our own trace field (contract T54).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from moxy.mail import TlsFacts
from moxy.smtp.reply import Reply


class Outcome(StrEnum):
    """How a delivery ended."""

    DELIVERED = "delivered"
    """The destination answered 2xx to the final dot."""
    REFUSED = "refused"
    """The destination answered 4xx or 5xx, at DATA or at the final dot."""
    ABORTED = "aborted"
    """Closed without a final dot: the client left, another destination refused, or a local verdict said no."""
    UNKNOWN = "unknown"
    """The final dot was sent and no reply came: the destination may or may not have the message (RFC 1047)."""
    SUPPRESSED = "suppressed"
    """A repetition that did not go out: the destination has the message from an earlier attempt (contract D8)."""


@dataclass(slots=True)
class Record:
    """One delivery: a message sent once to one destination, for all of its recipients there.

    `time` is seconds since the epoch, when the outcome was known; `duration` is seconds since the client's MAIL.
    `destination` is `host:port` as routed, the host that was spoken with. `reply` is the destination's verdict, or our
    own reason to end the delivery where it gave none. Paths are without angle brackets; the null reverse-path is "".
    `security` is how the client's connection was encrypted, None where it was not.

    `inbound.account` gives the fields by position: keep their order.
    """

    time: float
    session: str
    transaction: str
    client: str
    client_port: int
    hello: str
    reverse_path: str
    destination: str
    recipients: list[str]
    size: int
    outcome: Outcome
    reply: Reply | None = None
    duration: float = 0.0
    security: TlsFacts | None = None
