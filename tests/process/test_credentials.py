"""Secrets, read where they stand; and never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moxy.config.values import SecretPlace
from moxy.errors import MoxyError
from moxy.process.credentials import OCTETS, is_for_all, read_secret


def in_file(directory: Path, octets: bytes) -> SecretPlace:
    (directory / "secret").write_bytes(octets)
    return SecretPlace("file", str(directory / "secret"))


@pytest.mark.parametrize(
    ("octets", "secret"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\nand a comment\n", "hunter2"),
        (b" blanks count \n", " blanks count "),
        ("\u00e9\u00e9".encode(), "\u00e9\u00e9"),
        (b"x" * OCTETS + b"\r\n", "x" * OCTETS),
    ],
)
def test_a_file_has_it_in_its_first_line(directory: Path, octets: bytes, secret: str) -> None:
    assert read_secret(in_file(directory, octets)) == secret


@pytest.mark.parametrize("octets", [b"", b"\n", b"\nhunter2", b"hunter2\0", b"hunter2\xff", b"hunter2" * OCTETS])
def test_what_is_no_secret_is_told_and_not_shown(directory: Path, octets: bytes) -> None:
    with pytest.raises(MoxyError) as raised:
        read_secret(in_file(directory, octets))
    assert "hunter2" not in str(raised.value)
    assert str(directory / "secret") in str(raised.value)


def test_what_cannot_be_read_is_told(directory: Path) -> None:
    with pytest.raises(MoxyError, match="cannot be read: No such file"):
        read_secret(SecretPlace("file", str(directory / "missing")))
    os.mkfifo(directory / "pipe")
    with pytest.raises(MoxyError, match="is no regular file"):
        read_secret(SecretPlace("file", str(directory / "pipe")))
    with pytest.raises(MoxyError, match="cannot be read: Is a directory"):
        read_secret(SecretPlace("file", str(directory)))


def test_a_variable_of_the_environment_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOXY_TEST_SECRET", "hunter2")
    assert read_secret(SecretPlace("env", "MOXY_TEST_SECRET")) == "hunter2"
    monkeypatch.delenv("MOXY_TEST_SECRET")
    with pytest.raises(MoxyError, match="there is no variable MOXY_TEST_SECRET in the environment"):
        read_secret(SecretPlace("env", "MOXY_TEST_SECRET"))


def test_a_file_that_everybody_can_read_is_noticed(directory: Path) -> None:
    place = in_file(directory, b"x")
    Path(place.where).chmod(0o640)
    assert not is_for_all(place)
    Path(place.where).chmod(0o644)
    assert is_for_all(place)
    assert not is_for_all(SecretPlace("file", str(directory / "missing")))
    assert not is_for_all(SecretPlace("env", "HOME"))
