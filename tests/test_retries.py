"""What a sender hears when it comes again, and who holds what then (contract D7, D8)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from moxy.ledger import State
from moxy.mail import Mode
from support.destination import Act, Answer, Phase, running_destination
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
    SPLIT,
    TAKEN,
    TWO,
    UNDER_WAY,
    Place,
    attempt,
    in_file,
    lose_the_reply,
    place,
    until_the_dot,
)
from support.ports import LOOPBACK
from support.relay import Domains, route
from support.scenario import scenario, until
from support.smtpclient import Client, connected

# -- destinations that disagree


@scenario
async def test_mixed_verdicts_end_in_exact_ones(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.ask_first(here.one)
        here.two.answers[Phase.FINAL] = NEVER
        assert await attempt(here, ONE, TWO) == [ACCEPTED, ACCEPTED, MIXED]
        assert here.holds() == (1, 0)
        assert await attempt(here, ONE, TWO) == [ACCEPTED, SPLIT, ALREADY]
        assert await attempt(here, TWO) == [ACCEPTED, NEVER]
        assert here.holds() == (1, 0)


@scenario
async def test_a_refusal_that_kept_the_message_from_all_is_told_to_its_own_recipient_only(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.ask_first(here.one)
        here.one.answers[Phase.FINAL] = NEVER
        assert await attempt(here, ONE, TWO) == [ACCEPTED, ACCEPTED, MIXED]
        assert here.holds() == (0, 0)
        assert await attempt(here, ONE, TWO) == [ACCEPTED, SPLIT, NEVER]
        assert await attempt(here, TWO) == [ACCEPTED, TAKEN]
        assert here.holds() == (0, 1)


@scenario
async def test_once_the_sender_knows_its_messages_are_together_again(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.ask_first(here.one)
        here.two.answers[Phase.FINAL] = LATER
        assert (await attempt(here, ONE, TWO))[-1] == MIXED
        here.two.answers[Phase.FINAL] = TAKEN
        assert await attempt(here, ONE, TWO) == [ACCEPTED, SPLIT, ALREADY]
        assert await attempt(here, TWO) == [ACCEPTED, TAKEN]
        assert await attempt(here, ONE, TWO) == [ACCEPTED, ACCEPTED, TAKEN]
        assert here.holds() == (2, 2)


@pytest.mark.parametrize("verdict", [LATER, NEVER])
@scenario
async def test_who_has_two_hosts_hears_of_the_one_that_refuses_and_the_other_gets_nothing_twice(
    tmp_path: Path, verdict: str
) -> None:
    async with place(tmp_path) as here:
        here.ask_first(here.one)
        here.two.answers[Phase.FINAL] = verdict
        assert await attempt(here, BOTH) == [ACCEPTED, verdict]
        assert here.holds() == (1, 0)
        if verdict == NEVER:
            assert not [entry for entry in await here.entries() if entry.state is not State.CONFIRMED]
            return
        assert await attempt(here, BOTH) == [ACCEPTED, LATER]
        here.two.answers[Phase.FINAL] = TAKEN
        assert (await attempt(here, BOTH))[-1].startswith("250")
        assert here.holds() == (1, 1)
        assert set((await here.states()).values()) == {State.CONFIRMED}
        assert await attempt(here, BOTH) == [ACCEPTED, TAKEN]
        assert here.holds() == (2, 2)


@scenario
async def test_who_has_two_hosts_of_which_the_first_accepted_gets_the_verdict_of_the_second(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.ask_first(here.one)
        here.two.answers[Phase.FINAL] = LATER
        await attempt(here, BOTH)
        here.two.answers[Phase.FINAL] = NEVER
        assert await attempt(here, BOTH) == [ACCEPTED, NEVER]
        assert here.holds() == (1, 0)


@scenario
async def test_who_has_two_hosts_gets_nothing_from_one_if_the_other_refuses_first(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.ask_first(here.two)
        here.two.answers[Phase.FINAL] = LATER
        assert await attempt(here, BOTH) == [ACCEPTED, LATER]
        assert (here.holds(), here.one.ends_of_data) == ((0, 0), 0)
        here.two.answers[Phase.FINAL] = TAKEN
        assert await attempt(here, BOTH) == [ACCEPTED, TAKEN]
        assert here.holds() == (1, 1)


@scenario
async def test_recipients_of_one_destination_stay_together_when_they_come_again(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.ask_first(here.one)
        here.two.answers[Phase.FINAL] = LATER
        assert await attempt(here, ONE, TWO, ALSO_ONE) == [ACCEPTED] * 3 + [MIXED]
        here.two.answers[Phase.FINAL] = TAKEN
        assert await attempt(here, ONE, TWO, ALSO_ONE) == [ACCEPTED, SPLIT, ACCEPTED, ALREADY]
        assert await attempt(here, TWO) == [ACCEPTED, TAKEN]
        assert [message.recipients for message in here.one.messages] == [(ONE, ALSO_ONE)]
        assert here.holds() == (1, 1)


@scenario
async def test_of_an_lmtp_destination_that_disagrees_with_itself_each_recipient_is_told_alone(tmp_path: Path) -> None:
    async with lmtp_place(tmp_path) as here:
        here.one.verdicts[ALSO_ONE] = NEVER
        assert await attempt(here, ONE, ALSO_ONE) == [ACCEPTED, ACCEPTED, MIXED]
        assert [message.recipients for message in here.one.messages] == [(ONE,)]
        assert await attempt(here, ONE, ALSO_ONE) == [ACCEPTED, SPLIT, ALREADY]
        assert await attempt(here, ALSO_ONE) == [ACCEPTED, NEVER]
        assert len(here.one.messages) == 1
        assert await attempt(here, ONE) == [ACCEPTED, TAKEN]


@scenario
async def test_of_an_lmtp_destination_those_who_do_not_have_it_yet_are_asked_one_by_one(tmp_path: Path) -> None:
    async with lmtp_place(tmp_path) as here:
        others = ["x@one.test", "y@one.test"]
        here.one.verdicts |= dict.fromkeys(others, LATER)
        assert await attempt(here, ONE, *others) == [ACCEPTED] * 3 + [MIXED]
        here.one.verdicts["y@one.test"] = NEVER
        assert await attempt(here, ONE, *others) == [ACCEPTED, SPLIT, SPLIT, ALREADY]
        assert await attempt(here, "x@one.test", "y@one.test") == [ACCEPTED, SPLIT, LATER]
        here.one.verdicts["x@one.test"] = TAKEN
        assert await attempt(here, "y@one.test", "x@one.test") == [ACCEPTED, SPLIT, NEVER]
        assert await attempt(here, "x@one.test") == [ACCEPTED, TAKEN]
        assert [message.recipients for message in here.one.messages] == [(ONE,), ("x@one.test",)]


@scenario
async def test_a_refusal_of_data_by_one_is_told_to_its_own_recipient_when_they_come_again(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.two.answers[Phase.DATA] = NEVER
        assert await attempt(here, ONE, TWO) == [ACCEPTED, ACCEPTED, MIXED]
        assert here.holds() == (0, 0)
        assert await attempt(here, TWO, ONE) == [ACCEPTED, SPLIT, NEVER]
        assert await attempt(here, ONE) == [ACCEPTED, TAKEN]
        assert {entry.state for entry in await here.entries()} == {State.CONFIRMED}


@scenario
async def test_another_message_to_the_same_recipient_is_none_of_a_retrys_business(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await lose_the_reply(here, here.one)
        assert await attempt(here, ONE, content=b"Subject: y\r\n\r\ny\r\n") == [ACCEPTED, TAKEN]
        assert await attempt(here, ONE, sender="other@client.test") == [ACCEPTED, TAKEN]
        assert await attempt(here, ALSO_ONE) == [ACCEPTED, TAKEN]
        assert await attempt(here, ONE) == [ACCEPTED, ALREADY]
        assert len(here.one.messages) == 4


@scenario
async def test_who_has_it_and_who_has_not_do_not_share_a_delivery(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await lose_the_reply(here, here.one, ONE)
        answers = await attempt(here, ONE, ALSO_ONE)
        assert answers[:2] == [ACCEPTED, ACCEPTED]
        assert answers[2].startswith("250")
        assert [message.recipients for message in here.one.messages] == [(ONE,), (ALSO_ONE,)]


@scenario
async def test_a_client_that_takes_a_reply_for_each_is_never_split(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.ask_first(here.one)
        here.two.answers[Phase.FINAL] = LATER
        assert (await attempt(here, ONE, TWO))[-1] == MIXED
        here.two.answers[Phase.FINAL] = NEVER
        async with connected(here.relay.port) as client:
            assert await prdr(client, ONE, TWO) == [ALREADY, NEVER, "250 2.6.0 Message accepted for some recipients"]
            await client.ask("QUIT")
        await here.idle()
        assert here.holds() == (1, 0)
        assert {entry.state for entry in await here.entries()} == {State.CONFIRMED}


async def prdr(client: Client, *recipients: str) -> list[str]:
    """A transaction with PRDR; the replies to its dot behind the 353."""
    await client.ask("MAIL FROM:<sender@client.test> PRDR")
    for recipient in recipients:
        assert await client.ask(f"RCPT TO:<{recipient}>") == ACCEPTED
    assert (await client.data(CONTENT)).startswith("353 ")
    return [await client.reply() for _ in range(len(recipients) + 1)]


@asynccontextmanager
async def lmtp_place(directory: Path) -> AsyncIterator[Place]:
    """Two destinations that speak LMTP."""
    async with place(directory, lmtp_destinations=True) as here:
        yield here


# -- replies that are lost


@scenario
async def test_a_repetition_on_purpose_is_delivered(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        for _ in range(3):
            assert (await attempt(here, ONE))[-1] == TAKEN
        assert here.holds() == (3, 0)


@scenario
async def test_a_lost_reply_does_not_double(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await lose_the_reply(here, here.one)
        assert await here.states() == {ONE: State.COMMITTED}
        assert await attempt(here, ONE) == [ACCEPTED, ALREADY]
        assert await attempt(here, ONE) == [ACCEPTED, TAKEN], "a repetition on purpose is none of our business"
        assert here.holds() == (2, 0)


@scenario
async def test_a_reply_that_is_lost_time_after_time_does_not_double(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await lose_the_reply(here, here.one)
        for _ in range(3):
            async with connected(here.relay.port) as client:
                assert await client.deliver([ONE], CONTENT) == ALREADY
                client.reset()
            await here.idle()
        assert await attempt(here, ONE) == [ACCEPTED, ALREADY]
        assert here.holds() == (1, 0)


@scenario
async def test_two_destinations_that_accepted_do_not_double_when_the_reply_is_lost(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.ask_first(here.one)
        await lose_the_reply(here, here.two, ONE, TWO)
        assert await here.states() == {ONE: State.COMMITTED, TWO: State.COMMITTED}
        assert await attempt(here, ONE, TWO) == [ACCEPTED, ACCEPTED, ALREADY]
        assert here.holds() == (1, 1)


@pytest.mark.parametrize("verdict", [TAKEN, LATER, NEVER])
@pytest.mark.parametrize("death", ["reset", "close"])
@scenario
async def test_a_message_whose_destination_still_thinks_is_not_delivered_beside_itself(
    tmp_path: Path, death: str, verdict: str
) -> None:
    async with place(tmp_path) as here:
        async with connected(here.relay.port) as client:
            await until_the_dot(here, client, here.one)
            (connection,) = here.relay.service.connections
            if death == "reset":
                client.reset()
                await until(lambda: not here.relay.service.connections, "Moxy to notice")
            else:
                client.transport.close()
                await until(lambda: connection._half_closed, "Moxy to notice")
        (thinking,) = [talk for talk in here.one.open if talk._withheld]
        async with connected(here.relay.port) as client:
            assert await client.deliver([ONE], CONTENT) == UNDER_WAY
            await client.ask("QUIT")
        thinking.release(verdict)
        await here.idle()
        assert await attempt(here, ONE) == [ACCEPTED, ALREADY if verdict == TAKEN else TAKEN]
        assert here.holds() == (1, 0)


@scenario
async def test_what_became_of_a_message_under_way_is_nobodys_guess_after_its_time(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        async with connected(here.relay.port) as client:
            await until_the_dot(here, client, here.one)
            client.reset()
            await until(lambda: not here.relay.service.connections, "Moxy to notice")
        (thinking,) = here.one.open
        started = here.relay.service.clock()
        here.relay.service.clock = lambda: started + 3600
        async with connected(here.relay.port) as client:
            assert await client.deliver([ONE], CONTENT) == TAKEN
        thinking.release(LATER)
        await here.idle()


# -- failure notices, whose sender is nobody


async def notice(here: Place, address: str, hello: str) -> str:
    """A notice to ONE from a client with this address and name; the verdict."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(Client, LOOPBACK, here.relay.port, local_addr=(address, 0))
    await client.reply()
    await client.ask(f"EHLO {hello}")
    assert await client.begin([ONE], sender="") == [ACCEPTED]
    verdict = await client.data(CONTENT)
    await client.ask("QUIT")
    await client.leave()
    await here.idle()
    return verdict


@pytest.mark.parametrize(
    ("address", "hello", "verdict"),
    [
        ("127.0.0.1", "client.test", ALREADY),
        ("127.0.0.1", "other.test", ALREADY),
        ("127.0.0.2", "client.test", ALREADY),
        ("127.0.0.2", "other.test", TAKEN),
    ],
)
@scenario
async def test_the_same_notice_from_another_client_is_another_notice(
    tmp_path: Path, address: str, hello: str, verdict: str
) -> None:
    async with place(tmp_path) as here:
        async with connected(here.relay.port) as client:
            assert await client.begin([ONE], sender="") == [ACCEPTED]
            await client.data(CONTENT)
            client.reset()
        await here.idle()
        assert await notice(here, address, hello) == verdict


# -- outcomes that nobody knows


@pytest.mark.parametrize("silence", [Act.CLOSE, Act.SILENCE])
@scenario
async def test_a_retry_goes_where_its_message_may_be_already(tmp_path: Path, silence: Answer) -> None:
    async with running_destination() as first, place(tmp_path) as here:
        hosts = route(first.port, here.one.port, mode=Mode.FAILOVER)
        here.relay.service.routes = Domains({"one.test": hosts})
        first.answers[Phase.GREETING] = Act.CLOSE
        async with connected(here.relay.port) as client:
            here.one.answers[Phase.FINAL] = silence
            await client.begin([ONE])
            await client.ask("DATA")
            client.write(CONTENT + b".\r\n")
            await until(lambda: here.one.ends_of_data, "the dot")
            if silence is Act.SILENCE:
                here.relay.pass_time(here.relay.service.final + 1)
            assert (await client.reply()).startswith("451 4.4.2")
            await client.ask("QUIT")
        await here.idle()
        assert await here.states() == {ONE: State.UNKNOWN}
        first.answers[Phase.GREETING] = "220 here again"
        for pool in here.relay.pools:
            pool._failed = -3600.0  # long ago
        here.one.answers[Phase.FINAL] = TAKEN
        assert await attempt(here, ONE) == [ACCEPTED, TAKEN]
        assert (len(first.messages), len(here.one.messages)) == (0, 1)
        assert await here.states() == {ONE: State.CONFIRMED}


@scenario
async def test_an_unknown_outcome_among_others_is_not_asked_for_a_second_time_by_those_who_have_it(
    tmp_path: Path,
) -> None:
    async with place(tmp_path) as here:
        here.ask_first(here.one)
        here.two.answers[Phase.FINAL] = Act.CLOSE
        assert await attempt(here, ONE, TWO) == [ACCEPTED, ACCEPTED, MIXED]
        assert await here.states() == {ONE: State.COMMITTED, TWO: State.UNKNOWN}
        assert await attempt(here, TWO, ONE) == [ACCEPTED, SPLIT, LOST]
        here.two.answers[Phase.FINAL] = TAKEN
        assert await attempt(here, ONE, TWO) == [ACCEPTED, SPLIT, ALREADY]
        assert await attempt(here, TWO) == [ACCEPTED, TAKEN]
        assert here.holds() == (1, 1)


# -- Moxy dies


@scenario
async def test_what_was_committed_is_in_the_file_while_the_next_destination_thinks(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.ask_first(here.one)
        async with connected(here.relay.port) as client:
            await until_the_dot(here, client, here.two, ONE, TWO)
            await here.noted()
            (entry,) = in_file(here.ledger)
            assert (entry.forward_path, entry.state) == (ONE, State.COMMITTED)
            here.two.release(TAKEN)
            assert await client.reply() == TAKEN
            await client.ask("QUIT")
        await here.idle()
        assert await here.states() == {ONE: State.CONFIRMED}
