"""DbmTable: a route table in a GNU dbm file, which stays on disk and is changed while Moxy runs (`dbm`).

Keys and values are those of the text of a table (`tabletext`); `moxymakedbm` makes the file of one.

Rules:
- Every lookup opens the file anew, with libgdbm's lock. So what another process has changed counts for the very next
  lookup, and others can write between lookups. Nothing cheaper is true: who writes through a mapping, as libgdbm does,
  leaves the file's time as it was on some file systems. It costs 30 µs (docs/decisions/007).
- A file that is gone, or that cannot be used, leaves the last one in use if that still exists without a name, and the
  operator is told once. Only its descriptor is held, and none before the first lookup: after a fork it would be shared.
- Whatever else goes wrong is "I don't know", never "there is none": a value that cannot be read, a damaged file, a lock
  that is held for longer than LOCKED_SECONDS.
- C programs may store the NUL that ends their strings. The first key of a file tells whether its keys have one.

Bugs: libgdbm has no checksums. A file that is damaged while Moxy runs, and not just cut short, may lack domains that it
had, and their mail is refused; `moxymakedbm` replaces a file as a whole. A lookup reads the disk in the event loop's
thread; what is not in memory yet makes all mail wait for the disk. A writer that keeps its lock makes all mail of the
table's domains wait.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from structlog import get_logger

from moxy.errors import ConfigError, Problem, TemporaryFailure
from moxy.gdbm import Access, Damaged, GdbmError, GdbmFile, Locked
from moxy.mail.route import Mode, Route
from moxy.routes.order import candidates, normal_key
from moxy.routes.tabletext import PROBLEMS_LIMIT, route_of
from moxy.routes.wording import harmless, shown
from moxy.smtp.address import ForwardPath

LOCKED_SECONDS: Final = 5.0
"""How long a lookup waits for a writer: those that change an entry are done in milliseconds."""

FIRST_PAUSE_SECONDS: Final = 0.005
LONGEST_PAUSE_SECONDS: Final = 0.16
"""Between two tries, each pause twice the one before: a thousand waiting recipients must not take the processor."""

VALUES_REMEMBERED: Final = 10_000
"""Routes of values that were read before: to read one takes 3 µs, and equal values share one Route."""

_NUL: Final = b"\0"

log = get_logger("moxy.routes")


class DbmTable:
    """The table in the gdbm file at `path`. It implements `moxy.routes.RouteTable`.

    `mode` is how the hosts of one entry share its mail; `destinations` are the routes that an entry may name instead of
    hosts. Raises ConfigError for a file that cannot be opened, and where there is no libgdbm; the entries are not read.
    """

    def __init__(self, path: Path, mode: Mode = Mode.ALL, destinations: Mapping[str, Route] | None = None) -> None:
        self.path = path
        self._mode = mode
        self._destinations = destinations or {}
        self._routes: dict[bytes, Route] = {}
        self._last = _LastFile()
        self._told = ""
        try:
            GdbmFile(path, Access.READ).close()
        except Locked:  # there is a file, and somebody works on it
            pass
        except (GdbmError, OSError) as error:
            hint = " (moxymakedbm makes one of a text; the text itself is `file`)" if isinstance(error, Damaged) else ""
            raise ConfigError([Problem(str(path), 0, "", _reason(error, path) + hint)]) from None

    async def lookup(self, path: ForwardPath) -> Route | None:
        """The route of the most specific entry for `path`, or None. Waits while another process writes.

        Raises TemporaryFailure where the file cannot tell.
        """
        pause, end = FIRST_PAUSE_SECONDS, time.monotonic() + LOCKED_SECONDS
        while True:
            try:
                found = self.match(path)
            except Locked as error:
                if time.monotonic() > end:
                    raise TemporaryFailure(str(error)) from None
            else:
                return found[1] if found else None
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def match(self, path: ForwardPath) -> tuple[str, Route] | None:
        """The most specific entry for `path`: its key and its route.

        Raises TemporaryFailure where the file cannot tell, and Locked, at once, where another process writes to it.
        """
        try:
            with self._opened() as file:
                self._last.remember(file)
                ending = _ending(file)
                for key in candidates(path):
                    value = file.fetch(key.encode() + ending)
                    if value is not None:
                        return key, self._route(key, value)
        except Locked:
            raise
        except (GdbmError, OSError) as error:
            raise TemporaryFailure(f"{self.path}: {_reason(error, self.path)}") from None
        return None

    def refresh(self) -> None:
        """Every lookup sees the file as it is then."""

    def close(self) -> None:
        """Give back the descriptor of the last file."""
        self._last.close()

    def __len__(self) -> int:
        """The entries there are now. Raises GdbmError and OSError where the file cannot tell."""
        with GdbmFile(self.path, Access.READ) as file:
            return file.count()

    def __str__(self) -> str:
        return str(self.path)

    def _opened(self) -> GdbmFile:
        """The file at the path, or else the last one that could be opened there."""
        try:
            file = GdbmFile(self.path, Access.READ)
        except Locked:
            raise
        except (GdbmError, OSError) as error:
            last = self._last.opened()
            if last is None:
                raise
            self._keep(_reason(error, self.path))
            return last
        self._told = ""
        return file

    def _keep(self, reason: str) -> None:
        """Tell the operator why the last file is used, unless this was the last thing told."""
        if reason != self._told:
            self._told = reason
            log.error("table_kept", file=str(self.path), problems=[reason])

    def _route(self, key: str, value: bytes) -> Route:
        route = self._routes.get(value)
        if route is None:
            try:
                route = route_of(text_of(value), self._mode, self._destinations)
            except ValueError as error:
                raise TemporaryFailure(str(Problem(str(self.path), 0, harmless(key), str(error)))) from None
            if len(self._routes) >= VALUES_REMEMBERED:
                self._routes.clear()
            self._routes[value] = route
        return route


class _LastFile:
    """The last file that could be opened at a path: it can be opened again when it has no name any more."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._identity = (0, 0)

    def remember(self, file: GdbmFile) -> None:
        """This is the last one from now on. Raises OSError where there are no more descriptors."""
        status = os.fstat(file.descriptor)
        identity = (status.st_dev, status.st_ino)
        if identity != self._identity:
            self.close()
            self._descriptor = os.dup(file.descriptor)
            self._identity = identity

    def opened(self) -> GdbmFile | None:
        """That file; None if there has been none, or if it cannot be used any more either. Raises Locked."""
        if self._descriptor < 0:
            return None
        try:
            return GdbmFile(Path(f"/proc/self/fd/{self._descriptor}"), Access.READ)
        except Locked:
            raise
        except (GdbmError, OSError):
            return None

    def close(self) -> None:
        """Forget it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._identity = -1, (0, 0)


def entry_problems(
    path: Path, mode: Mode = Mode.ALL, destinations: Mapping[str, Route] | None = None
) -> Iterator[Problem]:
    """What is wrong with the entries of the file at `path`, all of which are read, up to PROBLEMS_LIMIT.

    The keys must be in the one spelling that is looked for, since a gdbm file cannot be searched for others.
    """
    found = 0
    try:
        with GdbmFile(path, Access.READ) as file:
            ending = _ending(file)
            for key, value in file.items():
                try:
                    _refuse_other_spelling(key, ending)
                    route_of(text_of(value), mode, destinations or {})
                except ValueError as error:
                    found += 1
                    yield Problem(str(path), 0, harmless(key.decode(errors="replace")), str(error))
                if found >= PROBLEMS_LIMIT:
                    yield Problem(str(path), 0, "", "too many mistakes, the rest was not read")
                    return
    except (GdbmError, OSError) as error:
        yield Problem(str(path), 0, "", _reason(error, path))


def text_of(octets: bytes) -> str:
    """The text of a key or a value, without a NUL at its end and blanks around it. Raises ValueError."""
    try:
        return octets.removesuffix(_NUL).decode().strip(" \t\r\n")
    except UnicodeDecodeError:
        raise ValueError("expected UTF-8") from None


def _refuse_other_spelling(key: bytes, ending: bytes) -> None:
    """Raise ValueError for a key that no lookup asks for."""
    normal = normal_key(text_of(key))
    if key.endswith(_NUL) != (ending == _NUL):
        raise ValueError("some keys end in NUL and some do not")
    if normal.encode() + ending != key:
        raise ValueError(f"is not found in this spelling: expected {shown(normal)}")


def _ending(file: GdbmFile) -> bytes:
    """What stands behind every key of the file."""
    key = file.first_key()
    return _NUL if key is not None and key.endswith(_NUL) else b""


def _reason(error: GdbmError | OSError, path: Path) -> str:
    """`error` without the file's name."""
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror}"
    return str(error).removeprefix(f"{path}: ")
