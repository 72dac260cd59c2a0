"""Memory: what one transaction asks of the ledger and leaves there. (What clients hear then: test_retries.py.)"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from blake3 import blake3

from moxy.delivery.sink import SinkDestination
from moxy.inbound.leg import NO_PAST, Leg, Past
from moxy.inbound.memory import NOT_COME, NOTHING, Known, Memory
from moxy.ledger import Entry, State
from moxy.ledger.shared import NOTE_SECONDS
from moxy.mail import Envelope, Recipient, Session
from moxy.smtp.address import ReversePath
from moxy.smtp.reply import Reply
from support.ledgers import NOW, entry, written
from support.legs import LATER, LOST, NEVER, YES, leg, recipient
from support.place import in_file
from support.relay import Relay, running_relay
from support.scenario import scenario, until

CONTENT = b"Subject: x\r\n\r\n..x\r\n"
SIZE = len(CONTENT) - 1
MESSAGE = (blake3(CONTENT).digest(), SIZE)

# -- what is known


def test_of_nothing_nothing_is_known() -> None:
    assert not NOTHING.apart
    assert NOTHING.past_at("one") == NO_PAST
    assert NOTHING.unknown_at("one") == ""
    assert NOTHING.about(MESSAGE) == []


@pytest.mark.parametrize("state", [State.COMMITTED, State.UNKNOWN, State.UNDELIVERED])
def test_one_entry_of_a_mixed_transaction_is_enough_to_be_asked_alone(state: State) -> None:
    assert Known([entry(apart=False), entry(state=state, apart=True)]).apart
    assert not Known([entry(state=state, apart=False)]).apart


def test_what_a_destination_has_is_what_it_said_so_of() -> None:
    known = Known(
        [
            entry(digest=1, size=10),
            entry(digest=2, size=20),
            entry(digest=3, state=State.UNKNOWN),
            entry(digest=4, state=State.UNDELIVERED),
            entry(digest=5, destination="two"),
        ]
    )
    assert known.past_at("one") == Past(frozenset({((1).to_bytes(32), 10), ((2).to_bytes(32), 20)}))


def test_what_is_under_way_is_so_until_nobody_can_wait_for_it_any_more() -> None:
    young = entry(digest=1, state=State.UNDER_WAY, time=NOW)
    old = entry(digest=2, state=State.UNDER_WAY, time=NOW - 0.1, host="old:25")
    known = Known([young, old], stale=NOW)
    assert known.past_at("one") == Past(under_way=frozenset({(young.digest, young.size)}))
    assert known.unknown_at("one") == "old:25", "it may have come to anything"


def test_the_host_that_may_have_a_message_is_the_last_one_that_fell_silent() -> None:
    known = Known(
        [
            entry(digest=1, state=State.UNKNOWN, host="first:25"),
            entry(digest=2, state=State.UNKNOWN, host="second:25"),
            entry(digest=3, state=State.COMMITTED, host="third:25"),
            entry(digest=4, state=State.UNKNOWN, host="fourth:25", destination="two"),
        ]
    )
    assert known.unknown_at("one") == "second:25"
    assert known.unknown_at("three") == ""


def test_entries_about_a_message_and_those_of_transactions_without_one() -> None:
    own = entry(digest=MESSAGE[0], size=MESSAGE[1])
    none = entry(size=NOT_COME, state=State.UNDELIVERED)
    others = [entry(digest=MESSAGE[0], size=MESSAGE[1] + 1), entry(digest=7, size=MESSAGE[1])]
    assert Known([own, none, *others]).about(MESSAGE) == [own, none]


# -- what one transaction leaves


@dataclass
class Desk:
    """A ledger in a file, and transactions that have to do with it."""

    relay: Relay
    ledger: Path

    def memory(
        self,
        sender: str = "ann@A.test",
        client: str = "192.0.2.1",
        hello: str = "mail.a.test",
        *,
        content: bool = True,
        declared: int = 0,
        id: str = "T1",
    ) -> Memory:
        """That of a transaction, whose content has come already."""
        session = Session("S1", client)
        session.hello = hello
        made = Memory(self.relay.service, session, Envelope(id, ReversePath.parse(sender), size=declared))
        if content:
            made.digest.feed(CONTENT[:5])
            made.digest.feed(CONTENT[5:])
            made.size = SIZE
        return made

    async def entries(self) -> list[Entry]:
        """What is in the file, now that everything before has been done."""
        await written(self.relay.service.ledger)
        return in_file(self.ledger)

    async def noted(self) -> None:
        """Wait until what is noted is in the file."""
        await self.entries()  # there is a file
        await until(lambda: in_file(self.ledger), "the notes", NOTE_SECONDS + 1)

    async def states(self) -> dict[str, State]:
        return {found.forward_path: found.state for found in await self.entries()}


@asynccontextmanager
async def desk(directory: Path) -> AsyncIterator[Desk]:
    async with running_relay({}, ledger=directory / "ledger.db") as relay:
        yield Desk(relay, directory / "ledger.db")


def concluded(answers: Sequence[Reply], unanswered: int = 0, *recipients: Recipient, name: str = "one") -> Leg:
    """A leg whose destination has said this of u0, u1, ... or of these recipients."""
    made = leg(*(recipients or [f"u{number}@One.test" for number in range(len(answers))]), name=name)
    made.conclude(list(answers), unanswered)
    return made


@scenario
async def test_an_entry_says_everything(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        here.relay.service.clock = lambda: 1_700_000_000.5
        await here.memory(declared=900).write([concluded([YES])])
        assert await here.entries() == [
            Entry(
                destination="one",
                host="one:25",
                reverse_path="ann@a.test",
                forward_path="u0@one.test",
                digest=MESSAGE[0],
                size=SIZE,
                state=State.COMMITTED,
                apart=True,
                client="192.0.2.1",
                hello="mail.a.test",
                time=1_700_000_000.5,
                declared=900,
            )
        ]


@scenario
async def test_before_their_content_has_come_messages_are_told_apart_by_their_transactions(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        for name in ("T1", "T2"):
            memory = here.memory(content=False, id=name)
            memory.digest.feed(b"half of it")
            await memory.write([leg("a@one.test")])
        first, second = await here.entries()
        assert first.size == second.size == NOT_COME
        assert first.digest != second.digest
        assert first.state is State.UNDELIVERED


@pytest.mark.parametrize(
    ("apart", "states"),
    [
        (True, [State.COMMITTED, State.UNDELIVERED, State.UNDELIVERED, State.UNKNOWN]),
        (False, [State.COMMITTED, State.UNKNOWN]),
    ],
)
@scenario
async def test_who_does_not_have_it_matters_only_to_those_who_are_asked_alone(
    tmp_path: Path, apart: bool, states: list[State]
) -> None:
    async with desk(tmp_path) as here:
        await here.memory().write([concluded([YES, NEVER, LATER, LOST], 1)], apart=apart)
        found = await here.entries()
        assert [entry.state for entry in found] == states
        assert {entry.apart for entry in found} == {apart}


@scenario
async def test_only_doubts_are_written_where_there_is_nothing_else_to_write(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        memory = here.memory()
        await memory.write_doubts([concluded([YES, NEVER]), concluded([YES], name="two")])
        assert await here.entries() == []
        await memory.write_doubts([concluded([YES, NEVER]), concluded([LOST], 1, recipient("c@two.test"), name="two")])
        assert await here.states() == {"u0@one.test": State.COMMITTED, "c@two.test": State.UNKNOWN}


@scenario
async def test_what_is_noted_is_in_the_file_soon(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        here.memory().note([concluded([YES, NEVER, LOST], 1)])
        await here.noted()
        assert await here.states() == {"u0@one.test": State.COMMITTED}


@scenario
async def test_what_is_noted_and_then_settled_is_never_in_the_file(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        memory, made = here.memory(), concluded([YES, YES])
        memory.note([made])
        memory.settle(made.delivery.recipients)
        here.relay.service.ledger.close()
        assert in_file(here.ledger) == []


@scenario
async def test_what_is_noted_and_then_written_is_in_the_file_once_as_written(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        memory, made = here.memory(), concluded([YES])
        memory.note([made])
        await memory.write([made], apart=False)
        here.relay.service.ledger.close()
        (found,) = in_file(here.ledger)
        assert not found.apart


@scenario
async def test_who_comes_again_finds_what_was_left(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        await here.memory().write([concluded([YES, NEVER])])
        again = here.memory("ann@a.TEST", "198.51.100.1", "other.a.test")
        first, second, stranger = (recipient(f"u{number}@ONE.test") for number in range(3))
        assert [again.concerns(known) for known in (first, second, stranger)] == [True, True, False]
        known = await again.recall(first)
        assert known.apart
        assert known.past_at("one") == Past(frozenset({MESSAGE}))
        assert (await again.recall(second)).past_at("one") == NO_PAST
        assert await again.recall(stranger) is NOTHING
        assert not here.memory("Ann@a.test").concerns(first), "local parts differ in their case, too"


@pytest.mark.parametrize(
    ("client", "hello", "concerned"),
    [
        ("192.0.2.1", "mail.a.test", True),
        ("192.0.2.1", "other.test", True),
        ("192.0.2.9", "mail.a.test", True),
        ("192.0.2.9", "other.test", False),
    ],
)
@scenario
async def test_a_notice_from_nobody_concerns_only_who_sent_it_before(
    tmp_path: Path, client: str, hello: str, concerned: bool
) -> None:
    async with desk(tmp_path) as here:
        await here.memory("").write([concluded([YES])])
        known = await here.memory("", client, hello).recall(recipient("u0@one.test"))
        assert bool(known.entries) is concerned


@scenario
async def test_a_sender_with_a_name_is_the_same_wherever_it_comes_from(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        await here.memory().write([concluded([YES])])
        assert (await here.memory(client="192.0.2.9", hello="other.test").recall(recipient("u0@one.test"))).entries


@scenario
async def test_who_was_told_is_settled_and_the_others_stay_open(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        memory, made = here.memory(), concluded([YES, NEVER, LATER])
        await memory.write([made])
        memory.settle(made.delivery.recipients[:2])
        assert await here.states() == {
            "u0@one.test": State.CONFIRMED,
            "u1@one.test": State.CONFIRMED,
            "u2@one.test": State.UNDELIVERED,
        }


@scenario
async def test_a_retry_settles_what_earlier_attempts_left_about_this_message(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        await here.memory().write([concluded([YES])])
        await here.memory(content=False).write([leg("u0@one.test", name="two")])
        other = here.memory()
        other.digest.feed(b"another message")
        await other.write([concluded([YES], name="three")])
        again, known = here.memory(), recipient("u0@one.test")
        await again.recall(known)
        again.settle([known])
        states = {found.destination: found.state for found in await here.entries()}
        assert states == {"one": State.CONFIRMED, "two": State.CONFIRMED, "three": State.COMMITTED}


@scenario
async def test_who_was_not_told_is_not_settled_by_a_retry(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        await here.memory().write([concluded([YES, YES])])
        again, first, second = here.memory(), recipient("u0@one.test"), recipient("u1@one.test")
        await again.recall(first)
        await again.recall(second)
        again.settle([second])
        assert await here.states() == {"u0@one.test": State.COMMITTED, "u1@one.test": State.CONFIRMED}


@scenario
async def test_where_the_reply_may_be_lost_what_was_accepted_is_kept(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        here.memory().keep([concluded([YES, NEVER, LATER]), concluded([LOST], 1, recipient("c@two.test"), name="two")])
        found = await here.entries()
        assert [(entry.forward_path, entry.state, entry.apart) for entry in found] == [
            ("u0@one.test", State.COMMITTED, False)
        ]


@scenario
async def test_what_nobody_has_is_not_worth_a_word(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        memory, made = here.memory(), concluded([NEVER])
        memory.keep([made])
        memory.note([made])
        await memory.write_doubts([made])
        memory.settle(made.delivery.recipients)
        here.relay.service.ledger.close()
        assert in_file(here.ledger) == []


@scenario
async def test_a_message_of_another_declared_size_is_another_message(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        await here.memory(declared=900).write([concluded([YES])])
        known = recipient("u0@one.test")
        assert await here.memory(declared=901).recall(known) is NOTHING
        assert (await here.memory(declared=900).recall(known)).entries
        assert (await here.memory().recall(known)).entries, "not declared at all"


# -- while destinations think


@pytest.mark.parametrize("at_once", [False, True])
@scenario
async def test_a_message_without_a_verdict_is_known_to_be_under_way_and_soon_in_the_file(
    tmp_path: Path, at_once: bool
) -> None:
    async with desk(tmp_path) as here:
        waiting = [leg("a@one.test"), concluded([YES], 0, recipient("c@two.test"), name="two")]
        here.memory().note_under_way(waiting, at_once=at_once)
        known = await here.memory().recall(recipient("a@one.test"))
        assert known.past_at("one") == Past(under_way=frozenset({MESSAGE}))
        assert not known.apart
        if not at_once:
            await here.noted()
        assert await here.states() == {"a@one.test": State.UNDER_WAY}


@pytest.mark.parametrize("seconds", [480 + 59, 480 + 61])
@scenario
async def test_who_has_waited_longer_than_any_destination_may_think_asks_again(tmp_path: Path, seconds: int) -> None:
    async with desk(tmp_path) as here:
        here.relay.service.clock = lambda: NOW
        here.memory().note_under_way([leg("a@one.test")], at_once=False)
        here.relay.service.clock = lambda: NOW + seconds
        known = await here.memory().recall(recipient("a@one.test"))
        assert bool(known.past_at("one").under_way) is (seconds < 540)
        assert known.unknown_at("one") == ("" if seconds < 540 else "one:25")


@pytest.mark.parametrize("answer", [YES, LATER, NEVER])
@pytest.mark.parametrize("at_once", [False, True])
@scenario
async def test_a_verdict_that_reaches_nobody_ends_it(tmp_path: Path, answer: Reply, at_once: bool) -> None:
    async with desk(tmp_path) as here:
        memory, made = here.memory(), leg("a@one.test")
        memory.note_under_way([made], at_once=at_once)
        made.conclude([answer])
        memory.keep([made])
        found = (await here.memory().recall(recipient("a@one.test"))).entries
        assert [entry.state for entry in found] == ([State.COMMITTED] if answer is YES else [])


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("told", [True, False])
@scenario
async def test_a_verdict_that_is_received_ends_it_whatever_it_was(tmp_path: Path, told: bool, at_once: bool) -> None:
    async with desk(tmp_path) as here:
        memory, made = here.memory(), leg("a@one.test")
        memory.note_under_way([made], at_once=at_once)
        memory.settle(made.delivery.recipients if told else [])
        assert not (await here.memory().recall(recipient("a@one.test"))).entries


# -- in turn


@scenario
async def test_who_was_asked_before_steps_back_for_the_others_once(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        first = recipient("u0@one.test")
        here.relay.service.clock = lambda: NOW
        await here.memory().write([concluded([LATER, LATER])])

        async def steps_back(known: Recipient, now: float) -> bool:
            here.relay.service.clock = lambda: now
            again = here.memory()
            return await again.yields(await again.recall(known), set(), individual=True)

        async def has_its_turn(known: Recipient, now: float) -> None:
            here.relay.service.clock = lambda: now
            again = here.memory()
            await again.recall(known)
            await again.had_their_turn([], [known], [])

        assert not await steps_back(first, NOW + 1), "nobody is older"
        await has_its_turn(first, NOW + 2)
        assert await steps_back(first, NOW + 3)
        assert not await steps_back(first, NOW + 4), "it has stepped back, and nobody came"
        await has_its_turn(first, NOW + 5)
        assert await steps_back(first, NOW + 6)


@scenario
async def test_only_what_the_same_message_left_is_a_reason_to_step_back(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        here.relay.service.clock = lambda: NOW
        other = here.memory()
        other.digest.feed(b"another one")
        await other.write([concluded([LATER], 0, recipient("u1@one.test"))])
        await here.memory().write([concluded([LATER], 0, recipient("u2@one.test"))], apart=False)
        here.relay.service.clock = lambda: NOW + 1
        await here.memory().write([concluded([LATER])])
        again = here.memory()
        assert not await again.yields(await again.recall(recipient("u0@one.test")), set(), individual=True)


@scenario
async def test_who_was_put_off_for_others_who_were_put_off_is_first_the_next_time(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        here.relay.service.clock = lambda: NOW
        destination = SinkDestination(lambda _: None)
        asked = concluded([LATER, YES])
        waited = recipient("c@two.test")
        await here.memory().had_their_turn([asked], asked.delivery.recipients, [(waited, [destination])])
        assert await here.states() == {"u0@one.test": State.UNDELIVERED, "c@two.test": State.UNDELIVERED}
        again = here.memory()
        assert await again.yields(await again.recall(recipient("u0@one.test")), set(), individual=True)


@scenario
async def test_who_wants_no_mail_any_more_need_not_be_asked_alone(tmp_path: Path) -> None:
    async with desk(tmp_path) as here:
        await here.memory().write([concluded([YES, LATER])])
        again = here.memory()
        for known in (recipient("u0@one.test"), recipient("u1@one.test")):
            again.refused(await again.recall(known))
        assert await here.states() == {"u0@one.test": State.COMMITTED, "u1@one.test": State.CONFIRMED}
