"""Parsed: what either format hands to validation. Keys and values as they stand, and the place of each in the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from moxy.errors import Problem

KeyPath = tuple[str | int, ...]
"""From the top of the configuration to one value: `("listener", "mx", "listen", 0)`."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """`data` is shaped as the schema wants it. `place` tells, for any path, the key in the file's own words and its
    line.

    A path that is not in the file has the line of what would hold it, or 0. `problems` are those of the format alone.
    """

    data: dict[str, Any]
    place: Callable[[KeyPath], tuple[str, int]]
    problems: list[Problem] = field(default_factory=list)
