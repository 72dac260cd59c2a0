"""Moxy, its destinations and breaking connections around it: plays a scenario to its end, and has it judged."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chaos.destination import Destination, Phase, Talk
from chaos.judge import Result, Seen, judge
from chaos.ledgers import Ledgers
from chaos.scenario import NAMES, TO_ALL, WITH_COPIES, Length, Scenario
from chaos.sender import Recipient, Sender
from moxy.ledger import Ledger
from moxy.mail import Route
from moxy.net.deadlines import NEVER
from moxy.outbound.settings import Settings
from support.faults import FaultProxy, Way, running_proxy
from support.relay import Relay, route, running_relay
from support.scenario import GLANCE, until

TICK = 0.005
"""Seconds between two sweeps."""

RESTART = 0.1
"""Seconds that a sender needs at least to come again after it has died."""

_numbers = itertools.count(1)


class Stage:
    """Destinations and proxies that serve one scenario after the other; each scenario has a new Moxy."""

    def __init__(
        self,
        destinations: list[Destination],
        proxies: list[FaultProxy],
        entrance: FaultProxy,
        ledgers: Ledgers,
    ) -> None:
        self.destinations = destinations
        self.proxies = proxies
        self.entrance = entrance
        self._relays: list[Relay] = []
        self._ledgers = ledgers
        self._scenario: Scenario
        self.passed: Length
        """What went through the proxies, in the last scenario that had them."""
        self._sender: Sender
        self._senders: list[Sender] = []
        self._dots_before = 0  # that certainly passed, in earlier sessions
        self._seen = Seen()
        for destination in destinations:
            destination.on_silence = self._withheld
            destination.on_end_of_data = self._end_of_data
            destination.transaction = self._transaction

    async def play(self, scenario: Scenario) -> Result:
        """From the first attempt until every recipient's fate is known, and all is still again."""
        self._scenario = scenario
        used = self.destinations[: len(scenario.scripts)]
        for destination, script in zip(used, scenario.scripts, strict=True):
            destination.begin(script)
        self._seen = Seen()
        self._dots_before = 0
        number = next(_numbers)
        contents = [number, next(_numbers)] if scenario.overtaken else [number] * scenario.repeats
        reverse_path = "" if scenario.null else f"s{number:06}@client.test"
        self._senders = [self._new_sender(reverse_path, content) for content in contents]
        async with AsyncExitStack() as stack:
            ledgers = [stack.enter_context(self._ledgers.of_worker(n, scenario)) for n in range(scenario.workers)]
            self._relays = [await stack.enter_async_context(self._moxy(ledger)) for ledger in ledgers]
            if scenario.overtaken:
                await self._send(self._senders[0], self._senders[0].attempt)
                await self._send(self._senders[1], self._senders[1].deliver)
            for sender in self._senders:
                await self._send(sender, sender.deliver)
        self.passed = Length(dict(self.entrance.passed), tuple(dict(proxy.passed) for proxy in self.proxies))
        self._seen.struck = self._struck()
        return judge(scenario, self._senders, used, self._seen)

    def story(self) -> str:
        """What has been said so far, for when something has gone wrong."""
        lines = [line for sender in self._senders for line in ("sender:", *sender.log[-40:])]
        for destination in self.destinations:
            lines += [f"{destination.name}, {len(destination.open)} connections:", *destination.log[-20:]]
        return "\n".join(lines)

    def _new_sender(self, reverse_path: str, number: int) -> Sender:
        return Sender(
            self._scenario.dialect,
            reverse_path,
            [Recipient(path) for path in self._scenario.recipients],
            b"Subject: %06d\r\n\r\n..\r\n.two\r\n.\r\n\r\nend.\r\n" % number,
            self._way_in,
            self._rest,
            self._content_arrives,
        )

    # -- the sender's sessions

    async def _send(self, sender: Sender, work: Callable[[], Awaitable[None]]) -> None:
        """Let a sender work; in the very first session things break, if they are to."""
        self._sender = sender
        first = sender is self._senders[0] and not sender.rounds
        cut = self._scenario.cut if first else None
        self.entrance.begin_anew(cut and cut.strikes(None))
        for number, proxy in enumerate(self.proxies):
            proxy.begin_anew(cut and cut.strikes(number))
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(self._tick())]
            if first and self._scenario.death is not None:
                beside.append(group.create_task(self._die()))
            await work()
            for task in beside:
                task.cancel()

    def _way_in(self) -> int:
        relay = self._relays[(self._sender.rounds - 1) % len(self._relays)]
        self.entrance.target = relay.port
        return self.entrance.port if self._cut_at_entrance() else relay.port

    async def _rest(self) -> None:
        """A session is over: wait until Moxy and the destinations have nothing more to do."""
        if self._scenario.hasty and self._sender.queue:
            self._count_dots()
            if self._scenario.death is not None:
                await asyncio.sleep(RESTART)
                await until(lambda: self._ledgers.at_rest, "the ledgers to have written")
            return
        for relay in self._relays:
            await relay.rest()
        if self._scenario.cut is not None:
            await until(lambda: not self.entrance.open, "the way in to be free")
        self._count_dots()

    async def _content_arrives(self, accepted: Sequence[str]) -> None:
        """Are all ready for content? If a destination is to do something in its middle, let it."""
        scenario, now = self._scenario, self._transaction()
        if not (scenario.dialect.prdr or scenario.dialect.lmtp):
            wanted = {number for path in accepted for number in scenario.behind(path)}
            for destination in [self.destinations[number] for number in sorted(wanted)]:
                if now not in destination.ready:
                    self._seen.premature.append(f"354 before {destination.name} had said so")
        if any(Phase.CONTENT in script.phases for script in scenario.scripts):
            await until(lambda: not any(d.content_is_due for d in self.destinations), "content to arrive")

    async def _die(self) -> None:
        """Kill the sender while a destination holds its answer."""
        death = self._scenario.death
        assert death is not None
        await until(self._holding, "a destination to hold its answer")
        client = self._sender.client
        assert client is not None
        if death.how == "reset":
            client.reset()
            await until(lambda: not any(relay.service.connections for relay in self._relays), "Moxy to notice")
        else:
            client.transport.close()
            await client.over.wait()
        if death.late:
            await until(lambda: self._sender.rounds > 2 or not self._sender.queue, "another attempt")
        while True:  # also those who hold their answers from the next session
            if holding := self._holding():
                holding.release(death.then)
            await asyncio.sleep(GLANCE)

    def _holding(self) -> Destination | None:
        return next((destination for destination in self.destinations if destination.holding), None)

    # -- what is known about octets

    def _cut_at_entrance(self) -> bool:
        cut = self._scenario.cut
        return cut is not None and cut.where is None and self._sender.rounds == 1

    def _ends_of_data_sent(self) -> int:
        """How many ends of data of the sender may have reached Moxy, in this session and those before."""
        sender = self._sender
        lost = self._cut_at_entrance() and self.entrance.passed[Way.TO_SERVER] < sender.dot_ends
        return self._dots_before + (0 if lost else sender.dots)

    def _count_dots(self) -> None:
        """A session is over."""
        self._dots_before = self._ends_of_data_sent()
        self._sender.dots = 0

    def _end_of_data(self, destination: Destination) -> None:
        if destination.ends_of_data > self._ends_of_data_sent():
            self._seen.invented.append(f"{destination.name} got an end of data that no sender had sent")
        now = self._transaction()
        somebody_has_it = any(copy.transaction == now for other in self.destinations for copy in other.copies)
        self._seen.ends.append((now, destination.name, somebody_has_it))

    def _transaction(self) -> int:
        """The number of the transaction that is under way, of all senders."""
        return sum(sender.transactions for sender in self._senders)

    def _struck(self) -> Destination | None:
        """The destination whose connection was cut."""
        cut = self._scenario.cut
        if cut is None or cut.where is None or not self.proxies[cut.where].struck:
            return None
        return self.destinations[cut.where]

    # -- time

    def _withheld(self, talk: Talk) -> None:
        """A destination has fallen silent: once what it said before has been read, its time is over."""
        if not talk.destination.holding:
            loop = asyncio.get_running_loop()
            loop.call_later(GLANCE, loop.call_later, GLANCE, self._time_out, talk)

    def _time_out(self, talk: Talk) -> None:
        """Have Moxy's sweeper find the connection overdue, as if its whole patience had passed; no other one."""
        if talk.over:
            return
        ends = _ends(talk.transport)[::-1]
        ends = next(
            (_ends(side.other.transport)[::-1] for side in self._sides() if _ends(side.transport) == ends), ends
        )
        for item in [item for relay in self._relays for item in relay.service.sweeper.watched]:
            transport = getattr(item, "_transport", None)
            if transport is not None and item.deadline != NEVER and _ends(transport) == ends:
                item.expire(asyncio.get_running_loop().time())
                return
        self._withheld(talk)

    def _sides(self) -> Iterator[Any]:
        return (side for proxy in self.proxies for side in proxy.open if side.other is not None)

    async def _tick(self) -> None:
        """The sweeper at work, as once a second: it finds what is overdue by its own clock, that is hardly anything."""
        while True:
            await asyncio.sleep(TICK)
            for relay in self._relays:
                relay.pass_time(0)

    # -- Moxy

    @asynccontextmanager
    async def _moxy(self, ledger: Ledger) -> AsyncIterator[Relay]:
        """A new Moxy whose routes lead to the destinations, through the proxies where a connection is to break."""
        scenario = self._scenario
        ways = self.proxies if scenario.cut is not None else self.destinations
        ports = [way.port for way in ways[: len(scenario.scripts)]]
        routes = {
            f"{name}.test": _to(port, settings=script.protocol)
            for name, port, script in zip(NAMES, ports, scenario.scripts, strict=False)
        }
        routes[TO_ALL] = _to(*ports)
        routes[WITH_COPIES] = _to(ports[0], copies=ports[1:])
        named = {"lmtp": Settings(protocol="lmtp")}
        options = {"lmtp": scenario.dialect.lmtp, "spread_first": scenario.spread_first}
        async with running_relay(routes, named=named, ledger=ledger, **options) as relay:
            relay.service.identify = lambda: f"ID{next(_numbers):09}"  # always as long: cuts are counted in octets
            yield relay


def _ends(transport: asyncio.BaseTransport) -> tuple[object, object]:
    """Its own address and its peer's. One alone may be that of several connections."""
    return transport.get_extra_info("sockname"), transport.get_extra_info("peername")


def _to(*ports: int, copies: Sequence[int] = (), settings: str = "") -> Route:
    return Route(route(*ports).hosts, settings=settings, best_effort=route(*copies).hosts if copies else ())


@asynccontextmanager
async def stage(destinations: int) -> AsyncIterator[Stage]:
    """A stage with so many destinations, and a ledger that its Moxys share."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="moxy-")))
        behind = [Destination(name) for name in NAMES[:destinations]]
        for destination in behind:
            await destination.start()
            stack.push_async_callback(destination.stop)
        proxies = [await stack.enter_async_context(running_proxy(destination.port)) for destination in behind]
        entrance = await stack.enter_async_context(running_proxy(0))
        entrance.half_closes = True
        ledgers = Ledgers(directory)
        stack.callback(ledgers.close)
        yield Stage(behind, proxies, entrance, ledgers)
