"""Recorder: every sink gets every record, and no sink can hurt."""

import pytest
from structlog.testing import capture_logs

from moxy.accounting.record import Outcome, Record
from moxy.accounting.recorder import QUIET_SECONDS, Recorder

RECORD = Record(0.0, "s", "t", "192.0.2.1", 25, "h", "", "mail:25", ["joe@example.org"], 1, Outcome.DELIVERED)


class Memory:
    """A sink that remembers its calls."""

    def __init__(self):
        self.calls = []

    def record(self, record):
        self.calls.append(record)

    def reopen(self):
        self.calls.append("reopen")

    def close(self):
        self.calls.append("close")


class Broken:
    """A sink that always fails."""

    def record(self, record):
        raise OSError("disk full")

    def reopen(self):
        raise RuntimeError("no")

    def close(self):
        raise ValueError("closed")


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_every_sink_gets_every_call_in_order():
    first, second = Memory(), Memory()
    recorder = Recorder([first, second])
    recorder.record(RECORD)
    recorder.reopen()
    recorder.close()
    assert first.calls == second.calls == [RECORD, "reopen", "close"]
    assert recorder.failures == 0


def test_without_sinks_nothing_is_recorded():
    Recorder([]).record(RECORD)


@pytest.mark.parametrize(
    "call",
    [lambda recorder: recorder.record(RECORD), Recorder.reopen, Recorder.close],
    ids=["record", "reopen", "close"],
)
def test_a_failing_sink_is_counted_and_the_others_are_served(call):
    memory = Memory()
    recorder = Recorder([Broken(), memory])
    with capture_logs() as logged:
        call(recorder)
    assert recorder.failures == 1
    assert len(memory.calls) == 1
    assert [(event["event"], event["sink"]) for event in logged] == [("sink_failed", "Broken")]


def test_a_failing_sink_is_told_of_once_a_minute_each():
    clock = Clock()
    recorder = Recorder([Broken(), Broken()], clock)
    with capture_logs() as logged:
        for clock.now in (0.0, 1.0, QUIET_SECONDS - 0.1, QUIET_SECONDS, QUIET_SECONDS + 1):
            recorder.record(RECORD)
    assert recorder.failures == 10
    assert len(logged) == 4
