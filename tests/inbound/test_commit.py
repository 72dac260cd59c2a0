"""The dots: who is asked for a verdict, in which order, and for how long. (On the wire: test_promise.py.)"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.inbound import commit
from moxy.inbound.leg import Accepted, Leg
from moxy.mail import Recipient
from moxy.smtp.reply import Reply
from support.legs import LATER, NEVER, YES, leg, recipient

BUDGET = 100.0


class Clock(asyncio.SelectorEventLoop):
    """A loop on which time passes when it is told to."""

    late = 0.0

    def time(self) -> float:
        return super().time() + self.late


class Committing:
    """Legs, their recipients, what their destinations will say, and what they were asked."""

    def __init__(self, *verdicts: tuple[str, Sequence[Reply]], takes: float = 0.0) -> None:
        """A destination's name, and its verdicts on its recipients; each needs `takes` seconds."""
        self.verdicts = dict(verdicts)
        self.legs = [
            leg(*[f"u{number}@{name}.test" for number in range(len(answers))], name=name) for name, answers in verdicts
        ]
        self.accepted: list[Accepted] = []
        for made in self.legs:
            for known in made.delivery.recipients:
                self.accept(known, made)
        self.takes = takes
        self.asked: list[str] = []
        self.patience: list[float] = []

    def accept(self, known: Recipient, *legs: Leg) -> None:
        """A recipient whose mail takes these legs."""
        self.accepted.append((len(self.accepted), known, legs))

    async def send(self, asked: Leg, patience: float) -> None:
        self.asked.append(asked.delivery.name)
        self.patience.append(patience)
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        loop.call_soon(answer.set_result, None)
        await answer  # others may be asked meanwhile, if they are to be
        loop.late += self.takes  # type: ignore[attr-defined]
        asked.conclude(list(self.verdicts[asked.delivery.name]))

    def run(self, ask: Callable[[Committing], Coroutine[None, None, None]]) -> list[str]:
        """Who was asked, in order."""
        with asyncio.Runner(loop_factory=Clock) as runner:
            runner.run(ask(self))
        return self.asked

    def in_order(self) -> list[str]:
        return self.run(lambda self: commit.in_order(self.legs, self.accepted, self.legs, self.send, BUDGET))

    def one_by_one(self) -> list[str]:
        return self.run(lambda self: commit.one_by_one(self.legs, self.accepted, self.send, BUDGET))


@pytest.mark.parametrize(
    ("verdicts", "asked"),
    [
        ([[YES], [YES], [YES]], "abc"),
        ([[NEVER], [YES], [YES]], "a"),
        ([[LATER], [YES], [YES]], "a"),
        ([[YES], [NEVER], [YES]], "abc"),
        ([[YES], [LATER], [NEVER]], "abc"),
        ([[YES, NEVER], [YES], [YES]], "abc"),
        ([[NEVER, LATER], [YES], [YES]], "a"),
    ],
)
def test_a_refusal_keeps_the_message_from_all_while_nobody_has_it(verdicts: list[list[Reply]], asked: str) -> None:
    made = Committing(*zip("abc", verdicts, strict=True))
    assert "".join(made.in_order()) == asked


@pytest.mark.parametrize(("before", "asked"), [(YES, ["b", "c"]), (NEVER, [])])
def test_what_was_settled_before_the_dots_counts_as_well(before: Reply, asked: list[str]) -> None:
    made = Committing(("a", [before]), ("b", [NEVER]), ("c", [YES]))
    made.legs[0].conclude([before])

    async def others(self: Committing) -> None:
        await commit.in_order(self.legs[1:], self.accepted, self.legs, self.send, BUDGET)

    assert made.run(others) == asked


@pytest.mark.parametrize("ask", [Committing.in_order, Committing.one_by_one])
def test_who_has_nobody_left_to_deliver_to_is_not_asked(ask: Callable[[Committing], list[str]]) -> None:
    made = Committing(("x", [YES]), ("a", [NEVER]), ("b", [YES]))
    shared = made.legs[1].delivery.recipients[0]
    made.legs[2].delivery.recipients = [shared]
    made.accepted = made.accepted[:1]
    made.accept(shared, made.legs[1], made.legs[2])
    assert ask(made) == ["x", "a"]


@pytest.mark.parametrize("ask", [Committing.in_order, Committing.one_by_one])
def test_who_has_somebody_left_to_deliver_to_is_asked(ask: Callable[[Committing], list[str]]) -> None:
    made = Committing(("x", [YES]), ("a", [NEVER]), ("b", [YES, YES]))
    shared = made.legs[1].delivery.recipients[0]
    made.legs[2].delivery.recipients = [shared, recipient("own@b.test")]
    made.accepted = made.accepted[:1]
    made.accept(shared, made.legs[1], made.legs[2])
    made.accept(made.legs[2].delivery.recipients[1], made.legs[2])
    assert ask(made) == ["x", "a", "b"]


def test_where_each_recipient_has_its_own_reply_a_refusal_is_nobody_elses_affair() -> None:
    assert Committing(("a", [NEVER]), ("b", [LATER]), ("c", [YES])).one_by_one() == ["a", "b", "c"]


@pytest.mark.parametrize("ask", [Committing.in_order, Committing.one_by_one])
def test_all_share_one_budget_of_time(ask: Callable[[Committing], list[str]]) -> None:
    made = Committing(*[(name, [YES]) for name in "abcd"], takes=44.0)
    assert ask(made) == ["a", "b", "c"], "for the last one less than a tenth would be left"
    assert made.patience == [pytest.approx(left, abs=1) for left in (100, 56, 12)]


def test_who_is_not_asked_for_want_of_time_has_no_verdict() -> None:
    made = Committing(("a", [YES]), ("b", [YES]), takes=95.0)
    made.in_order()
    assert [found.concluded for found in made.legs] == [True, False]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_at_once_is_at_once_and_everybody_has_all_the_time(count: int) -> None:
    made = Committing(*[(name, [YES]) for name in "abc"[:count]], takes=60.0)
    asked_before_the_first_answer: list[int] = []

    async def ask(self: Committing) -> None:
        async def send(asked: Leg, patience: float) -> None:
            await self.send(asked, patience)
            asked_before_the_first_answer.append(len(self.asked))

        await commit.at_once(self.legs, send, BUDGET)

    assert made.run(ask) == list("abc"[:count])
    assert asked_before_the_first_answer == [count] * count
    assert made.patience == [BUDGET] * count
    assert all(found.concluded for found in made.legs)


@given(st.lists(st.lists(st.sampled_from([YES, LATER, NEVER]), min_size=1, max_size=3), min_size=1, max_size=5))
def test_a_message_is_with_all_or_with_none_unless_somebody_had_accepted_it_before_the_first_refusal(
    verdicts: list[list[Reply]],
) -> None:
    made = Committing(*zip("abcde", verdicts, strict=False))
    asked = made.in_order()
    somebody_has_it = any(found.accepted for found in made.legs)
    if somebody_has_it:
        assert len(asked) == len(verdicts)
    else:
        assert asked == ["a"], "nobody has it, so the first one has refused it, and no other was asked"
