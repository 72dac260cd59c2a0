"""What both formats hand to validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from moxy.config import classic, toml
from moxy.config.parsed import KeyPath, Parsed

TOML = toml.parse('hostname = "mx.example"\n\n[relay]\nallow_from = ["::1"]\nsend_to = ["a.example"]\n', "moxy.toml")
CLASSIC = classic.parse("hostname mx.example\ndbname moxy.db\nport 25\nlogtype nolog\ndbtype file\n", "moxy.conf")


def leaves(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if entries is None:
        yield path
    for key, entry in entries or ():
        yield from leaves(entry, (*path, key))


@pytest.mark.parametrize(("parsed", "length"), [(TOML, 5), (CLASSIC, 5)])
def test_every_value_has_a_place_in_the_file(parsed: Parsed, length: int) -> None:
    assert parsed.problems == []
    places = [parsed.place(path) for path in leaves(parsed.data)]
    assert places
    assert all(key and 1 <= line <= length for key, line in places)
