"""A route table made into a GNU dbm file, and turned back into text: what `moxymakedbm` does.

Rules:
- Who reads the file sees the old one or the new one, whole: it is made beside its place, under a name of its own, and
  takes the place in one step once it is on the disk. Whatever goes wrong before leaves the old one as it was.
- The new file has the mode and the owner of the old one, from before its first octet.
- Keys are stored in their normal spelling, the one that `DbmTable` looks for; values as they are spelled.

Bugs: access control lists are not kept. Killed by SIGKILL, it leaves a `.NAME.*` behind. What another process writes
to the old file meanwhile is lost with it.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from moxy.errors import ConfigError, MoxyError, Problem
from moxy.gdbm import Access, GdbmFile
from moxy.routes.dbm import text_of
from moxy.routes.hosts import parse_hosts
from moxy.routes.tabletext import split_line
from moxy.routes.wording import harmless

NEW_MODE: Final = 0o644
"""Of a file that did not exist, less the umask."""

_NAME_LIMIT: Final = 200
"""Of the target's name in the temporary one, which no file system takes with more than 255 octets."""


def stored_value(text: str) -> str:
    """The value `text` of a line as the file has it: no blanks at the commas. Raises ValueError as `parse_hosts` does.

    The name of a destination passes as well: which ones there are, only the configuration knows.
    """
    parse_hosts(text)
    return ",".join([host.strip(" \t") for host in text.split(",")])


def write_table(target: Path, entries: Iterable[tuple[str, str]]) -> None:
    """Put a gdbm file of these keys and values in the place of `target`; a symbolic link is followed.

    Raises OSError, GdbmError, and MoxyError for a target that is no regular file or whose owner cannot be kept.
    """
    target = Path(os.path.realpath(target))
    with _replacement(target) as temporary:
        # Closing brings it all to the disk, before the name is taken.
        with GdbmFile(temporary, Access.NEW) as file:
            for key, value in entries:
                file.store(key.encode(), value.encode())
        temporary.replace(target)
    _sync_directory(target.parent)


def listed(path: Path) -> list[str]:
    """The entries of the gdbm file at `path` as the lines of a table, sorted by key, without line ends.

    Raises ConfigError with every entry that no line can hold, GdbmError and OSError.
    """
    lines: list[tuple[str, str]] = []
    problems: list[Problem] = []
    with GdbmFile(path, Access.READ) as file:
        for key, value in file.items():
            try:
                lines.append(_line(key, value))
            except ValueError as error:
                problems.append(Problem(str(path), 0, harmless(key.decode(errors="replace")), str(error)))
    if problems:
        raise ConfigError(problems)
    return [line for _, line in sorted(lines)]


def _line(key: bytes, value: bytes) -> tuple[str, str]:
    """An entry's key and its line. Raises ValueError where the line would not read back as the same entry."""
    key_text, text = text_of(key), text_of(value)
    spelled = key_text
    if key_text.startswith("#") and "@" in key_text:  # it would be a comment, without quotes
        local, _, domain = key_text.rpartition("@")
        spelled = f'"{local}"@{domain}'
    line = f"{spelled} {text}"
    if split_line(line) != (spelled, text) or not line.isprintable():
        raise ValueError("cannot be written as a line of a table")
    return key_text, line


@contextmanager
def _replacement(target: Path) -> Iterator[Path]:
    """An empty file beside `target`, with its mode and owner; removed afterwards if it still has its own name."""
    name = target.name.encode()[:_NAME_LIMIT].decode(errors="ignore")
    temporary = target.with_name(f".{name}.{secrets.token_hex(8)}")
    existing = _status(target)
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if existing else NEW_MODE)
    try:
        try:
            if existing is not None:
                _take_over(descriptor, existing, target)
        finally:
            os.close(descriptor)
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _status(target: Path) -> os.stat_result | None:
    """Of the file that is to be replaced; None if there is none. Raises MoxyError for what is no regular file."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise MoxyError(f"{target}: is there, and no regular file")
    return status


def _take_over(descriptor: int, existing: os.stat_result, target: Path) -> None:
    """Mode and owner of the existing file. Raises MoxyError."""
    try:
        os.fchown(descriptor, existing.st_uid, existing.st_gid)
    except PermissionError:
        raise MoxyError(f"{target}: belongs to another user or group, which only root can keep so") from None
    os.fchmod(descriptor, stat.S_IMODE(existing.st_mode))


def _sync_directory(directory: Path) -> None:
    """Have the new name on the disk as well."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
