"""The operator's log: what Moxy has to say about itself, through structlog, to a terminal or as lines of JSON.

Rules:
- One event is one line. Strings of peers cannot break a line or steer a terminal: JSON escapes them, and for people
  every value is escaped before it is coloured; the lines of a traceback are marked as such.
- Writing a log never raises: a log that nobody reads any more must not cost a mail.

Bugs: writing blocks while the reader of a pipe is slow, as every program's log to standard error does. `configure`
is for the start of a process: loggers remember the level they were first used with.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from moxy.accounting.escape import escaped

LEVELS: Final = ("debug", "info", "warning", "error")
"""From much to little."""

STYLES: Final = ("auto", "human", "json")
"""`auto` is human on a terminal and JSON otherwise."""

_processors: list[Processor] = []
"""One list for the whole life of the process: loggers in use hold on to it, so a change must be made inside it."""


def configure(level: str = "info", style: str = "auto", stream: TextIO | None = None) -> None:
    """Send the log to `stream` (None: standard error), from `level` upwards, in one of STYLES. Once, at the start.

    Raises ValueError for a word that is not among LEVELS or STYLES.
    """
    if level not in LEVELS:
        raise ValueError(f"unknown log level {level!r}: expected {', '.join(LEVELS)}")
    if style not in STYLES:
        raise ValueError(f"unknown log style {style!r}: expected {', '.join(STYLES)}")
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    human = style == "human" or (style == "auto" and terminal)
    _processors[:] = [
        structlog.processors.add_log_level,
        _add_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        *(_human(colors=terminal) if human else [structlog.processors.JSONRenderer()]),
    ]
    structlog.configure(
        processors=_processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Output(stream, *names),
        cache_logger_on_first_use=True,
    )


class _Output:
    """Where a logger's finished lines go; it knows the name the logger was asked for by."""

    __slots__ = ("_stream", "name")

    def __init__(self, stream: TextIO, name: str = "moxy") -> None:
        self._stream = stream
        self.name = name

    def msg(self, line: str) -> None:
        """Write one line: in one call, so that threads do not mix theirs."""
        # OSError: the reader is gone, or the disk is full. ValueError: the stream is closed. There is nobody to tell.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = msg


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
