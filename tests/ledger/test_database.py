"""The file: made for its user alone, known again, told from the files of others, and set aside when it is damaged."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat

import pytest

from moxy.ledger import database
from moxy.ledger.database import Damaged, LedgerError, Locked, identity, opened, set_aside
from support.directories import is_root, make_writable
from support.ledgers import entry, program
from support.moxy_commands import as_unprivileged


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


def connect(path, **how):
    return opened(path, **how).connection


def names(path):
    return sorted(file.name for file in path.parent.iterdir())


def test_it_is_made_for_its_user_alone(path):
    connection = connect(path)
    assert names(path) == ["ledger.db", "ledger.db-shm", "ledger.db-wal"]
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {0o600}
    connection.close()


def test_the_last_one_leaves_one_file(path):
    connect(path).close()
    assert names(path) == ["ledger.db"]


def test_it_is_found_again(path):
    connect(path).close()
    before = identity(path)[0]
    connect(path).close()
    connect(path, make=False).close()
    connect(path, make=False, readonly=True).close()
    assert identity(path)[0] == before


def test_a_name_may_hold_anything(tmp_path):
    path = tmp_path / "a%20b?mode=memory#é .db"
    connect(path).close()
    assert path.exists()


def test_nothing_is_made_unless_wanted(path):
    with pytest.raises(LedgerError):
        connect(path, make=False)
    assert names(path) == []


def test_an_empty_file_becomes_a_ledger_but_only_where_one_is_to_be_made(path):
    path.touch(0o600)
    with pytest.raises(LedgerError, match="no ledger"):
        connect(path, make=False)
    connect(path).close()
    connect(path, make=False).close()


@pytest.mark.parametrize("make", [False, True])
def test_a_database_of_another_program_is_left_alone(path, make):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE entries (a)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="a database of another program") as caught:
        connect(path, make=make)
    assert not isinstance(caught.value, Damaged)
    assert path.read_bytes() == before


def test_one_of_another_version_is_not_read(path):
    connection = connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(Damaged, match="another version of Moxy"):
        connect(path)


def garbled(path):
    """A file whose header is right, and whose pages are not."""
    connect(path).close()
    octets = path.read_bytes()
    path.write_bytes(octets[:100] + b"\xa5" * (len(octets) - 100))


def without_its_table(path):
    connection = connect(path)
    connection.execute("DROP TABLE entries")
    connection.close()


def cut(path):
    connect(path).close()
    os.truncate(path, 5000)


DAMAGES = {
    "header alone": lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(84)),
    "garbled": garbled,
    "cut": cut,
    "without its table": without_its_table,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_told_and_set_aside_and_the_next_one_is_new(path, damage):
    damage(path)
    octets, seen = path.read_bytes(), identity(path)
    with pytest.raises(Damaged, match=r"ledger\.db"):
        connect(path)
    assert set_aside(path, seen) == path.with_name("ledger.db.damaged")
    assert path.with_name("ledger.db.damaged").read_bytes() == octets
    connect(path).close()
    assert names(path) == ["ledger.db", "ledger.db.damaged"]


@pytest.mark.parametrize("octets", [b"\xa5" * 20_000, b"example.org mail.example.org\n" * 100, b"xy"])
def test_what_is_no_database_is_somebodys_file_and_left_alone(path, octets):
    path.write_bytes(octets)
    with pytest.raises(Damaged, match=r"ledger\.db"):
        connect(path)
    with pytest.raises(LedgerError, match="no ledger, and left alone"):
        set_aside(path, identity(path))
    assert path.read_bytes() == octets
    assert names(path) == ["ledger.db"]


def test_only_one_sets_a_file_aside(path):
    garbled(path)
    seen = identity(path)
    assert set_aside(path, seen) is not None
    assert set_aside(path, seen) is None
    connect(path).close()
    assert set_aside(path, seen) is None
    assert names(path) == ["ledger.db", "ledger.db.damaged"]


def test_what_belongs_to_a_damaged_file_goes_with_it(path):
    connection = connect(path)
    seen = identity(path)
    set_aside(path, seen)
    assert names(path) == ["ledger.db.damaged", "ledger.db.damaged-wal"]
    connection.close()
    assert names(path) == ["ledger.db.damaged", "ledger.db.damaged-wal"]


def test_a_process_killed_while_it_makes_the_file_is_no_trouble_for_the_next(path):
    path.touch(0o600)
    killed = sqlite3.connect(path, isolation_level=None)
    killed.execute("BEGIN IMMEDIATE")
    killed.execute("CREATE TABLE entries (a)")
    killed.execute("PRAGMA cache_spill = 1")
    journal = path.with_name("ledger.db-journal")
    octets = journal.read_bytes()
    killed.close()
    path.unlink()
    journal.write_bytes(octets)
    connect(path).close()
    assert names(path) == ["ledger.db"]
    journal.write_bytes(octets)
    set_aside(path, identity(path))
    assert names(path) == ["ledger.db.damaged", "ledger.db.damaged-journal"]


def test_what_a_removed_file_has_left_is_not_taken_for_the_new_ones(path):
    old = connect(path)
    old.execute("PRAGMA user_version = 77")  # in -wal by now
    wal = path.with_name("ledger.db-wal").read_bytes()
    path.unlink()
    new = connect(path)
    assert new.execute("PRAGMA user_version").fetchone() == (database.VERSION,)
    assert path.with_name("ledger.db-wal").read_bytes() != wal
    new.close()
    old.close()


def test_one_that_is_held_is_told_from_a_damaged_one(path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.01)
    holder = connect(path)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Locked), database.meaning(path):
        connect(path, make=False).execute("DELETE FROM entries")
    holder.execute("ROLLBACK")
    holder.close()


def test_a_directory_that_is_held_is_waited_for_and_not_forever(path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    holder = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(Locked):
        connect(path)
    os.close(holder)
    connect(path).close()


def test_a_directory_in_its_place_is_trouble_and_no_damage(path):
    path.mkdir()
    with pytest.raises(LedgerError) as caught:
        connect(path)
    assert not isinstance(caught.value, Damaged)


def test_no_directory_is_trouble(tmp_path):
    with pytest.raises(LedgerError, match="No such file or directory"):
        connect(tmp_path / "missing" / "ledger.db")


def test_what_may_not_be_written_is_trouble(directory):
    path = directory / "ledger.db"

    def refused():
        with pytest.raises(LedgerError) as caught, database.meaning(path):
            connect(path).execute("DELETE FROM entries")
        assert not isinstance(caught.value, Damaged)

    if is_root():
        as_unprivileged(refused)  # the directory is root's
        connect(path).close()
        as_unprivileged(refused)  # and so is the file
        make_writable(directory)
        path.chmod(0o644)
        as_unprivileged(refused)


def test_pages_that_lead_in_circles_end(path, monkeypatch):
    monkeypatch.setattr(database, "STEPS", 1000)
    connection = connect(path)
    with pytest.raises(Damaged), database.meaning(path):
        connection.execute(
            "WITH RECURSIVE circle(a) AS (VALUES(1) UNION ALL SELECT a FROM circle) SELECT max(a) FROM circle"
        )
    connection.close()


def test_who_lost_the_shared_memory_knows_it(path):
    connection = connect(path)
    seen = identity(path)
    assert None not in seen
    os.truncate(path.with_name("ledger.db-shm"), 0)
    assert identity(path) == (*seen[:2], None)
    set_aside(path, seen)
    connection.close()  # in this order; in the other SQLite would use the memory, and the process be killed
    assert names(path) == ["ledger.db.damaged", "ledger.db.damaged-wal"]


KILLED = """
import os, sys
from pathlib import Path
from moxy.ledger.store import Store
from support.ledgers import entry

store = Store(Path(sys.argv[1]), 10_000)
for number in range(10_000):
    store.change([entry(digest=number), entry("eve@two.test", digest=number)])
    os.write(1, b"x")
"""


@pytest.mark.parametrize("written", [1, 50, 333])
def test_a_process_killed_at_any_time_leaves_a_file_with_all_it_has_written(path, written):
    process = program(KILLED, path)
    for _ in range(written):
        assert process.stdout.read(1) == b"x"
    process.kill()
    told = written + len(process.communicate()[0])
    connection = connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    (count,) = connection.execute("SELECT count(*) FROM entries").fetchone()
    assert count % 2 == 0
    assert count >= 2 * told
    (last,) = connection.execute("SELECT max(digest) FROM entries").fetchone()
    assert int.from_bytes(last) == count // 2 - 1
    assert entry(digest=last).digest == last
    connection.close()
