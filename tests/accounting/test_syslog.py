"""SyslogLog: every delivery a line, in order, whatever the daemon does; and none that the mail would wait for."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from moxy.accounting import syslog as module
from moxy.accounting.record import Outcome, Record
from moxy.accounting.syslog import BACKLOG_OCTETS, BUSY_SECONDS, LINE_OCTETS, RETRY_SECONDS, SyslogLog
from moxy.accounting.textformat import LineFormat
from moxy.net.syslog import MESSAGE_OCTETS, SyslogSocket
from support.syslogd import BareSyslogd

FORMAT = LineFormat("%sender", "%T")


def record(sender="joe", outcome=Outcome.DELIVERED):
    return Record(0.0, "s", "t", "192.0.2.1", 25, "h", sender, "mail:25", ["ann@example.org"], 1, outcome)


class Scheduler:
    """An event loop's `call_later`, and its clock."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def clock(self):
        return self.now

    def later(self, seconds, callback):
        self.calls.append((self.now + seconds, callback))

    def run(self, seconds):
        """Let time pass, and call what has become due."""
        self.now += seconds
        due = [call for call in self.calls if call[0] <= self.now]
        self.calls = [call for call in self.calls if call[0] > self.now]
        for _, callback in due:
            callback()

    def pause(self):
        """Seconds until the only call that is scheduled; it is made."""
        ((due, _),) = self.calls
        pause = due - self.now
        self.run(pause)
        return pause


@pytest.fixture
def scheduler():
    return Scheduler()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def log(path, scheduler, monkeypatch):
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.01)
    log = SyslogLog(SyslogSocket(path, clock=scheduler.clock), FORMAT, scheduler.later)
    yield log
    log.close()


@pytest.fixture
def daemon(path):
    with BareSyslogd(path) as daemon:
        yield daemon


@pytest.fixture
def logged():
    with capture_logs() as events:
        yield events


def events(logged):
    return [event["event"] for event in logged]


def fill(log, scheduler):
    """Give the daemon more than the kernel holds for it; how many lines that were."""
    number = 0
    while not scheduler.calls:
        log.record(record(str(number)))
        number += 1
    return number


def numbers(until):
    return [str(number) for number in range(until)]


# A daemon that reads


def test_a_delivery_is_an_informational_line_of_the_mail_facility_at_once(log, daemon, scheduler):
    log.record(record("joe@example.org"))
    (message,) = daemon.received()
    assert re.fullmatch(rb"<22>\w{3} [ \d]\d [\d:]{8} moxy\[%d\]: joe@example\.org" % os.getpid(), message)
    assert not scheduler.calls


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.ABORTED, Outcome.UNKNOWN])
def test_only_what_was_delivered_has_a_line(log, daemon, outcome):
    log.record(record(outcome=outcome))
    assert not daemon.received()


def test_without_a_scheduler_lines_that_wait_go_out_with_the_next_one(path):
    clock = Scheduler()
    log = SyslogLog(SyslogSocket(path, clock=clock.clock), FORMAT)
    log.record(record("a"))
    clock.run(RETRY_SECONDS)
    with BareSyslogd(path) as daemon:
        log.record(record("b"))
        assert daemon.texts() == ["a", "b"]
        log.close()


def test_reopening_changes_nothing(log, daemon):
    log.record(record("a"))
    log.reopen()
    log.record(record("b"))
    assert daemon.texts() == ["a", "b"]


# A daemon that does not keep up, or is not there


def test_what_a_busy_daemon_does_not_take_comes_in_order_when_it_does(log, daemon, scheduler, logged):
    number = fill(log, scheduler)
    log.record(record(str(number)))
    texts = []
    while scheduler.calls:
        texts += daemon.texts()
        scheduler.pause()
    assert texts + daemon.texts() == numbers(number + 1)
    assert log.dropped == 0
    assert not events(logged)


def test_a_busy_daemon_is_asked_at_once_and_then_ever_less(log, daemon, scheduler, logged):
    number = fill(log, scheduler)
    log.record(record(str(number)))
    pauses = [scheduler.pause() for _ in range(12)]
    assert pauses[:3] == [pytest.approx(BUSY_SECONDS * times) for times in (1, 2, 4)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(RETRY_SECONDS)
    assert events(logged) == ["accounting_log_not_written"]
    daemon.received(1)
    assert scheduler.pause() == pytest.approx(RETRY_SECONDS)
    assert scheduler.pause() == pytest.approx(BUSY_SECONDS)
    daemon.received()
    scheduler.pause()
    assert not scheduler.calls
    fill(log, scheduler)
    assert scheduler.pause() == pytest.approx(BUSY_SECONDS)


def test_without_a_daemon_lines_wait_and_the_operator_is_told_once(log, path, scheduler, logged):
    for sender in "abc":
        log.record(record(sender))
        assert scheduler.pause() == RETRY_SECONDS
    assert events(logged) == ["accounting_log_not_written"]
    assert logged[0]["syslog"] == str(path)
    assert "No such file" in logged[0]["error"]
    with BareSyslogd(path) as daemon:
        scheduler.pause()
        assert daemon.texts() == ["a", "b", "c"]
    assert events(logged)[1:] == ["accounting_log_works_again"]
    assert not scheduler.calls


def test_lines_written_while_the_daemon_was_away_reach_its_successor(log, path, scheduler, logged):
    for name in "ab":
        with BareSyslogd(path) as daemon:
            log.record(record(name))
            while scheduler.calls:
                scheduler.pause()
            assert daemon.texts()[-1:] == [name]
        scheduler.run(RETRY_SECONDS)
        log.record(record(f"after {name}"))
    with BareSyslogd(path) as daemon:
        scheduler.pause()
        assert daemon.texts() == ["after b"]
    assert events(logged) == ["accounting_log_not_written", "accounting_log_works_again"] * 2


def test_the_backlog_is_bounded_and_what_does_not_fit_is_counted(log, path, scheduler, logged):
    sender = "x" * 1000
    lines = BACKLOG_OCTETS // len(SyslogSocket().message(6, sender, 0.0))
    for _ in range(lines + 5):
        log.record(record(sender))
    assert log.dropped == 5
    with BareSyslogd(path) as daemon:
        texts = []
        while scheduler.calls:
            scheduler.pause()
            texts += daemon.texts()
        assert texts == [sender] * lines
    assert logged[-1]["event"] == "accounting_log_works_again"
    assert logged[-1]["dropped"] == 5
    for _ in range(lines):
        log.record(record(sender))
    assert log.dropped == 5


def test_close_tells_what_was_lost_and_a_late_flush_does_nothing(log, path, scheduler, logged):
    for sender in "abc":
        log.record(record(sender))
    log.close()
    log.close()
    assert log.dropped == 3
    assert events(logged) == ["accounting_log_not_written", "accounting_lines_lost"]
    with BareSyslogd(path) as daemon:
        scheduler.run(10)
        assert not daemon.received()


def test_close_gives_the_socket_back(path, daemon):
    before = len(list(Path("/proc/self/fd").iterdir()))
    log = SyslogLog(SyslogSocket(path), FORMAT)
    log.record(record())
    log.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_close_does_not_wait_long_for_a_daemon_that_stands_still(log, daemon, scheduler):
    number = fill(log, scheduler)
    log.close()
    assert log.dropped == 1
    assert daemon.texts() == numbers(number - 1)


def test_close_waits_while_a_busy_daemon_reads(path, daemon, scheduler):
    class ReadWhenWaitedFor(SyslogSocket):
        def wait(self, seconds):
            texts.extend(daemon.texts())
            return super().wait(20)

    texts = []
    log = SyslogLog(ReadWhenWaitedFor(path), FORMAT, scheduler.later)
    number = fill(log, scheduler)
    for more in range(number, 5 * number):
        log.record(record(str(more)))
    log.close()
    assert texts + daemon.texts() == numbers(5 * number)
    assert log.dropped == 0


# Lines that are long, and lines that lie

ORIGINAL = LineFormat("%date: %msize bytes from <%sender> [%shost] to [%dhost] for '%rcpts'", "%T")
RECIPIENTS_FIRST = LineFormat("%rcpts %sender %rcpts|%msize", "%T")


def to_many(number, length=60):
    recipients = [f"{index}-".ljust(length - 12, "x") + "@example.org" for index in range(number)]
    return replace(record(), recipients=recipients)


class Taking(SyslogSocket):
    """A daemon that takes everything."""

    def send(self, message):
        self.taken = message.decode().partition("]: ")[2]
        return True


def line(line_format, record):
    """What the daemon gets to read for this record."""
    socket = Taking()
    SyslogLog(socket, line_format).record(record)
    return socket.taken


@pytest.mark.parametrize("line_format", [ORIGINAL, RECIPIENTS_FIRST])
@pytest.mark.parametrize("number", [1, 50, 150, 1000, 30_000])
def test_a_line_has_all_recipients_or_the_first_ones_and_the_number_of_the_others(line_format, number):
    record = to_many(number)
    text = line(line_format, record)
    assert len(text) <= LINE_OCTETS
    whole = line_format.render(record)
    if len(whole) <= LINE_OCTETS:
        assert text == whole
        return
    others = int(re.search(r",\+(\d+)[ |']", text)[1])
    kept = record.recipients[: number - others]
    assert text == line_format.render(replace(record, recipients=[*kept, f"+{others}"]))
    more = [*record.recipients[: number - others + 1], f"+{others - 1}"]
    assert len(line_format.render(replace(record, recipients=more))) > LINE_OCTETS


def test_the_octets_count_and_not_the_characters():
    text = line(ORIGINAL, replace(record(), recipients=["é" * 60 + "@example.org"] * 100))
    assert len(text.encode()) <= LINE_OCTETS < len(text.encode()) + 200


def test_of_one_giant_recipient_the_number_stays():
    assert line(ORIGINAL, replace(record(), recipients=["x" * 10_000])).endswith("for '+1'")


def test_a_line_too_long_without_recipients_loses_its_end(log, daemon):
    log.record(record("x" * 10_000))
    (message,) = daemon.received()
    assert len(message) == MESSAGE_OCTETS


@pytest.mark.parametrize(
    "text", ["\n", "\r\n", "\0", "\x1b[2J", "\x85", "\u2028", "\u202e", "\u200f", "\udcff", "%n%s"]
)
def test_no_address_makes_a_second_line_or_steers_a_terminal(log, daemon, text):
    forged = f'"a{text}<22>Nov  1 12:00:00 moxy[1]: b"@example.org'
    log.record(record(forged))
    log.record(record("next"))
    first, second = daemon.received()
    assert first.decode().isprintable()
    assert first.count(b"\n") == 0
    assert second.endswith(b"]: next")


@given(st.lists(st.text(), max_size=300), st.text())
def test_any_record_is_one_printable_line_in_bounds(recipients, sender):
    text = line(ORIGINAL, replace(record(sender), recipients=recipients))
    assert text.isprintable()
    assert len(text.encode()) <= LINE_OCTETS
