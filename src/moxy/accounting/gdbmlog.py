"""GdbmLog: live totals of octets and messages for each destination, in a GNU dbm file; the original's `gdbmlog`.

Why it is more than a `store`: the mail must wait neither for a disk nor for a lock. Records are added up in memory, and
a thread brings the sums to the file a moment later (`totalsfile` tells how). The rest after that grows with the
processor time it took, so that a huge file costs no more of the machine than a small one.

Rules:
- One thread at most, and it shares nothing: it gets a batch of its own, and what it leaves of that is taken back when
  it has ended. Everything else happens where records come from.
- While the file cannot be written totals stay here, and are told of once.

Bugs: a killed process costs what it had not yet added: the messages of FLUSH_SECONDS, of the flush under way, and of
the rest (REST_FACTOR times the processor time that the last flush took, REST_SECONDS at most).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from structlog import get_logger

from moxy.accounting.record import Outcome, Record
from moxy.accounting.totals import Totals
from moxy.accounting.totalsfile import TotalsFile
from moxy.gdbm import Locked

FLUSH_SECONDS: Final = 0.25
"""How long the first record waits for company."""

REST_FACTOR: Final = 20
"""The rest after a flush, in times of the processor time it took: 5 % of one core at most."""

REST_SECONDS: Final = 30.0
"""The longest rest: a disk that stood still once says little about the next time."""

BUSY_SECONDS: Final = 0.01
"""How long `close` waits between two tries for a file that another process holds; one of ours does so for
milliseconds.
"""

RETRY_SECONDS: Final = 1.0
"""How long to leave a file alone that could not be written."""

PATIENCE_SECONDS: Final = 10.0
"""How long another process may hold the file before we say so."""

CLOSE_SECONDS: Final = 5.0
"""How long `close` tries."""

DESTINATIONS: Final = 100_000
"""Different destinations that may wait; messages to others are dropped and counted."""

log = get_logger("moxy.accounting")


class GdbmLog:
    """Adds every record of a delivery that succeeded to its destination's totals in the file at `path`. Implements
    `Sink`.

    `later(seconds, callback)` schedules the flushes (an event loop's `call_later`); without it every record is written
    at once. `clock` gives seconds, only ever forward. `dropped` counts the messages that are missing in the file.
    Raises GdbmError or OSError if the file cannot be made or used; after that no method does.
    """

    def __init__(
        self,
        path: Path,
        later: Callable[[float, Callable[[], None]], object] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.dropped = 0
        self._later = later
        self._clock = clock
        self._file = TotalsFile(path)
        self._waiting: dict[str, Totals] = {}
        self._errand: _Errand | None = None
        self._scheduled = False
        self._not_before = clock()
        self._locked_since: float | None = None
        self._told = False
        self._closed = False
        self._file.check()

    def record(self, record: Record) -> None:
        """Count the delivery, if it is one; in the file FLUSH_SECONDS later, or after the rest."""
        if record.outcome is not Outcome.DELIVERED:
            return
        before = self._waiting.get(record.destination)
        if before is None:
            if len(self._waiting) >= DESTINATIONS:
                self.dropped += 1
                return
            before = Totals()
        self._waiting[record.destination] = before + Totals(record.size, 1)
        if self._later is None:
            self._write(RETRY_SECONDS)
        elif not self._scheduled:
            self._schedule()

    def flush(self) -> None:
        """Look what has become of the last flush, and begin the next one if it is time. Returns at once."""
        self._scheduled = False
        if self._closed:  # a flush that was scheduled before the log was closed
            return
        self._take_back()
        if self._errand is None and self._clock() >= self._not_before:
            self._begin()
        if self._waiting or self._errand is not None:
            self._schedule()

    def reopen(self) -> None:
        """Nothing to do: every flush opens the path anew."""

    def close(self) -> None:
        """Write what is there, for CLOSE_SECONDS at most. What is not in the file then is dropped and counted."""
        if self._closed:
            return
        self._closed = True
        self._write(CLOSE_SECONDS)
        self.dropped += _messages(self._waiting)
        if self._errand is not None:
            self.dropped += _messages(self._errand.batch)
        if self.dropped:
            log.warning("accounting_totals_lost", file=str(self.path), dropped=self.dropped)

    def _schedule(self) -> None:
        if self._later is not None:
            self._scheduled = True
            self._later(max(FLUSH_SECONDS, self._not_before - self._clock()), self.flush)

    def _begin(self) -> None:
        """Send a thread with everything that waits."""
        if not self._waiting:
            return
        errand = _Errand(self._file, self._waiting)
        try:
            errand.start()
        except RuntimeError as error:  # the system gives us no thread
            self._trouble(error)
            return
        self._errand = errand
        self._waiting = {}

    def _take_back(self) -> Exception | None:
        """If the thread has ended, take what it left, and learn from how it went. Returns what went wrong."""
        errand = self._errand
        if errand is None or errand.is_alive():
            return None
        self._errand = None
        for destination, totals in errand.batch.items():
            self._waiting[destination] = self._waiting.get(destination, Totals()) + totals
        if isinstance(errand.error, Locked):
            self._locked(errand.error)
        elif errand.error is not None:
            self._trouble(errand.error)
        else:
            self._written(errand.seconds)
        return errand.error

    def _locked(self, error: Locked) -> None:
        now = self._clock()
        if self._locked_since is None:
            self._locked_since = now
        elif now - self._locked_since > PATIENCE_SECONDS:
            self._tell(error)

    def _trouble(self, error: Exception) -> None:
        self._locked_since = None
        self._not_before = self._clock() + RETRY_SECONDS
        self._tell(error)

    def _tell(self, error: Exception) -> None:
        """Tell the operator once; it may last for hours, and every flush would tell it again."""
        if not self._told:
            self._told = True
            log.warning("accounting_totals_not_written", file=str(self.path), error=str(error))

    def _written(self, seconds: float) -> None:
        self._locked_since = None
        self._not_before = self._clock() + min(seconds * REST_FACTOR, REST_SECONDS)
        if self._told:
            self._told = False
            log.warning("accounting_log_works_again", file=str(self.path), dropped=self.dropped)

    def _write(self, seconds: float) -> None:
        """Have everything in the file before this returns, if `seconds` are enough for it."""
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            if self._errand is None:
                self._begin()
            if self._errand is None:
                return
            self._errand.join(max(0.0, give_up - time.monotonic()))
            error = self._take_back()
            if isinstance(error, Locked):
                time.sleep(BUSY_SECONDS)
            elif error is not None:
                return


class _Errand(threading.Thread):
    """One flush: `batch` goes to the file. What is left in it at the end is not there; `error` says why."""

    def __init__(self, file: TotalsFile, batch: dict[str, Totals]) -> None:
        # A daemon: a disk that hangs must not keep the process from its end.
        super().__init__(name="gdbmlog", daemon=True)
        self.batch = batch
        self.error: Exception | None = None
        self.seconds = 0.0
        self._file = file

    def run(self) -> None:
        began = time.thread_time()  # not the clock's: what a busy worker lets it wait is no reason to rest
        try:
            self._file.add(self.batch)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, the totals are kept and it is told
            self.error = error
        self.seconds = time.thread_time() - began


def _messages(waiting: dict[str, Totals]) -> int:
    # A list first: the thread of an errand that takes too long may still empty the dictionary.
    return sum(totals.messages for totals in list(waiting.values()))
