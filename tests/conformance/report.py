"""docs/conformance.md, from the traps as docs/contract.md tells them, and from what has come of their plays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from conformance.trap import TRAPS

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "conformance.md"

_ROW = re.compile(r"\| (T\d+(?:[-,] ?T?\d+)*) \| (.+?) \| (.+?) \|(.*?)\|")

_HEAD: Final = """\
# Conformance: the traps, and what Moxy does

This page is made by `./run conformance`. Each trap of [contract.md](contract.md) is played: a real Moxy, real sockets,
and the peers that the table names. Then the same again with a Moxy that was broken on purpose, so that it falls into
the trap: the play must notice. The tests do the same each time.

"""

_TABLE: Final = """\
| | trap | what Moxy does | played with | the play | broken on purpose | |
|---|---|---|---|---|---|---|
"""


def rows() -> dict[int, tuple[str, str]]:
    """The traps of docs/contract.md by number: what the trap is, and what Moxy does."""
    found: dict[int, tuple[str, str]] = {}
    for line in (DOCS / "contract.md").read_text().splitlines():
        if match := _ROW.match(line):
            for number in _numbers(match[1]):
                found[number] = match[2], match[3]
    return found


def _numbers(text: str) -> list[int]:
    """`T12`, `T26, T27` and `T12-T14` as numbers."""
    numbers: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, _, last = part.replace("T", "").partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def line(number: int, holds: bool, found: bool) -> str:
    """One trap's line in the table."""
    trap, told = TRAPS[number], rows()[number]
    result = ("holds" if holds else "**does not hold**") + (", found" if found else ", **not found**")
    cells = (f"T{number}", *told, trap.against, trap.shows, trap.mistake.name, result)
    return f"| {' | '.join(cells)} |\n"


def page(results: Mapping[int, tuple[bool, bool]]) -> str:
    """The whole page, from what came of each trap: does it hold, and is the mistake found?"""
    held = sum(holds for holds, _ in results.values())
    found = sum(noticed for _, noticed in results.values())
    summary = f"{len(results)} traps: {held} hold, {found} mistakes found.\n\n"
    return _HEAD + summary + _TABLE + "".join(line(number, *results[number]) for number in sorted(results))
