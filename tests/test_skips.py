"""The rule of conftest.py: with CI=true a run that skips a test fails and names it; elsewhere it passes."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent

SKIPPING = """
import pytest

def test_that_passes():
    pass

def test_that_is_skipped():
    pytest.skip("a program is missing")
"""


def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, source: str) -> pytest.RunResult:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    pytester.makeconftest((TESTS / "conftest.py").read_text())
    pytester.makepyfile(test_sample=source)
    return pytester.runpytest_subprocess()


def test_a_skipped_test_fails_the_run_in_ci(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(pytester, monkeypatch, "true", SKIPPING)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["CI=true, and yet 1 skipped*test_sample.py::test_that_is_skipped*", "*1 passed, 1 skipped*"]
    )


def test_a_module_skipped_whole_fails_the_run_in_ci(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(pytester, monkeypatch, "true", "import pytest\npytest.importorskip('no_such_module')")
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["CI=true, and yet 1 skipped*test_sample.py"])


@pytest.mark.parametrize(
    ("ci", "source"), [("", SKIPPING), ("true", "def test_that_passes(): pass")], ids=["outside CI", "nothing skipped"]
)
def test_any_other_run_passes(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, ci: str, source: str) -> None:
    assert run(pytester, monkeypatch, ci, source).ret == pytest.ExitCode.OK
