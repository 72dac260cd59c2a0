"""The machine's own name."""

from __future__ import annotations

import socket


def own_hostname() -> str:
    """The machine's own full name, as far as its resolver knows it."""
    return socket.getfqdn()
