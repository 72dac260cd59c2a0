"""A short run of every fuzz target, as its own program; for a long one see fuzzing.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"
TARGETS = sorted(file for file in HERE.glob("*.py") if file.stem not in {"fuzzing", "naive", "test_fuzz"})

BROKEN = """
from fuzzing import main

def case(random):
    assert random.random() < 0.9

if __name__ == "__main__":
    main(case)
"""


def run(target: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SOURCE), str(HERE)])}
    return subprocess.run(
        [sys.executable, str(target), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.stem)
def test_nothing_is_found_in_a_short_run(target):
    finished = run(target, "--seconds", "1")
    assert finished.returncode == 0, finished.stderr
    cases = re.fullmatch(r"(\d+) cases\n", finished.stdout)
    assert cases
    assert int(cases[1]) > 0  # on a busy machine it is no more than a few


def test_a_case_that_fails_can_be_seen_again(tmp_path):
    target = tmp_path / "broken.py"
    target.write_text(BROKEN)
    finished = run(target, "--seconds", "5")
    assert finished.returncode == 1
    case = re.search(r"--case (\d+)", finished.stderr)
    assert case
    assert run(target, "--case", case[1]).returncode == 1
