"""The ways in which a destination hears who the client is, by name. What each does: `handover`."""

from __future__ import annotations

from typing import Final, Literal

Identity = Literal["none", "header", "xforward", "xclient", "proxy-v1", "proxy-v2", "helo"]

PERSONAL: Final[frozenset[str]] = frozenset({"xclient", "proxy-v1", "proxy-v2", "helo"})
"""Identities that a connection has from its beginning to its end: nobody else may be served by it (T25)."""
