"""RelayDelivery: what is said to a destination in one transaction."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from moxy.net.steps import Steps
from moxy.outbound.settings import Settings
from moxy.smtp.reply import Reply
from support.destination import Act, Answer, Phase, running_destination
from support.outbound import LMTP, recipients, running_outbound, texts
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


# -- parking: few connections, many slow clients

ONE_CONNECTION = Settings(connections=1)


@scenario
async def test_a_client_that_thinks_lends_its_connection_to_others_and_loses_nothing() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=ONE_CONNECTION) as relay,
        connected(relay.port) as slow,
        connected(relay.port) as quick,
    ):
        assert all(reply.startswith("250") for reply in await slow.begin(["a@one.test", "b@one.test"]))
        assert (await quick.deliver(["c@one.test"], b"quick\r\n")).startswith("250")
        assert (await slow.ask("RCPT TO:<d@one.test>")).startswith("250")
        assert (await quick.deliver(["c@one.test"], b"quick\r\n")).startswith("250")
        assert (await slow.data(b"slow\r\n")).startswith("250")
        assert destination.most_at_once == 1
        assert [message.recipients for message in destination.messages] == [
            ("c@one.test",),
            ("c@one.test",),
            ("a@one.test", "b@one.test", "d@one.test"),
        ]


@pytest.mark.parametrize(
    ("phase", "later", "told"),
    [
        (Phase.RCPT, "550 5.1.1 gone meanwhile", "451 4.3.0"),
        (Phase.RCPT, "450 4.2.0 not any more", "450 4.2.0 not any more"),
        (Phase.MAIL, "550 5.7.1 no", "451 4.3.0"),
    ],
)
@scenario
async def test_a_destination_that_changes_its_mind_meanwhile_gets_no_content(
    phase: Phase, later: str, told: str
) -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=ONE_CONNECTION) as relay,
        connected(relay.port) as slow,
        connected(relay.port) as quick,
    ):
        await slow.begin(["a@one.test"])
        assert (await quick.deliver(["c@one.test"], b"quick\r\n")).startswith("250")
        destination.answers[phase] = later
        assert (await slow.data(b"slow\r\n")).startswith(told)
        assert len(destination.messages) == 1


@scenario
async def test_a_client_that_leaves_while_its_transaction_is_parked_leaves_nothing() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=ONE_CONNECTION) as relay,
        connected(relay.port) as quick,
    ):
        async with connected(relay.port) as slow:
            await slow.begin(["a@one.test"])
            assert (await quick.deliver(["c@one.test"], b"quick\r\n")).startswith("250")
        assert (await quick.deliver(["c@one.test"], b"quick\r\n")).startswith("250")
        assert len(destination.messages) == 2


@scenario
async def test_hundreds_of_slow_clients_share_a_few_connections() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=Settings(connections=5)) as relay,
        AsyncExitStack() as stack,
    ):
        clients = [await stack.enter_async_context(connected(relay.port)) for _ in range(200)]
        for client in clients:
            await client.ask("MAIL FROM:<s@client.test>")
            client.send("RCPT TO:<a@one.test>")
        assert all([(await client.reply()).startswith("250") for client in clients])
        verdicts = await asyncio.gather(*(client.data(b"text\r\n") for client in clients))
        assert all(verdict.startswith("250") for verdict in verdicts)
        assert destination.most_at_once <= 5
        assert len(destination.messages) == 200


@scenario
async def test_recipients_pipelined_behind_a_parked_transaction_all_get_their_answer() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=ONE_CONNECTION) as relay,
        connected(relay.port) as slow,
        connected(relay.port) as quick,
    ):
        await slow.begin(["a@one.test"])
        await quick.begin(["c@one.test"])
        assert (await quick.ask("DATA")).startswith("354")
        slow.send("RCPT TO:<d@one.test>", "RCPT TO:<e@one.test>")
        await until(lambda: relay.pools[0]._waiting, "the slow one to wait")
        quick.write(b"x\r\n.\r\n")
        assert (await quick.reply()).startswith("250")
        assert [(await slow.reply())[:3] for _ in range(2)] == ["250", "250"]


@scenario
async def test_a_transaction_parked_for_long_still_knows_its_destination() -> None:
    async with (
        running_destination() as destination,
        running_relay(route(destination.port), settings=ONE_CONNECTION) as relay,
        connected(relay.port) as slow,
    ):
        await slow.begin(["a@one.test"])
        async with connected(relay.port) as quick:
            assert (await quick.deliver(["c@one.test"], b"quick\r\n")).startswith("250")
        relay.pass_time(61)
        await until(lambda: not relay.pools[0]._open, "the idle connection to end")
        relay.directory.forget_unused()
        assert (await slow.ask("RCPT TO:<b@one.test>")).startswith("250")
        assert (await slow.data(b"slow\r\n")).startswith("250")
        assert [message.recipients for message in destination.messages][1:] == [("a@one.test", "b@one.test")]


@scenario
async def test_transactions_with_two_destinations_never_wait_for_each_other() -> None:
    async with running_destination() as one, running_destination() as two:
        routes = {"one.test": route(one.port), "two.test": route(two.port)}
        async with running_relay(routes, settings=Settings(connections=2)) as relay, AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connected(relay.port)) for _ in range(20)]

            async def deliver(number: int) -> str:
                recipients = ["a@one.test", "b@two.test"]
                replies = await clients[number].begin(recipients if number % 2 else recipients[::-1])
                assert all(reply.startswith("250") for reply in replies)
                return await clients[number].data(b"text\r\n")

            verdicts = await asyncio.gather(*(deliver(number) for number in range(20)))
            assert all(verdict.startswith("250") for verdict in verdicts)
            assert (len(one.messages), len(two.messages)) == (20, 20)
            assert max(one.most_at_once, two.most_at_once) <= 2


@scenario
async def test_a_destination_that_closes_when_told_again_does_not_close_the_clients_session() -> None:
    async with running_destination() as one, running_destination() as two:
        routes = {"both.test": route(one.port, two.port), "one.test": route(one.port)}
        async with running_relay(routes) as relay, connected(relay.port) as client:
            await client.begin(["a@one.test"])
            two.answers[Phase.RCPT] = "550 5.1.1 not here"
            assert (await client.ask("RCPT TO:<b@both.test>")).startswith("550")
            one.answers[Phase.MAIL] = "421 4.3.2 127.0.0.1 is closing"
            reply = await client.ask("DATA")
            assert reply.startswith("451 4.4.2")
            assert "127.0.0.1" not in reply
            assert (await client.ask("NOOP")).startswith("250")
            assert not one.messages


# -- LMTP and PRDR: a verdict for each recipient

THREE = ("a@one.test", "b@one.test", "c@one.test")
MIXED: dict[str, Answer] = {"b@one.test": "550 5.2.2 b is full", "c@one.test": "450 4.2.1 c is busy"}
OFFERS_PRDR = "250-destination.test\r\n250-PIPELINING\r\n250 PRDR"


@scenario
async def test_an_lmtp_server_says_of_each_recipient_what_became_of_it() -> None:
    async with running_destination(lmtp=True) as destination, running_outbound(LMTP) as outbound:
        destination.verdicts = dict(MIXED)
        answers, delivery = await outbound.deliver(outbound.to(destination.port), *THREE)
        assert answers == ["250 2.0.0 taken", *MIXED.values()]
        assert delivery.unanswered == 0
        assert destination.messages[0].recipients == ("a@one.test",)
        assert destination.talks[0].lines[0] == "LHLO mx.moxy.test"


@scenario
async def test_lmtp_connections_are_used_again() -> None:
    async with running_destination(lmtp=True) as destination, running_outbound(LMTP) as outbound:
        for _ in range(3):
            assert (await outbound.deliver(outbound.to(destination.port), *THREE))[0] == ["250 2.0.0 taken"] * 3
        assert len(destination.talks) == 1


@scenario
async def test_who_was_refused_at_rcpt_has_no_verdict() -> None:
    async with running_destination(lmtp=True) as destination, running_outbound(LMTP) as outbound:
        destination.answers[Phase.RCPT] = lambda line: "550 5.1.1 no b" if "<b@" in line else "250 2.1.5 fine"
        destination.verdicts = {"c@one.test": "550 5.2.2 c is full"}
        delivery = outbound.open(outbound.to(destination.port))
        wanted = recipients(*THREE)
        await asyncio.gather(*(delivery.rcpt(recipient) for recipient in wanted))
        assert (await delivery.data()).code == 354
        answers = texts(await delivery.finish(5))
        assert delivery.recipients == [wanted[0], wanted[2]]
        assert answers == ["250 2.0.0 taken", "550 5.2.2 c is full"]


class At(Steps[Reply]):
    """A coroutine that is run step by step, as the receiving side does."""

    reply: Reply

    def done(self, result: Reply) -> None:
        self.reply = result

    def failed(self, error: BaseException) -> None:
        raise error


@scenario
async def test_recipients_stand_in_the_order_of_their_commands_whoever_goes_on_first() -> None:
    """Who waits in a task goes on later than who is stepped: verdicts must not change places for that."""
    async with running_destination(lmtp=True) as destination, running_outbound(LMTP) as outbound:
        destination.verdicts = dict(MIXED)
        delivery = outbound.open(outbound.to(destination.port))
        first, second, third = recipients(*THREE)
        assert (await delivery.rcpt(first)).positive
        destination.answers[Phase.RCPT] = Act.SILENCE
        in_task = asyncio.create_task(delivery.rcpt(second))
        await destination.reached("RCPT", 2)
        stepped = At(delivery.rcpt(third))
        stepped()
        await until(lambda: destination.talks[0]._buffer or len(destination.commands("RCPT")) == 3, "both to be asked")
        destination.talks[0].transport.write(b"250 2.1.5 b\r\n250 2.1.5 c\r\n")
        destination.talks[0]._recipients += ["b@one.test", "c@one.test"]
        await in_task
        assert stepped.reply.positive
        assert delivery.recipients == [first, second, third]
        assert (await delivery.data()).code == 354
        assert texts(await delivery.finish(5)) == ["250 2.0.0 taken", *MIXED.values()]


@pytest.mark.parametrize("ending", [Act.CLOSE, Act.RESET])
@scenario
async def test_of_those_whose_verdicts_a_dying_connection_owes_nothing_is_known(ending: Act) -> None:
    async with running_destination(lmtp=True) as destination, running_outbound(LMTP) as outbound:
        destination.verdicts = {"b@one.test": ending}
        answers, delivery = await outbound.deliver(outbound.to(destination.port), *THREE)
        assert answers[1:] == ["451 4.4.2 Connection to the destination lost, please try again later"] * 2
        assert delivery.unanswered in ((2,) if ending is Act.CLOSE else (2, 3))


@scenario
async def test_silence_after_some_verdicts_lasts_as_long_as_was_said() -> None:
    async with running_destination(lmtp=True) as destination, running_outbound(LMTP) as outbound:
        destination.verdicts = {"c@one.test": Act.SILENCE}
        delivery = outbound.open(outbound.to(destination.port))
        await outbound.begin(delivery, recipients(*THREE))
        finishing = asyncio.create_task(delivery.finish(7))
        await until(lambda: delivery._upstream._sender.awaited == 1, "the verdicts on the others")
        outbound.pass_time(6)
        assert destination.open
        outbound.pass_time(8)
        assert texts(await finishing)[2].startswith("451 4.4.2 The destination did not answer")
        assert delivery.unanswered == 1


@scenario
async def test_a_421_among_the_verdicts_is_a_refusal_and_ends_the_connection() -> None:
    async with running_destination(lmtp=True) as destination, running_outbound(LMTP) as outbound:
        destination.verdicts = {"c@one.test": "421 4.3.2 shutting down"}
        answers, delivery = await outbound.deliver(outbound.to(destination.port), *THREE)
        assert answers == ["250 2.0.0 taken", "250 2.0.0 taken", "451 4.4.2 shutting down"]
        assert delivery.unanswered == 0
        await until(lambda: not destination.open, "the connection to end")


@scenario
async def test_each_recipients_own_domain_may_stand_in_its_verdict() -> None:
    async with running_destination(lmtp=True) as destination, running_outbound(LMTP) as outbound:
        destination.answers[Phase.EHLO] = "250-one.test\r\n250 PIPELINING"
        destination.answers[Phase.GREETING] = "220 one.test"
        destination.answers[Phase.FINAL] = "550 5.2.2 a@one.test has no room"
        answers, _ = await outbound.deliver(outbound.to(destination.port), "a@one.test", "a@two.test")
        assert answers == ["550 5.2.2 a@one.test has no room", "550 5.2.2 a@mx.moxy.test has no room"]


@scenario
async def test_content_refused_early_is_refused_for_all() -> None:
    async with running_destination(lmtp=True) as destination, running_outbound(LMTP) as outbound:
        destination.early = 3, "552 5.3.4 too big"
        delivery = outbound.open(outbound.to(destination.port))
        await outbound.begin(delivery, recipients(*THREE))
        await until(lambda: delivery.failure, "the refusal")
        assert texts(await delivery.finish(5)) == ["552 5.3.4 too big"] * 3
        assert (delivery.unanswered, destination.ends_of_data) == (0, 0)


@pytest.mark.parametrize(
    ("offer", "each", "parameters"),
    [(OFFERS_PRDR, True, " PRDR"), (OFFERS_PRDR, False, ""), (PLAIN, True, "")],
)
@scenario
async def test_prdr_is_asked_for_where_it_is_offered_and_the_client_can_take_it(
    offer: str, each: bool, parameters: str
) -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = offer
        await outbound.deliver(outbound.to(destination.port), "a@one.test", "b@one.test", each=each)
        assert destination.commands("MAIL") == [f"MAIL FROM:<sender@client.test>{parameters}"]


@scenario
async def test_a_prdr_server_says_of_each_recipient_what_became_of_it() -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = OFFERS_PRDR
        destination.verdicts = dict(MIXED)
        for _ in range(2):
            answers, delivery = await outbound.deliver(outbound.to(destination.port), *THREE, each=True)
            assert answers == ["250 2.0.0 taken", *MIXED.values()]
            assert delivery.unanswered == 0
        assert len(destination.talks) == 1
        assert destination.messages[0].recipients == ("a@one.test",)


@pytest.mark.parametrize(("final", "first"), [("550 5.6.0 spam", "550"), ("450 4.6.0 wait", "450")])
@scenario
async def test_its_final_reply_fails_those_it_had_accepted(final: str, first: str) -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = OFFERS_PRDR
        destination.verdicts = dict(MIXED)
        destination.final = final
        answers, delivery = await outbound.deliver(outbound.to(destination.port), *THREE, each=True)
        assert answers[0] == final
        assert answers[1].startswith("550")
        assert not destination.messages
        assert delivery.unanswered == 0


@scenario
async def test_its_one_reply_is_for_all() -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = OFFERS_PRDR
        destination.final = None
        answers, _ = await outbound.deliver(outbound.to(destination.port), *THREE, each=True)
        assert answers == ["250 2.0.0 taken"] * 3
        assert (await outbound.deliver(outbound.to(destination.port), "a@one.test", each=True))[0] == [
            "250 2.0.0 taken"
        ]


@scenario
async def test_without_its_final_reply_nothing_is_known() -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = OFFERS_PRDR
        destination.final = Act.CLOSE
        answers, delivery = await outbound.deliver(outbound.to(destination.port), *THREE, each=True)
        assert [answer[:9] for answer in answers] == ["451 4.4.2"] * 3
        assert delivery.unanswered == 3


# -- the host to try first


@pytest.mark.parametrize("lease", ["transaction", "session"])
@scenario
async def test_the_preferred_host_is_tried_first_and_the_others_after(lease: str) -> None:
    settings = Settings(lease=lease)  # type: ignore[arg-type]
    async with (
        running_destination() as first,
        running_destination() as second,
        running_outbound(settings) as outbound,
    ):
        there = outbound.to(first.port, second.port)
        for prefer, taken_by in (
            (second.address, second),
            ("elsewhere.test:25", None),
            ("", None),
            (first.address, first),
        ):
            delivery = outbound.open(there)
            delivery.prefer(prefer)
            await outbound.begin(delivery, recipients("a@one.test"))
            await delivery.finish(5)
            assert taken_by is None or delivery.host == taken_by.address
        await second.stop()
        delivery = outbound.open(there)
        delivery.prefer(second.address)
        await outbound.begin(delivery, recipients("a@one.test"))
        await delivery.finish(5)
        assert delivery.host == first.address
        assert len(first.open) == 1


@scenario
async def test_two_deliveries_of_one_session_have_a_connection_each() -> None:
    async with running_destination() as destination, running_outbound(Settings(lease="session")) as outbound:
        there = outbound.to(destination.port)
        one, other = outbound.open(there), outbound.open(there)
        await outbound.begin(one, recipients("a@one.test"), b"one\r\n")
        await outbound.begin(other, recipients("b@one.test"), b"other\r\n")
        assert len(destination.open) == 2
        await one.finish(5)
        await other.finish(5)
        assert sorted(message.content for message in destination.messages) == [b"one\r\n", b"other\r\n"]
        await until(lambda: len(destination.open) == 1, "one of them to end")
