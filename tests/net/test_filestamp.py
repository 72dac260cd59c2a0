"""Stamps of files."""

from __future__ import annotations

import os
import time
from pathlib import Path

from moxy.net.filestamp import RESTED_SECONDS, Stamp


def test_another_file_in_its_place_has_another_stamp(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_text("1")
    os.utime(path, (5, 5))
    before = Stamp.at(path)
    other.write_text("2")
    os.utime(other, (5, 5))
    assert Stamp.at(path) == before
    other.replace(path)
    assert Stamp.at(path) != before


def test_where_there_is_no_file_there_is_no_stamp(tmp_path: Path) -> None:
    assert Stamp.at(tmp_path / "nothing") is None


def test_a_file_rests_after_a_while_and_one_from_the_future_does_at_once() -> None:
    def modified(ago: float) -> Stamp:
        return Stamp(int((time.time() - ago) * 1e9), 1, 1)

    assert not modified(0).rested
    assert modified(RESTED_SECONDS * 2).rested
    assert modified(-100).rested
