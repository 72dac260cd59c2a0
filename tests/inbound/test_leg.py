"""Leg: a delivery of a transaction, and what has become of its recipients there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.inbound.leg import Leg
from moxy.ledger import State
from moxy.smtp import replies
from moxy.smtp.reply import Reply
from support.legs import LATER, LOST, NEVER, YES, leg, recipient

verdicts = st.lists(st.sampled_from([YES, LATER, NEVER]), min_size=1, max_size=6)


def concluded(answers: list[Reply], unanswered: int = 0) -> Leg:
    """A leg with as many recipients as there are answers."""
    made = leg(*[f"u{number}@one.test" for number in range(len(answers))])
    made.conclude(answers, unanswered)
    return made


def test_before_its_dot_a_leg_has_no_verdict_and_nobody_has_the_message() -> None:
    made = leg("a@one.test", "b@one.test")
    assert not made.concluded
    assert not made.accepted
    assert not made.doubtful
    assert made.unanimous is None
    first, second = made.delivery.recipients
    assert made.answer(first) is None
    assert made.outcomes() == [(first, State.UNDELIVERED), (second, State.UNDELIVERED)]


@pytest.mark.parametrize(
    ("answers", "accepted", "unanimous"),
    [
        ([YES], True, True),
        ([NEVER], False, True),
        ([YES, YES], True, True),
        ([YES, Reply(250, "0.0", "taken")], True, True),
        ([YES, Reply(250, "0.0", "taken, too")], True, False),
        ([YES, NEVER], True, False),
        ([NEVER, YES], True, False),
        ([LATER, NEVER], False, False),
        ([LATER, LATER], False, True),
    ],
)
def test_what_a_leg_has_come_to(answers: list[Reply], accepted: bool, unanimous: bool) -> None:
    made = concluded(answers)
    assert (made.concluded, made.accepted) == (True, accepted)
    assert made.unanimous == (answers[0] if unanimous else None)


@pytest.mark.parametrize(("unanswered", "doubtful"), [(0, False), (1, True), (2, True)])
def test_a_destination_that_did_not_answer_for_everybody_leaves_a_doubt(unanswered: int, doubtful: bool) -> None:
    assert concluded([LOST, LOST], unanswered).doubtful is doubtful


@given(verdicts)
def test_each_recipient_has_its_own_answer(answers: list[Reply]) -> None:
    made = concluded(answers)
    assert [made.answer(known) for known in made.delivery.recipients] == answers


def test_the_same_path_twice_is_two_recipients() -> None:
    first, second = recipient("a@one.test"), recipient("a@one.test")
    made = leg(first, second)
    made.conclude([YES, NEVER])
    assert (made.answer(first), made.answer(second)) == (YES, NEVER)


@given(verdicts, st.data())
def test_groups_part_the_recipients(answers: list[Reply], data: st.DataObject) -> None:
    unanswered = data.draw(st.integers(0, len(answers)))
    answered = len(answers) - unanswered
    answers = answers[:answered] + [LOST] * unanswered
    made = concluded(answers, unanswered)
    everybody = made.delivery.recipients
    groups = made.groups()
    grouped = [known for _, _, group in groups for known in group]
    assert sorted(grouped, key=everybody.index) == everybody, "each recipient is in one group, and in one only"
    assert len({(state, reply) for state, reply, _ in groups}) == len(groups), "two groups for those who fared alike"
    for state, reply, group in groups:
        assert group, "a group of nobody"
        for known in group:
            place = everybody.index(known)
            assert reply == answers[place]
            assert (state is State.UNKNOWN) == (place >= answered)
            assert (state is State.COMMITTED) == (place < answered and reply.positive)
    outcomes = made.outcomes()
    assert len(outcomes) == len(everybody)
    assert dict(outcomes) == {known: state for state, _, group in groups for known in group}


@pytest.mark.parametrize(
    ("answers", "unanswered", "states"),
    [
        ([YES, NEVER, LATER], 0, [State.COMMITTED, State.UNDELIVERED, State.UNDELIVERED]),
        ([YES, LOST, LOST], 2, [State.COMMITTED, State.UNKNOWN, State.UNKNOWN]),
        ([LOST, LOST], 2, [State.UNKNOWN, State.UNKNOWN]),
        ([LOST, LOST], 1, [State.UNDELIVERED, State.UNKNOWN]),
        ([YES, YES], 0, [State.COMMITTED, State.COMMITTED]),
    ],
)
def test_the_last_recipients_may_be_without_an_answer(
    answers: list[Reply], unanswered: int, states: list[State]
) -> None:
    made = concluded(answers, unanswered)
    outcomes = dict(made.outcomes())
    assert [outcomes[known] for known in made.delivery.recipients] == states


def test_what_is_under_way_is_for_the_other_transaction_to_say() -> None:
    assert concluded([replies.UNDER_WAY, replies.UNDER_WAY]).outcomes() == []
