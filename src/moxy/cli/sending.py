"""The SMTP client of `moxy send`: messages to one server, over one connection or several at once.

    Connection  one session with the server: its octets, its replies
    Outcome     what became of one message: the server's last word for each recipient

Rules:
- A recipient has been accepted when its RCPT and the final dot were both answered 2xx.
- The dialogue shows what passes on the wire, in its order; content is shown as its size.

Bugs: one server, no AUTH, ASCII addresses. 8-bit content goes to a server without 8BITMIME as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, cast

from moxy.accounting.escape import escaped
from moxy.cli.campaign import Campaign, connect, encrypt
from moxy.net.tlsclient import agreed, explain
from moxy.smtp.content import Stuffer
from moxy.smtp.replies import CLOSING_CODE
from moxy.smtp.reply import Reply, ReplyError
from moxy.smtp.sender import Sender

REPLY_PATIENCE: Final = 600.0
"""Seconds for a reply: the longest of RFC 5321 §4.5.3.2, that to the final dot."""

BLOCK: Final = 65_536
"""Octets of content written at once."""

Show = Callable[[str, str], None]
"""Called with who speaks, "C" (the client, we) or "S" (the server), and one line that is safe to print."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The server's last word on a message for each recipient, in order; None where the connection was lost first."""

    replies: tuple[tuple[str, Reply | None], ...]

    @property
    def accepted(self) -> bool:
        """For every recipient?"""
        return all(reply is not None and reply.positive for _, reply in self.replies)


class ConnectionEnded(Exception):  # noqa: N818 - what happened, as the rest of the module tells it
    """The server is gone, is silent, or said what is no SMTP."""


class Connection(asyncio.Protocol):
    """One session with the server, from its greeting to our QUIT."""

    def __init__(self, campaign: Campaign, show: Show | None) -> None:
        self._campaign = campaign
        self._show = show
        self._sender = Sender()
        self._replies: asyncio.Queue[Reply | None] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._reset_first = False
        self._farewell: Reply | None = None  # a 421 answers whatever was still asked
        self.sent = 0
        """Messages that were tried on this connection."""
        self.usable = True
        """May another message be tried?"""

    # -- from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Collect replies; what waited for them may leave now."""
        try:
            self._sender.receive(data)
            while (reply := self._sender.next_reply()) is not None:
                self._tell("S", reply.wire)
                self._replies.put_nowait(reply)
        except ReplyError as error:
            self._tell("S", f"({error})".encode())
            self._hang_up()
        self._flush()

    def pause_writing(self) -> None:
        """The server does not keep up."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; who waits for a reply is told."""
        del exc
        self._transport = None
        self._writable.set()
        self._replies.put_nowait(None)

    # -- the session

    async def send(self, content: bytes) -> Outcome:
        """One message; on a new connection the greeting and EHLO come before it."""
        recipients = self._campaign.recipients
        try:
            answers: Sequence[Reply | None] = await self._begin() or await self._transact(content)
        except ConnectionEnded:
            self._hang_up()
            answers = [None] * len(recipients)
        self.sent += 1
        return Outcome(tuple(zip(recipients, answers, strict=True)))

    async def quit(self) -> None:
        """Take leave; the server may be gone already."""
        try:
            if self.usable:
                await self._exchange("QUIT")
        except ConnectionEnded:
            pass
        self._hang_up()

    async def _begin(self) -> list[Reply] | None:
        """Await the greeting and say EHLO, or HELO to an old server; LHLO in LMTP. A refusal is the answer for every
        recipient.
        """
        if self.sent:
            return None
        campaign = self._campaign
        self._tell_security()
        reply = await self._reply()
        if reply.positive:
            reply = await self._say_hello()
        if reply.positive and campaign.tls is not None and not campaign.implicit:
            reply = await self._start_tls()
        if reply.positive:
            return None
        self.usable = False
        return [reply] * len(campaign.recipients)

    async def _say_hello(self) -> Reply:
        lmtp = self._campaign.lmtp
        (reply,) = await self._exchange(f"{'LHLO' if lmtp else 'EHLO'} {self._campaign.hello}")
        if reply.permanent and not lmtp:
            (reply,) = await self._exchange(f"HELO {self._campaign.hello}")
        return reply

    async def _start_tls(self) -> Reply:
        """Go on encrypted, or not at all; the reply to what was said last."""
        (reply,) = await self._exchange("STARTTLS")
        if not reply.positive or self._transport is None:
            return reply
        try:
            self._sender.secured()
            self._transport = await encrypt(self._campaign, self._transport, self)
        except (OSError, ReplyError) as error:
            self._tell("C", f"(no TLS: {explain(error)})".encode())
            raise ConnectionEnded from None
        self._tell_security()
        return await self._say_hello()

    def _tell_security(self) -> None:
        shield = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        if shield is not None:
            version, cipher, _ = agreed(shield)
            self._tell("C", f"({version} {cipher})".encode())

    async def _transact(self, content: bytes) -> Sequence[Reply | None]:
        """From MAIL to the verdict on the content: the last word for each recipient."""
        recipients = self._campaign.recipients
        if self._reset_first:
            self._reset_first = False
            await self._exchange("RSET")
        envelope = [self._mail(content), *(f"RCPT TO:<{path}>" for path in recipients)]
        if self._campaign.bdat and self._sender.extensions.chunking:
            mail, *answers = await self._exchange(*envelope)
            accepted = sum(answer.positive for answer in answers)
            verdicts = await self._send_chunks(content, accepted) if accepted and self.usable else []
            self._reset_first = not accepted
            return self._last_words(mail, answers, verdicts)
        mail, *answers, data = await self._exchange(*envelope, "DATA")
        accepted = sum(answer.positive for answer in answers)
        verdicts = [data] * accepted
        if data.intermediate:  # even with nobody to send to: then only an empty message ends it (RFC 2920 §3.1)
            verdicts = await self._send_content(content if accepted else b"", accepted)
        else:
            self._reset_first = True
        return self._last_words(mail, answers, verdicts)

    def _last_words(
        self, mail: Reply, answers: Sequence[Reply], verdicts: Sequence[Reply | None]
    ) -> Sequence[Reply | None]:
        """For each recipient: the refusal of MAIL, its own, or its verdict."""
        if not mail.positive:
            return [mail] * len(answers)
        following = iter(verdicts)
        return [next(following, self._farewell) if answer.positive else answer for answer in answers]

    def _mail(self, content: bytes) -> str:
        """MAIL with the parameters that this server knows (RFC 1870, RFC 6152)."""
        offered = self._sender.extensions
        line = f"MAIL FROM:<{self._campaign.reverse_path}>"
        if "SIZE" in offered:
            line += f" SIZE={len(content)}"
        if offered.eight_bit and not content.isascii():
            line += " BODY=8BITMIME"
        return line

    async def _exchange(self, *lines: str) -> list[Reply]:
        """Ask, all at once where the server allows it, and await the replies."""
        if len(lines) > 1 and not self._campaign.pipelining:
            return [(await self._exchange(line))[0] for line in lines]
        if self._farewell is None:
            for line in lines:
                self._sender.command(line.encode())
            self._flush()
        return [self._farewell or await self._reply() for _ in lines]

    async def _send_content(self, content: bytes, accepted: int) -> list[Reply | None]:
        """Content and final dot; then the verdict for each accepted recipient: LMTP has one for each, SMTP one for all.

        One that comes before the dot is for all, and the last of the session.
        """
        sender = self._sender
        self._tell("C", f"({len(content):,} octets of content)".encode())
        wire = Stuffer().feed(content)
        for start in range(0, len(wire), BLOCK):
            await self._writable.wait()
            if self._transport is None or not sender.content_open:
                break
            sender.content(wire[start : start + BLOCK])
            self._transport.write(sender.take_output())
        return await self._verdicts(accepted)

    async def _send_chunks(self, content: bytes, accepted: int) -> list[Reply | None]:
        """The same in chunks, each of which waits for the answer to the one before; a refusal of one is for all."""
        sender = self._sender
        self._tell("C", f"({len(content):,} octets of content)".encode())
        wire = Stuffer().feed(content)
        sender.begin_chunks()
        for start in range(0, len(wire), BLOCK):
            sender.gather(wire[start : start + BLOCK])
            if start + BLOCK < len(wire):
                sender.chunk()
                self._flush_content()
                reply = await self._reply()
                if not reply.positive:
                    self.usable = False
                    return [reply] * accepted
        return await self._verdicts(accepted)

    async def _verdicts(self, accepted: int) -> list[Reply | None]:
        """End the content, and have what is said to it."""
        sender = self._sender
        each = self._campaign.lmtp and sender.content_open
        if sender.content_open:
            sender.end_of_data(accepted if each else 1)
            self._flush_content()
        else:
            self.usable = False
        if each:
            return [await self._reply_if_any() for _ in range(accepted)]
        return [await self._reply_if_any()] * accepted

    async def _reply_if_any(self) -> Reply | None:
        """The next reply; None where the connection was lost first."""
        try:
            return await self._reply()
        except ConnectionEnded:
            self._hang_up()
            return None

    async def _reply(self) -> Reply:
        """The next reply. Raises ConnectionEnded."""
        try:
            reply = await asyncio.wait_for(self._replies.get(), REPLY_PATIENCE)
        except TimeoutError:
            reply = None
        if reply is None:
            self._replies.put_nowait(None)  # for whoever asks next
            raise ConnectionEnded
        if reply.code == CLOSING_CODE:
            self._farewell = reply
            self.usable = False
        return reply

    def _flush(self) -> None:
        output = self._sender.take_output()
        if output and self._transport is not None:
            self._tell("C", output)
            self._transport.write(output)

    def _flush_content(self) -> None:
        """The same where content may be in it: of that the dialogue shows only the size."""
        output = self._sender.take_output()
        if output and self._transport is not None:
            self._tell("C", output.partition(b"\r\n")[0])
            self._transport.write(output)

    def _hang_up(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.close()

    def _tell(self, who: str, wire: bytes) -> None:
        if self._show is not None:
            for line in wire.decode(errors="replace").rstrip("\r\n").split("\r\n"):
                self._show(who, escaped(line))


async def carry_out(
    campaign: Campaign, content: Callable[[], bytes], done: Callable[[Outcome], None], show: Show | None
) -> None:
    """Send every message; `content` makes each, with CRLF line ends, `done` gets its outcome, `show` the dialogue.

    Raises MoxyError when the server cannot be connected to.
    """
    numbers = iter(range(campaign.count))
    connections = min(campaign.concurrency, campaign.count)
    await asyncio.gather(*[_work(campaign, numbers, content, done, show) for _ in range(connections)])


async def _work(
    campaign: Campaign,
    numbers: Iterator[int],
    content: Callable[[], bytes],
    done: Callable[[Outcome], None],
    show: Show | None,
) -> None:
    """One connection after another, until nothing is left to send."""
    connection: Connection | None = None
    for _ in numbers:
        if connection is None:
            connection = await connect(campaign, partial(Connection, campaign, show))
        done(await connection.send(content()))
        if not connection.usable or connection.sent == campaign.per_connection:
            await connection.quit()
            connection = None
    if connection is not None:
        await connection.quit()
