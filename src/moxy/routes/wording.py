"""How a complaint about a table or a configuration quotes what its author wrote, and what may have been meant.

Rules: short, and nothing that a terminal would obey, whatever the file holds.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def harmless(text: str) -> str:
    """`text` as a message may show it."""
    short = text if len(text) <= 60 else text[:57] + "..."
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in short)


def shown(text: str) -> str:
    """The same between back quotes."""
    return f"`{harmless(text)}`"


def nearest(word: str, legal: Iterable[str]) -> str:
    """`; did you mean ...?` with the legal word closest to `word`, or nothing where none is close."""
    spelling = {candidate.lower(): candidate for candidate in legal}
    matches = difflib.get_close_matches(word[:80].lower(), spelling, 1)
    return f"; did you mean `{spelling[matches[0]]}`?" if matches else ""
