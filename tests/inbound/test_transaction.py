"""Transaction: the trace, the local verdicts on a held dot, the record. (Who gets what is in test_promise.py.)"""

from __future__ import annotations

import asyncio
import re

import pytest

from moxy.accounting.record import Outcome
from moxy.inbound.service import Bounds
from moxy.mail import Route
from moxy.smtp.address import ForwardPath
from moxy.smtp.reply import Reply
from support.destination import Act, Phase, running_destination
from support.relay import Domains, route, running_relay
from support.scenario import scenario, until
from support.smtpclient import connected


@scenario
async def test_the_trace_names_the_client_and_a_lone_recipient() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.deliver(["a@one.test"])
        trace, _, rest = destination.messages[0].content.partition(b"\r\nSubject")
        assert re.fullmatch(
            rb"Received: from client\.test \(\[127\.0\.0\.1\]\)\r\n"
            rb"\tby mx\.moxy\.test with ESMTP id \w+\r\n\tfor <a@one\.test>;\r\n\t\w+, \d+ \w+ \d+ \d+:\d+:\d+ [+-]\d+",
            trace,
        )
        assert rest == b": test\r\n\r\ntext\r\n"


@scenario
async def test_the_trace_names_no_recipient_where_there_are_several() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.deliver(["a@one.test", "b@one.test"])
        assert b"for <" not in destination.messages[0].content


@scenario
async def test_an_empty_message_has_its_trace() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        assert (await client.deliver(["a@one.test"], b"")).startswith("250")
        assert destination.messages[0].below_trace == b""


@pytest.mark.parametrize(("fields", "reply"), [(50, "250"), (51, "554 5.4.6")])
@scenario
async def test_a_message_that_has_been_everywhere_is_in_a_loop(fields: int, reply: str) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        content = b"Received: from here to there\r\n" * fields + b"\r\ntext\r\n"
        assert (await client.deliver(["a@one.test"], content)).startswith(reply)
        assert destination.ends_of_data == (fields == 50)


@pytest.mark.parametrize(
    ("content", "reply"),
    [(b"bare\nline\r\n", "554 5.6.0"), (b"bare\rline\r\n", "554 5.6.0"), (b"x" * 1016 + b"\r\n", "552 5.3.4")],
)
@scenario
async def test_content_that_we_refuse_is_read_to_its_end_and_not_delivered(content: bytes, reply: str) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), bounds=Bounds(message_size=1000)) as relay,
        connected(relay.port) as client,
    ):
        assert (await client.deliver(["a@one.test"], content)).startswith(reply)
        assert destination.ends_of_data == 0
        assert (await client.deliver(["a@one.test"])).startswith("250")


@pytest.mark.parametrize("words", ["552 5.3.4 too much for me", "451 4.3.1 my disk is full"])
@scenario
async def test_an_early_refusal_is_told_after_the_dot(words: str) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.early = 1000, words
        await client.begin(["a@one.test"])
        await client.ask("DATA")
        client.write(b"x" * 998 + b"\r\n")
        await until(lambda: not destination.open, "Moxy to let the destination go")
        assert client.replies.empty(), "a reply before the dot (T21)"
        client.write(b"more\r\n.\r\n")
        assert await client.reply() == words
        assert destination.ends_of_data == 0
        assert [record.outcome for record in relay.records] == [Outcome.REFUSED]


@scenario
async def test_a_record_tells_what_was_delivered() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        await client.deliver(["a@one.test", "b@one.test"], b"..two\r\n")
        (record,) = relay.records
        assert record.outcome is Outcome.DELIVERED
        assert record.recipients == ["a@one.test", "b@one.test"]
        assert record.reverse_path == "sender@client.test"
        assert record.destination == destination.address
        assert (record.client, record.hello) == ("127.0.0.1", "client.test")
        assert record.size == len(b".two\r\n")
        assert str(record.reply) == "250 2.0.0 taken"


@pytest.mark.parametrize(("refusal", "told"), [("554 5.7.1 no", "451 4.3.0"), ("450 4.7.1 later", "450 4.7.1 later")])
@scenario
async def test_a_refusal_at_data_lets_all_go_and_each_is_recorded_once(refusal: str, told: str) -> None:
    async with (
        running_destination() as one,
        running_destination() as two,
        running_relay({"one.test": route(one.port), "two.test": route(two.port)}) as relay,
        connected(relay.port) as client,
    ):
        two.answers[Phase.DATA] = refusal
        assert (await client.deliver(["a@one.test", "c@two.test"])).startswith(told)
        assert (await client.ask("RSET")).startswith("250")
        found = {record.destination: (record.outcome, str(record.reply)) for record in relay.records}
        assert len(relay.records) == 2
        assert found[two.address] == (Outcome.REFUSED, refusal)
        assert found[one.address][0] is Outcome.ABORTED
        assert one.ends_of_data == 0
        two.answers[Phase.DATA] = "354 go on"
        assert (await client.deliver(["a@one.test", "c@two.test"])).startswith("250")


@scenario
async def test_a_client_that_leaves_while_destinations_are_made_ready_leaves_one_record_for_each() -> None:
    async with (
        running_destination() as one,
        running_destination() as two,
        running_relay({"both.test": route(one.port, two.port)}) as relay,
    ):
        async with connected(relay.port) as client:
            one.answers[Phase.RCPT] = lambda line: "550 no" if "x@" in line else "250 yes"
            two.answers[Phase.RCPT] = lambda line: "550 no" if "y@" in line else "250 yes"
            names = ["x@both.test", "y@both.test", "a@both.test"]  # so both have to begin again, without one each
            assert [reply[:3] for reply in await client.begin(names)] == ["550", "550", "250"]
            one.answers[Phase.RSET] = two.answers[Phase.RSET] = Act.SILENCE
            client.send("DATA")
            await until(lambda: one.silences or two.silences, "the question")
            client.reset()
            await until(lambda: not relay.service.connections, "Moxy to notice")
            relay.pass_time(61)
        await relay.rest()
        assert sorted(record.destination for record in relay.records) == sorted([one.address, two.address])


@scenario
async def test_a_refusal_at_data_is_recorded() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.DATA] = "554 5.7.1 not today"
        assert (await client.deliver(["a@one.test"])).startswith("554 5.7.1 not today")
        assert [(record.outcome, record.reply) for record in relay.records] == [
            (Outcome.REFUSED, Reply(554, "7.1", "not today"))
        ]


class Slow(Domains):
    """A table whose answer takes until `found` is done."""

    found: asyncio.Future[None]

    async def lookup(self, path: ForwardPath) -> Route | None:
        await self.found
        return await super().lookup(path)


@scenario
async def test_a_client_that_dies_during_the_lookup_leaves_no_connection() -> None:
    async with running_destination() as destination, running_relay({}) as relay:
        table = Slow({"one.test": route(destination.port)})
        table.found = asyncio.get_running_loop().create_future()
        relay.service.routes = table
        async with connected(relay.port) as client:
            await client.ask("MAIL FROM:<s@client.test>")
            client.send("RCPT TO:<a@one.test>")
            await until(lambda: any(c._receiver.waiting for c in relay.service.connections), "the lookup")
            client.reset()
        await until(lambda: not relay.service.connections, "Moxy to notice")
        table.found.set_result(None)
        await asyncio.sleep(0)
        await relay.rest()
