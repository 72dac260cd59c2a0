"""Recipients: whom a transaction is for, who shares a delivery, and who is put off."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from moxy.ledger import Entry, State
from support.destination import Act, Destination, Phase, running_destination
from support.ledgers import entry
from support.place import (
    ACCEPTED,
    ALREADY,
    ALSO_ONE,
    BOTH,
    CONTENT,
    LATER,
    NEVER,
    ONE,
    SENDER,
    SPLIT,
    TAKEN,
    TWO,
    UNDER_WAY,
    Place,
    attempt,
    place,
)
from support.relay import Domains, route, running_relay
from support.scenario import scenario, until
from support.smtpclient import Client, connected

BUSY = "452 4.2.2 mailbox full"


async def pipelined(client: Client, *recipients: str) -> list[str]:
    """MAIL and all RCPTs in one write; the replies to the recipients."""
    client.send(f"MAIL FROM:<{SENDER}>", *[f"RCPT TO:<{recipient}>" for recipient in recipients])
    return [await client.reply() for _ in range(len(recipients) + 1)][1:]


async def apart(here: Place, *recipients: tuple[str, Destination], age: float = 0.0) -> None:
    """Have these been in a transaction whose destinations disagreed, and not got their message."""
    now = here.relay.service.clock()
    await here.relay.service.ledger.write(
        [
            noted(address, destination, state=State.UNDELIVERED, time=now - age + number)
            for number, (address, destination) in enumerate(recipients)
        ]
    )


def noted(address: str, destination: Destination, **others: object) -> Entry:
    place = {"destination": destination.address, "host": destination.address, "reverse_path": SENDER}
    return entry(address, **place | others)


# -- one by one


@pytest.mark.parametrize("way", ["one by one", "pipelined"])
@scenario
async def test_spread_first_takes_one_destination_after_the_other(tmp_path: Path, way: str) -> None:
    async with place(tmp_path, spread_first=True) as here, connected(here.relay.port) as client:
        ask = pipelined if way == "pipelined" else lambda client, *recipients: client.begin(recipients)
        assert await ask(client, ONE, TWO, BOTH, ALSO_ONE) == [ACCEPTED, SPLIT, SPLIT, ACCEPTED]
        assert await client.data(CONTENT) == TAKEN
        assert await ask(client, TWO, BOTH) == [ACCEPTED, SPLIT]
        assert await client.data(CONTENT) == TAKEN
        assert await ask(client, BOTH) == [ACCEPTED]
        assert await client.data(CONTENT) == TAKEN
        assert here.holds() == (2, 2)


@scenario
async def test_who_was_refused_does_not_decide_who_may_come_along(tmp_path: Path) -> None:
    async with place(tmp_path, spread_first=True) as here, connected(here.relay.port) as client:
        here.one.answers[Phase.RCPT] = NEVER
        assert await pipelined(client, ONE, TWO, ALSO_ONE) == [NEVER, ACCEPTED, SPLIT]
        assert not any("<b@" in line for line in here.one.commands("RCPT"))


@scenario
async def test_those_behind_wait_for_the_one_before_them(tmp_path: Path) -> None:
    async with place(tmp_path, spread_first=True) as here, connected(here.relay.port) as client:
        here.one.answers[Phase.RCPT] = Act.SILENCE
        client.send(f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{ONE}>", f"RCPT TO:<{TWO}>", f"RCPT TO:<{ALSO_ONE}>")
        await until(lambda: here.one.silences, "the question")
        for _ in range(10):
            await asyncio.sleep(0)
        assert not here.two.talks
        assert len(here.one.commands("RCPT")) == 1
        here.one.answers[Phase.RCPT] = ACCEPTED
        here.one.release(NEVER)
        assert [(await client.reply())[:3] for _ in range(4)] == ["250", "550", "250", "451"]


@scenario
async def test_who_leaves_while_others_wait_for_their_turn_leaves_nothing(tmp_path: Path) -> None:
    async with place(tmp_path, spread_first=True) as here:
        async with connected(here.relay.port) as client:
            here.one.answers[Phase.RCPT] = here.one.answers[Phase.RSET] = Act.SILENCE
            client.send(f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{ONE}>", f"RCPT TO:<{TWO}>")
            await until(lambda: here.one.silences, "the question")
            client.reset()
            await until(lambda: here.one.silences == 2, "Moxy to give up")
            here.one.release(NEVER)
            here.one.release("250 2.0.0 forgotten")
        await here.idle()
        assert not here.two.talks


@scenario
async def test_without_a_reason_everybody_is_asked_at_the_same_time(tmp_path: Path) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        here.one.answers[Phase.RCPT] = Act.SILENCE
        client.send(f"MAIL FROM:<{SENDER}>", f"RCPT TO:<{ONE}>", f"RCPT TO:<{TWO}>")
        await here.two.reached("RCPT")
        here.one.release(ACCEPTED)
        assert [(await client.reply())[:3] for _ in range(3)] == ["250"] * 3


@pytest.mark.parametrize("order", [(ONE, TWO), (TWO, ONE)])
@scenario
async def test_who_is_to_be_asked_alone_puts_all_others_off_and_the_first_one_counts(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        await apart(here, (ONE, here.one))
        assert await client.begin(order) == [ACCEPTED, SPLIT]


@scenario
async def test_those_who_wait_for_the_ledger_are_asked_in_order_all_the_same(tmp_path: Path) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        await apart(here, (ONE, here.one), (TWO, here.two))
        assert await pipelined(client, ONE, TWO, ALSO_ONE) == [ACCEPTED, SPLIT, ACCEPTED]


# -- in turn


@scenario
async def test_who_is_put_off_does_not_keep_others_waiting_for_ever(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.ask_first(here.one)
        here.one.answers[Phase.FINAL] = LATER
        assert await attempt(here, ONE, TWO) == [ACCEPTED, ACCEPTED, LATER]
        assert await attempt(here, ONE, TWO) == [ACCEPTED, SPLIT, LATER]
        assert await attempt(here, ONE, TWO) == [SPLIT, ACCEPTED, TAKEN]
        assert here.holds() == (0, 1)
        here.one.answers[Phase.FINAL] = TAKEN
        assert await attempt(here, ONE) == [ACCEPTED, TAKEN]


@scenario
async def test_who_is_put_off_at_data_does_not_keep_others_waiting_either(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.one.answers[Phase.DATA] = LATER
        assert await attempt(here, ONE, TWO) == [ACCEPTED, ACCEPTED, LATER]
        assert await attempt(here, ONE, TWO) == [ACCEPTED, SPLIT, LATER]
        assert await attempt(here, ONE, TWO) == [SPLIT, ACCEPTED, TAKEN]


@pytest.mark.parametrize("first", [ONE, BOTH])
@pytest.mark.parametrize("phase", [Phase.DATA, Phase.FINAL])
@scenario
async def test_one_destination_at_a_time_everybody_has_a_turn(tmp_path: Path, first: str, phase: Phase) -> None:
    async with place(tmp_path, spread_first=True) as here:
        here.ask_first(here.two)
        failing, other = (here.two, ONE) if first == BOTH else (here.one, TWO)
        failing.answers[phase] = LATER
        for _ in range(3):
            answers = await attempt(here, first, other)
            if answers[-1] == TAKEN:
                break
        assert answers == [SPLIT, ACCEPTED, TAKEN]


@scenario
async def test_where_one_of_two_hosts_accepts_the_others_have_a_turn_all_the_same(tmp_path: Path) -> None:
    async with place(tmp_path, spread_first=True) as here:
        here.ask_first(here.one)
        here.two.answers[Phase.FINAL] = LATER
        for _ in range(3):
            answers = await attempt(here, BOTH, ONE)
            if answers[-1] == TAKEN:
                break
        assert answers == [SPLIT, ACCEPTED, TAKEN]


@scenario
async def test_who_steps_back_for_somebody_who_does_not_come_is_asked_next_time(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.ask_first(here.one)
        here.one.answers[Phase.FINAL] = LATER
        await attempt(here, ONE, TWO)
        await attempt(here, ONE)
        assert await attempt(here, ONE) == [SPLIT]
        assert await attempt(here, ONE) == [ACCEPTED, LATER]


@scenario
async def test_only_one_steps_back_in_a_transaction(tmp_path: Path) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        await apart(here, (TWO, here.two), (ONE, here.one), age=100)
        assert await pipelined(client, ONE, TWO) == [SPLIT, ACCEPTED]
        await client.ask("RSET")
        assert await pipelined(client, TWO, ONE) == [SPLIT, ACCEPTED], "the one that stepped back is the older now"


@scenario
async def test_who_is_refused_for_good_need_not_be_alone_any_more(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        await apart(here, (ONE, here.one))
        here.one.answers[Phase.RCPT] = NEVER
        assert await attempt(here, ONE) == [NEVER]
        here.one.answers[Phase.RCPT] = ACCEPTED
        assert await attempt(here, ONE, TWO) == [ACCEPTED, ACCEPTED, TAKEN]


# -- who shares a delivery


@pytest.mark.parametrize(
    ("state", "verdicts"),
    [(State.COMMITTED, [ALREADY, TAKEN]), (State.UNDER_WAY, [UNDER_WAY, TAKEN]), (State.UNKNOWN, [TAKEN, TAKEN])],
)
@scenario
async def test_those_with_another_past_have_a_delivery_of_their_own(
    tmp_path: Path, state: State, verdicts: list[str]
) -> None:
    async with place(tmp_path) as here:
        async with connected(here.relay.port) as client:
            assert await client.deliver([ONE], CONTENT) == TAKEN
            client.reset()
        await here.idle()
        (kept,) = await here.entries()
        (delivered,) = here.one.messages
        own = noted(ONE, here.one, state=state, apart=False, digest=kept.digest, size=kept.size, time=kept.time)
        await here.relay.service.ledger.write([own])
        here.one.messages.clear()
        async with connected(here.relay.port) as client:
            await client.ask(f"MAIL FROM:<{SENDER}> PRDR")
            assert [await client.ask(f"RCPT TO:<{recipient}>") for recipient in (ONE, ALSO_ONE)] == [ACCEPTED] * 2
            assert (await client.data(CONTENT)).startswith("353 ")
            assert [await client.reply() for _ in range(2)] == verdicts
        recipients = [(ONE, ALSO_ONE)] if state is State.UNKNOWN else [(ALSO_ONE,)]
        assert [message.recipients for message in here.one.messages] == recipients
        assert delivered.below_trace == CONTENT


@scenario
async def test_all_recipients_of_one_destination_share_a_delivery_whatever_their_domains(tmp_path: Path) -> None:
    async with place(tmp_path) as here, connected(here.relay.port) as client:
        same = route(here.one.port)
        here.relay.service.routes = Domains({"one.test": same, "also.test": same})
        assert await client.deliver([ONE, "x@also.test", ALSO_ONE]) == TAKEN
        assert [message.recipients for message in here.one.messages] == [(ONE, "x@also.test", ALSO_ONE)]


# -- words


@scenario
async def test_a_452_of_one_destination_of_several_would_have_exim_bounce_who_was_put_off() -> None:
    async with (
        running_destination() as one,
        running_destination() as two,
        running_relay({"one.test": route(one.port), "two.test": route(two.port)}) as relay,
        connected(relay.port) as client,
    ):
        two.answers[Phase.RCPT] = BUSY
        assert await client.begin([ONE, TWO]) == [ACCEPTED, BUSY.replace("452", "451")]
        await client.ask("RSET")
        assert await client.begin([TWO]) == [BUSY], "alone it is told as it is"
