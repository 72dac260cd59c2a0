"""Directories that programs under other users can read: pytest's own tmp_path is closed to them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

UNPRIVILEGED = "nobody"


def is_root() -> bool:
    return os.geteuid() == 0


@contextmanager
def open_directory() -> Iterator[Path]:
    """A new directory that everybody may read, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="moxy-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


def make_writable(path: Path) -> Path:
    """Give a file or directory to the unprivileged user that servers started by root change to."""
    if is_root():
        shutil.chown(path, UNPRIVILEGED)
    return path
