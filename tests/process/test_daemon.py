"""`-d`: into the background, with a file that says who is there."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moxy.errors import MoxyError
from moxy.process import daemon
from support.directories import make_writable
from support.moxy_commands import arguments, environment, moxy, written
from support.processes import PATIENCE, Running

TABLE = "one.test 127.0.0.1:9\n"


@pytest.fixture
def pid_file(directory):
    """In a directory of the user that Moxy becomes, where it may remove the file."""
    home = directory / "home"
    home.mkdir()
    return make_writable(home) / "moxy.pid"


@contextmanager
def detached(directory: Path, pid_file: Path, top: str = "", sections: str = "") -> Iterator[int]:
    """The process number of a Moxy that went into the background; ended at the end, if it has not ended yet."""
    configuration, port = written(directory, TABLE, sections)
    configuration.write_text(f'pid_file = "{pid_file}"\n{top}{configuration.read_text()}')
    with ended(
        Running(arguments("-c", str(configuration), "-d"), directory / "out", environment()), pid_file, port
    ) as pid:
        yield pid


@contextmanager
def ended(starter: Running, pid_file: Path, port: int) -> Iterator[int]:
    """The process number of the Moxy that `starter` sends into the background; ended at the end, if it has not yet."""
    directory = starter.output.parent
    with starter:
        assert starter.wait() == 0, starter.text()
    with Running(["tail", "-f", "/dev/null"], directory / "patience") as patience:  # whose `wait_until` is used
        pid = patience.wait_until(lambda: number_in(pid_file), "a process number")
        handle = os.pidfd_open(pid)
        try:
            patience.wait_for_greeting(port)
            yield pid
        finally:
            ended, _, _ = select.select([handle], [], [], 0)
            if not ended:
                signal.pidfd_send_signal(handle, signal.SIGTERM)
            ended, _, _ = select.select([handle], [], [], PATIENCE)
            os.close(handle)
            assert ended


def greeting(port: int) -> list[bytes]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        return client.recv(512).splitlines()


def number_in(pid_file: Path) -> int:
    """0 before it is written."""
    text = pid_file.read_text() if pid_file.exists() else ""
    return int(text) if text.endswith("\n") else 0


def test_it_goes_on_without_those_who_started_it(directory, pid_file):
    with detached(directory, pid_file) as pid:
        assert os.getsid(pid) != os.getsid(0)
        workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert workers
        for process in (pid, *workers):  # all of them: who reads what they write would wait for the last
            for descriptor in (0, 1):
                assert Path(f"/proc/{process}/fd/{descriptor}").readlink() == Path(os.devnull)


def test_it_can_never_get_a_terminal_again(directory, pid_file):
    with detached(directory, pid_file) as pid:
        assert os.getsid(pid) != pid


def test_it_keeps_no_directory_busy(directory, pid_file):
    with detached(directory, pid_file) as pid:
        assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")


def test_its_log_goes_to_syslog(directory, pid_file):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.settimeout(PATIENCE)
        daemon.bind(str(directory / "log"))
        (directory / "log").chmod(0o777)
        with detached(directory, pid_file, f'syslog_socket = "{directory}/log"\nprobe = false\n') as pid:
            told = daemon.recv(8192).decode()
            assert told.startswith("<30>")  # daemon, info
            assert f" moxy[{pid}]: " in told
            assert "ready" in told
    assert "ready" not in (directory / "out").read_text()


def test_its_log_goes_where_standard_error_went_if_that_is_wanted(directory, pid_file):
    with detached(directory, pid_file, sections='[operator_log]\nto = "stderr"\n'):
        assert '"ready"' in (directory / "out").read_text()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_do_no_harm(directory, pid_file, closed):
    """What is opened first would become one of them, and be given away with them."""
    configuration, port = written(directory, TABLE)
    configuration.write_text(f'pid_file = "{pid_file}"\n{configuration.read_text()}')
    shell = ["sh", "-c", f'"$@" {closed}', "sh", *arguments("-c", str(configuration), "-d")]
    with ended(Running(shell, directory / "out", environment()), pid_file, port):
        assert len(greeting(port)) == 1


def test_a_second_moxy_does_not_take_the_pid_file(directory, pid_file):
    with detached(directory, pid_file) as pid:
        other, _ = written(directory, TABLE)
        other.write_text(f'pid_file = "{pid_file}"\n{other.read_text()}')
        result = moxy("-c", str(other))
        assert result.returncode == 1
        assert result.stderr.decode() == f"moxy: Moxy runs already, process {pid}: it holds the pid file {pid_file}\n"
        assert number_in(pid_file) == pid


def test_what_is_no_file_of_its_own_is_no_pid_file(directory, pid_file):
    user = None
    target = directory / "target"
    target.write_text("keep me\n")
    pid_file.hardlink_to(target)
    with pytest.raises(MoxyError, match="no file of its own"), daemon.pid_file(pid_file, user):
        raise AssertionError("never reached")
    pid_file.unlink()
    os.mkfifo(pid_file)
    with pytest.raises(MoxyError), daemon.pid_file(pid_file, user):
        raise AssertionError("never reached")
    assert target.read_text() == "keep me\n"


def test_the_directory_of_the_pid_file_is_made_for_who_moxy_becomes(directory, pid_file):
    missing = pid_file.with_name("run") / "moxy.pid"
    with detached(directory, missing):
        assert missing.parent.stat().st_mode & 0o777 == 0o755
        assert missing.parent.stat().st_uid == pid_file.parent.stat().st_uid
    assert not missing.exists()


def test_where_there_is_no_syslog_it_is_told_before_nobody_listens(directory, pid_file):
    with detached(directory, pid_file, f'syslog_socket = "{directory}/none"\n'):
        assert "no_syslog_daemon" in (directory / "out").read_text()


def test_the_pid_file_is_gone_when_it_has_ended(directory, pid_file):
    with detached(directory, pid_file):
        assert pid_file.stat().st_mode & 0o777 == 0o644
    assert not pid_file.exists()


def test_a_pid_file_that_cannot_be_removed_is_emptied(tmp_path, monkeypatch):
    path = tmp_path / "moxy.pid"

    def refuse(path):
        raise PermissionError

    with daemon.pid_file(path, None):
        assert path.read_text() == f"{os.getpid()}\n"
        monkeypatch.setattr(Path, "unlink", refuse)
    assert path.read_text() == ""


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(MoxyError, match="cannot write the pid file"), daemon.pid_file(tmp_path / "link", None):
        pass
    assert not (tmp_path / "victim").exists()


def test_without_a_name_there_is_no_file():
    with daemon.pid_file(None, None):
        pass
