"""Moxy's other commands as programs: `moxy sink`, `moxy send`, `moxy demo`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from moxy.process import privileges
from support.directories import UNPRIVILEGED, is_root
from support.ports import LOOPBACK, free_port
from support.processes import PATIENCE, Running

SOURCE = Path(__file__).resolve().parents[2] / "src"
LISTENING = re.compile(r"^(\S+): listening on .*:([0-9]+)$", re.MULTILINE)


def arguments(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "moxy", *words]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(SOURCE)}


def moxy(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a command that ends by itself."""
    return subprocess.run(
        arguments(*words), input=stdin, capture_output=True, env=environment(), timeout=PATIENCE, check=False
    )


class Command(Running):
    """A command that runs until it is stopped. Its output is `text()`."""

    def __init__(self, directory: Path, *words: str) -> None:
        super().__init__(arguments(*words), directory / f"{words[0]}.out", environment())

    def wait_for(self, text: str, times: int = 1) -> None:
        self.wait_until(lambda: self.text().count(text) >= times, f"{times} times {text!r}")


class Sink(Command):
    """`moxy sink` on a port of its own choice."""

    def __init__(self, directory: Path, *options: str) -> None:
        super().__init__(directory, "sink", "--listen", "127.0.0.1:0", *options)
        self.port = int(self.wait_until(lambda: LISTENING.search(self.text()), "its port")[2])


def written(directory: Path, table: str, sections: str = "", port: int | None = None) -> tuple[Path, int]:
    """A `moxy.toml` and its route table `moxy.db`; the file, and the port it has Moxy listen on."""
    port = free_port() if port is None else port
    runas = f'runas = "{UNPRIVILEGED}"\n' if is_root() else ""
    configuration = directory / "moxy.toml"
    configuration.write_text(
        f'hostname = "mx.moxy.test"\n{runas}'
        f'[listener.mx]\nlisten = ["{LOOPBACK}:{port}"]\n'
        f'[routes.table]\nkind = "file"\npath = "moxy.db"\n{sections}'
    )
    (directory / "moxy.db").write_text(table)
    return configuration, port


def as_unprivileged(check: Callable[[], None]) -> None:
    """Run `check` in a child process that is not root; what it raises is told."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            if is_root():
                privileges.drop(privileges.identity(UNPRIVILEGED))
            check()
        except BaseException:  # noqa: BLE001 - all of it is told
            os.write(writer, traceback.format_exc().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as report:
        told = report.read()
    os.waitpid(child, 0)
    assert not told, told
