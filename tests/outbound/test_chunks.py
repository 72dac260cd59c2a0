"""Content by BDAT: to whom, in which chunks, and what becomes of it where chunks are refused or not answered."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from moxy.delivery import Flow
from moxy.outbound.chunks import UNANSWERED
from moxy.outbound.relay import RelayDelivery
from moxy.outbound.settings import Settings
from moxy.outbound.upstream import STALLED, WRITE_AHEAD
from moxy.smtp import replies
from support.destination import CHUNKING, Act, Answer, Destination, Phase, running_destination
from support.outbound import LMTP, Outbound, recipients, running_outbound, texts
from support.relay import route, running_relay
from support.scenario import scenario, until
from support.smtpclient import connected

ONE_BY_ONE = "250-destination.test\r\n250 CHUNKING"
BINARY = f"{CHUNKING}".replace("250-PIPELINING", "250-BINARYMIME\r\n250-PIPELINING")
PRDR = f"{CHUNKING}".replace("250-PIPELINING", "250-PRDR\r\n250-PIPELINING")


def chunks(destination: Destination) -> list[str]:
    return destination.commands("BDAT")


async def chunked(outbound: Outbound, destination: Destination, **options: object) -> RelayDelivery:
    """A delivery to one recipient, which waits for content."""
    destination.answers.setdefault(Phase.EHLO, CHUNKING)
    delivery = outbound.open(outbound.to(destination.port), chunked=True, **options)  # type: ignore[arg-type]
    assert (await delivery.rcpt(recipients("a@one.test")[0])).positive
    assert await delivery.data() is replies.START_MAIL_INPUT
    return delivery


USES = [
    # the wish, did it come by BDAT, does the destination offer CHUNKING, does it go by BDAT
    ("as-received", True, True, True),
    ("as-received", False, True, False),
    ("as-received", True, False, False),
    ("always", False, True, True),
    ("always", False, False, False),
    ("never", True, True, False),
]


@pytest.mark.parametrize(("wish", "came", "offered", "goes"), USES)
@scenario
async def test_content_goes_by_bdat_where_it_is_offered_and_wished_for(wish, came, offered, goes) -> None:
    async with running_destination() as destination, running_outbound(Settings(chunking=wish)) as outbound:
        if offered:
            destination.answers[Phase.EHLO] = CHUNKING
        delivery = outbound.open(outbound.to(destination.port), chunked=came)
        await outbound.begin(delivery, recipients("a@one.test"), b"..text\r\n")
        assert texts(await delivery.finish(5)) == ["250 2.0.0 taken"]
        assert [message.content for message in destination.messages] == [b".text\r\n"]
        assert bool(chunks(destination)) is goes
        assert bool(destination.commands("DATA")) is not goes


@scenario
async def test_binary_content_goes_by_bdat_even_where_that_is_not_wished_for() -> None:
    async with running_destination() as destination, running_outbound(Settings(chunking="never")) as outbound:
        destination.answers[Phase.EHLO] = BINARY
        delivery = outbound.open(outbound.to(destination.port), body="BINARYMIME")
        await outbound.begin(delivery, recipients("a@one.test"), b"..\n\0\r\n..\r")
        delivery.breaks_off()
        assert texts(await delivery.finish(5)) == ["250 2.0.0 taken"]
        assert [message.content for message in destination.messages] == [b".\n\0\r\n.\r"]


@scenario
async def test_what_was_not_let_out_before_the_end_is_one_chunk_with_it() -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = CHUNKING
        delivery = await chunked(outbound, destination)
        delivery.write(b"one\r\n")
        delivery.write(b"two\r\n")
        assert texts(await delivery.finish(5)) == ["250 2.0.0 taken"]
        assert chunks(destination) == ["BDAT 10 LAST"]
        assert (await outbound.deliver(outbound.to(destination.port), "b@one.test"))[0] == ["250 2.0.0 taken"]
        assert len(destination.talks) == 1, "the connection is used again"


@scenario
async def test_every_wake_up_is_a_chunk_and_the_last_one_may_be_empty() -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = CHUNKING
        delivery = await chunked(outbound, destination)
        for number in range(2):
            delivery.write(b"text\r\n")
            delivery.flush()
            delivery.flush()
            await destination.reached("BDAT", number + 1)
        assert texts(await delivery.finish(5)) == ["250 2.0.0 taken"]
        assert chunks(destination) == ["BDAT 6", "BDAT 6", "BDAT 0 LAST"]
        assert [message.content for message in destination.messages] == [b"text\r\n" * 2]


@pytest.mark.parametrize(("offer", "most"), [(CHUNKING, UNANSWERED), (ONE_BY_ONE, 1)])
@scenario
async def test_only_so_many_chunks_are_under_way_and_what_comes_meanwhile_is_one_more(offer: str, most: int) -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = offer
        destination.answers[Phase.CHUNK] = Act.SILENCE
        delivery = await chunked(outbound, destination)
        for _ in range(most + 3):
            delivery.write(b"text\r\n")
            delivery.flush()
        await destination.reached("BDAT", most)
        destination.answers[Phase.CHUNK] = "250 go on"
        for _ in range(most):
            destination.open[0].act("250 at last")
        await destination.reached("BDAT", most + 1)
        assert texts(await delivery.finish(5)) == ["250 2.0.0 taken"]
        assert chunks(destination) == ["BDAT 6"] * most + ["BDAT 18", "BDAT 0 LAST"]
        assert [message.content for message in destination.messages] == [b"text\r\n" * (most + 3)]


@scenario
async def test_the_reader_pauses_while_too_much_waits_and_goes_on_after() -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = ONE_BY_ONE
        destination.answers[Phase.CHUNK] = Act.SILENCE
        heard: list[str] = []
        flow = Flow(lambda: heard.append("pause"), lambda: heard.append("go on"))
        delivery = await chunked(outbound, destination, flow=flow)
        for _ in range(2):
            delivery.write(b"x" * WRITE_AHEAD)
            delivery.flush()
        await until(lambda: destination.silences, "the first chunk")
        assert heard[-1] == "pause"
        destination.release("250 at last")
        await until(lambda: not flow.blocked, "the reader to go on")
        destination.answers[Phase.CHUNK] = "250 go on"
        await until(lambda: destination.silences == 2 or len(chunks(destination)) == 2, "the second chunk")
        delivery.abort()
        assert heard.count("pause") == heard.count("go on")


@pytest.mark.parametrize("death", ["abort", "reset"])
@scenario
async def test_who_is_gone_pauses_nobody(death: str) -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = ONE_BY_ONE
        destination.answers[Phase.CHUNK] = Act.SILENCE
        flow = Flow(lambda: None, lambda: None)
        delivery = await chunked(outbound, destination, flow=flow)
        for _ in range(2):
            delivery.write(b"x" * WRITE_AHEAD)
            delivery.flush()
        assert flow.blocked
        if death == "abort":
            delivery.abort()
        else:
            destination.open[0].act(Act.RESET)
        await until(lambda: not flow.blocked, "the reader to go on")
        delivery.write(b"y" * WRITE_AHEAD)
        delivery.flush()
        assert not flow.blocked
        delivery.abort()
        await until(lambda: not destination.open, "the connection to be closed")
        assert not destination.ends_of_data


REFUSALS: list[tuple[Answer, str]] = [
    ("552 5.3.4 too much", "552 5.3.4 too much"),
    ("452 4.3.1 no room", "452 4.3.1 no room"),
    ("354 what?", "451 4.5.0"),
    ("421 4.3.2 going", "451 4.4.2 going"),
    (Act.CLOSE, "451 4.4.2"),
]


@pytest.mark.parametrize(("answer", "told"), REFUSALS)
@scenario
async def test_a_chunk_that_is_refused_is_the_verdict_and_no_last_chunk_follows(answer: Answer, told: str) -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = CHUNKING
        destination.answers[Phase.CHUNK] = answer
        delivery = await chunked(outbound, destination)
        delivery.write(b"text\r\n")
        delivery.flush()
        await destination.reached("BDAT")
        delivery.write(b"more\r\n")
        assert texts(await delivery.finish(5))[0].startswith(told)
        assert delivery.unanswered == 0, "no last chunk was sent, so it is known that nobody has the message"
        assert not destination.ends_of_data
        await until(lambda: not destination.open, "the connection to be closed")


@pytest.mark.parametrize("answer", ["250 2.0.0 go on", "552 5.3.4 too much"])
@scenario
async def test_the_last_chunk_waits_until_the_others_are_answered(answer: str) -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = CHUNKING
        destination.answers[Phase.CHUNK] = Act.SILENCE
        delivery = await chunked(outbound, destination)
        delivery.write(b"text\r\n")
        delivery.flush()
        await until(lambda: destination.silences, "the chunk")
        verdict = outbound.ground.loop.create_task(delivery.finish(5))
        destination.release(answer)
        assert texts(await verdict) == ["250 2.0.0 taken" if answer.startswith("250") else answer]
        assert destination.ends_of_data == answer.startswith("250")


@scenario
async def test_a_chunk_that_is_never_answered_is_given_up() -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = CHUNKING
        destination.answers[Phase.CHUNK] = Act.SILENCE
        delivery = await chunked(outbound, destination)
        delivery.write(b"text\r\n")
        delivery.flush()
        await until(lambda: destination.silences, "the chunk")
        outbound.pass_time(STALLED + 1)
        assert delivery.failure is replies.DESTINATION_SILENT
        delivery.abort()


@scenario
async def test_the_time_for_the_verdict_is_also_for_the_chunks_before() -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = CHUNKING
        destination.answers[Phase.CHUNK] = Act.SILENCE
        delivery = await chunked(outbound, destination)
        delivery.write(b"text\r\n")
        delivery.flush()
        assert texts(await delivery.finish(0.05)) == [replies.DESTINATION_SILENT.wire.decode().rstrip()]
        assert delivery.unanswered == 0
        assert not destination.ends_of_data


@pytest.mark.parametrize("ending", [Act.CLOSE, "350 what?"])
@scenario
async def test_the_outcome_of_a_last_chunk_without_an_answer_is_unknown(ending: Answer) -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = CHUNKING
        destination.answers[Phase.FINAL] = ending
        answers, delivery = await outbound.deliver(outbound.to(destination.port), "a@one.test", chunked=True)
        assert answers[0].startswith("451")
        assert delivery.unanswered == 1


@scenario
async def test_each_recipient_has_its_own_verdict_by_prdr_and_lmtp() -> None:
    verdicts = {"a@one.test": "250 fine", "b@one.test": "550 5.2.2 full"}
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = PRDR
        destination.verdicts = dict(verdicts)
        there = outbound.to(destination.port)
        assert (await outbound.deliver(there, *verdicts, each=True, chunked=True))[0] == list(verdicts.values())
        assert chunks(destination)[-1].endswith("LAST")
    async with running_destination(lmtp=True) as destination, running_outbound(LMTP) as outbound:
        destination.answers[Phase.EHLO] = CHUNKING
        destination.verdicts = dict(verdicts)
        there = outbound.to(destination.port)
        assert (await outbound.deliver(there, *verdicts, chunked=True))[0] == list(verdicts.values())
        assert chunks(destination)[-1].endswith("LAST")


@pytest.mark.parametrize(("offer", "told"), [(CHUNKING, "250 2.0.0 taken"), (None, "554 5.6.0")])
@scenario
async def test_content_that_breaks_off_goes_by_bdat_only(offer: str | None, told: str) -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        if offer:
            destination.answers[Phase.EHLO] = offer
        delivery = outbound.open(outbound.to(destination.port), chunked=True)
        await outbound.begin(delivery, recipients("a@one.test"), b"no line end")
        delivery.breaks_off()
        assert texts(await delivery.finish(5))[0].startswith(told)
        delivery.abort()
        assert [message.content for message in destination.messages] == ([b"no line end"] if offer else [])


@scenario
async def test_a_connection_given_up_between_chunks_is_closed_without_a_last_one() -> None:
    async with running_destination() as destination, running_outbound() as outbound:
        destination.answers[Phase.EHLO] = CHUNKING
        delivery = await chunked(outbound, destination)
        delivery.write(b"text\r\n")
        delivery.flush()
        await destination.reached("BDAT")
        delivery.abort()
        await until(lambda: not destination.open, "the connection to be closed")
        assert chunks(destination) == ["BDAT 6"]


@scenario
async def test_who_waits_for_several_chunks_of_which_one_is_refused_goes_on_once() -> None:
    async with running_destination() as destination, running_relay(route(destination.port)) as relay:
        destination.answers[Phase.EHLO] = CHUNKING
        destination.answers[Phase.CHUNK] = Act.SILENCE
        with capture_logs() as logs:
            async with connected(relay.port) as client:
                for line in ("MAIL FROM:<s@client.test>", "RCPT TO:<a@one.test>"):
                    await client.ask(line)
                for number in range(3):
                    client.write(b"BDAT 6\r\ntext\r\n")
                    assert (await client.reply()).startswith("250")
                    await destination.reached("BDAT", number + 1)
                client.write(b"BDAT 0 LAST\r\n")
                (connection,) = relay.service.connections
                await until(lambda: connection._receiver.waiting, "the last chunk")
                destination.open[0].act("552 5.3.4 too much")
                assert await client.reply() == "552 5.3.4 too much"
        assert not [log for log in logs if log["event"] == "bug"]
        assert not destination.ends_of_data


@scenario
async def test_a_refused_chunk_takes_no_verdict_from_another_destination() -> None:
    async with (
        running_destination() as one,
        running_destination() as other,
        running_relay({"one.test": route(one.port), "two.test": route(other.port)}) as relay,
    ):
        one.answers[Phase.EHLO] = PRDR
        one.answers[Phase.CHUNK] = Act.SILENCE
        other.answers[Phase.FINAL] = Act.SILENCE
        async with connected(relay.port) as client:
            for line in ("MAIL FROM:<s@client.test> PRDR", "RCPT TO:<a@one.test>", "RCPT TO:<b@two.test>"):
                await client.ask(line)
            for number in range(2):
                client.write(b"BDAT 6\r\ntext\r\n")
                assert (await client.reply()).startswith("250")
                await one.reached("BDAT", number + 1)
            client.write(b"BDAT 0 LAST\r\n")
            await until(lambda: other.silences, "the other one's dot")
            one.open[0].act("552 5.3.4 too much")
            await until(lambda: not one.open, "the connection to be closed")
            other.release("250 2.0.0 taken")
            said = [await client.reply() for _ in range(4)]
            assert [reply[:3] for reply in said] == ["353", "552", "250", "250"]
