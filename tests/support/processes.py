"""Programs under test, each started by a test, watched while it works, and ended by its own process id.

Rules: output goes to a file, so that no full pipe can stop a program; waiting ends early, with the program's
own output, when the program has died.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

import pytest

from support.ports import LOOPBACK

T = TypeVar("T")

PATIENCE = 20.0
"""Seconds to wait for what should take milliseconds: long enough for a machine under load."""

GLANCE = 0.02
"""Seconds between two looks at a condition."""


def require_program(name: str) -> str:
    """The path of an installed program; the test is skipped where it is missing (with CI=true that is a failure)."""
    path = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        pytest.skip(f"{name} is not installed; ./run test installs it as root")
    return path


class Running:
    """A program that runs until it ends by itself or the `with` block is left."""

    def __init__(self, arguments: Sequence[str], output: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name = Path(arguments[0]).name
        self.output = output
        with output.open("wb") as file:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def text(self) -> str:
        """What the program has printed so far, on both of its outputs."""
        return self.output.read_text(errors="replace")

    def wait_until(self, condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
        """Wait for `condition` to give something true, and return it; a failure says that it waited for `what`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self._process.wait(GLANCE)
                raise AssertionError(f"{self.name} ended with status {status}, waited for {what}:\n{self.text()}")
        raise AssertionError(f"waited {seconds} s for {what} of {self.name}:\n{self.text()}")

    def wait_for_greeting(self, port: int) -> None:
        """Wait until an SMTP server greets on this port of loopback (RFC 5321 §3.1)."""
        self.wait_until(lambda: _greets(port), f"a greeting on port {port}")

    def wait_for_port(self, port: int) -> None:
        """Wait until a server listens on this port of loopback that speaks TLS at once, or awaits a PROXY header."""
        self.wait_until(lambda: _listens(port), f"somebody to listen on port {port}")

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for the program to end by itself; its exit status, negative for a signal."""
        return self._process.wait(seconds)

    def stop(self, by: signal.Signals = signal.SIGTERM, seconds: float = PATIENCE) -> int:
        """End the program by a signal; its exit status. One that does not end in time is killed, and that fails."""
        self._process.send_signal(by)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"{self.name} did not end in {seconds} s after {by.name}:\n{self.text()}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.stop()


def is_alive(group: int) -> bool:
    """Is any process of the group alive? Those that have died may wait long for somebody to ask after them."""
    return any(_is_alive_in(group, file) for file in Path("/proc").glob("[0-9]*/stat"))


def _is_alive_in(group: int, stat: Path) -> bool:
    try:
        state, _, its_group, *_ = stat.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return False
    return int(its_group) == group and state not in "ZX"


def run_to_end(arguments: Sequence[str], seconds: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Run a program that ends by itself; its status and its output as text, standard error included."""
    return subprocess.run(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _greets(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=PATIENCE) as connection:
            greeting = connection.recv(512)
            connection.sendall(b"QUIT\r\n")
            return greeting.startswith(b"220")
    except OSError:
        return False
