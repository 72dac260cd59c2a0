"""Pool: few connections, reused, proved alive, and never a surprise to a client (T23, T24)."""

from __future__ import annotations

import asyncio

import pytest

from moxy.outbound.pool import FRESH
from moxy.outbound.settings import Settings
from support.destination import Act, Answer, Phase, running_destination
from support.relay import Relay, route, running_relay
from support.scenario import scenario, until
from support.smtpclient import connected


def make_stale(relay: Relay) -> None:
    """Have idle connections look unused for longer than they may go unproved."""
    for pool in relay.pools:
        for upstream in pool._idle:
            upstream.quiet_since -= FRESH


@scenario
async def test_one_connection_serves_client_after_client() -> None:
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        for _ in range(3):
            async with connected(relay.port) as client:
                assert (await client.deliver(["a@one.test"])).startswith("250")
        assert len(destination.talks) == 1
        assert len(destination.messages) == 3


@pytest.mark.parametrize("ending", [Act.CLOSE, Act.RESET, "421 4.3.2 idle for too long"])
@scenario
async def test_a_connection_that_ended_while_idle_is_replaced_unnoticed(ending: Answer) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.deliver(["a@one.test"])
        destination.talks[0].act(ending)
        await until(lambda: not relay.pools[0]._open, "Moxy to notice")
        assert (await client.deliver(["a@one.test"])).startswith("250")
        assert len(destination.talks) == 2
        assert len(destination.messages) == 2


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT])
@pytest.mark.parametrize("ending", [Act.CLOSE, Act.RESET, "421 4.3.2 too many messages"])
@scenario
async def test_a_connection_that_ends_when_it_is_used_again_is_replaced_unnoticed(phase: Phase, ending: Answer) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.deliver(["a@one.test"])
        good = destination.answers[phase]
        assert isinstance(good, str)
        destination.answers[phase] = lambda _: ending if len(destination.talks) == 1 else good
        assert (await client.deliver(["a@one.test"])).startswith("250")
        assert len(destination.talks) == 2
        assert len(destination.messages) == 2


@scenario
async def test_a_connection_unused_for_a_while_must_answer_first() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.deliver(["a@one.test"])
        make_stale(relay)
        await client.deliver(["a@one.test"])
        assert destination.commands("RSET") == ["RSET"]
        assert len(destination.talks) == 1


@pytest.mark.parametrize("answer", [Act.CLOSE, Act.SILENCE, "421 4.3.2 bye", "500 5.5.1 what?"])
@scenario
async def test_one_that_does_not_is_replaced(answer: Answer) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.deliver(["a@one.test"])
        make_stale(relay)
        destination.answers[Phase.RSET] = answer
        await client.ask("MAIL FROM:<s@client.test>")
        client.send("RCPT TO:<a@one.test>")
        await destination.reached("RSET")
        relay.pass_time(relay.ground.prove + 1)
        assert (await client.reply()).startswith("250")
        assert (await client.data(b"text\r\n")).startswith("250")
        assert len(destination.talks) == 2


@scenario
async def test_an_idle_connection_is_closed_after_a_while() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.deliver(["a@one.test"])
        relay.pass_time(relay.ground.idle - 1)
        assert destination.open
        relay.pass_time(relay.ground.idle + 1)
        await until(lambda: not destination.open, "the connection to end")
        assert destination.commands("QUIT") == ["QUIT"]


@scenario
async def test_a_connection_serves_so_many_transactions_and_no_more() -> None:
    settings = Settings(transactions=2)
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=settings) as relay,
        connected(relay.port) as client,
    ):
        for _ in range(5):
            assert (await client.deliver(["a@one.test"])).startswith("250")
        assert [len([line for line in talk.lines if line == "DATA"]) for talk in destination.talks] == [2, 2, 1]


@scenario
async def test_who_finds_no_free_connection_waits_for_one() -> None:
    settings = Settings(connections=1)
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=settings) as relay,
        connected(relay.port) as first,
        connected(relay.port) as second,
    ):
        await first.begin(["first@one.test"])
        await second.ask("MAIL FROM:<s@client.test>")
        second.send("RCPT TO:<second@one.test>")
        await until(lambda: relay.pools[0]._waiting, "the second to wait")
        assert second.replies.empty()
        assert (await first.data(b"text\r\n")).startswith("250")
        assert (await second.reply()).startswith("250")
        assert (await second.data(b"text\r\n")).startswith("250")
        assert destination.most_at_once == 1
        assert [message.recipients[0] for message in destination.messages] == ["first@one.test", "second@one.test"]


@pytest.mark.parametrize("ending", ["RSET", "QUIT", "reset"])
@scenario
async def test_who_waits_is_served_when_the_other_gives_up(ending: str) -> None:
    settings = Settings(connections=1)
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=settings) as relay,
        connected(relay.port) as first,
        connected(relay.port) as second,
    ):
        await first.begin(["first@one.test"])
        await second.ask("MAIL FROM:<s@client.test>")
        second.send("RCPT TO:<second@one.test>")
        await until(lambda: relay.pools[0]._waiting, "the second to wait")
        if ending == "reset":
            first.reset()
        else:
            await first.ask(ending)
        assert (await second.reply()).startswith("250")
        assert (await second.data(b"text\r\n")).startswith("250")
        assert [message.recipients for message in destination.messages] == [("second@one.test",)]


@scenario
async def test_who_waits_for_too_long_is_told_to_come_again() -> None:
    settings = Settings(connections=1)
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=settings, connect_total=0.05) as relay,
        connected(relay.port) as first,
        connected(relay.port) as second,
    ):
        await first.begin(["first@one.test"])
        assert (await second.begin(["second@one.test"]))[0].startswith("451 4.3.2")
        assert not relay.pools[0]._waiting


@scenario
async def test_who_left_the_waiting_room_takes_no_connection_away() -> None:
    settings = Settings(connections=1)
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=settings) as relay,
        connected(relay.port) as first,
    ):
        await first.begin(["first@one.test"])
        async with connected(relay.port) as second, connected(relay.port) as third:
            for client in (second, third):
                await client.ask("MAIL FROM:<s@client.test>")
                client.send("RCPT TO:<a@one.test>")
            await until(lambda: len(relay.pools[0]._waiting) == 2, "both to wait")
            second.reset()
            await until(lambda: len(relay.service.connections) == 2, "Moxy to notice")
            await first.ask("RSET")
            assert (await third.reply()).startswith("250")
            await third.ask("RSET")


@scenario
async def test_many_clients_share_few_connections() -> None:
    settings = Settings(connections=3)
    async with running_destination() as destination, running_relay(route(destination.port), settings=settings) as relay:

        async def send() -> None:
            async with connected(relay.port) as client:
                for _ in range(5):
                    assert (await client.deliver(["a@one.test"])).startswith("250")

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(send())
        assert destination.most_at_once == 3
        assert len(destination.messages) == 100
