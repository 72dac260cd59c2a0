"""GdbmLog: exact totals, whoever writes, reads, or is killed meanwhile."""

import asyncio
import errno
import itertools
import mmap
import os
import random
import resource
import signal
import struct
import subprocess
import threading
import time

import pytest
from structlog.testing import capture_logs

from moxy.accounting import gdbmlog as module
from moxy.accounting.gdbmlog import FLUSH_SECONDS, PATIENCE_SECONDS, REST_FACTOR, REST_SECONDS, RETRY_SECONDS, GdbmLog
from moxy.accounting.record import Outcome, Record
from moxy.accounting.totals import Totals, read_totals
from moxy.accounting.totalsfile import TotalsFile
from moxy.gdbm import Access, GdbmFile
from support.processes import GLANCE, PATIENCE, require_program


def record(destination="mail:25", size=10, outcome=Outcome.DELIVERED):
    recipients = ["ann@example.org", "bob@example.org"]
    return Record(0.0, "s", "t", "192.0.2.1", 25, "h", "joe@example.net", destination, recipients, size, outcome)


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
        """Let time pass, and call what has become due. Threads that were sent end before that."""
        for thread in threading.enumerate():
            if thread.name == "gdbmlog":
                thread.join(PATIENCE)
        self.now += seconds
        due = [call for call in self.calls if call[0] <= self.now]
        self.calls = [call for call in self.calls if call[0] > self.now]
        for _, callback in due:
            callback()

    def run_until_idle(self):
        """Time passes until nothing is scheduled any more."""
        for _ in range(1000):
            if not self.calls:
                return
            self.run(FLUSH_SECONDS)
        raise AssertionError("still at work")


@pytest.fixture
def scheduler():
    return Scheduler()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "totals.gdbm"


@pytest.fixture
def log(path, scheduler):
    log = GdbmLog(path, scheduler.later, clock=scheduler.clock)
    yield log
    log.close()


@pytest.fixture
def logged():
    with capture_logs() as events:
        yield events


def events(logged):
    return [event["event"] for event in logged]


# The ordinary way


def test_records_are_added_together_a_moment_later(log, path, scheduler):
    for destination in ("a:25", "b:25", "a:25"):
        log.record(record(destination))
    assert path.stat().st_size == 0
    assert len(scheduler.calls) == 1
    scheduler.run(FLUSH_SECONDS)
    scheduler.run(FLUSH_SECONDS)
    assert read_totals(path) == {"a:25": Totals(20, 2), "b:25": Totals(10, 1)}
    assert not scheduler.calls
    log.record(record("a:25"))
    scheduler.run_until_idle()
    assert read_totals(path)["a:25"] == Totals(30, 3)


def test_a_message_sent_once_to_many_recipients_is_one_message(log, path, scheduler):
    log.record(record())
    scheduler.run_until_idle()
    assert read_totals(path) == {"mail:25": Totals(10, 1)}


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.ABORTED, Outcome.UNKNOWN])
def test_only_what_was_delivered_counts(log, outcome, scheduler):
    log.record(record(outcome=outcome))
    assert not scheduler.calls


def test_without_a_scheduler_a_record_is_added_at_once(path):
    log = GdbmLog(path)
    log.record(record())
    assert read_totals(path) == {"mail:25": Totals(10, 1)}
    log.record(record())
    assert read_totals(path) == {"mail:25": Totals(20, 2)}
    log.close()


def test_close_adds_what_is_there_and_a_late_flush_does_nothing(log, path, scheduler):
    log.record(record())
    log.close()
    log.close()
    assert read_totals(path) == {"mail:25": Totals(10, 1)}
    path.unlink()
    scheduler.run(FLUSH_SECONDS)
    assert not path.exists()


def test_close_waits_for_the_flush_under_way(log, path, scheduler):
    log.record(record())
    scheduler.run(FLUSH_SECONDS)
    log.record(record())
    log.close()
    assert read_totals(path) == {"mail:25": Totals(20, 2)}
    assert log.dropped == 0


def test_a_renamed_file_is_followed_at_once(log, path, scheduler):
    log.record(record())
    scheduler.run_until_idle()
    old = path.rename(path.with_name("totals.1"))
    log.reopen()
    log.record(record())
    scheduler.run_until_idle()
    assert read_totals(path) == read_totals(old) == {"mail:25": Totals(10, 1)}


def test_a_file_that_cannot_be_made_is_an_error_at_the_start(tmp_path):
    with pytest.raises(FileNotFoundError):
        GdbmLog(tmp_path / "missing" / "totals.gdbm")


@pytest.mark.parametrize(("took", "rest"), [(0.1, 0.1 * REST_FACTOR), (60.0, REST_SECONDS)])
def test_the_rest_is_as_long_as_the_file_is_slow(log, scheduler, took, rest):
    log._written(took)
    log.record(record())
    assert scheduler.calls[0][0] == pytest.approx(rest)


# A file that cannot be written


def test_totals_wait_for_another_writer_and_that_is_told_after_a_while(log, path, scheduler, logged):
    log.record(record())
    scheduler.run_until_idle()
    with GdbmFile(path, Access.WRITE) as theirs:
        log.record(record())
        for _ in range(8):
            scheduler.run(FLUSH_SECONDS)
        assert not logged
        for _ in range(round(PATIENCE_SECONDS / FLUSH_SECONDS)):
            log.record(record())
            scheduler.run(FLUSH_SECONDS)
        theirs.store(b"theirs", b"7")
    scheduler.run_until_idle()
    messages = 2 + round(PATIENCE_SECONDS / FLUSH_SECONDS)
    assert read_totals(path) == {"mail:25": Totals(10 * messages, messages), "theirs": Totals(7)}
    assert events(logged) == ["accounting_totals_not_written", "accounting_log_works_again"]


def test_on_a_full_disk_totals_are_kept_and_told_once(log, path, scheduler, logged):
    log.record(record("a:25"))
    scheduler.run_until_idle()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * 1024, hard))
    try:
        for number in range(20):
            log.record(record(f"host-{number}:25"))
            scheduler.run(RETRY_SECONDS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_totals(path) == {"a:25": Totals(10, 1)}
    scheduler.run_until_idle()
    assert sum(totals.messages for totals in read_totals(path).values()) == 21
    assert log.dropped == 0
    assert events(logged) == ["accounting_totals_not_written", "accounting_log_works_again"]
    assert "File too large" in logged[0]["error"]


def test_a_file_that_fails_is_left_alone_for_a_second(log, scheduler, monkeypatch):
    tries = []

    def failing(self, waiting):
        tries.append(scheduler.now)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(TotalsFile, "add", failing)
        log.record(record())
        for _ in range(20):
            if log._errand is not None:
                log._errand.join(PATIENCE)  # on Python 3.13 a thread is alive a moment longer than it is enumerated
            scheduler.run(FLUSH_SECONDS)
    assert len(tries) == pytest.approx(20 * FLUSH_SECONDS / (FLUSH_SECONDS + RETRY_SECONDS), abs=1)


def test_a_thread_that_fails_in_any_way_loses_nothing(log, path, scheduler, monkeypatch, logged):
    with monkeypatch.context() as patched:
        patched.setattr(TotalsFile, "add", lambda self, waiting: 1 / 0)
        log.record(record())
        scheduler.run(FLUSH_SECONDS)
        scheduler.run(FLUSH_SECONDS)
    scheduler.run_until_idle()
    assert read_totals(path) == {"mail:25": Totals(10, 1)}
    assert "division" in logged[0]["error"]


def test_where_the_system_has_no_thread_for_us_nothing_is_lost(log, path, scheduler, monkeypatch, logged):
    with monkeypatch.context() as patched:

        def refused(self):
            raise RuntimeError("can't start new thread")

        patched.setattr(threading.Thread, "start", refused)
        log.record(record())
        scheduler.run(FLUSH_SECONDS)
    scheduler.run_until_idle()
    assert read_totals(path) == {"mail:25": Totals(10, 1)}
    assert "new thread" in logged[0]["error"]


def test_the_destinations_that_wait_are_bounded_and_what_does_not_fit_is_counted(
    log, path, scheduler, monkeypatch, logged
):
    monkeypatch.setattr(module, "DESTINATIONS", 5)
    for number in range(8):
        log.record(record(f"host-{number}:25"))
        log.record(record("host-0:25"))
    scheduler.run_until_idle()
    totals = read_totals(path)
    assert len(totals) == 5
    assert totals["host-0:25"] == Totals(90, 9)
    assert log.dropped == 3
    log.close()
    assert logged[-1] | {"event": "accounting_totals_lost", "dropped": 3} == logged[-1]


def test_close_gives_up_after_a_while_and_counts_what_is_lost(log, path, scheduler, monkeypatch, logged):
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.1)
    log.record(record())
    scheduler.run_until_idle()
    with GdbmFile(path, Access.WRITE):
        log.record(record("a:25"))
        log.record(record("b:25"))
        log.close()
    assert log.dropped == 2
    assert events(logged) == ["accounting_totals_lost"]
    assert read_totals(path) == {"mail:25": Totals(10, 1)}


def test_close_does_not_wait_for_a_disk_that_hangs(log, monkeypatch, logged):
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.05)
    mended = threading.Event()
    monkeypatch.setattr(TotalsFile, "add", lambda self, waiting: mended.wait(PATIENCE))
    log.record(record())
    log.close()
    mended.set()
    assert log.dropped == 1
    assert events(logged) == ["accounting_totals_lost"]


def test_close_outlasts_a_short_lock(log, path, scheduler, monkeypatch):
    log.record(record())
    scheduler.run_until_idle()
    writer = GdbmFile(path, Access.WRITE)
    add, tries = TotalsFile.add, []

    def counting(self, waiting):
        tries.append(None)
        if len(tries) == 3:
            writer.close()
        add(self, waiting)

    monkeypatch.setattr(TotalsFile, "add", counting)
    log.record(record())
    log.close()
    assert read_totals(path) == {"mail:25": Totals(20, 2)}


# Several processes, readers, and kill -9


class Writers:
    """Processes of their own, forked, that each run `work(number)`."""

    def __init__(self, number, work):
        self.children = [self._forked(work, position) for position in range(number)]

    def _forked(self, work, position):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                work(position)
                status = 0
            finally:
                os._exit(status)
        return child

    def at_work(self):
        """Whether any still is; those that have ended must have ended well."""
        for child in list(self.children):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                self.children.remove(child)
                assert status == 0
        return bool(self.children)


def write(path, number, messages):
    """What a worker does: records as they come, a flush now and then."""
    log = GdbmLog(path, lambda seconds, callback: None)
    chance = random.Random(number)
    for message in range(messages):
        log.record(record(f"host-{message % 7}:25", size=message))
        if chance.random() < 0.02:
            log.flush()
        if log._errand is not None and chance.random() < 0.02:
            log._errand.join()  # a pause between two messages
    log.close()
    assert log.dropped == 0


@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_write_and_not_one_octet_is_missing(path, processes, monkeypatch):
    monkeypatch.setattr(module, "REST_FACTOR", 0)
    TotalsFile(path).add({})
    tool, looks, seen = require_program("gdbmtool"), 0, 0
    writers = Writers(processes, lambda number: write(path, number, 10_000))
    while writers.at_work():
        messages = sum(totals.messages for totals in read_totals(path).values())
        assert messages >= seen
        seen = messages
        if looks % 10 == 0:
            listing = subprocess.run([tool, "-r", path, "list"], capture_output=True, text=True)
            assert listing.returncode == 0, listing.stderr
        looks += 1
    assert looks > 3
    expected = {}
    for message in range(10_000):
        key = f"host-{message % 7}:25"
        expected[key] = expected.get(key, Totals()) + Totals(message * processes, processes)
    assert read_totals(path) == expected
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


class Counter:
    """A number that outlives the process which counts."""

    def __init__(self, path):
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    def set(self, number):
        self._memory[:] = struct.pack("q", number)  # in one step; pack_into would clear the memory first

    @property
    def number(self):
        return struct.unpack_from("q", self._memory)[0]


def count(totals):
    return sum(entry.messages for entry in totals.values())


def write_until_killed(path, recorded, added):
    """Record and flush without end. At least `added` are in the file, at most `recorded`."""
    log = GdbmLog(path, lambda seconds, callback: None)
    number = 0
    while True:
        for _ in range(50):
            number += 1
            recorded.set(number)
            log.record(record(f"host-{number % 50}:25", size=1))
        log.flush()
        under_way = module._messages(log._errand.batch) if log._errand else 0
        added.set(number - module._messages(log._waiting) - under_way)


def test_kill_9_at_any_instant_costs_only_what_was_not_yet_added(path, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "REST_FACTOR", 0)
    chance = random.Random(3)
    TotalsFile(path).add({})
    for _ in range(60):
        before = count(read_totals(path))
        recorded, added = Counter(tmp_path / "recorded"), Counter(tmp_path / "added")
        child = os.fork()
        if child == 0:
            write_until_killed(path, recorded, added)
        deadline = time.monotonic() + PATIENCE
        while not added.number and time.monotonic() < deadline:
            time.sleep(GLANCE / 10)
        time.sleep(chance.random() * GLANCE)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert added.number <= count(read_totals(path)) - before <= recorded.number
        assert added.number > 0
    TotalsFile(path).add({})
    assert [entry for entry in path.parent.iterdir() if entry.suffix == ".new"] == []


def serve_until_killed(path, recorded):
    """A worker at the pace of a busy server, with the loop of a real one."""

    async def serve():
        log = GdbmLog(path, asyncio.get_running_loop().call_later)
        for number in itertools.count(1):
            recorded.set(number)
            log.record(record(f"host-{number % 50}:25", size=1))
            await asyncio.sleep(0.001)

    asyncio.run(serve())


@pytest.mark.slow
def test_what_was_recorded_a_second_before_a_kill_9_is_in_the_file(path, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "REST_FACTOR", 0)  # on a busy disk the rest would be longer than that second
    chance = random.Random(4)
    TotalsFile(path).add({})
    for _ in range(3):
        before = count(read_totals(path))
        recorded = Counter(tmp_path / "recorded")
        child = os.fork()
        if child == 0:
            serve_until_killed(path, recorded)
        looks = []
        life = time.monotonic() + 1.5 + chance.random()
        while time.monotonic() < life:
            looks.append((time.monotonic(), recorded.number))
            time.sleep(GLANCE)
        os.kill(child, signal.SIGKILL)
        killed = time.monotonic()
        os.waitpid(child, 0)
        known = max(number for seen, number in looks if seen < killed - 1.0)
        assert 0 < known <= count(read_totals(path)) - before <= recorded.number
