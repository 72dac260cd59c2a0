"""The SQLite file of the ledger: open it, make it, know it again, and set it aside when it is damaged.

Rules:
- What SQLite finds wrong becomes one of three errors: `Damaged` (set it aside), `Locked` (try again), or `LedgerError`
  itself (out of our hands: full, forbidden, not there).
- The file, and with it the two beside it that SQLite makes, is for its user only: it says who wrote to whom.
- One process at a time opens the file, makes it or sets it aside: each has a lock on the directory meanwhile. It is the
  directory's, for a lock on the file would go with the file.
- Of two more files beside it, `-wal` has what the file has not yet, and `-shm` is the memory that the processes share.
  One that loses its own must not go on: `identity` is of all three.
- A database of another program is left alone, and so is what is no database at all: it was named by mistake.

Bugs: SQLite maps `-shm` into memory. Who cuts it short in the very microseconds in which we use it kills the process;
else it is noticed before it is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from moxy.errors import MoxyError

APPLICATION: Final = 0x4D6F7879
"""`Moxy`: what SQLite keeps in the header, so that no other program's database is taken for ours."""

MAGIC: Final = b"SQLite format 3\0"
"""How every SQLite file begins."""

VERSION: Final = 1
"""Of the table below."""

BUSY_SECONDS: Final = 0.5
"""How long another process may hold the file, or the directory; ours do so for microseconds."""

GLANCE: Final = 0.01
"""Seconds between two tries for the directory."""

STEPS: Final = 1_000_000
"""Of SQLite's machine between two looks at how many there were."""

MOST_LOOKS: Final = 500
"""At one statement. Reading a million rows takes a tenth of them; only pages that lead in circles take more."""

SHARED_OCTETS: Final = 32768
"""The least that `-shm` has while it is used."""

_LOGS: Final = ("-wal", "-journal")
"""What SQLite would play into a file of that name; `-journal` is there while the file is made."""

_PRAGMAS: Final = (
    "synchronous = NORMAL",  # a crash of the machine may cost the last entries, never the file
    "wal_autocheckpoint = 0",  # who waits for a commit should not wait for the disk as well: `Store.tidy`
    "temp_store = MEMORY",
    "mmap_size = 0",
    "cell_size_check = ON",
    "trusted_schema = OFF",
)

_TABLE: Final = """
CREATE TABLE entries (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    reverse_path TEXT NOT NULL,
    forward_path TEXT NOT NULL,
    destination TEXT NOT NULL,
    digest BLOB NOT NULL,
    size INTEGER NOT NULL,
    host TEXT NOT NULL,
    state TEXT NOT NULL,
    apart INTEGER NOT NULL,
    client TEXT NOT NULL,
    hello TEXT NOT NULL,
    time REAL NOT NULL,
    declared INTEGER NOT NULL,
    UNIQUE (forward_path, reverse_path, destination, digest, size)
)
"""

_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_ERROR,  # statements here are always the same: it is the table that is not there
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_INTERRUPT,  # by Patience
    }
)

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})


class LedgerError(MoxyError):
    """The file cannot be used now."""


class Damaged(LedgerError):  # noqa: N818 - named as what it is, like those of `gdbm`
    """What is in the file makes no sense."""


class Locked(LedgerError):  # noqa: N818
    """Another process holds the file."""


Identity = tuple[tuple[int, int] | None, ...]
"""Of a file and the two beside it: device and inode of each that is there."""


class Opened(NamedTuple):
    """The file that is open, and which one it is."""

    connection: sqlite3.Connection
    identity: Identity


def opened(path: Path, *, make: bool = True, readonly: bool = False) -> Opened:
    """The file, open; with `make` it is made where there is none. Raises LedgerError."""
    if not make:
        return Opened(_connected(path, "ro" if readonly else "rw"), identity(path))
    with alone(path):
        _create(path)
        return Opened(_connected(path, "rw", make=True), identity(path))


def set_aside(path: Path, seen: Identity) -> Path | None:
    """Rename the damaged file, so that a new one can be made, and return its new name. None: somebody has done that
    already, for this is not the file that was `seen`. Raises LedgerError.
    """
    kept = path.with_name(f"{path.name}.damaged")
    with alone(path), meaning(path):
        if identity(path)[0] != seen[0] or seen[0] is None:
            return None
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise LedgerError(f"{path}: no ledger, and left alone")  # a file of somebody, named by mistake
        # The main file last: while it has its name, nobody makes a new one beside what is left of the old.
        _beside(path, "-shm").unlink(missing_ok=True)
        for suffix in _LOGS:
            with contextlib.suppress(FileNotFoundError):
                _beside(path, suffix).replace(_beside(kept, suffix))
        path.replace(kept)
    return kept


def identity(path: Path) -> Identity:
    """What the names of the file and of the two beside it lead to now."""
    return tuple(_number(file) for file in (path, _beside(path, "-wal"), _beside(path, "-shm")))


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Nobody else opens, makes or sets aside the file meanwhile. Raises LedgerError."""
    give_up = time.monotonic() + BUSY_SECONDS
    with meaning(path):
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while not _claimed(directory):
            if time.monotonic() > give_up:
                raise Locked(f"{path.parent}: locked by another process")
            time.sleep(GLANCE)
        yield
    finally:
        os.close(directory)


@contextlib.contextmanager
def meaning(path: Path) -> Iterator[None]:
    """What goes wrong in the block, as a LedgerError that names the file. Not what is a bug of ours."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError, sqlite3.IntegrityError, sqlite3.NotSupportedError):
        raise
    except sqlite3.Error as error:
        raise _meant(path, error) from error
    except UnicodeDecodeError as error:  # of SQLite's words about a name that is no text
        raise Damaged(f"{path}: damaged: {error}") from error
    except OSError as error:
        raise LedgerError(f"{path}: {error.strerror or error}") from error


class Patience:
    """Ends a statement that takes more steps than a whole file can be worth: damaged pages may lead in circles.

    `looks` counts; set it to 0 before a statement.
    """

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self) -> bool:
        self.looks += 1
        return self.looks > MOST_LOOKS


def _meant(path: Path, error: sqlite3.Error) -> LedgerError:
    extended = getattr(error, "sqlite_errorcode", None)
    if extended is None:  # Python's own complaint, about a text that is not UTF-8
        return Damaged(f"{path}: damaged: {error}")
    if extended & 0xFF in _BUSY:
        return Locked(f"{path}: locked by another process")
    if extended & 0xFF in _DAMAGE or extended == sqlite3.SQLITE_IOERR_SHORT_READ:
        return Damaged(f"{path}: damaged: {error}")
    return LedgerError(f"{path}: {error}")


def _connected(path: Path, mode: str, *, make: bool = False) -> sqlite3.Connection:
    with meaning(path):
        name = f"file:{quote(str(path.absolute()))}?mode={mode}"
        connection = sqlite3.connect(name, timeout=BUSY_SECONDS, isolation_level=None, uri=True)
        try:
            _prepare(connection, path, make)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, make: bool) -> None:
    connection.set_progress_handler(Patience(), STEPS)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    application, version, tables = (
        connection.execute(query).fetchone()[0]
        for query in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    if make and (application, version, tables) == (0, 0, 0):
        _furnish(connection)
    elif application != APPLICATION:
        raise LedgerError(f"{path}: no ledger, but a database of another program")
    elif version != VERSION:
        raise Damaged(f"{path}: made by another version of Moxy ({version})")
    connection.execute("SELECT max(sequence) FROM entries").fetchone()  # from here on, all three files are there


def _furnish(connection: sqlite3.Connection) -> None:
    """Make the table. All or nothing: a process killed meanwhile leaves an empty database, and the next begins anew."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_TABLE)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _create(path: Path) -> None:
    with meaning(path):
        try:
            # Made here, for its mode. One that is there is not opened: its locks are the process's, and closing any
            # descriptor of it would end them.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return
        for suffix in (*_LOGS, "-shm"):  # left by one that was removed: they would be taken for the new one's
            _beside(path, suffix).unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _number(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    if path.name.endswith("-shm") and status.st_size < SHARED_OCTETS:
        return None
    return status.st_dev, status.st_ino


def _claimed(directory: int) -> bool:
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
