"""SmtpDirectory: which routes share destinations, pools and connections."""

from __future__ import annotations

import pytest

from moxy.mail import Host, Mode, Route
from moxy.outbound.pool import FORGIVEN
from moxy.outbound.settings import Settings
from support.destination import running_destination
from support.ports import free_port
from support.relay import Relay, route, running_relay
from support.scenario import scenario, until
from support.smtpclient import connected

A, B = Host("192.0.2.1"), Host("192.0.2.2")


@scenario
async def test_the_same_hosts_are_the_same_destination_whatever_the_route() -> None:
    async with running_relay({}) as relay:
        of = relay.directory.destinations
        assert [*of(Route((A,)))] == [*of(Route((A,)))]
        assert of(Route((A,)))[0] is of(Route((A,), Mode.FAILOVER))[0]
        assert of(Route((A, B), Mode.ALL))[1] is of(Route((B,)))[0]
        assert of(Route((A, B), Mode.FAILOVER))[0] is not of(Route((B, A), Mode.FAILOVER))[0]


@pytest.mark.parametrize(("mode", "count"), [(Mode.ALL, 2), (Mode.FAILOVER, 1), (Mode.BALANCE, 1)])
@scenario
async def test_each_host_gets_a_copy_only_in_mode_all(mode: Mode, count: int) -> None:
    async with running_relay({}) as relay:
        assert len(relay.directory.destinations(Route((A, B), mode))) == count


@scenario
async def test_a_host_that_comes_twice_gets_one_copy() -> None:
    async with running_relay({}) as relay:
        assert len(relay.directory.destinations(Route((A, A)))) == 1


@scenario
async def test_other_settings_are_another_destination() -> None:
    async with running_relay({}) as relay:
        relay.directory._named["special"] = Settings(connections=1)
        (plain,) = relay.directory.destinations(Route((A,)))
        (special,) = relay.directory.destinations(Route((A,), settings="special"))
        assert plain is not special
        assert special.settings.connections == 1


async def deliver(relay: Relay, recipient: str) -> None:
    async with connected(relay.port) as client:
        assert (await client.deliver([recipient])).startswith("250")


@scenario
async def test_what_has_no_connection_is_forgotten_and_made_anew() -> None:
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        await deliver(relay, "a@one.test")
        relay.directory.forget_unused()
        assert relay.pools, "an idle connection is a use"
        await deliver(relay, "a@one.test")
        assert len(destination.talks) == 1
        relay.pass_time(relay.ground.idle + 1)
        await until(lambda: not destination.open, "the connection to end")
        relay.directory.forget_unused()
        assert not relay.pools
        await deliver(relay, "a@one.test")


@scenario
async def test_a_pool_that_a_destination_still_knows_is_not_made_a_second_time() -> None:
    async with running_destination() as first, running_destination() as second:
        routes = {
            "both.test": route(first.port, second.port, mode=Mode.FAILOVER),
            "one.test": route(first.port),
        }
        async with running_relay(routes, settings=Settings(connections=1), connect_total=0.05) as relay:
            port = first.port
            await first.stop()
            await deliver(relay, "a@both.test")  # over the second host, whose connection stays idle
            await first.start(port)
            relay.directory.forget_unused()
            (destination,) = relay.directory.destinations(routes["both.test"])
            for pool in destination.pools:
                pool._failed = -FORGIVEN
            async with connected(relay.port) as one, connected(relay.port) as other:
                assert (await one.begin(["a@one.test"]))[0].startswith("250")
                await other.begin(["a@both.test"])
                assert first.most_at_once == 1, "more connections to a host than it may have"


@scenario
async def test_closing_says_quit_on_idle_connections() -> None:
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        await deliver(relay, "a@one.test")
        relay.directory.close()
        await until(lambda: not destination.open, "the connection to end")
        assert destination.commands("QUIT") == ["QUIT"]


@scenario
async def test_an_address_that_nobody_answers_at_is_held_for_a_moment_only() -> None:
    async with running_relay(route(free_port())) as relay, connected(relay.port) as client:
        await client.begin(["a@one.test"])
        await client.ask("RSET")
        relay.directory.forget_unused()
        (pool,) = relay.pools
        assert pool.failing(relay.ground.loop.time())
        pool._failed -= FORGIVEN
        relay.directory.forget_unused()
        assert not relay.pools


# -- copies

ARCHIVE = Host("192.0.2.9")


@scenario
async def test_each_best_effort_host_is_a_copy_of_its_own_in_any_mode() -> None:
    async with running_relay({}) as relay:
        for mode in Mode:
            there = Route((A, B), mode, best_effort=(ARCHIVE, Host("/run/archive", 0)))
            assert [copy.name for copy in relay.directory.copies(there)] == ["192.0.2.9:25", "unix:/run/archive"]
            assert [*relay.directory.copies(there)] == [*relay.directory.copies(there)]
            names = [place.name for place in relay.directory.destinations(there)]
            assert names == ["192.0.2.1:25", "192.0.2.2:25"] if mode is Mode.ALL else ["192.0.2.1:25,192.0.2.2:25"]
        assert not relay.directory.copies(Route((A, B)))


@scenario
async def test_a_copy_is_never_somebody_elses_destination_but_shares_its_connections() -> None:
    async with running_relay({}) as relay:
        (copy,) = relay.directory.copies(Route((A,), best_effort=(ARCHIVE,)))
        (required,) = relay.directory.destinations(Route((ARCHIVE,)))
        assert copy is not required
        assert [*copy.pools] == [*required.pools]
        assert relay.directory.copies(Route((B,), best_effort=(ARCHIVE,)))[0] is copy


@scenario
async def test_copies_that_are_not_used_are_forgotten_too() -> None:
    async with running_relay({}) as relay:
        relay.directory.copies(Route((A,), best_effort=(ARCHIVE,)))
        assert relay.pools
        relay.directory.forget_unused()
        assert not relay.pools
        assert not relay.directory._copies_by_route
