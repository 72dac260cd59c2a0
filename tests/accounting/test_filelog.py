"""FileLog: whole lines in a file, whatever happens to the file."""

import os
import stat
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from moxy.accounting import filelog as module
from moxy.accounting.filelog import (
    BACKLOG_OCTETS,
    FLUSH_SECONDS,
    FOLLOW_SECONDS,
    RECIPIENTS_HELD,
    RETRY_SECONDS,
    FileLog,
)
from moxy.accounting.record import Outcome, Record
from moxy.accounting.textformat import LineFormat

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


@pytest.fixture
def scheduler():
    return Scheduler()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "moxy.log"


@pytest.fixture
def log(path, scheduler):
    log = FileLog(path, FORMAT, scheduler.later, clock=scheduler.clock)
    yield log
    log.close()


@pytest.fixture
def logged():
    with capture_logs() as events:
        yield events


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def events(logged):
    return [event["event"] for event in logged]


class Disk:
    """Stands for `os.write`, with room for so many octets only."""

    def __init__(self, monkeypatch, room):
        self.room = room
        self.writes = 0
        self._write = os.write
        monkeypatch.setattr(module.os, "write", self.write)

    def write(self, descriptor, data):
        self.writes += 1
        if not self.room:
            raise OSError(28, "No space left on device")
        written = self._write(descriptor, data[: self.room])
        self.room -= written
        return written


def test_lines_are_written_together_a_moment_later(log, path, scheduler, monkeypatch):
    disk = Disk(monkeypatch, 1000)
    for sender in "abc":
        log.record(record(sender))
    assert path.read_text() == ""
    assert len(scheduler.calls) == 1
    scheduler.run(FLUSH_SECONDS)
    assert path.read_text() == "a\nb\nc\n"
    assert disk.writes == 1
    assert not scheduler.calls
    log.record(record("d"))
    scheduler.run(FLUSH_SECONDS)
    assert path.read_text() == "a\nb\nc\nd\n"


def test_records_that_wait_for_company_are_bounded_by_their_recipients(log, path, scheduler):
    many = record("a")
    many.recipients = ["r@b.test"] * RECIPIENTS_HELD
    log.record(many)
    assert list(log._records) == [many]
    log.record(record("b"))
    assert not log._records
    assert path.read_text() == ""
    scheduler.run(FLUSH_SECONDS)
    assert path.read_text() == "a\nb\n"


def test_without_a_scheduler_a_line_is_written_at_once(path):
    log = FileLog(path, FORMAT)
    log.record(record("a"))
    assert path.read_text() == "a\n"
    log.close()


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.ABORTED, Outcome.UNKNOWN])
def test_only_what_was_delivered_has_a_line(log, path, outcome, scheduler):
    log.record(record(outcome=outcome))
    assert not scheduler.calls


def test_the_file_is_for_owner_and_group_and_is_appended_to(path):
    before = os.umask(0)
    try:
        log = FileLog(path, FORMAT)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    log.record(record("a"))
    log.close()
    log = FileLog(path, FORMAT)
    log.record(record("b"))
    log.close()
    assert path.read_text() == "a\nb\n"


def test_a_file_that_cannot_be_opened_is_an_error_at_the_start(tmp_path):
    with pytest.raises(FileNotFoundError):
        FileLog(tmp_path / "missing" / "moxy.log", FORMAT)


def test_a_pipe_that_nobody_reads_is_an_error_and_no_standstill(path):
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device"):
        FileLog(path, FORMAT)


def test_close_writes_what_is_there_and_a_late_flush_does_nothing(log, path, scheduler):
    log.record(record("a"))
    log.close()
    log.close()
    assert path.read_text() == "a\n"
    path.unlink()
    scheduler.run(10)
    assert not path.exists()


def test_several_logs_on_one_file_mix_whole_lines_only(path):
    def write(letter):
        log = FileLog(path, FORMAT)
        for _ in range(300):
            log.record(record(letter * 50))
        log.close()

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted([letter * 50 for letter in "abcd"] * 300)


# A file that cannot be written


def test_a_short_write_is_continued(log, path, scheduler, monkeypatch):
    class Slow(Disk):
        def write(self, descriptor, data):
            return super().write(descriptor, data[:3])

    Slow(monkeypatch, 1000)
    for sender in ("aaaa", "bbbb"):
        log.record(record(sender))
    scheduler.run(FLUSH_SECONDS)
    assert path.read_text() == "aaaa\nbbbb\n"


def test_a_line_that_was_begun_in_the_old_file_is_whole_in_the_new_one(log, path, scheduler, monkeypatch, logged):
    disk = Disk(monkeypatch, 7)
    for sender in ("aaaa", "bbbb"):
        log.record(record(sender))
    scheduler.run(FLUSH_SECONDS)
    old = path.with_name("old")
    path.rename(old)
    log.reopen()
    disk.room = 1
    scheduler.run(RETRY_SECONDS)
    assert path.read_text() == "b"
    path.rename(path.with_name("older"))
    log.reopen()
    disk.room = 1000
    scheduler.run(RETRY_SECONDS)
    assert old.read_text() == "aaaa\nbb"
    assert path.read_text() == "bbbb\n"
    assert log.dropped == 0


def test_on_a_full_disk_lines_are_kept_and_no_half_line_is_followed_by_another(
    log, path, scheduler, monkeypatch, logged
):
    disk = Disk(monkeypatch, 7)
    for sender in ("aaaa", "bbbb"):
        log.record(record(sender))
    scheduler.run(FLUSH_SECONDS)
    assert path.read_text() == "aaaa\nbb"
    log.record(record("cccc"))
    scheduler.run(RETRY_SECONDS)
    assert path.read_text() == "aaaa\nbb"
    disk.room = 1000
    scheduler.run(RETRY_SECONDS)
    assert path.read_text() == "aaaa\nbbbb\ncccc\n"
    assert log.dropped == 0
    assert events(logged) == ["accounting_log_not_written", "accounting_log_works_again"]
    assert "No space left" in logged[0]["error"]


def test_a_file_that_fails_is_left_alone_for_a_second(log, scheduler, monkeypatch):
    disk = Disk(monkeypatch, 0)
    log.record(record())
    scheduler.run(FLUSH_SECONDS)
    for _ in range(5):
        log.record(record())
        scheduler.run(FLUSH_SECONDS)
    assert disk.writes == 1


def test_the_backlog_is_bounded_and_what_does_not_fit_is_counted(log, path, scheduler, monkeypatch, logged):
    disk = Disk(monkeypatch, 0)
    line = "x" * 1023
    for _ in range(BACKLOG_OCTETS // 1024 + 5):
        log.record(record(line))
    scheduler.run(FLUSH_SECONDS)
    log.record(record("y"))
    assert log.dropped == 6
    disk.room = 2 * BACKLOG_OCTETS
    scheduler.run(RETRY_SECONDS)
    assert path.stat().st_size == BACKLOG_OCTETS
    log.record(record("z"))
    scheduler.run(FLUSH_SECONDS)
    assert path.read_text().endswith("x\nz\n")
    assert logged[-1]["dropped"] == 6


def test_what_cannot_be_written_at_the_end_is_counted(log, scheduler, monkeypatch, logged):
    Disk(monkeypatch, 4)
    for sender in ("a", "b", "c"):
        log.record(record(sender))
    log.close()
    assert log.dropped == 1
    assert events(logged) == ["accounting_log_not_written", "accounting_lines_lost"]


# A file that is renamed or removed


def test_a_renamed_file_is_followed_within_a_second(log, path, scheduler):
    log.record(record("a"))
    scheduler.run(FLUSH_SECONDS)
    old = path.rename(path.with_suffix(".1"))
    log.record(record("b"))
    scheduler.run(FLUSH_SECONDS)
    assert old.read_text() == "a\nb\n"
    log.record(record("c"))
    scheduler.run(FOLLOW_SECONDS)
    assert (old.read_text(), path.read_text()) == ("a\nb\n", "c\n")


def test_the_path_is_looked_at_once_a_second_only(log, path, scheduler, monkeypatch):
    looks = []
    samestat = os.path.samestat
    monkeypatch.setattr(module.os.path, "samestat", lambda *both: looks.append(both) or samestat(*both))
    for _ in range(40):
        log.record(record())
        scheduler.run(FLUSH_SECONDS)
    assert len(looks) in (1, 2)


def test_reopen_writes_to_the_old_file_and_goes_on_in_a_new_one(log, path, scheduler):
    log.record(record("a"))
    old = path.rename(path.with_suffix(".1"))
    log.reopen()
    log.record(record("b"))
    scheduler.run(FLUSH_SECONDS)
    assert (old.read_text(), path.read_text()) == ("a\n", "b\n")


def test_a_path_that_cannot_be_opened_anew_leaves_the_old_file_in_use(log, path, scheduler, logged):
    old = path.rename(path.with_suffix(".1"))
    path.mkdir()
    log.reopen()
    for _ in range(3):
        log.record(record("a"))
        scheduler.run(FOLLOW_SECONDS)
    assert old.read_text() == "a\na\na\n"
    assert events(logged) == ["accounting_log_not_reopened"]
    path.rmdir()
    log.record(record("b"))
    scheduler.run(FOLLOW_SECONDS)
    assert path.read_text() == "b\n"
    assert events(logged)[1:] == ["accounting_log_works_again"]


def test_reopening_leaves_no_descriptor_behind(log, path):
    before = open_descriptors()
    for _ in range(5):
        path.unlink()
        log.reopen()
    assert open_descriptors() == before


def test_a_log_that_is_closed_does_not_open_again(path):
    log = FileLog(path, FORMAT)
    log.close()
    path.unlink()
    log.reopen()
    assert not path.exists()
