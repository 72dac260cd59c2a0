"""pydantic's errors in Moxy's words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from moxy.config.complaints import complaints
from moxy.config.parsed import KeyPath
from moxy.config.schema import Config
from moxy.config.types import Surroundings


def complaints_about(data: dict[str, Any]) -> list[tuple[KeyPath, str]]:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate(data, context=Surroundings(Path("/"), frozenset()))
    return list(complaints(caught.value.errors()))


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        ({"bannr": ""}, ("bannr",), "unknown key `bannr`; did you mean `banner`?"),
        ({"log": {"a": {"kind": "nolog", "x": 1}}}, ("log", "a", "x"), "unknown key `x`; expected `kind`"),
        ({"log": {"a": {"kind": "filelog"}}}, ("log", "a", "path"), "is missing, and has no default"),
        ({"log": {"a": {}}}, ("log", "a", "kind"), "is missing, and has no default"),
        ({"log": {"a": 3}}, ("log", "a"), "expected a section, not `3`"),
        ({"log": []}, ("log",), "expected a section, not a list"),
        ({"limits": "x"}, ("limits",), "expected a section, not `x`"),
        ({"hide_destinations": 1}, ("hide_destinations",), "expected true or false, not `1`"),
        ({"limits": {"hops": True}}, ("limits", "hops"), "expected a whole number, not true"),
        ({"limits": {"hops": 2**31}}, ("limits", "hops"), "expected at most 2147483647, not `2147483648`"),
        ({"limits": {"hops": 0}}, ("limits", "hops"), "expected at least 1, not `0`"),
        ({"relay": {"allow_from": "::1"}}, ("relay", "allow_from"), "expected a list in brackets, not `::1`"),
        ({"destination": {"a.b": {"hosts": ["a"]}}}, ("destination", "a.b"), "expected a name of letters"),
        ({"listener": {"a": {"listen": ["*:25", 3]}}}, ("listener", "a", "listen", 1), "expected an address"),
        ({"operator_log": {"level": []}}, ("operator_log", "level"), "expected `debug`, `info`, `warning` or `error`"),
        ({"operator_log": {"style": "jsn"}}, ("operator_log", "style"), "not `jsn`; did you mean `json`?"),
        ({"log": {"a": {"kind": "gdbm"}}}, ("log", "a", "kind"), "not `gdbm`; did you mean `gdbmlog`?"),
        ({"routes": {"a": {"kind": "nodbb"}}}, ("routes", "a", "kind"), "not `nodbb`; did you mean `nodb`?"),
        ({"routes": {"a": {"kind": 3}}}, ("routes", "a", "kind"), "not `3`"),
        ({"relay": {"allow_from": ["::1"]}}, ("relay", "send_to"), "is missing: the hosts"),
    ],
)
def test_an_error_is_told_by_path_and_in_words(data: dict[str, Any], path: KeyPath, message: str) -> None:
    ((found, text),) = complaints_about(data)
    assert found == path
    assert message in text


def test_braces_of_the_user_are_text() -> None:
    ((_, text),) = complaints_about({"hostname": "{error} {0}"})
    assert "`{error} {0}`" in text
    ((_, text),) = complaints_about({"listener": {"a{b}": {"listen": ["*:25"]}}})
    assert "`a{b}`" in text


def test_an_error_without_words_of_ours_keeps_pydantic_s() -> None:
    error = ErrorDetails(type="url_parsing", loc=("banner",), msg="Input should be a valid URL", input="x")
    assert list(complaints([error])) == [(("banner",), "input should be a valid URL")]


def test_all_errors_are_told() -> None:
    assert len(complaints_about({"x": 1, "y": 2, "limits": {"hops": 0, "z": 3}, "routes": {"a": {"kind": "x"}}})) == 5
