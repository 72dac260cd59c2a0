"""T35 to T39, T41, T53, T55: a session, its commands, its time and its end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from conformance.order import ONE
from conformance.trap import trap
from moxy.inbound.conversation import Conversation
from moxy.mail import Mode
from moxy.smtp import command
from support.destination import Act, Phase, running_destination
from support.ports import LOOPBACK
from support.relay import route, running_relay
from support.scenario import until
from support.smtpclient import connected


@trap(
    35, ONE, "RSET leaves the transaction open", "inbound.conversation:Conversation.end_transaction",
    lambda _: lambda *_: None,
)  # fmt: skip
async def rset_and_a_second_ehlo_end_the_transaction_at_the_destination() -> None:
    """RSET, and EHLO in a transaction, are told to the destination; NOOP is not; QUIT is answered at once, although the
    destination has not answered yet."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        for number, line in enumerate(("RSET", "EHLO client.test"), 1):
            assert (await client.begin(["b@one.test"]))[0].startswith("250")
            assert (await client.ask("NOOP")).startswith("250")
            assert not len(destination.commands("RSET")) >= number
            assert (await client.ask(line)).startswith("250")
            await destination.reached("RSET", number)
        assert not destination.commands("NOOP")
        assert (await client.begin(["b@one.test"]))[0].startswith("250")
        destination.answers[Phase.RSET] = Act.SILENCE
        assert (await client.ask("QUIT")).startswith("221")
        await until(lambda: destination.silences, "RSET at the destination")
        destination.release("250 fine")


def _noop_for_vrfy(right: Any) -> Any:
    return {**right, command.Vrfy: Conversation.noop}


@trap(36, ONE, "VRFY is a NOOP", "inbound.connection:VERBS", _noop_for_vrfy)
async def vrfy_expn_and_help_are_answered_here() -> None:
    """VRFY is 252, EXPN 502, HELP 214; the destination never hears of them."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        assert (await client.ask("VRFY b@one.test")).startswith("252 2.5.0")
        assert (await client.ask("EXPN list@one.test")).startswith("502 5.5.1")
        assert (await client.ask("HELP")).startswith("214 2.0.0")
        assert not destination.talks


@trap(37, ONE, "nobody's time runs out", "net.deadlines:Sweeper.sweep", lambda _: lambda *_: None)
async def each_phase_has_its_time() -> None:
    """A destination that does not answer RCPT costs its client 60 seconds, and not the client's own five minutes, after
    which a client that says nothing is sent away with 421."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.RCPT] = Act.SILENCE
        client.send("MAIL FROM:<a@client.test>", "RCPT TO:<b@one.test>")
        assert (await client.reply()).startswith("250")
        await until(lambda: destination.silences, "RCPT at the destination")
        relay.pass_time(50)
        assert client.replies.empty()
        relay.pass_time(70)
        assert (await client.reply()).startswith("451 4.4.2")
        relay.pass_time(290)
        assert (await client.ask("NOOP")).startswith("250")
        relay.pass_time(310)
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.reply() == ""


def _an_hour_later(right: Any) -> Any:
    async def lease(destination: Any, session: Any, deadline: float, *preferred: str) -> Any:
        return await right(destination, session, deadline + 3600, *preferred)

    return lease


@trap(
    38, "three hosts of one destination", "connecting takes its time", "outbound.destination:SmtpDestination.lease",
    _an_hour_later,
)  # fmt: skip
async def all_attempts_to_connect_share_one_budget() -> None:
    """Three hosts take connections and never greet: the client has its 451 when the time for all of them is over."""
    async with running_destination() as one, running_destination() as two, running_destination() as three:
        for destination in (one, two, three):
            destination.answers[Phase.GREETING] = Act.SILENCE
        hosts = route(one.port, two.port, three.port, mode=Mode.FAILOVER)
        async with running_relay(hosts, connect_total=0.3) as relay, connected(relay.port) as client:
            begun = asyncio.get_running_loop().time()
            assert (await client.begin(["b@one.test"]))[0].startswith("451 4.4")
            assert asyncio.get_running_loop().time() - begun < 10
            assert one.talks
            assert two.talks


@trap(39, ONE, "the pace is not judged", "inbound.pace:Pace.judge", lambda _: lambda *_, **__: None)
async def who_trickles_is_sent_away() -> None:
    """Content that comes an octet at a time does not reset the clock: after a minute below 500 octets a second it is
    421, and the destination has no message."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.begin(["b@one.test"])
        assert (await client.ask("DATA")).startswith("354")
        (connection,) = relay.service.connections
        client.write(b"x" * 100)
        await until(lambda: connection._pace.octets >= 100, "the octets")
        relay.pass_time(61)
        assert (await client.reply()).startswith("421 4.4.2")
        await until(lambda: destination.talks[0].over, "the destination's connection to end")
        assert not destination.ends_of_data


@trap(41, ONE, "replies are not cleaned", "smtp.reply:_clean", lambda _: lambda text, room: text)
async def replies_are_mended_where_they_would_hurt() -> None:
    """Control characters, endless lines, a class that contradicts the code, 251: the client sees none of them, but the
    destination's words."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        told = {
            "550 2.1.1 ring \x07 the bell": "550 5.1.1 ring ? the bell",
            "450-4.2.1 one\r\n450 4.2.1 two": "450-4.2.1 one\n450 4.2.1 two",
            "251 2.1.5 forwarded": "250 2.1.5 forwarded",
            "550 5.1.1 " + "x" * 2000: "550 5.1.1 " + "x" * 500,
        }
        for said, heard in told.items():
            destination.answers[Phase.RCPT] = said
            assert (await client.begin(["b@one.test"]))[0] == heard
            await client.ask("RSET")


def _at_once(_: Any) -> Any:
    def end(connection: Any) -> None:
        connection._closing = True
        connection._transport.abort()

    return end


@trap(53, ONE, "the session is aborted", "inbound.connection:ClientConnection._end", _at_once)
async def the_last_reply_is_not_lost_in_a_reset() -> None:
    """QUIT, and much behind it that nobody reads: a client that reads late still has its 221, and an orderly end."""
    loop = asyncio.get_running_loop()
    async with running_relay({}) as relay:
        with socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, (LOOPBACK, relay.port))
            heard = await loop.sock_recv(client, 1000)
            (connection,) = relay.service.connections
            await loop.sock_sendall(client, b"QUIT\r\n" + b"NOOP\r\n" * 30_000)
            await until(lambda: connection._closing, "the end of the session")
            with contextlib.suppress(OSError):  # a reset
                client.shutdown(socket.SHUT_WR)
                await relay.rest()
                while block := await loop.sock_recv(client, 1000):
                    heard += block
    assert b"\r\n221 2.0.0" in heard


def _first_come(right: Any) -> Any:
    kept: dict[int, Any] = {}
    return lambda directory, route: kept.setdefault(id(directory), right(directory, route))


@trap(
    55, "two scripted destinations", "who is known is never looked up again",
    "outbound.directory:SmtpDirectory.destinations", _first_come,
)  # fmt: skip
async def a_table_that_changes_counts_from_the_next_recipient_on() -> None:
    """A domain moves while a transaction is open: its message goes where its recipient was accepted, and the next one
    to the new place, without a restart."""
    async with running_destination() as before, running_destination() as after:
        async with running_relay(route(before.port)) as relay, connected(relay.port) as client:
            assert (await client.begin(["b@one.test"]))[0].startswith("250")
            relay.service.routes.routes["one.test"] = route(after.port)  # type: ignore[attr-defined]
            assert (await client.data(b"text\r\n")).startswith("250")
            assert (await client.deliver(["b@one.test"])).startswith("250")
        assert len(before.messages) == len(after.messages) == 1
