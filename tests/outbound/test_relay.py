"""RelayDelivery: what is said to a destination in one transaction."""

from __future__ import annotations

import pytest

from moxy.outbound.destination import Settings
from support.destination import Act, Phase, running_destination
from support.relay import route, running_relay
from support.scenario import scenario, until
from support.smtpclient import connected

PLAIN = "250 destination.test"


@pytest.mark.parametrize(
    ("announced", "sent", "passed"),
    [
        ("250-d.test\r\n250-SIZE\r\n250 8BITMIME", " SIZE=100 BODY=8BITMIME", " SIZE=100 BODY=8BITMIME"),
        ("250-d.test\r\n250 8BITMIME", " SIZE=100 BODY=8BITMIME", " BODY=8BITMIME"),
        ("250-d.test\r\n250 SIZE 1000", " SIZE=100 BODY=7BIT", " SIZE=100"),
        (PLAIN, " SIZE=100", ""),
        (PLAIN, "", ""),
    ],
)
@scenario
async def test_mail_has_the_parameters_that_the_destination_knows(announced: str, sent: str, passed: str) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.EHLO] = announced
        await client.ask(f"MAIL FROM:<s@client.test>{sent}")
        assert (await client.ask("RCPT TO:<a@one.test>")).startswith("250")
        assert destination.commands("MAIL") == [f"MAIL FROM:<s@client.test>{passed}"]


@scenario
async def test_a_message_too_big_for_one_destination_is_refused_there_only() -> None:
    async with running_destination() as small, running_destination() as large:
        small.answers[Phase.EHLO] = "250-small.test\r\n250 SIZE 1000"
        routes = {"small.test": route(small.port), "large.test": route(large.port)}
        async with running_relay(routes) as relay, connected(relay.port) as client:
            await client.ask("MAIL FROM:<s@client.test> SIZE=1001")
            assert (await client.ask("RCPT TO:<a@small.test>")).startswith("550 5.3.4")
            assert (await client.ask("RCPT TO:<a@large.test>")).startswith("250")
            assert (await client.data(b"text\r\n")).startswith("250")
            assert (len(small.messages), len(large.messages)) == (0, 1)


@pytest.mark.parametrize(("policy", "reply"), [("refuse", "550 5.6.3"), ("pass", "250")])
@scenario
async def test_8_bit_content_goes_to_a_server_without_8bitmime_only_by_choice(policy: str, reply: str) -> None:
    settings = Settings(eight_bit=policy)  # type: ignore[arg-type]
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=settings) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.EHLO] = PLAIN
        await client.ask("MAIL FROM:<s@client.test> BODY=8BITMIME")
        assert (await client.ask("RCPT TO:<a@one.test>")).startswith(reply)


@pytest.mark.parametrize("words", ["550 5.7.1 not from you", "450 4.7.1 slowly"])
@scenario
async def test_a_refused_mail_is_the_answer_to_every_recipient(words: str) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        destination.answers[Phase.MAIL] = words
        destination.answers[Phase.RCPT] = "503 5.5.1 MAIL first"
        assert await client.begin(["a@one.test", "b@one.test"]) == [words] * 2
        assert (await client.ask("DATA")).startswith("554")


@scenario
async def test_mail_and_the_first_recipient_leave_in_one_write() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        ahead: list[bytes] = []

        def watched(_: str) -> str:
            ahead.append(destination.talks[0]._buffer)
            return "250 2.1.0 fine"

        destination.answers[Phase.MAIL] = watched
        await client.begin(["a@one.test"])
        assert ahead == [b"RCPT TO:<a@one.test>\r\n"]


@scenario
async def test_nothing_is_pipelined_to_a_server_that_does_not_offer_it() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port)) as relay,
        connected(relay.port) as client,
    ):
        ahead: list[bytes] = []

        def watched(line: str) -> str:
            ahead.append(destination.talks[0]._buffer)
            return f"250 2.0.0 {line[:4]}"

        destination.answers |= {Phase.EHLO: PLAIN, Phase.MAIL: watched, Phase.RCPT: watched}
        client.send("MAIL FROM:<s@client.test>", *[f"RCPT TO:<u{number}@one.test>" for number in range(5)])
        assert [(await client.reply())[:3] for _ in range(6)] == ["250"] * 6
        assert ahead == [b""] * 6


@scenario
async def test_pipelined_recipients_are_answered_in_their_order() -> None:
    async with running_destination() as slow, running_destination() as quick:
        routes = {"slow.test": route(slow.port), "quick.test": route(quick.port)}
        async with running_relay(routes) as relay, connected(relay.port) as client:
            slow.answers[Phase.RCPT] = Act.SILENCE
            quick.answers[Phase.RCPT] = "250 2.1.5 quick"
            client.send("MAIL FROM:<s@client.test>", "RCPT TO:<a@slow.test>", "RCPT TO:<a@quick.test>")
            assert (await client.reply()).startswith("250")
            await quick.reached("RCPT")
            await until(lambda: slow.silences, "the slow one to be asked")
            assert client.replies.empty()
            slow.release("250 2.1.5 slow")
            assert [await client.reply(), await client.reply()] == ["250 2.1.5 slow", "250 2.1.5 quick"]
