"""Moxy broken on purpose: what the proof must find, so that its silence means something.

Each mutation replaces one named thing in the running code by one that is wrong, and says which scenarios must show it
and as what.

Rules:
- A mutation breaks one promise in one way, as a careless change might.
- It is found by the judge's verdict, not by an exception or a time-out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from chaos.destination import Act, Phase, Script
from chaos.scenario import TO_ALL, Death, Near, Scenario, recipients_of, scripts_at
from chaos.sections import YES, Plan
from chaos.sender import EXIM, LMTP, PLAIN, POSTFIX, PRDR, Dialect
from moxy.inbound.leg import Past
from moxy.ledger import State
from moxy.smtp import replies
from moxy.smtp.reply import Reply
from support.faults import Kind, Way
from support.mutation import broken

LATER: Plan = (Act.LATER, Act.YES)
NEVER: Plan = (Act.NEVER,)
SILENT: Plan = (Act.SILENCE, Act.YES)
HELD: Plan = (Act.HOLD, Act.YES)


def at_dot(*plans: Plan, dialects: Sequence[Dialect] = (PLAIN, POSTFIX)) -> list[Scenario]:
    """Each destination does this at the dot."""
    return [Scenario(d, scripts_at(Phase.FINAL, plans), recipients_of(len(plans))) for d in dialects]


def at(phase: Phase, *plans: Plan) -> list[Scenario]:
    return [Scenario(d, scripts_at(phase, plans), recipients_of(len(plans))) for d in (PLAIN, POSTFIX)]


def to_all(phase: Phase, *plans: Plan) -> list[Scenario]:
    """One recipient at all destinations."""
    return [Scenario(PLAIN, tuple(Script({phase: plan}) for plan in plans), (f"e@{TO_ALL}", f"f@{TO_ALL}"))]


MIXED = [*at_dot(YES, NEVER), *at_dot(YES, LATER), *at_dot(YES, YES, NEVER)]
FIRST_REFUSES = [*at_dot(NEVER, YES), *at_dot(LATER, YES)]
SILENCE = at_dot(SILENT)
DEATHS = [
    Scenario(d, scripts_at(Phase.FINAL, [HELD]), recipients_of(1), death=Death(how, Act.YES))
    for d in (PLAIN, LMTP)
    for how in ("close", "reset")
]
REPEATS = [replace(one, repeats=2) for one in at_dot(YES, dialects=(POSTFIX, LMTP))]
OVERTAKEN = [replace(one, overtaken=True) for one in at_dot(YES, LATER)]
UNDER_WAY = [replace(one, death=replace(one.death, late=True), hasty=True) for one in DEATHS if one.death]
HASTY = [replace(one, workers=2, hasty=True) for one in MIXED]
EACH = [
    Scenario(d, (Script(each={"a": YES, "b": plan}, protocol="lmtp"),), recipients_of(1))
    for d in (PLAIN, POSTFIX)
    for plan in (LATER, NEVER)
]
DATA_REFUSED = [*at(Phase.DATA, YES, LATER), *at(Phase.DATA, NEVER, YES)]
CUT_IN_CONTENT = [
    Near(Scenario(d, (Script(),), recipients_of(1)), Way.TO_SERVER, Kind.CLOSE, 5, 40) for d in (PLAIN, POSTFIX)
]
"""The sender's content has some 43 octets, its dot three, and QUIT six after that."""
CUT_IN_VERDICT = [
    Near(Scenario(d, (Script(),), recipients_of(1)), Way.TO_CLIENT, Kind.DEATH, 33, 60) for d in (PLAIN, POSTFIX)
]
"""The reply to the dot has some 30 octets, and that to QUIT 32 after that."""

ALL: list[Scenario | Near] = [
    *MIXED, *FIRST_REFUSES, *SILENCE, *DEATHS, *UNDER_WAY, *REPEATS, *OVERTAKEN, *HASTY, *EACH, *DATA_REFUSED,
    *CUT_IN_CONTENT, *CUT_IN_VERDICT, *at_dot(YES, YES, dialects=(PRDR, LMTP)), *to_all(Phase.RCPT, YES, NEVER),
    *to_all(Phase.FINAL, YES, LATER),
]  # fmt: skip
"""All of them; without a mutation nothing is found."""


@dataclass(frozen=True)
class Mutation:
    """`seam` is what is replaced, as `module:name`; `wrong` makes its replacement."""

    name: str
    seam: str
    wrong: Callable[[Any], Any]
    scenarios: Sequence[Scenario | Near]
    found_as: frozenset[str]

    def applied(self) -> AbstractContextManager[None]:
        """Moxy is so, as long as this is open."""
        return broken(self.seam, self.wrong)


# -- what is wrong


async def _all_dots_in_order(pending: Any, accepted: Any, legs: Any, send: Any, budget: float) -> None:
    for leg in pending:
        await send(leg, budget)


def _likeliest_last(right: Any) -> Any:
    return lambda order, legs: right(order, legs)[::-1]


def _dot(delivery: Any) -> None:
    delivery._upstream.write(b"\r\n")
    delivery._upstream.commit(60.0)


def _dot_with_the_content(right: Any) -> Any:
    def write(delivery: Any, block: bytes) -> None:
        right(delivery, block)
        if delivery._upstream is not None and delivery._upstream.in_content:
            _dot(delivery)

    return write


def _dot_when_given_up(right: Any) -> Any:
    def abort(delivery: Any) -> None:
        if delivery._upstream is not None and delivery._upstream.in_content:
            _dot(delivery)
        right(delivery)

    return abort


def _with_a_slip(right: Any) -> Any:
    return lambda transaction, block: right(transaction, block.replace(b"two", b"tow"))


def _before_the_commit(right: Any) -> Any:
    async def finish(transaction: Any, octets: int) -> Any:
        asyncio.get_running_loop().create_task(right(transaction, octets))
        return transaction.recipients.to_all(replies.OK)

    return finish


def _with_all_deliveries(right: Any) -> Any:
    def end(conversation: Any) -> None:
        if conversation.unconfirmed is not None:
            for leg in conversation.unconfirmed._legs:
                if leg.delivery._upstream is not None:
                    leg.delivery._upstream.lose(replies.ABORTED)
        right(conversation)

    return end


async def _always(*arguments: Any) -> bool:
    return True


def _a_moment_later(right: Any) -> Any:
    async def write(memory: Any, *arguments: Any, **named: Any) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, lambda: loop.create_task(right(memory, *arguments, **named)))

    return write


def _settled_at_once(right: Any) -> Any:
    async def write(memory: Any, *arguments: Any, **named: Any) -> None:
        await right(memory, *arguments, **named)
        memory._ledger.settle(memory._written)

    return write


def _for_everybody(right: Any) -> Any:
    def settle(conclusion: Any) -> None:
        conclusion._told = [replies.OK] * len(conclusion._recipients.accepted)
        right(conclusion)

    return settle


def _whatever_was_told(right: Any) -> Any:
    """2xx, if there is one among the verdicts."""
    return lambda told: next((reply for reply in told if reply is not None and reply.positive), right(told))


def _the_worst(right: Any) -> Any:
    """5xx, if there is one among the verdicts."""
    return lambda told: next((reply for reply in told if reply is not None and reply.permanent), right(told))


def _committed_if_unanswered(right: Any) -> Any:
    return lambda answer, answered: right(answer, answered) if answered else State.COMMITTED


MUTATIONS = (
    Mutation(
        "dots go on after a refusal, while nobody has the message (D5)",
        "inbound.commit:in_order", lambda right: _all_dots_in_order, FIRST_REFUSES, frozenset({"untimely"}),
    ),
    Mutation(
        "the likeliest refusal comes last (D5)",
        "inbound.order:CommitOrder.sorted", _likeliest_last, FIRST_REFUSES, frozenset({"untimely"}),
    ),
    Mutation(
        "the dot goes out with the content (D4)",
        "outbound.relay:RelayDelivery.write", _dot_with_the_content, CUT_IN_CONTENT, frozenset({"invented"}),
    ),
    Mutation(
        "a delivery that is given up ends with a dot (P2)",
        "outbound.relay:RelayDelivery.abort", _dot_when_given_up, CUT_IN_CONTENT, frozenset({"invented"}),
    ),
    Mutation(
        "a letter of the content becomes another (P4)",
        "inbound.transaction:Transaction.write", _with_a_slip, SILENCE, frozenset({"changed"}),
    ),
    Mutation(
        "354 although a destination refuses (D3)",
        "inbound.transaction:Transaction._hear_of_data", lambda right: lambda *_: None, DATA_REFUSED,
        frozenset({"untimely"}),
    ),
    Mutation(
        "250 before the commit (P1)",
        "inbound.transaction:Transaction.finish", _before_the_commit, MIXED, frozenset({"lost"}),
    ),
    Mutation(
        "the sender's leaving stops the commit (T19)",
        "inbound.conversation:Conversation.end", _with_all_deliveries, DEATHS, frozenset({"doubled"}),
    ),
    Mutation(
        "no ledger (D8)",
        "inbound.memory:Memory.concerns", lambda right: lambda *_: False, MIXED, frozenset({"doubled"}),
    ),
    Mutation(
        "who has the message is not remembered (D7)",
        "inbound.memory:Memory._entries", lambda right: lambda *_, **__: [], MIXED, frozenset({"doubled"}),
    ),
    Mutation(
        "mixed verdicts are written after the reply (D8)",
        "inbound.memory:Memory.write", _a_moment_later, HASTY, frozenset({"doubled"}),
    ),
    Mutation(
        "mixed verdicts are settled when they are written (D8)",
        "inbound.memory:Memory.write", _settled_at_once, MIXED, frozenset({"doubled"}),
    ),
    Mutation(
        "who hears 451 counts as knowing all (D8)",
        "inbound.conclusion:Conclusion.settle", _for_everybody, MIXED, frozenset({"doubled"}),
    ),
    Mutation(
        "suppression is off (D7)",
        "inbound.memory:Known.past_at", lambda right: lambda *_: Past(), MIXED, frozenset({"doubled"}),
    ),
    Mutation(
        "any message of a sender is taken for the one before (D8)",
        "inbound.memory:Memory.message", lambda right: property(lambda self: (bytes(32), 1)), OVERTAKEN,
        frozenset({"lost"}),
    ),
    Mutation(
        "no split on retry (D7)",
        "inbound.recipients:Recipients._goes_with_the_others", lambda right: lambda *_: True, MIXED,
        frozenset({"untrue"}),
    ),
    Mutation(
        "those who have it share a delivery with those who have not (D7)",
        "inbound.recipients:_key", lambda right: lambda destination, recipient, known: destination, EACH,
        frozenset({"untrue"}),
    ),
    Mutation(
        "a lost reply counts as received (D8)",
        "inbound.conclusion:Conclusion.keep", lambda right: lambda self: self.settle(),
        [*DEATHS, *CUT_IN_VERDICT], frozenset({"doubled"}),
    ),
    Mutation(
        "no reply counts as received (D8)",
        "inbound.conversation:Conversation.reply_received", lambda right: lambda self: self.reply_lost(), REPEATS,
        frozenset({"lost"}),
    ),
    Mutation(
        "no answer to a dot counts as yes (RFC 1047)",
        "inbound.leg:_state", _committed_if_unanswered, SILENCE, frozenset({"lost"}),
    ),
    Mutation(
        "mixed verdicts are told as 250 (D7)",
        "inbound.conclusion:verdict", _whatever_was_told, MIXED, frozenset({"lost"}),
    ),
    Mutation(
        "mixed verdicts are told as 550 (D7)",
        "inbound.conclusion:verdict", _the_worst, MIXED, frozenset({"untrue"}),
    ),
    Mutation(
        "recipients are put off with 452 (D7)",
        "smtp.replies:SPLIT", lambda right: Reply(452, "5.3", "One at a time please"),
        at_dot(YES, NEVER, dialects=[EXIM]) + at_dot(NEVER, YES, dialects=[EXIM]), frozenset({"untrue"}),
    ),
    Mutation(
        "the first is asked first each time (D7)",
        "inbound.recipients:Recipients._has_its_turn", lambda right: _always, at_dot((Act.LATER,), YES),
        frozenset({"untrue"}),
    ),
    Mutation(
        "who comes again while a destination thinks is delivered to (D8)",
        "inbound.conclusion:Conclusion.left_waiting", lambda right: lambda *_, **__: None, UNDER_WAY,
        frozenset({"doubled"}),
    ),
    Mutation(
        "a withdrawn recipient stays (D2)",
        "outbound.relay:RelayDelivery.withdraw", lambda right: lambda *_: None,
        [*to_all(Phase.RCPT, YES, (Act.NEVER, Act.YES)), *to_all(Phase.RCPT, YES, NEVER)],
        frozenset({"untrue"}),
    ),
)  # fmt: skip
