"""Stamps of files: what tells one version of a file from the next, and whether it may be read already."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

RESTED_SECONDS: Final = 0.02
"""A file modified less than this ago may still be in the writing; who follows it looks again later."""


class Stamp(NamedTuple):
    """One version of a file."""

    modified: int
    size: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """That of a file with this status."""
        return cls(status.st_mtime_ns, status.st_size, status.st_ino)

    @classmethod
    def at(cls, path: Path) -> Stamp | None:
        """That of the file which is at `path` now, if there is one that we can see."""
        try:
            return cls.of(path.stat())
        except OSError:
            return None

    @property
    def rested(self) -> bool:
        """Whether the last change is long enough ago. A time in the future says nothing, and counts as long ago."""
        return not 0 <= time.time() - self.modified / 1e9 < RESTED_SECONDS
