"""The operator's log: what Moxy has to say about itself, through structlog, to standard error or to syslog.

Rules:
- One event is one line. Strings of peers cannot break a line or steer a terminal: JSON escapes them, and for people
  every value is escaped before it is coloured; the lines of a traceback are marked as such.
- Writing a log never raises: a log that nobody reads any more must not cost a mail.

Bugs: writing blocks while the reader of a pipe is slow, as every program's log to standard error does; syslog cannot
hold us longer than PATIENCE_SECONDS. JSON that is longer than a syslog message is cut, and then is JSON no more. A
logger with bound values (`bind`) keeps the level and place of its binding; Moxy has none.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, MutableMapping
from functools import partialmethod
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from moxy.accounting.escape import escaped
from moxy.net.syslog import Severity, SyslogSocket

LEVELS: Final = ("debug", "info", "warning", "error")
"""From much to little."""

STYLES: Final = ("auto", "human", "json")
"""`auto` is human on a terminal and in syslog, and JSON otherwise."""

PATIENCE_SECONDS: Final = 0.05
"""How long a busy syslog daemon is waited for. One that took nothing all the while is not, until it takes a line."""


def configure(
    level: str = "info", style: str = "auto", stream: TextIO | None = None, syslog: SyslogSocket | None = None
) -> None:
    """Send the log to `syslog`, or where there is none to `stream` (None: standard error), from `level` upwards.

    What the syslog daemon does not take goes to `stream`. Call it again for another level, style or place: all loggers
    follow, those in use as well. Raises ValueError for a word that is not among LEVELS or STYLES.
    """
    if level not in LEVELS:
        raise ValueError(f"unknown log level {level!r}: expected {', '.join(LEVELS)}")
    if style not in STYLES:
        raise ValueError(f"unknown log style {style!r}: expected {', '.join(STYLES)}")
    stream = sys.stderr if stream is None else stream
    terminal = syslog is None and stream.isatty()
    human = style == "human" or (style == "auto" and (terminal or syslog is not None))
    # The daemon stamps what it writes, and people need no second time in a line.
    stamp = [] if human and syslog is not None else [structlog.processors.TimeStamper(fmt="iso", utc=True)]
    output = _Stream(stream) if syslog is None else _Syslog(syslog, _Stream(stream))
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _add_name,
            *stamp,
            structlog.processors.format_exc_info,
            *(_human(colors=terminal) if human else [structlog.processors.JSONRenderer()]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Logger(output.write, *names),
        cache_logger_on_first_use=False,  # a logger that remembers would not hear of the next `configure`
    )


class _Logger:
    """Takes a logger's finished lines, as structlog asks for it; it knows the name the logger was asked for by."""

    __slots__ = ("_write", "name")

    def __init__(self, write: Callable[[Severity, str], None], name: str = "moxy") -> None:
        self._write = write
        self.name = name

    def _take(self, severity: Severity, text: str) -> None:
        self._write(severity, text)

    debug = partialmethod(_take, Severity.DEBUG)
    info = partialmethod(_take, Severity.INFORMATIONAL)
    warning = partialmethod(_take, Severity.WARNING)
    error = partialmethod(_take, Severity.ERROR)
    critical = partialmethod(_take, Severity.CRITICAL)


class _Stream:
    """A terminal, a pipe or a file; severities are in the text."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, severity: Severity, text: str) -> None:  # noqa: ARG002 - as `_Syslog` has it
        """Write an event: in one call, so that threads do not mix theirs."""
        # OSError: the reader is gone, or the disk is full. ValueError: the stream is closed. There is nobody to tell.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text + "\n")
            self._stream.flush()


class _Syslog:
    """The syslog daemon; `otherwise` gets what it does not take."""

    def __init__(self, syslog: SyslogSocket, otherwise: _Stream) -> None:
        self._syslog = syslog
        self._otherwise = otherwise
        self._stands_still = False

    def write(self, severity: Severity, text: str) -> None:
        """An event is one line; with a traceback it is several, and each is a message."""
        now = time.time()
        for line in text.splitlines():
            if not self._taken(self._syslog.message(severity, line, now)):
                self._otherwise.write(severity, line)

    def _taken(self, message: bytes) -> bool:
        """A traceback may be longer than what the kernel holds for the daemon, so a busy one is waited for: once."""
        taken = self._syslog.send(message)
        if not taken and not self._stands_still:
            taken = self._syslog.wait(PATIENCE_SECONDS) and self._syslog.send(message)
        self._stands_still = not taken
        return taken


def _add_name(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:  # noqa: ARG001 - structlog's signature
    event["logger"] = getattr(logger, "name", "moxy")
    return event


def _human(*, colors: bool) -> list[Processor]:
    renderer = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    return [_escape_values, renderer]


def _escape_values(logger: WrappedLogger, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:  # noqa: ARG001
    """Every value without control characters. A traceback keeps its lines, marked so that none can pose as an event."""
    for key, value in event.items():
        if key == "exception":
            event[key] = "\n".join([f"  | {escaped(line)}" for line in str(value).splitlines()])
        elif isinstance(value, str):
            event[key] = escaped(value)
        elif not repr(value).isprintable():
            event[key] = escaped(repr(value))
    return event
