"""SinkDestination: takes every message, tells somebody about it, and forgets it.

`moxy sink` receives with it. It is also the shortest complete destination: who writes another one starts from here.

Bugs: a message that is to be kept whole (`keep`) is held in memory until its end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header, make_header
from typing import Final

from moxy.delivery import Flow
from moxy.mail import Envelope, Recipient, Route, Session
from moxy.smtp import replies
from moxy.smtp.content import Unstuffer
from moxy.smtp.reply import Phase, Reply

HEADER_LIMIT: Final = 65_536
"""Octets from the start of a message that are searched for its header fields."""

_SUBJECT: Final = re.compile(rb"^subject:((?:[^\r]|\r\n[ \t])*)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SinkMessage:
    """What a sink tells of a message that it accepted. Texts are the peer's own: escape them before showing them.

    `octets` counts the content after unstuffing, with the trace field that the receiving server put on top.
    `content` is as much of it, from its start, as the sink was told to keep.
    """

    id: str
    client: str
    reverse_path: str
    recipients: tuple[str, ...]
    octets: int
    content: bytes

    @property
    def subject(self) -> str:
        """The Subject field, decoded (RFC 2047) and unfolded; empty if there is none near the start."""
        header = self.content[:HEADER_LIMIT].partition(b"\r\n\r\n")[0]
        field = _SUBJECT.search(header)
        return _decoded(field[1].replace(b"\r\n", b"").decode(errors="replace").strip()) if field else ""


def _decoded(text: str) -> str:
    try:
        return str(make_header(decode_header(text)))
    except (MessageError, ValueError, LookupError):  # it only looks encoded, or in a character set unknown here
        return text


class SinkDelivery:
    """One message on its way into nothing; see `moxy.delivery.Delivery` for the contract."""

    delay = 0.0
    failure = None
    ready = True
    unanswered = 0

    def __init__(self, destination: SinkDestination, session: Session, envelope: Envelope) -> None:
        self._destination = destination
        self._session = session
        self._envelope = envelope
        self._unstuffer = Unstuffer()
        self._octets = 0
        self._content = bytearray()
        self.name = self.host = destination.name
        self.recipients: list[Recipient] = []
        self.refusals = 0
        self.stalled = 0.0  # it never is

    def prefer(self, host: str) -> None:
        """There is one host only."""

    async def rcpt(self, recipient: Recipient) -> Reply:
        """Everybody is welcome, unless the sink plays a server that refuses."""
        refusal = self._destination.refusals.get(Phase.RCPT)
        if refusal is not None:
            self.refusals += 1
            return refusal
        self.recipients.append(recipient)
        return replies.RECIPIENT_OK

    def withdraw(self, recipient: Recipient) -> None:
        """Take a recipient back."""
        self.recipients.remove(recipient)

    async def prepare(self) -> Reply:
        """Always ready."""
        return replies.OK

    async def data(self) -> Reply:
        """354, or the refusal."""
        return self._destination.refusals.get(Phase.DATA, replies.START_MAIL_INPUT)

    def write(self, block: bytes) -> None:
        """Count the content, and keep its start."""
        block = self._unstuffer.feed(block)
        self._octets += len(block)
        self._content += block[: self._destination.keep - len(self._content)]

    def flush(self) -> None:
        """Nothing waits to be written."""

    def breaks_off(self) -> None:
        """Content may end anywhere."""

    async def finish(self, patience: float) -> list[Reply]:  # noqa: ARG002 - answers at once
        """Show the message, and accept it; or refuse it."""
        verdict = self._destination.refusals.get(Phase.FINAL, replies.MESSAGE_ACCEPTED)
        if verdict.positive:
            self._destination.show(self._message())
        return [verdict] * len(self.recipients)

    def _message(self) -> SinkMessage:
        return SinkMessage(
            id=self._envelope.id,
            client=self._session.client,
            reverse_path=self._envelope.reverse_path.text,
            recipients=tuple(recipient.path.text for recipient in self.recipients),
            octets=self._octets,
            content=bytes(self._content),
        )

    def abort(self) -> None:
        """Nothing was kept that would have to go."""


class SinkDestination:
    """A destination that accepts everything; see `moxy.delivery.Destination` for the contract.

    `show` is called with each message when its final dot has come, before the reply; it must not raise. `refusals` are
    the 4xx and 5xx replies to give at some phases instead. `keep` is how many octets of each message `show` is given.
    """

    name = "sink"
    individual = False

    def __init__(
        self,
        show: Callable[[SinkMessage], None],
        refusals: Mapping[Phase, Reply] | None = None,
        keep: int = HEADER_LIMIT,
    ) -> None:
        self.show = show
        self.refusals = dict(refusals or {})
        self.keep = keep

    def open(self, session: Session, envelope: Envelope, flow: Flow) -> SinkDelivery:  # noqa: ARG002 - never full
        """Begin a delivery."""
        return SinkDelivery(self, session, envelope)


class SinkDirectory:
    """One destination behind every route; see `moxy.delivery.Directory` for the contract."""

    def __init__(self, destination: SinkDestination) -> None:
        self._destinations = (destination,)

    def destinations(self, route: Route) -> tuple[SinkDestination]:  # noqa: ARG002 - all the same
        """The sink."""
        return self._destinations

    def copies(self, route: Route) -> tuple[()]:  # noqa: ARG002 - one is enough
        """None."""
        return ()
