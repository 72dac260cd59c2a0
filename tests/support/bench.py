"""A relay, its destinations and a fault proxy in every way: where the promise is put to the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from moxy.mail import Route
from support import witness
from support.destination import Answer, Destination, Phase, running_destination
from support.faults import Fault, FaultProxy, Kind, Way, running_proxy
from support.relay import Relay, route, running_relay
from support.scenario import until
from support.smtpclient import Client
from support.witness import Witness

RECIPIENTS = (("a@1.test", "b@1.test"), ("c@2.test",), ("d@3.test",))
"""Whom the messages are for, by destination. All names and texts are short: each octet is a session more."""

ANSWERS: Mapping[Phase, Answer] = {
    Phase.GREETING: "220 d",
    Phase.EHLO: "250-d\r\n250-PIPELINING\r\n250 8BITMIME",
    Phase.MAIL: "250 2.1.0 y",
    Phase.RCPT: "250 2.1.5 y",
    Phase.DATA: "354 y",
    Phase.CHUNK: "250 2.0.0 y",
    Phase.FINAL: "250 2.0.0 y",
    Phase.RSET: "250 2.0.0 y",
}
"""What the destinations say."""

BENCHES = 12
"""Relays at work side by side."""

MESSAGES = 2
"""Transactions of a session: the second goes over a connection that was used before."""


@dataclass(frozen=True)
class Cut:
    """One connection to be broken: the client's (`where` is None), or the first that is made to a destination."""

    where: int | None
    fault: Fault
    pipelining: bool = False

    def strikes(self, where: int | None) -> Fault | None:
        return self.fault if where == self.where else None


@dataclass
class Bench:
    """One relay, and everything around it."""

    relay: Relay
    entrance: FaultProxy
    destinations: list[Destination]
    proxies: list[FaultProxy]
    chunks: bool = False
    """Do the client and the first destination speak BDAT?"""

    async def healthy(self) -> Witness:
        """A healthy session in which every octet goes through a proxy, and is counted."""
        return await self._play(None, self.entrance, self.proxies)

    async def run(self, cut: Cut | None = None) -> Witness:
        """One session, broken as told. Only the connection to be broken goes through a proxy: that saves a third."""
        ways: list[FaultProxy | Destination] = list(self.destinations)
        if cut is not None and cut.where is not None:
            ways[cut.where] = self.proxies[cut.where]
        return await self._play(cut, self.entrance if cut is not None and cut.where is None else self.relay, ways)

    async def _play(
        self, cut: Cut | None, entrance: FaultProxy | Relay, ways: Sequence[FaultProxy | Destination]
    ) -> Witness:
        """When the session and all its connections are over, compare what the witnesses say."""
        self._begin_anew(cut, ways)
        recipients = [recipient for group in RECIPIENTS[: len(self.destinations)] for recipient in group]
        client = await Client.connect(entrance.port)
        seen = Witness(client, recipients, MESSAGES, cut is not None and cut.pipelining, self.chunks)
        await seen.talk()
        await self._come_to_rest()
        self._compare(seen, client.written if entrance is self.relay else self.entrance.passed[Way.TO_SERVER])
        self._judge_answers(seen)
        return seen

    def _begin_anew(self, cut: Cut | None, ways: Sequence[FaultProxy | Destination]) -> None:
        self.relay.table.routes.update(_routes(ways))
        self.entrance.begin_anew(cut and cut.strikes(None))
        for number, proxy in enumerate(self.proxies):
            proxy.begin_anew(cut and cut.strikes(number))
        for destination in self.destinations:
            destination.forget()

    async def _come_to_rest(self) -> None:
        await self.relay.rest()
        await self.relay.close_pools()
        ways = [self.entrance, *self.proxies, *self.destinations]
        await until(lambda: not any(way.open for way in ways), "every connection to end")

    def _compare(self, seen: Witness, sent: int) -> None:
        """`sent` octets of the client may have reached Moxy."""
        if sent < witness.octets_up_to_dot(seen.recipients, chunks=self.chunks):
            ends = [destination.ends_of_data for destination in self.destinations]
            assert not any(ends), "an end of data that the client never sent (P2)"
        for destination, asked in zip(self.destinations, RECIPIENTS, strict=False):
            held = [message.below_trace for message in destination.messages]
            wanted = [witness.content(number) for number in range(MESSAGES)]
            assert all(content in wanted for content in held), "the content was changed or cut off (P2, P4)"
            assert len(set(held)) == len(held), "the same message twice (P3)"
            for number, told in enumerate(seen.told):
                recipients = self._recipients(destination, wanted[number])
                assert recipients <= set(asked), "delivered to a recipient of another destination"
                assert not recipients & told.refused, "delivered to a recipient who was refused"
                if told.verdict.startswith("2"):
                    assert recipients == told.accepted & set(asked), "accepted, and lost (P1)"

    @staticmethod
    def _recipients(destination: Destination, content: bytes) -> set[str]:
        """For whom the destination holds a message."""
        held = [message for message in destination.messages if message.below_trace == content]
        return {recipient for message in held for recipient in message.recipients}

    def _judge_answers(self, seen: Witness) -> None:
        """Every command has one answer, of its own kind, in order; fewer only where the client's way was cut (P6)."""
        codes = [reply[:3] for reply in seen.replies]
        if not self.entrance.struck:
            assert len(codes) == seen.asked, f"not one answer to each command: {seen.replies}"
            assert codes[-1] == "221"
        if not any(code[0] in "45" for code in codes):
            transaction = ["250"] * (1 + len(seen.recipients)) + ["250" if self.chunks else "354", "250"]
            assert codes == ["220", "250", *transaction * MESSAGES, "221"][: len(codes)]


def _routes(ways: Sequence[FaultProxy | Destination]) -> dict[str, Route]:
    """To each destination by this way."""
    domains = [group[0].partition("@")[2] for group in RECIPIENTS]
    return {domain: route(way.port) for domain, way in zip(domains, ways, strict=False)}


@asynccontextmanager
async def bench(destinations: int, *, chunks: bool = False, **options: Any) -> AsyncIterator[Bench]:
    """A relay to so many destinations, each with a domain of its own; `options` are those of `running_relay`."""
    async with AsyncExitStack() as stack:
        behind = [await stack.enter_async_context(running_destination()) for _ in range(destinations)]
        for destination in behind:
            destination.answers.update(ANSWERS)
        if chunks:
            behind[0].answers[Phase.EHLO] = "250-d\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 8BITMIME"
        proxies = [await stack.enter_async_context(running_proxy(destination.port)) for destination in behind]
        relay = await stack.enter_async_context(running_relay(_routes(behind), hostname="m.test", **options))
        entrance = await stack.enter_async_context(running_proxy(relay.port))
        yield Bench(relay, entrance, behind, proxies, chunks)


async def every_cut(destinations: int, kind: Kind, **options: Any) -> list[Cut]:
    """Every place where a connection can be cut, from a session in which none is."""
    async with bench(destinations, **options) as whole:
        seen = await whole.healthy()
        assert all(told.verdict.startswith("250") for told in seen.told)
        assert [len(destination.messages) for destination in whole.destinations] == [MESSAGES] * destinations
        return list(_cuts([(None, whole.entrance), *enumerate(whole.proxies)], kind))


def _cuts(ways: list[tuple[int | None, FaultProxy]], kind: Kind) -> Iterator[Cut]:
    for where, proxy in ways:
        for way, octets in proxy.passed.items():
            for after in range(octets + 1):
                yield Cut(where, Fault(way, after, kind))
                if where is None:
                    yield Cut(where, Fault(way, after, kind), pipelining=True)


async def run_all(cuts: list[Cut], destinations: int, **options: Any) -> None:
    """Make all the `cuts`, on several benches side by side; each must serve a healthy session in the end."""
    todo = list(cuts)

    async def work() -> None:
        async with bench(destinations, **options) as mine:
            while todo:
                cut = todo.pop()
                try:
                    await mine.run(cut)
                except Exception as error:
                    error.add_note(f"{destinations} destinations, {cut}")
                    raise
            seen = await mine.healthy()
            assert all(told.verdict.startswith("250") for told in seen.told)

    async with asyncio.TaskGroup() as group:
        for _ in range(BENCHES):
            group.create_task(work())
