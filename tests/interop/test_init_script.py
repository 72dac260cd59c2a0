"""etc/init.d/moxy with a real Moxy: what it does, and the exit statuses that the LSB asks for."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from support.directories import make_writable
from support.moxy_commands import environment, written
from support.processes import PATIENCE, Running, require_program, run_to_end

pytestmark = pytest.mark.interop

SCRIPT = Path(__file__).parents[2] / "etc" / "init.d" / "moxy"
TABLE = "one.test 127.0.0.1:9\n"


class Said(NamedTuple):
    """What a run of the script came to."""

    status: int
    output: str
    errors: str

    @property
    def text(self) -> str:
        """Both; where a test looks for one line, there is no more."""
        return self.output + self.errors


class Init:
    """The script with settings of its own: `home` has the configuration, the pid file, and a program `moxy`."""

    def __init__(self, home: Path, configuration: Path) -> None:
        self.pid_file = home / "run" / "moxy.pid"
        self.pid_file.parent.mkdir()
        make_writable(self.pid_file.parent)
        self.configuration = configuration
        self._defaults = home / "defaults"
        self._outputs = (home / f"said-{number}" for number in count())
        program = home / "moxy"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m moxy "$@"\n')
        program.chmod(0o755)
        self.configure({"MOXY": program, "CONFIG": configuration, "PIDFILE": self.pid_file, "STOP_SECONDS": 20})

    def configure(self, settings: Mapping[str, object]) -> None:
        """Further lines of /etc/default/moxy; the last of a name counts."""
        with self._defaults.open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())

    def __call__(self, *words: str) -> Said:
        """Run it. Its output goes to files of its own, since a Moxy in the background would hold a pipe open."""
        output = next(self._outputs)
        errors = output.with_suffix(".errors")
        with output.open("w") as said, errors.open("w") as complained:
            done = subprocess.run(
                ["/bin/sh", str(SCRIPT), *words],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=complained,
                env=environment() | {"MOXY_DEFAULTS": str(self._defaults)},
                timeout=PATIENCE * 2,
                check=False,
            )
        return Said(done.returncode, output.read_text(), errors.read_text())

    def pid(self) -> int:
        return int(self.pid_file.read_text())


@pytest.fixture
def init(directory: Path) -> Iterator[Init]:
    configuration, _ = written(directory, TABLE)
    script = Init(directory, configuration)
    configuration.write_text(f'pid_file = "{script.pid_file}"\n{configuration.read_text()}')
    yield script
    assert script("stop").status == 0


def test_it_starts_tells_and_stops(init: Init) -> None:
    assert init("status").status == 3
    assert init("start").status == 0
    running = init("status")
    assert (running.status, running.text) == (0, f"moxy: runs, process {init.pid()}\n")
    assert init("stop").status == 0
    assert init("status").status == 3


def test_a_second_start_starts_nothing(init: Init) -> None:
    init("start")
    pid = init.pid()
    again = init("start")
    assert (again.status, again.text) == (0, f"moxy: runs already, process {pid}\n")
    assert init.pid() == pid


def test_a_second_stop_is_no_failure(init: Init) -> None:
    assert init("stop").status == 0


@pytest.mark.parametrize("word", ["restart", "try-restart", "condrestart"])
def test_a_restart_makes_a_new_process(init: Init, word: str) -> None:
    init("start")
    pid = init.pid()
    assert init(word).status == 0
    assert init.pid() != pid
    assert init("status").status == 0


def test_only_a_plain_restart_starts_what_does_not_run(init: Init) -> None:
    assert init("try-restart").status == 0
    assert init("status").status == 3
    assert init("restart").status == 0
    assert init("status").status == 0


@pytest.mark.parametrize("word", ["reload", "force-reload"])
def test_a_reload_keeps_the_process(init: Init, word: str) -> None:
    assert init(word).status == 7
    init("start")
    pid = init.pid()
    assert init(word).status == 0
    assert init("status").text == f"moxy: runs, process {pid}\n"


def test_nothing_is_stopped_for_a_configuration_with_mistakes(init: Init) -> None:
    init("start")
    pid = init.pid()
    right = init.configuration.read_text()
    for wrong in (f"{right}nonsense = 1\n", right.replace("pid_file", "#pid_file")):
        init.configuration.write_text(wrong)
        for word in ("restart", "try-restart", "condrestart", "reload", "force-reload"):
            done = init(word)
            assert (done.status, done.output) == (6, ""), word
            assert init("status").text == f"moxy: runs, process {pid}\n", word
    init.configuration.write_text(right)
    assert init("restart").status == 0


def test_what_is_wrong_is_told_on_standard_error(init: Init) -> None:
    init("start")
    with init.configuration.open("a") as file:
        file.write("nonsense = 1\n")
    mistake, last = init("restart").errors.splitlines()
    assert mistake.startswith(f"{init.configuration}:")
    assert "unknown key `nonsense`" in mistake
    assert last == "moxy: the configuration has mistakes, so nothing is changed"


def test_a_directory_for_the_pid_file_is_made(init: Init) -> None:
    """As after a boot, which leaves nothing in /run."""
    directory = init.pid_file.parent
    directory.rmdir()
    assert init("start").status == 0
    assert directory.is_dir()
    assert init("stop").status == 0
    assert list(directory.iterdir()) == []


def test_a_moxy_that_died_is_told_and_can_be_started(init: Init) -> None:
    init("start")
    handle = os.pidfd_open(init.pid())
    signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)
    with Running(["tail", "-f", "/dev/null"], init.pid_file.with_name("patience")) as patience:
        patience.wait_until(lambda: init("status").status == 1, "the end of Moxy")
    assert init("start").status == 0
    assert init("status").status == 0


def test_a_process_that_is_not_ours_is_left_alone(init: Init, directory: Path) -> None:
    with Running(["tail", "-f", str(init.configuration)], directory / "tail") as other:
        init.pid_file.write_text(f"{other.pid}\n")
        assert init("status").status == 1
        assert init("reload").status == 7
        assert init("stop").status == 0
        assert other.stop(signal.SIGINT) == -signal.SIGINT


@pytest.mark.parametrize("text", ["", "0\n", "-1\n", "1 2\n", "nonsense\n"])
def test_a_pid_file_without_a_process_number_is_none(init: Init, text: str) -> None:
    init.pid_file.write_text(text)
    assert init("status").status == (1 if text else 3)
    assert init("stop").status == 0


def test_a_program_that_is_missing_is_told(init: Init, directory: Path) -> None:
    init.configure({"MOXY": directory / "none"})
    done = init("start")
    assert (done.status, done.text) == (5, f"moxy: there is no program {directory}/none\n")


def test_a_configuration_that_is_missing_is_told(init: Init, directory: Path) -> None:
    init.configure({"CONFIG": directory / "none"})
    done = init("start")
    assert (done.status, done.text) == (6, f"moxy: cannot read the configuration {directory}/none\n")


def test_a_configuration_without_the_pid_file_is_told(init: Init) -> None:
    text = init.configuration.read_text()
    init.configuration.write_text(text.replace("pid_file", "#pid_file"))
    done = init("start")
    assert done.status == 6
    assert done.text == f"moxy: {init.configuration} must name the pid file: pid_file {init.pid_file}\n"


def test_what_moxy_says_against_a_start_is_shown(init: Init) -> None:
    with init.configuration.open("a") as file:
        file.write("nonsense = 1\n")
    done = init("start")
    assert done.status == 1
    assert "nonsense" in done.text
    assert "Traceback" not in done.text


@pytest.mark.parametrize("words", [(), ("bogus",)])
def test_a_wrong_word_is_told(init: Init, words: tuple[str, ...]) -> None:
    done = init(*words)
    assert done.status == 2
    assert done.text.endswith(" start|stop|restart|try-restart|reload|force-reload|status\n")


def test_it_is_for_every_posix_shell() -> None:
    assert run_to_end([require_program("dash"), "-n", str(SCRIPT)]).returncode == 0
    assert SCRIPT.stat().st_mode & 0o111 == 0o111
