"""A destination that is not to hear who the client is, beside one that is."""

from __future__ import annotations

from moxy.mail import Host, Route
from moxy.outbound.settings import Settings
from support.destination import running_destination
from support.ports import LOOPBACK
from support.relay import running_relay
from support.scenario import scenario
from support.smtpclient import connected

CONTENT = b"From: a\r\n\r\n" + b"x" * 70_000 + b"\r\n..\r\n"


@scenario
async def test_the_trace_field_names_the_client_to_one_and_not_to_the_other() -> None:
    async with running_destination() as open_one, running_destination() as blind:
        routes = {
            "one.test": Route((Host(LOOPBACK, open_one.port),)),
            "two.test": Route((Host(LOOPBACK, blind.port),), settings="blind"),
        }
        named = {"blind": Settings(identity="none")}
        async with running_relay(routes, named=named) as relay, connected(relay.port) as client:
            for _ in range(2):
                assert (await client.deliver(["a@one.test", "b@two.test"], CONTENT)).startswith("250")
        full, bare = open_one.messages[0], blind.messages[0]
        assert full.content.startswith(b"Received: from client.test ([127.0.0.1])\r\n\tby mx.moxy.test with ESMTP id ")
        assert bare.content.startswith(b"Received: by mx.moxy.test with ESMTP id ")
        trace = bare.content[: -len(bare.below_trace)]
        assert b"client.test" not in trace
        assert b"127.0.0.1" not in trace
        assert full.below_trace == bare.below_trace == CONTENT.replace(b"\r\n..", b"\r\n.")
        assert len(blind.messages) == 2
        assert len(blind.talks) == 1


@scenario
async def test_an_empty_message_has_its_trace_too() -> None:
    async with running_destination() as blind:
        there = Route((Host(LOOPBACK, blind.port),))
        async with (
            running_relay({"one.test": there}, settings=Settings(identity="none")) as relay,
            connected(relay.port) as client,
        ):
            assert (await client.deliver(["a@one.test"], b"")).startswith("250")
        assert blind.messages[0].content.startswith(b"Received: by mx.moxy.test ")
        assert blind.messages[0].below_trace == b""
