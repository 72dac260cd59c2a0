"""Receiver: the server's side of an SMTP or LMTP session as a value machine, without I/O (RFC 821's receiver-SMTP).

The driver's whole contract:

    receiver.receive(block)          # octets from the client; only stored
    event = receiver.next_event()    # one event, or None: more octets are needed, or an answer is due first
    receiver.answer(event, reply)    # the reply to that event; moves the state
    octets = receiver.take_output()  # everything to write now

Events are the commands of `moxy.smtp.command`, and between DATA and `EndOfData` content: blocks of octets in wire form
(dot-stuffed), clean of bare CR and LF unless they are binary, or a `ContentFault`. Each command is answered exactly
once (the end of data with one reply, or with `Replies` for each recipient); replies leave in the order of the commands,
whatever the order of the answers (contract P6, T1). While a command is unanswered no further event is given, except
that RCPT commands may wait together, so that their destinations can be asked at the same time. Content is not answered.

`Bdat` is answered like `Data`, but its answer stays here: it says whether the octets behind it are wanted (3xx), or are
to be read into nothing (T13). Then come `EndOfChunk` or `LastChunk`, and what is answered to them leaves (RFC 3030 §2).

Rules:
- What the client does wrong is an event (`Invalid`, `ContentFault`), never an exception. Misuse is RuntimeError.
- Octets behind STARTTLS are never obeyed: where there are some when it is read, it is refused and the session ended;
  once it is accepted, this receiver gives no event any more (T32).
- Nothing grows with what the client sends: a line is capped, content passes in the blocks it came in.
"""

from __future__ import annotations

from typing import Final, final

from moxy.smtp import limits, replies
from moxy.smtp.command import (
    LMTP_VERBS,
    SMTP_VERBS,
    XCLIENT_VERB,
    Bdat,
    Command,
    Data,
    EndOfChunk,
    EndOfData,
    Invalid,
    LastChunk,
    Quit,
    Rcpt,
    StartTls,
    parse,
)
from moxy.smtp.content import ChunkReader, EndOfDataFinder, LineEndAudit
from moxy.smtp.reply import Replies, Reply
from moxy.smtp.state import TRANSITIONS, State


@final
class ContentFault:
    """This message must not be delivered; the rest of its content is read and thrown away.

    `reply` is what its end is to be answered with, and the end of each chunk. Comes at most once a message, and is not
    answered itself.
    """

    __slots__ = ("reply",)

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ContentFault) and self.reply == other.reply

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"ContentFault({self.reply})"


Event = Command | bytes | ContentFault

_CR: Final = ord("\r")
_CONTENT: Final = State.CONTENT
_CHUNK: Final = State.CHUNK
_LAST: Final = frozenset({Quit, StartTls})
"""Who is accepted ends the session as it was."""

_OUT_OF_ORDER: Final[dict[State, Reply]] = {
    State.GREETED: replies.HELLO_FIRST,
    State.READY: replies.MAIL_FIRST,
    State.MAIL: replies.NESTED_MAIL,
    State.RCPT: replies.NESTED_MAIL,
    State.CHUNKS: replies.BDAT_OR_RSET,
}
_LMTP_OUT_OF_ORDER: Final[dict[State, Reply]] = {**_OUT_OF_ORDER, State.GREETED: replies.LHLO_FIRST}

_OVER_ANYWAY: Final = frozenset({EndOfData, EndOfChunk, LastChunk})
"""Moves the state even if it is refused: the end of data ends the transaction (§4.1.1.4), that of a chunk the chunk."""


class Receiver:
    """One client's session, from our greeting to QUIT. See the module for how it is driven."""

    __slots__ = (
        "_audit", "_chunk_end", "_chunks", "_command_line", "_end_found", "_faulty", "_finder", "_lmtp",
        "_position", "_size", "_skipping", "_verbs", "ahead", "buffer", "closed", "output", "ready", "secures", "state",
        "waiting",
    )  # fmt: skip

    def __init__(
        self, *, lmtp: bool = False, size: int = limits.MESSAGE_SIZE, command_line: int = limits.COMMAND_LINE
    ) -> None:
        """`size`: octets of the largest message (0: no limit); `command_line`: octets of the longest command line."""
        self._lmtp = lmtp
        self._verbs = LMTP_VERBS if lmtp else SMTP_VERBS
        self._size = size
        self._command_line = command_line
        self.buffer = b""
        """At least the octets that are `unread`; those before them may still be in it."""
        self._position = 0
        self._skipping = False  # inside a command line that is too long
        self.waiting: Final[list[Command]] = []  # a deque would be a quarter of an idle connection's memory
        """Commands given out and not yet answered."""
        self.output: list[bytes] = []
        """What `take_output` would return, in pieces."""
        self._finder: EndOfDataFinder  # these two from the 354 on
        self._audit: LineEndAudit
        self._chunks: ChunkReader  # these two from the first BDAT on
        self._chunk_end: Command  # what is given out when the octets of the chunk have come
        self._end_found = False
        self._faulty = False
        self.state = State.GREETED
        self.closed = False
        """True once the session is over: QUIT or STARTTLS was answered, or `close` was called. No event follows."""
        self.secures = False
        """True once STARTTLS was accepted: the session goes on in another receiver, when it is encrypted."""
        self.ahead = False
        """Has the client ever sent anything before the answer to what it had sent was out (RFC 2920)? BDAT with its
        octets in one piece counts, too.
        """
        self.ready = False
        """False when `next_event` would return None until more octets or an answer come."""

    def trust(self) -> None:
        """Understand XCLIENT from now on (T27)."""
        self._verbs = {**self._verbs, **XCLIENT_VERB}

    def distrust(self) -> None:
        """Understand it no more."""
        self._verbs = LMTP_VERBS if self._lmtp else SMTP_VERBS

    # -- octets in, octets out

    def receive(self, block: bytes) -> None:
        """Store octets from the client."""
        if self.waiting:
            self.ahead = True
        if self.buffer:
            block = self.buffer[self._position :] + block
        self.buffer = block
        self._position = 0
        self.ready = True

    @property
    def unread(self) -> int:
        """Octets received and not yet turned into events: what the driver bounds by not reading on."""
        return len(self.buffer) - self._position

    def take_output(self) -> bytes:
        """Everything to be written now."""
        output, self.output = self.output, []
        return output[0] if len(output) == 1 else b"".join(output)

    def close(self, reply: Reply) -> None:
        """End the session from our side with `reply` (421, §3.8). Commands not answered yet stay without an answer."""
        self.output.append(reply.wire)
        self.closed = True

    # -- events

    def next_event(self) -> Event | None:
        """The next thing the client said, or None."""
        if self.closed or (self.waiting and not self._may_overlap()):
            self.ready = False
            return None
        state = self.state
        if state >= _CONTENT:
            return self._next_content() if state is _CONTENT else self._next_of_chunk()
        line = self._next_line()
        if line is None:
            self.ready = False
            return None
        command = line if isinstance(line, Invalid) else parse(line, self._verbs)
        following = TRANSITIONS[state].get(type(command))
        if following is None:
            following = state
            if type(command) is Bdat and not 0 < self._size < command.octets:
                return self._swallow(command)
            command = self._without_a_row(command)
        command.following = following
        command.reply = None
        self.waiting.append(command)
        return command

    def answer(self, command: Command, reply: Reply | Replies) -> None:
        """Give the reply to a command that `next_event` returned. It leaves when those before it have left.

        Raises RuntimeError if the command is not waiting for an answer.
        """
        waiting = self.waiting
        self.ready = bool(self.buffer)
        if waiting and waiting[0] is command:
            del waiting[0]
            self._settle(command, reply)
            while waiting and (due := waiting[0].reply) is not None:
                self._settle(waiting.pop(0), due)
        elif any(other is command for other in waiting) and command.reply is None:
            command.reply = reply
        else:
            raise RuntimeError(f"{command} is not waiting for an answer")

    def _settle(self, command: Command, reply: Reply | Replies) -> None:
        """Put a reply out, and move the state as it says; after our last words nothing more is said."""
        if self.closed:
            return
        kind, code, following = type(command), reply.code, command.following
        if isinstance(command, Bdat) and code != replies.CLOSING_CODE:
            self._begin_chunk(command, wanted=code < 400)
            return
        self.output.append(reply.wire)
        if code < 400:
            self.state = following
            if following is _CONTENT:
                self._begin_content()
            elif kind in _LAST:
                self.closed = True
                self.secures = kind is StartTls
            return
        if kind in _OVER_ANYWAY:
            self.state = following
        if code == replies.CLOSING_CODE:
            self.closed = True

    def _begin_content(self) -> None:
        self._finder = EndOfDataFinder()
        self._audit = LineEndAudit()
        self._end_found = self._faulty = False

    def _may_overlap(self) -> bool:
        """May the next command be given out before the earlier ones are answered? Only RCPT after RCPT (T1)."""
        return (
            len(self.waiting) < limits.PARALLEL_RECIPIENTS
            and type(self.waiting[-1]) is Rcpt
            and self.buffer[self._position : self._position + 5].upper() == b"RCPT "
        )

    def _next_line(self) -> bytes | Invalid | None:
        """Cut one command line off the buffer. Only CRLF ends a line (§2.3.8)."""
        buffer, start = self.buffer, self._position
        end = buffer.find(b"\n", start)
        if end < 0:
            self._bound_the_line()
            return None
        behind = end + 1
        if behind == len(buffer):
            self.buffer = b""
            self._position = 0
            self.ready = False
        else:
            self._position = behind
            self.ahead = True
        if self._skipping or behind - start > self._command_line:
            self._skipping = False
            return Invalid(replies.LINE_TOO_LONG)
        if end == start or buffer[end - 1] != _CR:
            return Invalid(replies.BARE_LINE_END_IN_COMMAND)
        return buffer[start : end - 1]

    def _bound_the_line(self) -> None:
        """Of a line that is too long before its end has come, keep nothing."""
        if self.unread > self._command_line:
            self._skipping = True
            self.buffer, self._position = b"", 0

    def _without_a_row(self, command: Command) -> Command:
        """What becomes of a command that the table does not have in this state."""
        if type(command) is Invalid:
            return command
        if type(command) is Bdat:
            return Invalid(replies.CHUNK_TOO_BIG)
        if type(command) is not StartTls or self.state is not State.READY:
            return Invalid(self._out_of_order(command))
        return Invalid(replies.BEHIND_STARTTLS) if self.unread else command

    def _out_of_order(self, command: Command) -> Reply:
        """What a command deserves that has no row in the table of this state."""
        if self.state is State.MAIL and type(command) is Data:
            # T3: DATA pipelined behind recipients that were all refused
            return replies.LMTP_NO_VALID_RECIPIENTS if self._lmtp else replies.NO_VALID_RECIPIENTS
        return (_LMTP_OUT_OF_ORDER if self._lmtp else _OUT_OF_ORDER)[self.state]

    def _next_content(self) -> Event | None:
        """The next clean block, the first fault, or the end; nothing more of this message once a fault was found."""
        if not self._end_found and self.buffer:
            block = self.buffer[self._position :] if self._position else self.buffer
            passed, rest = self._finder.feed(block)
            self._end_found = rest is not None
            self.buffer, self._position = rest or b"", 0
            if rest:
                self.ahead = True
            if passed and not self._faulty:
                self.ready = self._end_found
                return self._judge(passed, self._finder.octets) or passed
        self.ready = False
        if not self._end_found:
            return None
        self._end_found = False
        end = EndOfData(self._finder.octets)
        end.following = State.READY
        end.reply = None
        self.waiting.append(end)
        return end

    def _judge(self, block: bytes, octets: int, *, binary: bool = False) -> ContentFault | None:
        fault = None
        if not (binary or self._audit.clean(block)):
            fault = ContentFault(replies.BARE_LINE_END)  # T29
        elif 0 < self._size < octets:
            fault = ContentFault(replies.MESSAGE_TOO_BIG)
        self._faulty = fault is not None
        return fault

    # -- chunks

    def _begin_chunk(self, bdat: Bdat, *, wanted: bool) -> None:
        """The octets of a chunk follow. The answer to BDAT was for us alone: whether they are wanted."""
        if self.state is not State.CHUNKS:
            self._chunks = ChunkReader(binary=bdat.binary)
            self._audit = LineEndAudit()
            self._faulty = False
        if not wanted:
            self._faulty = True
        self._await_octets(bdat, LastChunk(0) if bdat.last else EndOfChunk())

    def _swallow(self, bdat: Bdat) -> Event | None:
        """A chunk out of order: its octets are read into nothing before the refusal is given out (T13)."""
        self._chunks = ChunkReader()
        self._faulty = True
        refusal = Invalid(self._out_of_order(bdat))
        refusal.following = self.state
        refusal.reply = None
        self._await_octets(bdat, refusal)
        return self._next_of_chunk()

    def _await_octets(self, bdat: Bdat, end: Command) -> None:
        self._chunks.begin(bdat.octets, last=bdat.last)
        self._chunk_end = end
        self._end_found = False
        self.state = _CHUNK
        self.ready = True  # there may be none to wait for

    def _next_of_chunk(self) -> Event | None:
        """The next clean block, the first fault, or the end of the chunk; nothing more of a message with a fault."""
        chunks = self._chunks
        if not self._end_found:
            block = self._take(chunks.left)
            passed = chunks.feed(block)
            self._end_found = not chunks.left
            if self._end_found and self.buffer:
                self.ahead = True
            if passed and not self._faulty:
                self.ready = self._end_found
                return self._judge(passed, chunks.octets, binary=chunks.binary) or passed
        self.ready = False
        if not self._end_found:
            return None
        end = self._chunk_end
        if type(end) is Invalid:
            self.state = end.following  # a chunk out of order: the session is where it was before
        else:
            if type(end) is LastChunk:
                end.octets, end.whole_lines = chunks.octets, chunks.whole_lines
            end.following = TRANSITIONS[_CHUNK][type(end)]
            end.reply = None
        self.waiting.append(end)
        return end

    def _take(self, octets: int) -> bytes:
        """As many octets as there are, no more than so many. The rest stays where it is: there may be many chunks."""
        start, self._position = self._position, min(self._position + octets, len(self.buffer))
        block = self.buffer[start : self._position]
        if self._position == len(self.buffer):
            self.buffer, self._position = b"", 0
        return block
