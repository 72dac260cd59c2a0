"""`moxy demo`, as a program: the printed command works, nobody is root, nothing is left behind."""

import os
import pwd
import re
import select
import signal
from pathlib import Path

import pytest

from support.directories import UNPRIVILEGED, is_root
from support.moxy_commands import Command, moxy
from support.ports import free_port
from support.processes import PATIENCE


class Demo(Command):
    def __init__(self, directory):
        self.port = free_port()
        super().__init__(directory, "demo", "--port", str(self.port))
        self.wait_for_greeting(self.port)

    def children(self):
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


def status(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)


def exists(pid):
    return Path(f"/proc/{pid}").exists()


def test_the_command_it_prints_delivers_to_both_sinks(directory):
    with Demo(directory) as demo:
        (command,) = re.findall(r"\./run moxy (send .*)", demo.text())
        assert moxy(*command.split()).returncode == 0
        demo.wait_for("one.test | from ")
        demo.wait_for("two.test | from ")
        assert re.search(r"^one\.test \| from <.*> to <alice@one\.test>, \d+ octets: ", demo.text(), re.MULTILINE)
        assert re.search(r"^two\.test \| from <.*> to <bob@two\.test>, \d+ octets: ", demo.text(), re.MULTILINE)
        assert demo.stop() == 0
        assert "Traceback" not in demo.text()
        assert demo.text().count("test: 1 message, ") == 2


@pytest.mark.skipif(not is_root(), reason="only root can become somebody else")
def test_as_root_all_its_processes_become_nobody(directory):
    nobody = pwd.getpwnam(UNPRIVILEGED)
    with Demo(directory) as demo:
        for pid in (demo.pid, *demo.children()):
            fields = demo.wait_until(lambda pid=pid: dropped(status(pid), nobody.pw_uid), f"{pid} to be nobody")
            assert fields["Gid"].split() == [str(nobody.pw_gid)] * 4
            assert fields["Groups"].split() == []


def dropped(fields, uid):
    return fields if fields["Uid"].split() == [str(uid)] * 4 else None


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_children_and_leaves_nothing(directory, how, monkeypatch):
    directory.chmod(0o1777)
    monkeypatch.setenv("TMPDIR", str(directory))
    with Demo(directory) as demo:
        children = demo.children()
        assert len(children) == 2
        assert demo.stop(how) == 0
        assert not any(exists(child) for child in children)
    assert [path.name for path in directory.iterdir()] == ["demo.out"]


def test_its_children_end_when_it_is_killed(directory, monkeypatch):
    directory.chmod(0o1777)
    monkeypatch.setenv("TMPDIR", str(directory))  # what it cannot remove any more goes with this
    with Demo(directory) as demo:
        children = [os.pidfd_open(child) for child in demo.children()]
        demo.stop(signal.SIGKILL)
        for child in children:
            ended, _, _ = select.select([child], [], [], PATIENCE)
            assert ended
            os.close(child)


def test_a_port_in_use_is_one_clear_line(directory):
    with Demo(directory) as demo:
        second = moxy("demo", "--port", str(demo.port))
        assert second.returncode == 1
        assert second.stdout == b""
        assert second.stderr.decode() == f"moxy: cannot listen on 127.0.0.1:{demo.port}: Address already in use\n"
