"""Deadlines: noticed by the sweep after they have passed, and by none before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop
from structlog.testing import capture_logs

from moxy.net import deadlines
from moxy.net.deadlines import NEVER, SLACK, Delay, Sweeper


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


class Timers(asyncio.SelectorEventLoop):
    """A loop whose time and timers belong to the test."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback, *arguments, context=None):  # type: ignore[no-untyped-def,override]
        self.timers.append((when, lambda: callback(*arguments)))

    def pass_time(self, until: float) -> None:
        """Let time pass, and every timer ring when it is due."""
        while self.timers and min(when for when, _ in self.timers) <= until:
            timer = min(self.timers, key=lambda timer: timer[0])
            self.timers.remove(timer)
            self.now = timer[0]
            timer[1]()
        self.now = until


@pytest.fixture
def timers():
    loop = Timers()
    yield loop
    loop.close()


def test_a_delay_has_one_timer_for_all_who_wait(timers):
    delay, called = Delay(0.05), []
    for moment in (100.0, 100.002, 100.03):
        timers.pass_time(moment)
        delay.call(timers, lambda moment=moment: called.append((moment, timers.now)))
        assert len(timers.timers) == 1
    timers.pass_time(101.0)
    assert [moment for moment, _ in called] == [100.0, 100.002, 100.03]
    assert all(-SLACK <= now - moment - 0.05 < 1e-9 for moment, now in called)
    assert not timers.timers
    delay.call(timers, lambda: called.append((101.0, timers.now)))
    timers.pass_time(102.0)
    assert called[-1] == (101.0, 101.05)


def test_who_waits_may_wait_again_and_one_that_fails_keeps_no_other(timers):
    delay, called = Delay(0.05), []

    def again() -> None:
        called.append(timers.now)
        if len(called) < 3:
            delay.call(timers, again)

    def broken() -> None:
        raise ValueError("a bug")

    delay.call(timers, broken)
    delay.call(timers, again)
    with capture_logs() as logs:
        timers.pass_time(101.0)
    assert called == pytest.approx([100.05, 100.1, 100.15])
    assert len(logs) == 1


def test_stopping_what_was_not_started_is_harmless():
    Sweeper().stop()
