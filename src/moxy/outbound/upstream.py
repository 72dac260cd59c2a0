"""Upstream: one connection to a destination, its octets, its replies, its deadlines.

The only place of `outbound` that holds a transport. Who asks gets all replies of a group at once, and always as many as
were asked for: where the destination falls silent, breaks the protocol or goes away, the missing ones are ours (4xx),
and `lost` says why. Nothing here raises.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from structlog import get_logger

from moxy.delivery import Flow
from moxy.mail import Host
from moxy.net.deadlines import NEVER
from moxy.net.overhearing import bare
from moxy.net.steps import Answer
from moxy.net.tlsclient import Shield, TlsClient, explain, is_tls
from moxy.outbound import hiding
from moxy.outbound.ground import Ground
from moxy.smtp import replies
from moxy.smtp.extension import Extensions
from moxy.smtp.reply import Reply, ReplyError
from moxy.smtp.sender import Sender

WRITE_AHEAD: Final = 262_144
"""Octets that may wait in us for a destination before its readers are paused: the bounded buffer of contract T22."""

STALLED: Final = 120.0
"""Seconds a destination may stay full by default: at less than 2 KB/s. The client would wait three minutes (T37)."""

ClientIdentity = tuple[str, int, str, bool, bool, tuple[str, int], str, str]
"""A client as destinations are told of it: address, port, HELO name, whether by EHLO, whether it speaks TLS; where it
has connected to, and what a trusted proxy has said are its NAME and LOGIN.
"""

log = get_logger("moxy.outbound")


class Owner(Protocol):
    """Who keeps a connection, and lends it for transactions."""

    def give_back(self, upstream: Upstream, *, clean: bool) -> None:
        """A transaction is over. `clean`: nothing of it is left at the destination."""
        ...

    def ended(self, upstream: Upstream) -> None:
        """The connection is gone; it is of no more use."""
        ...


class Borrower(Protocol):
    """Who uses a connection for a transaction."""

    flow: Flow
    """Whom to pause while the connection cannot take more content."""

    stalled: float
    """Seconds for which the connection may be unable to take more."""

    def park(self) -> bool:
        """Others need a connection: give this one back if the client keeps it waiting. Was it given back?"""
        ...


class _Request:
    """Commands asked together, and the replies that have come; `done` is called with them when all have."""

    __slots__ = ("count", "done", "patience", "replies")

    def __init__(self, count: int, patience: float, done: Callable[[list[Reply]], None]) -> None:
        self.count = count
        self.patience = patience
        self.done = done
        self.replies: list[Reply] = []


class Exchange(Answer[list[Reply]]):
    """Commands asked together, to be awaited: its value is the replies, in order."""

    __slots__ = ("count", "patience", "replies")

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int, patience: float) -> None:
        self._loop = loop  # these four as the base class does; one call less, three times a message
        self._there = False
        self._resume = None
        self._asyncio_future_blocking = False
        self.count = count
        self.patience = patience
        self.replies: list[Reply] = []

    done = Answer.set


class Upstream(asyncio.Protocol):
    """One connection to one host of a destination."""

    __slots__ = (
        "_awaited", "_full", "_ground", "_loop", "_names", "_sender", "_transport", "_veil", "allowed", "asked",
        "authenticated", "borrower", "carries", "deadline", "domains", "greeting", "host", "lost", "name", "owner",
        "quiet_since", "transactions", "verified",
    )  # fmt: skip

    def __init__(self, host: Host, ground: Ground, owner: Owner) -> None:
        self._ground = ground
        self.owner: Final = owner
        """Who keeps it."""
        self._loop = ground.loop
        self._sender = Sender()
        self._transport: asyncio.Transport | None = None
        self._awaited: deque[_Request | Exchange] = deque()
        self.borrower: Borrower | None = None
        """Who uses it now."""
        self._full = False
        self.greeting = Exchange(ground.loop, 1, ground.reply)
        """The first reply, to be awaited."""
        self._names: frozenset[str] = frozenset()
        self._veil: hiding.Veil | None = None
        self.host = host
        self.name: Final = str(host)
        """`host:port` of the host, as routed; the path of a Unix socket."""
        self.carries: ClientIdentity | None = None
        """The client in whose name it was made, if the destination takes us for that client (T25)."""
        self.transactions = 0
        """Transactions begun on this connection: MAIL commands."""
        self.allowed = 0
        """How many there may be."""
        self.asked = 0
        """RCPT commands of the last of them, if the destination bounds them."""
        self.domains: set[str] = set()
        """Those of the recipients that were named on this connection, if the destination bounds them."""
        self.authenticated = False
        """Has the destination accepted our credentials (RFC 4954)?"""
        self.verified = False
        """Is the connection encrypted, and the destination's certificate one that we were told to trust?"""
        self.quiet_since = 0.0
        """When the destination last answered what it was asked, on the loop's clock."""
        self.deadline = NEVER
        self.lost: Reply | None = None
        """Why the connection is of no more use, once it is not."""

    # -- asking

    def request(
        self, lines: tuple[bytes, ...], patience: float, done: Callable[[list[Reply]], None], *, ahead: bool = False
    ) -> None:
        """Send commands in as few writes as the destination allows; `done` gets one reply for each, in order.

        Those sent `ahead` leave with the next ones, in the same write.
        """
        self._ask(lines, _Request(len(lines), patience, done))
        if not ahead:
            self.flush()

    def preface(self, octets: bytes) -> None:
        """Send octets before the destination has said anything."""
        if self._transport is not None:
            self._transport.write(octets)

    def exchange(self, lines: Sequence[bytes], patience: float) -> Exchange:
        """`request`, to be awaited."""
        exchange = Exchange(self._loop, len(lines), patience)
        self._ask(lines, exchange)
        self.flush()
        return exchange

    def _ask(self, lines: Sequence[bytes], asked: _Request | Exchange) -> None:
        if self.lost is None:
            for line in lines:
                self._sender.command(line)
        self._await(asked)

    def respond(self, line: bytes, patience: float) -> Exchange:
        """Answer the 334 to AUTH; the next reply is to be awaited."""
        exchange = Exchange(self._loop, 1, patience)
        if self.lost is None:
            self._sender.respond(line)
        self._await(exchange)
        self.flush()
        return exchange

    def commit(self, patience: float) -> Exchange:
        """Send the final dot behind the content; the verdict, due within `patience` seconds, is to be awaited."""
        verdict = Exchange(self._loop, 1, patience)
        if self.lost is None:
            self._sender.end_of_data()
        self._await(verdict)
        self.flush()
        return verdict

    def end_content(
        self, recipients: int, patience: float, done: Callable[[list[Reply]], None], *, prdr: bool = False
    ) -> None:
        """Send the final dot; `done` gets the first of the replies that the destination gives for `recipients`."""
        if self.lost is None:
            self._sender.end_of_data(recipients, prdr=prdr)
        self._await(_Request(1, patience, done))
        self.flush()

    def await_reply(self, patience: float, done: Callable[[list[Reply]], None]) -> None:
        """`done` gets the next of the replies to `end_content`."""
        self._await(_Request(1, patience, done))

    def _await(self, asked: _Request | Exchange) -> None:
        if self.lost is not None:
            asked.done([self.lost] * asked.count)
            return
        if not self._awaited:
            self.deadline = self._loop.time() + asked.patience
        self._awaited.append(asked)

    @property
    def extensions(self) -> Extensions:
        """What the destination announced."""
        return self._sender.extensions

    @property
    def spent(self) -> bool:
        """Has it had all transactions that it may have?"""
        return self.transactions >= self.allowed

    # -- encryption

    async def encrypt(self, client: TlsClient, name: str, patience: float) -> str:
        """After the 220 to STARTTLS: the handshake. "" if the connection is encrypted now; else why it is lost.

        What was said in clear is forgotten, and nothing more of it is heard (T33). The certificate is for `name`.
        """
        try:
            self._sender.secured()
        except ReplyError as error:
            self.lose(replies.DESTINATION_GARBLED)
            return str(error)
        if self.lost is not None or self._transport is None:
            return "the connection was lost"
        transport = bare(self._transport)
        protocol = transport.get_protocol()
        try:
            encrypted = await client.start(transport, protocol, self.name, name, patience)
        except OSError as error:
            self.lose(replies.TLS_FAILED)
            self.connection_lost(None)  # the loop does not always tell
            return explain(error)
        if self.lost is not None:
            encrypted.abort()
            return "the connection was given up"
        cast("asyncio.Protocol", protocol).connection_made(encrypted)
        return ""

    @property
    def tls(self) -> Shield | None:
        """The encryption of the connection, if there is any."""
        return None if self._transport is None else self._transport.get_extra_info("ssl_object")

    # -- content

    def begin_chunks(self) -> None:
        """Content goes in chunks from now on, as far as the destination offers CHUNKING."""
        self._sender.begin_chunks()

    def gather(self, block: bytes) -> None:
        """Gather content for the next chunk, in wire form; without effect once the destination is gone."""
        if self._sender.content_open:
            self._sender.gather(block)

    @property
    def gathered(self) -> int:
        """Octets that were gathered, and can be sent."""
        return self._sender.gathered if self.lost is None else 0

    def chunk(self, patience: float, done: Callable[[list[Reply]], None]) -> None:
        """Send as a chunk what was gathered, which is something; `done` gets the reply."""
        self._sender.chunk()
        self._await(_Request(1, patience, done))
        self.flush()

    def write(self, block: bytes) -> None:
        """Gather content, in wire form; without effect once the destination has refused it or is gone."""
        if self._sender.content_open:
            self._sender.content(block)

    def flush(self) -> None:
        """Write what has been gathered."""
        output = self._sender.take_output()
        if output and self._transport is not None:
            self._transport.write(output)

    @property
    def in_content(self) -> bool:
        """Is the destination in our content, or about to be? Then only the final dot or closing gets out of it."""
        return self._sender.in_content

    @property
    def lent(self) -> bool:
        """Is a delivery using it?"""
        return self.borrower is not None

    def lend(self, borrower: Borrower | None) -> None:
        """Say who uses it from now on; None: nobody."""
        if self._full and self.borrower is not None:
            self.borrower.flow.unblock()
        self.borrower = borrower
        if self._full and borrower is not None:
            borrower.flow.block()

    # -- from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected: the destination speaks first. Or the same connection goes on, encrypted: then we do."""
        transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        new, self._transport = self._transport is None, transport
        transport.set_write_buffer_limits(high=WRITE_AHEAD)
        if new:
            self._ground.sweeper.watched.add(self)
            self._await(self.greeting)

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who asked."""
        sender, received = self._sender, self._sender.received
        now = self._loop.time()
        try:
            sender.receive(data)
            while received.pending and self.lost is None and (reply := sender.next_reply()) is not None:
                self._reply(reply, now)
        except ReplyError as error:
            log.warning("protocol_error", destination=self.name, reason=str(error))
            self.lose(replies.DESTINATION_GARBLED)
        if sender.output:
            self.flush()

    def _reply(self, reply: Reply, now: float) -> None:
        awaited = self._awaited
        if not awaited:
            self._early(reply)
            return
        asked = awaited[0]
        come = asked.replies
        come.append(reply)
        self.quiet_since = now
        if len(come) < asked.count:
            self.deadline = now + asked.patience
        else:
            awaited.popleft()
            self.deadline = now + awaited[0].patience if awaited else NEVER
            asked.done(come)

    def _early(self, reply: Reply) -> None:
        """Unasked: 421 (T23, T24), or a verdict in the middle of content (T21), where only a refusal makes sense."""
        refused = reply.transient or reply.permanent
        self.lose(reply if refused else replies.DESTINATION_GARBLED)

    def eof_received(self) -> bool:
        """The destination has closed."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        if exc is not None and is_tls(exc) and self.lost is None:  # in TLS 1.3 a server refuses us after our handshake
            log.warning("tls_broken", destination=self.name, reason=explain(exc))
        self._ground.sweeper.watched.discard(self)
        self.lose(replies.DESTINATION_LOST)
        self._transport = None

    def pause_writing(self) -> None:
        """The destination does not keep up."""
        self._full = True
        borrower = self.borrower
        if not self._awaited:
            self.deadline = self._loop.time() + (STALLED if borrower is None else borrower.stalled)
        if borrower is not None:
            borrower.flow.block()

    def resume_writing(self) -> None:
        """It does again."""
        self._full = False
        if self.lent and not self._awaited:
            self.deadline = NEVER
        if self.borrower is not None:
            self.borrower.flow.unblock()

    # -- the end

    def expire(self, now: float) -> None:
        """The sweeper found our deadline passed: it owed a reply, stands still in content, or was idle long enough."""
        del now
        if self._awaited or self._full:
            self.lose(replies.DESTINATION_SILENT)
        else:
            self.quit()

    def quit(self) -> None:
        """End the session politely; nobody waits for it."""
        if self.lost is None and not self._awaited and not self.in_content:
            self.owner.ended(self)
            self.request((b"QUIT",), self._ground.prove, lambda _: self.lose(replies.DESTINATION_LOST))
        else:
            self.lose(replies.DESTINATION_LOST)

    def lose(self, why: Reply) -> None:
        """Close at once, without a final dot; who still waits for replies gets `why`."""
        if self.lost is not None:
            return
        self.lost = why
        self.deadline = NEVER
        if self._transport is not None:
            self._transport.abort()
        if self._full:
            self.resume_writing()
        self.owner.ended(self)
        awaited, self._awaited = self._awaited, deque()
        for asked in awaited:
            asked.done(asked.replies + [why] * (asked.count - len(asked.replies)))

    # -- what it says to the client

    def hide(self, names: frozenset[str]) -> None:
        """From now on, these names of the destination must not reach a client."""
        if self._ground.hide:
            self._names = names
            self._veil = hiding.veil(names, self._ground.hostname)

    def veiled(self, reply: Reply, domain: str) -> Reply:
        """The reply without the destination's own names, but for the recipient's `domain`, which is no secret."""
        veil = self._veil
        if domain in self._names:
            veil = hiding.veil(self._names - {domain}, self._ground.hostname)
        return veil.over(reply) if veil is not None else reply
