"""FileLog: one line for each delivery, appended to a file; the original's `filelog`.

Why it is more than a `write`: the mail must not wait for a disk. Records are collected, and a moment later made into
lines and written together; what a full disk refuses is kept, up to a bound.

Rules:
- Only whole lines are written, in one `write`, to a descriptor in append mode: several processes may share the file.
- What a short write left over is written before anything else, so a line is never cut by the next one; if the file is
  another one by then, the whole line again.
- The file may be renamed or removed at any time (log rotation): the log follows within a second, or on `reopen`.

Bugs: no fsync: a power failure costs what the kernel held, a killed process at most FLUSH_SECONDS of lines. With
several processes on a full disk, a line cut by a short write may be followed by another process's line. A file system
that hangs (a network's) hangs the writer with it.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from structlog import get_logger

from moxy.accounting.record import Outcome, Record
from moxy.accounting.textformat import LineFormat

FLUSH_SECONDS: Final = 0.05
"""How long the first line waits for company."""

RETRY_SECONDS: Final = 1.0
"""How long to leave a file alone that could not be written."""

FOLLOW_SECONDS: Final = 1.0
"""How often to look whether the path still is the file that is open."""

RECIPIENTS_HELD: Final = 1000
"""Recipients in the records that wait to be made into lines."""

BACKLOG_OCTETS: Final = 1024 * 1024
"""Lines held while the file cannot be written; more are dropped and counted."""

FILE_MODE: Final = 0o640
"""Who writes to whom is not for everybody's eyes."""

_DELIVERED: Final = Outcome.DELIVERED

log = get_logger("moxy.accounting")


class FileLog:
    """Appends a line to the file at `path` for every record of a delivery that succeeded. Implements `Sink`.

    `later(seconds, callback)` schedules the writing (an event loop's `call_later`); without it every line is written at
    once. `clock` gives seconds, only ever forward. `dropped` counts the lines lost to a full backlog.
    Raises OSError if the file cannot be opened; after that no method does.
    """

    def __init__(
        self,
        path: Path,
        line_format: LineFormat,
        later: Callable[[float, Callable[[], None]], object] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.dropped = 0
        self._line_format = line_format
        self._later = later
        self._clock = clock
        self._records: deque[Record] = deque()  # not lines yet
        self._recipients = 0  # in them
        self._lines: list[bytes] = []
        self._octets = 0
        self._begun = b""
        self._scheduled = False
        self._troubles: set[str] = set()
        self._descriptor = _open(path)
        self._followed_at = clock()

    def record(self, record: Record) -> None:
        """Note the delivery, if it is one; written within FLUSH_SECONDS."""
        if record.outcome is not _DELIVERED:
            return
        self._records.append(record)
        self._recipients += len(record.recipients)
        if self._lines or self._recipients > RECIPIENTS_HELD:
            self._render()
        if self._later is None:
            self.flush()
        elif not self._scheduled:
            self._schedule(FLUSH_SECONDS)

    def flush(self) -> None:
        """Write the lines collected so far; what cannot be written stays for the next flush."""
        self._scheduled = False
        if self._descriptor < 0:  # a flush that was scheduled before the log was closed
            return
        self._follow()
        self._write()
        if self._lines:
            self._schedule(RETRY_SECONDS)

    def reopen(self) -> None:
        """Write what is there, then open the path anew. If that fails, the file that is open serves on."""
        if self._descriptor < 0:
            return
        self._write()
        self._open_anew()

    def close(self) -> None:
        """Write what is there and close the file. Lines that cannot be written even now are dropped and counted."""
        if self._descriptor < 0:
            return
        self._write()
        if self._lines:
            self.dropped += b"".join(self._lines).count(b"\n")
            self._lines, self._octets = [], 0
            log.warning("accounting_lines_lost", file=str(self.path), dropped=self.dropped)
        os.close(self._descriptor)
        self._descriptor = -1

    def _schedule(self, seconds: float) -> None:
        if self._later is not None:
            self._scheduled = True
            self._later(seconds, self.flush)

    def _render(self) -> None:
        """Make lines of the records, as far as there is room."""
        self._recipients = 0
        while self._records:
            line = self._line_format.render(self._records.popleft()).encode() + b"\n"
            if self._octets + len(line) > BACKLOG_OCTETS:
                self.dropped += 1
            else:
                self._lines.append(line)
                self._octets += len(line)

    def _write(self) -> None:
        """Everything in one write; what is left over, of a short write or an error, is kept."""
        self._render()
        data = b"".join(self._lines)
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as error:
            self._trouble("accounting_log_not_written", error)
        else:
            self._mended("accounting_log_not_written")
        self._keep(data, written)

    def _keep(self, data: bytes, written: int) -> None:
        """Keep what was not written; and of a line that was begun, its beginning, for it may have to begin anew."""
        line = data.rfind(b"\n", 0, written) + 1
        begun = data[line:written]
        self._begun = (self._begun + begun if line == 0 else begun) if written < len(data) else b""
        self._lines = [data[written:]] if written < len(data) else []
        self._octets = len(data) - written

    def _follow(self) -> None:
        """Open the path anew if it no longer is the file that is open."""
        now = self._clock()
        if now - self._followed_at < FOLLOW_SECONDS:
            return
        self._followed_at = now
        try:
            still_open = os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        except OSError:
            still_open = False
        if not still_open:
            self._open_anew()

    def _open_anew(self) -> None:
        try:
            descriptor = _open(self.path)
        except OSError as error:
            self._trouble("accounting_log_not_reopened", error)
            return
        self._mended("accounting_log_not_reopened")
        os.close(self._descriptor)
        self._descriptor = descriptor
        if self._begun:  # the old file has half a line; the new one shall have all of it
            self._lines.insert(0, self._begun)
            self._octets += len(self._begun)
            self._begun = b""

    def _trouble(self, event: str, error: OSError) -> None:
        """Tell the operator once; it may last for hours, and every message would tell it again."""
        if event not in self._troubles:
            self._troubles.add(event)
            log.warning(event, file=str(self.path), error=str(error))

    def _mended(self, event: str) -> None:
        if event in self._troubles:
            self._troubles.remove(event)
            log.warning("accounting_log_works_again", file=str(self.path), dropped=self.dropped)


def _open(path: Path) -> int:
    # O_NONBLOCK: a path that is a pipe nobody reads must be an error, not a Moxy that stands still.
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, FILE_MODE)
