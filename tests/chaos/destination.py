"""A destination by script, one of the two judges: what it says in each phase, time after time, and what it then holds.

Unlike `support.destination` it changes its mind by plan ("4xx, then 2xx"), gives verdicts to each recipient if it
speaks LMTP or PRDR, keeps messages whose reply it then fails to give, and remembers what it said about whom. Parsing
and the search for the end of data are written anew and shared with nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast

from support.faults import reset
from support.ports import LOOPBACK
from support.scenario import until

PORTS = range(20_000, 32_000)
"""Below those that Linux gives away: a test beside us that sends to what was a free port must not reach a judge."""


class Phase(StrEnum):
    """Where in a transaction a destination may do something else than say yes."""

    GREETING = "greeting"
    HELLO = "EHLO"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "content"
    FINAL = "dot"


class Act(StrEnum):
    """What it does there."""

    YES = "2xx"
    LATER = "4xx"
    NEVER = "5xx"
    GOING = "421"
    CLOSE = "close"
    RESET = "reset"
    SILENCE = "silence"
    LOST = "kept, then close"
    """Only at the dot: the message is kept, and the connection closed without a word."""
    MUTE = "kept, then silence"
    HOLD = "hold"  # until told (`Destination.release`) what to do


Plan = tuple[Act, ...]
"""What is done the first time, the second, and so on; the last of them from then on."""

GOOD: Mapping[Phase, str] = {
    Phase.GREETING: "220 {name}.destination.test ready",
    Phase.HELLO: "250-{name}.destination.test\r\n250-PIPELINING\r\n250 SIZE 100000000",
    Phase.MAIL: "250 2.1.0 {name} knows the sender",
    Phase.RCPT: "250 2.1.5 {name} knows {whom}",
    Phase.DATA: "354 go on",
    Phase.FINAL: "250 2.0.0 {name} has it for {whom}",
}
BAD: Mapping[Act, str] = {
    Act.LATER: "450 4.7.1 {name} says later to {whom} at {phase}",
    Act.NEVER: "550 5.7.1 {name} says never to {whom} at {phase}",
    Act.GOING: "421 4.3.2 {name} goes away at {phase}",
}
ALL = "all"
"""Who is meant where a reply is not about one recipient."""


@dataclass
class Script:
    """What a destination does: by phase, or at the dot by the local part of a recipient (`each`, LMTP and PRDR)."""

    phases: Mapping[Phase, Plan] = field(default_factory=dict)
    refuses: frozenset[str] = frozenset()
    """Local parts of recipients that it never accepts."""
    each: Mapping[str, Plan] = field(default_factory=dict)
    protocol: str = "smtp"
    """Or "lmtp", or "prdr"."""

    def __str__(self) -> str:
        parts = [f"{phase}: {' then '.join(plan)}" for phase, plan in self.phases.items()]
        parts += [f"{name} at the dot: {' then '.join(plan)}" for name, plan in self.each.items()]
        spoken = "" if self.protocol == "smtp" else f"{self.protocol}, "
        return f"({spoken}{'; '.join(parts) or '2xx'})"


@dataclass(eq=False)
class Copy:
    """A message kept. `said` tells whether the destination gave its answer; only then can anybody else know."""

    recipients: tuple[str, ...]
    content: bytes
    said: bool
    talk: Talk
    transaction: int
    """Of the sender."""
    written: int = 0
    """Octets that the destination had written on this connection with that answer."""
    heard: bool = False
    """Did its client say anything after that answer? Then it has got it."""


class Destination:
    """A server on a free port of loopback, under one name in all that it says."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = 0
        self.on_silence: Callable[[Talk], None] = lambda talk: None
        self.on_end_of_data: Callable[[Destination], None] = lambda destination: None
        self.transaction: Callable[[], int] = lambda: 0
        """The sender's transaction that is under way now."""
        self._server: asyncio.Server | None = None
        self.open: set[Talk] = set()
        self.begin(Script())

    def begin(self, script: Script) -> None:
        """Forget everything, and do this from now on."""
        self.script = script
        self.copies: list[Copy] = []
        self.talks = 0
        self.ready: set[int] = set()
        """The sender's transactions in which it has asked for content."""
        self.ends_of_data = 0
        self.said: dict[str, list[str]] = defaultdict(list)
        """What it said about each forward-path, in order; what was about all is under each."""
        self.holding: list[Talk] = []
        self.log: list[str] = []
        self._times: Counter[tuple[Phase, str]] = Counter()

    async def start(self) -> None:
        """Listen on a free port, one that nobody is given who asks the system for any."""
        loop = asyncio.get_running_loop()
        while self._server is None:
            self.port = random.choice(PORTS)
            with contextlib.suppress(OSError):
                self._server = await loop.create_server(lambda: Talk(self), LOOPBACK, self.port)

    async def stop(self) -> None:
        """Listen no more, and close every connection."""
        if self._server is not None:
            self._server.close()
        for talk in tuple(self.open):
            talk.transport.abort()
        await until(lambda: not self.open, "the destination's connections to end")

    def next_act(self, phase: Phase, whom: str = "") -> Act:
        """What the script says for this time."""
        local = whom.partition("@")[0]
        if phase is Phase.RCPT and local in self.script.refuses:
            return Act.NEVER
        plan = self.script.each.get(local) if phase is Phase.FINAL and whom else None
        plan = plan or self.script.phases.get(phase, (Act.YES,))
        times = self._times[phase, whom]
        self._times[phase, whom] += 1
        return plan[min(times, len(plan) - 1)]

    def words(self, phase: Phase, act: Act, whom: str) -> str:
        """The reply for an act that has one."""
        text = GOOD[phase] if act is Act.YES else BAD[act]
        if phase is Phase.HELLO and act is Act.YES and self.script.protocol == "prdr":
            text = text.replace("PIPELINING", "PIPELINING\r\n250-PRDR")
        return text.format(name=self.name, whom=whom.partition("@")[0] or ALL, phase=phase)

    def release(self, act: Act) -> None:
        """Have those that hold their answer back do this."""
        held, self.holding = self.holding, []
        for talk in held:
            talk.resume(act)

    @property
    def content_is_due(self) -> bool:
        """Has it asked for content on any connection, and seen none?"""
        return any(talk.content_is_due for talk in self.open)

    def holds(self, path: str) -> int:
        """How many copies it has for a recipient."""
        return sum(copy.recipients.count(path) for copy in self.copies)


class Talk(asyncio.Protocol):
    """One connection to the destination."""

    transport: asyncio.Transport

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.written = 0
        self.first = destination.talks == 0
        """Is it the first connection since the destination began?"""
        self.over = False
        self._buffer = b""
        self._content: bytearray | None = None
        self._silent = False
        self._doomed: bool | None = None  # was the content refused in its middle? None: not asked yet
        self._prdr = False
        self._paths: list[str] = []
        self._held: tuple[Phase, str, bytes] | None = None
        self._answered: list[Copy] = []

    # -- from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.destination.talks += 1
        self.destination.open.add(self)
        self._do(Phase.GREETING)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.over = True
        self.destination.open.discard(self)

    def data_received(self, data: bytes) -> None:
        for copy in self._answered:
            copy.heard = True
        self._answered.clear()
        self._buffer += data
        self._go_on()

    def _go_on(self) -> None:
        """Take what has come, until an answer is withheld."""
        while not (self._silent or self.transport.is_closing()):
            if not (self._take_line() if self._content is None else self._take_content()):
                break

    @property
    def content_is_due(self) -> bool:
        """Has it asked for content, and seen none?"""
        return self._content is not None and not self._content and not self.transport.is_closing()

    # -- commands

    def _take_line(self) -> bool:
        line, end, rest = self._buffer.partition(b"\r\n")
        if not end:
            return False
        self._buffer = rest
        text = line.decode("latin-1")
        self.destination.log.append(f"< {text}")
        verb = text.partition(" ")[0].upper()
        if verb in ("EHLO", "HELO", "LHLO"):
            if (verb == "LHLO") is (self.destination.script.protocol == "lmtp"):
                self._do(Phase.HELLO)
            else:
                self.say("500 5.5.1 not my protocol")
        elif verb == "MAIL":
            self._paths.clear()
            self._prdr = text.upper().endswith(" PRDR")
            self._do(Phase.MAIL)
        elif verb == "RCPT":
            self._do(Phase.RCPT, text.partition("<")[2].partition(">")[0])
        elif verb == "DATA" and not self._paths:
            self.say("503 5.5.1 nobody to send it to")
        elif verb == "DATA":
            self._do(Phase.DATA)
        elif verb == "RSET":
            self._paths.clear()
            self.say("250 2.0.0 forgotten")
        elif verb == "QUIT":
            self.say("221 2.0.0 bye")
            self.transport.close()
        else:
            self.say("500 5.5.1 what?")
        return True

    def _take_content(self) -> bool:
        """Only CRLF "." CRLF ends it, or "." CRLF at the very start."""
        assert self._content is not None
        self._content += self._buffer
        self._buffer = b""
        if self._doomed is None and self._content:
            act = self.destination.next_act(Phase.CONTENT)
            self._doomed = act is not Act.YES
            if self._doomed:
                self._act(Phase.CONTENT, act, "")
        stuffed = b"\r\n" + self._content
        end = stuffed.find(b"\r\n.\r\n")
        if end < 0:
            return False
        self._buffer = bytes(stuffed[end + 5 :])
        lines = bytes(stuffed[2 : end + 2]).split(b"\r\n")
        self._content = None
        if self._doomed:
            return True  # its verdict was given already
        self._end_of_data(b"\r\n".join(line.removeprefix(b".") for line in lines))
        return True

    def _end_of_data(self, content: bytes) -> None:
        destination = self.destination
        destination.ends_of_data += 1
        destination.log.append("< (end of data)")
        destination.on_end_of_data(destination)
        protocol = destination.script.protocol
        if protocol == "lmtp" or (protocol == "prdr" and self._prdr and len(self._paths) > 1):
            self._judge_each(content, prdr=protocol == "prdr")
        else:
            whom = self._paths[0] if destination.script.each and len(self._paths) == 1 else ""
            self._act(Phase.FINAL, destination.next_act(Phase.FINAL, whom), whom, content)

    def _judge_each(self, content: bytes, *, prdr: bool) -> None:
        """A reply for each recipient, in order; with PRDR one before them, and one at the end that makes them count."""
        destination = self.destination
        if prdr:
            self.say("353 a verdict for each follows")
        acts = set()
        first = len(destination.copies)
        for path in self._paths:
            act = destination.next_act(Phase.FINAL, path)
            acts.add(act)
            self._act(Phase.FINAL, act, path, content)
            for copy in destination.copies[first:]:
                copy.said = copy.said and not prdr
            if self.transport.is_closing() or self._silent:
                return
        if prdr:
            good, bad = (
                "250 2.0.0 for some",
                "450 4.0.0 for nobody yet" if Act.LATER in acts else "550 5.0.0 for nobody",
            )
            self.say(good if Act.YES in acts else bad)
            for path in self._paths:
                destination.said[path].append(bad)
            for copy in destination.copies[first:]:
                copy.said = True
                copy.written = self.written

    # -- doing what the script says

    def _do(self, phase: Phase, whom: str = "") -> None:
        self._act(phase, self.destination.next_act(phase, whom), whom)

    def resume(self, act: Act) -> None:
        """What was held back is done now; who hangs up while we think about its message may find it kept."""
        assert self._held is not None
        (phase, whom, content), self._held = self._held, None
        self._silent = False
        if not self.over:
            self._act(phase, act, whom, content)
            self._go_on()
        elif phase is Phase.FINAL and act is Act.YES:
            self._keep([whom] if whom else self._paths, content, said=True)

    def _act(self, phase: Phase, act: Act, whom: str, content: bytes = b"") -> None:
        destination = self.destination
        about: Sequence[str] = [whom] if whom else self._paths
        if act is Act.HOLD:
            self._held = phase, whom, content
            self._silent = True
            destination.holding.append(self)
            destination.on_silence(self)
            return
        if phase is Phase.FINAL and act in (Act.YES, Act.LOST, Act.MUTE):
            self._keep(about, content, said=act is Act.YES)
        if act in (Act.CLOSE, Act.LOST):
            destination.log.append(f"> (closes at {phase})")
            self.transport.close()
        elif act is Act.RESET:
            destination.log.append(f"> (resets at {phase})")
            reset(self.transport)
        elif act in (Act.SILENCE, Act.MUTE):
            destination.log.append(f"> (silent at {phase})")
            self._silent = True
            destination.on_silence(self)
        else:
            self._say_about(phase, act, whom, about)

    def _say_about(self, phase: Phase, act: Act, whom: str, about: Sequence[str]) -> None:
        destination = self.destination
        text = destination.words(phase, act, whom)
        for path in about or ("",):
            destination.said[path].append(text)
        if act is Act.YES and phase is Phase.RCPT:
            self._paths.append(whom)
        if act is Act.YES and phase is Phase.DATA:
            destination.ready.add(destination.transaction())
            self._content = bytearray()
            self._doomed = None
        self.say(text)
        if phase is Phase.FINAL and act is Act.YES:
            destination.copies[-1].written = self.written
            self._answered.append(destination.copies[-1])
        if act is Act.GOING:
            self.transport.close()

    def _keep(self, paths: Sequence[str], content: bytes, *, said: bool) -> None:
        self.destination.copies.append(Copy(tuple(paths), content, said, self, self.destination.transaction()))

    def say(self, text: str) -> None:
        """Write a reply."""
        self.destination.log.append(f"> {text}")
        octets = text.encode() + b"\r\n"
        self.written += len(octets)
        self.transport.write(octets)
