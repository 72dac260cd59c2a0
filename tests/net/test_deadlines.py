"""Deadlines: noticed by the sweep after they have passed, and by none before."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from structlog.testing import capture_logs

from moxy.net import deadlines
from moxy.net.deadlines import NEVER, Sweeper


class Watched:
    """Something with a deadline that remembers when it was told."""

    def __init__(self, deadline: float, following: float = NEVER) -> None:
        self.deadline = deadline
        self.following = following
        self.expired: list[float] = []

    def expire(self, now: float) -> None:
        self.expired.append(now)
        self.deadline = self.following


def sweeper_of(*items: Watched) -> Sweeper:
    sweeper = Sweeper()
    sweeper.watched.update(items)
    return sweeper


def test_only_what_is_overdue_expires():
    early, exact, late, never = Watched(1.0), Watched(2.0), Watched(2.1), Watched(NEVER)
    sweeper_of(early, exact, late, never).sweep(2.0)
    assert [item.expired for item in (early, exact, late, never)] == [[2.0], [2.0], [], []]


def test_a_new_deadline_counts_from_the_next_sweep():
    item = Watched(1.0, following=3.0)
    sweeper = sweeper_of(item)
    for now in (1.0, 2.0, 3.0, 4.0):
        sweeper.sweep(now)
    assert item.expired == [1.0, 3.0, 4.0]


def test_what_expires_may_leave_and_others_come():
    sweeper = Sweeper()

    class Leaving(Watched):
        def expire(self, now: float) -> None:
            super().expire(now)
            sweeper.watched.discard(self)
            sweeper.watched.add(Watched(0.0))

    items = [Leaving(0.0) for _ in range(5)]
    sweeper.watched.update(items)
    sweeper.sweep(1.0)
    assert [item.expired for item in items] == [[1.0]] * 5
    assert not sweeper.watched & set(items)


def test_chores_are_done_at_every_sweep_and_a_failing_one_stops_nothing():
    done: list[str] = []

    def broken() -> None:
        raise ValueError("a bug")

    sweeper = Sweeper()
    sweeper.chores += [lambda: done.append("first"), broken, lambda: done.append("last")]
    with capture_logs() as logs:
        sweeper.sweep(1.0)
        sweeper.sweep(2.0)
    assert done == ["first", "last"] * 2
    assert [entry["event"] for entry in logs] == ["bug"] * 2
    assert "broken" in logs[0]["work"]


class Broken:
    """Something whose deadline is its own undoing."""

    deadline = 0.0

    def expire(self, now: float) -> None:
        raise ValueError("a bug")


def test_one_that_fails_keeps_no_other_from_its_deadline():
    sweeper = Sweeper()
    late = [Watched(0.0) for _ in range(5)]
    sweeper.watched |= {Broken(), *late, Broken()}
    with capture_logs() as logs:
        sweeper.sweep(1.0)
    assert all(item.expired for item in late)
    assert len(logs) == 2


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_sweeps_by_itself_until_it_is_stopped(new_loop, monkeypatch):
    monkeypatch.setattr(deadlines, "INTERVAL", 0.001)
    loop = new_loop()
    sweeper = Sweeper()
    sweeps = 0

    def count() -> None:
        nonlocal sweeps
        sweeps += 1
        if sweeps == 3:
            sweeper.stop()
            loop.call_later(0.01, loop.stop)

    sweeper.chores.append(count)
    sweeper.start(loop)
    loop.run_forever()
    loop.close()
    assert sweeps == 3


def test_stopping_what_was_not_started_is_harmless():
    Sweeper().stop()
