"""The order of commit: who is likeliest to refuse is asked first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.inbound import order
from moxy.inbound.order import CommitOrder
from support.legs import leg

lessons = st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=60)


def taught(*learned: tuple[str, bool]) -> CommitOrder:
    """An order that has seen these verdicts."""
    made = CommitOrder()
    for destination, refused in learned:
        made.learn(destination, refused)
    return made


def names(made: CommitOrder, *legs: tuple[str, int, float]) -> list[str]:
    """The order of these destinations; of each its name, recipients refused, seconds."""
    sorted_ = made.sorted([leg(name=name, refusals=refusals, delay=delay) for name, refusals, delay in legs])
    return [found.delivery.name for found in sorted_]


def test_who_refused_before_is_asked_first() -> None:
    assert names(taught(("b", True)), ("a", 0, 0), ("b", 0, 0)) == ["b", "a"]
    assert names(taught(("b", True)), ("a", 7, 9.0), ("b", 0, 0)) == ["b", "a"], "what was learned comes first"


def test_then_who_refused_most_recipients_just_now_then_the_slowest() -> None:
    assert names(CommitOrder(), ("a", 0, 9.0), ("b", 1, 0.1), ("c", 2, 0.0)) == ["c", "b", "a"]
    assert names(CommitOrder(), ("a", 0, 0.1), ("b", 0, 0.3), ("c", 0, 0.2)) == ["b", "c", "a"]


def test_among_equals_the_order_is_that_of_the_recipients() -> None:
    assert names(CommitOrder(), ("b", 0, 0), ("c", 0, 0), ("a", 0, 0)) == ["b", "c", "a"]


def test_who_refuses_more_often_comes_before_who_refuses_less_often() -> None:
    made = taught(
        *[("a", number % 4 == 0) for number in range(100)], *[("b", number % 2 == 0) for number in range(100)]
    )
    assert names(made, ("a", 0, 0), ("b", 0, 0)) == ["b", "a"]


def test_a_destination_that_has_become_good_is_forgotten() -> None:
    made = taught(*[("a", True)] * 50)
    for _ in range(200):
        made.learn("a", refused=False)
    assert not made._reluctance
    assert names(made, ("a", 0, 0), ("b", 0, 1.0)) == ["b", "a"]


@given(lessons)
def test_what_is_remembered_is_a_share_and_only_of_those_who_refused(learned: list[tuple[str, bool]]) -> None:
    made = taught(*learned)
    assert all(0 < share <= 1 for share in made._reluctance.values())
    assert set(made._reluctance) <= {destination for destination, refused in learned if refused}


@given(lessons)
def test_sorting_leaves_nobody_out_and_puts_the_more_reluctant_first(learned: list[tuple[str, bool]]) -> None:
    made = taught(*learned)
    found = names(made, *[(name, 0, 0.0) for name in "abcdef"])
    assert sorted(found) == list("abcdef")
    shares = [made._reluctance.get(name, 0.0) for name in found]
    assert shares == sorted(shares, reverse=True)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=80))
def test_the_memory_is_bounded(learned: list[tuple[int, bool]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "DESTINATIONS", 3)
        made = CommitOrder()
        for number, refused in learned:
            made.learn(str(number), refused)
            assert len(made._reluctance) <= 3


def test_of_too_many_the_one_that_was_heard_of_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "DESTINATIONS", 2)
    made = taught(("a", True), ("b", True), ("a", True), ("c", True))
    assert set(made._reluctance) == {"a", "c"}
