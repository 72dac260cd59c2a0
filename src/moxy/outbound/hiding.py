"""Location stays hidden: a destination's own names and addresses inside the replies we pass on (contract P5)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


def pattern(names: Iterable[str], spare: str) -> re.Pattern[str] | None:
    """What to look for in a destination's words: its `names` and addresses as whole words, in any case.

    `spare` is our own host name, which may stay. None when nothing is to be hidden.
    """
    hidden = {name.strip("[]").lower() for name in names} - {"", spare.lower()}
    return _compiled(frozenset(hidden)) if hidden else None


@lru_cache(maxsize=1024)
def _compiled(names: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    words = "|".join(re.escape(name) for name in longest_first)
    return re.compile(rf"(?<![\w.-])(?:{words})(?![\w-]|\.\w)", re.IGNORECASE)
