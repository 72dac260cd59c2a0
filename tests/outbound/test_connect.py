"""How a connection to a destination comes about."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from moxy.mail import Host, Route, Session
from moxy.net import names
from moxy.net.deadlines import Sweeper
from moxy.net.overhearing import overheard
from moxy.outbound.connect import _Attempt, connect
from moxy.outbound.ground import Ground
from moxy.outbound.pool import Pool
from moxy.outbound.settings import Settings
from moxy.smtp import replies
from moxy.smtp.reply import Reply
from support.destination import Phase, running_destination
from support.outbound import LMTP, recipients, running_outbound, texts
from support.ports import free_port
from support.relay import route, running_relay
from support.scenario import scenario, until
from support.smtpclient import connected


@pytest.mark.parametrize("host", [Host("127.0.0.1", 0), Host("no-such-host.invalid", 25), Host("a" * 64 + ".test", 25)])
@scenario
async def test_a_host_that_cannot_be_reached_is_a_reason_to_try_again(host: Host) -> None:
    if not host.port:
        host = Host(host.name, free_port())
    async with running_relay({"one.test": Route((host,))}) as relay, connected(relay.port) as client:
        assert (await client.begin(["a@one.test"]))[0].startswith("451 4.4.1")


@scenario
async def test_a_name_is_looked_up() -> None:
    async with running_destination() as destination:
        there = Route((Host("localhost", destination.port),))
        async with running_relay({"one.test": there}) as relay, connected(relay.port) as client:
            assert (await client.deliver(["a@one.test"])).startswith("250")


@scenario
async def test_a_route_to_ourselves_is_a_loop() -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        relay.ground.listening = frozenset({("127.0.0.1", relay.port)})
        relay.service.routes.routes["one.test"] = route(relay.port)  # type: ignore[attr-defined]
        assert (await client.begin(["a@one.test"]))[0].startswith("554 5.4.6")


@scenario
async def test_a_loop_that_is_not_noticed_ends_all_the_same() -> None:
    settings = Settings(connections=5)
    async with running_relay({}, settings=settings, connect_total=0.2) as relay, connected(relay.port) as client:
        relay.service.routes.routes["one.test"] = route(relay.port)  # type: ignore[attr-defined]
        assert (await client.begin(["a@one.test"]))[0].startswith("451")
        await client.leave()
        (pool,) = relay.pools
        await until(lambda: pool._open == set(pool._idle), "every transaction to be given up")
        await relay.close_pools()


@scenario
async def test_another_server_on_our_port_at_another_address_is_no_loop() -> None:
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        relay.ground.listening = frozenset({("192.0.2.1", destination.port)})
        async with connected(relay.port) as client:
            assert (await client.deliver(["a@one.test"])).startswith("250")


@scenario
async def test_a_listener_on_every_address_is_a_loop_too() -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        relay.ground.listening = frozenset({("0.0.0.0", relay.port)})
        relay.service.routes.routes["one.test"] = route(relay.port)  # type: ignore[attr-defined]
        assert (await client.begin(["a@one.test"]))[0].startswith("554 5.4.6")


@scenario
async def test_many_dead_addresses_take_no_longer_than_the_time_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    asked: list[float] = []

    async def many(name: str) -> list[str]:
        return [f"127.0.0.{last}" for last in range(2, 10)]

    def timeout(seconds: float) -> asyncio.Timeout:
        asked.append(seconds)
        return asyncio.timeout_at(loop.time() + seconds)

    async def dead(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(names, "_look_up", many)
    monkeypatch.setattr(asyncio, "timeout", timeout)
    monkeypatch.setattr(_Attempt, "_open", dead)
    host = Host("many.test", 25)
    ground = Ground("mx.moxy.test", Sweeper(), loop, connect=0.1, connect_total=0.25)
    pool = Pool(host, ground, Settings())
    reply = await connect(host, ground, pool, Settings(), Session("1", ""), loop.time() + 0.25)
    assert isinstance(reply, Reply)
    assert reply.code == 451
    assert asked
    assert sum(asked) < 0.3


# -- LMTP, and Unix sockets


@scenario
async def test_lmtp_is_not_spoken_on_port_25() -> None:
    async with running_outbound(LMTP) as outbound:
        (there,) = outbound.directory.destinations(Route((Host("127.0.0.1", 25),)))
        delivery = outbound.open(there)
        assert await delivery.rcpt(recipients("a@one.test")[0]) == replies.DESTINATION_UNREACHABLE


@pytest.mark.parametrize("lmtp", [False, True])
@scenario
async def test_a_server_may_be_a_unix_socket(directory: Path, lmtp: bool) -> None:
    path = str(directory / "socket")
    async with running_destination(path, lmtp=lmtp) as destination, running_outbound(Settings("smtp")) as outbound:
        outbound.directory._defaults = LMTP if lmtp else Settings()
        for _ in range(2):
            answers, delivery = await outbound.deliver(outbound.to(path), "a@one.test")
            assert answers == ["250 2.0.0 taken"]
        assert delivery.host == f"unix:{path}"
        assert len(destination.talks) == 1


@scenario
async def test_the_path_of_a_socket_does_not_reach_the_client(directory: Path) -> None:
    path = str(directory / "socket")
    async with running_destination(path) as destination, running_outbound() as outbound:
        destination.answers[Phase.RCPT] = f"550 5.1.1 unix:{path} knows no such user, nor does /chroot{path}/x"
        delivery = outbound.open(outbound.to(path))
        reply = await delivery.rcpt(recipients("a@one.test")[0])
        delivery.abort()
        assert texts([reply]) == ["550 5.1.1 mx.moxy.test knows no such user, nor does /chrootmx.moxy.test/x"]


@scenario
async def test_a_socket_that_nobody_listens_on_is_a_reason_to_try_again(directory: Path) -> None:
    async with running_outbound() as outbound:
        (directory / "file").touch()
        for name in ("missing", "file", "file/below"):
            delivery = outbound.open(outbound.to(str(directory / name)))
            assert await delivery.rcpt(recipients("a@one.test")[0]) == replies.DESTINATION_UNREACHABLE


@scenario
async def test_a_socket_that_is_our_own_is_a_loop_by_whatever_link(directory: Path) -> None:
    path, link = str(directory / "socket"), str(directory / "link")
    (directory / "link").symlink_to(path)
    async with running_destination(path), running_outbound() as outbound:
        outbound.ground.listening = frozenset({(path, 0), ("127.0.0.1", 25)})
        for place in (path, link):
            reply = await outbound.open(outbound.to(place)).rcpt(recipients("a@one.test")[0])
            assert reply == replies.LOOP_TO_SELF


@pytest.mark.parametrize("place", ["port", "path"])
@scenario
async def test_whoever_listens_in_hears_connections_of_both_kinds(directory: Path, place: str) -> None:
    path = str(directory / "socket") if place == "path" else ""
    async with running_destination(path) as destination, running_outbound() as outbound:
        outbound.ground.overhear = overheard("destination", "C")
        with capture_logs() as told:
            await outbound.deliver(outbound.to(path or destination.port), "a@one.test")
        assert {event["destination"] for event in told} == {f"unix:{path}" if path else destination.address}
