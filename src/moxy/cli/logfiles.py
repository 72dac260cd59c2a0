"""Lines of log files: plain or compressed, rotated ones put together, or standard input.

Rules: what a file is, its first octets say, not its name. A line is held whole, a file never; a line without an end
comes to one at LINE_LIMIT.

Bugs: what is compressed twice is not unpacked twice.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, Final, cast

from moxy.errors import MoxyError

LINE_LIMIT: Final = 1024 * 1024
"""Octets in a line. With a thousand recipients of the greatest length it has half as many."""

TOO_LONG: Final = b"(a line longer than 1 MiB)\n"
"""What stands for a line beyond the limit. It fits no format that could have been meant."""

STANDARD_INPUT: Final = "-"

_BLOCK: Final = 256 * 1024  # octets read at once; more is no faster

_OPENERS: Final[dict[bytes, Callable[[IO[bytes]], IO[bytes]]]] = {
    b"\x1f\x8b": lambda file: cast("IO[bytes]", gzip.GzipFile(fileobj=file)),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
"""What unpacks a file that begins so; each of them also takes several such files put together."""


class LogFileError(MoxyError):
    """A file that cannot be read, or not to its end. The lines before that have been given out; of a compressed file,
    perhaps not the last ones.
    """


def lines(name: str, advance: Callable[[int], object] = int) -> Iterator[bytes]:
    """The lines of the file `name`, or of standard input for `-`, each with its end if it has one.

    `advance` is told how many octets of the file were read (before they are unpacked). Raises LogFileError.
    """
    try:
        with ExitStack() as stack:
            raw = sys.stdin.buffer if name == STANDARD_INPUT else stack.enter_context(Path(name).open("rb", 0))
            yield from _bounded(_unpacked(io.BufferedReader(_Watched(raw, advance), _BLOCK)))
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise LogFileError(f"{name}: cannot be read: {reason}") from None


def octets_in(names: Iterable[str]) -> int:
    """The size of all these files together, as far as it is known beforehand."""
    octets = 0
    for name in names:
        with suppress(OSError, ValueError):  # reading it will tell
            octets += Path(name).stat().st_size if name != STANDARD_INPUT else 0
    return octets


class _Watched(io.RawIOBase):
    """A file that tells how much of it was read. It does not close what it reads."""

    def __init__(self, file: Any, advance: Callable[[int], object]) -> None:
        self._file = file
        self._advance = advance

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int | None:  # type: ignore[override]
        octets: int | None = self._file.readinto(buffer)
        self._advance(octets or 0)
        return octets


def _unpacked(file: io.BufferedReader[Any]) -> io.BufferedReader[Any]:
    start = file.peek(8)
    for magic, opener in _OPENERS.items():
        if start.startswith(magic):
            return io.BufferedReader(cast("Any", opener(file)), _BLOCK)
    return file


def _bounded(file: io.BufferedReader[Any]) -> Iterator[bytes]:
    while line := file.readline(LINE_LIMIT + 1):
        if len(line) <= LINE_LIMIT:
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(_BLOCK)
        yield TOO_LONG
