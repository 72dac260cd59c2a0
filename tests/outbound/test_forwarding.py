"""XFORWARD: with each transaction, in one write with MAIL, on connections that are shared as ever."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from moxy.outbound.settings import Settings
from support.destination import Phase, Told, running_destination
from support.outbound import recipients, running_outbound
from support.relay import route, running_relay
from support.scenario import scenario
from support.smtpclient import connected

OFFER = "250-destination.test\r\n250-PIPELINING\r\n250 XFORWARD NAME ADDR PROTO HELO SOURCE"
SETTINGS = Settings(identity="xforward")


@scenario
async def test_each_transaction_has_its_own_client_on_one_connection() -> None:
    async with running_destination() as destination, running_relay(route(destination.port), settings=SETTINGS) as relay:
        destination.answers[Phase.EHLO] = OFFER
        for name in ("one", "two"):
            async with connected(relay.port) as client:
                await client.ask(f"EHLO {name}.test")
                assert (await client.deliver(["a@one.test"])).startswith("250")
        (talk,) = destination.talks
        assert [line for line in talk.lines if line.startswith(("XF", "MAIL"))] == [
            "XFORWARD NAME=[UNAVAILABLE] ADDR=127.0.0.1 PROTO=ESMTP HELO=one.test SOURCE=REMOTE",
            "MAIL FROM:<sender@client.test>",
            "XFORWARD NAME=[UNAVAILABLE] ADDR=127.0.0.1 PROTO=ESMTP HELO=two.test SOURCE=REMOTE",
            "MAIL FROM:<sender@client.test>",
        ]


@scenario
async def test_it_leaves_in_one_write_with_mail() -> None:
    async with running_destination() as destination, running_outbound(SETTINGS) as outbound:
        destination.answers[Phase.EHLO] = OFFER
        there = outbound.to(destination.port)
        await outbound.deliver(there, "a@one.test")
        (pool,) = outbound.pools
        written: list[bytes] = []
        (upstream,) = pool._open
        flush = type(upstream).flush

        def told(self: object) -> None:
            written.append(b"".join(upstream._sender.output))
            flush(upstream)

        type(upstream).flush = told  # type: ignore[method-assign,assignment]
        try:
            delivery = outbound.open(there)
            await delivery.rcpt(recipients("a@one.test")[0])
            delivery.abort()
        finally:
            type(upstream).flush = flush  # type: ignore[method-assign]
        first = next(octets for octets in written if octets)
        assert first.startswith(b"XFORWARD ")
        assert b"\r\nMAIL FROM:<sender@client.test>\r\nRCPT TO:<a@one.test>\r\n" in first


@scenario
async def test_where_commands_must_wait_for_each_other_they_do() -> None:
    async with running_destination() as destination, running_outbound(SETTINGS) as outbound:
        destination.answers[Phase.EHLO] = OFFER.replace("250-PIPELINING\r\n", "")
        answers, _ = await outbound.deliver(outbound.to(destination.port), "a@one.test")
        assert answers == ["250 2.0.0 taken"]


@pytest.mark.parametrize("offered", [True, False])
@scenario
async def test_mail_goes_on_without_and_the_operator_is_told_once(offered: bool) -> None:
    async with running_destination() as destination, running_outbound(SETTINGS) as outbound:
        if offered:
            destination.answers[Phase.EHLO] = OFFER
        destination.answers[Told.XFORWARD] = "550 5.7.0 insufficient authorization"
        with capture_logs() as told:
            for _ in range(3):
                answers, _ = await outbound.deliver(outbound.to(destination.port), "a@one.test")
                assert answers == ["250 2.0.0 taken"]
        assert [event["event"] for event in told] == ["identity_not_taken"]
        assert len(destination.commands("XFORWARD")) == (3 if offered else 0)


@scenario
async def test_it_is_told_anew_behind_a_reset() -> None:
    """Postfix forgets it with RSET."""
    async with running_destination() as destination, running_outbound(SETTINGS) as outbound:
        destination.answers[Phase.EHLO] = OFFER
        delivery = outbound.open(outbound.to(destination.port))
        ann, bob = recipients("ann@one.test", "bob@one.test")
        for recipient in (ann, bob):
            assert (await delivery.rcpt(recipient)).positive
        delivery.withdraw(bob)
        assert (await delivery.data()).code == 354
        delivery.write(b"Received: x\r\n\tby y\r\n")
        await delivery.finish(5)
        verbs = [line.partition(" ")[0] for line in destination.talks[0].lines]
        assert verbs == ["EHLO", "XFORWARD", "MAIL", "RCPT", "RCPT", "RSET", "XFORWARD", "MAIL", "RCPT", "DATA"]


@scenario
async def test_a_reset_that_is_refused_ends_the_connection() -> None:
    async with running_destination() as destination, running_outbound(SETTINGS) as outbound:
        destination.answers[Phase.EHLO] = OFFER
        destination.answers[Phase.RSET] = "500 5.5.1 never"
        delivery = outbound.open(outbound.to(destination.port))
        ann, bob = recipients("ann@one.test", "bob@one.test")
        for recipient in (ann, bob):
            assert (await delivery.rcpt(recipient)).positive
        delivery.withdraw(bob)
        assert not (await delivery.data()).positive
        delivery.abort()
        assert not destination.commands("DATA")
