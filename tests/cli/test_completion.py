"""Completion in a real bash, by the script that `moxy completion bash` prints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from moxy.cli.completion import PROGRAMS, SHELLS, completion
from support.moxy_commands import environment
from support.processes import PATIENCE, require_program

LINE = """\
eval "$(moxy completion bash)"
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
compopt() {{ echo "(compopt $1 $2)"; }} # bash has it only while it completes
_{program}_completion {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory with the programs by their names, as an installation has them on PATH."""
    for program in PROGRAMS:
        entry = "main" if program == "moxy" else program
        path = tmp_path / program
        path.write_text(f'#!/bin/sh\nexec {sys.executable} -P -c "from moxy.cli import {entry}; {entry}()" "$@"\n')
        path.chmod(0o755)
    return tmp_path


def completed(programs: Path, *words: str) -> list[str]:
    """What bash offers behind these words, the last of which is incomplete."""
    script = LINE.format(program=words[0], words=" ".join(f"'{word}'" for word in words))
    done = subprocess.run(
        [require_program("bash"), "--norc", "-c", script],
        capture_output=True,
        text=True,
        env=environment() | {"PATH": f"{programs}:/usr/bin:/bin"},
        timeout=PATIENCE,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("moxy", "se"), ["serve", "send"]),
        (("moxy", "check", "--con"), ["--config"]),
        (("moxy", "completion", ""), ["bash", "zsh", "fish"]),
        (("moxy", "describe", "--man", "moxy.c"), ["moxy.conf.5"]),
        (("moxy", "check", "-c", ""), ["(compopt -o default)", ""]),
        (("moxymakedbm", "--out"), ["--output"]),
        (("moxylogalyze", "--listb"), ["--listby"]),
        (("moxystats", "--js"), ["--json"]),
    ],
    ids=" ".join,
)
def test_bash_completes(programs: Path, words: tuple[str, ...], expected: list[str]) -> None:
    assert completed(programs, *words) == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_about_every_program(shell: str) -> None:
    result = CliRunner().invoke(completion, [shell])
    assert result.exit_code == 0
    for program in PROGRAMS:
        assert f"_{program.upper()}_COMPLETE={shell}_complete" in result.stdout


def test_an_unknown_shell_is_a_mistake() -> None:
    result = CliRunner().invoke(completion, ["csh"])
    assert result.exit_code == 2
    assert "'csh' is not one of 'bash', 'zsh', 'fish'" in result.stderr
