"""SharedLedger: a worker's view of the ledger in a file that all workers share.

Why a thread of its own (`keeper`): nobody waits for the file but those whose recipient has an open entry, and those
whose message ended otherwise than well. All others pay a look at a set in memory.

Rules:
- Everything but the keeper happens in the event loop's thread.
- Who waits does so for PATIENCE_SECONDS at most; then mail goes on, and what was to be written may still be. Nobody
  else waits then, until the file has answered.

Bugs: two Moxys that are started for themselves do not see each other's entries at once, even in one file: a stamp is
shared by one supervisor's workers.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from structlog import get_logger

from moxy.ledger.entry import Entry
from moxy.ledger.keeper import Job, Keeper, Report
from moxy.ledger.pending import Pending, pair_of
from moxy.ledger.stamp import Stamp
from moxy.net.steps import Answer

PATIENCE_SECONDS: Final = 5.0
"""How long mail waits for the file."""

NOTE_SECONDS: Final = 0.05
"""How long a note may stay out of the file."""

NOTE_SLACK: Final = 0.01
"""Notes that are due so soon are written together with the first."""

CLOSE_SECONDS: Final = 3.0
"""How long `close` waits for the file."""

QUIET_SECONDS: Final = 60.0
"""Between two lines about trouble in the operator's log."""

BACKLOG: Final = 10_000
"""Entries that may wait for the file. More would come only where a disk hangs."""

_NO_ANSWER: Final = "no answer from the disk"

log = get_logger("moxy.ledger")


class _Waiting:
    """Somebody waits for what becomes of a job."""

    __slots__ = ("answer", "timer")

    def __init__(self, answer: Answer[list[Entry]], timer: asyncio.TimerHandle) -> None:
        self.answer = answer
        self.timer = timer


class SharedLedger:
    """The ledger in the file `path`, which is made where there is none. Implements `Ledger`.

    Entries are kept for `hours`, `entries` of them at most. `stamp` is shared with all others who use the file. Neither
    making one nor any method raises.
    """

    def __init__(
        self,
        path: Path,
        stamp: Stamp,
        loop: asyncio.AbstractEventLoop,
        *,
        hours: float,
        entries: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.failures = 0
        self._path = path
        self._stamp = stamp.memory
        self._loop = loop
        self._pending = Pending()
        self._noted, self._coming = self._pending.noted, self._pending.coming
        self._due: deque[tuple[float, int, Entry]] = deque()
        self._scheduled = False
        self._under_way = 0
        self._absent = False
        """Somebody has waited in vain, and nothing has been heard of the file since."""
        self._quiet_until = {"ledger_failed": 0.0, "ledger_damaged": 0.0}
        self._told = False
        self._closed = False
        self._keeper = Keeper(path, stamp, self._call, seconds=hours * 3600, limit=entries, clock=clock)
        try:
            self._keeper.start()
        except RuntimeError as error:  # the system gives us no thread
            self._closed = True
            self._fail(str(error))

    def concerns(self, reverse_path: str, forward_path: str) -> bool:
        """Whether there may be an open entry about this pair. False is certain, whichever worker has written last."""
        pair = hash((reverse_path, forward_path))
        return pair in self._noted or self._may_have(pair)

    def _may_have(self, pair: int) -> bool:
        """Whether the file may have an open entry about the pair, or is about to get one."""
        keeper = self._keeper
        if self._stamp[0] != keeper.seen:  # before the rest: the keeper may learn of the change at any time
            return not self._closed
        return pair in keeper.pairs or pair in self._coming

    async def recall(self, reverse_path: str, forward_path: str) -> list[Entry]:
        """The open entries about this pair; none where they cannot be read within PATIENCE_SECONDS."""
        about = (reverse_path, forward_path)
        if not self._may_have(hash(about)):
            return self._pending.merged(about, ())
        return await self._ask(Job(about=about))

    async def rivals(self, entry: Entry) -> list[Entry]:
        """The older entries about other recipients of its message; none where they cannot be read in time."""
        return await self._ask(Job(rivals_of=entry))

    async def write(self, entries: Sequence[Entry]) -> None:
        """Returns when they are in the file, or could not be within PATIENCE_SECONDS."""
        for entry in entries:
            self._pending.drop(entry)
        if entries:
            await self._ask(Job(changes=tuple(entries)))

    def note(self, entries: Sequence[Entry]) -> None:
        """To be written in NOTE_SECONDS, unless settled, or written otherwise, before."""
        if self._closed:
            return
        due = self._loop.time() + NOTE_SECONDS
        for entry in entries:
            self._due.append((due, self._pending.note(entry), entry))
        if self._due and not self._scheduled:
            self._scheduled = True
            self._loop.call_at(self._due[0][0], self._write_due)

    def settle(self, entries: Sequence[Entry]) -> None:
        """Their sender has the truth: what is in the file is confirmed, and what was only noted is forgotten."""
        keys = []
        for entry in entries:
            self._pending.drop(entry)
            if self._may_have(pair_of(entry)):
                keys.append(entry.key)
        if keys:
            self._hand_over(Job(changes=keys))

    def close(self) -> None:
        """Write what is noted, and end. Waits for CLOSE_SECONDS at most."""
        if self._closed:
            return
        noted = [entry for entries in self._noted.values() for entry in entries.values()]
        self._hand_over(Job(changes=noted, stop=True))
        self._closed = True
        self._keeper.join(CLOSE_SECONDS)
        self._learn()
        self._keeper.pairs = set()
        self._pending.clear()
        if self._keeper.is_alive():
            self._fail(_NO_ANSWER)

    # -- notes

    def _write_due(self) -> None:
        """Write the notes whose time has come, but for those that are noted no more."""
        until = self._loop.time() + NOTE_SLACK
        changes = []
        while self._due and self._due[0][0] <= until:
            _, pair, entry = self._due.popleft()
            if self._pending.is_noted(pair, entry):
                self._pending.drop(entry)
                changes.append(entry)
        self._scheduled = bool(self._due)
        if self._scheduled:
            self._loop.call_at(self._due[0][0], self._write_due)
        if changes:
            self._hand_over(Job(changes=changes))

    # -- jobs

    async def _ask(self, job: Job) -> list[Entry]:
        """Have a job done; what was recalled, at the latest after PATIENCE_SECONDS."""
        if self._absent:
            if not job.changes or self._hand_over(job):
                self._fail(_NO_ANSWER)
            return self._found(job)
        answer: Answer[list[Entry]] = Answer(self._loop)
        job.ticket = _Waiting(answer, self._loop.call_later(PATIENCE_SECONDS, self._late, job))
        if not self._hand_over(job):
            self._answer(job)
        return await answer

    def _hand_over(self, job: Job) -> bool:
        if self._closed:
            return False
        if self._under_way > BACKLOG and not job.stop:
            self._fail("too much waits for the disk")
            return False
        self._pending.sent(job.changes)
        self._under_way += len(job.changes)
        self._keeper.jobs.put(job)
        return True

    def _answer(self, job: Job) -> None:
        """Let who waits for it go on."""
        waiting, job.ticket = job.ticket, None
        if waiting is not None:
            waiting.timer.cancel()
            waiting.answer.set(self._found(job))

    def _found(self, job: Job) -> list[Entry]:
        return self._pending.merged(job.about, job.found) if job.about is not None else job.found

    def _late(self, job: Job) -> None:
        self._absent = True
        self._fail(_NO_ANSWER)
        self._answer(job)

    def _call(self) -> None:
        """The keeper has something to report. Called in its thread."""
        self._loop.call_soon_threadsafe(self._learn)

    def _learn(self) -> None:
        self._absent = False
        while self._keeper.reports:
            self._learn_one(self._keeper.reports.popleft())

    def _learn_one(self, report: Report) -> None:
        self.failures += report.failures
        if report.event:
            self._tell(report)
        for job in report.jobs:
            self._under_way -= len(job.changes)
            self._pending.arrived(job.changes)
            self._answer(job)

    def _fail(self, why: str) -> None:
        self._learn_one(Report(failures=1, event="ledger_failed", facts=(("error", why),)))

    def _tell(self, report: Report) -> None:
        """Tell the operator, who needs to know once."""
        if report.event == "ledger_works_again":
            if self._told:
                log.warning(report.event, file=str(self._path), failures=self.failures)
            self._told = False
            return
        now = self._loop.time()
        if now >= self._quiet_until[report.event]:
            self._quiet_until[report.event] = now + QUIET_SECONDS
            self._told = self._told or report.event == "ledger_failed"
            log.warning(report.event, file=str(self._path), failures=self.failures, **dict(report.facts))
