"""Copies that no recipient depends on (`best_effort`): the client never notices them, and they get what they can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from moxy.accounting.record import Outcome
from moxy.inbound import copies
from moxy.inbound.order import CommitOrder
from moxy.outbound.upstream import WRITE_AHEAD, Upstream
from support.destination import Act, Answer, Destination, Phase, running_destination
from support.place import (
    ACCEPTED,
    ALREADY,
    ALSO_ONE,
    BOTH,
    CONTENT,
    LATER,
    MIXED,
    NEVER,
    ONE,
    SPLIT,
    TAKEN,
    TWO,
    Place,
    attempt,
    lose_the_reply,
)
from support.relay import Domains, route, running_relay
from support.scenario import scenario, until
from support.smtpclient import Client, connected

A_MOMENT = 0.02
"""Seconds: how long content waits for a copy in those tests in which it never comes."""


@dataclass
class Archived(Place):
    """All mail for `one.test` and `both.test` has a copy; that for `two.test` has none."""

    copy: Destination

    def outcomes(self, destination: Destination) -> list[tuple[Outcome, str]]:
        """What was recorded of a destination."""
        return [
            (record.outcome, str(record.reply))
            for record in self.relay.records
            if record.destination == destination.address
        ]

    async def copied(self, times: int = 1) -> None:
        await until(lambda: len(self.copy.messages) >= times, "the copy")

    def held(self) -> int:
        """Octets that Moxy holds for the copy's server."""
        transport = self.to_copy._transport
        return transport.get_write_buffer_size() if transport is not None else 0

    @property
    def to_copy(self) -> Upstream:
        """The connection to the copy's server."""
        ((upstream,),) = [pool._open for pool in self.relay.pools if str(pool.host) == self.copy.address]
        return upstream


@asynccontextmanager
async def archived(directory: Path | None = None, **options: Any) -> AsyncIterator[Archived]:
    async with running_destination() as one, running_destination() as two, running_destination() as copy:
        routes = {
            "one.test": route(one.port, copies=(copy.port,)),
            "two.test": route(two.port),
            "both.test": route(one.port, two.port, copies=(copy.port,)),
        }
        ledger = directory / "ledger.db" if directory else None
        async with running_relay(routes, ledger=ledger, **options) as relay:
            yield Archived(relay, one, two, ledger or Path(), copy)


# -- what a copy is


@scenario
async def test_one_copy_of_every_message_for_all_of_its_recipients_that_have_one() -> None:
    async with archived() as here, connected(here.relay.port) as client:
        await client.deliver([ONE, TWO, BOTH, ALSO_ONE], CONTENT)
        await here.copied()
        (message,) = here.copy.messages
        assert message.recipients == (ONE, BOTH, ALSO_ONE)
        assert message.below_trace == CONTENT
        assert here.holds() == (1, 1)
        await until(lambda: here.outcomes(here.copy), "the record")
        assert here.outcomes(here.copy) == [(Outcome.DELIVERED, TAKEN)]


@scenario
async def test_mail_without_copies_has_none() -> None:
    async with archived() as here, connected(here.relay.port) as client:
        await client.deliver([TWO])
        assert not here.copy.talks


# -- never in the client's way


PHASES = [Phase.GREETING, Phase.EHLO, Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL]
FAILURES: list[Answer] = [LATER, NEVER, "421 4.3.2 going away", "350 what?", Act.CLOSE, Act.RESET]


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("phase", PHASES)
@scenario
async def test_a_copy_that_fails_changes_no_answer(phase: Phase, failure: Answer) -> None:
    async with archived() as here, connected(here.relay.port) as client:
        here.copy.answers[phase] = failure
        assert await client.begin([ONE, ALSO_ONE]) == [ACCEPTED] * 2
        assert await client.data(CONTENT) == TAKEN
        await client.ask("QUIT")
        await here.idle()
        assert here.holds() == (1, 0)
        assert not here.copy.messages
        assert here.outcomes(here.one) == [(Outcome.DELIVERED, TAKEN)]


@scenario
async def test_a_copy_that_nobody_listens_for_changes_no_answer() -> None:
    async with archived() as here, connected(here.relay.port) as client:
        await here.copy.stop()
        assert await client.deliver([ONE]) == TAKEN


@pytest.mark.parametrize("phase", [Phase.GREETING, Phase.EHLO, Phase.MAIL, Phase.RCPT])
@scenario
async def test_nobody_waits_for_a_copys_answer_to_a_recipient(phase: Phase) -> None:
    async with archived() as here, connected(here.relay.port) as client:
        here.copy.answers[phase] = Act.SILENCE
        assert await client.begin([ONE, ALSO_ONE]) == [ACCEPTED] * 2
        await client.ask("RSET")
        await until(lambda: here.copy.silences, "the silence")
        here.relay.pass_time(61)


@pytest.mark.parametrize("phase", [Phase.GREETING, Phase.EHLO, Phase.MAIL, Phase.RCPT, Phase.DATA])
@scenario
async def test_content_waits_for_a_copy_a_moment_and_no_longer(phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "PATIENCE", A_MOMENT)
    async with archived() as here, connected(here.relay.port) as client:
        here.copy.answers[phase] = Act.SILENCE
        assert await client.deliver([ONE, ALSO_ONE]) == TAKEN
        here.relay.pass_time(61)
        await until(lambda: not here.copy.open, "Moxy to let the copy go")
        assert here.copy.ends_of_data == 0
        assert all(outcome is Outcome.ABORTED for outcome, _ in here.outcomes(here.copy))


@pytest.mark.parametrize("phase", [Phase.RCPT, Phase.DATA])
@scenario
async def test_a_copy_that_is_ready_within_that_moment_is_taken_along(phase: Phase) -> None:
    async with archived() as here, connected(here.relay.port) as client:
        good = here.copy.answers[phase]
        assert isinstance(good, str)
        here.copy.answers[phase] = Act.SILENCE
        await client.begin([ONE])
        client.send("DATA")
        await until(lambda: here.copy.silences and here.one.commands("DATA"), "the silence")
        for _ in range(10):
            await asyncio.sleep(0)
        assert client.replies.empty(), "content begins without the copy"
        here.copy.release(good)
        assert (await client.reply()).startswith("354")
        client.write(CONTENT + b".\r\n")
        assert await client.reply() == TAKEN
        await here.copied()


@scenario
async def test_nobody_waits_for_a_copys_verdict_but_moxy_before_it_stops() -> None:
    async with archived() as here:
        async with connected(here.relay.port) as client:
            here.copy.answers[Phase.FINAL] = Act.SILENCE
            assert await client.deliver([ONE]) == TAKEN
            assert (await client.ask("NOOP")).startswith("250")
            assert (await client.ask("QUIT")).startswith("221")
        await until(lambda: here.copy.silences, "the dot")
        assert len(here.relay.service.commits) == 1
        assert not here.outcomes(here.copy)
        here.copy.release(TAKEN)
        await until(lambda: not here.relay.service.commits, "the end of it")
        assert here.outcomes(here.copy) == [(Outcome.DELIVERED, TAKEN)]


@scenario
async def test_a_copy_that_falls_silent_after_its_dot_is_recorded_as_unknown() -> None:
    async with archived() as here, connected(here.relay.port) as client:
        here.copy.answers[Phase.FINAL] = Act.SILENCE
        await client.deliver([ONE])
        await until(lambda: here.copy.silences, "the dot")
        here.relay.pass_time(here.relay.service.final + 1)
        await until(lambda: here.outcomes(here.copy), "the record")
        assert here.outcomes(here.copy)[0][0] is Outcome.UNKNOWN


# -- pace


async def fill(here: Archived, client: Client, wanted: int) -> int:
    """Send content while the copy's server reads nothing, until Moxy holds so many octets for it; how many went out."""
    here.one.keeps_content = here.copy.keeps_content = False
    await client.begin([ONE])
    assert (await client.ask("DATA")).startswith("354")
    here.copy.talks[0].transport.pause_reading()
    sent = 0
    while not (held := here.held()):
        client.write((b"x" * 98 + b"\r\n") * 500)
        sent += 50_000
        await until(lambda sent=sent: here.one.talks[0].octets >= sent, "content")
    rest = wanted - held
    client.write(b"x" * (rest - 2) + b"\r\n")
    await until(lambda: here.held() >= wanted, "the copy to be full")
    return sent + rest


@scenario
async def test_a_copy_that_takes_nothing_for_five_seconds_is_left_behind() -> None:
    async with archived() as here, connected(here.relay.port) as client:
        await fill(here, client, WRITE_AHEAD + 1000)
        (connection,) = here.relay.service.connections
        assert connection._flow.blocked
        client.write(b"the rest\r\n.\r\n")
        here.relay.pass_time(copies.STALLED - 1)
        assert connection._flow.blocked, "it may set the pace for a while"
        here.relay.pass_time(copies.STALLED + 1)
        assert await client.reply() == TAKEN
        assert len(here.one.messages) == 1
        assert here.copy.ends_of_data == 0
        ((outcome, _),) = here.outcomes(here.copy)
        assert outcome is not Outcome.DELIVERED


@pytest.mark.parametrize("before", [False, True], ids=["by its dot", "before its dot"])
@scenario
async def test_a_copy_that_is_full_at_the_end_holds_up_nothing_that_comes_after(before: bool) -> None:
    async with archived() as here, connected(here.relay.port) as client:
        await fill(here, client, WRITE_AHEAD - 1000)
        (connection,) = here.relay.service.connections
        if before:
            here.one.answers[Phase.FINAL] = Act.SILENCE
            connection.data_received(b"y" * 5000 + b"\r\n")  # read in one go with the dot
            connection.data_received(b".\r\n")
            await until(lambda: here.one.silences and here.to_copy._full, "the copy to be full")
            assert connection._flow.blocked
            here.one.release(TAKEN)
        else:
            client.write(b"y" * 5000 + b"\r\n.\r\n")
        assert await client.reply() == TAKEN
        await until(lambda: here.to_copy._full, "the copy to be full")
        assert not connection._flow.blocked
        assert (await client.ask("NOOP")).startswith("250")
        here.copy.talks[0].transport.resume_reading()
        await here.copied()
        assert not connection._flow.blocked


# -- for those who are accepted only


@pytest.mark.parametrize("slow", [False, True])
@scenario
async def test_a_recipient_that_is_refused_has_no_copy(slow: bool) -> None:
    async with archived() as here, connected(here.relay.port) as client:
        here.one.answers[Phase.RCPT] = lambda line: NEVER if ALSO_ONE in line else ACCEPTED
        if slow:
            here.copy.answers[Phase.RCPT] = lambda line: Act.SILENCE if ALSO_ONE in line else ACCEPTED
        assert await client.begin([ALSO_ONE, ONE]) == [NEVER, ACCEPTED]
        if slow:
            client.send("DATA")
            await until(lambda: here.copy.silences, "the silence")
            here.copy.release(ACCEPTED)
            assert (await client.reply()).startswith("354")
            client.write(CONTENT + b".\r\n")
            assert await client.reply() == TAKEN
        else:
            assert await client.data(CONTENT) == TAKEN
        await here.copied()
        assert [message.recipients for message in here.copy.messages] == [(ONE,)]


@scenario
async def test_a_copy_that_is_slow_about_a_recipient_does_not_get_it_refused_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copies, "PATIENCE", A_MOMENT)
    async with archived() as here, connected(here.relay.port) as client:
        here.copy.answers[Phase.RCPT] = lambda line: Act.SILENCE if ALSO_ONE in line else ACCEPTED
        here.one.answers[Phase.RCPT] = lambda line: NEVER if ALSO_ONE in line else ACCEPTED
        assert await client.begin([ONE, ALSO_ONE]) == [ACCEPTED, NEVER]
        assert await client.data(CONTENT) == TAKEN
        here.copy.release(ACCEPTED)
        await client.ask("QUIT")
        await here.idle()
        assert not here.copy.commands("DATA")


@scenario
async def test_where_all_recipients_are_refused_the_copy_is_left_alone() -> None:
    async with archived() as here, connected(here.relay.port) as client:
        here.one.answers[Phase.RCPT] = NEVER
        assert await client.begin([ONE]) == [NEVER]
        assert (await client.ask("DATA")).startswith("554")
        await client.ask("QUIT")
        await here.idle()
        assert not here.copy.commands("DATA")


@scenario
async def test_a_copy_is_committed_last() -> None:
    async with archived() as here, connected(here.relay.port) as client:
        here.two.answers[Phase.FINAL] = Act.SILENCE
        here.ask_first(here.one)
        await client.begin([BOTH])
        await client.ask("DATA")
        client.write(CONTENT + b".\r\n")
        await until(lambda: here.one.messages and here.two.silences, "the dots")
        for _ in range(10):
            await asyncio.sleep(0)
        assert here.copy.ends_of_data == 0
        here.two.release(TAKEN)
        assert await client.reply() == TAKEN
        await here.copied()


@pytest.mark.parametrize("refused", [LATER, NEVER])
@pytest.mark.parametrize("first", [True, False])
@scenario
async def test_what_is_not_accepted_by_all_is_not_copied(first: bool, refused: str) -> None:
    async with archived() as here, connected(here.relay.port) as client:
        here.ask_first(here.two if first else here.one)
        here.two.answers[Phase.FINAL] = refused
        assert not (await client.deliver([ONE, TWO], CONTENT)).startswith("250")
        assert here.holds() == (not first, 0)
        await client.ask("QUIT")
        await here.idle()
        assert here.copy.ends_of_data == 0
        assert [outcome for outcome, _ in here.outcomes(here.copy)] == [Outcome.ABORTED]


@scenario
async def test_where_each_has_its_own_reply_those_who_are_accepted_have_their_copy() -> None:
    async with archived() as here, connected(here.relay.port) as client:
        here.two.answers[Phase.FINAL] = NEVER
        await client.ask("MAIL FROM:<s@client.test> PRDR")
        for recipient in (ONE, TWO):
            assert await client.ask(f"RCPT TO:<{recipient}>") == ACCEPTED
        assert (await client.data(CONTENT)).startswith("353")
        assert [await client.reply() for _ in range(2)] == [TAKEN, NEVER]
        await here.copied()
        assert [message.recipients for message in here.copy.messages] == [(ONE,)]


async def with_prdr(here: Archived, *recipients: str) -> list[str]:
    """One session of a client that takes a reply for each recipient; those replies."""
    async with connected(here.relay.port) as client:
        await client.ask("MAIL FROM:<sender@client.test> PRDR")
        for recipient in recipients:
            assert await client.ask(f"RCPT TO:<{recipient}>") == ACCEPTED
        told = [await client.data(CONTENT)]
        if told[0].startswith("353"):
            told = [await client.reply() for _ in recipients]
            await client.reply()
        await client.ask("QUIT")
    await here.idle()
    return told


@scenario
async def test_where_each_has_its_own_reply_those_who_are_refused_have_no_copy(tmp_path: Path) -> None:
    async with archived(tmp_path) as here:
        here.one.answers[Phase.FINAL] = LATER
        assert await with_prdr(here, ONE, TWO) == [LATER, TAKEN]
        assert here.copy.ends_of_data == 0
        assert here.outcomes(here.copy) == [(Outcome.ABORTED, LATER)]
        here.one.answers[Phase.FINAL] = TAKEN
        assert await with_prdr(here, ONE) == [TAKEN]
        assert len(here.copy.messages) == 1


@scenario
async def test_who_shares_a_copy_with_one_that_is_accepted_has_no_second_one_when_it_comes_again(
    tmp_path: Path,
) -> None:
    async with archived(tmp_path) as here:
        here.two.answers[Phase.FINAL] = LATER
        assert await with_prdr(here, ONE, BOTH) == [TAKEN, LATER]
        assert [message.recipients for message in here.copy.messages] == [(ONE, BOTH)]
        here.two.answers[Phase.FINAL] = TAKEN
        assert (await with_prdr(here, BOTH))[0].startswith("250")
        assert here.holds() == (1, 1)
        assert len(here.copy.messages) == 1
        assert await with_prdr(here, ONE, BOTH) == [TAKEN, TAKEN]  # on purpose
        assert len(here.copy.messages) == 2


def test_a_bug_of_ours_leaves_no_copy_waiting_for_its_end() -> None:
    async def session() -> None:
        async with archived() as here, connected(here.relay.port) as client:
            here.relay.service.order = Confused()
            assert (await client.deliver([ONE])).startswith("451 4.3.0")
            await until(lambda: not here.copy.open, "Moxy to let the copy go")
            assert here.copy.ends_of_data == 0

    with pytest.raises(AssertionError, match="'event': 'bug'"):
        scenario(session)()


class Confused(CommitOrder):
    """Something of ours that breaks when a destination has given its verdict."""

    def learn(self, destination: str, refused: bool) -> None:
        raise RuntimeError(destination)


@pytest.mark.parametrize("ending", ["RSET", "EHLO again", "QUIT", "reset", "a bare LF", "a loop"])
@scenario
async def test_a_message_that_never_ends_well_is_not_copied(ending: str) -> None:
    async with archived() as here:
        async with connected(here.relay.port) as client:
            await client.begin([ONE])
            if ending in ("reset", "a bare LF", "a loop"):
                await client.ask("DATA")
                client.write(b"Received: from x\r\n" * 60 + b"\r\n" + CONTENT)
                await until(lambda: any(talk.octets for talk in here.copy.talks), "content")
                if ending == "reset":
                    client.reset()
                else:
                    client.write(b"bare\nlf\r\n.\r\n" if ending == "a bare LF" else b".\r\n")
                    assert (await client.reply()).startswith("554")
            else:
                assert (await client.ask(ending)).startswith("2")
        await here.idle()
        assert not here.copy.ends_of_data
        assert not here.one.ends_of_data


# -- the record


@scenario
async def test_why_a_copy_was_aborted_is_recorded() -> None:
    async with archived() as here, connected(here.relay.port) as client:
        here.one.answers[Phase.FINAL] = NEVER
        await client.deliver([ONE])
        assert here.outcomes(here.copy) == [(Outcome.ABORTED, NEVER)]


@pytest.mark.parametrize("phase", [Phase.RCPT, Phase.DATA, Phase.FINAL])
@scenario
async def test_a_copys_own_refusal_is_recorded_once_in_its_own_words(phase: Phase) -> None:
    async with archived() as here, connected(here.relay.port) as client:
        here.copy.answers[phase] = NEVER
        await client.deliver([ONE])
        await until(lambda: here.outcomes(here.copy), "the record")
        (record,) = [record for record in here.relay.records if record.destination == here.copy.address]
        assert str(record.reply) == NEVER
        assert record.recipients == [ONE]


@scenario
async def test_a_client_that_leaves_while_copies_are_asked_leaves_no_two_records_of_one() -> None:
    async with archived() as here:
        two_copies = route(here.one.port, copies=(here.two.port, here.copy.port))
        here.relay.service.routes = Domains({"one.test": two_copies})
        async with connected(here.relay.port) as client:
            here.copy.answers[Phase.DATA] = Act.SILENCE
            await client.begin([ONE])
            client.send("DATA")
            await until(lambda: here.copy.silences and here.two.commands("DATA"), "the silence")
            client.reset()
        await here.idle()
        assert [outcome for outcome, _ in here.outcomes(here.one)] == [Outcome.ABORTED]
        assert len(here.outcomes(here.copy)) <= 1
        assert len(here.outcomes(here.two)) <= 1


# -- once more


@scenario
async def test_a_retry_makes_no_second_copy(tmp_path: Path) -> None:
    async with archived(tmp_path) as here:
        await lose_the_reply(here, here.one)
        await here.copied()
        await here.idle()
        assert len(await here.entries()) == 2
        assert await attempt(here, ONE) == [ACCEPTED, ALREADY]
        assert (len(here.one.messages), len(here.copy.messages)) == (1, 1)
        assert here.outcomes(here.copy) == [(Outcome.DELIVERED, TAKEN), (Outcome.SUPPRESSED, ALREADY)]
        assert await attempt(here, ONE) == [ACCEPTED, TAKEN]
        await here.copied(2)


@scenario
async def test_a_copy_that_is_taken_after_the_client_was_lost_is_remembered_as_well(tmp_path: Path) -> None:
    async with archived(tmp_path) as here:
        async with connected(here.relay.port) as client:
            here.one.answers[Phase.FINAL] = here.copy.answers[Phase.FINAL] = Act.SILENCE
            await client.begin([ONE])
            await client.ask("DATA")
            client.write(CONTENT + b".\r\n")
            await until(lambda: here.one.silences, "the dot")
            client.reset()
            await until(lambda: not here.relay.service.connections, "Moxy to notice")
        here.one.release(TAKEN)
        await until(lambda: here.copy.silences, "the copy's dot")
        assert len(await here.entries()) == 1
        here.copy.release(TAKEN)
        await here.idle()
        assert len(await here.entries()) == 2
        here.one.answers[Phase.FINAL] = here.copy.answers[Phase.FINAL] = TAKEN
        assert await attempt(here, ONE) == [ACCEPTED, ALREADY]
        assert (len(here.one.messages), len(here.copy.messages)) == (1, 1)


@scenario
async def test_a_copy_that_was_taken_before_the_client_was_lost_is_remembered(tmp_path: Path) -> None:
    async with archived(tmp_path) as here:
        async with connected(here.relay.port) as client:
            assert await client.deliver([ONE], CONTENT) == TAKEN
            await until(lambda: here.outcomes(here.copy), "the copy")
            client.reset()
        await here.idle()
        assert len(await here.entries()) == 2
        assert await attempt(here, ONE) == [ACCEPTED, ALREADY]
        assert len(here.copy.messages) == 1


@scenario
async def test_a_copy_that_failed_is_made_by_a_retry(tmp_path: Path) -> None:
    async with archived(tmp_path) as here:
        here.copy.answers[Phase.FINAL] = NEVER
        await lose_the_reply(here, here.one)
        here.copy.answers[Phase.FINAL] = TAKEN
        assert await attempt(here, ONE) == [ACCEPTED, ALREADY]
        await here.copied()
        assert len(here.one.messages) == 1


@scenario
async def test_after_a_mixed_transaction_copies_come_with_the_retry(tmp_path: Path) -> None:
    async with archived(tmp_path) as here:
        here.ask_first(here.one)
        here.two.answers[Phase.FINAL] = NEVER
        assert await attempt(here, ONE, TWO) == [ACCEPTED, ACCEPTED, MIXED]
        assert not here.copy.messages
        assert await attempt(here, ONE, TWO) == [ACCEPTED, SPLIT, ALREADY]
        await here.copied()
        assert [message.recipients for message in here.copy.messages] == [(ONE,)]
        assert here.holds() == (1, 0)
