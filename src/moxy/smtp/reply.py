"""Reply: a code, an enhanced status code and lines of text; its parser; and what of a destination's may be passed on.

Rules:
- A Reply never holds a control character, a line over 512 octets or more than 100 lines, whoever made it and from
  whatever: the constructor cleans, so nothing that a peer wrote can break out of its line (contract T41).
- The class of the enhanced status code is the first digit of the code. It is never stored, so they cannot disagree.
- Two replies are equal when a client could not tell them apart.
- The parser takes any cut of the stream and holds no more than one reply's lines beside what it was last fed.

RFC 5321 §4.2 (replies), §4.5.3.1.5 (512 octets a line); RFC 2034 and RFC 3463 (enhanced status codes).

Bugs: a reply whose lines carry different enhanced status codes keeps the first for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final, final

from moxy.smtp.limits import REPLY_LINE

LINES_LIMIT: Final = 100
"""Lines of one reply as we send it; what is beyond is left out."""

PARSED_LINE_LIMIT: Final = 4096
"""Octets of one line as we read it: eight times what RFC 5321 allows."""

PARSED_LINES_LIMIT: Final = 200
"""Lines of one reply as we read it. The longest replies in use (EHLO) have some 30."""

PARSED_REPLY_LIMIT: Final = 65_536
"""Octets of one reply as we read it: room for LINES_LIMIT lines of 512 octets."""

KNOWN_REPLIES: Final = 256
"""Lines of replies that are remembered, with what they say, in the whole process."""

_CODES: Final = range(200, 600)

# Controls (C0, DEL, C1), the Unicode line ends, what could not be decoded, and what could not be encoded.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd\ud800-\udfff]")
_NOT_ASCII: Final = re.compile("[^\x00-\x7f]")
_STATUS: Final = re.compile(r"[0-9]{1,3}\.[0-9]{1,3}")
_ENHANCED_TEXT: Final = re.compile(r"[245]\.([0-9]{1,3}\.[0-9]{1,3})(?:[ \t]|$)")  # a tab is mended to a blank

# One line that is already what we would send: printable ASCII, within 512 octets, and no enhanced status code or one
# that fits the code (RFC 2034 §4: there is none with 3xx). Its octets are kept, and its text is parsed when asked for.
_CLEAN_REPLY: Final = re.compile(
    rb"(?:3[0-9]{2} |([245])[0-9]{2} (?:\1\.[0-9]{1,3}\.[0-9]{1,3} |(?![245]\.[0-9]{1,3}\.[0-9]{1,3}[ \r])))"
    rb"[ -~]{0,490}\r\n"
)


@final
class Reply:
    """One reply: `code` (200 to 599), subject and detail of the enhanced status code, lines of text. Immutable.

    `status` is "7.1" where the enhanced status code is 5.7.1, "" where there is none; 3xx never has one (RFC 2034 §4).
    `lines` are the texts without code and enhanced status code, at least one. `wire` is the reply as sent. `positive`
    says that it is 2xx: done.
    """

    __slots__ = ("_parts", "code", "positive", "wire")

    def __init__(self, code: int, status: str, *lines: str) -> None:
        """Raises ValueError for a code or status that no reply can have; unfit text is mended, not refused."""
        if code not in _CODES:
            raise ValueError(f"no reply code: {code}")
        if status and (code // 100 == 3 or not _STATUS.fullmatch(status)):
            raise ValueError(f"no enhanced status code for {code}: {status!r}")
        self.code = code
        self.positive = code < 300
        prefix = f"{code // 100}.{status} " if status else ""
        room = REPLY_LINE - len("250 \r\n") - len(prefix)
        texts = tuple([_clean(line, room) for line in lines[:LINES_LIMIT]]) or ("",)
        self._parts: tuple[str, tuple[str, ...]] | None = (status, texts)
        marks = "-" * (len(texts) - 1) + " "
        self.wire = "".join(
            [f"{code}{mark}{prefix}{text}\r\n" for mark, text in zip(marks, texts, strict=True)]
        ).encode()

    @property
    def status(self) -> str:
        """Subject and detail of the enhanced status code (RFC 3463 §2): "7.1", or "" where there is none."""
        return self._read()[0]

    @property
    def lines(self) -> tuple[str, ...]:
        """The texts, without code and enhanced status code."""
        return self._read()[1]

    def _read(self) -> tuple[str, tuple[str, ...]]:
        """`status` and `lines`, read from the wire if this is the first time that someone asks."""
        if self._parts is None:
            status, text = _split_status(self.code, self.wire[4:-2].decode())
            self._parts = status, (text,)
        return self._parts

    @property
    def enhanced(self) -> str:
        """The enhanced status code, "5.7.1", or "" where there is none."""
        return f"{self.code // 100}.{self.status}" if self.status else ""

    @property
    def intermediate(self) -> bool:
        """3xx: go on."""
        return 300 <= self.code < 400

    @property
    def transient(self) -> bool:
        """4xx: not now."""
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        """5xx: no."""
        return self.code >= 500

    def in_ascii(self) -> Reply:
        """The reply for a client that did not ask for SMTPUTF8 (RFC 6531 §3.7.4.2): `?` for what is beyond ASCII."""
        return Reply(self.code, self.status, *[_NOT_ASCII.sub("?", line) for line in self.lines])

    def with_code(self, code: int) -> Reply:
        """The same words under another code; the class of the enhanced status code follows it."""
        return Reply(code, self.status, *self.lines)

    def replaced(self, pattern: re.Pattern[str], by: str) -> Reply:
        """The same reply with every match of `pattern` in its texts replaced by `by`; itself if nothing matches.

        `by` is taken literally. Used to hide a destination's names and addresses (contract P5).
        """
        lines = tuple([pattern.sub(lambda _: by, line) for line in self.lines])
        return self if lines == self.lines else Reply(self.code, self.status, *lines)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reply) and other.wire == self.wire

    def __hash__(self) -> int:
        return hash(self.wire)

    def __str__(self) -> str:
        """The reply in one line, for logs: `550 5.7.1 text / text`."""
        return " ".join(part for part in (str(self.code), self.enhanced, " / ".join(self.lines)) if part)

    def __repr__(self) -> str:
        return f"Reply({self})"


def _clean(text: str, room: int) -> str:
    """`text` without anything that could break its line, cut to `room` octets between two characters."""
    if text.isascii() and text.isprintable():
        return text[:room]
    text = _UNSAFE.sub("?", text.replace("\t", " "))
    return text.encode()[:room].decode(errors="ignore")


def _split_status(code: int, text: str) -> tuple[str, str]:
    """Subject and detail of the enhanced status code that begins `text` ("" if none does), and the rest.

    A class that contradicts the code is dropped with the class: the code decides (contract T41).
    """
    match = _ENHANCED_TEXT.match(text) if code // 100 != 3 else None
    return (match[1], text[match.end() :]) if match else ("", text)


class Replies:
    """Several replies to one command, which leave together; `verdict` is what they come to.

    That is how the end of data is answered for each recipient: LMTP (RFC 2033 §4.2) and PRDR.
    """

    __slots__ = ("all", "code", "verdict", "wire")

    def __init__(self, all: Sequence[Reply], verdict: Reply) -> None:
        self.all = tuple(all)
        self.verdict = verdict
        self.code = verdict.code
        self.wire = b"".join([reply.wire for reply in all])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Replies) and (other.all, other.verdict) == (self.all, self.verdict)

    def __hash__(self) -> int:
        return hash((self.all, self.verdict))

    def __repr__(self) -> str:
        return f"Replies({', '.join(str(reply) for reply in self.all)}: {self.verdict})"


@lru_cache(KNOWN_REPLIES)
def _of_clean_wire(wire: bytes) -> Reply | None:
    """The reply that a line is which _CLEAN_REPLY knows. Its text is looked at when first asked for.

    A destination says the same all day: only its last word has, mostly, something of its own.
    """
    if _CLEAN_REPLY.fullmatch(wire) is None:
        return None
    reply = Reply.__new__(Reply)
    reply.code = int(wire[:3])
    reply.positive = reply.code < 300
    reply.wire = wire
    reply._parts = None
    return reply


class ReplyError(ValueError):
    """What a destination sent is no reply. Nothing more can be understood of that connection (contract T42)."""


class ReplyParser:
    """Makes replies of the octets that a destination sends. Sans-I/O: `feed` what was read, then `next` until None.

    A bare LF is taken for a line end. After a ReplyError every further `next` raises it again; `clear` starts anew.
    """

    __slots__ = ("_buffer", "_code", "_held", "_place", "_texts", "pending")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything that was fed and not yet returned."""
        self._buffer = b""
        self._place = 0  # where in the buffer the next line begins
        self._code = 0  # of the multi-line reply that has begun, whose lines are `_texts` and had `_held` octets
        self._texts: list[str] = []
        self._held = 0
        self.pending = False
        """Were octets fed that no returned reply has used?"""

    def feed(self, data: bytes) -> None:
        """Take what was read, in any cut."""
        if self.pending:
            data = self._buffer[self._place :] + data
        self._buffer = data
        self._place = 0
        self.pending = bool(data) or self._held > 0

    def next(self) -> Reply | None:
        """The next complete reply, or None until more is fed. Raises ReplyError."""
        buffer, place = self._buffer, self._place
        end = buffer.find(b"\n", place) + 1
        if (
            0 < end - place <= REPLY_LINE
            and not self._texts
            and (reply := _of_clean_wire(buffer[place:end])) is not None
        ):
            self._place = end
            self.pending = end < len(buffer)
            return reply
        return self._next_by_lines()

    def _next_by_lines(self) -> Reply | None:
        """As `next`, for replies that take more than one line or need mending."""
        while (end := self._buffer.find(b"\n", self._place)) >= 0:
            line = self._buffer[self._place : end]
            last = self._take(line.removesuffix(b"\r"))
            self._held += end + 1 - self._place
            self._place = end + 1
            if last:
                return self._finish()
        if len(self._buffer) - self._place > PARSED_LINE_LIMIT:
            raise ReplyError("a reply line is too long")
        return None

    def _take(self, line: bytes) -> bool:
        """Keep one line of a reply; whether it is the last one."""
        code, mark = line[:3], line[3:4]
        if len(line) > PARSED_LINE_LIMIT:
            raise ReplyError("a reply line is too long")
        if len(code) < 3 or not code.isdigit() or mark not in (b" ", b"-", b""):
            raise ReplyError(f"not a reply: {line[:60]!r}")
        if int(code) not in _CODES:
            raise ReplyError(f"not a reply code: {code.decode()}")
        if self._texts and int(code) != self._code:
            raise ReplyError(f"one reply with two codes: {self._code} and {code.decode()}")
        if len(self._texts) == PARSED_LINES_LIMIT or self._held + len(line) > PARSED_REPLY_LIMIT:
            raise ReplyError("a reply is too long")
        self._code = int(code)
        self._texts.append(line[4:].decode(errors="replace"))
        return mark != b"-"

    def _finish(self) -> Reply:
        """The reply of the lines kept."""
        parts = [_split_status(self._code, text) for text in self._texts]
        status = next((status for status, _ in parts if status), "")
        self._texts = []
        self._held = 0
        self.pending = self._place < len(self._buffer)
        return Reply(self._code, status, *[text for _, text in parts])


class Phase(StrEnum):
    """What a destination was asked when it replied."""

    RCPT = "rcpt"
    """RCPT, or the MAIL whose refusal answers the RCPT that came with it (contract D1)."""
    DATA = "data"
    """DATA: 354 is the only good answer."""
    FINAL = "final"
    """The final dot."""


_DATA: Final = Phase.DATA

IMPOSSIBLE_ANSWER: Final = Reply(451, "3.0", "The destination gave an impossible answer, please try again later")
"""Told in place of an answer that RFC 5321 §4.3.2 does not allow."""

_ANSWERS_TO_OTHER_COMMANDS: Final = frozenset({211, 214, 220, 221, 235})  # HELP, greeting, QUIT, AUTH


def pass_on(reply: Reply, phase: Phase) -> Reply:
    """A destination's reply as the client may see it: mostly itself, mended where it would mislead.

    - 2xx to RCPT or the final dot becomes 250: 251 and 252 would tell of forwarding that is not the client's affair.
    - 421 becomes 451 4.4.2: it speaks of the destination's connection, not of the client's (contract T23).
    - What cannot be the answer to this phase becomes IMPOSSIBLE_ANSWER (contract T42): 3xx to RCPT or the final dot,
      2xx to DATA, the good answer to another command. Destination and relay are then out of step.
    - 4xx and 5xx pass as they are, 552 to RCPT too: clients that queue take it for 452 themselves (contract T43).
    """
    code = reply.code
    if code == 250 and phase is not _DATA:
        return reply  # the usual answer, first
    if code == 421:
        return Reply(451, "4.2", *reply.lines)
    if code >= 400:
        return reply
    if phase is _DATA:
        return reply if code == 354 else IMPOSSIBLE_ANSWER
    if code >= 300 or code in _ANSWERS_TO_OTHER_COMMANDS:
        return IMPOSSIBLE_ANSWER
    return reply.with_code(250)
