"""A client of the local syslog daemon: one line, one message, on the daemon's Unix socket.

Why our own: libc's `syslog` and the standard library's handler wait for a daemon that has stopped reading, and with
them the mail would wait.

Rules:
- Nothing here blocks (but `wait`, whose only use it is), and nothing raises. What the daemon does not take now is the
  caller's to keep or to drop; why it was not taken is in `error`.
- A message is one line: controls become blanks, whoever has forgotten to escape them.
- The form is that of RFC 3164 §4.1, as local daemons read it: without a host name, and the process id behind the tag
  (§5.3). Facilities and severities have the numbers of RFC 5424 §6.2.1.

Bugs: taken means taken by the kernel. What a daemon that ends has not read by then is lost, and nobody is told. Daemons
that keep less than MESSAGE_OCTETS cut the rest off: RFC 3164 §4.1 promises 1,024, busybox 256.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Final


class Facility(IntEnum):
    """What part of a system speaks; daemons sort by it (RFC 5424 §6.2.1)."""

    USER = 1
    MAIL = 2
    DAEMON = 3
    LOCAL0 = 16
    LOCAL1 = 17
    LOCAL2 = 18
    LOCAL3 = 19
    LOCAL4 = 20
    LOCAL5 = 21
    LOCAL6 = 22
    LOCAL7 = 23


class Severity(IntEnum):
    """How much a message weighs (RFC 5424 §6.2.1); those that we have a use for."""

    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    INFORMATIONAL = 6
    DEBUG = 7


TAG: Final = "moxy"
"""Who speaks, in front of every message."""

DEVICE: Final = Path("/dev/log")
"""Where the local daemon listens, on every Linux."""

MESSAGE_OCTETS: Final = 8096
"""The longest message, header included. rsyslog keeps no more unless told to."""

LEAST_OCTETS: Final = 480
"""A message is not shortened below this; RFC 5424 §6.1 has every receiver take as much."""

RECONNECT_SECONDS: Final = 0.9
"""The least between two attempts to reach the daemon. Just under the second after which callers come again."""

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
"""Names that do not change with the locale."""

_CONTROLS: Final = {*range(32), 127} - {ord("\t")}
_BLANKED: Final = bytes(ord(" ") if octet in _CONTROLS else octet for octet in range(256))

_CUT: Final = b"..."


class SyslogSocket:
    """A connection to the daemon at `path`, made when it is first needed and made anew when it breaks.

    Messages are told as from the process that made this object, so make it after a fork, not before. `error`
    is why the last message was not taken, None if it was: BlockingIOError where the daemon is there and busy. `clock`
    gives seconds, only ever forward. Threads may share it.
    """

    def __init__(
        self,
        path: Path = DEVICE,
        facility: Facility = Facility.MAIL,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.error: OSError | None = None
        self._source = f"{TAG}[{os.getpid()}]"
        self._facility = facility
        self._clock = clock
        self._connection: socket.socket | None = None
        self._attempt_at = clock()

    def message(self, severity: Severity, text: str, when: float) -> bytes:
        """`text` as the daemon wants it; `when` is seconds since the epoch. Shortened to MESSAGE_OCTETS."""
        priority = self._facility * 8 + severity
        line = f"<{priority}>{_stamp(when)} {self._source}: {text}"
        # backslashreplace: octets that were no UTF-8 may have come to us as lone surrogates.
        return _shortened(line.encode("utf-8", "backslashreplace").translate(_BLANKED), MESSAGE_OCTETS)

    def send(self, message: bytes) -> bool:
        """Offer the daemon what `message` made; True when the kernel has taken it."""
        connection = self._connection
        if connection is not None and self._write(connection, message):
            return True
        if self._connection is None:  # never made; or lost just now, and a new daemon may be there already
            connection = self._connect()
            return connection is not None and self._write(connection, message)
        return False

    def wait(self, seconds: float) -> bool:
        """Wait until a busy daemon takes more, for at most so many seconds. False: it does not, or it is not there."""
        connection = self._connection
        if connection is None:
            return False
        poll = select.poll()
        poll.register(connection, select.POLLOUT)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        """Give the connection back. A later `send` makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self) -> socket.socket | None:
        """A new connection, if there is a daemon and it is time to ask. Its socket is of either kind."""
        now = self._clock()
        if now < self._attempt_at:
            return None
        self._attempt_at = now + RECONNECT_SECONDS
        try:
            self._connection = _connected(self.path)
        except OSError as error:
            self.error = error
        return self._connection

    def _write(self, connection: socket.socket, message: bytes) -> bool:
        stream = connection.type == socket.SOCK_STREAM
        # On a stream a NUL ends a message, as libc's own client does it.
        data = message + b"\0" if stream else message
        try:
            whole = connection.send(data) == len(data)
        except OSError as error:
            if error.errno == errno.EMSGSIZE and len(message) > LEAST_OCTETS:
                return self._write(connection, _shortened(message, max(len(message) // 2, LEAST_OCTETS)))
            self.error = error
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS):
                self.close()
            return False
        if not whole:  # only with a tiny buffer; the message must go out whole, so on another connection
            self.error = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            self.close()
            return False
        self.error = None
        return True


def _connected(path: Path) -> socket.socket:
    try:
        return _connected_by(socket.SOCK_DGRAM, path)
    except OSError as error:
        if error.errno != errno.EPROTOTYPE:
            raise
        return _connected_by(socket.SOCK_STREAM, path)


def _connected_by(kind: socket.SocketKind, path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, kind)
    try:
        connection.setblocking(False)
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def _stamp(seconds: float) -> str:
    """The local time, as RFC 3164 §4.1.2 writes it."""
    now = time.localtime(seconds)
    return f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:2} {now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02}"


def _shortened(message: bytes, octets: int) -> bytes:
    """`message` in at most so many octets, no character cut in two; the end tells that something is missing."""
    if len(message) <= octets:
        return message
    return message[: octets - len(_CUT)].decode("utf-8", "ignore").encode() + _CUT
