"""A service on its sockets, from the first client to the last."""

from __future__ import annotations

import asyncio
import socket

from moxy.accounting.record import Outcome
from moxy.process import serving
from support.destination import running_destination
from support.relay import route, running_relay
from support.scenario import scenario
from support.smtpclient import Client


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_place_is_written_as_people_do() -> None:
    with listener() as bound:
        assert serving.place(bound) == f"127.0.0.1:{bound.getsockname()[1]}"


@scenario
async def test_clients_are_served_until_it_stops() -> None:
    async with running_relay({}) as relay:
        bound = listener()
        port = bound.getsockname()[1]
        servers = await serving.accept(relay.service, [bound])
        client = await Client.connect(port)
        assert (await client.reply()).startswith("220 ")
        await serving.stop(relay.service, servers, 1)
        assert (await client.reply()).startswith("421 4.3.2")


@scenario
async def test_who_is_cut_off_is_on_record_before_it_has_stopped() -> None:
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        bound = listener()
        servers = await serving.accept(relay.service, [bound])
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
