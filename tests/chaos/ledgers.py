"""The ledgers of a stage: one file that several workers share, and files that something is wrong with."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from unittest.mock import patch

from chaos.scenario import Scenario
from moxy.ledger import database, shared
from moxy.ledger.shared import SharedLedger
from moxy.ledger.stamp import Stamp

ROOM = 20_000
"""Octets that a file may have where the disk is said to be full: the ledger's begins with less, and soon has more."""


class Ledgers:
    """Makes ledgers for workers, and keeps those that are whole from one scenario to the next."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stamp = Stamp()
        self._whole: list[SharedLedger] = []
        self._own = 0

    @contextmanager
    def of_worker(self, number: int, scenario: Scenario) -> Iterator[SharedLedger]:
        """The ledger of a worker in this scenario."""
        if scenario.trouble or scenario.null:
            with self._one_of_its_own(TROUBLES.get(scenario.trouble, _whole)) as ledger:
                yield ledger
            return
        while len(self._whole) <= number:
            self._whole.append(_ledger(self._directory / "ledger.db", self._stamp))
        yield self._whole[number]

    @contextmanager
    def _one_of_its_own(self, trouble: Trouble) -> Iterator[SharedLedger]:
        self._own += 1
        path = self._directory / f"own{self._own}" / "ledger.db"
        path.parent.mkdir()
        with ExitStack() as stack:
            trouble(path, stack)
            ledger = _ledger(path, Stamp())
            stack.callback(ledger.close)
            yield ledger

    @property
    def at_rest(self) -> bool:
        """Is everything in the file that is to come there?"""
        return not any(ledger._under_way or ledger._pending.noted for ledger in self._whole)

    def close(self) -> None:
        """End them all."""
        for ledger in self._whole:
            ledger.close()


def _ledger(path: Path, stamp: Stamp) -> SharedLedger:
    return SharedLedger(path, stamp, asyncio.get_running_loop(), hours=72, entries=100_000)


Trouble = Callable[[Path, ExitStack], None]
"""Sees to it that there is trouble with the file of this path, as long as the stack is open."""


def _whole(path: Path, stack: ExitStack) -> None:
    """There is none."""


def _make(path: Path) -> None:
    """A whole ledger, as an earlier Moxy has left it."""
    _ledger(path, Stamp()).close()


def _garbage(path: Path, stack: ExitStack) -> None:
    path.write_bytes(b"This is no ledger. " * 1000)


def _damaged(path: Path, stack: ExitStack) -> None:
    """A good beginning, and pages of nonsense."""
    _make(path)
    path.write_bytes(path.read_bytes()[:4096] + b"\x17" * 8192)


def _damaged_meanwhile(path: Path, stack: ExitStack) -> None:
    """Again and again, while it is used."""
    _make(path)
    loop = asyncio.get_running_loop()

    def damage() -> None:
        nonlocal timer
        if path.exists():
            path.write_bytes(b"\x17" * 4096)
        timer = loop.call_later(0.003, damage)

    timer = loop.call_later(0.003, damage)
    stack.callback(lambda: timer.cancel())


def _removed_meanwhile(path: Path, stack: ExitStack) -> None:
    """Again and again, while it is used."""
    loop = asyncio.get_running_loop()

    def remove() -> None:
        nonlocal timer
        for file in path.parent.iterdir():
            file.unlink(missing_ok=True)
        timer = loop.call_later(0.003, remove)

    timer = loop.call_later(0.003, remove)
    stack.callback(lambda: timer.cancel())


def _held(path: Path, stack: ExitStack) -> None:
    """Another process is writing to it, and does not end."""
    _make(path)
    other = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
    other.execute("BEGIN EXCLUSIVE")


def _nowhere(path: Path, stack: ExitStack) -> None:
    """Its directory is gone."""
    path.parent.rmdir()


def _directory(path: Path, stack: ExitStack) -> None:
    """A directory stands in its place."""
    path.mkdir()


def _full(path: Path, stack: ExitStack) -> None:
    """No file can grow any more: see `full_disk`."""
    _make(path)


@contextmanager
def full_disk() -> Iterator[None]:
    """As long as this is open, no file of this process can have more than ROOM octets."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


FULL = "on a full disk"


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """As long as this is open, mail waits so long for the ledger's file.

    Long, where the machine has much to do and nothing is wrong; short, where it is always in vain.
    """
    with patch.object(shared, "PATIENCE_SECONDS", seconds), patch.object(database, "BUSY_SECONDS", seconds / 2):
        yield


TROUBLES: dict[str, Trouble] = {
    "of garbage": _garbage,
    "damaged": _damaged,
    "damaged again and again": _damaged_meanwhile,
    "removed again and again": _removed_meanwhile,
    "held by another": _held,
    "without a directory": _nowhere,
    "with a directory in its place": _directory,
    FULL: _full,
}
