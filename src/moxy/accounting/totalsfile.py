"""TotalsFile: adds totals to a GNU dbm file that others read at any time, and that is whole at every instant.

How: the file is copied beside itself, the copy gets the new totals, and then takes the file's name in one step. Who
reads waits for nobody and sees all of it or nothing; a process killed at any instant leaves the file as it was. libgdbm
itself writes in place, and a process killed in the middle of that may leave a ruin (docs/decisions, 008).

Rules:
- `add` takes out of its argument what has come into the file, at the moment it has: whatever then goes wrong, nothing
  is counted twice and nothing is lost.
- Two locks on the file, held while a copy is made and takes its place. One of flock(2), shared, as libgdbm's readers
  have it: they come and go, its writers are shut out. One of fcntl(2), exclusive: one process of ours at a time.
- The second belongs to the process, and closing any descriptor of the file gives it up; so threads take turns before
  they take it, and the file is opened once.
- A file that is no GNU dbm file, or a damaged one, is moved aside under a name of its own, and a new one begun. The
  first time the whole file is read for that; later, what is touched.

Bugs: where the directory is closed to us, or the file is a mount of its own, totals are added in place. A program of
others that has opened the file before it was replaced, but locked it after, writes to what nobody reads any more. Owner
and mode are kept, the owner where the system lets us; access control lists are not, and other hard links keep the old
totals.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import itertools
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from structlog import get_logger

from moxy.accounting.totals import Totals, key_of
from moxy.gdbm import Access, Damaged, GdbmFile, Locked

FILE_MODE: Final = 0o640
"""Of a new file: who gets how much mail is not for everybody's eyes."""

CHUNK_OCTETS: Final = 1024 * 1024 * 1024
"""Copied in one call at most; the kernel ends below 2 GiB by itself."""

NOT_BESIDE: Final = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.ENAMETOOLONG}
"""What the system says where a directory takes no copy, or lets none take the file's name (EBUSY: a mount)."""

SHOWN_OCTETS: Final = 100
"""Of a value that cannot be read."""

log = get_logger("moxy.accounting")

_turn = threading.Lock()
"""Held by the thread that writes to a file of totals, any file: the second lock cannot tell threads apart."""


class TotalsFile:
    """The file of totals at `path`; where that is a symbolic link, the file that it leads to now."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))
        self._looked_over = False
        self._told_in_place = False

    def check(self) -> None:
        """Make the file if it is missing, and raise GdbmError or OSError if it cannot be used: closed to us, no file,
        no libgdbm. A damaged one can: `add` begins a new one.
        """
        with suppress(Locked), _held(self.path):
            pass
        with suppress(Damaged):
            GdbmFile(self.path, Access.READ, lock=False).close()

    def add(self, waiting: dict[str, Totals]) -> None:
        """Move the totals in `waiting` into the file, which is made if it is missing; takes out what is in the file.

        Raises Locked while another process writes: nothing has happened, try again. Raises GdbmError or OSError for a
        file that cannot be written; what is still in `waiting` then is not in the file.
        """
        if not _turn.acquire(blocking=False):
            raise Locked(f"{self.path}: another thread writes")
        try:
            with _held(self.path) as current:
                if not self._looked_over:
                    self._sweep()
                self._add(current, waiting)
                self._looked_over = True
        finally:
            _turn.release()

    def _add(self, current: int, waiting: dict[str, Totals]) -> None:
        try:
            self._replace(current, waiting)
        except OSError as error:
            if error.errno not in NOT_BESIDE:
                raise
            self._tell_in_place(error)
            _add_in_place(self.path, current, waiting)

    def _replace(self, current: int, waiting: dict[str, Totals]) -> None:
        """Make the copy, add to it, and let it take the place of the file that is open as `current`."""
        copy = self.path.with_name(f".{self.path.name}.{os.getpid()}.new")
        try:
            _copy(current, copy)
            damage = self._fill(copy, waiting)
            if not _is_open_as(self.path, current):
                raise Locked(f"{self.path}: renamed while totals were added")
            if damage is None:
                copy.replace(self.path)
                waiting.clear()
            else:
                self._replace_damaged(copy, waiting, damage)
        finally:
            copy.unlink(missing_ok=True)

    def _fill(self, copy: Path, waiting: dict[str, Totals]) -> Damaged | None:
        """Add the totals to the copy. What was damaged begins anew, and the damage is returned."""
        try:
            if not self._looked_over:
                _read_through(copy)
            _add_all(copy, Access.WRITE, waiting)
        except Damaged as damage:
            _add_all(copy, Access.NEW, waiting)
            return damage
        return None

    def _replace_damaged(self, copy: Path, waiting: dict[str, Totals], damage: Damaged) -> None:
        """The same for a damaged file, which gets a second name before it loses its own."""
        aside = self._second_name()
        try:
            copy.replace(self.path)
        except OSError:
            aside.unlink()
            raise
        waiting.clear()
        reason = str(damage).removeprefix(f"{copy}: ")
        log.warning("accounting_totals_damaged", file=str(self.path), moved_to=str(aside), error=reason)

    def _second_name(self) -> Path:
        """Give the file a second name that no other has."""
        stamp = time.strftime("%Y%m%dT%H%M%S")
        for number in itertools.count(1):
            name = self.path.with_name(f"{self.path.name}.damaged-{stamp}" + (f"-{number}" if number > 1 else ""))
            with suppress(FileExistsError):
                name.hardlink_to(self.path)
                break
        return name

    def _sweep(self) -> None:
        """Remove the copies of processes that were killed."""
        for leftover in self.path.parent.glob(f".{glob.escape(self.path.name)}.*.new"):
            number = re.search(r"\.([1-9][0-9]{0,8})\.new$", leftover.name)
            if number is not None and not _is_alive(int(number[1])):
                with suppress(OSError):
                    leftover.unlink()

    def _tell_in_place(self, reason: OSError) -> None:
        if not self._told_in_place:
            self._told_in_place = True
            log.warning(
                "accounting_totals_in_place",
                file=str(self.path),
                error=str(reason),
                risk="a process killed in the middle of writing may damage the file; make its directory writable",
            )


@contextmanager
def _held(path: Path) -> Iterator[int]:
    """A descriptor of the file, made if it is missing, with both locks on it.

    Raises Locked if one is not to be had, OSError for what cannot be opened or is no file.
    """
    current = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, FILE_MODE)
    try:
        if not stat.S_ISREG(os.fstat(current).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        try:
            fcntl.flock(current, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.lockf(current, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(f"{path}: another process writes") from None
        if not _is_open_as(path, current):
            raise Locked(f"{path}: replaced by another process")
        yield current
    finally:
        os.close(current)


def _is_open_as(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _copy(current: int, copy: Path) -> None:
    """Write the octets of the file that is open as `current` to a new file, and give it the same owner and mode."""
    copy.unlink(missing_ok=True)  # of a process that was killed, and had the number that we have now
    descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        status = os.fstat(current)
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            with suppress(PermissionError):
                os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
        offset = 0
        while sent := os.sendfile(descriptor, current, offset, CHUNK_OCTETS):
            offset += sent
    finally:
        os.close(descriptor)


def _read_through(path: Path) -> None:
    """Raise Damaged for a file that has an entry which cannot be read: adding would only notice its own."""
    if path.stat().st_size:
        with GdbmFile(path, Access.READ) as file:
            for _ in file.items():
                pass


def _add_all(path: Path, access: Access, waiting: dict[str, Totals]) -> None:
    # Closing brings it all to the disk, so a power failure does not leave the name with an empty file.
    with GdbmFile(path, access) as file:
        for destination, more in waiting.items():
            _add_one(file, destination, more)


def _add_in_place(path: Path, current: int, waiting: dict[str, Totals]) -> None:
    """Add to the file itself, which is open as `current`: readers are now shut out as well."""
    try:
        fcntl.flock(current, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Locked(f"{path}: another process reads") from None
    with GdbmFile(path, Access.WRITE, lock=False) as file:
        for destination in list(waiting):
            _add_one(file, destination, waiting[destination])
            del waiting[destination]  # libgdbm has written it


def _add_one(file: GdbmFile, destination: str, more: Totals) -> None:
    key = key_of(destination)
    value = file.fetch(key)
    try:
        before = Totals.parse(value) if value is not None else Totals()
    except ValueError:
        before = Totals()
        shown = repr(value and value[:SHOWN_OCTETS])
        log.warning("accounting_total_unreadable", file=str(file.path), destination=destination, value=shown)
    file.store(key, (before + more).value())


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
