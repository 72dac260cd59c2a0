"""Chunks: content on its way to a destination that offers CHUNKING (RFC 3030), by BDAT instead of DATA.

What has come in one wake-up leaves as one chunk, in one write, and nobody waits for the answers to earlier ones. They
are counted all the same: while too many are due, content is gathered into a larger chunk, and when that is large
enough, the reader pauses. So a destination far away gets few large chunks, and one next door gets what there is.

Rules:
- The last chunk is the final dot (contract D4): it leaves when the client's has come, and all others were accepted.
  What was gathered goes with it, so a small message is one chunk and one answer.
- A chunk that is refused ends the connection, and its refusal is the verdict on the message (T21).
"""

from __future__ import annotations

import asyncio
from typing import Final

from moxy.net.steps import Answer
from moxy.outbound.upstream import WRITE_AHEAD, Borrower, Upstream
from moxy.smtp import replies
from moxy.smtp.reply import Reply

UNANSWERED: Final = 8
"""Chunks that may be under way at once, if the destination offers PIPELINING; else it is one."""


class Chunks:
    """The content of one message in chunks. `borrower` is who uses the connection; its flow is paused when need be."""

    __slots__ = ("_borrower", "_due", "_full", "_most", "_settled", "_upstream")

    def __init__(self, upstream: Upstream, borrower: Borrower) -> None:
        self._upstream = upstream
        self._borrower = borrower
        self._most = UNANSWERED if upstream.extensions.pipelining else 1
        self._due = 0  # answers
        self._full = False
        self._settled: Answer[None] | None = None  # for who waits until none is due
        upstream.begin_chunks()

    def write(self, block: bytes) -> None:
        """Gather content, in wire form; without effect once the destination has refused it or is gone."""
        self._upstream.gather(block)

    def flush(self) -> None:
        """Send what has been gathered, unless too many answers are due."""
        if self._due < self._most:
            self._send()
        elif self._upstream.gathered >= WRITE_AHEAD and not self._full:
            self._full = True
            self._borrower.flow.block()

    def _send(self) -> None:
        if self._upstream.gathered:
            self._due += 1
            self._upstream.chunk(self._borrower.stalled, self._take)

    def _take(self, answers: list[Reply]) -> None:
        """The answer to a chunk."""
        (reply,) = answers
        upstream = self._upstream
        self._due -= 1
        if not reply.positive:
            upstream.lose(reply if reply.code >= 400 else replies.DESTINATION_GARBLED)
        self._go_on()
        if self._settled is None:
            self._send()
        elif not self._due:
            settled, self._settled = self._settled, None  # once: to lose the connection answers all that are due
            settled.set(None)

    def _go_on(self) -> None:
        if self._full:
            self._full = False
            self._borrower.flow.unblock()

    async def settled(self, patience: float) -> float:
        """Wait until all chunks are answered, so that the last one may be sent; returns the seconds that are left.

        Where they are not answered in time, or one is refused, the connection is lost.
        """
        if not self._due:
            return patience
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        timer = loop.call_at(deadline, self._upstream.lose, replies.DESTINATION_SILENT)
        self._settled = Answer(loop)
        await self._settled
        timer.cancel()
        return max(0.0, deadline - loop.time())

    def close(self) -> None:
        """Nothing more is written, and nobody is paused any more."""
        self._go_on()
