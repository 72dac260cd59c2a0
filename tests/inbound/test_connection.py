"""ClientConnection: octets, pace and deadlines of one client. Time passes by hand."""

from __future__ import annotations

import asyncio

import pytest

from moxy.inbound.connection import EVENTS_AT_ONCE, UNREAD_LIMIT, ClientConnection
from moxy.inbound.service import Bounds
from moxy.outbound.upstream import WRITE_AHEAD
from support.destination import Act, Destination, Phase, running_destination
from support.relay import Relay, route, running_relay
from support.scenario import scenario, scenario_on_asyncio, until
from support.smtpclient import Client, connected


def only(relay: Relay) -> ClientConnection:
    """The one connection of a client that there is."""
    (connection,) = relay.service.connections
    return connection


async def assert_closed(client: Client, last_words: str) -> None:
    assert (await client.reply()).startswith(last_words)
    assert await client.reply() == ""


# -- deadlines of commands


@scenario
async def test_who_says_no_hello_in_30_seconds_is_sent_away() -> None:
    async with running_relay({}) as relay, connected(relay.port, hello=False) as client:
        relay.pass_time(29)
        assert (await client.ask("NOOP")).startswith("250")
        relay.pass_time(31)
        await assert_closed(client, "421 4.4.2")


@scenario
async def test_the_next_command_may_take_5_minutes() -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        relay.pass_time(299)
        assert (await client.ask("NOOP")).startswith("250")
        relay.pass_time(301)
        await assert_closed(client, "421 4.4.2")


@scenario
async def test_a_single_octet_does_not_reset_the_clock() -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        connection = only(relay)
        before = connection.deadline
        client.write(b"N")
        await until(lambda: connection._receiver.unread == 1, "the octet")
        assert connection.deadline == before
        client.write(b"OOP\r\n")
        assert (await client.reply()).startswith("250")
        assert connection.deadline > before


@scenario
async def test_a_client_is_not_blamed_while_it_waits_for_us() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), reply=10_000) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.RCPT] = Act.SILENCE
        await client.ask("MAIL FROM:<s@client.test>")
        client.send("RCPT TO:<a@one.test>")
        await until(lambda: destination.silences, "the destination's silence")
        relay.pass_time(3_000)
        destination.release("250 2.1.5 at last")
        assert await client.reply() == "250 2.1.5 at last"


# -- pace of content


async def begin_content(client: Client, destination: Destination, octets: int) -> None:
    """A transaction up to so many octets of content."""
    await client.begin(["a@one.test"])
    assert (await client.ask("DATA")).startswith("354")
    client.write((b"x" * 98 + b"\r\n") * (octets // 100))
    await until(lambda: destination.talks[0].octets >= octets, "the content")


@pytest.mark.parametrize(
    ("octets", "seconds", "last_words"),
    [
        (1_000, 61, "421 4.4.2 mx.moxy.test The message comes too slowly"),
        (0, 181, "421 4.4.2"),
        (200_000, 1801, "421 4.4.2"),
    ],
    ids=["a trickle", "standing still", "too long in all"],
)
@scenario
async def test_content_that_takes_too_long_ends_the_session_and_is_not_delivered(
    octets: int, seconds: int, last_words: str
) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await begin_content(client, destination, octets)
        relay.pass_time(seconds)
        await assert_closed(client, last_words)
        await until(lambda: not destination.open, "the destination's connection to end")
        assert destination.ends_of_data == 0


@scenario
async def test_content_that_keeps_the_pace_is_left_in_peace() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await begin_content(client, destination, 40_000)
        relay.pass_time(61)
        client.write(b".\r\n")
        assert (await client.reply()).startswith("250")


# -- pressure


def paused(destination: Destination) -> bool:
    """Stop reading on the destination's only connection, once content has begun."""
    (talk,) = destination.talks
    if talk.octets:
        talk.transport.pause_reading()
    return bool(talk.octets)


async def a_large_message_through_a_slow_destination() -> None:
    size = 50_000_000
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.keeps_content = False
        await client.begin(["a@one.test"])
        await client.ask("DATA")
        client.write((b"x" * 98 + b"\r\n") * (size // 100) + b".\r\n")
        await until(lambda: paused(destination), "content")
        connection = only(relay)
        await until(lambda: not connection._reading, "Moxy to stop reading")
        ((upstream,),) = [pool._open for pool in relay.pools]
        assert upstream._transport is not None
        waiting = upstream._transport.get_write_buffer_size()
        before = connection._octets
        assert WRITE_AHEAD <= waiting <= WRITE_AHEAD + 524_288
        for _ in range(20):
            await asyncio.sleep(0)
        assert connection._octets == before < size
        relay.pass_time(119)  # not the client's fault
        destination.talks[0].transport.resume_reading()
        assert (await client.reply()).startswith("250")
        assert destination.talks[0].octets > size
        assert len(destination.messages) == 1


test_the_slowest_destination_sets_the_pace = scenario(a_large_message_through_a_slow_destination)
test_the_slowest_destination_sets_the_pace_on_asyncio = scenario_on_asyncio(a_large_message_through_a_slow_destination)


@scenario
async def test_a_destination_that_takes_nothing_for_two_minutes_is_given_up() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.begin(["a@one.test"])
        await client.ask("DATA")
        client.write((b"x" * 98 + b"\r\n") * 200_000 + b".\r\n")
        await until(lambda: paused(destination), "content")
        connection = only(relay)
        await until(lambda: connection._flow.blocked, "Moxy to stop reading")
        relay.pass_time(121)
        assert (await client.reply()).startswith("451 4.4.2 The destination did not answer")
        assert not destination.messages


async def a_destination_that_dies_while_full() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.begin(["a@one.test"])
        await client.ask("DATA")
        client.write((b"x" * 98 + b"\r\n") * 200_000 + b".\r\n")
        await until(lambda: paused(destination), "content")
        connection = only(relay)
        await until(lambda: connection._flow.blocked, "Moxy to stop reading")
        destination.talks[0].act(Act.RESET)
        assert (await client.reply()).startswith("451 4.4.2")
        assert connection._flow._blocked == 0
        assert (await client.ask("NOOP")).startswith("250")


test_a_destination_that_dies_while_full_lets_the_client_go_on = scenario(a_destination_that_dies_while_full)
test_a_destination_that_dies_while_full_on_asyncio = scenario_on_asyncio(a_destination_that_dies_while_full)


@pytest.mark.parametrize("line", ["NOOP", "HELP", "EHLO x"])
@scenario
async def test_a_client_that_never_reads_gets_no_more_than_a_bounded_buffer(line: str) -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        client.transport.pause_reading()
        client.send(*[line] * 400_000)
        connection = only(relay)
        most = 0

        def full() -> bool:
            nonlocal most
            most = max(most, connection._transport.get_write_buffer_size())
            return not connection._reading

        await until(full, "Moxy to stop reading")
        assert most < 1 << 20
        relay.pass_time(301)
        relay.pass_time(301 + 6)
        await until(lambda: not relay.service.connections, "Moxy to give up")


@scenario
async def test_a_client_that_sends_far_ahead_is_not_read_further_while_it_waits() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.RCPT] = Act.SILENCE
        client.send("MAIL FROM:<s@client.test>", "RCPT TO:<a@one.test>", *["NOOP"] * 1_000_000)
        connection = only(relay)
        await until(lambda: not connection._reading and destination.silences, "Moxy to stop reading")
        assert UNREAD_LIMIT < connection._receiver.unread < UNREAD_LIMIT + 524_288
        client.reset()
        destination.release("250 2.1.5 at last")


# -- ends


@scenario
async def test_one_client_too_many_is_told_to_come_again() -> None:
    async with running_relay({}, bounds=Bounds(sessions=1)) as relay:
        async with connected(relay.port):
            second = await Client.connect(relay.port)
            await assert_closed(second, "421 4.3.2")
        await until(lambda: not relay.service.connections, "the first to leave")
        async with connected(relay.port):
            pass


@scenario
async def test_a_client_that_closes_its_half_still_gets_every_answer() -> None:
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        client = await Client.connect(relay.port)
        client.send("EHLO x", "MAIL FROM:<s@client.test>", "RCPT TO:<a@one.test>", "RCPT TO:<b@one.test>", "NOOP")
        client.send("RSET", "QUIT")
        client.transport.write_eof()
        answers = [(await client.reply())[:3] for _ in range(8)]
        assert answers == ["220", "250", "250", "250", "250", "250", "250", "221"]
        assert await client.reply() == ""


@scenario
async def test_what_a_client_sends_behind_quit_does_not_cost_it_the_goodbye() -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        client.send("QUIT", *["NOOP"] * 10_000)
        await assert_closed(client, "221")


@scenario
async def test_an_idle_connection_owns_no_task() -> None:
    async with running_relay({}) as relay, connected(relay.port):
        assert asyncio.all_tasks() == {asyncio.current_task()}


@scenario
async def test_one_client_that_never_stops_asking_does_not_keep_the_others_waiting() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as flood,
    ):
        flood.send(*["NOOP"] * 200_000)
        async with connected(relay.port) as client:
            assert (await client.deliver(["a@one.test"])).startswith("250")
            assert flood.replies.qsize() < 200_000  # it was not the last to be served
        assert len(destination.messages) == 1
        for _ in range(200_000):
            assert (await flood.reply()).startswith("250")


@scenario
async def test_a_client_has_so_many_answers_in_one_turn_and_no_more() -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        connection = only(relay)
        connection.data_received(b"NOOP\r\n" * 1000)
        assert connection._receiver.unread == 6 * (1000 - EVENTS_AT_ONCE)
        assert not connection._reading
        for _ in range(1000):
            assert (await client.reply()).startswith("250")
        await until(lambda: connection._reading, "Moxy to read on")


@pytest.mark.parametrize("rest", [b"X", b"MAIL", b"\r"])
@scenario
async def test_a_client_that_closes_its_half_in_the_middle_of_a_line_is_let_go(rest: bytes) -> None:
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        client = await Client.connect(relay.port)
        destination.answers[Phase.RCPT] = Act.SILENCE
        client.send("HELO x", "MAIL FROM:<s@client.test>", "RCPT TO:<a@one.test>")
        client.write(rest)
        await until(lambda: destination.commands("RCPT"), "the question")
        client.transport.write_eof()
        await until(lambda: only(relay)._half_closed, "Moxy to notice")
        relay.pass_time(61)
        await until(lambda: not relay.service.connections, "Moxy to let the client go")
