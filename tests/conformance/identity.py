"""T25 to T28: who the client is, as destinations are told, and as others claim."""

from __future__ import annotations

from typing import Any

from conformance.order import ONE
from conformance.trap import trap
from moxy.inbound.conversation import Conversation
from moxy.outbound.settings import Settings
from moxy.smtp import command
from support.destination import Phase, Told, running_destination
from support.relay import route, running_relay
from support.smtpclient import connected

OFFER = "250-destination.test\r\n250-PIPELINING\r\n250 XCLIENT NAME ADDR PORT PROTO HELO"


def _as_given(_: Any) -> Any:
    return lambda settings: None


@trap(25, ONE, "connections with an identity are shared", "outbound.settings:Settings.__post_init__", _as_given)
async def a_connection_with_an_identity_is_one_clients_only() -> None:
    """Two clients, one after the other, to a destination that is told of them by XCLIENT: each has a connection of its
    own, and what is said on it is said in its name."""
    own = Settings(identity="xclient")
    async with running_destination() as destination, running_relay(route(destination.port), settings=own) as relay:
        destination.answers[Phase.EHLO] = OFFER
        for name in ("one.client.test", "two.client.test"):
            async with connected(relay.port, hello=False) as client:
                await client.ask(f"EHLO {name}")
                assert (await client.deliver(["b@one.test"])).startswith("250")
            await relay.rest()
        told = [[line for line in talk.lines if line.startswith("XCLIENT")] for talk in destination.talks]
        assert ["HELO=one.client.test" in told[0][0], "HELO=two.client.test" in told[-1][0]] == [True, True]
        assert [sum(line.startswith("MAIL") for line in talk.lines) for talk in destination.talks] == [1, 1]


def _in_any_order(right: Any) -> Any:
    def xclient(words: Any, session: Any) -> Any:
        return tuple(b" ".join([line.split()[0], *line.split()[:0:-1]]) for line in right(words, session))

    return xclient


@trap(26, ONE, "ADDR comes first", "outbound.introduction:xclient", _in_any_order)
async def xclient_tells_the_address_last_and_is_followed_by_a_new_ehlo() -> None:
    """XCLIENT names HELO and PROTO before ADDR, since the destination may withdraw its trust with the address; its 220
    is followed by a new EHLO, and only then by MAIL. A destination that refuses it gets no mail: 451."""
    own = Settings(identity="xclient")
    async with running_destination() as destination, running_relay(route(destination.port), settings=own) as relay:
        destination.answers[Phase.EHLO] = OFFER
        async with connected(relay.port) as client:
            assert (await client.deliver(["b@one.test"])).startswith("250")
        lines = destination.talks[0].lines
        assert [line.split()[0] for line in lines[:4]] == ["EHLO", "XCLIENT", "EHLO", "MAIL"]
        attributes = [word.partition("=")[0] for word in lines[1].split()[1:]]
        assert {"HELO", "PROTO"} < set(attributes)
        assert attributes[-1] == "ADDR"
        destination.answers[Told.XCLIENT] = "550 5.7.0 not you"
        async with connected(relay.port) as client:
            assert (await client.begin(["b@one.test"]))[0].startswith("451")
        assert len(destination.commands("MAIL")) == 1


def _anybody(_: Any) -> Any:
    return lambda patterns, client: True


@trap(27, "a client that is not listed", "every client is believed", "inbound.connection:any_matches", _anybody)
async def a_clients_own_claims_change_nothing_and_go_nowhere() -> None:
    """PROXY, XCLIENT and XFORWARD from a client that is not listed: unknown commands; its address is the one that it
    connected from, and the destination hears nothing of them."""
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), xclient_from=["192.0.2.1"], proxy_from=["192.0.2.1"]) as relay,
        connected(relay.port) as client,
    ):
        for line in (
            "PROXY TCP4 192.0.2.9 192.0.2.1 1 25",
            "XCLIENT ADDR=192.0.2.9 NAME=trusted.test",
            "XFORWARD ADDR=192.0.2.9",
        ):
            assert (await client.ask(line)).startswith("500 5.5.1")
        assert "XCLIENT" not in await client.ask("EHLO client.test")
        assert (await client.deliver(["b@one.test"])).startswith("250")
        assert relay.records[0].client == "127.0.0.1"
        assert b"192.0.2.9" not in destination.messages[0].content
        assert not [line for line in destination.talks[0].lines if line.startswith(("PROXY", "XCLIENT", "XFORWARD"))]


def _any_route(right: Any) -> Any:
    def rcpt(conversation: Any, event: Any) -> Any:
        service = conversation._service
        service.relay = lambda client: next(iter(service.routes.routes.values()))
        return Conversation.rcpt(conversation, event)

    return {**right, command.Rcpt: rcpt}


@trap(28, ONE, "who has no route takes any", "inbound.connection:VERBS", _any_route)
async def only_routed_domains_go_out() -> None:
    """A recipient without a route is 550 5.7.1 for everybody but the clients that are listed, so nobody can use the
    trust that destinations have in Moxy's address."""
    async with (
        running_destination() as destination,
        running_relay({"one.test": route(destination.port)}) as relay,
        connected(relay.port) as client,
    ):
        told = await client.begin(["victim@elsewhere.test", "victim%elsewhere.test@moxy.test", "b@one.test"])
        assert [reply[:9] for reply in told] == ["550 5.7.1"] * 2 + ["250 2.1.5"]
        assert destination.commands("RCPT") == ["RCPT TO:<b@one.test>"]
