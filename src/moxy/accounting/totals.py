"""Totals: octets and messages that went to one destination, and how they stand in a GNU dbm file.

The key is `host:port`, the value two decimal numbers, `octets messages`; gdbmtool shows both as they are.

Rules:
- What others may have written is understood: octets alone (of mail that nobody counted), blanks, a NUL at the end of a
  key or a value, as C programs leave it. One destination under both spellings of its key is one destination.
- An entry that cannot be read is named and left out; the others count.

Bugs: a total beyond DIGITS digits cannot be read back. It takes longer to get there than mail has been sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from moxy.gdbm import Access, GdbmFile, Locked

DIGITS: Final = 30
"""Of one number. Python refuses to read thousands of digits, and nobody means them."""

LOCK_SECONDS: Final = 3.0
"""How long a reader waits for a program that writes to the file."""

GLANCE_SECONDS: Final = 0.01
"""Between two looks at a lock."""


@dataclass(frozen=True, slots=True)
class Totals:
    """So many octets in so many messages."""

    octets: int = 0
    messages: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(self.octets + other.octets, self.messages + other.messages)

    @classmethod
    def parse(cls, value: bytes) -> Self:
        """Read the value of an entry. Raises ValueError for what is not one or two numbers."""
        numbers = value.removesuffix(b"\0").split()
        if len(numbers) not in (1, 2) or not all(number.isdigit() and len(number) <= DIGITS for number in numbers):
            raise ValueError("expected octets and messages, two numbers")
        return cls(*map(int, numbers))

    def value(self) -> bytes:
        """The value of an entry."""
        return b"%d %d" % (self.octets, self.messages)


def key_of(destination: str) -> bytes:
    """The key of a destination's entry. It never raises: a text without a UTF-8 form gets one."""
    return destination.encode("utf-8", "backslashreplace")


def destination_of(key: bytes) -> str:
    """The destination that a key names, whatever its octets."""
    return key.removesuffix(b"\0").decode("utf-8", "backslashreplace")


def read_totals(path: Path, unreadable: Callable[[str, bytes], None] | None = None) -> dict[str, Totals]:
    """All totals in the file at `path`, by destination. An empty file, which nobody has written to yet, holds none.

    `unreadable(destination, value)` is told of each entry that cannot be read. Waits up to LOCK_SECONDS for another
    program that writes. Raises GdbmError (Locked, Damaged, LibraryMissing), or OSError for a file that is missing or
    closed to us.
    """
    totals: dict[str, Totals] = {}
    if not path.stat().st_size:
        return totals
    with _opened(path) as file:
        for key, value in file.items():
            destination = destination_of(key)
            try:
                totals[destination] = totals.get(destination, Totals()) + Totals.parse(value)
            except ValueError:
                if unreadable is not None:
                    unreadable(destination, value)
    return totals


def _opened(path: Path) -> GdbmFile:
    give_up = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return GdbmFile(path, Access.READ)
        except Locked:
            if time.monotonic() > give_up:
                raise
        time.sleep(GLANCE_SECONDS)
