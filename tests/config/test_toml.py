"""Our own format: what the text says, and where."""

from __future__ import annotations

import pytest

from moxy.config import toml
from moxy.errors import ConfigError, Problem


def test_keys_have_their_dotted_path_and_line() -> None:
    parsed = toml.parse('[limits]\nhops = 5\n\n[destination."a b"]\nhosts = [\n  "x",\n]\n', "moxy.toml")
    assert parsed.data == {"limits": {"hops": 5}, "destination": {"a b": {"hosts": ["x"]}}}
    assert parsed.place(("limits", "hops")) == ("limits.hops", 2)
    assert parsed.place(("destination", "a b", "hosts", 0)) == ('destination."a b".hosts', 6)
    assert parsed.place(("relay", "send_to")) == ("relay.send_to", 0)
    assert parsed.problems == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a = 1\nb\n", 2),
        ("a = [1,\n2\n\n", 2),
        ('a = """\n\n', 1),
        ("[a]\n[a]\n", 2),
        ("= 1", 1),
        ("a = 1\n\n\nb = ", 4),
    ],
)
def test_a_text_that_is_no_toml_is_told_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        toml.parse(text, "moxy.toml")
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.key) == ("moxy.toml", line, "")
    assert problem.message.startswith("not TOML: ")
    assert "(at" not in problem.message


def test_nesting_without_end_is_a_problem_and_no_crash() -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        toml.parse("a = " + "[" * 100_000, "moxy.toml")


def test_a_number_that_python_will_not_read_is_a_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        toml.parse("a = " + "9" * 5000, "moxy.toml")
    assert caught.value.problems[0] == Problem("moxy.toml", 0, "", caught.value.problems[0].message)
