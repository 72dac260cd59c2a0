"""Store: the entries of the ledger in their file, for one thread at a time.

Rules: every method raises LedgerError where the file cannot be used, `Damaged` where what it holds makes no sense. What
a method was to write is then not there, as a whole.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from moxy.ledger import database
from moxy.ledger.database import Damaged, LedgerError
from moxy.ledger.entry import DIGEST_OCTETS, Entry, Key, State

PRUNE_PART: Final = 16
"""Of a file that is full, this part goes at once, so that not every commit has to count."""

_COLUMNS: Final = (  # as in Entry
    "destination, host, reverse_path, forward_path, digest, size, state, apart, client, hello, time, declared"
)
_INSERT: Final = f"INSERT OR REPLACE INTO entries ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_CONFIRM: Final = (
    f"UPDATE entries SET state = '{State.CONFIRMED}' "  # noqa: S608
    "WHERE destination = ? AND reverse_path = ? AND forward_path = ? AND digest = ? AND size = ?"
)
_OPEN: Final = f"state != '{State.CONFIRMED}'"
_RECALL: Final = f"SELECT {_COLUMNS} FROM entries WHERE forward_path = ? AND reverse_path = ? AND {_OPEN}"  # noqa: S608
_RIVALS: Final = (
    f"SELECT {_COLUMNS} FROM entries WHERE reverse_path = ? AND digest = ? AND size = ? "  # noqa: S608
    f"AND forward_path != ? AND time < ? AND apart AND {_OPEN}"
)
_NEWER: Final = (
    f"SELECT sequence, reverse_path, forward_path, {_OPEN} FROM entries "  # noqa: S608
    "WHERE sequence > ? ORDER BY sequence LIMIT ?"
)

_ABANDONED: Final[list[sqlite3.Connection]] = []
"""Those that must not even be closed: SQLite would use memory that is there no more, and the process be killed."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries: all that match what is given. Paths match in any case."""

    recipient: str | None = None
    sender: str | None = None
    destination: str | None = None
    only_open: bool = False


class Store:
    """The file at `path`, open. It never has more than `limit` entries: the oldest go.

    With `make` it is made where there is none. Raises LedgerError.
    """

    def __init__(self, path: Path, limit: int, *, make: bool = True, readonly: bool = False) -> None:
        self.path = path
        self._limit = limit
        self._connection, self.identity = database.opened(path, make=make, readonly=readonly)
        self._patience = database.Patience()
        self._connection.set_progress_handler(self._patience, database.STEPS)
        self._fits_to = 0
        """While no sequence is above it, there are not too many entries."""

    @property
    def moved(self) -> bool:
        """Whether the path leads to another file by now, or to none: this one was set aside, or removed.

        Raises Damaged if the file is in its place, and what SQLite has beside it is not.
        """
        now = database.identity(self.path)
        if now != self.identity and now[0] == self.identity[0]:
            raise Damaged(f"{self.path}: its -wal or its -shm is gone")
        return now != self.identity

    def change(self, changes: Sequence[Entry | Key]) -> None:
        """In this order, all or nothing: remember each Entry, and what has the Key of each Key is confirmed."""
        with self._at_once() as connection:
            for change in changes:
                if isinstance(change, Entry):
                    connection.execute(_INSERT, _row(change))
                else:
                    connection.execute(_CONFIRM, change)
            fits_to = self._prune(connection)
        self._fits_to = fits_to

    def recall(self, reverse_path: str, forward_path: str) -> list[Entry]:
        """The open entries about this pair."""
        return self._entries(_RECALL, (forward_path, reverse_path))

    def rivals(self, entry: Entry) -> list[Entry]:
        """The older open entries about other recipients of the same message, who are to be asked apart as well."""
        return self._entries(_RIVALS, (entry.reverse_path, entry.digest, entry.size, entry.forward_path, entry.time))

    def newer(self, sequence: int, limit: int) -> list[tuple[int, str, str, int]]:
        """The first entries behind `sequence`: their own sequence, reverse-path, forward-path, and whether open."""
        with self._meaning():
            return self._connection.execute(_NEWER, (sequence, limit)).fetchall()

    def select(self, wanted: Wanted) -> list[Entry]:
        """Entries, the oldest first."""
        condition, values = _condition(wanted)
        return self._entries(f"SELECT {_COLUMNS} FROM entries WHERE {condition} ORDER BY sequence", values)  # noqa: S608

    def forget(self, wanted: Wanted) -> int:
        """Remove entries; how many there were."""
        condition, values = _condition(wanted)
        with self._at_once() as connection:
            return connection.execute(f"DELETE FROM entries WHERE {condition}", values).rowcount  # noqa: S608

    def expire(self, before: float) -> None:
        """Remove what is older, in seconds since the epoch."""
        with self._at_once() as connection:
            connection.execute("DELETE FROM entries WHERE time < ?", (before,))

    def check(self) -> None:
        """Look at every page. Raises Damaged."""
        with self._meaning():
            complaints = self._connection.execute("PRAGMA quick_check(1)").fetchall()
        if complaints != [("ok",)]:
            raise Damaged(f"{self.path}: damaged: {complaints[0][0]}")

    def tidy(self) -> None:
        """Bring what was written to the file itself, and to the disk. Takes as long as the disk does."""
        with self._meaning():
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def close(self) -> None:
        """Close the file. Whoever is the last brings everything into it."""
        with contextlib.suppress(LedgerError), database.alone(self.path), self._meaning():
            try:
                self.moved  # noqa: B018 - asked for what it raises
            except Damaged:
                _ABANDONED.append(self._connection)
                raise
            self._connection.close()

    # -- details

    @contextlib.contextmanager
    def _meaning(self) -> Iterator[None]:
        self._patience.looks = 0
        with database.meaning(self.path):
            yield

    @contextlib.contextmanager
    def _at_once(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        with self._meaning():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _entries(self, query: str, values: Iterable[Any]) -> list[Entry]:
        with self._meaning():
            rows = self._connection.execute(query, tuple(values)).fetchall()
        try:
            return [_entry(row) for row in rows]
        except (ValueError, TypeError) as error:
            raise Damaged(f"{self.path}: an entry makes no sense: {error}") from error

    def _prune(self, connection: sqlite3.Connection) -> int:
        """Keep the bound; the next `_fits_to`. Sequences only grow, whoever writes: so they tell how many entries there
        can be at most.
        """
        (last,) = connection.execute("SELECT max(sequence) FROM entries").fetchone()
        if last is None or last <= self._fits_to:
            return self._fits_to
        (count,) = connection.execute("SELECT count(*) FROM entries").fetchone()
        if count > self._limit:
            surplus = count - self._limit + self._limit // PRUNE_PART
            connection.execute(
                "DELETE FROM entries WHERE sequence IN (SELECT sequence FROM entries ORDER BY sequence LIMIT ?)",
                (surplus,),
            )
            count -= surplus
        return int(last) + self._limit - int(count)


def _row(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.destination,
        entry.host,
        entry.reverse_path,
        entry.forward_path,
        entry.digest,
        entry.size,
        str(entry.state),
        entry.apart,
        entry.client,
        entry.hello,
        entry.time,
        entry.declared,
    )


def _entry(row: tuple[Any, ...]) -> Entry:
    """Raises ValueError or TypeError for a row that nobody of us has written."""
    destination, host, reverse_path, forward_path, digest, size, state, apart, client, hello, time, declared = row
    if any(not isinstance(text, str) for text in (destination, host, reverse_path, forward_path, client, hello)):
        raise TypeError("expected text")
    if not isinstance(digest, bytes) or len(digest) != DIGEST_OCTETS:
        raise ValueError("expected a digest")
    return Entry(
        destination,
        host,
        reverse_path,
        forward_path,
        digest,
        int(size),
        State(state),
        bool(apart),
        client,
        hello,
        float(time),
        int(declared),
    )


def _condition(wanted: Wanted) -> tuple[str, list[str]]:
    """An SQL condition, and the values for its marks."""
    named = {"forward_path": wanted.recipient, "reverse_path": wanted.sender, "destination": wanted.destination}
    given = {column: value for column, value in named.items() if value is not None}
    conditions = [f"{column} = ? COLLATE NOCASE" for column in given] + [_OPEN] * wanted.only_open
    return " AND ".join(conditions) or "1", list(given.values())
