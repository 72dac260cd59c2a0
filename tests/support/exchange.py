"""Every destination behind one Moxy, and every client before it; clients are started when they are first asked for."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from support.directories import open_directory
from support.mailboxes import MAILBOXES, Mailboxes, domain_of
from support.moxy_commands import written
from support.moxy_process import Moxy, running
from support.ports import LOOPBACK
from support.processes import GLANCE
from support.senders import SENDERS, Sender

_numbers = itertools.count(1)


class Exchange:
    """A Moxy with real destinations behind it, and real clients before it."""

    def __init__(self, directory: Path, moxy: Moxy, destinations: dict[str, Mailboxes], stack: ExitStack) -> None:
        self.moxy = moxy
        self.destinations = destinations
        self._directory = directory
        self._stack = stack
        self._senders: dict[str, Sender] = {}

    def sender(self, name: str) -> Sender:
        """The client of this name."""
        if name not in self._senders:
            home = self._directory / f"from {name}".replace(" ", "-").replace("'", "")
            home.mkdir()
            sender: Any = SENDERS[name](home, self.moxy.port)
            if isinstance(sender, AbstractContextManager):
                self._stack.enter_context(sender)
            self._senders[name] = sender
        return self._senders[name]

    def wait_for(self, name: str, user: str, message: Message, seconds: float = 30) -> bytes:
        """This message as it lies in that user's mailbox, without what was put above it."""
        deadline = time.monotonic() + seconds
        while not (found := self.found(name, user, message)) and time.monotonic() < deadline:
            time.sleep(GLANCE)
        assert len(found) == 1, f"{user} at {name} has {len(found)} of this message"
        return found[0].partition(b"\n" + message.first)[2]

    def found(self, name: str, user: str, message: Message) -> list[bytes]:
        """Every copy of this message in that user's mailbox."""
        return [file for file in self.destinations[name].delivered(user) if message.first in file]


class Message:
    """A message that can be told from all others: its first field, and the rest. Lines end with CRLF."""

    def __init__(self, body: bytes) -> None:
        number = next(_numbers)
        self.first = b"X-Number: <%d>" % number
        fields = [
            self.first,
            b"From: Sender <sender@sender.test>",
            b"To: undisclosed-recipients:;",
            b"Subject: every octet",
            b"\tcounts",
            b"Date: Sat, 28 Nov 2026 18:00:00 +0000",
            b"Message-ID: <%d@sender.test>" % number,
        ]
        self.content = b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body

    @property
    def stored(self) -> bytes:
        """What `Exchange.wait_for` must find: all after the first field, with the line ends of files."""
        return self.content.removeprefix(self.first).replace(b"\r\n", b"\n")


@contextmanager
def running_exchange(names: Sequence[str] = tuple(MAILBOXES)) -> Iterator[Exchange]:
    """All of it, with these destinations."""
    with open_directory() as directory, ExitStack() as stack:
        destinations, table, sections = {}, "", ""
        for name in names:
            home = directory / f"to-{name}"
            home.mkdir()
            make: Callable[[Path, str], Mailboxes] = MAILBOXES[name]
            there = stack.enter_context(make(home, domain_of(name)))
            destinations[name] = there
            table += f"{domain_of(name)} {name.lower()}\n"
            sections += f'[destination.{name.lower()}]\nhosts = ["{LOOPBACK}:{there.port}"]\n'
            sections += f'protocol = "{there.protocol}"\n'
        moxy = stack.enter_context(running(*written(directory, table, sections)))
        yield Exchange(directory, moxy, destinations, stack)
