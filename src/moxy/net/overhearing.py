"""Listening in on connections, for the operator's log at level `debug`: what either side says, line by line.

Why as something around a connection and not inside it: where nobody listens, nobody pays.

Rules:
- Content is nobody's business: of what a client sends between a 354 and the next reply, and of the octets that follow a
  BDAT, only the size is told.
- Nor is a secret: of AUTH and what follows it until the verdict, only the mechanism is told.
- One event for each line, of at most LINE_OCTETS; the log makes strangers' text harmless.

Bugs: commands that a client sends behind its content, before it has heard the verdict, count as content.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final, Literal, cast

from structlog import get_logger

from moxy.mail.route import host_port

LINE_OCTETS: Final = 512
"""As much of a line as is told: no command that RFC 5321 §4.5.3.1.4 knows is longer."""

Overhear = Callable[[asyncio.Protocol], asyncio.Protocol]
"""What is put around each new connection: `unheard`, or one of `overheard`."""

Side = Literal["C", "S"]
"""Who speaks: the client or the server of the connection."""

MASKED: Final = b"***"
"""What is told in place of a secret."""

_BDAT: Final = re.compile(rb"BDAT +([0-9]{1,20})(?: .*)?\r?", re.IGNORECASE)
_AUTH: Final = b"AUTH "
_VERDICT: Final = frozenset({b"2", b"4", b"5"})
"""How a reply begins that ends an AUTH; a 334 does not (RFC 4954 §4)."""

log = get_logger("moxy.dialogue")


def unheard(connection: asyncio.Protocol) -> asyncio.Protocol:
    """Nobody listens."""
    return connection


def bare(transport: asyncio.Transport) -> asyncio.Transport:
    """The transport of the loop itself, whoever listens in."""
    return transport._transport if isinstance(transport, _Overhearing) else transport


def overheard(peer: str, we: Side) -> Overhear:
    """Listen to connections on which `we` are the one side, and the other is a `peer` ("client" or "destination")."""
    return lambda connection: _Overheard(connection, peer, we)


def put_beneath(
    transport: asyncio.Transport, layer: Callable[[asyncio.Transport], asyncio.Transport]
) -> asyncio.Transport:
    """Put another transport on top of `transport`, as TLS is, but beneath who listens: to hear what is said, not what
    is sent. Returns what is to be written to from now on.
    """
    if not isinstance(transport, _Overhearing):
        return layer(transport)
    transport.put_beneath(layer)
    return cast("asyncio.Transport", transport)


class _Mask:
    """Hides what a client says to prove who it is, and what the server says to that, however the lines are cut."""

    def __init__(self) -> None:
        self._in_auth = False
        self._begun: dict[Side, bytes] = {"C": b"", "S": b""}  # how a line begins that has not ended
        self._end_is_cut: dict[Side, bool] = {"C": False, "S": False}  # between CR and LF

    def ends(self, side: Side, data: bytes) -> bool:
        """Does `data` begin with the other half of a line end?"""
        ended = self._end_is_cut[side] and data.startswith(b"\n")
        if ended:
            self._begun[side] = b""
        self._end_is_cut[side] = data.endswith(b"\r")
        return ended

    def over(self, side: Side, line: bytes, *, ended: bool) -> bytes:
        """A line, or the next part of one, as it may be told."""
        begun = self._begun[side]
        start = (begun + line)[: len(_AUTH)]
        self._begun[side] = b"" if ended else start
        if side == "S" and not begun and line[:1] in _VERDICT:
            self._in_auth = False
        if self._in_auth:
            return b"334 " + MASKED if side == "S" and not begun else MASKED
        if side == "C" and len(begun) < len(_AUTH) and start.upper() == _AUTH:
            self._in_auth = True
            return line[: len(_AUTH) - len(begun)] + (_without_secret(line[len(_AUTH) :]) if not begun else MASKED)
        return line


def _without_secret(argument: bytes) -> bytes:
    mechanism, blank, _ = argument.partition(b" ")
    return mechanism + blank + MASKED if blank else mechanism


class _Overheard(asyncio.Protocol):
    """Stands between a transport and its protocol, and tells what passes."""

    def __init__(self, protocol: asyncio.Protocol, peer: str, we: Side) -> None:
        self._protocol = protocol
        self._peer = peer
        self._place = ""
        self._we: Side = we
        self._they: Side = "S" if we == "C" else "C"
        self._in_content = False
        self._chunk = 0  # octets of content to come behind a BDAT
        self._command = b""  # what the client has begun, and not ended
        self._mask = _Mask()
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected; or the same connection goes on, encrypted: what is told is in clear all the same."""
        if self._place:
            self._tell(encrypted=transport.get_extra_info("ssl_object").version())
        else:
            self._place = _place(transport.get_extra_info("peername"))
            self._tell(begins=True)
        self._protocol.connection_made(cast("asyncio.Transport", _Overhearing(transport, self)))

    def data_received(self, data: bytes) -> None:
        self._hear(self._they, data)
        self._protocol.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._tell(ends=str(exc or "closed"))
        self._protocol.connection_lost(exc)

    def said(self, data: bytes) -> None:
        """Our own words."""
        self._hear(self._we, data)

    def _hear(self, side: Side, data: bytes) -> None:
        if side == "C" and self._in_content:
            self._tell(octets=len(data))
            return
        place = self._pass_chunk(data, 0) if side == "C" else 0
        if self._mask.ends(side, data[place:]):
            place += 1
            place = self._pass_end(side, data, place)
        line = b""
        while place < len(data):
            end = data.find(b"\r\n", place)
            line = data[place:end] if end >= 0 else data[place:]
            self._tell_line(side, self._mask.over(side, line, ended=end >= 0))
            place += len(line)
            if side == "C":
                self._command = (self._command + line)[:LINE_OCTETS]
            if end >= 0:
                place = self._pass_end(side, data, place + 2)
        if side == "S" and line:
            self._in_content = line.startswith(b"354")

    def _pass_end(self, side: Side, data: bytes, place: int) -> int:
        """A line has ended before `place`. If it was BDAT, content follows; returns where it is over."""
        if side == "S":
            return place
        bdat = _BDAT.fullmatch(self._command)
        self._command = b""
        if bdat is not None:
            self._chunk = int(bdat[1])
        return self._pass_chunk(data, place)

    def _pass_chunk(self, data: bytes, place: int) -> int:
        """Tell the size of what is content from `place` on; returns where it is over."""
        octets = min(self._chunk, len(data) - place)
        if octets:
            self._chunk -= octets
            self._tell(octets=octets)
        return place + octets

    def _tell_line(self, side: Side, line: bytes) -> None:
        self._tell(**{side: line[:LINE_OCTETS].decode(errors="backslashreplace")})

    def _tell(self, **what: object) -> None:
        log.debug("dialogue", **{self._peer: self._place}, **what)


def _place(peer: object) -> str:
    """A peer as people write it. Who connects to a Unix socket has neither address nor, as a rule, a path."""
    if isinstance(peer, tuple):
        return host_port(*peer[:2])
    return f"unix:{peer}" if isinstance(peer, str) and peer else "unix"


class _Overhearing:
    """A transport that has what is written to it told first."""

    def __init__(self, transport: asyncio.BaseTransport, listener: _Overheard) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._listener = listener

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._listener.said(data)
        self._transport.write(data)

    def put_beneath(self, layer: Callable[[asyncio.Transport], asyncio.Transport]) -> None:
        self._transport = layer(self._transport)
