"""Upstream: replies to those who asked, and what a destination says that it should not."""

from __future__ import annotations

import asyncio

import pytest

from moxy.accounting.record import Outcome
from moxy.outbound.upstream import STALLED
from moxy.smtp import replies
from support.destination import Act, Phase, running_destination
from support.outbound import recipients, running_outbound
from support.relay import route, running_relay
from support.scenario import scenario, until
from support.smtpclient import connected


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL])
@pytest.mark.parametrize("answer", ["what?", "250-no end\r\n251 of it", "999 beyond", "\x00\xff\x00", "x" * 5000])
@scenario
async def test_what_is_no_reply_ends_the_connection_and_is_a_reason_to_try_again(phase: Phase, answer: str) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[phase] = answer
        (reply,) = await client.begin(["a@one.test"])
        if phase in (Phase.DATA, Phase.FINAL):
            assert reply.startswith("250")
            reply = await client.data(b"text\r\n")
        assert reply.startswith("451 4.5.0")
        await until(lambda: not destination.open, "Moxy to close")
        assert (await client.ask("NOOP")).startswith("250")


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL])
@pytest.mark.parametrize("surplus", ["250 2.0.0 once more", "550 5.0.0 or not"])
@scenario
async def test_a_reply_too_many_is_never_taken_for_the_answer_to_something_else(phase: Phase, surplus: str) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        good = destination.answers[phase]
        destination.answers[phase] = f"{good}\r\n{surplus}"
        (reply,) = await client.begin(["a@one.test"])
        if reply.startswith("250"):
            reply = await client.data(b"text\r\n")
        assert reply.startswith("250") == (phase is Phase.FINAL)
        await until(lambda: not destination.open, "Moxy to close")
        assert bool(destination.messages) == reply.startswith("250")


@pytest.mark.parametrize(
    ("phase", "answer"),
    [
        (Phase.MAIL, "354 already?"),
        (Phase.RCPT, "354 already?"),
        (Phase.RCPT, "221 goodbye"),
        (Phase.DATA, "250 2.0.0 fine"),
        (Phase.FINAL, "354 more?"),
    ],
)
@scenario
async def test_an_answer_that_is_impossible_there_ends_the_connection(phase: Phase, answer: str) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[phase] = answer
        (reply,) = await client.begin(["a@one.test"])
        if reply.startswith("250"):
            reply = await client.data(b"text\r\n")
        assert reply.startswith("451 4.3.0")
        await until(lambda: not destination.open, "Moxy to close")
        assert not destination.messages


@pytest.mark.parametrize("answer", ["250 2.0.0 taken already", "354 go on"])
@scenario
async def test_a_good_answer_in_the_middle_of_content_is_not_believed(answer: str) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.early = 10, answer
        await client.begin(["a@one.test"])
        await client.ask("DATA")
        client.write(b"x" * 100 + b"\r\n")
        await until(lambda: not destination.open, "Moxy to close")
        client.write(b".\r\n")
        assert (await client.reply()).startswith("451 4.5.0")
        assert destination.ends_of_data == 0


@pytest.mark.parametrize(("phase", "seconds"), [(Phase.RCPT, 60), (Phase.DATA, 60), (Phase.FINAL, 480)])
@scenario
async def test_silence_is_borne_for_so_long_and_no_longer(phase: Phase, seconds: int) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[phase] = Act.SILENCE
        commands = ["MAIL FROM:<s@client.test>", "RCPT TO:<a@one.test>", "DATA", "text\r\n."]
        client.send(*commands[: 1 + [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL].index(phase)])
        await until(lambda: destination.silences, "the destination's silence")
        relay.pass_time(seconds - 1)
        assert destination.open
        relay.pass_time(seconds + 1)
        await until(lambda: not destination.open, "Moxy to give up")
        while (reply := await client.reply()).startswith(("250", "354")):
            pass
        assert reply.startswith("451 4.4.2")


@scenario
async def test_a_verdict_of_421_is_a_refusal_and_no_riddle() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.FINAL] = "421 4.3.2 shutting down"
        assert (await client.deliver(["a@one.test"])) == "451 4.4.2 shutting down"
        assert [record.outcome for record in relay.records] == [Outcome.REFUSED]


@pytest.mark.parametrize("seconds", [5.0, 120.0])
@scenario
async def test_who_uses_a_connection_says_how_long_it_may_be_full(seconds: float) -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        delivery = outbound.open(outbound.to(destination.port))
        if seconds != STALLED:
            delivery.stalled = seconds
        await outbound.begin(delivery, recipients("a@one.test"))
        destination.talks[0].transport.pause_reading()
        while not delivery.flow.blocked:
            delivery.write(b"x" * 65_536)
            delivery.flush()
            await asyncio.sleep(0)
        outbound.pass_time(seconds - 1)
        assert delivery.failure is None
        outbound.pass_time(seconds + 1)
        assert delivery.failure == replies.DESTINATION_SILENT
        assert not delivery.flow.blocked
        delivery.abort()


@pytest.mark.parametrize("seconds", [3, 300])
@scenario
async def test_the_dot_has_as_much_time_as_who_commits_says(seconds: int) -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.FINAL] = Act.SILENCE
        delivery = outbound.open(outbound.to(destination.port))
        await outbound.begin(delivery, recipients("a@one.test", "b@one.test"))
        finishing = asyncio.create_task(delivery.finish(seconds))
        await until(lambda: destination.silences, "the silence")
        outbound.pass_time(seconds - 1)
        assert destination.open
        outbound.pass_time(seconds + 1)
        assert await finishing == [replies.DESTINATION_SILENT] * 2
        assert delivery.unanswered == 2
