"""Listening sockets: bound before privileges are dropped, handed to the event loop after.

A Unix socket is a file as well. One that a dead program left behind is replaced; nothing else is, whatever stands
there.

Bugs: two programs that replace the same dead socket in the same moment do not notice each other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from moxy.errors import MoxyError
from moxy.mail.client import ClientPattern
from moxy.mail.route import host_port

if TYPE_CHECKING:
    from moxy.net.tlsserver import ServerTls  # where nobody has a certificate, what reads them is not loaded

BACKLOG: Final = 4096
"""Connections the kernel may hold for us; it caps this at net.core.somaxconn."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket, and what is spoken with those who connect: LMTP, or else SMTP.

    From clients in `proxy_from` a PROXY header must come first, and those in `xclient_from` may say XCLIENT.
    `tls`, if there is any, is offered, or comes first of all.
    """

    socket: socket.socket
    lmtp: bool = False
    proxy_from: tuple[ClientPattern, ...] = ()
    xclient_from: tuple[ClientPattern, ...] = ()
    tls: ServerTls | None = None


@dataclass(frozen=True, slots=True)
class SocketFile:
    """The file of a Unix socket of ours: its path, and what tells it from another in its place.

    That is more than its number: file systems give the number of a file that is gone to the next one.
    """

    path: str
    identity: tuple[int, int, int]

    @classmethod
    def at(cls, path: str) -> SocketFile:
        """The one that is there now. Raises OSError."""
        return cls(path, _identity(path))

    def remove(self) -> None:
        """Remove it, if it is still there, it is still ours, and we may."""
        with contextlib.suppress(OSError):
            if _identity(self.path) == self.identity:
                Path(self.path).unlink()


def _identity(path: str) -> tuple[int, int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns


def place(listener: socket.socket) -> str:
    """Where a socket listens, as people write it."""
    return host_port(*address_of(listener))


def address_of(listener: socket.socket) -> tuple[str, int]:
    """Where a socket listens: address and port, or the path of a Unix socket and 0."""
    name = listener.getsockname()
    return (name, 0) if isinstance(name, str) else name[:2]


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


def bind_unix(path: str, mode: int = 0o660, owner: tuple[int, int] | None = None) -> tuple[socket.socket, SocketFile]:
    """Listen on a Unix socket at `path`. Its file gets this mode and this owner (user and group). Raises MoxyError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    file: SocketFile | None = None
    try:
        _clear(path)
        _bind_with_mode(listener, path, mode)
        file = SocketFile.at(path)
        if owner is not None:
            os.lchown(path, *owner)
        listener.listen(BACKLOG)  # only now can anybody connect
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if file is not None:
            file.remove()
        raise MoxyError(f"cannot listen on unix:{path}: {error.strerror or error}") from error
    return listener, file


def _bind_with_mode(listener: socket.socket, path: str, mode: int) -> None:
    """By the mask, not by a chmod after: in a directory of others the name could mean another file by then."""
    before = os.umask(0o777 & ~mode)
    try:
        listener.bind(path)
    finally:
        os.umask(before)


def _clear(path: str) -> None:
    """Remove a socket at `path` that nobody listens on any more. Raises OSError if anything else stands there."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "there is something else than a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full queue is somebody's, too
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()
        except FileNotFoundError:
            return  # gone meanwhile
        except BlockingIOError:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)) from None
        else:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    if isinstance(error, PermissionError):
        return f"{text} (ports below 1024 need root; they are opened at the start, by root with `runas`)"
    return str(text)
