"""The dots: given to one delivery after another, so that as much as can be stays all or nothing (contract D4, D5).

Rules:
- Who is likeliest to refuse is asked first. While nobody has the message, a refusal keeps it from all (D5).
- Once somebody has it, all others are asked: then only their own verdicts are true.
- Who has nobody left to deliver to, since another destination has refused all of its recipients, is not asked (D2).
- Where the client takes a verdict for each recipient, destinations do not concern each other, and are asked at once.
- All share one budget of time, since the client waits for all of them (T37). For whom too little is left is not asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from moxy.delivery.combine import refusal
from moxy.inbound.leg import Accepted, Leg
from moxy.net.steps import together

LEAST: Final = 0.1
"""The share of the budget that a destination must have left to answer."""

Send = Callable[[Leg, float], Coroutine[Any, Any, None]]
"""Sends the dot to a leg, waits for its verdicts (seconds at most), and concludes it."""


async def in_order(
    pending: Sequence[Leg], accepted: Sequence[Accepted], legs: Sequence[Leg], send: Send, budget: float
) -> None:
    """Ask `pending`, which are in the order of commit, of all `legs`, for a client that takes one reply."""
    deadline = _now() + budget
    concluded = [leg for leg in legs if leg.answers]
    somebody_has_it = any(leg.accepted for leg in concluded)
    somebody_is_refused = any(leg.refused for leg in concluded)
    for leg in pending:
        if somebody_is_refused and not somebody_has_it:
            return
        left = deadline - _now()
        if left >= LEAST * budget and not (somebody_is_refused and _refused_by_others(leg, accepted)):
            await send(leg, left)
            somebody_has_it = somebody_has_it or leg.accepted
            somebody_is_refused = somebody_is_refused or leg.refused


async def one_by_one(pending: Sequence[Leg], accepted: Sequence[Accepted], send: Send, budget: float) -> None:
    """Ask all of `pending`, for a client that takes a reply for each recipient; some recipients have several legs."""
    deadline = _now() + budget
    for leg in pending:
        left = deadline - _now()
        if left >= LEAST * budget and not _refused_by_others(leg, accepted):
            await send(leg, left)


async def at_once(pending: Sequence[Leg], send: Send, budget: float) -> None:
    """Ask all of `pending` together; no recipient has several legs."""
    await together([send(leg, budget) for leg in pending])


def _refused_by_others(leg: Leg, accepted: Sequence[Accepted]) -> bool:
    """Has every recipient of `leg` been refused by another destination of its own?"""
    for _, recipient, legs in accepted:
        if leg in legs and refusal([other.answer(recipient) for other in legs]) is None:
            return False
    return True


def _now() -> float:
    return asyncio.get_running_loop().time()
