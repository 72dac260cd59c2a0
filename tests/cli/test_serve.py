"""`moxy serve`, and `moxy` alone, which is the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.moxy_commands import Command, arguments, environment, moxy, written
from support.ports import free_port
from support.processes import Running

TABLE = "one.test 127.0.0.1:9\n"


@pytest.mark.parametrize("words", [(), ("serve",)])
def test_it_serves_with_the_configuration_that_is_named(directory, words):
    configuration, port = written(directory, TABLE)
    with Running(arguments(*words, "-c", str(configuration)), directory / "out", environment()) as server:
        server.wait_for_greeting(port)
        assert server.stop() == 0


@pytest.mark.parametrize("option", ["-p", "--port"])
def test_the_port_can_be_told(directory, option):
    configuration, _ = written(directory, TABLE)
    port = free_port()
    with Command(directory, "serve", "-c", str(configuration), option, str(port)) as server:
        server.wait_for_greeting(port)


def test_a_wrong_configuration_is_told_without_a_traceback(directory):
    (directory / "moxy.toml").write_text("[listenr.mx]\n")
    result = moxy("-c", str(directory / "moxy.toml"))
    assert result.returncode == 1
    assert result.stderr.decode().startswith(f"moxy: {directory}/moxy.toml:1: listenr: ")
    assert b"Traceback" not in result.stderr


def test_a_configuration_that_is_not_there_is_told(directory):
    result = moxy("serve", "-c", str(directory / "none.toml"))
    assert result.returncode == 1
    assert result.stderr.decode() == f"moxy: {directory}/none.toml: cannot be read: No such file or directory\n"


def test_options_before_a_command_are_refused(directory):
    result = moxy("-p", "25", "serve")
    assert result.returncode == 2
    assert b"options go behind the command: moxy serve" in result.stderr


@pytest.mark.parametrize("option", ["-v", "--version"])
def test_the_version_is_told(option):
    assert moxy(option).stdout.startswith(b"Moxy ")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_the_commands(option):
    text = moxy(option).stdout.decode()
    for command in ("serve", "check", "describe", "lookup", "send", "sink", "demo"):
        assert f"  {command} " in text


def test_a_command_that_is_not_there_is_told_with_the_nearest():
    result = moxy("chek")
    assert result.returncode == 2
    assert b"there is no command `chek`; did you mean `check`?" in result.stderr


@pytest.mark.parametrize("words", [["describe"], ["completion", "bash"], ["describe", "--man", "moxy.8"]])
def test_a_full_disk_is_told_in_one_line(words):
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            arguments(*words), stdout=full, stderr=subprocess.PIPE, env=environment(), timeout=20, check=False
        )
    assert result.returncode == 1
    assert result.stderr == b"moxy: No space left on device\n"
