"""The sending side alone in the test's event loop: an SmtpDirectory, and deliveries that the test makes by hand.

Time passes only when a test says so: nothing starts the sweeper, and `Outbound.pass_time` sweeps with a later clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from moxy.delivery import Flow
from moxy.mail import Envelope, Host, Mode, Recipient, Route, Session
from moxy.net.deadlines import Sweeper
from moxy.outbound.destination import SmtpDestination
from moxy.outbound.directory import SmtpDirectory
from moxy.outbound.ground import Ground
from moxy.outbound.pool import Pool
from moxy.outbound.relay import RelayDelivery
from moxy.outbound.settings import Settings
from moxy.smtp import replies
from moxy.smtp.address import ForwardPath, ReversePath
from moxy.smtp.reply import Reply
from support.ports import LOOPBACK
from support.scenario import until

HOST_NAME = "mx.moxy.test"
LMTP = Settings(protocol="lmtp")


def recipients(*addresses: str) -> list[Recipient]:
    return [Recipient(ForwardPath.parse(address)) for address in addresses]


def nothing() -> None:
    """What a reader does that nobody pauses."""


@dataclass
class Outbound:
    """A sending side at work."""

    directory: SmtpDirectory
    ground: Ground
    session: Session

    @property
    def pools(self) -> list[Pool]:
        return list(self.directory._pools.values())

    def pass_time(self, seconds: float) -> None:
        """Have the sweeper believe that so many seconds have passed."""
        self.ground.sweeper.sweep(self.ground.loop.time() + seconds)

    def to(self, *places: int | str, mode: Mode = Mode.FAILOVER) -> SmtpDestination:
        """The destination at these ports of loopback, or Unix sockets at these paths."""
        hosts = tuple(Host(place, 0) if isinstance(place, str) else Host(LOOPBACK, place) for place in places)
        (destination,) = self.directory.destinations(Route(hosts, mode))
        return destination

    def open(
        self,
        destination: SmtpDestination,
        *,
        each: bool = False,
        chunked: bool = False,
        body: str = "",
        flow: Flow | None = None,
    ) -> RelayDelivery:
        """A delivery; `each`: for a client that takes a verdict for each; `chunked`: content comes by BDAT."""
        envelope = Envelope("id", ReversePath("sender@client.test", "sender", "client.test"), each=each, body=body)
        envelope.chunked = chunked
        return destination.open(self.session, envelope, flow or Flow(nothing, nothing))

    async def begin(self, delivery: RelayDelivery, wanted: Sequence[Recipient], content: bytes = b"text\r\n") -> None:
        """As far as the dot; everybody must be accepted."""
        for recipient in wanted:
            reply = await delivery.rcpt(recipient)
            assert reply.positive, reply
        reply = await delivery.data()
        assert reply.code == 354, reply
        delivery.write(content)
        delivery.flush()

    async def deliver(
        self, destination: SmtpDestination, *addresses: str, each: bool = False, chunked: bool = False
    ) -> tuple[list[str], RelayDelivery]:
        """A whole transaction; the verdicts as texts, and the delivery."""
        delivery = self.open(destination, each=each, chunked=chunked)
        await self.begin(delivery, recipients(*addresses))
        return texts(await delivery.finish(5)), delivery


def texts(answers: Sequence[Reply]) -> list[str]:
    """Replies as they stand on the wire."""
    return [answer.wire.decode().removesuffix("\r\n") for answer in answers]


@asynccontextmanager
async def running_outbound(settings: Settings | None = None, **ground: object) -> AsyncIterator[Outbound]:
    """A sending side. Leaving the block asserts that no connection is left but idle ones, and none without them."""
    own = replace(Ground(HOST_NAME, Sweeper(), asyncio.get_running_loop()), **ground)
    outbound = Outbound(SmtpDirectory(own, settings or Settings()), own, Session("session", LOOPBACK))
    try:
        yield outbound
        outbound.session.end()
        await until(
            lambda: all(pool._open == set(pool._idle) for pool in outbound.pools), "every connection to be idle"
        )
        outbound.directory.close()
        await until(lambda: not own.sweeper.watched, "every connection to end")
    finally:
        for pool in outbound.pools:
            for upstream in tuple(pool._open):
                upstream.lose(replies.DESTINATION_LOST)
        await asyncio.sleep(0)
