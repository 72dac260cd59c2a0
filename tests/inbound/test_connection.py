"""ClientConnection: octets, pace and deadlines of one client. Time passes by hand."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from moxy.inbound.connection import EVENTS_AT_ONCE, UNREAD_LIMIT, ClientConnection
from moxy.inbound.service import Bounds
from moxy.ledger import State
from moxy.net.acknowledged import unacknowledged
from moxy.outbound.upstream import WRITE_AHEAD
from support.destination import CHUNKING, Act, Destination, Phase, running_destination
from support.place import (
    ACCEPTED,
    ALREADY,
    CONTENT,
    LATER,
    ONE,
    SENDER,
    TAKEN,
    TWO,
    Deaf,
    Place,
    lose_the_reply,
    place,
    until_the_dot,
)
from support.ports import LOOPBACK
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


@pytest.mark.parametrize(
    ("chunk", "seconds", "last_words"),
    [
        (b"BDAT 1000\r\n" + b"x" * 1000, 61, "421 4.4.2 mx.moxy.test The message comes too slowly"),
        (b"BDAT 1000\r\n" + b"x" * 999, 61, "421 4.4.2 mx.moxy.test The message comes too slowly"),
        (b"BDAT 9\r\n", 181, "421 4.4.2"),
        (b"BDAT 0\r\nNOOP\r\n", 181, "421 4.4.2"),
        (b"BDAT 200000\r\n" + b"x" * 200_000, 1801, "421 4.4.2"),
    ],
    ids=["a trickle", "in a chunk", "standing still", "between chunks", "too long in all"],
)
@scenario
async def test_chunks_have_to_keep_the_pace_of_content(chunk: bytes, seconds: int, last_words: str) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.EHLO] = CHUNKING
        await client.begin(["a@one.test"])
        assert (await client.ask("BDAT 0")).startswith("250")
        arrived = only(relay)._pace.octets + len(chunk)
        client.write(chunk)
        await until(lambda: only(relay)._pace.octets == arrived, "the chunk")
        relay.pass_time(seconds)
        while (words := await client.reply()).startswith("250"):
            pass
        assert words.startswith(last_words)
        await until(lambda: not destination.open, "the destination's connection to end")
        assert destination.ends_of_data == 0


@scenario
async def test_after_a_message_in_chunks_the_clock_of_commands_runs_again() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        for chunk in ("BDAT 0", "BDAT 0 LAST"):
            await client.begin(["a@one.test"])
            assert (await client.ask(chunk)).startswith("250")
            assert (await client.ask("RSET")).startswith("250")
            relay.pass_time(299)
            assert (await client.ask("NOOP")).startswith("250")
        await client.begin(["nobody@two.test"])
        assert (await client.ask("BDAT 0 LAST")).startswith("554")
        relay.pass_time(299)
        assert (await client.ask("NOOP")).startswith("250")
        relay.pass_time(301)
        await assert_closed(client, "421 4.4.2")


async def a_large_message_in_one_chunk_through_a_slow_destination() -> None:
    size = 20_000_000
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.EHLO] = CHUNKING
        destination.keeps_content = False
        await client.begin(["a@one.test"])
        client.write(b"BDAT %d LAST\r\n" % size + (b"x" * 98 + b"\r\n") * (size // 100))
        await until(lambda: paused(destination), "content")
        connection = only(relay)
        await until(lambda: not connection._reading, "Moxy to stop reading")
        ((upstream,),) = [pool._open for pool in relay.pools]
        assert upstream._transport is not None
        for _ in range(20):  # the destination's system may take some more meanwhile
            waiting = upstream._transport.get_write_buffer_size() + upstream._sender.gathered
            assert waiting <= 2 * WRITE_AHEAD + 524_288
            await asyncio.sleep(0)
        assert connection._pace.octets < size
        destination.open[0].transport.resume_reading()
        assert (await client.reply()).startswith("250 2.0.0 taken")
        assert destination.ends_of_data == 1


@scenario
async def test_who_waits_for_the_verdict_on_a_large_chunk_is_listened_to(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.one.answers[Phase.FINAL] = Act.SILENCE
        async with connected(here.relay.port) as client:
            await client.begin([ONE])
            size = 2 * UNREAD_LIMIT
            client.write(b"BDAT %d LAST\r\n" % size + (b"x" * 62 + b"\r\n") * (size // 64))
            await until(lambda: here.one.silences, "the dot")
            assert only(here.relay)._reading
            client.reset()
            await until(lambda: not here.relay.service.connections, "Moxy to notice")
        assert [entry.state for entry in await here.entries()] == [State.UNDER_WAY]
        here.one.release(TAKEN)


test_a_chunk_is_never_held = scenario(a_large_message_in_one_chunk_through_a_slow_destination)
test_a_chunk_is_never_held_on_asyncio = scenario_on_asyncio(a_large_message_in_one_chunk_through_a_slow_destination)


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
        for _ in range(20):  # the destination's system may take some more meanwhile
            assert upstream._transport.get_write_buffer_size() <= WRITE_AHEAD + 524_288
            await asyncio.sleep(0)
        assert connection._pace.octets < size
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


# -- has the client got our verdict?
#
# If that is not proven when it is gone, an entry is left, and what it sends once more is taken for a retry (D8).


async def open_entries(here: Place) -> list[State]:
    """The states in the ledger of what is not known to both ends, when all clients are gone."""
    await here.idle()
    return [entry.state for entry in await here.entries() if entry.state is not State.CONFIRMED]


def unproven(connection: ClientConnection) -> bool:
    return connection._conversation.unconfirmed is not None


@scenario
async def test_who_goes_on_talking_has_our_verdict(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        async with connected(here.relay.port) as client:
            await client.deliver([ONE])
            assert (await client.ask("NOOP")).startswith("250")
            client.reset()
        assert await open_entries(here) == []


@pytest.mark.parametrize(
    ("ahead", "soon", "left"), [(False, 60.0, []), (True, 60.0, [State.COMMITTED]), (False, -1.0, [State.COMMITTED])]
)
@scenario
async def test_who_has_always_waited_for_our_answers_has_the_one_before_its_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: bool, soon: float, left: list[State]
) -> None:
    monkeypatch.setattr("moxy.inbound.conclusion.SOON", soon)  # unless it had to wait for it
    monkeypatch.setattr("moxy.inbound.connection.unacknowledged", lambda _: 1)  # nobody else can tell
    async with place(tmp_path) as here:
        async with connected(here.relay.port) as client:
            for line in ["NOOP\r\nEHLO x"] if ahead else ["NOOP", "EHLO x"]:
                await client.ask(line)
            if ahead:
                await client.reply()
            for line in ("MAIL FROM:<s@client.test>", f"RCPT TO:<{ONE}>", "DATA"):
                await client.ask(line)
            client.write(CONTENT + b".\r\n")
            assert await client.reply() == TAKEN
            assert (await client.ask("RSET")).startswith("250")
            client.reset()
        assert await open_entries(here) == left


@scenario
async def test_who_closes_in_order_has_our_verdict(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        async with connected(here.relay.port) as client:
            await client.deliver([ONE])
            client.transport.close()
        assert await open_entries(here) == []


@scenario
async def test_who_says_quit_with_its_dot_and_closes_upon_the_verdict_has_it(tmp_path: Path) -> None:
    async with place(tmp_path) as here:  # as Postfix does
        async with connected(here.relay.port) as client:
            await client.begin([ONE])
            await client.ask("DATA")
            client.write(CONTENT + b".\r\nQUIT\r\n")
            assert await client.reply() == TAKEN
            connection = only(here.relay)
            client.transport.close()
            await until(lambda: connection._transport.is_closing(), "Moxy to notice")
        assert await open_entries(here) == []


async def without_ears(here: Place, *lines: bytes) -> socket.socket:
    """A client that has sent all this, and not read yet."""
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setblocking(False)
    await loop.sock_connect(client, (LOOPBACK, here.relay.port))
    await loop.sock_sendall(client, b"".join(line + b"\r\n" for line in lines))
    return client


MESSAGE = [b"EHLO x", b"MAIL FROM:<s@client.test>", b"RCPT TO:<a@one.test>", b"DATA", CONTENT + b"."]


@scenario
async def test_the_verdict_and_the_goodbye_leave_in_one_piece(tmp_path: Path) -> None:
    # Who closes when it has the verdict would answer anything that comes later by a reset.
    async with place(tmp_path) as here:
        here.one.answers[Phase.FINAL] = Act.SILENCE
        loop = asyncio.get_running_loop()
        client = await without_ears(here, *MESSAGE, b"QUIT")
        await until(lambda: here.one.silences, "the dot")
        found = b""
        while not found.endswith(b"354 Start mail input; end with <CRLF>.<CRLF>\r\n"):
            found += await loop.sock_recv(client, 65_536)
        here.one.release(TAKEN)
        assert await loop.sock_recv(client, 65_536) == b"250 2.0.0 taken\r\n221 2.0.0 mx.moxy.test Goodbye\r\n"
        assert await loop.sock_recv(client, 65_536) == b"", "and then the end, without a reset"
        client.close()
        assert await open_entries(here) == []


@pytest.mark.parametrize("quit", [[b"QUIT"], []])
@scenario
async def test_who_closes_its_half_before_our_verdict_has_it_once_that_is_acknowledged(
    tmp_path: Path, quit: list[bytes]
) -> None:
    async with place(tmp_path) as here:  # as Exim does
        here.one.answers[Phase.FINAL] = Act.SILENCE
        loop = asyncio.get_running_loop()
        client = await without_ears(here, *MESSAGE, *quit)
        client.shutdown(socket.SHUT_WR)
        await until(lambda: here.one.silences and only(here.relay)._half_closed, "the dot, and the end")
        here.one.release(TAKEN)
        found = b""
        while block := await loop.sock_recv(client, 65_536):
            found += block
        assert b"\r\n250 2.0.0 taken\r\n" in found
        client.close()
        assert await open_entries(here) == []


@scenario
async def test_an_end_that_crosses_our_verdict_decides_nothing(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        deaf = Deaf(here)
        await deaf.deliver("QUIT")
        deaf.close_half()
        await until(lambda: deaf.connection._half_closed, "the end")
        assert unproven(deaf.connection)
        assert (await deaf.read()).endswith(b"\r\n250 2.0.0 taken\r\n221 2.0.0 mx.moxy.test Goodbye\r\n")
        deaf.close()
        assert await open_entries(here) == []


@scenario
async def test_an_acknowledgement_may_take_its_time(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        deaf = Deaf(here)
        await deaf.deliver()
        deaf.close_half()
        loop = asyncio.get_running_loop()
        await until(lambda: deaf.connection._half_closed and deaf.connection.deadline <= loop.time(), "a first look")
        here.relay.pass_time(1)
        assert unproven(deaf.connection)
        assert (await deaf.read()).endswith(b"\r\n250 2.0.0 taken\r\n")
        await until(lambda: not unacknowledged(deaf.connection._transport), "the acknowledgement")
        here.relay.pass_time(2)
        assert not unproven(deaf.connection)
        deaf.close()
        assert await open_entries(here) == []


@scenario
async def test_who_acknowledges_nothing_for_five_seconds_may_come_again(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        deaf = Deaf(here)
        await deaf.deliver("QUIT")
        deaf.close_half()
        await until(lambda: deaf.connection._half_closed, "the end")
        here.relay.pass_time(6)
        assert await open_entries(here) == [State.COMMITTED]
        deaf.close()


@scenario
async def test_who_comes_again_while_its_receipt_is_in_doubt_is_recognised(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        deaf = Deaf(here)
        await deaf.deliver("QUIT")
        async with connected(here.relay.port) as client:
            assert await client.deliver([ONE], CONTENT) == ALREADY
        deaf.reset()
        await here.idle()
        assert here.holds() == (1, 0)


@scenario
async def test_a_command_that_was_sent_ahead_proves_nothing(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        deaf = Deaf(here)
        await deaf.deliver()
        await deaf.say("NOOP")
        await deaf.answered()
        deaf.reset()
        assert await open_entries(here) == [State.COMMITTED]


@scenario
async def test_a_reset_before_our_verdict_proves_nothing(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await lose_the_reply(here, here.one)
        assert await open_entries(here) == [State.COMMITTED]


@scenario
async def test_what_its_system_has_a_client_with_an_open_half_need_not_have_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moxy.inbound.connection.FIRST_LOOK", 0.0)
    async with place(tmp_path) as here:
        async with connected(here.relay.port) as client:
            await until_the_dot(here, client, here.one)
            client.write(b"QUIT\r\n")
            client.transport.pause_reading()
            here.one.release(TAKEN)
            await until(lambda: here.one.messages and only(here.relay)._closing, "Moxy to wait for its close")
            await until(lambda: not unacknowledged(only(here.relay)._transport), "its system to have all")
            await asyncio.sleep(0.001)  # the first look, if there is one
            here.relay.pass_time(1)
            client.reset()
        assert await open_entries(here) == [State.COMMITTED]


@pytest.mark.parametrize("quit", [b"", b"QUIT\r\n"])
@scenario
async def test_a_reset_upon_our_verdict_proves_nothing(tmp_path: Path, quit: bytes) -> None:
    async with place(tmp_path) as here:
        async with connected(here.relay.port) as client:
            await until_the_dot(here, client, here.one)
            client.write(quit)
            client.transport.pause_reading()
            here.one.release(TAKEN)
            await until(lambda: here.one.messages and not only(here.relay)._receiver.waiting, "the verdict")
            client.reset()
        assert await open_entries(here) == [State.COMMITTED]


@scenario
async def test_who_is_silent_until_its_time_is_over_has_our_verdict_if_its_system_has(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        async with connected(here.relay.port) as client:
            await client.deliver([ONE])
            await until(lambda: not unacknowledged(only(here.relay)._transport), "the acknowledgement")
            here.relay.pass_time(301)
            client.reset()
        assert await open_entries(here) == []


@scenario
async def test_who_is_silent_because_its_system_is_gone_may_come_again(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        deaf = Deaf(here)
        await deaf.deliver()
        here.relay.pass_time(301)
        assert unproven(deaf.connection)
        here.relay.pass_time(301 + 6)
        assert await open_entries(here) == [State.COMMITTED]
        deaf.close()


@pytest.mark.parametrize("way", ["drained", "cut off"])
@scenario
async def test_when_moxy_stops_who_has_acknowledged_our_verdict_has_it(tmp_path: Path, way: str) -> None:
    async with place(tmp_path) as here:
        async with connected(here.relay.port) as client:
            await client.deliver([ONE])
            await until(lambda: not unacknowledged(only(here.relay)._transport), "the acknowledgement")
            if way == "drained":
                connection = only(here.relay)
                here.relay.service.drain()
                assert connection._transport.is_closing(), "there is no doubt to wait for"
                assert (await client.reply()).startswith("421 4.3.2")
            else:
                only(here.relay).cut_off()
        assert await open_entries(here) == []


@pytest.mark.parametrize("way", ["drained", "cut off"])
@scenario
async def test_when_moxy_stops_who_has_not_may_come_again(tmp_path: Path, way: str) -> None:
    async with place(tmp_path) as here:
        deaf = Deaf(here)
        await deaf.deliver()
        if way == "drained":
            here.relay.service.drain()
        here.relay.service.break_off()
        deaf.connection.cut_off()
        assert await open_entries(here) == [State.COMMITTED]
        deaf.close()


@scenario
async def test_when_moxy_stops_while_a_destination_thinks_that_is_known_to_who_comes_after(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        async with connected(here.relay.port) as client:
            await until_the_dot(here, client, here.one)
            here.relay.service.drain()
            only(here.relay).cut_off()
            here.relay.service.break_off()
            await here.noted()
            assert [entry.state for entry in await here.entries()] == [State.UNDER_WAY]
            here.one.release("550 5.7.1 never")
        assert await open_entries(here) == []


@pytest.mark.parametrize("late", [False, True])
@scenario
async def test_who_sends_no_more_long_after_its_dot_has_lost_patience(tmp_path: Path, late: bool) -> None:
    async with place(tmp_path) as here:
        here.one.answers[Phase.FINAL] = Act.SILENCE
        client = await without_ears(here, *MESSAGE)
        await until(lambda: here.one.silences, "the dot")
        started = here.relay.service.clock()
        here.relay.service.clock = lambda: started + 5 * late
        client.shutdown(socket.SHUT_WR)
        await until(lambda: only(here.relay)._half_closed, "the end")
        written = here.relay.service.ledger._noted == {}
        assert written is late, "who does so at once will wait, as Exim does: that need not be written"
        (found,) = await here.relay.service.ledger.recall("s@client.test", ONE)
        assert found.state is State.UNDER_WAY
        here.one.release(TAKEN)
        client.close()
        await here.idle()


@scenario
async def test_of_two_messages_sent_ahead_both_are_remembered(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        async with connected(here.relay.port) as client:
            here.one.answers[Phase.FINAL] = lambda _: Act.SILENCE if here.one.messages else TAKEN
            client.send(*[line for word in "ab" for line in [line.decode() for line in MESSAGE[1:4]] + [word, "."]])
            await until(lambda: here.one.silences, "the second dot")
            client.reset()
            await until(lambda: not here.relay.service.connections, "Moxy to notice")
            here.one.release(TAKEN)
        assert await open_entries(here) == [State.COMMITTED] * 2


@scenario
async def test_a_refusal_leaves_nothing_to_be_remembered(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await lose_the_reply(here, here.one, answer="550 5.7.1 never")
        assert await open_entries(here) == []
        async with connected(here.relay.port) as client:
            assert await client.begin([ONE]) == [ACCEPTED]


@scenario
async def test_who_leaves_while_its_next_recipient_is_asked_had_its_verdict_on_the_message_before(
    tmp_path: Path,
) -> None:
    async with place(tmp_path) as here:
        async with connected(here.relay.port) as client:
            here.ask_first(here.one)
            here.one.answers[Phase.FINAL] = LATER
            await client.begin([ONE, TWO])
            await client.ask("DATA")
            here.two.answers[Phase.RCPT] = Act.SILENCE
            client.write(CONTENT + f".\r\nMAIL FROM:<other@client.test>\r\nRCPT TO:<{TWO}>\r\n".encode())
            assert await client.reply() == LATER
            await until(lambda: here.two.silences, "the next question")
            client.reset()
            await until(lambda: not here.relay.service.connections, "Moxy to notice")
            here.two.release(ACCEPTED)
        await here.idle()
        (found,) = await here.relay.service.ledger.recall(SENDER, TWO)
        assert found.state is State.UNDELIVERED
