"""libgdbm as ctypes sees it: its functions, the numbers of its header, and its errors as exceptions.

Rules:
- It is loaded when the first file is opened: a Moxy without gdbm files needs no libgdbm.
- What `gdbm_fetch`, `gdbm_firstkey` and `gdbm_nextkey` return belongs to the caller and goes back through `taken`.
- Nobody gives libgdbm a function for fatal errors: it would be called, and then libgdbm would call `exit(1)`. Without
  one such errors are returned like the others (libgdbm 1.13 and later).

Source of the numbers: gdbm.h of libgdbm 1.23; they are the same in every libgdbm.so.6.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from pathlib import Path
from typing import Final

from moxy.errors import MoxyError

NAME: Final = "libgdbm.so.6"

READER: Final = 0
WRITER: Final = 1
NEW_DATABASE: Final = 3
NO_LOCK: Final = 0x40
NO_MAPPING: Final = 0x80
REPLACE: Final = 1

ITEM_NOT_FOUND: Final = 15
_SEEK_ERROR: Final = 5
_LOCKED: Final = frozenset({9, 10})
_DAMAGED: Final = frozenset({2, _SEEK_ERROR, 7, 8, 18, 21, 22, 25, 29, 31, 32, 33, 34, 35, 36, 40, 41})
"""Block size, magic number, empty file, end of file, recovery needed, and each malformed part that has its number.

A seek fails for an offset that no file can have: it was read from a damaged one.
"""


class GdbmError(MoxyError):
    """libgdbm could not do what it was asked to; the text names the file and has libgdbm's own words."""


class Locked(GdbmError):  # noqa: N818 - named as what it is: it passes
    """Another process holds the file: a writer excludes everybody, readers exclude writers."""


class Damaged(GdbmError):  # noqa: N818 - named as the state of the file
    """This is no gdbm file, or a broken one."""


class LibraryMissing(GdbmError):  # noqa: N818 - named as what is the matter
    """There is no libgdbm on this machine."""


class Datum(ctypes.Structure):
    """Octets that libgdbm hands out. `dptr` is NULL where there is nothing to hand out."""

    _fields_ = (("dptr", ctypes.c_void_p), ("dsize", ctypes.c_int))


class Octets(ctypes.Structure):
    """The same structure for octets of our own, which it keeps alive."""

    _fields_ = (("dptr", ctypes.c_char_p), ("dsize", ctypes.c_int))


_SIGNATURES: Final = {
    "gdbm_fd_open": (ctypes.c_void_p, (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p)),
    "gdbm_close": (ctypes.c_int, (ctypes.c_void_p,)),
    "gdbm_fetch": (Datum, (ctypes.c_void_p, Octets)),
    "gdbm_store": (ctypes.c_int, (ctypes.c_void_p, Octets, Octets, ctypes.c_int)),
    "gdbm_firstkey": (Datum, (ctypes.c_void_p,)),
    "gdbm_nextkey": (Datum, (ctypes.c_void_p, Octets)),
    "gdbm_count": (ctypes.c_int, (ctypes.c_void_p, ctypes.POINTER(ctypes.c_ulonglong))),
    "gdbm_needs_recovery": (ctypes.c_int, (ctypes.c_void_p,)),
    "gdbm_last_errno": (ctypes.c_int, (ctypes.c_void_p,)),
    "gdbm_last_syserr": (ctypes.c_int, (ctypes.c_void_p,)),
    "gdbm_errno_location": (ctypes.POINTER(ctypes.c_int), ()),
    "gdbm_check_syserr": (ctypes.c_int, (ctypes.c_int,)),
    "gdbm_strerror": (ctypes.c_char_p, (ctypes.c_int,)),
}
"""What each function returns and takes. A handle is a pointer; `datum` is passed and returned by value."""


@functools.cache
def library() -> ctypes.CDLL:
    """The loaded library. Raises LibraryMissing."""
    try:
        loaded = ctypes.CDLL(NAME, use_errno=True)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype = result
            function.argtypes = arguments
    except (OSError, AttributeError) as error:
        raise LibraryMissing(
            f"gdbm files need {NAME}, which is not to be had ({error}): apt-get install libgdbm6"
        ) from None
    return loaded


@functools.cache
def _free() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(None).free
    function.restype = None
    function.argtypes = (ctypes.c_void_p,)
    return function


def octets(value: bytes) -> Octets:
    """`value` as libgdbm takes it."""
    return Octets(value, len(value))


def taken(datum: Datum) -> bytes | None:
    """The octets of a datum of libgdbm's, whose memory goes back with this; None for none."""
    if datum.dptr is None:
        return None
    try:
        return ctypes.string_at(datum.dptr, datum.dsize)
    finally:
        _free()(datum.dptr)


def last_error() -> tuple[int, int]:
    """The number of the last error in this thread, and the system's for it (0: the system has none)."""
    code = library().gdbm_errno_location().contents.value
    return code, ctypes.get_errno() if library().gdbm_check_syserr(code) else 0


def failure(path: Path, code: int, system: int) -> GdbmError | OSError:
    """The exception for an error of libgdbm's with this number, at the file at `path`."""
    if code == _SEEK_ERROR and system == errno.EINVAL:
        system = 0
    if system:
        return OSError(system, os.strerror(system), str(path))
    words = library().gdbm_strerror(code).decode(errors="replace")
    if code in _LOCKED:
        return Locked(f"{path}: another process holds it")
    if code in _DAMAGED:
        return Damaged(f"{path}: no gdbm file, or a damaged one: {words}")
    return GdbmError(f"{path}: {words}")
