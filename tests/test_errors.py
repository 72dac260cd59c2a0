"""The exceptions that cross packages."""

from __future__ import annotations

import pytest

from moxy.errors import ConfigError, MoxyError, Problem, TemporaryFailure


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("moxy.conf", 3, "port", "expected a number"), "moxy.conf:3: port: expected a number"),
        (Problem("moxy.conf", 0, "port", "expected a number"), "moxy.conf: port: expected a number"),
        (Problem("moxy.conf", 3, "", "not UTF-8"), "moxy.conf:3: not UTF-8"),
        (Problem("moxy.conf", 0, "", "no such file"), "moxy.conf: no such file"),
    ],
)
def test_a_problem_names_what_can_be_named(problem: Problem, text: str) -> None:
    assert str(problem) == text


def test_a_configuration_error_tells_every_problem() -> None:
    problems = [Problem("moxy.conf", line, "port", "wrong") for line in (1, 2)]
    error = ConfigError(problems)
    assert error.problems == problems
    assert str(error) == "moxy.conf:1: port: wrong\nmoxy.conf:2: port: wrong"


@pytest.mark.parametrize("error", [ConfigError([]), TemporaryFailure("away")])
def test_whoever_catches_our_errors_catches_all_of_them(error: Exception) -> None:
    assert isinstance(error, MoxyError)
