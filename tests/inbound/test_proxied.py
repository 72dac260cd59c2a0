"""A connection that begins with a PROXY header, from listed peers only (T27)."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from moxy.inbound.service import Bounds
from support.destination import running_destination
from support.ports import LOOPBACK
from support.relay import route, running_relay
from support.scenario import scenario, until
from support.smtpclient import Client, connected

HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.25 1025 25\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n"
V2_HEADER = V2 + b"\x21\x11\x00\x0c" + bytes([192, 0, 2, 1, 192, 0, 2, 25, 4, 1, 0, 25])


@pytest.mark.parametrize("header", [HEADER, V2_HEADER], ids=["v1", "v2"])
@scenario
async def test_the_client_is_who_the_header_says_at_every_cut(header: bytes) -> None:
    async with running_relay({}, proxy_from=[LOOPBACK]) as relay:
        for cut in range(0, len(header), 3):
            client = await Client.connect(relay.port)
            if cut:
                client.write(header[:cut])
                await until(lambda: any(one._buffer for one in relay.service.connections), "the first part to come")
                assert client.replies.empty()
            client.write(header[cut:] + b"EHLO client.test\r\n")
            assert (await client.reply()).startswith("220 mx.moxy.test")
            assert (await client.reply()).startswith("250-mx.moxy.test")
            (connection,) = relay.service.connections
            session = connection._conversation.session
            assert (session.client, session.client_port) == ("192.0.2.1", 1025)
            assert session.server() == ("192.0.2.25", 25)
            await client.leave()
            await relay.rest()


@scenario
async def test_relaying_records_and_the_trace_are_by_the_clients_address() -> None:
    async with running_destination() as destination, running_relay({}, proxy_from=["127.*"]) as relay:
        relay.service.relay = lambda client: route(destination.port) if client == "192.0.2.1" else None
        for address, reply in (("192.0.2.1", "250"), ("192.0.2.2", "550")):
            client = await Client.connect(relay.port)
            client.write(HEADER.replace(b"192.0.2.1 ", f"{address} ".encode()))
            assert (await client.reply()).startswith("220")
            await client.ask("EHLO client.test")
            assert (await client.begin(["a@anywhere.test"]))[0].startswith(reply)
            if reply == "250":
                assert (await client.data(b"text\r\n")).startswith("250")
            await client.leave()
        assert destination.messages[0].content.startswith(b"Received: from client.test ([192.0.2.1])\r\n")
        assert [(record.client, record.client_port) for record in relay.records] == [("192.0.2.1", 1025)]


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"EHLO client.test\r\n", "no PROXY header"),
        (b"PROXY TCP4 192.0.2.1\r\n", "malformed"),
        (b"PROXY TCP4 " + b"1" * 200, "too long"),
        (V2 + b"\x21\x11\xff\xff", "too long"),
    ],
)
@scenario
async def test_a_wrong_header_closes_the_connection_without_a_word(octets: bytes, reason: str) -> None:
    async with running_relay({}, proxy_from=[LOOPBACK]) as relay:
        client = await Client.connect(relay.port)
        with capture_logs() as told:
            client.write(octets)
            assert await client.reply() == ""
        (event,) = told
        assert event["event"] == "proxy_header_refused"
        assert event["proxy"].startswith(f"{LOOPBACK}:")
        assert reason in event["reason"]
        await relay.rest()


@scenario
async def test_a_header_that_does_not_come_is_not_waited_for() -> None:
    async with running_relay({}, proxy_from=[LOOPBACK]) as relay:
        client = await Client.connect(relay.port)
        await until(lambda: relay.service.connections, "the connection")
        client.write(HEADER[:-1])
        relay.pass_time(29)
        assert relay.service.connections
        relay.pass_time(31)
        assert await client.reply() == ""


@scenario
async def test_a_proxy_that_only_looks_whether_we_are_alive_is_no_news() -> None:
    async with running_relay({}, proxy_from=[LOOPBACK]) as relay:
        with capture_logs() as told:
            client = await Client.connect(relay.port)
            await until(lambda: relay.service.connections, "the connection")
            client.transport.write_eof()
            assert await client.reply() == ""
        assert not told
        client = await Client.connect(relay.port)
        client.write(V2 + b"\x20\x00\x00\x00")
        assert (await client.reply()).startswith("220")
        (connection,) = relay.service.connections
        assert connection._conversation.session.client == LOOPBACK
        await client.leave()


@scenario
async def test_a_header_cut_off_by_the_end_is_told() -> None:
    async with running_relay({}, proxy_from=[LOOPBACK]) as relay:
        with capture_logs() as told:
            client = await Client.connect(relay.port)
            client.write(HEADER[:9])
            client.transport.write_eof()
            assert await client.reply() == ""
        assert [event["reason"] for event in told] == ["the header is cut off"]


@scenario
async def test_from_everybody_else_a_header_is_an_unknown_command() -> None:
    """T27: it changes nothing, and closes nothing."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), proxy_from=["192.0.2.7"]) as relay,
        connected(relay.port) as client,
    ):
        client.write(HEADER)
        assert (await client.reply()).startswith("500 5.5.1")
        assert (await client.deliver(["a@one.test"])).startswith("250")
        assert relay.records[0].client == LOOPBACK
        assert b"192.0.2.1" not in destination.messages[0].content


@scenario
async def test_who_waits_for_its_header_counts_as_a_session() -> None:
    async with running_relay({}, proxy_from=[LOOPBACK], bounds=Bounds(sessions=1)) as relay:
        first = await Client.connect(relay.port)
        await until(lambda: relay.service.connections, "the connection")
        second = await Client.connect(relay.port)
        assert (await second.reply()).startswith("421 4.3.2")
        await first.leave()
        await second.leave()


@scenario
async def test_when_moxy_stops_nobody_is_waited_for_who_has_said_nothing() -> None:
    async with running_relay({}, proxy_from=[LOOPBACK]) as relay:
        client = await Client.connect(relay.port)
        await until(lambda: relay.service.connections, "the connection")
        relay.service.drain()
        assert await client.reply() == ""
        late = await Client.connect(relay.port)
        assert (await late.reply()).startswith("421 4.3.2")
        await late.leave()


@scenario
async def test_a_proxy_may_speak_xclient_behind_its_header_only_for_a_listed_client() -> None:
    """Who is judged is the client of the header, not the proxy."""
    async with running_relay({}, proxy_from=[LOOPBACK], xclient_from=[LOOPBACK]) as relay:
        client = await Client.connect(relay.port)
        client.write(HEADER)
        assert (await client.reply()).startswith("220")
        assert "XCLIENT" not in await client.ask("EHLO client.test")
        assert (await client.ask("XCLIENT ADDR=192.0.2.3")).startswith("500 5.5.1")
        await client.leave()
