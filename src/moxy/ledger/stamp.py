"""Stamp: eight octets of memory that all workers share, from which each sees that another has written to the ledger.

Why not ask the file: a look at it costs some microseconds for every recipient, this one 0.06 (measured). It is made
before workers are forked, and those of a reload inherit it as well.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

OCTETS: Final = 8

NONE: Final = -1
"""What no stamp ever is."""


class Stamp:
    """A value that changes with every commit to a ledger's file, shared with all processes forked after it was made.

    Rules: who reads the file takes the value first, and then the file: what comes between is seen next time. No value
    comes twice, so nobody takes a change for none.
    """

    __slots__ = ("memory",)

    def __init__(self) -> None:
        self.memory: Final = memoryview(mmap.mmap(-1, OCTETS)).cast("Q")
        """`memory[0]` is the value, for who looks at it for every recipient."""

    @property
    def value(self) -> int:
        """As it is now."""
        return self.memory[0]

    def change(self) -> None:
        """The file has changed."""
        self.memory[0] = int.from_bytes(os.urandom(OCTETS))
