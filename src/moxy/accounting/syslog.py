"""SyslogLog: one line for each delivery, given to the syslog daemon; the original's `syslog`.

Why it is more than a `send`: the mail must not wait for a daemon. What it does not take is kept, up to a bound, and
offered again.

Rules:
- Lines arrive in the order of their records. Each goes out at once, unless one before it is still waiting.
- A busy daemon is normal: the kernel may hold as few as ten lines for it. It is asked again after a millisecond, then
  after two, four and so on, up to a second. One that is not there is asked again after a second.
- A line stays readable for `moxylogalyze` however many recipients it has: where they are too many, the first are named,
  and the last one is `+97`, which no address is, for the 97 others.

Bugs: a killed process costs the lines that were waiting, and a killed daemon those that it had not read. A line that is
too long even without recipients loses its end.
"""

from __future__ import annotations

import bisect
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from structlog import get_logger

from moxy.accounting.record import Outcome, Record
from moxy.accounting.textformat import LineFormat
from moxy.net.syslog import Severity, SyslogSocket

LINE_OCTETS: Final = 7500
"""The longest line. rsyslog keeps 8,096 with the header, and a relay of logs may add a longer one."""

BUSY_SECONDS: Final = 0.001
"""How soon a busy daemon is asked again at first. With ten lines each time it is 10,000 lines a second."""

RETRY_SECONDS: Final = 1.0
"""How soon a daemon is asked again at the latest."""

CLOSE_SECONDS: Final = 1.0
"""How long a busy daemon may take over the last lines."""

BACKLOG_OCTETS: Final = 1024 * 1024
"""Lines held while the daemon does not take them; more are dropped and counted."""

log = get_logger("moxy.accounting")


class SyslogLog:
    """Gives `socket` a line for every record of a delivery that succeeded, as informational. Implements `Sink`.

    `later(seconds, callback)` schedules the next attempt (an event loop's `call_later`); without it lines that wait go
    out with the next one. `dropped` counts the lines lost to a full backlog. Closes `socket` in the end.
    """

    def __init__(
        self,
        socket: SyslogSocket,
        line_format: LineFormat,
        later: Callable[[float, Callable[[], None]], object] | None = None,
    ) -> None:
        self.dropped = 0
        self._socket = socket
        self._line_format = line_format
        self._later = later
        self._backlog: deque[bytes] = deque()
        self._octets = 0
        self._scheduled = False
        self._pause = BUSY_SECONDS
        self._troubled = False

    def record(self, record: Record) -> None:
        """Tell the daemon of the delivery, if it is one."""
        if record.outcome is not Outcome.DELIVERED:
            return
        message = self._socket.message(Severity.INFORMATIONAL, self._line(record), record.time)
        if self._octets + len(message) > BACKLOG_OCTETS:
            self.dropped += 1
        else:
            self._backlog.append(message)
            self._octets += len(message)
        if not self._scheduled:
            self.flush()

    def flush(self) -> None:
        """Offer the lines that wait; what is not taken is offered again later."""
        self._scheduled = False
        if self._offer():
            self._pause = BUSY_SECONDS
        if self._backlog:
            self._try_again()
        else:
            self._mended()

    def reopen(self) -> None:
        """Nothing to do: the files are the daemon's, and lines that wait are being offered already."""

    def close(self) -> None:
        """Offer what waits, for CLOSE_SECONDS if the daemon is busy. What it does not take is dropped and counted."""
        deadline = time.monotonic() + CLOSE_SECONDS
        self._offer()
        while self._backlog and self._socket.wait(max(0.0, deadline - time.monotonic())):
            self._offer()
        if self._backlog:
            self.dropped += len(self._backlog)
            self._backlog.clear()
            self._octets = 0
            log.warning("accounting_lines_lost", syslog=str(self._socket.path), dropped=self.dropped)
        self._socket.close()

    def _offer(self) -> bool:
        """Whether the daemon took any of the lines that wait."""
        waiting = len(self._backlog)
        while self._backlog and self._socket.send(self._backlog[0]):
            self._octets -= len(self._backlog.popleft())
        return len(self._backlog) < waiting

    def _try_again(self) -> None:
        busy = isinstance(self._socket.error, BlockingIOError)
        pause = self._pause if busy else RETRY_SECONDS
        self._pause = min(2 * pause, RETRY_SECONDS)
        if pause == RETRY_SECONDS:
            self._trouble()
        if self._later is not None:
            self._scheduled = True
            self._later(pause, self.flush)

    def _line(self, record: Record) -> str:
        line = self._line_format.render(record)
        if len(line.encode()) <= LINE_OCTETS:
            return line
        names = range(len(record.recipients))
        too_many = bisect.bisect(names, LINE_OCTETS, key=lambda named: len(self._abridged(record, named).encode()))
        return self._abridged(record, max(0, too_many - 1))

    def _abridged(self, record: Record, named: int) -> str:
        """The line with so many of the recipients, and the number of the others."""
        recipients = [*record.recipients[:named], f"+{len(record.recipients) - named}"]
        return self._line_format.render(replace(record, recipients=recipients))

    def _trouble(self) -> None:
        """Tell the operator once; it may last for hours, and every message would tell it again."""
        if not self._troubled:
            self._troubled = True
            log.warning("accounting_log_not_written", syslog=str(self._socket.path), error=str(self._socket.error))

    def _mended(self) -> None:
        if self._troubled:
            self._troubled = False
            log.warning("accounting_log_works_again", syslog=str(self._socket.path), dropped=self.dropped)
