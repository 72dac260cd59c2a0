"""The real program: `python -m moxy -c moxy.conf` as a process, with a configuration and a table of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.directories import UNPRIVILEGED, is_root, make_writable
from support.ports import LOOPBACK, free_port
from support.processes import Running

SOURCE = Path(__file__).resolve().parents[2] / "src"
HOST_NAME = "mx.moxy.test"


class Moxy(Running):
    """A running Moxy. Its operator's log is `text()`. `program` is what Python is told to run."""

    def __init__(
        self,
        configuration: Path,
        port: int,
        environment: Mapping[str, str] | None = None,
        program: Sequence[str] = ("-m", "moxy"),
    ) -> None:
        environment = os.environ | {"PYTHONPATH": str(SOURCE)} | (environment or {})
        arguments = [sys.executable, "-P", *program, "-c", str(configuration)]
        super().__init__(arguments, configuration.with_name("moxy.out"), environment)
        self.configuration = configuration
        self.port = port
        self.record_file = configuration.with_name("moxy.log")

    def records(self) -> list[str]:
        """The lines of the filelog: one for each delivery."""
        return self.record_file.read_text().splitlines()

    def workers(self) -> list[int]:
        """The processes that serve clients."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def peak_memory(self) -> int:
        """The most octets of memory that its one worker has had at once (VmHWM)."""
        (worker,) = self.workers()
        status = Path(f"/proc/{worker}/status").read_text()
        kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(kibibytes) * 1024


@contextmanager
def running_moxy(directory: Path, table: str, extra: str = "") -> Iterator[Moxy]:
    """Moxy with an original `moxy.conf` of table `table` (the original's text table) and the `extra` directives.

    Leaving the block stops it, and then it must have ended well: status 0, no traceback.
    """
    port = free_port()
    home = make_writable(_made(directory / "moxy"))
    make_writable(_written(home / "moxy.log", ""))
    _written(home / "moxy.db", table)
    configuration = _written(home / "moxy.conf", _configuration(home, port) + extra)
    with running(configuration, port) as moxy:
        yield moxy


@contextmanager
def running(configuration: Path, port: int, *about: Any, **named: Any) -> Iterator[Moxy]:
    """Moxy with a whole configuration file, in either format, that has it listen on `port`. Stopped as above."""
    with Moxy(configuration, port, *about, **named) as moxy:
        moxy.wait_for_greeting(port)
        yield moxy
        status = moxy.stop()
    assert status == 0, f"Moxy ended with status {status}:\n{moxy.text()}"
    assert "Traceback" not in moxy.text()


def _configuration(home: Path, port: int) -> str:
    lines = [
        f"listen {LOOPBACK}",
        f"port {port}",
        f"hostname {HOST_NAME}",
        "dbtype file",
        f"dbname {home}/moxy.db",
        "logtype filelog",
        f"logfile_name {home}/moxy.log",
    ]
    if is_root():
        lines.append(f"runas {UNPRIVILEGED}")
    return "\n".join(lines) + "\n"


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


def _written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file
