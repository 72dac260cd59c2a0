"""Dialogues played over real sockets: a real Moxy in this event loop, and both of its sides spoken from the script.

One player speaks all lines in their order, so that what an upstream says is said when the dialogue says so, and what
Moxy says too early is noticed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from moxy.accounting.record import Record
from moxy.accounting.recorder import Recorder
from moxy.inbound.connection import ClientConnection
from moxy.inbound.service import Bounds, Service
from moxy.inbound.tlsconnection import TlsConnection
from moxy.net.deadlines import Sweeper
from moxy.outbound.directory import SmtpDirectory
from moxy.outbound.ground import Ground
from moxy.outbound.settings import Settings
from moxy.routes.file import FileTable
from moxy.smtp.extension import EIGHT_BIT
from support.certificates import client_context, server_tls
from support.dialogue import HOST_NAME, RESETS, Dialogue, Line
from support.faults import reset
from support.ports import LOOPBACK, free_port

PATIENCE = 10.0
"""Seconds for a whole dialogue, most of which take milliseconds."""

Cutter = Callable[[bytes], list[bytes]]


async def settle() -> None:
    """Let everything happen that is on its way already."""
    for _ in range(6):
        await asyncio.sleep(0)


class End(asyncio.Protocol):
    """Our end of a connection with Moxy: what has come and was not heard yet, and whether more can come."""

    def __init__(self, connected: Callable[[End], None] | None = None) -> None:
        self.unheard = bytearray()
        self.closed = False
        self._connected = connected
        self._news = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self._connected is not None:
            self._connected(self)

    def data_received(self, data: bytes) -> None:
        self.unheard += data
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._news.set()

    async def hear_octets(self, count: int) -> bytes:
        """So many octets that no CRLF follows; fewer when the connection was closed."""
        while len(self.unheard) < count and not self.closed:
            self._news.clear()
            await self._news.wait()
        octets = bytes(self.unheard[:count])
        del self.unheard[:count]
        return octets

    async def hear(self) -> bytes | None:
        """The next line without its CRLF; None when the connection was closed."""
        while (end := self.unheard.find(b"\r\n")) < 0:
            if self.closed:
                assert not self.unheard, f"closed in the middle of a line: {bytes(self.unheard)!r}"
                return None
            self._news.clear()
            await self._news.wait()
        line = bytes(self.unheard[:end])
        del self.unheard[: end + 2]
        return line

    async def secure(self) -> None:
        """Shake hands; what is said and heard from now on is encrypted."""
        loop, context = asyncio.get_running_loop(), client_context()
        self.transport = await loop.start_tls(self.transport, self, context, server_hostname=HOST_NAME)

    async def say(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            if self.transport.is_closing():
                return  # Moxy has heard enough
            self.transport.write(piece)
            if len(pieces) > 1:
                await settle()  # so that no two pieces are read at once


class RecordList:
    """A sink of records that keeps them."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def record(self, record: Record) -> None:
        self.records.append(record)

    def reopen(self) -> None:
        """There is no file."""

    def close(self) -> None:
        """There is nothing to give back."""


class Stage:
    """Moxy, its client and its upstreams, for one dialogue."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dialogue: Dialogue, directory: Path) -> None:
        self._loop = loop
        self._ends: dict[str, End] = {}
        self._arrived: dict[str, asyncio.Queue[End]] = {name: asyncio.Queue() for name in dialogue.upstreams()}
        self._servers: list[asyncio.Server] = []
        self._ports = {"nobody": free_port()}
        self._dialogue = dialogue
        self._directory = directory
        self._table = directory / "routes"
        self.records = RecordList()

    async def perform(self, cutter: Cutter) -> None:
        """Set the stage, play, and clear it away."""
        await self.set()
        try:
            await self.play(cutter)
        finally:
            await self.strike()
        names = {f"{LOOPBACK}:{port}": name for name, port in self._ports.items()}
        found = [(record.outcome.value, names[record.destination]) for record in self.records.records]
        assert found == self._dialogue.records, f"{self._dialogue.name}: recorded {found}"

    async def set(self) -> None:
        """Open upstreams, Moxy and client."""
        for name, arrived in self._arrived.items():
            self._ports[name] = await self._serve(lambda arrived=arrived: End(arrived.put_nowait))
        lines = [f"{key} {self._hosts(names)}\n" for key, names in self._dialogue.routes.items()]
        self._table.write_text("".join(lines))
        sweeper = Sweeper()
        self.directory = SmtpDirectory(Ground(HOST_NAME, sweeper, self._loop), Settings())
        self.service = Service(
            HOST_NAME,
            FileTable(self._table),
            self.directory,
            Recorder([self.records]),
            sweeper,
            bounds=Bounds(**self._dialogue.bounds),
            extensions=EIGHT_BIT if self._dialogue.offer is None else self._dialogue.offer,
        )
        kind = ClientConnection
        if self._dialogue.starttls:
            kind = partial(TlsConnection, tls=server_tls(self._directory))
        port = await self._serve(partial(kind, self.service, self._loop, lmtp=self._dialogue.lmtp))
        _, client = await self._loop.create_connection(End, LOOPBACK, port)
        self._ends["C"] = self._ends["S"] = client

    def _hosts(self, names: list[str]) -> str:
        return ",".join(f"{LOOPBACK}:{self._ports[name]}" for name in names)

    async def _serve(self, protocol: Callable[[], asyncio.Protocol]) -> int:
        server = await self._loop.create_server(protocol, LOOPBACK, 0)
        self._servers.append(server)
        return server.sockets[0].getsockname()[1]

    async def strike(self) -> None:
        """Clear everything away; nothing of Moxy may be left."""
        for server in self._servers:
            server.close()
        arrived = [queue.get_nowait() for queue in self._arrived.values() if not queue.empty()]
        for end in {*self._ends.values(), *arrived}:
            end.transport.abort()
        await settle()
        self.directory.close()
        await settle()
        assert not self.service.connections
        assert not self.service.sweeper.watched

    async def end(self, speaker: str) -> End:
        """Our end of the connection on which this speaker is heard; an upstream's may have to be awaited."""
        name = speaker.replace("V", "U")
        if name not in self._ends:
            self._ends[name] = await self._arrived[name].get()
        return self._ends[name]

    async def play(self, cutter: Cutter) -> None:
        """Speak and hear every line. Raises AssertionError, with the place in the file, where Moxy says otherwise."""
        place = "nowhere"
        try:
            async with asyncio.timeout(PATIENCE):
                for speaker, lines in self._dialogue.turns():
                    place = lines[0].place
                    end = await self.end(speaker)
                    if speaker[0] in "CV":
                        await self._speak(speaker, end, lines, cutter)
                    else:
                        for line in lines:
                            place = line.place
                            await self._hear(end, line)
                await settle()
        except TimeoutError:
            raise AssertionError(f"{place}: waited in vain\n{self._unheard()}") from None
        assert not self._unheard(), f"after the last line: {self._unheard()}"

    async def _speak(self, speaker: str, end: End, lines: list[Line], cutter: Cutter) -> None:
        await settle()
        for name in ("C", speaker.replace("V", "U")):
            unheard = bytes(self._ends[name].unheard)
            assert not unheard, f"{lines[0].place}: before this, Moxy said {unheard!r} to {name}"
        if lines[0].closes:
            if lines[0].text == RESETS:
                reset(end.transport)
            else:
                end.transport.close()
            self._ends.pop(speaker.replace("V", "U") if speaker != "C" else "", None)
        elif lines[0].secures:
            await end.secure()
        else:
            await end.say(cutter(b"".join(line.wire for line in lines)))

    async def _hear(self, end: End, line: Line) -> None:
        said = await end.hear() if line.whole else await end.hear_octets(len(line.text))
        if line.closes:
            assert said is None, f"{line.place}: still open, Moxy said {said!r}"
            if line.speaker != "S":
                del self._ends[line.speaker]
        else:
            assert said is not None, f"{line.place}: closed, expected {line.text!r}"
            assert line.matches(said), f"{line.place}: Moxy said {said!r}, expected {line.text!r}"

    def _unheard(self) -> str:
        unheard = {name: bytes(end.unheard) for name, end in self._ends.items() if end.unheard}
        return "\n".join(f"unheard by {name}: {octets!r}" for name, octets in unheard.items())


def perform(dialogue: Dialogue, new_loop: Callable[[], asyncio.AbstractEventLoop], cutter: Cutter) -> None:
    """Play a dialogue over sockets on a new event loop. Raises AssertionError where Moxy does not keep to it."""
    with TemporaryDirectory(prefix="moxy-") as directory, watched_loop(new_loop) as loop:
        stage = Stage(loop, dialogue, Path(directory))
        loop.run_until_complete(stage.perform(cutter))


@contextmanager
def watched_loop(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[asyncio.AbstractEventLoop]:
    """A new event loop in which no callback may fail, and no task may be left at the end."""
    loop = new_loop()
    bugs: list[object] = []
    loop.set_exception_handler(lambda _, context: bugs.append(context))
    try:
        yield loop
        assert not bugs, bugs
        assert not asyncio.all_tasks(loop)
    finally:
        loop.close()
