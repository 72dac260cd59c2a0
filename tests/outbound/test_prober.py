"""Destinations asked for their extensions before there is mail (contract T8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import structlog.testing

from moxy.mail import Host, Mode, Route
from moxy.outbound.prober import (
    AT_ONCE,
    FIRST_PAUSE_SECONDS,
    LEAST,
    LONGEST_PAUSE_SECONDS,
    LOOKED_SECONDS,
    MOST,
    REFRESHED_SECONDS,
    TOGETHER,
    Prober,
)
from moxy.outbound.profile import Profile
from moxy.outbound.settings import Identity, Login, Settings
from moxy.smtp import replies
from support.clock import Clock
from support.destination import Act, Answer, Phase, running_destination
from support.ports import LOOPBACK, free_port
from support.relay import Relay, route, running_relay
from support.scenario import PATIENCE, scenario, until
from support.smtpclient import connected
from support.tlsdestination import REQUIRED, running_tls_destination, settings

WITH_DSN = "250-destination.test\r\n250-8BITMIME\r\n250 DSN"
WITHOUT = "250-destination.test\r\n250 8BITMIME"


class Probing:
    """A relay whose destinations are probed, at times that the test decides."""

    def __init__(self, relay: Relay, clock: Clock, routes: Sequence[Route], workers: int) -> None:
        self.relay = relay
        self.clock = clock
        self.routes = routes
        self.profile = relay.ground.profile
        self.prober = Prober(relay.directory, self.profile, lambda: self.routes, workers)

    async def round(self) -> None:
        """Have it do what is due, to the end."""
        await self.prober.first_round(PATIENCE)

    async def after(self, seconds: float) -> None:
        self.clock.pass_time(seconds)
        await self.round()


@asynccontextmanager
async def probing(
    *routes: Route,
    settings: Settings | None = None,
    workers: int = 1,
    **ground: object,
) -> AsyncIterator[Probing]:
    clock = Clock()
    table = {f"d{number}.test": found for number, found in enumerate(routes)}
    ground = {"profile": Profile(clock=clock), "connect_total": 10 * PATIENCE, **ground}  # no deadline ends a probe
    async with running_relay(table, settings=settings, **ground) as relay:
        relay.ground.profile.changed = relay.service.announce
        here = Probing(relay, clock, routes, workers)
        try:
            yield here
        finally:
            here.prober.stop()
            await until(lambda: not here.prober._running, "probes to end")


@scenario
async def test_what_destinations_offer_is_known_before_there_is_mail() -> None:
    async with running_destination() as one, running_destination() as two:
        one.answers[Phase.EHLO] = two.answers[Phase.EHLO] = WITH_DSN
        async with probing(route(one.port), route(two.port)) as here:
            await here.round()
            assert here.relay.service.extensions == {"8BITMIME", "DSN"}
            assert one.commands("") == two.commands("") == ["EHLO mx.moxy.test"]


@scenario
async def test_the_connection_is_kept_for_the_first_message() -> None:
    async with running_destination() as destination, probing(route(destination.port)) as here:
        await here.round()
        async with connected(here.relay.port) as client:
            await client.deliver(["a@d0.test"])
        assert len(destination.talks) == 1


@scenario
async def test_where_each_client_has_a_connection_of_its_own_it_is_ended() -> None:
    async with (
        running_destination() as destination,
        probing(route(destination.port), settings=Settings(lease="session")) as here,
    ):
        await here.round()
        await until(lambda: not destination.open, "the connection to end")
        assert destination.commands("") == ["EHLO mx.moxy.test", "QUIT"]
        assert here.profile.heard((Settings(lease="session"), destination.address)) == here.clock.now


@pytest.mark.parametrize(
    ("identity", "header"),
    [
        ("proxy-v1", b"PROXY UNKNOWN\r\n"),
        ("proxy-v2", b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"),
        ("xclient", b""),
        ("helo", b""),
        ("xforward", b""),
        ("none", b""),
    ],
)
@scenario
async def test_a_probe_is_in_nobodys_name(identity: Identity, header: bytes) -> None:
    async with running_destination() as destination:
        destination.proxied = bool(header)
        destination.answers[Phase.EHLO] = "250-destination.test\r\n250-XCLIENT ADDR\r\n250-XFORWARD ADDR\r\n250 DSN"
        async with probing(route(destination.port), settings=Settings(identity=identity)) as here:
            await here.round()
            assert "DSN" in here.profile.offered
            assert destination.talks[0].header == header
            assert destination.commands("EHLO") == ["EHLO mx.moxy.test"]
            assert not destination.commands("XCLIENT")


@pytest.mark.parametrize("greeting", [Act.CLOSE, Act.RESET, "554 5.7.1 go away", "421 4.3.2 not now"])
@scenario
async def test_who_cannot_be_reached_does_not_count_and_is_tried_again_after_longer_and_longer(
    greeting: Answer,
) -> None:
    async with running_destination() as destination, probing(route(destination.port)) as here:
        destination.answers[Phase.GREETING] = greeting
        with structlog.testing.capture_logs() as logged:
            await here.round()
            tries, pause = 1, FIRST_PAUSE_SECONDS
            while pause < LONGEST_PAUSE_SECONDS:
                await here.after(pause - 1)
                assert len(destination.talks) == tries
                await here.after(1)
                tries += 1
                assert len(destination.talks) == tries
                pause *= 2
            await here.after(LONGEST_PAUSE_SECONDS)
            assert len(destination.talks) == tries + 1
        assert here.profile.offered == {"8BITMIME"}
        assert [host for host, _ in here.prober.unreached] == [destination.address]
        above_debug = [entry["event"] for entry in logged if entry["log_level"] != "debug"]
        assert above_debug == ["destination_not_probed"]
        destination.answers[Phase.GREETING] = "220 destination.test"
        await here.after(LONGEST_PAUSE_SECONDS)
        assert not here.prober.unreached
        assert here.profile.lacking("DSN") == [destination.address]


@scenario
async def test_who_does_not_let_us_in_is_told_the_secret_by_mail_or_a_probe_but_not_by_both() -> None:
    async with running_tls_destination() as destination:
        destination.mechanisms, destination.auth = "PLAIN", ["535 5.7.8 bad credentials"]
        who = settings(REQUIRED, login=Login("moxy", "hunter2", ("PLAIN",)))
        async with probing(route(destination.port), settings=who) as here:
            async with connected(here.relay.port) as client:
                assert await client.begin(["a@d0.test"]) == [str(replies.NOT_LET_IN)]
            await here.round()
            assert here.prober.unreached == [(destination.address, f"was not reached: {replies.NOT_LET_IN}")]
            assert len(destination.commands("AUTH")) == 1
            (pool,) = here.relay.pools
            pool._locked_out_until = 0.0
            with structlog.testing.capture_logs() as logged:
                await here.after(FIRST_PAUSE_SECONDS)
            assert len(destination.commands("AUTH")) == 2
            warnings = [entry for entry in logged if entry["log_level"] == "warning"]
            assert [entry["event"] for entry in warnings] == ["not_let_in"]  # mail, shut out now, would not tell


@scenario
async def test_who_is_unreachable_for_a_while_keeps_what_is_known_of_it() -> None:
    async with running_destination() as destination, probing(route(destination.port)) as here:
        destination.answers[Phase.EHLO] = WITH_DSN
        await here.round()
        port = destination.port
        await destination.stop()
        await here.after(REFRESHED_SECONDS)
        assert here.prober.unreached
        assert "DSN" in here.profile.offered
        await destination.start(port)


@scenario
async def test_a_host_that_mail_connects_to_is_not_probed_and_one_without_mail_once_an_hour() -> None:
    async with running_destination() as destination, probing(route(destination.port)) as here:
        async with connected(here.relay.port) as client:
            await client.deliver(["a@d0.test"])
        await here.round()
        await here.after(REFRESHED_SECONDS - 1)
        assert len(destination.talks) == 1
        destination.answers[Phase.EHLO] = WITH_DSN
        await here.after(1)
        await here.after(1)
        assert len(destination.talks) == 2


@scenario
async def test_a_changed_table_is_noticed_after_some_seconds() -> None:
    async with running_destination() as one, running_destination() as two:
        one.answers[Phase.EHLO], two.answers[Phase.EHLO] = WITH_DSN, WITHOUT
        async with probing(route(one.port), route(two.port)) as here:
            await here.round()
            assert here.relay.service.extensions == {"8BITMIME"}
            here.routes = here.routes[:1]
            await here.after(LOOKED_SECONDS - 1)
            assert here.relay.service.extensions == {"8BITMIME"}
            await here.after(1)
            assert here.relay.service.extensions == {"8BITMIME", "DSN"}
            here.routes = [route(one.port), route(two.port)]
            here.relay.directory.close()
            await here.after(LOOKED_SECONDS)
            assert here.relay.service.extensions == {"8BITMIME"}


@scenario
async def test_a_route_that_goes_while_it_is_probed_leaves_nothing() -> None:
    async with running_destination() as destination, probing(route(destination.port)) as here:
        destination.answers[Phase.EHLO] = Act.SILENCE
        here.prober.tick()
        await destination.reached("EHLO")
        here.routes = []
        here.clock.pass_time(LOOKED_SECONDS)
        here.prober.tick()
        destination.release(WITH_DSN)
        await until(lambda: not here.prober._running, "the probe to end")
        assert here.profile.offered == {"8BITMIME"}


# -- mail comes first


@scenario
async def test_a_probe_gives_way_to_mail_that_needs_its_connection() -> None:
    settings = Settings(connections=1)
    async with (
        running_destination() as destination,
        probing(route(destination.port), settings=settings) as here,
    ):
        destination.answers[Phase.EHLO] = lambda _: Act.SILENCE if len(destination.talks) == 1 else WITH_DSN
        here.prober.tick()
        await destination.reached("EHLO")
        async with connected(here.relay.port) as client:
            assert (await client.deliver(["a@d0.test"])).startswith("250")
        assert "DSN" in here.profile.offered
        assert not here.prober.unreached
        await until(lambda: len(destination.open) == 1, "the probe's connection to end")


@scenario
async def test_there_is_no_probe_while_mail_has_all_connections() -> None:
    settings = Settings(connections=1)
    async with (
        running_destination() as destination,
        probing(route(destination.port), settings=settings) as here,
        connected(here.relay.port) as client,
    ):
        await client.begin(["a@d0.test"])
        here.clock.pass_time(REFRESHED_SECONDS)
        await here.round()
        assert len(destination.talks) == 1
        await client.ask("RSET")


@scenario
async def test_a_pool_is_not_forgotten_while_it_is_probed() -> None:
    async with running_destination() as destination, probing(route(destination.port)) as here:
        destination.answers[Phase.EHLO] = Act.SILENCE
        here.prober.tick()
        await destination.reached("EHLO")
        here.relay.directory.forget_unused()
        (pool,) = here.relay.pools
        destination.release(WITHOUT)
        await until(lambda: pool._idle, "the connection to be idle")


# -- the end


@pytest.mark.parametrize("phase", [Phase.GREETING, Phase.EHLO])
@scenario
async def test_probes_end_at_once_when_moxy_stops(phase: Phase) -> None:
    async with running_destination() as destination, probing(route(destination.port)) as here:
        destination.answers[phase] = Act.SILENCE
        here.prober.tick()
        await until(lambda: destination.silences, "the probe")
        here.prober.stop()
        await until(lambda: not destination.open, "the connection to end")
        await here.after(REFRESHED_SECONDS)
        assert len(destination.talks) == 1


@scenario
async def test_the_first_round_ends_in_time_and_goes_on_after() -> None:
    async with running_destination() as destination, probing(route(destination.port)) as here:
        destination.answers[Phase.EHLO] = Act.SILENCE
        await here.prober.first_round(0.01)
        assert here.relay.service.extensions == {"8BITMIME"}
        await destination.reached("EHLO")
        destination.release(WITH_DSN)
        await until(lambda: "DSN" in here.profile.offered, "what it offers")


# -- bounds


@pytest.mark.parametrize(
    ("workers", "at_once", "most"), [(1, AT_ONCE, MOST), (4, 2, MOST), (16, 1, TOGETHER // 16), (256, 1, LEAST)]
)
@scenario
async def test_few_are_probed_at_once_and_not_more_than_the_bound(workers: int, at_once: int, most: int) -> None:
    async with running_destination() as destination:
        busiest = 0

        def greeting(_: str) -> str:
            nonlocal busiest
            busiest = max(busiest, sum(not talk.lines for talk in destination.open))
            return "220 destination.test"

        destination.answers[Phase.GREETING] = greeting
        hosts = tuple(Host(f"127.1.{number // 250}.{number % 250 + 1}", destination.port) for number in range(300))
        here: Probing
        async with probing(Route(hosts, Mode.ALL), workers=workers, names=Loopback()) as here:
            here.prober.tick()
            assert len(here.prober._running) == at_once
            await here.round()
            assert len(destination.talks) == most
            assert busiest <= at_once
            here.relay.directory.close()


class Loopback:
    """Whatever the name, it is this machine."""

    async def addresses(self, name: str, patience: float) -> list[str]:
        del name, patience
        await asyncio.sleep(0)
        return [LOOPBACK]


@scenario
async def test_a_host_of_several_routes_is_probed_once() -> None:
    async with running_destination() as destination:
        other = free_port()
        routes = [route(destination.port), route(other, destination.port, mode=Mode.FAILOVER)]
        async with probing(*routes) as here:
            await here.round()
            assert len(destination.talks) == 1
            assert [host for host, _ in here.prober.unreached] == [f"{LOOPBACK}:{other}"]


@scenario
async def test_copies_are_not_probed() -> None:
    async with (
        running_destination() as required,
        running_destination() as archive,
        probing(route(required.port, copies=(archive.port,))) as here,
    ):
        await here.round()
        assert len(required.talks) == 1
        assert not archive.talks
