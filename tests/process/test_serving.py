"""A service on its sockets, from the first client to the last."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from structlog.testing import capture_logs

from moxy.accounting.record import Outcome
from moxy.mail.client import ClientPattern
from moxy.net import listening
from moxy.net.listening import Listener
from moxy.net.overhearing import overheard
from moxy.process import serving
from support.destination import Act, Phase, running_destination
from support.relay import route, running_relay
from support.scenario import scenario, until
from support.smtpclient import Client


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@scenario
async def test_clients_are_served_until_it_stops() -> None:
    async with running_relay({}) as relay:
        bound = listener()
        port = bound.getsockname()[1]
        servers = await serving.accept(relay.service, [Listener(bound)])
        client = await Client.connect(port)
        assert (await client.reply()).startswith("220 ")
        await serving.stop(relay.service, servers, 1)
        assert (await client.reply()).startswith("421 4.3.2")


@scenario
async def test_who_is_cut_off_is_on_record_before_it_has_stopped() -> None:
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        bound = listener()
        servers = await serving.accept(relay.service, [Listener(bound)])
        client = await Client.connect(bound.getsockname()[1])
        assert (await client.reply()).startswith("220 ")
        await client.ask("EHLO client.test")
        await client.begin(["a@one.test"])
        assert (await client.ask("DATA")).startswith("354")
        await serving.stop(relay.service, servers, 0)
        assert [record.outcome for record in relay.records] == [Outcome.ABORTED]
        assert not relay.service.connections
        assert await client.reply() == ""
        assert not destination.messages
        await asyncio.sleep(0)


@scenario
async def test_a_verdict_is_waited_for_even_if_its_client_has_left() -> None:
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        destination.answers[Phase.FINAL] = Act.SILENCE
        client = await Client.connect(relay.port)
        await client.reply()
        await client.ask("HELO client.test")
        await client.begin(["a@one.test"])
        await client.ask("DATA")
        client.write(b"text\r\n.\r\n")
        await until(lambda: destination.silences, "the dot at the destination")
        client.reset()
        await until(lambda: not relay.service.connections, "Moxy to notice")
        stopping = asyncio.ensure_future(serving.stop(relay.service, [], 60))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not stopping.done()
        destination.release("250 2.0.0 taken")
        await stopping
        assert [record.outcome for record in relay.records] == [Outcome.DELIVERED]


@scenario
async def test_who_retires_lets_sessions_go_on_and_takes_no_new_ones() -> None:
    async with running_relay({}) as relay:
        bound = listener()
        port = bound.getsockname()[1]
        servers = await serving.accept(relay.service, [Listener(bound)])
        client = await Client.connect(port)
        assert (await client.reply()).startswith("220 ")
        retiring = asyncio.ensure_future(serving.retire(relay.service, servers, asyncio.Event(), 60))
        assert (await client.ask("EHLO client.test")).startswith("250")
        assert not retiring.done()
        assert (await client.ask("QUIT")).startswith("221")
        await retiring


@scenario
async def test_who_retires_stops_when_told_to() -> None:
    async with running_relay({}) as relay:
        bound = listener()
        servers = await serving.accept(relay.service, [Listener(bound)])
        client = await Client.connect(bound.getsockname()[1])
        assert (await client.reply()).startswith("220 ")
        stop = asyncio.Event()
        retiring = asyncio.ensure_future(serving.retire(relay.service, servers, stop, 60))
        stop.set()
        await retiring
        assert relay.service.connections
        await serving.stop(relay.service, servers, 0)


@scenario
async def test_a_dialogue_is_overheard_if_somebody_listens() -> None:
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        relay.service.overhear = overheard("client", "S")
        bound = listener()
        servers = await serving.accept(relay.service, [Listener(bound)])
        with capture_logs() as told:
            client = await Client.connect(bound.getsockname()[1])
            assert (await client.reply()).startswith("220 ")
            await client.ask("EHLO client.test")
        assert {"C": "EHLO client.test"}.items() <= told[2].items()
        await serving.stop(relay.service, servers, 0)


@scenario
async def test_each_listener_speaks_its_own_protocol(tmp_path: Path) -> None:
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        smtp = listener()
        lmtp, _ = listening.bind_unix(f"{tmp_path}/lmtp")
        servers = await serving.accept(relay.service, [Listener(smtp), Listener(lmtp, lmtp=True)])
        client = await Client.connect(smtp.getsockname()[1])
        assert (await client.reply()) == "220 mx.moxy.test ESMTP Moxy"
        assert (await client.ask("LHLO client.test")).startswith("500")
        _, near = await asyncio.get_running_loop().create_unix_connection(Client, f"{tmp_path}/lmtp")
        assert (await near.reply()) == "220 mx.moxy.test LMTP Moxy"
        assert (await near.ask("EHLO client.test")).startswith("500")
        assert (await near.ask("LHLO client.test")).startswith("250-")
        assert (await near.deliver(["a@one.test"])).startswith("250")
        (message,) = destination.messages
        assert message.content.startswith(b"Received: from client.test\r\n\tby mx.moxy.test with LMTP id ")
        assert [(record.client, record.client_port) for record in relay.records] == [("", 0)]
        await client.leave()
        await near.leave()
        await serving.stop(relay.service, servers, 1)
        assert (tmp_path / "lmtp").is_socket()  # who serves has not made it


@scenario
async def test_a_client_that_has_bound_its_own_unix_socket_has_no_address_either(tmp_path: Path) -> None:
    async with running_relay({}) as relay:
        relay.service.relay = {"/": route(9), "unix": route(9)}.get
        bound, _ = listening.bind_unix(f"{tmp_path}/smtp")
        servers = await serving.accept(relay.service, [Listener(bound)])
        own = socket.socket(socket.AF_UNIX)
        own.bind(f"{tmp_path}/client")
        own.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(own, f"{tmp_path}/smtp")
        _, client = await loop.create_unix_connection(Client, sock=own)
        assert (await client.reply()).startswith("220 ")
        await client.ask("EHLO client.test")
        assert (await client.begin(["a@far.test"]))[0].startswith("550 5.7.1")
        await client.leave()
        await serving.stop(relay.service, servers, 1)


@scenario
async def test_a_listener_behind_a_proxy_is_overheard_behind_the_header() -> None:
    async with running_relay({}) as relay:
        relay.service.overhear = overheard("client", "S")
        bound = listener()
        proxies = (ClientPattern.parse("127.0.0.1"),)
        servers = await serving.accept(relay.service, [Listener(bound, proxy_from=proxies, xclient_from=proxies)])
        with capture_logs() as told:
            client = await Client.connect(bound.getsockname()[1])
            client.write(b"PROXY TCP4 192.0.2.1 192.0.2.2 1025 25\r\nNOOP\r\n")
            assert (await client.reply()).startswith("220 ")
            assert (await client.reply()).startswith("250 ")
        await serving.stop(relay.service, servers, 1)
        assert [event["C"] for event in told if "C" in event] == ["NOOP"]
