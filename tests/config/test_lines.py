"""The lines of a TOML text's keys."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxy.config.lines import Lines
from moxy.config.parsed import KeyPath

TEXT = '''\
title = "a # no comment"   # a comment
dotted . "quoted.key".'literal' = 1

[limits] # [not.a.table]
"hops" = 5
"\\u0061" = 1979-05-27 07:32:00
after = true
text = """
[neither] = 3
""quotes\\"""" # ends here
raw = \'\'\'
one = 1
\'\'\'\'
next = ''

[ listener . "m.x" ]
listen = [ # first
    "0.0.0.0:25",
    # between
    "[::]:25", ["nested",
        "deeper"],
]
inline = { a = 1, b.c = [ 1, { d = "}" } ] }
empty = []
none = {}
[[array]]
key = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 0),
        (("title",), 1),
        (("dotted",), 2),
        (("dotted", "quoted.key", "literal"), 2),
        (("limits",), 4),
        (("limits", "hops"), 5),
        (("limits", "a"), 6),
        (("limits", "after"), 7),
        (("limits", "text"), 8),
        (("limits", "raw"), 11),
        (("limits", "next"), 14),
        (("listener",), 16),
        (("listener", "m.x", "listen"), 17),
        (("listener", "m.x", "listen", 0), 18),
        (("listener", "m.x", "listen", 1), 20),
        (("listener", "m.x", "listen", 2), 20),
        (("listener", "m.x", "listen", 2, 1), 21),
        (("listener", "m.x", "inline", "b", "c", 1, "d"), 23),
        (("listener", "m.x", "none"), 25),
        (("array",), 26),
        (("array", "key"), 27),
    ],
)
def test_every_key_has_its_line(path: KeyPath, line: int) -> None:
    tomllib.loads(TEXT)
    assert Lines(TEXT).find(path) == line


@pytest.mark.parametrize(
    ("path", "line"),
    [(("limits", "missing"), 4), (("limits", "hops", "under", 3), 5), (("missing", "too"), 0), (("neither",), 0)],
)
def test_what_is_missing_has_the_line_of_what_would_hold_it(path: KeyPath, line: int) -> None:
    assert Lines(TEXT).find(path) == line


def test_line_ends_of_other_systems_count_once() -> None:
    assert Lines("a = 1\r\n\r\nb = 2\r\n").find(("b",)) == 3


KEYS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc",)), max_size=5)
LEAVES = st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | KEYS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


def written(value: Any) -> str:
    """A value in TOML, whose strings, numbers and lists are those of JSON."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(key)} = {written(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(f"\n\n{written(entry)}" for entry in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_a_key_is_found_where_it_was_written(data: dict[str, Any]) -> None:
    statements = [f"{written(key)} = {written(value)}  # {key}" for key, value in data.items()]
    text = "\n".join(statements)
    assert tomllib.loads(text) == data
    line = 1
    for key, statement in zip(data, statements, strict=True):
        assert Lines(text).find((key,)) == line
        line += statement.count("\n") + 1


@given(st.lists(st.sampled_from([*'ab.=[]{}",#\n\\ 1-', '"""', "'''", "[a]\n", "b = ", "'x'"])).map("".join))
def test_whatever_the_library_accepts_can_be_located(text: str) -> None:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = Lines(text)
    assert all(1 <= lines.find((key,)) <= text.count("\n") + 1 for key in data)
