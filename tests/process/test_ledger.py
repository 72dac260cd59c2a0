"""Where the file is: as the configuration says, where systemd wants it, or in a place that is gone with Moxy."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from moxy.config.load import loads
from moxy.ledger import NoLedger
from moxy.ledger.database import LedgerError
from moxy.ledger.shared import SharedLedger
from moxy.ledger.store import Store
from moxy.process.ledger import STATE_DIRECTORY, Home, lasting
from moxy.process.privileges import identity
from support.directories import UNPRIVILEGED, is_root, make_writable
from support.ledgers import SENDER, entry
from support.moxy_commands import as_unprivileged, written
from support.moxy_process import running

TABLE = "one.test 127.0.0.1:9\n"


@pytest.fixture(autouse=True)
def _no_service(monkeypatch):
    monkeypatch.delenv(STATE_DIRECTORY, raising=False)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where temporary directories are made."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def config(text=""):
    return loads(f"[ledger]\n{text}", "/etc/moxy/moxy.toml", "toml")


def test_the_place_that_is_named_comes_first(monkeypatch):
    assert lasting(config()) is None
    monkeypatch.setenv(STATE_DIRECTORY, "/var/lib/moxy")
    assert lasting(config()) == Path("/var/lib/moxy/ledger.db")
    monkeypatch.setenv(STATE_DIRECTORY, "/var/lib/one:/var/lib/two")
    assert lasting(config()) == Path("/var/lib/one/ledger.db")
    assert lasting(config('path = "/srv/ledger.db"')) == Path("/srv/ledger.db")


def test_a_temporary_place_is_shared_and_gone_in_the_end(temporary):
    async def main():
        loop = asyncio.get_running_loop()
        with Home() as home:
            home.prepare(config())
            home.prepare(config())  # a reload
            one, other = home.open(config(), loop), home.open(config(), loop)
            (directory,) = temporary.iterdir()
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            await other.recall("", "")
            await one.write([entry(time=4e9)])
            assert other.concerns(SENDER, "bob@one.test")
            assert len(await other.recall(SENDER, "bob@one.test")) == 1
            one.close()
            other.close()
        assert list(temporary.iterdir()) == []

    asyncio.run(main())


@pytest.mark.skipif(not is_root(), reason="only root may do that at all")
def test_a_temporary_place_belongs_to_whom_moxy_becomes(directory, monkeypatch):
    directory.chmod(0o777)
    monkeypatch.setattr("tempfile.tempdir", str(directory))
    user = identity(UNPRIVILEGED)
    with Home() as home:
        home.prepare(config(), user)
        (place,) = directory.iterdir()
        assert (place.stat().st_uid, place.stat().st_gid) == (user.uid, user.gid)

        def use():
            async def main():
                ledger = home.open(config(), asyncio.get_running_loop())
                await ledger.write([entry(time=4e9)])
                assert ledger.failures == 0
                ledger.close()

            asyncio.run(main())
            home.__exit__()  # as at the end of a supervisor
            assert list(directory.iterdir()) == []

        as_unprivileged(use)


def test_what_is_not_needed_is_not_made(temporary, monkeypatch):
    with Home() as home:
        home.prepare(config("hours = 0"))
        home.prepare(config('path = "/srv/ledger.db"'))
        monkeypatch.setenv(STATE_DIRECTORY, "/var/lib/moxy")
        home.prepare(config())
    assert list(temporary.iterdir()) == []


def test_no_hours_are_no_ledger():
    async def main():
        with Home() as home:
            home.prepare(config("hours = 0"))
            assert isinstance(home.open(config("hours = 0"), asyncio.get_running_loop()), NoLedger)

    asyncio.run(main())


def told(home, config):
    with capture_logs() as logs:
        home.warn(config)
    return [(line["event"], line["log_level"]) for line in logs]


def test_the_operator_is_told_if_entries_will_be_gone(temporary, monkeypatch):
    with Home() as home:
        home.prepare(config())
        assert told(home, config()) == [("ledger_temporary", "info")]
        assert told(home, config("hours = 0")) == []
        assert told(home, config('path = "/srv/ledger.db"')) == []
        monkeypatch.setenv(STATE_DIRECTORY, "/var/lib/moxy")
        assert told(home, config()) == []


def test_without_any_place_mail_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))

    async def main():
        with Home() as home:
            home.prepare(config())
            assert isinstance(home.open(config(), asyncio.get_running_loop()), NoLedger)
            assert told(home, config()) == [("ledger_failed", "warning")]

    asyncio.run(main())


def test_a_ledger_has_what_the_configuration_says(tmp_path):
    async def main():
        with Home() as home:
            text = f'path = "{tmp_path}/ledger.db"\nhours = 1\nentries = 5'
            ledger = home.open(config(text), asyncio.get_running_loop())
            assert isinstance(ledger, SharedLedger)
            await ledger.write([entry(digest=number, time=4e9) for number in range(20)])
            assert len(await ledger.recall(SENDER, "bob@one.test")) == 5
            ledger.close()

    asyncio.run(main())


def made(path):
    try:
        Store(path, 1, make=False, readonly=True).close()
    except LedgerError:
        return False
    return True


def test_a_running_moxy_has_its_ledger_where_it_should_be_and_goes_on_without_its_file(directory):
    home = directory / "state"
    home.mkdir()
    make_writable(home)
    path = home / "ledger.db"
    configuration, port = written(directory, TABLE, f'[ledger]\npath = "{path}"\n')
    with running(configuration, port) as moxy:
        moxy.wait_until(lambda: made(path), "the ledger")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for file in (path, Path(f"{path}-wal")):
            file.write_bytes(b"SQLite format 3\0" + b"garbage" * 5000)
        before = moxy.workers()
        os.kill(before[0], signal.SIGKILL)
        moxy.wait_until(lambda: (home / "ledger.db.damaged").exists(), "the damage to be found")
        moxy.wait_until(lambda: "ledger_damaged" in moxy.text(), "the line about it")
        moxy.wait_for_greeting(port)
    assert path.exists()
    assert sqlite3.connect(path).execute("SELECT count(*) FROM entries").fetchone() == (0,)


def test_a_running_moxy_without_a_place_for_it_leaves_nothing_behind(directory):
    temporary = directory / "tmp"
    temporary.mkdir()
    make_writable(temporary)
    configuration, port = written(directory, TABLE)
    with running(configuration, port, {"TMPDIR": str(temporary)}) as moxy:
        moxy.wait_until(lambda: "ledger_temporary" in moxy.text(), "the line about it")
        (place,) = temporary.iterdir()
        moxy.wait_until((place / "ledger.db").exists, "the ledger")
        os.kill(moxy.pid, signal.SIGHUP)
        moxy.wait_until(lambda: "reloaded" in moxy.text(), "the reload")
        assert list(temporary.iterdir()) == [place]
    assert list(temporary.iterdir()) == []
    assert moxy.text().count("ledger_temporary") == 1
