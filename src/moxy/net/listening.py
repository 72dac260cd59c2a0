"""Listening sockets: bound before privileges are dropped, handed to the event loop after."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from typing import Final

from moxy.errors import MoxyError
from moxy.mail.route import host_port

BACKLOG: Final = 4096
"""Connections the kernel may hold for us; it caps this at net.core.somaxconn."""


def bind(endpoints: Iterable[tuple[str, int]]) -> list[socket.socket]:
    """Bind and listen on every `(address, port)`; close all and raise MoxyError if one fails.

    `*` is every address of both families; a machine without IPv6 does without. Port 0 takes a free port.
    """
    sockets: list[socket.socket] = []
    try:
        for address, port in endpoints:
            for literal in ("0.0.0.0", "::") if address == "*" else (address,):  # noqa: S104 - as asked for
                sockets += _listen(literal, port, optional=literal == "::")
    except MoxyError:
        for opened in sockets:
            opened.close()
        raise
    return sockets


def _listen(address: str, port: int, *, optional: bool) -> list[socket.socket]:
    """One listening socket; none for an `optional` address family that the machine does not have."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        if optional and error.errno == errno.EAFNOSUPPORT:
            return []
        raise MoxyError(f"cannot listen on {host_port(address, port)}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except (OSError, OverflowError) as error:
        listener.close()
        if optional and isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
            return []
        raise MoxyError(f"cannot listen on {host_port(address, port)}: {_reason(error)}") from error
    return [listener]


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    if isinstance(error, PermissionError):
        return f"{text} (ports below 1024 need root; they are opened at the start, by root with `runas`)"
    return str(text)
