"""The seam between receiving and delivering: what `inbound` may ask of any destination.

A relay to another mail server, a sink, later a mailbox or a queue are all the same here. `inbound` and `outbound` do
not know each other; they meet in these three protocols.

    Directory.destinations(route)  ->  the destinations that a recipient's mail goes to, each with a copy of its own
    Directory.copies(route)        ->  those that get a copy if they can, and decide nothing
    Destination.open(...)          ->  a Delivery: one message on its way to one destination
    Delivery                       ->  rcpt, data, write, finish or abort, in this order
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from moxy.delivery.flow import Flow
from moxy.mail import Envelope, Recipient, Route, Session
from moxy.smtp.reply import Reply

__all__ = ["Delivery", "Destination", "Directory", "Flow"]


class Delivery(Protocol):
    """One message on its way to one destination.

    No method raises for what a destination or a network does: that is a reply (4xx or 5xx) like any other.
    """

    recipients: list[Recipient]
    """Recipients that the destination accepted, in order; the message is for them."""

    name: str
    """The destination's own name."""

    host: str
    """`host:port` of the server spoken with, as routed; before one is, the destination's own name."""

    refusals: int
    """Recipients that the destination refused in this transaction (for the order of commit, contract D5)."""

    delay: float
    """Seconds that its slowest answer to a recipient took."""

    stalled: float
    """Seconds that it may stay full while content is written, before it counts as silent. May be set at any time."""

    unanswered: int
    """After `finish`: of the last so many of `recipients` nothing is known. The dot was sent to the destination, and no
    answer came, so it may have the message for them (RFC 1047). 0: all are answered.
    """

    def prefer(self, host: str) -> None:
        """Try the server `host` first, spelled as in `host`, if the destination has it. Only before the first `rcpt`.

        A retry goes where its message may be already (T20).
        """
        ...

    async def rcpt(self, recipient: Recipient) -> Reply:
        """May the recipient have it? Nothing is promised yet. Several may be asked at once; answers keep the order."""
        ...

    def withdraw(self, recipient: Recipient) -> None:
        """Take back a recipient accepted by `rcpt`, because another destination refused the same recipient (D2)."""
        ...

    @property
    def ready(self) -> bool:
        """Has it all that `data` needs? Then it need not be prepared, if it is asked at once."""
        ...

    async def prepare(self) -> Reply:
        """Have all that `data` needs, to keep: 2xx, or why not. Several deliveries are prepared one after another.

        Always in the order of their destinations' names, so that no two transactions wait for what the other holds.
        """
        ...

    async def data(self) -> Reply:
        """Ask to send content: 354, or why not. Only with at least one recipient.

        A destination that takes chunks (RFC 3030) is not asked, and it is 354 as soon as the recipients stand.
        """
        ...

    def write(self, block: bytes) -> None:
        """Content as on the wire, dot-stuffed, any size. Never waits: `flow` asks the reader to pause.

        The first block begins with our trace field (`moxy.message.trace.received`), the whole of it. Content is so
        however it came and goes on (RFC 3030); its line ends are CRLF, unless `Envelope.body` is BINARYMIME.
        """
        ...

    def flush(self) -> None:
        """Let out what `write` has gathered: called once for every wake-up of the reader."""
        ...

    def breaks_off(self) -> None:
        """All content was written, and does not end in CRLF. A destination that cannot take it so has failed (T12)."""
        ...

    @property
    def failure(self) -> Reply | None:
        """Why this delivery can no longer succeed, if so; `finish` would return it."""
        ...

    async def finish(self, patience: float) -> list[Reply]:
        """Commit: send the final dot or the last chunk. One reply for each of `recipients`, in order (contract D4, D5).

        `patience` is the seconds that the destination has for all of its answer; what is missing then is ours.
        """
        ...

    def abort(self) -> None:
        """Give up without a final dot: nothing was delivered. Never fails, never waits; may be called at any time."""
        ...


class Destination(Protocol):
    """Somewhere mail can go. Compared by identity: recipients of one destination share a delivery."""

    name: str

    individual: bool
    """Does it give each recipient a verdict of its own after the dot, whoever the client is (LMTP, RFC 2033)?

    A destination that does so when asked to (PRDR) is asked where `Envelope.each` says that the client can take it.
    """

    def open(self, session: Session, envelope: Envelope, flow: Flow) -> Delivery:
        """Begin a delivery. Cheap: a connection is made when the first recipient is asked for."""
        ...


class Directory(Protocol):
    """Knows the destinations behind a route."""

    def destinations(self, route: Route) -> Sequence[Destination]:
        """Every destination that must take a copy, at least one."""
        ...

    def copies(self, route: Route) -> Sequence[Destination]:
        """Every destination that gets a copy if it can (`best_effort`), mostly none. Never one of `destinations`."""
        ...
