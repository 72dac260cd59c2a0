"""Keeper: the thread of a worker that reads and writes the ledger's file, so that mail waits for neither lock nor disk.

Rules:
- It gets jobs by a queue, does at once all that wait, and reports each. Everything in the file is its business alone;
  `pairs` and `seen` are for others to read, at any time.
- The stamp is read before the file, and `seen` is set after `pairs`: who finds `seen` equal to the stamp, and then a
  pair not in `pairs`, knows that there is nothing open about it.
- After trouble the file is left alone for RETRY_SECONDS: what comes meanwhile fails at once. While there is trouble
  nothing is known of anybody, so that nobody waits for what cannot be had. What was to be written is owed.
- What is damaged is set aside, once in DAMAGE_SECONDS at most, and the jobs are done with a new file.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from moxy.ledger import database
from moxy.ledger.database import Damaged, Identity, LedgerError
from moxy.ledger.entry import Entry, Key
from moxy.ledger.stamp import NONE, Stamp
from moxy.ledger.store import Store

RETRY_SECONDS: Final = 1.0
"""How long a file is left alone after trouble."""

DAMAGE_SECONDS: Final = 60.0
"""Between two files set aside: a disk that damages everything must not be filled with damaged files."""

EXPIRY_SECONDS: Final = 600.0
"""Between two removals of old entries."""

KNOWN: Final = 100_000
"""Pairs that are kept in memory, some 8 MB. If more are open, everybody may be concerned."""

OWED: Final = 10_000
"""Changes kept for when the file can be written again; of more, the oldest are lost."""

ROWS: Final = 2_000
"""Read in one go, some milliseconds."""

TIDY_BATCHES: Final = 250
"""After so many commits everything is brought to the disk."""


@dataclass(slots=True, eq=False)
class Job:
    """`changes` to be written (Entry) or confirmed (Key), or a pair `about` to be recalled, or the rivals of an entry.

    `ticket` is its owner's.
    """

    changes: Sequence[Entry | Key] = ()
    about: tuple[str, str] | None = None
    rivals_of: Entry | None = None
    ticket: Any = None
    found: list[Entry] = field(default_factory=list)
    """What was recalled."""
    stop: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """Jobs that are done with; `event` is something to tell the operator, "" if there is nothing, with its `facts`."""

    jobs: Sequence[Job] = ()
    failures: int = 0
    event: str = ""
    facts: tuple[tuple[str, object], ...] = ()


class Everybody(set[int]):
    """In the place of more pairs than are to be kept."""

    def __contains__(self, pair: object) -> bool:
        return True


class Keeper(threading.Thread):
    """Keeps the ledger in the file `path`. `report` is called when there is something in `reports`, from the thread.

    Entries live for `seconds`, and there are `limit` at most. `clock` gives seconds since the epoch.
    """

    def __init__(
        self,
        path: Path,
        stamp: Stamp,
        report: Callable[[], None],
        *,
        seconds: float,
        limit: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(name="ledger", daemon=True)  # a disk that hangs must not keep the process from its end
        self.jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self.reports: deque[Report] = deque()
        self.pairs: set[int] = set()
        self.seen = NONE
        self._path = path
        self._stamp = stamp
        self._report = report
        self._seconds = seconds
        self._limit = limit
        self._clock = clock
        self._store: Store | None = None
        self._read_to = 0
        self._commits = 0
        self._owed: deque[Entry | Key] = deque(maxlen=OWED)
        self._trouble = False
        self._retry_at = 0.0
        self._expire_at = 0.0
        self._set_aside_at = float("-inf")
        self._shunned: tuple[int, int] | None = None
        """A damaged file, not to be touched before it is set aside."""

    def run(self) -> None:
        batch: list[Job] = []
        while not _last(batch):
            self._work(batch)
            self._chores()
            batch = self._next()
        self._work(batch)
        self._part()

    # -- jobs

    def _next(self) -> list[Job]:
        """All jobs that wait; if there are none, the next ones, or none when there is something else to do."""
        until = self._retry_at if self._trouble else self._expire_at
        batch = []
        try:
            batch.append(self.jobs.get(timeout=max(0.0, until - time.monotonic())))
            while True:
                batch.append(self.jobs.get_nowait())
        except queue.Empty:
            return batch

    def _work(self, batch: Sequence[Job]) -> None:
        if self._trouble and time.monotonic() < self._retry_at and not _last(batch):
            self._owe(batch)
            self._tell(Report(batch, len(batch)))
            return
        try:
            try:
                self._do(batch)
            except Damaged as damage:
                self._replace(damage)
                self._do(batch)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end the thread, nor touch mail
            self._give_up(batch, error)
            return
        if self._trouble:
            self._trouble = False
            self._tell(Report(event="ledger_works_again"))
        self._tell(Report(batch))

    def _do(self, batch: Sequence[Job]) -> None:
        """All of the batch; once more if another worker has put a new file in the place of ours meanwhile."""
        changes = [*self._owed, *_changes(batch)]
        while True:
            store = self._unmoved()
            if changes:
                store.change(changes)
                self._commits += 1
                self._stamp.change()
            self._refresh(store)
            for job in batch:
                if job.about is not None:
                    job.found = self._recall(store, *job.about)
                if job.rivals_of is not None:
                    job.found = store.rivals(job.rivals_of)
            if not store.moved:
                self._owed.clear()
                return

    def _recall(self, store: Store, reverse_path: str, forward_path: str) -> list[Entry]:
        found = store.recall(reverse_path, forward_path)
        if not found:
            self.pairs.discard(hash((reverse_path, forward_path)))  # settled, forgotten or expired
        return found

    # -- what is known

    def _refresh(self, store: Store) -> None:
        """Know of all open entries that are in the file now."""
        seen = self._stamp.value
        if seen != self.seen:
            self._read_on(store, self._read_to, self.pairs)
            self.seen = seen

    def _reread(self, store: Store) -> None:
        """The same, from the beginning: so that what is open no more is forgotten."""
        seen = self._stamp.value
        self._read_on(store, 0, set())
        self.seen = seen

    def _read_on(self, store: Store, sequence: int, pairs: set[int]) -> None:
        """Add to `pairs` what is in the file behind `sequence`, and know them."""
        while rows := store.newer(sequence, ROWS):
            sequence = rows[-1][0]
            if not isinstance(pairs, Everybody):
                pairs.update([hash((reverse, forward)) for _, reverse, forward, matters in rows if matters])
                if len(pairs) > KNOWN:
                    pairs = Everybody()
        self.pairs = pairs
        self._read_to = sequence

    # -- the file

    def _unmoved(self) -> Store:
        """The file that the path leads to, open. Raises LedgerError."""
        if self._store is not None and self._store.moved:
            self._part()
        if self._store is None:
            if self._shunned is not None and database.identity(self._path)[0] == self._shunned:
                raise Damaged(f"{self._path}: damaged")
            self._shunned = None
            self._store = store = Store(self._path, self._limit)
            store.check()
            self._reread(store)
            self._expire_at = 0.0
        return self._store

    def _part(self) -> None:
        """Close the file. What was known of it is known no more."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _replace(self, damage: Damaged) -> None:
        """Set the damaged file aside. Raises LedgerError where that cannot be done, or was done a moment ago."""
        seen: Identity = self._store.identity if self._store is not None else database.identity(self._path)
        self._shunned = seen[0]
        if time.monotonic() < self._set_aside_at + DAMAGE_SECONDS:
            raise LedgerError(str(damage))
        kept = database.set_aside(self._path, seen)
        self._part()
        if kept is not None:
            self._set_aside_at = time.monotonic()
            self._tell(Report(failures=1, event="ledger_damaged", facts=(("error", str(damage)), ("kept", str(kept)))))

    def _give_up(self, batch: Sequence[Job], error: Exception) -> None:
        with contextlib.suppress(Exception):
            self._part()
        self.pairs, self.seen = set(), self._stamp.value
        self._trouble = True
        if isinstance(error, LedgerError):
            self._owe(batch)
        else:
            self._owed.clear()  # else what we cannot write would stand in the way of everything for ever
        self._retry_at = time.monotonic() + RETRY_SECONDS
        facts = (("error", str(error) if isinstance(error, LedgerError) else repr(error)),)
        self._tell(Report(batch, max(1, len(batch)), "ledger_failed", facts))

    def _owe(self, batch: Sequence[Job]) -> None:
        for job in batch:
            job.found = []
        self._owed.extend(_changes(batch))

    def _chores(self) -> None:
        """What is to be done when nobody waits for it."""
        if self._trouble or self._store is None:
            return
        now = time.monotonic()
        with contextlib.suppress(Exception):  # the next job will meet the same, and tell
            if now >= self._expire_at:
                self._expire_at = now + EXPIRY_SECONDS
                store = self._unmoved()
                store.expire(self._clock() - self._seconds)
                self._reread(store)
                self._commits = TIDY_BATCHES
            if self._commits >= TIDY_BATCHES:
                self._commits = 0
                self._unmoved().tidy()

    def _tell(self, report: Report) -> None:
        if report.jobs or report.failures or report.event:
            self.reports.append(report)
            with contextlib.suppress(Exception):  # the loop may be closed by now
                self._report()


def _last(batch: Sequence[Job]) -> bool:
    return any(job.stop for job in batch)


def _changes(batch: Sequence[Job]) -> list[Entry | Key]:
    return [change for job in batch for change in job.changes]
