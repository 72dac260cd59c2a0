"""The thread: what it knows, what it does about trouble, and that it never loses count of the jobs it was given."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from moxy.ledger import State
from moxy.ledger import keeper as module
from moxy.ledger.database import identity, opened
from moxy.ledger.keeper import Everybody, Job, Keeper
from moxy.ledger.stamp import Stamp
from moxy.ledger.store import Store, Wanted
from support.ledgers import NOW, RECIPIENT, SENDER, entry
from support.processes import PATIENCE

PAIR = (SENDER, RECIPIENT)
HOUR = 3600.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


class Kept:
    """A keeper at work. What it reports is collected."""

    def __init__(self, path, stamp, seconds=72 * HOUR, limit=1000):
        self.told = threading.Condition()
        self.jobs, self.events, self.failures = [], [], 0
        self.now = NOW + 1
        self.keeper = Keeper(path, stamp, self.learn, seconds=seconds, limit=limit, clock=lambda: self.now)
        self.keeper.start()

    def learn(self):
        with self.told:
            while self.keeper.reports:
                report = self.keeper.reports.popleft()
                self.jobs += report.jobs
                self.failures += report.failures
                if report.event:
                    self.events.append(report.event)
            self.told.notify_all()

    def wait_for(self, condition):
        with self.told:
            assert self.told.wait_for(condition, PATIENCE), (self.events, self.failures)

    def do(self, **job):
        """Have a job done, and wait for it."""
        given = Job(**job)
        self.keeper.jobs.put(given)
        self.wait_for(lambda: given in self.jobs)
        return given.found

    def write(self, *changes):
        self.do(changes=changes)

    def recall(self, pair=PAIR):
        return self.do(about=pair)

    def knows(self, recipient=RECIPIENT):
        return hash((SENDER, recipient)) in self.keeper.pairs

    def rest(self):
        """Wait until the thread waits: nobody may take the shared memory away while it is being used."""
        give_up = time.monotonic() + PATIENCE
        while sys._current_frames()[self.keeper.ident].f_code.co_name != "_next":
            assert time.monotonic() < give_up

    def wait_in(self, function):
        """Wait until the thread is in this function, and waits there itself."""
        give_up = time.monotonic() + PATIENCE
        while all(frame.f_code.co_name != function for frame in self.frames()):
            assert time.monotonic() < give_up

    def frames(self):
        frame = sys._current_frames()[self.keeper.ident]
        while frame is not None:
            yield frame
            frame = frame.f_back

    def end(self):
        self.keeper.jobs.put(Job(stop=True))
        self.keeper.join(PATIENCE)
        assert not self.keeper.is_alive()


@contextmanager
def keepers(path, count=1, stamp=None, **how):
    stamp = stamp or Stamp()
    found = [Kept(path, stamp, **how) for _ in range(count)]
    try:
        for kept in found:
            kept.recall(("", ""))  # it has opened the file
        yield found if count > 1 else found[0]
    finally:
        for kept in found:
            kept.end()


def test_what_is_written_is_known_and_recalled(path):
    with keepers(path) as kept:
        assert not kept.knows()
        kept.write(entry())
        assert kept.knows()
        assert not kept.knows("eve@one.test")
        assert kept.recall() == [entry()]


def test_what_was_there_is_known_from_the_start(path):
    store = Store(path, 1000)
    store.change([entry(), entry("eve@one.test", State.CONFIRMED)])
    store.close()
    with keepers(path) as kept:
        assert kept.knows()
        assert not kept.knows("eve@one.test")


def test_what_is_not_open_any_more_is_forgotten_when_it_is_asked_for(path):
    with keepers(path) as kept:
        kept.write(entry())
        kept.write(entry().key)
        assert kept.recall() == []
        assert not kept.knows()


def test_who_sees_no_new_stamp_knows_all_that_others_have_written(path):
    with keepers(path, 2) as (one, other):
        for number in range(50):
            one.write(entry(f"user{number}@one.test"))
            assert other.keeper.seen != other.keeper._stamp.value  # so it must ask
            other.recall()
            assert other.keeper.seen == other.keeper._stamp.value
            assert other.knows(f"user{number}@one.test")


def test_more_pairs_than_are_to_be_kept_are_everybody(path, monkeypatch):
    monkeypatch.setattr(module, "KNOWN", 10)
    monkeypatch.setattr(module, "ROWS", 3)
    with keepers(path) as kept:
        for number in range(10):
            kept.write(entry(f"user{number}@one.test"))
        assert not kept.knows("nobody@one.test")
        kept.write(entry("user10@one.test"))
        assert kept.knows("nobody@one.test")
        assert kept.recall((SENDER, "nobody@one.test")) == []
        assert kept.knows("nobody@one.test")
        kept.write(entry("user11@one.test"))
        assert len(kept.keeper.pairs) == 0
    with keepers(path) as kept:
        assert isinstance(kept.keeper.pairs, Everybody)


def test_all_that_waits_is_done_at_once(path, monkeypatch):
    with keepers(path) as kept:
        before = kept.keeper._commits
        holder = opened(path).connection
        holder.execute("BEGIN IMMEDIATE")
        first = Job(changes=[entry(digest=0)])
        kept.keeper.jobs.put(first)
        while not kept.keeper.jobs.empty():
            time.sleep(0)
        for number in range(1, 20):
            kept.keeper.jobs.put(Job(changes=[entry(digest=number)]))
        holder.execute("ROLLBACK")
        holder.close()
        assert len(kept.recall()) == 20
        assert kept.keeper._commits == before + 2


def test_old_entries_go_at_the_start(path):
    store = Store(path, 1000)
    store.change([entry(time=NOW - HOUR), entry("eve@one.test", time=NOW)])
    store.close()
    with keepers(path, seconds=HOUR) as kept:
        kept.wait_for(lambda: not kept.knows() or kept.recall() == [])
        assert kept.recall() == []
        assert kept.recall((SENDER, "eve@one.test")) != []


def test_old_entries_go_while_it_runs(path, monkeypatch):
    monkeypatch.setattr(module, "EXPIRY_SECONDS", 0.01)
    with keepers(path, seconds=HOUR) as kept:
        kept.write(entry())
        kept.now += HOUR
        give_up = time.monotonic() + PATIENCE
        while kept.knows():
            assert time.monotonic() < give_up
        store = Store(path, 1000)
        assert store.select(Wanted()) == []
        store.close()


DAMAGES = {
    "shared memory cut": lambda path: os.truncate(f"{path}-shm", 0),
    "shared memory gone": lambda path: Path(f"{path}-shm").unlink(),
    "log gone": lambda path: Path(f"{path}-wal").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_file_damaged_while_it_runs_is_set_aside_by_one_and_all_go_on_with_a_new_one(path, damage, monkeypatch):
    # The chores would read it all once more.
    monkeypatch.setattr(Keeper, "_chores", lambda self: setattr(self, "_expire_at", time.monotonic() + HOUR))
    with keepers(path, 3) as found:
        for kept in found:
            kept.write(entry())
        for kept in found:
            kept.rest()
        damage(path)
        go_on(path, found)


def test_garbage_in_the_files_is_found_by_the_next_who_reads_them(path):
    """Who has it all in memory may not even notice."""
    with keepers(path, 2) as found:
        for kept in found:
            kept.write(entry())
        path.write_bytes(b"SQLite format 3\0" + os.urandom(path.stat().st_size + 8192))
        Path(f"{path}-wal").write_bytes(os.urandom(50_000))
        found[0].write(entry("eve@one.test"))
        with keepers(path, stamp=found[0].keeper._stamp) as third:
            go_on(path, [*found, third])


def go_on(path, found):
    for number, kept in enumerate(found):
        kept.write(entry(f"user{number}@one.test"))
    for kept in found:
        for number in range(len(found)):
            assert kept.recall((SENDER, f"user{number}@one.test")) == [entry(f"user{number}@one.test")]
            assert kept.knows(f"user{number}@one.test")
        assert kept.recall() == []
    assert path.with_name("ledger.db.damaged").exists()
    assert [event for kept in found for event in kept.events] == ["ledger_damaged"]
    assert sum(kept.failures for kept in found) == 1


def test_a_file_damaged_before_the_start_is_set_aside(path):
    path.write_bytes(b"SQLite format 3\0" + b"no ledger at all" * 1000)
    with keepers(path) as kept:
        assert kept.events == ["ledger_damaged"]
        kept.write(entry())
        assert kept.recall() == [entry()]


def test_pages_that_nobody_has_asked_for_are_looked_at_at_the_start(path):
    store = Store(path, 1000)
    store.change([entry(digest=number) for number in range(500)])
    store.close()
    octets = bytearray(path.read_bytes())
    octets[-4096:-4000] = b"\xff" * 96
    path.write_bytes(octets)
    with keepers(path) as kept:
        assert kept.events == ["ledger_damaged"]


def test_a_file_that_is_removed_is_made_anew(path):
    with keepers(path, 2) as (one, other):
        one.write(entry(), entry("eve@one.test"))
        path.unlink()
        other.write(entry(digest=2))
        assert one.recall() == other.recall() == [entry(digest=2)]
        assert other.recall((SENDER, "eve@one.test")) == []
        assert (one.events, other.events) == ([], [])


def test_what_was_written_to_a_file_while_another_took_its_place_is_written_there(path, monkeypatch):
    monkeypatch.setattr(module.database, "BUSY_SECONDS", PATIENCE)
    with keepers(path) as kept:
        kept.rest()
        holder = opened(path).connection
        holder.execute("BEGIN IMMEDIATE")
        job = Job(changes=[entry()])
        kept.keeper.jobs.put(job)
        kept.wait_in("change")
        module.database.set_aside(path, identity(path))
        Store(path, 1000).close()
        holder.execute("ROLLBACK")
        holder.close()
        kept.wait_for(lambda: job in kept.jobs)
        store = Store(path, 1000)
        assert store.select(Wanted()) == [entry()]
        store.close()
        assert kept.events == []


def test_what_is_written_while_the_file_is_read_is_seen_the_next_time(path, monkeypatch):
    with keepers(path) as kept:
        stamp, newer = kept.keeper._stamp, Store.newer
        others = iter([entry("eve@one.test")])

        def interrupted(store, sequence, limit):
            rows = newer(store, sequence, limit)
            for other in others if not rows else ():  # after the last look
                another = Store(path, 1000)
                another.change([other])
                another.close()
                stamp.change()
            return rows

        monkeypatch.setattr(Store, "newer", interrupted)
        store = Store(path, 1000)
        store.change([entry("dan@one.test", State.CONFIRMED)])
        store.close()
        stamp.change()
        kept.recall()
        assert kept.knows("eve@one.test") or kept.keeper.seen != stamp.value
        kept.recall()
        assert kept.knows("eve@one.test")


def test_a_new_file_is_not_set_aside_again_and_again(path, monkeypatch):
    with keepers(path) as kept:
        kept.rest()
        os.truncate(f"{path}-shm", 0)
        kept.write(entry())
        assert kept.events == ["ledger_damaged"]
        kept.rest()
        os.truncate(f"{path}-shm", 0)
        kept.write(entry(digest=2))
        assert kept.events == ["ledger_damaged", "ledger_failed"]
        assert kept.recall() == []
        monkeypatch.setattr(module, "DAMAGE_SECONDS", 0)
        kept.wait_for(lambda: kept.events[-1] == "ledger_works_again")
        assert kept.recall() == [entry(digest=2)]  # it was owed


def test_trouble_is_told_and_what_was_to_be_written_is_written_when_it_is_over(path, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)
    path.mkdir()
    with keepers(path) as kept:
        assert "ledger_failed" in kept.events
        failures = kept.failures
        kept.write(entry())
        assert kept.failures > failures
        assert kept.recall() == []
        assert not kept.knows()  # so that nobody waits for what cannot be had
        assert kept.keeper.seen == kept.keeper._stamp.value
        path.rmdir()
        kept.wait_for(lambda: kept.events[-1] == "ledger_works_again")
        assert kept.recall() == [entry()]


def test_what_comes_while_the_file_is_left_alone_fails_at_once(path, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 3600)
    path.mkdir()
    with keepers(path) as kept:
        events = list(kept.events)
        for _ in range(100):
            kept.write(entry())
        assert kept.events == events
        assert kept.failures >= 100
        path.rmdir()
    store = Store(path, 1000)  # the last chance was taken
    assert store.select(Wanted()) == [entry()]
    store.close()


def test_no_more_is_owed_than_the_bound(path, monkeypatch):
    monkeypatch.setattr(module, "OWED", 5)
    monkeypatch.setattr(module, "RETRY_SECONDS", 3600)
    path.mkdir()
    with keepers(path) as kept:
        for number in range(20):
            kept.write(entry(digest=number))
        path.rmdir()
    store = Store(path, 1000)
    assert [int.from_bytes(one.digest) for one in store.select(Wanted())] == [15, 16, 17, 18, 19]
    store.close()


def test_a_file_that_another_process_holds_is_trouble_until_it_lets_go(path, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(module.database, "BUSY_SECONDS", 0.02)
    with keepers(path) as kept:
        before = identity(path)[0]
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        kept.write(entry())
        assert "ledger_failed" in kept.events
        holder.execute("ROLLBACK")
        holder.close()
        kept.wait_for(lambda: kept.events[-1] == "ledger_works_again")
        assert kept.recall() == [entry()]
        assert identity(path)[0] == before


def test_an_entry_that_cannot_be_written_does_not_stand_in_the_way_of_others(path, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)
    with keepers(path) as kept:
        kept.write(entry(hello="\udcff"))
        assert kept.events == ["ledger_failed"]
        kept.wait_for(lambda: kept.events[-1] == "ledger_works_again")
        kept.write(entry())
        assert kept.recall() == [entry()]
        assert not path.with_name("ledger.db.damaged").exists()


def test_at_the_end_everything_is_in_one_file(path):
    with keepers(path) as kept:
        kept.keeper.jobs.put(Job(changes=[entry()]))
        kept.keeper.jobs.put(Job(changes=[entry(digest=2)], stop=True))
    assert list(path.parent.iterdir()) == [path]
    store = Store(path, 1000)
    assert len(store.select(Wanted())) == 2
    store.close()
