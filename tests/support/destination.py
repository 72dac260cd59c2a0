"""A mail server by script: what it answers in each phase is set by the test, and what it was given is kept.

It holds a message only when it has found a real end of data and said 2xx to it, so that what `messages` lists is what
a real server would deliver. It shares no code with Moxy, for it is its judge.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import cast

from support.faults import reset
from support.ports import LOOPBACK
from support.scenario import until


class Phase(StrEnum):
    """What it is asked when it answers."""

    GREETING = "greeting"
    EHLO = "EHLO"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CHUNK = "BDAT"
    FINAL = "final"
    RSET = "RSET"


class Told(StrEnum):
    """How it may be told who the client is; in most transactions it is not."""

    XCLIENT = "XCLIENT"
    XFORWARD = "XFORWARD"


class Act(Enum):
    """What it may do in place of an answer."""

    CLOSE = "close"
    RESET = "reset"
    SILENCE = "silence"


Answer = str | Act
Choice = Answer | Callable[[str], Answer]
"""An answer, or one that depends on the command."""

GOOD: Mapping[Phase | Told, Answer] = {
    Phase.GREETING: "220 destination.test ready",
    Phase.EHLO: "250-destination.test\r\n250-PIPELINING\r\n250-SIZE 100000000\r\n250 8BITMIME",
    Phase.MAIL: "250 2.1.0 sender fine",
    Phase.RCPT: "250 2.1.5 recipient fine",
    Phase.DATA: "354 go on",
    Phase.CHUNK: "250 2.0.0 go on",
    Phase.FINAL: "250 2.0.0 taken",
    Phase.RSET: "250 2.0.0 forgotten",
    Told.XCLIENT: "220 destination.test ready for another",
    Told.XFORWARD: "250 2.0.0 noted",
}


CHUNKING: Answer = f"{GOOD[Phase.EHLO]}".replace("250-PIPELINING", "250-CHUNKING\r\n250-PIPELINING")
"""An answer to EHLO that offers CHUNKING."""


@dataclass(frozen=True)
class Message:
    """A message held: the arguments of MAIL and RCPT as they came, and the content without its dot-stuffing."""

    mail: str
    recipients: tuple[str, ...]
    content: bytes

    @property
    def below_trace(self) -> bytes:
        """The content without its first field, which must be our trace."""
        field = re.match(rb"Received: .*\r\n(?:[ \t].*\r\n)*", self.content)
        assert field, "there is no trace field at the top"
        return self.content[field.end() :]


class Destination:
    """A server on a free port of loopback. `answers` may be changed at any time, for all connections."""

    def __init__(self) -> None:
        self.answers: dict[Phase | Told, Choice] = dict(GOOD)
        self.lmtp = False
        """Whether it speaks LMTP: after the dot, `verdicts` in place of the answer to FINAL."""
        self.verdicts: dict[str, Answer] = {}
        """After the dot in LMTP and PRDR, the answers about single recipients; others get the one of FINAL."""
        self.final: Answer | None = "250 2.0.0 done"
        """The last answer of PRDR, which comes after those about its recipients; None: it does not announce them."""
        self.early: tuple[int, Answer] | None = None
        """After so many octets of content: this answer, in their middle."""
        self.proxied = False
        """Whether a PROXY header must come before it says anything."""
        self.keeps_content = True
        """Whether messages are kept whole; otherwise only counted, with empty content."""
        self.messages: list[Message] = []
        self.ends_of_data = 0
        """Final dots and last chunks found, whatever was answered to them."""
        self.silences = 0
        """How often an answer was withheld."""
        self.talks: list[Talk] = []
        """Every connection there ever was, in order."""
        self.most_at_once = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    def new_talk(self) -> Talk:
        """What serves the next connection."""
        return Talk(self)

    @property
    def open(self) -> list[Talk]:
        """The connections that are open now."""
        return [talk for talk in self.talks if not talk.over]

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def commands(self, verb: str) -> list[str]:
        """Every command that begins so, of all connections."""
        return [line for talk in self.talks for line in talk.lines if line.startswith(verb)]

    async def start(self, port: int = 0, path: str = "") -> None:
        """Listen on `port`, or on a free one; or on the Unix socket at `path`."""
        loop = asyncio.get_running_loop()
        if path:
            self._server = await loop.create_unix_server(self.new_talk, path)
            return
        self._server = await loop.create_server(self.new_talk, LOOPBACK, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more, and close every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for talk in self.open:
            talk.transport.abort()
        await until(lambda: not self.open, "the destination's connections to end")

    def forget(self) -> None:
        """Keep nothing of what has been."""
        self.messages.clear()
        self.ends_of_data = 0
        self.silences = 0
        self.talks = self.open

    async def reached(self, verb: str, times: int = 1) -> None:
        """Wait until commands that begin so have come."""
        await until(lambda: len(self.commands(verb)) >= times, f"{verb} at the destination")

    def release(self, answer: str) -> None:
        """Give the answer that silence withheld, on every connection that is open."""
        for talk in self.open:
            talk.release(answer)


class Talk(asyncio.Protocol):
    """One connection to the destination."""

    transport: asyncio.Transport

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.lines: list[str] = []
        self.header = b""
        """The PROXY header."""
        self.over = False
        self.octets = 0
        """Octets of content so far, in all transactions."""
        self._buffer = b""
        self._in_content = False
        self._chunk = 0
        """Octets of a chunk that are still to come."""
        self._last_chunk = False
        self._chunk_refused = False
        self._mail = ""
        self._recipients: list[str] = []
        self._content = bytearray()
        self._withheld: tuple[Phase | Told, str] | None = None  # what an answer is due to
        self._pending: Message | None = None  # complete, and not answered yet
        self._script: list[tuple[str, Answer]] = []  # what is still to be said of a message, and about whom

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.destination.talks.append(self)
        self.destination.most_at_once = max(self.destination.most_at_once, len(self.destination.open))
        if not self.destination.proxied:
            self._answer(Phase.GREETING, "")

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.over = True

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self.destination.proxied and not self.header:
            self._take_header()
        while self._take_next():
            pass

    def _take_next(self) -> bool:
        if self._in_content:
            return self._take_content()
        return self._take_chunk() if self._chunk else self._take_line()

    def _take_header(self) -> None:
        """A line, or sixteen octets and as many as the last two of them say."""
        v1 = self._buffer.startswith(b"PROXY")
        length = self._buffer.find(b"\r\n") + 2 if v1 else 16 + int.from_bytes(self._buffer[14:16], "big")
        assert length <= len(self._buffer), "it comes in one piece"
        self.header, self._buffer = self._buffer[:length], self._buffer[length:]
        self._answer(Phase.GREETING, "")

    def _take_line(self) -> bool:
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return False
        self._buffer = rest
        self._obey(line.decode("latin-1"))
        return True

    def _obey(self, line: str) -> None:
        self.lines.append(line)
        verb, _, argument = line.partition(" ")
        match verb.upper():
            case "EHLO" | "HELO" | "LHLO" if (verb.upper() == "LHLO") == self.destination.lmtp:
                self._answer(Phase.EHLO, line)
            case "XCLIENT" | "XFORWARD":
                self._answer(Told(verb.upper()), line)
            case "MAIL":
                self._mail, self._recipients = argument, []
                self._answer(Phase.MAIL, line)
            case "RCPT":
                self._answer(Phase.RCPT, line)
            case "DATA":
                self._answer(Phase.DATA, line)
            case "BDAT":
                size, _, last = argument.partition(" ")
                self._chunk, self._last_chunk = int(size), last == "LAST"
                if not self._chunk:
                    self._end_chunk()
            case "RSET":
                self._mail, self._recipients = "", []
                self._content.clear()
                self._chunk_refused = False
                self._answer(Phase.RSET, line)
            case "QUIT":
                self.act("221 2.0.0 bye")
                self.transport.close()
            case _:
                self.act("500 5.5.1 what?")

    def _take_content(self) -> bool:
        """Look for the end of data: only CRLF "." CRLF, or "." CRLF at the very start."""
        block, self._buffer = self._buffer, b""
        self.octets += len(block)
        kept = len(self._content)
        self._content += block
        if self.destination.early is not None and self.octets >= self.destination.early[0]:
            (_, answer), self.destination.early = self.destination.early, None
            self.act(answer)
        end = 0 if self._content.startswith(b".\r\n") else self._content.find(b"\r\n.\r\n", max(0, kept - 4)) + 2
        if end == 1:
            if not self.destination.keeps_content:
                del self._content[:-4]
            return False
        self._buffer = bytes(self._content[end + 3 :])
        self._complete(bytes(self._content[:end]))
        return True

    def _take_chunk(self) -> bool:
        """The octets of a chunk, as they are."""
        if not self._buffer:
            return False
        octets, self._buffer = self._buffer[: self._chunk], self._buffer[self._chunk :]
        self._chunk -= len(octets)
        self.octets += len(octets)
        if self.destination.keeps_content:
            self._content += octets
        if not self._chunk:
            self._end_chunk()
        return True

    def _end_chunk(self) -> None:
        """A chunk behind one that was refused is refused, too."""
        if self._chunk_refused:
            self.act("503 5.5.1 after a refusal")
        elif self._last_chunk:
            self._hold(bytes(self._content))
        else:
            self._answer(Phase.CHUNK, "")

    def _complete(self, stuffed: bytes) -> None:
        lines = stuffed.split(b"\r\n") if self.destination.keeps_content else []
        self._hold(b"\r\n".join(line.removeprefix(b".") for line in lines))

    def _hold(self, content: bytes) -> None:
        self.destination.ends_of_data += 1
        self._pending = Message(self._mail, tuple(self._recipients), content)
        self._content.clear()
        self._in_content = False
        if self._gives_each_its_own:
            self._begin_verdicts(self._pending)
        else:
            self._answer(Phase.FINAL, "")

    @property
    def _gives_each_its_own(self) -> bool:
        """Exim's server gives one answer to a message for one, although it was asked for PRDR."""
        prdr = self._mail.upper().endswith(" PRDR") and len(self._recipients) > 1 and self.destination.final is not None
        return self.destination.lmtp or prdr

    def _begin_verdicts(self, message: Message) -> None:
        """Of each recipient in turn, until one of the answers is none."""
        destination, self._pending = self.destination, None
        good = destination.answers[Phase.FINAL]
        self._script = [
            (recipient, destination.verdicts.get(recipient, good if not callable(good) else good(recipient)))
            for recipient in message.recipients
        ]
        if not destination.lmtp:
            self.act("353 each in turn")
            self._script.append(("", destination.final or ""))
        self._go_on(message)

    def _go_on(self, message: Message) -> None:
        taken: list[str] = []
        while self._script:
            recipient, answer = self._script.pop(0)
            if recipient and isinstance(answer, str) and answer.startswith("2"):
                taken.append(recipient)
            if not recipient and isinstance(answer, str) and not answer.startswith("2"):
                taken = []  # the last word
            self.act(answer)
            if isinstance(answer, Act):
                break
        if taken:
            self.destination.messages.append(replace(message, recipients=tuple(taken)))

    def _answer(self, phase: Phase | Told, line: str) -> None:
        """Answer as the script says."""
        choice = self.destination.answers[phase]
        self._withheld = phase, line
        self.release(choice(line) if callable(choice) else choice)

    def release(self, answer: Answer) -> None:
        """Give the answer that is due; if it is a yes, it takes effect."""
        if self._withheld is not None and isinstance(answer, str):
            (phase, line), self._withheld = self._withheld, None
            if phase is Phase.RCPT and answer.startswith("2"):
                self._recipients.append(line.partition("<")[2].partition(">")[0])
            self._in_content = phase is Phase.DATA and answer.startswith("354")
            self._chunk_refused = phase is Phase.CHUNK and not answer.startswith("2")
        self.act(answer)

    def act(self, answer: Answer) -> None:
        """Say or do it. A good answer to an end of data commits the message; after 421 the connection is closed."""
        if answer is Act.RESET:
            reset(self.transport)
        elif answer is Act.CLOSE:
            self.transport.close()
        elif answer is Act.SILENCE:
            self.destination.silences += 1
        else:
            if self._pending is not None:
                if answer.startswith("2"):
                    self.destination.messages.append(self._pending)
                self._pending = None
            self.transport.write(answer.encode() + b"\r\n")
            if answer.startswith("421"):
                self.transport.close()


@asynccontextmanager
async def running_destination(path: str = "", *, lmtp: bool = False) -> AsyncIterator[Destination]:
    """A destination that says yes to everything, until told otherwise; on the Unix socket at `path` if there is one."""
    destination = Destination()
    destination.lmtp = lmtp
    await destination.start(path=path)
    try:
        yield destination
    finally:
        await destination.stop()
