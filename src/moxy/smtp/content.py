"""Message content on the wire: finding its end, auditing its line ends, stuffing and unstuffing dots.

Content crosses Moxy in wire form (dot-stuffed), in blocks as they arrive, never line by line: every function here costs
a few searches per block whatever the number of lines. RFC 5321 §2.3.8 (lines), §4.1.1.4 (DATA), §4.5.2 (transparency).

What comes by BDAT is plain (RFC 3030), and made the same here. So the same message is the same octets inside, however
it came, and however it goes on. That holds for binary content, too: stuffing is undone exactly whatever the octets are.

Rules:
- Only CRLF "." CRLF ends content, wherever the blocks are cut (contract T29, T31).
- A CR at the end of a block is held back until its LF has come, and so is a dot that may yet be the final one: what is
  passed on ends in CR only if that CR is bare, and no final dot slips out by accident (T30, P2).
"""

from __future__ import annotations

from io import IncrementalNewlineDecoder
from typing import ClassVar, Final

END_OF_DATA: Final = b".\r\n"
"""What ends content that itself ends in CRLF or is empty."""


class EndOfDataFinder:
    """Splits a stream of blocks into content and what follows its final dot (RFC 5321 §4.1.1.4).

    The final CRLF belongs to the content, the dot and its CRLF to nobody. `octets` counts the content after unstuffing,
    as SIZE does (RFC 1870 §3).
    """

    __slots__ = ("_at_line_start", "_held", "octets")

    def __init__(self) -> None:
        self._held = b""  # the start of what may become the terminator: CR, "." or "." CR
        self._at_line_start = True  # does the content given out so far end in CRLF (or is it empty)?
        self.octets = 0

    def feed(self, block: bytes) -> tuple[bytes, bytes | None]:
        """Give one block; return the content it completes and, once the end is found, the octets after the end.

        The second value is None while the content goes on; then feed the next block.
        """
        if self._held:
            block = self._held + block
            self._held = b""
        if self._at_line_start and block[:1] == b".":
            if block[1:3] == b"\r\n":
                return b"", block[3:]
            if len(block) > 2 or block[1:] not in (b"", b"\r"):
                self.octets -= 1  # a stuffed dot; the one place where a line starts without CRLF before it in the block
        first = block.find(b"\r\n.") if b"." in block else -1
        if first < 0:
            return self._pass(block), None
        end = block.find(b"\r\n.\r\n", first)
        if end < 0:
            passed = self._pass(block)
            self.octets -= passed.count(b"\r\n.", first)
            return passed, None
        self.octets += end + 2 - block.count(b"\r\n.", first, end + 2)
        return block[: end + 2], block[end + 5 :]

    def _pass(self, block: bytes) -> bytes:
        """Hold back what may be the start of the terminator; count and return the rest."""
        held = self._undecided(block)
        if held:
            self._held = block[-held:]
            block = block[:-held]
        if block:
            self._at_line_start = block[-2:] == b"\r\n"
            self.octets += len(block)
        return block

    def _undecided(self, block: bytes) -> int:
        """How many octets at the end of `block` can only be judged together with the next block."""
        tail = block[-4:]
        if tail[-1:] == b"\r":
            if tail == b"\r\n.\r" or (block == b".\r" and self._at_line_start):
                return 2
            return 1
        if tail[-1:] == b"." and (tail[-3:] == b"\r\n." or (block == b"." and self._at_line_start)):
            return 1
        return 0


class ChunkReader:
    """Takes the octets of one message's chunks from a stream, and stuffs them (RFC 3030 §2).

    `octets` counts the content so far, as it was before stuffing. `binary` content may have any octets.
    """

    __slots__ = ("_held", "_last", "_stuffer", "_tail", "binary", "left", "octets")

    def __init__(self, *, binary: bool = False) -> None:
        self.binary = binary
        self._stuffer = Stuffer()
        self._held = b""  # a CR whose LF may come in the next block, or the next chunk
        self._tail = b"\r\n"  # what the content ends in
        self._last = False
        self.octets = 0
        self.left = 0
        """Octets of the chunk that are still to come."""

    def begin(self, octets: int, *, last: bool) -> None:
        """A chunk of so many octets begins."""
        self.left = octets
        self._last = last

    def feed(self, block: bytes) -> bytes:
        """Give the next octets, no more than are `left`; return the content that they complete, in wire form.

        Also to be called once for a chunk of no octets: with the last one, what was held back comes out.
        """
        self.left -= len(block)
        if self._held:
            block = self._held + block
            self._held = b""
        if block[-1:] == b"\r" and not (self._last and not self.left):
            self._held = b"\r"
            block = block[:-1]
        if not block:
            return block
        self.octets += len(block)
        self._tail = block[-2:] if len(block) > 1 else self._tail[-1:] + block
        return self._stuffer.feed(block)

    @property
    def whole_lines(self) -> bool:
        """Does the content end in CRLF, or is it empty?"""
        return self._tail == b"\r\n"


class LineEndAudit:
    """Watches a stream for a CR without LF or an LF without CR (RFC 5321 §2.3.8): the raw material of SMTP smuggling.

    Exact and streaming, on whole blocks: the decoder of the standard library remembers which line ends it has seen.
    Made for the blocks of `EndOfDataFinder` and `ChunkReader`: a CR at the end of one is bare.
    """

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        self._decoder = IncrementalNewlineDecoder(None, translate=False)

    def clean(self, block: bytes) -> bool:
        """Take in one block; is every line end seen so far CRLF?"""
        self._decoder.decode(block.decode("latin-1"))  # without a decoder of its own it takes text
        return self._decoder.newlines in (None, "\r\n") and block[-1:] != b"\r"


_INSIDE: Final = b"\n."
"""What a block begins with if a line begins with a dot across its start."""


class _Replacer:
    """Replaces what a line may start with, in a stream cut anywhere."""

    __slots__ = ("_tail",)

    found: ClassVar[bytes]
    replacement: ClassVar[bytes]

    def __init__(self) -> None:
        self._tail = b"\r\n"  # what the stream ended in so far; its start counts as the start of a line

    def feed(self, block: bytes) -> bytes:
        """Return `block` with the replacements made; the block itself if there are none."""
        tail = self._tail
        if len(block) > 1 and block[0] not in _INSIDE:
            self._tail = block[-2:]
            if b"." not in block:  # as in base64: this takes a sixteenth of the search for three octets
                return block
            parts = block.split(self.found)  # `replace` takes twice as long where it finds something
            return self.replacement.join(parts) if len(parts) > 1 else block
        if not block:
            return block
        joined = tail + block
        self._tail = joined[-2:]
        return joined.replace(self.found, self.replacement)[len(tail) :]


class Stuffer(_Replacer):
    """Makes plain content fit for DATA: doubles every dot at the start of a line (RFC 5321 §4.5.2)."""

    __slots__ = ()
    found = b"\r\n."
    replacement = b"\r\n.."


class Unstuffer(_Replacer):
    """Undoes dot-stuffing, for readers of the content itself (RFC 5321 §4.5.2)."""

    __slots__ = ()
    found = b"\r\n."
    replacement = b"\r\n"
