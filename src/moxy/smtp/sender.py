"""Sender: the client's side of an SMTP session as a value machine, without I/O (RFC 821's sender-SMTP).

The driver's whole contract:

    sender.command(line)             # ask; any number may be asked ahead
    sender.receive(block)            # octets from the destination
    reply = sender.next_reply()      # the next answer, in the order of what was asked, or None
    octets = sender.take_output()    # everything that may be written now

The first reply is the greeting, which nobody asked for. Commands asked ahead leave in one piece where the destination
offers PIPELINING (RFC 2920) and one by one where it does not. Content is written in wire form between the 354 and
`end_of_data`, which a destination may answer with one reply for each recipient (LMTP, RFC 2033 §4.2), or with 353, one
reply for each, and a final one (PRDR, draft-hall-prdr).

Where the destination offers CHUNKING (RFC 3030), `begin_chunks` takes the place of DATA and 354. Content is gathered
then, `chunk` sends what has been gathered, and its reply is one like others; `end_of_data` sends the last chunk.

Rules:
- A destination that breaks the protocol raises `ReplyError`; the session is worthless then and must be closed.
- Nothing is believed that was not announced in the last EHLO.
- A chunk that is not the last one has been accepted before the last one is sent: else nobody could tell what a
  destination has that takes the one and not the other.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from moxy.smtp.content import END_OF_DATA, Unstuffer
from moxy.smtp.extension import Extensions
from moxy.smtp.replies import CLOSING_CODE, PRDR_BEGINS
from moxy.smtp.reply import Reply, ReplyError, ReplyParser

_AUTH: Final = b"AUTH"

ENDS_GROUP: Final = frozenset(
    {b"EHLO", b"HELO", b"LHLO", b"DATA", b"QUIT", b"NOOP", b"VRFY", b"EXPN", b"STAR", _AUTH}
)  # fmt: skip
"""Commands that nothing may be pipelined behind (RFC 2920 §3.1, RFC 4954 §4), by their first four octets."""

_BDAT: Final = b"BDAT"
_DOT: Final = b"."
_PRDR_DOT: Final = b".PRDR"

_TELLING: Final = frozenset({b"EHLO", b"LHLO", b"DATA", _BDAT, _PRDR_DOT})
"""Commands whose replies change what may be said next."""

PIECES: Final = 256
"""In how many pieces a chunk is gathered before they are joined: a small one takes twenty times its octets."""

GREETING: Final = b"220?"
"""What we wait for before anything was asked; no command has this name."""


class Sender:
    """One session with a destination, from its greeting to our QUIT. See the module for how it is driven."""

    __slots__ = (
        "_answered_early", "_awaited", "_each", "_gathered", "_queued", "_unstuffer", "content_open", "extensions",
        "gathered", "output", "received",
    )  # fmt: skip

    def __init__(self) -> None:
        self.received: Final = ReplyParser()
        """The octets from the destination; where none is `pending`, `next_reply` would return None."""
        self._answered_early = False
        self._awaited: deque[bytes] = deque([GREETING])  # verbs sent and not answered yet
        self._each = 0  # replies that a 353 announces, with the final one
        self._queued: deque[bytes] = deque()  # whole lines that may not leave yet
        self.output: list[bytes] = []
        """What `take_output` would return, in pieces."""
        self.extensions = Extensions()
        """What the destination announced in its last reply to EHLO."""
        self.content_open = False
        """True between a 354 or `begin_chunks` and `end_of_data`: only content may be written."""
        self._gathered: list[bytes] | None = None  # for the next chunk; None: content goes by DATA
        self._unstuffer: Unstuffer  # from `begin_chunks` on
        self.gathered = 0
        """Octets of content that the next chunk would have."""

    @property
    def in_content(self) -> bool:
        """Is content open, or was DATA asked and may open it? Then only the final dot or closing gets out of it."""
        return self.content_open or b"DATA" in self._awaited

    @property
    def awaited(self) -> int:
        """Replies due: to the greeting, to commands sent, and to those that still wait to be sent."""
        return len(self._awaited) + len(self._queued)

    def command(self, line: bytes) -> None:
        """Ask: one command line without its CRLF. Raises RuntimeError while content is open."""
        if self.content_open:
            raise RuntimeError("a command in the middle of content")
        if self._queued or (self._awaited and not self._may_send()):
            self._queued.append(line)
        else:
            self._send(line)

    def respond(self, line: bytes) -> None:
        """Answer the 334 to AUTH (RFC 4954 §4): a line that is no command, whatever it looks like.

        Raises RuntimeError while anything else is due.
        """
        if self.awaited:
            raise RuntimeError("an answer to a challenge that has not come")
        self._send(line, _AUTH)

    def secured(self) -> None:
        """From here on the connection is encrypted: what was said in clear is not known any more (RFC 3207 §4.2).

        To be told between the 220 to STARTTLS and the handshake. Raises ReplyError if the destination, or whoever
        stands between, has said more in clear than that 220: it is not to be believed, now or later (T33).
        """
        if self._awaited or self.received.pending:
            raise ReplyError("the destination spoke in clear behind its 220 to STARTTLS")
        self.extensions = Extensions()

    def content(self, block: bytes) -> None:
        """Pass content on, in wire form. Raises RuntimeError unless the destination said 354."""
        if not self.content_open:
            raise RuntimeError("content before 354")
        self.output.append(block)

    def end_of_data(self, recipients: int = 1, *, prdr: bool = False) -> None:
        """Send the final dot, or the last chunk: the destination may deliver.

        Content without chunks must be empty or end in CRLF. With chunks, all that were sent must have been answered.

        `recipients` is how many replies answer it: one in SMTP, whatever their number, and one for each in LMTP. With
        `prdr` it is one; if that is 353, so many follow it, and a final one.
        """
        if self._gathered is None:
            self.content(END_OF_DATA)
        else:
            self._end_chunks()
        self._look_for_early_answers()
        self.content_open = False
        if prdr:
            self._each = recipients + 1
            self._awaited.append(_PRDR_DOT)
        else:
            self._awaited.extend([_DOT] * recipients)

    # -- content in chunks

    def begin_chunks(self) -> None:
        """From now on to `end_of_data` content goes in chunks. Every command was answered; nothing leaves."""
        self.content_open = True
        self._gathered = []
        self.gathered = 0
        self._unstuffer = Unstuffer()

    def gather(self, block: bytes) -> None:
        """Content, in wire form, for the next chunk. Raises RuntimeError unless chunks were begun."""
        if self._gathered is None or not self.content_open:
            raise RuntimeError("no chunks were begun")
        plain = self._unstuffer.feed(block)
        if plain:
            self._gathered.append(plain)
            if len(self._gathered) > PIECES:
                self._gathered = [b"".join(self._gathered)]
            self.gathered += len(plain)

    def chunk(self) -> None:
        """Send what has been gathered, if it is anything; one reply is due then."""
        if self.gathered:
            self._look_for_early_answers()
            self._send_chunk(b"BDAT %d\r\n")
            self._awaited.append(_BDAT)
            self._gathered = []

    def _send_chunk(self, command: bytes) -> None:
        self.output.append(command % self.gathered)
        self.output += self._gathered or ()
        self.gathered = 0

    def _end_chunks(self) -> None:
        if self._awaited or not self.content_open:
            raise RuntimeError("the last chunk before the others were answered")
        self._send_chunk(b"BDAT %d LAST\r\n")
        self._gathered = None

    # -- octets in, octets out

    def take_output(self) -> bytes:
        """Everything to be written now."""
        output, self.output = self.output, []
        return output[0] if len(output) == 1 else b"".join(output)

    def receive(self, block: bytes) -> None:
        """Store octets from the destination."""
        self.received.feed(block)

    def next_reply(self) -> Reply | None:
        """The next reply, in the order of what was asked; None when more octets are needed.

        One that comes while content is open closes it: the destination has refused the message before its end. A 421
        may come unasked (RFC 5321 §3.8); any other unasked reply, and what is no reply at all, raise ReplyError.
        """
        if self._answered_early:
            raise ReplyError("the destination answered before it was asked")
        reply = self.received.next()
        if reply is None:
            return None
        if not self._awaited:
            return self._early(reply)
        verb = self._awaited.popleft()
        if verb in _TELLING:
            self._learn(verb, reply)
        if self._queued:
            self._release()
        return reply

    def _early(self, reply: Reply) -> Reply:
        """A reply that nothing was asked for: in content a verdict before the dot (T21), 421 at any time (T24)."""
        if not self.content_open and reply.code != CLOSING_CODE:
            raise ReplyError(f"the destination spoke unasked: {reply}")
        self._close_content()
        return reply

    def _close_content(self) -> None:
        self.content_open = False
        self._gathered = None
        self.gathered = 0

    def _learn(self, verb: bytes, reply: Reply) -> None:
        if verb == b"DATA":
            self.content_open = reply.code == 354
        elif verb == _BDAT:
            if not reply.positive:
                self._close_content()
        elif verb == _PRDR_DOT:
            if reply.code == PRDR_BEGINS.code:
                self._awaited.extendleft([_DOT] * self._each)
        else:
            self.extensions = Extensions.of(reply) if reply.positive else Extensions()

    def _release(self) -> None:
        """Let queued commands out, as far as the destination's PIPELINING allows."""
        while self._queued and self._may_send():
            self._send(self._queued.popleft())

    def _may_send(self) -> bool:
        awaited = self._awaited
        if not awaited:
            return not self.content_open
        return self.extensions.pipelining and awaited[-1] not in ENDS_GROUP

    def _look_for_early_answers(self) -> None:
        """An answer that is older than its question is none: what is in the parser now was said to nobody."""
        if self.received.pending and not self._awaited:
            self._answered_early = True

    def _send(self, line: bytes, verb: bytes = b"") -> None:
        self._look_for_early_answers()
        self._awaited.append(verb or line[:4].upper())
        self.output.append(line + b"\r\n")
