"""Verdicts: the answers to one final dot, where the destination gives each recipient its own.

    LMTP    one reply for each recipient, in the order of their RCPTs (RFC 2033 §4.2)
    PRDR    353, one reply for each recipient, and a final one for all; or without 353 one reply for all
            (draft-hall-prdr, as Exim speaks it)

The final one of PRDR has the last word, as Exim's client reads it: 5xx fails everybody, 4xx defers those who had been
accepted, 2xx changes nothing. So while it has not come, nothing is known of anybody.

Rules:
- What has come counts, also when the rest never comes: then `unanswered` is how many are missing, the last ones.
- Behind an impossible answer nothing counts: destination and relay are out of step (T42).
- All of them share one time. After a 421 the rest must come soon, or it never will (RFC 5321 §3.8).
"""

from __future__ import annotations

import asyncio

from moxy.net.steps import Answer
from moxy.outbound.upstream import Upstream
from moxy.smtp.replies import CLOSING_CODE, PRDR_BEGINS
from moxy.smtp.reply import IMPOSSIBLE_ANSWER, Phase, Reply, pass_on


class Verdicts:
    """Sends the dot, and collects what the destination says of each of `recipients`.

    `patience` is the seconds for all of it, `farewell` those for what may come behind a 421.
    """

    __slots__ = (
        "_begun", "_deadline", "_done", "_farewell", "_loop", "_prdr", "_recipients", "_upstream", "replies",
        "unanswered",
    )  # fmt: skip

    def __init__(self, upstream: Upstream, recipients: int, patience: float, *, prdr: bool, farewell: float) -> None:
        self._upstream = upstream
        self._recipients = recipients
        self._prdr = prdr
        self._begun = not prdr  # are there replies for each recipient?
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + patience
        self._farewell = farewell
        self._done: Answer[Verdicts] = Answer(self._loop)
        self.replies: list[Reply] = []
        """One for each recipient, when all is done; as the destination gave them, or ours."""
        self.unanswered = 0
        """So many of them are ours, the last ones: the destination may have the message for those recipients."""

    def ask(self) -> Answer[Verdicts]:
        """Send the dot; everything is there when the answer is."""
        self._upstream.end_content(self._recipients, self._left(), self._take, prdr=self._prdr)
        return self._done

    def _left(self) -> float:
        return max(0.0, self._deadline - self._loop.time())

    def _take(self, answers: list[Reply]) -> None:
        (reply,) = answers
        upstream = self._upstream
        if upstream.lost is not None:
            self._end(reply)
        elif not self._begun and reply.code == PRDR_BEGINS.code:
            self._begun = True
            self._await_next()
        elif pass_on(reply, Phase.FINAL) is IMPOSSIBLE_ANSWER:
            upstream.lose(IMPOSSIBLE_ANSWER)
            self._end(IMPOSSIBLE_ANSWER)
        elif not self._begun:
            self._finish([reply] * self._recipients)
        elif len(self.replies) == self._recipients:
            self._finish([_overruled(each, reply) for each in self.replies])
        else:
            self._keep(reply)

    def _keep(self, reply: Reply) -> None:
        """The verdict on one more recipient."""
        self.replies.append(reply)
        if reply.code == CLOSING_CODE:
            self._deadline = min(self._deadline, self._loop.time() + self._farewell)
        if len(self.replies) == self._recipients and not self._prdr:
            self._finish(self.replies)
        else:
            self._await_next()

    def _await_next(self) -> None:
        self._upstream.await_reply(self._left(), self._take)

    def _end(self, why: Reply) -> None:
        """No more will come."""
        known = [] if self._prdr else self.replies
        self.unanswered = self._recipients - len(known)
        self._finish(known + [why] * self.unanswered)

    def _finish(self, replies: list[Reply]) -> None:
        self.replies = replies
        self._done.set(self)


def _overruled(reply: Reply, final: Reply) -> Reply:
    """The verdict on one recipient once the final one is known."""
    if final.permanent or (final.transient and reply.positive):
        return final
    return reply
