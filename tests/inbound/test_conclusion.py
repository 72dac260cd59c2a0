"""Conclusion: what the client is told, and what the ledger has before. (All pairs of verdicts: test_promise.py.)"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from moxy.accounting.record import Outcome
from moxy.inbound.conclusion import AT_ONCE
from moxy.inbound.order import CommitOrder
from moxy.inbound.service import Bounds
from moxy.ledger import Entry, NoLedger, State
from moxy.smtp import replies
from support.destination import Act, Answer, Phase
from support.place import (
    ACCEPTED,
    ALREADY,
    ALSO_ONE,
    BOTH,
    CONTENT,
    LATER,
    LOST,
    MIXED,
    NEVER,
    ONE,
    SENDER,
    TAKEN,
    TWO,
    Place,
    attempt,
    in_file,
    lose_the_reply,
    place,
)
from support.scenario import scenario, until
from support.smtpclient import Client, connected

NO = "554 5.7.1 nor I"
BEGINS = str(replies.PRDR_BEGINS)
ALL, SOME, NONE = str(replies.PRDR_ALL), str(replies.PRDR_SOME), str(replies.PRDR_NONE)
INTERNAL = str(replies.INTERNAL_ERROR)
BARE_LINE_END = str(replies.BARE_LINE_END)
TOO_BIG = str(replies.MESSAGE_TOO_BIG)
LOOP = str(replies.TOO_MANY_HOPS)


async def begin(client: Client, *recipients: str, prdr: bool = False) -> None:
    """MAIL, and recipients that are all accepted."""
    assert (await client.ask(f"MAIL FROM:<{SENDER}>{' PRDR' if prdr else ''}")).startswith("250")
    for recipient in recipients:
        assert await client.ask(f"RCPT TO:<{recipient}>") == ACCEPTED


async def told(client: Client, content: bytes = CONTENT) -> list[str]:
    """All replies to content and its dot; the proof that there is none more is the one to a NOOP."""
    assert (await client.ask("DATA")).startswith("354")
    client.write(content + b".\r\nNOOP\r\n")
    found = []
    while (reply := await client.reply()) != "250 2.0.0 OK":
        found.append(reply)
    assert (await client.ask("RSET")).startswith("250")  # which shows that it has them
    return found


@asynccontextmanager
async def lmtp(directory: Path, **options: Any) -> AsyncIterator[tuple[Place, Client]]:
    """A client that speaks LMTP, at a place."""
    async with place(directory, lmtp=True, **options) as here, connected(here.relay.port, hello=False) as client:
        assert (await client.ask("LHLO client.test")).startswith("250-")
        yield here, client


# -- a reply for each, as PRDR has it

PAIRS: list[tuple[Answer, Answer, list[str]]] = [
    (TAKEN, TAKEN, [TAKEN, TAKEN, ALL]),
    (TAKEN, LATER, [TAKEN, LATER, SOME]),
    (NEVER, TAKEN, [NEVER, TAKEN, SOME]),
    (TAKEN, Act.CLOSE, [TAKEN, LOST, SOME]),
    (NEVER, NEVER, [NEVER, NEVER, NEVER]),
    (NEVER, NO, [NEVER, NO, NONE]),
    (LATER, NEVER, [LATER, NEVER, NONE]),
    (Act.CLOSE, NEVER, [LOST, NEVER, NONE]),
]


@pytest.mark.parametrize(("first", "second", "replies_"), PAIRS)
@scenario
async def test_prdr_has_a_reply_for_each_and_one_for_all(
    tmp_path: Path, first: Answer, second: Answer, replies_: list[str]
) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        here.one.answers[Phase.FINAL], here.two.answers[Phase.FINAL] = first, second
        await begin(client, ONE, TWO, prdr=True)
        assert await told(client) == [BEGINS, *replies_]
        assert here.holds() == (first == TAKEN, second == TAKEN)
        unknown = [state for state in (await here.states()).values() if state is not State.CONFIRMED]
        assert unknown == [State.UNKNOWN] * ((first, second).count(Act.CLOSE)), "and nothing else stays open"


@scenario
async def test_replies_come_in_the_order_of_the_recipients(tmp_path: Path) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        here.ask_first(here.two)
        here.one.answers[Phase.FINAL], here.two.answers[Phase.FINAL] = LATER, NEVER
        await begin(client, TWO, ONE, BOTH, ALSO_ONE, TWO, prdr=True)
        assert await told(client) == [BEGINS, NEVER, LATER, LATER, LATER, NEVER, NONE]


@pytest.mark.parametrize("recipients", [[ONE], [TWO, ONE]])
@scenario
async def test_to_prdr_with_one_recipient_left_the_reply_is_a_plain_one(tmp_path: Path, recipients: list[str]) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        here.two.answers[Phase.RCPT] = NEVER
        await client.ask(f"MAIL FROM:<{SENDER}> PRDR")
        for recipient in recipients:
            await client.ask(f"RCPT TO:<{recipient}>")
        assert await told(client) == [TAKEN]


@pytest.mark.parametrize("recipients", [[ONE], [ONE, TWO]])
@scenario
async def test_who_did_not_ask_for_prdr_has_one_reply(tmp_path: Path, recipients: list[str]) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        await begin(client, *recipients)
        assert await told(client) == [TAKEN]


OBJECTIONS = [
    (b"bare\nline\r\n", BARE_LINE_END),
    (b"x" * 5000 + b"\r\n", TOO_BIG),
    (b"Received: from x\r\n" * 51 + b"\r\n", LOOP),
]


@pytest.mark.parametrize(("content", "reply"), OBJECTIONS)
@scenario
async def test_what_we_object_to_ourselves_prdr_is_told_in_one_reply(
    tmp_path: Path, content: bytes, reply: str
) -> None:
    async with place(tmp_path, bounds=Bounds(message_size=4000)) as here, connected(here.relay.port) as client:
        await begin(client, ONE, TWO, prdr=True)
        assert await told(client, content) == [reply]
        assert here.one.ends_of_data == here.two.ends_of_data == 0


@scenario
async def test_the_dots_of_those_who_do_not_concern_each_other_leave_together(tmp_path: Path) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        here.one.answers[Phase.FINAL] = here.two.answers[Phase.FINAL] = Act.SILENCE
        await begin(client, ONE, TWO, prdr=True)
        await client.ask("DATA")
        client.write(CONTENT + b".\r\n")
        await until(lambda: here.one.silences and here.two.silences, "both dots")
        here.two.release(NEVER)
        here.one.release(TAKEN)
        assert [await client.reply() for _ in range(4)] == [BEGINS, TAKEN, NEVER, SOME]


@pytest.mark.parametrize(("octets", "early"), [(AT_ONCE - 10, False), (AT_ONCE + 10, True)])
@scenario
async def test_a_large_message_is_with_all_before_a_dot_is_and_a_small_one_leaves_with_its_dot(
    tmp_path: Path, octets: int, early: bool
) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        here.ask_first(here.one)
        here.one.answers[Phase.FINAL] = Act.SILENCE
        await begin(client, ONE, TWO)
        await client.ask("DATA")
        client.write(b"x" * (octets - 2) + b"\r\n.\r\n")
        await until(lambda: here.one.silences, "the first dot")
        (talk,) = here.two.talks
        if early:
            await until(lambda: talk.octets > octets, "the content")
        for _ in range(10):
            await asyncio.sleep(0)
        assert bool(talk.octets) is early
        assert here.two.ends_of_data == 0
        here.one.release(TAKEN)
        assert await client.reply() == TAKEN
        assert talk.octets > octets


@scenario
async def test_where_a_recipient_has_two_destinations_the_dots_leave_one_after_the_other(tmp_path: Path) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        here.ask_first(here.one)
        here.one.answers[Phase.FINAL] = Act.SILENCE
        await begin(client, BOTH, ALSO_ONE, prdr=True)
        await client.ask("DATA")
        client.write(CONTENT + b".\r\n")
        await until(lambda: here.one.silences, "the dot")
        for _ in range(10):
            await asyncio.sleep(0)
        assert here.two.ends_of_data == 0
        here.one.release(NEVER)
        assert [await client.reply() for _ in range(4)] == [BEGINS, NEVER, NEVER, NEVER]
        assert here.two.ends_of_data == 0, "its recipient is refused already"


@scenario
async def test_who_is_told_to_come_again_by_one_of_two_does_not_get_a_second_copy_from_the_other(
    tmp_path: Path,
) -> None:
    async with place(tmp_path) as here:
        here.ask_first(here.one)
        here.two.answers[Phase.FINAL] = LATER
        async with connected(here.relay.port) as client:
            await begin(client, BOTH, ONE, prdr=True)
            assert await told(client) == [BEGINS, LATER, TAKEN, SOME]
            assert [entry.state for entry in await here.entries() if entry.forward_path == BOTH] == [State.COMMITTED]
            here.two.answers[Phase.FINAL] = TAKEN
            await begin(client, BOTH, prdr=True)
            assert (await told(client))[0].startswith("250")
        assert here.holds() == (1, 1)


@pytest.mark.parametrize("phase", [Phase.DATA, "content"])
@scenario
async def test_a_refusal_before_the_dot_is_told_after_it_and_the_others_go_on(tmp_path: Path, phase: str) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        if phase == "content":
            here.one.early = 2, NEVER
        else:
            here.one.answers[Phase.DATA] = NEVER
        await begin(client, ONE, TWO, ALSO_ONE, prdr=True)
        assert (await client.ask("DATA")).startswith("354")
        client.write(CONTENT)
        await until(lambda: any(talk.octets for talk in here.two.talks), "content")
        await until(lambda: phase == Phase.DATA or not here.one.open, "the early refusal")
        client.write(b".\r\n")
        assert [await client.reply() for _ in range(5)] == [BEGINS, NEVER, TAKEN, NEVER, SOME]
        assert here.holds() == (0, 1)
        assert here.one.ends_of_data == 0


@scenario
async def test_a_refusal_of_data_by_all_is_told_to_each_after_the_dot_and_no_content_goes_out(tmp_path: Path) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        here.one.answers[Phase.DATA], here.two.answers[Phase.DATA] = NEVER, LATER
        await begin(client, ONE, TWO, prdr=True)
        assert await told(client) == [BEGINS, NEVER, LATER, NONE]
        assert not any(talk.octets for talk in [*here.one.talks, *here.two.talks])


@scenario
async def test_a_refusal_of_data_by_the_only_destination_is_told_at_once(tmp_path: Path) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        here.one.answers[Phase.DATA] = NEVER
        await begin(client, ONE, ALSO_ONE, prdr=True)
        assert await client.ask("DATA") == NEVER
        assert (await client.ask("NOOP")).startswith("250")


@pytest.mark.parametrize(("refusal", "reply"), [(NEVER, MIXED), (LATER, LATER)])
@scenario
async def test_to_a_plain_client_a_refusal_in_the_middle_of_content_keeps_the_message_from_all(
    tmp_path: Path, refusal: str, reply: str
) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        here.ask_first(here.one)
        here.two.early = 2, refusal
        await begin(client, ONE, TWO)
        await client.ask("DATA")
        client.write(CONTENT)
        await until(lambda: here.two.talks and not here.two.open, "the early refusal")
        client.write(b".\r\n")
        assert await client.reply() == reply
        assert here.one.ends_of_data == here.two.ends_of_data == 0


# -- a reply for each, as LMTP has it


@pytest.mark.parametrize(("first", "second", "replies_"), PAIRS)
@scenario
async def test_lmtp_has_a_reply_for_each_and_nothing_else(
    tmp_path: Path, first: Answer, second: Answer, replies_: list[str]
) -> None:
    async with lmtp(tmp_path) as (here, client):
        here.one.answers[Phase.FINAL], here.two.answers[Phase.FINAL] = first, second
        await begin(client, ONE, TWO)
        assert await told(client) == replies_[:2]


@scenario
async def test_lmtp_with_one_recipient_has_one_reply(tmp_path: Path) -> None:
    async with lmtp(tmp_path) as (_, client):
        await begin(client, ONE)
        assert await told(client) == [TAKEN]


@scenario
async def test_from_lmtp_to_lmtp_the_destinations_own_words_pass(tmp_path: Path) -> None:
    async with lmtp(tmp_path, lmtp_destinations=True) as (here, client):
        here.one.verdicts |= {ALSO_ONE: NEVER, "x@one.test": LATER}
        await begin(client, ONE, ALSO_ONE, TWO, "x@one.test")
        assert await told(client) == [TAKEN, NEVER, TAKEN, LATER]
        assert [message.recipients for message in here.one.messages] == [(ONE,)]
        assert set((await here.states()).values()) <= {State.CONFIRMED}


@pytest.mark.parametrize(("content", "reply"), OBJECTIONS)
@scenario
async def test_what_we_object_to_ourselves_lmtp_is_told_for_each(tmp_path: Path, content: bytes, reply: str) -> None:
    async with lmtp(tmp_path, bounds=Bounds(message_size=4000)) as (here, client):
        await begin(client, ONE, TWO, ALSO_ONE)
        assert await told(client, content) == [reply] * 3
        assert here.one.ends_of_data == here.two.ends_of_data == 0


@scenario
async def test_a_refusal_of_data_has_one_reply_in_lmtp_too(tmp_path: Path) -> None:
    async with lmtp(tmp_path) as (here, client):
        here.one.answers[Phase.DATA] = NEVER
        await begin(client, ONE, ALSO_ONE)
        assert await client.ask("DATA") == NEVER
        assert (await client.ask("NOOP")).startswith("250")


# -- one budget of time


@pytest.mark.parametrize("each", [False, True])
@scenario
async def test_for_whom_too_little_time_is_left_gets_no_dot(tmp_path: Path, each: bool) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        here.ask_first(here.one)
        here.relay.service.final = 0.02
        here.one.answers[Phase.FINAL] = Act.SILENCE
        await begin(client, ONE, BOTH, TWO, prdr=each)
        await client.ask("DATA")
        loop = asyncio.get_running_loop()
        client.write(CONTENT + b".\r\n")
        await until(lambda: here.one.silences, "the first dot")
        over = loop.time() + 0.02
        await until(lambda: loop.time() >= over, "the time to pass")
        here.one.release(TAKEN)
        found = [await client.reply() for _ in range(5 if each else 1)]
        assert found == ([BEGINS, TAKEN, MIXED, MIXED, SOME] if each else [MIXED])
        assert here.holds() == (1, 0)
        assert here.two.ends_of_data == 0
        states = {(entry.forward_path, entry.state) for entry in await here.entries()}
        assert (BOTH, State.COMMITTED) in states
        assert ((TWO, State.UNDELIVERED) in states) is not each


# -- what the ledger has, and when


@scenario
async def test_with_one_destination_that_answers_nothing_is_ever_written(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        for verdict in (TAKEN, LATER, NEVER):
            here.one.answers[Phase.FINAL] = verdict
            assert (await attempt(here, ONE, ALSO_ONE))[-1] == verdict
        here.relay.service.ledger.close()
        assert in_file(here.ledger) == []


@scenario
async def test_with_two_destinations_that_accept_nothing_is_left_open(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        assert (await attempt(here, ONE, TWO))[-1] == TAKEN
        here.relay.service.ledger.close()
        assert all(entry.state is State.CONFIRMED for entry in in_file(here.ledger))


@pytest.mark.parametrize(
    ("second", "states"),
    [
        (NEVER, {ONE: State.COMMITTED, TWO: State.UNDELIVERED}),
        (LATER, {ONE: State.COMMITTED, TWO: State.UNDELIVERED}),
        (Act.CLOSE, {ONE: State.COMMITTED, TWO: State.UNKNOWN}),
    ],
)
@scenario
async def test_a_disagreement_is_in_the_file_when_the_client_hears_of_it(
    tmp_path: Path, second: Answer, states: dict[str, State]
) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        here.ask_first(here.one)
        here.two.answers[Phase.FINAL] = second
        assert await client.deliver([ONE, TWO]) == MIXED
        found = in_file(here.ledger)
        assert {entry.forward_path: entry.state for entry in found} == states
        assert all(entry.apart for entry in found)


@scenario
async def test_an_unknown_outcome_is_in_the_file_when_the_client_hears_of_it(tmp_path: Path) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        here.one.answers[Phase.FINAL] = Act.CLOSE
        assert await client.deliver([ONE, ALSO_ONE]) == LOST
        found = in_file(here.ledger)
        assert {entry.forward_path: entry.state for entry in found} == {ONE: State.UNKNOWN, ALSO_ONE: State.UNKNOWN}
        assert not any(entry.apart for entry in found)


@scenario
async def test_who_was_never_asked_is_known_not_to_have_it(tmp_path: Path) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        here.ask_first(here.one)
        here.one.answers[Phase.FINAL] = LATER
        assert await client.deliver([ONE, TWO]) == LATER
        found = in_file(here.ledger)
        assert {(entry.forward_path, entry.state) for entry in found} == {
            (ONE, State.UNDELIVERED),
            (TWO, State.UNDELIVERED),
        }
        assert all(entry.apart for entry in found)


@scenario
async def test_a_message_that_did_not_go_out_again_is_recorded_as_suppressed(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await lose_the_reply(here, here.one)
        here.relay.records.clear()
        assert await attempt(here, ONE) == [ACCEPTED, ALREADY]
        (record,) = here.relay.records
        assert (record.outcome, str(record.reply), record.recipients) == (Outcome.SUPPRESSED, ALREADY, [ONE])
        assert here.one.ends_of_data == 1


# -- our own bugs


class Confused(CommitOrder):
    """Something of ours that breaks when a destination has given its verdict."""

    def learn(self, destination: str, refused: bool) -> None:
        raise RuntimeError(destination)


class Torn(NoLedger):
    """A ledger that raises, as none may."""

    async def write(self, entries: Sequence[Entry]) -> None:
        raise RuntimeError(f"{len(entries)} entries")


def expect_our_bug(session: Any, *arguments: Any) -> None:
    with pytest.raises(AssertionError, match="'event': 'bug'"):
        scenario(session)(*arguments)


def test_a_bug_of_ours_does_not_double_what_was_accepted_before(tmp_path: Path) -> None:
    async def session() -> None:
        async with place(tmp_path) as here:
            order, here.relay.service.order = here.relay.service.order, Confused()
            async with connected(here.relay.port) as client:
                assert await client.deliver([ONE, TWO], CONTENT) == INTERNAL
                await client.ask("QUIT")
            await here.idle()
            assert sum(here.holds()) == 1
            here.relay.service.order = order
            assert (await attempt(here, ONE, TWO))[-1].startswith("250")
            assert here.holds() == (1, 1)

    expect_our_bug(session)


@pytest.mark.parametrize("way", ["plain", "PRDR", "LMTP"])
def test_a_bug_of_ours_is_told_as_the_client_wants_its_replies(tmp_path: Path, way: str) -> None:
    async def session() -> None:
        async with place(tmp_path, lmtp=way == "LMTP") as here, connected(here.relay.port, hello=False) as client:
            written, here.relay.service.ledger = here.relay.service.ledger, Torn()
            written.close()
            await client.ask("LHLO x" if way == "LMTP" else "EHLO x")
            here.one.answers[Phase.FINAL] = Act.CLOSE
            await begin(client, ONE, TWO, prdr=way == "PRDR")
            assert await told(client) == [INTERNAL] * (2 if way == "LMTP" else 1)

    expect_our_bug(session)
