"""FileTable: a text table held in memory and followed while it changes (`file`); its text is `tabletext`'s matter.

Rules:
- A table in use is whole: a new version is read completely, then one assignment puts it in the place of the old one.
- A new version with mistakes, or none at all, leaves the old one in use. The operator is told once, not every second.
- A version is read only once it has rested: a file being written in place would look like one with domains missing,
  and their mail would be refused for good. What changes while it is read is not used, and is read again.
- Large tables are read in a thread, so that the mail goes on meanwhile.

Bugs: a program that writes in place and pauses in the middle (`filestamp.RESTED_SECONDS`) is caught half way; write a
new file and rename it. While a large table is being read, the thread takes its share of one processor from the mail.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from structlog import get_logger

from moxy.errors import ConfigError, Problem
from moxy.mail.route import Mode, Route
from moxy.net.filestamp import Stamp
from moxy.routes.order import candidates
from moxy.routes.tabletext import read_table
from moxy.smtp.address import ForwardPath

INLINE_OCTETS: Final = 256 * 1024
"""A table up to this size is read on the spot: it takes a few milliseconds."""

LINES_BETWEEN_NAPS: Final = 400
NAP_SECONDS: Final = 0.0005
"""How a thread reads a large table: about a millisecond of work, then half a one for the mail."""

ROUTES_LISTED: Final = 1024
"""For those who want to know where mail goes. To find them in a million entries takes some 50 ms, in the thread."""

PROBLEMS_LOGGED: Final = 10
"""Of the mistakes in a new version. `moxy check` tells all."""

log = get_logger("moxy.routes")


class FileTable:
    """The table in the file at `path`. It implements `moxy.routes.RouteTable`.

    `mode` is how the hosts of one line share its mail; `destinations` are the routes that a line may name instead of
    hosts. An empty file is a table that knows nobody. Raises ConfigError, with every mistake, for a file without use.
    """

    def __init__(self, path: Path, mode: Mode = Mode.ALL, destinations: Mapping[str, Route] | None = None) -> None:
        self.path = path
        self._mode = mode
        self._destinations = destinations or {}
        self._thread: threading.Thread | None = None
        self._closed = False
        version = self._read()
        if version.problems:
            raise ConfigError(version.problems)
        self._entries = version.entries
        self.routes = _some_routes(version.entries)
        """The different routes of the table, up to ROUTES_LISTED of them."""
        self._stamp = version.stamp
        self._told: list[Problem] = []

    async def lookup(self, path: ForwardPath) -> Route | None:
        """The route of the most specific entry for `path`, or None. Never waits."""
        found = self.match(path)
        return found[1] if found else None

    def match(self, path: ForwardPath) -> tuple[str, Route] | None:
        """The most specific entry for `path`: its key and its route."""
        entries = self._entries
        for key in candidates(path):
            route = entries.get(key)
            if route is not None:
                return key, route
        return None

    def refresh(self) -> None:
        """Read the file again if it has changed, in a thread if it is large. Never raises."""
        if self._thread is not None and self._thread.is_alive():
            return
        stamp = Stamp.at(self.path)
        if stamp == self._stamp or (stamp is not None and not stamp.rested):
            return
        if stamp is None or stamp.size <= INLINE_OCTETS:
            self._reload(self._read())
        else:
            self._thread = threading.Thread(target=self._reload_gently, name=f"table {self.path}", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Use no newer version from now on. A thread still reading ends by itself."""
        self._closed = True

    def __len__(self) -> int:
        return len(self._entries)

    def __str__(self) -> str:
        return str(self.path)

    def _reload_gently(self) -> None:
        version = self._read(_with_naps)
        if not self._closed:
            self._reload(version)

    def _reload(self, version: _Version) -> None:
        """Put `version` in the place of the one in use, if it can be used."""
        self._stamp = version.stamp
        if version.torn:  # its stamp is of the past already: the next refresh reads again
            return
        if version.problems:
            self._keep(version.problems)
            return
        self._entries = version.entries
        self.routes = _some_routes(version.entries)
        self._told = []
        log.info("table_loaded", file=str(self.path), entries=len(version.entries))

    def _keep(self, problems: list[Problem]) -> None:
        """Tell the operator why the new version is not used, unless these very problems were the last thing told."""
        if problems != self._told:
            self._told = problems
            told = [str(problem) for problem in problems[:PROBLEMS_LOGGED]]
            log.error("table_kept", file=str(self.path), mistakes=len(problems), problems=told)

    def _read(self, pace: Callable[[Iterable[bytes]], Iterable[bytes]] = iter) -> _Version:
        """Read the file as it is now, wherever that leads. `pace` hands on its lines, at its own speed."""
        file = str(self.path)
        try:
            with self.path.open("rb") as lines:
                before = Stamp.of(os.fstat(lines.fileno()))
                entries, problems = read_table(pace(lines), file, self._mode, self._destinations)
                after = Stamp.of(os.fstat(lines.fileno()))
        except OSError as error:
            return _Version(None, {}, [Problem(file, 0, "", f"cannot be read: {error.strerror}")], torn=False)
        return _Version(before, entries, problems, torn=before != after)


class _Version(NamedTuple):
    """One reading of the file. `stamp` is of the moment before, None where it could not be read; `torn`: it changed."""

    stamp: Stamp | None
    entries: dict[str, Route]
    problems: list[Problem]
    torn: bool


def _some_routes(entries: Mapping[str, Route]) -> tuple[Route, ...]:
    """The first different routes of a table, in which equal values share one object (`tabletext`)."""
    found: dict[int, Route] = {}
    for route in entries.values():
        if id(route) not in found:
            found[id(route)] = route
            if len(found) == ROUTES_LISTED:
                break
    return tuple(found.values())


def _with_naps(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines, with a moment for the mail now and then.

    Without it the event loop gets the interpreter back only when its switch interval has passed, time after time:
    measured with a million lines, it answered after 17 ms as a rule and after 600 ms at worst.
    """
    for number, line in enumerate(lines):
        if number % LINES_BETWEEN_NAPS == 0:
            time.sleep(NAP_SECONDS)
        yield line
