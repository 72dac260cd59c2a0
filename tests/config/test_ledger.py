"""The section `[ledger]`, in both formats."""

from __future__ import annotations

from pathlib import Path

import pytest

from moxy.config.load import loads
from moxy.config.schema import Config
from moxy.errors import ConfigError


def toml(text: str) -> Config:
    return loads(text, "/etc/moxy/moxy.toml", "toml")


def classic(text: str) -> Config:
    return loads(f"dbname moxy.db\n{text}", "/etc/moxy/moxy.conf", "classic")


def test_there_is_a_ledger_for_three_days_unless_told_otherwise() -> None:
    ledger = toml("").ledger
    assert (ledger.path, ledger.hours, ledger.entries) == (None, 72, 100_000)
    assert classic("").ledger == ledger


def test_a_relative_path_starts_at_the_configuration() -> None:
    assert toml('[ledger]\npath = "ledger.db"\n').ledger.path == Path("/etc/moxy/ledger.db")
    assert classic("ledger ledger.db\n").ledger.path == Path("/etc/moxy/ledger.db")


def test_no_hours_are_no_ledger() -> None:
    assert toml("[ledger]\nhours = 0\n").ledger.hours == 0
    assert classic("ledger_hours 0\n").ledger.hours == 0


@pytest.mark.parametrize("wrong", ["hours = -1", "hours = 87601", "hours = 1.5", "entries = 0", "entries = 1000001"])
def test_bounds_are_kept(wrong: str) -> None:
    with pytest.raises(ConfigError):
        toml(f"[ledger]\n{wrong}\n")


@pytest.mark.parametrize(
    "other",
    ['pid_file = "a"', '[routes.x]\nkind = "file"\npath = "a"', '[log.x]\nkind = "gdbmlog"\npath = "a"'],
    ids=["pid file", "table", "log"],
)
def test_the_file_is_the_ledgers_alone(other: str) -> None:
    with pytest.raises(ConfigError, match="already belongs to"):
        toml(f'{other}\n[ledger]\npath = "a"\n')
