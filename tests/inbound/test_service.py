"""Service: the settings and parts that the connections of a listener share."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from moxy.inbound.service import Bounds, Patience, Service, identifiers, no_relay
from moxy.mail import Session
from support.destination import running_destination
from support.relay import route, running_relay
from support.scenario import scenario
from support.smtpclient import Client, connected


def test_no_two_names_are_the_same() -> None:
    first, second = identifiers(), identifiers()
    names = [make() for make in (first, second) for _ in range(1000)]
    assert len(set(names[:1000])) == len(set(names[1000:])) == 1000


def test_a_name_is_one_plain_word() -> None:
    assert re.fullmatch(r"[0-9A-Za-z]{10,30}", identifiers()())


def test_nobody_may_relay_unless_told() -> None:
    assert no_relay("127.0.0.1") is None


def test_the_defaults_are_those_of_the_contract() -> None:
    patience, bounds = Patience(), Bounds()
    assert (patience.hello, patience.command, patience.block, patience.content) == (30, 300, 180, 1800)
    assert patience.minimum_rate == 500
    assert (bounds.message_size, bounds.recipients, bounds.hops, bounds.bad_commands) == (50 << 20, 1000, 50, 10)


@scenario
async def test_the_date_of_a_trace_follows_the_clock() -> None:
    async with running_relay({}) as relay:
        service: Service = relay.service
        service.clock = lambda: 1_000_000_000.9
        assert re.fullmatch(r"\w{3}, \d\d? Sep 2001 \d\d:\d\d:40 [+-]\d{4}", service.trace_date())
        service.clock = lambda: 1_000_000_001.0
        assert ":41 " in service.trace_date()


@scenario
async def test_draining_ends_idle_sessions_at_once_and_greets_no_more() -> None:
    async with running_relay({}) as relay, connected(relay.port) as idle:
        relay.service.drain()
        assert (await idle.reply()).startswith("421 4.3.2")
        assert await idle.reply() == ""
        late = await Client.connect(relay.port)
        assert (await late.reply()).startswith("421 4.3.2")
        assert await late.reply() == ""


@scenario
async def test_draining_waits_no_longer_for_a_client_than_ever() -> None:
    async with running_relay({}) as relay, connected(relay.port) as client:
        await client.ask("HELO x")
        await client.ask("MAIL FROM:<s@client.test>")
        relay.service.drain()
        assert (await client.ask("RCPT TO:<a@nowhere.test>")).startswith("550")
        relay.pass_time(301)
        assert (await client.reply()).startswith("421 4.4.2")


@scenario
async def test_draining_lets_a_transaction_finish_and_ends_the_session_then() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.begin(["a@one.test"])
        relay.service.drain()
        assert (await client.data(b"text\r\n")).startswith("250")
        assert (await client.reply()).startswith("421 4.3.2")
        assert await client.reply() == ""
        assert len(destination.messages) == 1


@scenario
async def test_a_table_that_is_down_is_told_of_once_in_a_second() -> None:
    async with running_relay({}) as relay:
        service: Service = relay.service
        now = 1_000_000_000.0
        service.clock = lambda: now
        assert [service.may_complain("lookup") for _ in range(3)] == [True, False, False]
        now += 1
        assert [service.may_complain("lookup") for _ in range(3)] == [True, False, False]


@pytest.mark.parametrize(
    ("banner", "greeting"),
    [
        ("ESMTP Moxy", "LMTP Moxy"),
        ("SMTP", "LMTP"),
        ("Welcome (ESMTP here)", "LMTP Welcome (here)"),
        ("Welcome", "LMTP Welcome"),
        ("", "LMTP"),
    ],
)
@scenario
async def test_the_greeting_of_lmtp_names_it(banner: str, greeting: str) -> None:
    async with running_relay({}) as relay:
        service = replace(relay.service, banner=banner)
        assert service.lmtp_greeting.wire == f"220 mx.moxy.test {greeting}\r\n".encode()


@pytest.mark.parametrize(
    ("domains", "first", "announced"), [(0, False, ""), (0, True, "=1"), (3, True, "=3"), (3, False, "=3")]
)
@scenario
async def test_one_domain_is_announced_where_one_destination_is_served_at_a_time(
    domains: int, first: bool, announced: str
) -> None:
    async with running_relay({}) as relay:
        service = replace(relay.service, bounds=Bounds(domains=domains), spread_first=first)
        for lmtp in (False, True):
            _, reply = service.offer(Session("id", "192.0.2.1", lmtp=lmtp))
            limits = reply.lines[-1]
            assert limits == "LIMITS RCPTMAX=1000" + (f" RCPTDOMAINMAX{announced}" if announced else "")


@scenario
async def test_what_is_offered_can_change_and_each_kind_of_session_is_told() -> None:
    async with running_relay({}) as relay:
        service: Service = relay.service
        plain, secured = Session("1", "192.0.2.1"), Session("2", "192.0.2.1", lmtp=True)
        secured.tls = True
        offered, reply = service.offer(plain)
        assert offered == {"PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING", "PRDR"}
        assert service.offer(plain)[1] is reply
        service.announce(frozenset({"DSN", "REQUIRETLS"}))
        offered, reply = service.offer(plain)
        assert offered == {"PIPELINING", "SIZE", "ENHANCEDSTATUSCODES", "CHUNKING", "PRDR", "DSN"}
        assert reply.lines[1:7] == ("PIPELINING", "SIZE 52428800", "ENHANCEDSTATUSCODES", "CHUNKING", "PRDR", "DSN")
        offered, reply = service.offer(secured)
        assert offered == {"PIPELINING", "SIZE", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN", "REQUIRETLS"}
        assert "REQUIRETLS" in reply.lines
