"""How a new connection to a destination begins."""

from __future__ import annotations

import pytest

from moxy.mail import Host, Route
from moxy.smtp import replies
from support.destination import Act, Answer, Phase, running_destination
from support.outbound import LMTP, recipients, running_outbound
from support.relay import route, running_relay
from support.scenario import scenario
from support.smtpclient import connected


@scenario
async def test_we_introduce_ourselves_by_our_host_name() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.deliver(["a@one.test"])
        assert destination.talks[0].lines[0] == "EHLO mx.moxy.test"


@scenario
async def test_a_server_that_knows_no_ehlo_gets_helo() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.EHLO] = lambda line: "500 what?" if line.startswith("EHLO") else "250 old.test"
        assert (await client.deliver(["a@one.test"])).startswith("250")
        assert destination.talks[0].lines[:2] == ["EHLO mx.moxy.test", "HELO mx.moxy.test"]


@pytest.mark.parametrize("greeting", ["554 no service here", "421 later", "250 strange", "garbage", Act.CLOSE])
@scenario
async def test_a_server_that_does_not_greet_us_is_a_reason_to_try_again(greeting: Answer) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.GREETING] = greeting
        assert (await client.begin(["a@one.test"]))[0].startswith("451 4.")


@scenario
async def test_a_destinations_own_names_do_not_reach_the_client() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.RCPT] = "550 5.7.1 destination.test at [127.0.0.1] says no"
        assert (await client.begin(["a@one.test"])) == ["550 5.7.1 mx.moxy.test at [mx.moxy.test] says no"]


@scenario
async def test_they_do_where_nothing_is_to_be_hidden() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), hide=False) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.RCPT] = "550 5.7.1 destination.test says no"
        assert (await client.begin(["a@one.test"])) == ["550 5.7.1 destination.test says no"]


@scenario
async def test_every_address_of_a_host_is_hidden() -> None:
    async with running_destination() as destination:
        destination.answers[Phase.RCPT] = "550 5.1.1 ask ::1 or 127.0.0.1 at localhost"
        there = Route((Host("localhost", destination.port),))
        async with running_relay({"one.test": there}) as relay, connected(relay.port) as client:
            reply = (await client.begin(["a@one.test"]))[0]
            assert "127.0.0.1" not in reply
            assert "localhost" not in reply


@scenario
async def test_a_server_that_knows_no_lhlo_gets_nothing_else() -> None:
    async with running_destination() as destination, running_outbound(LMTP) as outbound:
        delivery = outbound.open(outbound.to(destination.port))
        assert await delivery.rcpt(recipients("a@one.test")[0]) == replies.DESTINATION_UNREACHABLE
        assert destination.talks[0].lines[0] == "LHLO mx.moxy.test"
        assert not destination.commands("EHLO")
        assert not destination.commands("HELO")
