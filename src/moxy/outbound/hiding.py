"""Location stays hidden: a destination's own names and addresses inside the replies we pass on (contract P5)."""

from __future__ import annotations

import re
from functools import lru_cache

from moxy.smtp.reply import Reply


class Veil:
    """Replaces `names`, as whole words and in any case, and a port behind them, by our own host name.

    A name that begins with a slash is the path of a Unix socket: it is replaced wherever it stands.
    """

    __slots__ = ("_by", "_in_text", "_on_wire")

    def __init__(self, names: frozenset[str], by: str) -> None:
        longest_first = sorted(names, key=lambda name: (-len(name), name))
        words = "|".join(re.escape(name) for name in longest_first if not name.startswith("/"))
        paths = "".join(f"|(?:unix:)?{re.escape(name)}" for name in longest_first if name.startswith("/"))
        pattern = rf"(?<![\w.-])(?:{words or '(?!)'})(?::\d{{1,5}})?(?![\w-]|\.\w){paths}"
        self._by = by
        self._in_text = re.compile(pattern, re.IGNORECASE)
        self._on_wire = re.compile(pattern.encode(), re.IGNORECASE)

    def over(self, reply: Reply) -> Reply:
        """The reply as a client may see it; mostly itself, which one search of its octets tells."""
        return reply.replaced(self._in_text, self._by) if self._on_wire.search(reply.wire) else reply


@lru_cache(maxsize=1024)
def veil(names: frozenset[str], hostname: str) -> Veil | None:
    """The veil over a destination's names; our own host name may stay. None when there is nothing to hide."""
    hidden = frozenset(name.strip("[]").lower() for name in names) - {"", hostname.lower()}
    return Veil(hidden, hostname) if hidden else None
