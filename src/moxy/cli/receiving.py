"""A sink as a server: the real `inbound`, with a destination that shows every message and forgets it.

`moxy sink` is one of these, `moxy demo` has two. Built in three steps, because root must become somebody else between
them: make it, drop privileges, `run`.

Rules:
- Standard output has one line for each message, in one write, so that several processes can share a terminal.
- Nothing a peer sent can steer the terminal: its texts are escaped.
- What is needed to show a message is loaded with this module: behind the drop Python's own files may be unreadable.

Bugs: who does not read our output makes our clients wait.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import click
import uvloop

from moxy.accounting.escape import escaped
from moxy.accounting.recorder import Recorder
from moxy.delivery.sink import HEADER_LIMIT, SinkDestination, SinkDirectory, SinkMessage
from moxy.inbound.service import Service
from moxy.mail import Host, Route
from moxy.net import listening
from moxy.net.deadlines import Sweeper
from moxy.net.listening import Listener
from moxy.process import preload, privileges, serving  # noqa: F401 - importing `preload` is its use
from moxy.process.privileges import Identity
from moxy.routes.static import StaticTable
from moxy.smtp.limits import MESSAGE_SIZE
from moxy.smtp.reply import Phase, Reply

UNPRIVILEGED: Final = "nobody"
"""Who root becomes where nobody else was named."""

HOSTNAME: Final = "sink.localhost"
"""What a sink calls itself: a name that can belong to no other host (RFC 6761 §6.3)."""

FAREWELL: Final = 2.0
"""Seconds that clients have to finish their message when the sink ends."""

for _charset in ("raw-unicode-escape", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "koi8-r"):
    codecs.lookup(_charset)  # to decode subjects with; others are shown as they came


def unprivileged(runas: str = "") -> Identity | None:
    """Who to become before anything of a stranger is read: nobody, or as told. None when we are not root.

    Raises MoxyError as `privileges.required` does.
    """
    return privileges.required(runas or (UNPRIVILEGED if os.geteuid() == 0 else ""))


@dataclass(slots=True)
class SinkServer:
    """A sink on sockets that are bound already. `messages` and `octets` count what it has accepted."""

    label: str
    """What its lines begin with."""
    listeners: Sequence[Listener]
    refusals: Mapping[Phase, Reply] = field(default_factory=dict)
    json: bool = False
    """Lines for programs, not for people; standard output then has nothing else."""
    directory: int | None = None
    """An open directory to save messages in; None: they are forgotten."""
    limit: int | None = None
    """End after so many messages."""
    messages: int = field(init=False, default=0)
    octets: int = field(init=False, default=0)
    _stop: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def announce(self) -> None:
        """Say where it listens."""
        self._say(
            f"{self.label}: listening on {', '.join(listening.place(listener.socket) for listener in self.listeners)}"
        )

    def run(self, signals: Sequence[signal.Signals], lifeline: int | None = None) -> None:
        """Serve until one of `signals`, the limit, or the end of the pipe `lifeline`; then tell the totals."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve(signals, lifeline))
        self._say(f"{self.label}: {_counted(self.messages, 'message')}, {_counted(self.octets, 'octet')}")

    async def _serve(self, signals: Sequence[signal.Signals], lifeline: int | None) -> None:
        loop = asyncio.get_running_loop()
        for number in signals:
            loop.add_signal_handler(number, self._stop.set)
        if lifeline is not None:
            loop.add_reader(lifeline, self._stop.set)
        service = self._service()
        servers = await serving.accept(service, self.listeners)
        await self._stop.wait()
        await serving.stop(service, servers, FAREWELL)

    def _service(self) -> Service:
        keep = HEADER_LIMIT if self.directory is None else MESSAGE_SIZE + HEADER_LIMIT
        destination = SinkDestination(self._take, self.refusals, keep)
        return Service(
            hostname=HOSTNAME,
            routes=StaticTable(Route((Host(HOSTNAME),))),
            directory=SinkDirectory(destination),
            recorder=Recorder([]),
            sweeper=Sweeper(),
            banner="ESMTP Moxy sink",
        )

    def _take(self, message: SinkMessage) -> None:
        """One message more."""
        self.messages += 1
        self.octets += message.octets
        if self.messages == self.limit:
            self._stop.set()
        try:
            if self.directory is not None:
                _save(message, self.directory)
            click.echo(as_json(message) if self.json else line(message, self.label))
        except BrokenPipeError:
            self._stop.set()  # nobody watches any more
        except OSError as error:
            click.echo(f"{self.label}: message {message.id} is lost: {error.strerror}", err=True)

    def _say(self, text: str) -> None:
        try:
            click.echo(text, err=self.json)
        except BrokenPipeError:
            self._stop.set()


def line(message: SinkMessage, label: str) -> str:
    """A message in one line for people; the colours go where there is no terminal."""
    recipients = ", ".join(click.style(f"<{escaped(path)}>", fg="green") for path in message.recipients)
    sender = click.style(f"<{escaped(message.reverse_path)}>", fg="green")
    subject = click.style(escaped(message.subject), bold=True) if message.subject else "no subject"
    size = _counted(message.octets, "octet")
    return f"{click.style(label, fg='cyan')} | from {sender} to {recipients}, {size}: {subject}"


def as_json(message: SinkMessage) -> str:
    """A message as one line of JSON."""
    return json.dumps(
        {
            "id": message.id,
            "client": message.client,
            "reverse_path": message.reverse_path,
            "recipients": message.recipients,
            "octets": message.octets,
            "subject": message.subject,
        }
    )


def _save(message: SinkMessage, directory: int) -> None:
    """Into the open `directory`, whose path we may no longer be able to walk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(f"{message.id}.eml", flags, 0o644, dir_fd=directory), "wb") as file:
        file.write(message.content)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
