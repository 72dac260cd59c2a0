"""docs/original.md: it answers all that the original's pages name, with tests and links that exist."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from moxy.cli import moxy
from moxy.config.classic import DIRECTIVES
from moxy.config.sections import parts

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "original.md"
TEXT = PAGE.read_text()

DIRECTIVES_NAMED = (
    *("port", "banner", "runas", "allowRelayFrom", "sendRelayTo", "dbtype", "dbname", "nodb_dest"),
    *("logtype", "logfile_name", "log_format", "log_dateformat"),
)
DATABASES = ("nodb", "file", "dbm")
LOGS = ("nolog", "filelog", "syslog", "gdbmlog", "sys_and_gdbmlog")
WORDS = ("%shost", "%sender", "%dhost", "%rcpts", "%msize", "%date")
OPTIONS = {
    "moxy": ("-c", "--config", "-d", "--daemon", "-p", "--port", "-v", "--version", "-h", "--help"),
    "moxymakedbm": ("-o", "--output", "-v", "--version", "-h", "--help"),
    "moxystats": (),
    "moxylogalyze": (
        *("-l", "--listby", "--from", "-i", "--ip", "-d", "--dest"),
        *("-v", "--verbose", "-V", "--version", "-h", "--help"),
    ),
}
"""All that the pages name; of moxystats they tell no option."""

NAMED_TEST = re.compile(r"\[`(?P<file>[\w/]+\.py)::(?P<name>\w+)`\]\((?P<target>[^)]*)\)")
LINK = re.compile(r"\]\((?P<file>[^)#]*)#?(?P<heading>[^)]*)\)")
CODE = re.compile(r"`([^`]+)`")


class Row(NamedTuple):
    """A promise, and what is said of it."""

    promise: str
    here: str
    better: str
    shown: str


def rows(text: str) -> list[Row]:
    """The rows of all tables, without their heads. Raises TypeError for one with a cell too many or too few."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [Row(*each) for each in cells if each[0] != "what the page promises" and each[0].strip("-")]


def without_a_test(text: str) -> list[str]:
    """The promises that no test is named for."""
    return [row.promise for row in rows(text) if not NAMED_TEST.search(row.shown)]


def not_there(text: str) -> Iterator[str]:
    """Tests that the text names and that are not where it says."""
    for named in NAMED_TEST.finditer(text):
        file, name, target = named.groups()
        if target != f"../tests/{file}" or name not in defined_in(ROOT / "tests" / file):
            yield f"{file}::{name}"


@cache
def defined_in(file: Path) -> frozenset[str]:
    """The tests of a file; of one that does not exist, none."""
    statements = ast.parse(file.read_text()).body if file.is_file() else []
    functions = [each.name for each in statements if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    return frozenset(name for name in functions if name.startswith("test_"))


def headings(file: Path) -> set[str]:
    """The anchors of a Markdown file, as web pages of repositories have them."""
    lines = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in lines}


def code_in(text: str) -> set[str]:
    """The words that stand in backquotes."""
    return {word for code in CODE.findall(text) for word in code.split()}


def test_every_promise_has_a_test() -> None:
    assert len(rows(TEXT)) > 50
    assert without_a_test(TEXT) == []


def test_every_test_that_the_page_names_exists() -> None:
    assert list(not_there(TEXT)) == []
    assert TEXT.count(".py::test_") == len(NAMED_TEST.findall(TEXT)) + 1  # one more stands in the introduction


def test_every_link_of_the_page_leads_somewhere() -> None:
    for file, heading in LINK.findall(TEXT):
        target = (PAGE.parent / file) if file else PAGE
        assert target.exists(), file
        assert not heading or heading in headings(target), f"{file}#{heading}"


@pytest.mark.parametrize("name", [*DIRECTIVES_NAMED, *DATABASES, *LOGS, *WORDS, *OPTIONS])
def test_all_that_the_pages_name_is_answered(name: str) -> None:
    promises = [row.promise for row in rows(TEXT)]
    assert any(name in code_in(promise) or promise.startswith(f"**{name}") for promise in promises)


@pytest.mark.parametrize("tool", OPTIONS)
def test_every_option_of_a_tool_is_answered_and_the_tool_has_it(tool: str) -> None:
    answered = [code_in(row.promise) for row in rows(TEXT) if tool in code_in(row.promise)]
    assert set(OPTIONS[tool]) <= set().union(*answered)
    context = click.Context(moxy)
    command = moxy if tool == "moxy" else moxy.get_command(context, tool.removeprefix("moxy"))
    assert command
    there = [
        option
        for each in command.get_params(click.Context(command, **command.context_settings))
        for option in each.opts
    ]
    assert set(OPTIONS[tool]) <= set(there)


def test_what_the_pages_name_exists() -> None:
    assert set(DIRECTIVES_NAMED) <= {directive.name for directive in DIRECTIVES}
    assert set(DATABASES) == {part.kind for part in parts() if part.key == "routes"}
    assert set(LOGS) == {part.kind for part in parts() if part.key == "log"}
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts.keys() == OPTIONS.keys()


def test_a_row_without_a_test_and_a_test_that_is_not_there_are_found() -> None:
    head = "| what the page promises | what | better | shown by |\n|---|---|---|---|\n"
    here = f"test_original.py::{test_what_the_pages_name_exists.__name__}"
    assert without_a_test(f"{head}| a | b | c | d |\n| e | | | [`{here}`](../tests/test_original.py) |\n") == ["a"]
    texts = (
        f"[`{here}`](../tests/test_original.py)",
        f"[`{here}`](../tests/test_pair.py)",
        "[`test_original.py::test_nothing`](../tests/test_original.py)",
        "[`no/test_such.py::test_file`](../tests/no/test_such.py)",
    )
    assert [len(list(not_there(text))) for text in texts] == [0, 1, 1, 1]
