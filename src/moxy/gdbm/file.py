"""GdbmFile: one open GNU dbm file.

Rules:
- Files are never mapped into memory: if another process cuts a mapped file short, the kernel kills who reads it
  (SIGBUS). Nor would it be faster (docs/decisions/007).
- libgdbm gets a descriptor that was opened here: what the system refuses is an OSError with the file's name, and the
  special files that would make it wait are refused.
- A GdbmFile is for one thread at a time, and for one process: a descriptor that was taken through a fork is moved and
  locked by both sides. libgdbm waits for the disk without holding the interpreter.

Bugs: a file changed by a program that takes no lock may be read as it never was. Where a file system knows no `flock`,
libgdbm waits for the lock, without limit. What a damaged file holds may be wrong as well as unreadable: libgdbm has no
checksums.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Final, Self

from moxy.gdbm.library import (
    ITEM_NOT_FOUND,
    NEW_DATABASE,
    NO_LOCK,
    NO_MAPPING,
    READER,
    REPLACE,
    WRITER,
    Damaged,
    Datum,
    GdbmError,
    failure,
    last_error,
    library,
    octets,
    taken,
)

FILE_MODE: Final = 0o666
"""Of a new file, less the umask: libgdbm's own tools have it so."""

_SLACK: Final = 1 << 20
"""Octets by which the end that a header names may lie beyond the file's: old versions of libgdbm left it ahead."""

_HEADER_END: Final = struct.Struct("=32xq")
"""Where the header, the start of the file, names the end of all blocks: `next_block`, an `off_t` after 32 octets."""


class Access(Enum):
    """What a file is opened for: libgdbm's mode, and the system's flags."""

    READ = (READER, os.O_RDONLY)
    """Any number of processes may, while nobody writes."""
    WRITE = (WRITER, os.O_RDWR)
    """One process; the file must exist. One of no octets becomes a gdbm file."""
    NEW = (NEW_DATABASE, os.O_RDWR | os.O_CREAT)
    """One process; the file is made, or emptied if it exists."""


class GdbmFile:
    """The file at `path`, opened for `access`, with libgdbm's lock on it unless `lock` is False.

    Raises Locked at once where others hold it, Damaged for what is no usable gdbm file, LibraryMissing, and OSError
    where the system refuses. `descriptor` is the file's, as long as it is open.

    Every method raises Damaged where the file turns out to be broken, OSError where the system fails (a full disk),
    GdbmError for anything else, and ValueError once the file is closed. After Damaged the file should be closed.
    """

    def __init__(self, path: Path, access: Access, *, lock: bool = True) -> None:
        self.path = path
        self._library = library()
        mode, flags = access.value
        # O_NONBLOCK: opening a pipe must not wait for who is at its other end. It has no effect on ordinary files.
        self.descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, FILE_MODE)
        try:
            if not stat.S_ISREG(os.fstat(self.descriptor).st_mode):
                raise Damaged(f"{path}: no gdbm file: it is no regular file")
            self._handle: int | None = self._opened(mode | NO_MAPPING | (0 if lock else NO_LOCK))
        except BaseException:
            os.close(self.descriptor)
            raise
        if self._library.gdbm_needs_recovery(self._handle) or (access is Access.WRITE and self._ends_nowhere()):
            self.close()
            raise Damaged(f"{path}: a damaged gdbm file: it was not closed properly, or cut short")

    def fetch(self, key: bytes) -> bytes | None:
        """The value stored under `key`, or None."""
        return self._result(self._library.gdbm_fetch(self._open_handle, octets(key)))

    def store(self, key: bytes, value: bytes) -> None:
        """Store `value` under `key`, in the place of what may be there."""
        if self._library.gdbm_store(self._open_handle, octets(key), octets(value), REPLACE):
            raise self._failure()

    def first_key(self) -> bytes | None:
        """The key that `keys` begins with, whichever it is; None if there is none."""
        return self._result(self._library.gdbm_firstkey(self._open_handle))

    def keys(self) -> Iterator[bytes]:
        """Every key once, in no order. The file must not be changed meanwhile."""
        # libgdbm looks for the last key to find the next, so in a damaged file it may go in circles, or end too early.
        expected = self.count()
        number = 0
        key = self.first_key()
        while key is not None:
            number += 1
            if number > expected:
                break
            yield key
            key = self._result(self._library.gdbm_nextkey(self._open_handle, octets(key)))
        if number != expected:
            raise Damaged(f"{self.path}: a damaged gdbm file: its buckets count {expected} keys, and hold others")

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key with its value, as `keys` gives them."""
        for key in self.keys():
            value = self.fetch(key)
            if value is None:
                raise Damaged(f"{self.path}: a damaged gdbm file: a key is listed that is not to be found")
            yield key, value

    def count(self) -> int:
        """How many keys there are. It reads every bucket: 0.05 s for a million keys."""
        number = ctypes.c_ulonglong()
        if self._library.gdbm_count(self._open_handle, ctypes.byref(number)):
            raise self._failure()
        return number.value

    def close(self) -> None:
        """Close the file; what was written is on the disk then, else OSError is raised. Closing again does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None and self._library.gdbm_close(handle):
            raise failure(self.path, *last_error())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self, flags: int) -> int:
        """libgdbm's handle for the descriptor, which is libgdbm's to close if this succeeds."""
        handle: int | None = self._library.gdbm_fd_open(self.descriptor, os.fsencode(self.path), 0, flags, None)
        if handle is None:
            raise failure(self.path, *last_error())
        return handle

    def _ends_nowhere(self) -> bool:
        """Whether the header names an end far beyond the file's: the next `store` would fill the disk up to there."""
        (end,) = _HEADER_END.unpack(os.pread(self.descriptor, _HEADER_END.size, 0))
        return bool(end > os.fstat(self.descriptor).st_size + _SLACK)

    @property
    def _open_handle(self) -> int:
        # libgdbm would follow a null pointer.
        if self._handle is None:
            raise ValueError(f"{self.path} is closed")
        return self._handle

    @property
    def _code(self) -> int:
        code: int = self._library.gdbm_last_errno(self._open_handle)
        return code

    def _result(self, datum: Datum) -> bytes | None:
        """The octets of a result, or None where libgdbm found nothing."""
        value = taken(datum)
        if value is None and self._code != ITEM_NOT_FOUND:
            raise self._failure()
        return value

    def _failure(self) -> GdbmError | OSError:
        return failure(self.path, self._code, self._library.gdbm_last_syserr(self._open_handle))
