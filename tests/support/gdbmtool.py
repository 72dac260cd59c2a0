"""Debian's `gdbmtool`: another program that reads and writes GNU dbm files, and holds the lock on one."""

from __future__ import annotations

import fcntl
import subprocess
import time
from pathlib import Path
from typing import Self

from support.processes import GLANCE, PATIENCE, require_program

WITH_NUL = ("define key stringz", "define content stringz")
"""Commands after which keys and values are stored as C programs do: with the NUL that ends a string."""


def gdbmtool(path: Path, *commands: str, options: tuple[str, ...] = ()) -> str:
    """Run the commands on the file, and return what they print. AssertionError tells what one of them complained of."""
    result = subprocess.run(
        [require_program("gdbmtool"), "-N", "-q", *options, str(path)],
        input="".join(f"{command}\n" for command in commands),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if result.returncode or result.stderr:
        raise AssertionError(result.stderr)
    return result.stdout


def store(path: Path, entries: dict[str, str], options: tuple[str, ...] = (), nul: bool = False) -> None:
    """Store the entries in the file, which is made if it is not there."""
    define = WITH_NUL if nul else ()
    gdbmtool(
        path, *define, *[f"store {_quoted(key)} {_quoted(value)}" for key, value in entries.items()], options=options
    )


def fetch(path: Path, key: str) -> str:
    """The value under `key`."""
    return gdbmtool(path, f"fetch {_quoted(key)}", options=("-r",)).rstrip("\n")


def listed(path: Path) -> dict[str, str]:
    """All entries, of which neither has a blank."""
    lines = gdbmtool(path, "list", options=("-r",)).splitlines()
    return dict(line.split(" ") for line in lines)


class Holder:
    """A `gdbmtool` that has the file open, and so its lock, until the `with` block is left or `release` is called."""

    def __init__(self, path: Path, writing: bool = True) -> None:
        self._process = subprocess.Popen(
            [require_program("gdbmtool"), "-N", "-q", *([] if writing else ["-r"]), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )
        self.run("count")  # a file is opened by the first command that needs it
        for _ in range(round(PATIENCE / GLANCE)):
            if locked(path):
                return
            time.sleep(GLANCE)
        raise AssertionError(f"gdbmtool took no lock on {path}")

    def run(self, command: str) -> None:
        """Have it run a command, now or a little later."""
        assert self._process.stdin
        self._process.stdin.write(f"{command}\n")

    def release(self) -> None:
        """Have it close the file and end, and wait for that."""
        self._process.communicate(timeout=PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.release()


def locked(path: Path) -> bool:
    """Whether any process has a lock on the file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'
