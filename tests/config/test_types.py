"""The types of keys: what reaches the schema, and what depends on the rest of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from moxy.config.types import (
    Clients,
    Count,
    Duration,
    Endpoints,
    File,
    Flag,
    Form,
    HostMode,
    Hosts,
    HostsOrDestination,
    HostsOrNone,
    Line,
    Name,
    Size,
    Surroundings,
    check_weights,
)
from moxy.config.values import Endpoint
from moxy.mail import Host, Mode
from moxy.mail.client import ClientPattern

HERE = Surroundings(Path("/etc/moxy"), frozenset({"alpha", "localhost"}))


def read(kind: Any, value: object, surroundings: Surroundings | None = None) -> Any:
    return TypeAdapter(kind).validate_python(value, context=surroundings)


@pytest.mark.parametrize(
    ("kind", "value", "result"),
    [
        (Size, "1KiB", 1024),
        (Duration, "1m", 60.0),
        (Hosts, ["a:1", "b"], (Host("a", 1), Host("b", 25))),
        (Hosts, [Host("a", 1)], (Host("a", 1),)),
        (HostsOrDestination, [Host("a", 1)], (Host("a", 1),)),
        (HostsOrNone, [], ()),
        (Endpoints, ["*:25", Endpoint("::", 26)], (Endpoint("*", 25), Endpoint("::", 26))),
        (Clients, ["10.*"], (ClientPattern.parse("10.*"),)),
        (HostMode, "balance", Mode.BALANCE),
        (HostMode, Mode.ALL, Mode.ALL),
        (File, Path("x"), Path("x")),
        (Line, "a b", "a b"),
        (Name, "alpha", "alpha"),
        (Flag, True, True),
    ],
)
def test_values_become_what_the_program_works_with(kind: Any, value: object, result: object) -> None:
    assert read(kind, value) == result


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Size, 2**53 + 1),
        (Count, 0),
        (Count, 2**31),
        (Hosts, []),
        (HostsOrDestination, []),
        (Endpoints, []),
        (Hosts, "a:1"),
        (Hosts, {"a": 1}),
        (HostMode, "both"),
        (HostMode, 1),
        (File, ""),
        (File, "a\0b"),
        (Line, "a\nb"),
        (Name, "a.b"),
    ],
)
def test_values_out_of_bounds_are_refused(kind: Any, value: object) -> None:
    with pytest.raises(ValidationError):
        read(kind, value)


@pytest.mark.parametrize(
    ("kind", "value", "index"),
    [
        (Hosts, ["a:25", "b", "A"], 2),
        (Hosts, ["a:25*2", "a:25"], 1),
        (Endpoints, ["[::]:25", "[0::0]:25"], 1),
        (Clients, ["10.*", "::1", "10.*"], 2),
    ],
)
def test_an_entry_that_comes_twice_is_the_second_one_s_fault(kind: Any, value: object, index: int) -> None:
    with pytest.raises(ValidationError, match="is named twice") as caught:
        read(kind, value)
    assert caught.value.errors()[0]["ctx"]["path"] == (index,)


@pytest.mark.parametrize("mode", [Mode.ALL, Mode.FAILOVER])
def test_a_weight_that_nothing_looks_at_is_refused(mode: Mode) -> None:
    hosts = ("alpha", Host("a"), Host("b", 25, 2))
    with pytest.raises(PydanticCustomError, match=f"the mode is `{mode}`") as caught:
        check_weights(hosts, mode)
    assert caught.value.context is not None
    assert caught.value.context["path"] == ("hosts", 2)
    check_weights(hosts, Mode.BALANCE)
    check_weights(hosts[:2], mode)


@pytest.mark.parametrize(
    ("kind", "value", "text"), [(Flag, False, "false"), (Size, 1024, '"1KiB"'), (Line, "ü", '"ü"')]
)
def test_a_form_writes_a_value_as_toml(kind: Any, value: object, text: str) -> None:
    assert next(mark for mark in kind.__metadata__ if isinstance(mark, Form)).write(value) == text


def test_a_relative_path_starts_at_the_directory_of_the_file() -> None:
    assert read(File, "moxy.db", HERE) == Path("/etc/moxy/moxy.db")
    assert read(File, "/var/moxy.db", HERE) == Path("/var/moxy.db")


@pytest.mark.parametrize(
    ("word", "result"),
    [
        ("alpha", "alpha"),
        ("localhost", "localhost"),
        ("beta:25", Host("beta", 25)),
        ("beta.example", Host("beta.example", 25)),
        ("[::1]", Host("::1", 25)),
    ],
)
def test_where_there_are_destinations_their_names_come_first(word: str, result: object) -> None:
    assert read(HostsOrDestination, [word], HERE) == (result,)


def test_where_there_are_destinations_a_word_must_be_one_of_them() -> None:
    with pytest.raises(ValidationError, match="no destination is called `alpah`; did you mean `alpha`"):
        read(HostsOrDestination, ["alpah"], HERE)


def test_where_there_are_none_a_word_is_a_host() -> None:
    assert read(HostsOrDestination, ["alpah"], Surroundings(Path("/"), frozenset())) == (Host("alpah", 25),)
    assert read(HostsOrDestination, ["alpah"]) == (Host("alpah", 25),)
